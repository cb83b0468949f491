"""The picture of an evaluation: an excerpt, the errors, and the skill over each naive baseline."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from linkcast import metrics
from linkcast.evaluation import Evaluation, ScoredTrace, baseline_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXCERPT_ROWS = 240  # windows that the excerpt shows
MODEL, ALONE, OTHER, BEST, LIGHT = "tab:blue", "tab:cyan", "0.6", "tab:orange", "tab:green"


def plot_evaluation(scored: ScoredTrace, evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Draws an evaluation to an image file.

    Raises:
        ImportError: matplotlib is not installed.
        OSError, ValueError: the file cannot be written, or matplotlib does not know its type.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'linkcast[plot]'") from error
    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=[1.1, 1])
    part = f"last {100 * scored.last:g} % in time, " if scored.last is not None else ""
    figure.suptitle(f"{scored.forecaster} on {scored.trace.name}: {part}{len(scored.starts):,} samples, one step ahead")
    _excerpt(figure.add_subplot(grid[0, :]), scored, evaluation)
    _errors(figure.add_subplot(grid[1, 0]), scored, evaluation)
    _skill(figure.add_subplot(grid[1, 1]), scored, evaluation)
    figure.savefig(path, dpi=120)


def _excerpt(axes: Axes, scored: ScoredTrace, evaluation: Evaluation) -> None:
    """Forecast and measurement in a stretch where the measurement varies as much as it usually does."""
    rows = _typical_stretch(scored)
    step_s = scored.trace.step_s
    x = np.arange(len(rows)) * (step_s or 1.0)
    unit = "s" if step_s else "rows"
    if step_s and x[-1] > 3 * 3600:
        x, unit = x / 3600, "h"
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
    """Share of the samples whose absolute error is below x."""
    targets, best = scored.targets, evaluation["best_baseline"]
    share = np.linspace(0.0, 100.0, 501)
    limit = 0.0
    curves = {"stream": (scored.answers, MODEL, 2.0), "model alone": (scored.forecasts.astype(np.float64), ALONE, 1.2)}
    for name in sorted(scored.baselines, key=lambda name: (name == best, name == "persistence")):
        style = (BEST, 1.6) if name == best else ("0.2", 1.2) if name == "persistence" else ("0.75", 0.9)
        curves[name] = (scored.baselines[name], *style)
    if scored.reference is not None:
        curves["LightGBM (reference)"] = (scored.reference, LIGHT, 1.2)
    for name, (forecasts, colour, width) in curves.items():
        errors = np.abs(forecasts - targets)
        limit = max(limit, float(np.percentile(errors, 95.0)))
        grey = colour == "0.75"
        label = "other naive" if grey else baseline_label(name)
        known = axes.get_legend_handles_labels()[1]
        order = 3 if name == "stream" else 1 if grey else 2
        axes.plot(
            np.percentile(errors, share),
            share,
            color=colour,
            linewidth=width,
            zorder=order,
            label="_" if label in known else label,
        )
    axes.set(xlabel="absolute error [Mbit/s]", ylabel="samples below [%]", ylim=(0, 100))
    if limit > 0.0:
        axes.set_xlim(0, limit)
    axes.set_title("Errors: further up is better", fontsize=10)
    axes.legend(loc="lower right", frameon=False)
    axes.grid(alpha=0.25)


def _skill(axes: Axes, scored: ScoredTrace, evaluation: Evaluation) -> None:
    """The stream's skill over each other forecast, with its interval; the best one on top."""
    targets = scored.targets
    rivals: dict[str, npt.NDArray[np.float64]] = dict(scored.baselines)
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
    labels = [f"{baseline_label(names[i])}  {maes[1 + i]:.3g}" for i in order]
    axes.set_yticks(rows, labels, fontsize=9)
    axes.set_xlabel("skill of the stream [%], with 95 % interval")
    axes.set_title(f"1 - MAE of the stream ({maes[0]:.3g} Mbit/s) / MAE of another", fontsize=10)
    axes.grid(alpha=0.25, axis="x")
    axes.margins(x=0.12)
