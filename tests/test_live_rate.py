"""From allocations to the rates that are set."""

from __future__ import annotations

import pytest

from linkcast.live.rate import RateOptions, RateRule


def walk(rule: RateRule, ticks: list[tuple[float, float | None]]) -> list[tuple[float, str | None]]:
    """The rate of each tick, a second apart, each one set at once."""
    rates = []
    for second, (allocation, carried) in enumerate(ticks):
        rate, blocked = rule.next(allocation, carried, float(second))
        rule.changed(rate, float(second))
        rates.append((rate, blocked))
    return rates


def test_traffic_that_fills_its_allocation_does_not_fill_its_rate():
    rates = walk(RateRule(100.0), [(19.0, 19.0)] * 5)
    assert [rate for rate, _ in rates] == pytest.approx([20.0] * 5)  # 19 of 20 are 0.95


def test_traffic_that_fills_its_rate_gets_twice_as_much_each_tick_up_to_the_most():
    rule = RateRule(100.0)
    rates = walk(rule, [(19.0, 10.0), (19.0, 19.5), (19.0, 39.0), (19.0, 79.0), (19.0, 99.0)])
    assert [rate for rate, _ in rates] == pytest.approx([20.0, 40.0, 80.0, 100.0, 100.0])


def test_a_queue_on_the_link_raises_the_rate_although_the_tick_s_mean_does_not_fill_it():
    rule = RateRule(100.0)
    rule.changed(20.0, 0.0)
    assert rule.next(19.0, 17.0, 1.0) == (20.0, None)
    assert rule.next(19.0, 17.0, 2.0, congested=True) == (40.0, None)


def test_a_rate_is_lowered_only_when_all_of_the_last_seconds_needed_less():
    rates = walk(RateRule(100.0), [(38.0, 1.0), *[(19.0, 1.0)] * 12])
    assert [round(rate) for rate, _ in rates] == [40] * 11 + [20] * 2


def test_a_raise_is_made_at_once():
    rates = walk(RateRule(100.0), [(19.0, 1.0), (57.0, 1.0)])
    assert rates[1][0] == pytest.approx(60.0)


def test_a_change_that_is_too_small_is_not_made():
    rates = walk(RateRule(100.0, RateOptions(least_change=0.05)), [(19.0, 1.0), (23.0, 1.0), (24.7, 1.0)])
    assert [rate for rate, _ in rates] == pytest.approx([20.0, 20.0, 26.0])


def test_the_last_bit_up_to_the_most_is_given():
    rates = walk(RateRule(100.0, RateOptions(least_change=0.05)), [(92.0, 1.0), (95.0, 1.0)])
    assert rates[1][0] == 100.0


def test_no_minute_has_more_changes_than_it_may():
    options = RateOptions(most_changes=6, lower_after_s=0.0)
    rule = RateRule(100.0, options)
    ticks = [(10.0 + 40.0 * (second % 2), 1.0) for second in range(300)]
    rates = walk(rule, ticks)
    changes = [second for second in range(1, 300) if rates[second][0] != rates[second - 1][0]]
    assert len(changes) > 15
    for first in range(240):
        assert sum(first < second <= first + 60 for second in changes) <= 6
    assert "rate_limit" in {blocked for _, blocked in rates}


def test_lowering_leaves_a_third_of_the_changes_to_raises():
    rule = RateRule(100.0, RateOptions(most_changes=6, lower_after_s=0.0))
    ticks = [(90.0 - 5.0 * second, 1.0) for second in range(12)] + [(80.0, 1.0)]
    rates = walk(rule, ticks)
    assert rates[11][1] == "rate_limit"
    assert rates[11][0] > rates[0][0] - 25.0  # the first and three more
    assert rates[12] == (pytest.approx(80.0 / 0.95), None)


def test_a_change_that_failed_does_not_count():
    rule = RateRule(100.0, RateOptions(most_changes=2, lower_after_s=0.0))
    rule.changed(20.0, 0.0)
    for second in range(1, 10):
        assert rule.next(40.0 + second, 1.0, float(second))[1] is None  # nothing was set: `changed` was not called


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most_changes": 1}, "most_changes: expected 2 or more"),
        ({"least_change": 0.0}, "least_change: expected a share above 0"),
        ({"full": 1.5}, "full: expected a share above 0 and at most 1, got 1.5"),
        ({"raise_by": 1.0}, "raise_by: expected a factor above 1"),
        ({"lower_after_s": -1.0}, "lower_after_s: expected 0..3600 seconds, got -1"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RateOptions(**options)
