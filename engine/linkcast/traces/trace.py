"""A trace: rows of the four telemetry features, cut into segments.

A window never crosses from one segment into the next. A new segment starts where a `provider`, `session` or `trace`
column changes, where time goes backwards or jumps by more than three median steps, and where rows were dropped because
values were missing for longer than they are held.

Bandwidth is required. A latency, packet loss or reliability that a source of the trace does not have at all (no such
column, or no value in any row of one provider, session and trace) is taken as its neutral value, and the trace says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from linkcast.features import CALENDAR, NEUTRAL, calendar_features, feature_columns, to_seconds
from linkcast.traces.layout import Columns


@dataclass(frozen=True)
class Trace:
    """Rows of telemetry, oldest first within each segment."""

    name: str
    features: npt.NDArray[np.float64]  # (rows, 4): latency_ms, bandwidth_mbps, packet_loss, reliability
    timestamps: npt.NDArray[np.datetime64] | None  # (rows,) datetime64[us], the site's clock: see docs/time.md
    segment_starts: npt.NDArray[np.int64]  # (segments,) first row of each segment, ascending, the first is 0
    dropped_rows: int = 0  # rows that had no value in one of the columns, for longer than they are held
    columns: Columns | None = None  # where each feature came from: a column of the file, or a constant
    neutral: Mapping[str, int] = field(default_factory=dict)  # rows with a neutral value, by feature
    sources: tuple[str, ...] = ()  # of each segment its provider and session; empty when the file has neither column
    resampled_from_s: float | None = None  # the step of the file, when its rows were brought to another
    held_rows: int = 0  # rows that have the value of an earlier row in one of the columns
    held: npt.NDArray[np.bool_] | None = None  # (rows,) True where the bandwidth is held: no target; None: nowhere
    instants: npt.NDArray[np.datetime64] | None = None  # (rows,) the same moments in UTC, where the file says them
    dated: bool = True  # False: timestamps are of no known day, and there is no calendar
    clock: str = ""  # what timestamps show: "as written", "UTC", "+05:00", a zone, or the offsets that are mixed
    notices: tuple[str, ...] = ()  # what was done to read it, a sentence each
    warnings: tuple[str, ...] = ()  # what looks wrong, a sentence each

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        return f"Trace({'; '.join(self.describe())})"

    def describe(self) -> list[str]:
        """What was read, in lines: rows, gaps and dropped rows, the step and its jitter, what was not measured."""
        segments = len(self.segment_starts)
        text = f"{self.name}: {len(self):,} rows in {segments:,} segment{'s' if segments != 1 else ''}"
        if self.held_rows:
            text += f", {self.held_rows:,} held (no value)"
        if self.dropped_rows:
            text += f", {self.dropped_rows:,} dropped (no value)"
        lines = [text]
        step, span = self.step_s, self.step_range_s()
        if self.resampled_from_s is not None and step is not None:
            lines.append(f"A row every {self.resampled_from_s:g} s, brought to {step:g} s by time-weighted means")
        elif step is not None and span is not None:
            jitter = f" (5 % to 95 %: {span[0]:g} s to {span[1]:g} s)" if span[1] - span[0] > 0.1 * step else ""
            lines.append(f"A row every {step:g} s{jitter}")
        return [*lines, *self.neutral_notes()]

    def neutral_notes(self) -> list[str]:
        """A line for each feature that has neutral values: "packet_loss: not in the file, taken as 0"."""
        notes = []
        for name, rows in self.neutral.items():
            missing = f"not measured in {rows:,} of {len(self):,} rows"
            if rows == len(self):
                in_file = isinstance((self.columns or {}).get(name), str)
                missing = "no value in these rows" if in_file else "not in the file"
            notes.append(f"{name}: {missing}, taken as {NEUTRAL[name]:g}")
        return notes

    def segments(self) -> Iterator[slice]:
        """The rows of each segment, in order."""
        ends = np.append(self.segment_starts[1:], len(self.features))
        for start, end in zip(self.segment_starts.tolist(), ends.tolist(), strict=True):
            yield slice(start, end)

    @property
    def moments(self) -> npt.NDArray[np.datetime64] | None:
        """(rows,) what lies between rows is measured by: UTC where it is known, else the site's clock."""
        return self.timestamps if self.instants is None else self.instants

    @property
    def step_s(self) -> float | None:
        """Median time between rows of a segment, in seconds; None without timestamps or a second row."""
        steps = self._steps_s()
        return float(np.median(steps)) if len(steps) else None

    def step_range_s(self) -> tuple[float, float] | None:
        """The 5th and the 95th percentile of the time between rows of a segment, in seconds: its jitter."""
        steps = self._steps_s()
        return (float(np.percentile(steps, 5.0)), float(np.percentile(steps, 95.0))) if len(steps) else None

    def _steps_s(self) -> npt.NDArray[np.float64]:
        """(rows - segments,) seconds between rows of one segment."""
        if self.moments is None:
            return np.empty(0)
        inside = np.ones(max(0, len(self) - 1), np.bool_)
        inside[self.segment_starts[1:] - 1] = False
        steps: npt.NDArray[np.float64] = np.diff(self.moments).astype(np.int64)[inside] / 1e6
        return steps

    def last_rows(self, share: float) -> npt.NDArray[np.bool_]:
        """(rows,) True in the last share of the trace.

        With timestamps the cut is one moment for all sources, since they share what happens at a moment: the moment at
        which 1 - share of the rows are over. Without, it is a row.

        Raises:
            ValueError: a share that is not above 0 and below 1.
        """
        if not 0.0 < share < 1.0:
            raise ValueError(f"share: expected a number above 0 and below 1, got {share!r}")
        if self.moments is None:
            return np.arange(len(self)) >= round(len(self) * (1.0 - share))
        times = self.moments.astype("datetime64[us]").astype(np.int64)
        later: npt.NDArray[np.bool_] = times >= np.quantile(times, 1.0 - share)
        return later

    def source_rows(self) -> dict[str, npt.NDArray[np.bool_]]:
        """For each source by name, (rows,) True where a row is its; empty when the file has no such column."""
        of_row = np.repeat(np.arange(len(self.segment_starts)), np.diff(self.segment_starts, append=len(self)))
        labels = np.array(self.sources, dtype=object)
        return {name: labels[of_row] == name for name in dict.fromkeys(self.sources)}

    def window_starts(self, window: int, measured: bool = True) -> npt.NDArray[np.int64]:
        """First row of every window that is followed by a row in its own segment: the row that it forecasts.

        A row whose bandwidth is held is no target: nothing was measured there.

        Args:
            window: rows in a window.
            measured: False: the windows before held rows too, which nothing can be said about.
        Returns:
            (n,) ascending; the window is rows start .. start + window - 1, its target is row start + window.
        """
        starts = [np.arange(rows.start, rows.stop - window, dtype=np.int64) for rows in self.segments()]
        every = np.concatenate(starts) if starts else np.empty(0, np.int64)
        return every if self.held is None or not measured else every[~self.held[every + window]]

    def select(self, names: list[str]) -> npt.NDArray[np.float64]:
        """The named features of every row, telemetry or calendar; (rows, len(names)) float64.

        Raises:
            ValueError: an unknown feature, or calendar features of a trace that has no timestamps.
        """
        columns = feature_columns(names)
        if not any(name in CALENDAR for name in names):
            return np.ascontiguousarray(self.features[:, columns])
        if self.timestamps is None:
            raise ValueError(
                f"{self.name}: the model reads the hour and the weekday, but the trace has no timestamp column"
            )
        if not self.dated:
            raise ValueError(f"{self.name}: the model reads the hour and the weekday, but the times have no date")
        calendar = calendar_features(to_seconds(self.timestamps))
        return np.ascontiguousarray(np.concatenate([self.features, calendar], axis=1)[:, columns])
