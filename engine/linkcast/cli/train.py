"""`linkcast train`: trains models and writes a bundle folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linkcast.cli.options import Json, reads_traces
from linkcast.console import print_json, show

if TYPE_CHECKING:
    from linkcast.traces import Layout

MOST_WORKERS = 4  # by default: each takes a gigabyte


@reads_traces
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
    *,
    reading: Layout,
    as_json: Json = False,
) -> None:
    """Train models on the simulator or on your own telemetry, and write them with their metadata."""
    from linkcast.traces import Layout

    if telemetry is None and reading != Layout():
        raise typer.BadParameter(
            "needs --telemetry FILE", param_hint="--column, --unit and what else says how to read it"
        )
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
