"""The command line on traces: `replay` and `evaluate`."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

from linkcast.stream_answers import StreamScores


@pytest.fixture
def trace_file(tmp_path):
    rows = np.random.default_rng(1).uniform([20, 5, 0, 0.9], [60, 40, 0.02, 1], (40, 4))
    lines = [f"2026-03-02T18:00:{second:02d},{','.join(map(str, row))}" for second, row in enumerate(rows)]
    path = tmp_path / "trace.csv"
    path.write_text("timestamp,latency_ms,bandwidth_mbps,packet_loss,reliability\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def long_trace_file(tmp_path):
    """400 rows, one a second: enough for a part before the cut."""
    rows = np.random.default_rng(2).uniform([20, 5, 0, 0.9], [60, 40, 0.02, 1], (400, 4))
    times = np.datetime64("2026-03-02T18:00:00") + np.arange(400)
    lines = [f"{time},{','.join(map(str, row))}" for time, row in zip(times, rows, strict=True)]
    path = tmp_path / "long.csv"
    path.write_text("timestamp,latency_ms,bandwidth_mbps,packet_loss,reliability\n" + "\n".join(lines) + "\n")
    return path


def test_replay_of_a_file_reports_accuracy_latency_and_allocations(run, trace_file):
    status, out, _ = run("replay", trace_file, "--profile", "internet")
    assert status == 0
    for word in ("40 rows in 1 segment", "persistence", "EWMA", "harmonic mean", "p99", "Allocation", "mixture 30"):
        assert word in out


def test_replay_shows_how_often_the_band_was_left_in_80_columns(run, long_trace_file):
    _, out, _ = run("replay", long_trace_file, "--json")
    report = json.loads(out)
    assert report["stream"]["answers_by_source"] == {"mixture": 390}
    assert report["accuracy"]["stream"]["scores"]["mae"] == report["stream"]["mae"]
    _, out, _ = run("replay", long_trace_file, columns=80)
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    (heading,) = [index for index, line in enumerate(lines) if line.startswith("Median")]
    cells = lines[heading + 2].split()
    assert cells[6] == f"{100 * report['stream']['band']['above_p90']:.1f}"
    assert cells[8] == f"{100 * report['stream']['band']['below_p10']:.1f}"


def test_replay_without_a_file_simulates_a_link(run):
    _, out, _ = run("replay", "--rows", "200", "--profile", "datacenter", "--json")
    report = json.loads(out)
    assert report["ticks"] == 190
    assert report["trace"].startswith("simulated datacenter link")


def test_replay_without_a_file_ends_with_what_reserving_gained(run):
    status, out, err = run("replay", columns=60)
    assert (status, err) == (0, "")
    assert "simulated" in out and "Forecast of the next tick" in out
    for rule in ("linkcast", "last value +20 %", "the whole line", "oracle"):
        assert re.search(rf"^{re.escape(rule)} .*%", out, flags=re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 60


@pytest.mark.parametrize("option", ["--watch", "--fast"])
def test_a_file_is_watched_as_the_evening_is(run, long_trace_file, option):
    status, out, _ = run("replay", long_trace_file, option, "--capacity", "60", "--json")
    report = json.loads(out)
    assert (status, report["ticks"], report["capacity_mbps"]) == (0, 390, 60.0)
    rows = np.loadtxt(long_trace_file, delimiter=",", skiprows=1, usecols=2)
    assert report["rules"]["oracle"]["reserved_mbps"] == pytest.approx(rows[10:].mean(), abs=1e-6)
    _, out, _ = run("replay", long_trace_file, option)
    assert "the trace's peak stands in for it" in " ".join(out.split())


def test_replay_plots_to_a_file(run, trace_file, tmp_path):
    pytest.importorskip("matplotlib")
    status, _, err = run("replay", trace_file, "--plot", tmp_path / "replay.png")
    assert status == 0
    assert "wrote" in err
    assert (tmp_path / "replay.png").stat().st_size > 10_000


def test_rows_without_a_value_are_reported(run, trace_file):
    lines = trace_file.read_text().splitlines()
    lines[20] = "2026-03-02T18:00:19,,,,"
    trace_file.write_text("\n".join(lines) + "\n")
    _, out, _ = run("replay", trace_file)
    assert "40 rows in 1 segment, 1 held" in out
    for row in range(21, 24):
        lines[row] = f"2026-03-02T18:00:{row - 1:02d},,,,"
    trace_file.write_text("\n".join(lines) + "\n")
    _, out, _ = run("replay", trace_file)
    assert "36 rows in 2 segments, 4 dropped" in out


def test_a_feature_that_is_not_in_the_file_is_reported(run, trace_file):
    trace_file.write_text(trace_file.read_text().replace("packet_loss", "something"))
    for command in ("replay", "evaluate"):
        _, out, _ = run(command, trace_file)
        assert "packet_loss: not in the file, taken as 0" in out
    _, out, _ = run("evaluate", trace_file, "--json")
    assert json.loads(out)[0]["neutral"] == {"packet_loss": 40}


def test_evaluate_gives_one_result_for_each_file(run, trace_file):
    _, out, _ = run("evaluate", trace_file, trace_file, "--model", "datacenter", "--json")
    results = json.loads(out)
    assert [result["forecaster"] for result in results] == ["datacenter_lstm"] * 2
    assert set(results[0]["baselines"]) >= {"persistence", "ewma", "moving_average", "harmonic_mean"}


def test_evaluate_reads_the_columns_that_it_is_told(run, trace_file):
    trace_file.write_text(trace_file.read_text().replace("bandwidth_mbps", "ul_mbps").replace("packet_loss", "x"))
    _, out, err = run("evaluate", trace_file, "-c", "bandwidth_mbps=ul_mbps", "-c", "packet_loss=0", "--json")
    assert err == ""
    assert json.loads(out)[0]["samples"] == 30


def test_evaluate_scores_the_last_share_in_time(run, long_trace_file):
    _, out, _ = run("evaluate", long_trace_file, "--last", "0.25", "--json")
    result = json.loads(out)[0]
    assert (result["samples"], result["last"]) == (100, 0.25)
    assert "ar10" in result["baselines"]
    low, high = result["interval"]["mae"]
    assert low <= result["model"]["mae"] <= high
    _, out, _ = run("evaluate", long_trace_file, "--last", "0.25")
    for words in ("last 25 % in time: 100 samples", "AR(10)", "95 % intervals", "A row every 1 s"):
        assert words in out


def banded(engine, name, segments, progress=None, held=None, ahead=True):
    """Answers of a stream that gives all that one can give: the last value, and 20 % around it."""
    last = np.concatenate([rows[9:, 1] for rows in segments])
    many = np.repeat(last[:, None], 10, axis=1)
    return StreamScores(
        mbps=last,
        sources=np.full(len(last), "mixture"),
        p10=0.8 * last,
        p50=last,
        p90=1.2 * last,
        horizon=many,
        horizon_p90=1.2 * many,
        peak_p90=1.3 * many,
        reserve=last[:, None] * [1.0, 1.1, 1.2, 1.4],
    )


def test_evaluate_shows_horizons_the_band_and_what_reserving_costs_in_80_columns(run, long_trace_file, monkeypatch):
    lines = long_trace_file.read_text().splitlines()
    place = lines[0].split(",").index("bandwidth_mbps")
    for row, line in enumerate(lines[1:], start=1):
        cells = line.split(",")
        cells[place] = f"{200 * float(cells[place]):.2f}"  # rates of several Gbit/s: the widest numbers
        lines[row] = ",".join([*cells, "dsl" if row < 150 else "lte"])
    long_trace_file.write_text("\n".join([f"{lines[0]},session", *lines[1:]]) + "\n")
    monkeypatch.setattr("linkcast.outlook.stream_answers", banded)
    _, out, _ = run("evaluate", long_trace_file, columns=80)
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    for words in ("Diebold-Mariano", "Steps  Best naive", "95 % interval", "Inside", "Short : idle", "peak of 10"):
        assert words in out
    assert "stream (margin)" not in out
    _, out, _ = run("evaluate", long_trace_file, "--json")
    result = json.loads(out)[0]
    assert result["stream"]["answered_by"] == {"mixture": 380}
    assert result["stream"]["scores"]["mae"] == result["baselines"]["persistence"]["mae"]
    outlook = result["outlook"]
    assert outlook["band_source"] == "stream"
    assert [row["steps"] for row in outlook["horizons"]] == list(range(1, 11))
    assert set(outlook["band"]["stream"]) >= {"above_p90_worst_tenth", "coverage", "width", "pinball_p90"}
    assert [row["cost_ratio"] for row in outlook["reserve"]] == [1, 3, 10, 100]


def test_evaluate_puts_lightgbm_beside_the_model(run, long_trace_file):
    pytest.importorskip("lightgbm")
    _, out, _ = run("evaluate", long_trace_file, "--last", "0.25", "--reference", "--json")
    assert all(row["lightgbm"] > 0.0 for row in json.loads(out)[0]["outlook"]["risk"])
    assert set(json.loads(out)[0]["reference"]) == {"within_2_percent", "within_10_percent", "mae", "mse", "mape", "r2"}


def test_without_lightgbm_the_reference_says_what_to_install(run, long_trace_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    status, _, err = run("evaluate", long_trace_file, "--last", "0.25", "--reference")
    assert status == 1
    assert "pip install 'lightgbm>=4'" in err


def test_evaluate_plots_to_a_file(run, long_trace_file, tmp_path):
    pytest.importorskip("matplotlib")
    status, _, err = run("evaluate", long_trace_file, "--plot", tmp_path / "scores.png")
    assert status == 0
    assert "wrote" in err
    assert (tmp_path / "scores.png").stat().st_size > 10_000


def test_sources_are_scored_each_by_itself(run, long_trace_file):
    lines = long_trace_file.read_text().splitlines()
    rows = [f"{line},{'dsl' if row < 150 else 'lte'}" for row, line in enumerate(lines[1:])]
    long_trace_file.write_text("\n".join([f"{lines[0]},session", *rows]) + "\n")
    _, out, _ = run("evaluate", long_trace_file, "--json")
    result = json.loads(out)[0]
    assert {name: one["samples"] for name, one in result["sources"].items()} == {"dsl": 140, "lte": 240}
    _, out, _ = run("evaluate", long_trace_file)
    assert "dsl: " in out
    _, out, _ = run("evaluate", long_trace_file, "--where", "session=dsl", "--json")
    assert json.loads(out)[0]["samples"] == 140


def test_a_mapping_file_says_what_the_options_say(run, long_trace_file, tmp_path):
    text = long_trace_file.read_text().replace("bandwidth_mbps", "rate").replace("timestamp", "at")
    other = tmp_path / "own.csv"
    other.write_text(text)
    options = ["-c", "bandwidth_mbps=rate", "-c", "timestamp=at", "-u", "bandwidth_mbps=kbit/s", "--step", "2s"]
    _, by_options, _ = run("evaluate", other, *options, "--json")
    mapping = tmp_path / "mapping.json"
    columns, units = {"bandwidth_mbps": "rate", "timestamp": "at"}, {"bandwidth_mbps": "kbit/s"}
    mapping.write_text(json.dumps({"columns": columns, "units": units, "step": "2s"}))
    _, by_file, _ = run("evaluate", other, "--mapping", mapping, "--json")
    assert json.loads(by_file) == json.loads(by_options)
    assert json.loads(by_file)[0]["rows"] == 200
    assert json.loads(by_file)[0]["resampled_from_s"] == 1.0
    _, megabits, _ = run("evaluate", other, "--mapping", mapping, "-u", "bandwidth_mbps=Mbit/s", "--json")
    ratio = [json.loads(text)[0]["baselines"]["persistence"]["mae"] for text in (megabits, by_file)]
    assert ratio[0] / ratio[1] == pytest.approx(1000, rel=1e-3)
    _, out, _ = run("evaluate", other, "--mapping", mapping)
    assert "A row every 1 s, brought to 2 s by time-weighted means" in out


def test_how_a_file_is_written_can_be_said_by_options_and_by_a_mapping_file(run, long_trace_file, tmp_path):
    lines = [line.replace(",", "\t").replace(".", ",") for line in long_trace_file.read_text().splitlines()]
    other = tmp_path / "other.txt"
    other.write_text("\n".join(lines).replace("\t0\t", "\t-1\t") + "\n")
    options = ["--separator", "tab", "--decimal", ",", "--timezone", "Europe/Berlin", "--missing", "-1"]
    _, by_options, _ = run("evaluate", other, *options, "--json")
    mapping = tmp_path / "mapping.json"
    how = {"separator": "\t", "decimal": ",", "timezone": "Europe/Berlin", "day_first": True, "missing": -1}
    mapping.write_text(json.dumps(how))
    _, by_file, _ = run("evaluate", other, "--mapping", mapping, "--json")
    _, plain, _ = run("evaluate", long_trace_file, "--json")
    result, expected = json.loads(by_options)[0], json.loads(plain)[0]
    assert json.loads(by_file)[0] == result
    assert result["model"] == pytest.approx(expected["model"], rel=1e-6)


@pytest.fixture
def kilobit_trace_file(trace_file):
    """The trace in kbit/s, which nothing in it says."""
    rows = [line.split(",") for line in trace_file.read_text().splitlines()]
    text = [",".join([*row[:2], str(float(row[2]) * 1000), *row[3:]]) for row in rows[1:]]
    trace_file.write_text("\n".join([",".join(rows[0]), *text]) + "\n")
    return trace_file


def test_a_trace_in_another_unit_is_scored_with_a_warning(run, kilobit_trace_file):
    status, out, err = run("evaluate", kilobit_trace_file, "--json")
    assert status == 0
    assert err.startswith("linkcast: warning: ")
    assert "is it in kbit/s? add -u bandwidth_mbps=kbit/s" in err
    assert "is it in kbit/s?" in json.loads(out)[0]["warnings"][0]
    _, _, err = run("evaluate", kilobit_trace_file, "--json", "-u", "bandwidth_mbps=kbit/s")
    assert err == ""


def test_a_replay_decides_nothing_for_a_trace_in_another_unit(run, kilobit_trace_file):
    status, out, err = run("replay", kilobit_trace_file, "--json")
    assert (status, out) == (1, "")
    assert "expected at most 10 times the link's capacity of 100 Mbit/s" in err
    assert "(kbit/s? or another link's capacity?)" in err
    status, _, err = run("replay", kilobit_trace_file, "--json", "-u", "bandwidth_mbps=kbit/s")
    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"day_first": "yes"}', "day_first: expected a bool, got 'yes'"),
        ('{"missing": "none"}', "missing: expected a number, got 'none'"),
        ('{"timezone": "Mars/Olympus"}', "timezone: expected a zone such as Europe/Berlin"),
        ("nonsense", "expected JSON"),
        ("[]", "expected an object with columns, units, where, step"),
        ('{"colums": {}}', "expected an object with columns, units, where, step"),
        ('{"step": 1}', "step: expected a str, got 1"),
        ('{"units": {"bandwidth_mbps": "kB"}}', "bandwidth_mbps: expected one of"),
    ],
)
def test_a_wrong_mapping_file_is_refused_in_one_line(run, trace_file, tmp_path, content, message):
    mapping = tmp_path / "mapping.json"
    mapping.write_text(content)
    status, out, err = run("evaluate", trace_file, "--mapping", mapping)
    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
