"""A walk in a terminal."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console

from linkcast import view
from linkcast.reserving import Walk, walk
from linkcast.simulation.evening import busy_evening
from linkcast.traces import trace_from_arrays


def terminal(width: int, height: int = 24, encoding: str = "utf-8") -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(file=file, width=width, height=height, force_terminal=True, legacy_windows=False, highlight=False)


def plain(walking: Walk, console: Console, ticks: int) -> list[str]:
    """The lines of the screen after so many ticks."""
    screen = view.Screen(walking, console)
    for tick, _ in zip(walking, range(ticks), strict=False):
        screen.add(tick)
    text = Console(width=console.width, no_color=True, file=io.StringIO(), record=True)
    text.print(screen.picture())
    return text.export_text().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_screen_keeps_within_the_terminal(engine, width):
    lines = plain(Walk(engine, busy_evening(120), "internet", 100.0), terminal(width), 90)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert "simulated" in lines[0] if width > 50 else True
    assert any(line.startswith("20:01:38") for line in lines)  # the row after the tenth and 89 more


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_summary_says_how_often_it_was_short_at_every_width(engine, width):
    lines = plain(Walk(engine, busy_evening(1200), "internet", 100.0), terminal(width), 1190)
    assert re.fullmatch(r"1,190/1,190: reserved \d+ of 100.*, needed \d+, short \d+\.\d %", lines[1].rstrip()), lines[1]


def test_a_line_is_what_came_beside_what_had_been_said_about_it(engine):
    trace = busy_evening(120)
    line = plain(Walk(engine, trace, "internet", 100.0), terminal(80), 90)[-1]
    controller = engine.controller("internet", capacity_mbps=100.0, risk=0.05)
    for row in range(99):
        decision = controller.tick(trace.features[row], float(row))
        controller.advance()
    known = decision.forecast
    band = f"{known.p10:.1f}-{known.p90:.1f}"
    expected = [f"{trace.features[99, 1]:.1f}", f"{known.mbps:.1f}", band, f"{decision.allocation_mbps:.1f}"]
    assert line.split()[1:5] == expected


def test_a_terminal_without_utf_8_gets_ascii(engine):
    lines = plain(Walk(engine, busy_evening(120), "internet", 100.0), terminal(80, encoding="ascii"), 90)
    "\n".join(lines).encode("ascii")


def test_a_trace_without_a_clock_counts_its_rows(engine):
    rows = np.random.default_rng(1).uniform([20, 5, 0, 0.9], [60, 40, 0.02, 1], (40, 4))
    lines = plain(Walk(engine, trace_from_arrays(rows, None, "bare"), "internet", None), terminal(80), 30)
    assert lines[-1].split()[0] == "39"


def test_playing_gives_the_result_of_walking(engine):
    console = terminal(80)
    result = view.play(Walk(engine, busy_evening(200), "internet", 100.0), console, speed=1e6)
    expected = walk(engine, busy_evening(200), "internet", 100.0)
    for rule, reserved in expected.rules.items():
        np.testing.assert_array_equal(result.rules[rule], reserved)
    console.file.seek(0)
    assert "20:03:19" in console.file.read()


def test_ctrl_c_skips_to_the_end(engine, monkeypatch):
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(view, "sleep", stop)
    assert len(view.play(Walk(engine, busy_evening(200), "internet", 100.0), terminal(80), speed=1.0)) == 190
