"""Builds the C++ tests with warnings as errors and runs each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import ROOT, run


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "cpp" / "tests").glob("test_*.cpp")))
def test_cpp(cpp_build: Path, name: str) -> None:
    run("ctest", "--test-dir", cpp_build, "--output-on-failure", "--no-tests=error", "-R", f"^{name}$", cwd=cpp_build)
