"""What a source of telemetry gives: timed samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from linkcast.features import TELEMETRY


@dataclass(frozen=True)
class Sample:
    """One measurement of a link."""

    values: Mapping[str, float]
    """By feature (latency_ms, bandwidth_mbps, ...), in its unit; what was not measured is not there."""
    at_s: float | None = None
    """When it was measured, in seconds of the source's own clock; None: when it came."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.values if name not in TELEMETRY]
        if unknown:
            raise ValueError(f"sample: expected features among {', '.join(TELEMETRY)}, got {', '.join(unknown)}")


class Source(Protocol):
    """Where telemetry comes from. A loop polls it once a tick."""

    @property
    def name(self) -> str:
        """What people call it: "eth0", "probes.csv"."""

    @property
    def trouble(self) -> str | None:
        """What keeps it from measuring all that it should, at present; None: nothing."""

    @property
    def ended(self) -> bool:
        """No sample will come any more: the end of standard input."""

    def poll(self) -> Iterator[Sample]:
        """The samples that have come since the last poll, in the order in which they came. Never waits for one."""

    def close(self) -> None:
        """Gives back what it holds."""
