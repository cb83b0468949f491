"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import csv
import json
import re
import sys

import numpy as np
import pytest

import linkcast
from linkcast.cli import main
from linkcast.stream_answers import StreamScores

GROUPS = ["Streaming", "Gaming", "Social Media", "Shopping", "Software"]
COMMANDS = ["predict", "forecast", "decide", "groups", "replay", "evaluate", "inspect", "bench", "train", "convert"]


@pytest.fixture
def run(monkeypatch, capsys):
    """run("groups", "--json") -> (exit status, standard output, standard error)."""

    def call(*arguments: object, columns: int = 100) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["linkcast", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        status = 0
        try:
            main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


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


def test_the_version_is_the_packages(run):
    assert run("--version") == (0, f"linkcast {linkcast.__version__}\n", "")


def test_help_names_every_command(run):
    status, out, _ = run("--help")
    assert status == 0
    for command in COMMANDS:
        assert command in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_json_and_help(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert "--json" in out


def test_predict_prints_the_predictors_numbers(run):
    status, out, _ = run("predict", "streaming", "--at", "2026-03-02T18:00", "--json")
    expected = linkcast.BandwidthPredictor().predict("2026-03-02T18:00", "Streaming", as_numbers=True)
    assert status == 0
    assert json.loads(out) == pytest.approx(expected, abs=1e-6)


def test_predict_without_a_group_shows_all_five(run):
    _, out, _ = run("predict", "--at", "2026-03-02T18:00", "--usage", "40", "--device", "mobile")
    assert "Monday 2026-03-02 18:00" in out
    for group in GROUPS:
        assert group in out


def test_forecast_json_is_the_predictors_time_series(run):
    _, out, _ = run("forecast", "--from", "2026-03-02T18:00", "--to", "2026-03-03T18:00", "--every", "6", "--json")
    series = json.loads(out)
    assert [entry["timestamp"] for entry in series] == [
        "2026-03-02T18:00:00",
        "2026-03-03T00:00:00",
        "2026-03-03T06:00:00",
        "2026-03-03T12:00:00",
        "2026-03-03T18:00:00",
    ]
    assert list(series[0]["predictions"]) == GROUPS


def test_forecast_writes_a_csv_line_for_each_time_and_group(run, tmp_path):
    path = tmp_path / "forecast.csv"
    status, out, err = run("forecast", "gaming", "software", "--from", "2026-03-02T18:00", "--output", path)
    assert (status, err) == (0, "")
    assert out.startswith("Wrote 24 times to")
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert len(rows) == 48
    assert list(rows[0]) == [
        "timestamp",
        "service_group",
        "group_id",
        "service_id",
        "bandwidth_allocation",
        "predicted_bandwidth_mbps",
        "source",
    ]
    assert [row["service_group"] for row in rows[:2]] == ["Gaming", "Software"]
    assert float(rows[0]["predicted_bandwidth_mbps"]) >= 0.0


def test_forecast_writes_the_same_json_as_it_prints(run, tmp_path):
    path = tmp_path / "forecast.json"
    _, out, _ = run("forecast", "--from", "2026-03-02T18:00", "--output", path, "--json")
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(out)


def test_decide_prints_the_engines_action(run, engine):
    _, out, _ = run("decide", "35", "20", "0.001", "0.999", "--json")
    answer = json.loads(out)
    assert answer["action"] == int(engine.decide("internet", [35, 20, 0.001, 0.999])[0])
    assert answer["allocation_percent"] == (answer["action"] + 1) * 10
    assert answer["action"] == int(np.argmax(answer["q_values"]))


def test_groups_lists_the_services(run):
    _, out, _ = run("groups", "--json")
    groups = json.loads(out)
    assert [group["name"] for group in groups.values()] == GROUPS
    assert groups["streaming"]["group_id"] == 1001
    assert groups["streaming"]["default_service_id"] == 102


def test_groups_and_predict_say_that_the_shipped_profiles_are_simulated(run):
    for command in (["groups"], ["predict"], ["predict", "gaming"]):
        _, out, _ = run(*command)
        assert "Simulated: statistics, hour-of-week profiles and models" in out
    _, out, _ = run("groups", "--json")
    assert {group["source"] for group in json.loads(out).values()} == {"simulated"}


def test_a_group_from_telemetry_says_so(run, edit):
    def change(manifest):
        manifest["models"]["gaming_model"]["trained_on"]["source"] = "telemetry"

    folder = edit("manifest", change)
    _, out, _ = run("predict", "gaming", "--models", folder)
    assert "imulated" not in out
    _, out, _ = run("groups", "--models", folder, "--json")
    assert json.loads(out)["gaming"]["source"] == "telemetry"


def test_inspect_shows_shapes_operators_and_what_runs_them(run, engine):
    _, out, _ = run("inspect", "internet_lstm", "--json")
    answer = json.loads(out)
    model = engine.model("internet_lstm")
    assert answer["input_shape"] == [1, 10, 4]
    assert answer["backend"] == model.backend
    assert answer["backend_reason"] == model.backend_reason
    assert [operator["name"] for operator in answer["operators"]] == [
        operator["name"] for operator in model.operators()
    ]


def test_inspect_takes_a_file_too(run, engine):
    path = engine.model("internet_ddqn").path
    status, out, _ = run("inspect", path)
    assert status == 0
    assert "FULLY_CONNECTED" in out


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


def test_without_lightgbm_the_reference_names_the_extra(run, long_trace_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    status, _, err = run("evaluate", long_trace_file, "--last", "0.25", "--reference")
    assert status == 1
    assert "pip install 'linkcast[reference]'" in err


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "Banana"], "expected one of Streaming, Gaming, Social Media, Shopping, Software, got 'Banana'"),
        (["predict", "gaming", "--at", "soon"], "timestamp: expected an ISO 8601 time"),
        (["predict", "gaming", "--usage", "101"], "usage_percentage: expected a number from 0 to 100"),
        (["predict", "--models", "/nowhere"], "json"),
        (["forecast", "--from", "2026-03-02", "--to", "2026-03-01"], "end_time: expected"),
        (["decide", "nan", "1", "0", "1"], "expected"),
        (["inspect", "moon"], "model: expected a .tflite file or one of"),
        (["inspect", "/nowhere.tflite"], "/nowhere.tflite"),
        (["replay", "/nowhere.csv"], "/nowhere.csv: no such file"),
        (["replay", "--profile", "moon"], "internet"),
        (["evaluate", "/nowhere.parquet"], "/nowhere.parquet: no such file"),
    ],
)
def test_an_error_is_one_line_on_standard_error_and_exit_status_1(run, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("linkcast: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["decide", "1"],
        ["decide", "fast", "1", "0", "1"],
        ["predict", "--nonsense"],
        ["nonsense"],
        ["forecast", "--output", "forecast.txt"],
        ["evaluate"],
        ["evaluate", "a.csv", "--reference"],
        ["evaluate", "a.csv", "b.csv", "--plot", "a.png"],
        ["evaluate", "a.csv", "--step", "soon"],
        ["train", "--unit", "bandwidth_mbps=kbit/s"],
        ["replay", "--column", "packet_loss"],
        ["inspect", "internet_lstm", "--backend", "gpu"],
    ],
)
def test_wrong_usage_is_exit_status_2(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err


def test_train_without_tensorflow_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    for name in [name for name in sys.modules if name.startswith("linkcast.training")]:
        monkeypatch.delitem(sys.modules, name)
    status, out, err = run("train", "--quick")
    assert (status, out) == (1, "")
    assert "linkcast[train]" in err
    assert err.count("\n") == 1


def test_decide_is_safe_over_rising_bandwidth_and_says_why(run):
    percents = []
    for mbps in (5, 45, 90, 99, 105, 1000):
        status, out, _ = run("decide", 0.3, mbps, 0, 1, "--json")
        answer = json.loads(out)
        assert status == 0
        percents.append(answer["allocation_percent"])
        assert (answer["cause"] == "over_capacity") == (mbps > 100)
    assert percents == sorted(percents)
    assert percents[-2:] == [100, 100]
    assert "more bandwidth than the link has" in run("decide", 28, 120, 0, 1)[1]
    assert "outside what training has seen" in run("decide", 28, 12, 1, 0)[1]


def test_decide_refuses_percent_for_a_fraction_and_bits_for_megabits(run):
    status, _, error = run("decide", 28, 12.5, 0.1, 99.8)
    assert status == 1
    assert "reliability: expected a fraction 0..1, got 99.8 (percent?)" in error
    status, _, error = run("decide", 28, 12.5e6, 0, 1)
    assert status == 1
    assert "(bit/s?)" in error


def test_inspect_shows_an_allocators_certificate(run):
    _, text, _ = run("inspect", "internet_ddqn")
    assert "more bandwidth never means a smaller allocation" in text
    assert "0 violations" in text
    certificate = json.loads(run("inspect", "internet_ddqn", "--json")[1])["certificate"]
    assert certificate["sweep"]["violations"] == [0, 0, 0]
    assert "certificate" not in json.loads(run("inspect", "internet_lstm", "--json")[1])
