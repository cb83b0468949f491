"""How good a live forecast has been: beside naive rules, and its band.

Averages are exponentially weighted, so that what they go on from is a handful of numbers, which a log's header carries.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from linkcast.baselines import BASELINES
from linkcast.live.record import NAN, Forecast, ScoreState

MEMORY = 600
"""Outcomes that the averages look back on: ten minutes at one a second."""

LEAST = 30
"""Outcomes before anything is said."""


class NaiveRules:
    """What the window baselines of `linkcast.baselines` say of the next value, from the last `window` that came."""

    def __init__(self, window: int) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def came(self, mbps: float) -> None:
        """The newest value."""
        self._values.append(mbps)

    def forecasts(self) -> list[float]:
        """(rules,) in the order of BASELINES; empty before the window is full."""
        if len(self._values) < (self._values.maxlen or 1):
            return []
        window = np.array(self._values, dtype=np.float64).reshape(1, -1, 1)
        return [float(rule(window, 0)[0]) for rule in BASELINES.values()]

    def state(self) -> tuple[float, ...]:
        """What restore() takes."""
        return tuple(self._values)

    def restore(self, state: Sequence[float]) -> None:
        """Goes on from there."""
        self._values.clear()
        self._values.extend(state)


class Score:
    """A forecast beside the rules on the same outcomes, and how often the band held them."""

    def __init__(self) -> None:
        self._outcomes = 0
        self._error = 0.0  # mean absolute, Mbit/s
        self._rules = [0.0] * len(BASELINES)  # the same, of each
        self._banded = 0
        self._held = 0.0
        self._expected: Forecast | None = None
        self._naive: list[float] = []
        self.last_error = NAN
        """Absolute error of the forecast whose outcome came last; NaN when there was none."""

    def expect(self, forecast: Forecast, naive: list[float]) -> None:
        """What is said of the next value; only what all have said something of is scored."""
        self._expected, self._naive = forecast, naive

    def came(self, mbps: float | None) -> None:
        """The outcome; None: none came, and nothing is scored."""
        expected, naive = self._expected, self._naive
        self._expected, self._naive, self.last_error = None, [], NAN
        if mbps is None or expected is None or not naive or not math.isfinite(expected.mbps):
            return
        self.last_error = abs(mbps - expected.mbps)
        self._outcomes += 1
        weight = max(1.0 / self._outcomes, 1.0 / MEMORY)
        self._error += weight * (self.last_error - self._error)
        self._rules = [mean + weight * (abs(mbps - said) - mean) for mean, said in zip(self._rules, naive, strict=True)]
        if math.isfinite(expected.p10) and math.isfinite(expected.p90):
            self._banded += 1
            held = expected.p10 <= mbps <= expected.p90
            self._held += max(1.0 / self._banded, 1.0 / MEMORY) * (float(held) - self._held)

    @property
    def skill(self) -> float:
        """1 - error / error of the best rule; NaN while little is known, or when that rule has no error."""
        best = min(self._rules)
        return 1.0 - self._error / best if self._outcomes >= LEAST and best > 0.0 else NAN

    @property
    def coverage(self) -> float:
        """Share of the outcomes within the band; NaN while little is known."""
        return self._held if self._banded >= LEAST else NAN

    def state(self) -> ScoreState:
        """What restore() takes."""
        expected = self._expected
        return ScoreState(
            outcomes=self._outcomes,
            error=self._error,
            rules=tuple(self._rules),
            banded=self._banded,
            held=self._held,
            expected=None if expected is None else (expected.mbps, expected.p10, expected.p90),
            naive=tuple(self._naive),
        )

    def restore(self, state: ScoreState) -> None:
        """Goes on from there.

        Raises:
            ValueError: the numbers are not those of so many rules and of a forecast.
        """
        rules = len(BASELINES)
        expected, naive = len(state.expected or (0.0,) * 3), len(state.naive) or rules
        if (len(state.rules), naive, expected) != (rules, rules, 3):
            raise ValueError(
                f"score: expected {rules} errors, a forecast of 3 numbers and what {rules} rules or none expect; "
                f"got {len(state.rules)}, {expected} and {len(state.naive)}"
            )
        self._outcomes, self._error, self._rules = state.outcomes, state.error, list(state.rules)
        self._banded, self._held, self._naive = state.banded, state.held, list(state.naive)
        self._expected = None
        if state.expected is not None:
            mbps, p10, p90 = state.expected
            self._expected = Forecast(mbps, p10=p10, p90=p90)
