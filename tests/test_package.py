"""What importing linkcast loads, and that the package holds what it needs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import linkcast

HEAVY = ("numba", "tensorflow", "tf_keras", "pyarrow", "pandas", "matplotlib", "rich", "typer", "gymnasium", "scipy")


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, linkcast; linkcast.Engine.load(); print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"


def test_versions_agree() -> None:
    assert linkcast.__version__ == version("linkcast")


def test_the_runtime_and_its_licence_stand_beside_the_extension() -> None:
    folder = Path(linkcast.Engine.load().folder)
    assert (folder / "libtensorflowlite_c.so").is_file()
    assert "Apache License" in (folder / "libtensorflowlite_c.LICENSE").read_text(encoding="utf-8")


def test_nothing_is_printed_by_the_library() -> None:
    code = "import linkcast; linkcast.Engine.load().decide('internet', [20.0, 5.0, 0.0, 1.0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
