"""A table to a trace: which column is which feature, its unit, and what of it is a question."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.features import EPOCH_UNITS, NEUTRAL, TELEMETRY, epoch_unit
from linkcast.traces import clock as clocks
from linkcast.traces.counter import rates, rises
from linkcast.traces.gaps import Rows, build
from linkcast.traces.layout import (
    ALIASES,
    BASES,
    COUNTERS,
    SEGMENT_COLUMNS,
    SOURCE_COLUMNS,
    UNITS,
    Columns,
    Layout,
    name_and_unit,
    plain,
)
from linkcast.traces.numbers import decimal_of, numbers_of
from linkcast.traces.plausible import FASTEST_MBPS, NO_LINK_MBPS, likely_unit, odd_latency, odd_loss, question_of
from linkcast.traces.reading import is_frame, name_of, read_table, table_of_frame
from linkcast.traces.resampling import resample
from linkcast.traces.table import Table, ZonedTimes, text_column
from linkcast.traces.trace import Trace

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

RATE_WORDS = (
    *("mbps", "kbps", "bps", "bit", "bandwidth", "throughput", "goodput", "download", "rate", "speed"),
    *("rx", "recv", "receive", "dl", "traffic", "bytes", "octets", "in", "value"),
)
"""What a column of rates is called elsewhere, the likeliest first."""

ZONE = r"^(UTC|GMT|Z|local( time)?|[A-Z]{3,4}|[A-Z][a-z]+/\w+|(UTC|GMT)?[+-]\d\d?(:?\d\d)?)$"
"""What stands in brackets behind the name of a column of times."""

THIS_CENTURY_S = (946_684_800, 4_102_444_800)  # POSIX seconds of 2000 and 2100

OWN_UNIT = {"bandwidth_mbps": "Mbit/s", "latency_ms": "ms"}


@dataclass
class Found:
    """What was seen on the way: for the trace's notices (what was done) and warnings (what should be looked at)."""

    notices: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_trace(source: str | os.PathLike[str] | Any, columns: Columns | Layout | None = None) -> Trace:
    """Reads telemetry from a file, a pipe, standard input ("-") or a frame in memory.

    Files: CSV and its kin with a header line (any separator, decimal point or comma, UTF-8 or UTF-16), JSON objects (a
    list, or one a line), iperf3 (JSON, JSON stream, text), speedtest-cli and Ookla's speedtest (CSV, JSON), the answer
    to a Prometheus range query, Grafana's CSV, Parquet (with the `traces` extra); also gzip, bzip2, xz and zip of
    these. Frames: pandas, polars, pyarrow, or a dict of columns.

    A feature is read from the column of its name, or else from an alias (see ALIASES: `rtt_ms` for latency_ms,
    `dl_mbps` for bandwidth_mbps), or from one that also says its unit (bandwidth_kbps). Rows of one provider, session
    and trace are brought together, in the file's order; newest first is turned round. A feature other than the
    bandwidth that has no column, or no value in all rows of a provider, session and trace, takes its neutral value
    there (NEUTRAL in linkcast.features), counted in `neutral`. A cell that is no number is a gap. Up to three rows in
    a row without a value hold the last one, as a stream does, counted in `held_rows`; rows of longer gaps are dropped,
    counted in `dropped_rows`, and leave a segment break. Times are the site's local time: see docs/time.md.

    Args:
        source: the file or frame; what kind of file it is shows in its content.
        columns: for a feature (or `timestamp`), the column to read instead, or a number that every row takes:
            {"bandwidth_mbps": "ul_mbps", "packet_loss": 0.0}. A Layout says more: units, which rows count, a step, the
            site's zone.
    Returns:
        The trace; its `notices` say what was done to read it, its `warnings` what looks wrong.
    Raises:
        ValueError: the bandwidth's column or one that `columns` names is missing (the text names those found), a column
            has no number, a fraction is outside 0..1, a latency or bandwidth is negative, the bandwidth is a counter
            without a unit, or no row is complete or matches `where`.
        OSError: the file cannot be read.
        ImportError: a Parquet file, and pyarrow is not installed.
    """
    layout = columns if isinstance(columns, Layout) else Layout(columns or {})
    if not isinstance(source, (str, os.PathLike)):
        if not is_frame(source):
            raise ValueError(
                f"trace: expected a file, or a pandas, polars or pyarrow frame, got {type(source).__name__}"
            )
        try:
            trace = trace_from_table("frame", table_of_frame(source), layout)
        except ValueError as error:
            raise ValueError(_for_python(str(error))) from error
        notices, warnings = (tuple(map(_for_python, said)) for said in (trace.notices, trace.warnings))
        return replace(trace, notices=notices, warnings=warnings)
    path = Path(source)
    return trace_from_table(name_of(path), read_table(path, layout.separator), layout)


