"""The batch paths' kernels: they build and scale windows straight into an engine's input memory.

Each does what `Scaler` does: scaled = (x - offset) * scale in float64, rounded once to float32. Only batch paths import
this module, since importing numba takes longer than a thousand forecasts; the machine code is cached on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from linkcast.features import DAY_S, EPOCH_WEEKDAY, HOUR_S, HOURS_PER_WEEK, TELEMETRY

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_N_TELEMETRY = len(TELEMETRY)


def _kernel(function: _Kernel) -> _Kernel:
    try:
        return cast("_Kernel", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder to cache in: compile in each process
        return cast("_Kernel", numba.njit(nogil=True)(function))


@_kernel
def scale_rows(rows: Float64, offset: Float64, scale: Float64, scaled: Float32) -> None:
    """Scales rows.

    Args:
        rows: (n, F) physical units.
        offset: (F,) the minimum of each feature.
        scale: (F,) 1 / (maximum - minimum).
        scaled: (n, F) float32, written.
    """
    for row in range(rows.shape[0]):
        for feature in range(rows.shape[1]):
            scaled[row, feature] = np.float32((rows[row, feature] - offset[feature]) * scale[feature])


@_kernel
def scale_windows(series: Float64, starts: Int64, offset: Float64, scale: Float64, scaled: Float32) -> None:
    """Scales sliding windows of a series; window i is the rows starts[i] .. starts[i] + T - 1.

    Args:
        series: (rows, F) physical units.
        starts: (n,) first row of each window; starts[i] + T <= rows.
        offset: (F,) the minimum of each feature.
        scale: (F,) 1 / (maximum - minimum).
        scaled: (n, T, F) float32, written.
    """
    for index in range(scaled.shape[0]):
        for step in range(scaled.shape[1]):
            row = starts[index] + step
            for feature in range(scaled.shape[2]):
                value = (series[row, feature] - offset[feature]) * scale[feature]
                scaled[index, step, feature] = np.float32(value)


@_kernel
def scale_profile_windows(
    seconds: Int64,
    step_s: int,
    profile: Float64,
    columns: Int64,
    offset: Float64,
    scale: Float64,
    scaled: Float32,
) -> None:
    """Builds the windows of `features.profile_windows` and scales them.

    Args:
        seconds: (n,) the times to forecast.
        step_s: seconds between steps.
        profile: (168, 4) telemetry by hour of the week.
        columns: (F,) the model's features, from `features.feature_columns`.
        offset: (F,) the minimum of each feature.
        scale: (F,) 1 / (maximum - minimum).
        scaled: (n, T, F) float32, written.
    """
    steps = scaled.shape[1]
    features = np.empty(_N_TELEMETRY + 4)
    for index in range(scaled.shape[0]):
        for step in range(steps):
            time = seconds[index] - (steps - step) * step_s
            slot = (time // HOUR_S + 24 * EPOCH_WEEKDAY) % HOURS_PER_WEEK
            hour_angle = 2.0 * math.pi * ((time % DAY_S) // 60 / 60.0) / 24.0
            weekday_angle = 2.0 * math.pi * ((time // DAY_S + EPOCH_WEEKDAY) % 7) / 7.0
            for column in range(_N_TELEMETRY):
                features[column] = profile[slot, column]
            features[_N_TELEMETRY] = math.sin(hour_angle)
            features[_N_TELEMETRY + 1] = math.cos(hour_angle)
            features[_N_TELEMETRY + 2] = math.sin(weekday_angle)
            features[_N_TELEMETRY + 3] = math.cos(weekday_angle)
            for feature in range(scaled.shape[2]):
                value = (features[columns[feature]] - offset[feature]) * scale[feature]
                scaled[index, step, feature] = np.float32(value)
