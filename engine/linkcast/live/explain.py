"""Tells one tick of a decision log in sentences."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from linkcast.live.log import log_files, number_of, read_log, tick_dict
from linkcast.live.record import Header, Shadow, Tick

EXPERTS = 3
"""That are named, the heaviest first."""

_REASONS = {
    "no_telemetry": "there has been no telemetry yet, so the safe share of the link is the target",
    "stalled": "telemetry has stopped, so the allocation goes to the safe share, within the cut that a stall may take",
    "congested": "a queue stands on a full link, so it is raised by a step until the queue is drained",
    "silent": "the link holds back without having been full, so the allocation falls no faster than a stall may take",
    "allocator_failed": "the allocator's network failed, so all of the link is asked for",
    "minimum": "less was asked for than the least share that is always allocated",
    "maximum": "more was asked for than the largest share that may be allocated",
    "reserve": "the quantile that the risk names asked for the most",
    "forecast": "the forecast with its headroom asked for the most",
    "allocator": "the allocator's action asked for the most",
}
_BLOCKED = {
    "hold": "The hold time kept the target as it was.",
    "slew": "The slew limit keeps the allocation from its target still.",
    "rate_limit": "It was not applied: there have been as many changes in the last minute as are allowed.",
    "apply_failed": "It was not applied: setting the shaper failed.",
    "not_owned": "It was not applied: the queueing discipline on the interface is not ours.",
}


def find_tick(path: str | os.PathLike[str], at: str) -> tuple[Header, Tick]:
    """The last tick that is not after a time, or the one of a number.

    Args:
        path: a file of a log, or its present one, for which all of its files are looked at.
        at: "2026-01-09T20:03:05" (of this machine's time zone unless it says one), "20:03:05" (of the first tick's day
            or the next), seconds since 1970, or a tick's number as "#185".
    Raises:
        ValueError: not such a time, no tick in the log or none of that number, or the time lies before the first.
        OSError: a file can't be read.
    """
    name = os.path.basename(path)
    files = log_files(path) if number_of(Path(path)) == 0 else [Path(path)]
    begins = [(file, next(read_log(file)[1], None)) for file in files]
    known = [(file, first) for file, first in begins if first is not None]
    if not known:
        raise ValueError(f"{name}: expected a tick, got none")
    if at.startswith("#"):
        if not at[1:].isdecimal():
            raise ValueError(f"--at: expected a tick's number such as #185, got {at!r}")

        def position(tick: Tick) -> int:
            return tick.index

        wanted = int(at[1:])
    else:

        def position(tick: Tick) -> int:
            return tick.time_ns

        wanted = _wanted_ns(at, known[0][1].time_ns)
    before = [file for file, first in known if position(first) <= wanted]
    if not before:
        first = known[0][1]
        raise ValueError(f"--at: expected {_clock(first.time_ns)} (#{first.index}) or later, got {at!r}")
    header, ticks = read_log(before[-1])
    found = max((tick for tick in ticks if position(tick) <= wanted), key=position)
    if at.startswith("#") and found.index != wanted:
        raise ValueError(f"--at: expected the number of a tick in the log, got {at}; before it stands #{found.index}")
    return header, found


def _wanted_ns(at: str, first_ns: int) -> int:
    """A point in time; the last nanosecond of a second that was named."""
    first = datetime.fromtimestamp(first_ns / 1e9)
    try:
        seconds = float(at)
    except ValueError:
        text = at.strip().replace("Z", "+00:00")
        is_clock = len(text) <= len("20:03:05.000") and "-" not in text
        try:
            moment = datetime.fromisoformat(f"{first:%Y-%m-%d}T{text}" if is_clock else text)
        except ValueError:
            raise ValueError(
                f"--at: expected a time such as 2026-01-09T20:03:05, 20:03:05 or #185, got {at!r}"
            ) from None
        seconds = moment.timestamp()
        if is_clock and seconds + 1.0 <= first_ns / 1e9:
            seconds += 86_400.0
    whole = seconds == math.floor(seconds)
    return int(seconds) * 10**9 + 10**9 - 1 if whole else round(seconds * 1e9)


def explain(header: Header, tick: Tick) -> str:
    """What was measured, what was expected, what was decided and why, what held it back; a line for each."""
    lines = [
        f"{tick.link}, {_clock(tick.time_ns)}, tick {tick.index}:",
        _measured(header, tick),
        _expected(tick),
        _experts(tick.experts),
        _decided(header, tick),
        _BLOCKED.get(tick.blocked or "", ""),
        _applied(tick),
        _skill(tick),
        "" if tick.shadow is None else _shadow(tick.shadow),
        _took(tick),
    ]
    return "\n".join(line for line in lines if line)


def _measured(header: Header, tick: Tick) -> str:
    if tick.sample is None:
        return "No sample came."
    units = dict(zip(header.features, header.units, strict=True))
    values = ", ".join(f"{name} {_value(value, units.get(name, ''))}" for name, value in tick.sample.items())
    if tick.refused is not None:
        return f"What came was not used ({values}): {tick.refused}."
    queue = f" The queueing delay is {tick.queue_ms:.1f} ms." if tick.queue_ms >= 0.05 else ""
    return f"Measured: {values}.{queue}"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    if unit == "fraction":
        return f"{100.0 * value:.3g} %"
    return f"{value:.4g} {unit}".strip()


def _expected(tick: Tick) -> str:
    forecast = tick.forecast
    if math.isnan(forecast.mbps):
        return "Nobody could forecast the next tick."
    who = {"measured_mean": "the average of what was measured, as the window is not full"}.get(
        forecast.source, f"the {forecast.source.replace('_', ' ')}"
    )
    why = "" if forecast.cause == "none" else f" (not the model: {forecast.cause.replace('_', ' ')})"
    band = ""
    if math.isfinite(forecast.p10) and math.isfinite(forecast.p90):
        band = f", four times in five between {forecast.p10:.2f} and {forecast.p90:.2f}"
    return f"Expected next: {forecast.mbps:.2f} Mbit/s{band}, says {who}{why}."


def _experts(experts: Mapping[str, float]) -> str:
    heaviest = sorted(experts.items(), key=lambda item: -item[1])[:EXPERTS]
    named = ", ".join(f"{name} {100.0 * weight:.0f} %" for name, weight in heaviest)
    return f"Of {len(experts)} experts these weigh most: {named}." if named else ""


def _decided(header: Header, tick: Tick) -> str:
    share, reason = 100.0 * tick.allocation_fraction, _REASONS.get(tick.reason, tick.reason.replace("_", " "))
    text = f"Allocated: {tick.allocation_mbps:.2f} Mbit/s, {share:.1f} % of the link. Why: {reason}."
    asked = []
    if tick.action >= 0:
        asked.append(f"the allocator's action {tick.action}")
    risk = header.options.get("risk", 0.0)
    if isinstance(risk, (int, float)) and risk > 0.0 and math.isfinite(tick.forecast.reserve):
        asked.append(f"{tick.forecast.reserve:.2f} Mbit/s for a risk of {100.0 * risk:g} %")
    if tick.allocation_cause != "none":
        asked.append(f"the state was {tick.allocation_cause.replace('_', ' ')}")
    return f"{text} Looked at: {', '.join(asked)}." if asked else text


def _applied(tick: Tick) -> str:
    state = {"dry_run": "in a dry run"}.get(tick.health, tick.health.replace("_", " "))
    why = f" ({tick.health_reason})" if tick.health_reason else ""
    if tick.applied_mbps is None:
        return f"Nothing was applied: the loop was {state}{why}."
    return f"The shaper is set to {tick.applied_mbps:.2f} Mbit/s; the loop was {state}{why}."


def _skill(tick: Tick) -> str:
    if math.isnan(tick.skill):
        return ""
    held = "" if math.isnan(tick.coverage) else f", and the band held {100.0 * tick.coverage:.0f} % of what came"
    return f"Lately the error was {_less(tick.skill)} than the best naive rule's{held}."


def _less(share: float) -> str:
    return f"{abs(100.0 * share):.1f} % {'smaller' if share >= 0.0 else 'larger'}"


def _shadow(shadow: Shadow) -> str:
    expected = "nothing" if math.isnan(shadow.forecast.mbps) else f"{shadow.forecast.mbps:.2f}"
    would = f"The shadow expected {expected} and would have allocated {shadow.allocation_mbps:.2f} Mbit/s"
    if math.isnan(shadow.gain):
        return f"{would}."
    verdict = {
        "undecided": "not known to be better or worse",
        "shadow_better": "it is better",
        "live_better": "the live model is better",
    }.get(shadow.verdict, shadow.verdict.replace("_", " "))
    band = f"{100.0 * shadow.gain_low:+.1f} to {100.0 * shadow.gain_high:+.1f} %"
    return f"{would}; so far its errors are {_less(shadow.gain)} ({band}): {verdict}."


def _took(tick: Tick) -> str:
    late = ", behind its deadline" if tick.late else ""
    return f"Answered in {tick.latency_ns / 1e3:.1f} µs{late}, by models {tick.models}."


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, timezone.utc).astimezone().isoformat(timespec="milliseconds")


def as_dict(header: Header, tick: Tick) -> dict[str, Any]:
    """The record, with its sentences, for JSON."""
    return {"tick": tick_dict(tick), "sentences": explain(header, tick).splitlines()}
