"""Whether a shadow's forecasts are better than the live ones: a test that may be looked at after every tick.

A fixed-sample test that is looked at again and again calls two equal forecasters different sooner or later. A
confidence sequence does not: with probability 1 - ALPHA, all of its intervals, for all time, hold the mean difference.

Source: Y. J. Choe and A. Ramdas, "Comparing Sequential Forecasters", Operations Research 72(4), 2024
(arXiv:2110.00115), Theorem 2: the empirical-Bernstein confidence sequence of S. R. Howard, A. Ramdas, J. McAuliffe and
J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2), 2021
(arXiv:1810.08240), Theorem 4, for the average of score differences, with their polynomial stitched boundary, equation
(10). Nothing is assumed of the link but that a difference is bounded, which it is made to be: neither independence nor
stationarity.
"""

from __future__ import annotations

import math

from linkcast.live.record import NAN, ContestState

ALPHA = 0.05
"""How likely it is that a verdict is ever given between two equals."""

MOST = 4.0
"""Mean errors that one tick's difference counts for at most: an outlier is not to decide by itself."""

_RANGE = 2.0  # of a scaled difference: -1 to 1
_ETA, _S = 2.0, 1.4  # epochs of the stitched boundary grow by eta; s > 1 is the exponent of its zeta function
_ZETA = 3.1055472779775806  # zeta(1.4)
_LEAST_VARIANCE = 1.0  # summed, from which the boundary is tight
_K1 = (_ETA**0.25 + _ETA**-0.25) / math.sqrt(2.0)
_K2 = (math.sqrt(_ETA) + 1.0) / 2.0


def boundary(variance: float, alpha: float) -> float:
    """What the sum of bounded differences stays below, for all time, with probability 1 - alpha.

    Equation (10) of Howard et al. 2021 for a sub-gamma process of scale _RANGE, with eta = 2, s = 1.4, m = 1.

    Args:
        variance: sum of the squared deviations from what was predicted; the intrinsic time.
    """
    v = max(variance, _LEAST_VARIANCE)
    level = _S * math.log(math.log(_ETA * v / _LEAST_VARIANCE)) + math.log(_ZETA / (alpha * math.log(_ETA) ** _S))
    bound: float = _K1 * math.sqrt(v * level) + _RANGE * _K2 * level
    return bound


class Contest:
    """The live forecast's errors against the shadow's, tick after tick, on the same outcomes.

    A tick's difference is the live error less the shadow's, in units of MOST times the mean error of both until then,
    cut to -1..1. The gain is the mean of the differences in units of the mean error: 0.05 is a shadow that is better by
    5 %.
    """

    def __init__(self, alpha: float = ALPHA) -> None:
        self._alpha = alpha
        self._ticks = 0
        self._sum = 0.0
        self._variance = 0.0
        self._errors = 0.0  # mean of both, until now
        self._seen = 0  # ticks in that mean

    @property
    def ticks(self) -> int:
        """That were compared."""
        return self._ticks

    def came(self, live_error: float, shadow_error: float) -> None:
        """One outcome's absolute errors, Mbit/s; one that is NaN is not compared."""
        if not (math.isfinite(live_error) and math.isfinite(shadow_error)):
            return
        if self._errors > 0.0:
            difference = min(max((live_error - shadow_error) / (MOST * self._errors), -1.0), 1.0)
            predicted = self._sum / self._ticks if self._ticks else 0.0
            self._variance += (difference - predicted) ** 2
            self._sum += difference
            self._ticks += 1
        self._seen += 1
        self._errors += ((live_error + shadow_error) / 2.0 - self._errors) / self._seen

    @property
    def gain(self) -> float:
        """Share of the mean error that the shadow saves; NaN before any tick."""
        return MOST * self._sum / self._ticks if self._ticks else NAN

    @property
    def interval(self) -> tuple[float, float]:
        """Where the gain is, with confidence 1 - alpha at all ticks together."""
        if not self._ticks:
            return NAN, NAN
        width = MOST * boundary(self._variance, self._alpha / 2.0) / self._ticks
        return max(self.gain - width, -MOST), min(self.gain + width, MOST)

    @property
    def verdict(self) -> str:
        """One of VERDICTS."""
        low, high = self.interval
        if low > 0.0:
            return "shadow_better"
        return "live_better" if high < 0.0 else "undecided"

    def state(self) -> ContestState:
        """What restore() takes."""
        return ContestState(self._ticks, self._sum, self._variance, self._errors, self._seen)

    def restore(self, state: ContestState) -> None:
        """Goes on from there."""
        self._ticks, self._sum, self._variance = state.ticks, state.sum, state.variance
        self._errors, self._seen = state.errors, state.seen
