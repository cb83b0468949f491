"""Shadows: the sequential test's verdicts, and promotion by reload."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

import linkcast
from linkcast.live.record import Tick
from linkcast.live.session import Session
from linkcast.live.shadow import MOST, Contest, boundary
from live_sessions import LIMITS, other_models, samples, ticks

SEEDS = 20
TICKS = 30_000  # some eight hours of seconds


def errors(seed: int, ratio: float, shared: float) -> tuple[list[float], list[float]]:
    """Absolute errors of two forecasters on one link: half-normal, on a scale that drifts as a link's noise does.

    Args:
        ratio: of the second's mean error to the first's.
        shared: correlation of the two; real forecasters share most of what surprises them.
    """
    rng = np.random.default_rng(seed)
    scale = np.exp(0.5 * np.sin(np.arange(TICKS) / 700.0 + seed) + 0.3 * rng.standard_normal(TICKS))
    common, first, second = rng.standard_normal((3, TICKS))
    own = math.sqrt(1.0 - shared**2)
    live = np.abs(shared * common + own * first) * scale
    shadow = np.abs(shared * common + own * second) * scale * ratio
    return live.tolist(), shadow.tolist()


def verdicts(seed: int, ratio: float, shared: float) -> set[str]:
    """Every verdict that somebody would have seen who looked every ten ticks."""
    contest = Contest()
    seen = set()
    for index, (live, shadow) in enumerate(zip(*errors(seed, ratio, shared), strict=True)):
        contest.came(live, shadow)
        if index % 10 == 0:
            seen.add(contest.verdict)
    return seen


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_a_shadow_that_is_better_by_5_percent_is_called_better_and_never_worse(shared: float) -> None:
    for seed in range(SEEDS):
        assert verdicts(seed, 0.95, shared) == {"undecided", "shadow_better"}


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_an_equal_shadow_is_never_called_better_or_worse(shared: float) -> None:
    for seed in range(SEEDS):
        assert verdicts(seed, 1.0, shared) == {"undecided"}


def test_a_shadow_that_is_worse_by_5_percent_is_called_worse() -> None:
    assert verdicts(0, 1 / 0.95, 0.9) == {"undecided", "live_better"}


def test_the_boundary_is_that_of_the_paper() -> None:
    # Howard et al. 2021, equation (10), for eta = 2, s = 1.4, m = 1, c = 2, by hand for v = e, alpha = 0.025:
    # l = 1.4 ln ln(2 e) + ln(zeta(1.4) / (0.025 (ln 2)^1.4)) = 1.4 * 0.52659 + 5.33519 = 6.07242;
    # k1 = (2^0.25 + 2^-0.25) / sqrt 2 = 1.43550, k2 = (sqrt 2 + 1) / 2 = 1.20711;
    # u = 1.43550 sqrt(e * 6.07242) + 2 * 1.20711 * 6.07242 = 5.83223 + 14.66014
    assert boundary(math.e, 0.025) == pytest.approx(20.4924, abs=2e-3)


def test_an_interval_holds_the_mean_of_what_never_varies_and_shrinks() -> None:
    contest = Contest()
    widths = []
    for _ in range(2000):
        contest.came(1.1, 0.9)  # differences of 0.2 of the mean error, every time
        low, high = contest.interval
        if contest.ticks:
            assert low <= 0.2 <= high
            widths.append(high - low)
    assert contest.gain == pytest.approx(0.2)
    assert widths[-1] < 0.1 < widths[0] == 2 * MOST


def test_one_outlier_decides_nothing() -> None:
    contest = Contest()
    for _ in range(300):
        contest.came(1.0, 1.0)
    contest.came(1e9, 0.0)
    assert contest.verdict == "undecided"


def test_what_one_of_both_did_not_forecast_is_not_compared() -> None:
    contest = Contest()
    contest.came(1.0, 1.0)
    contest.came(math.nan, 0.5)
    contest.came(0.5, math.nan)
    assert contest.ticks == 0
    contest.came(1.0, 1.0)
    assert contest.ticks == 1


def without_times(tick: Tick) -> dict[str, object]:
    """What a tick decided, of the live side."""
    names = ("forecast", "allocation_mbps", "reason", "blocked", "experts", "refused", "skill", "coverage")
    return {name: repr(getattr(tick, name)) for name in names}


def test_a_shadow_never_changes_what_is_decided(engine: linkcast.Engine, tmp_path: Path) -> None:
    alone = Session("eth0", engine, **LIMITS)
    watched = Session("eth0", engine, shadow=linkcast.Engine(other_models(tmp_path)), **LIMITS)
    expected = [without_times(tick) for tick in ticks(alone, samples(200))]
    made = list(ticks(watched, samples(200)))
    assert [without_times(tick) for tick in made] == expected
    last = made[-1].shadow
    assert last is not None
    assert last.forecast.mbps != made[-1].forecast.mbps
    # The gain, from the forecasts as they were logged and the next tick's measurement.
    errors = []
    for tick, following in itertools.pairwise(made):
        if following.telemetry is None or tick.telemetry is None or math.isnan(tick.skill) or tick.shadow is None:
            continue
        came = following.telemetry[1]
        errors.append((abs(came - tick.forecast.mbps), abs(came - tick.shadow.forecast.mbps)))
    live, shadow = np.mean(errors, axis=0)
    assert last.gain == pytest.approx((live - shadow) / ((live + shadow) / 2), abs=0.03)


def test_promotion_moves_no_allocation_and_is_rolled_back_by_another(engine: linkcast.Engine, tmp_path: Path) -> None:
    session = Session("eth0", engine, shadow=linkcast.Engine(other_models(tmp_path)), **LIMITS)
    given = samples(140)
    before = list(ticks(session, given[:60]))[-1]
    shadow_skill = before.shadow.skill if before.shadow else math.nan
    live, shadow = session.live.models_id, session.shadow.models_id if session.shadow else ""
    assert session.promote() is None
    assert session.shadow is not None
    assert (session.live.models_id, session.shadow.models_id) == (shadow, live)
    assert session.live.controller.last.allocation_mbps == before.allocation_mbps
    assert session.live.score.skill == shadow_skill
    assert session.contest.ticks == 0
    after = list(ticks(session, given[60:100], first=60))
    assert after[0].models == shadow
    assert after[0].forecast.source == "mixture"  # the window and what was learnt were carried over
    assert session.promote() is None
    assert session.live.models_id == live
    rolled_back = list(ticks(session, given[100:], first=100))
    assert [tick.index for tick in rolled_back] == list(range(100, 140))


def test_options_are_changed_under_way_and_a_refused_one_changes_nothing(engine: linkcast.Engine) -> None:
    session = Session("eth0", engine, **LIMITS)
    given = samples(60)
    list(ticks(session, given[:30]))
    with pytest.raises(ValueError, match="least_fraction"):
        session.reload(least_fraction=2.0)
    assert session.options["least_fraction"] == 0.1
    last = session.live.controller.last.allocation_fraction
    assert session.reload(least_fraction=0.9, slew_per_s=0.01, hold_s=0.0) is None
    following = next(ticks(session, given[30:31], first=30))
    assert following.allocation_fraction == pytest.approx(last + 0.01, abs=1e-4)  # no jump: the new slew limit holds
    list(ticks(session, given[31:50], first=31))
    lost = session.reload(risk=0.2)
    assert lost is not None
    assert "level" in lost  # another quantile is learnt anew
    assert next(ticks(session, given[50:51], first=50)).forecast.source == "measured_mean"


def test_a_clock_that_goes_back_is_refused(engine: linkcast.Engine) -> None:
    session = Session("eth0", engine, **LIMITS)
    session.decide(None, time_ns=0, monotonic_ns=10)
    with pytest.raises(ValueError, match="finish"):
        session.decide(None, time_ns=0, monotonic_ns=11)
    session.finish()
    with pytest.raises(ValueError, match="does not go back, got 9 after 10"):
        session.decide(None, time_ns=0, monotonic_ns=9)
