"""Text with a row to a line: separators, the header and rows of another length are found by looking."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import replace
from itertools import islice

from linkcast.traces.layout import plain
from linkcast.traces.table import Table, text_column

SEPARATORS = "\t;,|"
SAMPLE_LINES = 100
FAST_FROM = 4_000_000  # characters from which on pyarrow is worth loading

SPEEDTEST_HEADER = [
    "Server ID",
    "Sponsor",
    "Server Name",
    "Timestamp",
    "Distance",
    "Ping",
    "Download",
    "Upload",
    "Share",
]
SPEEDTEST_HEADER += ["IP Address"]
OOKLA_HEADER = ["server name", "server id", "idle latency", "idle jitter", "packet loss", "download", "upload"]
OOKLA_HEADER += ["download bytes", "upload bytes", "share url"]

_VALUE = re.compile(r"[+-]?\d+([.,]\d*)?([eE][+-]?\d+)?\s*$|\d{1,4}[-/.:]\d\d?[-/.:]\d")  # a number or a time
_NUMBER = re.compile(r"[+-]?\d+([.,]\d*)?([eE][+-]?\d+)?\s*")


def read_delimited(file: str, text: str, separator: str | None) -> Table:
    """A table from CSV and its kin, every cell as text.

    Lines that begin with # are left out, and so is a header line that comes again; what stands before the header is
    skipped; a last line with too few cells was cut off and is dropped. Each is said in a notice.

    Args:
        file: what errors call it.
        text: all of it.
        separator: between cells; None looks at the text.
    Raises:
        ValueError: no line, no header, or rows that have more cells than the header names.
    """
    begin, separator = _declared_separator(text, separator)
    lines = [line for line in islice(io.StringIO(text[begin:], newline=""), SAMPLE_LINES + 1) if _counts(line)]
    if not lines:
        raise ValueError(f"{file}: expected a header line and rows, got an empty file")
    separator = separator or _separator(lines[:SAMPLE_LINES])
    if len(text) > FAST_FROM and (table := _read_fast(text[begin:], lines, separator)) is not None:
        return table
    notices: list[str] = []
    rows = list(_rows(text[begin:], separator))
    if not rows:
        raise ValueError(f"{file}: expected a header line and rows, got empty cells only")
    width = Counter(len(row) for row in rows[:SAMPLE_LINES]).most_common(1)[0][0]
    top = _header_row(rows, width)
    if top:
        notices.append(f"{top} line{'s' if top > 1 else ''} before the header skipped")
    header, rows = rows[top], rows[top + 1 :]
    named = _header(file, header, text[begin:], separator)
    if named is not header:
        rows, header = [header, *rows], named
    if not rows:
        raise ValueError(f"{file}: expected rows below the header {' '.join(', '.join(header).split())[:80]}, got none")
    ended = text[-1:] in ("\n", "\r")
    open_quote = not ended and text[text.rfind("\n") + 1 :].count('"') % 2 == 1
    return _table(file, header, rows, notices, ended, open_quote, separator)


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _declared_separator(text: str, asked: str | None) -> tuple[int, str | None]:
    """Excel's first line "sep=;": where the text goes on, and the separator."""
    found = re.match(r'"?sep=(.)"?\r?\n', text)
    return (found.end(), asked or found[1]) if found else (0, asked)


def _rows(text: str, separator: str) -> list[list[str]]:
    """The cells of each line that counts."""
    source = (line for line in io.StringIO(text, newline="") if not line.lstrip().startswith("#"))
    if separator == " ":
        return [line.split() for line in source if line.strip()]
    read = csv.reader(source, delimiter=separator, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in read if any(cell.strip() for cell in row)]


