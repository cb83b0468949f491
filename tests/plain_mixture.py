"""The mixture of docs/forecasts.md once more, in plain Python for one row: what the native one is held to.

Written from the words of docs/forecasts.md and cpp/src/engine/mixture.h with NumPy's linear algebra and exponentials,
and dictionaries by tick in place of rings. Numbers agree with the native one's to some 1e-6, which approximates
exponentials.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

EXPERTS, NAIVE, FEATURES, MODEL_FEATURE = 17, 12, 16, 13
INPUTS = 7
STAYS = 32
LEVELS = (0.1, 0.5, 0.9)
FORGET_FIRST, FORGET_AHEAD = (0.9999, 0.999, 0.99), (0.9999, 0.999)


class Aggregation:
    """Bernstein online aggregation of some numbers on linearised losses."""

    def __init__(self, count: int) -> None:
        self.regret, self.variance, self.most, self.rate = (np.zeros(count) for _ in range(4))
        self.weight = np.full(count, 1.0 / count)

    def learn(self, values: Array, mixed: float, slope: float) -> None:
        gain = slope * (mixed - values)
        self.most = np.maximum(0.999 * self.most, np.abs(gain))
        self.variance = 0.999 * self.variance + gain**2
        with np.errstate(divide="ignore"):
            fitting = np.minimum(self.rate, 0.5 / self.most)  # both without bound where nothing was gained
        self.regret = 0.999 * self.regret + gain - fitting * gain**2

    def weigh(self, floor: float) -> None:
        count = len(self.weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.minimum(0.5 / self.most, np.sqrt(math.log(count) / self.variance))
        self.rate = np.where(self.most > 0, rate, 0.0)
        score = self.rate * self.regret
        weight = np.where(self.rate > 0, self.rate, 1e-300) * np.exp(np.maximum(score - score.max(), -40.0))
        total = weight.sum()
        self.weight = (1 - floor) * weight / total + floor / count if total > 1e-290 else np.full(count, 1.0 / count)


@dataclass
class Regression:
    """Ridge regression with forgetting, which shrinks to the model's step."""

    forget: float
    gram: Array = field(default_factory=lambda: np.zeros((FEATURES, FEATURES)))
    right: Array = field(default_factory=lambda: np.zeros(FEATURES))
    weights: Array = field(default_factory=lambda: np.eye(FEATURES)[MODEL_FEATURE])
    error: float = 0.1

    def learn(self, features: Array, step: float, weight: float) -> None:
        self.gram = self.forget * self.gram + weight * np.outer(features, features)
        self.right = self.forget * self.right + weight * step * features

    def solve(self, gram: Array | None = None, ridge: float | None = None) -> None:
        gram = self.gram if gram is None else gram
        ridge = ridge_of(gram) if ridge is None else ridge
        pull = ridge * np.eye(FEATURES)[MODEL_FEATURE]
        self.weights = np.linalg.solve(gram + ridge * np.eye(FEATURES), self.right + pull)


def ridge_of(gram: Array) -> float:
    return 5e-4 * float(np.trace(gram)) / FEATURES + 0.021


def weighted_median(weights: Array, values: Array) -> float:
    order = np.argsort(values, kind="stable")
    return float(values[order[int(np.argmax(np.cumsum(weights[order]) >= 0.5 - 1e-9))]])


class OnOff:
    """Whether a link is quiet or busy, and for how long it was before."""

    def __init__(self) -> None:
        self.envelope: list[float] = []  # lowest, highest
        self.level = [0.0, 0.0]
        self.busy, self.age, self.whole = 0, 0, False
        self.stays: list[list[int]] = [[], []]

    def observe(self, measured: float) -> None:
        if not self.envelope:
            self.envelope, self.level = [measured, measured], [measured, measured]
            return
        low, high = self.envelope
        low = min(measured, low + 0.005 * (measured - low))
        high = max(measured, high + 0.005 * (measured - high))
        self.envelope = [low, high]
        busy = int(measured > low + (0.3 if self.busy else 0.5) * (high - low))
        changed = busy != self.busy
        self.age += 1
        if changed:
            if self.whole:
                self.stays[self.busy] = [*self.stays[self.busy], self.age][-STAYS:]
            self.busy, self.age, self.whole = busy, 0, True
        self.level[busy] += (0.5 if changed else 0.2) * (measured - self.level[busy])

    def ends(self, steps: int) -> bool:
        """Whether most of the earlier stays that were longer than this one is now had ended so many steps later."""
        known = self.stays[self.busy]
        longer = [stay - self.age for stay in known if stay > self.age]
        return len(known) >= 3 and 2 * sum(more <= steps for more in longer) > len(longer)


