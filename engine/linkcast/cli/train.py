"""`linkcast train`: trains models and writes a bundle folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from linkcast.cli.options import (
    Column,
    DayFirst,
    Decimal,
    Json,
    MappingFile,
    Missing,
    Separator,
    Step,
    Timezone,
    Unit,
    Where,
    layout,
)
from linkcast.console import print_json, show

MOST_WORKERS = 4  # by default: each takes a gigabyte


def train(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where models/ and metadata/ are written.")
    ] = Path("linkcast-bundle"),
    telemetry: Annotated[
        Path | None,
        typer.Option(
            "--telemetry", "-t", metavar="FILE", help="Train on a CSV or Parquet trace, not on the simulator."
        ),
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option(
            "--traces", metavar="FOLDER", help="Train the internet forecaster on public traces of real links, too."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="NAME", help="Train this profile, service group or model only; may be repeated."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few epochs: minutes instead of more than half an hour.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same models.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Models trained side by side, a core each; default: as many as cores."),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="default, or classic for the forecasters: Adam 1e-3, squared error, batch 32, early stopping.",
        ),
    ] = "default",
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", metavar="FOLDER", help="Bundle to take the other models from; default: the bundled one."
        ),
    ] = None,
    column: Column = None,
    unit: Unit = None,
    where: Where = None,
    step: Step = None,
    mapping: MappingFile = None,
    separator: Separator = None,
    decimal: Decimal = None,
    timezone: Timezone = None,
    day_first: DayFirst = None,
    missing: Missing = None,
    as_json: Json = False,
) -> None:
    """Train models on the simulator or on your own telemetry, and write them with their metadata."""
    how = (column, unit, where, step, mapping, separator, decimal, timezone, day_first, missing)
    if telemetry is None and any(option is not None for option in how):
        raise typer.BadParameter(
            "needs --telemetry FILE", param_hint="--column, --unit and what else says how to read it"
        )
    reading = layout(*how)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes about the machine it runs on
    from linkcast.training import run

    result = run(
        output,
        telemetry,
        traces=traces,
        seed=seed,
        quick=quick,
        only=only,
        columns=reading,
        base=base,
        recipe=recipe,
        workers=workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS),
    )
    if as_json:
        print_json(
            {
                "folder": str(result.folder),
                "report": str(result.report),
                "seconds": result.seconds,
                "trained": {name: result.manifest["models"][name]["skill"] for name in result.trained},
            }
        )
        return
    models = {name: result.manifest["models"][name] for name in result.trained}
    read = dict.fromkeys(line for model in models.values() for line in model["trained_on"].get("read", []))
    verdicts = [f"{name}: {model['skill']['verdict']}" for name, model in models.items()]
    show(
        *(["\n".join(read)] if read else []),
        "\n".join(verdicts),
        f"Trained {', '.join(result.trained)} in {result.seconds / 60:.1f} min.\n"
        f"Bundle: {result.folder}\nReport: {result.report}",
    )
