"""One queueing discipline of ours at an interface's root: made, changed without a break and taken away, with `tc`.

Standard library alone, and nothing of linkcast: the guard (guard.py) runs this file's code when the daemon has been
killed.

What is ours is known by two marks together: the handle 4c43: ("LC"), and a state file that was written before the
discipline was made, on this boot, in this network namespace and for this very interface. Everything else is somebody
else's: it is never changed and never deleted. Only the kernel's own default (handle 0:) is replaced, and it comes back
by itself when ours is deleted: what was there before is there again.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HANDLE = "4c43:"
CLASS = "4c43:1"
LEAF = "4c44:"
SCHEMA = 1

_QUEUE_MS = 50.0  # what a full queue of a plain leaf takes to drain at the highest rate: less than people notice
_PACKET_BYTES = 1514
_BURST_S = 0.01  # HTB's burst, at the rate: enough for a timer of 100 Hz


class TcError(RuntimeError):
    """A command that failed, or could not be run; the text is one line."""


class NotOwnedError(TcError):
    """The interface has a queueing discipline that is not ours."""


@dataclass(frozen=True)
class Root:
    """The queueing discipline at an interface's root."""

    kind: str
    handle: str

    @property
    def is_default(self) -> bool:
        """The kernel made it by itself."""
        return self.handle == "0:"


@dataclass(frozen=True)
class State:
    """What is in the state file: what was made, where."""

    interface: str
    index: int  # of the interface
    kind: str
    boot: str
    namespace: int
    tc: str
    schema: int = SCHEMA


class Lock:
    """One process at a time has an interface. Held until `release`, or until the process ends in whatever way."""

    def __init__(self, path: Path, wait_s: float) -> None:
        """TcError: another process still has it after so many seconds."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() >= end:
                    os.close(self._fd)
                    raise TcError(f"{path}: another linkcast has this interface") from None
            time.sleep(0.05)

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def state_path(folder: Path, interface: str) -> Path:
    return folder / f"{interface}.json"


def lock_path(folder: Path, interface: str) -> Path:
    return folder / f"{interface}.lock"


def run(tc: str, *arguments: str, timeout_s: float = 5.0) -> str:
    """What tc prints. TcError: it can't be run, takes longer, or refuses."""
    command = [tc, *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise TcError(f"{' '.join(command)}: no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise TcError(f"{' '.join(command)}: {error.strerror}") from None
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split()) or f"status {done.returncode}"
        raise TcError(f"{' '.join(command)}: {said}")
    return done.stdout


def root_of(tc: str, interface: str, timeout_s: float = 5.0) -> Root:
    """From a line of `tc qdisc show`: "qdisc htb 4c43: root refcnt 2 ...". TcError: there is no such interface."""
    for line in run(tc, "qdisc", "show", "dev", interface, timeout_s=timeout_s).splitlines():
        words = line.split()
        if len(words) >= 4 and words[0] == "qdisc" and "root" in words[3:6]:
            return Root(words[1], words[2])
    return Root("none", "0:")


def index_of(interface: str) -> int:
    """TcError: there is no such interface."""
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise TcError(f"{interface}: {error.strerror}") from None


def this_state(interface: str, kind: str, tc: str) -> State:
    """What a discipline that is made now would be known by."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return State(interface, index_of(interface), kind, boot, os.stat("/proc/self/ns/net").st_ino, tc)


def read_state(path: Path) -> State | None:
    """None: there is none, or it can't be read."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return State(**content) if content.get("schema") == SCHEMA else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write_state(path: Path, state: State) -> None:
    """The whole of it or nothing, whatever happens meanwhile. TcError: it can't be written."""
    # As files.write_whole, which is not there for the guard: it runs this file without the package.
    part = path.with_suffix(".part")
    try:
        with open(part, "w", encoding="utf-8") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise TcError(f"{path}: {error.strerror}") from None


def is_ours(state: State | None, root: Root) -> bool:
    """Whether the root is what the state file speaks of."""
    if state is None or root.handle != HANDLE or root.kind != state.kind:
        return False
    with suppress(TcError):
        here = this_state(state.interface, state.kind, state.tc)
        return (state.index, state.boot, state.namespace) == (here.index, here.boot, here.namespace)
    return False


def delete(tc: str, interface: str, timeout_s: float = 5.0) -> None:
    """Deletes our discipline. The handle is in the command: the kernel refuses it for any other."""
    run(tc, "qdisc", "del", "dev", interface, "root", "handle", HANDLE, timeout_s=timeout_s)


def restore(path: Path, timeout_s: float = 5.0, tries: int = 5) -> str:
    """Puts back what was there before, as the state file says; its caller has the lock.

    Returns:
        What was done, or why nothing was.
    Raises:
        TcError: tc failed each time; the state file stays.
    """
    state = read_state(path)
    if state is None:
        path.unlink(missing_ok=True)
        return "nothing of linkcast's is there"
    for left in reversed(range(tries)):
        try:
            root = root_of(state.tc, state.interface, timeout_s)
            ours = is_ours(state, root)
            if ours:
                delete(state.tc, state.interface, timeout_s)
            path.unlink(missing_ok=True)
            return f"{state.interface}: restored" if ours else f"{state.interface}: has {root.kind}, not of linkcast"
        except TcError:
            if state.interface not in (name for _, name in socket.if_nameindex()):
                path.unlink(missing_ok=True)
                return f"{state.interface}: is gone"
            if not left:
                raise
            time.sleep(0.2)
    raise AssertionError


def kbit(mbps: float) -> str:
    """ "12500kbit": whole kbit/s, at least 8."""
    return f"{max(8, round(mbps * 1e3))}kbit"


def htb_rate(mbps: float) -> list[str]:
    """The rate of our class, with a burst that fits it."""
    burst = f"{max(2 * _PACKET_BYTES, round(mbps * 1e6 / 8 * _BURST_S))}b"
    return ["htb", "rate", kbit(mbps), "ceil", kbit(mbps), "burst", burst, "cburst", burst]


def leaf_packets(most_mbps: float) -> int:
    """How many packets a plain leaf holds."""
    return max(20, round(most_mbps * 1e6 / 8 * _QUEUE_MS * 1e-3 / _PACKET_BYTES))
