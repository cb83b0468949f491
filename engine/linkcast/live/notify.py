"""Tells systemd how a service is, over the socket that it names (sd_notify(3)); does nothing where there is none."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends datagrams to NOTIFY_SOCKET."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if path else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self._status = ""
        self.watchdog_s = _watchdog_s(environment)

    def ready(self) -> None:
        self.send("READY=1")

    def reloading(self, monotonic_us: int) -> None:
        self.send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_us}")

    def stopping(self) -> None:
        self.send("STOPPING=1")

    def alive(self) -> None:
        """Feeds the watchdog, where there is one."""
        if self.watchdog_s is not None:
            self.send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; the same one is not sent again."""
        if text != self._status:
            self._status = text
            self.send(f"STATUS={' '.join(text.split())}")

    def send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:  # a manager that does not listen is no reason to stop
            return

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Half of the time within which a sign of life is expected; None: no watchdog, or not ours."""
    text, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not text.isdigit() or (owner and owner != str(os.getpid())):
        return None
    return int(text) / 2e6
