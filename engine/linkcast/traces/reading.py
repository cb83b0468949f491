"""Bytes to a table: what kind of file it is, by its content, and frames that are in memory already."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import sys
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from linkcast.extras import install
from linkcast.traces import tools, volumes
from linkcast.traces.delimited import read_delimited
from linkcast.traces.table import Column, Table, ZonedTimes, text_column

STANDARD_INPUT = "-"
NOT_TRACES = {
    "<": "HTML or XML; ask what wrote it for CSV or JSON",
    "version https://git-lfs": "a pointer of Git LFS; git lfs pull brings the file itself",
}

CAPTURES = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a")  # pcap, pcapng


def name_of(path: Path) -> str:
    """What reports call a file: with its folder, so that files of one name stay apart."""
    return "standard input" if str(path) == STANDARD_INPUT else str(Path(*path.parts[-2:]))


def read_table(path: Path, separator: str | None = None) -> Table:
    """A file, a pipe or (as "-") standard input as a table.

    What it is shows in its first bytes, not in its name: Parquet or Arrow; text (UTF-8, UTF-16, Windows' code page), of
    which JSON, iperf3's print and rows with separators; each also as gzip, bzip2, xz or a zip of one file.

    Raises:
        ValueError: not readable as any of these.
        OSError: the file cannot be read.
        ImportError: a Parquet or Arrow file, and pyarrow is not installed.
    """
    if str(path) == STANDARD_INPUT:
        data = sys.stdin.buffer.read()
    elif path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file, got a folder")
    elif not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    else:
        data = path.read_bytes()
    return table_of_bytes(path.name if str(path) != STANDARD_INPUT else name_of(path), data, separator)


def table_of_bytes(file: str, data: bytes, separator: str | None = None) -> Table:
    """`read_table` for what a file holds; `file` is what errors call it."""
    data, notices = _unpacked(file, data)
    if data[:4] == b"PAR1" or data[:6] == b"ARROW1" or file.endswith((".parquet", ".pq")):
        return _columnar(file, data)
    text = _text(file, data)
    first = text.lstrip()[:1]
    for start, what in NOT_TRACES.items():
        if text.lstrip().startswith(start):
            raise ValueError(f"{file}: expected telemetry as CSV or JSON, got {what}")
    if tools.is_iperf_text(text):
        table = tools.read_iperf_text(file, text)
    elif volumes.is_mrtg(text):
        table = volumes.read_mrtg(text)
    elif first in ("{", "["):
        table = tools.read_json(file, text)
    else:
        try:
            table = read_delimited(file, text, separator)
        except csv.Error as error:
            raise ValueError(f"{file}: expected rows of cells, got text that is none: {error}") from error
    if not notices:
        return table
    return Table(table.columns, table.known, table.units, (*notices, *table.notices))


# What a compressed stream begins with, what unpacks a whole one, and what unpacks as much as there is.
STREAMS = (
    (b"\x1f\x8b", gzip.decompress, lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.decompress, bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lzma.decompress, lzma.LZMADecompressor),
)


def _unpacked(file: str, data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The content of a compressed file; of one that is cut off, what there is, and a notice."""
    try:
        for magic, unpack, unpacker in STREAMS:
            if not data.startswith(magic):
                continue
            try:
                return unpack(data), ()
            except (EOFError, ValueError, lzma.LZMAError) as error:  # it ends too soon, each says in a way of its own
                rest = unpacker().decompress(data)
                if not rest:
                    raise ValueError(f"{file}: expected a whole compressed file, got its beginning: {error}") from error
                return rest, ("the compressed file is cut off; what there is of it is read",)
        if data[:4] == b"PK\x03\x04":
            with ZipFile(io.BytesIO(data)) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
                if any(name.startswith("xl/") for name in names):
                    raise ValueError(f"{file}: expected text or Parquet, got an Excel workbook; save the sheet as CSV")
                if len(names) != 1:
                    raise ValueError(f"{file}: expected a zip of one file, got {len(names)}; unpack it first")
                return archive.read(names[0]), ()
    except (RuntimeError, NotImplementedError) as error:  # a zip with a password, or packed in another way
        raise ValueError(f"{file}: expected a zip that Python unpacks, got one that it does not: {error}") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, BadZipFile) as error:
        raise ValueError(f"{file}: expected a whole compressed file, got one that is damaged: {error}") from error
    if data[:4] == b"\x28\xb5\x2f\xfd":
        raise ValueError(f"{file}: expected text, Parquet, gzip, bzip2, xz or zip, got zstd; unpack it first: zstd -d")
    return data, ()


