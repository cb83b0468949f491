"""Reading traces: columns, units, gaps and segments."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from linkcast.traces import Layout, read_trace, resample, trace_from_arrays

HEADER = "timestamp,latency_ms,bandwidth_mbps,packet_loss,reliability"
DATA = Path(os.environ.get("LINKCAST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def lines(seconds, template="2026-03-02T18:00:{:02d},30,{},0.01,0.99"):
    return "\n".join(template.format(second, second) for second in seconds)


def test_a_csv_gives_the_features_in_telemetry_order(tmp_path):
    text = "reliability,packet_loss,bandwidth_mbps,latency_ms\n0.9,0.25,17,30\n0.8,0.5,19,31\n"
    trace = read_trace(write(tmp_path, text))
    np.testing.assert_array_equal(trace.features, [[30, 17, 0.25, 0.9], [31, 19, 0.5, 0.8]])
    assert trace.features.dtype == np.float64
    assert trace.timestamps is None
    assert trace.step_s is None
    assert trace.segment_starts.tolist() == [0]


def test_parquet_and_csv_give_the_same_trace(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import csv, parquet

    source = write(tmp_path, f"{HEADER}\n{lines(range(15))}\n")
    parquet.write_table(csv.read_csv(source), tmp_path / "trace.parquet")
    with pyarrow.CompressedOutputStream(str(tmp_path / "trace.csv.gz"), "gzip") as stream:
        stream.write(source.read_bytes())
    plain = read_trace(source)
    for name in ("trace.parquet", "trace.csv.gz"):
        other = read_trace(tmp_path / name)
        np.testing.assert_array_equal(other.features, plain.features)
        np.testing.assert_array_equal(other.timestamps, plain.timestamps)
    assert plain.step_s == 1.0


def test_aliases_stand_in_only_where_the_feature_itself_is_missing(tmp_path):
    both = "rtt_ms,latency_ms,dl_mbps,loss_fraction,reliability\n1,2,3,0,1\n"
    assert read_trace(write(tmp_path, both)).features.tolist() == [[2, 3, 0, 1]]
    alias = "rtt_ms,dl_mbps,loss_fraction,reliability\n1,3,0,1\n"
    assert read_trace(write(tmp_path, alias)).features.tolist() == [[1, 3, 0, 1]]


def test_columns_may_be_named_or_stated_as_constants(tmp_path):
    path = write(tmp_path, "latency_ms,dl_mbps,ul_mbps\n30,5,2\n31,6,3\n")
    (said,) = read_trace(path).notices
    assert said == "bandwidth_mbps: taken from 'dl_mbps'; if 'ul_mbps' is meant, add -c bandwidth_mbps=ul_mbps"
    columns = {"bandwidth_mbps": "ul_mbps", "packet_loss": 0.0, "reliability": 1.0}
    assert read_trace(path, columns).features.tolist() == [[30, 2, 0, 1], [31, 3, 0, 1]]


def test_a_bandwidth_is_never_made_up(tmp_path):
    path = write(tmp_path, "rtt_ms,throughput\n1,2\n")
    with pytest.raises(ValueError, match=r"trace.csv: expected the column bandwidth_mbps, found rtt_ms, throughput"):
        read_trace(path)


@pytest.mark.parametrize(
    ("feature", "written", "unit"),
    [
        ("bandwidth_mbps", "bps", "bit/s"),
        ("bandwidth_mbps", "Kbps", "kbit/s"),
        ("bandwidth_mbps", "mbit/s", "Mbit/s"),
        ("bandwidth_mbps", "MB/sec", "MB/s"),
        ("latency_ms", "msec", "ms"),
        ("packet_loss", "pct", "percent"),
        ("timestamp", "milliseconds", "ms"),
    ],
)
def test_a_unit_may_be_written_as_people_write_it(feature, written, unit):
    assert Layout(units={feature: written}) == Layout(units={feature: unit})


@pytest.mark.parametrize(
    ("first", "step", "asked"),
    [
        (1767571200, 5, True),
        (1767571200000, 5000, True),
        (1767571200.25, 0.5, True),
        (1000, 1, False),  # a count of rows
        (50_000_000_000, 1, False),  # the year 3554
    ],
)
def test_a_column_that_counts_from_1970_under_another_name_is_asked_about(tmp_path, first, step, asked):
    rows = "".join(f"{first + step * k},{20 + k}\n" for k in range(9))
    trace = read_trace(write(tmp_path, "ts,dl_mbps\n" + rows))
    assert any("if 'ts' is their time, add -c timestamp=ts" in notice for notice in trace.notices) == asked


@pytest.mark.parametrize("name", ["Timestamp (UTC)", "time [Europe/Berlin]", "Date (CET)", "DateTime (+02:00)"])
def test_a_time_may_say_its_clock_in_brackets(tmp_path, name):
    trace = read_trace(write(tmp_path, f"{name},dl_mbps\n2026-01-05 00:00:00,1\n2026-01-05 00:00:05,2\n"))
    assert trace.step_s == 5.0


def test_a_time_with_a_unit_in_brackets_is_asked_about(tmp_path):
    rows = "".join(f"{1767571200000 + 5000 * k},{k}\n" for k in range(9))
    trace = read_trace(write(tmp_path, "time (ms),dl_mbps\n" + rows))
    assert any("add -c 'timestamp=time (ms)'" in notice for notice in trace.notices)


def test_what_is_said_of_a_frame_is_said_in_python():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"ts": range(1767571200, 1767571290, 5), "Ingress (bps)": np.arange(18) * 1e6})
    with pytest.raises(ValueError, match=r'say columns=\{"bandwidth_mbps": "Ingress \(bps\)"\}$'):
        read_trace(frame)
    trace = read_trace(frame, {"bandwidth_mbps": "Ingress (bps)"})
    said = " ".join((*trace.notices, *trace.warnings))
    assert 'say columns={"timestamp": "ts"}' in said
    assert 'units={"bandwidth_mbps": "UNIT"} says another' in said
    assert " -c " not in said
    assert " -u " not in said


def test_a_trace_is_shown_in_a_line(tmp_path):
    trace = read_trace(write(tmp_path, "time,dl_mbps\n2026-01-05 00:00:00,1\n2026-01-05 00:00:05,2\n"))
    assert repr(trace).startswith("Trace(")
    assert "trace.csv: 2 rows in 1 segment; A row every 5 s; latency_ms: not in the file, taken as 50" in repr(trace)


def test_a_counter_is_not_taken_for_a_time(tmp_path):
    counter = 1_500_000_000 + np.cumsum(np.random.default_rng(1).integers(10_000, 2_000_000, 50))
    rows = "".join(f"{value},{20 + k}\n" for k, value in enumerate(counter))
    assert not any("time" in notice for notice in read_trace(write(tmp_path, "sent,dl_mbps\n" + rows)).notices)


def test_a_column_that_is_asked_for_has_to_be_there(tmp_path):
    path = write(tmp_path, "bandwidth_mbps\n1\n")
    with pytest.raises(ValueError, match=r"trace.csv: expected the column loss, found bandwidth_mbps"):
        read_trace(path, {"packet_loss": "loss"})


def test_a_feature_without_a_column_takes_its_neutral_value_and_the_trace_says_so(tmp_path):
    trace = read_trace(write(tmp_path, "bandwidth_mbps,reliability\n17,0.5\n18,0.75\n"))
    assert trace.features.tolist() == [[50, 17, 0, 0.5], [50, 18, 0, 0.75]]
    assert trace.neutral_notes() == [
        "latency_ms: not in the file, taken as 50",
        "packet_loss: not in the file, taken as 0",
    ]
    assert trace.dropped_rows == 0


def test_a_source_without_any_value_of_a_feature_takes_the_neutral_one_and_single_rows_are_held(tmp_path):
    rows = "\n".join(
        f"{session},2026-03-02T18:00:{second:02d},{'' if session == 'b' or second == 3 else 30 + second},17,0,1"
        for second in range(6)
        for session in "ab"
    )
    trace = read_trace(write(tmp_path, f"session,{HEADER}\n{rows}\n"))
    assert trace.features[:, 0].tolist() == [30, 31, 32, 32, 34, 35] + [50] * 6  # a with its fourth second held, then b
    assert trace.segment_starts.tolist() == [0, 6]
    assert (trace.dropped_rows, trace.held_rows) == (0, 1)
    assert not trace.held.any()  # the bandwidth was measured
    assert trace.neutral_notes() == ["latency_ms: not measured in 6 of 12 rows, taken as 50"]


def test_a_column_without_any_value_is_not_called_missing_from_the_file(tmp_path):
    trace = read_trace(write(tmp_path, "rtt_ms,bandwidth_mbps,packet_loss,reliability\n,17,0,1\n,18,0,1\n"))
    assert trace.neutral_notes() == ["latency_ms: no value in these rows, taken as 50"]


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [("bit/s", 17e6, 17), ("kbit/s", 17e3, 17), ("Gbit/s", 0.017, 17), ("MB/s", 2, 16), ("B/s", 1e6, 8)],
)
def test_a_bandwidth_in_another_unit_is_brought_to_megabits(tmp_path, unit, value, expected):
    path = write(tmp_path, f"rate\n{value}\n")
    trace = read_trace(path, Layout({"bandwidth_mbps": "rate"}, {"bandwidth_mbps": unit}))
    assert trace.features[0, 1] == pytest.approx(expected, rel=1e-12)


def test_shares_in_percent_and_latency_in_seconds(tmp_path):
    path = write(tmp_path, "latency_ms,bandwidth_mbps,packet_loss,reliability\n0.03,17,2.5,99\n")
    units = {"latency_ms": "s", "packet_loss": "percent", "reliability": "%"}
    np.testing.assert_allclose(read_trace(path, Layout(units=units)).features, [[30, 17, 0.025, 0.99]], rtol=1e-12)


def test_a_timestamp_in_nanoseconds(tmp_path):
    path = write(tmp_path, f"{HEADER}\n{1772474400 * 10**9},30,17,0,1\n")
    trace = read_trace(path, Layout(units={"timestamp": "ns"}))
    assert trace.timestamps[0] == np.datetime64("2026-03-02T18:00:00")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"units": {"bandwidth_mbps": "furlong"}}, "bandwidth_mbps: expected one of bit/s, .*, got 'furlong'"),
        ({"units": {"jitter": "ms"}}, "units: expected names among latency_ms"),
        ({"step_s": 0.0}, "step_s: expected a number above 0, got 0.0"),
    ],
)
def test_a_layout_refuses_what_it_does_not_know(layout, message):
    with pytest.raises(ValueError, match=message):
        Layout(**layout)


def test_rows_are_chosen_by_patterns(tmp_path):
    rows = "\n".join(f"{modem},{value},0,1,30" for value, modem in enumerate(["5g-a", "lte-a", "5g-b", "lte-b"]))
    path = write(tmp_path, f"modem,bandwidth_mbps,packet_loss,reliability,latency_ms\n{rows}\n")
    assert read_trace(path, Layout(where={"modem": ["5g-*"]})).features[:, 1].tolist() == [0, 2]
    assert read_trace(path, Layout(where={"modem": ["5g-*", "lte-b"]})).features[:, 1].tolist() == [0, 2, 3]
    with pytest.raises(ValueError, match="modem: expected rows with dsl, found 5g-a, lte-a"):
        read_trace(path, Layout(where={"modem": ["dsl"]}))
    with pytest.raises(ValueError, match="expected the column line, found modem"):
        read_trace(path, Layout(where={"line": ["a"]}))


def test_each_segment_knows_its_source(tmp_path):
    rows = "\n".join(
        f"{link},2026-03-02T18:00:{second:02d},30,1,0,1" for second in (0, 1, 2, 30, 31) for link in ("dsl", "lte")
    )
    path = write(tmp_path, f"link,{HEADER}\n{rows}\n")
    trace = read_trace(path, Layout({"session": "link"}))
    assert trace.segment_starts.tolist() == [0, 3, 5, 8]
    assert trace.sources == ("dsl", "dsl", "lte", "lte")
    assert {name: rows.tolist() for name, rows in trace.source_rows().items()} == {
        "dsl": [True] * 5 + [False] * 5,
        "lte": [False] * 5 + [True] * 5,
    }
    assert read_trace(path).sources == ()


def test_the_last_share_is_cut_at_one_moment_for_all_sources():
    times = np.concatenate([np.arange(10), np.arange(10)]).astype("datetime64[s]")
    trace = trace_from_arrays(np.zeros((20, 4)), times)
    assert trace.last_rows(0.3).tolist() == ([False] * 7 + [True] * 3) * 2
    assert trace_from_arrays(np.zeros((10, 4))).last_rows(0.3).tolist() == [False] * 7 + [True] * 3
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="share: expected a number above 0 and below 1"):
            trace.last_rows(share)


def test_resampling_weighs_values_by_the_time_that_they_hold():
    # By hand: 0..1 s holds 10, 1..1.5 s holds 20, 1.5..4 s holds 40, and the last row holds for one median step, 1 s.
    times = np.array([0, 1000, 1500, 4000, 5000], "datetime64[ms]")
    values = np.array([10.0, 20.0, 40.0, 80.0, 160.0])
    trace = trace_from_arrays(np.stack([values, values, values / 1000, values / 1000], axis=1), times)
    even = resample(trace, 2.0)
    np.testing.assert_allclose(even.features[:, 1], [(10 + 10 + 20) / 2, 40, (80 + 160) / 2], rtol=1e-12)
    np.testing.assert_allclose(even.features[:, 2], np.array([20, 40, 120]) / 1000, rtol=1e-12)
    assert even.timestamps.astype("datetime64[s]").astype(int).tolist() == [0, 2, 4]
    assert (even.step_s, even.resampled_from_s) == (2.0, 1.0)


def test_resampling_to_the_step_of_an_even_trace_changes_nothing():
    times = np.concatenate([np.arange(20), np.arange(100, 115)]).astype("datetime64[s]")
    trace = trace_from_arrays(np.random.default_rng(0).random((35, 4)), times)
    even = resample(trace, 1.0)
    np.testing.assert_allclose(even.features, trace.features, atol=1e-7)  # seconds since 1970 in float64: 2e-7 s
    np.testing.assert_array_equal(even.timestamps, trace.timestamps)
    np.testing.assert_array_equal(even.segment_starts, trace.segment_starts)


def test_resampling_keeps_segments_apart_and_leaves_out_steps_that_are_hardly_covered():
    times = np.concatenate([np.arange(10, 20), np.arange(103, 121)]).astype("datetime64[s]")
    values = np.concatenate([np.full(10, 1.0), np.full(18, 0.5)])
    even = resample(trace_from_arrays(np.repeat(values[:, None], 4, axis=1), times), 10.0)
    # 100..110 is covered from 103, 7 s of 10; 120..130 has one second and is left out.
    assert even.timestamps.astype("datetime64[s]").astype(int).tolist() == [10, 100, 110]
    assert even.segment_starts.tolist() == [0, 1]
    np.testing.assert_allclose(even.features[:, 1], [1.0, 0.5, 0.5], rtol=1e-9)


def test_a_step_below_the_traces_own_is_refused_because_values_would_be_made_up():
    trace = trace_from_arrays(np.zeros((20, 4)), (5 * np.arange(20)).astype("datetime64[s]"))
    with pytest.raises(ValueError, match="expected at least the 5 s between the file's rows, got 1"):
        resample(trace, 1.0)
    with pytest.raises(ValueError, match="expected a column timestamp"):
        resample(trace_from_arrays(np.zeros((20, 4))), 1.0)


def test_a_complete_trace_has_no_neutral_values(tmp_path):
    trace = read_trace(write(tmp_path, f"{HEADER}\n{lines(range(3))}\n"))
    assert not trace.neutral
    assert trace.neutral_notes() == []


def test_an_unknown_feature_in_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"columns: expected names among latency_ms.*, got jitter"):
        read_trace(write(tmp_path, f"{HEADER}\n{lines(range(3))}\n"), {"jitter": "x"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("30,17,1.5,1", "packet_loss: expected a fraction from 0 to 1, got 1.5 in column packet_loss, row 2"),
        ("30,17,0,99", "reliability: expected a fraction from 0 to 1, got 99"),
        ("-1,17,0,1", "latency_ms: expected at least 0, got -1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_feature_and_row(tmp_path, row, message):
    path = write(tmp_path, f"latency_ms,bandwidth_mbps,packet_loss,reliability\n30,17,0,1\n{row}\n")
    with pytest.raises(ValueError, match=message):
        read_trace(path)


def test_a_column_without_a_number_is_refused_with_its_first_cell(tmp_path):
    path = write(tmp_path, "latency_ms,bandwidth_mbps\n30,fast\n31,slow\n")
    message = "bandwidth_mbps: expected numbers in column bandwidth_mbps, got string, such as 'fast' in row 1"
    with pytest.raises(ValueError, match=message):
        read_trace(path)


def blank(seconds):
    return lines(seconds, "2026-03-02T18:00:{:02d},30,,0.01,0.99")


def test_a_gap_of_four_rows_is_counted_and_breaks_the_segment(tmp_path):
    rows = "\n".join([lines(range(5)), blank(range(5, 9)), lines(range(9, 15))])
    trace = read_trace(write(tmp_path, f"{HEADER}\n{rows}\n"))
    assert (trace.dropped_rows, trace.held_rows) == (4, 0)
    assert len(trace) == 11
    assert trace.segment_starts.tolist() == [0, 5]


def test_a_gap_of_three_rows_holds_the_last_value_and_is_no_target(tmp_path):
    rows = "\n".join([lines(range(5)), blank(range(5, 8)), lines(range(8, 15))])
    trace = read_trace(write(tmp_path, f"{HEADER}\n{rows}\n"))
    assert trace.features[:, 1].tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 8, 9, 10, 11, 12, 13, 14]
    assert (trace.dropped_rows, trace.held_rows, trace.segment_starts.tolist()) == (0, 3, [0])
    assert trace.window_starts(4).tolist() == [0, 4, 5, 6, 7, 8, 9, 10]  # targets 4 and 8 to 14


def test_a_held_row_is_what_a_stream_that_misses_it_forecasts_from(tmp_path, engine):
    rates = np.random.default_rng(3).uniform(5.0, 40.0, 14).round(3)
    text = [f"2026-03-02T18:00:{row:02d},30,{'' if row in (6, 7) else rate},0,1" for row, rate in enumerate(rates)]
    trace = read_trace(write(tmp_path, "\n".join([HEADER, *text]) + "\n"))
    stream = engine.stream("internet", mixture=False)
    for row in range(14):
        answer = stream.push_missing() if row in (6, 7) else stream.push([30.0, rates[row], 0.0, 1.0])
    assert engine.forecast("internet", trace.features[-10:]).mbps[0] == pytest.approx(answer.mbps, rel=1e-5)


def test_a_held_row_takes_no_part_in_training(tmp_path):
    datasets = pytest.importorskip("linkcast.training.datasets")
    settings = pytest.importorskip("linkcast.training.settings").quick()
    rows = [
        f"2026-03-{2 + hour // 24:02d}T{hour % 24:02d}:00:00,30,{'' if hour % 50 == 20 else hour},0,1"
        for hour in range(400)
    ]
    trace = read_trace(write(tmp_path, "\n".join([HEADER, *rows]) + "\n"))
    dataset = datasets.telemetry_dataset(trace, settings, calendar=False)
    targets = np.concatenate([part.targets for part in (dataset.train, dataset.validation, dataset.test)])
    assert len(trace) == 400
    # Of 400 hours the first ten of each part are only in windows, and eight are held; each rate is another.
    assert len(set(targets)) == len(targets) == 400 - 3 * settings.window - 8
    held = datasets.telemetry_rows(trace)
    assert sum(len(held.seconds(part)) for part in ("train", "validation", "test")) == 392


def test_a_file_without_one_complete_row_is_refused(tmp_path):
    path = write(tmp_path, "latency_ms,bandwidth_mbps,packet_loss,reliability\n30,,0,1\n")
    with pytest.raises(ValueError, match="expected rows with a value in each column, got none among 1"):
        read_trace(path)


def test_a_gap_over_three_median_steps_breaks_and_one_of_three_does_not(tmp_path):
    trace = read_trace(write(tmp_path, f"{HEADER}\n{lines([0, 1, 2, 3, 6, 7, 11, 12])}\n"))
    assert trace.segment_starts.tolist() == [0, 6]


def test_time_that_goes_backwards_breaks_the_segment(tmp_path):
    trace = read_trace(write(tmp_path, f"{HEADER}\n{lines([10, 11, 12, 0, 1, 2])}\n"))
    assert trace.segment_starts.tolist() == [0, 3]


def test_interleaved_providers_are_brought_together_in_segments(tmp_path):
    rows = "\n".join(
        f"{provider},2026-03-02T18:00:{second:02d},30,{second + offset},0,1"
        for second in range(4)
        for provider, offset in (("b", 100), ("a", 0))
    )
    trace = read_trace(write(tmp_path, f"provider,{HEADER}\n{rows}\n"))
    assert trace.segment_starts.tolist() == [0, 4]
    assert trace.features[:, 1].tolist() == [100, 101, 102, 103, 0, 1, 2, 3]


@pytest.mark.parametrize("scale", [1, 1000])
def test_posix_seconds_and_milliseconds_are_both_read(tmp_path, scale):
    rows = "\n".join(f"{(1772474400 + second) * scale},30,17,0,1" for second in range(3))
    trace = read_trace(write(tmp_path, f"{HEADER}\n{rows}\n"))
    assert trace.timestamps is not None
    assert trace.timestamps[0] == np.datetime64("2026-03-02T18:00:00")
    assert trace.step_s == 1.0


def test_text_that_is_no_time_is_refused(tmp_path):
    with pytest.raises(ValueError, match="timestamp: expected times in column timestamp, got string"):
        read_trace(write(tmp_path, f"{HEADER}\nyesterday,30,17,0,1\n"))


def test_windows_never_cross_a_segment_and_have_a_row_after_them():
    times = np.concatenate([np.arange(15), np.arange(100, 110), np.arange(200, 211)])
    trace = trace_from_arrays(np.zeros((36, 4)), times.astype("datetime64[s]"))
    assert trace.segment_starts.tolist() == [0, 15, 25]
    assert trace.window_starts(10).tolist() == [0, 1, 2, 3, 4, 25]


def test_calendar_features_of_a_trace_without_timestamps_are_refused():
    with pytest.raises(ValueError, match="no timestamp column"):
        trace_from_arrays(np.zeros((3, 4))).select(["latency_ms", "hour_sin"])


def test_a_missing_file_and_a_broken_one_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_trace(tmp_path / "nothing.csv")
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"broken\.parquet: not a readable CSV or Parquet file"):
        read_trace(write(tmp_path, "no parquet", "broken.parquet"))


@pytest.mark.parametrize(("name", "rows", "traces"), [("webrtc_video_1hz", 22_100, 18), ("starlink_1hz", 151_200, 142)])
def test_a_real_trace_has_the_rows_and_segments_that_pandas_counts(name, rows, traces):
    pytest.importorskip("pyarrow")
    path = DATA / name / "dev.parquet"
    if not path.is_file():
        pytest.skip("the data sets are not on this machine")
    trace = read_trace(path)
    assert len(trace) == rows  # pandas.read_parquet(path).shape
    assert len(trace.segment_starts) == traces  # pandas: frame.groupby(["session" or "provider", "trace"]).ngroups
    assert trace.dropped_rows == 0
