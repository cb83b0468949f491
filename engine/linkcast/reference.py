"""A gradient-boosted reference: what a strong learner of another kind makes of the same windows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SETTINGS = {
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


def lightgbm_forecasts(earlier: tuple[npt.ArrayLike, npt.ArrayLike], windows: npt.ArrayLike) -> FloatArray:
    """LightGBM with the L1 objective, fitted on an earlier part: every feature of every step, and nothing else.

    Args:
        earlier: (m, T, F) windows and (m,) the value after each.
        windows: (n, T, F) to forecast.
    Returns:
        (n,), at least 0.
    Raises:
        ImportError: lightgbm is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise ImportError("the reference needs LightGBM: pip install 'linkcast[reference]'") from error
    inputs, targets = (np.asarray(part, dtype=np.float64) for part in earlier)
    booster = lightgbm.train(SETTINGS, lightgbm.Dataset(inputs.reshape(len(inputs), -1), targets), ROUNDS)
    scored = np.asarray(windows, dtype=np.float64)
    forecasts = np.asarray(booster.predict(scored.reshape(len(scored), -1)), dtype=np.float64)
    return np.maximum(forecasts, 0.0)
