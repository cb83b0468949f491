"""The picture of a walk: what was measured, forecast and reserved, and where the reservation was short."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from linkcast.reserving import LINKCAST, RISK, Reservations

EXCERPT_TICKS = 600  # that are drawn at most: more cannot be told apart
MEASURED, FORECAST, RESERVED, SHORT = "0.15", "tab:blue", "tab:green", "tab:red"


def excerpt(ticks: int) -> slice:
    """The middle of the walk."""
    begin = max(0, (ticks - EXCERPT_TICKS) // 2)
    return slice(begin, min(ticks, begin + EXCERPT_TICKS))


def draw(result: Reservations, path: str | os.PathLike[str]) -> None:
    """Draws a walk to an image file; an SVG of the same walk has the same bytes, with one version of matplotlib.

    Each artist of the SVG has an id: measured, forecast, band, reserved, short.

    Raises:
        ImportError: matplotlib is not installed.
        OSError, ValueError: the file cannot be written, or matplotlib does not know its type.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'linkcast[plot]'") from error
    shown = excerpt(len(result))
    came, reserved = result.came[shown], result.rules[LINKCAST][shown]
    x = np.arange(shown.start, shown.stop) * _minutes_per_tick(result)
    # Sizes are fixed and text is text: the picture does not depend on a version's layout or on installed fonts.
    with matplotlib.rc_context({"svg.hashsalt": "linkcast", "svg.fonttype": "none", "path.simplify": False}):
        figure = Figure(figsize=(10.0, 4.4), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.065, 0.125, 0.92, 0.70))
        band = axes.fill_between(
            x, result.p10[shown], result.p90[shown], color=FORECAST, alpha=0.25, linewidth=0, label="its P10 to P90"
        )
        short = axes.fill_between(
            x, reserved, came, where=came > reserved, interpolate=True, color=SHORT, linewidth=0, label="short"
        )
        (line,) = axes.plot(x, result.forecast[shown], color=FORECAST, linewidth=1.0, label="forecast one tick ahead")
        (demand,) = axes.plot(x, came, color=MEASURED, linewidth=0.9, label="measured")
        (kept,) = axes.step(x, reserved, where="mid", color=RESERVED, linewidth=1.1, label="reserved")
        for artist, name in ((band, "band"), (short, "short"), (line, "forecast"), (demand, "measured")):
            artist.set_gid(name)
        kept.set_gid("reserved")
        most = max(result.capacity_mbps, float(came.max()), float(reserved.max()))
        if result.capacity_known:
            axes.axhline(result.capacity_mbps, color="0.5", linewidth=0.8, linestyle="--")
        axes.set(xlim=(x[0], x[-1] if len(x) > 1 else x[0] + 1.0), ylim=(0.0, 1.04 * most))
        axes.set(xlabel=_time_label(result), ylabel="Mbit/s")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(
            handles=[demand, line, band, kept, short],
            loc="upper left",
            bbox_to_anchor=(0.055, 0.925),
            ncols=5,
            frameon=False,
            fontsize=9,
        )
        figure.text(0.065, 0.945, _title(result, shown), fontsize=11)
        kind = Path(path).suffix.lower()
        if kind == ".svg":
            figure.savefig(path, metadata={"Date": None, "Creator": "linkcast replay"})
            _shorten(Path(path))
        else:
            figure.savefig(path, dpi=120)


def _title(result: Reservations, shown: slice) -> str:
    """The whole walk in a line, whatever part of it is drawn."""
    outcome = result.outcome(LINKCAST)
    part = "" if shown.stop - shown.start == len(result) else ", its middle"
    return (
        f"{result.trace.name}{part}: {outcome['reserved_mbps']:.0f} Mbit/s reserved on average, "
        f"short in {100.0 * outcome['short_share']:.1f} % of the ticks (set: {100.0 * RISK:g} %)"
    )


def _minutes_per_tick(result: Reservations) -> float:
    return result.trace.step_s / 60.0 if result.trace.step_s else 1.0


def _time_label(result: Reservations) -> str:
    if not result.trace.step_s:
        return "tick"
    start = result.trace.timestamps
    return "minutes" if start is None else f"minutes since {str(start[result.rows[0]])[:16].replace('T', ' ')}"


def _shorten(path: Path) -> None:
    """Coordinates to a tenth of a point: a third of the size."""
    text = path.read_text(encoding="utf-8")

    def shorter(match: re.Match[str]) -> str:
        number = f"{float(match[0]):.1f}"
        return number.removesuffix(".0")

    paths = re.sub(r'(?<= d=")[^"]*', lambda data: re.sub(r"-?\d+\.\d+", shorter, data[0]), text)
    path.write_text(paths, encoding="utf-8")
