"""Sets an interface's rate with CAKE or HTB: changes without a break, failures tried again, all restored."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from linkcast.live import tc
from linkcast.live.tc import NotOwnedError, TcError

RETRY_S, RETRY_MOST_S = 1.0, 60.0  # after a failure, doubled each time
LOCK_WAIT_S = 10.0  # for a guard that is restoring
CLOSE_WAIT_S = 15.0  # for a tc that takes its time, when all ends

CAKE_CLEARS_TINS = ((7, 0), (7, 2))
"""Kernels from the first and before the second version clear the tins that CAKE does not use whenever its rates are set
anew, in the dequeue path too, which overwrites the tin that it is working on (torvalds/linux a3729e0df005, mended in
7.2; openwrt/openwrt pull request 25182 measured 470 ms of latency under load in place of 4 ms)."""


@dataclass(frozen=True)
class ShaperOptions:
    """What is made at which interface."""

    interface: str
    kind: str = "htb"  # or "cake"
    leaf: str = "auto"  # of HTB: "fq_codel", "pfifo"; "auto": fq_codel where the kernel has it
    most_mbps: float = 1000.0  # the highest rate that will be set: a plain leaf is sized by it
    tc: str = "tc"
    timeout_s: float = 5.0
    state_dir: Path = Path("/run/linkcast")
    guarded: bool = True  # a process of its own restores when this one is killed


class Applied(Protocol):
    """What a loop hands its rates to."""

    @property
    def applied_mbps(self) -> float | None:
        """What the interface is set to by now; None: nothing."""

    @property
    def rate_mbps(self) -> float | None:
        """What the interface is, or in a dry run would be, set to by now."""

    @property
    def trouble(self) -> str | None:
        """What failed last, until it succeeds."""

    @property
    def blocked(self) -> str | None:
        """ "apply_failed" or "not_owned" while there is trouble."""

    def want(self, mbps: float) -> None:
        """Sets the rate soon; the newest one counts. Never waits, never raises."""

    def close(self) -> str | None:
        """Puts back what was there before; what went wrong with that."""


class DryShaper:
    """Sets nothing."""

    def __init__(self) -> None:
        self.rate_mbps: float | None = None
        self.applied_mbps: float | None = None
        self.trouble: str | None = None
        self.blocked: str | None = None

    def want(self, mbps: float) -> None:
        self.rate_mbps = mbps

    def close(self) -> str | None:
        return None


class Discipline:
    """Our queueing discipline at one interface. Every method may raise TcError; used by one thread at a time."""

    def __init__(self, options: ShaperOptions) -> None:
        self._options = options
        self._path = tc.state_path(options.state_dir, options.interface)
        self._lock_path = tc.lock_path(options.state_dir, options.interface)
        self._lock: tc.Lock | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self.made = False  # it is there, with a rate of ours
        self.resumed = False  # it was there already, from a linkcast that was killed

    def set_rate(self, mbps: float) -> None:
        """Makes it at the first call, changes it afterwards. What was replaced by somebody else is left alone."""
        self._own()
        if not self.made:
            self._make(mbps)
            return
        try:
            self._change(mbps)
        except TcError:
            self._find_out(mbps)

    def restore(self) -> None:
        """Puts back what was there before, if it is still ours."""
        if self._lock is None:
            return
        tc.restore(self._path, self._options.timeout_s)
        self.made = False
        if self._guard is not None and self._guard.stdin is not None:
            with suppress(OSError):
                self._guard.stdin.write(b"done")
                self._guard.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(5.0)
            self._guard = None
        self._lock.release()
        self._lock = None

    def _own(self) -> None:
        """The lock, and the guard: before anything is changed."""
        if self._lock is None:
            try:
                self._options.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
                self._lock = tc.Lock(self._lock_path, LOCK_WAIT_S)
            except OSError as error:
                raise TcError(f"{self._options.state_dir}: {error.strerror}") from None
        if self._options.guarded and (self._guard is None or self._guard.poll() is not None):
            command = [
                sys.executable,
                "-IS",
                str(Path(tc.__file__).with_name("guard.py")),
                str(self._path),
                str(self._lock_path),
            ]
            try:
                self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
            except OSError as error:
                raise TcError(f"guard: {error.strerror}") from None

    def _run(self, *arguments: str) -> None:
        tc.run(self._options.tc, *arguments, timeout_s=self._options.timeout_s)

    def _make(self, mbps: float) -> None:
        options = self._options
        root = tc.root_of(options.tc, options.interface, options.timeout_s)
        state = tc.read_state(self._path)
        if tc.is_ours(state, root):
            if root.kind == options.kind and self._adopt(mbps):
                return
            tc.delete(options.tc, options.interface, options.timeout_s)
        elif not root.is_default:
            raise NotOwnedError(
                f"{options.interface}: its root is {root.kind} {root.handle}, which linkcast did not make and leaves "
                f"alone; expected the kernel's default. To hand it over: tc qdisc del dev {options.interface} root"
            )
        tc.write_state(self._path, tc.this_state(options.interface, options.kind, options.tc))
        device = ("dev", options.interface)
        rate = ("cake", "bandwidth", tc.kbit(mbps)) if options.kind == "cake" else ("htb", "default", "1")
        self._run("qdisc", "add", *device, "root", "handle", tc.HANDLE, *rate)
        if options.kind == "htb":
            try:
                self._run("class", "add", *device, "parent", tc.HANDLE, "classid", tc.CLASS, *tc.htb_rate(mbps))
                self._add_leaf()
            except TcError:  # half of it is worse than nothing: traffic would go by unshaped, or be dropped
                with suppress(TcError):
                    tc.delete(options.tc, options.interface, options.timeout_s)
                raise
        self.made = True

    def _adopt(self, mbps: float) -> bool:
        """Goes on with what a killed linkcast has left; False: it is not whole."""
        try:
            self._change(mbps)
        except TcError:
            return False
        self.made = self.resumed = True
        return True

    def _add_leaf(self) -> None:
        at = ("dev", self._options.interface, "parent", tc.CLASS, "handle", tc.LEAF)
        if self._options.leaf in ("auto", "fq_codel"):
            try:
                self._run("qdisc", "add", *at, "fq_codel")
                return
            except TcError:
                if self._options.leaf == "fq_codel":
                    raise
        self._run("qdisc", "add", *at, "pfifo", "limit", str(tc.leaf_packets(self._options.most_mbps)))

    def _change(self, mbps: float) -> None:
        """In place: no packet is lost, no queue is built anew."""
        device = ("dev", self._options.interface)
        if self._options.kind == "cake":
            self._run("qdisc", "change", *device, "root", "handle", tc.HANDLE, "cake", "bandwidth", tc.kbit(mbps))
        else:
            self._run("class", "change", *device, "parent", tc.HANDLE, "classid", tc.CLASS, *tc.htb_rate(mbps))

    def _find_out(self, mbps: float) -> None:
        """A change has failed: made anew where ours is gone or damaged, left alone where it is somebody else's."""
        root = tc.root_of(self._options.tc, self._options.interface, self._options.timeout_s)
        if tc.is_ours(tc.read_state(self._path), root):
            with suppress(TcError):  # once more: what failed may have been of a moment
                self._change(mbps)
                return
        self.made = False
        self._make(mbps)


