"""The random processes and the guide that the internet forecaster learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from linkcast.features import BANDWIDTH
from linkcast.training import datasets, forecasters, guide, links, processes, settings
from linkcast.training.datasets import Part
from linkcast.training.ranges import SCALE_FREE, SCALE_FREE_TARGET, ScalerRanges

AUGMENTATION = settings.Augmentation()


def _part(rates: np.ndarray) -> Part:
    """Windows of one long series of rates (n,) Mbit/s, without latency or loss."""
    rows = np.ones((len(rates), 4))
    rows[:, 0], rows[:, 1], rows[:, 2] = 50.0, rates, 0.0
    return datasets.windows_of_rows(rows, None, [slice(0, len(rows))], 10, weigh=datasets.scale_free_weights)


@pytest.fixture(scope="module")
def noisy():
    """A steady level under noise: the mean of the window is the best forecast, the last value a bad one."""
    return _part(30.0 * np.maximum(1.0 + 0.2 * np.random.default_rng(3).standard_normal(4000), 0.0))


@pytest.fixture(scope="module")
def fitted(noisy):
    some = replace(settings.GuideSettings(), epochs=6, epoch_windows=4000)
    return guide.fit(noisy, lambda part, rng: forecasters._vary(part, AUGMENTATION, rng), some, seed=1)


def test_processes_have_a_mean_of_one_and_come_back_with_the_seed():
    series = processes.series(500, np.random.default_rng(1))
    assert np.isfinite(series).all() and (series >= 0.0).all()
    np.testing.assert_allclose(series.mean(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(series, processes.series(500, np.random.default_rng(1)))
    spread = series.std(axis=1)
    assert (spread < 0.01).any() and (spread > 1.0).any()  # steady ones and wild ones


def test_no_window_of_processes_reaches_into_another_process():
    part = processes.part(20, 10, np.random.default_rng(2))
    series = processes.series(20, np.random.default_rng(2))
    assert len(part) == 20 * (processes.ROWS - 10)
    first = part.windows.reshape(20, processes.ROWS - 10, 10, 4)[:, 0, :, BANDWIDTH]
    np.testing.assert_array_equal(first, series[:, :10])


def test_a_rule_never_leaves_its_window():
    rates = np.exp(np.random.default_rng(4).uniform(-5.0, 5.0, (500, 10)))
    windows = np.ones((500, 10, 4))
    windows[:, :, BANDWIDTH] = rates
    given = guide.rules(windows)
    assert (given >= rates.min(axis=1, keepdims=True) - 1e-9).all()
    assert (given <= rates.max(axis=1, keepdims=True) + 1e-9).all()


def test_a_guide_is_exact_on_constants_and_moves_with_the_size(fitted, noisy):
    windows = noisy.windows[:50].copy()
    windows[:, :, BANDWIDTH] = np.geomspace(0.01, 1e5, 50)[:, None]
    np.testing.assert_allclose(fitted.forecast(windows), windows[:, 0, BANDWIDTH], rtol=1e-12)
    one = fitted.forecast(noisy.windows[:50])
    larger = noisy.windows[:50] * [1.0, 1000.0, 1.0, 1.0]
    np.testing.assert_allclose(fitted.forecast(larger), 1000.0 * one, rtol=1e-3)


def test_a_guide_learns_to_average_noise_away(fitted, noisy):
    errors = {
        "guide": np.abs(fitted.forecast(noisy.windows) - noisy.targets).mean(),
        "last": np.abs(noisy.windows[:, -1, BANDWIDTH] - noisy.targets).mean(),
        "mean": np.abs(noisy.windows[:, :, BANDWIDTH].mean(axis=1) - noisy.targets).mean(),
    }
    # Of independent noise the mean of ten has sqrt(1.1) times its size as an error, the last value sqrt(2) times.
    assert errors["guide"] < 1.05 * errors["mean"] < 0.85 * errors["last"]


def test_resized_windows_keep_their_shape_and_span_the_levels(noisy):
    part = replace(noisy, windows=noisy.windows.copy(), targets=noisy.targets.copy())
    only = replace(AUGMENTATION, masked=0.0, resized=1.0, steady=0.0)
    forecasters._vary(part, only, np.random.default_rng(1))
    means = part.windows[:, :, BANDWIDTH].mean(axis=1)
    factor = means / noisy.windows[:, :, BANDWIDTH].mean(axis=1)
    np.testing.assert_allclose(part.windows[:, :, BANDWIDTH], noisy.windows[:, :, BANDWIDTH] * factor[:, None])
    np.testing.assert_allclose(part.targets, noisy.targets * factor)
    low, high = np.log(only.levels_mbps)
    # Evenly in the logarithm: a quarter of the windows below a quarter of the way, within four standard errors.
    share = (np.log(means) < low + 0.25 * (high - low)).mean()
    assert abs(share - 0.25) < 4.0 * np.sqrt(0.25 * 0.75 / len(part))
    assert low <= np.log(means).min() and np.log(means).max() <= high


def test_the_linear_rival_finds_an_autoregression():
    rng = np.random.default_rng(8)
    logs = np.zeros(6000)
    for row in range(1, len(logs)):
        logs[row] = 0.6 * logs[row - 1] + 0.2 * rng.standard_normal()
    part = _part(20.0 * np.exp(logs))
    ranges = ScalerRanges(dict(SCALE_FREE), SCALE_FREE_TARGET)
    # The window's logarithms relative to its first hold all that an AR(1) around an unknown level says.
    row = links.compare({"link": part}, links.linear_model(part, ranges, rng))["link"]
    assert row["samples"] == len(part)
    assert row["skill"] == pytest.approx(1.0 - row["mae"] / row["naive_mae"])
    assert row["skill"] > -0.03
    assert row["mae"] < 0.95 * np.abs(part.windows[:, -1, BANDWIDTH] - part.targets).mean()
