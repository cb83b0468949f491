"""A trace of arrays in memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from linkcast.features import TELEMETRY, plain_numbers
from linkcast.traces.gaps import Rows, build
from linkcast.traces.trace import Trace


def trace_from_arrays(features: npt.ArrayLike, timestamps: npt.ArrayLike | None = None, name: str = "trace") -> Trace:
    """A trace from arrays in memory, cut where time jumps.

    Args:
        features: (rows, 4) latency_ms, bandwidth_mbps, packet_loss, reliability; oldest first.
        timestamps: (rows,) datetime64, or None.
        name: what reports call it.
    Raises:
        ValueError: wrong shapes, or values out of range (see `read_trace`).
    """
    rows = np.ascontiguousarray(plain_numbers(features, "features"))
    if rows.ndim != 2 or rows.shape[1] != len(TELEMETRY):
        raise ValueError(f"features: expected (rows, {len(TELEMETRY)}), got {rows.shape}")
    times = None if timestamps is None else np.asarray(timestamps).astype("datetime64[us]")
    if times is not None and times.shape != rows.shape[:1]:
        raise ValueError(f"timestamps: expected ({len(rows)},), got {times.shape}")
    wall = None if times is None else times.astype(np.int64)
    given = Rows(
        name, np.zeros(len(rows), np.int64), np.arange(len(rows)), wall, wall, clock="as written", as_given=True
    )
    return build(name, rows, given, None)
