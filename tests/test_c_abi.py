"""The C ABI as it is installed: its exports, its headers, and that it answers as the Python engine does."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import linkcast
from abi_layout import BASELINE, HEADER, breaks, layout
from conftest import ROOT, run
from linkcast import _native

PACKAGE = Path(_native.__file__).parent
LIBRARY = PACKAGE / "liblinkcast.so"
HEADERS = PACKAGE / "include" / "linkcast"

# linkcast_answer
ANSWER = np.dtype(
    [("size", np.uintp), ("mbps", "f4"), ("band", "f4", 3), ("source", np.intc), ("cause", np.intc), ("reserve", "f4")],
    align=True,
)


def exported() -> list[str]:
    """Names of the functions that the library's dynamic symbol table defines."""
    table = run("nm", "-D", "--defined-only", LIBRARY, cwd=PACKAGE)
    symbols = [line.split()[1:] for line in table.splitlines()]
    return sorted(name.split("@")[0] for kind, name in symbols if kind != "A")


def test_exports_are_those_of_the_list() -> None:
    assert exported() == (ROOT / "cpp" / "tests" / "exports.txt").read_text(encoding="ascii").split()


def test_the_library_destroys_nothing_at_exit_that_a_thread_may_still_use() -> None:
    symbols = run("nm", "-D", "--undefined-only", LIBRARY, cwd=PACKAGE)
    assert "dlopen" in symbols
    assert "__cxa_atexit" not in symbols


def test_exports_are_those_of_the_header() -> None:
    header = (HEADERS / "linkcast.h").read_text(encoding="utf-8")
    assert exported() == sorted(re.findall(r"^LINKCAST_API [^(]*\b(linkcast_\w+)\(", header, flags=re.MULTILINE))


def test_the_layout_of_structs_and_constants_is_that_of_the_baseline() -> None:
    before = BASELINE.read_text(encoding="ascii").splitlines()
    now = layout(HEADER.read_text(encoding="utf-8"))
    assert breaks(before, now) == []
    assert before == now  # what is new is recorded, too: see abi_layout.py


def test_a_moved_field_a_changed_constant_and_what_is_gone_break_the_abi_and_a_field_at_the_end_does_not() -> None:
    header = HEADER.read_text(encoding="utf-8")
    before = layout(header)
    assert "linkcast_answer.mbps 8 4" in before
    assert len(before) > 120
    middle = layout(header.replace("  float p10_mbps; /*", "  double p05_mbps;\n  float p10_mbps; /*", 1))
    assert "linkcast_answer.p10_mbps 12 4: now 24 4" in breaks(before, middle)
    size = next(line.split()[1] for line in before if line.startswith("linkcast_answer "))
    padding = breaks(before, layout(header.replace("\n} linkcast_answer;", "\n  int late;\n} linkcast_answer;", 1)))
    assert len(padding) == 1
    assert padding[0].endswith(f"within the {size} bytes that linkcast_answer had before")
    assert breaks(before, layout(header.replace("LINKCAST_CAUSE_FAILED = 2", "LINKCAST_CAUSE_FAILED = 7"))) == [
        "LINKCAST_CAUSE_FAILED 2: now 7"
    ]
    gone = layout(header.replace("  int32_t outdated;", "  int32_t stale;", 1))
    assert breaks(before, gone)[0] == "linkcast_stream_info.outdated 64 4: now gone"
    grown = layout(header.replace("} linkcast_answer;", "  double p99_mbps;\n} linkcast_answer;"))
    assert len(grown) == len(before) + 1
    assert breaks(before, grown) == []


def test_every_struct_begins_with_its_size_and_none_stands_in_another() -> None:
    header = re.sub(r"/\*.*?\*/", "", HEADER.read_text(encoding="utf-8"), flags=re.DOTALL)
    structs = dict(re.findall(r"struct (linkcast_\w+) \{(.*?)\}", header, flags=re.DOTALL))
    assert len(structs) >= 11
    for name, body in structs.items():
        assert body.split(";")[0].strip() == "size_t size", name
        for field in body.split(";"):
            kind = field.replace("const", "").split()[:1]
            assert not kind or kind[0] not in structs, f"{name}: {field.strip()}"


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


def test_a_stream_with_a_mixture_answers_as_in_python_bit_for_bit(
    library: ctypes.CDLL, handle: ctypes.c_void_p
) -> None:
    model, stream = ctypes.c_int32(), ctypes.c_void_p()
    assert library.linkcast_model_find(handle, b"internet", 1, ctypes.byref(model)) == 0
    one = ctypes.c_size_t(1)
    assert library.linkcast_stream_open(handle, model, one, None, ctypes.byref(stream)) == 0, (
        library.linkcast_last_error()
    )
    rng = np.random.default_rng(12)
    samples = np.tile(np.float32([28.0, 0.0, 0.001, 0.998]), (400, 1))
    samples[:, 1] = np.abs(20.0 + 8.0 * np.sin(np.arange(400) * 0.3) + 3.0 * rng.standard_normal(400))
    expected = linkcast.Engine().stream("internet").push_many(samples)
    answer = np.zeros(1, ANSWER)
    pointer = answer.ctypes.data_as(ctypes.c_void_p)
    for tick, sample in enumerate(samples):
        answer["size"] = ANSWER.itemsize
        values = sample.ctypes.data_as(ctypes.c_void_p)
        library.linkcast_stream_push(stream, values, ctypes.c_size_t(4), None, ctypes.c_uint64(0), pointer, one, None)
        if tick < 9:
            continue
        got = np.float32([answer["mbps"][0], *answer["band"][0], answer["reserve"][0]])
        np.testing.assert_array_equal(got, expected["next"][tick])
        for function, ahead in ((library.linkcast_stream_horizon, "horizon"), (library.linkcast_stream_peak, "peak")):
            assert function(stream, ctypes.c_size_t(0), ctypes.c_size_t(7), pointer) == 0
            got = np.float32([answer["mbps"][0], *answer["band"][0], answer["reserve"][0]])
            np.testing.assert_array_equal(got, expected[ahead][tick, 6])
    assert library.linkcast_stream_close(stream) == 0
