"""Timed samples to one row of telemetry a tick: which of them count, and what stands in for what was not measured.

The clock's rules are those of files (docs/time.md), as far as they can hold without knowing what comes next:

- a sample of the same time as the last one is a duplicate, and left out;
- one that is older than the last one goes backward, and is left out; but three in a row that follow each other are a
  clock that was set back, and count from there on;
- one that comes late, by more than three steps beyond what is usual of its source, is left out: its tick has passed.
  How far a source's clock is from ours does not matter: the quickest of the newest samples tells what is usual;
- several of one tick count as their mean;
- a tick without one has no telemetry: the stream holds the last sample, and after `most_held` ticks begins anew.

A feature that a sample lacks is held for three ticks. Then its own median over the newest ticks stands in (for the
latency), or what a link without trouble has; and from the start, what a file without that column would get (NEUTRAL).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from linkcast.features import NEUTRAL
from linkcast.live.sources.sample import Sample, Source
from linkcast.traces.gaps import LATE_STEPS, MOST_HELD

NEWEST = 60  # samples that tell how long this source's usually take
SET_BACK = 3  # samples in a row that go backward, of a clock that was set back
USUAL = 600  # ticks whose median latency stands in


@dataclass
class IntakeCounts:
    """Since the start."""

    samples: int = 0  # that came
    taken: int = 0
    duplicate: int = 0
    backward: int = 0
    late: int = 0
    set_back: int = 0  # times that the source's clock was
    empty: int = 0  # ticks without a sample
    stood_in: int = 0  # ticks in which something stood in for a feature


@dataclass(frozen=True)
class Taken:
    """What a tick has of its source."""

    sample: Mapping[str, float | None] | None  # what was measured, by feature; None: nothing
    telemetry: tuple[float, ...] | None  # with what stands in, in the features' order


@dataclass
class Intake:
    """Of one source.

    Args:
        source: is polled once a tick.
        features: that the controller reads, in its order.
        step_s: seconds between ticks.
        late_s: how late a sample may come, beyond what is usual; None: three steps.
    """

    source: Source
    features: Sequence[str]
    step_s: float
    late_s: float | None = None
    counts: IntakeCounts = field(default_factory=IntakeCounts)
    _error: str | None = None  # of the last poll
    _last_s: float | None = None  # of the newest sample that was taken, by the source's clock
    _delays_s: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=NEWEST))  # by each of our clocks
    _backward: list[Sample] = field(default_factory=list)
    _held: dict[str, tuple[float, int]] = field(default_factory=dict)  # value, ticks since it was measured
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=USUAL))

    def take(self, wall_s: float, monotonic_s: float) -> Taken:
        """The samples that have come by now, as one."""
        timely = [sample for sample in self._polled() if self._counts(sample, wall_s, monotonic_s)]
        self.counts.taken += len(timely)
        values: dict[str, float] = {}
        for name in self.features:
            known = [sample.values[name] for sample in timely if name in sample.values]
            if known:
                values[name] = fmean(known)
        if "bandwidth_mbps" not in values:
            self.counts.empty += 1
            self._grow_old()
            return Taken({name: values.get(name) for name in self.features} if values else None, None)
        whole = {name: values.get(name) if name in values else self._stand_in(name) for name in self.features}
        self.counts.stood_in += len(whole) > len(values)
        self._grow_old()
        for name, value in values.items():
            self._held[name] = (value, 0)
        if "latency_ms" in values:
            self._latencies.append(values["latency_ms"])
        sample = {name: values.get(name) for name in self.features}
        return Taken(sample, tuple(value for value in whole.values() if value is not None))

    def _polled(self) -> list[Sample]:
        """What the source gives; one that raises does not end the loop."""
        samples: list[Sample] = []
        try:
            samples.extend(self.source.poll())
            self._error = None
        except Exception as error:
            self._error = f"{self.source.name}: {type(error).__name__}: {error}"
        return samples

    @property
    def trouble(self) -> str | None:
        """What the source says, or what it raised."""
        return self._error or self.source.trouble

    def _grow_old(self) -> None:
        self._held = {name: (value, ticks + 1) for name, (value, ticks) in self._held.items()}

    def _stand_in(self, name: str) -> float:
        held = self._held.get(name)
        if held is not None and held[1] < MOST_HELD:
            return held[0]
        if name == "latency_ms" and self._latencies:
            return median(self._latencies)
        return NEUTRAL[name]

    def _counts(self, sample: Sample, wall_s: float, monotonic_s: float) -> bool:
        """Whether a sample belongs to this tick."""
        self.counts.samples += 1
        if sample.at_s is None:
            return True
        if self._last_s is not None and sample.at_s == self._last_s:
            self.counts.duplicate += 1
            return False
        if self._last_s is not None and sample.at_s < self._last_s and not self._was_set_back(sample):
            self.counts.backward += 1
            return False
        self._backward.clear()
        delays = wall_s - sample.at_s, monotonic_s - sample.at_s
        self._delays_s.append(delays)
        self._last_s = sample.at_s
        # Late by both clocks: when the wall's is set, the other one goes on, and the source may follow either.
        usual = (min(delay[clock] for delay in self._delays_s) for clock in (0, 1))
        allowed = LATE_STEPS * self.step_s if self.late_s is None else self.late_s
        if min(delay - least for delay, least in zip(delays, usual, strict=True)) > allowed:
            self.counts.late += 1
            return False
        return True

    def _was_set_back(self, sample: Sample) -> bool:
        """Whether the samples that go backward follow each other by now: then all is learnt anew."""
        assert sample.at_s is not None
        newest = self._backward[-1].at_s if self._backward else None
        if newest is not None and sample.at_s <= newest:
            self._backward.clear()
        self._backward.append(sample)
        if len(self._backward) < SET_BACK:
            return False
        self.counts.set_back += 1
        self._delays_s.clear()
        return True
