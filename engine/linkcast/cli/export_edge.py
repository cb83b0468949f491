"""`linkcast export-edge`: a folder that forecasts on a device without linkcast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linkcast.cli.groups import source_note
from linkcast.cli.options import Json, Models
from linkcast.console import print_json, show


def export_edge(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where bandwidth_prediction_edge is written; made when not there.")
    ],
    models: Models = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also where other files stand, which are kept beside it."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the service groups' models as a folder for devices that have NumPy and TensorFlow Lite alone."""
    from linkcast.edge.export import export_edge as export

    bundle = export(folder, models, force=force)
    if as_json:
        print_json(
            {
                "folder": str(bundle.folder),
                "groups": dict(zip(bundle.groups, bundle.sources, strict=True)),
                "bytes": bundle.bytes,
                "checks": bundle.checks,
                "is_new": bundle.is_new,
                "previous": None if bundle.previous is None else str(bundle.previous),
            }
        )
        return
    notes = [
        f"Folder: {bundle.folder}",
        f"Groups: {', '.join(bundle.groups)} ({bundle.bytes / 1e6:.1f} MB in all)",
        *(f"Checked: {said}" for said in bundle.checks),
    ]
    if bundle.previous is not None:
        notes.append(f"What stood there is now: {bundle.previous}")
    if not bundle.is_new:
        notes.append("Nothing has changed since it was last written.")
    show(
        "\n".join(notes),
        *source_note(bundle.sources),
        "On the device, with NumPy and ai-edge-litert or tflite-runtime:\n  python edge_deployment.py --check",
    )
