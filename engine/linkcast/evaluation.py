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
from linkcast.outlook import AR, RISK, Ahead, Outlook, link_answers, link_autoregressions, links_of, skill_interval
from linkcast.outlook import targets_ahead as ahead_of
from linkcast.stream_answers import STEPS
from linkcast.traces import Trace
from linkcast.windows import forecast_windows, windows_of

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]

TIE = 0.01  # mean absolute errors that differ by less than this share count as equal

CONSTANT_RATE = 0.95  # persistence within 2 % in this share of the samples: there is nothing left to forecast


class Intervals(TypedDict):
    """95 % intervals by block bootstrap (see `metrics.block_bootstrap`)."""

    mae: Interval
    skill: Interval  # over the best baseline


class StreamRow(TypedDict):
    """What a stream answers, with all that its link has taught it, on the windows that the model is scored on."""

    scores: dict[str, float]
    interval: Intervals
    skill: float
    p_value: float  # of no difference to the best baseline; see `metrics.diebold_mariano`
    answered_by: dict[str, int]  # ticks by source


class _Sometimes(TypedDict, total=False):
    reference: dict[str, float]  # LightGBM's scores
    sources: dict[str, Evaluation]  # by source, where a trace has several
    stream: StreamRow  # of a trace
    outlook: Outlook  # of a trace
    block_rows: int  # of a trace: rows of a block of the bootstrap