class Shaper:
    """Runs a Discipline in a thread of its own: however long tc takes, the loop's ticks come in time."""

    def __init__(self, options: ShaperOptions) -> None:
        self._discipline = Discipline(options)
        self._condition = threading.Condition()
        self._wanted: float | None = None
        self._closing = False
        self.applied_mbps: float | None = None
        self.trouble: str | None = None
        self.blocked: str | None = None
        self.failures = 0
        self._thread = threading.Thread(target=self._work, name="linkcast-shaper", daemon=True)
        self._thread.start()

    @property
    def rate_mbps(self) -> float | None:
        return self.applied_mbps

    def want(self, mbps: float) -> None:
        with self._condition:
            self._wanted = mbps
            self._condition.notify()

    def close(self) -> str | None:
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(CLOSE_WAIT_S)
        if self._thread.is_alive():
            return f"not restored within {CLOSE_WAIT_S:g} s: the guard will, once this process has ended"
        return self.trouble

    def _work(self) -> None:
        retry_s, retry_at = RETRY_S, 0.0  # of the monotonic clock
        while True:
            with self._condition:
                while not self._closing and (wait_s := self._wait_s(retry_at)) != 0.0:
                    self._condition.wait(wait_s)
                mbps, closing = self._wanted, self._closing
            if closing or mbps is None:
                self._finish()
                return
            if self._try(mbps):
                retry_s, retry_at = RETRY_S, 0.0
            else:
                retry_s, retry_at = min(2.0 * retry_s, RETRY_MOST_S), time.monotonic() + retry_s

    def _wait_s(self, retry_at: float) -> float | None:
        """Until there is something to do; 0: now, None: when somebody wants something."""
        if self._wanted is None or self._wanted == self.applied_mbps:
            return None
        return max(0.0, retry_at - time.monotonic())

    def _try(self, mbps: float) -> bool:
        try:
            self._discipline.set_rate(mbps)
        except Exception as error:  # the loop goes on whatever a shaper does
            self.blocked = "not_owned" if isinstance(error, NotOwnedError) else "apply_failed"
            self.trouble = str(error) if isinstance(error, TcError) else f"{type(error).__name__}: {error}"
            self.failures += 1
            if not self._discipline.made:
                self.applied_mbps = None
            return False
        self.applied_mbps, self.trouble, self.blocked = mbps, None, None
        return True

    def _finish(self) -> None:
        try:
            self._discipline.restore()
            self.trouble = self.blocked = None
        except Exception as error:
            self.trouble = f"not restored: {error}"
        self.applied_mbps = None


def warning_of(kind: str, release: str | None = None) -> str | None:
    """What is known of this kernel and this kind of shaper."""
    if kind != "cake":
        return None
    words = (os.uname().release if release is None else release).split(".")
    try:
        version = int(words[0]), int("".join(c for c in words[1] if c.isdigit()))
    except (IndexError, ValueError):
        return None
    first, mended = CAKE_CLEARS_TINS
    if not first <= version < mended:
        return None
    return (
        f"Linux {version[0]}.{version[1]} may clear CAKE's tins when its rate changes (mended in "
        f"{mended[0]}.{mended[1]}): change it rarely, or use kind = 'htb'"
    )
