"""Builds the C++ tests with warnings as errors and runs each of them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, run


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "cpp" / "tests").glob("test_*.cpp")))
def test_cpp(cpp_build: Path, name: str) -> None:
    if name == "test_tiles" and platform.machine() != "x86_64":
        pytest.skip("matrix tiles are x86-64's")
    run("ctest", "--test-dir", cpp_build, "--output-on-failure", "--no-tests=error", "-R", f"^{name}$", cwd=cpp_build)


# Intel SDM volume 2: the instructions that Linux ends a process for which has not asked for tiles.
TILES = {"ldtilecfg", "sttilecfg", "tileloadd", "tilestored", "tilezero", "tdpbf16ps", "tdpbusd", "tilerelease"}


def kernel_units(cpp_build: Path) -> list[Path]:
    """Object files of the kernels and the mixture's arithmetic that are compiled with an instruction set's flags."""
    if platform.machine() != "x86_64" or shutil.which("objdump") is None or shutil.which("nm") is None:
        pytest.skip("needs an x86-64 with binutils")
    if os.environ.get("LINKCAST_TEST_SANITIZE"):
        pytest.skip("sanitizers add symbols of their own")
    units = sorted(cpp_build.glob("**/linkcast_kernels.dir/kernels_avx*.o"))
    units += sorted(cpp_build.glob("**/mixture_avx*.o"))
    assert len(units) >= 7
    return units


def test_tile_instructions_stand_in_their_own_unit_only(cpp_build: Path) -> None:
    for unit in kernel_units(cpp_build):
        code = subprocess.run(["objdump", "-d", unit], capture_output=True, text=True, check=True).stdout
        found = set(re.findall(r"\b(?:ld|st)tilecfg\b|\btile\w+\b|\btdp\w+\b", code))
        assert found == (TILES if unit.name.startswith("kernels_avx512_amx") else set()), unit.name


def test_no_unit_of_an_instruction_set_lends_its_functions_to_others(cpp_build: Path) -> None:
    # A weak symbol may be linked in place of the same function that another unit has for any CPU.
    for unit in kernel_units(cpp_build):
        symbols = subprocess.run(["nm", "--demangle", unit], capture_output=True, text=True, check=True).stdout
        assert re.findall(r"^\S* ([WVu] .*)$", symbols, flags=re.MULTILINE) == [], unit.name
