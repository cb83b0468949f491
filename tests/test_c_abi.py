"""The C ABI as it is installed: its exports, its headers, and that it answers as the Python engine does."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import linkcast
from conftest import ROOT, run
from linkcast import _native

PACKAGE = Path(_native.__file__).parent
LIBRARY = PACKAGE / "liblinkcast.so"
HEADERS = PACKAGE / "include" / "linkcast"

# linkcast_answer
ANSWER = np.dtype(
    [("size", np.uintp), ("mbps", "f4"), ("band", "f4", 3), ("source", np.intc), ("cause", np.intc)], align=True
)


def exported() -> list[str]:
    """Names of the functions that the library's dynamic symbol table defines."""
    table = run("nm", "-D", "--defined-only", LIBRARY, cwd=PACKAGE)
    symbols = [line.split()[1:] for line in table.splitlines()]
    return sorted(name.split("@")[0] for kind, name in symbols if kind != "A")


def test_exports_are_those_of_the_list() -> None:
    assert exported() == (ROOT / "cpp" / "src" / "c_api" / "exports.txt").read_text(encoding="ascii").split()


def test_exports_are_those_of_the_header() -> None:
    header = (HEADERS / "linkcast.h").read_text(encoding="utf-8")
    assert exported() == sorted(re.findall(r"^LINKCAST_API [^(]*\b(linkcast_\w+)\(", header, flags=re.MULTILINE))


@pytest.mark.parametrize(
    "command",
    [
        ["gcc", "-std=c99", "-x", "c", HEADERS / "linkcast.h"],
        ["g++", "-std=c++17", "-x", "c++", HEADERS / "linkcast.h"],
        ["g++", "-std=c++17", "-x", "c++", HEADERS / "linkcast.hpp"],
    ],
    ids=["linkcast.h in C99", "linkcast.h in C++17", "linkcast.hpp in C++17"],
)
def test_headers_compile_alone_without_a_warning(command: list[str | Path]) -> None:
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wno-pragma-once-outside-header", "-fsyntax-only"]
    run(*command[:2], *strict, "-I", HEADERS.parent, *command[2:], cwd=PACKAGE)


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    for name in ("version", "last_error", "status_name"):
        getattr(library, f"linkcast_{name}").restype = ctypes.c_char_p
    return library


@pytest.fixture(scope="module")
def handle(library: ctypes.CDLL) -> Iterator[ctypes.c_void_p]:
    handle = ctypes.c_void_p()
    assert library.linkcast_engine_open(None, None, ctypes.byref(handle)) == 0, library.linkcast_last_error()
    yield handle
    assert library.linkcast_engine_close(handle) == 0


def test_versions_agree(library: ctypes.CDLL) -> None:
    assert library.linkcast_version().decode() == linkcast.__version__


def test_forecasts_are_those_of_the_python_engine(
    library: ctypes.CDLL, handle: ctypes.c_void_p, engine: linkcast.Engine
) -> None:
    model = ctypes.c_int32()
    assert library.linkcast_model_find(handle, b"internet", 1, ctypes.byref(model)) == 0
    random = np.random.default_rng(7)
    windows = (np.array([50, 2.5, 0.01, 0.97]) * random.uniform(0.8, 1.0, (3, 10, 4))).astype(np.float32)
    answers = np.zeros(3, ANSWER)
    answers["size"] = ANSWER.itemsize
    status = library.linkcast_forecast(
        handle,
        model,
        windows.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(windows.size),
        ctypes.c_uint64(0),
        answers.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(3),
        None,
    )
    assert status == 0, library.linkcast_last_error()
    np.testing.assert_array_equal(answers["mbps"], engine.forecast_raw("internet", windows))
    assert answers["source"].tolist() == [1, 1, 1]  # LINKCAST_SOURCE_MODEL


def test_an_unknown_name_is_an_error_with_a_text(library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
    status = library.linkcast_model_find(handle, b"banana", 1, ctypes.byref(ctypes.c_int32()))
    assert library.linkcast_status_name(status) == b"unknown name"
    assert b"banana" in library.linkcast_last_error()
