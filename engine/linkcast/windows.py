"""Sliding windows of a series, and a model run on many of them at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from linkcast.engine import Engine
from linkcast.kernels import scaling_kernels

BATCH = 2048  # windows scaled and run at a time: bounds the memory of a long trace


def forecast_windows(
    engine: Engine,
    name: str,
    series: npt.NDArray[np.float64],
    starts: npt.NDArray[np.int64],
    progress: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Forecasts for sliding windows of one series, scaled straight into the model's batch input.

    Args:
        engine: holds the model.
        name: a forecaster, as in `Engine.forecast`.
        series: (rows, F) physical units, the model's features.
        starts: (n,) first row of each window.
        progress: is called with the number of windows done since its last call.
    Returns:
        (n,) float32, Mbit/s.
    Raises:
        ValueError: the model reads no windows, or the series has another number of features.
    """
    model_name = engine.resolve(name, "forecaster")
    spec = engine.spec(model_name)
    window = spec["window"]
    if window is None or series.ndim != 2 or series.shape[1] != len(spec["features"]):
        raise ValueError(f"{model_name}: expected a series (rows, {len(spec['features'])}), got {series.shape}")
    forecasts = np.empty(len(starts), np.float32)
    for begin in range(0, len(starts), BATCH):
        part = starts[begin : begin + BATCH]
        forecasts[begin : begin + BATCH] = _forecast_part(engine, model_name, series, part, window)
        if progress is not None:
            progress(len(part))
    return forecasts


def _forecast_part(
    engine: Engine, model_name: str, series: npt.NDArray[np.float64], starts: npt.NDArray[np.int64], window: int
) -> npt.NDArray[np.float32]:
    scaling = scaling_kernels()
    if scaling is None:
        return engine.forecast_raw(model_name, windows_of(series, starts, window))
    spec, scaled = engine.spec(model_name), engine.model(model_name).batch_input(len(starts))
    scaling.scale_windows(series, starts, scaling.ranges(engine.scaler(model_name)), scaled)
    target = spec["features"].index(spec["target"]) if spec["target"] in spec["features"] else 0
    return engine.forecast_batch(model_name, series[starts + window - 1, target])


def windows_of(series: npt.NDArray[np.float64], starts: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.float64]:
    """(n, window, F): a copy of each window of a series."""
    windows: npt.NDArray[np.float64] = series[starts[:, None] + np.arange(window)]
    return windows
