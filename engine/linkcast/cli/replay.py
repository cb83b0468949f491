"""`linkcast replay`: walks a trace tick by tick, as a controller would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkcast.cli.options import Backend, BackendOption, Capacity, Json, Models, PrecisionOption, Profile, reads_traces
from linkcast.console import note, notes_of, print_json, progress, show, table

if TYPE_CHECKING:
    from linkcast.traces import Layout, Trace

BAR_WIDTH = 40
SKILL_COLUMNS = ("Median", "Least", "Most", "Last", "Below 0", "> P90", "< P10", "Width", "Answers")


@reads_traces
def replay(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A trace: CSV, JSON, iperf3, Parquet, ... or - for standard input, or a decision log; "
            "default: a simulated evening."
        ),
    ] = None,
    profile: Profile = "internet",
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw the replay to an image (needs the plot extra)."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show a FILE tick by tick, and what reserving gains.")] = False,
    speed: Annotated[float, typer.Option("--speed", metavar="TICKS", min=0.1, help="Ticks a second to watch.")] = 30.0,
    fast: Annotated[bool, typer.Option("--fast", help="Print the end of --watch at once.")] = False,
    rows: Annotated[
        int | None, typer.Option("--rows", min=11, help="Rows of the simulated trace; default: 1200 or 3600.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated trace.")] = 0,
    capacity: Capacity = None,
    over: Annotated[
        int,
        typer.Option("--over", metavar="TICKS", min=1, help="Ticks that the rolling skill looks at."),
    ] = 60,
    *,
    reading: Layout,
    models: Models = None,
    backend: BackendOption = Backend.AUTO,
    precision: PrecisionOption = "float32",
    as_json: Json = False,
) -> None:
    """Replay a trace: forecast and decide at each tick, then compare with what came. Without a FILE: watch an evening.

    Without a FILE it plays a simulated evening on a 100 Mbit/s line, as --watch plays a file: what came, what had been
    forecast and reserved for it, then what that gains beside simpler rules. Ctrl-C skips to the end.

    A decision log is decided again, tick by tick: every decision has to come out bit for bit (exit status 1 if not).
    """
    from linkcast import replay as replaying
    from linkcast.cli.scores import accuracy_table
    from linkcast.engine import Engine
    from linkcast.live.log import is_log
    from linkcast.traces import Layout, read_trace

    if file is None and reading != Layout():
        raise typer.BadParameter("needs a FILE", param_hint="--column, --unit and what else says how to read it")
    if file is not None and is_log(file):
        from linkcast.cli.rerun import rerun_log

        rerun_log(file, models, as_json)
        return
    engine = Engine(models, backend.value, precision=precision)
    evening = file is None and profile == "internet"
    trace = _simulate(profile, rows, seed) if file is None else read_trace(file, reading)
    if evening or watch or fast:
        from linkcast.cli.walk import show_walk
        from linkcast.simulation.evening import CAPACITY_MBPS

        known = CAPACITY_MBPS if evening and capacity is None else capacity
        show_walk(engine, trace, profile, known, speed, fast, plot, as_json)
        if evening and not as_json:
            print("\nA file of yours: linkcast replay FILE --watch --capacity 100")
        return
    with progress(f"Replaying {trace.name}", len(trace)) as advance:
        result = replaying.replay(engine, trace, profile, advance, capacity, over)
    if plot is not None:
        from linkcast.plots import plot_replay

        plot_replay(result, plot)
        note(f"wrote {plot}")
    questions = notes_of(trace, engine, result.forecaster)
    report = {**result.report(), "notices": trace.notices, "warnings": questions}
    if as_json:
        print_json(report)
        return
    show(
        "\n".join(trace.describe()),
        accuracy_table(result.forecaster, result.evaluation),
        result.evaluation["verdict"],
        _skill_table(report, result.skill_ticks),
        _latency_table(report),
        _allocation_table(report),
    )


def _simulate(profile: str, rows: int | None, seed: int) -> Trace:
    """The evening, or a link of another profile."""
    from linkcast.simulation import simulate_trace
    from linkcast.simulation.evening import ROWS, busy_evening

    if profile == "internet":
        return busy_evening(ROWS if rows is None else rows, seed)
    return simulate_trace(profile, 3600 if rows is None else rows, seed)


def _skill_table(report: dict[str, Any], ticks: int) -> Any:
    """The stream's rolling skill, how often its band was left, and who answered."""
    from linkcast.cli.scores import percent

    skill, stream = report["rolling_skill"], report["stream"]
    title = f"The stream: skill over the EWMA, last {ticks} ticks; band; answers"
    rows = table(title, *SKILL_COLUMNS, close=True)
    values = ["-"] * 5
    if skill is not None:
        values = [f"{skill[key]:+.2f}" for key in ("median", "least", "most", "last")]
        values.append(f"{100.0 * skill['share_below_zero']:.1f} %")
    band = ["-"] * 3
    if stream["band"] is not None:
        band = [f"{percent(stream['band'][key])} %" for key in ("above_p90", "below_p10")]
        band.append(f"{stream['band']['width']:.3f}")
    answers = ", ".join(f"{source} {count:,}" for source, count in stream["answers_by_source"].items())
    rows.add_row(*values, *band, answers)
    return rows


def _latency_table(report: dict[str, Any]) -> Any:
    rows = table("Latency of one call [µs]", "Call", "Model", "Runs on", "p50", "p99", "max", left=("Model", "Runs on"))
    for (call, times), (model, backend) in zip(report["latency_us"].items(), report["models"].items(), strict=True):
        rows.add_row(call, model, backend, *(f"{times[key]:.1f}" for key in ("p50", "p99", "max")))
    return rows


def _allocation_table(report: dict[str, Any]) -> Any:
    allocation = report["allocation"]
    capacity = allocation["capacity_mbps"]
    link = "the link" if capacity is None else f"a {capacity:,g} Mbit/s link"
    title = f"Allocation: {allocation['mean_percent']:.1f} % of {link} on average"
    rows = table(title, "Allocation", "Ticks", "Share", "", left=("",))
    most = max(allocation["ticks_by_percent"].values())
    for share, ticks in allocation["ticks_by_percent"].items():
        bar = "█" * round(BAR_WIDTH * ticks / most)
        rows.add_row(f"{share:>3} %", f"{ticks:,}", f"{100.0 * ticks / report['ticks']:.1f} %", bar)
    return rows
