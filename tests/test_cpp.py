"""Builds the C++ tests with warnings as errors and runs each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import ROOT, run


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "cpp" / "tests").glob("test_*.cpp")))
def test_cpp(cpp_build: Path, name: str) -> None:
    output = run("ctest", "--test-dir", cpp_build, "--output-on-failure", "-R", f"^{name}$", cwd=cpp_build)
    assert "100% tests passed, 0 tests failed out of 1" in output
