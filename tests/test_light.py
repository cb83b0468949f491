"""NumPy alone: what works without the other packages, and what is said where one is needed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import linkcast
from conftest import ROOT
from linkcast.extras import install

# Everything but NumPy, the standard library and linkcast itself is hidden, whatever this environment has.
HIDE = """
import importlib.abc, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top.startswith("_") or top in ("numpy", "linkcast"):
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
for name in [name for name in sys.modules if name.partition(".")[0] in ("numba", "pyarrow", "rich", "typer", "pandas")]:
    del sys.modules[name]
"""

WORK = (Path(__file__).parent / "numpy_alone.py").read_text(encoding="utf-8")


def hidden(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HIDE + code], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_numpy_alone_runs_engine_stream_controller_predictor_and_replay(folder):
    import json

    done = hidden(WORK, folder)
    assert done.returncode == 0, done.stderr
    light = json.loads(done.stdout)
    assert light["loaded"] == []
    full = subprocess.run([sys.executable, "-c", WORK], cwd=folder, capture_output=True, text=True, check=True)
    # The engine's scaler and the compiled kernels may round their sums differently.
    for name, value in json.loads(full.stdout).items():
        if name != "loaded":
            assert light[name] == pytest.approx(value, rel=1e-5), name


def test_without_typer_the_command_line_says_what_to_install(folder):
    done = hidden("from linkcast.__main__ import main; sys.argv = ['linkcast', 'groups']; main()", folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "linkcast: the command line needs typer: pip install 'rich>=13' 'typer>=0.12'\n"


def test_without_pyarrow_a_parquet_file_says_what_to_install(folder):
    (folder / "trace.parquet").write_bytes(b"PAR1")
    done = hidden("import linkcast; linkcast.read_trace('trace.parquet')", folder)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: trace.parquet: Parquet needs pyarrow: pip install 'pyarrow>=15'"
    )


def test_the_extras_that_messages_name_are_declared():
    from importlib.metadata import metadata

    named = {
        extra
        for module in Path(linkcast.__file__).parent.rglob("*.py")
        for extra in re.findall(r"\{install\(['\"](\w+)['\"]\)\}", module.read_text(encoding="utf-8"))
    }
    assert {"cli", "traces", "plot", "reference", "train"} <= named
    assert named <= set(metadata("linkcast").get_all("Provides-Extra") or [])
    assert linkcast.__version__


def test_what_to_install_is_an_extra_s_packages_and_not_linkcast_which_an_index_may_not_have():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra in ("plot", "sign", "otel", "metrics", "reference"):
        assert shlex.split(install(extra)) == ["pip", "install", *extras[extra]]
    train = shlex.split(install("train"))
    assert {*extras["plot"], "gymnasium>=1.0"} <= set(train)
    assert sum(package.startswith("tensorflow") for package in train) == 1  # this machine's
    assert not any("linkcast" in package for package in train)
