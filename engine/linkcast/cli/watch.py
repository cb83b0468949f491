"""`linkcast watch`: a link as it is now, its forecast, and what would be allocated. Nothing is applied."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkcast.cli.options import Backend, BackendOption, Json, Models, PrecisionOption, Profile, reads_traces
from linkcast.console import note

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkcast.live.record import Header, Tick
    from linkcast.live.sources import Source
    from linkcast.traces import Layout

SPEED = Path("/sys/class/net")


@reads_traces
def watch(
    link: Annotated[
        str,
        typer.Argument(metavar="INTERFACE|FILE|-", help="An interface, a file that grows, or - for standard input."),
    ],
    capacity: Annotated[
        float | None,
        typer.Option("--capacity", metavar="MBPS", help="Capacity of the link; default: what the interface says."),
    ] = None,
    profile: Profile = "internet",
    received: Annotated[
        bool, typer.Option("--received", help="What the interface receives; default: what it sends.")
    ] = False,
    ping: Annotated[
        list[str] | None,
        typer.Option("--ping", metavar="HOST", help="Round trip and loss from its echo replies. May be repeated."),
    ] = None,
    ticks: Annotated[int | None, typer.Option("--ticks", metavar="N", min=1, help="End after so many ticks.")] = None,
    tick: Annotated[
        float | None, typer.Option("--tick", metavar="SECONDS", help="Between ticks; default: the model's time step.")
    ] = None,
    risk: Annotated[float | None, typer.Option("--risk", help="Share of ticks in which it may be short.")] = None,
    *,
    reading: Layout,
    models: Models = None,
    backend: BackendOption = Backend.AUTO,
    precision: PrecisionOption = "float32",
    as_json: Json = False,
) -> None:
    """Watch a link live: rate, forecast with its band, allocation and why, latency, health. Ctrl-C ends it.

    Round-trip times come from the machine's own TCP connections over the interface; on a router, name a host to --ping.
    """
    from rich.console import Console

    from linkcast.live.config import check_config
    from linkcast.live.daemon import Daemon

    source = _source(link)
    if source["kind"] == "interface":
        source |= {"direction": "received" if received else "sent", "targets": ping or []}
    content: dict[str, Any] = {
        "capacity_mbps": _capacity(link, source["kind"]) if capacity is None else capacity,
        "profile": profile,
        "backend": backend.value,
        "precision": precision,
        "source": source,
        **({} if models is None else {"models": str(models)}),
        **({} if tick is None else {"tick_s": tick}),
        **({} if risk is None else {"controller": {"risk": risk}}),
    }
    config = check_config(content)
    own = _own_source(source, reading)
    console = Console(highlight=False, markup=False)
    if as_json or not console.is_terminal or console.is_dumb_terminal:
        lines = _Lines(as_json)
        daemon = Daemon(config, own, sinks=(lines,), say=lambda _: None)
        lines.gone = daemon.stop
        daemon.run(ticks)
        return
    from linkcast.live.screen import LiveView

    with LiveView(console, config.top["capacity_mbps"]) as view:
        Daemon(config, own, (view,), say=lambda _: None).run(ticks)


class _Lines:
    """A sink that prints a line a tick."""

    trouble: str | None = None

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.gone: Callable[[], None] = lambda: None  # called when nobody reads any more

    def write(self, tick: Tick) -> None:
        from linkcast.live.log import tick_line
        from linkcast.live.words import line_of

        try:
            print(tick_line(tick).decode().rstrip("\n") if self._as_json else line_of(tick), flush=True)
        except BrokenPipeError:  # as when it is piped to head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.gone()

    def reloaded(self, header: Header) -> None:
        """The next lines are of other models or options."""

    def close(self) -> None:
        """Nothing is held."""


def _source(link: str) -> dict[str, Any]:
    """What kind of source a word names."""
    import socket

    if link == "-":
        return {"kind": "stdin"}
    interfaces = [name for _, name in socket.if_nameindex()]
    if link in interfaces:
        return {"kind": "interface", "interface": link}
    if Path(link).exists() or "/" in link or "." in link:
        return {"kind": "file", "path": link}
    raise ValueError(f"{link}: expected an interface ({', '.join(interfaces)}), a file, or -")


def _own_source(source: dict[str, Any], reading: Layout) -> Source | None:
    """A file or standard input as the options say that it is read; None: the config's own way will do."""
    from linkcast.live.sources import FileSource, StdinSource

    if source["kind"] == "file":
        return FileSource(source["path"], reading)
    return StdinSource(reading) if source["kind"] == "stdin" else None


def _capacity(link: str, kind: str) -> float:
    """The speed that an interface says it has, Mbit/s."""
    speed = 0
    if kind == "interface":
        try:
            speed = int((SPEED / link / "speed").read_text(encoding="ascii"))
        except (OSError, ValueError):
            speed = 0
    if speed <= 0:
        raise ValueError(f"{link}: expected --capacity MBPS: it does not say how fast it is")
    note(f"{link}: {speed} Mbit/s by its own account; --capacity says another")
    return float(speed)
