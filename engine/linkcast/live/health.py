"""How a live loop is, in one word and a reason: starting, dry_run, live, degraded, stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from linkcast.live.clock import NS

LATE_OVER_NS = 60 * NS
LATE_MANY = 6  # of the ticks of a minute: beyond it the machine does not keep up

STARTING, DRY_RUN, LIVE, DEGRADED, STOPPED = "starting", "dry_run", "live", "degraded", "stopped"


class Health:
    """Of one loop.

    Starting: until the first forecast by the models; then dry_run or live. Degraded, whichever it was, for as long as
    something keeps it from doing all that it should: a source that does not measure, telemetry that has stopped, a
    forecast that had to be stood in for, a shaper that fails, a log that cannot be written, ticks that come late.
    """

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.state = STARTING
        self.reason: str | None = None
        self.since_ns = 0  # of the monotonic clock
        self._begun = False
        self._late: deque[int] = deque(maxlen=LATE_MANY)

    def late(self, now_ns: int) -> None:
        """A tick began late."""
        self._late.append(now_ns)

    def judge(self, decision: Any, troubles: Iterable[str | None], now_ns: int) -> tuple[str, str | None]:
        """After a decision.

        Args:
            decision: of the controller.
            troubles: what source, shaper and sinks say.
        """
        forecast = decision.forecast
        self._begun = self._begun or forecast.source in ("model", "mixture", "fallback")
        reasons = [trouble for trouble in troubles if trouble]
        if decision.stalled:
            reasons.append("telemetry has stopped: the safe allocation holds")
        if decision.allocation_cause == "failed":
            reasons.append("the allocator failed: all is allocated")
        if self._begun and forecast.cause != "none" and forecast.source != "mixture":
            reasons.append(f"the forecast is by {forecast.source} ({forecast.cause})")
        if len(self._late) == LATE_MANY and now_ns - self._late[0] < LATE_OVER_NS:
            reasons.append(f"{LATE_MANY} ticks or more were late within a minute")
        well = DRY_RUN if self.dry_run else LIVE
        state = DEGRADED if reasons else well if self._begun else STARTING
        self._set(state, "; ".join(reasons) or None, now_ns)
        return self.state, self.reason

    def stop(self, now_ns: int, reason: str | None = None) -> None:
        """Nothing runs any more."""
        self._set(STOPPED, reason, now_ns)

    def _set(self, state: str, reason: str | None, now_ns: int) -> None:
        if state != self.state:
            self.since_ns = now_ns
        self.state, self.reason = state, reason
