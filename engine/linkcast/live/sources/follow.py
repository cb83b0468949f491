"""A file that another program appends to, and standard input: what has come is read, nothing is waited for."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from linkcast.live.sources.lines import LineReader
from linkcast.live.sources.sample import Sample
from linkcast.traces.layout import Layout

MOST_BYTES = 1 << 20  # read in a poll: the rest is for the next one
MOST_LINE = 1 << 16  # a longer line is no telemetry


class _Lines:
    """Bytes to lines, and lines to samples; counts what is none."""

    def __init__(self, name: str, layout: Layout | None) -> None:
        self._name = name
        self._reader = LineReader(layout)
        self._rest = b""
        self.number = 0
        self.unread = 0
        self.last_error: str | None = None  # of the newest line, until one is read again

    def forget(self) -> None:
        self._reader.forget()
        self._rest, self.number = b"", 0

    def take(self, data: bytes, at_end: bool = False) -> Iterator[Sample]:
        """The samples of the lines that are complete now; at the end of all, of the last one too."""
        lines = (self._rest + data).split(b"\n")
        self._rest = b"" if at_end else lines.pop()
        if len(self._rest) > MOST_LINE:
            self._rest = b""
            self._refuse(f"expected lines of at most {MOST_LINE} bytes")
        for line in lines:
            self.number += 1
            try:
                sample = self._reader.read(line.decode("utf-8", "replace"))
            except ValueError as error:
                self._refuse(f"line {self.number}: {error}")
                continue
            if sample is not None:
                self.last_error = None
                yield sample

    def _refuse(self, what: str) -> None:
        self.unread += 1
        self.last_error = f"{self._name}: {what} ({self.unread} so far)"


class FileSource:
    """Follows a file by its name, as `tail -F` does: from its end on, through rotation and truncation.

    Another file of that name is read from its beginning once the old one is read to its end; one that has become
    shorter is read from its beginning. A line counts when its newline is there.

    Args:
        path: the file; it may come later.
        layout: what its columns mean.
        from_start: read what is there at the start, too.
    """

    def __init__(self, path: str | os.PathLike[str], layout: Layout | None = None, from_start: bool = False) -> None:
        self._path = Path(path)
        self._lines = _Lines(self._path.name, layout)
        self._file: BinaryIO | None = None
        self._missing: str | None = None
        self._skip = not from_start  # of the first file only
        self._open()

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def trouble(self) -> str | None:
        return self._missing or self._lines.last_error

    @property
    def ended(self) -> bool:
        return False

    def poll(self) -> Iterator[Sample]:
        budget = MOST_BYTES
        while budget > 0 and (self._file is not None or self._open()):
            assert self._file is not None
            data = self._file.read(budget)
            budget -= len(data)
            if data:
                yield from self._lines.take(data)
            elif not self._renewed():
                return

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        try:
            file = open(self._path, "rb", buffering=0)  # noqa: SIM115 (it stays open from poll to poll)
        except OSError as error:
            self._missing = f"{self._path.name}: {error.strerror}"
            self._skip = False  # one that comes later is new from its first line on
            return False
        self._missing = None
        self._lines.forget()
        self._file = file
        if self._skip:
            self._skip = False
            self._go_to_end(file)
        return True

    def _go_to_end(self, file: BinaryIO) -> None:
        """Only the header counts of what is there."""
        head = file.read(MOST_LINE)
        first = head[: head.find(b"\n") + 1]
        for _ in self._lines.take(first):
            pass
        end = file.seek(0, os.SEEK_END)
        if end > len(first):  # the writer may be in the middle of a line
            file.seek(end - 1)
            if file.read(1) != b"\n":
                self._back_to_newline(file, end)

    def _back_to_newline(self, file: BinaryIO, end: int) -> None:
        start = max(end - MOST_LINE, 0)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        file.seek(start + newline + 1 if newline >= 0 else end)

    def _renewed(self) -> bool:
        """At the end: whether another file has its name, or it was cut; then it is read from its beginning."""
        assert self._file is not None
        here = os.fstat(self._file.fileno())
        if here.st_size < self._file.tell():
            self._file.seek(0)
            self._lines.forget()
            return True
        try:
            there = os.stat(self._path)
        except OSError as error:
            self._missing = f"{self._path.name}: {error.strerror}"
            return False
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            self._missing = None
            return False
        self.close()
        return self._open()


class StdinSource:
    """What comes on standard input, or another stream that can be waited for, until its end."""

    def __init__(self, layout: Layout | None = None, stream: BinaryIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdin.buffer
        self._lines = _Lines("standard input", layout)
        self._ended = False

    @property
    def name(self) -> str:
        return "standard input"

    @property
    def trouble(self) -> str | None:
        return self._lines.last_error

    @property
    def ended(self) -> bool:
        return self._ended

    def poll(self) -> Iterator[Sample]:
        budget = MOST_BYTES
        while budget > 0 and not self._ended and select.select([self._stream], [], [], 0)[0]:
            data = os.read(self._stream.fileno(), min(budget, 1 << 16))
            budget -= len(data)
            self._ended = not data
            yield from self._lines.take(data, at_end=not data)

    def close(self) -> None:
        self._ended = True
