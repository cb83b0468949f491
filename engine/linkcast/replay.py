"""Replays a trace tick by tick, as a controller would see it: forecast, decide, next tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast import metrics
from linkcast.engine import Engine
from linkcast.evaluation import Evaluation, add_stream, baseline_forecasts, score
from linkcast.features import BANDWIDTH
from linkcast.outlook import link_answers, links_of
from linkcast.stream_answers import StreamScores
from linkcast.traces import Trace
from linkcast.windows import windows_of

TICKS_PER_REPORT = 256  # ticks between two calls of the progress callback
SKILL_TICKS = 60  # that the rolling skill looks at: a minute at one tick a second

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Replay:
    """What happened at each tick. A tick is a row that has a full window behind it and a measured row after it."""

    trace: Trace
    profile: str
    forecaster: str
    allocator: str
    window: int
    backend: dict[str, str]  # by model name: "native (avx512)" or "tflite"
    starts: npt.NDArray[np.int64]  # (ticks,) first row of each window
    forecasts: npt.NDArray[np.float32]  # (ticks,) Mbit/s, the model alone
    actions: npt.NDArray[np.int32]  # (ticks,) 0..9
    forecast_us: npt.NDArray[np.float64]  # (ticks,) time of one forecast
    decide_us: npt.NDArray[np.float64]  # (ticks,) time of one decision
    evaluation: Evaluation
    capacity_mbps: float | None  # of the link that is allocated; None when neither caller nor manifest says it
    skill_ticks: int  # that the next one looks at
    rolling_skill: npt.NDArray[np.float64]  # (ticks,) 1 - stream's errors / EWMA's over the last ticks; NaN before
    stream: StreamScores  # (ticks,) what a stream answers, one step ahead
    baselines: dict[str, npt.NDArray[np.float64]]  # (ticks,) Mbit/s each

    @property
    def targets(self) -> npt.NDArray[np.float64]:
        """(ticks,) Mbit/s, the bandwidth that came after each window."""
        targets: npt.NDArray[np.float64] = self.trace.features[self.starts + self.window, BANDWIDTH]
        return targets

    @property
    def answers(self) -> npt.NDArray[np.float64]:
        """(ticks,) Mbit/s, what a stream answers; the last value where nobody could."""
        return answered(self.stream, self.baselines)

    def report(self) -> dict[str, Any]:
        """The summary as plain numbers, for JSON."""
        allocations = np.bincount(self.actions, minlength=10)
        return {
            "trace": self.trace.name,
            "rows": len(self.trace),
            "dropped_rows": self.trace.dropped_rows,
            "held_rows": self.trace.held_rows,
            "neutral": dict(self.trace.neutral),
            "segments": len(self.trace.segment_starts),
            "step_s": self.trace.step_s,
            "profile": self.profile,
            "ticks": len(self.starts),
            "models": {self.forecaster: self.backend[self.forecaster], self.allocator: self.backend[self.allocator]},
            "accuracy": dict(self.evaluation),
            "rolling_skill": self._skill_report(),
            "stream": self._stream_report(),
            "latency_us": {"forecast": latency(self.forecast_us), "decide": latency(self.decide_us)},
            "allocation": {
                "capacity_mbps": self.capacity_mbps,
                "mean_percent": float(np.mean((self.actions + 1) * 10.0)),
                "ticks_by_percent": {f"{(action + 1) * 10}": int(count) for action, count in enumerate(allocations)},
            },
        }

    def _skill_report(self) -> dict[str, Any] | None:
        """Of the ticks that have a rolling skill; None when there are none."""
        skill = self.rolling_skill[np.isfinite(self.rolling_skill)]
        if not len(skill):
            return None
        return {
            "ticks": self.skill_ticks,
            "median": float(np.median(skill)),
            "least": float(np.min(skill)),
            "most": float(np.max(skill)),
            "last": float(skill[-1]),
            "share_below_zero": float(np.mean(skill < 0.0)),
        }

    def _stream_report(self) -> dict[str, Any]:
        """What a stream answers: its mean absolute error, how many answers came from whom, and its band, if any."""
        report: dict[str, Any] = {
            "mae": self.evaluation["stream"]["scores"]["mae"],
            "answers_by_source": self.evaluation["stream"]["answered_by"],
            "band": None,
        }
        low, middle, high = self.stream.p10, self.stream.p50, self.stream.p90
        if low is not None and middle is not None and high is not None:
            given = np.isfinite(high)
            if given.any():
                report["band"] = metrics.band(low[given], middle[given], high[given], self.targets[given])
        return report


def answered(stream: StreamScores, baselines: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """(n,) the stream's answers, and the last value where nobody could answer."""
    return np.where(np.isfinite(stream.mbps), stream.mbps, baselines["persistence"])


def rolling_skill(
    errors: npt.NDArray[np.float64], ewma_errors: npt.NDArray[np.float64], ticks: int
) -> npt.NDArray[np.float64]:
    """1 - the absolute errors / the EWMA's over the last ticks, the tick itself included.

    Args:
        errors, ewma_errors: (n,) absolute errors, in one unit.
        ticks: how many the sums are over, 1 or more.
    Returns:
        (n,), NaN for the first ticks - 1, and where the EWMA makes no error.
    """
    skill = np.full(len(errors), np.nan)
    if len(errors) >= ticks:
        ours, of_ewma = (
            np.lib.stride_tricks.sliding_window_view(one, ticks).sum(axis=1) for one in (errors, ewma_errors)
        )
        np.divide(ours, of_ewma, out=skill[ticks - 1 :], where=of_ewma > 0.0)
    return 1.0 - skill


