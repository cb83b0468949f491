"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest

import linkcast

GROUPS = ["Streaming", "Gaming", "Social Media", "Shopping", "Software"]
COMMANDS = ["predict", "forecast", "decide", "groups", "replay", "evaluate", "inspect", "bench", "train", "convert"]
COMMANDS += ["explain", "export-edge", "keygen", "sign", "verify"]


def test_the_version_is_the_packages(run):
    assert run("--version") == (0, f"linkcast {linkcast.__version__}\n", "")


def test_help_names_every_command(run):
    status, out, _ = run("--help")
    assert status == 0
    for command in (*COMMANDS, "fleet"):
        assert command in out


@pytest.mark.parametrize("command", [*COMMANDS, "fleet score", "fleet report", "fleet train"])
def test_every_command_has_json_and_help(run, command):
    status, out, _ = run(*command.split(), "--help")
    assert status == 0
    assert "--json" in out


@pytest.mark.parametrize("width", [60, 80])
def test_help_fits_the_terminal_and_cuts_no_word(run, width):
    for command in ([], *([name] for name in COMMANDS)):
        out = run(*command, "--help", columns=width)[1]
        assert max(map(len, out.splitlines())) <= width, command
        assert "…" not in out
    assert "cryptography" in run("sign", "--help")[1]
    assert "measured, who weighed in, the band" in " ".join(run("--help")[1].split())


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


def test_train_without_tensorflow_names_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    for name in [name for name in sys.modules if name.startswith("linkcast.training")]:
        monkeypatch.delitem(sys.modules, name)
    status, out, err = run("train", "--quick")
    assert (status, out) == (1, "")
    assert "pip install 'tensorflow" in err
    assert "linkcast[" not in err
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


def test_negative_numbers_are_arguments_and_who_takes_them_says_what_is_wrong(run):
    status, output, error = run("decide", 28, -1, 0, 1)
    assert (status, output) == (1, "")
    assert "bandwidth_mbps: expected Mbit/s, 0 or more, got -1" in error
    assert run("decide", 28, 1, 0, 1, "--no-such")[0] == 2


def test_an_idle_link_is_scored_without_nan(run, tmp_path):
    path = tmp_path / "idle.csv"
    path.write_text("bandwidth_mbps\n" + "0\n" * 60)
    status, output, error = run("evaluate", path)
    assert status == 0, error
    assert "nan" not in output.lower()


def test_help_names_the_folders_that_builds_ask_for(run):
    help_text = run("--help")[1]
    for option in ("--cmakedir", "--includedir", "--pkgconfigdir", "--godir", "--install-completion"):
        assert option in help_text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("linkcast eval", ["evaluate"]),
        ("linkcast predict S", ["Streaming", "Social Media", "Shopping", "Software"]),
        ("linkcast decide --profile d", ["datacenter"]),
    ],
)
def test_the_shell_completes_commands_groups_and_profiles(run, monkeypatch, words, expected):
    monkeypatch.setenv("_LINKCAST_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert run()[1].splitlines() == expected


def test_the_script_that_the_shell_sources_asks_this_program(run, monkeypatch):
    monkeypatch.setenv("_LINKCAST_COMPLETE", "source_bash")
    status, output, _ = run()
    assert status == 0
    assert "_LINKCAST_COMPLETE=complete_bash" in output
