"""What `linkcast replay --watch` shows: the ticks in a terminal, then what reserving gains, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from linkcast.console import note, notes_of, print_json, show, table

if TYPE_CHECKING:
    from linkcast.engine import Engine
    from linkcast.reserving import Reservations
    from linkcast.traces import Trace


def show_walk(
    engine: Engine,
    trace: Trace,
    profile: str,
    capacity_mbps: float | None,
    speed: float,
    fast: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Walks a trace, shows it as it goes where that can be seen, and prints what came of it."""
    from rich.console import Console

    from linkcast.plots import plot_walk
    from linkcast.reserving import Walk

    walk = Walk(engine, trace, profile, capacity_mbps)
    console = Console(highlight=False, markup=False)
    if fast or as_json or not console.is_terminal or console.is_dumb_terminal:
        for _ in walk:
            pass
        result = walk.result()
    else:
        from linkcast.view import play

        result = play(walk, console, speed)
        console.print()
    if plot is not None:
        plot_walk(result, plot)
        note(f"wrote {plot}")
    questions = notes_of(trace, engine, engine.resolve(profile, "forecaster"))
    if as_json:
        print_json({"trace": trace.name, **result.report(), "notices": trace.notices, "warnings": questions})
        return
    show(gain(result), reservation_table(result), *_footnotes(result), accuracy(result), accuracy_table(result))


def gain(result: Reservations) -> str:
    """What reserving by the controller was like, in a sentence."""
    from linkcast.reserving import FIXED, LINKCAST, MATCHED, RISK, RULE

    ours, fixed = result.outcome(LINKCAST), result.outcome(FIXED)["reserved_mbps"]
    whole = (
        f"of {fixed:g} Mbit/s on average" if result.capacity_known else f"Mbit/s on average (the peak is {fixed:.1f})"
    )
    rules = f"the last value plus 20 % was short in {_percent(result.outcome(RULE))}"
    if MATCHED in result.rules:
        unused = result.outcome(MATCHED)["unused_mbps"]
        rules += f", and with a margin that is short as rarely it leaves {unused:.1f} Mbit/s unused"
    return (
        f"{result.trace.name}: linkcast reserved {ours['reserved_mbps']:.1f} {whole}, left "
        f"{ours['unused_mbps']:.1f} of them unused and was short in {_percent(ours)} of {len(result):,} ticks "
        f"(set: {100.0 * RISK:g} %); {rules}."
    )


def reservation_table(result: Reservations) -> Any:
    """What each rule reserved, and how often and by how much it was short, on the same ticks."""
    from linkcast.reserving import LINKCAST

    rows = table("Reserved for the next tick, Mbit/s on average", "Rule", "Reserved", "Unused", "Short", "by")
    for rule in result.rules:
        outcome = result.outcome(rule)
        rows.add_row(
            _label(result, rule),
            f"{outcome['reserved_mbps']:.1f}",
            f"{outcome['unused_mbps']:.1f}",
            _percent(outcome),
            f"{outcome['short_by_mbps']:.1f}" if outcome["short_share"] > 0.0 else "-",
            style="bold" if rule == LINKCAST else "",
        )
    return rows


def accuracy(result: Reservations) -> str:
    """The forecast's verdict, how well its band held, and what a tick took."""
    report = result.report()
    held = report["band_held"]
    band = "" if held is None else f" {100.0 * held:.0f} % of what came lay between its P10 and P90 (80 % should)."
    took = report["latency_us"]
    tick = f" A tick, forecast and decision, was answered in {took['p50']:.1f} µs (p99 {took['p99']:.1f})."
    return result.accuracy["verdict"] + band + tick


def accuracy_table(result: Reservations) -> Any:
    """The forecast beside the naive rules that people know and the best of all."""
    from linkcast.evaluation import baseline_label

    scores = result.accuracy
    rows = table("Forecast of the next tick", "Forecast", "MAE [Mbit/s]", "In 10 %")
    shown = {"linkcast": scores["model"]}
    for name in dict.fromkeys([scores["best_baseline"], "persistence", "ewma", "moving_average"]):
        label = "last value" if name == "persistence" else baseline_label(name)
        best = ", the best naive rule" if name == scores["best_baseline"] else ""
        shown[label + best] = scores["baselines"][name]
    least = min(score["mae"] for score in shown.values())
    for label, score in shown.items():
        values = f"{score['mae']:.2f}", f"{100.0 * score['within_10_percent']:.1f} %"
        rows.add_row(label, *values, style="bold" if score["mae"] == least else "")
    return rows


def _footnotes(result: Reservations) -> list[str]:
    lines = ["Unused: reserved and not needed. Short: ticks in which more came, and by how much then."]
    if result.matched_factor is not None:
        lines.append("* The one margin that is short as rarely as linkcast, which nobody knows beforehand.")
    if not result.capacity_known:
        lines.append("The capacity was not given (--capacity): the trace's peak stands in for it.")
    return ["\n".join(lines)]


def _label(result: Reservations, rule: str) -> str:
    from linkcast import reserving

    percent = 100.0 * (1.0 - reserving.RISK)
    factor = result.matched_factor or 0.0
    labels = {
        reserving.LINKCAST: "linkcast",
        reserving.QUANTILE: f"its {percent:g} % quantile alone",
        reserving.RULE: "last value +20 %",
        reserving.MATCHED: f"last value {100.0 * (factor - 1.0):+.0f} %*",
        reserving.FIXED: "the whole line" if result.capacity_known else "the peak",
        reserving.ORACLE: "oracle",
    }
    return labels[rule]


def _percent(outcome: dict[str, float]) -> str:
    return f"{100.0 * outcome['short_share']:.1f} %"
