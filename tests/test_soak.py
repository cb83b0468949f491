"""The soak test in small: a few seconds of what tests/soak/run.py does for hours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from soak.run import slope_of


def test_a_few_seconds_of_reloads_bad_input_silence_and_forks_hold_no_surprise(cpp_build: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    program = cpp_build / "cpp" / "tests" / "soak"
    command = [sys.executable, ROOT / "tests" / "soak" / "run.py", "--minutes", "0.1", "--reload-every", "0.5"]
    done = subprocess.run(
        [*map(str, command), "--program", str(program), "--json", str(lines)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(lines.read_text(encoding="utf-8").splitlines()[-1])
    assert last["unexpected"] == 0
    assert min(last[name] for name in ("ticks", "reloads", "bad_inputs", "silent")) > 0


@pytest.mark.parametrize("kb_a_minute", [0.0, 430.0])
def test_the_slope_is_that_of_what_comes_behind_the_first_reloads(kb_a_minute: float) -> None:
    """A line a second: 100 reloads of 4 kB each in 400 s, then so much a minute; during a reload 20 MB more."""
    lines = []
    for second in range(601):
        reloads = min(second // 4, 100) + max(second - 400, 0) // 6
        kb = 40_000.0 + 4.0 * min(reloads, 100) + kb_a_minute * max(second - 400, 0) / 60.0
        reloading = second % 6 == 5
        line = {"t_s": float(second), "rss_kb": kb + 20_000.0 * reloading, "reloading": reloading}
        lines.append({**line, "reloads": reloads, "refused_reloads": 0})
    assert slope_of(lines, "rss_kb", settle=100) == pytest.approx(kb_a_minute, abs=1e-6)
    assert slope_of(lines, "rss_kb") != pytest.approx(kb_a_minute, abs=1.0)
