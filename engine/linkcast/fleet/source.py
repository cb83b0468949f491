"""The input: a Parquet data set of many links, read a piece at a time, in one order that does not change.

Files are taken in the order of their paths. A link's rows stand in the order of time, from file to file too; rows of
different links may stand in any order, so one file a day and one file a link are both such a data set. A column may be
a folder instead: `link=edge-7/part-0.parquet`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from linkcast.features import EPOCH_UNITS, TELEMETRY, UNITS, epoch_unit

CHUNK_ROWS = 1_048_576  # rows that a worker sorts before it says that they are done
PIECE_ROWS = 262_144  # rows that are in memory at once, at 300 bytes each; every shard opens every piece
SHUFFLED = 0.2  # of a link's rows in a piece that are older than one before them, from which on rows have no order

_MOST = {"ms": np.inf, "Mbit/s": np.inf, "fraction": 1.0 + 1e-6}


class BadPartitionError(ValueError):
    """A file that can't be read, or whose rows are not what they should be; the text names it."""


@dataclass(frozen=True)
class Chunk:
    """Row groups that are read by one worker at a time."""

    files: tuple[tuple[str, int, int], ...]  # path relative to the input, first row group, the one behind the last
    rows: int


@dataclass(frozen=True)
class Plan:
    """What there is to read."""

    files: dict[str, dict[str, Any]]  # by relative path: rows, bytes, SHA-256 of the footer
    chunks: tuple[Chunk, ...]
    links: int
    rows: int
    bad: dict[str, str]  # relative path -> why

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "chunks": [[list(map(list, chunk.files)), chunk.rows] for chunk in self.chunks]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Plan:
        chunks = tuple(
            Chunk(tuple((str(f), int(a), int(b)) for f, a, b in files), rows) for files, rows in content["chunks"]
        )
        return cls(content["files"], chunks, content["links"], content["rows"], content["bad"])


@dataclass(frozen=True)
class Piece:
    """Rows of a chunk in the order of the data set."""

    links: npt.NDArray[np.object_]  # (n,) the names that there are
    codes: npt.NDArray[np.int32]  # (rows,) index of each row's link
    times: npt.NDArray[np.int64]  # (rows,) microseconds since 1970
    features: npt.NDArray[np.float64]  # (rows, 4) physical units; NaN: not measured


def root_of(path: Path) -> Path:
    """The folder that paths are relative to."""
    return path.parent if path.is_file() else path


def files_of(path: Path) -> list[Path]:
    """The data set's files in order.

    Raises:
        ValueError: there is none.
    """
    if path.is_file():
        return [path]
    hidden = ("_", ".")
    found = sorted(
        file
        for file in path.rglob("*.parquet")
        if not any(part.startswith(hidden) for part in file.relative_to(path).parts)
    )
    if not found:
        raise ValueError(f"{path}: expected a Parquet file or a folder with *.parquet in it, got none")
    return found


def plan(path: Path, link: str, timestamp: str, skip_bad: bool) -> Plan:
    """Reads every footer and the names of the links.

    Raises:
        ValueError: there is no file, no row, or a column is missing.
        BadPartitionError: a file can't be read, and skip_bad is not asked for.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = root_of(path)
    files: dict[str, dict[str, Any]] = {}
    bad: dict[str, str] = {}
    groups: list[tuple[str, int, int]] = []  # file, row group, rows
    names: set[str] = set()
    for file in files_of(path):
        name = file.relative_to(root).as_posix()
        try:
            with pq.ParquetFile(file) as parquet:
                _check_columns(parquet.schema_arrow, file, root, link, timestamp)
                names |= _links_in(parquet, hive_of(file, root), link)
                counts = [parquet.metadata.row_group(g).num_rows for g in range(parquet.metadata.num_row_groups)]
            footer = _footer(file)
        except (OSError, pa.ArrowException, BadPartitionError) as error:
            reason = " ".join(str(error).split())
            if not skip_bad:
                raise BadPartitionError(f"{name}: {reason}; --skip-bad leaves such files out") from error
            bad[name] = reason
            continue
        files[name] = {"rows": sum(counts), "bytes": file.stat().st_size, "footer": footer}
        groups += [(name, g, count) for g, count in enumerate(counts)]
    rows = sum(count for _, _, count in groups)
    if not rows:
        raise ValueError(f"{path}: expected rows, got none in {len(files)} files ({len(bad)} bad)")
    return Plan(files, tuple(_chunks(groups)), len(names), rows, bad)


def _chunks(groups: list[tuple[str, int, int]]) -> Iterator[Chunk]:
    """Neighbouring row groups, of about CHUNK_ROWS."""
    held: list[tuple[str, int, int]] = []
    rows = 0
    for name, group, count in groups:
        if held and rows + count > CHUNK_ROWS:
            yield Chunk(tuple(held), rows)
            held, rows = [], 0
        if held and held[-1][0] == name:
            held[-1] = (name, held[-1][1], group + 1)
        else:
            held.append((name, group, group + 1))
        rows += count
    if held:
        yield Chunk(tuple(held), rows)


def hive_of(file: Path, root: Path) -> dict[str, str]:
    """The columns that a path says: `link=edge-7/` -> {"link": "edge-7"}."""
    pairs = (part.split("=", 1) for part in file.relative_to(root).parts[:-1] if "=" in part)
    return {name: unquote(value) for name, value in pairs}


def _check_columns(schema: Any, file: Path, root: Path, link: str, timestamp: str) -> None:
    there = {*schema.names, *hive_of(file, root)}
    missing = [name for name in (link, timestamp, *TELEMETRY) if name not in there]
    if missing:
        raise BadPartitionError(f"expected the columns {', '.join(missing)}, got {', '.join(schema.names)}")


def _links_in(parquet: Any, hive: dict[str, str], link: str) -> set[str]:
    if link in hive:
        return {hive[link]}
    import pyarrow as pa
    import pyarrow.compute as pc

    found: set[str] = set()
    for batch in parquet.iter_batches(PIECE_ROWS, columns=[link]):
        names = pc.unique(batch.column(0))
        if names.null_count:
            raise BadPartitionError(f"{link}: expected a name in every row, got none in some")
        found.update(names.cast(pa.string()).to_pylist())
    return found


def _footer(file: Path) -> str:
    """SHA-256 of the footer, which holds every row group's sizes, offsets and statistics."""
    with file.open("rb") as stream:
        stream.seek(-8, 2)
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(-8 - length, 2)
        return hashlib.sha256(stream.read(length)).hexdigest()


