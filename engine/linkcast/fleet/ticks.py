"""A link's rows as ticks of a stream: one for each step of its clock, without a sample where no row came.

A row that is not newer than the newest before it is left out and counted: the same time again, or late. A gap of more
than MOST_HELD ticks is as many as drop a window, however long it was. A row with a value that was not measured is a
tick without a sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from linkcast.features import TELEMETRY
from linkcast.fleet.source import SHUFFLED
from linkcast.fleet.split import Segment, read_rows
from linkcast.traces.gaps import MOST_HELD

STEP_ROWS = 1_000  # first rows of a link that its step is read from
NO_TIME = np.iinfo(np.int64).min


@dataclass
class Ticks:
    """Some ticks of one link."""

    samples: npt.NDArray[np.float64]  # (k, 4)
    present: npt.NDArray[np.bool_]  # (k,) a whole sample came
    is_row: npt.NDArray[np.bool_]  # (k,) a row stands for it
    times: npt.NDArray[np.int64]  # (k,) microseconds; of a tick without a row the next row's


@dataclass
class Cursor:
    """How far a link has been read."""

    link: str
    segments: list[Segment]
    step_us: int = 0  # 0: not known yet
    newest: int = NO_TIME  # time of the newest row taken
    row: int = 0  # rows taken, of `segments`
    emitted: int = 0  # ticks without a row that the next row has had already
    counts: dict[str, int] = field(default_factory=lambda: {"repeated": 0, "late": 0, "gaps": 0, "unmeasured": 0})

    @property
    def rows(self) -> int:
        return sum(segment.stop - segment.start for segment in self.segments)

    def take(self, most: int, skip_bad: bool) -> Ticks:
        """The next ticks: `most`, or fewer when the link's rows end.

        Raises:
            ValueError: many rows are older than those before them, and skip_bad is not asked for.
        """
        taken = [self._some(most, skip_bad)]
        left = most - len(taken[0].times)
        while left > 0 and self.row < self.rows:
            taken.append(self._some(left, skip_bad))
            left -= len(taken[-1].times)
        return Ticks(*(np.concatenate([getattr(part, name) for part in taken]) for name in _FIELDS))

    def _some(self, most: int, skip_bad: bool) -> Ticks:
        if self.step_us == 0:
            self.step_us = _usual_step(read_rows(self.segments, 0, STEP_ROWS)["time"])
        rows = read_rows(self.segments, self.row, most)
        times = rows["time"]
        before = np.maximum.accumulate(np.concatenate([[self.newest], times]))[:-1]
        new = times > before
        late = int(np.count_nonzero(times < before))
        if late > max(SHUFFLED * len(times), 1) and not skip_bad:
            first = times[np.argmax(times < before)]
            raise ValueError(
                f"{self.link}: expected rows newer than {_said(before[np.argmax(times < before)])}, got {late} of "
                f"{len(times)} that are older, first {_said(first)}: do files overlap, or not follow each other by "
                "name, or has a state seen these rows? --skip-bad leaves such rows out"
            )
        kept = np.flatnonzero(new)
        stamps = times[kept]
        steps = np.diff(stamps, prepend=stamps[:1] if self.newest == NO_TIME else [self.newest])
        empty = np.clip(np.rint(steps / self.step_us).astype(np.int64) - 1, 0, MOST_HELD + 1)
        gaps = empty > 0
        if len(empty):
            empty[0] = max(0, empty[0] - self.emitted)
        ends = np.cumsum(empty + 1)  # ticks up to each row, itself included
        fits = int(np.searchsorted(ends, most, side="right"))  # rows whose tick is among them
        count = int(ends[fits - 1]) if fits else 0
        spare = min(most - count, int(empty[fits])) if fits < len(kept) else 0
        consumed = int(kept[fits]) if fits < len(kept) else len(times)
        self._count(times[:consumed], before[:consumed], gaps[:fits])
        ticks = count + spare
        samples, present, is_row = (
            np.zeros((ticks, len(TELEMETRY))),
            np.zeros(ticks, np.bool_),
            np.zeros(ticks, np.bool_),
        )
        owners = np.repeat(np.arange(fits), empty[:fits] + 1)
        moments = np.concatenate([stamps[owners], np.repeat(stamps[fits : fits + 1], spare)])
        features = rows["features"][kept[:fits]]
        measured = np.isfinite(features).all(axis=1)
        self.counts["unmeasured"] += int(np.count_nonzero(~measured))
        present[ends[:fits] - 1] = measured
        is_row[ends[:fits] - 1] = True
        samples[ends[:fits][measured] - 1] = features[measured]
        self.row += consumed
        self.emitted = spare if fits else self.emitted + spare
        if fits:
            self.newest = int(stamps[fits - 1])
        return Ticks(samples, present, is_row, moments)

    def _count(self, times: npt.NDArray[np.int64], before: npt.NDArray[np.int64], gaps: npt.NDArray[np.bool_]) -> None:
        self.counts["repeated"] += int(np.count_nonzero(times == before))
        self.counts["late"] += int(np.count_nonzero(times < before))
        self.counts["gaps"] += int(np.count_nonzero(gaps))


_FIELDS = ("samples", "present", "is_row", "times")


def _usual_step(times: npt.NDArray[np.int64]) -> int:
    """Microseconds: the median of the steps forward; a second where there is none."""
    steps = np.diff(times)
    forward = steps[steps > 0]
    return max(1, int(np.median(forward))) if len(forward) else 1_000_000


def _said(time: np.int64) -> str:
    return str(np.datetime64(int(time), "us"))