def robust_weight(error: float, usual: float) -> float:
    return min(1 / (error + 0.3 * usual + 1e-4), 50.0)


def followed(usual: float, error: float) -> float:
    return usual + 0.01 * (min(error, 5 * usual + 1e-6) - usual)


def decayed(weights: Array, loss: Array, share: float) -> Array:
    """Exponential weights with a fixed share."""
    weights = weights * np.exp(-loss)
    kept: Array = (1 - share) * weights / weights.sum() + share / len(weights)
    return kept


class Target:
    """What is forecast: the value some steps ahead, or the peak of some steps."""

    def __init__(self, steps: int, peak: bool, level: float) -> None:
        self.steps, self.peak, self.first = steps, peak, steps == 1
        self.steady, self.quick, self.patient = (np.full(EXPERTS, 1.0 / EXPERTS) for _ in range(3))
        self.state_steady, self.state_patient = ([np.full(EXPERTS, 1.0 / EXPERTS)] * 2 for _ in range(2))
        self.inputs = [Aggregation(INPUTS) for _ in range(2)]
        self.scale, self.count, self.errors = 0.0, 0, np.zeros(3)
        self.levels = (*LEVELS, level)
        tails = [-math.log(2 * min(quantile, 1 - quantile)) for quantile in self.levels]
        self.factor = np.array([[-t if q < 0.5 else t] * 4 for q, t in zip(self.levels, tails, strict=True)])
        self.spreads = [Aggregation(4) for _ in self.levels]
        self.shift = np.zeros(len(self.levels))
        self.sides = [Regression(forget) for forget in FORGET_AHEAD]

    def quantile(self, expected: dict[str, Any], index: int) -> float:
        spread = expected["spread"]
        above = self.shift[index] * spread[0] + self.spreads[index].weight @ (self.factor[index] * spread)
        return float(expected["answer"] + above)

    def outlook(self, expected: dict[str, Any]) -> tuple[float, float, float, float, float]:
        """mbps, p10, p50, p90, reserve."""
        q = [max(self.quantile(expected, index), 0.0) for index in range(4)]
        p10, p50, p90, reserve, level = min(q[0], q[1]), q[1], max(q[2], q[1]), q[3], self.levels[3]
        if level >= 0.9:
            reserve = max(reserve, p90)
        elif level <= 0.1:
            reserve = min(reserve, p10)
        else:
            reserve = min(max(reserve, p50 if level >= 0.5 else p10), p90 if level >= 0.5 else p50)
        return min(max(expected["answer"], p10), p90), p10, p50, p90, reserve

    def score(self, moment: dict[str, Any], expected: dict[str, Any], outcome: float) -> Array:
        """Learns from an outcome; returns the experts' losses."""
        loss = np.abs(np.concatenate([moment["naive"], expected["expert"]]) - outcome)
        mean = float(loss.mean())
        if self.count > 0:
            mean = min(mean, 100 * self.scale + 1e-9)
        self.scale += max(1e-3, 1 / (self.count + 1)) * (mean - self.scale)
        unit = np.minimum(loss / (self.scale + 1e-9), 50.0)
        patient, state = 0.05 if self.first else 0.02, moment["busy"]
        self.patient = decayed(self.patient, patient * unit, 1e-4)
        self.steady = decayed(self.steady, 0.4 * unit, 1e-3)
        self.quick = decayed(self.quick, 0.8 * unit, 1e-2)
        self.state_patient[state] = decayed(self.state_patient[state], patient * unit, 1e-4)
        self.state_steady[state] = decayed(self.state_steady[state], 0.4 * unit, 1e-3)
        answer = expected["answer"]
        self.inputs[state].learn(expected["inputs"], answer, 1 if answer > outcome else -1)
        pace = 0.03 if self.first else 0.06 / self.steps
        for index, level in enumerate(self.levels):

            def slope(bound: float, level: float = level) -> float:
                bound = max(bound, 0.0)
                return -level if outcome > bound else 1 - level if outcome < bound else 0.0

            above = self.factor[index] * expected["spread"]
            mixed = float(self.spreads[index].weight @ above)
            self.spreads[index].learn(above, mixed, slope(answer + mixed))
            whole = slope(answer + mixed + self.shift[index] * expected["spread"][0])
            steps = np.array([slope(answer + one) for one in above])
            self.factor[index] = np.clip(self.factor[index] - pace * steps, -10, 10)
            self.shift[index] = min(max(self.shift[index] - pace * whole, -5), 5)
        error = abs(outcome - answer)
        if self.count > 20:
            error = min(error, 50 * self.errors[2] + 1e-9)
        self.count += 1
        for index, speed in enumerate((0.3, 0.05, 0.005)):
            self.errors[index] += max(speed, 1 / self.count) * (error - self.errors[index])
        self.errors[2] = min(self.errors[2], 100 * self.errors[1])
        return loss

    def weigh_inputs(self, state: int) -> None:
        self.inputs[state].weigh(1e-3)

    def weigh_spreads(self, indices: Iterable[int]) -> None:
        for index in indices:
            self.spreads[index].weigh(1e-2)


