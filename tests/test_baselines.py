"""The naive forecasts: by hand, against scikit-learn, and on a process whose coefficients are known."""

from __future__ import annotations

import numpy as np
import pytest

from linkcast import baselines


def windows_and_targets(series: np.ndarray, window: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """(n, window, 4) with the series as the bandwidth, and (n,) the value after each."""
    starts = np.arange(len(series) - window)
    windows = np.zeros((len(starts), window, 4))
    windows[:, :, 1] = series[starts[:, None] + np.arange(window)]
    return windows, series[window:]


def process(rows: int, seed: int = 0) -> np.ndarray:
    """An AR(2) around 20: x = 20 + 0.6 (x1 - 20) + 0.3 (x2 - 20) + noise."""
    noise = np.random.default_rng(seed).normal(size=rows)
    series = np.full(rows, 20.0)
    for row in range(2, rows):
        series[row] = 2.0 + 0.6 * series[row - 1] + 0.3 * series[row - 2] + noise[row]
    return series


def test_the_simple_ones_by_hand():
    windows, _ = windows_and_targets(np.array([1.0, 2.0, 4.0, 8.0, 0.0]), window=4)
    assert baselines.persistence(windows).tolist() == [8.0]
    assert baselines.moving_average(windows).tolist() == [3.75]
    assert baselines.ewma(windows, alpha=0.5).tolist() == [((1 + 2) / 2 + 4) / 2 / 2 + 4]
    assert baselines.median(windows).tolist() == [3.0]
    assert baselines.BASELINES["ewma_0.5"](windows, 1).tolist() == baselines.ewma(windows, alpha=0.5).tolist()
    assert baselines.harmonic_mean(windows, samples=3)[0] == pytest.approx(3 / (1 / 2 + 1 / 4 + 1 / 8))


def test_a_margin_is_the_quantile_of_the_newest_errors_that_are_known():
    rng = np.random.default_rng(7)
    forecasts, targets = rng.uniform(50, 60, 1000), rng.uniform(40, 80, 1000)
    targets[40:45] = np.nan  # not known: no error
    bounds = baselines.with_margins(forecasts, targets, [0.1, 0.5, 0.9], steps=3)
    np.testing.assert_array_equal(bounds[:3], forecasts[:3, None].repeat(3, axis=1))
    for tick in (10, 50, 400, 990):  # margins are read at every tenth
        errors = np.sort((targets - forecasts)[max(0, tick - 302) : tick - 2])
        errors = errors[np.isfinite(errors)]
        # The k-th of m errors is exceeded by the next one with the chance 1 - k / (m + 1).
        ranks = [min(int(np.ceil(level * (len(errors) + 1))), len(errors)) - 1 for level in (0.1, 0.5, 0.9)]
        expected = forecasts[tick : tick + 8, None] + errors[ranks]
        np.testing.assert_allclose(bounds[tick : tick + 8], expected, rtol=1e-12)


def test_margins_hold_their_levels_on_links_whose_noise_changes():
    rng = np.random.default_rng(8)
    forecasts = rng.uniform(50, 60, 30_000)
    targets = forecasts + rng.normal(2.0, np.linspace(0.5, 3.0, 30_000))
    bounds = baselines.with_margins(forecasts, targets, [0.1, 0.9])
    # 0.9 +- 4 sqrt(0.1 * 0.9 / 30,000); the newest 300 errors are 1 % narrower than the next.
    np.testing.assert_allclose((targets[:, None] <= bounds).mean(axis=0), [0.1, 0.9], atol=0.009)


def test_margins_refuse_what_does_not_belong_together():
    with pytest.raises(ValueError, match=r"forecasts and targets must be \(n,\)"):
        baselines.with_margins([1.0, 2.0], [1.0], [0.5])
    with pytest.raises(ValueError, match="levels between 0 and 1"):
        baselines.with_margins([1.0], [1.0], [1.0])


def test_an_idle_window_is_forecast_idle_without_a_warning():
    with np.errstate(all="raise"):
        assert baselines.harmonic_mean(np.zeros((1, 10, 4))).tolist() == [0.0]


def test_the_autoregression_is_scikit_learns_linear_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    windows, targets = windows_and_targets(process(400))
    expected = linear_model.LinearRegression().fit(windows[:300, :, 1], targets[:300])
    coefficients = baselines.fit_autoregression(windows[:300], targets[:300])
    np.testing.assert_allclose(coefficients, [expected.intercept_, *expected.coef_], rtol=1e-8, atol=1e-10)
    forecasts = baselines.autoregression(windows[300:], coefficients)
    np.testing.assert_allclose(forecasts, expected.predict(windows[300:, :, 1]), rtol=1e-10)


def test_the_autoregression_finds_the_process():
    windows, targets = windows_and_targets(process(100_000, seed=2))
    coefficients = baselines.fit_autoregression(windows, targets)
    expected = [2.0, *np.zeros(8), 0.3, 0.6]
    # Deviation of an inner coefficient: sqrt((1 + 0.6^2 + 0.3^2) / n) = 0.0038; five of them.
    np.testing.assert_allclose(coefficients[1:], expected[1:], atol=0.019)
    assert coefficients[0] == pytest.approx(2.0, abs=0.3)
    errors = baselines.autoregression(windows, coefficients) - targets
    assert errors.std() == pytest.approx(1.0, rel=0.01)  # the noise, which nothing forecasts


def test_a_short_window_gives_an_autoregression_of_its_length():
    windows, targets = windows_and_targets(process(200), window=4)
    assert baselines.fit_autoregression(windows, targets).shape == (5,)
    windows, targets = windows_and_targets(process(200), window=14)
    assert baselines.fit_autoregression(windows, targets).shape == (11,)


def test_a_constant_link_is_forecast_constant():
    windows, targets = windows_and_targets(np.full(60, 7.0))
    coefficients = baselines.fit_autoregression(windows, targets)
    np.testing.assert_allclose(baselines.autoregression(windows, coefficients), 7.0, rtol=1e-9)
    np.testing.assert_allclose(baselines.growing_autoregression(windows, targets), 7.0, rtol=1e-9)


def test_the_growing_autoregression_knows_only_what_came_before():
    windows, targets = windows_and_targets(process(1010, seed=2))
    forecasts = baselines.growing_autoregression(windows, targets)
    np.testing.assert_allclose(forecasts[:200], windows[:200, -1, 1], rtol=1e-12)  # persistence until the first fit
    for begin in (200, 600, 800):
        fitted = baselines.fit_autoregression(windows[:begin], targets[:begin])
        expected = baselines.autoregression(windows[begin : begin + 200], fitted)
        np.testing.assert_allclose(forecasts[begin : begin + 200], expected, rtol=1e-6)
    later = targets.copy()
    later[500:] = 1000.0
    np.testing.assert_allclose(baselines.growing_autoregression(windows, later)[:600], forecasts[:600], rtol=1e-12)


def test_an_autoregression_of_a_horizon_is_fitted_to_targets_that_are_known_by_then():
    windows, _ = windows_and_targets(process(900, seed=6))
    series = np.append(windows[0, :, 1], windows[1:, -1, 1])
    windows, targets = windows[:880], series[14 : 14 + 880]  # five steps after each window's last value
    forecasts = baselines.growing_autoregression(windows, targets, steps=5)
    for begin in (200, 400, 800):
        known = begin - 4  # the window before `begin` has its target in four ticks
        fitted = baselines.fit_autoregression(windows[:known], targets[:known])
        expected = baselines.autoregression(windows[begin : begin + 200], fitted)
        np.testing.assert_allclose(forecasts[begin : begin + 200], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        baselines.growing_autoregression(windows, targets, steps=0)


def test_the_growing_autoregression_goes_by_time_where_rows_do_not():
    windows, targets = windows_and_targets(process(510, seed=3))
    shuffled = np.random.default_rng(4).permutation(len(targets))
    order = np.argsort(shuffled)  # the positions of the shuffled windows in the order of time
    forecasts = baselines.growing_autoregression(windows[shuffled], targets[shuffled], order=order)
    np.testing.assert_allclose(forecasts, baselines.growing_autoregression(windows, targets)[shuffled], rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_growing_autoregression_does_not_depend_on_the_unit(scale):
    windows, targets = windows_and_targets(process(400, seed=5))
    expected = scale * baselines.growing_autoregression(windows, targets)
    answer = baselines.growing_autoregression(scale * windows, scale * targets)
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_an_autoregression_never_forecasts_below_zero():
    windows, _ = windows_and_targets(np.linspace(10.0, 1.0, 12))
    assert baselines.autoregression(windows, [-50.0, *np.zeros(10)]).tolist() == [0.0, 0.0]


def test_shapes_that_do_not_fit_are_refused():
    windows, targets = windows_and_targets(process(60))
    with pytest.raises(ValueError, match="targets must be"):
        baselines.fit_autoregression(windows, targets[1:])
    with pytest.raises(ValueError, match=r"coefficients must be \(11,\), got \(3,\)"):
        baselines.autoregression(windows, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="windows must be"):
        baselines.persistence(windows[0])
