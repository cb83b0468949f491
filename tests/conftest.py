"""Fixtures for the tests of the Python package: the bundled engine, and copies of its bundle to change."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import linkcast
from linkcast.training.bundle import seal

ROOT = Path(__file__).parent.parent

# cmake and ninja come with the test extra, and pytest can be called without its environment being active.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
# TensorFlow's notes about the machine it runs on stand in nobody's way.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Tests interrupt themselves and what they start; the background job of a script begins with SIGINT ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def rehash(bundle: Path) -> None:
    """Gives the manifest the hashes of metadata files that were changed on purpose."""
    path = bundle / "metadata" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture(scope="session")
def cpp_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ side built with its tests, warnings as errors; LINKCAST_TEST_SANITIZE names sanitizers.

    With LINKCAST_TEST_VALGRIND=1 each test program runs under memcheck. One folder serves all processes of
    pytest-xdist: the first of them builds, the others wait.
    """
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    session = tmp_path_factory.getbasetemp().parent if parallel else tmp_path_factory.getbasetemp()
    folder = session / "cpp"
    folder.mkdir(exist_ok=True)
    options = ["-G", "Ninja", "-DLINKCAST_BUILD_TESTS=ON", "-DLINKCAST_WERROR=ON"]
    options += [f"-DPython_EXECUTABLE={sys.executable}"]  # where the TensorFlow Lite library is looked for
    if sanitizers := os.environ.get("LINKCAST_TEST_SANITIZE"):
        options += [f"-DLINKCAST_SANITIZE={sanitizers}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"]
    if os.environ.get("LINKCAST_TEST_VALGRIND"):
        launcher = ["valgrind", "--quiet", "--error-exitcode=9", f"--suppressions={ROOT}/tests/valgrind.supp"]
        options += [f"-DCMAKE_TEST_LAUNCHER={';'.join(launcher)}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"]
    with (session / "cpp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "build.ninja").exists():
            run("cmake", "-S", ROOT, "-B", folder, *options, cwd=folder)
        run("cmake", "--build", folder, cwd=folder)
    return folder


@pytest.fixture(autouse=True)
def no_setting_is_left_behind() -> Iterator[None]:
    """What a test sets of LINKCAST_ISA and the like would hold for every test behind it in the process."""
    before = {name: value for name, value in os.environ.items() if name.startswith("LINKCAST_")}
    yield
    assert {name: value for name, value in os.environ.items() if name.startswith("LINKCAST_")} == before


@pytest.fixture(scope="session")
def engine() -> linkcast.Engine:
    """The bundled models."""
    return linkcast.Engine.load()


@pytest.fixture(name="run")
def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """run("groups", "--json") -> (exit status, standard output, standard error)."""

    from linkcast.cli import main

    def call(*arguments: object, columns: int = 100) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["linkcast", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        status = 0
        try:
            main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def bundle(engine: linkcast.Engine, tmp_path: Path) -> Path:
    """A copy of the bundled models/ and metadata/."""
    for name in ("models", "metadata"):
        shutil.copytree(Path(engine.folder) / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def edit(bundle: Path) -> Callable[[str, Callable[[Any], None]], Path]:
    """edit("scalers", change): lets `change` alter a metadata file of the copy; returns the copy's folder.

    The manifest gets the file's hash; and, unless `sealed` is false, other scalers get golden rows that fit them where
    there are such.
    """

    def apply(stem: str, change: Callable[[Any], None], sealed: bool = True) -> Path:
        path = bundle / "metadata" / f"{stem}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        if stem != "manifest":
            rehash(bundle)
        if stem == "scalers" and sealed:
            with contextlib.suppress(Exception):  # what is wrong on purpose has none
                seal(bundle)
        return bundle

    return apply