def _for_python(text: str) -> str:
    """A hint with the command line's options as Python says it: "-u latency_ms=s" -> 'units={"latency_ms": "s"}'."""

    def said(option: re.Match[str]) -> str:
        name, _, value = shlex.split(option[3])[0].partition("=")
        asked = "columns" if option[2] == "c" else "units"
        return f'{"say " if option[1] else ""}{asked}={{"{name}": "{value}"}}'

    return re.sub(r"(add )?-([cu]) ('[^']*'|[^\s,;]+)", said, text)


def trace_from_table(name: str, table: Table, layout: Layout) -> Trace:
    """`read_trace` for a table in memory; `name` is what reports and errors call it.

    Raises:
        ValueError: as `read_trace`.
    """
    if not table.columns:
        raise ValueError(f"{name}: expected rows with a bandwidth, got none")
    found = Found(list(table.notices))
    table = _rows_where(name, table, layout.where)
    if layout.decimal is None:
        texts = (
            column for column in table.columns.values() if isinstance(column, np.ndarray) and column.dtype == object
        )
        layout = replace(layout, decimal=decimal_of(texts))
    chosen = _choose_columns(name, table, layout, found)
    absent = [feature for feature in TELEMETRY if feature not in chosen]
    chosen.update({feature: NEUTRAL[feature] for feature in absent})
    keys, sources = _segment_keys(table, layout)
    clock = _clock(name, table, chosen, layout, found)
    rows = Rows.arranged(name, keys, clock, layout.timezone)
    features = np.stack(
        [_feature(name, table, feature, chosen[feature], layout, rows, found) for feature in TELEMETRY], 1
    )
    unmeasured = _fill_unmeasured(features, keys)
    unmeasured[:, [TELEMETRY.index(feature) for feature in absent]] = True
    trace = build(name, features, rows, chosen, unmeasured, sources, tuple(found.notices), tuple(found.warnings))
    return trace if layout.step_s is None else resample(trace, layout.step_s)


def _rows_where(file: str, table: Table, where: Mapping[str, Sequence[str]]) -> Table:
    """The rows whose value matches one of the patterns, in each of the columns."""
    for column, patterns in where.items():
        name = _lookup(table.column_names, column)
        if name is None:
            raise ValueError(f"{file}: expected the column {column}, found {', '.join(table.column_names)}")
        codes, labels = table.codes(name)
        fits = np.array([any(fnmatchcase(label, pattern) for pattern in patterns) for label in labels], np.bool_)
        if not fits.any():
            found = ", ".join(labels[:12])
            raise ValueError(f"{file}: {column}: expected rows with {' or '.join(patterns)}, found {found}")
        table = table.filter(fits[codes])
    return table


def _lookup(names: list[str], name: str) -> str | None:
    """The column of that name; upper and lower case, blanks and underscores matter only where two would fit."""
    if name in names:
        return name
    return next((candidate for candidate in names if plain(candidate) == plain(name)), None)


def _choose_columns(file: str, table: Table, layout: Layout, found: Found) -> dict[str, str | float]:
    names = table.column_names
    chosen: dict[str, str | float] = {}
    missing = []
    for feature, aliases in ALIASES.items():
        asked = layout.columns.get(feature)
        if asked is not None:
            source = asked if not isinstance(asked, str) else _lookup(names, asked)
        else:
            known = table.known.get(feature)
            source = known or next((name for alias in aliases if (name := _lookup(names, alias)) is not None), None)
            source = source or (_zoned_time(names) if feature == "timestamp" else _with_unit(names, feature))
            if source is None and feature == "bandwidth_mbps":
                source = _only_rates(table, found)
        if isinstance(asked, str) and source is None:
            missing.append(asked)
        elif source is not None:
            chosen[feature] = source
        elif feature in TELEMETRY and feature not in NEUTRAL:
            missing.append(feature)
    if missing:
        hint = _suggestion(table, chosen, missing[0]) if "bandwidth_mbps" not in chosen else ""
        columns = "column" if len(missing) == 1 else "columns"
        raise ValueError(f"{file}: expected the {columns} {', '.join(missing)}, found {', '.join(names)}{hint}")
    if "timestamp" not in chosen and "timestamp" not in layout.columns:
        looks = [name for name, column in table.columns.items() if _is_time(column) and name not in chosen.values()]
        if looks:
            option = shlex.quote(f"timestamp={looks[0]}")
            found.notices.append(f"rows count as evenly spaced; if {looks[0]!r} is their time, add -c {option}")
    if "bandwidth_mbps" not in layout.columns and "bandwidth_mbps" not in table.known:
        found.notices += _other_rates(names, chosen["bandwidth_mbps"])
    return chosen


