"""Small fleets for the tests of `linkcast.fleet`, and workers that are killed on purpose."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

from linkcast.features import TELEMETRY
from linkcast.fleet.crew import InProcess, LocalCrew

START_US = int(np.datetime64("2026-03-02T00:00:00", "us").astype(np.int64))


def telemetry(links, ticks, seed=0):
    """(ticks, links, 4): levels from 1 to 400 Mbit/s, some steady, some noisy."""
    rng = np.random.default_rng(seed)
    level, keep, spread = np.exp(rng.uniform(0, 6, links)), rng.uniform(0, 0.99, links), rng.uniform(0.02, 0.3, links)
    values = np.empty((ticks, links, 4))
    state = np.zeros(links)
    for tick in range(ticks):
        state = keep * state + np.sqrt(1 - keep**2) * rng.normal(size=links)
        values[tick, :, 1] = level * np.exp(spread * state)
    values[..., 0] = rng.uniform(10, 40, (ticks, links))
    values[..., 2] = rng.uniform(0, 0.01, (ticks, links))
    values[..., 3] = 0.999
    return values


def names_of(links):
    return [f"edge-{index:03d}" for index in range(links)]


def write(path, link, times, values, rows=500):
    """One Parquet file: link names, seconds since the start, and (rows, 4)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    micros = START_US + np.round(np.asarray(times) * 1e6).astype(np.int64)
    table = pa.table(
        {
            "link": pa.array(list(link), pa.string()),
            "timestamp": pa.array(micros).cast(pa.timestamp("us")),
            **{name: np.ascontiguousarray(values[:, index]) for index, name in enumerate(TELEMETRY)},
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)


def write_days(folder, values, days, first=0):
    """A file for each part of the ticks, all links in each, tick after tick."""
    ticks, links, _ = values.shape
    for day, rows in enumerate(np.array_split(np.arange(ticks), days)):
        write(
            folder / f"day-{day + first}.parquet",
            np.tile(names_of(links), len(rows)),
            np.repeat(rows + first * ticks, links),
            values[rows].reshape(-1, 4),
        )
    return folder


def files_in(folder):
    """Relative path -> bytes of all files."""
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


class KillsItself:
    """A `Work` that kills its process at the given report, once."""

    def __init__(self, work, marker, report):
        self.work, self.marker, self.report = work, Path(marker), report

    def __call__(self, item, report):
        seen = 0

        def counted(rows):
            nonlocal seen
            seen += 1
            report(rows)
            if seen == self.report and item == 1 and not self.marker.exists():
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        return self.work(item, counted)


class DyingCrew:
    """Sorts rows here, and has a process die that scores."""

    def __init__(self, crew, folder, report):
        self.crew, self.folder, self.report, self.half = crew, Path(folder), report, 0

    def run(self, work, items, report):
        self.half += 1
        if self.half == 1:
            yield from InProcess().run(work, items, report)
        else:
            yield from self.crew.run(KillsItself(work, self.folder / "died", self.report), items, report)


def killed_driver(data, output, folder):
    """Run in a process of its own: it kills itself between two parts."""
    from linkcast.fleet import score

    score(data, output, crew=DyingCrew(InProcess(), folder, 3), part_ticks=64)


def dying_local_crew(folder, report):
    return DyingCrew(LocalCrew(2), folder, report)
