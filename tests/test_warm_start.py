"""Training on telemetry from the bundled weights: they are read right, and the better model is kept."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("gymnasium")

from rich.console import Console

from conftest import ROOT
from linkcast import training
from linkcast.training import forecasters, networks, settings
from linkcast.training.start import quiet
from linkcast.training.warm_start import is_better, sentence

QUIET = Console(quiet=True)


@pytest.mark.parametrize(("name", "features"), [("internet_lstm", 4), ("gaming_model", 8)])
def test_the_weights_read_from_a_file_answer_as_the_file_does(name, features):
    content = (ROOT / "models" / f"{name}.tflite").read_bytes()
    weights = networks.forecaster_weights(content)
    model = networks.forecaster(10, features, dropout=0.0, unroll=False)
    assert networks.begin_from(model, weights)
    windows = np.random.default_rng(0).normal(0.0, 1.0, (20, 10, features)).astype(np.float32)
    expected = networks.TFLite(content).predict(windows)
    # float32 sums in another order
    np.testing.assert_allclose(model(windows), expected, atol=2e-5 * np.abs(expected).max())


def test_weights_of_another_network_are_no_beginning():
    assert networks.forecaster_weights((ROOT / "models" / "gaming_fallback.tflite").read_bytes()) is None
    weights = networks.forecaster_weights((ROOT / "models" / "gaming_model.tflite").read_bytes())
    assert not networks.begin_from(networks.forecaster(10, 4, dropout=0.0, unroll=False), weights)


def steps(path, rows=500):
    """A line that changes between three rates in turn, which no rule of the usual kind forecasts."""
    rates = np.tile([20.0, 60.0, 35.0], rows)[:rows] + np.random.default_rng(0).normal(0.0, 0.5, rows)
    path.write_text("bandwidth_mbps\n" + "\n".join(f"{rate:.3f}" for rate in rates) + "\n", encoding="utf-8")
    return path


def run(tmp_path, **fit):
    base = settings.quick()
    chosen = replace(base, forecaster=replace(base.forecaster, **fit))
    return training.run(tmp_path / "out", steps(tmp_path / "steps.csv"), base=ROOT, run_settings=chosen, console=QUIET)


def test_training_that_helps_is_kept_with_its_scores(tmp_path):
    result = run(tmp_path, epochs=6, epoch_windows=1_500)
    entry = result.manifest["models"]["internet_lstm"]
    start = entry["skill"]["start"]
    assert (start["kept"], start["bundled_model"]) == ("trained", "internet_lstm")
    assert start["trained"]["mae"] < start["bundled"]["mae"]
    assert entry["skill"]["model"] == start["trained"]
    shipped = networks.TFLite((ROOT / "models" / "internet_lstm.tflite").read_bytes())
    assert entry["trained_on"]["history"]["start"]["model"] == "internet_lstm"
    assert entry["input_shape"] == shipped.input_shape
    line = sentence("internet_lstm", entry["skill"])
    assert line in result.report.read_text(encoding="utf-8")
    assert f"{start['bundled']['mae']:.3f}" in line


def test_training_that_does_not_help_leaves_the_bundled_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(forecasters, "warm", lambda base: replace(base, learning_rate=0.0, final_learning_rate=0.0))
    result = run(tmp_path, epochs=1, epoch_windows=128)
    skill = result.manifest["models"]["internet_lstm"]["skill"]
    assert skill["start"]["kept"] == "bundled"
    assert skill["model"] == skill["start"]["bundled"]
    written = tmp_path / "out" / "models" / "internet_lstm.tflite"
    assert written.read_bytes() == (ROOT / "models" / "internet_lstm.tflite").read_bytes()
    trained_on = result.manifest["models"]["internet_lstm"]["trained_on"]
    assert trained_on["source"] == "telemetry"
    assert trained_on["target_range"][1] >= 1e5  # as far as the bundled one could be trusted
    assert not is_better(skill)


def card(model, trained, bundled, naive, kept):
    scores = {"trained": {"mae": trained}, "bundled": {"mae": bundled}}
    skill = {"model": {"mae": model}, "best_baseline": "median", "baselines": {"median": {"mae": naive}}}
    return {**skill, "start": {"kept": kept, "bundled_model": "internet_lstm", **scores}}


def test_the_line_says_who_is_kept_and_the_figures_of_all():
    better = card(1.5, 1.5, 2.0, 1.8, "trained")
    assert is_better(better)
    assert sentence("internet_lstm", better) == (
        "internet_lstm: kept the trained model: mean absolute error 1.500 Mbit/s on the last 15 %, bundled 2.000, "
        "median 1.800."
    )
    rule = card(1.5, 1.5, 2.0, 1.2, "trained")
    assert not is_better(rule)
    assert "kept the trained model (the median is better)" in sentence("internet_lstm", rule)
    bundled = {**card(2.0, 2.5, 2.0, 2.2, "bundled"), "reference": {"mae": 1.9}}
    assert not is_better(bundled)
    assert sentence("internet_lstm", bundled).endswith("trained 2.500, median 2.200, LightGBM 1.900.")


NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795663524.811445    4930 port.cc:153] oneDNN custom operations are on.\n"
    "2026-01-01 10:00:00.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This binary is optimized\n"
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.\n"
    "E0000 00:00:1795663873.492444 10779 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)\n"
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
)
ERROR = "E0000 00:00:1795663873.492444 10779 save.cc:12] no space left on device\n"


def test_lines_about_the_machine_are_kept_out_and_errors_are_not(capfd):
    with quiet():
        os.write(2, (NOISE + ERROR + "a last line without an end").encode())
    assert capfd.readouterr().err == ERROR + "a last line without an end"


def test_all_is_said_where_the_start_fails(capfd):
    with pytest.raises(ImportError), quiet():
        os.write(2, NOISE.encode())
        raise ImportError("no TensorFlow")
    assert capfd.readouterr().err == NOISE
