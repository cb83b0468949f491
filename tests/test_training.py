"""Training end to end with tiny settings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("gymnasium")


import linkcast
from linkcast import read_trace, training
from linkcast.baselines import BASELINES
from linkcast.evaluation import baseline_label
from linkcast.training import bundle, datasets, forecasters, networks, plan, public, settings
from linkcast.training.ranges import Range, ScalerRanges
from tiny_training import DATA, QUIET, ROOT, TINY, public_folder, run, simulated_rows, write_csv


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run that trains one profile and one group, and carries the rest over."""
    return run(tmp_path_factory.mktemp("tiny"), only=["internet", "Social Media"], seed=3)


def _hashes(folder):
    manifest = json.loads((Path(folder) / "metadata" / "manifest.json").read_text(encoding="utf-8"))
    return {name: entry["sha256"] for name, entry in manifest["models"].items()}


def test_a_run_writes_a_complete_bundle_that_follows_the_schemas(tiny):
    read = bundle.read(tiny.folder)  # validates
    assert list(read.models) == list(bundle.read(ROOT).models)
    assert set(tiny.trained) == {"internet_lstm", "internet_ddqn", "social_media_model", "social_media_fallback"}
    assert not list(tiny.folder.glob(".linkcast-*"))


def test_what_is_not_trained_is_carried_over_unchanged(tiny):
    shipped, written = _hashes(ROOT), _hashes(tiny.folder)
    changed = {name for name in shipped if shipped[name] != written[name]}
    assert changed == set(tiny.trained)
    assert set(tiny.manifest["training"]["carried_over"]) == set(shipped) - changed


def test_forecasters_convert_to_the_fused_operator_at_batch_one(tiny):
    content = (tiny.folder / "models" / "internet_lstm.tflite").read_bytes()
    assert networks.operators(content).count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 3
    assert tiny.manifest["models"]["internet_lstm"]["input_shape"] == [1, 10, 4]
    assert tiny.manifest["models"]["social_media_model"]["input_shape"] == [1, 10, 8]


def test_report_shows_every_baseline_beside_the_model(tiny):
    text = tiny.report.read_text(encoding="utf-8")
    for words in (
        "internet_lstm",
        "persistence",
        "harmonic mean",
        "hour of week",
        "round up",
        "Simulated",
        "quick run",
    ):
        assert words in text


def test_the_model_card_has_intervals_and_every_baseline(tiny):
    skill = tiny.manifest["models"]["internet_lstm"]["skill"]
    assert set(skill["baselines"]) == {*BASELINES, "ar10"}
    assert set(skill["model"]) == {"within_2_percent", "within_10_percent", "mae", "mse", "mape", "r2"}
    low, high = skill["interval"]["mae"]
    assert low < skill["model"]["mae"] < high
    low, high = skill["interval"]["skill"]
    assert low < skill["skill"] < high
    text = tiny.report.read_text(encoding="utf-8")
    assert "AR(10)" in text
    assert f"Skill over {baseline_label(skill['best_baseline'], article=True)} {100 * skill['skill']:+.1f} %" in text


def test_the_report_says_what_calendar_and_telemetry_are_worth(tiny):
    ablation = tiny.manifest["models"]["social_media_model"]["skill"]["ablation"]
    assert ablation["mae"]["intact"] == tiny.manifest["models"]["social_media_model"]["skill"]["model"]["mae"]
    assert len({*ablation["mae"].values()}) == 4
    text = tiny.report.read_text(encoding="utf-8")
    assert "## Calendar and telemetry" in text
    assert ablation["verdict"] in text
    assert "without training again" in text


def test_the_fallback_is_scored_beside_the_forecaster(tiny):
    skill = tiny.manifest["models"]["social_media_fallback"]["skill"]
    beside = skill["beside_forecaster"]
    # One test site of 30 hours: a window of ten before each of the other twenty.
    assert beside["samples"] == 20
    assert f"has {beside['forecaster']['mae']:.3f}, the fallback {beside['fallback']['mae']:.3f}" in skill["verdict"]
    assert "the group's forecaster there" in tiny.report.read_text(encoding="utf-8")


