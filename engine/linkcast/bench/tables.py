"""A certificate and a comparison as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from linkcast.bench.compare import Change, Comparison
from linkcast.bench.peers import Row, remark
from linkcast.bench.results import EMPTY, PERCENTILES, Certificate, Key
from linkcast.console import table

NARROW = ("p50", "p99", "p99.9", "max")
COUNTERS = ("TFLite", "ratio", "missed", "alloc", "faults", "lost CPU")
VERDICT_STYLES = {"pass": "bold green", "late": "bold yellow", "fail": "bold red"}


def duration(us: float | None) -> str:
    """ "35.2 us", "2.46 ms", "-" for None: three digits."""
    if us is None:
        return "-"
    value, unit = (us, "µs") if us < 1000 else (us / 1e3, "ms") if us < 1e6 else (us / 1e6, "s")
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f} {unit}"


def microseconds(us: float | None) -> str:
    """ "0.54", "35.2", "204", "-" for None: without the unit, which stands in the title."""
    return "-" if us is None else f"{us:.{2 if us < 10 else 1 if us < 100 else 0}f}"


def latency_table(title: str, rows: Iterable[Sequence[Any]], columns: Sequence[str] = (), wide: bool = True) -> Any:
    """A table of latencies in us.

    Args:
        rows: each a name, a sample count, {percentile: us or None}, then a text for each of `columns`.
        columns: further headings.
        wide: with p90 and p99.99.
    """
    percentiles = PERCENTILES if wide else NARROW
    made = table(f"{title} [µs]", "", "n", *percentiles, *columns)
    for name, samples, times, *rest in rows:
        made.add_row(name, str(samples), *(microseconds(times[percentile]) for percentile in percentiles), *rest)
    return made


def certificate_tables(certificate: Certificate, width: int = 130) -> list[Any]:
    """The machine, the times of each workload, first calls, Python's own, and the verdicts last.

    Args:
        width: of the terminal; a narrow one does not show p90, p99.99 and the counters.
    """
    wide = width >= 125
    items: list[Any] = [machine_line(certificate)]
    for workload in [*certificate.workloads(), EMPTY]:
        rows = _workload_rows(certificate, workload)
        if rows:
            columns = COUNTERS if wide else COUNTERS[:2]
            shown = rows if wide else [row[: 3 + len(columns)] for row in rows]
            items.append(latency_table(certificate.title(workload), shown, columns, wide))
    items += _variants(certificate)
    items.append(_first_calls(certificate))
    if "python" in certificate.data:
        items.append(_python(certificate.data["python"]))
    skipped = [
        f"skipped: {one['workload']} on {one['contender']} at {Key(EMPTY, one['rate_hz'], one['hogs']).scenario}: "
        f"{one['reason']}"
        for one in certificate.data["skipped"]
    ]
    return [*items, *(["\n".join(skipped)] if skipped else []), verdict_table(certificate, wide)]


def _workload_rows(certificate: Certificate, workload: str) -> list[tuple[Any, ...]]:
    """The call in each cell, and below it the answer counted from the tick."""
    rows: list[tuple[Any, ...]] = []
    for key, cell in certificate.cells.items():
        if key.workload != workload:
            continue
        if workload != EMPTY:
            ratio = certificate.ratio(key)
            missed, allocations = cell["missed_budget"], cell["allocations"]
            rows.append(
                (
                    key.scenario,
                    cell["samples"],
                    cell["call_us"],
                    "" if ratio is None else microseconds(certificate.references[key]["call_us"]["p50"]),
                    "" if ratio is None else f"{ratio:.2f}",
                    "" if missed is None else str(missed),
                    "-" if allocations is None else str(allocations),
                    str(sum(cell["page_faults"].values())),
                    str(cell["context_switches"]["involuntary"]),
                )
            )
        if cell["tick_us"] is not None:
            name = key.scenario if workload == EMPTY else "  from the tick"
            rows.append((name, cell["samples"], cell["tick_us"], "", "", str(cell["missed_ticks"]), "", "", ""))
    return rows


def _variants(certificate: Certificate) -> list[Any]:
    """A table for each pair of ways in which calls were paced: without and with prepare, on huge and ordinary pages."""
    tables: dict[str, Any] = {}
    for workload, variant in certificate.data.get("variants", {}).items():
        for key, cell in certificate.cells.items():
            plain = certificate.cells.get(Key(variant["of"], key.rate_hz, key.hogs))
            if key.workload != workload or key.rate_hz is None or plain is None:
                continue
            by = variant["by"]
            if by not in tables:
                tables[by] = table(f"A call [µs], {by}", "", "p50", "p90", "p99", "p50 ratio")
            before, after = plain["call_us"], cell["call_us"]
            tables[by].add_row(
                f"{certificate.title(variant['of'])}, {key.scenario}",
                *(f"{microseconds(before[name])} / {microseconds(after[name])}" for name in ("p50", "p90", "p99")),
                f"{after['p50'] / before['p50']:.2f}",
            )
    said = certificate.data.get("models", {})
    cores = [f"{name}: {model['second_core']}" for name, model in said.items() if model.get("second_core")]
    return [*tables.values(), *(["\n".join(cores)] if cores else [])]


def machine_line(certificate: Certificate) -> str:
    """One line on the machine and the run."""
    data = certificate.data
    machine = data["machine"]
    parts = [
        machine["processor"] or machine["architecture"],
        f"{machine['isa']}, {machine['cpus']} CPUs, Linux {machine['kernel']} {machine['preemption'] or ''}".rstrip(),
        f"governor {machine['governor']}" if machine["governor"] else "",
        f"linkcast {data['program']['linkcast']}, TensorFlow Lite {data['program']['tflite']['version']}",
        f"{data['settings']['rounds']} rounds in {data['elapsed_s']:.0f} s",
    ]
    load = machine["load_average"]["end"]
    if load is not None:
        parts.append(f"load average {load:.1f}")
    return "; ".join(part for part in parts if part)


def verdict_table(certificate: Certificate, wide: bool = True) -> Any:
    """A line for each budget; if wide, with the empty loop beside."""
    from rich.text import Text

    headings = ("", "Verdict", "Budget", "Call", "From the tick", "Empty loop")[: 6 if wide else 5]
    made = table("Budgets, where the call is slowest and where its answer is latest", *headings, left=("Verdict",))
    for verdict in certificate.verdicts:
        call, tick = verdict["call"], verdict["tick"]
        made.add_row(
            certificate.title(verdict["workload"]),
            Text(verdict["verdict"], style=VERDICT_STYLES[verdict["verdict"]]),
            f"p{verdict['percentile']:g} < {verdict['budget_us'] / 1e3:g} ms",
            duration(call["us"]),
            f"{duration(tick['us'])} at {tick['rate_hz']:g} Hz" if tick else "-",
            *([duration(tick["empty_loop_us"]) if tick else "-"] if wide else []),
        )
    if any(verdict["verdict"] == "late" for verdict in certificate.verdicts):
        made.caption = "late: calls that have the CPU keep the budget; this machine starts some late, or takes it away."
    return made


def comparison_table(compared: Sequence[Comparison], fail_above: float | None, width: int = 130) -> Any:
    """A line for each cell; those that changed in bold, those beyond the limit in red.

    Args:
        width: of the terminal; a narrow one shows what decides only.
    """
    wide = width >= 115
    headings = ("Then", "Now", "Median", "Ratio to TFLite", "p99", "") if wide else ("Change", "of", "")
    made = table("Change since then, with intervals that hold together at 95 %", "", *headings, left=("", "of"))
    for one in compared:
        verdict = one.verdict
        beyond = fail_above is not None and one.beyond(fail_above)
        row = [f"{one.key.workload}, {one.key.scenario}"]
        row += [microseconds(one.old_us), microseconds(one.new_us)] if wide else []
        if wide:
            row += [change_text(one.median), change_text(one.ratio), change_text(one.p99)]
        else:
            row += [change_text(one.deciding), "median" if one.deciding is one.median else "ratio"]
        made.add_row(
            *row,
            f"{verdict}!" if beyond else verdict,
            style="bold red" if beyond else "bold" if verdict != "same" else "",
        )
    made.caption = "ratio: of the medians, to TensorFlow Lite's in the same rounds."
    made.caption += " The narrower interval decides, the other figure has to agree."
    if fail_above is not None:
        made.caption += f" !: the whole interval lies above {fail_above:g} %."
    return made


def change_text(change: Change | None) -> str:
    """ "+3.1 % (-0.4 to +6.2)"; "-" for None."""
    if change is None:
        return "-"
    text = f"{100 * change.value:+.1f} %"
    if change.low is None or change.high is None:
        return text + " (too few rounds)"
    return f"{text} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def _first_calls(certificate: Certificate) -> Any:
    headings = ("", "median", "longest", "TFLite median", "TFLite longest")
    made = table("First call of a fresh engine", *headings)
    by_workload: dict[str, dict[str, list[float]]] = {}
    for cold in certificate.data["cold"]:
        by_workload.setdefault(cold["workload"], {})[cold["contender"]] = cold["first_call_us"]
    for workload, contenders in by_workload.items():
        cells = []
        for contender in ("linkcast", "tflite"):
            times = contenders.get(contender)
            cells += [duration(median(times)), duration(max(times))] if times else ["-", "-"]
        made.add_row(certificate.title(workload), *cells)
    return made


def _python(python: dict[str, Any]) -> Any:
    made = table(
        f"From Python {python['version']}: import {median(python['import_ms']):.0f} ms, "
        f"first prediction after {median(python['first_prediction_ms']):.0f} ms",
        *("", "samples", "p50", "p90", "max"),
    )
    for name, times in python["calls_us"].items():
        made.add_row(name, f"{times['samples']:,}", *(duration(times[key]) for key in ("p50", "p90", "max")))
    return made


def peer_tables(rows: Sequence[Row]) -> list[Any]:
    """A table for each model and batch, with the tail and the distance from TensorFlow Lite; then what to distrust."""
    items: list[Any] = []
    for model, batch in dict.fromkeys((row.model, row.batch) for row in rows):
        made = table(f"{model}, batch {batch} [µs a call]", "", "p50", "p90", "p99", "/ linkcast", "Error")
        for row in rows:
            if (row.model, row.batch) == (model, batch):
                times = map(microseconds, (row.p50, row.p90, row.p99))
                made.add_row(row.name, *times, f"{row.ratio:.2f}", f"{row.error:.0e}")
        items.append(made)
    remarks = [f"{row.model}, batch {row.batch}: {remark(row)}" for row in rows if not row.trusted]
    return [*items, "\n".join(remarks)] if remarks else items
