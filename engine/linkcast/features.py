"""The features of a model: the calendar of a time step, and windows for a time that has no telemetry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

Timestamp: TypeAlias = datetime | date | np.datetime64 | str | int | float

TELEMETRY = ("latency_ms", "bandwidth_mbps", "packet_loss", "reliability")
CALENDAR = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
FEATURES = TELEMETRY + CALENDAR
BANDWIDTH = TELEMETRY.index("bandwidth_mbps")
UNITS = {"latency_ms": "ms", "bandwidth_mbps": "Mbit/s", "packet_loss": "fraction", "reliability": "fraction"}

NEUTRAL = {"latency_ms": 50.0, "packet_loss": 0.0, "reliability": 1.0}
"""What a feature that a trace does not have is taken as; forecasters have seen it in training. Bandwidth has none."""

HOUR_S = 3_600
DAY_S = 86_400
HOURS_PER_WEEK = 168
WEEK_S = HOURS_PER_WEEK * HOUR_S
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


EPOCH_UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""Units of a number that counts from 1970 in UTC, and how many microseconds each has."""

EPOCH_MOST = 1e20  # nanoseconds of the year 5138
MOST_YEARS = 290_000  # that microseconds of 64 bits hold


def epoch_unit(size: float) -> str:
    """The unit of a time since 1970 by its size: seconds, milli-, micro- and nanoseconds, each up to the year 5138."""
    return next(unit for unit, most in zip(EPOCH_UNITS, (1e11, 1e14, 1e17, np.inf), strict=True) if abs(size) < most)


def plain_numbers(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float64]:
    """Values as float64: what NumPy would only turn into numbers (words, booleans, complex numbers) is none.

    Raises:
        ValueError: other than integers or floats; `what` is what the error calls them.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{what}: expected plain numbers, got values of type {array.dtype}")
    return array.astype(np.float64, copy=False)


def to_datetime64(timestamp: Timestamp) -> np.datetime64:
    """The wall clock that a timestamp shows, to the microsecond.

    The hour-of-week profiles are in the site's local time (docs/time.md), so an aware datetime keeps its own wall
    clock: nothing is converted. Training reads a file by the same rule.

    Args:
        timestamp: datetime, date (its midnight), ISO 8601 string, numpy datetime64, or POSIX seconds (read as UTC);
            milli-, micro- and nanoseconds are told apart by their size.
    Raises:
        ValueError: the text is no ISO 8601 time, the value is not finite, or the type is another one.
    """
    if isinstance(timestamp, str):
        timestamp = _datetime_of(timestamp)
    if isinstance(timestamp, (date, np.datetime64)) and timestamp != timestamp:  # noqa: PLR0124  # NaT, pandas' too
        raise ValueError("timestamp: expected a time, got NaT")
    if isinstance(timestamp, datetime):
        return np.datetime64(timestamp.replace(tzinfo=None), "us")
    if isinstance(timestamp, date):
        return np.datetime64(timestamp, "us")
    if isinstance(timestamp, np.datetime64):
        if not abs(int(timestamp.astype("datetime64[Y]").astype(np.int64))) < MOST_YEARS:
            raise ValueError(f"timestamp: expected a time within {MOST_YEARS:,} years of 1970, got {timestamp}")
        return cast("np.datetime64", timestamp.astype("datetime64[us]"))
    return np.datetime64(_microseconds_of(timestamp), "us")


def to_wall_seconds(timestamp: Timestamp) -> int:
    """`to_seconds` of one timestamp's `to_datetime64`, with its errors, and without NumPy where none is needed."""
    if isinstance(timestamp, str):
        timestamp = _datetime_of(timestamp)
    if type(timestamp) is datetime:  # a class of pandas' has its own mind
        days = timestamp.toordinal() - EPOCH_ORDINAL
        return days * DAY_S + timestamp.hour * HOUR_S + timestamp.minute * 60 + timestamp.second
    if isinstance(timestamp, (date, np.datetime64)):
        return int(to_datetime64(timestamp).astype(np.int64)) // 1_000_000
    return _microseconds_of(timestamp) // 1_000_000


