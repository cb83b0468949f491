"""Round-trip times and loss from echo replies of one target or a list of reflectors, without waiting for any.

Requests go out at a poll and replies are collected at the next one; the kernel stamps when a reply came
(SO_TIMESTAMPNS), so that the round trip is exact however late it is read.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

SO_TIMESTAMPNS = 35  # asm-generic/socket.h
_STAMP = struct.Struct("@ll")  # seconds, nanoseconds
_ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
_SENT = struct.Struct("!Q")  # nanoseconds since 1970, of the request
REQUEST: dict[int, int] = {socket.AF_INET: 8, socket.AF_INET6: 128}
REPLY: dict[int, int] = {socket.AF_INET: 0, socket.AF_INET6: 129}

LOST_AFTER_S = 2.0  # a reply that takes longer is counted as lost
LOSS_OVER = 60  # requests to each target, that the loss is a share of
SILENT_AFTER = 5  # requests in a row without a reply: a reflector that does not count any more until it answers again


@dataclass
class Target:
    """One reflector, and what it has answered."""

    name: str
    family: int
    address: str
    waiting: dict[int, int] = field(default_factory=dict)  # sequence -> when it was sent, ns
    answered: deque[bool] = field(default_factory=lambda: deque(maxlen=LOSS_OVER))
    newest_ms: float | None = None  # of the replies that came since the last poll

    @property
    def silent(self) -> bool:
        """Has not answered for so long that it says nothing about the link."""
        newest = list(self.answered)[-SILENT_AFTER:]
        return len(newest) == SILENT_AFTER and not any(newest)


class Pings:
    """Echo requests to each target at each poll.

    Args:
        targets: names or addresses, IPv4 or IPv6. Names are looked up once, here.
    Raises:
        ValueError: no target, or one that is not known.
        PermissionError: the system permits neither kind of socket; the text says what would.
    """

    def __init__(self, targets: Iterable[str]) -> None:
        self._targets = [_resolved(name) for name in targets]
        if not self._targets:
            raise ValueError("targets: expected one reflector or more, got none")
        self._sockets: dict[int, tuple[socket.socket, bool]] = {}
        try:
            for family in sorted({target.family for target in self._targets}):
                self._sockets[family] = _open(family)
        except OSError:
            self.close()
            raise
        self._identifier = os.getpid() & 0xFFFF
        self._sequence = 0
        self._stamped_from_ns = 0  # requests before this may have replies that the kernel did not stamp yet
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Requests that can't be sent, or no target that answers."""
        if self._trouble is None and all(target.silent for target in self._targets):
            return f"no reply from {', '.join(target.name for target in self._targets)}"
        return self._trouble

    def poll(self) -> tuple[float | None, float | None]:
        """The median over the targets of their newest round trip, ms, and the share of requests lost; None: not known.

        Both are over targets that answer at times: one that never does says nothing about the link.
        """
        for family, (sock, raw) in self._sockets.items():
            self._receive(family, sock, raw)
        self._give_up()
        heard = [target for target in self._targets if not target.silent]
        rtts = [target.newest_ms for target in heard if target.newest_ms is not None]
        answers = [answer for target in heard for answer in target.answered]
        for target in self._targets:
            target.newest_ms = None
        self._send()
        if not self._stamped_from_ns:  # the kernel turns its stamps on some time after it was asked to
            self._stamped_from_ns = time.time_ns()
        return (median(rtts) if rtts else None), (1.0 - sum(answers) / len(answers) if answers else None)

    def close(self) -> None:
        for sock, _ in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _send(self) -> None:
        self._trouble = None
        for target in self._targets:
            self._sequence = (self._sequence + 1) & 0xFFFF
            sock, _ = self._sockets[target.family]
            now = time.time_ns()
            body = _SENT.pack(now) + bytes(40)
            head = _ECHO.pack(REQUEST[target.family], 0, 0, self._identifier, self._sequence)
            if target.family == socket.AF_INET:  # the kernel fills in the checksum of ICMPv6
                head = _ECHO.pack(REQUEST[target.family], 0, checksum(head + body), self._identifier, self._sequence)
            try:
                sock.sendto(head + body, (target.address, 0))
                target.waiting[self._sequence] = now
            except OSError as error:
                self._trouble = f"ping {target.name}: {error.strerror or error}"
                target.answered.append(False)

    def _receive(self, family: int, sock: socket.socket, raw: bool) -> None:
        by_sequence = {seq: target for target in self._targets if target.family == family for seq in target.waiting}
        while True:
            try:
                data, ancillary, _, sender = sock.recvmsg(2048, 256)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for an earlier request: that one goes unanswered
                continue
            if raw and family == socket.AF_INET:  # a raw IPv4 socket gives the IP header, too
                data = data[(data[0] & 0x0F) * 4 :]
            if len(data) < _ECHO.size + _SENT.size:
                continue
            kind, _, _, identifier, sequence = _ECHO.unpack_from(data)
            target = by_sequence.get(sequence)
            if kind != REPLY[family] or target is None or sequence not in target.waiting:
                continue
            # The kernel gives a datagram socket an identifier of its own, and only what is for it.
            if (raw and identifier != self._identifier) or sender[0] != target.address:
                continue
            sent = target.waiting.pop(sequence)
            if _SENT.unpack_from(data, _ECHO.size)[0] != sent:
                continue
            target.answered.append(True)
            came = _stamp(ancillary)
            if came is None or sent < self._stamped_from_ns:
                continue
            rtt_ms = (came - sent) / 1e6
            if 0.0 <= rtt_ms <= LOST_AFTER_S * 1e3:  # else the wall clock was set in between
                target.newest_ms = rtt_ms

    def _give_up(self) -> None:
        """Requests that have waited too long are lost."""
        oldest = time.time_ns() - int(LOST_AFTER_S * 1e9)
        for target in self._targets:
            for sequence in [sequence for sequence, sent in target.waiting.items() if sent < oldest]:
                del target.waiting[sequence]
                target.answered.append(False)


def checksum(data: bytes) -> int:
    """Of the Internet (RFC 1071)."""
    even = data + bytes(len(data) % 2)
    total = sum(int(word) for (word,) in struct.iter_unpack("!H", even))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _resolved(name: str) -> Target:
    try:
        family, _, _, _, address = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:
        raise ValueError(f"targets: expected names that are known, got {name!r}: {error}") from None
    return Target(name, int(family), str(address[0]))


def _open(family: int) -> tuple[socket.socket, bool]:
    """A socket that doesn't block, and whether it is a raw one."""
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            sock = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        except PermissionError:
            continue
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return sock, kind == socket.SOCK_RAW
    raise PermissionError(
        "ping: expected to be permitted to send echo requests: a group within net.ipv4.ping_group_range, or CAP_NET_RAW"
    )


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """When the kernel says that a message came, ns since 1970."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack_from(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None
