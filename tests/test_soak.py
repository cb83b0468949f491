"""The soak test in small: a few seconds of what tests/soak/run.py does for hours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


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
