"""Rows by link: a chunk of the input becomes pieces whose rows are sorted by shard and link.

A worker then reads the rows of its links, and nothing else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.features import TELEMETRY
from linkcast.fleet.settings import Settings, read_json, shard_of, write_json
from linkcast.fleet.source import BadPartitionError, Chunk, Piece, pieces

ROW = np.dtype([("time", np.int64), ("features", np.float64, (len(TELEMETRY),))])
"""A row of a piece: microseconds since 1970, and the telemetry."""


@dataclass(frozen=True)
class Segment:
    """A link's rows in one piece."""

    file: Path
    start: int
    stop: int


def folder_of(work: Path, chunk: int) -> Path:
    """Where a chunk's pieces stand."""
    return work / "rows" / f"{chunk:06d}"


def split_chunk(root: Path, work: Path, number: int, chunk: Chunk, shards: int, settings: Settings) -> dict[str, str]:
    """Writes a chunk's pieces, all or none; done before, it does nothing.

    Returns:
        The bad files: relative path -> why. None of the rows that this chunk has of such a file is written.
    Raises:
        BadPartitionError: a file is bad, and the settings do not ask to skip it.
    """
    target = folder_of(work, number)
    if (target / "bad.json").exists():
        done: dict[str, str] = read_json(target / "bad.json")
        return done
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    bad: dict[str, str] = {}
    count = 0
    for part in chunk.files:
        first = count
        try:
            for piece in pieces(root, part, settings.link, settings.timestamp):
                _write(beside, count, piece, shards, part[0])
                count += 1
        except BadPartitionError as error:
            if not settings.skip_bad:
                raise BadPartitionError(f"{error}; --skip-bad leaves such files out") from error
            bad[part[0]] = str(error)
            for number_of in range(first, count):
                (beside / f"{number_of:04d}.rows").unlink()
                (beside / f"{number_of:04d}.npz").unlink()
            count = first
    write_json(beside / "bad.json", bad)
    try:
        os.rename(beside, target)
    except OSError:  # another worker was quicker with the same chunk, and wrote the same
        shutil.rmtree(beside)
    return bad


def _write(folder: Path, number: int, piece: Piece, shards: int, file: str) -> None:
    shard = np.array([shard_of(name, shards) for name in piece.links], np.int32)
    ranks = np.empty(len(piece.links), np.int32)  # of each link by shard and name
    by_shard = sorted(range(len(piece.links)), key=lambda code: (shard[code], piece.links[code]))
    ranks[by_shard] = np.arange(len(piece.links), dtype=np.int32)
    order = np.argsort(ranks[piece.codes], kind="stable")
    rows = np.empty(len(order), ROW)
    rows["time"], rows["features"] = piece.times[order], piece.features[order]
    rows.tofile(folder / f"{number:04d}.rows")
    counts = np.bincount(ranks[piece.codes], minlength=len(by_shard))
    stops = np.cumsum(counts)
    names = np.array([piece.links[code] for code in by_shard], np.str_)
    index: dict[str, Any] = {
        "link": names,
        "shard": shard[by_shard],
        "start": stops - counts,
        "stop": stops,
        "source": np.array(file),
    }
    np.savez(folder / f"{number:04d}.npz", **index)


def segments_of(work: Path, chunks: int, shard: int, bad: Collection[str]) -> dict[str, list[Segment]]:
    """The links of a shard by name, sorted, with all of their rows in order, but for those of bad files."""
    found: dict[str, list[Segment]] = {}
    for number in range(chunks):
        for index in sorted(folder_of(work, number).glob("*.npz")):
            with np.load(index) as table:
                shards = table["shard"]
                low, high = np.searchsorted(shards, [shard, shard + 1])
                if low == high or str(table["source"]) in bad:
                    continue
                names, starts, stops = (table[key][low:high] for key in ("link", "start", "stop"))
            for name, start, stop in zip(names.tolist(), starts.tolist(), stops.tolist(), strict=True):
                if stop > start:
                    found.setdefault(name, []).append(Segment(index.with_suffix(".rows"), start, stop))
    return dict(sorted(found.items()))


def read_rows(segments: list[Segment], first: int, count: int) -> npt.NDArray[np.void]:
    """(at most count,) rows of a link from its `first` on."""
    parts = list(_parts(segments, first, count))
    return np.concatenate(parts) if parts else np.empty(0, ROW)


def _parts(segments: list[Segment], first: int, count: int) -> Iterator[npt.NDArray[np.void]]:
    for segment in segments:
        length = segment.stop - segment.start
        if first >= length:
            first -= length
            continue
        take = min(count, length - first)
        if take <= 0:
            return
        offset = (segment.start + first) * ROW.itemsize
        yield np.fromfile(segment.file, ROW, take, offset=offset)
        count, first = count - take, 0
