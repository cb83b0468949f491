"""The batch path's kernels: they scale windows of a series straight into an engine's input memory.

Each does what `Scaler.transform` does, in float64 and rounded once to float32; `ranges` gives what they need of a
scaler. `linkcast.kernels` is the door to this module: it imports numba. The machine code is cached on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from linkcast._native import Scaler

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def _kernel(function: _Kernel) -> _Kernel:
    try:
        return cast("_Kernel", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder to cache in: compile in each process
        return cast("_Kernel", numba.njit(nogil=True)(function))


def ranges(scaler: Scaler) -> Float64:
    """(5, F) float64: offset, scale, log_offset (0: none), the share of the first step's level to take off, and the
    bound (infinite: none)."""
    relative = [0.0 if word is None else share for word, share in zip(scaler.relative_to, scaler.share, strict=True)]
    bound = np.where(scaler.bound > 0.0, scaler.bound, np.inf)
    return np.array([scaler.offset, scaler.scale, scaler.log_offset, relative, bound], dtype=np.float64)


@_kernel
def _level(value: float, log_offset: float) -> float:
    """What of a value is scaled: its logarithm where there is a log_offset, and a value below 0 counts as 0 then."""
    if log_offset == 0.0:
        return value
    return math.log((0.0 if value < 0.0 else value) + log_offset)


@_kernel
def _scaled(relative: float, ranges: Float64, feature: int) -> float:
    """A level, less its reference, scaled; what is not finite passes every bound."""
    value = (relative - ranges[0, feature]) * ranges[1, feature]
    bound = ranges[4, feature]
    if math.isfinite(value) and abs(value) > bound:
        value = math.copysign(bound, value)
    return float(value)


@_kernel
def scale_windows(series: Float64, starts: Int64, ranges: Float64, scaled: Float32) -> None:
    """Scales sliding windows of a series; window i is the rows starts[i] .. starts[i] + T - 1.

    Args:
        series: (rows, F) physical units, finite.
        starts: (n,) first row of each window; starts[i] + T <= rows.
        ranges: (5, F) as `ranges` gives them.
        scaled: (n, T, F) float32, written.
    """
    for index in range(scaled.shape[0]):
        for feature in range(scaled.shape[2]):
            log_offset = ranges[2, feature]
            first = ranges[3, feature] * _level(series[starts[index], feature], log_offset)
            for step in range(scaled.shape[1]):
                level = _level(series[starts[index] + step, feature], log_offset)
                scaled[index, step, feature] = np.float32(_scaled(level - first, ranges, feature))
