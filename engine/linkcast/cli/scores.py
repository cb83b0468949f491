"""The scores of an evaluation as tables and sentences. Imported where an evaluation has been made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from linkcast.console import table
from linkcast.evaluation import baseline_label, digits

if TYPE_CHECKING:
    from linkcast.evaluation import Evaluation
    from linkcast.outlook import Outlook


def accuracy_table(forecaster: str, evaluation: Evaluation, last: float | None = None) -> Any:
    """Scores of the stream, if any, the model and each baseline; the lowest mean absolute error in bold."""
    part = f", last {100 * last:g} % in time" if last is not None else ""
    title = f"Accuracy of {forecaster}, one step ahead{part}: {evaluation['samples']:,} samples"
    rows = table(title, "Forecast", "In 2 %", "In 10 %", "MAE [Mbit/s]", "MSE", "MAPE", "R²")
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
            digits(scores["mse"]),
            number(scores["mape"], ".1f", " %"),
            number(scores["r2"], ".3f"),
            style="bold" if name == best else "",
        )
    return rows


def conclusion(evaluation: Evaluation) -> str:
    """The verdict, and how sure it is."""
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


NAMES = ("Best naive", "Cheapest naive")  # columns of text beside the first


def horizon_table(outlook: Outlook) -> Any:
    """A line for each horizon."""
    banded = any("above_p90" in row for row in outlook["horizons"])
    columns = ("Steps", "Best naive", "Its MAE", "Stream", "Skill", "95 % interval", "Model", "> P90")
    title = "Steps ahead: MAE in Mbit/s, skill over the best naive rule there in %"
    rows = table(title, *(columns if banded else columns[:-1]), left=NAMES, close=True)
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
    columns = ("Band", "> P90", "Worst", "< P10", "Worst", "Inside", "Width", "Loss P90")
    title = "Band one step ahead: shares in % of the time (worst: of its worst tenth)"
    rows = table(title, *columns, close=True)
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
            digits(band["pinball_p90"]),
        )
    return rows


def reserve_table(outlook: Outlook) -> Any:
    """What the quantile of each cost ratio reserves."""
    columns = ("Short : idle", "Short", "Worst", "Idle", "Cheapest naive", "Short", "Idle", "Cost")
    title = "Reserved by cost: short in % of the time, idle in % of what came"
    rows = table(title, *columns, left=NAMES, close=True)
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
    risk = outlook["risk"][0]["risk"]
    light = any("lightgbm" in row for row in outlook["risk"])
    columns = ("P90 of the", "> P90", "Worst", "Stream", "Best naive", "Its", *(["LightGBM"] if light else []))
    title = f"Idle in % of what came, if short in {100 * risk:g} % of the time"
    rows = table(title, *columns, left=NAMES, close=True)
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
    columns = ("Source", "Samples", "Stream", "Best naive", "Its MAE", "Skill (interval)")
    rows = table("By source (MAE in Mbit/s)", *columns, left=NAMES, close=True)
    rows.columns[0].no_wrap, rows.columns[0].overflow, rows.columns[0].min_width = False, "fold", 12
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
