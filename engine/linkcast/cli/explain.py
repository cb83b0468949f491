"""`linkcast explain`: one decision of a decision log, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linkcast.cli.options import Json
from linkcast.console import print_json, show


def explain(
    log: Annotated[Path, typer.Argument(help="A decision log: decisions.jsonl.", metavar="LOG")],
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="TIME", help="2026-01-09T20:03:05, 20:03:05, seconds since 1970, or #185, a tick."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Tell one decision of a decision log: what was measured, who weighed in, the band, the risk, what held it back."""
    from linkcast.live.explain import as_dict, find_tick
    from linkcast.live.explain import explain as tell

    header, tick = find_tick(log, at)
    if as_json:
        print_json(as_dict(header, tick))
        return
    show(tell(header, tick))
