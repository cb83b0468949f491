"""The picture of a walk, and the one in the README."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from linkcast.plots import EXCERPT_TICKS, liveliest, plot_walk
from linkcast.reserving import LINKCAST, MATCHED, RULE, walk
from linkcast.simulation.evening import CAPACITY_MBPS, busy_evening

KEPT = Path(__file__).parent.parent / "docs" / "replay.svg"
SVG = "{http://www.w3.org/2000/svg}"
SHAPES = ("measured", "forecast", "band", "reserved")


@pytest.fixture(scope="module")
def evening(engine):
    return walk(engine, busy_evening(), "internet", CAPACITY_MBPS)


@pytest.fixture(scope="module")
def drawn(evening, tmp_path_factory):
    pytest.importorskip("matplotlib")
    path = tmp_path_factory.mktemp("picture") / "replay.svg"
    plot_walk(evening, path)
    return path


def points(path: Path, gid: str) -> np.ndarray:
    """(n, 2) of the path with that id, in points of the page."""
    group = ElementTree.parse(path).getroot().find(f".//{SVG}g[@id='{gid}']")
    assert group is not None, gid
    data = " ".join(element.get("d", "") for element in group.iter(f"{SVG}path"))
    numbers = re.findall(r"-?[\d.]+", data)
    return np.array(numbers, np.float64).reshape(-1, 2)


def texts(path: Path) -> list[str]:
    return ["".join(element.itertext()).strip() for element in ElementTree.parse(path).getroot().iter(f"{SVG}text")]


def test_the_picture_of_the_readme_is_the_one_that_the_command_draws(drawn):
    """`linkcast replay --fast --plot docs/replay.svg` makes it. Instruction sets round differently: a few points may
    lie elsewhere, as where the allocator takes its next step."""
    assert texts(KEPT) == texts(drawn)
    for gid in SHAPES:
        kept, made = points(KEPT, gid), points(drawn, gid)
        assert kept.shape == made.shape, gid
        assert np.mean(np.abs(kept - made).max(axis=1) > 0.5) < 0.02, gid
    assert KEPT.stat().st_size < 200_000


def test_the_readme_shows_the_picture_and_says_what_it_shows(evening):
    readme = " ".join((KEPT.parent.parent / "README.md").read_text(encoding="utf-8").split())
    assert re.search(r"!\[[^]]+\]\(docs/replay\.svg\)", readme)
    ours, rule, matched = (evening.outcome(name) for name in (LINKCAST, RULE, MATCHED))
    assert "may be short in one second of twenty, and is no more often" in readme
    assert 0.03 < ours["short_share"] <= 0.05
    assert "more than three times as often" in readme
    assert rule["short_share"] > 3.0 * ours["short_share"]
    assert "leaves a third more unused" in readme
    assert matched["unused_mbps"] > 4.0 / 3.0 * ours["unused_mbps"]


def test_the_table_of_the_evening_in_docs_accuracy_is_what_the_command_prints(evening):
    text = (KEPT.parent / "accuracy.md").read_text(encoding="utf-8").split("## What reserving gains")[1]
    rows = re.findall(r"^\| [^|]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) % \| ([\d.]+|-) \|$", text, flags=re.MULTILINE)
    assert len(rows) == len(evening.rules)
    for (reserved, unused, short, by), rule in zip(rows, evening.rules, strict=True):
        outcome = evening.outcome(rule)
        assert float(reserved) == pytest.approx(outcome["reserved_mbps"], abs=0.3)
        assert float(unused) == pytest.approx(outcome["unused_mbps"], abs=0.3)
        assert float(short) == pytest.approx(100.0 * outcome["short_share"], abs=0.5)
        assert float(by.replace("-", "0")) == pytest.approx(outcome["short_by_mbps"], abs=0.3)


def test_what_is_drawn_is_the_data(drawn, evening):
    """The measured line, brought back to Mbit/s by the axis: 0 and 100 are the lowest and the dashed line."""
    shown = liveliest(evening.came)
    line = points(drawn, "measured")
    assert len(line) == EXCERPT_TICKS
    came = evening.came[shown]
    slope, offset = np.polyfit(line[:, 1], came, 1)
    assert slope < 0.0  # the page's y grows downwards
    np.testing.assert_allclose(slope * line[:, 1] + offset, came, atol=0.05)
    group = ElementTree.parse(drawn).getroot().find(f".//{SVG}g[@id='short']")
    marks = list(group.iter(f"{SVG}use"))
    assert len(marks) == np.count_nonzero(came > evening.rules[LINKCAST][shown])


def test_the_excerpt_is_where_most_happens():
    came = np.full(1000, 20.0)
    came[500:520] = 80.0
    shown = liveliest(came)
    assert shown.stop - shown.start == EXCERPT_TICKS
    assert shown.start <= 500 and shown.stop >= 520
    assert liveliest(came[:50]) == slice(0, 50)


def test_a_capacity_far_above_the_trace_does_not_squeeze_it(engine, tmp_path):
    pytest.importorskip("matplotlib")
    heights = []
    for capacity in (CAPACITY_MBPS, 20.0 * CAPACITY_MBPS):
        plot_walk(walk(engine, busy_evening(200), "internet", capacity), tmp_path / "one.svg")
        heights.append(np.ptp(points(tmp_path / "one.svg", "measured")[:, 1]))
    assert (
        heights[1] > heights[0] / 8.0
    )  # what is reserved, up to a fifth of the capacity, is drawn; the capacity would make it 1 / 20


def test_the_same_walk_is_the_same_file(drawn, evening, tmp_path):
    plot_walk(evening, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == drawn.read_bytes()


def test_a_png_is_an_image(evening, tmp_path):
    pytest.importorskip("matplotlib")
    plot_walk(evening, tmp_path / "replay.png")
    assert (tmp_path / "replay.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_the_error_says_what_to_install(evening, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'matplotlib>=3\.8'"):
        plot_walk(evening, tmp_path / "replay.png")
