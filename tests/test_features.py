"""Calendar features and windows from an hour-of-week profile."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

from linkcast.features import (
    FEATURES,
    calendar_features,
    feature_columns,
    hour_of_week,
    profile_windows,
    to_datetime64,
    to_seconds,
    to_wall_seconds,
)

MONDAY_6PM = np.datetime64("2026-03-02T18:00:00", "us")  # a Monday, by datetime.weekday() == 0


@pytest.mark.parametrize(
    "timestamp",
    [
        datetime(2026, 3, 2, 18),
        datetime(2026, 3, 2, 18, tzinfo=timezone(timedelta(hours=9))),
        "2026-03-02T18:00",
        "2026-03-02 18:00:00",
        "2026-03-02T18:00:00+01:00",
        "2026-03-02T18:00:00Z",
        np.datetime64("2026-03-02T18"),
        1772474400,
        1772474400.0,
    ],
)
def test_every_kind_of_timestamp_gives_the_wall_clock_that_it_shows(timestamp):
    assert to_datetime64(timestamp) == MONDAY_6PM
    assert to_wall_seconds(timestamp) == 1772474400


def test_a_date_is_its_midnight():
    assert to_datetime64(date(2026, 3, 2)) == np.datetime64("2026-03-02T00:00")


def test_seconds_of_the_wall_clock_are_whole_seconds_of_to_datetime64():
    generator = np.random.default_rng(11)
    written = ["1969-12-31T23:59:59.999999", "1969-12-31", "2024-02-29T23:59:59.5", "0001-01-01"]
    moments = [datetime.fromisoformat(text) for text in written]
    moments += [datetime(1900, 1, 1) + timedelta(seconds=float(s)) for s in generator.uniform(0, 1e10, 300)]
    for moment in moments:
        count = (moment - datetime(1970, 1, 1)).total_seconds()
        kinds = [moment, moment.replace(tzinfo=timezone(timedelta(hours=-3.5))), moment.isoformat(), moment.date()]
        kinds += [np.datetime64(moment, "us"), np.datetime64(moment, "m"), count, np.float64(count), int(count)]
        for timestamp in kinds:
            assert to_wall_seconds(timestamp) == to_seconds(to_datetime64(timestamp)), repr(timestamp)
    for timestamp in (1772474400_000, 1772474400_000_000.0, 1772474400_000_000_000, np.int64(1772474400)):
        assert to_wall_seconds(timestamp) == 1772474400
    assert to_wall_seconds(np.float32(1770000000)) == 1770000000  # which a float32 holds; its microseconds it does not


def test_times_of_pandas_are_their_wall_clock_and_its_not_a_time_is_refused():
    pandas = pytest.importorskip("pandas")
    for timestamp in (pandas.Timestamp(MONDAY_6PM), pandas.Timestamp(MONDAY_6PM, tz="Asia/Kathmandu")):
        assert to_datetime64(timestamp) == MONDAY_6PM
        assert to_wall_seconds(timestamp) == 1772474400
    for read in (to_datetime64, to_wall_seconds):
        with pytest.raises(ValueError, match="timestamp: expected a time, got NaT"):
            read(pandas.NaT)


BEYOND = [np.datetime64(*time) for time in ((2**62, "s"), (-(2**62), "s"), (2**50, "W"), (300_000, "Y"))]
"""Times whose microseconds 64 bits do not hold."""


@pytest.mark.parametrize("timestamp", ["soon", "", np.datetime64("NaT"), float("nan"), True, None, 1e300, *BEYOND])
def test_what_is_no_time_is_refused(timestamp):
    with pytest.raises(ValueError, match=r"^timestamp: expected") as refused:
        to_datetime64(timestamp)
    with pytest.raises(ValueError, match=r"^timestamp: expected") as again:
        to_wall_seconds(timestamp)
    assert str(again.value) == str(refused.value)


def test_calendar_equals_the_formula_with_datetimes_hour_and_weekday():
    generator = np.random.default_rng(7)
    times = [datetime(2020, 1, 1) + timedelta(minutes=int(m)) for m in generator.integers(0, 4_000_000, 200)]
    expected = [
        [
            math.sin(2 * math.pi * (t.hour + t.minute / 60) / 24),
            math.cos(2 * math.pi * (t.hour + t.minute / 60) / 24),
            math.sin(2 * math.pi * t.weekday() / 7),
            math.cos(2 * math.pi * t.weekday() / 7),
        ]
        for t in times
    ]
    seconds = to_seconds(np.array(times, dtype="datetime64[us]"))
    np.testing.assert_allclose(calendar_features(seconds), expected, rtol=0, atol=1e-14)
    assert hour_of_week(seconds).tolist() == [t.weekday() * 24 + t.hour for t in times]


def test_times_before_1970_keep_their_hour_and_weekday():
    time = datetime(1969, 7, 20, 20, 17)
    assert hour_of_week(to_seconds(np.array([time], dtype="datetime64[us]"))).tolist() == [time.weekday() * 24 + 20]


AS_THEY_ARE = (np.ones(1), math.inf)  # factors and the largest bandwidth that change nothing


def test_a_window_takes_the_profile_at_the_ten_steps_before_the_time():
    profile = np.arange(168 * 4, dtype=np.float64).reshape(168, 4)
    seconds = to_seconds([np.datetime64("2026-03-02T03:30")])  # Monday 03:30, so the window starts on Sunday
    window = profile_windows(seconds, 10, 3600, profile, feature_columns(FEATURES), *AS_THEY_ARE)
    assert window.shape == (1, 10, 8)
    hours = [6 * 24 + hour for hour in range(17, 24)] + [0, 1, 2]
    np.testing.assert_array_equal(window[0, :, :4], profile[hours])
    steps = [datetime(2026, 3, 1, 17, 30) + timedelta(hours=step) for step in range(10)]
    np.testing.assert_allclose(
        window[0, :, 4], [math.sin(2 * math.pi * (t.hour + 0.5) / 24) for t in steps], atol=1e-14
    )
    np.testing.assert_allclose(window[0, :, 7], [math.cos(2 * math.pi * t.weekday() / 7) for t in steps], atol=1e-14)


def test_the_columns_of_a_window_follow_the_feature_list():
    profile = np.arange(168 * 4, dtype=np.float64).reshape(168, 4)
    seconds = to_seconds([MONDAY_6PM])
    full = profile_windows(seconds, 10, 3600, profile, feature_columns(FEATURES), *AS_THEY_ARE)
    some = profile_windows(seconds, 10, 3600, profile, feature_columns(["hour_cos", "bandwidth_mbps"]), *AS_THEY_ARE)
    np.testing.assert_array_equal(some, full[..., [5, 1]])


def test_an_unknown_feature_is_refused_by_name():
    with pytest.raises(ValueError, match=r"latency_ms.*weekday_cos, got jitter_ms"):
        feature_columns(["latency_ms", "jitter_ms"])