def pieces(root: Path, part: tuple[str, int, int], link: str, timestamp: str) -> Iterator[Piece]:
    """The rows of some row groups of a file.

    Raises:
        BadPartitionError: they can't be read, or a value is not what it should be.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name, first, behind = part
    file = root / name
    hive = hive_of(file, root)
    try:
        with pq.ParquetFile(file) as parquet:
            columns = [column for column in (link, timestamp, *TELEMETRY) if column not in hive]
            for batch in parquet.iter_batches(PIECE_ROWS, row_groups=list(range(first, behind)), columns=columns):
                yield _piece(batch, hive, link, timestamp)
    except (OSError, pa.ArrowException, BadPartitionError) as error:
        raise BadPartitionError(f"{name}: {' '.join(str(error).split())}") from error


def _piece(batch: Any, hive: dict[str, str], link: str, timestamp: str) -> Piece:
    import pyarrow as pa

    rows = batch.num_rows
    if link in hive:
        links, codes = np.array([hive[link]], object), np.zeros(rows, np.int32)
    else:
        encoded = batch.column(link)
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        if encoded.null_count:
            raise BadPartitionError(f"{link}: expected a name in every row, got none in {encoded.null_count}")
        links = np.array(encoded.dictionary.cast(pa.string()).to_pylist(), object)
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    features = np.empty((rows, len(TELEMETRY)))
    for index, feature in enumerate(TELEMETRY):
        features[:, index] = np.nan
        if feature in hive:
            features[:, index] = float(hive[feature])
            continue
        column = batch.column(feature)
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise BadPartitionError(f"{feature}: expected numbers, got {column.type}")
        features[:, index] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        _check_unit(features[:, index], feature)
    piece = Piece(links, codes, _micros(batch.column(timestamp), timestamp), features)
    _check_order(piece)
    return piece


def _check_unit(values: npt.NDArray[np.float64], feature: str) -> None:
    wrong = np.flatnonzero((values < 0.0) | (values > _MOST[UNITS[feature]]) | np.isinf(values))
    if len(wrong):
        limits = "0 to 1" if UNITS[feature] == "fraction" else "0 or more"
        raise BadPartitionError(
            f"{feature}: expected {limits} ({UNITS[feature]}), got {values[wrong[0]]:g} in {len(wrong)} rows"
        )


def _micros(column: Any, name: str) -> npt.NDArray[np.int64]:
    """(rows,) microseconds since 1970: UTC where the column has a zone, otherwise the clock that it shows."""
    import pyarrow as pa

    if column.null_count:
        raise BadPartitionError(f"{name}: expected a time in every row, got none in {column.null_count}")
    if pa.types.is_timestamp(column.type):
        moments = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        return np.asarray(moments.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = column.to_numpy(zero_copy_only=False)
        if not np.isfinite(numbers).all():
            raise BadPartitionError(f"{name}: expected a time in every row, got one that is not finite")
        factor = EPOCH_UNITS[epoch_unit(float(np.abs(numbers).max(initial=0)))]
        if factor >= 1.0 and numbers.dtype.kind in "iu":
            return np.asarray(numbers, np.int64) * int(factor)
        return np.asarray(np.rint(numbers * factor), np.int64)
    raise BadPartitionError(f"{name}: expected timestamps, or numbers since 1970 in s, ms, us or ns, got {column.type}")


def _check_order(piece: Piece) -> None:
    """Refuses rows without an order of time."""
    order = np.argsort(piece.codes, kind="stable")
    codes, times = piece.codes[order], piece.times[order]
    back = np.flatnonzero((np.diff(times) < 0) & (np.diff(codes) == 0))
    if not len(back):
        return
    late = np.bincount(codes[back + 1], minlength=len(piece.links))
    rows = np.bincount(codes, minlength=len(piece.links))
    unsorted = np.flatnonzero(late > np.maximum(SHUFFLED * rows, 1))
    if len(unsorted):
        link = piece.links[unsorted[0]]
        raise BadPartitionError(
            f"expected each link's rows in the order of time, got {late[unsorted[0]]} of {rows[unsorted[0]]} rows of "
            f"{link} that are older than the row before: sort the file by time"
        )


def fingerprint(found: Plan) -> str:
    """SHA-256 of what the input is: names, sizes and footers."""
    return hashlib.sha256(json.dumps([found.files, found.bad], sort_keys=True).encode()).hexdigest()


def changed(path: Path, before: dict[str, Any]) -> bool:
    """Whether the files are others than those of `Plan.files` and `Plan.bad`."""
    root = root_of(path)
    names = {file.relative_to(root).as_posix(): file for file in files_of(path)}
    if set(names) != {*before["files"], *before["bad"]}:
        return True
    return any(_footer(names[name]) != known["footer"] for name, known in before["files"].items())
