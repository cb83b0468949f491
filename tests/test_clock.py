"""The rule of docs/time.md: the calendar is the site's local time, whatever a file says of its clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from linkcast.features import hour_of_week, to_datetime64, to_seconds
from linkcast.traces import Layout, read_trace

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = datetime(2026, 10, 24, 22, tzinfo=timezone.utc)  # the clock goes back at 01:00 UTC
SPRING = datetime(2026, 3, 28, 20, tzinfo=timezone.utc)  # and forward at 01:00 UTC

WRITTEN = {
    "local": lambda moment: moment.astimezone(BERLIN).replace(tzinfo=None).isoformat(),
    "offset": lambda moment: moment.astimezone(BERLIN).isoformat(),
    "abbreviation": lambda moment: f"{moment.astimezone(BERLIN):%Y-%m-%d %H:%M:%S %Z}",
    "UTC": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}",
    "seconds": lambda moment: f"{moment.timestamp():.0f}",
    "milliseconds": lambda moment: f"{moment.timestamp() * 1e3:.0f}",
}


def wall(moments, zone=BERLIN):
    """By the standard library, one by one."""
    return np.array([moment.astimezone(zone).replace(tzinfo=None) for moment in moments], "datetime64[us]")


def utc(moments):
    return wall(moments, timezone.utc)


def rates(count):
    return np.random.default_rng(0).uniform(5.0, 40.0, count).round(3)


def read(folder: Path, times, layout=None, values=None, newest_first=False):
    cells = rates(len(times)) if values is None else values
    rows = [f"{time},{value}" for time, value in zip(times, cells, strict=True)]
    path = folder / "trace.csv"
    path.write_text("\n".join(["timestamp,bandwidth_mbps", *(rows[::-1] if newest_first else rows)]) + "\n")
    return read_trace(path, layout)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize(
    ("start", "step_s", "count"), [(AUTUMN, 900, 40), (AUTUMN, 3600, 12), (SPRING, 900, 40), (SPRING, 3600, 12)]
)
def test_a_day_of_a_change_is_one_segment_on_the_sites_clock(tmp_path, start, step_s, count, written, newest_first):
    moments = [start + timedelta(seconds=step_s * row) for row in range(count)]
    times = [WRITTEN[written](moment) for moment in moments]
    trace = read(tmp_path, times, Layout(timezone="Europe/Berlin"), newest_first=newest_first)
    np.testing.assert_array_equal(trace.timestamps, wall(moments))
    np.testing.assert_array_equal(trace.instants, utc(moments))
    np.testing.assert_array_equal(trace.features[:, 1], rates(count))
    assert trace.segment_starts.tolist() == [0]
    assert trace.step_s == step_s
    assert (trace.clock, trace.warnings) == ("Europe/Berlin", ())


def test_without_a_zone_the_clock_that_goes_back_begins_a_segment_and_names_the_option(tmp_path):
    moments = [AUTUMN + timedelta(minutes=row) for row in range(300)]
    trace = read(tmp_path, [WRITTEN["local"](moment) for moment in moments])
    assert trace.segment_starts.tolist() == [0, 180]
    assert trace.instants is None
    assert any("if the clock was put back in autumn, --timezone names the site" in said for said in trace.warnings)


def test_offsets_that_change_are_honoured_row_by_row_and_reported(tmp_path):
    moments = [AUTUMN + timedelta(minutes=row) for row in range(300)]
    trace = read(tmp_path, [WRITTEN["offset"](moment) for moment in moments])
    np.testing.assert_array_equal(trace.timestamps, wall(moments))
    assert trace.segment_starts.tolist() == [0]
    assert trace.notices == (
        "times have the offsets +01:00, +02:00: each row's own clock is the calendar; --timezone names the site",
    )


def test_rows_in_the_hour_that_is_left_out_are_read_an_hour_later_and_counted(tmp_path):
    times = [f"2026-03-29T0{hour}:{minute:02d}:00" for hour in (1, 2) for minute in range(0, 60, 10)]
    trace = read(tmp_path, times, Layout(timezone="Europe/Berlin"))
    assert str(trace.timestamps[6])[:16] == "2026-03-29T03:00"
    assert trace.step_s == 600
    assert trace.notices == ("6 rows in the hour that Europe/Berlin leaves out in spring: read an hour later",)


def test_one_pass_through_the_hour_that_comes_twice_is_the_first_and_said(tmp_path):
    times = [f"2026-10-25T02:{minute:02d}:00" for minute in range(0, 60, 5)]
    trace = read(tmp_path, times, Layout(timezone="Europe/Berlin"))
    assert str(trace.instants[0])[:16] == "2026-10-25T00:00"
    assert "12 rows in an hour that comes twice in Europe/Berlin" in trace.notices[0]


def test_sources_each_go_back_by_themselves(tmp_path):
    moments = [AUTUMN + timedelta(minutes=15 * row) for row in range(40)]
    rows = [f"{name},{WRITTEN['local'](moment)},{row}" for row, moment in enumerate(moments) for name in "ab"]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(["session,timestamp,bandwidth_mbps", *rows]) + "\n")
    trace = read_trace(path, Layout(timezone="Europe/Berlin"))
    np.testing.assert_array_equal(trace.instants, np.tile(utc(moments), 2))
    assert trace.segment_starts.tolist() == [0, 40]


@pytest.mark.parametrize("suffix", ["", "+05:00", " Asia/Karachi", "+0500", "Z"])
def test_the_same_telemetry_with_and_without_offsets_gives_the_same_profile(tmp_path, suffix):
    datasets = pytest.importorskip("linkcast.training.datasets")
    hours = np.datetime64("2026-01-05T00:00:00") + 3600 * np.arange(24 * 7 * 4)  # a Monday
    peak = np.where((hours.astype("datetime64[h]").astype(int) % 24) == 20, 90.0, 10.0)
    trace = read(tmp_path, [f"{str(hour).replace('T', ' ')}{suffix}" for hour in hours], values=peak)
    profile = datasets.telemetry_rows(trace).profile("train", "validation", "test")
    asked = to_datetime64("2026-03-02T20:00:00" + (suffix if suffix.startswith("+05:") else ""))
    slot = int(hour_of_week(to_seconds([asked]))[0])
    assert slot == 20  # Monday 20:00, what a prediction for that time looks up
    assert np.flatnonzero(profile[:, 1] == 90.0).tolist() == list(range(20, 168, 24))
    assert profile[slot, 1] == 90.0


def test_a_zone_brings_utc_to_the_sites_calendar(tmp_path):
    datasets = pytest.importorskip("linkcast.training.datasets")
    hours = np.datetime64("2026-01-05T00:00:00") + 3600 * np.arange(24 * 7 * 4)
    peak = np.where((hours.astype("datetime64[h]").astype(int) % 24) == 15, 90.0, 10.0)  # 20:00 in Karachi
    trace = read(tmp_path, [f"{hour}Z" for hour in hours], Layout(timezone="Asia/Karachi"), peak)
    profile = datasets.telemetry_rows(trace).profile("train", "validation", "test")
    assert np.flatnonzero(profile[:, 1] == 90.0).tolist() == list(range(20, 168, 24))


def test_training_a_group_on_utc_says_that_the_calendar_is_utc(tmp_path):
    telemetry = pytest.importorskip("linkcast.training.telemetry")
    hours = np.datetime64("2026-01-05T00:00:00") + 3600 * np.arange(50)
    for suffix, said in (("Z", True), ("+05:00", False)):
        read(tmp_path, [f"{hour}{suffix}" for hour in hours])
        trace = telemetry.read(tmp_path / "trace.csv", ["gaming"])["gaming"]
        assert any("--timezone names the site" in notice for notice in trace.notices) == said


def test_times_without_a_date_have_steps_and_no_calendar(tmp_path):
    trace = read(tmp_path, ["23:59:58", "23:59:59", "00:00:00", "00:00:01"])
    assert (trace.step_s, trace.segment_starts.tolist(), trace.dated) == (1.0, [0], False)
    with pytest.raises(ValueError, match="the times have no date"):
        trace.select(["hour_sin"])


def test_an_even_step_is_one_of_the_sites_clock_through_the_change(tmp_path):
    moments = [AUTUMN + timedelta(minutes=15 * row) for row in range(40)]
    trace = read(
        tmp_path, [WRITTEN["UTC"](moment) for moment in moments], Layout(timezone="Europe/Berlin", step_s=3600)
    )
    assert len(trace) == 10
    assert [str(time)[11:16] for time in trace.timestamps[:6]] == ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"]
    times = [f"{hour}+05:30" for hour in np.datetime64("2026-01-05T00:00") + np.arange(0, 600, 15)]
    even = read(tmp_path, times, Layout(step_s=3600))
    assert {str(time)[14:16] for time in even.timestamps} == {"00"}


@pytest.mark.parametrize("unit", [1, 1e3, 1e6, 1e9])
def test_numbers_are_told_apart_by_size_when_predicting_too(unit):
    assert to_datetime64(int(1772474400 * unit)) == np.datetime64("2026-03-02T18:00:00")


@pytest.mark.parametrize("day_first", [True, False, None])
def test_an_ambiguous_date_is_read_as_asked(tmp_path, day_first):
    trace = read(tmp_path, [f"02/01/2026 00:00:{row:02d}" for row in range(5)], Layout(day_first=day_first))
    assert str(trace.timestamps[0])[:10] == ("2026-02-01" if day_first is False else "2026-01-02")
    assert bool(trace.notices) == (day_first is None)


@pytest.mark.parametrize(
    ("dates", "expected"),
    [(("12/31/2025", "01/01/2026"), "2025-12-31"), (("31/12/2025", "01/01/2026"), "2025-12-31")],
)
def test_the_column_says_which_is_the_day(tmp_path, dates, expected):
    trace = read(tmp_path, [f"{date} 00:00" for date in dates])
    assert str(trace.timestamps[0])[:10] == expected
    assert trace.notices == ()
