"""`linkcast train`: trains models and writes a bundle folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkcast.cli.options import Json, reads_traces
from linkcast.console import note, print_json, show

if TYPE_CHECKING:
    from linkcast.traces import Layout

MOST_WORKERS = 4  # by default: each takes a gigabyte
NOT_BETTER = 4  # exit status of --require-better


@reads_traces
def train(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where models/ and metadata/ are written.")
    ] = Path("linkcast-bundle"),
    telemetry: Annotated[
        Path | None,
        typer.Option(
            "--telemetry",
            "-t",
            metavar="FILE",
            help="Train on a trace of yours: from the bundled weights on, and the better of both is kept.",
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
    group: Annotated[
        str | None,
        typer.Option(
            "--group", metavar="NAME", help="Make a new service group of the telemetry; see docs/new-group.md."
        ),
    ] = None,
    group_id: Annotated[
        int | None, typer.Option("--group-id", help="Its number; default: the next that is free.")
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            metavar="NAME=ID",
            help="A service of it, the default one first; may be repeated. Default: one of the group's name.",
        ),
    ] = None,
    maximum: Annotated[
        float | None,
        typer.Option("--maximum", metavar="MBPS", help="What it may have; default: the highest rate in the telemetry."),
    ] = None,
    require_better: Annotated[
        bool,
        typer.Option(
            "--require-better",
            help=f"Exit status {NOT_BETTER} unless each trained forecaster beats the bundled one and every naive rule.",
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A first look: a few epochs, a minute on telemetry and minutes on the simulator. Without it training "
            "goes on while it helps: minutes on telemetry, more than half an hour on the simulator.",
        ),
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
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run of the same options and data that was interrupted."),
    ] = False,
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
    if telemetry is None and (group is not None or require_better):
        raise typer.BadParameter(
            "needs --telemetry FILE", param_hint="--group" if group is not None else "--require-better"
        )
    if group is not None and only:
        raise typer.BadParameter("trains its own models; leave it out", param_hint="--only beside --group")
    if group is None and (group_id is not None or service or maximum is not None):
        raise typer.BadParameter("need --group NAME", param_hint="--group-id, --service and --maximum")
    asked = None if group is None else _new_group(group, group_id, service, maximum)
    from linkcast.training import run
    from linkcast.training.warm_start import is_better, sentence

    try:
        result = run(
            output,
            telemetry,
            traces=traces,
            seed=seed,
            quick=quick,
            only=only,
            columns=reading,
            base=base,
            group=asked,
            recipe=recipe,
            workers=workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS),
            resume=resume,
        )
    except KeyboardInterrupt:
        note(f"interrupted: {output} is as it was; the same command with --resume goes on behind what was trained")
        raise
    models = {name: result.manifest["models"][name] for name in result.trained}
    worse = [
        name
        for name, model in models.items()
        if require_better and model["role"] == "forecaster" and not is_better(model["skill"])
    ]
    if as_json:
        print_json(
            {
                "folder": str(result.folder),
                "report": str(result.report),
                "seconds": result.seconds,
                "trained": {name: model["skill"] for name, model in models.items()},
            }
        )
    else:
        read = dict.fromkeys(line for model in models.values() for line in model["trained_on"].get("read", []))
        says = [
            sentence(name, model["skill"]) if "start" in model["skill"] else f"{name}: {model['skill']['verdict']}"
            for name, model in models.items()
        ]
        show(
            *(["\n".join(read)] if read else []),
            "\n".join(says),
            *([_group_line(result.folder, asked.key)] if asked is not None else []),
            f"Trained {', '.join(result.trained)} in {_time(result.seconds)}.\n"
            f"Bundle: {result.folder}\nReport: {result.report}",
        )
    if worse:
        note(f"not better than the bundled model and every naive rule: {', '.join(worse)}")
        sys.exit(NOT_BETTER)


def _new_group(name: str, group_id: int | None, service: list[str] | None, maximum: float | None) -> Any:
    from linkcast.training.new_group import NewGroup

    services = {}
    for assignment in service or []:
        title, separator, number = assignment.rpartition("=")
        if not separator or not title or not number.isdecimal():
            raise typer.BadParameter(
                f"expected NAME=ID, such as 'Video calls=601', got {assignment!r}", param_hint="--service"
            )
        services[title] = int(number)
    return NewGroup(name, group_id, services or None, maximum)


def _group_line(folder: Path, key: str) -> str:
    """What the new group is called by."""
    from linkcast.engine import Engine

    group = Engine(folder).groups[key]
    services = ", ".join(f"{name} {number}" for name, number in group.services.items())
    profile = "" if group.profile is not None else ", no profile (an hour of the week has no row): its fallback answers"
    return (
        f"New group {group.name}: id {group.group_id}, services {services}, at most {group.max_bandwidth_mbps:.4g} "
        f"Mbit/s{profile}."
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
