"""Telemetry traces from CSV or Parquet files.

A trace is rows of the four telemetry features, cut into segments: a window never crosses from one into the next. A new
segment starts where a `provider`, `session` or `trace` column changes, where time goes backwards or jumps by more than
three median steps, and where rows were dropped because a value was missing.

Bandwidth is required. A latency, packet loss or reliability that a source of the trace does not have at all (no such
column, or no value in any row of one provider, session and trace) is taken as its neutral value, and the trace says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from linkcast.features import CALENDAR, NEUTRAL, TELEMETRY, calendar_features, feature_columns, to_seconds

if TYPE_CHECKING:
    import pyarrow as pa

Columns: TypeAlias = Mapping[str, str | float]

ALIASES: dict[str, tuple[str, ...]] = {
    "latency_ms": ("latency_ms", "rtt_ms"),
    "bandwidth_mbps": ("bandwidth_mbps", "dl_mbps"),
    "packet_loss": ("packet_loss", "loss_fraction"),
    "reliability": ("reliability",),
    "timestamp": ("timestamp", "time"),
}
"""Column names that are taken for a feature, the first that the file has: a download rate stands for the bandwidth."""

SOURCE_COLUMNS = ("provider", "session")  # whose rows run in parallel
SEGMENT_COLUMNS = (*SOURCE_COLUMNS, "trace")
GROUP_COLUMN = "service_group"

_TIMES = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_SHARES = {"fraction": 1.0, "percent": 0.01, "%": 0.01}
UNITS: dict[str, dict[str, float]] = {
    "latency_ms": {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6},
    "bandwidth_mbps": {
        **{"bit/s": 1e-6, "kbit/s": 1e-3, "Mbit/s": 1.0, "Gbit/s": 1e3},
        **{"B/s": 8e-6, "kB/s": 8e-3, "MB/s": 8.0, "GB/s": 8e3},
    },
    "packet_loss": _SHARES,
    "reliability": _SHARES,
    "timestamp": _TIMES,
}
"""Units that a column may be in, and what its numbers are multiplied with; timestamps become microseconds."""

GAP_STEPS = 3.0
_MILLISECONDS_FROM = 1e11  # POSIX seconds of the year 5138; what is larger is in milliseconds


@dataclass(frozen=True)
class Layout:
    """How a file is read: what its columns mean, their units, which rows count, and at which step.

    Args:
        columns: for a feature, `timestamp`, `session`, `provider`, `trace` or `service_group`, the column to read
            instead of the one of that name; or for a feature a number that every row takes:
            {"bandwidth_mbps": "ul_mbps", "packet_loss": 0.0}.
        units: the unit of a feature's column where it is not that of the feature: {"bandwidth_mbps": "kbit/s",
            "packet_loss": "percent"}; see UNITS. A number in `columns` is in the feature's own unit.
        where: for a column of the file, patterns (as in a shell: * and ?) of which its value has to match one:
            {"modem": ["*-WAVELAB"]}.
        step_s: seconds between rows, if rows are to be brought to an even step (see `resample`).
    Raises:
        ValueError: an unknown feature or unit, or a step that is not above 0.
    """

    columns: Columns = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    step_s: float | None = None

    def __post_init__(self) -> None:
        known = (*ALIASES, *SEGMENT_COLUMNS, GROUP_COLUMN)
        unknown = [name for name in self.columns if name not in known]
        if unknown:
            raise ValueError(f"columns: expected names among {', '.join(known)}, got {', '.join(unknown)}")
        for name, unit in self.units.items():
            if name not in UNITS:
                raise ValueError(f"units: expected names among {', '.join(UNITS)}, got {name}")
            if unit not in UNITS[name]:
                raise ValueError(f"units: {name}: expected one of {', '.join(UNITS[name])}, got {unit!r}")
        if self.step_s is not None and not 0.0 < self.step_s < np.inf:
            raise ValueError(f"step_s: expected a number above 0, got {self.step_s!r}")

    def column(self, name: str) -> str:
        """The column of the file that stands for a name that is no feature, such as `session`."""
        return str(self.columns.get(name, name))


@dataclass(frozen=True)
class Trace:
    """Rows of telemetry, oldest first within each segment."""

    name: str
    features: npt.NDArray[np.float64]  # (rows, 4): latency_ms, bandwidth_mbps, packet_loss, reliability
    timestamps: npt.NDArray[np.datetime64] | None  # (rows,) datetime64[us], the clock that the file shows
    segment_starts: npt.NDArray[np.int64]  # (segments,) first row of each segment, ascending, the first is 0
    dropped_rows: int = 0  # rows that had no value in one of the columns
    columns: Columns | None = None  # where each feature came from: a column of the file, or a constant
    neutral: Mapping[str, int] = field(default_factory=dict)  # rows with a neutral value, by feature
    sources: tuple[str, ...] = ()  # of each segment its provider and session; empty when the file has neither column
    resampled_from_s: float | None = None  # the step of the file, when its rows were brought to another

    def __len__(self) -> int:
        return len(self.features)

    def describe(self) -> list[str]:
        """What was read, in lines: rows, gaps and dropped rows, the step and its jitter, what was not measured."""
        segments = len(self.segment_starts)
        text = f"{self.name}: {len(self):,} rows in {segments:,} segment{'s' if segments != 1 else ''}"
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
        if self.timestamps is None:
            return np.empty(0)
        inside = np.ones(max(0, len(self) - 1), np.bool_)
        inside[self.segment_starts[1:] - 1] = False
        steps: npt.NDArray[np.float64] = np.diff(self.timestamps).astype(np.int64)[inside] / 1e6
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
        if self.timestamps is None:
            return np.arange(len(self)) >= round(len(self) * (1.0 - share))
        times = self.timestamps.astype("datetime64[us]").astype(np.int64)
        later: npt.NDArray[np.bool_] = times >= np.quantile(times, 1.0 - share)
        return later

    def source_rows(self) -> dict[str, npt.NDArray[np.bool_]]:
        """For each source by name, (rows,) True where a row is its; empty when the file has no such column."""
        of_row = np.repeat(np.arange(len(self.segment_starts)), np.diff(self.segment_starts, append=len(self)))
        labels = np.array(self.sources, dtype=object)
        return {name: labels[of_row] == name for name in dict.fromkeys(self.sources)}

    def window_starts(self, window: int) -> npt.NDArray[np.int64]:
        """First row of every window that is followed by a row in its own segment: the row that it forecasts.

        Args:
            window: rows in a window.
        Returns:
            (n,) ascending; the window is rows start .. start + window - 1, its target is row start + window.
        """
        starts = [np.arange(rows.start, rows.stop - window, dtype=np.int64) for rows in self.segments()]
        return np.concatenate(starts) if starts else np.empty(0, np.int64)

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
        calendar = calendar_features(to_seconds(self.timestamps))
        return np.ascontiguousarray(np.concatenate([self.features, calendar], axis=1)[:, columns])


def trace_from_arrays(features: npt.ArrayLike, timestamps: npt.ArrayLike | None = None, name: str = "trace") -> Trace:
    """A trace from arrays in memory, cut where time jumps.

    Args:
        features: (rows, 4) latency_ms, bandwidth_mbps, packet_loss, reliability; oldest first.
        timestamps: (rows,) datetime64, or None.
        name: what reports call it.
    Raises:
        ValueError: wrong shapes, or values out of range (see `read_trace`).
    """
    rows = np.ascontiguousarray(features, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(TELEMETRY):
        raise ValueError(f"features: expected (rows, {len(TELEMETRY)}), got {rows.shape}")
    times = None if timestamps is None else np.asarray(timestamps).astype("datetime64[us]")
    if times is not None and times.shape != rows.shape[:1]:
        raise ValueError(f"timestamps: expected ({len(rows)},), got {times.shape}")
    return _build(name, rows, times, np.zeros(len(rows), np.int64), None)


def read_trace(path: str | os.PathLike[str], columns: Columns | Layout | None = None) -> Trace:
    """Reads the telemetry columns of a CSV (also .csv.gz) or Parquet file, and `timestamp` if it has one.

    A feature is read from the column of its name, or else from an alias (see ALIASES: `rtt_ms` for latency_ms,
    `dl_mbps` for bandwidth_mbps). Rows of one provider, session and trace are brought together, in the file's order.
    A feature other than the bandwidth that has no column, or no value in all rows of a provider, session and trace,
    takes its neutral value there (NEUTRAL in linkcast.features), counted in `neutral`. Other rows without a value are
    dropped, counted in `dropped_rows`, and leave a segment break.

    Args:
        path: the file; what does not end in .parquet or .pq is read as CSV with a header line.
        columns: for a feature (or `timestamp`), the column to read instead, or a number that every row takes:
            {"bandwidth_mbps": "ul_mbps", "packet_loss": 0.0}. A Layout says more: units, which rows count, a step.
    Returns:
        The trace; timestamps may be text, date-times, POSIX seconds or (above 1e11) POSIX milliseconds.
    Raises:
        ValueError: the bandwidth's column or one that `columns` names is missing (the text names those found), a column
            is not numeric, a fraction is outside 0..1, a latency or bandwidth is negative, or no row is complete or
            matches `where`.
        OSError: the file cannot be read.
        ImportError: pyarrow is not installed.
    """
    path = Path(path)
    layout = columns if isinstance(columns, Layout) else Layout(columns or {})
    return trace_from_table(str(Path(*path.parts[-2:])), read_table(path), layout)  # files of one name stay apart


def trace_from_table(name: str, table: pa.Table, layout: Layout) -> Trace:
    """`read_trace` for a table in memory; `name` is what reports and errors call it.

    Raises:
        ValueError: as `read_trace`.
    """
    table = _rows_where(name, table, layout.where)
    chosen = _choose_columns(name, table.column_names, layout.columns)
    absent = [feature for feature in TELEMETRY if feature not in chosen]
    chosen.update({feature: NEUTRAL[feature] for feature in absent})
    features = np.stack(
        [_numbers(name, table, feature, chosen[feature], layout.units.get(feature)) for feature in TELEMETRY], axis=1
    )
    times = None
    if "timestamp" in chosen:
        times = _times(name, table, chosen["timestamp"], layout.units.get("timestamp"))
    keys, sources = _segment_keys(table, layout)
    unmeasured = _fill_unmeasured(features, keys)
    unmeasured[:, [TELEMETRY.index(feature) for feature in absent]] = True

    order = np.argsort(keys, kind="stable")
    features, keys, unmeasured = features[order], keys[order], unmeasured[order]
    times = None if times is None else times[order]
    trace = _build(name, features, times, keys, chosen, unmeasured, sources)
    return trace if layout.step_s is None else resample(trace, layout.step_s)


def resample(trace: Trace, step_s: float) -> Trace:
    """The trace at an even step: time-weighted means, a row's values holding until the next row.

    A mean at time t is over t .. t + step_s, on a grid of whole steps, and each segment by itself. The last row of a
    segment holds for one median step of the trace. A step of which less than half is covered is left out.

    Raises:
        ValueError: no timestamps, a step below the trace's own (values would be made up), or nothing is left.
    """
    own = trace.step_s
    if trace.timestamps is None or own is None:
        raise ValueError(
            f"{trace.name}: expected a column timestamp and rows that follow each other to change the step"
        )
    if step_s < own:
        raise ValueError(f"{trace.name}: step: expected at least the {own:g} s between the file's rows, got {step_s:g}")
    seconds = trace.timestamps.astype("datetime64[us]").astype(np.int64) / 1e6
    features: list[npt.NDArray[np.float64]] = []
    times: list[npt.NDArray[np.float64]] = []
    starts: list[int] = []
    kept: list[int] = []
    rows_now = 0
    for segment, rows in enumerate(trace.segments()):
        knots = np.append(seconds[rows], seconds[rows.stop - 1] + own)
        sums = np.vstack([np.zeros(len(TELEMETRY)), np.cumsum(trace.features[rows] * np.diff(knots)[:, None], axis=0)])
        edges = np.arange(np.floor(knots[0] / step_s), np.ceil(knots[-1] / step_s) + 1.0) * step_s
        covered = np.diff(np.clip(edges, knots[0], knots[-1]))
        integral = np.stack([np.interp(edges, knots, sums[:, column]) for column in range(len(TELEMETRY))], axis=1)
        full = covered >= 0.5 * step_s
        if full.any():
            kept.append(segment)
            starts.append(rows_now)
            rows_now += int(np.count_nonzero(full))
            features.append(np.diff(integral, axis=0)[full] / covered[full, None])
            times.append(edges[:-1][full])
    if not features:
        raise ValueError(f"{trace.name}: expected segments of at least half a step of {step_s:g} s, got none")
    return replace(
        trace,
        features=np.concatenate(features),
        timestamps=np.rint(np.concatenate(times) * 1e6).astype(np.int64).astype("datetime64[us]"),
        segment_starts=np.array(starts, np.int64),
        sources=tuple(trace.sources[segment] for segment in kept) if trace.sources else (),
        neutral={name: round(count * rows_now / len(trace)) for name, count in trace.neutral.items()},
        resampled_from_s=own,
    )


def read_table(path: Path) -> pa.Table:
    """A CSV or Parquet file as a table.

    Raises:
        ValueError: not readable as such.
        OSError: the file cannot be read.
        ImportError: pyarrow is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        import pyarrow as pa
        from pyarrow import csv, parquet
    except ImportError as error:
        raise ImportError("reading a trace needs pyarrow: pip install pyarrow") from error
    try:
        if path.suffix in (".parquet", ".pq"):
            return parquet.read_table(path)
        return csv.read_csv(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path.name}: not a readable CSV or Parquet file: {error}") from error


