"""Projects outside the tree build against what is installed, in C, C++ and Go, and run.

What is installed is copied to another folder first: nothing in it may name the place that it was installed to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import linkcast
import linkcast.compression
from conftest import ROOT, run

EXAMPLES = ROOT / "examples"
SHAPED_LINK = Path(__file__).parent / "shaped_link.py"

pytestmark = pytest.mark.skipif("LINKCAST_TEST_SANITIZE" in os.environ, reason="a sanitizer has to be in the program")


def tool(name: str) -> str | None:
    """A program of this environment or of the system."""
    beside = Path(sys.prefix) / "bin" / name
    return str(beside) if beside.is_file() else shutil.which(name)


needs_pkg_config = pytest.mark.skipif(tool("pkg-config") is None, reason="pkg-config is not installed")
needs_go = pytest.mark.skipif(tool("go") is None, reason="Go is not installed")


def environment(**variables: str) -> dict[str, str]:
    """Without what would lead to another runtime or other models than the installed ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LINKCAST_")}
    return kept | variables


def package_folder(option: str) -> Path:
    return Path(run(sys.executable, "-m", "linkcast", option, cwd=ROOT).strip())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel installs."""
    copy = tmp_path_factory.mktemp("wheel") / "linkcast"
    return Path(shutil.copytree(package_folder("--cmakedir").parent, copy))


@pytest.fixture(scope="module")
def prefix(cpp_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what `cmake --install` installs."""
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", cpp_build, "--prefix", folder / "installed", cwd=folder)
    return Path(shutil.move(folder / "installed", folder / "moved"))


def build_examples(cmake_package: Path, folder: Path) -> Path:
    shutil.copytree(EXAMPLES, folder / "project")
    run("cmake", "-S", "project", "-B", "build", "-G", "Ninja", f"-Dlinkcast_DIR={cmake_package}", cwd=folder)
    run("cmake", "--build", "build", cwd=folder)
    return folder / "build"


