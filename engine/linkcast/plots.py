"""Pictures of an evaluation, of a replay, and of a walk. The one place that knows matplotlib."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast import metrics
from linkcast.evaluation import Evaluation, ScoredTrace, baseline_label, digits
from linkcast.extras import install
from linkcast.files import write_file
from linkcast.replay import Replay
from linkcast.reserving import LINKCAST, RISK, Reservations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
Curve = tuple[FloatArray, str, float]  # forecasts, colour, width of the line

EXCERPT_ROWS = 240  # windows that an excerpt shows
EXCERPT_TICKS = 360  # of a walk, that are drawn at most: more cannot be told apart
FAR = 1.5  # a capacity this many times above all that is drawn would only squeeze it
MODEL, ALONE, OTHER, BEST, LIGHT = "tab:blue", "tab:cyan", "0.6", "tab:orange", "tab:green"
UNNAMED = "0.75"  # of rules that are not told apart
MEASURED, FORECAST, RESERVED, SHORT = "0.15", "tab:blue", "tab:green", "tab:red"


def _figure(width: float, height: float, arranged: bool = True) -> Figure:
    """An empty white figure of that many inches; `arranged`: matplotlib finds room for what its axes say.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"plots need matplotlib: {install('plot')}") from error
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained" if arranged else None)
    FigureCanvasAgg(figure)
    return figure


