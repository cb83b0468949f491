"""From allocations to rates that an interface is set to: raised at once, lowered late, and not too often."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MINUTE_S = 60.0


@dataclass(frozen=True)
class RateOptions:
    """Of a RateRule."""

    most_changes: int = 12  # a minute
    least_change: float = 0.02  # of the highest rate: a smaller one is not worth a change
    lower_after_s: float = 10.0  # the rate is what the allocations of so long needed most
    full: float = 0.95  # share of the rate that traffic fills: what it would carry with more is not known
    raise_by: float = 2.0  # what a full rate is multiplied with at least, in a tick

    def __post_init__(self) -> None:
        if self.most_changes < 2:
            raise ValueError(f"most_changes: expected 2 or more a minute, got {self.most_changes}")
        for name, value in (("least_change", self.least_change), ("full", self.full)):
            if not 0.0 < value <= 1.0:
                raise ValueError(f"{name}: expected a share above 0 and at most 1, got {value:g}")
        if not 1.0 < self.raise_by <= 1000.0:
            raise ValueError(f"raise_by: expected a factor above 1 and at most 1000, got {self.raise_by:g}")
        if not 0.0 <= self.lower_after_s <= 3600.0:
            raise ValueError(f"lower_after_s: expected 0..3600 seconds, got {self.lower_after_s:g}")


@dataclass
class RateRule:
    """The rate for each tick.

    It lies above the allocation by so much that traffic which fills its allocation does not fill its rate. Traffic that
    fills its rate may want far more than can be measured, and any forecast of it is too low: then the rate is
    multiplied, tick after tick, up to the highest. It falls only to the most that was wanted within `lower_after_s`, so
    that a short lull costs nothing. At most `most_changes` are made in any minute, and lowering never takes the last
    third of them: a raise does not wait for it. A change that failed does not count.
    """

    most_mbps: float
    options: RateOptions = field(default_factory=RateOptions)
    _allocations: deque[tuple[float, float]] = field(default_factory=deque)  # time, Mbit/s; decreasing
    _changes: deque[float] = field(default_factory=deque)  # times of the last minute
    _rate_mbps: float | None = None

    def changed(self, mbps: float | None, now_s: float) -> None:
        """The interface's rate is this now: None, it has none."""
        if mbps is not None and mbps != self._rate_mbps:
            self._changes.append(now_s)
        self._rate_mbps = mbps

    def next(
        self, allocation_mbps: float, carried_mbps: float | None, now_s: float, congested: bool = False
    ) -> tuple[float, str | None]:
        """The rate to set, and "rate_limit" where it should be another one.

        Args:
            allocation_mbps: of this tick.
            carried_mbps: measured in this tick, under the present rate; None: not measured.
            congested: the controller sees a queue on a full link: the rate was full for a part of the tick.
        """
        rate = self._rate_mbps
        wanted = allocation_mbps / self.options.full
        full = carried_mbps is not None and rate is not None and carried_mbps > self.options.full * rate
        if rate is not None and (full or congested):
            wanted = max(wanted, self.options.raise_by * rate)
        wanted = min(self._most_of_late(wanted, now_s), self.most_mbps)
        if rate is None:
            return wanted, None
        enough = self.options.least_change * self.most_mbps
        to_the_top = wanted == self.most_mbps and rate < wanted  # the last bit counts, too
        if abs(wanted - rate) < enough and not to_the_top:
            return rate, None
        while self._changes and self._changes[0] <= now_s - MINUTE_S:
            self._changes.popleft()
        allowed = self.options.most_changes
        if wanted < rate:
            allowed -= max(1, allowed // 3)
        if len(self._changes) >= allowed:
            return rate, "rate_limit"
        return wanted, None

    def _most_of_late(self, mbps: float, now_s: float) -> float:
        """The most that was wanted within `lower_after_s`, this tick among them."""
        while self._allocations and self._allocations[-1][1] <= mbps:
            self._allocations.pop()
        self._allocations.append((now_s, mbps))
        while self._allocations[0][0] < now_s - self.options.lower_after_s:
            self._allocations.popleft()
        return self._allocations[0][1]
