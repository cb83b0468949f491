"""Scores streams on every data set that is there, as `linkcast evaluate` does, and prints one table.

    python benchmarks/forecasts.py [NAME...] [--last 0.3] [--reference] [--json scores.json] [--models FOLDER]

The sets are looked for in `LINKCAST_DATA`, or else in `../shared/data`. A set is a file and what of it is forecast;
names that are given choose those that contain one of them. Takes a few minutes for all of them; the results are in
docs/accuracy.md.

Skill is that of the stream, and of the model alone, over the best of the naive rules on the same ticks, chosen in
hindsight, one step ahead; then that of the stream further ahead, over the best rule there. Then the share of the ticks
above P90, in all and in the worst tenth of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from linkcast.cli.scores import NAMES, percent
from linkcast.console import note, rounded, show, table
from linkcast.engine import Engine
from linkcast.evaluation import Evaluation, baseline_label, evaluate_trace
from linkcast.traces import Layout, read_trace

DATA = Path(os.environ.get("LINKCAST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
STEPS = (5, 10)  # horizons that the table shows


@dataclass(frozen=True)
class DataSet:
    """A file below DATA, and what of it is forecast."""

    name: str
    file: str
    layout: Layout


def carried(column: str) -> dict[str, str | float]:
    return {"bandwidth_mbps": column}


WAVELAB = {"modem": ["*-WAVELAB"]}  # the modems that carry a ship's traffic; the others carry probes
SETS = [
    DataSet("webrtc video", "webrtc_video_1hz/dev.parquet", Layout()),
    DataSet("speed test down", "speedtest_home_30min/dev.csv.gz", Layout(carried("dl_mbps"))),
    DataSet("speed test up", "speedtest_home_30min/dev.csv.gz", Layout(carried("ul_mbps"))),
    DataSet("ship modem down", "modem5g_1hz/dev.parquet", Layout(carried("dl_mbps"), where=WAVELAB)),
    DataSet("ship modem up", "modem5g_1hz/dev.parquet", Layout(carried("ul_mbps"), where=WAVELAB)),
    DataSet("starlink down", "starlink_1hz/dev.parquet", Layout(carried("dl_mbps"))),
    DataSet("starlink up", "starlink_1hz/dev.parquet", Layout(carried("ul_mbps"))),
    DataSet("3G commutes", "norway_3g_1hz/dev.parquet", Layout()),
    DataSet("FCC lines", "fcc_lines_5s/dev.parquet", Layout()),
    DataSet("puffer streams", "puffer_streams_chunks/dev.parquet", Layout()),
]


def scores_table(results: dict[str, Evaluation]) -> object:
    """A line for each set, and the mean and the worst of them."""
    columns = ("Data set", "Best naive", "Skill", "Model", *(f"At {steps}" for steps in STEPS), "> P90", "Worst")
    title = "Skill over the best naive rule in hindsight, and the share above P90, in %"
    rows = table(title, *columns, left=NAMES, close=True)
    figures = np.empty((len(results), 2 + len(STEPS) + 2))
    for row, one in zip(figures, results.values(), strict=True):
        horizons = {ahead["steps"]: ahead["skill"] for ahead in one["outlook"]["horizons"]}
        band = one["outlook"]["band"]["stream"]
        row[:2] = one["stream"]["skill"], one["skill"]
        row[2:-2] = [horizons.get(steps, np.nan) for steps in STEPS]
        row[-2:] = band["above_p90"], band["above_p90_worst_tenth"]
    for (name, one), row in zip(results.items(), figures, strict=True):
        rows.add_row(name, baseline_label(one["best_baseline"]), *_cells(row))
    rows.add_row("mean", "", *_cells(figures.mean(axis=0)))
    rows.add_row("worst", "", *_cells(np.append(figures[:, :-2].min(axis=0), figures[:, -2:].max(axis=0))))
    return rows


def _cells(row: npt.NDArray[np.float64]) -> list[str]:
    """Skills with a sign, then the two shares."""
    return [*(f"{100.0 * skill:+.1f}" for skill in row[:-2]), *map(percent, row[-2:])]


def idle_table(results: dict[str, Evaluation]) -> object:
    """What is reserved for nothing at equal risk: of the next value, and of the peak."""
    light = any("lightgbm" in row for one in results.values() for row in one["outlook"]["risk"])
    methods = ("Stream", "Naive", *(["Light"] if light else []))
    title = "Idle in % of what came, if short in 10 % of the time: next value; peak ahead"
    rows = table(title, "Data set", *methods, *methods, "Peak > P90", "Worst", close=True)
    for name, one in results.items():
        values: list[float] = []
        for row in one["outlook"]["risk"]:
            values += [row["stream"], row["naive"], *([row["lightgbm"]] if light else [])]
        peak = one["outlook"]["risk"][-1]
        rows.add_row(name, *map(percent, [*values, peak["above_p90"], peak["above_p90_worst_tenth"]]))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of the sets; none: all")
    parser.add_argument("--last", type=float, help="score the last share in time only")
    parser.add_argument("--reference", action="store_true", help="LightGBM beside it; needs --last")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--models", help="a bundle folder; default: the bundled models")
    parser.add_argument("--model", default="internet")
    options = parser.parse_args()
    chosen = [one for one in SETS if not options.names or any(part in one.name for part in options.names)]
    there = [one for one in chosen if (DATA / one.file).is_file()]
    if not there:
        print(f"forecasts.py: expected data sets in {DATA}, found none of {', '.join(o.name for o in chosen)}")
        return 1
    engine = Engine(options.models)
    results: dict[str, Evaluation] = {}
    for one in there:
        begin = time.perf_counter()
        trace = read_trace(DATA / one.file, one.layout)
        results[one.name] = evaluate_trace(engine, options.model, trace, None, options.last, options.reference)
        note(f"{one.name}: {results[one.name]['samples']:,} ticks in {time.perf_counter() - begin:.1f} s")
    if options.json is not None:
        options.json.write_text(json.dumps(rounded(results), indent=1) + "\n", encoding="utf-8")
    margins = [name for name, one in results.items() if one["outlook"]["band_source"] == "margin"]
    show(scores_table(results), idle_table(results))
    if margins:
        show(f"\nThe band is a margin on the forecasts, not the stream's own: {', '.join(margins)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
