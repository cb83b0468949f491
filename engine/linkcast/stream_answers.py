"""What a stream answers at every tick of a series, each answer from the past alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast.engine import Engine

if TYPE_CHECKING:
    from linkcast._native import Answer, Stream

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

STEPS = 10
"""Steps ahead that answers reach, 1 to STEPS."""

COST_RATIOS = (1, 3, 10, 100)
"""What a missing Mbit/s costs over what an idle one costs; ratio / (ratio + 1) is the level of the least cost."""

BATCH = 2048  # ticks in one call: bounds the memory of a long series, and paces the progress callback

MBPS, P10, P50, P90, RESERVE = range(5)  # the last axis of what `Stream.push_many` gives


@dataclass(frozen=True)
class StreamScores:
    """Mbit/s at each of n ticks: a tick is a row with a full window behind it, itself included. None: not answered."""

    mbps: FloatArray  # (n,) one step ahead; NaN where nobody could answer
    sources: npt.NDArray[np.str_]  # (n,) who gave the answer: "model", "mixture", "fallback", ...
    p10: FloatArray | None = None  # (n,) one step ahead, as the next two
    p50: FloatArray | None = None
    p90: FloatArray | None = None
    horizon: FloatArray | None = None  # (n, STEPS) the forecast 1 to STEPS steps ahead
    horizon_p90: FloatArray | None = None  # (n, STEPS)
    peak_p90: FloatArray | None = None  # (n, STEPS) of the peak over the next 1 to STEPS steps
    reserve: FloatArray | None = None  # (n, len(COST_RATIOS)) the quantile of least cost, one step ahead

    def at(self, ticks: Mask) -> StreamScores:
        """The marked ticks, (n,)."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        return replace(self, **{name: values[ticks] for name, values in columns.items() if values is not None})


def stream_answers(
    engine: Engine,
    name: str,
    segments: Sequence[npt.NDArray[np.float64]],
    progress: Callable[[int], None] | None = None,
    held: Sequence[Mask] | None = None,
    ahead: bool = True,
) -> StreamScores:
    """Runs one link's telemetry through a stream.

    Args:
        engine: holds the model.
        name: a forecaster, as in `Engine.stream`.
        segments: each (rows, F) in physical units without a gap, in the order of time. A gap empties the window; what
            the stream has learnt stays.
        progress: is called with the number of ticks done since its last call.
        held: of each segment (rows,) True where no sample came and an earlier one is held: so it is for the stream.
        ahead: False: one step ahead only, without the horizons, the peaks and the reservations.
    Returns:
        n = the sum of rows - window + 1 over the segments that are as long as a window, in their order.
    Raises:
        ValueError: an unknown name, or a segment of another width.
    """
    window = engine.spec(engine.resolve(name, "forecaster"))["window"] or 1
    ticks = sum(max(0, len(rows) - window + 1) for rows in segments)
    came = [samples_came(len(rows), None if held is None else held[index]) for index, rows in enumerate(segments)]

    def run(steps: int, level: float) -> Iterator[tuple[slice, dict[str, Any]]]:
        """Every segment's ticks with a full window, a batch at a time, and where they belong."""
        # No segment is held for longer than it has rows.
        stream = engine.stream(name, most_held=max(map(len, segments), default=0), horizon=steps, level=level)
        return _batches(stream, segments, came, window)

    mbps, sources = np.full(ticks, np.nan), np.full(ticks, "none", "U16")
    band = np.full((ticks, 3), np.nan)
    steps = STEPS if ahead else 1
    horizon, horizon_p90, peak_p90 = (np.full((ticks, steps), np.nan) for _ in range(3))
    reserve = np.full((ticks, len(COST_RATIOS)), np.nan)
    mixed = False
    levels = [ratio / (ratio + 1.0) for ratio in COST_RATIOS]
    for rows, bulk in run(steps, levels[-1]):
        following = bulk["next"]
        mixed = bulk["horizon"].shape[1] > 0
        mbps[rows], band[rows] = following[:, MBPS], following[:, P10 : P90 + 1]
        sources[rows] = np.asarray(bulk["source_names"])[bulk["source"]]
        reserve[rows, -1] = following[:, RESERVE]
        if mixed:
            horizon[rows], horizon_p90[rows] = bulk["horizon"][:, :, MBPS], bulk["horizon"][:, :, P90]
            peak_p90[rows] = bulk["peak"][:, :, P90]
        if progress is not None:
            progress(len(following))
    if not mixed:
        return StreamScores(mbps, sources)
    p10, p50, p90 = np.ascontiguousarray(band.T)
    if not ahead:
        return StreamScores(mbps, sources, p10, p50, p90)
    for index, level in enumerate(levels[:-1]):  # a stream has one level
        if level == 0.5:
            reserve[:, index] = p50
            continue
        for rows, bulk in run(1, level):
            reserve[rows, index] = bulk["next"][:, RESERVE]
    return StreamScores(mbps, sources, p10, p50, p90, horizon, horizon_p90, peak_p90, reserve)


def samples_came(rows: int, held: Mask | None) -> Mask:
    """(rows,) True where a sample came. The first row of a segment stands for one: there is nothing to hold."""
    came = np.ones(rows, np.bool_) if held is None else ~held
    came[:1] = True
    return came


def _batches(
    stream: Stream[Answer | None], segments: Sequence[npt.NDArray[np.float64]], came: Sequence[Mask], window: int
) -> Iterator[tuple[slice, dict[str, Any]]]:
    done = 0
    for rows, present in zip(segments, came, strict=True):
        if stream.ticks:
            stream.reset()
        for begin in range(0, len(rows), BATCH):
            bulk = stream.push_many(rows[begin : begin + BATCH], present[begin : begin + BATCH])
            short = min(max(window - 1 - begin, 0), len(bulk["next"]))  # ticks before the window is full
            count = len(bulk["next"]) - short
            for key in ("next", "horizon", "peak", "source"):
                bulk[key] = bulk[key][short:]
            yield slice(done, done + count), bulk
            done += count
