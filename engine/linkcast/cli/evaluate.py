"""`linkcast evaluate`: a forecaster's scores on traces, beside the naive baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkcast.cli.options import (
    Backend,
    BackendOption,
    Column,
    DayFirst,
    Decimal,
    Json,
    MappingFile,
    Missing,
    Models,
    Separator,
    Step,
    Timezone,
    Unit,
    Where,
    layout,
)
from linkcast.cli.output import note, notes_of, print_json, progress, show, table

if TYPE_CHECKING:
    from linkcast.evaluation import Evaluation, ScoredTrace
    from linkcast.traces import Trace


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Traces: CSV, JSON, iperf3, Parquet, ...; - is standard input."),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A profile, a service group or a forecaster's name.")
    ] = "internet",
    last: Annotated[
        float | None,
        typer.Option(
            "--last",
            metavar="SHARE",
            help="Score the last share in time only, such as 0.3; the AR(10) is fitted on the part before.",
        ),
    ] = None,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="LightGBM beside it, fitted on the part before --last (reference extra)."),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw the scores to an image (needs the plot extra)."),
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
    models: Models = None,
    backend: BackendOption = Backend.AUTO,
    as_json: Json = False,
) -> None:
    """Score a forecaster on traces, beside the naive baselines."""
    if plot is not None and len(files) != 1:
        raise typer.BadParameter(f"expected one FILE to plot, got {len(files)}", param_hint="--plot")
    if reference and last is None:
        raise typer.BadParameter("needs --last: it is fitted on the part before", param_hint="--reference")
    from linkcast.engine import Engine
    from linkcast.evaluation import score_trace
    from linkcast.traces import read_trace

    reading = layout(column, unit, where, step, mapping, separator, decimal, timezone, day_first, missing)
    engine = Engine(models, backend.value)
    name = engine.resolve(model, "forecaster")
    results: list[tuple[ScoredTrace, Evaluation]] = []
    questions: list[list[str]] = []
    for file in files:
        trace = read_trace(file, reading)
        with progress(f"Evaluating {trace.name}", len(trace)) as advance:
            scored = score_trace(engine, name, trace, advance, last, reference)
        questions.append(notes_of(trace, engine, name))
        results.append((scored, scored.evaluation()))
    if plot is not None:
        from linkcast.plots import plot_evaluation

        plot_evaluation(*results[0], plot)
        note(f"wrote {plot}")
    if as_json:
        print_json(
            [
                {**trace_json(scored.trace), "warnings": asked, "last": last, "forecaster": name, **evaluation}
                for (scored, evaluation), asked in zip(results, questions, strict=True)
            ]
        )
        return
    items: list[Any] = []
    for scored, evaluation in results:
        items += ["\n".join(scored.trace.describe()), accuracy_table(name, evaluation, last), conclusion(evaluation)]
        if "sources" in evaluation:
            sources = evaluation["sources"]
            items += [source_table(sources), "\n".join(f"{key}: {one['verdict']}" for key, one in sources.items())]
    show(*items)


def trace_json(trace: Trace) -> dict[str, Any]:
    """What was read, for JSON."""
    return {
        "trace": trace.name,
        "rows": len(trace),
        "dropped_rows": trace.dropped_rows,
        "held_rows": trace.held_rows,
        "segments": len(trace.segment_starts),
        "step_s": trace.step_s,
        "step_range_s": trace.step_range_s(),
        "resampled_from_s": trace.resampled_from_s,
        "neutral": trace.neutral,
        "notices": trace.notices,
    }


def accuracy_table(forecaster: str, evaluation: Evaluation, last: float | None = None) -> Any:
    """Scores of the model and of each baseline; the lowest mean absolute error in bold."""
    from linkcast.evaluation import baseline_label

    part = f", last {100 * last:g} % in time" if last is not None else ""
    rows = table(f"Accuracy of {forecaster}, one step ahead{part}: {evaluation['samples']:,} samples")
    rows.add_column("Forecast", no_wrap=True)
    for heading in ("In 2 %", "In 10 %", "MAE [Mbit/s]", "MSE", "MAPE", "R²"):
        rows.add_column(heading, justify="right", no_wrap=True)
    every = {"model": evaluation["model"], **evaluation["baselines"]}
    best = min(every, key=lambda name: every[name]["mae"])
    if "reference" in evaluation:
        every["LightGBM (reference)"] = evaluation["reference"]
    for name, scores in every.items():
        rows.add_row(
            baseline_label(name),
            f"{100.0 * scores['within_2_percent']:.1f} %",
            f"{100.0 * scores['within_10_percent']:.1f} %",
            f"{scores['mae']:.3f}",
            f"{scores['mse']:.4g}",
            f"{scores['mape']:.1f} %",
            f"{scores['r2']:.3f}",
            style="bold" if name == best else "",
        )
    return rows


def conclusion(evaluation: Evaluation) -> str:
    """The verdict, and how sure it is."""
    from linkcast.evaluation import baseline_label

    low, high = evaluation["interval"]["mae"]
    best = baseline_label(evaluation["best_baseline"], article=True)
    return (
        f"{evaluation['verdict']}\n95 % intervals (block bootstrap): MAE {low:.3f} to {high:.3f}, "
        f"skill over {best} {skill_text(evaluation)}."
    )


def source_table(sources: dict[str, Evaluation]) -> Any:
    """A line for each source."""
    from linkcast.evaluation import baseline_label

    rows = table("By source (MAE in Mbit/s)")
    rows.add_column("Source", overflow="fold", min_width=12)
    rows.add_column("Samples", justify="right", no_wrap=True)
    rows.add_column("MAE", justify="right", no_wrap=True)
    rows.add_column("Best naive")
    rows.add_column("Its MAE", justify="right", no_wrap=True)
    rows.add_column("Skill (interval)", justify="right", no_wrap=True)
    for name, one in sources.items():
        best = one["best_baseline"]
        least = one["baselines"][best]["mae"]
        mae = one["model"]["mae"]
        rows.add_row(name, f"{one['samples']:,}", f"{mae:.3f}", baseline_label(best), f"{least:.3f}", skill_text(one))
    return rows


def skill_text(evaluation: Evaluation) -> str:
    """ "+12.3 % (10.1 to 14.9)"; of a model that is off by more than twice the baseline's error, no interval."""
    low, high = evaluation["interval"]["skill"]
    if evaluation["skill"] < -1.0:
        return f"{100 * evaluation['skill']:+.0f} %"
    return f"{100 * evaluation['skill']:+.1f} % ({100 * low:.1f} to {100 * high:.1f})"
