"""The picture of a walk: what was measured, forecast and reserved, and where the reservation was short."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from linkcast.reserving import LINKCAST, RISK, Reservations

EXCERPT_TICKS = 360  # that are drawn at most: more cannot be told apart
FAR = 1.5  # a capacity this many times above all that is drawn would only squeeze it
MEASURED, FORECAST, RESERVED, SHORT = "0.15", "tab:blue", "tab:green", "tab:red"


def excerpt(came: npt.NDArray[np.float64]) -> slice:
    """The stretch in which (n,) varies most: there is most to see."""
    if len(came) <= EXCERPT_TICKS:
        return slice(0, len(came))
    spread = np.lib.stride_tricks.sliding_window_view(came, EXCERPT_TICKS)[::10].std(axis=1)
    begin = 10 * int(np.argmax(spread))
    return slice(begin, begin + EXCERPT_TICKS)


def draw(result: Reservations, path: str | os.PathLike[str]) -> None:
    """Draws a walk to an image file; an SVG of the same walk has the same bytes, with one version of matplotlib.

    In an SVG what is drawn has an id: measured, forecast, band, reserved, missing, short.

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
    shown = excerpt(result.came)
    came, reserved, lacks = result.came[shown], result.rules[LINKCAST][shown], result.short[shown]
    unit, per_unit = _unit(result, shown.stop - shown.start)
    x = np.arange(len(came)) * per_unit
    # Sizes are fixed and text is text: the picture does not depend on a version's layout or on installed fonts.
    with matplotlib.rc_context({"svg.hashsalt": "linkcast", "svg.fonttype": "none", "path.simplify": False}):
        figure = Figure(figsize=(10.0, 4.6), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.07, 0.115, 0.915, 0.685))
        band = axes.fill_between(
            x, result.p10[shown], result.p90[shown], color=FORECAST, alpha=0.25, linewidth=0, label="its P10 to P90"
        )
        (line,) = axes.plot(x, result.forecast[shown], color=FORECAST, linewidth=1.0, label="forecast one tick ahead")
        (demand,) = axes.plot(x, came, color=MEASURED, linewidth=0.9, label="measured")
        (kept,) = axes.step(x, reserved, where="mid", color=RESERVED, linewidth=1.1, label="reserved")
        missing = axes.vlines(x[lacks], reserved[lacks], came[lacks], color=SHORT, linewidth=2.0)
        (short,) = axes.plot(x[lacks], came[lacks], "o", color=SHORT, markersize=4.0, label="short: more came")
        named = {
            "band": band,
            "forecast": line,
            "measured": demand,
            "reserved": kept,
            "missing": missing,
            "short": short,
        }
        for name, artist in named.items():
            artist.set_gid(name)
        most = max(float(came.max()), float(reserved.max()))
        if result.capacity_known and result.capacity_mbps < FAR * most:
            most = max(most, result.capacity_mbps)
            axes.axhline(result.capacity_mbps, color="0.5", linewidth=0.8, linestyle="--")
        axes.set(xlim=(x[0], x[-1] if len(x) > 1 else x[0] + 1.0), ylim=(0.0, 1.04 * most))
        axes.set(xlabel=_time_label(result, shown, unit), ylabel="Mbit/s")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(
            handles=[demand, line, band, kept, short],
            loc="upper left",
            bbox_to_anchor=(0.06, 0.895),
            ncols=5,
            frameon=False,
            fontsize=9,
        )
        figure.text(0.07, 0.945, result.trace.name, fontsize=11, weight="bold")
        figure.text(0.07, 0.90, _summary(result, shown), fontsize=9)
        kind = Path(path).suffix.lower()
        if kind == ".svg":
            figure.savefig(path, metadata={"Date": None, "Creator": "linkcast replay"})
            _shorten(Path(path))
        else:
            figure.savefig(path, dpi=120)


def _summary(result: Reservations, shown: slice) -> str:
    """The whole walk in a line, whatever part of it is drawn."""
    ours, part = result.outcome(LINKCAST), shown.stop - shown.start
    drawn = "" if part == len(result) else f", {part:,} of them drawn"
    return (
        f"{ours['reserved_mbps']:.1f} Mbit/s reserved on average, {ours['unused_mbps']:.1f} of them unused, short in "
        f"{100.0 * ours['short_share']:.1f} % (set: {100.0 * RISK:g} %) of {len(result):,} ticks{drawn}"
    )


def _unit(result: Reservations, ticks: int) -> tuple[str, float]:
    """The unit of the time axis, and a tick in it."""
    step_s = result.trace.step_s
    if not step_s:
        return "ticks", 1.0
    length_s = ticks * step_s
    for unit, seconds in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if length_s > 3.0 * seconds:
            return unit, step_s / seconds
    return "seconds", step_s


def _time_label(result: Reservations, shown: slice, unit: str) -> str:
    """Since when the drawn part goes: its first row that came."""
    times = result.trace.timestamps
    return unit if times is None else f"{unit} since {str(times[result.rows[shown][0] + 1])[:19].replace('T', ' ')}"


def _shorten(path: Path) -> None:
    """Coordinates to a tenth of a point: a third of the size."""
    text = path.read_text(encoding="utf-8")

    def shorter(match: re.Match[str]) -> str:
        number = f"{float(match[0]):.1f}"
        return number.removesuffix(".0")

    paths = re.sub(r'(?<= d=")[^"]*', lambda data: re.sub(r"-?\d+\.\d+", shorter, data[0]), text)
    path.write_text(paths, encoding="utf-8")