def _text(file: str, data: bytes) -> str:
    """The text of a file, whatever wrote it: UTF-8 or UTF-16 with or without a mark, or Windows' western code page."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data[: len(data) // 2 * 2].decode("utf-16", errors="replace")
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    elif b"\0" in data[:200]:
        even, odd = data[:200:2].count(0), data[1:200:2].count(0)
        if max(even, odd) > 40 * min(even, odd) and max(even, odd) > 0.6 * len(data[:200:2]):
            return data[: len(data) // 2 * 2].decode("utf-16-be" if even > odd else "utf-16-le", errors="replace")
    if data[:4] in CAPTURES:
        raise ValueError(
            f"{file}: expected rates, got a packet capture; count its bytes by the second first, such as "
            f"tshark -r {file} -q -z io,stat,1, and save them as CSV"
        )
    data = data.rstrip(b"\0")  # what a crash leaves at the end of a log
    if b"\0" in data:
        raise ValueError(f"{file}: not a readable CSV or Parquet file: expected text, got binary data")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:  # cut off within a character
            return data[: error.start].decode("utf-8")
        return data.decode("cp1252", errors="replace")


def _columnar(file: str, data: bytes) -> Table:
    try:
        import pyarrow as pa
        from pyarrow import feather, parquet
    except ImportError as error:
        raise ImportError(f"{file}: Parquet needs pyarrow: {install('traces')}") from error
    try:
        source = pa.BufferReader(data)
        return table_of_frame(feather.read_table(source) if data[:6] == b"ARROW1" else parquet.read_table(source))
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{file}: not a readable CSV or Parquet file: {error}") from error


def is_frame(value: Any) -> bool:
    """Whether a value is a table in memory: pandas, polars, pyarrow, or a dict of columns."""
    return isinstance(value, dict) or hasattr(value, "column_names") or hasattr(value, "columns")


def table_of_frame(frame: Any) -> Table:
    """A table from a pandas, polars or pyarrow frame, or a dict of columns. An index of times is the timestamp.

    Raises:
        ValueError: columns of different lengths, or without a name.
    """
    if isinstance(frame, dict):
        columns = {str(name): _plain_column(np.asarray(values)) for name, values in frame.items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"frame: expected columns of one length, got {lengths}")
        return Table(columns)
    if hasattr(frame, "column_names"):
        return Table({name: _arrow_column(frame.column(name)) for name in frame.column_names})
    columns = {str(name): _series_column(frame[name]) for name in frame.columns}
    index = getattr(frame, "index", None)
    if index is not None and hasattr(index, "to_series") and np.asarray(index).dtype.kind in "MO":
        name = str(index.name) if index.name is not None else "timestamp"
        if name not in columns and hasattr(index, "tz"):
            columns = {name: _series_column(index.to_series()), **columns}
    return Table(columns)


def _plain_column(values: Any) -> Column:
    if values.ndim != 1:
        raise ValueError(f"frame: expected columns of one dimension, got {values.shape}")
    return values if values.dtype.kind in "fiuMO" else text_column([str(value) for value in values.tolist()])


def _series_column(series: Any) -> Column:
    """A column of a pandas or polars frame."""
    kind = series.dtype
    zone = getattr(kind, "tz", None) or getattr(kind, "time_zone", None)
    if zone is not None:
        if hasattr(series.dt, "tz_localize"):
            wall, utc = series.dt.tz_localize(None), series.dt.tz_convert(None)
        else:
            wall, utc = series.dt.replace_time_zone(None), series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return ZonedTimes(_micros(wall.to_numpy()), _micros(utc.to_numpy()))
    values = np.asarray(series.to_numpy())
    if values.dtype == object and str(kind).lower().startswith(("int", "uint", "float", "decimal")):
        missing = np.asarray(series.isna()) if hasattr(series, "isna") else np.asarray(series.is_null())
        values = np.array([np.nan if lack else float(v) for v, lack in zip(values, missing, strict=True)], np.float64)
    return _plain_column(values)


def _arrow_column(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if getattr(kind, "tz", None) is not None:
            utc = column.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.timestamp("us"))
            wall = pc.local_timestamp(column).cast(pa.timestamp("us"), safe=False)
            return ZonedTimes(_micros(_numpy(wall)), _micros(_numpy(utc)))
        return _micros(_numpy(column.cast(pa.timestamp("us"), safe=False)))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return _numpy(column.cast(pa.float64(), safe=False))
    return text_column(["" if value is None else str(value) for value in column.to_pylist()])


def _numpy(column: Any) -> Any:
    return np.asarray(column.to_numpy(zero_copy_only=False) if not hasattr(column, "chunks") else column.to_numpy())


def _micros(values: Any) -> Any:
    return np.asarray(values).astype("datetime64[us]")
