"""Builds the C++ tests with warnings as errors and runs each of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cpp")
    options = ["-G", "Ninja", "-DLINKCAST_BUILD_TESTS=ON", "-DLINKCAST_WERROR=ON"]
    if sanitizers := os.environ.get("LINKCAST_TEST_SANITIZE"):
        options += [f"-DLINKCAST_SANITIZE={sanitizers}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"]
    run("cmake", "-S", ROOT, "-B", folder, *options, cwd=folder)
    run("cmake", "--build", folder, cwd=folder)
    return folder


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "cpp" / "tests").glob("test_*.cpp")))
def test_cpp(build: Path, name: str) -> None:
    output = run("ctest", "--test-dir", build, "--output-on-failure", "-R", f"^{name}$", cwd=build)
    assert "100% tests passed, 0 tests failed out of 1" in output
