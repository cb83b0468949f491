"""Every Python block of the README and docs/usage.md runs, and every `linkcast` command line there exits with 0."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXT = README + (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("linkcast ")
]


def test_the_readme_has_code() -> None:
    assert "```python" in README
    assert len(BLOCKS) > 1 and COMMANDS


def test_the_readme_is_a_screen_and_a_half() -> None:
    assert len(README.splitlines()) <= 75


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
def test_links_to_files_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("block", BLOCKS)
def test_python_block_runs(block: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Training takes minutes, and files of the user's own are not here: they are tested where they belong.
ELSEWHERE = ("linkcast train", "linkcast evaluate", "linkcast convert", "linkcast fleet")


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith(ELSEWHERE)])
def test_command_line_runs(command: str, tmp_path: Path) -> None:
    rows = "".join(f"2026-01-05T20:00:{k:02},{30_000 + 500 * k},20\n" for k in range(20))
    (tmp_path / "link.csv").write_text("time,rx,rtt_ms\n" + rows, encoding="utf-8")
    arguments = [sys.executable, "-m", *shlex.split(command)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
