"""`linkcast evaluate`: a forecaster's scores on traces, beside the naive baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkcast.cli.options import Backend, BackendOption, Column, Json, Models, parse_columns
from linkcast.cli.output import print_json, progress, show, table

if TYPE_CHECKING:
    from linkcast.evaluation import Evaluation
    from linkcast.traces import Trace


def evaluate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet traces.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A profile, a service group or a forecaster's name.")
    ] = "internet",
    column: Column = None,
    models: Models = None,
    backend: BackendOption = Backend.AUTO,
    as_json: Json = False,
) -> None:
    """Score a forecaster on traces, beside the naive baselines."""
    from linkcast.engine import Engine
    from linkcast.evaluation import evaluate_trace
    from linkcast.traces import read_trace

    columns = parse_columns(column)
    engine = Engine(models, backend.value)
    name = engine.resolve(model, "forecaster")
    results = []
    for file in files:
        trace = read_trace(file, columns)
        with progress(f"Evaluating {trace.name}", len(trace)) as advance:
            results.append((trace, evaluate_trace(engine, name, trace, advance)))
    if as_json:
        print_json(
            [
                {
                    "trace": trace.name,
                    "rows": len(trace),
                    "dropped_rows": trace.dropped_rows,
                    "segments": len(trace.segment_starts),
                    "neutral": trace.neutral,
                    "forecaster": name,
                    **evaluation,
                }
                for trace, evaluation in results
            ]
        )
        return
    items: list[Any] = []
    for trace, evaluation in results:
        items += [describe_trace(trace), accuracy_table(name, evaluation), evaluation["verdict"]]
    show(*items)


def describe_trace(trace: Trace) -> str:
    """ "dev.parquet: 22,100 rows in 18 segments, 12 dropped", and what was not measured in lines of its own."""
    segments = len(trace.segment_starts)
    text = f"{trace.name}: {len(trace):,} rows in {segments:,} segment{'s' if segments != 1 else ''}"
    if trace.dropped_rows:
        text += f", {trace.dropped_rows:,} dropped (no value)"
    return "\n".join([text, *trace.neutral_notes()])


def accuracy_table(forecaster: str, evaluation: Evaluation) -> Any:
    """Scores of the model and of each baseline; the lowest mean absolute error in bold."""
    from linkcast.evaluation import baseline_label

    rows = table(f"Accuracy of {forecaster}, one step ahead")
    rows.add_column("Forecast", no_wrap=True)
    for heading in ("Within 2 %", "Within 10 %", "MAE [Mbit/s]", "MAPE", "R²"):
        rows.add_column(heading, justify="right")
    every = {"model": evaluation["model"], **evaluation["baselines"]}
    best = min(every, key=lambda name: every[name]["mae"])
    for name, scores in every.items():
        rows.add_row(
            baseline_label(name),
            f"{100.0 * scores['within_2_percent']:.1f} %",
            f"{100.0 * scores['within_10_percent']:.1f} %",
            f"{scores['mae']:.3f}",
            f"{scores['mape']:.1f} %",
            f"{scores['r2']:.3f}",
            style="bold" if name == best else "",
        )
    return rows
