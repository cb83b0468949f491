"""Options that several subcommands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Backend(str, Enum):
    """What runs a model."""

    AUTO = "auto"
    NATIVE = "native"
    TFLITE = "tflite"


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Models = Annotated[
    Path | None,
    typer.Option("--models", metavar="FOLDER", help="A folder with models/ and metadata/; default: the bundled one."),
]
BackendOption = Annotated[Backend, typer.Option("--backend", help="What runs the models.")]
Profile = Annotated[str, typer.Option("--profile", "-p", help="The link's profile: internet or datacenter.")]
Usage = Annotated[
    float | None,
    typer.Option(
        "--usage", metavar="PERCENT", help="Usage of the group's maximum, 0 to 100, instead of the typical one."
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="A device group, such as mobile; default: the mix of all."),
]
Capacity = Annotated[
    float | None,
    typer.Option("--capacity", metavar="MBPS", help="Capacity of the link; default: the one the allocator knows."),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        "-c",
        metavar="FEATURE=SOURCE",
        help="Read a feature from another column, or take a constant: bandwidth_mbps=ul_mbps, packet_loss=0.",
    ),
]


def parse_columns(assignments: list[str] | None) -> dict[str, str | float]:
    """["bandwidth_mbps=ul_mbps", "packet_loss=0"] -> {"bandwidth_mbps": "ul_mbps", "packet_loss": 0.0}.

    Raises:
        typer.BadParameter: no "=" in an assignment.
    """
    columns: dict[str, str | float] = {}
    for assignment in assignments or []:
        feature, separator, source = assignment.partition("=")
        if not separator or not feature or not source:
            raise typer.BadParameter(f"expected FEATURE=SOURCE, got {assignment!r}", param_hint="--column")
        try:
            columns[feature] = float(source)
        except ValueError:
            columns[feature] = source
    return columns
