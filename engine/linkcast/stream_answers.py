"""What a stream answers at every tick of a series, each answer from the past alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linkcast.engine import Engine

FloatArray = npt.NDArray[np.float64]

STEPS = 10
"""Steps ahead that answers reach, 1 to STEPS."""

COST_RATIOS = (1, 3, 10, 100)
"""What a missing Mbit/s costs over what an idle one costs; ratio / (ratio + 1) is the level of the least cost."""

TICKS_PER_REPORT = 1024  # between two calls of the progress callback


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


def stream_answers(
    engine: Engine,
    name: str,
    segments: Sequence[npt.NDArray[np.float64]],
    progress: Callable[[int], None] | None = None,
) -> StreamScores:
    """Runs one link's telemetry through a stream.

    Args:
        engine: holds the model.
        name: a forecaster, as in `Engine.stream`.
        segments: each (rows, F) in physical units without a gap, in the order of time. A gap empties the window; what
            the stream has learnt stays.
        progress: is called with the number of ticks done since its last call.
    Returns:
        n = the sum of rows - window + 1 over the segments that are as long as a window, in their order.
    Raises:
        ValueError: an unknown name, or a segment of another width.
    """
    window = engine.spec(engine.resolve(name, "forecaster"))["window"] or 1
    ticks = sum(max(0, len(rows) - window + 1) for rows in segments)
    mbps, sources = np.full(ticks, np.nan), np.full(ticks, "none", "U16")
    stream = engine.stream(name, most_held=0)
    tick = 0
    for rows in segments:
        stream.push_missing()
        for index, row in enumerate(rows):
            answer = stream.push(row)
            if index < window - 1:
                continue
            if answer is not None:
                mbps[tick], sources[tick] = answer.mbps, answer.source
            tick += 1
            if progress is not None and tick % TICKS_PER_REPORT == 0:
                progress(TICKS_PER_REPORT)
    if progress is not None:
        progress(tick % TICKS_PER_REPORT)
    return StreamScores(mbps, sources)
