"""`linkcast run`: the daemon, as a config file says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from linkcast.console import fail, note


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to measure, decide and apply.")],
    check: Annotated[bool, typer.Option("--check", help="Check the file, load the models, and end.")] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Put back what a killed linkcast has left at the interface, and end.")
    ] = False,
    ticks: Annotated[
        int | None, typer.Option("--ticks", metavar="N", min=1, help="End after so many ticks; default: at a signal.")
    ] = None,
) -> None:
    """Run the controller of a link: telemetry in, a forecast and an allocation each tick, applied if the file says so.

    Nothing is applied unless the file has dry_run = false. SIGTERM puts the interface back as it was and ends, SIGHUP
    reads file and models again, SIGUSR1 prints the state. The keys: docs/run.md.
    """
    from linkcast.live.config import read_config

    settings = read_config(config)
    if restore:
        from linkcast.live.daemon import restore_leftovers

        note(restore_leftovers(settings) or "nothing of linkcast's is there")
        return
    if check:
        from linkcast.live.build import engine_of, options_of

        engine_of(settings)
        options_of(engine_of(settings)[0], settings)
        note(f"{config.name}: is right; dry_run = {str(settings.top['dry_run']).lower()}")
        return
    from linkcast.live.daemon import Daemon

    trouble = Daemon(settings).run(ticks)
    if trouble is not None:
        fail(trouble)
    sys.stdout.flush()
