"""CONTRIBUTING.md is true: its walks lead where they say, and its map names every file and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", GUIDE, flags=re.MULTILINE | re.DOTALL)
    assert found, f"CONTRIBUTING.md has no section {title!r}"
    return found.group(1)


def rows(title: str) -> list[tuple[str, str]]:
    """The cells of a section's table of two columns, without its head."""
    return re.findall(r"^\| (.+?) \| (.+) \|$", section(title), flags=re.MULTILINE)[2:]


WALKS = dict(rows("Walks"))
PLACES = [(question, *place) for question, cell in WALKS.items() for place in re.findall(r"`([^`]+)`: `([^`]+)`", cell)]
MAP = {folder: what for folders, what in rows("The map") for folder in re.findall(r"`([^`]+)`", folders)}

# Folders whose files the map names one by one.
CPP = ["base", "kernels", "recognise", "tflite", "engine", "c_api"]
PYTHON = [f"engine/linkcast/{name}" for name in ("", "edge/", "fleet/", "simulation/", "traces/", "training/")]


def test_every_question_has_a_place() -> None:
    assert len(WALKS) >= 10
    assert {question for question, *_ in PLACES} == set(WALKS)


@pytest.mark.parametrize(("question", "file", "symbol"), PLACES)
def test_a_walk_leads_to_what_it_names(question: str, file: str, symbol: str) -> None:
    path = ROOT / file
    assert path.is_file(), f"{question}: there is no {file}"
    assert symbol in path.read_text(encoding="utf-8"), f"{question}: {file} does not hold {symbol!r}"


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [(f"cpp/src/{name}/", ".h") for name in CPP] + [(name, ".py") for name in PYTHON],
)
def test_the_map_names_what_is_in_a_folder_and_nothing_else(folder: str, suffix: str) -> None:
    here = {path.stem for path in (ROOT / folder).glob(f"*{suffix}") if not path.stem.startswith("__")}
    inside = {path.name for path in (ROOT / folder).iterdir() if path.is_dir() and not path.name.startswith("__")}
    named = set(re.findall(r"`([a-z0-9_]+)`", MAP[folder]))
    assert here | (inside if suffix == ".py" else set()) == named


def test_paths_that_the_guide_names_are_there() -> None:
    paths = sorted(set(re.findall(r"`(\.?\w+[\w.]*(?:/[\w.-]+)*/[\w.-]*)`", GUIDE)))
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists() and not (ROOT / "cpp" / "src" / path).exists()] == []


@pytest.mark.parametrize("layer", CPP)
def test_no_layer_of_the_map_includes_one_above_it(layer: str) -> None:
    order = {name: position for position, name in enumerate(CPP)}
    upward = [
        f"{path.relative_to(ROOT)}: {used}"
        for path in (ROOT / "cpp" / "src" / layer).iterdir()
        for used in re.findall(r'^#include "(\w+)/', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if order.get(used, 0) > order[layer]
    ]
    assert upward == []


def test_pre_commit_has_the_linters_of_ci_in_the_same_versions() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = set(re.findall(r"\b[\w-]+==[\d.]+", re.findall(r"pip\" install -q (.*)", ci)[0]))
    assert len(pinned) == 2
    assert set(re.findall(r"[\w-]+==[\d.]+", hooks)) == pinned
    assert "mypy engine/linkcast" in ci
    assert "entry: mypy engine/linkcast" in hooks
