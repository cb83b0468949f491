"""What reserving gains: every rule on the same ticks, against numbers by hand and a controller that is run here."""

from __future__ import annotations

import numpy as np
import pytest

from linkcast.reserving import (
    FIXED,
    LINKCAST,
    MATCHED,
    ORACLE,
    QUANTILE,
    RISK,
    RULE,
    Walk,
    matched_factor,
    missing,
    outcome,
    walk,
)
from linkcast.traces import trace_from_arrays


def link(rows: int, seed: int, gap_at: int | None = None):
    """A link between 5 and 90 Mbit/s, with a gap of a minute before row `gap_at`."""
    generator = np.random.default_rng(seed)
    features = generator.uniform([20, 5, 0, 0.9], [60, 90, 0.02, 1], (rows, 4))
    times = np.arange(rows)
    if gap_at is not None:
        times[gap_at:] += 60
    return trace_from_arrays(features, times.astype("datetime64[s]"), "random")


@pytest.fixture(scope="module")
def walked(engine):
    trace = link(400, seed=1, gap_at=150)
    return trace, walk(engine, trace, "internet", 100.0)


def test_an_outcome_is_what_paper_and_pencil_say():
    reserved, came = np.array([10.0, 10.0, 20.0, 30.0]), np.array([4.0, 12.0, 20.0, 36.0])
    assert outcome(reserved, came) == {
        "reserved_mbps": 17.5,
        "unused_mbps": 1.5,
        "short_share": 0.5,
        "short_by_mbps": 4.0,
        "short_by_most_mbps": 6.0,
    }
    assert outcome(came, came)["short_share"] == 0.0


def test_rounding_is_no_shortage():
    assert missing(np.float64(np.float32(0.1)), 0.1) == 0.0
    assert missing(1.0, 1.1) == pytest.approx(0.1)


@pytest.mark.parametrize(("most_short", "factor"), [(0, 4.0), (1, 2.0), (2, 1.5), (9, 0.5)])
def test_the_matched_factor_is_the_least_that_is_short_as_rarely(most_short, factor):
    last, came = np.array([10.0, 10.0, 10.0, 10.0]), np.array([40.0, 15.0, 5.0, 20.0])
    assert matched_factor(last, came, most_short) == factor
    assert np.count_nonzero(missing(factor * last, came)) <= most_short


def test_no_factor_of_nothing_is_enough():
    last, came = np.array([0.0, 10.0]), np.array([5.0, 10.0])
    assert matched_factor(last, came, 0) is None
    assert matched_factor(last, came, 1) == 1.0


def test_what_is_reserved_is_what_a_controller_recommends_for_the_next_row(engine, walked):
    trace, result = walked
    controller = engine.controller("internet", capacity_mbps=100.0, risk=RISK)
    reserved, forecast, quantile = [], [], []
    for begin, end in ((0, 150), (150, 400)):
        controller.reset()
        for row in range(begin, end):
            decision = controller.tick(trace.features[row], float(row))
            controller.advance()
            if begin + 9 <= row < end - 1:
                reserved.append(decision.allocation_mbps)
                forecast.append(decision.forecast.mbps)
                quantile.append(decision.forecast.reserve)
    assert result.rows.tolist() == [*range(9, 149), *range(159, 399)]
    np.testing.assert_array_equal(result.rules[LINKCAST], reserved)
    np.testing.assert_array_equal(result.forecast, np.array(forecast))
    known = np.isfinite(quantile)
    assert known.sum() > 300
    np.testing.assert_allclose(result.rules[QUANTILE][known], np.minimum(np.array(quantile)[known], 100.0))


def test_the_rules_are_compared_on_the_same_ticks(walked):
    trace, result = walked
    bandwidth = trace.features[:, 1]
    last, came = bandwidth[result.rows], bandwidth[result.rows + 1]
    np.testing.assert_array_equal(result.came, came)
    np.testing.assert_allclose(result.rules[RULE], np.minimum(1.2 * last, 100.0))
    assert (result.rules[FIXED] == 100.0).all()
    assert result.outcome(ORACLE)["unused_mbps"] == result.outcome(ORACLE)["short_share"] == 0.0
    assert result.outcome(MATCHED)["short_share"] <= result.outcome(LINKCAST)["short_share"]
    expected = np.mean(came > np.array(result.rules[LINKCAST]))
    assert result.outcome(LINKCAST)["short_share"] == pytest.approx(expected, abs=1e-9)
    assert result.report()["accuracy"]["baselines"]["persistence"]["mae"] == pytest.approx(np.mean(np.abs(last - came)))


def test_on_a_link_without_a_pattern_the_reservation_is_short_as_rarely_as_it_was_told(engine):
    """Independent uniform values: nothing can be forecast, and the quantile still has to hold."""
    short = walk(engine, link(3000, seed=2), "internet", 100.0).outcome(LINKCAST)["short_share"]
    assert short == pytest.approx(RISK, abs=0.02)


def test_without_a_capacity_the_peak_stands_in_and_is_said_to(engine):
    trace = link(60, seed=3)
    result = walk(engine, trace, "internet")
    assert result.capacity_mbps == trace.features[:, 1].max()
    assert result.report()["capacity_known"] is False


def test_a_walk_that_is_not_at_its_end_has_no_result(engine):
    walking = Walk(engine, link(40, seed=4), "internet", 100.0)
    next(iter(walking))
    with pytest.raises(RuntimeError, match="expected a walk at its end, tick 30, got 1"):
        walking.result()


def test_a_trace_shorter_than_a_window_and_its_next_row_is_refused(engine):
    with pytest.raises(ValueError, match="random: expected a segment of 11 rows or more, got none in 10 rows"):
        walk(engine, link(10, seed=5))


def test_a_link_on_which_nothing_moved_needs_its_capacity(engine):
    idle = trace_from_arrays(np.tile([30.0, 0.0, 0.0, 1.0], (40, 1)), np.arange(40).astype("datetime64[s]"), "idle")
    with pytest.raises(ValueError, match="idle: bandwidth_mbps is 0 in every row: there is nothing to reserve"):
        walk(engine, idle, "internet")
    assert walk(engine, idle, "internet", 100.0).outcome(LINKCAST)["short_share"] == 0.0
