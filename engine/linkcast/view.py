"""Ticks in a terminal, one line each, as they go: of a walk here, of a live link in linkcast.live.screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic, sleep

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from linkcast.reserving import Reservations, Tick, Walk

FRAME_S = 1.0 / 15.0  # least time between two pictures of the terminal
MOST_LINES = 24
BAND_FROM = 76  # columns from which the band is written out, too
LEAST_LANE = 10

DEMAND, BAND, RESERVED, SHORT, QUIET = "bold", "blue", "green", "bold red", "dim"


def play(walk: Walk, console: Console, speed: float) -> Reservations:
    """Shows a walk and gives its result; Ctrl-C skips to the end.

    Args:
        walk: from its start.
        console: a terminal.
        speed: ticks a second, above 0.
    """
    ticks = iter(walk)
    try:
        _play(walk, ticks, console, speed)
    except KeyboardInterrupt:
        for _ in ticks:
            pass
    return walk.result()


def _play(walk: Walk, ticks: Iterator[Tick], console: Console, speed: float) -> None:
    screen = Screen(walk, console)
    begin = drawn = monotonic()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for tick in ticks:
            screen.add(tick)
            due = begin + (tick.index + 1) / speed
            if (wait := due - monotonic()) > 0.0:
                sleep(wait)
            now = monotonic()
            if now - drawn >= FRAME_S or tick.index == 0 or tick.index + 1 == len(walk):
                live.update(screen.picture(), refresh=True)
                drawn = now


class Lines:
    """The newest ticks below a summary. A line is what came, and what had been said about it before.

    Args:
        console: a terminal.
        capacity_mbps: right end of the lane.
    """

    def __init__(self, console: Console, capacity_mbps: float) -> None:
        self._console = console
        self._capacity = capacity_mbps
        self._ascii = not console.encoding.startswith("utf")
        self._signs = tuple("o-|=" if self._ascii else "●─┃━")  # what came, the band, what was reserved, what lacked
        self._lines: deque[Tick] = deque(maxlen=MOST_LINES)

    def add(self, tick: Tick) -> None:
        """The next tick."""
        self._lines.append(tick)

    def picture(self) -> Group:
        """As many of the newest ticks as the terminal has lines for, below the summary."""
        width = self._console.width
        summary = self._summary()
        lines = list(self._lines)[-max(3, self._console.height - len(summary) - 3) :]
        return Group(*summary, self._heading(width), *(self._line(tick, width) for tick in lines))

    def _summary(self) -> list[Text]:
        raise NotImplementedError

    def _clock(self, row: int) -> str:
        """The time of a row, always as wide."""
        raise NotImplementedError

    def _legend(self) -> Text:
        demand, band, reserved, missing = self._signs
        legend = Text(no_wrap=True, overflow="ellipsis")
        legend.append(f"{demand} measured", style=DEMAND)
        legend.append(f"  {band} forecast, P10 to P90", style=BAND)
        legend.append(f"  {reserved} reserved", style=RESERVED)
        legend.append(f"  {missing} short", style=SHORT)
        return legend

    def _columns(self, width: int) -> tuple[bool, int, int]:
        """Whether the band is written out, the width of the time, and that of the lane."""
        band = width >= BAND_FROM
        clock = len(self._clock(0))
        return band, clock, width - clock - (48 if band else 35)

    def _heading(self, width: int) -> Text:
        band, clock, lane = self._columns(width)
        between = f" {'P10-P90':>12}" if band else ""
        micro = "us" if self._ascii else "µs"
        text = Text(f"{'':{clock}} {'measured':>8} {'forecast':>8}{between} {'reserved':>8} {micro:>5}", style=QUIET)
        if lane >= LEAST_LANE:
            most = f"{self._capacity:.0f}"
            text.append(f"  0{most:>{lane - 1}}")
        return text

    def _line(self, tick: Tick, width: int) -> Text:
        band, clock, lane = self._columns(width)
        short = tick.short_mbps > 0.0
        text = Text(no_wrap=True, overflow="crop")
        text.append(f"{self._clock(tick.row + 1):{clock}} ", style=QUIET)
        text.append(f"{tick.came_mbps:8.1f} ", style=SHORT if short else DEMAND)
        text.append(f"{_number(tick.forecast_mbps):>8}", style=BAND)
        if band:
            known = f"{_number(tick.p10_mbps)}-{_number(tick.p90_mbps)}" if np.isfinite(tick.p90_mbps) else ""
            text.append(f" {known:>12}", style=BAND)
        text.append(f" {tick.reserved_mbps:8.1f}", style=RESERVED)
        text.append(f" {tick.latency_us:5.1f}  ", style=QUIET)
        if lane >= LEAST_LANE:
            text.append_text(self._lane(tick, lane))
        return text

    def _lane(self, tick: Tick, width: int) -> Text:
        """0 to the capacity from left to right: the band, what was reserved, and what came."""
        demand, band, reserved, missing = self._signs

        def cell(mbps: float) -> int:
            return int(np.clip(mbps / self._capacity * (width - 1), 0, width - 1))

        cells, styles = [" "] * width, [""] * width
        if np.isfinite(tick.p90_mbps):
            for at in range(cell(tick.p10_mbps), cell(tick.p90_mbps) + 1):
                cells[at], styles[at] = band, BAND
        came, kept = cell(tick.came_mbps), cell(tick.reserved_mbps)
        short = tick.short_mbps > 0.0
        if short:
            for at in range(kept, came):
                cells[at], styles[at] = missing, SHORT
        cells[kept], styles[kept] = reserved, RESERVED
        cells[came], styles[came] = demand, SHORT if short else DEMAND
        return Text.assemble(*zip(cells, styles, strict=True))


class Screen(Lines):
    """What the terminal shows of a walk after the ticks so far."""

    def __init__(self, walk: Walk, console: Console) -> None:
        super().__init__(console, walk.capacity_mbps)
        self._walk = walk
        self._dated = (walk.trace.step_s or 1.0) >= 60.0  # the time of day alone would not tell the ticks apart
        self._ticks = self._short = 0
        self._reserved = self._came = 0.0

    def add(self, tick: Tick) -> None:
        super().add(tick)
        self._ticks += 1
        self._short += tick.short_mbps > 0.0
        self._reserved += tick.reserved_mbps
        self._came += tick.came_mbps

    def _summary(self) -> list[Text]:
        count = max(self._ticks, 1)
        title = Text(self._walk.trace.name, style="bold", no_wrap=True, overflow="ellipsis")
        so_far = Text(no_wrap=True, overflow="ellipsis")
        so_far.append(f"{self._ticks:,}/{len(self._walk):,}: ", style=QUIET)
        so_far.append(f"reserved {self._reserved / count:.0f}", style=RESERVED)
        so_far.append(f" of {self._capacity:.0f} Mbit/s, needed {self._came / count:.0f}, ")
        so_far.append(f"short {100.0 * self._short / count:.1f} %", style=SHORT)
        return [title, so_far, self._legend()]

    def _clock(self, row: int) -> str:
        trace = self._walk.trace
        if trace.timestamps is None:
            return f"{row:{len(str(len(trace)))}}"
        text = str(trace.timestamps[row])
        return text[5:16].replace("T", " ") if self._dated else text[11:19]


def _number(mbps: float) -> str:
    return f"{mbps:.1f}" if np.isfinite(mbps) else "-"
