"""Runs a decision log again, and compares every decision with the one that was made."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from linkcast.engine import Engine
from linkcast.live.log import read_log
from linkcast.live.record import Header, Tick
from linkcast.live.session import Session

TOLERANCE = 1e-3
"""Relative difference that other kernels may make. Those of float32 round some 1e-7 apart; an action may tip over."""

AGAIN = (
    "telemetry",
    "refused",
    "forecast",
    "experts",
    "action",
    "allocation_mbps",
    "allocation_fraction",
    "allocation_cause",
    "reason",
    "blocked",
    "congested",
    "silent",
    "stalled",
    "queue_ms",
    "skill",
    "coverage",
    "shadow",
)
"""The fields that are decided again; the others say what time it was, how long it took, and what the loop did."""


@dataclass(frozen=True)
class Difference:
    """Where a tick came out another way."""

    index: int
    time_ns: int
    field: str  # "forecast.p90"
    logged: Any
    again: Any

    def __str__(self) -> str:
        return f"tick {self.index}: {self.field} was {self.logged!r} and is {self.again!r}"


@dataclass(frozen=True)
class Rerun:
    """What running a file again gave."""

    file: str
    header: Header
    ticks: int
    same: int  # bit for bit
    first: Difference | None  # the first that is not the same
    outside: int  # ticks whose forecast or allocation differs by more than TOLERANCE
    worst_forecast: float  # largest relative differences
    worst_allocation: float
    why: tuple[str, ...]  # what is not as it was: models, kernels, version; empty: all is, and all has to be the same
    skill: float  # at the end, as the next
    coverage: float
    shadow: dict[str, Any] | None  # skill, gain, gain_low, gain_high, verdict of the last tick

    @property
    def holds(self) -> bool:
        """Whether it came out as it should: bit for bit, or within the tolerance where the kernels are others."""
        if self.same == self.ticks:
            return True
        return bool(self.why) and not any(text.startswith("model") for text in self.why) and self.outside == 0

    def verdict(self) -> str:
        """In a sentence or two."""
        if self.same == self.ticks:
            return f"{self.file}: {self.ticks:,} ticks decided again, every one bit for bit the same."
        text = f"{self.file}: {self.same:,} of {self.ticks:,} ticks decided the same bit for bit. First: {self.first}."
        if not self.why:
            return f"{text} Models, kernels and version are those of the log: the log has been changed."
        worst = (
            f"forecasts by {100.0 * self.worst_forecast:.3g} %, allocations by {100.0 * self.worst_allocation:.3g} %"
        )
        within = "all within" if self.outside == 0 else f"{self.outside:,} ticks beyond"
        return f"{text} Not as they were: {'; '.join(self.why)}. At most {worst}: {within} {100.0 * TOLERANCE:g} %."


def rerun(path: str | os.PathLike[str], models: str | os.PathLike[str] | None = None) -> Rerun:
    """Decides every tick of a file again.

    Args:
        path: a file of a decision log; each stands for itself.
        models: a folder in place of the one that the log names.
    Raises:
        ValueError: not a log, a damaged line, or models that read other features.
        LoadError: the models can't be loaded.
        OSError: the file can't be read.
    """
    header, ticks = read_log(path)
    session, why = open_session(header, models)
    count = same = outside = 0
    worst = [0.0, 0.0]
    first: Difference | None = None
    last: Tick | None = None
    for logged, again in decide_again(session, ticks):
        count, last = count + 1, again
        differences = list(compare(logged, again))
        if not differences:
            same += 1
            continue
        first = first or Difference(logged.index, logged.time_ns, *differences[0])
        apart = (
            _apart(logged.forecast.mbps, again.forecast.mbps),
            _apart(logged.allocation_mbps, again.allocation_mbps),
        )
        worst = [max(pair) for pair in zip(worst, apart, strict=True)]
        outside += max(apart) > TOLERANCE
    shadow = None
    if last is not None and last.shadow is not None:
        shadow = asdict(last.shadow)
        del shadow["forecast"], shadow["allocation_mbps"]
    skill, coverage = (math.nan, math.nan) if last is None else (last.skill, last.coverage)
    name = Path(path).name
    return Rerun(name, header, count, same, first, outside, worst[0], worst[1], tuple(why), skill, coverage, shadow)


def open_session(header: Header, models: str | os.PathLike[str] | None = None) -> tuple[Session, list[str]]:
    """The session of a header, and what is not as it was."""
    from linkcast import __version__

    shadow = None
    if header.shadow is not None:
        was = header.shadow
        shadow = _engine(_folder(was.folder), header.backend, was.precision, was.kernels)
    engine = _engine(models or _folder(header.folder), header.backend, header.precision, header.kernels)
    session = Session.resume(header, engine, shadow)
    why = []
    if header.linkcast != __version__:
        why.append(f"linkcast {header.linkcast} wrote it, this is {__version__}")
    for pilot, side, prefix in ((session.live, header, ""), (session.shadow, header.shadow, "shadow's ")):
        if pilot is None or side is None:
            continue
        for name, sha256 in pilot.models.items():
            before = side.models.get(name, "none")
            if before != sha256:
                why.append(f"model {prefix}{name} was {before[:12]}, is {sha256[:12]}")
            if side.runs_on.get(name) != pilot.runs_on[name]:
                why.append(f"kernels of {prefix}{name} were {side.runs_on.get(name)}, are {pilot.runs_on[name]}")
    return session, why


def _engine(folder: str | os.PathLike[str] | None, backend: str, precision: str, kernels: str) -> Engine:
    """On the kernels that it ran on, or where this CPU lacks them, on what it has: the log's reader is told so."""
    try:
        return Engine(folder, backend, precision=precision, kernels=kernels or None)
    except ValueError:
        if not kernels:
            raise
        return Engine(folder, backend, precision=precision)


