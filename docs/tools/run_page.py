"""Runs the code of pages as a reader would, from top to bottom, each page in an empty folder: `run_page.py PAGE...`

`linkcast`, `python` and what else a page calls are those in PATH. A command has to exit with 0, and what it prints has
to be what stands below it: the same words, and numbers within TOLERANCE, since other CPUs round otherwise. A line
`[...]` stands for any number of lines. Blocks say by a comment what else becomes of them: see blocks.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from blocks import Block, blocks_of

SHARE, LEAST = 0.05, 0.3  # of a number, and at least this much: it may differ by so much
NUMBER = re.compile(r"\d[\d,]*\.?\d*(?:e[+-]?\d+)?")


def alike(expected: str, got: str) -> bool:
    """Whether two lines have the same words, and numbers that lie near each other."""
    if NUMBER.sub("#", " ".join(expected.split())) != NUMBER.sub("#", " ".join(got.split())):
        return False
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(got), strict=True)
    values = [(float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs]
    return all(abs(a - b) <= max(LEAST, SHARE * max(abs(a), abs(b))) for a, b in values)


def difference(expected: list[str], got: list[str]) -> str | None:
    """The first line that is not as it should be; None when all are."""
    position, skipping = 0, False
    for line in expected:
        if line == "[...]":
            skipping = True
            continue
        if skipping:
            while position < len(got) and not alike(line, got[position]):
                position += 1
        if position >= len(got):
            return f"expected {line!r}, got the end"
        if not alike(line, got[position]):
            return f"expected {line!r}, got {got[position]!r}"
        position, skipping = position + 1, False
    left = [line for line in got[position:] if line.strip()]
    return f"expected the end, got {left[0]!r}" if left and not skipping else None


class Reader:
    """Runs the blocks of one page in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._groups: list[int] = []  # of processes, one for each block
        self._exports = ""  # of the page's shell blocks so far
        beside = str(Path(sys.executable).parent)
        self._environment = {**os.environ, "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "80"}

    def shell(self, commands: str) -> str:
        with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:  # a pipe waits for `&`
            running = subprocess.Popen(
                ["bash", "-ec", self._exports + commands],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=errors,
                start_new_session=True,
            )
            self._groups.append(running.pid)
            status = running.wait(timeout=120)
            printed.seek(0)
            errors.seek(0)
            output = printed.read()
            if status != 0:
                raise AssertionError(f"{commands.strip()}\nexit status {status}\n{output}{errors.read()}")
        self._exports += "".join(line + "\n" for line in commands.splitlines() if line.startswith("export "))
        return output

    def close(self) -> None:
        """Ends what the page has left running."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)

    def run(self, block: Block) -> None:
        """Raises AssertionError where something is not as the page says."""
        if block.mark == "file":
            (self._folder / block.words).write_text(block.code, encoding="utf-8")
        elif block.mark in ("listing", "run"):
            return
        elif block.language == "console":
            self._console(block)
        elif block.language == "sh":
            self.shell(block.code)
        elif block.language == "python":
            name = f"block{block.line}.py"
            (self._folder / name).write_text(block.code, encoding="utf-8")
            self.shell(f"python {name}")
        else:
            raise AssertionError(f"line {block.line}: a block of {block.language or 'no language'} that nothing runs")

    def _console(self, block: Block) -> None:
        for part in re.split(r"^(?=\$ )", block.code, flags=re.MULTILINE)[1:]:
            command, _, printed = part[2:].partition("\n")
            got = self.shell(command).splitlines()
            wrong = None if block.mark == "output" else difference(printed.splitlines(), got)
            if wrong:
                raise AssertionError(f"$ {command}\n{wrong}")


def run_page(page: Path, folder: Path) -> int:
    """Runs a page's blocks; the number of those that ran."""
    reader = Reader(folder)
    found = blocks_of(page)
    try:
        for block in found:
            reader.run(block)
    finally:
        reader.close()
    return sum(block.mark not in ("listing", "run") for block in found)


def main(pages: list[str]) -> None:
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{page}: {run_page(Path(page).resolve(), Path(folder))} blocks", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