class Evaluation(_Sometimes):
    """Scores in Mbit/s, percent (mape) and shares 0..1 (within_...); keys as `metrics.summary` gives them.

    "model" is the model alone, one window at a time; the verdict of a trace is the stream's.
    """

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
        earlier: (windows, targets) of an earlier part, from which the AR(10) learns before; it goes on learning.
        order: (n,) the windows in the order of time, where that is not their own; see `growing_autoregression`.
    """
    forecasts = {name: forecast(windows, bandwidth) for name, forecast in naive.BASELINES.items()}
    known = 0
    if earlier is not None:
        known, count = np.size(earlier[1]), np.size(targets)
        later = np.arange(count) if order is None else np.asarray(order, dtype=np.int64)
        order = np.concatenate([np.arange(known), known + later])
        windows = np.concatenate([np.asarray(earlier[0])[:, :, bandwidth], np.asarray(windows)[:, :, bandwidth]])
        windows, bandwidth = windows[:, :, None], 0
        targets = np.concatenate([np.asarray(earlier[1]), np.asarray(targets)])
    forecasts[AR] = naive.growing_autoregression(windows, targets, bandwidth, order)[known:]
    return forecasts


def score(
    forecasts: npt.ArrayLike,
    targets: npt.ArrayLike,
    baselines: Mapping[str, npt.ArrayLike],
    reference: npt.ArrayLike | None = None,
    block: int | None = None,
) -> Evaluation:
    """Scores forecasts and those of the baselines, all (n,) in Mbit/s and in the order of time.

    Args:
        block: rows of a block of the bootstrap; see `metrics.block_bootstrap`.
    Raises:
        ValueError: the shapes do not belong together, or n is 0.
    """
    scores = metrics.summary(forecasts, targets)
    rivals = {name: metrics.summary(forecast, targets) for name, forecast in baselines.items()}
    best = min(rivals, key=lambda name: rivals[name]["mae"])
    mean, skills = _intervals(forecasts, targets, baselines, block)
    evaluation: Evaluation = {
        "samples": int(np.size(targets)),
        "model": scores,
        "interval": {"mae": mean, "skill": skills[best]},
        "baselines": rivals,
        "best_baseline": best,
        "skill": metrics.skill(scores["mae"], rivals[best]["mae"]),
        "verdict": verdict(scores, rivals, skills),
    }
    if reference is not None:
        evaluation["reference"] = metrics.summary(reference, targets)
    return evaluation


def add_stream(
    evaluation: Evaluation,
    answers: npt.ArrayLike,
    sources: npt.ArrayLike,
    targets: npt.ArrayLike,
    baselines: Mapping[str, npt.ArrayLike],
    block: int,
) -> None:
    """Puts a stream's scores into the model's, which are of the same ticks; the verdict becomes the stream's.

    Args:
        evaluation: as `score` gives it of these targets and baselines.
        answers: (n,) Mbit/s, one step ahead.
        sources: (n,) who gave them.
        targets, baselines, block: as in `score`.
    """
    given, came = np.asarray(answers, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    best, scores = evaluation["best_baseline"], metrics.summary(given, came)
    mean, skills = _intervals(given, came, baselines, block)
    names, ticks = np.unique(np.asarray(sources), return_counts=True)
    errors, least = np.abs(given - came), np.abs(np.asarray(baselines[best], dtype=np.float64) - came)
    evaluation["stream"] = {
        "scores": scores,
        "interval": {"mae": mean, "skill": skills[best]},
        "skill": metrics.skill(scores["mae"], evaluation["baselines"][best]["mae"]),
        "p_value": metrics.diebold_mariano(errors, least, lags=block)[1],
        "answered_by": dict(zip(names.tolist(), ticks.tolist(), strict=True)),
    }
    evaluation["block_rows"] = block
    alone = f"The model alone, without history, has {evaluation['model']['mae']:.3f}."
    evaluation["verdict"] = f"{verdict(scores, evaluation['baselines'], skills, 'stream')} {alone}"


def _intervals(
    forecasts: npt.ArrayLike, targets: npt.ArrayLike, baselines: Mapping[str, npt.ArrayLike], block: int | None
) -> tuple[Interval, dict[str, Interval]]:
    """Of the mean absolute error, and of the skill over each baseline."""
    actual = np.asarray(targets, dtype=np.float64)
    errors = np.abs(
        np.stack([np.asarray(values, dtype=np.float64) - actual for values in (forecasts, *baselines.values())])
    )
    means = metrics.block_bootstrap(errors, block=block)  # (1 + baselines, draws)
    skills = {name: skill_interval(means[0], row) for name, row in zip(baselines, means[1:], strict=True)}
    return metrics.interval(means[0]), skills


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
        forecasts: (n,) Mbit/s, in the order of time.
        targets: (n,) Mbit/s, what came.
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
    subject: str = "model",
) -> str:
    """What the scores say, in one or two sentences: the first sets it beside the best naive rule.

    Two forecasts tie when their mean absolute errors differ by less than TIE, or when the interval of the skill over
    the baseline holds 0. Where the last value is nearly always right, the second says so.

    Args:
        model: scores as `metrics.summary` gives them.
        baselines: the same by name; "persistence" among them.
        skill_intervals: the interval of the model's skill over each baseline.
        subject: what has been scored.
    """
    best = min(baselines, key=lambda name: baselines[name]["mae"])
    ours, least, last = model["mae"], baselines[best]["mae"], baselines["persistence"]
    low, high = (skill_intervals or {}).get(best, (np.nan, np.nan))
    rule, both = baseline_label(best, article=True), f"mean absolute errors of {least:.3f} and {ours:.3f} Mbit/s"
    if abs(ours - least) <= TIE * least or low <= 0.0 <= high:
        first = f"The best naive rule, {rule}, is as good as the {subject}: {both}."
    elif ours > least:
        first = f"The best naive rule, {rule}, is better than the {subject}: {both}."
    else:
        gain = 100.0 * (1.0 - ours / least)
        first = f"Against the best naive rule, {rule}, the {subject} is {gain:.1f} % better: {both}."
    if last["within_2_percent"] < CONSTANT_RATE:
        return first
    return (
        f"{first} The rate hardly changes, and persistence is as good as a forecast can usefully be: the last value is "
        f"within 2 % in {100 * last['within_2_percent']:.1f} % of the samples, the {subject} in "
        f"{100 * model['within_2_percent']:.1f} %."
    )


def digits(value: float, count: int = 4) -> str:
    """A number with so many digits that count, a zero at the end too: "43.80", "1234"."""
    return f"{value:#.{count}g}".rstrip(".")


def baseline_label(name: str, article: bool = False) -> str:
    """The name of a baseline as people read it: "moving_average" -> "moving average", or "the moving average"."""
    label = "AR(10)" if name == AR else name.replace("ewma", "EWMA").replace("_", " ")
    return f"the {label}" if article and name != "persistence" else label


@dataclass(frozen=True)
class ScoredTrace:
    """A forecaster on a trace: every window that counts, in the trace's order; one before a held row does not."""

    forecaster: str
    trace: Trace
    starts: npt.NDArray[np.int64]  # (n,) first row of each window
    window: int
    forecasts: npt.NDArray[np.float32]  # (n,) Mbit/s, the model alone
    baselines: dict[str, FloatArray]  # (n,) each
    reference: FloatArray | None  # (n,), LightGBM
    last: float | None  # the share that was scored; None is all of the trace
    scored: npt.NDArray[np.bool_]  # (windows of the trace,) which of them those n are
    ahead: Ahead  # of every window of the trace

    @property
    def targets(self) -> FloatArray:
        """(n,) Mbit/s, what came after each window."""
        targets: FloatArray = self.trace.features[self.starts + self.window, BANDWIDTH]
        return targets

    @property
    def answers(self) -> FloatArray:
        """(n,) Mbit/s, what a stream answers one step ahead."""
        return self.ahead.stream_forecast(1)[self.scored]

    @property
    def band(self) -> FloatArray | None:
        """(n, 2) Mbit/s, the stream's P10 and P90 of the next value; None when it gives none."""
        low, high = self.ahead.stream.p10, self.ahead.stream.p90
        return None if low is None or high is None else np.stack([low, high], axis=1)[self.scored]

    def evaluation(self) -> Evaluation:
        """The scores, and those of each source where the trace has several."""
        whole = self._score(np.ones(len(self.starts), np.bool_))
        whole["outlook"] = self.ahead.outlook(self.scored)
        sources = {name: rows[self.starts] for name, rows in self.trace.source_rows().items()}
        if len(sources) > 1:
            whole["sources"] = {name: self._score(rows) for name, rows in sources.items() if rows.any()}
        return whole

    def _score(self, rows: npt.NDArray[np.bool_]) -> Evaluation:
        targets, block = self.targets[rows], self.ahead.block
        baselines = {name: forecast[rows] for name, forecast in self.baselines.items()}
        light = None if self.reference is None else self.reference[rows]
        evaluation = score(self.forecasts[rows], targets, baselines, light, block)
        sources = self.ahead.stream.sources[self.scored][rows]
        add_stream(evaluation, self.answers[rows], sources, targets, baselines, block)
        return evaluation


