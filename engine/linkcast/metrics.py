"""Scores of a forecast against what came.

Every function takes predictions and targets of one shape, in the same unit, and refuses an empty or a mismatched pair.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

BOOTSTRAP_DRAWS = 1000
CONFIDENCE = 95.0  # percent of the draws that an interval spans

__all__ = ["block_bootstrap", "interval", "mae", "mape", "mse", "r2", "skill", "summary", "within_fraction"]


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


def skill(model_mae: float, baseline_mae: float) -> float:
    """1 - model / baseline: 0 for a tie, negative when the baseline wins; NaN when the baseline is exact."""
    return 1.0 - model_mae / baseline_mae if baseline_mae > 0.0 else float("nan")


def block_bootstrap(
    errors: npt.ArrayLike, draws: int = BOOTSTRAP_DRAWS, seed: int = 0, block: int | None = None
) -> FloatArray:
    """Means of consecutive errors, drawn again and again in blocks.

    Errors that follow each other are correlated, so single ones drawn at random would make the mean look surer than it
    is: whole blocks of consecutive rows are drawn instead (Carlstein, Annals of Statistics 1986). All series are drawn
    together, so that differences and ratios are those of paired errors.

    Args:
        errors: (n,) or (series, n), in the order of time.
        draws: how many means.
        seed: of the draws.
        block: rows of a block; None is the square root of n, which grows slower than the number of blocks.
    Returns:
        (draws,) or (series, draws).
    Raises:
        ValueError: no errors, or draws or block below 1.
    """
    values = np.asarray(errors, dtype=np.float64)
    rows = values.shape[-1] if values.ndim else 0
    if values.ndim not in (1, 2) or rows == 0:
        raise ValueError(f"errors must be (n,) or (series, n) with n above 0, got shape {values.shape}")
    length = max(1, round(rows**0.5)) if block is None else block
    if draws < 1 or length < 1:
        raise ValueError(f"draws and block must be at least 1, got {draws} and {length}")
    starts = np.arange(0, rows, length)
    sums = np.add.reduceat(values, starts, axis=-1)  # (series, blocks); the last block may be shorter
    counts = np.diff(starts, append=rows)
    share = np.full(len(starts), 1.0 / len(starts))
    times = np.random.default_rng(seed).multinomial(len(starts), share, draws).astype(np.float64)  # (draws, blocks)
    means: FloatArray = (sums @ times.T) / (times @ counts)
    return means


def interval(draws: npt.ArrayLike) -> tuple[float, float]:
    """The 95 % interval of bootstrap draws, by percentiles; NaN when a draw is not a number."""
    low, high = np.percentile(np.asarray(draws, dtype=np.float64), [50.0 - CONFIDENCE / 2.0, 50.0 + CONFIDENCE / 2.0])
    return float(low), float(high)