def _rows_where(file: str, table: pa.Table, where: Mapping[str, Sequence[str]]) -> pa.Table:
    """The rows whose value matches one of the patterns, in each of the columns."""
    for column, patterns in where.items():
        if column not in table.column_names:
            raise ValueError(f"{file}: expected the columns {column}, found {', '.join(table.column_names)}")
        values = table.column(column).combine_chunks().dictionary_encode(null_encoding="encode")
        fits = np.array(
            [any(fnmatchcase(str(value), pattern) for pattern in patterns) for value in values.dictionary.to_pylist()],
            dtype=np.bool_,
        )
        chosen = fits[values.indices.to_numpy()]
        if not chosen.any():
            found = ", ".join(map(str, values.dictionary.to_pylist()[:12]))
            raise ValueError(f"{file}: {column}: expected rows with {' or '.join(patterns)}, found {found}")
        table = table.filter(chosen)
    return table


def _choose_columns(file: str, found: list[str], asked: Columns) -> dict[str, str | float]:
    chosen: dict[str, str | float] = {}
    missing = []
    for name, aliases in ALIASES.items():
        source = asked.get(name)
        if source is None:
            source = next((alias for alias in aliases if alias in found), None)
        if isinstance(source, str) and source not in found:
            missing.append(source)
        elif source is not None:
            chosen[name] = source
        elif name in TELEMETRY and name not in NEUTRAL:
            missing.append(name)
    if missing:
        raise ValueError(f"{file}: expected the columns {', '.join(missing)}, found {', '.join(found)}")
    return chosen


