"""Code in the pages runs: each block by its page's reader, by a test of its own, or it says why it does not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs" / "tools"))

from blocks import blocks_of, indented
from run_page import alike, difference, run_page

DOCS = ROOT / "docs"
READ = ["tutorial.md", *sorted(f"howto/{page.name}" for page in (DOCS / "howto").glob("*.md"))]
"""Pages that are run from top to bottom."""

HELD = {  # pages whose blocks other tests run, by language
    "README.md": {"python": "tests/test_readme.py", "indented": ".ci/run"},
    "docs/usage.md": {"python": "tests/test_readme.py", "sh": "tests/test_readme.py"},
    "docs/forecasts.md": {
        "python": "tests/test_docs.py",
        "c": "tests/test_docs.py",
        "cpp": "tests/test_docs.py",
        "go": "tests/test_consumer.py",
        "indented": "formulas",
    },
    "docs/own-data.md": dict.fromkeys(("console", "python", "json", "sh"), "tests/test_own_data.py"),
    "docs/new-group.md": {"console": "tests/test_new_group.py", "python": "tests/test_new_group.py"},
    "docs/edge-bundle.md": {"console": "tests/test_edge.py", "sh": "tests/test_edge.py"},
    "docs/decision-log.md": {"python": "tests/test_docs.py", "console": "tests/test_decision_log.py"},
    "docs/metrics.md": {"python": "tests/test_docs.py"},
    "docs/shadow.md": {"python": "tests/test_docs.py"},
    "docs/run.md": {
        "python": "tests/test_docs.py",
        "console": "tests/test_live_daemon.py",
        "toml": "tests/test_live_config.py",
    },
    "docs/fleet.md": dict.fromkeys(("python", "console", "sh", "indented"), "tests/test_fleet.py"),
    "docs/fuzzing.md": {"": "fuzz/CMakeLists.txt", "sh": "fuzz/CMakeLists.txt", "indented": "fuzz/CMakeLists.txt"},
    "docs/signed-bundles.md": {"indented": "tests/test_signing.py"},
    "docs/processes.md": {"python": "tests/test_integrity.py"},
    "docs/accuracy.md": {"console": "benchmarks/forecasts.py"},
    "docs/explanation/sliding-windows.md": {"indented": "a drawing"},
    "CONTRIBUTING.md": {"indented": ".ci/run"},
    "examples/README.md": {"indented": "tests/test_consumer.py"},
    "benchmarks/README.md": {"indented": "tests/test_bench.py"},
    "benchmarks/arm.md": {"indented": ".ci/arm"},
}
GENERATED = "<!-- Written by docs/tools/generate.py"
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in [
        *DOCS.rglob("*.md"),
        *ROOT.glob("*.md"),
        *(ROOT / "examples").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]
    if not page.read_text(encoding="utf-8").startswith(GENERATED)
)


def drawn(picture: Path) -> list[str] | bytes:
    """What a picture says: the texts of an SVG, the size of a PNG."""
    content = picture.read_bytes()
    if content[:4] == b"\x89PNG":
        return content[16:24]
    texts = re.findall(r"<text[^>]*>([^<]*)<", content.decode("utf-8"))
    assert len(texts) > 5
    return texts


@pytest.mark.parametrize("page", READ)
def test_a_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    if page == "tutorial.md":
        pytest.importorskip("matplotlib")
    blocks = blocks_of(DOCS / page)
    assert run_page(DOCS / page, tmp_path) == sum(block.mark not in ("listing", "run") for block in blocks)
    for picture in set(
        re.findall(r"--plot (\S+\.\w+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    ):
        kept, made = DOCS / "pictures" / picture, tmp_path / picture
        assert drawn(kept) == drawn(made), f"docs/pictures/{picture} is not what the page's command draws"


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_left_that_nothing_runs(page: str) -> None:
    held = HELD.get(page, {})
    for block in blocks_of(ROOT / page):
        if block.mark == "listing" or (block.mark and page.removeprefix("docs/") in READ):
            assert len(block.words.split()) > 0, f"{page}:{block.line}: expected a reason"
        elif block.mark == "run":
            assert (ROOT / block.words).is_file(), f"{page}:{block.line}: {block.words} is not there"
        else:
            assert page.removeprefix("docs/") in READ or block.language in held, f"{page}:{block.line}: nothing runs it"
    assert not indented(ROOT / page) or "indented" in held, f"{page}: {indented(ROOT / page)}"


@pytest.mark.parametrize("page", [page for page in HELD if page in PAGES])
def test_what_is_said_to_run_a_page_is_there(page: str) -> None:
    paths = [holder for holder in HELD[page].values() if "/" in holder]
    assert [path for path in paths if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", READ)
def test_a_file_that_a_page_needs_is_named_where_readers_see_it(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for block in blocks_of(DOCS / page):
        if block.mark == "file":
            before = text.split(f"<!-- file: {block.words} -->")[0].rstrip().rsplit("\n\n", 1)[-1]
            assert f"`{block.words}`" in before, f"{page}: {block.words}"


def test_lines_are_alike_when_words_are_and_numbers_are_near() -> None:
    assert alike("stream   11.0 %", "stream 11.2 %")
    assert not alike("stream 11.0 %", "stream 15.0 %")
    assert not alike("stream 11.0 %", "streams 11.0 %")
    assert alike("7,200 rows in 1 segment", "7,200 rows  in 1 segment")
    assert not alike("7,200 rows in 1 segment", "6,200 rows in 1 segment")


def test_a_line_that_is_not_printed_is_named() -> None:
    assert difference(["a", "[...]", "d"], ["a", "b", "c", "d"]) is None
    assert difference(["a", "[...]"], ["a", "b", "c"]) is None
    assert difference(["a", "b"], ["a"]) == "expected 'b', got the end"
    assert difference(["a"], ["a", "b"]) == "expected the end, got 'b'"
    assert difference(["a", "[...]", "e"], ["a", "b"]) == "expected 'e', got the end"


def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ false\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="exit status 1"):
        run_page(page, tmp_path)
    page.write_text("```console\n$ echo 2 links\n1 link\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="expected '1 link', got '2 links'"):
        run_page(page, tmp_path)
    page.write_text("```fortran\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="nothing runs"):
        run_page(page, tmp_path)


def test_each_how_to_says_when_it_fits_and_how_it_is_checked_and_taken_back() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8").split("## How to")[1].split("\n## ")[0]
    pages = re.findall(r"\]\(([\w/-]+\.md)\)", index)
    assert len(pages) > 12
    for page in pages:
        text = (DOCS / page).read_text(encoding="utf-8")
        headings = "\n".join(re.findall(r"^## .*", text, flags=re.MULTILINE))
        assert re.search(r"\bfits?\b.*?(\*\*|\n)", text), f"{page}: when does it fit?"
        assert re.search(r"[Aa]void|[Ww]hen not", text), f"{page}: when is it to be avoided?"
        assert re.search(r"[Cc]heck", headings), f"{page}: how is it checked?"
        assert re.search(r"[Rr]oll .*back|and back", headings), f"{page}: how is it taken back?"
