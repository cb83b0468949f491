"""Stand-ins for what a live loop runs on: a clock that is set, a source that is told, a tc that only remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from linkcast.live.record import Header, Tick
from linkcast.live.sources import Sample

NS = 1_000_000_000


class FakeClock:
    """Both clocks, in step; sleeping sets them to the time that was waited for, and `held_up` delays it."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self.now_ns = round(start_s * NS)
        self.held_up: dict[int, float] = {}  # number of the sleep, from 0: seconds that it takes too long
        self.sleeps = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return 1_700_000_000 * NS + self.now_ns

    def sleep_until(self, due_ns: int) -> bool:
        self.now_ns = max(self.now_ns, due_ns) + round(self.held_up.pop(self.sleeps, 0.0) * NS)
        self.sleeps += 1
        return True


class ToldSource:
    """Gives, at each poll, what it was told for that poll."""

    def __init__(self, polls: list[list[Sample]]) -> None:
        self.polls = polls
        self.name = "told"
        self.trouble: str | None = None
        self.ended = False
        self.closed = False

    def poll(self) -> Iterator[Sample]:
        yield from self.polls.pop(0) if self.polls else []

    def close(self) -> None:
        self.closed = True


class Ticks:
    """A sink that keeps what it is told."""

    def __init__(self, trouble: str | None = None, raises: bool = False) -> None:
        self.ticks: list[Tick] = []
        self.headers: list[Header] = []
        self.trouble = trouble
        self.closed = False
        self._raises = raises

    def write(self, tick: Tick) -> None:
        if self._raises:
            raise RuntimeError("a sink that is broken")
        self.ticks.append(tick)

    def reloaded(self, header: Header) -> None:
        self.headers.append(header)

    def close(self) -> None:
        self.closed = True


class FakeApplied:
    """Sets a rate at once, and remembers all."""

    def __init__(self) -> None:
        self.applied_mbps: float | None = None
        self.trouble: str | None = None
        self.blocked: str | None = None
        self.wanted: list[float] = []
        self.closed = False

    @property
    def rate_mbps(self) -> float | None:
        return self.applied_mbps

    def want(self, mbps: float) -> None:
        self.wanted.append(mbps)
        if self.blocked is None:
            self.applied_mbps = mbps

    def close(self) -> str | None:
        self.closed = True
        return None


def measured(mbps: float, at_s: float | None = None, **other: float) -> Sample:
    """A whole sample of a quiet link."""
    values: Mapping[str, float] = {"latency_ms": 20.0, "bandwidth_mbps": mbps, "packet_loss": 0.0, "reliability": 1.0}
    return Sample({**values, **other}, at_s)


FAKE_TC = r"""#!/bin/sh
# A tc that remembers in the folder beside it what was made, as the kernel does, and what it was called with.
here=$(dirname "$0")/tc_state
echo "$*" >> "$here/calls"
refuse() { echo "Error: $1" >&2; exit 2; }
[ -e "$here/broken" ] && refuse "Device or resource busy."
[ -e "$here/hangs" ] && exec sleep 60
root_handle=$(cut -d' ' -f2 "$here/root" 2>/dev/null)
root_kind=$(cut -d' ' -f1 "$here/root" 2>/dev/null)
verb="$1 $2"; shift 4
case "$verb" in
"qdisc show")
  if [ -e "$here/root" ]; then echo "qdisc $root_kind $root_handle root refcnt 2 r2q 10"; else
  echo "qdisc noqueue 0: root refcnt 2"; fi
  [ -e "$here/leaf" ] && echo "qdisc $(cat "$here/leaf")"; exit 0 ;;
"qdisc add")
  if [ "$1" = root ]; then
    [ -e "$here/root" ] && refuse "Exclusivity flag on, cannot modify."
    [ "$4" = cake ] && [ -e "$here/no_cake" ] && refuse "Specified qdisc kind is unknown."
    echo "$4 $3" > "$here/root"; [ "$4" = cake ] && echo "$6" > "$here/rate"; exit 0
  fi
  [ "$5" = fq_codel ] && [ ! -e "$here/has_fq_codel" ] && refuse "Specified qdisc kind is unknown."
  handle=$4; kind=$5; shift 5; echo "$kind $handle $*" > "$here/leaf" ;;
"qdisc change")
  [ "$root_handle $root_kind" = "$3 $4" ] || refuse "Invalid handle."
  echo "$6" > "$here/rate" ;;
"class add"|"class change")
  [ "$root_handle $root_kind" = "$2 htb" ] || refuse "Invalid handle."
  [ "$verb" = "class change" ] && [ ! -e "$here/rate" ] && refuse "Class not found."
  [ "$verb" = "class add" ] && [ -e "$here/no_class" ] && refuse "Out of memory."
  echo "$7" > "$here/rate" ;;
"qdisc del")
  [ "$root_handle" = "$3" ] || refuse "Invalid handle."
  rm -f "$here/root" "$here/rate" "$here/leaf" ;;
*) refuse "unknown $verb" ;;
esac
"""


class FakeTc:
    """The program, and what it has made."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tc"
        self._state = folder / "tc_state"
        self._state.mkdir()
        self.path.write_text(FAKE_TC, encoding="utf-8")
        self.path.chmod(0o755)

    def set(self, name: str, text: str = "") -> None:
        """`broken`, `hangs`, `has_fq_codel`, `no_class`; or `root`: what somebody else has made."""
        (self._state / name).write_text(text, encoding="utf-8")

    def clear(self, name: str) -> None:
        (self._state / name).unlink(missing_ok=True)

    def get(self, name: str) -> str | None:
        """What is made: `root`, `rate`, `leaf`; None: nothing."""
        path = self._state / name
        return path.read_text(encoding="utf-8").strip() if path.exists() else None

    @property
    def calls(self) -> list[str]:
        return (self.get("calls") or "").splitlines()

    @property
    def changes(self) -> list[str]:
        """The calls that do more than look."""
        return [call for call in self.calls if " show " not in call]
