"""The closed loop from Python; its rules are tested in C++ (cpp/tests/test_controller.cpp)."""

from __future__ import annotations

import numpy as np
import pytest

import linkcast
from telemetry import random_telemetry


@pytest.fixture
def telemetry(engine: linkcast.Engine) -> np.ndarray:
    return random_telemetry(engine, "internet", 30, seed=9)


def test_a_tick_decides_what_the_allocator_decides_for_the_forecast(engine, telemetry):
    limits = {"headroom": 0.0, "least_fraction": 0.0, "risk": 0.0, "queue_ms": 0.0}
    controller = engine.controller("internet", capacity_mbps=50.0, **limits)
    stream = engine.stream("internet")
    for second, sample in enumerate(telemetry):
        decision = controller.tick(sample, now_s=float(second))
        controller.advance()
        forecast = stream.push(sample)
        assert decision.forecast.source == ("measured_mean" if forecast is None else "mixture")
        assert forecast is None or decision.forecast.mbps == pytest.approx(forecast.mbps)
        state = sample.copy()
        state[1] = max(state[1], decision.forecast.mbps) * 100.0 / 50.0  # it learned on a link of 100 Mbit/s
        action = engine.decide("internet", state)[0]
        assert decision.action == action
        assert decision.allocation_mbps == pytest.approx(50.0 * (action + 1) / 10)
        assert decision.latency_us > 0
    assert controller.counts["ticks"] == len(telemetry)
    assert isinstance(controller.last, linkcast.Decision)
    assert "Mbit/s" in repr(controller.last)


def test_limits_hold(engine, telemetry):
    controller = engine.controller(
        "internet", capacity_mbps=50.0, least_fraction=0.2, most_fraction=0.8, safe_fraction=0.5, slew_per_s=0.05
    )
    before = 0.5
    for second, sample in enumerate(telemetry):
        fraction = controller.tick(sample, now_s=float(second)).allocation_fraction
        assert 0.2 <= fraction <= 0.8
        assert abs(fraction - before) <= 0.05 + 1e-12
        before = fraction


def test_without_telemetry_the_loop_stalls_to_the_safe_allocation(engine, telemetry):
    controller = engine.controller("internet", capacity_mbps=50.0, safe_fraction=0.3, stall_s=2.0, stall_cut=1.0)
    for second, sample in enumerate(telemetry):
        controller.tick(sample, now_s=float(second))
    last = [controller.tick(None, now_s=30.0 + second) for second in range(3)]
    assert [decision.stalled for decision in last] == [False, False, True]
    assert (last[-1].allocation_fraction, last[-1].forecast.source, last[-1].action) == (0.3, "none", -1)
    assert np.isnan(last[-1].forecast.mbps)
    assert controller.counts == {
        "ticks": 33,
        "missing": 3,
        "stalls": 1,
        "changes": controller.counts["changes"],
        "late": 0,
    }
    controller.reset()
    assert controller.last.allocation_mbps == pytest.approx(15.0)


def test_congestion_raises_the_allocation_by_a_step_and_a_silent_link_keeps_most_of_it(engine):
    for full in (True, False):
        controller = engine.controller("internet", capacity_mbps=50.0, headroom=0.0, risk=0.0, stall_cut=0.05)
        for second in range(20):
            before = controller.tick([40.0, 20.0, 0.0, 1.0], now_s=float(second))
        assert not (before.congested or before.silent)
        carried = before.allocation_mbps if full else 0.0
        decision = controller.tick([200.0, carried, 0.0, 1.0], now_s=20.0)
        assert (decision.congested, decision.silent, decision.stalled) == (full, not full, False)
        assert decision.queue_ms == pytest.approx(160.0)
        least = before.allocation_fraction + (0.1 if full else -0.05)
        assert decision.allocation_fraction == pytest.approx(max((decision.action + 1) / 10, least))
        assert ("congested" if full else "silent") in repr(decision)


def test_the_monotonic_clock_is_the_default(engine, telemetry):
    controller = engine.controller("internet", capacity_mbps=50.0)
    controller.tick(telemetry[0])
    assert not controller.tick(telemetry[1]).stalled


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity_mbps": 0.0}, "capacity_mbps: expected a number above 0"),
        ({"capacity_mbps": 1.0, "safe_fraction": 1.5}, "safe_fraction"),
        ({"capacity_mbps": 1.0, "hold_s": -1.0}, "hold_s"),
        ({"capacity_mbps": 1.0, "congestion_step": 2.0}, "congestion_step: expected 0..1, got 2"),
    ],
)
def test_a_wrong_option_is_refused(engine, options, message):
    with pytest.raises(ValueError, match=message):
        engine.controller("internet", **options)


def test_wrong_telemetry_is_refused_and_is_no_tick(engine):
    controller = engine.controller("internet", capacity_mbps=50.0)
    with pytest.raises(ValueError, match=r"telemetry: expected \(4,\) finite floats, got \(2,\)"):
        controller.tick([1.0, 2.0])
    with pytest.raises(ValueError, match="got inf for latency_ms"):
        controller.tick([np.inf, 1.0, 0.0, 1.0])
    assert controller.counts["ticks"] == 0