def _other_rates(names: list[str], chosen: str | float) -> list[str]:
    """Says which of several rates is read, of a downlink and an uplink, say, unless it is called bandwidth_mbps."""
    rates_ = [name for name in names if name != chosen and name_and_unit("bandwidth_mbps", name)[1] is not None]
    if not rates_ or plain(str(chosen)) == "bandwidth_mbps":
        return []
    option = shlex.quote(f"bandwidth_mbps={rates_[0]}")
    return [f"bandwidth_mbps: taken from {chosen!r}; if {rates_[0]!r} is meant, add -c {option}"]


def _is_time(column: Any) -> bool:
    if isinstance(column, ZonedTimes) or column.dtype.kind == "M":
        return True
    return (column.dtype == object and clocks.any_time(column)) or _counts_from_1970(column)


def _counts_from_1970(column: Any) -> bool:
    """Whether a column's numbers rise in even steps, as no counter does, and are times of this century."""
    numbers = numbers_of(column[:1000], "timestamp").values
    numbers = numbers[np.isfinite(numbers)]
    steps = np.diff(numbers)
    if len(steps) < 2 or not (steps > 0).all() or 2 * np.count_nonzero(steps == np.median(steps)) < len(steps):
        return False
    first_s, last_s = (float(n) * EPOCH_UNITS[epoch_unit(n)] * 1e-6 for n in (numbers[0], numbers[-1]))
    return THIS_CENTURY_S[0] < first_s and last_s < THIS_CENTURY_S[1]


def _zoned_time(names: list[str]) -> str | None:
    """A column that is called as a time, with what its clock is: "Timestamp (UTC)"; but no unit, which would count."""
    for name in names:
        bracket = re.fullmatch(r"(.+?)\s*[\[(]\s*([^\[\]()]*?)\s*[\])]\s*", name)
        if bracket is not None and plain(bracket[1]) in ALIASES["timestamp"] and re.search(ZONE, bracket[2]):
            return name
    return None


def _with_unit(names: list[str], feature: str) -> str | None:
    """A column that is called as the feature, with its unit: bandwidth_kbps, "Latency (ms)"."""
    for name in names:
        base, factor = name_and_unit(feature, name) if feature in BASES else (name, None)
        if factor is not None and base in BASES[feature]:
            return name
    return None


def _rate_columns(table: Table) -> list[str]:
    """The columns whose cells say that they are rates: "20.1 Mb/s"."""
    rates_ = []
    for name, column in table.columns.items():
        if isinstance(column, ZonedTimes) or column.dtype != object:
            continue
        read = numbers_of(column[:50], "bandwidth_mbps")
        if read.scaled.any() and 2 * np.count_nonzero(read.scaled) > np.count_nonzero(np.isfinite(read.values)):
            rates_.append(name)
    return rates_


def _only_rates(table: Table, found: Found) -> str | None:
    """The one column of the file whose cells say a unit of rates."""
    columns = _rate_columns(table)
    if len(columns) != 1:
        return None
    found.notices.append(f"bandwidth_mbps: taken from {columns[0]!r}, the only column whose cells say a rate")
    return columns[0]


def _suggestion(table: Table, chosen: Mapping[str, str | float], missing: str) -> str:
    """ "; is it 'throughput'? add -c bandwidth_mbps=throughput": the likeliest column of numbers, or all of them."""
    rates_ = _rate_columns(table)
    taken = set(chosen.values())
    usable = rates_ or [
        name
        for name, column in table.columns.items()
        if name not in taken
        and not isinstance(column, ZonedTimes)
        and column.dtype.kind in "fiuO"
        and np.isfinite(numbers_of(column[:50], "bandwidth_mbps").values).any()
    ]
    if not usable:
        return "; expected a column of numbers that is the bandwidth"

    def rank(name: str) -> int:
        words = plain(name)
        parts = words.split("_")
        return next(
            (i for i, word in enumerate(RATE_WORDS) if word in (words if len(word) > 2 else parts)), len(RATE_WORDS)
        )

    likely = min(usable, key=rank)
    return f"; is it {likely!r}? add -c {shlex.quote(f'bandwidth_mbps={likely}')}"


