"""What `linkcast watch` shows of a live link."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

import linkcast
from linkcast.features import TELEMETRY
from linkcast.live.record import Tick
from linkcast.live.screen import LiveScreen, LiveView
from linkcast.live.session import Session
from linkcast.live.words import line_of, why
from linkcast.simulation.evening import busy_evening

NS = 1_000_000_000


@pytest.fixture(scope="module")
def ticks(engine: linkcast.Engine) -> list[Tick]:
    session = Session("eth0", engine, capacity_mbps=100.0)
    made = []
    for second, row in enumerate(busy_evening(60).features):
        sample = None if second == 30 else dict(zip(TELEMETRY, row.tolist(), strict=True))
        session.decide(sample, time_ns=1_700_000_000 * NS + second * NS, monotonic_ns=second * NS)
        made.append(session.finish(health="dry_run"))
    return made


def shown(ticks: list[Tick], width: int = 100, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, height=24, force_terminal=True, legacy_windows=False, highlight=False)
    screen = LiveScreen(console, 100.0)
    for tick in ticks:
        screen.tick(tick)
    text = Console(width=width, no_color=True, file=io.StringIO(), record=True)
    text.print(screen.picture())
    return text.export_text().splitlines()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_keeps_within_the_terminal(ticks, width):
    lines = shown(ticks, width)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width


def test_it_shows_health_rate_forecast_band_allocation_reason_and_latency(ticks):
    lines, last, before = shown(ticks), ticks[-1], ticks[-2]
    assert lines[0] == "eth0 dry run"
    assert lines[1].startswith(f"measured {last.sample['bandwidth_mbps']:.1f} Mbit/s, round trip ")
    forecast = last.forecast
    assert lines[2] == (
        f"next {forecast.mbps:.1f} ({forecast.p10:.1f}-{forecast.p90:.1f}) by mixture, allocated "
        f"{last.allocation_mbps:.1f} of 100: {last.reason}"
    )
    cells = lines[-1].split()
    assert cells[1] == f"{last.sample['bandwidth_mbps']:.1f}"  # what came, beside what was said of it before
    assert cells[2] == f"{before.forecast.mbps:.1f}"
    assert cells[4] == f"{before.allocation_mbps:.1f}"


def test_a_tick_without_a_sample_has_no_line(ticks):
    assert "no sample in this tick" in shown(ticks[:31])[1]
    assert len(shown(ticks[:31])) == len(shown(ticks[:30]))


def test_a_degraded_link_says_why(ticks):
    tick = replace(ticks[-1], health="degraded", health_reason="tc: busy", applied_mbps=40.0)
    lines = shown([*ticks[:-1], tick])
    assert lines[0] == "eth0 degraded: tc: busy"
    assert lines[2].endswith(", set 40.0")


def test_a_terminal_without_utf_8_gets_ascii(ticks):
    "\n".join(shown(ticks, encoding="ascii")).encode("ascii")


def test_before_any_tick_it_says_so():
    assert shown([])[0] == "no tick yet"


def test_what_kept_the_allocation_and_the_link_s_state_are_in_the_reason(ticks):
    tick = replace(ticks[-1], reason="congested", blocked="slew", congested=True, silent=True)
    assert why(tick) == "congested, slew, silent"


def test_a_line_says_the_same_where_there_is_no_terminal(ticks):
    line = line_of(replace(ticks[-1], health_reason="tc: busy", health="degraded"))
    assert f"{ticks[-1].sample['bandwidth_mbps']:.2f} Mbit/s; next " in line
    assert line.endswith(" us; degraded (tc: busy)")
    assert "no forecast" in line_of(replace(ticks[0], forecast=replace(ticks[0].forecast, mbps=float("nan"))))


def test_the_view_draws_each_tick(ticks):
    file = io.StringIO()
    with LiveView(Console(file=file, width=80, height=24, force_terminal=True), 100.0) as view:
        view.write(ticks[0])
        view.write(ticks[1])
        view.close()
    assert "eth0" in file.getvalue()


def test_standard_input_is_watched_to_its_end():
    command = [sys.executable, "-m", "linkcast", "watch", "-", "--capacity", "100", "--tick", "0.05"]
    done = subprocess.run(command, input="bandwidth_mbps\n12.5\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "12.50 Mbit/s" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch0", "--capacity", "10"], "linkcast: nosuch0: expected an interface ("),
        (["lo"], "linkcast: lo: expected --capacity MBPS: it does not say how fast it is"),
        (["lo", "--capacity", "0"], "linkcast: capacity_mbps: expected a number of 0.001 or more, got 0.0"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_a_line(arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "linkcast", "watch", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
