"""Scores against scikit-learn, and the interval of the block bootstrap against a process whose mean is known."""

from __future__ import annotations

import numpy as np
import pytest

from linkcast import metrics

RNG = np.random.default_rng(0)
ACTUAL = RNG.gamma(2.0, 5.0, 500)
FORECAST = ACTUAL * RNG.normal(1.0, 0.2, 500)


def test_scores_are_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    scores = metrics.summary(FORECAST, ACTUAL)
    assert scores["mae"] == pytest.approx(sklearn.mean_absolute_error(ACTUAL, FORECAST), rel=1e-12)
    assert scores["mse"] == pytest.approx(sklearn.mean_squared_error(ACTUAL, FORECAST), rel=1e-12)
    assert scores["mape"] == pytest.approx(100.0 * sklearn.mean_absolute_percentage_error(ACTUAL, FORECAST), rel=1e-12)
    assert scores["r2"] == pytest.approx(sklearn.r2_score(ACTUAL, FORECAST), rel=1e-12)


def test_the_share_within_a_tolerance_counts_its_edge():
    actual = np.array([100.0, 100.0, 100.0, 0.0, 0.0])
    forecast = np.array([102.0, 98.0, 103.0, 0.0, 1e-9])
    assert metrics.within_fraction(forecast, actual, 0.02) == pytest.approx(3 / 5)
    assert metrics.within_fraction(forecast, actual, 0.10) == pytest.approx(4 / 5)


def test_what_is_not_defined_is_nan():
    assert np.isnan(metrics.mape([1.0], [0.0]))
    assert np.isnan(metrics.r2([1.0, 2.0], [3.0, 3.0]))
    assert np.isnan(metrics.skill(1.0, 0.0))
    assert metrics.mape([1.0, 3.0], [0.0, 2.0]) == pytest.approx(50.0)


@pytest.mark.parametrize(("model", "baseline", "skill"), [(0.5, 1.0, 0.5), (1.0, 1.0, 0.0), (2.0, 1.0, -1.0)])
def test_skill_is_the_share_of_the_error_that_is_gone(model, baseline, skill):
    assert metrics.skill(model, baseline) == skill


@pytest.mark.parametrize("pair", [([], []), ([1.0], [1.0, 2.0])])
def test_scores_refuse_what_does_not_belong_together(pair):
    with pytest.raises(ValueError, match=r"predictions and targets must have one shape|at least one prediction"):
        metrics.summary(*pair)


def ar1(rho: float, shape: tuple[int, int], seed: int) -> np.ndarray:
    """(draws, rows) of a process with mean 1 and correlation rho from one row to the next."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=shape)
    noise[:, 1:] *= np.sqrt(1.0 - rho**2)
    for row in range(1, shape[1]):
        noise[:, row] += rho * noise[:, row - 1]
    return 1.0 + 0.3 * noise


def coverage(series: np.ndarray, block: int | None) -> float:
    """Share of the series whose 95 % interval holds the true mean, 1."""
    intervals = np.array([metrics.interval(metrics.block_bootstrap(row, 400, seed=1, block=block)) for row in series])
    return float(np.mean((intervals[:, 0] <= 1.0) & (intervals[:, 1] >= 1.0)))


def test_the_interval_holds_the_true_mean_of_correlated_errors_as_often_as_it_says():
    series = ar1(0.8, (300, 2500), seed=2)
    # Blocks of 50 rows, nine decorrelation times: the theory says 92 to 93 % here; 300 trials scatter by 1.5 points.
    assert 0.88 <= coverage(series, None) <= 0.98
    # Rows drawn singly look sqrt((1 + rho) / (1 - rho)) = 3 times surer: 95 % shrinks to about 49 %.
    assert coverage(series[:80], 1) < 0.65


def test_the_interval_of_independent_errors_is_that_of_the_normal_theory():
    errors = np.random.default_rng(3).exponential(2.0, 10_000)
    low, high = metrics.interval(metrics.block_bootstrap(errors, 4000, seed=0))
    width = 2 * 1.96 * errors.std() / np.sqrt(len(errors))
    assert high - low == pytest.approx(width, rel=0.15)  # 100 blocks tell a deviation to 7 %
    assert low < errors.mean() < high


def test_series_are_drawn_together():
    errors = np.random.default_rng(4).random((2, 1000))
    errors[1] = 3.0 * errors[0]
    means = metrics.block_bootstrap(errors)
    np.testing.assert_allclose(means[1] / means[0], 3.0, rtol=1e-12)


def test_the_same_seed_draws_the_same():
    errors = np.random.default_rng(5).random(700)
    np.testing.assert_array_equal(metrics.block_bootstrap(errors), metrics.block_bootstrap(errors))
    assert not np.array_equal(metrics.block_bootstrap(errors, seed=1), metrics.block_bootstrap(errors))


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 17])
def test_few_errors_give_an_interval_within_their_range(rows):
    errors = np.arange(1.0, rows + 1.0)
    low, high = metrics.interval(metrics.block_bootstrap(errors))
    assert 1.0 <= low <= high <= rows


@pytest.mark.parametrize(("errors", "draws"), [([], 10), (1.0, 10), (np.zeros((2, 2, 2)), 10), ([1.0], 0)])
def test_a_bootstrap_of_nothing_is_refused(errors, draws):
    with pytest.raises(ValueError, match=r"errors must be|draws and block must be at least 1"):
        metrics.block_bootstrap(errors, draws)
