"""`linkcast evaluate`: a forecaster's scores on traces, beside the naive baselines."""

from __future__ import annotations

import math
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
    from linkcast.outlook import Outlook
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
    """Score a forecaster on traces: as a stream that learns its link, and alone, beside the naive rules."""
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


def accuracy_table(forecaster: str, evaluation: Evaluation, last: float | None = None) -> Any:
    """Scores of the stream, if any, the model and each baseline; the lowest mean absolute error in bold."""
    from linkcast.evaluation import baseline_label

    part = f", last {100 * last:g} % in time" if last is not None else ""
    rows = table(f"Accuracy of {forecaster}, one step ahead{part}: {evaluation['samples']:,} samples")
    rows.add_column("Forecast", no_wrap=True)
    for heading in ("In 2 %", "In 10 %", "MAE [Mbit/s]", "MSE", "MAPE", "R²"):
        rows.add_column(heading, justify="right", no_wrap=True)
    every = {"model": evaluation["model"], **evaluation["baselines"]}
    if "stream" in evaluation:
        every = {"stream": evaluation["stream"]["scores"], "model alone": every.pop("model"), **every}
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
            number(scores["mape"], ".1f", " %"),
            number(scores["r2"], ".3f"),
            style="bold" if name == best else "",
        )
    return rows


def conclusion(evaluation: Evaluation) -> str:
    """The verdict, and how sure it is."""
    from linkcast.evaluation import baseline_label

    one = evaluation["stream"]
    low, high = one["interval"]["mae"]
    best = baseline_label(evaluation["best_baseline"], article=True)
    return (
        f"{evaluation['verdict']}\n95 % intervals (blocks of {evaluation['block_rows']} rows): MAE {low:.3f} to "
        f"{high:.3f}, skill over {best} {skill_text(one['skill'], one['interval']['skill'])}; Diebold-Mariano "
        f"{chance_text(one['p_value'])}."
    )


def outlook_tables(outlook: Outlook) -> list[Any]:
    """The horizons, the band, and what reserving costs."""
    return [horizon_table(outlook), band_table(outlook), reserve_table(outlook), risk_table(outlook)]


NAMES = ("Best naive", "Cheapest naive")  # columns of text; the others hold numbers


def narrow_table(title: str, label: str, *columns: str) -> Any:
    """A table whose many columns stand close together."""
    rows = table(title)
    rows.padding = (0, 1, 0, 0)
    rows.add_column(label, no_wrap=True)
    for heading in columns:
        rows.add_column(heading, justify="left" if heading in NAMES else "right", no_wrap=True)
    return rows


def horizon_table(outlook: Outlook) -> Any:
    """A line for each horizon."""
    from linkcast.evaluation import baseline_label

    banded = any("above_p90" in row for row in outlook["horizons"])
    columns = ["Best naive", "Its MAE", "Stream", "Skill", "95 % interval", "Model", *(["> P90"] if banded else [])]
    rows = narrow_table("Steps ahead: MAE in Mbit/s, skill over the best naive rule there in %", "Steps", *columns)
    for row in outlook["horizons"]:
        low, high = row["skill_interval"]
        cells = [
            f"{row['steps']}",
            baseline_label(row["best_baseline"]),
            f"{row['best_mae']:.3f}",
            f"{row['stream_mae']:.3f}",
            number(100 * row["skill"], "+.1f"),
            "-" if math.isnan(low + high) else f"{100 * low:.1f} to {100 * high:.1f}",
            number(100 * row["model_skill"], "+.1f"),
        ]
        rows.add_row(*cells, *([percent(row["above_p90"])] if banded else []))
    return rows


def band_table(outlook: Outlook) -> Any:
    """P10 to P90 of the next value: how often it was left, and how wide it was."""
    from linkcast.evaluation import baseline_label

    columns = ("> P90", "Worst", "< P10", "Worst", "Inside", "Width", "Loss P90")
    title = "Band one step ahead: shares in % of the time (worst: of its worst tenth)"
    rows = narrow_table(title, "Band", *columns)
    for name, band in outlook["band"].items():
        margin = name != "stream" or outlook["band_source"] == "margin"
        rows.add_row(
            f"{baseline_label(name)}{' (margin)' if margin else ''}",
            percent(band["above_p90"]),
            percent(band["above_p90_worst_tenth"]),
            percent(band["below_p10"]),
            percent(band["below_p10_worst_tenth"]),
            percent(band["coverage"]),
            f"{band['width']:.3f}",
            f"{band['pinball_p90']:.4g}",
        )
    return rows


