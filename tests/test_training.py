"""Training end to end with tiny settings, and the splits and scalers that its scores rest on."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("gymnasium")

from rich.console import Console

from linkcast import read_trace, simulator, training
from linkcast.features import TELEMETRY
from linkcast.traces import trace_from_arrays
from linkcast.training import bundle, datasets, networks, settings

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("LINKCAST_DATA", ROOT.parent / "shared" / "data"))
QUIET = Console(quiet=True)

_BASE = settings.quick()
TINY = replace(
    _BASE,
    link_traces=12,
    link_rows=24,
    group_sites=6,
    group_hours=30,
    typical_sites=8,
    forecaster=replace(_BASE.forecaster, epochs=2),
    fallback=replace(_BASE.fallback, epochs=2),
    allocator=replace(
        _BASE.allocator, episodes=6, evaluate_every=3, warm_up=64, validation_episodes=4, test_episodes=10
    ),
)


def _run(output, telemetry=None, **options):
    return training.run(output, telemetry, base=ROOT, run_settings=TINY, console=QUIET, **options)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run that trains one profile and one group, and carries the rest over."""
    return _run(tmp_path_factory.mktemp("tiny"), only=["internet", "Social Media"], seed=3)


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


def test_same_seed_gives_the_same_models(tiny, tmp_path):
    again = _run(tmp_path, only=["internet"], seed=3)
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


def test_links_are_split_by_trace():
    dataset = datasets.link_dataset("internet", TINY, 1)
    windows = TINY.link_rows - TINY.window
    sizes = [len(part) / windows for part in (dataset.train, dataset.validation, dataset.test)]
    assert sizes == [8, 2, 2]
    values = [set(part.windows[:, :, 1].ravel().tolist()) for part in (dataset.train, dataset.validation, dataset.test)]
    assert not values[0] & values[1] and not values[0] & values[2] and not values[1] & values[2]


def test_telemetry_is_split_by_time_without_a_window_across_the_cut():
    rows = 200
    features = np.stack([np.full(rows, 20.0), np.arange(rows) + 1.0, np.zeros(rows), np.ones(rows)], axis=1)
    times = np.datetime64("2026-03-02T00:00:00") + np.arange(rows)
    dataset = datasets.telemetry_dataset(trace_from_arrays(features, times), TINY, calendar=False)
    train, validation, test = dataset.train, dataset.validation, dataset.test
    # Bandwidth counts the rows, so that every value says where it came from: the cuts are at rows 140 and 170.
    assert train.targets.max() == 140 and validation.windows[:, :, 1].min() == 141
    assert validation.targets.max() == 170 and test.windows[:, :, 1].min() == 171
    np.testing.assert_array_equal(train.targets, train.windows[:, -1, 1] + 1.0)


def test_ranges_have_the_meaning_of_sklearns_min_max_scaler():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    dataset = datasets.link_dataset("internet", TINY, 1)
    ranges = datasets.ranges_of(dataset)
    flat = dataset.train.windows.reshape(-1, 4)
    expected = preprocessing.MinMaxScaler().fit_transform(flat)
    scaled = ranges.scale(dataset.train.windows).reshape(-1, 4)
    for column, name in enumerate(TELEMETRY):
        if name != "bandwidth_mbps":  # its range is chosen, not the data's
            np.testing.assert_allclose(scaled[:, column], expected[:, column], atol=1e-6)
    assert scaled[:, 1].max() > 1.0  # not clipped
    np.testing.assert_allclose(ranges.target.unscale(ranges.target.scale(dataset.train.targets)), dataset.train.targets)


def test_a_constant_feature_keeps_a_range():
    trace = trace_from_arrays(np.tile([20.0, 5.0, 0.0, 1.0], (100, 1)))
    ranges = datasets.ranges_of(datasets.telemetry_dataset(trace, TINY, calendar=False))
    assert all(limits.max > limits.min for limits in ranges.features.values())


def _write_csv(path, traces, group=None):
    names = ["timestamp", *TELEMETRY, *(["service_group"] if group else [])]
    lines = [",".join(names)]
    for name, (features, seconds) in traces:
        for row, second in zip(features, seconds, strict=True):
            cells = [str(np.datetime64(int(second), "s")), *(f"{value:.6g}" for value in row)]
            lines.append(",".join([*cells, name] if group else cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _simulated_rows(rows, group=None):
    traces = simulator.simulate_group(group, 1, rows, 1) if group else simulator.simulate_link("internet", 1, rows, 1)
    return next(iter(traces))


def test_training_on_a_telemetry_file_trains_the_internet_forecaster_only(tmp_path):
    file = _write_csv(tmp_path / "link.csv", [("", _simulated_rows(300))])
    result = _run(tmp_path / "out", file)
    assert result.trained == ("internet_lstm",)
    trained_on = result.manifest["models"]["internet_lstm"]["trained_on"]
    assert trained_on["source"] == "telemetry"
    assert trained_on["file"].endswith("link.csv")
    assert trained_on["windows"] == {"train": 200, "validation": 35, "test": 35}
    assert "link.csv" in result.report.read_text(encoding="utf-8")


def test_training_on_service_groups_brings_their_statistics(tmp_path):
    rows = [(name, _simulated_rows(400, key)) for name, key in (("Gaming", "gaming"), ("Social Media", "social_media"))]
    file = _write_csv(tmp_path / "groups.csv", rows, group=True)
    result = _run(tmp_path / "out", file, only=["gaming"])
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
        _run(tmp_path / "out", file)
    assert not (tmp_path / "out").exists()


def test_too_short_a_file_is_refused_with_what_it_takes(tmp_path):
    file = _write_csv(tmp_path / "link.csv", [("", _simulated_rows(30))])
    with pytest.raises(ValueError, match=r"windows of 10 steps.*30 rows"):
        _run(tmp_path / "out", file)


def test_unknown_group_in_the_file_is_refused_with_the_known_ones(tmp_path):
    file = _write_csv(tmp_path / "groups.csv", [("Banana", _simulated_rows(60, "gaming"))], group=True)
    with pytest.raises(ValueError, match=r"streaming, gaming.*got banana"):
        _run(tmp_path / "out", file)


def test_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"datacenter, internet, streaming.*got Banana"):
        _run(tmp_path, only=["Banana"])


def test_full_settings_are_those_of_the_design():
    full = settings.full()
    assert (full.forecaster.learning_rate, full.forecaster.epochs, full.forecaster.batch) == (1e-3, 100, 32)
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


def test_a_real_trace_gives_windows_in_every_part():
    file = DATA / "webrtc_video_1hz" / "dev.parquet"
    if not file.is_file():
        pytest.skip("no trace data here")
    trace = read_trace(file)
    dataset = datasets.telemetry_dataset(trace, TINY, calendar=True)
    latest = dataset.train.seconds.max()
    assert latest < dataset.test.seconds.min()
    assert min(len(dataset.train), len(dataset.validation), len(dataset.test)) > 1_000
