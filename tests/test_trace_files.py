"""Files as people have them: each is read with the right values, or refused with a sentence that says what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import trace_files as files
from linkcast.traces import Layout, read_trace, unlike_training
from trace_files import (
    CLOCKS,
    ISO,
    PLAIN,
    RATES,
    READ,
    START,
    comma,
    csv_text,
    table_of,
)

FIRST = np.datetime64("2026-01-01T00:00:00")


def trace_of(folder: Path, content: str | bytes, layout: Layout | None = None, name: str = "trace.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_trace(path, layout)


@pytest.mark.parametrize("kind", READ)
def test_a_file_of_each_kind_is_read_with_its_values_and_times(tmp_path, kind):
    trace = trace_of(tmp_path, READ[kind])
    np.testing.assert_allclose(trace.features[:, 1], RATES, rtol=1e-5)
    assert trace.segment_starts.tolist() == [0]
    if kind not in ("Ookla CSV", "iperf3 text", "iperf3 text of two streams"):  # these say no date
        expected = FIRST + np.arange(60).astype("timedelta64[s]")
        np.testing.assert_array_equal(trace.timestamps.astype("datetime64[s]"), expected)
        assert trace.step_s == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("content", [files.vnstat(), files.MRTG], ids=["vnstat", "MRTG"])
def test_volumes_and_means_of_five_minutes_are_rates(tmp_path, content):
    trace = trace_of(tmp_path, content)
    np.testing.assert_allclose(trace.features[:, 1], RATES, rtol=1e-5)
    assert trace.step_s == 300.0
    assert trace.timestamps[0] == FIRST


@pytest.mark.parametrize(
    ("name", "mbps"),
    [
        ("bandwidth_MBps", 8.0),
        ("bandwidth_Mbps", 1.0),
        ("BANDWIDTH_MBPS", 1.0),
        ("bandwidth_kBps", 8e-3),
        ("bandwidth_mbit_s", 1.0),
        ("bandwidth_kbit", 1e-3),
        ("rxkB/s", 8e-3),
        ("downloadMbps", 1.0),
        ("kbps", 1e-3),
        ("bytes_per_second", 8e-6),
        ("rx drops", 1.0),
    ],
)
def test_the_unit_in_a_name_counts_with_its_upper_and_lower_case(tmp_path, name, mbps):
    cells = [str(rate / mbps) for rate in RATES]
    trace = trace_of(tmp_path, csv_text(cells, header=f"time,{name}"), Layout({"bandwidth_mbps": name}))
    np.testing.assert_allclose(trace.features[:, 1], RATES, rtol=1e-5)


def test_a_column_whose_unit_nobody_says_is_said_to_be_taken_as_mbits(tmp_path):
    content = csv_text(PLAIN, header="timestamp,rx")
    named = trace_of(tmp_path, content, Layout({"bandwidth_mbps": "rx"}))
    assert any("'rx' does not say its unit and is taken as Mbit/s" in notice for notice in named.notices)
    stated = trace_of(tmp_path, content, Layout({"bandwidth_mbps": "rx"}, {"bandwidth_mbps": "Mbit/s"}))
    assert stated.notices == ()


@pytest.mark.parametrize(
    ("metric", "mbps"),
    [("up_kbps", 1e-3), ("link_gbps", 1e3), ("orbit_rx", 8e-6), ("link:bits:rate5m", 1e-6), ("if_Mbit", 1.0)],
)
def test_a_metrics_unit_is_told_by_its_words(tmp_path, metric, mbps):
    trace = trace_of(tmp_path, files.prometheus((RATES / mbps).tolist(), metric))
    np.testing.assert_allclose(trace.features[:, 1], RATES, rtol=1e-5)


@pytest.mark.parametrize(
    ("column", "cell", "question"),
    [
        ("latency_ms", "28123", "is it in us? add -u latency_ms=us, which makes 28.12 ms"),
        ("rtt", "0.028", "is it in s? add -u latency_ms=s, which makes 28 ms"),
        ("rtt_ms", "0.028", None),  # a data centre's
        ("packet_loss", "0.5", "a mean loss of 50 %; is it in percent? add -u packet_loss=percent"),
        ("packet_loss", "0.02", None),
        ("loss_fraction", "1", None),  # a link that is down
    ],
)
def test_round_trips_and_losses_that_no_link_has_are_asked(tmp_path, column, cell, question):
    content = csv_text([f"{rate},{cell}" for rate in RATES], header=f"timestamp,bandwidth_mbps,{column}")
    layout = Layout({"latency_ms": "rtt"}) if column == "rtt" else None
    warnings = trace_of(tmp_path, content, layout).warnings
    assert any(question in warning for warning in warnings) if question else not warnings


REFUSED = {
    "": "expected a header line and rows, got an empty file",
    "timestamp,bandwidth_mbps\n": "expected rows below the header",
    csv_text(PLAIN).partition("\n")[2]: "expected a header line that names the columns, got '2026-01-01T00:00:00,20.0'",
    csv_text([comma(rate) for rate in RATES]): "expected 2 cells in a row.*decimal sign, quote those cells",
    csv_text(PLAIN, header="timestamp,throughput"): r"is it 'throughput'\? add -c bandwidth_mbps=throughput$",
    csv_text(PLAIN, header="timestamp,Down Rate"): r"is it 'Down Rate'\? add -c 'bandwidth_mbps=Down Rate'$",
    table_of("Time,In,Out", ISO, *[[f"{r} Mb/s" for r in RATES]] * 2): "is it 'In'[?] add -c bandwidth_mbps=In$",
    csv_text(
        [f"{rate},1.5" for rate in RATES], header="timestamp,bandwidth_mbps,packet_loss"
    ): "add -u packet_loss=percent",
    csv_text(
        [f"{rate},99.8" for rate in RATES], header="time,bandwidth_mbps,reliability"
    ): "add -u reliability=percent",
    csv_text(["-1", *PLAIN[1:]]): "expected at least 0, got -1 in column bandwidth_mbps, row 1; .* add --missing -1",
    csv_text([str(int(value)) for value in files.counter()]): "a counter; add -u bandwidth_mbps=bytes",
    csv_text(PLAIN, [f"{time} IST" for time in ISO]): "zone 'IST' has no one meaning; --timezone names the site",
    csv_text(
        PLAIN, [f"{t}+01:00" if i else t for i, t in enumerate(ISO)]
    ): "got 1 rows without one, first row 1; --timezone",
    json.dumps(files.iperf3(), indent=1)[:5000]: "expected JSON, got text that is cut off",
    json.dumps({"start": {}, "intervals": [], "error": "unable to connect"}): "iperf3 reports: unable to connect",
    json.dumps({"status": "error", "error": "parse error"}): "got the error",
    json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}): "query_range",
    json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}}): "widen its time range",
    "<html><body>404</body></html>": "got HTML",
    "version https://git-lfs.github.com/spec/v1\noid sha256:aa\n": "git lfs pull",
    "\x01\x00\x02\x00\x00\x03": "got binary data",
    "\n\r\r\n\x1c\0\0\0": "got a packet capture; count its bytes by the second first",
    "PING a (192.0.2.1) 56 bytes\n" + "64 bytes from 192.0.2.1: ttl=64 time=0.2 ms\n" * 9: "ask it for CSV or JSON",
    files.vnstat(fiveminute=[]): "got its totals only; ask vnstat --json f",
    "{}": "expected rows with a bandwidth, got none",
    csv_text(PLAIN).replace(",20.0", ',"20.0', 1): "quotation marks in pairs, got one in row 1 that is open to the end",
    csv_text(PLAIN) + '"' + csv_text(PLAIN) * 200: "expected rows of cells, got text that is none: field larger",
}


@pytest.mark.parametrize("content", REFUSED, ids=list(REFUSED.values()))
def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path, content):
    with pytest.raises(ValueError, match=REFUSED[content]) as caught:
        trace_of(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "notice"),
    [
        (READ["newest first"], "newest first"),
        (READ["each row twice"], "60 rows left out that say the same of the same time again, first row 61"),
        (READ["one after another with its header"], "the header comes again 1 time, first in row 61"),
        (READ["no line end and cut off"], "the last line is cut off .2026-01-01T00:01. and left out"),
        (READ["quoted decimal commas"], "the comma of '20,000' is read as the decimal sign; --decimal . reads it"),
        (READ["Grafana"], "taken from 'eth0 in', the only column whose cells say a rate"),
        (READ["kilobits by name"], "the unit of 'bandwidth_kbps' is taken from its name"),
        (READ["Prometheus bytes"], "are taken as B/s"),
        (READ["iperf3 text"], "seconds since the start, without a date"),
        (files.iperf3_stream()[:-250], "the last line is cut off"),
        (READ["a word between JSON lines"], "1 line that is no JSON left out, the first 'ERROR: no server'"),
        (READ["a failed run between lines of CSV"], "1 of 61 rows have other than 10 cells, first row 2"),
        (READ["cut off in quotes"], "the last line is cut off"),
        (READ["Excel's days"], "times are read as Excel's days since 1900; -u timestamp=s reads seconds"),
        (csv_text([*PLAIN[:3], "-", *PLAIN[4:9], "x", *PLAIN[10:]]), "2 cells are no number, the first '-' in row 4"),
        (files.MRTG, "-c bandwidth_mbps=out reads what goes out"),
        (csv_text(PLAIN, ["n/a", *ISO[1:]]), "1 cell is no time, the first 'n/a' in row 1"),
        (csv_text(PLAIN, [f"02/01/2026 {c}" for c in CLOCKS]), "dates such as 02/01 are read day first; --month-first"),
        (csv_text(PLAIN, header="when,bandwidth_mbps"), "if 'when' is their time, add -c timestamp=when"),
    ],
)  # fmt: skip
def test_what_is_done_to_read_a_file_is_said(tmp_path, content, notice):
    notices = trace_of(tmp_path, content).notices
    assert any(notice.replace(" .2026", " (2026").replace("01. and", "01) and") in said for said in notices), notices


def test_cells_that_are_no_number_are_gaps_and_held(tmp_path):
    words = dict(zip((5, 12, 20, 21, 30, 40), ("-", "None", "NaN", "timeout", "", "inf"), strict=True))
    trace = trace_of(tmp_path, csv_text([words.get(row, cell) for row, cell in enumerate(PLAIN)]))
    assert np.flatnonzero(trace.held).tolist() == sorted(words)
    expected = RATES.copy()
    for row in sorted(words):
        expected[row] = expected[row - 1]
    np.testing.assert_array_equal(trace.features[:, 1], expected)
    assert trace.notices == ("bandwidth_mbps: 5 cells are no number, the first '-' in row 6",)


def test_two_percent_of_blank_cells_cost_two_percent_of_the_targets(tmp_path):
    rng = np.random.default_rng(0)
    rates = rng.uniform(5, 40, 2000).round(3).astype(str)
    blank = rng.choice(np.arange(20, 2000), 40, replace=False)
    rates[blank] = ""
    times = [str(START + second) for second in range(2000)]
    trace = trace_of(tmp_path, csv_text(rates.tolist(), times))
    assert len(trace.window_starts(10)) == 2000 - 10 - 40


def test_columns_of_speed_tests_and_iperf_say_latency_and_loss(tmp_path):
    assert trace_of(tmp_path, READ["Ookla JSON lines"]).features[0].tolist() == [14.9, pytest.approx(20.0), 0.005, 1.0]
    assert trace_of(tmp_path, READ["speedtest-cli CSV"]).features[0].tolist() == [14.9, pytest.approx(20.0), 0.0, 1.0]
    udp = trace_of(tmp_path, json.dumps(files.iperf3(lost_percent=1.5)))
    assert udp.features[0].tolist() == [29.0, pytest.approx(20.0), 0.015, 1.0]  # the mean of both streams' round trips
    upload = Layout({"bandwidth_mbps": "Upload"})
    assert trace_of(tmp_path, READ["speedtest-cli CSV"], upload).features[0, 1] == pytest.approx(0.001)


def test_the_start_of_an_iperf_run_that_is_omitted_is_left_out(tmp_path):
    document = files.iperf3()
    for interval in document["intervals"][:3]:
        interval["sum"]["omitted"] = True
    assert len(trace_of(tmp_path, json.dumps(document))) == 57


def test_runs_that_follow_each_other_in_a_file_are_segments(tmp_path):
    text = json.dumps(files.iperf3(), indent=1) + "\n" + json.dumps(files.iperf3(START + 600), indent=1)
    trace = trace_of(tmp_path, text)
    assert trace.segment_starts.tolist() == [0, 60]


def test_results_of_a_speed_test_that_failed_are_left_out_and_said(tmp_path):
    lines = files.ookla().splitlines()
    lines[7] = json.dumps({"type": "log", "level": "error", "message": "Cannot open socket"})
    trace = trace_of(tmp_path, "\n".join(lines))
    assert len(trace) == 59
    assert trace.notices == ("1 line of speedtest left out that are no result",)


@pytest.mark.parametrize("name", ["node_network_receive_bytes_total", None])
def test_a_counter_of_prometheus_becomes_rates_and_a_reset_is_a_gap(tmp_path, name):
    trace = trace_of(tmp_path, files.prometheus(files.counter(reset_at=30), name))
    expected = RATES[1:].copy()
    expected[29] = expected[28]  # held: nothing is known of the step of the reset
    np.testing.assert_allclose(trace.features[:, 1], expected, rtol=1e-9)
    assert np.flatnonzero(trace.held).tolist() == [29]
    assert any("counter of bytes" in notice for notice in trace.notices)


def test_series_of_prometheus_are_sources(tmp_path):
    trace = trace_of(tmp_path, files.prometheus((RATES * 125_000).tolist(), devices=("eth0", "eth1")))
    assert trace.sources == ("eth0", "eth1")


def test_a_counter_in_a_csv_becomes_rates_when_its_unit_is_said(tmp_path):
    text = csv_text([str(int(value)) for value in files.counter(reset_at=30)])
    trace = trace_of(tmp_path, text, Layout(units={"bandwidth_mbps": "bytes"}))
    np.testing.assert_allclose(np.delete(trace.features[:, 1], 29), np.delete(RATES[1:], 29), rtol=1e-5)
    bits = trace_of(tmp_path, text, Layout(units={"bandwidth_mbps": "bits"}))
    np.testing.assert_allclose(bits.features, trace.features / [1, 8, 1, 1], rtol=1e-12)
    named = text.replace("bandwidth_mbps", "rx_bytes")
    np.testing.assert_array_equal(
        trace_of(tmp_path, named, Layout({"bandwidth_mbps": "rx_bytes"})).features, trace.features
    )


def test_a_counter_of_32_bits_goes_over(tmp_path):
    counts = (np.array(files.counter()) + 2.0**32 - 8e7) % 2.0**32
    trace = trace_of(tmp_path, csv_text([str(int(v)) for v in counts]), Layout(units={"bandwidth_mbps": "bytes"}))
    assert (np.diff(counts) < 0).sum() == 1
    np.testing.assert_allclose(trace.features[:, 1], RATES[1:], rtol=1e-5)


@pytest.mark.parametrize(
    ("layout", "cells"),
    [
        (Layout(separator="#", decimal=","), [comma(rate) for rate in RATES]),
        (Layout(decimal="."), [f'"{rate * 1000:,.0f}"' for rate in RATES]),
        (Layout(missing=-1), ["-1" if row == 5 else cell for row, cell in enumerate(PLAIN)]),
    ],
)
def test_options_say_what_the_file_leaves_open(tmp_path, layout, cells):
    text = csv_text(cells)
    if layout.separator:
        text = text.replace("timestamp,", "timestamp#").replace("0,2", "0#2")
        text = "\n".join(f"{line[:19]}#{line[20:]}" if line[0] == "2" else line for line in text.splitlines())
    trace = trace_of(tmp_path, text, layout)
    expected = RATES * 1000 if layout.decimal == "." else RATES
    np.testing.assert_allclose(np.delete(trace.features[:, 1], 5), np.delete(expected, 5), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ";;"}, "separator: expected one character"),
        ({"decimal": "x"}, "decimal: expected '.' or ','"),
        ({"timezone": "Mars/Olympus"}, "timezone: expected a zone such as Europe/Berlin or UTC, got 'Mars/Olympus'"),
        ({"units": {"latency_ms": "bytes"}}, "latency_ms: expected one of s, ms, us, ns, got 'bytes'"),
    ],
)
def test_a_layout_refuses_options_that_mean_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        Layout(**options)


def test_rows_of_several_links_at_one_time_are_questioned_and_kept(tmp_path):
    lines = [f"{time},{rate}\n{time},{rate / 2}" for time, rate in zip(ISO, RATES, strict=True)]
    trace = trace_of(tmp_path, "timestamp,bandwidth_mbps\n" + "\n".join(lines) + "\n")
    assert len(trace) == 120
    assert "60 rows have the time of an earlier row, first row 2" in trace.warnings[0]
    assert "-c session=COLUMN" in trace.warnings[0]


def test_rows_in_disorder_are_sorted_and_a_late_one_too(tmp_path):
    order = (np.arange(60) * 37) % 60
    text = csv_text([PLAIN[row] for row in order], [f"{ISO[row]}Z" for row in order])
    trace = trace_of(tmp_path, text)
    np.testing.assert_array_equal(trace.features[:, 1], RATES)
    assert trace.notices == ("rows are in no order of time: sorted",)
    order = [0, 1, 3, 2, *range(4, 60)]
    trace = trace_of(tmp_path, csv_text([PLAIN[row] for row in order], [f"{ISO[row]}Z" for row in order]))
    np.testing.assert_array_equal(trace.features[:, 1], RATES)
    assert trace.notices == ("1 row a little out of order: sorted",)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_known_by_their_content(tmp_path, pack):
    np.testing.assert_array_equal(trace_of(tmp_path, pack(csv_text(PLAIN).encode())).features[:, 1], RATES)


def test_a_zip_of_one_file_is_read_and_a_workbook_is_named(tmp_path):
    def packed(*names):
        with zipfile.ZipFile(data := io.BytesIO(), "w") as archive:
            for name in names:
                archive.writestr(name, csv_text(PLAIN))
        return data.getvalue()

    np.testing.assert_array_equal(trace_of(tmp_path, packed("a.csv")).features[:, 1], RATES)
    with pytest.raises(ValueError, match="got 2; unpack it first"):
        trace_of(tmp_path, packed("a.csv", "b.csv"))
    with pytest.raises(ValueError, match="Excel workbook; save the sheet as CSV"):
        trace_of(tmp_path, packed("xl/workbook.xml"))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_compressed_file_that_is_cut_off_gives_what_there_is(tmp_path, pack):
    rows = csv_text([f"{rate:.12f}" for rate in np.random.default_rng(0).uniform(5, 40, 60)])
    trace = trace_of(tmp_path, pack(rows.encode())[:-300])
    assert 10 < len(trace) < 60
    assert any("compressed file is cut off" in notice for notice in trace.notices)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_with_nothing_behind_its_head_is_refused_by_name(tmp_path, pack):
    with pytest.raises(ValueError, match=r"trace.*: expected a whole compressed file, got its beginning"):
        trace_of(tmp_path, pack(csv_text(RATES).encode())[:12])


def test_a_pipe_is_read_to_its_end(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(csv_text(PLAIN),))
    writer.start()
    trace = read_trace(path)
    writer.join()
    np.testing.assert_array_equal(trace.features[:, 1], RATES)


def test_a_dash_is_standard_input_and_notices_go_to_standard_error():
    command = [sys.executable, "-m", "linkcast", "evaluate", "-", "--json"]
    done = subprocess.run(command, input=READ["newest first"], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)[0]
    assert (result["trace"], result["samples"]) == ("standard input", 50)
    assert result["notices"] == ["rows are newest first: turned round"]
    assert done.stderr == "linkcast: standard input: rows are newest first: turned round\n"
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert done.stderr == "linkcast: standard input: expected a header line and rows, got an empty file\n"


def test_a_folder_is_no_trace(tmp_path):
    with pytest.raises(IsADirectoryError, match="expected a file, got a folder"):
        read_trace(tmp_path)


@pytest.mark.parametrize("make", ["dict", "pandas", "pandas index", "pandas aware", "arrow", "arrow aware"])
def test_a_frame_in_memory_is_read_as_a_file_is(make):
    times = FIRST + np.arange(60).astype("timedelta64[s]")
    columns = {"timestamp": times.astype("datetime64[us]"), "bandwidth_mbps": RATES, "session": ["a"] * 30 + ["b"] * 30}
    frame: object = columns
    if make.startswith("pandas"):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(columns)
        if make == "pandas aware":
            frame["timestamp"] = frame["timestamp"].dt.tz_localize("UTC").dt.tz_convert("Asia/Karachi")
        if make == "pandas index":
            frame = frame.set_index("timestamp")
    if make.startswith("arrow"):
        arrow = pytest.importorskip("pyarrow")
        frame = arrow.table(columns)
        if make == "arrow aware":
            zoned = frame["timestamp"].cast(arrow.timestamp("us", "Asia/Karachi"))
            frame = frame.set_column(0, "timestamp", zoned)
    trace = read_trace(frame)
    np.testing.assert_array_equal(trace.features[:, 1], RATES)
    assert trace.sources == ("a", "b")
    ahead = np.timedelta64(5 if "aware" in make else 0, "h")
    np.testing.assert_array_equal(trace.timestamps, times + ahead)
    if "aware" in make:
        np.testing.assert_array_equal(trace.instants, times)


def test_what_is_no_frame_is_refused():
    with pytest.raises(ValueError, match="expected a file, or a pandas, polars or pyarrow frame, got list"):
        read_trace([1.0, 2.0])


@pytest.mark.parametrize(
    ("factor", "unit"), [(1e3, "kbit/s"), (1e6, "bit/s"), (125e3, "B/s"), (2e3, "kbit/s"), (1.0, None)]
)
def test_a_trace_in_another_unit_is_questioned_by_the_model_and_by_reading(tmp_path, engine, factor, unit):
    trace = trace_of(tmp_path, csv_text([str(rate * factor) for rate in RATES]))
    question = unlike_training(trace, "internet_lstm", engine.manifest["models"]["internet_lstm"])
    if unit is None:
        assert (question, trace.warnings) == (None, ())
    else:
        assert f"is it in {unit}? add -u bandwidth_mbps={unit}" in question
        assert f"is it in {unit}? add -u bandwidth_mbps={unit}" in trace.warnings[0]


def test_a_home_line_is_not_what_a_data_centre_model_knows(tmp_path, engine):
    question = unlike_training(
        trace_of(tmp_path, csv_text(PLAIN)), "datacenter_lstm", engine.manifest["models"]["datacenter_lstm"]
    )
    assert "far outside what datacenter_lstm was trained on" in question
    assert "e+" not in question


@pytest.mark.parametrize("cell", ["1.5", "-", "nan", "inf", "5,5", ""])
def test_a_large_file_is_read_as_a_small_one_is(tmp_path, monkeypatch, cell):
    pytest.importorskip("pyarrow")
    from linkcast.traces import delimited

    text = csv_text([*PLAIN[:5], cell, "", *PLAIN[7:]])
    slow = trace_of(tmp_path, text)
    monkeypatch.setattr(delimited, "FAST_FROM", 0)
    fast = trace_of(tmp_path, text)
    np.testing.assert_array_equal(fast.features, slow.features)
    np.testing.assert_array_equal(fast.timestamps, slow.timestamps)
    assert fast.notices == slow.notices
