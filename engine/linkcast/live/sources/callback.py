"""Samples that a program hands in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from linkcast.live.sources.sample import Sample

Measure = Callable[[], Mapping[str, float] | Sample | None]

MOST_WAITING = 4096  # samples; the oldest are dropped, and counted


class CallbackSource:
    """Calls a function once a tick, or takes what another thread puts in.

    Args:
        measure: gives the values of now by feature, a Sample, or None when there is none. None: samples come by `put`.
        name: what people call it.
    """

    def __init__(self, measure: Measure | None = None, name: str = "callback") -> None:
        self._measure = measure
        self._name = name
        self._waiting: deque[Sample] = deque()  # append and popleft are atomic: put may be called by any thread
        self._ended = False
        self._dropped = 0
        self._trouble: str | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def trouble(self) -> str | None:
        if self._trouble is None and self._dropped:
            return f"{self._name}: {self._dropped} samples came faster than they were taken, and were dropped"
        return self._trouble

    @property
    def ended(self) -> bool:
        return self._ended and not self._waiting

    def put(self, values: Mapping[str, float], at_s: float | None = None) -> None:
        """A sample, from any thread. ValueError: an unknown feature."""
        self._waiting.append(Sample(values, at_s))
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1

    def end(self) -> None:
        """No more will be put in."""
        self._ended = True

    def poll(self) -> Iterator[Sample]:
        if self._measure is not None:
            sample = self._call(self._measure)
            if sample is not None:
                yield sample
        while self._waiting:
            yield self._waiting.popleft()

    def close(self) -> None:
        self._ended = True
        self._waiting.clear()

    def _call(self, measure: Measure) -> Sample | None:
        try:
            measured = measure()
            self._trouble = None
            return measured if measured is None or isinstance(measured, Sample) else Sample(measured)
        except Exception as error:  # a source never ends the loop: what it can't measure is a missing sample
            self._trouble = f"{self._name}: {type(error).__name__}: {error}"
            return None
