"""Releases: a version's section of the changelog, and what .ci/release refuses before it builds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import linkcast
from conftest import ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def section(version: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / ".ci" / "changelog", version]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_changelog_has_a_section_of_this_version() -> None:
    done = section(linkcast.__version__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(CHANGELOG.split("\n## ")[1].split("\n", 1)[1].strip()[:40])
    assert "\n## " not in done.stdout


def test_a_version_without_a_section_is_named() -> None:
    done = section("9.9.9")
    assert done.returncode == 1
    assert done.stderr == "CHANGELOG.md: expected a heading '## 9.9.9'\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a repository as the first step looks at."""
    for name in (".ci/release", ".ci/changelog", "pyproject.toml", "CHANGELOG.md", "cpp/include/linkcast/linkcast.h"):
        copy = tmp_path / "clone" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
        copy.chmod(0o755)
    git = ["git", "-C", str(tmp_path / "clone"), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    return tmp_path / "clone"


def release(clone: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([clone / ".ci" / "release", folder], capture_output=True, text=True, check=False)


def test_a_release_wants_a_clean_tree(clone: Path, tmp_path: Path) -> None:
    (clone / "stray").touch()
    done = release(clone, tmp_path / "dist")
    assert done.returncode == 1
    assert done.stderr == "expected a clean working tree, got changes: commit or stash them\n"


def test_a_release_wants_an_empty_folder(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "linkcast-0.0.9.tar.gz").touch()
    done = release(clone, tmp_path / "dist")
    assert done.returncode == 1
    assert "expected an empty folder" in done.stderr


def test_a_release_wants_one_version_everywhere(clone: Path, tmp_path: Path) -> None:
    header = clone / "cpp" / "include" / "linkcast" / "linkcast.h"
    header.write_text(re.sub(r'LINKCAST_VERSION "\d', 'LINKCAST_VERSION "7', header.read_text()), encoding="utf-8")
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qam", "x"], cwd=clone, check=True)
    done = release(clone, tmp_path / "dist")
    assert done.returncode == 1
    assert done.stderr.startswith("linkcast.h: expected version")
