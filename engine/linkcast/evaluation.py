"""Scores of a forecaster beside the naive baselines, and a plain sentence about what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from linkcast import baselines as naive
from linkcast import metrics
from linkcast.engine import Engine
from linkcast.features import BANDWIDTH
from linkcast.traces import Trace

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]

TIE = 0.01  # mean absolute errors that differ by less than this share count as equal

CONSTANT_RATE = 0.95  # persistence within 2 % in this share of the samples: there is nothing left to forecast

BATCH = 2048  # windows scaled and run at a time: bounds the memory of a long trace


class Intervals(TypedDict):
    """95 % intervals by block bootstrap (see `metrics.block_bootstrap`)."""

    mae: Interval
    skill: Interval  # over the best baseline


class _Sometimes(TypedDict, total=False):
    reference: dict[str, float]  # LightGBM's scores
    sources: dict[str, Evaluation]  # by source, where a trace has several


class Evaluation(_Sometimes):
    """Scores in Mbit/s, percent (mape) and shares 0..1 (within_...); keys as `metrics.summary` gives them."""

    samples: int
    model: dict[str, float]
    interval: Intervals
    baselines: dict[str, dict[str, float]]
    best_baseline: str  # the one of least mean absolute error
    skill: float  # 1 - mae / mae of the best baseline; nan when that one is exact
    verdict: str


def baseline_forecasts(
    windows: npt.ArrayLike,
    targets: npt.ArrayLike,
    bandwidth: int = 1,
    earlier: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    order: npt.ArrayLike | None = None,
) -> dict[str, FloatArray]:
    """What each naive baseline says, by name.

    Args:
        windows: (n, T, F) in physical units.
        targets: (n,) what came.
        bandwidth: the column of the windows that is forecast.
        earlier: (windows, targets) of an earlier part, on which the AR(10) is fitted. Without, it learns as it goes:
            each of its forecasts rests on windows before.
        order: (n,) the windows in the order of time, where that is not their own; see `growing_autoregression`.
    """
    forecasts = {name: forecast(windows, bandwidth) for name, forecast in naive.BASELINES.items()}
    if earlier is not None:
        forecasts["ar10"] = naive.autoregression(windows, naive.fit_autoregression(*earlier, bandwidth), bandwidth)
    else:
        forecasts["ar10"] = naive.growing_autoregression(windows, targets, bandwidth, order)
    return forecasts


def score(
    forecasts: npt.ArrayLike,
    targets: npt.ArrayLike,
    baselines: Mapping[str, npt.ArrayLike],
    reference: npt.ArrayLike | None = None,
) -> Evaluation:
    """Scores forecasts and those of the baselines, all (n,) in Mbit/s and in the order of time.

    Raises:
        ValueError: the shapes do not belong together, or n is 0.
    """
    scores = metrics.summary(forecasts, targets)
    rivals = {name: metrics.summary(forecast, targets) for name, forecast in baselines.items()}
    best = min(rivals, key=lambda name: rivals[name]["mae"])
    actual = np.asarray(targets, dtype=np.float64)
    errors = np.abs(
        np.stack([np.asarray(values, dtype=np.float64) - actual for values in (forecasts, *baselines.values())])
    )
    means = metrics.block_bootstrap(errors)  # (1 + baselines, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        skills = {name: metrics.interval(1.0 - means[0] / row) for name, row in zip(rivals, means[1:], strict=True)}
    evaluation: Evaluation = {
        "samples": int(np.size(targets)),
        "model": scores,
        "interval": {"mae": metrics.interval(means[0]), "skill": skills[best]},
        "baselines": rivals,
        "best_baseline": best,
        "skill": metrics.skill(scores["mae"], rivals[best]["mae"]),
        "verdict": verdict(scores, rivals, skills),
    }
    if reference is not None:
        evaluation["reference"] = metrics.summary(reference, targets)
    return evaluation


def evaluate_forecasts(
    forecasts: npt.ArrayLike,
    targets: npt.ArrayLike,
    windows: npt.ArrayLike,
    bandwidth: int = 1,
    earlier: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    others: Mapping[str, npt.ArrayLike] | None = None,
    reference: npt.ArrayLike | None = None,
) -> Evaluation:
    """Scores forecasts and, on the same windows, every naive baseline.

    Args:
        forecasts: (n,) Mbps, in the order of time.
        targets: (n,) Mbps, what came.
        windows: (n, T, F) in physical units.
        bandwidth: the column of the windows that is forecast.
        earlier: as in `baseline_forecasts`.
        others: (n,) forecasts of further baselines, by name.
        reference: (n,) LightGBM's forecasts.
    Raises:
        ValueError: the shapes do not belong together, or n is 0.
    """
    baselines = {**baseline_forecasts(windows, targets, bandwidth, earlier), **(others or {})}
    return score(forecasts, targets, baselines, reference)


def verdict(
    model: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    skill_intervals: Mapping[str, Interval] | None = None,
) -> str:
    """What the scores say, in one to three sentences.

    Two forecasts tie when their mean absolute errors differ by less than TIE, or when the interval of the skill over
    the baseline holds 0. Where the last value is nearly always right, that is said first.

    Args:
        model: scores as `metrics.summary` gives them.
        baselines: the same by name; "persistence" among them.
        skill_intervals: the interval of the model's skill over each baseline.
    """
    intervals = skill_intervals or {}
    persistence = baselines["persistence"]
    best = min(baselines, key=lambda name: baselines[name]["mae"])
    ours, last = model["mae"], persistence["mae"]

    def ties(name: str) -> bool:
        low, high = intervals.get(name, (np.nan, np.nan))
        return abs(ours - baselines[name]["mae"]) <= TIE * baselines[name]["mae"] or low <= 0.0 <= high

    both = f"repeating the last value has a mean absolute error of {last:.3f} Mbit/s, the model {ours:.3f}"
    if persistence["within_2_percent"] >= CONSTANT_RATE:
        first = (
            f"The rate hardly changes, and persistence is as good as a forecast can usefully be: the last value is "
            f"within 2 % in {100 * persistence['within_2_percent']:.1f} % of the samples, the model in "
            f"{100 * model['within_2_percent']:.1f} %; {both}."
        )
    elif ties("persistence"):
        first = f"Here persistence is as good as the model: {both}."
    elif ours > last:
        first = f"Here persistence is better than the model: {both}."
    else:
        first = (
            f"The model's mean absolute error is {ours:.3f} Mbit/s, {100 * (1 - ours / last):.1f} % below "
            f"persistence's {last:.3f}."
        )
    if best == "persistence":
        return first
    label, least = baseline_label(best), baselines[best]["mae"]
    if ties(best):
        return f"{first} The best naive forecast, the {label}, is as good as the model: {least:.3f}."
    if ours > least:
        return f"{first} The best naive forecast, the {label}, is better than the model: {least:.3f}."
    return (
        f"{first} It is {100 * (1 - ours / least):.1f} % below the best naive forecast, the {label}, with {least:.3f}."
    )


def baseline_label(name: str, article: bool = False) -> str:
    """The name of a baseline as people read it: "moving_average" -> "moving average", or "the moving average"."""
    label = {"ewma": "EWMA", "ar10": "AR(10)"}.get(name, name.replace("_", " "))
    return f"the {label}" if article and name != "persistence" else label


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
        return engine.forecast_raw(model_name, windows_of(series, starts, window))
    spec, scaled = engine.spec(model_name), engine.model(model_name).batch_input(len(starts))
    scaling.scale_windows(series, starts, scaling.ranges(engine.scaler(model_name)), scaled)
    target = spec["features"].index(spec["target"]) if spec["target"] in spec["features"] else 0
    return engine.forecast_batch(model_name, series[starts + window - 1, target])


def windows_of(series: npt.NDArray[np.float64], starts: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.float64]:
    """(n, window, F): a copy of each window of a series."""
    windows: npt.NDArray[np.float64] = series[starts[:, None] + np.arange(window)]
    return windows


@dataclass(frozen=True)
class ScoredTrace:
    """A forecaster on a trace: every window that counts, in the trace's order."""

    forecaster: str
    trace: Trace
    starts: npt.NDArray[np.int64]  # (n,) first row of each window
    window: int
    forecasts: npt.NDArray[np.float32]  # (n,) Mbit/s
    baselines: dict[str, FloatArray]  # (n,) each
    reference: FloatArray | None  # (n,), LightGBM
    last: float | None  # the share that was scored; None is all of the trace

    @property
    def targets(self) -> FloatArray:
        """(n,) Mbit/s, what came after each window."""
        targets: FloatArray = self.trace.features[self.starts + self.window, BANDWIDTH]
        return targets

    def evaluation(self) -> Evaluation:
        """The scores, and those of each source where the trace has several."""
        whole = self._score(np.ones(len(self.starts), np.bool_))
        sources = {name: rows[self.starts] for name, rows in self.trace.source_rows().items()}
        if len(sources) > 1:
            whole["sources"] = {name: self._score(rows) for name, rows in sources.items() if rows.any()}
        return whole

    def _score(self, rows: npt.NDArray[np.bool_]) -> Evaluation:
        return score(
            self.forecasts[rows],
            self.targets[rows],
            {name: forecast[rows] for name, forecast in self.baselines.items()},
            None if self.reference is None else self.reference[rows],
        )


