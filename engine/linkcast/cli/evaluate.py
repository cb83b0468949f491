"""`linkcast evaluate`: a forecaster's scores on traces, beside the naive baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkcast.cli.options import Backend, BackendOption, Json, Models, PrecisionOption, reads_traces
from linkcast.console import note, notes_of, print_json, progress, show

if TYPE_CHECKING:
    from linkcast.evaluation import Evaluation, ScoredTrace
    from linkcast.traces import Layout, Trace


@reads_traces
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
            help="Score the last share in time only, such as 0.3; what learns has also seen the part before.",
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
    *,
    reading: Layout,
    models: Models = None,
    backend: BackendOption = Backend.AUTO,
    precision: PrecisionOption = "float32",
    as_json: Json = False,
) -> None:
    """Score a forecaster on traces: as a stream that learns its link, and alone, beside the naive rules."""
    if plot is not None and len(files) != 1:
        raise typer.BadParameter(f"expected one FILE to plot, got {len(files)}", param_hint="--plot")
    if reference and last is None:
        raise typer.BadParameter("needs --last: it is fitted on the part before", param_hint="--reference")
    from linkcast.cli.scores import accuracy_table, conclusion, outlook_tables, source_table
    from linkcast.engine import Engine
    from linkcast.evaluation import score_trace
    from linkcast.traces import read_trace

    engine = Engine(models, backend.value, precision=precision)
    name = engine.resolve(model, "forecaster")
    results: list[tuple[ScoredTrace, Evaluation]] = []
    questions: list[list[str]] = []
    for file in files:
        trace = read_trace(file, reading)
        with progress(f"Evaluating {trace.name}", 2 * len(trace)) as advance:
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
        items += outlook_tables(evaluation["outlook"])
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
