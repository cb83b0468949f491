"""Counters: what has gone by since a start, and the rate that it went by at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

LEAST_VALUES = 10  # a few values rise by chance
WRAP = 2.0**32  # of a counter of 32 bits, such as SNMP's ifInOctets


def rises(values: Float64) -> bool:
    """Whether the values look like a counter: they rise, but for resets to a small fraction of what was."""
    counted = values[np.isfinite(values)]
    if len(counted) < LEAST_VALUES:
        return False
    steps = np.diff(counted)
    down = np.flatnonzero(steps < 0)
    resets = bool((counted[down + 1] < 0.5 * counted[down]).all()) and len(down) <= max(1, len(steps) // 20)
    return resets and bool(np.count_nonzero(steps > 0) >= 0.3 * len(steps))


def rates(counts: Float64, seconds: Float64) -> Float64:
    """What a counter rose by in each second since the row before: of one source, in the order of time.

    After a reset nothing is known of one step: NaN, as in the first row. A counter of 32 bits that goes over is counted
    on, where that rise is no larger than four times the largest of the others.

    Args:
        counts: (rows,) NaN where there is none; the next rate is then over the longer time.
        seconds: (rows,) ascending.
    Returns:
        (rows,) counts in a second.
    """
    result = np.full(len(counts), np.nan)
    rows = np.flatnonzero(np.isfinite(counts) & np.isfinite(seconds))
    rise, time = np.diff(counts[rows]), np.diff(seconds[rows])
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = np.where(time > 0, rise / time, np.nan)
        most = np.max(usual, initial=0.0, where=np.isfinite(usual))
        around = (rise + WRAP) / time
    wraps = (rise < 0) & (counts[rows[:-1]] < WRAP) & (counts[rows[:-1]] > 0.5 * WRAP) & (around <= 4.0 * most)
    usual = np.where(wraps, around, usual)
    usual[(rise < 0) & ~wraps] = np.nan
    result[rows[1:]] = usual
    return result
