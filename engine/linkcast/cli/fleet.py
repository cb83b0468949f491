"""`linkcast fleet`: thousands of links in a Parquet data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from linkcast.cli.options import Backend, BackendOption, Json, Models, PrecisionOption, Profile
from linkcast.console import note, print_json, progress, show, table

fleet = typer.Typer(no_args_is_help=True, help="Score, report and train thousands of links in a Parquet data set.")

WORST = 10  # links in the table

Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes, a core and an engine each; default: all cores.")
]


@fleet.command()
def score(
    data: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A Parquet file or folder: link, timestamp and the four features.")
    ],
    output: Annotated[Path, typer.Argument(help="A folder: new, or of a run of the same command, which then goes on.")],
    profile: Profile = "internet",
    workers: Workers = None,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="Run on Ray: a local cluster, or the one of --address (needs the fleet extra)."),
    ] = False,
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="A running Ray cluster, or auto; with --ray.")
    ] = None,
    state_in: Annotated[
        Path | None, typer.Option("--state-in", metavar="FOLDER", help="Go on from the states of an earlier run.")
    ] = None,
    state_out: Annotated[
        Path | None, typer.Option("--state-out", metavar="FOLDER", help="Write each link's state at its end.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad files out and report them, in place of an error.")
    ] = False,
    link: Annotated[str, typer.Option("--link", metavar="COLUMN", help="The column that names the link.")] = "link",
    timestamp: Annotated[str, typer.Option("--timestamp", metavar="COLUMN", help="The column of times.")] = "timestamp",
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="The sites' zone, whose clock is the calendar.")
    ] = None,
    step: Annotated[
        float | None, typer.Option("--step", metavar="SECONDS", help="Between two ticks; default: each link's own.")
    ] = None,
    horizon: Annotated[
        int, typer.Option("--horizon", min=1, max=10, help="Above 1: the P90 of the peak of so many steps, too.")
    ] = 1,
    level: Annotated[float, typer.Option("--level", help="Share of the outcomes that `reserve` holds.")] = 0.95,
    precision: PrecisionOption = "float32",
    capacity: Annotated[
        float | None, typer.Option("--capacity", metavar="MBPS", help="Of every link: allocate a share of it, too.")
    ] = None,
    capacities: Annotated[
        Path | None,
        typer.Option("--capacities", metavar="FILE", help="Parquet: link, capacity_mbps; over --capacity."),
    ] = None,
    models: Models = None,
    backend: BackendOption = Backend.AUTO,
    as_json: Json = False,
) -> None:
    """Forecast, reserve and allocate for every link and tick, and say what kind of link each is. Killed, it goes on."""
    from linkcast.fleet import Settings
    from linkcast.fleet import score as run
    from linkcast.fleet.score import LINKS

    if address is not None and not ray:
        raise typer.BadParameter("needs --ray", param_hint="--address")
    settings = Settings(
        profile,
        None if models is None else str(models),
        backend.value,
        precision,
        horizon,
        level,
        capacity,
        None if capacities is None else str(capacities.resolve()),
        link,
        timestamp,
        timezone,
        step,
        skip_bad,
    )
    manifest = run(
        data,
        output,
        settings,
        workers=workers,
        ray=(address or "local") if ray else None,
        state_in=state_in,
        state_out=state_out,
        bars=progress,
    )
    for name, reason in manifest["bad"].items():
        note(f"warning: left out: {reason if reason.startswith(name) else f'{name}: {reason}'}")
    if as_json:
        print_json({key: manifest[key] for key in ("links", "rows", "shards", "totals", "verdicts", "bad", "settings")})
        return
    show(*_summary(manifest, output / LINKS), f"Report: linkcast fleet report {output} -o fleet.html")


@fleet.command()
def report(
    output: Annotated[Path, typer.Argument(help="The folder of a run that has ended.")],
    page: Annotated[
        Path, typer.Option("--output", "-o", metavar="PAGE.html", help="Where the page is written.")
    ] = Path("fleet.html"),
    as_json: Json = False,
) -> None:
    """Write what a run found as one HTML page that needs nothing else: no network, no script."""
    from linkcast.fleet.report import write_page

    write_page(output, page)
    if as_json:
        print_json({"page": str(page)})
    else:
        print(page)


@fleet.command()
def train(
    data: Annotated[Path, typer.Argument(metavar="INPUT", help="What was scored.")],
    scored: Annotated[Path, typer.Argument(metavar="SCORED", help="The folder of its run, for the links' characters.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the bundles are written.")
    ] = Path("fleet-bundles"),
    clusters: Annotated[int, typer.Option("--clusters", min=1, max=16, help="Kinds of links, a model each.")] = 3,
    links: Annotated[int, typer.Option("--links", min=1, help="Links of a kind that are trained on.")] = 200,
    rows: Annotated[int, typer.Option("--rows", min=100, help="First rows of a link that are trained on.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same models.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Few epochs.")] = False,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Train one model on all links and one for each kind, from the bundled weights, and say which links gain."""
    from linkcast.fleet.train import train_fleet

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes about the machine it runs on
    result = train_fleet(
        data, scored, output, clusters=clusters, links=links, rows=rows, seed=seed, quick=quick, base=models
    )
    if as_json:
        print_json(result)
        return
    kinds = table("Mean absolute error over persistence's, on rows held out", "Model", "Links", "Bundled", "Trained",
                  "Gain", "Links that gain", "Kept")  # fmt: skip
    for one in result["models"]:
        kinds.add_row(one["name"], f"{one['links']:,}", f"{one['bundled']:.3f}", f"{one['trained']:.3f}",
                      f"{100.0 * one['gain']:+.1f} %", f"{one['gaining']:,}", one["kept"])  # fmt: skip
    show(kinds, f"Bundles: {output}")


def _summary(manifest: dict[str, Any], links: Path) -> list[Any]:
    import pyarrow.parquet as pq

    totals = manifest["totals"]
    head = (
        f"{totals['links']:,} links, {totals['written']:,} forecasts of {totals['rows']:,} rows; left out: "
        f"{totals['repeated']:,} of a time again, {totals['late']:,} late; {totals['gaps']:,} gaps"
    )
    verdicts = table("Verdicts", "Verdict", "Links", "Share")
    for verdict, count in manifest["verdicts"].items():
        verdicts.add_row(verdict, f"{count:,}", f"{100.0 * count / max(1, manifest['links']):.1f} %")
    columns = ["link", "mean_mbps", "mae", "persistence_mae", "best_rule", "skill", "above_p90", "verdict"]
    rows = pq.read_table(links, columns=columns).to_pylist()
    known = sorted((row for row in rows if row["skill"] is not None), key=lambda row: row["skill"])
    worst = table(
        "Least skill over the best naive rule in hindsight",
        "Link", "Mbit/s", "MAE", "Persistence", "Best rule", "Skill", "> P90", "Verdict", left=("Best rule", "Verdict"),
    )  # fmt: skip
    for row in known[:WORST]:
        above = "-" if row["above_p90"] is None else f"{100.0 * row['above_p90']:.1f} %"
        worst.add_row(
            row["link"], f"{row['mean_mbps']:,.1f}", f"{row['mae']:,.3f}", f"{row['persistence_mae']:,.3f}",
            row["best_rule"], f"{row['skill']:+.3f}", above, row["verdict"],
        )  # fmt: skip
    return [head, verdicts, worst]
