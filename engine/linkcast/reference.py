"""A gradient-boosted reference: what a strong learner of another kind makes of the same windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.extras import install

FloatArray = npt.NDArray[np.float64]

SETTINGS: dict[str, Any] = {
    "objective": "l1",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_child_samples": 50,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
ROUNDS = 300
QUANTILE_ROUNDS = 150  # a quantile overfits sooner: more rounds are exceeded more often than they say
MOST_WINDOWS = 50_000  # of the earlier part, evenly spread; more of them gain little and cost time


def lightgbm_forecasts(
    earlier: tuple[npt.ArrayLike, npt.ArrayLike], windows: npt.ArrayLike, bandwidth: int = 1, most: int = MOST_WINDOWS
) -> FloatArray:
    """LightGBM with the L1 objective, fitted on an earlier part: every feature of every step, and the window's level.

    Bandwidths go in as shares of the window's mean, so that links of every size look alike, and each window weighs as
    much as its mean: the error that is made small is the absolute one in Mbit/s, as with plain levels.

    Args:
        earlier: (m, T, F) windows and (m,) the value after each.
        windows: (n, T, F) to forecast.
        bandwidth: the column that is forecast.
        most: windows of the earlier part that are used.
    Returns:
        (n,), at least 0.
    Raises:
        ImportError: lightgbm is not installed.
    """
    return _boosted(SETTINGS, ROUNDS, earlier, windows, bandwidth, most)


def lightgbm_quantile(
    earlier: tuple[npt.ArrayLike, npt.ArrayLike],
    windows: npt.ArrayLike,
    level: float,
    bandwidth: int = 1,
    most: int = MOST_WINDOWS,
) -> FloatArray:
    """The same with the pinball loss: the quantile of a level, of the next value or of whatever the targets are.

    Raises:
        ValueError: the level is not between 0 and 1.
        ImportError: lightgbm is not installed.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a number between 0 and 1, got {level!r}")
    settings = {**SETTINGS, "objective": "quantile", "alpha": level}
    return _boosted(settings, QUANTILE_ROUNDS, earlier, windows, bandwidth, most)


def _boosted(
    settings: dict[str, Any],
    rounds: int,
    earlier: tuple[npt.ArrayLike, npt.ArrayLike],
    windows: npt.ArrayLike,
    bandwidth: int,
    most: int,
) -> FloatArray:
    try:
        import lightgbm
    except ImportError as error:
        raise ImportError(f"the reference needs LightGBM: {install('reference')}") from error
    before, targets = (np.asarray(part, dtype=np.float64) for part in earlier)
    chosen = np.unique(np.linspace(0, len(before) - 1, min(most, len(before))).astype(np.int64))
    before, targets = before[chosen], targets[chosen]
    least = 1e-3 * float(before[:, :, bandwidth].mean()) or 1.0  # an idle window has a level too
    inputs, level = _relative(before, bandwidth, least)
    booster = lightgbm.train(settings, lightgbm.Dataset(inputs, targets / level, weight=level), rounds)
    inputs, level = _relative(np.asarray(windows, dtype=np.float64), bandwidth, least)
    return np.maximum(level * np.asarray(booster.predict(inputs), dtype=np.float64), 0.0)


def _relative(windows: FloatArray, bandwidth: int, least: float) -> tuple[FloatArray, FloatArray]:
    """(n, T * F + 1) inputs with the bandwidth relative to the level, and the (n,) levels."""
    level: FloatArray = np.maximum(windows[:, :, bandwidth].mean(axis=1), least)
    relative = windows.copy()
    relative[:, :, bandwidth] /= level[:, None]
    return np.concatenate([relative.reshape(len(windows), -1), level[:, None]], axis=1), level
