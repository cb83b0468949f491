"""An interface of Linux: its counters, with round-trip time and loss from live TCP connections or from echo replies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from linkcast.live.sources.netlink import Connection, Connections, Counters, Interfaces
from linkcast.live.sources.ping import Pings
from linkcast.live.sources.sample import Sample

DIRECTIONS = ("sent", "received")
LATENCIES = ("auto", "tcp", "ping", "none")

ADDRESSES_EVERY = 30  # polls


class InterfaceSource:
    """A sample at each poll from the second on: what the interface carried since the last one.

    Round-trip time: the median of the smoothed ones (tcpi_rtt) over the TCP connections of this interface's addresses
    on which data was acknowledged since the last poll; an idle connection's is old. Loss: the share of segments that
    they sent again. Where no connection says it (on a router, say), echo replies of the targets do. Reliability: the
    share of packets without an error or a drop of the interface.

    Args:
        interface: its name; it may come and go.
        direction: "sent" or "received": whose bytes are the bandwidth.
        latency: "tcp", "ping", "none", or "auto": TCP, and the targets where there are such and TCP has nothing to say.
        targets: what is pinged.
    Raises:
        ValueError: an unknown direction or latency, or "ping" without targets.
        OSError: netlink or echo requests are not permitted.
    """

    def __init__(
        self,
        interface: str,
        direction: str = "sent",
        latency: str = "auto",
        targets: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value, known in (("direction", direction, DIRECTIONS), ("latency", latency, LATENCIES)):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        if latency == "ping" and not targets:
            raise ValueError("targets: expected one reflector or more for latency 'ping', got none")
        self._interface = interface
        self._sent = direction == "sent"
        self._clock = clock
        self._interfaces = Interfaces()
        self._connections = Connections() if latency in ("auto", "tcp") else None
        self._pings: Pings | None = None
        if targets and latency in ("auto", "ping"):
            try:
                self._pings = Pings(targets)
            except (OSError, ValueError):
                self.close()
                raise
        self._addresses: set[str] = set()
        self._polls = 0
        self._counters: Counters | None = None
        self._at_s = 0.0
        self._known: dict[bytes, Connection] = {}
        self._troubles: dict[str, str] = {}  # by what has it

    @property
    def name(self) -> str:
        return self._interface

    @property
    def trouble(self) -> str | None:
        pings = self._pings.trouble if self._pings is not None else None
        return next(iter(self._troubles.values()), pings)

    @property
    def ended(self) -> bool:
        return False

    def poll(self) -> Iterator[Sample]:
        values: dict[str, float] = {}
        self._count(values)
        if self._connections is not None:
            self._watch_connections(self._connections, values)
        if self._pings is not None:
            rtt_ms, loss = self._pings.poll()
            for feature, value in (("latency_ms", rtt_ms), ("packet_loss", loss)):
                if value is not None:
                    values.setdefault(feature, value)
        if "bandwidth_mbps" in values:
            yield Sample(values)

    def close(self) -> None:
        self._interfaces.close()
        if self._connections is not None:
            self._connections.close()
        if self._pings is not None:
            self._pings.close()

    def _count(self, values: dict[str, float]) -> None:
        """Bandwidth and reliability since the last poll."""
        try:
            counters = self._interfaces.counters(self._interface)
            now_s = self._clock()
            if self._counters is None or self._polls % ADDRESSES_EVERY == 0:
                self._addresses = self._interfaces.addresses(counters.index)
            self._troubles.pop("counters", None)
        except OSError as error:
            self._troubles["counters"] = f"{self._interface}: {error.strerror or error}"
            self._counters = None
            return
        self._polls += 1
        before, seconds = self._counters, now_s - self._at_s
        self._counters, self._at_s = counters, now_s
        if before is None or before.index != counters.index or seconds <= 0.0:
            return
        rises = _rises(before, counters, self._sent)
        if rises is None:  # the driver was reset
            return
        sent_bytes, packets, failed = rises
        values["bandwidth_mbps"] = sent_bytes * 8e-6 / seconds
        tried = packets + failed
        values["reliability"] = 1.0 - failed / tried if tried else 1.0

    def _watch_connections(self, connections: Connections, values: dict[str, float]) -> None:
        """Round-trip time and loss of the connections that were busy since the last poll."""
        try:
            now = {one.cookie: one for one in connections.all() if one.local in self._addresses}
            self._troubles.pop("tcp", None)
        except OSError as error:
            self._troubles["tcp"] = f"TCP_INFO: {error.strerror or error}"
            self._known = {}
            return
        rtts_ms, segments, again = [], 0, 0
        for cookie, one in now.items():
            before = self._known.get(cookie)
            if one.acknowledged <= (before.acknowledged if before is not None else 1):  # 1: the handshake
                continue
            if one.rtt_ms > 0.0:
                rtts_ms.append(one.rtt_ms)
            if before is not None:  # its first segments may be older than the last poll
                segments += one.segments - before.segments
                again += one.retransmitted - before.retransmitted
        self._known = now
        if rtts_ms:
            values["latency_ms"] = median(rtts_ms)
            if segments > 0:
                values["packet_loss"] = min(max(again / segments, 0.0), 1.0)


def _rises(before: Counters, now: Counters, sent: bool) -> tuple[int, int, int] | None:
    """Bytes, packets and failed packets since; None where a counter has fallen."""

    def counts(of: Counters) -> tuple[int, int, int]:
        if sent:
            return of.sent_bytes, of.sent_packets, of.sent_errors + of.sent_dropped
        return of.received_bytes, of.received_packets, of.received_errors + of.received_dropped

    rises = tuple(new - old for new, old in zip(counts(now), counts(before), strict=True))
    return None if min(rises) < 0 else (rises[0], rises[1], rises[2])
