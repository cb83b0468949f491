"""The decision log: JSON lines, one a tick, from which every decision can be made again.

A file begins with a header, which holds the state that its first tick starts from, so each file stands for itself. What
the lines hold is in decision_log.schema.json beside this file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from linkcast.files import naming
from linkcast.live.fields import record
from linkcast.live.record import SCHEMA, Header, Tick

MOST_BYTES = 16 * 2**20
"""Of a file: some four hours at a tick a second."""

KEEP = 20
"""Full files that are kept beside the present one."""

SCHEMA_FILE = Path(__file__).with_name("decision_log.schema.json")

_SIGNS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class DecisionLog:
    """A sink that writes.

    A line is written by one call, without a buffer: a crash loses at most the line under way. Where it can't be written
    (a full disk), the file is cut back to its last whole line, `trouble` says why, and the loop goes on; once there is
    room again, a new file begins, with the state as it is then, and the number of ticks that are missing.

    Args:
        path: of the present file, "decisions.jsonl"; full ones are "decisions.000001.jsonl" and so on. One that is
            there already is not touched but numbered.
        header: Session.header: what the next tick starts from.
        most_bytes: of a file.
        keep: full files; older ones are deleted.
    Raises:
        ValueError: a number out of range.
        OSError: the folder can't be written: told before anything depends on it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Callable[[], Header],
        most_bytes: int = MOST_BYTES,
        keep: int = KEEP,
    ) -> None:
        if most_bytes < 1 or keep < 0:
            raise ValueError(f"expected most_bytes of 1 or more and keep of 0 or more, got {most_bytes} and {keep}")
        self.path = Path(path)
        self.lost = 0  # ticks that could not be written
        self._header, self._most_bytes, self._keep = header, most_bytes, keep
        self._file = -1
        self._bytes = 0
        self._missing = 0  # of the lost ones, those since the last header
        self._trouble: str | None = None
        self._begin(header())

    @property
    def trouble(self) -> str | None:
        """Why nothing is written at present; None: it is."""
        return self._trouble

    def write(self, tick: Tick) -> None:
        """The next line; and where the file is full, the next file."""
        if self._trouble is None:
            try:
                self._put(tick_line(tick))
            except OSError as error:
                self._miss(error)
                return
        else:
            self._miss()
        if self._trouble is not None or self._bytes >= self._most_bytes:
            self.reloaded(self._header())  # the state behind this tick: the next one can be made again

    def reloaded(self, header: Header) -> None:
        """A file has one header: another begins."""
        try:
            self._begin(header)
        except OSError as error:
            self._trouble = f"{self.path.name}: {error.strerror}"

    def close(self) -> None:
        """Nothing more is written."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _miss(self, error: OSError | None = None) -> None:
        self.lost += 1
        self._missing += 1
        if error is not None:
            self._trouble = f"{self.path.name}: {error.strerror}"

    def _put(self, line: bytes) -> None:
        """All of the line or nothing of it."""
        written = 0
        with naming(self.path):
            try:
                while written < len(line):
                    written += os.write(self._file, line[written:])
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file, self._bytes)
                raise
        self._bytes += len(line)

    def _begin(self, header: Header) -> None:
        """The next file."""
        self.close()
        if self.path.exists() and self.path.stat().st_size > 0:
            last = max(number_of(file) for file in log_files(self.path))
            self.path.rename(self.path.with_suffix(f".{last + 1:06d}{self.path.suffix}"))
            full = log_files(self.path)
            for old in full[: max(len(full) - self._keep, 0)]:
                old.unlink()
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._bytes = 0
        try:
            self._put(header_line(replace(header, lost=self._missing)))
        except OSError:
            self.close()
            with suppress(OSError):
                self.path.unlink()  # an empty file is no log
            raise
        self._missing, self._trouble = 0, None


def number_of(path: Path) -> int:
    """ "decisions.000012.jsonl" -> 12; 0 for another name."""
    digits = path.stem.rpartition(".")[2]
    return int(digits) if digits.isdecimal() else 0


def log_files(path: str | os.PathLike[str]) -> list[Path]:
    """The numbered files of a log, oldest first, and the present one; that may be missing, as on a full disk."""
    present = Path(path)
    found = present.parent.glob(f"{present.stem}.*{present.suffix}")
    numbered = sorted((file for file in found if number_of(file) > 0), key=number_of)
    return [*numbered, present] if present.exists() or not numbered else numbered


def header_line(header: Header) -> bytes:
    """One line of JSON."""
    return _line({"type": "header", **_plain(header)})


def tick_line(tick: Tick) -> bytes:
    """One line of JSON; a float comes back bit for bit, NaN is null, and in a sample "NaN"."""
    return _line({"type": "tick", **tick_dict(tick)})


def tick_dict(tick: Tick) -> dict[str, Any]:
    """What JSON can take."""
    plain: dict[str, Any] = _plain(tick)
    if tick.sample is not None:
        plain["sample"] = {name: _named(value) for name, value in tick.sample.items()}
    return plain


def is_log(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a decision log does."""
    try:
        with open(path, "rb") as file:
            return file.read(16).replace(b" ", b"") == b'{"type":"header"'
    except OSError:
        return False


