"""Doxygen's input filter: the comments of linkcast.h, which people read as they are, in the marks that Doxygen knows.

A comment before a declaration becomes a documentation block, one behind it a trailing one, and a line "name:  text" in
such a block a parameter. Lines keep their numbers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def filtered(source: str) -> str:
    """The header with Doxygen's marks."""
    lines, within, first = [], False, True
    for line in source.splitlines():
        kept = line
        if re.match(r"/\* ====.*==== \*/$", line):
            kept = ""
        elif re.match(r"/\*", line) and first:
            first = False  # what the file says of itself: the generator reads it as it is
        elif re.match(r"/\*", line):
            kept = "/** " + line[2:].lstrip()
            within = "*/" not in line
        elif re.match(r"\s+/\* ", line):
            kept = line.replace("/* ", "/** ", 1)
        elif "/* " in line:
            kept = line.replace("/* ", "/**< ", 1)
        elif within:
            kept = re.sub(r"^ \* (\w+):  +(\S)", r" * @param \1 \2", line)
            within = "*/" not in line
        lines.append(kept)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    text = path.read_text(encoding="utf-8")
    sys.stdout.write(filtered(text) if path.suffix == ".h" else text)