def _separator(lines: list[str]) -> str:
    """The candidate that cuts most lines alike, the first line too, into the most cells."""
    best, most = ",", (0.0, 0.0, 0)
    for candidate in (*SEPARATORS, " "):
        counts = [len(row) for row in _rows("".join(lines), candidate)]
        if not counts:
            continue
        width, times = Counter(counts).most_common(1)[0]
        share = times / len(counts)
        if candidate == " " and most[2] > 1:
            continue
        if width > 1 and share >= 0.5:
            worth = (float(counts[0] == width), round(share, 2), width)
            if worth > most:
                best, most = candidate, worth
    return best


def _header_row(rows: list[list[str]], width: int) -> int:
    """The first row of the usual width, where it has names in it and rows of fewer cells stand before it; else 0."""
    index = next((index for index, row in enumerate(rows[:30]) if len(row) == width), 0)
    return 0 if any(_VALUE.match(cell) for cell in rows[index]) else index


def _header(file: str, row: list[str], text: str, separator: str) -> list[str]:
    """The names of the columns: the row itself, or those of a program that writes none.

    Raises:
        ValueError: the row has values where names should be.
    """
    filled = [cell for cell in row if cell]
    if len(row) == len(SPEEDTEST_HEADER) and re.match(r"\d{4}-\d\d-\d\dT", row[3]) and _NUMBER.fullmatch(row[6]):
        return SPEEDTEST_HEADER
    for position, cell in enumerate(row):
        if "speedtest.net/result" in cell and position >= len(OOKLA_HEADER) - 1:
            front = position - len(OOKLA_HEADER) + 1  # people put the time before what the program writes
            rest = [f"column {index + 1}" for index in range(position + 1, len(row))]
            return [
                *(["timestamp"] if front else []),
                *(f"column {i + 1}" for i in range(1, front)),
                *OOKLA_HEADER,
                *rest,
            ]
    if not filled or all(_VALUE.match(cell) for cell in filled):
        comment = next((line for line in text.splitlines()[:30] if line.startswith("#")), "")
        names = [name.strip() for name in comment.lstrip("# ").split(separator)]
        if len(names) == len(row) and not any(_NUMBER.fullmatch(name) for name in names):
            return names
        raise ValueError(
            f"{file}: expected a header line that names the columns, got {separator.join(row)[:60]!r}; "
            "put one before it, such as timestamp,bandwidth_mbps"
        )
    return row


def _table(
    file: str,
    header: list[str],
    rows: list[list[str]],
    notices: list[str],
    ended: bool,
    open_quote: bool,
    separator: str,
) -> Table:
    names = _unique(header)
    width = len(names)
    again = [index for index, row in enumerate(rows) if row == header]
    if again:
        notices.append(
            f"the header comes again {len(again)} time{'s' if len(again) > 1 else ''}, first in row {again[0] + 1}"
        )
        rows = [row for row in rows if row != header]
    if not rows:
        raise ValueError(f"{file}: expected rows below the header {', '.join(names)[:80]}, got none")
    if any("\n" in cell for cell in rows[-1]):
        raise ValueError(
            f"{file}: expected quotation marks in pairs, got one in row {len(rows)} that is open to the end; "
            "mend that row"
        )
    short = len(rows) > 1 and len(rows[-1]) < width and (not ended or len(rows[-2]) >= width)
    if short or (open_quote and len(rows) > 1):
        notices.append(f"the last line is cut off ({', '.join(rows[-1])[:40]}) and left out")
        rows = rows[:-1]
    longer = [index for index, row in enumerate(rows) if any(row[width:])]
    if longer and 2 * len(longer) > len(rows):
        advice = (
            "if this is what a program prints, ask it for CSV or JSON"
            if separator == " " or width == 1
            else "if a comma is the decimal sign, quote those cells or separate them by semicolons"
        )
        raise ValueError(
            f"{file}: expected {width} cell{'s' if width > 1 else ''} in a row, as the header names, got "
            f"{len(rows[longer[0]])} in row {longer[0] + 1}; {advice}"
        )
    shorter = [index for index, row in enumerate(rows) if len(row) < width]
    if shorter or longer:
        first = min(shorter + longer)
        notices.append(
            f"{len(shorter) + len(longer)} of {len(rows)} rows have other than {width} cells, first row {first + 1}: "
            "those that are missing count as empty, those of longer rows are left out"
        )
    lost = set(longer)  # a row of more cells than names says nothing for certain
    cells = [
        row if len(row) == width and index not in lost else _padded(row, width, index in lost)
        for index, row in enumerate(rows)
    ]
    columns = list(zip(*cells, strict=True)) if cells else [()] * width
    table = Table({name: text_column(list(column)) for name, column in zip(names, columns, strict=True)})
    return _with_meaning(replace(table, notices=tuple(notices)))


