"""Streams with the mixture against a plain model of what docs/forecasts.md promises, whatever happens in which order.

The model holds samples in lists, asks the engine for the forecast of whole windows, and mixes in plain Python
(plain_mixture.py). Hypothesis finds the order of ticks, gaps, resets, snapshots and other models.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import linkcast
from conftest import ROOT
from plain_mixture import EXPERTS, PlainMixture

PROFILE, WINDOW, TARGET, LEVEL, MOST_HELD = "internet", 10, 1, 0.95, 3
FOLDERS = (ROOT / "tests" / "versions" / "0.1.0" / "bundle", ROOT)
TOLERANCE = 2e-4
"""Of the link's bandwidth: float32 forecasts, and exponentials that the native mixture approximates, over some hundred
ticks that build on each other."""

EXAMPLES = settings(
    max_examples=35,
    stateful_step_count=16,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class PlainRow:
    """A link's window and what it has taught."""

    def __init__(self, horizon: int) -> None:
        self.samples: list[np.ndarray] = [np.zeros(4)]
        self.held = [False]
        self.count = self.gap = self.missing = 0
        self.mixture = PlainMixture(horizon, LEVEL)

    def take(self, sample: np.ndarray | None) -> None:
        came = sample is not None
        self.samples.append(self.samples[-1] if sample is None else sample)
        self.held.append(not came)
        self.gap = 0 if came else self.gap + 1
        self.missing += not came
        if self.gap > MOST_HELD:
            if self.count > 0:
                self.mixture.interrupt()
            self.count = 0
        self.mixture.observe(None if sample is None else float(sample[TARGET]))
        if came or self.count > 0:
            self.count = min(self.count + 1, WINDOW)

    def answer(self, engine: linkcast.Engine) -> tuple[float, ...] | None:
        if self.count < WINDOW:
            return None
        window = np.array(self.samples[-WINDOW:])
        model = float(engine.forecast_raw(PROFILE, window[None])[0])
        return self.mixture.answer(window[:, TARGET], model)

    def reset(self) -> None:
        self.count = self.gap = 0
        self.mixture.interrupt()


def telemetry(rng: np.random.Generator, base: float, change: float, stay: int) -> Iterator[np.ndarray]:
    """A link's bandwidth, that moves: no two values alike, since ties may fall either way. With a stay it is quiet and
    busy in turn, for about so many ticks each."""
    bandwidth, busy = base, True
    while True:
        for _ in range(stay + int(rng.integers(3)) if stay else 1):
            bandwidth = abs(bandwidth + change * base * rng.normal()) + 1e-3 * rng.random()
            carried = bandwidth if busy else 0.1 * bandwidth
            yield np.array([20.0 + 5.0 * rng.random(), carried, 0.001 * rng.random(), 0.99])
        busy = busy != (stay > 0)


