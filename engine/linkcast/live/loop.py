"""A fixed-rate loop: source -> decision -> record -> sinks -> shaper, on an absolute schedule of the monotonic clock.

Tick k is due at start + k * step, whatever the ticks before it took: lateness does not add up. A tick that begins late
is counted; none is left out. When the process was held up for longer than a step, the ticks that are overdue run at
once, without telemetry (that is what there was), and what the source has kept meanwhile belongs to the last of them.
The controller is given the times of the schedule, so that the same telemetry gives the same decisions however the
machine was loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from linkcast.live.clock import NS, Clock
from linkcast.live.intake import Intake, Taken
from linkcast.live.rate import RateRule
from linkcast.live.record import Sink, Tick
from linkcast.live.session import Session
from linkcast.live.shaper import Applied


class Judge(Protocol):
    """Says how the loop is, for the record of each tick."""

    def __call__(self, decision: Any, now_ns: int) -> tuple[str, str | None]:
        """One of HEALTH, and why."""


@dataclass
class LoopCounts:
    """Since the start."""

    ticks: int = 0
    late: int = 0  # began later than `late_s` behind their time
    overdue: int = 0  # of those, ran when the next one was due already: without telemetry
    latest_ns: int = 0  # the most that one was late
    lost: int = 0  # ticks of the schedule that did not run
    sink_errors: int = 0


class Loop:
    """One link's loop. `run` is called by one thread; `stop` by any, and by signal handlers.

    Args:
        session: decides.
        intake: of the source.
        rule, applied: from allocations to rates, and what sets them.
        sinks: told of each tick.
        clock: of the schedule.
        step_s: between ticks.
        late_s: a tick that begins later than this is counted as late.
        judge: health for the record.
        between: called after each tick and whenever the wait is woken: where signals are looked at.
        wake_s: the wait is woken at least so often; None: only by signals.
    """

    def __init__(
        self,
        session: Session,
        intake: Intake,
        rule: RateRule,
        applied: Applied,
        sinks: Sequence[Sink],
        clock: Clock,
        step_s: float,
        late_s: float,
        judge: Judge,
        between: Callable[[], None] = lambda: None,
        wake_s: float | None = None,
    ) -> None:
        self.session = session
        self.intake = intake
        self.rule = rule
        self.applied = applied
        self.sinks = list(sinks)
        self.counts = LoopCounts()
        self.last: Tick | None = None
        self.sink_error: str | None = None
        self._clock = clock
        self._step_ns = round(step_s * NS)
        self._late_ns = round(late_s * NS)
        self._judge = judge
        self._between = between
        self._wake_ns = None if wake_s is None else round(wake_s * NS)
        self._stopped = False

    def stop(self) -> None:
        """Ends `run` before the next tick."""
        self._stopped = True

    def run(self, ticks: int | None = None) -> None:
        """Until `stop`, the source's end, or so many ticks."""
        start = self._clock.monotonic_ns()
        index = 0
        while not self._stopped and index != ticks and not self.intake.source.ended:
            due = start + index * self._step_ns
            until = due if self._wake_ns is None else min(due, self._clock.monotonic_ns() + self._wake_ns)
            if not self._clock.sleep_until(until) or until < due:
                self._between()
                continue
            self.tick(due)
            index += 1
            self._between()
            self.counts.lost = index - self.counts.ticks

    def tick(self, due_ns: int) -> Tick:
        """The tick that is due at that time of the schedule."""
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        overdue = now_ns - due_ns >= self._step_ns
        late = self._count(now_ns - due_ns, overdue)
        # A source is asked once for all ticks that are overdue: what it measures is of the whole time.
        taken = Taken(None, None) if overdue else self.intake.take(wall_ns / NS, now_ns / NS)
        sample = None
        if taken.telemetry is not None:
            sample = dict(zip(self.intake.features, taken.telemetry, strict=True))
        decision = self.session.decide(sample, time_ns=wall_ns, monotonic_ns=due_ns)
        blocked = self._apply(decision, sample, due_ns / NS)
        health, why = self._judge(decision, now_ns)
        tick = self.session.finish(
            applied_mbps=self.applied.applied_mbps, health=health, health_reason=why, blocked=blocked
        )
        if late and not tick.late:  # the decision came in time after a begin that did not
            tick = replace(tick, late=True)
        self.last = tick
        for sink in self.sinks:
            self._tell(sink, tick)
        return tick

    def _apply(self, decision: Any, sample: dict[str, float] | None, now_s: float) -> str | None:
        """Hands on the rate of this tick; what keeps it from what is wanted."""
        self.rule.changed(self.applied.rate_mbps, now_s)
        carried = None if sample is None else sample["bandwidth_mbps"]
        rate, blocked = self.rule.next(decision.allocation_mbps, carried, now_s, decision.congested)
        self.applied.want(rate)
        return self.applied.blocked or blocked

    def _count(self, behind_ns: int, overdue: bool) -> bool:
        """Whether a tick that begins so far behind its time is late."""
        late = behind_ns > self._late_ns
        self.counts.ticks += 1
        self.counts.late += late
        self.counts.overdue += overdue
        self.counts.latest_ns = max(self.counts.latest_ns, behind_ns)
        return late

    def _tell(self, sink: Sink, tick: Tick) -> None:
        try:
            sink.write(tick)
        except Exception as error:  # a sink should say it in its `trouble`; one that raises ends nothing either
            self.counts.sink_errors += 1
            self.sink_error = f"{type(sink).__name__}: {type(error).__name__}: {error}"
