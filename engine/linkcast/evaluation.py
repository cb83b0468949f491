"""Scores of a forecaster beside the naive baselines, and a plain sentence about what they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from linkcast import metrics
from linkcast.baselines import BASELINES
from linkcast.engine import Engine
from linkcast.features import TELEMETRY
from linkcast.traces import Trace

TIE = 0.01  # mean absolute errors that differ by less than this share count as equal

BATCH = 2048  # windows scaled and run at a time: bounds the memory of a long trace


class Evaluation(TypedDict):
    """Scores in Mbit/s, percent (mape) and shares 0..1 (within_...); keys as `metrics.summary` gives them."""

    samples: int
    model: dict[str, float]
    baselines: dict[str, dict[str, float]]
    best_baseline: str  # the one of least mean absolute error
    skill: float  # 1 - mae / mae of the best baseline; nan when that one is exact
    verdict: str


def evaluate_forecasts(
    forecasts: npt.ArrayLike, targets: npt.ArrayLike, windows: npt.ArrayLike, bandwidth: int = 1
) -> Evaluation:
    """Scores forecasts and, on the same windows, every naive baseline.

    Args:
        forecasts: (n,) Mbps.
        targets: (n,) Mbps, what came.
        windows: (n, T, F) in physical units.
        bandwidth: the column of the windows that is forecast.
    Raises:
        ValueError: the shapes do not belong together, or n is 0.
    """
    scores = metrics.summary(forecasts, targets)
    baselines = {name: metrics.summary(forecast(windows, bandwidth), targets) for name, forecast in BASELINES.items()}
    best = min(baselines, key=lambda name: baselines[name]["mae"])
    best_mae = baselines[best]["mae"]
    return {
        "samples": int(np.size(targets)),
        "model": scores,
        "baselines": baselines,
        "best_baseline": best,
        "skill": 1.0 - scores["mae"] / best_mae if best_mae > 0.0 else float("nan"),
        "verdict": verdict(scores["mae"], {name: score["mae"] for name, score in baselines.items()}),
    }


def verdict(model_mae: float, baseline_mae: dict[str, float]) -> str:
    """What the mean absolute errors say, in one or two sentences."""
    persistence = baseline_mae["persistence"]
    best = min(baseline_mae, key=lambda name: baseline_mae[name])
    best_mae = baseline_mae[best]
    label = baseline_label(best)
    if abs(model_mae - persistence) <= TIE * persistence:
        first = (
            f"Persistence is as good as the model: repeating the last value has a mean absolute error of "
            f"{persistence:.3f} Mbit/s, the model {model_mae:.3f}."
        )
    elif model_mae > persistence:
        first = (
            f"Persistence wins: repeating the last value has a mean absolute error of {persistence:.3f} Mbit/s, "
            f"the model {model_mae:.3f}."
        )
    else:
        first = (
            f"The model's mean absolute error is {model_mae:.3f} Mbit/s, "
            f"{100 * (1 - model_mae / persistence):.1f} % below persistence's {persistence:.3f}."
        )
    if best == "persistence":
        return first
    if abs(model_mae - best_mae) <= TIE * best_mae:
        return f"{first} The {label} is as good as the model: {best_mae:.3f}."
    if persistence > model_mae > best_mae:
        return f"{first} But the {label} beats the model: {best_mae:.3f}."
    return f"{first} The best naive forecast, the {label}, has {best_mae:.3f}."


def baseline_label(name: str) -> str:
    """The name of a baseline as people read it: "moving_average" -> "moving average"."""
    return name.replace("_", " ").replace("ewma", "EWMA")


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
        (n,) float32, Mbps.
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
    try:
        from linkcast import scaling
    except ImportError:  # armv7 has no numba: the engine scales
        return engine.forecast(model_name, windows_of(series, starts, window))
    scaler, scaled = engine.scaler(model_name), engine.model(model_name).batch_input(len(starts))
    scaling.scale_windows(series, starts, scaler.offset, scaler.scale, scaled)
    return engine.forecast_batch(model_name, len(starts))


def windows_of(series: npt.NDArray[np.float64], starts: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.float64]:
    """(n, window, F): a copy of each window of a series."""
    windows: npt.NDArray[np.float64] = series[starts[:, None] + np.arange(window)]
    return windows


def evaluate_trace(
    engine: Engine, name: str, trace: Trace, progress: Callable[[int], None] | None = None
) -> Evaluation:
    """Scores a forecaster on every window of a trace that is followed by another row.

    Args:
        engine: holds the model.
        name: a forecaster, as in `Engine.forecast`.
        trace: telemetry.
        progress: is called with the number of windows done since its last call.
    Raises:
        ValueError: the model needs features that the trace does not have, or no segment is longer than a window.
    """
    model_name = engine.resolve(name, "forecaster")
    spec = engine.spec(model_name)
    window = spec["window"]
    if window is None:
        raise ValueError(f"{model_name}: expected a model that reads windows")
    starts = trace.window_starts(window)
    if not len(starts):
        raise ValueError(
            f"{trace.name}: expected a segment of at least {window + 1} rows, got none in {len(trace)} rows"
        )
    forecasts = forecast_windows(engine, model_name, trace.select(spec["features"]), starts, progress)
    bandwidth = TELEMETRY.index(spec["target"] or "bandwidth_mbps")
    targets = trace.features[starts + window, bandwidth]
    return evaluate_forecasts(forecasts, targets, windows_of(trace.features, starts, window), bandwidth)
