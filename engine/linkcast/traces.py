"""Telemetry traces from CSV or Parquet files.

A trace is rows of the four telemetry features, cut into segments: a window never crosses from one into the next. A new
segment starts where a `provider`, `session` or `trace` column changes, where time goes backwards or jumps by more than
three median steps, and where rows were dropped because a value was missing.

Bandwidth is required. A latency, packet loss or reliability that a source of the trace does not have at all (no such
column, or no value in any row of one provider, session and trace) is taken as its neutral value, and the trace says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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

SEGMENT_COLUMNS = ("provider", "session", "trace")
GAP_STEPS = 3.0
_MILLISECONDS_FROM = 1e11  # POSIX seconds of the year 5138; what is larger is in milliseconds


@dataclass(frozen=True)
class Trace:
    """Rows of telemetry, oldest first within each segment."""

    name: str
    features: npt.NDArray[np.float64]  # (rows, 4): latency_ms, bandwidth_mbps, packet_loss, reliability
    timestamps: npt.NDArray[np.datetime64] | None  # (rows,) datetime64[us], the clock that the file shows
    segment_starts: npt.NDArray[np.int64]  # (segments,) first row of each segment, ascending, the first is 0
    dropped_rows: int = 0  # rows that had no value in one of the columns
    columns: Columns | None = None  # where each feature came from: a column of the file, or a constant
    neutral: Mapping[str, int] = field(
        default_factory=dict
    )  # features that are not measured: rows with a neutral value

    def __len__(self) -> int:
        return len(self.features)

    def neutral_notes(self) -> list[str]:
        """A line for each feature that has neutral values: "packet_loss: not in the file, taken as 0"."""
        notes = []
        for name, rows in self.neutral.items():
            missing = "not in the file" if rows == len(self) else f"not measured in {rows:,} of {len(self):,} rows"
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
        if self.timestamps is None:
            return None
        steps = [np.diff(self.timestamps[rows]) for rows in self.segments()]
        together = np.concatenate(steps).astype(np.int64) if steps else np.empty(0, np.int64)
        return float(np.median(together)) / 1e6 if len(together) else None

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


def read_trace(path: str | os.PathLike[str], columns: Columns | None = None) -> Trace:
    """Reads the four telemetry columns of a CSV (also .csv.gz) or Parquet file, and `timestamp` if it has one.

    A feature is read from the column of its name, or else from an alias (see ALIASES: `rtt_ms` for latency_ms,
    `dl_mbps` for bandwidth_mbps). Rows of one provider, session and trace are brought together, in the file's order.
    A feature other than the bandwidth that has no column, or no value in all rows of a provider, session and trace,
    takes its neutral value there (NEUTRAL in linkcast.features), counted in `neutral`. Other rows without a value are
    dropped, counted in `dropped_rows`, and leave a segment break.

    Args:
        path: the file; what does not end in .parquet or .pq is read as CSV with a header line.
        columns: for a feature (or `timestamp`), the column to read instead, or a number that every row takes:
            {"bandwidth_mbps": "ul_mbps", "packet_loss": 0.0}.
    Returns:
        The trace; timestamps may be text, date-times, POSIX seconds or (above 1e11) POSIX milliseconds.
    Raises:
        ValueError: the bandwidth's column or one that `columns` names is missing (the text names those found), a column
            is not numeric, a fraction is outside 0..1, a latency or bandwidth is negative, or no row is complete.
        OSError: the file cannot be read.
        ImportError: pyarrow is not installed.
    """
    path = Path(path)
    name = str(Path(*path.parts[-2:]))  # files of one name in several folders stay apart
    table = _read_table(path)
    chosen = _choose_columns(name, table.column_names, columns or {})
    absent = [feature for feature in TELEMETRY if feature not in chosen]
    chosen.update({feature: NEUTRAL[feature] for feature in absent})
    features = np.stack([_numbers(name, table, feature, chosen[feature]) for feature in TELEMETRY], axis=1)
    times = _times(name, table, chosen["timestamp"]) if "timestamp" in chosen else None
    keys = _segment_keys(table)
    unmeasured = _fill_unmeasured(features, keys)
    unmeasured[:, [TELEMETRY.index(feature) for feature in absent]] = True

    order = np.argsort(keys, kind="stable")
    features, keys, unmeasured = features[order], keys[order], unmeasured[order]
    times = None if times is None else times[order]
    return _build(name, features, times, keys, chosen, unmeasured)


def _read_table(path: Path) -> pa.Table:
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


def _choose_columns(file: str, found: list[str], asked: Columns) -> dict[str, str | float]:
    unknown = [name for name in asked if name not in ALIASES]
    if unknown:
        raise ValueError(f"columns: expected names among {', '.join(ALIASES)}, got {', '.join(unknown)}")
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


def _numbers(file: str, table: pa.Table, name: str, source: str | float) -> npt.NDArray[np.float64]:
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


def _times(file: str, table: pa.Table, source: str | float) -> npt.NDArray[np.datetime64]:
    """(rows,) datetime64[us]; NaT where the file has none. A time zone is dropped: the column's wall clock stays."""
    import pyarrow as pa

    if not isinstance(source, str):
        raise ValueError(f"{file}: timestamp: expected the name of a column, got {source!r}")
    column = table.column(source).combine_chunks()
    kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            seconds = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            large = np.nanmax(np.abs(seconds), initial=0.0) > _MILLISECONDS_FROM
            micros = seconds * (1e3 if large else 1e6)
            return np.where(np.isfinite(micros), np.rint(np.nan_to_num(micros)), np.nan).astype("datetime64[us]")
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            import pyarrow.compute as pc

            column = pc.local_timestamp(column)
        times: npt.NDArray[np.datetime64] = column.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{file}: timestamp: expected times in column {source}, got {kind}: {error}") from error
    return times


def _segment_keys(table: pa.Table) -> npt.NDArray[np.int64]:
    """(rows,) a number for each combination of the segment columns, in order of first appearance."""
    keys = np.zeros(table.num_rows, np.int64)
    for name in SEGMENT_COLUMNS:
        if name in table.column_names and table.num_rows:
            codes = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
            _, first, keys = np.unique(keys * (int(codes.max()) + 1) + codes, return_index=True, return_inverse=True)
            keys = np.argsort(np.argsort(first))[keys]
    return keys


def _build(
    name: str,
    features: npt.NDArray[np.float64],
    times: npt.NDArray[np.datetime64] | None,
    keys: npt.NDArray[np.int64],
    columns: Columns | None,
    unmeasured: npt.NDArray[np.bool_] | None = None,
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
    return Trace(name, features, times, starts, int(np.count_nonzero(~complete)), columns, neutral)


def _time_breaks(times: npt.NDArray[np.datetime64], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(rows - 1,) True where time goes backwards or jumps by more than three median steps within a segment."""
    steps: npt.NDArray[np.int64] = np.diff(times).astype(np.int64)
    forward: npt.NDArray[np.int64] = steps[np.logical_and(~known, steps > 0)]
    longest = GAP_STEPS * float(np.median(forward)) if forward.size else np.inf
    return np.logical_or(steps < 0, steps > longest)
