"""What the kernel of Linux tells over netlink: an interface's counters and addresses, and TCP_INFO of live sockets.

Constants and structs are those of linux/netlink.h, rtnetlink.h, if_link.h, inet_diag.h and tcp.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFLA_IFNAME, IFLA_STATS64 = 3, 23
IFA_ADDRESS, IFA_LOCAL = 1, 2
INET_DIAG_INFO = 2
TCP_ESTABLISHED = 1

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_STATS64 = struct.Struct("=8Q")  # packets, bytes, errors, dropped; each received, then sent
_DIAG_REQUEST = struct.Struct("=BBBxI48x")  # family, protocol, extensions, states, socket
_DIAG = struct.Struct("=4B2s2s16s16sI8s5I")  # state, ports, addresses, interface, cookie, ...
_ANSWER_BYTES = 1 << 16
_TIMEOUT_S = 1.0  # the kernel answers at once, or not at all


@dataclass(frozen=True)
class Counters:
    """Of an interface since it came up."""

    index: int  # of the interface: another one is another interface of the same name
    received_packets: int
    sent_packets: int
    received_bytes: int
    sent_bytes: int
    received_errors: int
    sent_errors: int
    received_dropped: int
    sent_dropped: int


@dataclass(frozen=True)
class Connection:
    """TCP_INFO of an established connection, as much as is needed here."""

    cookie: bytes  # the kernel's name for the socket: never used twice
    local: str  # address
    rtt_ms: float  # smoothed
    segments: int  # sent so far
    retransmitted: int  # of those
    acknowledged: int  # bytes


class Netlink:
    """A socket of one netlink family, of the network namespace that it was opened in."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.bind((0, 0))
        self._socket.settimeout(_TIMEOUT_S)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Sends a request and gives the answer's messages: type and payload.

        Raises:
            OSError: the kernel refuses it.
        """
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, kind, NLM_F_REQUEST | flags, self._sequence, 0) + body)
        while True:
            data = self._socket.recv(_ANSWER_BYTES)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
                payload = data[at + _HEADER.size : at + length]
                at += (max(length, _HEADER.size) + 3) & ~3
                if sequence != self._sequence:  # the rest of an answer that was not read to its end
                    continue
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return
                yield kind, payload
                if not flags & NLM_F_DUMP:
                    return


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


class Interfaces:
    """Counters and addresses of interfaces (NETLINK_ROUTE)."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_ROUTE)

    def close(self) -> None:
        self._netlink.close()

    def counters(self, name: str) -> Counters:
        """OSError (ENODEV): there is no such interface."""
        text = name.encode() + b"\0"
        wanted = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), IFLA_IFNAME) + text
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + wanted + b"\0" * (-len(wanted) % 4)
        for kind, payload in self._netlink.ask(RTM_GETLINK, 0, body):
            if kind != RTM_NEWLINK:
                continue
            index = _LINK.unpack_from(payload)[2]
            for attribute, value in attributes(payload[_LINK.size :]):
                if attribute == IFLA_STATS64:
                    return Counters(index, *_STATS64.unpack_from(value))
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)

    def addresses(self, index: int) -> set[str]:
        """Of an interface by its index, IPv4 and IPv6."""
        found = set()
        for kind, payload in self._netlink.ask(RTM_GETADDR, NLM_F_DUMP, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            if kind != RTM_NEWADDR:
                continue
            family, _, _, _, of = _ADDRESS.unpack_from(payload)
            if of != index or family not in (socket.AF_INET, socket.AF_INET6):
                continue
            values = dict(attributes(payload[_ADDRESS.size :]))
            address = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
            if address is not None:
                found.add(socket.inet_ntop(family, address))
        return found


class Connections:
    """The established TCP connections of this network namespace (NETLINK_SOCK_DIAG, as ss asks)."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_SOCK_DIAG)

    def close(self) -> None:
        self._netlink.close()

    def all(self) -> Iterator[Connection]:
        """OSError: the kernel has no socket diagnostics (CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG)."""
        for family in (socket.AF_INET, socket.AF_INET6):
            extensions, states = 1 << (INET_DIAG_INFO - 1), 1 << TCP_ESTABLISHED
            body = _DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, extensions, states)
            for _, payload in self._netlink.ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body):
                found = _connection(payload)
                if found is not None:
                    yield found


def _connection(payload: bytes) -> Connection | None:
    """None: this kernel does not say enough of it."""
    if len(payload) < _DIAG.size:
        return None
    family, _, _, _, _, _, source, _, _, cookie, *_ = _DIAG.unpack_from(payload)
    for kind, info in attributes(payload[_DIAG.size :]):
        if kind == INET_DIAG_INFO and len(info) >= 140:  # up to tcpi_segs_out (Linux 4.2)
            rtt_us, retransmitted = struct.unpack_from("=I", info, 68)[0], struct.unpack_from("=I", info, 100)[0]
            acknowledged, segments = struct.unpack_from("=Q", info, 120)[0], struct.unpack_from("=I", info, 136)[0]
            return Connection(cookie, _address(family, source), rtt_us / 1e3, segments, retransmitted, acknowledged)
    return None


def _address(family: int, raw: bytes) -> str:
    """An IPv4 connection of an IPv6 socket has its IPv4 address."""
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[:4])
    mapped = raw[:12] == b"\0" * 10 + b"\xff\xff"
    return socket.inet_ntop(socket.AF_INET, raw[12:]) if mapped else socket.inet_ntop(family, raw)