def _read_fast(text: str, lines: list[str], separator: str) -> Table | None:
    """The same table by pyarrow, columns of numbers as such; None without pyarrow, or where a row is unusual.

    Args:
        text: all of it, from the header on.
        lines: the first of it, without comments.
        separator: between cells.
    """
    rows = _rows("".join(lines), separator)
    header, sample = rows[0], rows[1:]
    ordinary = (
        text.startswith(lines[0]) and "\n#" not in text and text.count("\n" + lines[0].rstrip("\r\n") + "\n") == 0
    )
    if separator == " " or not ordinary or not sample or any(_VALUE.match(cell) for cell in header):
        return None
    if any(len(row) != len(header) for row in sample) or len(set(header)) != len(header) or "" in header:
        return None
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import csv as arrow_csv
    except ImportError:
        return None
    numeric = [all(re.fullmatch(r"-?\d+(\.\d+)?|", row[column]) for row in sample) for column in range(len(header))]
    types = {name: pa.float64() if number else pa.string() for name, number in zip(header, numeric, strict=True)}
    try:
        read = arrow_csv.read_csv(
            io.BytesIO(text.encode()),
            read_options=arrow_csv.ReadOptions(column_names=header, skip_rows=1),
            parse_options=arrow_csv.ParseOptions(delimiter=separator),
            convert_options=arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    if any(pc.any(pc.is_nan(read[name])).as_py() for name, number in zip(header, numeric, strict=True) if number):
        return None  # "nan" is a word to be counted
    columns = {name: read[name].to_numpy(zero_copy_only=False) for name in header}
    return _with_meaning(Table(columns))


def _padded(row: list[str], width: int, lost: bool) -> list[str]:
    return [""] * width if lost else [*row[:width], *[""] * (width - len(row))]


def _unique(header: list[str]) -> list[str]:
    """The names, with a number where one is empty or comes again."""
    names: list[str] = []
    for index, cell in enumerate(header):
        name = " ".join(cell.split()) or f"column {index + 1}"
        names.append(name if name not in names else f"{name} ({index + 1})")
    return names


def _with_meaning(table: Table) -> Table:
    """The table with what its columns mean, where a program wrote them that is known."""
    names = table.column_names
    by_name = {plain(name): name for name in names}
    if {"ping", "download", "upload"} <= set(by_name) and ("server_id" in by_name or "sponsor" in by_name):
        known = {"bandwidth_mbps": "download", "latency_ms": "ping", "timestamp": "timestamp"}
        units = {"download": "bit/s", "upload": "bit/s", "ping": "ms"}
    elif {"download", "upload", "download_bytes"} <= set(by_name):
        latency = "idle_latency" if "idle_latency" in by_name else "latency"
        known = {"bandwidth_mbps": "download", "latency_ms": latency, "packet_loss": "packet_loss"}
        units = {"download": "B/s", "upload": "B/s", latency: "ms", "packet_loss": "percent"}
    else:
        return table
    return replace(
        table,
        known={feature: by_name[name] for feature, name in known.items() if name in by_name},
        units={by_name[name]: unit for name, unit in units.items() if name in by_name},
    )
