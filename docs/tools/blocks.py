"""The code blocks of a Markdown page, and what the comment before each says of it.

A comment on the line before a fence is one of

    <!-- listing: REASON -->   not run, and why
    <!-- file: NAME -->        saved under that name, for the blocks below
    <!-- output: REASON -->    run; what it prints is an example, and why
    <!-- run: FILE -->         run by that test
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MARKS = ("listing", "file", "output", "run")
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>\w+): (?P<words>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One fenced block."""

    language: str
    code: str
    mark: str  # one of MARKS, or "": run, and compared where it says what it prints
    words: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order. ValueError for a comment of an unknown kind."""
    text = page.read_text(encoding="utf-8")
    found = []
    for block in BLOCK.finditer(text):
        mark, line = block["mark"] or "", text.count("\n", 0, block.start("language")) + 1
        if mark not in ("", *MARKS):
            raise ValueError(f"{page.name}:{line}: expected one of {', '.join(MARKS)} before a block, got {mark!r}")
        found.append(Block(block["language"], block["code"], mark, block["words"] or "", line))
    return found


def indented(page: Path) -> list[str]:
    """First lines of blocks that are code by their indentation alone."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found, before, within_list = [], "", False
    for line in text.splitlines():
        if line.strip() and not line.startswith("  "):
            within_list = bool(re.match(r"[-*] |\d+\. ", line))
        if line.startswith("    ") and not before.strip() and not within_list:
            found.append(line.strip())
        before = line
    return found
