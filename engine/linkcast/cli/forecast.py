"""`linkcast forecast`: a link from the end of its file on, or every service group over a range of times."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from linkcast.cli.options import Device, Json, Models, Profile, Usage, complete_group, group_of, reads_traces
from linkcast.console import note, notes_of, print_json, progress, rounded, show, table
from linkcast.files import write_text

if TYPE_CHECKING:
    from linkcast.ahead import LinkAhead
    from linkcast.traces import Layout, Trace


@reads_traces
def forecast(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE | GROUP",
            help="A link's telemetry: CSV, JSON, iperf3, Parquet, ... or - for standard input; or service groups; "
            "default: all groups.",
            autocompletion=complete_group,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="ISO_TIME", help="First time; default: the next full hour."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="ISO_TIME", help="Last time, included; default: 23 hours after the first."),
    ] = None,
    every: Annotated[
        float | None, typer.Option("--every", metavar="HOURS", help="Hours between times; default: 1.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to a .json or .csv file."),
    ] = None,
    usage: Usage = None,
    device: Device = None,
    profile: Profile = "internet",
    risk: Annotated[
        float | None, typer.Option("--risk", help="Of a FILE: share of ticks in which the reserve may be short.")
    ] = None,
    *,
    reading: Layout,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Forecast a link's next ten ticks from its telemetry in a FILE, with their band and what to reserve.

    Without a FILE: the service groups over a range of times, from --from to --to.
    """
    from linkcast.traces import Layout

    if output is not None and output.suffix not in (".json", ".csv"):
        raise typer.BadParameter(
            f"expected a file that ends in .json or .csv, got {output.name}", param_hint="--output"
        )
    of_groups = {"--from": start, "--to": end, "--every": every, "--usage": usage, "--device": device}
    if what and any(map(_is_file, what)):
        if len(what) > 1:
            raise typer.BadParameter(f"expected one FILE, got {' '.join(what)}", param_hint="FILE")
        if given := [option for option, value in of_groups.items() if value is not None]:
            raise typer.BadParameter(
                "is of service groups; a link is forecast from its FILE's end on", param_hint=given
            )
        _forecast_link(what[0], reading, models, profile, 0.05 if risk is None else risk, output, as_json)
        return
    if reading != Layout() or risk is not None:
        raise typer.BadParameter("needs a FILE", param_hint="--risk, --column and what else says how to read it")
    _forecast_groups(what or [], start, end, every, usage, device, models, output, as_json)


def _is_file(word: str) -> bool:
    """Whether a word means a file, be there one or not: no service group is called so."""
    return word == "-" or Path(word).exists() or "/" in word or Path(word).suffix != ""


def _forecast_link(
    file: str, reading: Layout, models: Path | None, profile: str, risk: float, output: Path | None, as_json: bool
) -> None:
    """The next ticks of the link, or of each of the links, in a file."""
    from linkcast.ahead import forecast_ahead
    from linkcast.engine import Engine
    from linkcast.traces import read_trace

    if not 0.0 < risk < 1.0:
        raise typer.BadParameter(f"expected above 0 and below 1, got {risk:g}", param_hint="--risk")
    engine = Engine(models)
    trace = read_trace(file, reading)
    with progress(f"Reading {trace.name}", len(trace)) as advance:
        links = forecast_ahead(engine, profile, trace, 1.0 - risk, advance)
    questions = notes_of(trace, engine, links[0].model)
    left_out = _left_out(trace, links, engine.spec(links[0].model)["window"] or 1)
    for said in left_out:
        note(f"{trace.name}: {said}")
    reports = [link.report() for link in links]
    whole = {"trace": trace.name, "links": reports, "notices": [*trace.notices, *left_out], "warnings": questions}
    if output is not None:
        if output.suffix == ".json":
            write_text(output, json.dumps(rounded(whole), indent=2, ensure_ascii=False) + "\n")
        else:
            rows = [{"link": one["link"] or trace.name, **rounded(row)} for one in reports for row in one["ahead"]]
            write_text(output, _csv_of(rows))
        note(f"wrote {output}")
    if as_json:
        print_json(whole)
    elif output is None:
        legend = (
            "What comes lies between P10 and P90 four times in five, and is above the reserve in "
            f"{100.0 * risk:g} % of the ticks. Peak: the highest value up to then, below it nine times in ten."
        )
        show("\n".join(trace.describe()), *(_link_table(link, trace.name) for link in links), legend)


def _left_out(trace: Trace, links: list[LinkAhead], window: int) -> list[str]:
    """A sentence on the links of a file that have no forecast, if there are any."""
    forecast = {link.link for link in links}
    without = [name for name in dict.fromkeys(trace.sources) if name not in forecast]
    if not without:
        return []
    named = ", ".join([*without[:5], *(["..."] if len(without) > 5 else [])])
    return [f"no forecast for {named}: fewer than {window} rows since the link's last gap or its beginning"]


def _link_table(link: LinkAhead, file: str) -> Any:
    title = f"{link.link or file}: the next {len(link.answers)} ticks [Mbit/s]"
    clock = "Time" if link.clock == "as written" else f"Time ({link.clock})"
    rows = table(title, "Tick" if link.time(1) is None else clock, "Forecast", "P10", "P90", "Reserve", "Peak P90")
    for steps, (answer, peak_p90) in enumerate(zip(link.answers, link.peak_p90, strict=True), 1):
        values = (answer.mbps, answer.p10, answer.p90, answer.reserve, peak_p90)
        time = link.time(steps)
        first = f"+{steps}" if time is None else _clock_text(time)
        rows.add_row(first, *(f"{value:.2f}" for value in values))
    return rows


def _clock_text(time: np.datetime64) -> str:
    """To the millisecond, where there are any: "2026-01-05 20:08:20", "2026-01-05 20:08:20.500"."""
    return str(np.datetime_as_string(time, unit="ms")).replace("T", " ").removesuffix(".000")


def _forecast_groups(
    names: list[str],
    start: str | None,
    end: str | None,
    every: float | None,
    usage: float | None,
    device: str | None,
    models: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """The service groups, or those named, at each of the times."""
    from linkcast.features import to_datetime64
    from linkcast.predictor import BandwidthPredictor

    predictor = BandwidthPredictor(models)
    wanted = [group_of(predictor.engine, name).name for name in names]
    first = to_datetime64(start) if start is not None else to_datetime64(_next_hour())
    last = to_datetime64(end) if end is not None else first + np.timedelta64(23, "h")
    predictions = predictor.generate_time_series_predictions(
        first, last, 1.0 if every is None else every, usage_percentage=usage, device_group=device, as_numbers=True
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
    return _csv_of(
        [
            {"timestamp": entry["timestamp"], **rounded(values)}
            for entry in predictions
            for values in entry["predictions"].values()
        ]
    )


def _csv_of(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
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
