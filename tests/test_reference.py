"""The LightGBM reference on processes whose best forecast is known."""

from __future__ import annotations

import numpy as np
import pytest

from linkcast.reference import lightgbm_forecasts, lightgbm_quantile

pytest.importorskip("lightgbm")


def windows_of(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 10, 2): something else, and the series as the bandwidth; (n,) the value after."""
    starts = np.arange(len(series) - 10)
    rows = starts[:, None] + np.arange(10)
    noise = np.random.default_rng(9).random(len(series))
    return np.stack([noise[rows], series[rows]], axis=2), series[starts + 10]


def alternating(rows: int, size: float, seed: int) -> np.ndarray:
    """High, low, high, low, with 5 % noise: persistence is always wrong, the value before last nearly right."""
    return size * (10.0 + 4.0 * (-1.0) ** np.arange(rows)) * np.random.default_rng(seed).normal(1.0, 0.05, rows)


def test_it_learns_what_persistence_cannot():
    windows, targets = windows_of(alternating(3000, 1.0, 1))
    forecasts = lightgbm_forecasts((windows[:2000], targets[:2000]), windows[2000:])
    error = np.mean(np.abs(forecasts - targets[2000:]))
    # The best forecast is 14 or 6, off by 5 % noise of either: 0.05 * 10 * sqrt(2 / pi) on average.
    assert error < 1.15 * 0.05 * 10.0 * np.sqrt(2 / np.pi)
    assert error < 0.1 * np.mean(np.abs(windows[2000:, -1, 1] - targets[2000:]))


def test_it_forecasts_a_link_of_a_size_that_it_has_not_seen():
    windows, targets = windows_of(alternating(2500, 1.0, 2))
    large, later = windows_of(alternating(600, 300.0, 3))
    forecasts = lightgbm_forecasts((windows, targets), large)
    assert np.mean(np.abs(forecasts - later)) < 1.5 * 300.0 * 0.05 * 10.0 * np.sqrt(2 / np.pi)


def test_the_same_data_give_the_same_forecasts_and_an_idle_link_is_forecast_idle():
    windows, targets = windows_of(alternating(800, 1.0, 4))
    first = lightgbm_forecasts((windows, targets), windows)
    np.testing.assert_array_equal(lightgbm_forecasts((windows, targets), windows), first)
    idle = lightgbm_forecasts((np.zeros((300, 10, 2)), np.zeros(300)), np.zeros((5, 10, 2)))
    np.testing.assert_array_equal(idle, 0.0)


def test_its_quantile_is_that_of_the_noise_around_what_it_learns():
    windows, targets = windows_of(alternating(12_000, 1.0, 6))
    later = slice(9000, None)
    p90 = lightgbm_quantile((windows[:9000], targets[:9000]), windows[later], 0.9)
    # The next value is 14 or 6 times a normal factor of 5 %: its P90 is 6.4 % above. Trees that are fitted to noise
    # stay somewhat below it, and are exceeded somewhat more often.
    middle = np.where(targets[later] > 10.0, 14.0, 6.0)
    assert np.median(p90 / middle) == pytest.approx(1 + 0.05 * 1.2816, abs=0.01)
    assert np.mean(targets[later] > p90) == pytest.approx(0.1, abs=0.03)
    with pytest.raises(ValueError, match="level: expected a number between 0 and 1, got 90"):
        lightgbm_quantile((windows, targets), windows, 90)


def test_only_so_many_windows_are_used():
    windows, targets = windows_of(alternating(1000, 1.0, 5))
    few = lightgbm_forecasts((windows, targets), windows[:50], most=100)
    chosen = np.unique(np.linspace(0, len(windows) - 1, 100).astype(int))
    np.testing.assert_array_equal(few, lightgbm_forecasts((windows[chosen], targets[chosen]), windows[:50]))
