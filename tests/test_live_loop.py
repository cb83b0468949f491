"""The loop's schedule, what it hands on, and how it is: with a clock that is set."""

from __future__ import annotations

import numpy as np
import pytest

import linkcast
from linkcast.features import TELEMETRY
from linkcast.live.health import Health
from linkcast.live.intake import Intake
from linkcast.live.loop import Loop
from linkcast.live.rate import RateRule
from linkcast.live.session import Session
from live_parts import NS, FakeApplied, FakeClock, Ticks, ToldSource, measured


class Parts:
    """A loop with everything around it."""

    def __init__(self, engine: linkcast.Engine, polls: list, *sinks: Ticks) -> None:
        self.clock = FakeClock()
        self.source = ToldSource(polls)
        self.applied = FakeApplied()
        self.sinks = list(sinks) or [Ticks()]
        self.health = Health(dry_run=False)
        self.session = Session("link", engine, capacity_mbps=100.0)
        self.loop = Loop(
            self.session,
            Intake(self.source, TELEMETRY, 1.0),
            RateRule(100.0),
            self.applied,
            self.sinks,
            self.clock,
            step_s=1.0,
            late_s=0.1,
            judge=lambda decision, now: self.health.judge(decision, [self.source.trouble, self.applied.trouble], now),
        )

    @property
    def ticks(self) -> list:
        return self.sinks[0].ticks


def steady(ticks: int) -> list:
    return [[measured(20.0 + tick % 3)] for tick in range(ticks)]


def test_ticks_are_due_at_whole_steps_from_the_start_however_long_each_takes(engine):
    parts = Parts(engine, steady(20))
    parts.clock.held_up = {3: 0.4, 4: 0.05}
    start = parts.clock.now_ns
    parts.loop.run(20)
    assert [tick.monotonic_ns - start for tick in parts.ticks] == [second * NS for second in range(20)]
    assert (parts.loop.counts.ticks, parts.loop.counts.late, parts.loop.counts.overdue) == (20, 1, 0)
    assert parts.loop.counts.latest_ns == round(0.4 * NS)
    assert [tick.index for tick in parts.ticks if tick.late] == [3]


def test_after_being_held_up_every_tick_that_is_overdue_runs_without_telemetry_and_none_is_lost(engine):
    parts = Parts(engine, steady(30))
    parts.clock.held_up = {15: 4.3}
    parts.loop.run(25)
    counts = parts.loop.counts
    assert (counts.ticks, counts.lost, counts.overdue, counts.late) == (25, 0, 4, 5)
    with_telemetry = [tick.telemetry is not None for tick in parts.ticks]
    assert with_telemetry == [True] * 15 + [False] * 4 + [True] * 6
    assert [tick.index for tick in parts.ticks] == list(range(25))


def test_a_tick_decides_what_the_controller_decides_for_the_same_telemetry(engine):
    parts = Parts(engine, steady(30))
    parts.loop.run(30)
    controller = engine.controller("internet", capacity_mbps=100.0)
    for second, tick in enumerate(parts.ticks):
        decision = controller.tick([20.0, 20.0 + second % 3, 0.0, 1.0], 1000.0 + second)
        controller.advance()
        assert tick.allocation_mbps == decision.allocation_mbps
        np.testing.assert_equal(tick.forecast.mbps, decision.forecast.mbps)


def test_the_rate_is_handed_on_before_the_next_tick_and_recorded(engine):
    parts = Parts(engine, steady(30))
    parts.loop.run(30)
    assert len(parts.applied.wanted) == 30
    assert [tick.applied_mbps for tick in parts.ticks] == parts.applied.wanted
    most = max(tick.allocation_mbps for tick in parts.ticks[-11:])
    assert parts.ticks[-1].applied_mbps == pytest.approx(most / 0.95, abs=2.0)  # least_change of 100 Mbit/s


def test_a_shaper_that_fails_neither_ends_the_loop_nor_stays_untold(engine):
    parts = Parts(engine, steady(40))
    parts.loop.run(20)
    parts.applied.blocked, parts.applied.trouble = "apply_failed", "tc: Device or resource busy"
    parts.source.polls = [[measured(70.0)] for _ in range(10)]
    parts.loop.run(10)
    told = parts.ticks[-1]
    assert (told.health, told.health_reason, told.blocked) == (
        "degraded",
        "tc: Device or resource busy",
        "apply_failed",
    )
    assert told.applied_mbps == parts.ticks[19].applied_mbps
    parts.applied.blocked = parts.applied.trouble = None
    parts.source.polls = [[measured(70.0)] for _ in range(2)]
    parts.loop.run(2)
    assert (parts.ticks[-1].health, parts.ticks[-1].blocked) == ("live", None)
    assert parts.ticks[-1].applied_mbps > told.applied_mbps


def test_a_sink_that_raises_ends_nothing(engine):
    good, bad = Ticks(), Ticks(raises=True)
    parts = Parts(engine, steady(5), good, bad, Ticks())
    parts.loop.run(5)
    assert len(good.ticks) == len(parts.sinks[2].ticks) == 5
    assert parts.loop.counts.sink_errors == 5
    assert parts.loop.sink_error == "Ticks: RuntimeError: a sink that is broken"


def test_the_loop_ends_with_its_source(engine):
    parts = Parts(engine, steady(3))
    poll = parts.source.poll

    def last_poll():
        yield from poll()
        parts.source.ended = not parts.source.polls

    parts.source.poll = last_poll
    parts.loop.run()
    assert [tick.telemetry is not None for tick in parts.ticks] == [True] * 3


def test_values_that_cannot_be_are_refused_by_name_and_the_loop_goes_on(engine):
    polls = steady(3)
    polls[1] = [measured(20.0, packet_loss=7.0)]
    parts = Parts(engine, polls)
    parts.loop.run(3)
    assert "packet_loss" in str(parts.ticks[1].refused)
    assert [tick.telemetry is not None for tick in parts.ticks] == [True, False, True]


def test_it_is_starting_until_the_models_forecast_then_live(engine):
    parts = Parts(engine, steady(15))
    parts.loop.run(15)
    assert [tick.health for tick in parts.ticks] == ["starting"] * 9 + ["live"] * 6


def test_a_dry_run_says_so(engine):
    parts = Parts(engine, steady(15))
    parts.health = Health(dry_run=True)
    parts.loop.run(15)
    assert parts.ticks[-1].health == "dry_run"


def test_telemetry_that_stops_is_a_degraded_loop_with_the_safe_allocation(engine):
    parts = Parts(engine, steady(15))
    parts.loop.run(40)
    last = parts.ticks[-1]
    assert (last.health, last.health_reason) == ("degraded", "telemetry has stopped: the safe allocation holds")
    assert last.allocation_fraction == 1.0
    parts.source.polls = steady(12)
    parts.loop.run(12)
    assert parts.ticks[-1].health == "live"


def test_many_late_ticks_within_a_minute_are_a_degraded_loop(engine):
    decision = engine.controller("internet", capacity_mbps=100.0).last
    health = Health(dry_run=False)
    for second in range(6):
        health.late(second * NS)
    assert health.judge(decision, [], 10 * NS) == ("degraded", "6 ticks or more were late within a minute")
    assert health.judge(decision, [], 70 * NS) == ("starting", None)
