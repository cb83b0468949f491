"""What a run found as one HTML page that needs nothing else: no network, no script; light and dark."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.fleet.characters import DO_NOT_BOTHER, FORECAST, RULE, TOO_SHORT
from linkcast.fleet.score import LINKS, MANIFEST
from linkcast.fleet.settings import read_json, write_atomically

Column = npt.NDArray[Any]
Links = dict[str, Column]

ROWS = 20  # of a table
BINS = 24
UNKNOWN = "-"
_STYLE = Path(__file__).with_name("page.css")
_COLOURS = {FORECAST: "var(--good)", RULE: "var(--s1)", DO_NOT_BOTHER: "var(--grey)", TOO_SHORT: "var(--line)"}
_SAYS = {
    FORECAST: "the stream beats persistence, and is ahead of the naive rules or alone with it",
    RULE: "persistence is beaten, but a naive rule does as well as the stream",
    DO_NOT_BOTHER: "no rule beats persistence by 1 % and two standard errors: the last value is the forecast",
    TOO_SHORT: "fewer than 200 scored ticks",
}


def write_page(output: str | os.PathLike[str], page: str | os.PathLike[str]) -> None:
    """Writes the page of a run that has ended.

    Raises:
        ValueError: the folder is none of a run, or its run has not ended.
        OSError: it can't be read or written.
    """
    folder = Path(output)
    if not (folder / MANIFEST).exists():
        raise ValueError(f"{folder}: expected the folder of a run, got no {MANIFEST}")
    manifest = read_json(folder / MANIFEST)
    if not manifest["complete"]:
        raise ValueError(f"{folder}: expected a run that has ended; the command that began it goes on with it")
    write_atomically(Path(page), page_of(manifest, read_links(folder / LINKS)).encode())


def read_links(path: Path) -> Links:
    """The columns of links.parquet; NaN for null."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def page_of(manifest: dict[str, Any], links: Links) -> str:
    """The page's HTML."""
    count = len(links["link"])
    verdicts = {name: int(np.count_nonzero(links["verdict"] == name)) for name in _SAYS}
    headline = f"{verdicts[FORECAST]:,} of {count:,} links are worth a forecast"
    totals, settings = manifest["totals"], manifest["settings"]
    body = [
        f"<header><h1>{escape(headline)}</h1><p>linkcast fleet: {totals['written']:,} forecasts of {totals['rows']:,} "
        f"rows by {escape(settings['model'])} "
        f"({escape(settings['runs_on'])}, {escape(settings['precision'])}).</p></header>",
        f'<section class="cards">{_cards(links, totals)}</section>',
        "<h2>Which links are worth it</h2>",
        f"<p>A gain counts when it is 1 % of persistence's mean absolute error and two standard errors of its blocks "
        f"of 64 ticks.</p>{_verdicts(verdicts, count)}",
        "<h2>How well they are forecast</h2>",
        '<section class="charts">',
        _histogram("Skill over persistence", links["skill_over_persistence"], -0.2, 0.6, _signed, 0.0),
        _histogram("Skill over the best naive rule in hindsight", links["skill"], -0.2, 0.4, _signed, 0.0),
        _histogram("Share above P90 (10 % is right)", links["above_p90"], 0.0, 0.3, _percent, 0.1),
        "</section>",
        "<h2>What kind of links they are</h2>",
        '<section class="charts">',
        _histogram("Predictable share of the variance, one step ahead", links["predictable"], 0.0, 1.0, _percent),
        _histogram("Noise floor over the mean", links["noise_floor"], 0.0, 0.6, _percent),
        _histogram("Steps of the level in 1,000 ticks", links["steps_per_1000"], 0.0, 30.0, _plain),
        _histogram("Variance that the hour of the day explains", links["seasonality"], 0.0, 1.0, _percent),
        "</section>",
        "<h2>Worst links</h2><p>Of least skill over the best naive rule in hindsight.</p>",
        _table(links, _order(links, "skill")),
        "<h2>Links that cost most</h2><p>Most Mbit/s reserved for nothing.</p>",
        _table(links, _order(links, "idle_share", weight="mean_mbps", most=True)),
        "<h2>Do not bother</h2><p>The largest links where no rule beats persistence.</p>",
        _table(links, _order(links, "mean_mbps", most=True, only=links["verdict"] == DO_NOT_BOTHER)),
        _bad(manifest["bad"]),
        "<h2>The run</h2>",
        _facts(manifest),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>linkcast fleet: {escape(headline)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f"<body>{chr(10).join(part for part in body if part)}</body></html>\n"
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _percent(value: float) -> str:
    return f"{100.0 * value:.1f} %"


def _plain(value: float) -> str:
    return f"{value:,.4g}"


def _median(values: Column, say: Callable[[float], str]) -> str:
    known = values[np.isfinite(values)]
    return say(float(np.median(known))) if len(known) else UNKNOWN


def _cards(links: Links, totals: dict[str, int]) -> str:
    left = totals["repeated"] + totals["late"]
    cards = [
        ("Links", f"{len(links['link']):,}", f"{totals['rows']:,} rows; {left:,} left out (late, or of a time again)"),
        ("Skill over persistence", _median(links["skill_over_persistence"], _signed), "median of the links"),
        ("Skill over the best rule", _median(links["skill"], _signed), "median; the rule is chosen in hindsight"),
        ("Above P90", _median(links["above_p90"], _percent), "median of the links; 10 % is right"),
        ("Reserved for nothing", _median(links["idle_share"], _percent), "of what was needed; median of the links"),
        ("Short", _median(links["short"], _percent), "share of ticks above the reserve; median of the links"),
    ]
    return "".join(
        f'<article class="card"><h3>{escape(title)}</h3><div class="figure">{escape(value)}</div>'
        f'<div class="small">{escape(small)}</div></article>'
        for title, value, small in cards
    )


def _verdicts(verdicts: dict[str, int], count: int) -> str:
    parts, at = [], 0.0
    for name, number in verdicts.items():
        width = 100.0 * number / max(1, count)
        parts.append(f'<rect x="{at:.3f}" y="0" width="{width:.3f}" height="6" style="fill:{_COLOURS[name]}"/>')
        at += width
    bar = f'<svg viewBox="0 0 100 6" preserveAspectRatio="none" class="bar" role="img">{"".join(parts)}</svg>'
    rows = "".join(
        f'<li><span class="dot" style="background:{_COLOURS[name]}"></span><b>{escape(name)}</b> {number:,} '
        f'<span class="small">{escape(_SAYS[name])}</span></li>'
        for name, number in verdicts.items()
    )
    return f'<figure>{bar}<ul class="verdicts">{rows}</ul></figure>'


def _histogram(
    title: str, values: Column, low: float, high: float, say: Callable[[float], str], mark: float | None = None
) -> str:
    """Links by a value; the outermost bars hold what lies beyond."""
    known = values[np.isfinite(values)]
    width, height, foot = 420.0, 150.0, 18.0
    if not len(known):
        return f'<figure><h3>{escape(title)}</h3><p class="small">Nothing can be said of any link yet.</p></figure>'
    counts, edges = np.histogram(np.clip(known, low, high), BINS, (low, high))
    most = max(1, int(counts.max()))
    bar = width / BINS
    parts = []
    for index, number in enumerate(counts.tolist()):
        tall = (height - foot - 14.0) * number / most
        about = f"{say(edges[index])} to {say(edges[index + 1])}: {number:,} links"
        parts.append(
            f'<rect class="links" x="{index * bar + 1:.1f}" y="{height - foot - tall:.1f}" width="{bar - 2:.1f}" '
            f'height="{tall:.1f}"><title>{escape(about)}</title></rect>'
        )
    parts.append(f'<line class="grid" x1="0" x2="{width}" y1="{height - foot}" y2="{height - foot}"/>')
    if mark is not None:
        at = width * (mark - low) / (high - low)
        parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="10" y2="{height - foot}"/>')
        parts.append(f'<text class="axis" x="{at:.1f}" y="{height - 5}" text-anchor="middle">{say(mark)}</text>')
    for value, anchor, at in ((low, "start", 0.0), (high, "end", width)):
        if mark is None or abs(value - mark) > 0.15 * (high - low):
            parts.append(f'<text class="axis" x="{at}" y="{height - 5}" text-anchor="{anchor}">{say(value)}</text>')
    parts.append(f'<text class="axis" x="{width}" y="10" text-anchor="end">most: {most:,} links</text>')
    drawing = f'<svg viewBox="0 0 {width:g} {height:g}" role="img">{"".join(parts)}</svg>'
    missing = len(values) - len(known)
    unknown = f'<p class="small">{missing:,} links: not enough to say.</p>' if missing else ""
    return f"<figure><h3>{escape(title)}</h3>{drawing}{unknown}</figure>"


def _order(
    links: Links, key: str, weight: str | None = None, most: bool = False, only: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    values = links[key].astype(np.float64)
    if weight is not None:
        values = values * links[weight]
    known = np.isfinite(values) if only is None else np.isfinite(values) & only
    where = np.flatnonzero(known)
    order = np.argsort(-values[where] if most else values[where], kind="stable")
    return where[order[:ROWS]]


_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("mean_mbps", "Mbit/s", _plain),
    ("mae", "MAE", _plain),
    ("persistence_mae", "Persistence", _plain),
    ("skill_over_persistence", "Skill", _signed),
    ("skill", "Over best", _signed),
    ("above_p90", "> P90", _percent),
    ("idle_share", "Idle", _percent),
    ("noise_floor", "Noise", _percent),
    ("steps_per_1000", "Steps", _plain),
    ("seasonality", "Season", _percent),
    ("predictable", "Predictable", _percent),
)


def _table(links: Links, rows: Sequence[int] | npt.NDArray[np.int64]) -> str:
    if not len(rows):
        return "<p>None.</p>"
    head = "".join(
        f"<th>{escape(title)}</th>" for title in ("Link", "Verdict", *(title for _, title, _ in _COLUMNS), "Best rule")
    )
    lines = []
    for row in rows:
        cells = [links["link"][row], links["verdict"][row]]
        cells += [say(links[key][row]) if np.isfinite(links[key][row]) else UNKNOWN for key, _, say in _COLUMNS]
        cells.append(links["best_rule"][row])
        lines.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _bad(bad: dict[str, str]) -> str:
    if not bad:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(why)}</td></tr>" for name, why in sorted(bad.items())[:ROWS]
    )
    more = f"<p>and {len(bad) - ROWS:,} more</p>" if len(bad) > ROWS else ""
    return f'<h2>Left out</h2><div class="scroll"><table class="facts">{rows}</table></div>{more}'


def _facts(manifest: dict[str, Any]) -> str:
    totals, settings = manifest["totals"], manifest["settings"]
    facts = {
        "Links, rows, files": f"{manifest['links']:,}, {manifest['rows']:,}, {len(manifest['input']['files']):,}",
        "Gaps": f"{totals['gaps']:,}",
        "Rows without a value": f"{totals['unmeasured']:,}",
        "Rows left out": f"{totals['late']:,} late, {totals['repeated']:,} of a time again",
        "Model": f"{settings['model']}, {settings['sha256'][settings['model']]}",
        "Reserve": f"holds {100.0 * settings['level']:g} % of the outcomes",
        "Input": manifest["input"]["sha256"],
    }
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in facts.items())
    return f'<div class="scroll"><table class="facts">{rows}</table></div>'
