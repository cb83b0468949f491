"""Writes the pages that come from code; with --check, says which are not as they would be written.

Needs linkcast, doxygen (C and C++) and go. `only` some: python docs/tools/generate.py python models.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import c_headers
import other_pages
import python_names

DOCS = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by docs/tools/generate.py from {source}; changes belong there. -->\n"
PAGES: dict[str, tuple[str, str, Callable[[], str]]] = {
    "c": ("reference/c.md", "cpp/include/linkcast/linkcast.h", c_headers.c_page),
    "cpp": ("reference/cpp.md", "cpp/include/linkcast/linkcast.hpp", c_headers.cpp_page),
    "python": ("reference/python.md", "the docstrings and _native.pyi", python_names.page),
    "go": ("reference/go.md", "bindings/go", other_pages.go_package),
    "command-line": ("reference/command-line.md", "engine/linkcast/cli", other_pages.command_line),
    "metadata": ("reference/metadata.md", "metadata/schema", other_pages.metadata),
    "models": ("models.md", "metadata/manifest.json", other_pages.models),
}


def made(name: str) -> str:
    """A page as it would be now."""
    _, source, page = PAGES[name]
    return NOTE.format(source=source) + "\n" + page()


def main(arguments: list[str]) -> int:
    """Exit status 1 when --check finds another page than would be written."""
    check = "--check" in arguments
    stale = 0
    for name in [one for one in arguments if not one.startswith("-")] or list(PAGES):
        path = DOCS / PAGES[name][0]
        before, now = path.read_text(encoding="utf-8") if path.exists() else "", made(name)
        if before == now:
            continue
        stale += 1
        if check:
            difference = difflib.unified_diff(
                before.splitlines(), now.splitlines(), str(path), "would be", lineterm="", n=1
            )
            print("\n".join(list(difference)[:40]))
        else:
            path.write_text(now, encoding="utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