def score_trace(
    engine: Engine,
    name: str,
    trace: Trace,
    progress: Callable[[int], None] | None = None,
    last: float | None = None,
    reference: bool = False,
) -> ScoredTrace:
    """Runs a forecaster on every window of a trace that a measured row follows: the model alone, and as a stream.

    Args:
        engine: holds the model.
        name: a forecaster, as in `Engine.forecast`.
        trace: telemetry.
        progress: is called with the number of windows done since its last call; the stream counts each once more.
        last: scores only windows whose target is in this last share of the trace (see `Trace.last_rows`); the stream,
            the AR(10) and the margins also see the part before, and the reference is fitted on it.
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
    every = trace.window_starts(window, measured=False)
    targets = ahead_of(trace, window)
    measured = np.isfinite(targets[:, 0])
    if not measured.any():
        raise ValueError(
            f"{trace.name}: expected a segment of at least {window + 1} rows, got none in {len(trace)} rows"
        )
    later = np.ones(len(every), np.bool_) if last is None else trace.last_rows(last)[every + window]
    scored = later & measured
    earlier = measured & ~later
    if last is not None and not (earlier.any() and scored.any()):
        counts = np.count_nonzero(earlier), np.count_nonzero(scored)
        raise ValueError(f"{trace.name}: expected windows before and after the cut, got {counts[0]} and {counts[1]}")

    series, starts = trace.select(spec["features"]), every[scored]
    forecasts = forecast_windows(engine, model_name, series, starts, progress)
    links = links_of(trace, window)
    bandwidth = windows_of(trace.features[:, BANDWIDTH : BANDWIDTH + 1], every, window)
    light, bounds = None, None
    if reference:
        column = spec["features"].index("bandwidth_mbps")
        light, bounds = _light(windows_of(series, every, window), targets, later, column)
        light = light[measured[later]]
    model = np.full(len(every), np.nan)
    model[scored] = forecasts
    ahead = Ahead(
        targets=targets,
        links=links,
        stream=link_answers(engine, model_name, trace, links, window, progress),
        model=model,
        rules={name: rule(bandwidth, 0) for name, rule in naive.BASELINES.items()},
        autoregression=link_autoregressions(bandwidth, targets, links, STEPS),
        block=metrics.block_rows(len(starts), trace.step_s),
        order=_in_time(trace, every + window),
        light=bounds,
    )
    rivals = {name: forecast[scored] for name, forecast in ahead.rule_forecasts(1).items()}
    return ScoredTrace(model_name, trace, starts, window, forecasts, rivals, light, last, scored, ahead)


def _in_time(trace: Trace, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Positions of rows in the order of time: by the clock, or as they stand."""
    return np.arange(len(rows)) if trace.moments is None else np.argsort(trace.moments[rows], kind="stable")


def _light(
    windows: FloatArray, targets: FloatArray, later: npt.NDArray[np.bool_], column: int
) -> tuple[FloatArray, FloatArray]:
    """LightGBM's forecasts of the later windows, and for all (n, 2) P90 of the next value and of the peak ahead."""
    from linkcast.reference import lightgbm_forecasts, lightgbm_quantile

    bounds = np.full((len(windows), 2), np.nan)
    for index, goal in enumerate((targets[:, 0], targets.max(axis=1))):
        reach = index * (STEPS - 1)  # rows from the next value to the last that the goal looks at
        before = ~(later | np.pad(later, (0, reach))[reach:]) & np.isfinite(goal)
        if before.any():
            known = windows[before], goal[before]
            bounds[later, index] = lightgbm_quantile(known, windows[later], 1.0 - RISK, column)
    earlier = ~later & np.isfinite(targets[:, 0])
    return lightgbm_forecasts((windows[earlier], targets[earlier, 0]), windows[later], column), bounds


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
