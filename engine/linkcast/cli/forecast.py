"""`linkcast forecast`: every service group over a range of times."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from linkcast.cli.options import Device, Json, Models, Usage, complete_group
from linkcast.console import print_json, rounded, show, table
from linkcast.files import write_text


def forecast(
    group: Annotated[
        list[str] | None,
        typer.Argument(help="Service groups; default: all.", autocompletion=complete_group),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="ISO_TIME", help="First time; default: the next full hour."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="ISO_TIME", help="Last time, included; default: 23 hours after the first."),
    ] = None,
    every: Annotated[float, typer.Option("--every", metavar="HOURS", help="Hours between times.")] = 1.0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to a .json or .csv file."),
    ] = None,
    usage: Usage = None,
    device: Device = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Forecast the service groups over a range of times, to a table, JSON or CSV."""
    from linkcast.features import to_datetime64
    from linkcast.predictor import BandwidthPredictor

    if output is not None and output.suffix not in (".json", ".csv"):
        raise typer.BadParameter(
            f"expected a file that ends in .json or .csv, got {output.name}", param_hint="--output"
        )
    predictor = BandwidthPredictor(models)
    wanted = [predictor.engine.group(name).name for name in group or []]
    first = to_datetime64(start) if start is not None else to_datetime64(_next_hour())
    last = to_datetime64(end) if end is not None else first + np.timedelta64(23, "h")
    predictions = predictor.generate_time_series_predictions(
        first, last, every, usage_percentage=usage, device_group=device, as_numbers=True
    )
    if wanted:
        for entry in predictions:
            entry["predictions"] = {name: entry["predictions"][name] for name in wanted}

    if output is not None:
        if output.suffix == ".json":
            predictor.save_predictions_to_json(rounded(predictions), output)
        else:
            write_text(output, _to_csv(predictions))
    if as_json:
        print_json(predictions)
    elif output is not None:
        show(f"Wrote {len(predictions)} times to {output}")
    else:
        show(_to_table(predictions))


def _next_hour() -> datetime:
    return datetime.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _to_csv(predictions: list[dict[str, Any]]) -> str:
    """A line for each time and group, with the keys of `predict`; the allocation in percent."""
    text = io.StringIO()
    rows = [
        {"timestamp": entry["timestamp"], **rounded(values)}
        for entry in predictions
        for values in entry["predictions"].values()
    ]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _to_table(predictions: list[dict[str, Any]]) -> Any:
    """Times down, groups across; one group alone has its allocation beside it."""
    names = list(predictions[0]["predictions"])
    single = len(names) == 1
    rows = table(f"{names[0]}: forecast" if single else "Forecast [Mbit/s]", "Time")
    for heading in ("Forecast [Mbit/s]", "Allocation") if single else names:
        rows.add_column(heading, justify="right")
    rescued = False
    for entry in predictions:
        cells = []
        for name in names:
            values = entry["predictions"][name]
            fallback = values["source"] == "fallback"
            rescued |= fallback
            cells.append(f"{values['predicted_bandwidth_mbps']:.2f}{'*' if fallback else ''}")
        if single:
            cells.append(f"{values['bandwidth_allocation']:.2f} %")
        rows.add_row(f"{datetime.fromisoformat(entry['timestamp']):%a %Y-%m-%d %H:%M}", *cells)
    if rescued:
        rows.caption = "* from the fallback model"
    return rows
