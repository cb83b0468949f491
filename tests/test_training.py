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

import linkcast
from linkcast import read_trace, simulator, training
from linkcast.baselines import BASELINES
from linkcast.evaluation import baseline_label
from linkcast.features import TELEMETRY
from linkcast.traces import trace_from_arrays
from linkcast.training import bundle, datasets, forecasters, networks, plan, public, settings

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
    forecaster=replace(_BASE.forecaster, epochs=2, epoch_windows=256),
    internet=replace(_BASE.internet, epochs=2, epoch_windows=256),
    processes=40,
    guide=replace(_BASE.guide, epochs=1, epoch_windows=512),
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
    file = _write_csv(tmp_path / "link.csv", [("", _simulated_rows(300))])
    result = training.run(tmp_path / "out", file, base=ROOT, run_settings=full, console=QUIET)
    reference = result.manifest["models"]["internet_lstm"]["skill"]["reference"]
    assert 0.0 < reference["mae"] < 10 * result.manifest["models"]["internet_lstm"]["skill"]["model"]["mae"]
    assert "LightGBM (reference)" in result.report.read_text(encoding="utf-8")


def test_same_seed_gives_the_same_models_however_many_workers(tiny, tmp_path):
    again = _run(tmp_path, only=["internet"], seed=3, workers=2)
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


def test_ranges_span_the_quartiles_of_what_is_scaled():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    dataset = datasets.link_dataset("internet", TINY, 1)
    ranges = datasets.ranges_of(dataset)
    windows = dataset.train.windows
    scaled = ranges.scale(windows)
    levels = np.log(windows[:, :, 1] + 0.01)
    from_first = (levels - levels[:, :1])[:, 1:].reshape(-1, 1)
    # RobustScaler divides by the distance of the quartiles, too, and puts the median at 0.
    expected = preprocessing.RobustScaler().fit_transform(from_first)
    found = scaled[:, 1:, 1].reshape(-1, 1)
    np.testing.assert_allclose(found - np.median(found), expected, atol=0.02 * np.abs(expected).max())
    assert (scaled[:, 0, 1] == scaled[0, 0, 1]).all()  # every window starts at its own reference
    assert scaled[..., 1].max() > 1.0  # not clipped


def test_targets_come_back_from_their_scaled_values():
    dataset = datasets.link_dataset("internet", TINY, 1)
    ranges = datasets.ranges_of(dataset)
    scaled = ranges.scale_targets(dataset.train)
    np.testing.assert_allclose(ranges.unscale_targets(scaled[:, 0], dataset.train), dataset.train.targets, rtol=1e-5)
    repeated = ranges.target.scale(dataset.train.windows[:, -1, 1], dataset.train.windows[:, -1, 1])
    np.testing.assert_allclose(repeated, repeated[0])  # one output repeats the last value, whatever it is
    assert (ranges.unscale_targets(np.full(len(dataset.train), -1e3), dataset.train) == 0.0).all()


def test_links_that_differ_in_size_only_look_alike():
    window = np.tile([[20.0, 0.0, 0.0, 1.0]], (1, 10, 1))
    window[0, :, 1] = np.linspace(50.0, 60.0, 10)
    ranges = datasets.ranges_of(datasets.link_dataset("internet", TINY, 1))
    small, large = ranges.scale(window), ranges.scale(window * [1.0, 10.0, 1.0, 1.0])
    np.testing.assert_allclose(small, large, atol=0.02)  # the offset of the logarithm makes a small difference


def test_every_source_counts_alike_in_the_loss():
    rng = np.random.default_rng(0)
    levels = np.repeat([1.0, 100.0], 2_000)[:, None]
    series = levels * np.exp(0.2 * rng.standard_normal((4_000, 11)))
    windows = np.repeat(series[:, :10, None], 4, axis=2)
    weights = datasets.loss_weights(windows, series[:, 10], np.repeat([0, 1], 2_000))
    error = np.abs(np.log(series[:, 10]) - np.log(windows[:, :, 1].mean(axis=1))) * weights
    assert error[:2_000].mean() == pytest.approx(error[2_000:].mean(), rel=0.1)
    assert error.mean() == pytest.approx(1.0, abs=0.25)  # about the EWMA's error, so about 1


def test_windows_are_drawn_by_their_chances():
    part = datasets.link_dataset("internet", TINY, 1).train
    chances = np.where(np.arange(len(part)) < 20, 3.0, 1.0)
    part = replace(part, chances=chances / chances.sum())
    drawn = np.bincount(part.draw(10 * int(chances.sum()), np.random.default_rng(0)), minlength=len(part))
    np.testing.assert_allclose(drawn, 10 * chances, atol=1)
    whole = replace(part, chances=np.full(len(part), 1.0 / len(part))).draw(len(part), np.random.default_rng(0))
    np.testing.assert_array_equal(whole, np.arange(len(part)))