class PlainMixture:
    """One row. The calls are those of Mixture in mixture.h."""

    def __init__(self, horizon: int, level: float) -> None:
        self.horizon, self.level = horizon, level
        self.forget()

    def forget(self) -> None:
        peaks = [Target(steps, True, self.level) for steps in range(2, self.horizon + 1)]
        self.targets = [Target(steps, False, self.level) for steps in range(1, self.horizon + 1)] + peaks
        self.regressions = [Regression(forget) for forget in FORGET_FIRST]
        self.grams = [np.zeros((FEATURES, FEATURES)) for _ in FORGET_AHEAD]
        self.gram_errors, self.ridges = [0.1, 0.1], [0.0, 0.0]
        self.solved: list[Array | None] = [None, None]
        self.slow = self.slower = self.usual = 0.0
        self.started = self.resumed = self.answered = self.looked = self.advanced = False
        self.ticks = self.above = 0
        self.on_off, self.newest = OnOff(), list[float]()
        self.outcomes: dict[int, float] = {}
        self.moments: dict[int, dict[str, Any]] = {}
        self.expected: dict[tuple[int, int], dict[str, Any]] = {}
        self.errors = np.full(EXPERTS, np.nan)

    def observe(self, measured: float | None) -> None:
        if self.ticks > 0:
            self.advance()
        self.ticks += 1
        self.answered = self.looked = self.advanced = False
        if measured is None:
            self.on_off.age += bool(self.on_off.envelope)  # its stay goes on
            return
        self.outcomes[self.ticks] = measured
        if not self.started:
            self.slow = self.slower = self.usual = measured
            self.started = True
        self.slow += 0.1 * (measured - self.slow)
        self.slower += 0.01 * (measured - self.slower)
        self.usual += 0.01 * (measured - self.usual)
        self.on_off.observe(measured)
        self.newest = [*self.newest, measured][-64:]
        before = self.moments.get(self.ticks - 1)
        if before is None:
            return
        expected = self.expected[self.ticks - 1, 0]
        self.above += measured > max(self.targets[0].quantile(expected, 2), 0.0)
        loss = self.targets[0].score(before, expected, measured)
        self.targets[0].weigh_inputs(before["busy"])
        if self.ticks % 4 == 0:
            self.targets[0].weigh_spreads(range(4))
        self.errors = np.where(np.isnan(self.errors), loss, self.errors + 0.01 * (loss - self.errors))

    def answer(self, window: Array, model: float) -> tuple[float, ...]:
        """@param window  of the target, oldest first"""
        w = window[-10:]
        last, mean, recent = w[-1], w.mean(), w[-5:].mean()
        if self.resumed:
            self.slow, self.slower, self.resumed = mean, 0.5 * self.slower + 0.5 * mean, False
        floor = max(1e-3 * recent, 1e-300)
        harmonic = min(5, len(w)) / np.sum(1 / np.maximum(w[-5:], floor)) if recent > 0 else 0.0
        ewmas = [w[0]] * 3
        for value in w[1:]:
            ewmas = [now + rate * (value - now) for now, rate in zip(ewmas, (0.2, 0.5, 0.8), strict=True)]
        naive = [model, last, mean, harmonic, np.median(w), *ewmas, self.slow, self.slower, w.max()]
        naive.append(np.median(self.newest) if self.newest else last)
        unit = max(0.5 * self.usual + 0.5 * mean, 1e-6)
        steps = np.zeros(FEATURES)
        steps[10 - len(w) : 9] = w[:-1] - last
        steps[9], steps[10], steps[12:] = (
            self.slow - last,
            self.slower - last,
            np.array([mean, model, w.max(), w.min()]) - last,
        )
        features = np.clip(steps / unit, -3, 3)
        features[11] = 0.02
        self.moments[self.ticks] = {
            "naive": np.array(naive), "features": features, "unit": unit, "last": last, "range": w.max() - w.min(),
            "busy": self.on_off.busy, "highest": 1.5 * max(w.max(), self.slow), "change": np.abs(np.diff(w)).mean(),
        }  # fmt: skip
        self._expect(0)
        self.answered = True
        return self.targets[0].outlook(self.expected[self.ticks, 0])

    def _expect(self, index: int) -> None:
        now, target = self.moments[self.ticks], self.targets[index]

        def regress(weights: Array) -> float:
            return float(np.clip(now["last"] + weights @ now["features"] * now["unit"], 0.0, now["highest"]))

        if index == 0:
            expert = [regress(one.weights) for one in self.regressions] + [0.5 * (now["last"] + now["naive"][0])]
        else:
            before = [self.expected[self.ticks, h]["answer"] for h in range(target.steps if target.peak else 1)]
            expert = [regress(side.weights) for side in target.sides] + [before[0], max(before)]
        on_off, ended = self.on_off, self.on_off.ends(target.steps)
        other = ended and not (target.peak and on_off.busy)  # a peak that has been stays one
        expert.append(on_off.level[1 - on_off.busy] if other else now["last"])
        experts, state = np.concatenate([now["naive"], expert]), now["busy"]
        inputs = np.array([
            target.steady @ experts, target.quick @ experts, target.patient @ experts, now["last"],
            weighted_median(target.patient, experts),
            target.state_steady[state] @ experts, target.state_patient[state] @ experts,
        ])  # fmt: skip
        answer = max(float(target.inputs[state].weight @ inputs), 0.0)
        quick, medium, slow = target.errors if target.count else [now["change"] + 0.05 * now["range"] + 1e-9] * 3
        spread = np.array([
            0.5 * medium + 0.25 * quick + 0.25 * slow,
            0.3 * medium + 0.3 * now["range"] + 0.2 * now["change"] + 0.2 * slow,
            answer * slow / max(self.slower, 1e-9) + 0.5 * medium,
            slow,
        ])  # fmt: skip
        self.expected[self.ticks, index] = {"expert": expert, "inputs": inputs, "answer": answer, "spread": spread}

    def _look_ahead(self) -> None:
        if not self.answered or self.looked:
            return
        self.looked = True
        for index in range(1, len(self.targets)):
            self._expect(index)

    def ahead(self, steps: int, peak: bool) -> tuple[float, ...]:
        self._look_ahead()
        index = 0 if steps == 1 else self.horizon + steps - 2 if peak else steps - 1
        return self.targets[index].outlook(self.expected[self.ticks, index])

    def advance(self) -> None:
        if self.advanced or self.ticks == 0:
            return
        self.advanced = True
        self._look_ahead()
        now = self.outcomes.get(self.ticks)
        if now is None:
            return
        if before := self.moments.get(self.ticks - 1):
            self._learn_first(before, now)
        for steps in range(2, self.horizon + 1):
            then = self.moments.get(self.ticks - steps)
            reached = [self.outcomes.get(tick) for tick in range(self.ticks - steps + 1, self.ticks + 1)]
            values = self.ticks.bit_count() % 2 == 0
            index = steps - 1 if values else self.horizon + steps - 2
            if then is None or (not values and None in reached):
                continue
            outcome = now if values else max(one for one in reached if one is not None)
            self.targets[index].score(then, self.expected[self.ticks - steps, index], outcome)
        turn = self.ticks // 2 % 4
        for target in self.targets[self.horizon :] if self.ticks.bit_count() % 2 else self.targets[1 : self.horizon]:
            if turn < 2:
                target.weigh_inputs(turn)
            else:
                target.weigh_spreads((2 * turn - 4, 2 * turn - 3))
        if self.horizon > 1:
            self._learn_ahead()
            self._solve_ahead()
        for tick in [tick for tick in self.moments if tick < self.ticks - self.horizon + 1]:
            del self.moments[tick]

    def _learn_first(self, then: dict[str, Any], outcome: float) -> None:
        step = (outcome - then["last"]) / then["unit"]
        for one in self.regressions:
            error = abs(step - float(one.weights @ then["features"]))
            weight = robust_weight(error, one.error)
            one.error = followed(one.error, error)
            one.learn(then["features"], step, weight)
        if self.ticks % 16 < 3:
            self.regressions[self.ticks % 16].solve()

    def _learn_ahead(self) -> None:
        tick = self.ticks - self.horizon
        then = self.moments.get(tick)
        reached = [self.outcomes.get(tick + steps) for steps in range(1, self.horizon + 1)]
        if then is None or None in reached:
            return
        values = np.array(reached, np.float64)
        outcomes = np.concatenate([values, np.maximum.accumulate(values)[1:]])
        steps = (outcomes - then["last"]) / then["unit"]
        features = then["features"]
        for g, forget in enumerate(FORGET_AHEAD):
            sides = [target.sides[g] for target in self.targets[1:]]
            error = np.mean([abs(s - side.weights @ features) for s, side in zip(steps[1:], sides, strict=True)])
            weight = robust_weight(float(error), self.gram_errors[g])
            self.gram_errors[g] = followed(self.gram_errors[g], float(error))
            self.grams[g] = forget * self.grams[g] + weight * np.outer(features, features)
            for step, side in zip(steps[1:], sides, strict=True):
                side.learn(features, step, weight)

    def _solve_ahead(self) -> None:
        turn = self.ticks % 16 - 3
        if turn < 0 or turn >= 6:
            return
        g, part = divmod(turn, 3)
        if part == 0:
            self.solved[g], self.ridges[g] = self.grams[g].copy(), ridge_of(self.grams[g])
        elif (gram := self.solved[g]) is not None:
            for target in self.targets[1 : self.horizon] if part == 1 else self.targets[self.horizon :]:
                target.sides[g].solve(gram, self.ridges[g])

    def interrupt(self) -> None:
        if self.ticks > 0:
            self.advance()
        self.outcomes.clear()
        self.moments.clear()
        self.newest.clear()
        self.on_off.whole = False
        self.resumed, self.answered = self.started, False

    def weight(self, expert: int) -> float:
        first, state = self.targets[0], self.on_off.busy
        sets = [first.steady, first.quick, first.patient, np.eye(EXPERTS)[1], first.patient]
        sets += [first.state_steady[state], first.state_patient[state]]
        return float(first.inputs[state].weight @ np.array([weights[expert] for weights in sets]))
