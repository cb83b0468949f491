"""The pages in docs/: the index has them all, links lead somewhere, and the code of docs/forecasts.md is real."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, run

DOCS = ROOT / "docs"
PAGES = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(f"docs/{page.relative_to(DOCS)}" for page in DOCS.rglob("*.md")),
]


def links(page: Path) -> set[str]:
    """Files that a page links to; not what lies on the web."""
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    return {link for link in found if "://" not in link}


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_index_names_every_page() -> None:
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert pages <= links(DOCS / "README.md")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    path = ROOT / page
    assert [link for link in sorted(links(path)) if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("block", blocks("forecasts.md", "python"))
def test_python_of_the_forecasts_page_runs(block: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Mbit/s next" in done.stdout


@pytest.mark.parametrize("page", ["decision-log.md", "metrics.md", "run.md", "shadow.md"])
def test_python_of_the_pages_of_a_live_loop_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(page, "python")
    assert found
    for block in found:
        exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize(("language", "compiler", "standard"), [("c", "gcc", "c99"), ("cpp", "g++", "c++17")])
def test_c_and_cpp_of_the_forecasts_page_compile(language: str, compiler: str, standard: str, tmp_path: Path) -> None:
    found = blocks("forecasts.md", language)
    assert found
    for number, block in enumerate(found):
        source = tmp_path / f"block{number}.{language}"
        source.write_text(block, encoding="utf-8")
        warnings = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        run(compiler, f"-std={standard}", *warnings, "-I", ROOT / "cpp" / "include", source, cwd=tmp_path)


def test_the_experts_of_the_forecasts_page_are_those_of_the_code() -> None:
    source = (ROOT / "cpp" / "src" / "engine" / "mixture.cpp").read_text(encoding="utf-8")
    listed = re.search(r"kNames\{(.*?)\}", source, flags=re.DOTALL)
    assert listed
    page = (DOCS / "forecasts.md").read_text(encoding="utf-8").split("## The experts")[1].split("\n\nFor a target")[0]
    named = [
        name for cell in re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE) for name in re.findall(r"`(.+?)`", cell)
    ]
    assert sorted(named) == sorted(re.findall(r'"(.+?)"', listed.group(1)))