def plot_evaluation(scored: ScoredTrace, evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Draws an evaluation to an image file.

    Raises:
        ImportError: matplotlib is not installed.
        OSError, ValueError: the file cannot be written, or matplotlib does not know its type.
    """
    figure = _figure(11.0, 7.0)
    grid = figure.add_gridspec(2, 2, height_ratios=[1.1, 1])
    part = f"last {100 * scored.last:g} % in time, " if scored.last is not None else ""
    figure.suptitle(f"{scored.forecaster} on {scored.trace.name}: {part}{len(scored.starts):,} samples, one step ahead")
    _excerpt(figure.add_subplot(grid[0, :]), scored, evaluation)
    _errors(figure.add_subplot(grid[1, 0]), scored, evaluation)
    _skill(figure.add_subplot(grid[1, 1]), scored, evaluation)
    write_file(path, _image(figure, path, dpi=120))


def _excerpt(axes: Axes, scored: ScoredTrace, evaluation: Evaluation) -> None:
    """Forecast and measurement in a stretch where the measurement varies as much as it usually does."""
    rows = _typical_stretch(scored)
    x, unit = _time_axis(len(rows), scored.trace.step_s)
    best = evaluation["best_baseline"]
    label = baseline_label(best)
    axes.plot(x, scored.targets[rows], color="0.2", linewidth=1.0, marker=".", markersize=3, label="measured")
    axes.plot(x, scored.baselines[best][rows], color=BEST, linewidth=1.1, alpha=0.8, label=f"{label}, the best naive")
    axes.plot(x, scored.answers[rows], color=MODEL, linewidth=1.6, label="stream")
    band = scored.band
    if band is not None:
        low, high = band[rows].T
        axes.fill_between(x, low, high, color=MODEL, alpha=0.2, linewidth=0, label="its P10 to P90")
    axes.set(xlabel=f"time [{unit}]", ylabel="bandwidth [Mbit/s]", xlim=(x[0], x[-1] if len(x) > 1 else 1.0))
    bottom, top = axes.get_ylim()
    bottom = max(bottom, 0.0) if bottom > 0.25 * top else 0.0
    axes.set_ylim(bottom, top + 0.16 * (top - bottom))  # room for the legend
    axes.set_title(f"Forecast and measurement: {len(rows)} samples in a row, of usual variability", fontsize=10)
    axes.legend(loc="upper right", frameon=True, framealpha=0.85, edgecolor="none", ncols=4)
    axes.grid(alpha=0.25)


def _time_axis(rows: int, step_s: float | None) -> tuple[FloatArray, str]:
    """(rows,) and its unit: where each row lies from the first one."""
    x: FloatArray = np.arange(rows, dtype=np.float64) * (step_s or 1.0)
    if step_s and x[-1] > 3 * 3600:
        return x / 3600.0, "h"
    return x, "s" if step_s else "rows"


def _typical_stretch(scored: ScoredTrace) -> npt.NDArray[np.int64]:
    """Indices of consecutive windows whose mean step to step change is the median one of such stretches."""
    runs = np.split(np.arange(len(scored.starts)), np.flatnonzero(np.diff(scored.starts) != 1) + 1)
    pieces = [
        run[begin : begin + EXCERPT_ROWS]
        for run in runs
        for begin in range(0, max(1, len(run) - EXCERPT_ROWS + 1), EXCERPT_ROWS)
    ]
    longest = max(map(len, pieces))
    pieces = [piece for piece in pieces if len(piece) == longest]
    targets = scored.targets
    changes = [float(np.abs(np.diff(targets[piece])).mean()) if len(piece) > 1 else 0.0 for piece in pieces]
    return pieces[int(np.argsort(changes)[len(changes) // 2])]


def _errors(axes: Axes, scored: ScoredTrace, evaluation: Evaluation) -> None:
    """The stream, the model alone, the best naive rule and persistence, the other rules in grey, and LightGBM."""
    best = evaluation["best_baseline"]
    curves: dict[str, Curve] = {
        "stream": (scored.answers, MODEL, 2.0),
        "model alone": (scored.forecasts.astype(np.float64), ALONE, 1.2),
    }
    for name in sorted(scored.baselines, key=lambda name: (name == best, name == "persistence")):
        style = (BEST, 1.6) if name == best else ("0.2", 1.2) if name == "persistence" else (UNNAMED, 0.9)
        curves[baseline_label(name)] = (scored.baselines[name], *style)
    if scored.reference is not None:
        curves["LightGBM (reference)"] = (scored.reference, LIGHT, 1.2)
    _shares_below(axes, curves, scored.targets, "samples")
    axes.set_title("Errors: further up is better", fontsize=10)


def _shares_below(axes: Axes, curves: dict[str, Curve], targets: FloatArray, counted: str) -> None:
    """Share of what is counted whose absolute error is below x, a curve for each forecast."""
    share = np.linspace(0.0, 100.0, 501)
    limit, unnamed = 0.0, "other naive"
    for name, (forecasts, colour, width) in curves.items():
        errors = np.abs(forecasts - targets)
        limit = max(limit, float(np.percentile(errors, 95.0)))
        label, order = name, 3 if name == "stream" else 2
        if colour == UNNAMED:
            label, unnamed, order = unnamed, "_", 1
        x = np.percentile(errors, share)
        axes.plot(x, share, color=colour, linewidth=width, zorder=order, label=label)
    axes.set(xlabel="absolute error [Mbit/s]", ylabel=f"{counted} below [%]", ylim=(0, 100))
    if limit > 0.0:
        axes.set_xlim(0, limit)
    axes.legend(loc="lower right", frameon=False)
    axes.grid(alpha=0.25)


def _skill(axes: Axes, scored: ScoredTrace, evaluation: Evaluation) -> None:
    """The stream's skill over each other forecast, with its interval; the best one on top."""
    targets = scored.targets
    rivals: dict[str, FloatArray] = dict(scored.baselines)
    rivals["model alone"] = scored.forecasts.astype(np.float64)
    if scored.reference is not None:
        rivals["LightGBM (reference)"] = scored.reference
    errors = np.abs(np.stack([scored.answers, *rivals.values()]) - targets)
    means = metrics.block_bootstrap(errors, block=evaluation["block_rows"])
    maes = errors.mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        skills = 100.0 * (1.0 - maes[0] / maes[1:])
        spans = np.array([metrics.interval(100.0 * (1.0 - means[0] / row)) for row in means[1:]])
    order = np.argsort(-maes[1:])  # the lowest bar is the worst baseline
    names = list(rivals)
    best = evaluation["best_baseline"]
    marked = {"LightGBM (reference)": LIGHT, "model alone": ALONE, best: BEST}
    colours = [marked.get(names[i], OTHER) for i in order]
    values, rows = np.nan_to_num(skills[order]), np.arange(len(order))
    reach = np.nan_to_num(np.abs(spans[order].T - skills[order]))
    axes.barh(rows, values, xerr=reach, color=colours, height=0.62, error_kw={"ecolor": "0.25", "capsize": 3, "lw": 1})
    axes.axvline(0.0, color="0.2", linewidth=1.0)
    labels = [f"{baseline_label(names[i])}  {digits(maes[1 + i], 3)}" for i in order]
    axes.set_yticks(rows, labels, fontsize=9)
    axes.set_xlabel("skill of the stream [%], with 95 % interval")
    axes.set_title(f"1 - MAE of the stream ({digits(maes[0], 3)} Mbit/s) / MAE of another", fontsize=10)
    axes.grid(alpha=0.25, axis="x")
    axes.margins(x=0.12)


def plot_replay(result: Replay, path: str | os.PathLike[str]) -> None:
    """Draws a replay to an image file: an excerpt of the trace, the rolling skill, the errors, the call times and
    the allocations.

    Raises:
        ImportError: matplotlib is not installed.
        OSError, ValueError: the file cannot be written, or matplotlib does not know its type.
    """
    figure = _figure(11.0, 9.0)
    grid = figure.add_gridspec(3, 3, height_ratios=[1.25, 0.75, 1])
    figure.suptitle(f"{result.trace.name}, profile {result.profile}: {len(result.starts):,} ticks")
    _replay_excerpt(figure.add_subplot(grid[0, :]), result)
    _rolling_skill(figure.add_subplot(grid[1, :]), result)
    _replay_errors(figure.add_subplot(grid[2, 0]), result)
    _latency(figure.add_subplot(grid[2, 1]), result)
    _allocations(figure.add_subplot(grid[2, 2]), result)
    write_file(path, _image(figure, path, dpi=120))


def _replay_excerpt(axes: Axes, result: Replay) -> None:
    """The ticks around the middle of the longest segment."""
    targets = result.targets
    breaks = np.flatnonzero(np.diff(result.starts) > 1) + 1
    runs = np.split(np.arange(len(result.starts)), breaks)
    run = max(runs, key=len)
    begin = max(0, (len(run) - EXCERPT_ROWS) // 2)
    ticks = run[begin : begin + EXCERPT_ROWS]
    x, unit = _time_axis(len(ticks), result.trace.step_s)
    axes.plot(x, targets[ticks], color="0.35", linewidth=1.2, label="measured")
    axes.plot(x, result.answers[ticks], color="tab:blue", linewidth=1.2, label="stream, one step ahead")
    if result.stream.p10 is not None and result.stream.p90 is not None:
        low, high = result.stream.p10[ticks], result.stream.p90[ticks]
        axes.fill_between(x, low, high, color="tab:blue", alpha=0.2, linewidth=0, label="its P10 to P90")
    axes.set(xlabel=f"time [{unit}]", ylabel="bandwidth [Mbit/s]", xlim=(x[0], x[-1]))
    axes.set_title(f"{len(ticks)} ticks from the middle of the longest segment", fontsize=10)
    axes.legend(loc="best", frameon=False, ncols=3)
    axes.grid(alpha=0.25)


def _rolling_skill(axes: Axes, result: Replay) -> None:
    """The stream's rolling skill at every tick."""
    ticks = np.arange(len(result.starts))
    axes.plot(ticks, np.clip(result.rolling_skill, -1.0, 1.0), color="tab:blue", linewidth=1.0)
    axes.axhline(0.0, color="0.35", linewidth=0.8)
    axes.set(xlabel="tick", ylabel="skill", ylim=(-1.0, 1.0), xlim=(0, max(len(ticks) - 1, 1)))
    axes.set_title(f"Skill of the stream over the EWMA, last {result.skill_ticks} ticks", fontsize=10)
    axes.grid(alpha=0.25)


def _replay_errors(axes: Axes, result: Replay) -> None:
    """The stream, the model alone, persistence and the best naive rule."""
    curves: dict[str, Curve] = {
        "stream": (result.answers, MODEL, 1.4),
        "model alone": (result.forecasts.astype(np.float64), ALONE, 1.4),
    }
    for name, colour in (("persistence", "0.35"), (result.evaluation["best_baseline"], BEST)):
        curves.setdefault(baseline_label(name), (result.baselines[name], colour, 1.4))
    _shares_below(axes, curves, result.targets, "ticks")
    axes.set_title("Error", fontsize=10)


def _latency(axes: Axes, result: Replay) -> None:
    both = np.concatenate([result.forecast_us, result.decide_us])
    bins = np.geomspace(max(both.min(), 0.05), both.max() * 1.01, 70)
    for label, times, colour in (
        ("forecast", result.forecast_us, "tab:blue"),
        ("decide", result.decide_us, "tab:green"),
    ):
        name = f"{label}, p50 {np.median(times):.3g} µs"
        axes.hist(times, bins=bins.tolist(), color=colour, alpha=0.75, label=name)
    axes.set(xlabel="time of one call [µs]", ylabel="ticks", xscale="log", yscale="log")
    axes.set_title("Latency", fontsize=10)
    axes.set_ylim(top=axes.get_ylim()[1] * 8)  # room for the legend
    axes.legend(loc="upper right", frameon=False)
    axes.grid(alpha=0.25)


def _allocations(axes: Axes, result: Replay) -> None:
    percent = np.arange(1, 11) * 10
    share = 100.0 * np.bincount(result.actions, minlength=10) / len(result.actions)
    axes.bar(percent, share, width=7.5, color="tab:blue")
    axes.set(xlabel="allocation [% of the link]", ylabel="ticks [%]", xticks=percent)
    axes.set_title(f"Allocation, mean {np.mean((result.actions + 1) * 10.0):.1f} %", fontsize=10)
    axes.grid(alpha=0.25, axis="y")


def liveliest(came: FloatArray) -> slice:
    """The stretch in which (n,) varies most: there is most to see."""
    if len(came) <= EXCERPT_TICKS:
        return slice(0, len(came))
    spread = np.lib.stride_tricks.sliding_window_view(came, EXCERPT_TICKS)[::10].std(axis=1)
    begin = 10 * int(np.argmax(spread))
    return slice(begin, begin + EXCERPT_TICKS)


def plot_walk(result: Reservations, path: str | os.PathLike[str]) -> None:
    """Draws a walk to an image file; an SVG of the same walk has the same bytes, with one version of matplotlib.

    In an SVG what is drawn has an id: measured, forecast, band, reserved, missing, short.

    Raises:
        ImportError: matplotlib is not installed.
        OSError, ValueError: the file cannot be written, or matplotlib does not know its type.
    """
    figure = _figure(10.0, 4.6, arranged=False)
    import matplotlib

    shown = liveliest(result.came)
    came, reserved, lacks = result.came[shown], result.rules[LINKCAST][shown], result.short[shown]
    unit, per_unit = _walk_unit(result, shown.stop - shown.start)
    x = np.arange(len(came)) * per_unit
    # Sizes are fixed and text is text: the picture does not depend on a version's layout or on installed fonts.
    with matplotlib.rc_context({"svg.hashsalt": "linkcast", "svg.fonttype": "none", "path.simplify": False}):
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
        if Path(path).suffix.lower() == ".svg":
            image = _image(figure, path, metadata={"Date": None, "Creator": "linkcast replay"})
            write_file(path, _shortened(image.decode("utf-8")).encode("utf-8"))
        else:
            write_file(path, _image(figure, path, dpi=120))


def _summary(result: Reservations, shown: slice) -> str:
    """The whole walk in a line, whatever part of it is drawn."""
    ours, part = result.outcome(LINKCAST), shown.stop - shown.start
    drawn = "" if part == len(result) else f", {part:,} of them drawn"
    return (
        f"{ours['reserved_mbps']:.1f} Mbit/s reserved on average, {ours['unused_mbps']:.1f} of them unused, short in "
        f"{100.0 * ours['short_share']:.1f} % (set: {100.0 * RISK:g} %) of {len(result):,} ticks{drawn}"
    )


def _walk_unit(result: Reservations, ticks: int) -> tuple[str, float]:
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


def _image(figure: Figure, path: str | os.PathLike[str], **options: Any) -> bytes:
    """What the file is to hold: drawn before it is touched. PNG, where the name has no ending."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=Path(path).suffix[1:].lower() or "png", **options)
    return drawn.getvalue()


def _shortened(text: str) -> str:
    """Coordinates to a tenth of a point: a third of the size."""

    def shorter(match: re.Match[str]) -> str:
        number = f"{float(match[0]):.1f}"
        return number.removesuffix(".0")

    return re.sub(r'(?<= d=")[^"]*', lambda data: re.sub(r"-?\d+\.\d+", shorter, data[0]), text)
