"""`linkcast predict`: one service group, or all, at one time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from linkcast.cli.groups import source_note
from linkcast.cli.options import Device, Json, Models, Usage, complete_group, group_of
from linkcast.console import print_json, show, table


def predict(
    group: Annotated[
        str | None,
        typer.Argument(
            help="Streaming, Gaming, Social Media, Shopping or Software; default: all.", autocompletion=complete_group
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="ISO_TIME", help="Such as 2026-03-02T18:00; default: now."),
    ] = None,
    usage: Usage = None,
    device: Device = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Predict what a service group needs at a time."""
    from linkcast.features import to_datetime64
    from linkcast.groups import group_source
    from linkcast.predictor import BandwidthPredictor

    predictor = BandwidthPredictor(models)
    when = to_datetime64(at if at is not None else datetime.now().replace(second=0, microsecond=0))
    if group is None:
        predictions = predictor.predict_all_groups(when, usage, device, as_numbers=True)
    else:
        group = group_of(predictor.engine, group).name
        prediction = predictor.predict(when, group, usage, device, as_numbers=True)
        predictions = {str(prediction["service_group"]): prediction}
    if as_json:
        print_json(predictions if group is None else prediction)
        return
    columns = ("Group", "Group id", "Service id", "Forecast [Mbit/s]", "Allocation", "Source")
    rows = table(f"Bandwidth for {when.item():%A %Y-%m-%d %H:%M}", *columns, left=("Source",))
    for name, values in predictions.items():
        rows.add_row(
            name,
            str(values["group_id"]),
            str(values["service_id"]),
            f"{values['predicted_bandwidth_mbps']:.2f}",
            f"{values['bandwidth_allocation']:.2f} %",
            str(values["source"]),
        )
    engine = predictor.engine
    show(rows, *source_note(group_source(engine.manifest, engine.group(name)) for name in predictions))