@pytest.fixture(scope="module")
def examples(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, built as a project of their own against the moved wheel."""
    return build_examples(wheel / "cmake", tmp_path_factory.mktemp("examples"))


def test_the_smallest_program_says_what_the_python_engine_says(examples: Path, engine: linkcast.Engine) -> None:
    output = run(examples / "hello", cwd=examples, env=environment())
    mbps = engine.forecast("internet", np.tile(np.array([28.0, 12.5, 0.001, 0.998], np.float32), (10, 1))).mbps[0]
    assert output == f"{mbps:.2f} Mbit/s next, by model\n"


def test_the_fixed_rate_loop_in_c_runs(examples: Path) -> None:
    output = run(examples / "fixed_rate", "100", "0.3", cwd=examples, env=environment())
    assert "30 ticks at 100 Hz, stream: incremental" in output
    assert "forecasts: 21" in output
    assert "tick began late by" in output


def test_the_fleet_in_cpp_runs(examples: Path) -> None:
    output = run(examples / "fleet", "8", "30", cwd=examples, env=environment())
    assert "internet_lstm: " in output
    assert output.count("Mbit/s next") == 4


def test_the_choice_of_path_and_codec_in_cpp_runs(examples: Path) -> None:
    output = run(examples / "transfer", "120", "2", cwd=examples, env=environment())
    assert "over fibre, " in output
    assert "over lte, " in output
    assert output.count("2 MB in ") == len(output.splitlines())


def test_the_controller_prints_what_it_would_run(examples: Path) -> None:
    command = [examples / "link_controller", "--interface", "lo", "--capacity-mbps", "50", "--ticks", "1"]
    output = run(*command, cwd=examples, env=environment())
    assert "would run: tc qdisc replace dev lo root cake bandwidth 50000kbit" in output


def can_make_networks() -> bool:
    wanted = "ip link add veth0 type veth peer name veth1 && tc qdisc replace dev veth0 root handle 1: htb default 10"
    unshared = subprocess.run(["unshare", "-Urn", "sh", "-c", wanted], capture_output=True, check=False)
    return unshared.returncode == 0


@pytest.mark.skipif(not all(map(shutil.which, ("unshare", "nsenter", "ip", "tc"))), reason="needs iproute2, util-linux")
def test_the_controller_shapes_a_virtual_link(examples: Path) -> None:
    if not can_make_networks():
        pytest.skip("this machine makes no network namespace with a veth pair and HTB")
    command = ["unshare", "-Urn", sys.executable, SHAPED_LINK, examples / "link_controller"]
    output = run(*command, cwd=examples, env=environment())
    ticks = [line for line in output.splitlines() if line.startswith("tick ")]
    assert "(mixture)" in ticks[-1], output
    rtt_ms = float(ticks[-1].split("rtt ")[1].split(" ms")[0])
    assert 0 < rtt_ms < 1000  # of a link within one machine, perhaps a busy one
    assert "run: tc class replace dev veth0 parent 1: classid 1:10 htb rate" in output
    assert "class htb 1:10 root" in output
    assert output.splitlines()[-1] == "as before"  # on a signal


def test_a_project_finds_what_cmake_installs(prefix: Path, tmp_path: Path) -> None:
    build = build_examples(next(prefix.glob("lib*/**/cmake/linkcast")), tmp_path)
    assert "Mbit/s next" in run(build / "fleet", "2", "12", cwd=build, env=environment())
    library = next(prefix.glob("lib*/**/liblinkcast.so"))
    assert library.is_symlink()
    assert "liblinkcast.so.0]" in run("readelf", "-d", library, cwd=prefix)


def test_a_newer_or_another_version_is_not_found(wheel: Path, tmp_path: Path) -> None:
    project = "cmake_minimum_required(VERSION 3.16)\nproject(p C)\nfind_package(linkcast 0.2 CONFIG REQUIRED)\n"
    (tmp_path / "CMakeLists.txt").write_text(project, encoding="ascii")
    command = ["cmake", "-S", ".", "-B", "b", "-G", "Ninja", f"-Dlinkcast_DIR={wheel / 'cmake'}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "version: 0.1.0" in done.stderr


@needs_pkg_config
@pytest.mark.parametrize("installed", ["wheel", "prefix"])
@pytest.mark.parametrize(
    ("compiler", "source"), [("gcc -std=c11", "c/fixed_rate.c"), ("g++ -std=c++17", "cpp/fleet.cpp")]
)
def test_pkg_config_is_enough(
    installed: str, compiler: str, source: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(installed)
    found = environment(PKG_CONFIG_PATH=str(next(folder.glob("**/pkgconfig"))))
    flags = run(str(tool("pkg-config")), "--cflags", "--libs", "linkcast", cwd=tmp_path, env=found).split()
    run(*compiler.split(), "-Wall", "-Werror", EXAMPLES / source, "-o", "program", *flags, "-lm", cwd=tmp_path)
    assert "Mbit/s" in run(
        tmp_path / "program", "40", "12" if "++" in compiler else "0.5", cwd=tmp_path, env=environment()
    )


@pytest.fixture(scope="module")
def go_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(
        PKG_CONFIG=str(tool("pkg-config")),
        PKG_CONFIG_PATH=str(wheel / "pkgconfig"),
        GOCACHE=str(tmp_path_factory.mktemp("gocache")),
        GOFLAGS="-mod=mod",
        GOPROXY="off",
        GOTOOLCHAIN="local",
        CGO_ENABLED="1",
    )


@needs_go
@needs_pkg_config
def test_the_go_module_passes_its_tests(go_environment: dict[str, str]) -> None:
    output = run(str(tool("go")), "test", "-count=1", ".", cwd=ROOT / "bindings" / "go", env=go_environment)
    assert output.startswith("ok")


def go_of(page: str) -> str:
    """The block of Go in a page."""
    found = re.search(r"^```go\n(.*?)^```", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    assert found
    return found.group(1)


@needs_go
@needs_pkg_config
@pytest.mark.parametrize("installed", ["wheel", "prefix"])
def test_a_go_project_takes_the_module_that_is_installed(
    installed: str, go_environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(installed)
    module = folder / "go" if installed == "wheel" else folder / "share" / "linkcast" / "go"
    found = go_environment | {"PKG_CONFIG_PATH": str(next(folder.glob("**/pkgconfig")))}
    (tmp_path / "main.go").write_text(go_of("howto/go.md"), encoding="ascii")
    a_function = f'package main\n\nimport (\n\t"fmt"\n\n\t"linkcast"\n)\n\n{go_of("forecasts.md")}'
    (tmp_path / "tick.go").write_text(a_function, encoding="ascii")
    go = str(tool("go"))
    run(go, "mod", "init", "project", cwd=tmp_path, env=found)
    run(go, "mod", "edit", "-require=linkcast@v0.0.0", f"-replace=linkcast={module}", cwd=tmp_path, env=found)
    assert run(go, "run", ".", cwd=tmp_path, env=found).count("Mbit/s next, reserve") == 11


def test_the_folders_that_builds_ask_for_are_there() -> None:
    assert (package_folder("--includedir") / "linkcast" / "linkcast.hpp").is_file()
    assert (package_folder("--godir") / "go.mod").is_file()


@needs_go
@needs_pkg_config
def test_the_go_example_runs(go_environment: dict[str, str]) -> None:
    command = [str(tool("go")), "run", ".", "-ticks", "12", "-period", "1ms"]
    assert run(*command, cwd=EXAMPLES / "go", env=go_environment).count("Mbit/s next (model") == 3


@needs_go
@needs_pkg_config
def test_the_choice_of_path_and_codec_in_go_runs(go_environment: dict[str, str], tmp_path: Path) -> None:
    table = tmp_path / "codecs.json"
    linkcast.compression.write_codecs(table, [linkcast.Codec("half", 0.5, 1e4, 1e4)], "logs", 1000)
    output = run(str(tool("go")), "run", "./transfer", "-codecs", table, cwd=EXAMPLES / "go", env=go_environment)
    assert "over fibre, half, 1000000 bytes in " in output
    assert "over lte, half, " in output
