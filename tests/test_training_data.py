"""What a forecaster is trained on: splits, weights and scalers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("gymnasium")


from linkcast import read_trace
from linkcast.traces import trace_from_arrays
from linkcast.training import datasets, public
from linkcast.training.ranges import ranges_of
from tiny_training import DATA, TINY, public_folder, simulated_rows


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
    ranges = ranges_of(dataset)
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
    ranges = ranges_of(dataset)
    scaled = ranges.scale_targets(dataset.train)
    np.testing.assert_allclose(ranges.unscale_targets(scaled[:, 0], dataset.train), dataset.train.targets, rtol=1e-5)
    repeated = ranges.target.scale(dataset.train.windows[:, -1, 1], dataset.train.windows[:, -1, 1])
    np.testing.assert_allclose(repeated, repeated[0])  # one output repeats the last value, whatever it is
    assert (ranges.unscale_targets(np.full(len(dataset.train), -1e3), dataset.train) == 0.0).all()


def test_links_that_differ_in_size_only_look_alike():
    window = np.tile([[20.0, 0.0, 0.0, 1.0]], (1, 10, 1))
    window[0, :, 1] = np.linspace(50.0, 60.0, 10)
    ranges = ranges_of(datasets.link_dataset("internet", TINY, 1))
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
    ranges = ranges_of(datasets.telemetry_dataset(trace, TINY, calendar=False))
    assert all(limits.max > limits.min for limits in ranges.features.values())


def test_public_traces_join_the_simulated_links_and_their_last_part_is_held_out(tmp_path):
    simulated = datasets.link_dataset("internet", TINY, 1)
    folder = public_folder(tmp_path)
    dataset = public.internet_dataset(folder, simulated, TINY, 1)
    scored = [trace.name for trace in public.TRACES if trace.scored]
    assert list(dataset.held_out) == [*simulated.held_out, *scored]
    features, _ = simulated_rows(400)
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


def test_a_real_trace_gives_windows_in_every_part():
    file = DATA / "webrtc_video_1hz" / "dev.parquet"
    if not file.is_file():
        pytest.skip("no trace data here")
    trace = read_trace(file)
    dataset = datasets.telemetry_dataset(trace, TINY, calendar=True)
    latest = dataset.train.seconds.max()
    assert latest < dataset.test.seconds.min()
    assert min(len(dataset.train), len(dataset.validation), len(dataset.test)) > 1_000
