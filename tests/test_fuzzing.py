"""That the fuzz targets, and the tests in which allocations fail, reach all of the C ABI.

The targets run by fuzz/run: docs/fuzzing.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from conftest import ROOT

EXPORTS = (ROOT / "cpp" / "tests" / "exports.txt").read_text(encoding="ascii").split()
TARGET = (ROOT / "fuzz" / "c_abi.cpp").read_text(encoding="utf-8")
NOT_CALLED: dict[str, str] = {}
"""By function of the C ABI that fuzz/c_abi.cpp does not call, why."""


def uncalled(target: str, functions: Iterable[str]) -> list[str]:
    """Those whose name does not stand in the code of a target: what comments and texts say is no call."""
    code = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', "", target, flags=re.DOTALL)
    return sorted(set(functions) - set(re.findall(r"\w+", code)))


def test_every_function_of_the_c_abi_is_fuzzed_or_excepted_with_a_reason() -> None:
    assert uncalled(TARGET, EXPORTS) == sorted(NOT_CALLED)
    assert all(NOT_CALLED.values())


def test_every_function_of_the_c_abi_is_called_while_allocations_fail() -> None:
    programs = ("test_c_abi_memory.cpp", "test_c_abi_memory_load.cpp")
    sources = [(ROOT / "cpp" / "tests" / name).read_text(encoding="utf-8") for name in programs]
    assert uncalled("\n".join(sources), EXPORTS) == []


def test_a_function_that_a_target_only_speaks_of_is_found() -> None:
    target = 'open(a); // close(a)\n/* run(a)\n */ say("find(a)"); take(snapshot);'
    assert uncalled(target, ["open", "close", "run", "find", "snapshot", "ope"]) == ["close", "find", "ope", "run"]