def _clock(
    file: str, table: Table, chosen: Mapping[str, str | float], layout: Layout, found: Found
) -> clocks.Clock | None:
    source = chosen.get("timestamp")
    if source is None:
        return None
    if not isinstance(source, str):
        raise ValueError(f"{file}: timestamp: expected the name of a column, got {source!r}")
    column = table.columns[source]
    try:
        clock = clocks.read_times(column, layout.units.get("timestamp"), layout.timezone, layout.day_first)
        day = _lookup(table.column_names, "date")
        if clock is not None and not clock.dated and day not in (None, source) and plain(source) == "time":
            both = [f"{d} {t}".strip() for d, t in zip(table.words(str(day)), table.words(source), strict=True)]
            clock = clocks.read_times(text_column(both), None, layout.timezone, layout.day_first) or clock
    except ValueError as error:
        raise ValueError(f"{file}: timestamp: {error}") from error
    if clock is None:
        words = [(row + 1, word) for row, word in enumerate(table.words(source)) if word]
        shown = f", such as {words[0][1]!r} in row {words[0][0]}" if words else ", empty cells only"
        raise ValueError(f"{file}: timestamp: expected times in column {source}, got string{shown}")
    if clock.words and clock.first is not None:
        found.notices.append(
            f"timestamp: {clock.words} cell{'s are' if clock.words > 1 else ' is'} no time, the first "
            f"{clock.first[1]!r} in row {clock.first[0]}; those rows are left out"
        )
    found.notices += clock.notices
    return clock


def _feature(
    file: str, table: Table, feature: str, source: str | float, layout: Layout, rows: Rows, found: Found
) -> Float64:
    """(rows,) a feature in its own unit, in the table's order; NaN where there is no value.

    Raises:
        ValueError: no number in the column, or values that the feature cannot have.
    """
    if not isinstance(source, str):
        return np.full(len(table), float(source))
    column = table.columns[source]
    if isinstance(column, ZonedTimes) or column.dtype.kind not in "fiubO":
        raise ValueError(f"{file}: {feature}: expected numbers in column {source}, got times")
    read = numbers_of(column, feature, layout.decimal)
    filled = read.words + np.count_nonzero(np.isfinite(read.values))
    if read.first is not None and filled == read.words and feature == "bandwidth_mbps":
        row, word = read.first
        raise ValueError(
            f"{file}: {feature}: expected numbers in column {source}, got string, such as {word!r} in row {row}"
        )
    if read.notice is not None:
        found.notices.append(f"{source}: {read.notice}")
    if read.words and read.first is not None:
        row, word = read.first
        cells = "1 cell is" if read.words == 1 else f"{read.words} cells are"
        found.notices.append(f"{source}: {cells} no number, the first {word!r} in row {row}")
    unit, factor = _unit_of(table, feature, source, layout, found, bool(read.scaled.any()))
    values = read.values
    if layout.missing is not None:
        values = np.where(values == layout.missing, np.nan, values)
    wrong = values < 0.0
    wanted, advice = "at least 0", "; leave the cell empty where nothing was measured, or add --missing "
    if unit in COUNTERS and not wrong.any():
        values = _rates(values, rows) * np.where(read.scaled, 1.0, factor)
    else:
        values = np.where(read.scaled, values, values * factor)
    if feature in ("packet_loss", "reliability"):
        wrong |= values > 1.0
        wanted = "a fraction from 0 to 1"
        if np.nanmax(values, initial=0.0) <= 100.0:
            advice = f"; if it is in percent, add -u {feature}=percent"
    if wrong.any():
        row = int(np.argmax(wrong))
        advice += f"{read.values[row]:g}" if advice.endswith("--missing ") else ""
        raise ValueError(
            f"{file}: {feature}: expected {wanted}, got {values[row]:g} in column {source}, row {row + 1}{advice}"
        )
    if unit not in COUNTERS:
        said = unit is not None or bool(read.scaled.any()) or name_and_unit(feature, source)[1] is not None
        _question(file, feature, source, said, values, rows, found)
    return values