def reserve_table(outlook: Outlook) -> Any:
    """What the quantile of each cost ratio reserves."""
    from linkcast.evaluation import baseline_label

    columns = ("Short", "Worst", "Idle", "Cheapest naive", "Short", "Idle", "Cost")
    title = "Reserved by cost: short in % of the time, idle in % of what came"
    rows = narrow_table(title, "Short : idle", *columns)
    for row in outlook["reserve"]:
        ours, other = row["stream"], row["naive"]
        rows.add_row(
            f"{row['cost_ratio']} : 1",
            percent(ours["short"]),
            percent(ours["short_worst_tenth"]),
            percent(ours["idle_share"]),
            baseline_label(row["baseline"]),
            percent(other["short"]),
            percent(other["idle_share"]),
            number(-100 * row["cost_skill"], "+.1f", " %"),
        )
    return rows


def risk_table(outlook: Outlook) -> Any:
    """What each reserves for nothing when all are short equally often."""
    from linkcast.evaluation import baseline_label

    risk = outlook["risk"][0]["risk"]
    light = any("lightgbm" in row for row in outlook["risk"])
    columns = ("> P90", "Worst", "Stream", "Best naive", "Its", *(["LightGBM"] if light else []))
    rows = narrow_table(f"Idle in % of what came, if short in {100 * risk:g} % of the time", "P90 of the", *columns)
    for row in outlook["risk"]:
        rows.add_row(
            "next value" if row["steps"] == 1 else f"peak of {row['steps']}",
            percent(row["above_p90"]),
            percent(row["above_p90_worst_tenth"]),
            percent(row["stream"]),
            baseline_label(row["baseline"]),
            percent(row["naive"]),
            *([percent(row["lightgbm"])] if light else []),
        )
    return rows


def source_table(sources: dict[str, Evaluation]) -> Any:
    """A line for each source."""
    from linkcast.evaluation import baseline_label

    rows = table("By source (MAE in Mbit/s)")
    rows.padding = (0, 1, 0, 0)
    rows.add_column("Source", overflow="fold", min_width=12)
    rows.add_column("Samples", justify="right", no_wrap=True)
    rows.add_column("Stream", justify="right", no_wrap=True)
    rows.add_column("Best naive")
    rows.add_column("Its MAE", justify="right", no_wrap=True)
    rows.add_column("Skill (interval)", justify="right", no_wrap=True)
    for name, one in sources.items():
        best, stream = one["best_baseline"], one["stream"]
        least, mae = one["baselines"][best]["mae"], stream["scores"]["mae"]
        skill = skill_text(stream["skill"], stream["interval"]["skill"])
        rows.add_row(name, f"{one['samples']:,}", f"{mae:.3f}", baseline_label(best), f"{least:.3f}", skill)
    return rows


def skill_text(skill: float, interval: tuple[float, float]) -> str:
    """ "+12.3 % (10.1 to 14.9)"; where the error is more than twice the baseline's, no interval."""
    low, high = interval
    if math.isnan(skill):
        return "not defined: it makes no error"
    if skill < -1.0:
        return f"{100 * skill:+.0f} %"
    return f"{100 * skill:+.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def percent(share: float) -> str:
    """ "9.8", "-" for what is not defined."""
    return number(100.0 * share, ".1f")


def number(value: float, form: str, unit: str = "") -> str:
    """ "9.8 %", "-" for what is not defined."""
    return "-" if math.isnan(value) else f"{value:{form}}{unit}"


def chance_text(p_value: float) -> str:
    """ "p = 0.012", "p < 0.001"; of equal errors "no difference"."""
    return "p < 0.001" if p_value < 0.001 else "no difference" if math.isnan(p_value) else f"p = {p_value:.3f}"
