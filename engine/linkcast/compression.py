"""Which codec to send with: what codecs do on this machine, measured, and the choice among them for a forecast."""

from __future__ import annotations

import bz2
import json
import lzma
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from linkcast import _native
from linkcast.files import write_text

SCHEMA = "linkcast-codecs-1"
LEVELS = {"zlib": (1, 3, 6, 9), "bz2": (1, 9), "lzma": (0, 3, 6)}
SAMPLE_BYTES = 1 << 20
SHORTEST_S = 0.05  # of a measurement: shorter runs are repeated until they add up to this


class Codec(NamedTuple):
    """A codec at one level, as measured on a machine and on data of a kind."""

    name: str  # "zlib-6"
    ratio: float  # compressed size / size
    compress_mbps: float  # Mbit/s of what goes in
    decompress_mbps: float  # Mbit/s of what comes out


class CompressionChoice(NamedTuple):
    """The codec with the least transfer time, and how long the transfer takes with it."""

    codec: Codec | None  # None: as it is
    seconds: float  # at the quantile that was chosen by; infinite where nothing comes through, NaN without a forecast
    seconds_p10: float  # where the link carries its P10, P50, P90
    seconds_p50: float
    seconds_p90: float


def choose_compression(
    codecs: Sequence[Codec],
    size_bytes: float,
    forecast: _native.Answer | float,
    *,
    by: str = "p10",
    overlap: bool = True,
) -> CompressionChoice:
    """The codec with the least transfer time for what the link is forecast to carry, or none.

    With S the Mbit to bring over, c and d a codec's speeds, r its ratio and B the bandwidth, the time is
    max(S / c, S * r / B, S / d) overlapped (the slowest stage), S / c + S * r / B + S / d one after the other, and
    S / B as it is. Ties go to none, and then to the earlier codec. Where B is 0 the next higher quantile decides, and
    where all are 0 the smallest ratio.

    Args:
        codecs: a table such as read_codecs gives.
        size_bytes: to bring over.
        forecast: an Answer (a quantile that it lacks is its mbps), or Mbit/s.
        by: "p10", which holds nine times out of ten, or "p50".
        overlap: compression, transfer and decompression work at the same time, block by block.
    Raises:
        ValueError: a codec whose ratio or speeds are not above 0, no Mbit/s, or a wrong option.
    """
    if isinstance(forecast, _native.Answer):
        band = (forecast.mbps, forecast.p10, forecast.p50, forecast.p90)
    else:
        if not 0 <= forecast < math.inf:
            raise ValueError(f"forecast: expected an Answer or Mbit/s, 0 or more, got {forecast!r}")
        band = (float(forecast), math.nan, math.nan, math.nan)
    table = [codec[1:] for codec in codecs] or _no_codecs()
    index, *seconds = _native.choose_compression(table, size_bytes, *band, by, overlap)
    return CompressionChoice(codecs[index] if index >= 0 else None, *seconds)


def _no_codecs() -> Any:
    import numpy as np

    return np.empty((0, 3))


def measure_codecs(data: bytes) -> list[Codec]:
    """What zlib, bz2 and lzma do with `data` on this machine, each at several levels, on one thread.

    Raises:
        ValueError: no data.
    """
    if not data:
        raise ValueError("data: expected bytes to compress, got none")
    return [_measure(f"{name}-{level}", *_functions(name, level), data) for name, level in _every_level()]


def _every_level() -> Iterable[tuple[str, int]]:
    return ((name, level) for name, levels in LEVELS.items() for level in levels)


def _functions(name: str, level: int) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    if name == "zlib":
        return lambda data: zlib.compress(data, level), zlib.decompress
    if name == "bz2":
        return lambda data: bz2.compress(data, level), bz2.decompress
    return lambda data: lzma.compress(data, preset=level), lzma.decompress


def _measure(name: str, compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes], data: bytes) -> Codec:
    compressed = compress(data)
    if decompress(compressed) != data:
        raise RuntimeError(f"{name}: what it compressed does not come back")
    mbit = len(data) * 8e-6
    compress_mbps = mbit / _least_seconds(compress, data)
    return Codec(name, len(compressed) / len(data), compress_mbps, mbit / _least_seconds(decompress, compressed))


def _least_seconds(run: Callable[[bytes], bytes], data: bytes) -> float:
    """Of the runs within SHORTEST_S, and of at least one: what else the machine does only ever adds time."""
    least = math.inf
    spent = 0.0
    while spent < SHORTEST_S:
        start = time.perf_counter()
        run(data)
        seconds = max(time.perf_counter() - start, 1e-9)
        least = min(least, seconds)
        spent += seconds
    return least


def sample_data(size_bytes: int = SAMPLE_BYTES) -> bytes:
    """Made-up telemetry of a link as CSV, the same every time; compresses as logs do."""
    from linkcast.simulation import simulate_link

    shortest_line = len("0.0000,0.0000,0.0000,0.0000\n")
    rows = min(1000, size_bytes // shortest_line + 1)
    features = simulate_link("internet", size_bytes // (rows * shortest_line) + 1, rows, seed=1).features
    lines = ["latency_ms,bandwidth_mbps,packet_loss,reliability"]
    lines += [",".join(f"{value:.4f}" for value in row) for link in features for row in link]
    return "\n".join(lines).encode("ascii")[:size_bytes]


def write_codecs(path: str | os.PathLike[str], codecs: Sequence[Codec], data: str, size_bytes: int) -> None:
    """Writes a table that read_codecs reads. `data`: a few words on what was compressed."""
    content = codecs_content(codecs, data, size_bytes)
    write_text(path, json.dumps(content, indent=2) + "\n")


def codecs_content(codecs: Sequence[Codec], data: str, size_bytes: int) -> dict[str, Any]:
    """The table as it stands in a file."""
    rows = [codec._asdict() for codec in codecs]
    return {"schema": SCHEMA, "data": data, "bytes": size_bytes, "codecs": rows}


def read_codecs(path: str | os.PathLike[str]) -> list[Codec]:
    """A table of `linkcast measure-codecs`.

    Raises:
        ValueError: the file is no such table.
        OSError: it cannot be read.
    """
    name = Path(path).name
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{name}: expected JSON: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or not isinstance(content.get("codecs"), list):
        raise ValueError(f"{name}: expected a table of `linkcast measure-codecs` ({SCHEMA}), got {str(content)[:80]}")
    return [_codec(name, row) for row in content["codecs"]]


def _codec(file: str, row: Any) -> Codec:
    numbers = Codec._fields[1:]
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise ValueError(f"{file}: codecs: expected an object with a name, got {str(row)[:80]}")
    for field in numbers:
        value = row.get(field)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ValueError(f"{file}: {row['name']}: {field}: expected a number above 0, got {value!r}")
    return Codec(row["name"], *(float(row[field]) for field in numbers))
