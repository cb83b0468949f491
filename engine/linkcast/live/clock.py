"""The clock of a live loop: monotonic for its ticks, the wall's for what people read; another one in tests."""

from __future__ import annotations

import select
import time
from typing import Protocol

NS = 1_000_000_000  # of a second


class Clock(Protocol):
    """Nanoseconds of both clocks, and a wait that can be cut short."""

    def monotonic_ns(self) -> int:
        """Of a clock that does not go back."""

    def wall_ns(self) -> int:
        """Since 1970."""

    def sleep_until(self, due_ns: int) -> bool:
        """Waits for a time of the monotonic clock. False: it was woken before."""


class SystemClock:
    """Linux's.

    Args:
        wake: a file descriptor that becomes readable when the wait should end: where signals are written to
            (signal.set_wakeup_fd). None: nothing wakes it.
    """

    def __init__(self, wake: int | None = None) -> None:
        self._wake = [wake] if wake is not None else []

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    def sleep_until(self, due_ns: int) -> bool:
        # CLOCK_MONOTONIC, and the time that is left is counted anew after each wake: the schedule does not drift.
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            if select.select(self._wake, [], [], left_ns / 1e9)[0]:
                return False
        return True
