"""One shard: its links are the rows of one stream, from their first tick to their last, a part at a time.

After each part stands a checkpoint: a run that was killed goes on there, and writes what it would have written.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast.features import BANDWIDTH, TELEMETRY
from linkcast.fleet import states, tally
from linkcast.fleet.characters import link_table
from linkcast.fleet.settings import (
    Settings,
    allocator_of,
    capacities_of,
    part_ticks,
    read_json,
    runs_on,
    write_atomically,
    write_json,
)
from linkcast.fleet.split import segments_of
from linkcast.fleet.tables import forecast_table, write_table
from linkcast.fleet.ticks import Cursor
from linkcast.traces.clock import to_zone, zone_of

if TYPE_CHECKING:
    from linkcast._native import Answers, Stream

MOST_LOAD = 2.0  # of the capacity that an allocator is shown
PUSHED = 320  # ticks in one native call: bounds what it gives back


@dataclass(frozen=True)
class Job:
    """What a worker has to know, of all shards."""

    output: Path
    settings: Settings
    shards: int
    chunks: int
    bad: Collection[str]  # files that are left out
    runs_on: str = ""  # as `settings.runs_on` says it where the run began; "": anything
    state_in: Path | None = None
    state_out: Path | None = None
    ticks: int | None = None  # of a part; None: `part_ticks`

    @property
    def work(self) -> Path:
        return self.output / "work"

    def done(self, shard: int) -> Path:
        """Is there when a shard is."""
        return self.work / "shards" / f"{shard:06d}.json"

    def checkpoint(self, shard: int) -> Path:
        return self.work / "shards" / f"{shard:06d}.checkpoint"


@dataclass
class Progress:
    """A shard under way: what a checkpoint holds."""

    cursors: list[Cursor]
    live: list[int]  # links that are not at their end, in the order of the stream's rows but for those that are
    rows: list[int]  # link of each row of the stream
    tally: dict[str, npt.NDArray[np.float64]]
    ended: dict[str, states.LinkState]
    part: int = 0
    written: int = 0


def score_shard(job: Job, shard: int, report: Callable[[int], None] = lambda rows: None) -> dict[str, int]:
    """Scores a shard, or what is left of it; done before, it does nothing.

    Args:
        report: is called with the number of input rows done since its last call.
    Returns:
        Counts: rows read, rows written, links, and what `Cursor.counts` counts.
    """
    if job.done(shard).exists():
        counts: dict[str, int] = read_json(job.done(shard))
        report(counts["rows"])
        return counts
    runner = _Runner(job, shard)
    report(sum(cursor.row for cursor in runner.now.cursors))
    while runner.now.live:
        before = sum(cursor.row for cursor in runner.now.cursors)
        runner.part()
        report(sum(cursor.row for cursor in runner.now.cursors) - before)
    return runner.finish()


class _Runner:
    def __init__(self, job: Job, shard: int) -> None:
        self.job, self.shard = job, shard
        self.engine = job.settings.engine()
        self.forecaster = self.engine.resolve(job.settings.model, "forecaster")
        names = self.engine.spec(self.forecaster)["features"]
        if tuple(names) != TELEMETRY:
            raise ValueError(f"{self.forecaster}: expected a model of {', '.join(TELEMETRY)}, got {', '.join(names)}")
        if job.runs_on not in ("", runs_on(self.engine, self.forecaster)):
            here = runs_on(self.engine, self.forecaster)
            raise ValueError(
                f"{self.forecaster}: expected a machine that runs it on {job.runs_on}, as the run began, got {here}: "
                "forecasts would differ in their last bits; LINKCAST_ISA names one that all machines have"
            )
        self.allocator = allocator_of(self.engine, self.forecaster)
        checkpoint = job.checkpoint(shard)
        self.now: Progress
        if checkpoint.exists():
            self.now, snapshot = pickle.loads(checkpoint.read_bytes())
            self.stream = self._stream(len(self.now.rows))
            if self.now.live:  # or else all is scored, and only finish() was not reached
                self.stream.restore(snapshot)
        else:
            self.now = self._begin()
        self.capacities = capacities_of(job.settings, [cursor.link for cursor in self.now.cursors])

    def _stream(self, rows: int) -> Stream[Any]:
        settings = self.job.settings
        stream: Stream[Answers] = self.engine.stream(
            self.forecaster, max(1, rows), horizon=settings.horizon, level=settings.level
        )
        return stream

    def _begin(self) -> Progress:
        job = self.job
        segments = segments_of(job.work, job.chunks, self.shard, job.bad)
        fixed = round(job.settings.step_s * 1e6) if job.settings.step_s else 0
        cursors = [Cursor(name, rows, fixed) for name, rows in segments.items()]
        everyone = list(range(len(cursors)))
        now = Progress(cursors, everyone, list(everyone), tally.new_tally(len(cursors)), {})
        self.stream = self._stream(len(cursors))
        if job.state_in is not None:
            known = states.read(job.state_in, self.shard)
            for row, cursor in enumerate(cursors):
                state = known.pop(cursor.link, None)
                if state is None:
                    continue
                self.stream.restore(state.stream, row=row)
                cursor.step_us, cursor.newest = fixed or state.step_us, state.newest
                state.restore_tally(now.tally, row)
            now.ended = known  # links that are not in today's rows
        return now

    def part(self) -> None:
        """Scores the next ticks of every link, writes them, and sets the checkpoint."""
        now, settings = self.now, self.job.settings
        most = self.job.ticks or part_ticks(len(now.cursors))
        taken = {link: now.cursors[link].take(most, settings.skip_bad) for link in now.live}
        lengths = {link: len(ticks.times) for link, ticks in taken.items()}
        length = max(lengths.values())
        shape = (length, len(now.rows))
        samples, present = np.zeros((*shape, len(TELEMETRY))), np.zeros(shape, np.bool_)
        is_row, times = np.zeros(shape, np.bool_), np.full(shape, -1, np.int64)
        for row, link in enumerate(now.rows):
            if link in taken:
                end, ticks = lengths[link], taken[link]
                samples[:end, row], present[:end, row] = ticks.samples, ticks.present
                is_row[:end, row], times[:end, row] = ticks.is_row, ticks.times
        ending = {link for link in now.live if now.cursors[link].row >= now.cursors[link].rows}
        answers, peak, sources, names, snapshots = self._push(samples, present, lengths, ending)
        self._count(samples[:, :, BANDWIDTH], present, answers, times, lengths)
        self._write(samples, is_row, times, answers, peak, sources, names)
        for link in ending:
            if self.job.state_out is not None:
                cursor = now.cursors[link]
                carried = states.carried_of(now.tally, link)
                state = states.LinkState(cursor.step_us, cursor.newest, snapshots[link], carried)
                now.ended[cursor.link] = state
        now.live = [link for link in now.live if link not in ending]
        now.part += 1
        if now.live and 2 * len(now.live) <= len(now.rows):
            self._close_ranks()
        snapshot = self.stream.snapshot() if now.live else b""
        write_atomically(self.job.checkpoint(self.shard), pickle.dumps((now, snapshot), protocol=5))

    def _push(
        self,
        samples: npt.NDArray[np.float64],
        present: npt.NDArray[np.bool_],
        lengths: dict[int, int],
        ending: set[int],
    ) -> tuple[
        npt.NDArray[np.float32],
        npt.NDArray[np.float32] | None,
        npt.NDArray[np.uint8],
        list[str],
        dict[int, bytes],
    ]:
        """The stream's answers; and the state of each link that ends, taken at its end."""
        length, rows = present.shape
        steps = self.job.settings.horizon
        answers = np.empty((length, rows, 5), np.float32)
        peak = np.empty((length, rows), np.float32) if steps > 1 else None
        sources = np.empty((length, rows), np.uint8)
        ends = {lengths[link] for link in ending} if self.job.state_out is not None else set()
        cuts = sorted({*range(0, length, PUSHED), *ends, length})
        names: list[str] = []
        snapshots: dict[int, bytes] = {}
        for begin, end in pairwise(cuts):
            ticks, came = samples[begin:end], present[begin:end]
            given = self.stream.push_many(ticks[:, 0], came[:, 0]) if rows == 1 else self.stream.push_many(ticks, came)
            answers[begin:end] = given["next"].reshape(end - begin, rows, 5)
            if peak is not None:
                peak[begin:end] = given["peak"].reshape(end - begin, rows, steps, 5)[:, :, -1, tally.P90]
            sources[begin:end] = given["source"].reshape(end - begin, rows)
            names = given["source_names"]
            if end in ends:
                for row, link in enumerate(self.now.rows):
                    if link in ending and lengths[link] == end:
                        snapshots[link] = self.stream.snapshot(row=row)
        return answers, peak, sources, names, snapshots

    def _count(
        self,
        bandwidth: npt.NDArray[np.float64],
        present: npt.NDArray[np.bool_],
        answers: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],
        lengths: dict[int, int],
    ) -> None:
        rows = [row for row, link in enumerate(self.now.rows) if link in lengths]
        links = [self.now.rows[row] for row in rows]
        wall = times[:, rows]
        if self.job.settings.timezone is not None:
            wall = np.where(
                wall < 0, -1, to_zone(wall.reshape(-1), zone_of(self.job.settings.timezone)).reshape(wall.shape)
            )
        part = {name: values[links] for name, values in self.now.tally.items()}
        values = np.where(present[:, rows], bandwidth[:, rows], np.nan)
        tally.add(part, values, answers[:, rows].astype(np.float64), wall)
        for name, counted in part.items():
            self.now.tally[name][links] = counted

    def _write(
        self,
        samples: npt.NDArray[np.float64],
        is_row: npt.NDArray[np.bool_],
        times: npt.NDArray[np.int64],
        answers: npt.NDArray[np.float32],
        peak: npt.NDArray[np.float32] | None,
        sources: npt.NDArray[np.uint8],
        source_names: list[str],
    ) -> None:
        """A row of output for each row of input that was taken, link after link."""
        where = np.nonzero(is_row.T)
        row, tick = where
        names = [self.now.cursors[link].link for link in self.now.rows]
        allocation = self._allocate(samples[tick, row], self.capacities[np.asarray(self.now.rows, np.int64)][row])
        table = forecast_table(
            names,
            row,
            times[tick, row],
            answers[tick, row],
            None if peak is None else peak[tick, row],
            allocation,
            sources[tick, row],
            source_names,
        )
        folder = self.job.output / "forecasts" / f"shard={self.shard:06d}"
        write_table(folder / f"part-{self.now.part:06d}.parquet", table)
        self.now.written += len(row)

    def _allocate(
        self, states_now: npt.NDArray[np.float64], capacities: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int32] | None:
        """(rows,) the allocator's actions for the last samples, as `linkcast replay` has them; -1: no capacity.

        None: there is no allocator, or no capacity at all.
        """
        from linkcast.replay import allocator_capacity_mbps, capacity_ratio

        if self.allocator is None or not self.job.settings.has_capacities:
            return None
        actions = np.full(len(states_now), -1, np.int32)
        known = np.isfinite(capacities)
        if known.any():
            trained = allocator_capacity_mbps(self.engine, self.allocator)
            seen = states_now[known]
            # More than the link's capacity gets all of it, however much more it is.
            seen[:, BANDWIDTH] = np.minimum(seen[:, BANDWIDTH] / capacities[known], MOST_LOAD) * capacities[known]
            seen[:, BANDWIDTH] *= [capacity_ratio(trained, capacity) for capacity in capacities[known].tolist()]
            actions[known] = self.engine.decide(self.allocator, seen)
        return actions

    def _close_ranks(self) -> None:
        """A narrower stream with the links that are left: rows that have ended cost as much as others."""
        narrow = self._stream(len(self.now.live))
        for row, link in enumerate(self.now.live):
            narrow.restore(self.stream.snapshot(row=self.now.rows.index(link)), row=row)
        self.stream, self.now.rows = narrow, list(self.now.live)

    def finish(self) -> dict[str, int]:
        """Writes what is known of the links, their states, and that the shard is done."""
        job, now = self.job, self.now
        names = [cursor.link for cursor in now.cursors]
        counts = [cursor.counts for cursor in now.cursors]
        steps = [cursor.step_us for cursor in now.cursors]
        write_table(job.work / "links" / f"{self.shard:06d}.parquet", link_table(names, now.tally, counts, steps))
        if job.state_out is not None:
            states.write(job.state_out, self.shard, now.ended)
        total = {"rows": sum(cursor.rows for cursor in now.cursors), "written": now.written, "links": len(names)}
        for key in ("repeated", "late", "gaps", "unmeasured"):
            total[key] = sum(count[key] for count in counts)
        write_json(job.done(self.shard), total)
        with contextlib.suppress(FileNotFoundError):
            job.checkpoint(self.shard).unlink()
        return total
