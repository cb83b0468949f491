"""Sphinx: the Markdown of this repository as a site. `.ci/docs` builds it; docs/README.md says what stands where.

The source folder is the repository itself, so that a link leads to the same place on the site, in an editor and on a
forge. The navigation is made of the lists in docs/README.md: there is no second table of contents.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs" / "tools"))

INDEX = "docs/README"

project = "linkcast"
author = "the linkcast authors"
copyright = "Apache-2.0"  # Sphinx's name for the line at the foot of a page
version = release = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[0]

extensions = ["myst_parser"]
root_doc = INDEX
source_suffix = {".md": "markdown"}
include_patterns = ["docs/**", "*.md", "examples/*.md", "benchmarks/*.md", "metadata/*.md"]
exclude_patterns = [".*", "**/.*", "build", "docs/tools", "engine", "cpp", "bindings", "tests", "models"]

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block"]
suppress_warnings: list[str] = []
nitpicky = True

html_theme = "furo"
html_title = f"linkcast {version}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["linkcast.css"]
html_theme_options = {"source_view_link": "", "top_of_page_buttons": []}
pygments_style = "default"
pygments_dark_style = "github-dark"


def sections(index: str) -> list[tuple[str, list[str]]]:
    """The index's headings, each with the pages that its table or list links to, in their order."""
    found = []
    for heading, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", index, flags=re.MULTILINE | re.DOTALL):
        pages = [link for link in re.findall(r"\]\(([^)#\s]+\.md)\)", body) if "://" not in link]
        found.append((heading, list(dict.fromkeys(pages))))
    return found


def add_navigation(_app: object, document: str, source: list[str]) -> None:
    """Appends the navigation to the index, where the theme looks for it; the page itself does not show it."""
    if document != INDEX:
        return
    trees = []
    for heading, pages in sections(source[0]):
        lines = "\n".join(f"/{(ROOT / 'docs' / page).resolve().relative_to(ROOT)}" for page in pages)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {heading}\n:maxdepth: 1\n\n{lines}\n```\n")
    source[0] += "\n" + "\n".join(trees)


def add_front_door(app: object, error: Exception | None) -> None:
    """index.html leads to the index."""
    if error is None:
        out = Path(app.outdir)  # type: ignore[attr-defined]
        page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={INDEX}.html">'
        (out / "index.html").write_text(f'{page}\n<a href="{INDEX}.html">linkcast</a>\n', encoding="utf-8")


def setup(app: object) -> None:
    app.connect("source-read", add_navigation)  # type: ignore[attr-defined]
    app.connect("build-finished", add_front_door)  # type: ignore[attr-defined]
