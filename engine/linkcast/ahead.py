"""What comes after the end of a file: each link's forecast for the next steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from linkcast.outlook import links_of
from linkcast.stream_answers import BATCH, STEPS, samples_came
from linkcast.traces import Trace

if TYPE_CHECKING:
    from linkcast._native import Answer
    from linkcast.engine import Engine


@dataclass(frozen=True)
class LinkAhead:
    """One link's forecast from the end of its rows on.

    Args:
        link: its provider and session; "" where the file has one link.
        model: that the stream runs.
        rows: that the stream has learnt from.
        end: the last row's time, on the site's clock; None without one.
        clock: which that is, as `Trace.clock` says it: "as written", "UTC", a zone; "" without times.
        step_s: seconds between the file's rows, and so between the answers; None without times.
        answers: (10,) 1 to 10 steps ahead, in Mbit/s; `reserve` is at the level that was asked for.
        peaks: (10,) of the highest value within the next 1 to 10 steps, in Mbit/s, as the stream says it.
    """

    link: str
    model: str
    rows: int
    end: np.datetime64 | None
    clock: str
    step_s: float | None
    answers: tuple[Answer, ...]
    peaks: tuple[Answer, ...]

    @property
    def peak_p90(self) -> tuple[float, ...]:
        """(10,) Mbit/s that the highest value up to each step exceeds one time in ten.

        The stream follows the quantile of each step by itself. But the highest of more values is no lower, nor is it
        lower than one of them, so each number here is at least those before it and the P90 of its own step.
        """
        bounds = (max(answer.p90, peak.p90) for answer, peak in zip(self.answers, self.peaks, strict=True))
        return tuple(accumulate(bounds, max))

    def time(self, steps: int) -> np.datetime64 | None:
        """The site's clock so many steps ahead."""
        if self.end is None or self.step_s is None:
            return None
        return self.end + np.timedelta64(round(steps * self.step_s * 1e6), "us")

    def report(self) -> dict[str, Any]:
        """As plain numbers, for JSON."""
        ahead = []
        for steps, (answer, peak_p90) in enumerate(zip(self.answers, self.peak_p90, strict=True), 1):
            time = self.time(steps)
            row = {"steps": steps, "time": None if time is None else str(time)}
            row |= {name: getattr(answer, name) for name in ("mbps", "p10", "p50", "p90", "reserve")}
            ahead.append({**row, "peak_p90": peak_p90, "source": answer.source})
        end = None if self.end is None else str(self.end)
        about = {"link": self.link, "model": self.model, "rows": self.rows, "end": end, "clock": self.clock}
        return {**about, "step_s": self.step_s, "ahead": ahead}


def forecast_ahead(
    engine: Engine, name: str, trace: Trace, level: float = 0.95, progress: Callable[[int], None] | None = None
) -> list[LinkAhead]:
    """Runs each link of a trace through a stream of its own, and asks it for what comes next.

    Args:
        engine: holds the model.
        name: a forecaster, as in `Engine.stream`.
        trace: telemetry, as `read_trace` returns it.
        level: of `Answer.reserve`, as in `Engine.stream`.
        progress: is called with the number of rows done since its last call.
    Returns:
        The links in the order of the file, but for those whose last rows make no window.
    Raises:
        TypeError: the trace is none.
        ValueError: an unknown name, features that the trace does not have, or no link whose last rows make a window.
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"trace: expected what read_trace returns, got {type(trace).__name__}")
    model = engine.resolve(name, "forecaster")
    spec = engine.spec(model)
    window = spec["window"]
    if window is None or spec["target"] not in (None, "bandwidth_mbps"):
        raise ValueError(f"{model}: expected a model that reads windows and forecasts bandwidth_mbps")
    series = trace.select(spec["features"])
    names = list(dict.fromkeys(trace.sources)) or [""]
    found, longest = [], 0
    for link, own in zip(names, links_of(trace, window), strict=True):
        most = max(rows.stop - rows.start for rows in own.segments)  # no segment is held for longer
        stream = engine.stream(model, most_held=most, horizon=STEPS, level=level)
        for rows in own.segments:
            if stream.ticks:
                stream.reset()
            came = samples_came(rows.stop - rows.start, None if trace.held is None else trace.held[rows])
            for begin in range(0, len(came), BATCH):
                part = series[rows][begin : begin + BATCH]
                stream.push_many(part, came[begin : begin + BATCH])
                if progress is not None:
                    progress(len(part))
        longest = max(longest, len(came))
        ahead = [(stream.horizon(steps), stream.peak(steps)) for steps in range(1, STEPS + 1)]
        answers = tuple(answer for answer, _ in ahead if answer is not None)
        peaks = tuple(peak for _, peak in ahead if peak is not None)
        if len(answers) < STEPS or len(peaks) < STEPS:
            continue
        end = None if trace.timestamps is None or not trace.dated else trace.timestamps[own.segments[-1].stop - 1]
        count = sum(rows.stop - rows.start for rows in own.segments)
        found.append(LinkAhead(link, model, count, end, trace.clock, trace.step_s, answers, peaks))
    if not found:
        raise ValueError(f"{trace.name}: expected at least {window} rows without a gap at its end, got {longest}")
    return found