def test_a_full_run_puts_lightgbm_beside_the_forecasters(tmp_path):
    pytest.importorskip("lightgbm")
    full = replace(TINY, quick=False, allocator=replace(TINY.allocator, episodes=2))
    file = write_csv(tmp_path / "link.csv", [("", simulated_rows(300))])
    result = training.run(tmp_path / "out", file, base=ROOT, run_settings=full, console=QUIET)
    reference = result.manifest["models"]["internet_lstm"]["skill"]["reference"]
    assert 0.0 < reference["mae"] < 10 * result.manifest["models"]["internet_lstm"]["skill"]["model"]["mae"]
    assert "LightGBM (reference)" in result.report.read_text(encoding="utf-8")


def test_same_seed_gives_the_same_models_however_many_workers(tiny, tmp_path):
    again = run(tmp_path, only=["internet"], seed=3, workers=2)
    first, second = (
        networks.TFLite((folder / "models" / "internet_lstm.tflite").read_bytes())
        for folder in (tiny.folder, again.folder)
    )
    windows = np.random.default_rng(0).random((20, 10, 4), dtype=np.float32)
    np.testing.assert_allclose(first.predict(windows), second.predict(windows), rtol=0, atol=1e-4)
    states = windows[:, 0]
    first, second = (
        networks.TFLite((folder / "models" / "internet_ddqn.tflite").read_bytes())
        for folder in (tiny.folder, again.folder)
    )
    np.testing.assert_allclose(first.predict(states), second.predict(states), rtol=0, atol=1e-4)


def test_a_converted_model_equals_the_keras_model():
    networks.make_deterministic(1)
    keras = networks.forecaster(10, 4, dropout=0.1)
    windows = np.random.default_rng(0).random((30, 10, 4), dtype=np.float32)
    networks.calibrate_normalisation(keras, windows)
    single = networks.forecaster(10, 4, dropout=0.1, batch=1, unroll=False)
    single.set_weights(keras.get_weights())
    converted = networks.TFLite(networks.convert(single, fused_lstms=3))
    expected = keras.predict(windows, verbose=0)
    # float32 sums in another order.
    np.testing.assert_allclose(converted.predict(windows), expected, atol=1e-5 * np.abs(expected).max())
    # The same window once more: the interpreter starts from zero state.
    np.testing.assert_array_equal(converted.predict(windows[:3]), converted.predict(windows[:3]))


def test_conversion_refuses_a_graph_without_the_fused_operator():
    unrolled = networks.forecaster(4, 2, dropout=0.0, batch=1, unroll=True)
    with pytest.raises(RuntimeError, match="expected 3 UNIDIRECTIONAL_SEQUENCE_LSTM"):
        networks.convert(unrolled, fused_lstms=3)


