"""Scores against scikit-learn, intervals and tests against processes whose mean is known, SciPy and plain sums."""

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


def test_rounding_beside_a_target_of_zero_is_no_error():
    assert metrics.within_fraction([1e-19, -1e-30, 0.0], [0.0, 0.0, 0.0], 0.02) == 1.0


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


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.99])
def test_the_pinball_loss_is_scikit_learns(level):
    sklearn = pytest.importorskip("sklearn.metrics")
    expected = sklearn.mean_pinball_loss(ACTUAL, FORECAST, alpha=level)
    assert metrics.pinball(FORECAST, ACTUAL, level) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ratio", [1, 3, 10, 100])
def test_the_quantile_of_a_cost_ratio_costs_least(ratio):
    def cost(reserved: float) -> float:
        scores = metrics.reserve(np.full(500, reserved), ACTUAL)
        return ratio * scores["short_mbps"] + scores["idle_mbps"]

    best = np.quantile(ACTUAL, ratio / (ratio + 1), method="inverted_cdf")
    assert cost(best) == pytest.approx(min(cost(value) for value in ACTUAL), rel=1e-12)
    assert cost(best) == pytest.approx((ratio + 1) * metrics.pinball(np.full(500, best), ACTUAL, ratio / (ratio + 1)))


def test_a_reservation_by_hand():
    scores = metrics.reserve([10.0, 10.0, 10.0, 10.0], [12.0, 10.0, 4.0, 0.0])
    assert scores == {
        "short": 0.25,
        "short_worst_tenth": 1.0,  # four parts of one
        "short_mbps": 0.5,
        "idle_mbps": 4.0,
        "idle_share": 4.0 / 6.5,
    }
    assert np.isnan(metrics.reserve([1.0], [0.0])["idle_share"])


def test_the_worst_tenth_is_the_worst_of_ten_consecutive_parts():
    targets, high = np.zeros(1000), np.ones(1000)
    targets[300:320] = 2.0  # 2 % of the time, all within the fourth tenth
    targets[950] = -1.0
    scores = metrics.band(np.zeros(1000), np.full(1000, 0.5), high, targets)
    assert (scores["above_p90"], scores["above_p90_worst_tenth"]) == (0.02, pytest.approx(0.2))
    assert (scores["below_p10"], scores["below_p10_worst_tenth"]) == (0.001, pytest.approx(0.01))
    assert (scores["coverage"], scores["coverage_worst_tenth"]) == (0.979, pytest.approx(0.8))
    assert scores["width"] == 1.0
    assert metrics.parts(np.arange(25.0)).tolist() == [1, 4, 7, 10, 13, 15.5, 17.5, 19.5, 21.5, 23.5]


def test_at_equal_risk_a_scaled_reservation_is_the_same_one():
    reserved = ACTUAL * RNG.uniform(0.8, 1.5, 500)
    once = metrics.idle_at_risk(reserved, ACTUAL, 0.1)
    assert metrics.idle_at_risk(3.0 * reserved, ACTUAL, 0.1) == pytest.approx(once, rel=1e-12)
    factor = np.quantile(ACTUAL / reserved, 0.9, method="inverted_cdf")
    assert np.mean(factor * reserved * (1 + 1e-12) < ACTUAL) == pytest.approx(0.1)  # short as often as asked for
    assert once == pytest.approx(np.maximum(factor * reserved - ACTUAL, 0.0).sum() / ACTUAL.sum(), rel=1e-12)


def test_a_reservation_of_nothing_reaches_no_risk_and_an_idle_link_no_share():
    assert np.isnan(metrics.idle_at_risk(np.zeros(100), np.ones(100), 0.1))
    assert np.isnan(metrics.idle_at_risk(np.ones(100), np.zeros(100), 0.1))
    with pytest.raises(ValueError, match="risk: expected a number between 0 and 1, got 0"):
        metrics.idle_at_risk([1.0], [1.0], 0)
    with pytest.raises(ValueError, match=r"level: expected a number between 0 and 1, got 1\.0"):
        metrics.pinball([1.0], [1.0], 1.0)


@pytest.mark.parametrize(
    ("rows", "step_s", "block"), [(5000, 1.0, 60), (5000, None, 60), (27_000, 1800.0, 30), (1, 5, 12)]
)
def test_a_block_is_a_minute_and_at_least_the_cube_root_of_the_rows(rows, step_s, block):
    assert metrics.block_rows(rows, step_s) == block


@pytest.mark.parametrize(("steps", "lags"), [(1, 0), (1, 7), (4, None), (10, 3)])
def test_the_diebold_mariano_statistic_is_that_of_the_plain_double_sum(steps, lags):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(6)
    first, second = np.abs(rng.normal(1.0, 0.5, 300)), np.abs(rng.normal(1.05, 0.5, 300))
    statistic, p_value = metrics.diebold_mariano(first, second, steps, lags)
    difference, rows = first - second, 300
    reach = max(int(4 * (rows / 100) ** (2 / 9)) if lags is None else lags, steps - 1)
    distance = np.abs(np.arange(rows)[:, None] - np.arange(rows))
    weights = np.maximum(1 - distance / (reach + 1), 0)  # Bartlett's
    centred = difference - difference.mean()
    variance = centred @ weights @ centred / rows**2  # of the mean
    correction = np.sqrt((rows + 1 - 2 * steps + steps * (steps - 1) / rows) / rows)  # Harvey et al., equation 9
    assert statistic == pytest.approx(correction * difference.mean() / np.sqrt(variance), rel=1e-10)
    assert p_value == pytest.approx(2 * stats.t.sf(abs(statistic), rows - 1), abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 499, 9999, 10_000])
def test_students_tail_is_scipys(freedom):
    stats = pytest.importorskip("scipy.stats")
    for value in (0.0, 0.3, -2.0, 4.0):
        expected = 2 * stats.t.sf(abs(value), freedom)
        # From 10,000 degrees on the normal stands for it: nearer than 0.2 % at four deviations.
        assert metrics.student_two_sided(value, freedom) == pytest.approx(expected, rel=0.01, abs=1e-12)
        if freedom < 10_000:
            assert metrics.student_two_sided(value, freedom) == pytest.approx(expected, abs=1e-11)


def test_equally_good_forecasts_of_a_correlated_error_differ_as_seldom_as_the_test_says():
    series = ar1(0.8, (300, 1500), seed=7) - 1.0  # differences of losses
    wrongly = np.mean([metrics.diebold_mariano(row, np.zeros(1500), lags=40)[1] < 0.05 for row in series])
    assert 0.02 <= wrongly <= 0.1
    naively = np.mean([metrics.diebold_mariano(row, np.zeros(1500), lags=0)[1] < 0.05 for row in series[:80]])
    assert naively > 0.3


def test_equal_losses_give_no_statistic():
    assert all(np.isnan(metrics.diebold_mariano([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])))
    assert all(np.isnan(metrics.diebold_mariano([1.0], [2.0])))
    with pytest.raises(ValueError, match="steps of at least 1"):
        metrics.diebold_mariano([1.0, 2.0], [2.0, 1.0], steps=0)


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


def test_every_row_is_drawn_as_often():
    spike = np.zeros(50)
    spike[0] = 50.0  # the first row, which blocks that do not wrap would seldom reach
    assert metrics.block_bootstrap(spike, 4000, block=10).mean() == pytest.approx(1.0, rel=0.05)
    blocks = metrics.block_bootstrap(np.arange(50.0), 200, block=1000)  # 12 rows: a single block would have no spread
    assert blocks.std() > 3.0


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