def _datetime_of(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"timestamp: expected an ISO 8601 time such as 2026-03-02T18:00, got {text!r}") from None


def _microseconds_of(timestamp: object) -> int:
    """Of a number that counts from 1970."""
    if isinstance(timestamp, (int, float, np.integer, np.floating)) and not isinstance(timestamp, bool):
        number = float(timestamp)
        if not np.isfinite(number) or abs(number) >= EPOCH_MOST:
            raise ValueError(f"timestamp: expected POSIX seconds, got {timestamp!r}")
        return round(number * EPOCH_UNITS[epoch_unit(number)])  # a float32 would lose seconds in the product
    raise ValueError(
        "timestamp: expected a datetime, an ISO 8601 string, a datetime64 or POSIX seconds, "
        f"got {type(timestamp).__name__}"
    )


def to_seconds(timestamps: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """datetime64 of any unit -> whole seconds of the wall clock since 1970-01-01, same shape."""
    seconds: npt.NDArray[np.int64] = np.asarray(timestamps).astype("datetime64[s]").astype(np.int64)
    return seconds


def hour_of_week(seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Index into a profile, weekday * 24 + hour with Monday 0; same shape as `seconds`."""
    return (seconds // HOUR_S + 24 * EPOCH_WEEKDAY) % HOURS_PER_WEEK


def calendar_features(seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Hour and weekday as points on a circle, in the order of CALENDAR.

    hour_sin = sin(2 pi h / 24) with h = hour + minute / 60; weekday_sin = sin(2 pi d / 7) with d = 0 on Monday.

    Args:
        seconds: any shape, as `to_seconds` gives them.
    Returns:
        (*seconds.shape, 4) float64, dimensionless.
    """
    hour = (seconds % DAY_S) // 60 / 60.0
    weekday = (seconds // DAY_S + EPOCH_WEEKDAY) % 7
    hour_angle = 2.0 * np.pi * hour / 24.0
    weekday_angle = 2.0 * np.pi * weekday / 7.0
    return np.stack([np.sin(hour_angle), np.cos(hour_angle), np.sin(weekday_angle), np.cos(weekday_angle)], axis=-1)


def feature_columns(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Position of each named feature in FEATURES (telemetry, then calendar), shape (len(names),).

    Raises:
        ValueError: a feature that neither telemetry nor the calendar gives.
    """
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise ValueError(f"features: expected names among {', '.join(FEATURES)}, got {', '.join(unknown)}")
    return np.array([FEATURES.index(name) for name in names], dtype=np.int64)


def step_seconds(seconds: npt.NDArray[np.int64], window: int, step_s: int) -> npt.NDArray[np.int64]:
    """Times of the steps before each time, oldest first: t - window * step .. t - step; (n,) -> (n, window)."""
    before = np.arange(window, 0, -1, dtype=np.int64) * step_s
    return seconds[:, None] - before


def profile_windows(
    seconds: npt.NDArray[np.int64],
    window: int,
    step_s: int,
    profile: npt.NDArray[np.float64],
    columns: npt.NDArray[np.int64],
    factors: npt.NDArray[np.float64],
    most_mbps: float,
) -> npt.NDArray[np.float64]:
    """Windows for times with no telemetry: every step takes the profile's values at its hour of the week.

    The predictor has them built in C++ (`cpp/src/engine/profile_forecaster.cpp`), to the same bits.

    Args:
        seconds: (n,) the times to forecast.
        window: steps in a window.
        step_s: seconds between steps.
        profile: (168, 4) telemetry by hour of the week.
        columns: (F,) the model's features, from `feature_columns`.
        factors: (n,) what the bandwidth of each window is multiplied with.
        most_mbps: no bandwidth is above it.
    Returns:
        (n, window, F) float64, physical units.
    """
    steps = step_seconds(seconds, window, step_s)
    features = np.concatenate([profile[hour_of_week(steps)], calendar_features(steps)], axis=-1)
    features[..., BANDWIDTH] = np.minimum(features[..., BANDWIDTH] * factors[:, None], most_mbps)
    return np.ascontiguousarray(features[..., columns])
