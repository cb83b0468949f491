"""Scores of a forecast against what came.

Every function takes predictions and targets of one shape, in the same unit, and refuses an empty or a mismatched pair.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

__all__ = ["mae", "mape", "mse", "r2", "summary", "within_fraction"]


def _pair(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    predicted = np.asarray(predictions, dtype=np.float64)
    actual = np.asarray(targets, dtype=np.float64)
    if predicted.shape != actual.shape:
        raise ValueError(f"predictions and targets must have one shape, got {predicted.shape} and {actual.shape}")
    if predicted.size == 0:
        raise ValueError("a score needs at least one prediction, got none")
    return predicted, actual


def within_fraction(predictions: npt.ArrayLike, targets: npt.ArrayLike, tolerance: float = 0.02) -> float:
    """Share (0..1) of predictions with |prediction - target| <= tolerance * |target|.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    return float(np.mean(np.abs(predicted - actual) <= tolerance * np.abs(actual)))


def mae(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean absolute error, in the unit of the targets.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    return float(np.mean(np.abs(predicted - actual)))


def mse(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean squared error, in the squared unit of the targets.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    return float(np.mean(np.square(predicted - actual)))


def mape(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean absolute percentage error, in percent (18.8 means 18.8 %).

    It is not defined at a zero target: those rows are left out, and without any other row the answer is NaN.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    defined = actual != 0.0
    if not defined.any():
        return float("nan")
    return float(100.0 * np.mean(np.abs((predicted[defined] - actual[defined]) / actual[defined])))


def r2(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Coefficient of determination, 1 - SSE / SST; below 0 when worse than the mean, NaN for constant targets.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    total = float(np.sum(np.square(actual - actual.mean())))
    if total == 0.0:
        return float("nan")
    return 1.0 - float(np.sum(np.square(actual - predicted))) / total


def summary(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> dict[str, float]:
    """All scores of one forecast: within_2_percent and within_10_percent (0..1), mae, mse, mape (percent), r2.

    Raises:
        ValueError: shapes differ or are empty.
    """
    return {
        "within_2_percent": within_fraction(predictions, targets, 0.02),
        "within_10_percent": within_fraction(predictions, targets, 0.10),
        "mae": mae(predictions, targets),
        "mse": mse(predictions, targets),
        "mape": mape(predictions, targets),
        "r2": r2(predictions, targets),
    }
