"""Ticks in words, for lines on a terminal and in a journal."""

from __future__ import annotations

import math
import time

from linkcast.live.record import Forecast, Tick


def why(tick: Tick) -> str:
    """ "reserve, slew": what set the allocation, and what kept it from its target."""
    words = [tick.reason, *([tick.blocked] if tick.blocked else [])]
    states = ("congested", "silent", "stalled")
    return ", ".join([*words, *(name for name in states if getattr(tick, name) and name not in words)])


def said(forecast: Forecast) -> str:
    """ "next 20.1 (18.0-22.4) by mixture", as far as it is known."""
    if not math.isfinite(forecast.mbps):
        return "no forecast"
    band = f" ({forecast.p10:.1f}-{forecast.p90:.1f})" if math.isfinite(forecast.p90) else ""
    return f"next {forecast.mbps:.1f}{band} by {forecast.source}"


def line_of(tick: Tick) -> str:
    """A tick in a line, where there is no terminal."""
    came = None if tick.sample is None else tick.sample.get("bandwidth_mbps")
    at = time.strftime("%H:%M:%S", time.localtime(tick.time_ns / 1e9))
    measured = "no sample" if came is None else f"{came:.2f} Mbit/s"
    forecast = tick.forecast
    health = tick.health if tick.health_reason is None else f"{tick.health} ({tick.health_reason})"
    return (
        f"{at} {measured}; {said(forecast)}; "
        f"allocated {tick.allocation_mbps:.2f} ({why(tick)}); {tick.latency_ns / 1e3:.1f} us; {health}"
    )


def status_of(tick: Tick, would_set: float | None = None) -> str:
    """ "live: 14.2 Mbit/s allocated (reserve), 15.0 set; next 12.1 (9.8-13.9) by mixture"."""
    text = f"{tick.health}: {tick.allocation_mbps:.1f} Mbit/s allocated ({why(tick)})"
    if tick.applied_mbps is not None:
        text += f", {tick.applied_mbps:.1f} set"
    elif would_set is not None:
        text += f", {would_set:.1f} would be set"
    text += f"; {said(tick.forecast)}"
    return text if tick.health_reason is None else f"{text}; {tick.health_reason}"
