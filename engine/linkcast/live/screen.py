"""A live link in a terminal: the view of `linkcast replay`, with health and the reason of each decision."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console
from rich.live import Live
from rich.text import Text

from linkcast import reserving
from linkcast.live.record import Header, Tick
from linkcast.live.words import said, why
from linkcast.view import BAND, DEMAND, MOST_LINES, QUIET, RESERVED, SHORT, Lines

_HEALTH_STYLE = {"live": "bold green", "dry_run": "bold", "degraded": "bold red"}


class LiveScreen(Lines):
    """The newest ticks of a live link."""

    def __init__(self, console: Console, capacity_mbps: float) -> None:
        super().__init__(console, capacity_mbps)
        self._before: Tick | None = None
        self._last: Tick | None = None
        self._times: deque[tuple[int, str]] = deque(maxlen=MOST_LINES + 1)

    def tick(self, tick: Tick) -> None:
        """What came, beside what the tick before had said about it."""
        self._before, self._last = self._last, tick
        self._times.append((tick.index, time.strftime("%H:%M:%S", time.localtime(tick.time_ns / 1e9))))
        if self._before is not None and tick.sample is not None and tick.telemetry is not None:
            self.add(_shown(self._before, tick))

    def _summary(self) -> list[Text]:
        tick = self._last
        if tick is None:
            return [Text("no tick yet", style=QUIET)]
        title = Text(no_wrap=True, overflow="ellipsis")
        title.append(f"{tick.link} ", style="bold")
        title.append(tick.health.replace("_", " "), style=_HEALTH_STYLE.get(tick.health, ""))
        if tick.health_reason is not None:
            title.append(f": {tick.health_reason}")
        return [title, _measured(tick), _next(tick, self._capacity), self._legend()]

    def _clock(self, row: int) -> str:
        return next((text for index, text in self._times if index == row), " " * 8)


class LiveView:
    """A sink that shows each tick; used as a context."""

    def __init__(self, console: Console, capacity_mbps: float) -> None:
        self._screen = LiveScreen(console, capacity_mbps)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def trouble(self) -> str | None:
        return None

    def write(self, tick: Tick) -> None:
        self._screen.tick(tick)
        self._live.update(self._screen.picture(), refresh=True)

    def reloaded(self, header: Header) -> None:
        """Nothing that is shown depends on it."""

    def close(self) -> None:
        """The picture stays."""


def _shown(before: Tick, now: Tick) -> reserving.Tick:
    """The line of a tick, as of a walk."""
    assert now.sample is not None
    forecast, came = before.forecast, now.sample.get("bandwidth_mbps") or 0.0
    reserved = before.allocation_mbps if before.applied_mbps is None else before.applied_mbps
    measured = (before.sample or {}).get("bandwidth_mbps") or 0.0
    known = (forecast.mbps, forecast.p10, forecast.p90, forecast.reserve)
    return reserving.Tick(before.index, now.index - 1, measured, *known, reserved, came, before.latency_ns / 1e3)


def _measured(tick: Tick) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if tick.sample is None:
        text.append("no sample in this tick", style=SHORT)
        return text
    units = {"latency_ms": "round trip {:.1f} ms", "packet_loss": "loss {:.2%}", "reliability": "reliability {:.2%}"}
    came = tick.sample.get("bandwidth_mbps")
    text.append("measured " + ("-" if came is None else f"{came:.1f} Mbit/s"), style=DEMAND)
    for name, words in units.items():
        value = tick.sample.get(name)
        if value is not None:
            text.append(", " + words.format(value))
    return text


def _next(tick: Tick, capacity_mbps: float) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(said(tick.forecast), style=BAND)
    text.append(f", allocated {tick.allocation_mbps:.1f} of {capacity_mbps:g}: {why(tick)}", style=RESERVED)
    if tick.applied_mbps is not None:
        text.append(f", set {tick.applied_mbps:.1f}", style=RESERVED)
    return text