def _folder(folder: str) -> str | None:
    """Where the models were, or else those that ship with linkcast: their hashes tell whether they are the same."""
    return folder if os.path.isdir(folder) else None


def decide_again(session: Session, ticks: Iterator[Tick]) -> Iterator[tuple[Tick, Tick]]:
    """Each tick as it was logged, and as it comes out now."""
    features = session.live.spec["features"]
    for logged in ticks:
        # What was given to the controller: in it stands what stood in for features that were not measured.
        given = logged.sample if logged.telemetry is None else dict(zip(features, logged.telemetry, strict=True))
        session.decide(given, time_ns=logged.time_ns, monotonic_ns=logged.monotonic_ns)
        yield (
            logged,
            session.finish(applied_mbps=logged.applied_mbps, health=logged.health, health_reason=logged.health_reason),
        )


def compare(logged: Tick, again: Tick) -> Iterator[tuple[str, Any, Any]]:
    """Field, what was and what is, for each that is not the same bit for bit."""
    for name in AGAIN:
        before, now = getattr(logged, name), getattr(again, name)
        if name == "blocked" and before not in ("hold", "slew"):
            before = None  # what kept the loop from applying it is not decided again
        yield from _unlike(name, before, now)


def _unlike(name: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if hasattr(before, "__dataclass_fields__") and hasattr(now, "__dataclass_fields__"):
        before, now = vars(before), vars(now)
    if isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
        for key in before:
            yield from _unlike(f"{name}.{key}", before[key], now[key])
    elif not (before == now or (_is_nan(before) and _is_nan(now))):
        yield name, before, now


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _apart(before: float, now: float) -> float:
    """Relative difference; infinite where only one is known."""
    if math.isnan(before) or math.isnan(now):
        return 0.0 if math.isnan(before) and math.isnan(now) else math.inf
    return abs(before - now) / max(abs(before), abs(now), 1e-9)