def stream_of(engine: Engine, name: str, trace: Trace, starts: npt.NDArray[np.int64]) -> StreamScores:
    """What the links' streams answer one step ahead after the windows that begin at (n,) `starts`."""
    window = engine.spec(engine.resolve(name, "forecaster"))["window"] or 1
    every = link_answers(engine, name, trace, links_of(trace, window), window, ahead=False)
    ticks = np.isin(trace.window_starts(window, measured=False), starts, assume_unique=True)
    return every.at(ticks)


def latency(times_us: npt.NDArray[np.float64]) -> dict[str, float]:
    """Percentiles of call times, in microseconds."""
    p50, p99 = np.percentile(times_us, [50.0, 99.0])
    return {"p50": float(p50), "p99": float(p99), "max": float(np.max(times_us))}


def allocator_capacity_mbps(engine: Engine, allocator: str) -> float | None:
    """Capacity of the link that an allocator was trained on, by the manifest."""
    capacity = engine.manifest["models"][allocator]["trained_on"].get("capacity_mbps")
    return None if capacity is None else float(capacity)


def capacity_ratio(trained_mbps: float | None, capacity_mbps: float | None) -> float:
    """What the bandwidth of a state is multiplied with so that an allocator sees a link of the capacity it knows.

    Raises:
        ValueError: the capacity is not above 0, or it is given and the manifest does not say the trained one.
    """
    if capacity_mbps is None:
        return 1.0
    if not (np.isfinite(capacity_mbps) and capacity_mbps > 0.0):
        raise ValueError(f"capacity_mbps: expected a number above 0, got {capacity_mbps!r}")
    if trained_mbps is None:
        raise ValueError("capacity_mbps: expected trained_on.capacity_mbps of the allocator in manifest.json, got none")
    return trained_mbps / capacity_mbps


def replay(
    engine: Engine,
    trace: Trace,
    profile: str = "internet",
    progress: Progress | None = None,
    capacity_mbps: float | None = None,
    skill_ticks: int = SKILL_TICKS,
) -> Replay:
    """Walks a trace: at each tick one forecast from the window and one decision from the newest row, each timed.

    A stream walks it too, and its answers are what is scored beside the model alone and the naive rules.

    Args:
        engine: the models.
        trace: link telemetry.
        profile: "internet" or "datacenter".
        progress: is called with the number of ticks done since its last call.
        capacity_mbps: of the replayed link; None takes it for a link like the one that the allocator was trained on.
        skill_ticks: that the rolling skill looks at.
    Raises:
        ValueError: an unknown profile, a capacity that is not above 0, skill_ticks out of range, or no segment longer
            than a window.
    """
    forecaster, allocator = engine.resolve(profile, "forecaster"), engine.resolve(profile, "allocator")
    spec = engine.spec(forecaster)
    window = spec["window"]
    if window is None:
        raise ValueError(f"{forecaster}: expected a model that reads windows")
    if skill_ticks < 1:
        raise ValueError(f"skill_ticks: expected 1 or more, got {skill_ticks}")
    starts = trace.window_starts(window)
    if not len(starts):
        raise ValueError(
            f"{trace.name}: expected a segment of {window + 1} rows or more, got none in {len(trace)} rows"
        )

    series, states = trace.select(spec["features"]), trace.select(engine.spec(allocator)["features"])
    trained_mbps = allocator_capacity_mbps(engine, allocator)
    states[:, BANDWIDTH] *= capacity_ratio(trained_mbps, capacity_mbps)
    forecasts = np.empty(len(starts), np.float32)
    actions = np.empty(len(starts), np.int32)
    times_ns = np.empty((len(starts), 3), np.int64)  # before, between, after
    engine.forecast_raw(forecaster, series[:window])  # the first call of a process loads code and touches the weights
    engine.decide(allocator, states[0])
    for tick, start in enumerate(starts.tolist()):
        samples, state = series[start : start + window], states[start + window - 1]
        times_ns[tick, 0] = perf_counter_ns()
        forecast = engine.forecast_raw(forecaster, samples)
        times_ns[tick, 1] = perf_counter_ns()
        action = engine.decide(allocator, state)
        times_ns[tick, 2] = perf_counter_ns()
        forecasts[tick], actions[tick] = forecast[0], action[0]
        if progress is not None and (tick + 1) % TICKS_PER_REPORT == 0:
            progress(TICKS_PER_REPORT)
    if progress is not None:
        progress(len(starts) % TICKS_PER_REPORT)

    targets = trace.features[starts + window, BANDWIDTH]
    windows = windows_of(trace.features, starts, window)
    baselines = baseline_forecasts(windows, targets, BANDWIDTH)
    stream = stream_of(engine, forecaster, trace, starts)
    answers = answered(stream, baselines)
    block = metrics.block_rows(len(starts), trace.step_s)
    evaluation = score(forecasts, targets, baselines, block=block)
    add_stream(evaluation, answers, stream.sources, targets, baselines, block)
    return Replay(
        trace=trace,
        profile=profile,
        forecaster=forecaster,
        allocator=allocator,
        window=window,
        backend={name: _backend(engine, name) for name in (forecaster, allocator)},
        starts=starts,
        forecasts=forecasts,
        actions=actions,
        forecast_us=(times_ns[:, 1] - times_ns[:, 0]) / 1e3,
        decide_us=(times_ns[:, 2] - times_ns[:, 1]) / 1e3,
        evaluation=evaluation,
        capacity_mbps=trained_mbps if capacity_mbps is None else capacity_mbps,
        skill_ticks=skill_ticks,
        rolling_skill=rolling_skill(np.abs(answers - targets), np.abs(baselines["ewma"] - targets), skill_ticks),
        stream=stream,
        baselines=baselines,
    )


def _backend(engine: Engine, name: str) -> str:
    model = engine.model(name)
    return f"native ({model.isa})" if model.backend == "native" else model.backend