def _unit_of(
    table: Table, feature: str, source: str, layout: Layout, found: Found, scaled: bool
) -> tuple[str | None, float]:
    """The unit of a column and its factor: what the layout says, else the kind of file, else the column's name.

    Args:
        scaled: cells of it say their unit.
    """
    stated = layout.units.get(feature) or table.units.get(source)
    if stated is not None:
        return stated, COUNTERS.get(stated, UNITS[feature].get(stated, 1.0))
    if feature == "bandwidth_mbps" and any(word in source.lower() for word in ("bytes", "octets")):
        column = table.columns[source]
        if isinstance(column, np.ndarray) and rises(numbers_of(column, feature, layout.decimal).values):
            found.notices.append(f"{source}: read as a counter of bytes; -u bandwidth_mbps=B/s reads rates")
            return "bytes", COUNTERS["bytes"]
    _, factor = name_and_unit(feature, source)
    if factor is None:
        said = feature not in ("bandwidth_mbps", "latency_ms") or source in table.known.values() or scaled
        if not said:
            found.notices.append(
                f"{feature}: {source!r} does not say its unit and is taken as {OWN_UNIT[feature]}; "
                f"-u {feature}=UNIT says another"
            )
        return None, 1.0
    if factor != 1.0:
        found.notices.append(
            f"{feature}: the unit of {source!r} is taken from its name; -u {feature}=UNIT says another"
        )
    return None, factor


def _rates(counts: Float64, rows: Rows) -> Float64:
    """(rows,) the rates of a counter in the table's order, of each source by itself."""
    result = np.full(len(counts), np.nan)
    if rows.moments is None:
        raise ValueError(f"{rows.name}: expected a column timestamp to turn a counter into rates")
    for part in rows.of_sources():
        known = part[rows.moments[part] != clocks.NO_TIME]
        result[known] = rates(counts[known], rows.moments[known] / 1e6)
    return result


def _question(file: str, feature: str, source: str, said: bool, values: Float64, rows: Rows, found: Found) -> None:
    """What a feature can hardly be: a counter, many times what links carry, another unit.

    Args:
        said: the file says the unit.
    Raises:
        ValueError: a counter, whose unit nobody has said.
    """
    if feature != "bandwidth_mbps":
        asked = None
        if feature == "latency_ms":
            asked = odd_latency(values, said)
        elif feature == "packet_loss":
            asked = odd_loss(values, said)
        found.warnings += [f"{source}: {asked}"] if asked else []
        return
    finite = values[np.isfinite(values)]
    if not len(finite):
        return
    rising = [rises(values[part]) for part in rows.of_sources()]
    median, most = float(np.median(finite)), float(np.max(finite))
    if rising and all(rising) and most > NO_LINK_MBPS:
        raise ValueError(
            f"{file}: bandwidth_mbps: expected rates in column {source}, got values that only rise, up to {most:g}: "
            "a counter; add -u bandwidth_mbps=bytes (or bits) to read its rises as rates"
        )
    if rising and all(rising) and len(finite) >= 50 and np.count_nonzero(np.diff(finite)) > 0.9 * len(finite):
        found.warnings.append(f"{source} only rises: if it is a counter, add -u bandwidth_mbps=bytes (or bits)")
    if median > FASTEST_MBPS:
        unit = likely_unit(median)
        found.warnings.append(
            f"{source}: a median of {median:,.0f} Mbit/s is more than most links carry"
            + (question_of(median, unit) if unit else "")
        )


def _fill_unmeasured(features: Float64, keys: Int64) -> npt.NDArray[np.bool_]:
    """Fills in the neutral value, in place, where a feature has no value in all rows of a key; (rows, 4) True there."""
    filled = np.zeros(features.shape, np.bool_)
    for name, value in NEUTRAL.items():
        column = TELEMETRY.index(name)
        measured = np.bincount(keys, np.isfinite(features[:, column]))  # values per key
        filled[:, column] = measured[keys] == 0
        features[filled[:, column], column] = value
    return filled


def _segment_keys(table: Table, layout: Layout) -> tuple[Int64, tuple[str, ...]]:
    """(rows,) a number for each combination of the segment columns, in order of first appearance, and its source."""
    keys = np.zeros(len(table), np.int64)
    names = {name: _lookup(table.column_names, layout.column(name)) for name in SEGMENT_COLUMNS}
    for column in names.values():
        if column is not None and len(table):
            codes, labels = table.codes(column)
            _, first, keys = np.unique(keys * len(labels) + codes, return_index=True, return_inverse=True)
            keys = np.argsort(np.argsort(first))[keys.reshape(-1)]
    columns = [column for name in SOURCE_COLUMNS if (column := names[name]) is not None]
    if not columns:
        return keys, ()
    _, first = np.unique(keys, return_index=True)
    cells = [table.filter(np.isin(np.arange(len(table)), first)).words(column) for column in columns]
    order = np.argsort(np.argsort(first))
    return keys, tuple("/".join(column[place] for column in cells) for place in order.tolist())