def _numbers(file: str, table: pa.Table, name: str, source: str | float, unit: str | None) -> npt.NDArray[np.float64]:
    import pyarrow as pa

    if not isinstance(source, str):
        return np.full(table.num_rows, float(source))
    column = table.column(source)
    kind = column.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    ):
        raise ValueError(f"{file}: {name}: expected numbers in column {source}, got {kind}")
    values: npt.NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    values = np.where(np.isfinite(values), values, np.nan)
    if unit is not None:
        values *= UNITS[name][unit]
    wrong = values < 0.0
    wanted = "at least 0"
    if name in ("packet_loss", "reliability"):
        wrong |= values > 1.0
        wanted = "a fraction from 0 to 1"
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{file}: {name}: expected {wanted}, got {values[row]:g} in column {source}, row {row + 1}")
    return values


def _fill_unmeasured(features: npt.NDArray[np.float64], keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Fills in the neutral value, in place, where a feature has no value in all rows of a key; (rows, 4) True there."""
    filled = np.zeros(features.shape, np.bool_)
    for name, value in NEUTRAL.items():
        column = TELEMETRY.index(name)
        measured = np.bincount(keys, np.isfinite(features[:, column]))  # values per key
        filled[:, column] = measured[keys] == 0
        features[filled[:, column], column] = value
    return filled


def _times(file: str, table: pa.Table, source: str | float, unit: str | None) -> npt.NDArray[np.datetime64]:
    """(rows,) datetime64[us]; NaT where the file has none. A time zone is dropped: the column's wall clock stays."""
    import pyarrow as pa

    if not isinstance(source, str):
        raise ValueError(f"{file}: timestamp: expected the name of a column, got {source!r}")
    column = table.column(source).combine_chunks()
    kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            seconds = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            if unit is None:
                unit = "ms" if np.nanmax(np.abs(seconds), initial=0.0) > _MILLISECONDS_FROM else "s"
            micros = seconds * UNITS["timestamp"][unit]
            return np.where(np.isfinite(micros), np.rint(np.nan_to_num(micros)), np.nan).astype("datetime64[us]")
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            import pyarrow.compute as pc

            column = pc.local_timestamp(column)
        times: npt.NDArray[np.datetime64] = column.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{file}: timestamp: expected times in column {source}, got {kind}: {error}") from error
    return times


def _segment_keys(table: pa.Table, layout: Layout) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """(rows,) a number for each combination of the segment columns, in order of first appearance, and its source."""
    keys = np.zeros(table.num_rows, np.int64)
    for name in SEGMENT_COLUMNS:
        column = layout.column(name)
        if column in table.column_names and table.num_rows:
            codes = table.column(column).combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
            _, first, keys = np.unique(keys * (int(codes.max()) + 1) + codes, return_index=True, return_inverse=True)
            keys = np.argsort(np.argsort(first))[keys]
    columns = [layout.column(name) for name in SOURCE_COLUMNS if layout.column(name) in table.column_names]
    if not columns:
        return keys, ()
    _, first = np.unique(keys, return_index=True)
    labels = [table.column(column).take(first).to_pylist() for column in columns]
    return keys, tuple("/".join(map(str, values)) for values in zip(*labels, strict=True))


def _build(
    name: str,
    features: npt.NDArray[np.float64],
    times: npt.NDArray[np.datetime64] | None,
    keys: npt.NDArray[np.int64],
    columns: Columns | None,
    unmeasured: npt.NDArray[np.bool_] | None = None,
    sources: tuple[str, ...] = (),
) -> Trace:
    complete = np.isfinite(features).all(axis=1)
    if times is not None:
        complete &= ~np.isnat(times)
    if not complete.any():
        raise ValueError(f"{name}: expected rows with a value in each column, got none among {len(features)}")
    kept = np.flatnonzero(complete)
    features, keys = np.ascontiguousarray(features[kept]), keys[kept]
    breaks = np.diff(keys) != 0
    breaks |= np.diff(kept) > 1
    if times is not None:
        times = times[kept]
        breaks |= _time_breaks(times, breaks)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1]).astype(np.int64)
    rows = np.zeros(len(TELEMETRY), int) if unmeasured is None else unmeasured[kept].sum(axis=0)
    neutral = {feature: int(count) for feature, count in zip(TELEMETRY, rows, strict=True) if count}
    of_segment = tuple(sources[key] for key in keys[starts]) if sources else ()
    return Trace(name, features, times, starts, int(np.count_nonzero(~complete)), columns, neutral, of_segment)


def _time_breaks(times: npt.NDArray[np.datetime64], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(rows - 1,) True where time goes backwards or jumps by more than three median steps within a segment."""
    steps: npt.NDArray[np.int64] = np.diff(times).astype(np.int64)
    forward: npt.NDArray[np.int64] = steps[np.logical_and(~known, steps > 0)]
    longest = GAP_STEPS * float(np.median(forward)) if forward.size else np.inf
    return np.logical_or(steps < 0, steps > longest)
