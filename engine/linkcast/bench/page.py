"""A certificate as one HTML page that needs nothing else: no network, no script; light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from linkcast.bench.results import EMPTY, PERCENTILES, Certificate, Key
from linkcast.bench.tables import duration, machine_line, microseconds

_STYLE = Path(__file__).with_name("page.css")
_HEADLINES = {
    "pass": "Every budget is kept",
    "late": "The calls keep every budget, but this machine runs some of them too late",
    "fail": "A budget is missed",
}
_NINES = (0.0, 90.0, 99.0, 99.9, 99.99, 99.999)  # where the percentile axis has its marks; 0 stands for the left end


def page(certificate: Certificate) -> str:
    """The page's HTML."""
    data = certificate.data
    worst = max((v["verdict"] for v in certificate.verdicts), key=list(_HEADLINES).index, default="pass")
    headline = _HEADLINES[worst] if certificate.verdicts else "No workload with a budget was measured"
    body = [
        f"<header><h1>{escape(headline)}</h1><p>linkcast latency certificate, {escape(data['created'])}. "
        f"{escape(machine_line(certificate))}</p></header>",
        f'<section class="cards">{"".join(_card(certificate, verdict) for verdict in certificate.verdicts)}</section>',
        "<h2>What a call takes</h2>",
        "<p>Median (bar) and 99th percentile (line; the longest of fewer than 100 calls), on a logarithmic scale: back "
        "to back, where caches are warm, and one call in each tick. TensorFlow Lite ran the same calls in the same "
        "rounds.</p>",
        f'<section class="charts">{"".join(_bars(certificate, name) for name in certificate.workloads())}</section>',
        "<h2>The tail: when the answer is there</h2>",
        "<p>How long after the scheduled start of its tick the answer was there, by percentile; late starts count. "
        "Each mark to the right is ten times rarer. The empty loop only wakes up: what it shows is this machine, not "
        "linkcast.</p>",
        f'<section class="charts">{"".join(_tails(certificate))}</section>',
        "<h2>Every figure</h2>",
        f"<details><summary>Percentiles, misses, allocations</summary>{_figures(certificate)}</details>",
        f"<details><summary>First calls of a fresh engine</summary>{_first_calls(certificate)}</details>",
        f"<details><summary>From Python</summary>{_python(data['python'])}</details>" if "python" in data else "",
        _skipped(data["skipped"]),
        "<h2>The machine</h2>",
        _facts(certificate),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>linkcast: {escape(headline)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f"<body>{chr(10).join(part for part in body if part)}</body></html>\n"
    )


def _card(certificate: Certificate, verdict: dict[str, Any]) -> str:
    budget, call, tick = verdict["budget_us"], verdict["call"], verdict["tick"]
    pace = Key(verdict["workload"], call["rate_hz"], False).scenario
    few = call["samples"] * (100 - verdict["percentile"]) < 99.9
    which = "longest" if few else f"p{verdict['percentile']:g}"
    times = budget / call["us"] if call["us"] else math.inf
    room = f"{times:,.0f} times below" if times >= 2 else "below" if times > 1 else "above"
    lines = [
        f"{which} of {call['samples']:,} calls, {pace} (where it is slowest); {room} the budget of {budget / 1e3:g} ms."
    ]
    if call["missed"]:
        lost = "all" if call["missed_preempted"] == call["missed"] else f"{call['missed_preempted']:,}"
        lines.append(f"{call['missed']:,} calls were as long as the budget; {lost} of them lost the CPU meanwhile.")
    if tick:
        lines.append(
            f"Counted from the tick: {duration(tick['us'])} at {tick['rate_hz']:g} Hz"
            f"{'' if tick['us'] < budget else ', beyond the budget'}; an empty loop there: "
            f"{duration(tick['empty_loop_us'])}."
        )
    small = "".join(f'<div class="small">{escape(line)}</div>' for line in lines)
    return (
        f'<article class="card {verdict["verdict"]}"><span class="verdict">{verdict["verdict"]}</span>'
        f"<h3>{escape(certificate.title(verdict['workload']))}</h3>"
        f'<div class="figure">{duration(call["us"])}</div>{small}</article>'
    )


@dataclass(frozen=True)
class Bar:
    """A line of a bar chart: a median and a mark beyond it, us."""

    label: str
    value: float
    mark: float
    colour: str  # a CSS colour


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars on a logarithmic scale, as a figure."""
    width, left, right, row = 420, 112, 66, 20
    low = 10.0 ** math.floor(math.log10(min(bar.value for bar in bars) * 0.8))
    high = 10.0 ** math.ceil(math.log10(max(bar.mark for bar in bars)))
    plot = width - left - right

    def x(us: float) -> float:
        return left + plot * math.log(max(us, low) / low) / math.log(high / low)

    height = row * len(bars) + 22
    parts = []
    decades = range(round(math.log10(low)), round(math.log10(high)) + 1)
    for decade in decades:
        at = x(10.0**decade)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height - 18}"/>')
        if len(decades) <= 5 or (decade - decades[0]) % 2 == 0:
            label = _axis_duration(10.0**decade)
            parts.append(f'<text class="axis" x="{at:.1f}" y="{height - 5}" text-anchor="middle">{label}</text>')
    for index, bar in enumerate(bars):
        top = index * row + 4
        end, mark = x(bar.value), x(bar.mark)
        parts.append(
            f'<text x="{left - 6}" y="{top + 10}" text-anchor="end">{escape(bar.label)}</text>'
            f'<rect x="{left}" y="{top}" width="{max(end - left, 1):.1f}" height="13" rx="2" '
            f'style="fill:{bar.colour}"/>'
            f'<line x1="{end:.1f}" x2="{mark:.1f}" y1="{top + 6.5}" y2="{top + 6.5}" '
            f'style="stroke:{bar.colour};stroke-width:2"/>'
            f'<line x1="{mark:.1f}" x2="{mark:.1f}" y1="{top + 2}" y2="{top + 11}" '
            f'style="stroke:{bar.colour};stroke-width:2"/>'
            f'<text x="{width - 2}" y="{top + 10}" text-anchor="end">{duration(bar.value)}</text>'
        )
    drawing = f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'
    return f"<figure><h3>{escape(title)}</h3>{drawing}</figure>"


def _bars(certificate: Certificate, workload: str) -> str:
    bars = []
    for key in certificate.cells:
        if key.workload != workload or key.hogs:
            continue
        for cells, colour, name in (
            (certificate.cells, "var(--ours)", key.scenario),
            (certificate.references, "var(--tflite)", "TensorFlow Lite"),
        ):
            if key in cells:
                times = cells[key]["call_us"]
                mark = times["p99"] if times["p99"] is not None else times["max"]
                bars.append(Bar(name, times["p50"], max(mark, times["p50"]), colour))
    return bar_chart(certificate.title(workload), bars)


@dataclass(frozen=True)
class Line:
    """A percentile curve: (percent, us) with rising percent."""

    label: str
    points: Sequence[Sequence[float]]
    colour: str  # a CSS colour
    dashed: bool = False


def percentile_chart(title: str, lines: Sequence[Line], limit_us: float | None = None, limit: str = "") -> str:
    """Latency by percentile, as a figure; both axes logarithmic, the one of percentiles in what lies beyond.

    Args:
        lines: at least one, with at least one point each.
        limit_us: a horizontal line; None: none.
        limit: what it is.
    """
    width, height, left, right, top, bottom = 420, 250, 52, 12, 8, 24
    values = [us for line in lines for percent, us in line.points if us > 0] + ([limit_us] if limit_us else [])
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values) * 1.05))
    nines = [nine for nine in _NINES if nine <= max(_capped(line.points)[-1][0] for line in lines)]
    most = max(-math.log10(1 - nines[-1] / 100), 1.0) + 0.35

    def x(percent: float) -> float:
        return left + (width - left - right) * min(-math.log10(max(1 - percent / 100, 1e-12)), most) / most

    def y(us: float) -> float:
        share = (math.log10(max(us, 10.0**low)) - low) / (high - low)
        return height - bottom - (height - top - bottom) * share

    parts = []
    for decade in range(low, high + 1):
        at, mark = y(10.0**decade), _axis_duration(10.0**decade)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="axis" x="{left - 5}" y="{at + 4:.1f}" text-anchor="end">{mark}</text>'
        )
    for nine in (50.0, *nines[1:]):
        at = x(nine)
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{height - bottom}"/>'
            f'<text class="axis" x="{at:.1f}" y="{height - 8}" text-anchor="middle">p{nine:g}</text>'
        )
    if limit_us:
        at = y(limit_us)
        style = "stroke:var(--limit);stroke-width:2;stroke-dasharray:2 3"
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}" style="{style}"/>')
    for line in lines:
        path = " ".join(f"{x(percent):.1f},{y(us):.1f}" for percent, us in _capped(line.points))
        dash = ";stroke-dasharray:5 4" if line.dashed else ""
        parts.append(f'<polyline points="{path}" style="fill:none;stroke:{line.colour};stroke-width:2{dash}"/>')
    shown = [(line.label, f"stroke:{line.colour}{';stroke-dasharray:5 4' if line.dashed else ''}") for line in lines]
    if limit_us:
        shown.append((limit, "stroke:var(--limit);stroke-dasharray:2 3"))
    legend = "".join(
        f'<li><svg viewBox="0 0 26 10"><line x1="0" x2="26" y1="5" y2="5" style="{style};stroke-width:3"/></svg>'
        f"{escape(label)}</li>"
        for label, style in shown
    )
    return (
        f'<figure><h3>{escape(title)}</h3><svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'
        f'<ul class="legend">{legend}</ul></figure>'
    )


def _capped(points: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """The maximum, at 100 %, drawn where the next point of the curve would stand: half of what lies beyond the last."""
    below = [(percent, us) for percent, us in points if percent < 100]
    last = below[-1][0] if below else 0.0
    return [*below, *((100 - (100 - last) / 2, us) for percent, us in points if percent >= 100)]


def _tails(certificate: Certificate) -> Iterable[str]:
    """A chart for each workload that was paced."""
    budgets = {verdict["workload"]: verdict for verdict in certificate.verdicts}
    scenarios = sorted((key.hogs, -key.rate_hz, key.scenario) for key in certificate.cells if key.rate_hz is not None)
    names = dict.fromkeys(scenario for _, _, scenario in scenarios)  # a scenario has the same colour in each chart
    colours = {scenario: f"var(--s{min(index, 4)})" for index, scenario in enumerate(names)}
    for workload in certificate.workloads():
        paced = [key for key in certificate.cells if key.workload == workload and key.rate_hz is not None]
        if not paced:
            continue
        lines = [Line(key.scenario, certificate.cells[key]["tick_us"]["curve"], colours[key.scenario]) for key in paced]
        empty = [
            key
            for key in certificate.cells
            if key.workload == EMPTY and key.rate_hz == paced[0].rate_hz and not key.hogs
        ]
        lines += [
            Line(f"empty loop, {key.scenario}", certificate.cells[key]["tick_us"]["curve"], "var(--floor)", dashed=True)
            for key in empty
        ]
        budget = budgets.get(workload)
        if budget is None:
            yield percentile_chart(certificate.title(workload), lines)
        else:
            label = f"budget {budget['budget_us'] / 1e3:g} ms at p{budget['percentile']:g}"
            yield percentile_chart(certificate.title(workload), lines, budget["budget_us"], label)


def _axis_duration(us: float) -> str:
    value, unit = (
        (us * 1e3, "ns") if us < 1 else (us, "µs") if us < 1e3 else (us / 1e3, "ms") if us < 1e6 else (us / 1e6, "s")
    )
    return f"{value:g} {unit}"


def _row(cells: Iterable[object], kind: str = "", tag: str = "td") -> str:
    opening = f'<tr class="{kind}">' if kind else "<tr>"
    return f"{opening}{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"


def _figures(certificate: Certificate) -> str:
    headings = (
        "µs",
        "samples",
        *PERCENTILES,
        "TFLite p50",
        "ratio",
        "missed",
        "allocations",
        "page faults",
        "lost CPU",
    )
    rows = [_row(headings, tag="th")]
    for workload in [*certificate.workloads(), EMPTY]:
        rows.append(_row([certificate.title(workload)], "head"))
        for key, cell in certificate.cells.items():
            if key.workload != workload:
                continue
            if workload != EMPTY:
                ratio = certificate.ratio(key)
                rows.append(
                    _row(
                        (
                            f"{key.scenario}: the call",
                            f"{cell['samples']:,}",
                            *(microseconds(cell["call_us"][name]) for name in PERCENTILES),
                            "" if ratio is None else microseconds(certificate.references[key]["call_us"]["p50"]),
                            "" if ratio is None else f"{ratio:.2f}",
                            "" if cell["missed_budget"] is None else cell["missed_budget"],
                            "-" if cell["allocations"] is None else cell["allocations"],
                            sum(cell["page_faults"].values()),
                            cell["context_switches"]["involuntary"],
                        )
                    )
                )
            if cell["tick_us"] is not None:
                times = (microseconds(cell["tick_us"][name]) for name in PERCENTILES)
                name = f"{key.scenario}: from the tick"
                rows.append(
                    _row((name, f"{cell['samples']:,}", *times, "", "", cell["missed_ticks"], "", "", ""), "tick")
                )
    return (
        f'<div class="scroll"><table>{"".join(rows)}</table></div><p>missed: calls as long as the budget, or ticks not '
        "over when the next was due. alloc.: calls of malloc. faults: page faults. lost CPU: times that another "
        "process got it. -: too few samples, or not readable.</p>"
    )


def _first_calls(certificate: Certificate) -> str:
    rows = [_row(("", "on", "median", "longest", "of"), tag="th")]
    rows += [
        _row(
            (
                certificate.title(cold["workload"]),
                cold["contender"],
                duration(median(cold["first_call_us"])),
                duration(max(cold["first_call_us"])),
                len(cold["first_call_us"]),
            )
        )
        for cold in certificate.data["cold"]
    ]
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def _python(python: dict[str, Any]) -> str:
    rows = [_row(("", "samples", "p50", "p90", "max"), tag="th")]
    for name, key in (("import linkcast", "import_ms"), ("first prediction of a process", "first_prediction_ms")):
        times = [ms * 1e3 for ms in python[key]]
        rows.append(_row((name, len(times), duration(median(times)), "", duration(max(times)))))
    rows += [
        _row((name, f"{times['samples']:,}", *(duration(times[key]) for key in ("p50", "p90", "max"))))
        for name, times in python["calls_us"].items()
    ]
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def _skipped(skipped: Sequence[dict[str, Any]]) -> str:
    if not skipped:
        return ""
    lines = "".join(
        f"<li>{escape(one['workload'])} on {escape(one['contender'])}, "
        f"{Key(EMPTY, one['rate_hz'], one['hogs']).scenario}: {escape(one['reason'])}</li>"
        for one in skipped
    )
    return f"<details><summary>Left out</summary><ul>{lines}</ul></details>"


def _facts(certificate: Certificate) -> str:
    data = certificate.data
    rows = []
    for name, value in data["machine"].items():
        if isinstance(value, dict):
            text = ", ".join(f"{part} {_plain(item)}" for part, item in value.items())
        else:
            text = _plain(value)
        rows.append(_row((name.replace("_", " "), text)))
    program = data["program"]
    rows.append(_row(("program", f"linkcast {program['linkcast']}, {program['compiler']}")))
    rows.append(_row(("TensorFlow Lite", f"{program['tflite']['version']}, SHA-256 {program['tflite']['sha256']}")))
    models = [_row(("model", "runs on", "precision", "SHA-256"), tag="th")]
    models += [
        _row((name, f"{model['backend']} {model['isa']}", model["precision"], model["sha256"]))
        for name, model in data["models"].items()
    ]
    return (
        f'<table class="facts">{"".join(rows)}</table><details><summary>Models</summary>'
        f'<div class="scroll"><table class="facts">{"".join(models)}</table></div></details>'
    )


def _plain(value: Any) -> str:
    if value is None:
        return "not readable"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value or "none"
