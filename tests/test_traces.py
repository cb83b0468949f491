"""Reading traces: columns, units, gaps and segments."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from linkcast.traces import read_trace, trace_from_arrays

pytest.importorskip("pyarrow")

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
    columns = {"bandwidth_mbps": "ul_mbps", "packet_loss": 0.0, "reliability": 1.0}
    assert read_trace(path, columns).features.tolist() == [[30, 2, 0, 1], [31, 3, 0, 1]]


def test_a_bandwidth_is_never_made_up(tmp_path):
    path = write(tmp_path, "rtt_ms,throughput\n1,2\n")
    with pytest.raises(ValueError, match=r"trace.csv: expected the columns bandwidth_mbps, found rtt_ms, throughput"):
        read_trace(path)


def test_a_column_that_is_asked_for_has_to_be_there(tmp_path):
    path = write(tmp_path, "bandwidth_mbps\n1\n")
    with pytest.raises(ValueError, match=r"trace.csv: expected the columns loss, found bandwidth_mbps"):
        read_trace(path, {"packet_loss": "loss"})


def test_a_feature_without_a_column_takes_its_neutral_value_and_the_trace_says_so(tmp_path):
    trace = read_trace(write(tmp_path, "bandwidth_mbps,reliability\n17,0.5\n18,0.75\n"))
    assert trace.features.tolist() == [[50, 17, 0, 0.5], [50, 18, 0, 0.75]]
    assert trace.neutral_notes() == [
        "latency_ms: not in the file, taken as 50",
        "packet_loss: not in the file, taken as 0",
    ]
    assert trace.dropped_rows == 0


def test_a_source_without_any_value_of_a_feature_takes_the_neutral_one_and_single_rows_are_dropped(tmp_path):
    rows = "\n".join(
        f"{session},2026-03-02T18:00:{second:02d},{'' if session == 'b' or second == 3 else 30},17,0,1"
        for second in range(6)
        for session in "ab"
    )
    trace = read_trace(write(tmp_path, f"session,{HEADER}\n{rows}\n"))
    assert trace.features[:, 0].tolist() == [30] * 5 + [50] * 6  # a without its fourth second, then b
    assert trace.segment_starts.tolist() == [0, 3, 5]
    assert trace.dropped_rows == 1
    assert trace.neutral_notes() == ["latency_ms: not measured in 6 of 11 rows, taken as 50"]


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
        ("30,fast,0,1", "bandwidth_mbps: expected numbers in column bandwidth_mbps, got string"),
    ],
)
def test_a_wrong_value_is_refused_with_its_feature_and_row(tmp_path, row, message):
    path = write(tmp_path, f"latency_ms,bandwidth_mbps,packet_loss,reliability\n30,17,0,1\n{row}\n")
    with pytest.raises(ValueError, match=message):
        read_trace(path)


def test_a_row_without_a_value_is_counted_and_breaks_the_segment(tmp_path):
    rows = lines(range(5)) + "\n2026-03-02T18:00:05,30,,0.01,0.99\n" + lines(range(6, 12))
    trace = read_trace(write(tmp_path, f"{HEADER}\n{rows}\n"))
    assert trace.dropped_rows == 1
    assert len(trace) == 11
    assert trace.segment_starts.tolist() == [0, 5]


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
    with pytest.raises(ValueError, match=r"broken\.parquet: not a readable CSV or Parquet file"):
        read_trace(write(tmp_path, "no parquet", "broken.parquet"))


@pytest.mark.parametrize(("name", "rows", "traces"), [("webrtc_video_1hz", 22_100, 18), ("starlink_1hz", 151_200, 142)])
def test_a_real_trace_has_the_rows_and_segments_that_pandas_counts(name, rows, traces):
    path = DATA / name / "dev.parquet"
    if not path.is_file():
        pytest.skip("the data sets are not on this machine")
    trace = read_trace(path)
    assert len(trace) == rows  # pandas.read_parquet(path).shape
    assert len(trace.segment_starts) == traces  # pandas: frame.groupby(["session" or "provider", "trace"]).ngroups
    assert trace.dropped_rows == 0
