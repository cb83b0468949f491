"""What importing linkcast loads, and that the package holds what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import linkcast
from conftest import ROOT

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


def test_the_licence_goes_along_with_a_library_that_is_named(tmp_path: Path) -> None:
    """As for the wheel of another architecture: unpacked beside its .dist-info, or taken from an installed linkcast."""
    unpacked = tmp_path / "unpacked/pymicro_wakeword/lib/libtensorflowlite_c.so"
    installed = tmp_path / "installed/libtensorflowlite_c.so"
    alone = tmp_path / "alone/libtensorflowlite_c.so"
    licences = {
        unpacked: tmp_path / "unpacked/pymicro_wakeword-2.5.0.dist-info/licenses/LICENSE",
        installed: tmp_path / "installed/libtensorflowlite_c.LICENSE",
        alone: None,
    }
    script = tmp_path / "find.cmake"
    finder = ROOT / "cmake/FindTensorFlowLiteC.cmake"
    script.write_text(f'include({finder})\nmessage("licence [${{TensorFlowLiteC_LICENSE}}]")\n', encoding="utf-8")
    for library, licence in licences.items():
        for file in filter(None, (library, licence)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        command = ["cmake", f"-DLINKCAST_TFLITE_LIBRARY={library}", "-P", script]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        (found,) = re.findall(r"licence \[(.*)\]", said)
        assert (Path(found).resolve() if found else None) == licence


def test_nothing_is_printed_by_the_library() -> None:
    code = "import linkcast; linkcast.Engine.load().decide('internet', [20.0, 5.0, 0.0, 1.0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