class StreamAndModel(RuleBasedStateMachine):
    """The two side by side."""

    engines: tuple[linkcast.Engine, ...] = ()

    @initialize(
        rows=st.integers(1, 2), horizon=st.sampled_from([1, 3]), seed=st.integers(0, 999),
        base=st.sampled_from([1.0, 20.0, 80.0]), change=st.sampled_from([0.01, 0.1, 0.5]),
        stay=st.sampled_from([2, 5, 0]),
    )  # fmt: skip
    def begin(self, rows: int, horizon: int, seed: int, base: float, change: float, stay: int) -> None:
        self.horizon, self.which, self.ticks = horizon, 0, 0
        self.rows = [PlainRow(horizon) for _ in range(rows)]
        self.links = [
            telemetry(np.random.default_rng((seed, row)), base * (row + 1), change, stay) for row in range(rows)
        ]
        self.stream: Any = self.open()
        self.kept: tuple[bytes, list[PlainRow], int, int] | None = None
        self.pushed = False

    def open(self) -> Any:
        engine = self.engines[self.which]
        return engine.stream(PROFILE, len(self.rows), horizon=self.horizon, plausible_margin=1e9, most_held=MOST_HELD)

    def tick(self, came: list[bool]) -> None:
        samples = [next(link) if here else None for link, here in zip(self.links, came, strict=True)]
        given = np.array([np.full(4, np.nan) if sample is None else sample for sample in samples])
        got = self.stream.push(
            given if len(came) > 1 else given[0] if came[0] else None, **({"present": came} if len(came) > 1 else {})
        )
        self.ticks += 1
        self.pushed = True
        for index, row in enumerate(self.rows):
            row.take(samples[index])
            self.compare(row.answer(self.engines[self.which]), self.native(got, index), "answer")

    def native(self, got: Any, row: int) -> tuple[float, ...] | None:
        if len(self.rows) == 1:
            return None if got is None else (got.mbps, got.p10, got.p50, got.p90, got.reserve)
        one = tuple(float(getattr(got, name)[row]) for name in ("mbps", "p10", "p50", "p90", "reserve"))
        return None if np.isnan(one[0]) else one

    def compare(self, expected: tuple[float, ...] | None, got: tuple[float, ...] | None, what: str) -> None:
        assert (expected is None) == (got is None), what
        if expected is None or got is None:
            return
        unit = max(1.0, *expected)
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * unit, err_msg=what)
        mbps, p10, p50, p90, reserve = got
        assert 0 <= p10 <= p50 <= p90 and p10 <= mbps <= p90 and reserve >= p90, what

    @rule(count=st.integers(1, 24), advance=st.booleans())
    def push(self, count: int, advance: bool) -> None:
        for _ in range(count):
            self.tick([True] * len(self.rows))
            if advance:
                self.advance()

    @rule(count=st.integers(1, 5), both=st.booleans())
    def gap(self, count: int, both: bool) -> None:
        for _ in range(count):
            self.tick([False] + [not both] * (len(self.rows) - 1))

    @rule()
    def advance(self) -> None:
        self.stream.advance()
        for row in self.rows:
            row.mixture.advance()

    @rule()
    def prepare(self) -> None:
        """What brings caches up changes nothing: the model does not know it."""
        self.stream.prepare()

    @precondition(lambda self: self.pushed)
    @rule(steps=st.integers(1, 3), peak=st.booleans())
    def look_ahead(self, steps: int, peak: bool) -> None:
        steps = min(steps, self.horizon)
        for index, row in enumerate(self.rows):
            answer = (self.stream.peak if peak else self.stream.horizon)(steps, index)
            got = None if answer is None else (answer.mbps, answer.p10, answer.p50, answer.p90, answer.reserve)
            self.compare(row.mixture.ahead(steps, peak) if row.count == WINDOW else None, got, f"{steps} ahead")

    @rule(row=st.integers(0, 1), forget=st.booleans(), then=st.sampled_from([0, 13]))
    def reset(self, row: int, forget: bool, then: int) -> None:
        row %= len(self.rows)
        (self.stream.forget if forget else self.stream.reset)(row)
        self.rows[row].reset()
        if forget:
            self.rows[row].mixture.forget()
        for _ in range(then):
            self.tick([True] * len(self.rows))

    @rule()
    def keep(self) -> None:
        self.kept = (self.stream.snapshot(), copy.deepcopy(self.rows), self.which, self.ticks)

    @precondition(lambda self: self.kept is not None)
    @rule(anew=st.booleans())
    def go_back(self, anew: bool) -> None:
        assert self.kept is not None
        snapshot, rows, which, self.ticks = self.kept
        self.rows = copy.deepcopy(rows)
        if anew or which != self.which:
            self.which = which
            self.stream = self.open()
        self.stream.restore(snapshot)

    @rule(row=st.integers(0, 1), to=st.integers(0, 1))
    def move_a_row(self, row: int, to: int) -> None:
        """A link goes on in another row, or where it was: with all that it has taught."""
        row, to = row % len(self.rows), to % len(self.rows)
        self.stream.restore(self.stream.snapshot(row), row=to)
        for one in self.rows:  # a row comes in between two ticks
            one.mixture.advance()
        if row != to:
            self.rows[to] = copy.deepcopy(self.rows[row])

    @rule()
    def other_model(self) -> None:
        """What a reload does: windows and what was learnt are carried over to other models."""
        snapshot = self.stream.snapshot()
        self.which = 1 - self.which
        self.stream = self.open()
        with pytest.raises(ValueError, match="snapshot"):
            self.stream.restore(snapshot)
        self.stream.restore(snapshot, same_model=False)

    @rule(cut=st.integers(0, 10**6))
    def damaged_snapshot(self, cut: int) -> None:
        snapshot = bytearray(self.stream.snapshot())
        before = bytes(snapshot)
        snapshot[cut % len(snapshot)] ^= 0x10
        with pytest.raises(ValueError, match="snapshot"):
            self.stream.restore(bytes(snapshot))
        assert self.stream.snapshot() == before

    @rule(bad=st.sampled_from([float("nan"), -1.0, float("inf")]), feature=st.integers(0, 3))
    def refused_sample(self, bad: float, feature: int) -> None:
        before = self.stream.snapshot()
        samples = np.full((len(self.rows), 4), 0.5)
        samples[-1, feature] = bad
        with pytest.raises(ValueError):
            self.stream.push(samples if len(self.rows) > 1 else samples[0])
        assert self.stream.snapshot() == before

    @invariant()
    def counts_are_those_of_the_model(self) -> None:
        if not hasattr(self, "stream"):
            return
        assert self.stream.ticks == self.ticks
        for index, row in enumerate(self.rows):
            held = sum(row.held[len(row.held) - row.count :]) if row.count else 0
            found = (self.stream.samples_in(index), self.stream.held(index), self.stream.missing(index))
            assert found == (row.count, held, row.missing)
            weights = [expert.weight for expert in self.stream.experts(index)]
            expected = [row.mixture.weight(expert) for expert in range(EXPERTS)]
            np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-3)
            first = row.mixture.targets[0]
            exceeded = self.stream.exceeded(index)
            assert exceeded == (None if first.count == 0 else pytest.approx(row.mixture.above / first.count))


def test_whatever_happens_a_stream_answers_as_the_plain_model_does() -> None:
    StreamAndModel.engines = tuple(linkcast.Engine(folder) for folder in FOLDERS)
    run_state_machine_as_test(StreamAndModel, settings=EXAMPLES)
