"""Files as people have them: each is read with the right values, or refused with a sentence that says what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import trace_files as files
from linkcast.traces import Layout, read_trace, trace_from_table, unlike_training
from linkcast.traces.reading import table_of_bytes
from trace_files import CLOCKS, ISO, MOMENTS, RATES, START, comma, csv_text

CASES = Path(os.environ.get("LINKCAST_CASES", Path(__file__).resolve().parents[2] / "shared" / "cases")) / "traces"
PLAIN = [str(rate) for rate in RATES]
FIRST = np.datetime64("2026-01-01T00:00:00")


def trace_of(folder: Path, content: str | bytes, layout: Layout | None = None, name: str = "trace.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_trace(path, layout)


def table_of(header: str, *columns: list[str]) -> str:
    return "\n".join([header, *(",".join(row) for row in zip(*columns, strict=True))]) + "\n"


OOKLA_LINES = [
    f'"X - Y","1","14.9","0.1","0","{rate * 125_000:.0f}","1000","1","1","https://www.speedtest.net/result/c/{row}"'
    for row, rate in enumerate(RATES)
]
SIVEL_LINES = [
    f'1234,ISP,"Town, X",{time}.373302Z,12.5,14.9,{rate * 1e6},1000.0,,192.0.2.1'
    for time, rate in zip(ISO, RATES, strict=True)
]
SIVEL_JSON = "".join(
    json.dumps({"download": rate * 1e6, "upload": 1.0, "ping": 14.9, "timestamp": f"{time}Z"}) + "\n"
    for time, rate in zip(ISO, RATES, strict=True)
)
SIVEL_HEADER = "Server ID,Sponsor,Server Name,Timestamp,Distance,Ping,Download,Upload,Share,IP Address\n"
OOKLA_HEADER = (
    '"server name","server id","idle latency","idle jitter","packet loss","download","upload","download bytes",'
    '"upload bytes","share url"\n'
)
GRAFANA_TIMES = [time.replace("T", " ") for time in ISO]


READ = {
    "semicolons and decimal commas": csv_text([comma(rate) for rate in RATES], header="timestamp;bandwidth_mbps"),
    "tabs": csv_text(PLAIN, header="timestamp\tbandwidth_mbps"),
    "bars": csv_text(PLAIN, header="timestamp|bandwidth_mbps"),
    "blanks": csv_text(PLAIN).replace(",", "   "),
    "quoted decimal commas": csv_text([f'"{comma(rate)}"' for rate in RATES]),
    "thousands beside a decimal point": csv_text(
        [f'"{rate * 1000:,.0f}"' for rate in RATES], header="time,bandwidth_kbps,"
    ).replace('"\n', '",0.5\n'),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + csv_text(PLAIN).encode(),
    "UTF-16 little": csv_text(PLAIN).replace("\n", "\r\n").encode("utf-16"),
    "UTF-16 big without a mark": csv_text([comma(r) for r in RATES], header="timestamp;bandwidth_mbps").encode(
        "utf-16-be"
    ),
    "a Windows code page": csv_text(PLAIN, header="timestamp,Bandwidth_Mbps") + "# µ\n",
    "old Mac lines": csv_text(PLAIN).replace("\n", "\r"),
    "comments and blank lines": "# by collector\n\n" + csv_text(PLAIN).replace("\n", "\n\n"),
    "a commented header": "# " + csv_text(PLAIN, [f"{time}Z" for time in ISO]),
    "a title before the header": "Report for eth0\n" + csv_text(PLAIN),
    "Excel's separator line": "sep=;\n" + csv_text(PLAIN, header="timestamp;bandwidth_mbps"),
    "separators at the ends": csv_text([f"{rate}," for rate in RATES]),
    "zeros after a crash": csv_text(PLAIN).encode() + b"\0" * 512,
    "units in cells": csv_text([f"{rate} Mbps" for rate in RATES]),
    "mixed units in cells": csv_text([f"{r} Mb/s" if i % 2 else f"{r * 1000} kb/s" for i, r in enumerate(RATES)]),
    "Grafana": csv_text([f"{rate / 8:.6f} MB/s" for rate in RATES], GRAFANA_TIMES, '"Time","eth0 in"'),
    "Grafana in milliseconds": csv_text(
        [f"{rate * 1e6} b/s" for rate in RATES],
        [str((START + s) * 1000) for s in range(60)],
        'Time;"{device=""eth0""}"',
    ),
    "Grafana in MiB": csv_text([f"{r * 125000 / 2**20:.9f} MiB/s" for r in RATES], GRAFANA_TIMES, "Time,in"),
    "kilobits by name": csv_text([str(rate * 1000) for rate in RATES], header="timestamp,bandwidth_kbps"),
    "iperf3 JSON": json.dumps(files.iperf3()),
    "iperf3 JSON stream": files.iperf3_stream(),
    "iperf3 text": files.IPERF3_TEXT,
    "iperf3 text of two streams": "".join(
        "".join(
            f"[{name}] {second}.00-{second + 1}.00 sec 1 MBytes {value:.3f} Mbits/sec\n"
            for name, value in (("  5", rate / 4), ("  7", rate * 3 / 4), ("SUM", rate))
        )
        for second, rate in enumerate(RATES)
    ),
    "iperf3 text with times": "".join(
        f"Thu Jan  1 {clock} 2026 [  5] {second}.00-{second + 1}.00 sec 1 MBytes {rate:.3f} Mbits/sec\n"
        for second, (clock, rate) in enumerate(zip(CLOCKS, RATES, strict=True))
    ),
    "speedtest-cli CSV": SIVEL_HEADER + "\n".join(SIVEL_LINES) + "\n",
    "speedtest-cli CSV without its header": "\n".join(SIVEL_LINES) + "\n",
    "speedtest-cli JSON": SIVEL_JSON,
    "Ookla CSV": OOKLA_HEADER + "\n".join(OOKLA_LINES) + "\n",
    "Ookla CSV with times in front": "\n".join(f"{t},{line}" for t, line in zip(ISO, OOKLA_LINES, strict=True)) + "\n",
    "Ookla JSON lines": files.ookla(),
    "Ookla JSON list": json.dumps([json.loads(line) for line in files.ookla().splitlines()], indent=1),
    "Prometheus bytes": files.prometheus((RATES * 125_000).tolist()),
    "Prometheus bits": files.prometheus((RATES * 1e6).tolist(), "link_bits_per_second"),
    "JSON records": json.dumps([{"time": t, "bandwidth_mbps": r} for t, r in zip(ISO, RATES.tolist(), strict=True)]),
    "JSON columns": json.dumps({"timestamp": ISO, "bandwidth_mbps": RATES.tolist()}),
    "newest first": "\n".join(["timestamp,bandwidth_mbps", *csv_text(PLAIN).splitlines()[:0:-1]]) + "\n",
    "each row twice": csv_text(PLAIN).replace("\n", "\n", 1) + "\n".join(csv_text(PLAIN).splitlines()[1:]) + "\n",
    "one after another with its header": csv_text(PLAIN) * 2,
    "no line end and cut off": csv_text(PLAIN) + "2026-01-01T00:01",
    "POSIX seconds": csv_text(PLAIN, [str(START + second) for second in range(60)]),
    "POSIX microseconds": csv_text(PLAIN, [str((START + second) * 10**6) for second in range(60)]),
    "POSIX nanoseconds": csv_text(PLAIN, [str((START + second) * 10**9) for second in range(60)]),
    "nanoseconds in text": csv_text(PLAIN, [f"{time}.000000001Z" for time in ISO]),
    "zone names": csv_text(PLAIN, [f"{time} CET" for time in GRAFANA_TIMES]),
    "zones of the IANA": csv_text(PLAIN, [f"{time} Europe/Berlin" for time in GRAFANA_TIMES]),
    "an offset and its zone": csv_text(PLAIN, [f"{time}+01:00[Europe/Berlin]" for time in ISO]),
    "day, month, year": csv_text(PLAIN, [f"01.01.2026 {clock}" for clock in CLOCKS]),
    "American": csv_text(PLAIN, [f"{moment:%m/%d/%Y %I:%M:%S %p}" for moment in MOMENTS]),
    "digits": csv_text(PLAIN, [f"{moment:%Y%m%d%H%M%S}" for moment in MOMENTS]),
    "a mail's date": csv_text(PLAIN, [f"Thu, 01 Jan 2026 {c} +0000" for c in CLOCKS], "timestamp;bandwidth_mbps"),
    "a web server's date": csv_text(PLAIN, [f"01/Jan/2026:{clock} +0000" for clock in CLOCKS]),
    "date(1)": csv_text(PLAIN, [f"Thu Jan  1 {clock} UTC 2026" for clock in CLOCKS]),
    "a weekday before the date": csv_text(PLAIN, [f"Do, 01.01.2026 {c}" for c in CLOCKS], "timestamp;bandwidth_mbps"),
    "Go's time": csv_text(PLAIN, [f"{time}.000000001 +0100 CET" for time in GRAFANA_TIMES]),
    "Excel's days": csv_text(PLAIN, [f"{46023 + second / 86400:.8f}" for second in range(60)]),
    "Prometheus through jq": json.dumps(json.loads(files.prometheus((RATES * 125_000).tolist()))["data"]["result"]),
    "a word between JSON lines": SIVEL_JSON.replace("\n", "\nERROR: no server\n", 1),
    "a failed run between lines of CSV": (
        SIVEL_HEADER + "\n".join([SIVEL_LINES[0], "Cannot retrieve", *SIVEL_LINES[1:]])
    ),
    "cut off in quotes": csv_text([f'"{rate}"' for rate in RATES]) + '2026-01-01T00:01:00,"2',
    "date and time apart": csv_text(PLAIN, [f"01.01.2026;{clock}" for clock in CLOCKS], "Date;Time;bandwidth_mbps"),
}


@pytest.mark.parametrize("kind", READ)
def test_a_file_of_each_kind_is_read_with_its_values_and_times(tmp_path, kind):
    trace = trace_of(tmp_path, READ[kind])
    np.testing.assert_allclose(trace.features[:, 1], RATES, rtol=1e-5)
    assert trace.segment_starts.tolist() == [0]
    if kind not in ("Ookla CSV", "iperf3 text", "iperf3 text of two streams"):  # these say no date
        expected = FIRST + np.arange(60).astype("timedelta64[s]")
        np.testing.assert_array_equal(trace.timestamps.astype("datetime64[s]"), expected)
        assert trace.step_s == pytest.approx(1.0, abs=1e-6)


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


def test_a_compressed_file_that_is_cut_off_gives_what_there_is(tmp_path):
    rows = csv_text([f"{rate:.12f}" for rate in np.random.default_rng(0).uniform(5, 40, 60)])
    trace = trace_of(tmp_path, gzip.compress(rows.encode())[:-300])
    assert 10 < len(trace) < 60
    assert any("compressed file is cut off" in notice for notice in trace.notices)


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


PIECES = [
    b"nan",
    b"-",
    b"",
    b"1e400",
    b"99999999999999999999",
    b'"',
    b"\n",
    b",",
    b";",
    b"{",
    b"}",
    b"[",
    b"null",
    b"Z",
    b"+99:99",
]
PIECES += [b"2026-13-45", b"25:61:61", b"\0", b"\xff", b"-1", b"9999-12-31T23:59:59", b"0001-01-01", b"1e-320", b"IST"]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One to six changes: a byte, a cut, a piece that does not belong there, something lost, something twice."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(data) or 1)
        length = rng.randint(1, 100)
        change = rng.randrange(5)
        if change == 0 and data:
            data[place] = rng.randrange(256)
        elif change == 1:
            del data[max(place, 40) :]
        elif change == 2:
            data[place : place + rng.randint(0, 8)] = rng.choice(PIECES)
        elif change == 3:
            del data[place : place + length]
        else:
            data[place:place] = data[place : place + length]
    return bytes(data)


def test_a_damaged_file_gives_telemetry_or_one_sentence():
    rng = random.Random(7)
    kinds = [content if isinstance(content, bytes) else content.encode() for content in READ.values()]
    read = 0
    for _ in range(400):
        layout = Layout(timezone=rng.choice([None, "Europe/Berlin"]))
        try:
            trace = trace_from_table("damaged", table_of_bytes("damaged", damaged(rng.choice(kinds), rng)), layout)
        except ValueError as error:
            assert re.match("damaged: .*(expected|readable|--timezone)", str(error))
            assert "\n" not in str(error)
        else:
            read += 1
            assert np.isfinite(trace.features).all() and (trace.features >= 0.0).all()
            assert len(trace.timestamps if trace.timestamps is not None else trace) == len(trace)
    assert 100 < read < 400


BASE = {"base.csv", "bom.csv", "bom_first_bw.csv", "comment_lines.csv", "crlf.csv", "dup_header.csv", "dup_rows.csv"}
BASE |= {
    "iperf3.json",
    "kbit.csv",
    "prometheus.json",
    "quoted_comma.csv",
    "ragged.csv",
    "semicolon_comma.csv",
    "inf.csv",
}
BASE |= {
    "spaces_header.csv",
    "speedtest_sivel.csv",
    "speedtest_sivel.jsonl",
    "tab.tsv",
    "truncated_last.csv",
    "utf16.csv",
}
BASE |= {
    f"ts_{kind}.csv" for kind in ("dmy", "epoch_float", "epoch_ms", "epoch_s", "epoch_us", "iso_offset", "iso_space")
}
BASE |= {
    "ts_iso_us.csv",
    "ts_timeonly.csv",
    "ts_us.csv",
    "unsorted.csv",
    "upper_header.csv",
    "with_unit_text.csv",
    "nan_words.csv",
}
SAYS = {
    "counter.csv": "a counter; add -u bandwidth_mbps=bytes",
    "empty.csv": "got an empty file",
    "header_only.csv": "expected rows below the header",
    "loss_percent.csv": "add -u packet_loss=percent",
    "missing_bw.csv": "is it 'throughput'. add -c bandwidth_mbps=throughput",
    "neg.csv": "expected at least 0, got -1 .*--missing -1",
}


@pytest.mark.parametrize("path", sorted(CASES.glob("*")), ids=lambda path: path.name)
def test_a_case_is_read_with_its_values_or_says_what_to_do(path):
    if path.name in SAYS:
        with pytest.raises(ValueError, match=SAYS[path.name]):
            read_trace(path)
        return
    trace = read_trace(path)
    if path.name in BASE:
        base = read_trace(CASES / "base.csv")
        measured = ~trace.held
        assert len(trace) == 60
        np.testing.assert_allclose(trace.features[measured, 1], base.features[measured, 1], atol=5e-4)
        assert len(trace.segment_starts) == 1
    else:
        assert path.name in ("allzero.csv", "constant.csv", "few_rows.csv", "kbit_in_mbps.csv")
        assert bool(trace.warnings) == (path.name == "kbit_in_mbps.csv")