def test_a_constant_feature_keeps_a_range():
    trace = trace_from_arrays(np.tile([20.0, 5.0, 0.0, 1.0], (100, 1)))
    ranges = datasets.ranges_of(datasets.telemetry_dataset(trace, TINY, calendar=False))
    assert all(limits.max > limits.min for limits in ranges.features.values())


def _public_folder(folder):
    """Every file of the public traces' table, simulated: the columns and the layout, not the data."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    for file in {public_trace.file for public_trace in public.TRACES}:
        sessions = []
        for session in ("5G-A-WAVELAB", "CAU-1"):
            rows = 400
            features, seconds = _simulated_rows(rows)
            names = {"session": session, "modem": session} if "modem" in file else {"session": session}
            rates = {"bandwidth_mbps": features[:, 1]} if "webrtc" in file else {}
            rates = rates or {"dl_mbps": features[:, 1], "ul_mbps": 0.1 * features[:, 1]}
            sessions.append(
                pa.table(
                    {
                        "timestamp": pa.array(seconds.astype("datetime64[s]")),
                        **{name: [value] * rows for name, value in names.items()},
                        "latency_ms": features[:, 0],
                        **rates,
                        "packet_loss": features[:, 2],
                        "reliability": features[:, 3],
                    }
                )
            )
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        table = pa.concat_tables(sessions)
        if path.suffix == ".parquet":
            parquet.write_table(table, path)
        else:
            with pa.CompressedOutputStream(path, "gzip") as stream:
                csv.write_csv(table.drop_columns("session"), stream)
    return folder


def test_public_traces_join_the_simulated_links_and_their_last_part_is_held_out(tmp_path):
    simulated = datasets.link_dataset("internet", TINY, 1)
    folder = _public_folder(tmp_path)
    dataset = public.internet_dataset(folder, simulated, TINY, 1)
    scored = [trace.name for trace in public.TRACES if trace.scored]
    assert list(dataset.held_out) == [*simulated.held_out, *scored]
    features, _ = _simulated_rows(400)
    held_out = dataset.held_out["webrtc video"]
    # 400 rows a session: 280 before the cut, of which 56 validate; windows of 10 rows and a target fit into each part.
    assert len(held_out) == 2 * 110
    np.testing.assert_array_equal(held_out.targets[:110], features[290:, 1])
    trained = dataset.train.windows[len(simulated.train) :]
    assert not set(np.unique(trained[:, :, 1])) & set(features[280:, 1])
    sizes = dataset.origin["traces"]["webrtc video"]["windows"]
    assert sizes == {"train": 2 * 214, "validation": 2 * 46, "test": 2 * 110}
    assert dataset.train.chances.sum() == pytest.approx(1.0)
    assert dataset.train.chances[: len(simulated.train)].sum() == pytest.approx(TINY.simulated_share)
    assert all(entry["credit"] for entry in dataset.origin["traces"].values())
    assert dataset.train.chances[-dataset.origin["processes"]["windows"] :].sum() == pytest.approx(TINY.processes_share)
    assert list(dataset.links) == [trace.name for trace in public.TRACES]
    without = public.internet_dataset(folder, simulated, TINY, 1, without="starlink_1hz")
    assert set(dataset.origin["traces"]) - set(without.origin["traces"]) == {"starlink downlink", "starlink uplink"}
    assert list(without.links) == ["starlink downlink", "starlink uplink"]
    assert len(dataset.train) - len(without.train) == 2 * sizes["train"]
    assert without.train.chances.sum() == pytest.approx(1.0)


def test_every_family_of_traces_counts_alike():
    shares = public.shares(public.TRACES)
    for family in public.FAMILIES:
        of_family = sum(
            share for public_trace, share in zip(public.TRACES, shares, strict=True) if public_trace.family == family
        )
        assert of_family == pytest.approx(1.0 / len(public.FAMILIES))


def test_training_with_public_traces_scores_each_of_them(tmp_path):
    folder = _public_folder(tmp_path)
    result = _run(tmp_path / "out", traces=folder, only=["internet_lstm"])
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
    ranges = datasets.ScalerRanges(dict.fromkeys("abcd", datasets.Range(0.0, 1.0)), datasets.Range(0.0, 1.0))
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
        _run(tmp_path, recipe="modern")


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
    ranges = datasets.ScalerRanges(
        {feature: datasets.Range(**entry) for feature, entry in scalers["features"].items()},
        datasets.Range(**scalers["target"]),
    )
    expected = forecasters.Trained(content, ranges, {}, {}).forecast(part)
    found = linkcast.Engine.load(tiny.folder).forecast_raw("internet", windows)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


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


def test_a_real_trace_gives_windows_in_every_part():
    file = DATA / "webrtc_video_1hz" / "dev.parquet"
    if not file.is_file():
        pytest.skip("no trace data here")
    trace = read_trace(file)
    dataset = datasets.telemetry_dataset(trace, TINY, calendar=True)
    latest = dataset.train.seconds.max()
    assert latest < dataset.test.seconds.min()
    assert min(len(dataset.train), len(dataset.validation), len(dataset.test)) > 1_000