def test_normalisation_is_fixed_to_the_statistics_of_its_input():
    network = networks.allocator(4, 10)
    states = np.random.default_rng(0).normal(3.0, 2.0, (500, 4)).astype(np.float32)
    networks.calibrate_normalisation(network, states)
    hidden = network.layers[0](states).numpy()
    normalised = network.layers[1](network.layers[0](states)).numpy()
    used = hidden.std(axis=0) > 0.05
    np.testing.assert_allclose(normalised[:, used].mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(network.layers[1].moving_mean.numpy(), hidden.mean(axis=0), rtol=1e-4)
    assert not network.layers[1].trainable


def test_nothing_is_written_when_the_metadata_are_wrong(tmp_path):
    shipped = bundle.read(ROOT)
    files = bundle.metadata(shipped, "test", "2026-01-01T00:00:00Z", 0, {})
    bundle.write(tmp_path, shipped, files, "report")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert _hashes(tmp_path) == _hashes(ROOT)
    files["scalers"]["models"]["internet_lstm"]["target"] = {"min": 0.0}
    with pytest.raises(ValueError, match=r"scalers.json: models/internet_lstm/target.*max"):
        bundle.write(tmp_path, shipped, files, "report")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_training_with_public_traces_scores_each_of_them(tmp_path):
    folder = public_folder(tmp_path)
    result = run(tmp_path / "out", traces=folder, only=["internet_lstm"])
    assert result.trained == ("internet_lstm",)  # a single model
    entry = result.manifest["models"]["internet_lstm"]
    scored = [trace.name for trace in public.TRACES if trace.scored]
    assert list(entry["skill"]["sources"]) == ["simulated links at noise level 0.05", *scored]
    assert entry["trained_on"]["source"] == "traces and simulation"
    assert "WizardTim" in json.dumps(entry["trained_on"])
    links = entry["skill"]["links"]
    assert set(links) == {"model", "linear"}
    assert list(links["linear"]) == [trace.name for trace in public.TRACES]
    row = links["model"]["webrtc video"]
    # The simulated stand-in has one seed for all: the source's own score is of the same windows.
    assert row["mae"] == pytest.approx(entry["skill"]["sources"]["webrtc video"]["model"]["mae"], rel=1e-5)
    assert row["skill"] == pytest.approx(1.0 - row["mae"] / row["naive_mae"], abs=1e-4)
    text = result.report.read_text(encoding="utf-8")
    assert "## Link by link: internet_lstm" in text
    assert f"| webrtc video | {row['best_naive'].replace('_', ' ')} | {row['naive_mae']:.4f} |" in text


def test_a_forecaster_without_each_family_and_the_classic_recipe_stand_beside_the_internet_one():
    jobs = plan.simulated_jobs(replace(TINY, unseen=TINY.internet), "folder")
    rivals = {name for job in jobs for name in job if name not in plan.MODELS}
    assert rivals == {
        "internet_lstm, classic",
        *(f"internet_lstm, no {family}" for family in public.FAMILIES),
    }
    names = [name for job in plan.choose(jobs, ["internet"], ["gaming_fallback"]) for name in job]
    assert set(names) == {"internet_lstm", *rivals, "internet_ddqn", "gaming_fallback"}
    assert not [name for job in plan.simulated_jobs(TINY, "folder") for name in job if "," in name]


def test_the_classic_recipe_halves_the_rate_on_a_plateau_and_then_stops():
    classic = settings.by_classic_recipe(settings.full()).internet
    assert (classic.learning_rate, classic.loss, classic.batch, classic.epochs) == (1e-3, "mse", 32, 100)
    # Nothing can be learned: the weights are all zero, and so is every gradient.
    windows, zeros = np.zeros((64, 4)), np.zeros(64)
    part = datasets.Part(windows, zeros, None, np.ones(64), np.full(64, 1 / 64))
    ranges = ScalerRanges(dict.fromkeys("abcd", Range(0.0, 1.0)), Range(0.0, 1.0))
    fit = forecasters._Fit(networks.fallback(4), part, part, ranges, replace(classic, plateau_patience=3))
    rates = []
    while not fit.finished:
        fit.epoch(np.random.default_rng(0))
        rates.append(float(fit._model.optimizer.learning_rate.numpy()))
    best = fit.history()["best_epoch"]
    assert len(rates) == best + classic.stop_patience
    np.testing.assert_allclose(rates[best : best + 9], np.repeat([1e-3, 5e-4, 2.5e-4], 3)[:9], rtol=1e-5)


def test_an_unknown_recipe_is_refused(tmp_path):
    with pytest.raises(ValueError, match="recipe: expected default or classic, got modern"):
        run(tmp_path, recipe="modern")


def test_the_engine_forecasts_what_the_training_pipeline_scored(tiny):
    dataset = datasets.link_dataset("internet", TINY, 9)
    windows = np.concatenate([dataset.train.windows, dataset.test.windows])
    file = DATA / "webrtc_video_1hz" / "dev.parquet"
    if file.is_file():
        trace = read_trace(file)
        starts = trace.window_starts(10)[::100]
        windows = np.concatenate([windows, trace.features[starts[:, None] + np.arange(10)]])
    part = replace(dataset.train, windows=windows, targets=windows[:, -1, 1])
    name = "internet_lstm"
    content = (tiny.folder / "models" / f"{name}.tflite").read_bytes()
    scalers = json.loads((tiny.folder / "metadata" / "scalers.json").read_text(encoding="utf-8"))["models"][name]
    ranges = ScalerRanges(
        {feature: Range(**entry) for feature, entry in scalers["features"].items()},
        Range(**scalers["target"]),
    )
    expected = forecasters.Trained(content, ranges, {}, {}).forecast(part)
    found = linkcast.Engine.load(tiny.folder).forecast_raw("internet", windows)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_training_on_a_telemetry_file_trains_the_internet_forecaster_only(tmp_path):
    file = write_csv(tmp_path / "link.csv", [("", simulated_rows(300))])
    result = run(tmp_path / "out", file)
    assert result.trained == ("internet_lstm",)
    trained_on = result.manifest["models"]["internet_lstm"]["trained_on"]
    assert trained_on["source"] == "telemetry"
    assert trained_on["file"].endswith("link.csv")
    assert trained_on["windows"] == {"train": 200, "validation": 35, "test": 35}
    assert "link.csv" in result.report.read_text(encoding="utf-8")


def test_training_on_service_groups_brings_their_statistics(tmp_path):
    rows = [(name, simulated_rows(400, key)) for name, key in (("Gaming", "gaming"), ("Social Media", "social_media"))]
    file = write_csv(tmp_path / "groups.csv", rows, group=True)
    result = run(tmp_path / "out", file, only=["gaming"])
    assert result.trained == ("gaming_model", "gaming_fallback")
    stats = json.loads((tmp_path / "out" / "metadata" / "service_group_stats.json").read_text(encoding="utf-8"))
    assert stats["source"] == "mixed"
    bandwidth = rows[0][1][0][:, 1]
    assert stats["groups"]["gaming"]["max_bandwidth_mbps"] == pytest.approx(bandwidth.max(), rel=1e-4)
    features = json.loads((tmp_path / "out" / "metadata" / "feature_list.json").read_text(encoding="utf-8"))
    assert features["models"]["gaming_model"]["step_s"] == 3600


def test_missing_columns_are_named(tmp_path):
    file = tmp_path / "short.csv"
    file.write_text("timestamp,latency_ms,speed\n2026-01-01T00:00:00,20,5\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bandwidth_mbps.*found timestamp, latency_ms, speed"):
        run(tmp_path / "out", file)
    assert not (tmp_path / "out").exists()


def test_too_short_a_file_is_refused_with_what_it_takes(tmp_path):
    file = write_csv(tmp_path / "link.csv", [("", simulated_rows(30))])
    with pytest.raises(ValueError, match=r"windows of 10 steps.*30 rows"):
        run(tmp_path / "out", file)


def test_unknown_group_in_the_file_is_refused_with_the_known_ones(tmp_path):
    file = write_csv(tmp_path / "groups.csv", [("Banana", simulated_rows(60, "gaming"))], group=True)
    with pytest.raises(ValueError, match=r"streaming, gaming.*got banana"):
        run(tmp_path / "out", file)


def test_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"datacenter, internet, streaming.*got Banana"):
        run(tmp_path, only=["Banana"])


def test_full_settings_are_those_of_the_design():
    full = settings.full()
    assert full.forecaster.epochs == 100
    allocator = full.allocator
    assert (allocator.episodes, allocator.discount, allocator.replay, allocator.batch) == (2_000, 0.99, 10_000, 64)
    assert (allocator.epsilon_start, allocator.epsilon_end, allocator.epsilon_decay) == (1.0, 0.01, 0.995)
    assert allocator.target_update == 10


def test_forecaster_and_allocator_have_the_layers_of_the_design():
    def layers(model):
        kinds = {"LSTM": "LSTM", "BatchNormalization": "BN", "Dense": "Dense"}
        return [
            f"{kinds[kind]} {layer.units}" if kind != "BatchNormalization" else "BN"
            for layer in model.layers
            if (kind := type(layer).__name__) in kinds
        ]

    assert layers(networks.forecaster(10, 4, 0.1)) == [
        *("LSTM 128", "BN", "LSTM 64", "BN", "LSTM 32", "BN"),
        *("Dense 16", "Dense 8", "Dense 1"),
    ]
    assert layers(networks.allocator(4, 10)) == ["Dense 128", "BN", "Dense 64", "BN", "Dense 32", "BN", "Dense 10"]