def read_log(path: str | os.PathLike[str]) -> tuple[Header, Iterator[Tick]]:
    """A file's header and its ticks.

    The last line may be cut off, as by a crash: it is left out.

    Raises:
        ValueError: another line is damaged, or of a newer schema; it is named.
        OSError: it can't be read.
    """
    lines = _lines(Path(path))
    header = next(lines, None)
    if not isinstance(header, Header):
        raise ValueError(f"{Path(path).name}: expected a decision log, which begins with a header")
    return header, _ticks(Path(path), lines)


def _ticks(path: Path, lines: Iterator[Header | Tick]) -> Iterator[Tick]:
    for line in lines:
        if not isinstance(line, Tick):
            raise ValueError(f"{path.name}: expected a tick, got another header")
        yield line


def _lines(path: Path) -> Iterator[Header | Tick]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # written when all stopped
            where = f"{path.name}: line {number}"
            try:
                content = json.loads(line)
                kind, schema = content.pop("type"), content["schema"]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise ValueError(f"{where}: expected a record of a decision log: {error!r}") from error
            if schema != SCHEMA:
                raise ValueError(f"{where}: expected schema {SCHEMA}, got {schema!r}")
            if kind not in ("header", "tick"):
                raise ValueError(f"{where}: expected a header or a tick, got {kind!r}")
            try:
                line_of = _header(content) if kind == "header" else _tick(content)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            yield line_of


def _header(content: dict[str, Any]) -> Header:
    if content.get("scores") == {}:  # as it may stand in a log of before: nothing came yet
        content["scores"] = None
    header: Header = record(Header, content)
    if len(header.features) != len(header.units):
        raise ValueError(f"units: expected {len(header.features)}, one for each feature, got {len(header.units)}")
    return header


def _tick(content: dict[str, Any]) -> Tick:
    sample = content.get("sample")
    named = {}
    if isinstance(sample, dict):  # what JSON has no number for: null says there that a value is missing
        named = {name: _SIGNS[value] for name, value in sample.items() if isinstance(value, str) and value in _SIGNS}
        content["sample"] = {**sample, **dict.fromkeys(named)}
    tick: Tick = record(Tick, content)
    return replace(tick, sample={**tick.sample, **named}) if tick.sample is not None and named else tick


def _named(value: float | None) -> float | str | None:
    """A number that JSON has no word for, by its name."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0.0 else "-Infinity"


def _plain(value: Any) -> Any:
    """A record as JSON can take it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {name: _plain(item) for name, item in vars(value).items()}
    return value


def _line(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode("utf-8") + b"\n"


def write_parquet(logs: list[Path], target: str | os.PathLike[str]) -> int:
    """The ticks of some files as one Parquet table, for analysis: nested columns as in the lines. Needs pyarrow.

    Returns:
        The rows written.
    """
    import pyarrow
    from pyarrow import parquet

    rows = []
    for log in logs:
        for tick in read_log(log)[1]:
            row = asdict(tick)
            row["experts"] = list(row["experts"].items())
            row["sample"] = None if row["sample"] is None else list(row["sample"].items())
            rows.append(row)
    weights = pyarrow.map_(pyarrow.string(), pyarrow.float64())
    inferred = pyarrow.Table.from_pylist([{**row, "experts": None, "sample": None} for row in rows])
    columns = {name: inferred.column(name) for name in inferred.column_names}
    for name in ("experts", "sample"):
        columns[name] = pyarrow.array([row[name] for row in rows], weights)
    parquet.write_table(pyarrow.table(columns), target)
    return len(rows)