def score_trace(
    engine: Engine,
    name: str,
    trace: Trace,
    progress: Callable[[int], None] | None = None,
    last: float | None = None,
    reference: bool = False,
) -> ScoredTrace:
    """Runs a forecaster on every window of a trace that is followed by another row.

    Args:
        engine: holds the model.
        name: a forecaster, as in `Engine.forecast`.
        trace: telemetry.
        progress: is called with the number of windows done since its last call.
        last: scores only windows whose target is in this last share of the trace (see `Trace.last_rows`); the earlier
            part fits the AR(10) and the reference.
        reference: LightGBM beside the model; needs an earlier part.
    Raises:
        ValueError: the model needs features that the trace does not have, no segment is longer than a window, or a
            part has no window.
        ImportError: the reference is wanted, and lightgbm is not installed.
    """
    model_name = engine.resolve(name, "forecaster")
    spec = engine.spec(model_name)
    window = spec["window"]
    if window is None or spec["target"] not in (None, "bandwidth_mbps"):
        raise ValueError(f"{model_name}: expected a model that reads windows and forecasts bandwidth_mbps")
    if reference and last is None:
        raise ValueError(
            "reference: expected a share of the trace to score: the reference is fitted on the part before"
        )
    every = trace.window_starts(window)
    if not len(every):
        raise ValueError(
            f"{trace.name}: expected a segment of at least {window + 1} rows, got none in {len(trace)} rows"
        )
    later = np.ones(len(every), np.bool_) if last is None else trace.last_rows(last)[every + window]
    starts, before = every[later], every[~later]
    if last is not None and not (len(starts) and len(before)):
        raise ValueError(
            f"{trace.name}: expected windows before and after the cut, got {len(before)} and {len(starts)}"
        )

    series = trace.select(spec["features"])
    forecasts = forecast_windows(engine, model_name, series, starts, progress)
    bandwidth = trace.features[:, BANDWIDTH : BANDWIDTH + 1]
    targets = bandwidth[starts + window, 0]
    earlier = None
    if last is not None:
        earlier = windows_of(bandwidth, before, window), bandwidth[before + window, 0]
    order = None if trace.timestamps is None else np.argsort(trace.timestamps[starts + window], kind="stable")
    rivals = baseline_forecasts(windows_of(bandwidth, starts, window), targets, 0, earlier, order)
    light = None
    if reference:
        from linkcast.reference import lightgbm_forecasts

        fitted_on = windows_of(series, before, window), bandwidth[before + window, 0]
        column = spec["features"].index("bandwidth_mbps")
        light = lightgbm_forecasts(fitted_on, windows_of(series, starts, window), column)
    return ScoredTrace(model_name, trace, starts, window, forecasts, rivals, light, last)


def evaluate_trace(
    engine: Engine,
    name: str,
    trace: Trace,
    progress: Callable[[int], None] | None = None,
    last: float | None = None,
    reference: bool = False,
) -> Evaluation:
    """`score_trace`, and its scores.

    Raises:
        ValueError, ImportError: as `score_trace`.
    """
    return score_trace(engine, name, trace, progress, last, reference).evaluation()
