"""What the surroundings do wrong: disks that are full, libraries that are not what they should be, limits, clocks."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from linkcast.files import write_text
from linkcast.live.session import Session
from linkcast.training.bundle import read, read_metadata, write
from live_sessions import LIMITS, START_NS, samples

LOAD = """
import linkcast, sys
try: linkcast.Engine.load()
except Exception as error: sys.exit(f"{type(error).__name__}: {error}")
"""
SECOND = 10**9


def python(code: str, limits: dict[int, int] | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Another interpreter, within limits of resources."""

    def narrow() -> None:
        for kind, most in (limits or {}).items():
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))

    command = [sys.executable, "-c", code]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, preexec_fn=narrow, capture_output=True, text=True, timeout=60, check=False)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- the TensorFlow Lite library


def load_with(library: Path) -> str:
    """What loading says with this library, whose hash is named; it has to be one sentence, and no crash."""
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    done = python(LOAD, LINKCAST_TFLITE_LIBRARY=str(library), LINKCAST_TFLITE_SHA256=digest)
    assert done.returncode == 1, (done.returncode, done.stderr)
    said = done.stderr.strip()
    assert "\n" not in said
    assert said.startswith("LoadError: ") and str(library) in said
    return said


def functions() -> list[str]:
    table = (ROOT / "cpp" / "src" / "tflite" / "c_api.h").read_text(encoding="utf-8")
    return re.findall(r"^  X\([^,]+, (\w+), \(", table, flags=re.MULTILINE)


def compiled(folder: Path, version: str, names: list[str]) -> Path:
    """A library that has these functions, of which only the version can be called."""
    code = f'const char* TfLiteVersion(void) {{ return "{version}"; }}\n'
    code += "".join(f"void TfLite{name}(void) {{}}\n" for name in names if name != "Version")
    (folder / "fake.c").write_text(code, encoding="utf-8")
    library = folder / "libtensorflowlite_c.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, folder / "fake.c"], check=True)
    return library


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.99])
def test_a_truncated_library_is_refused_in_one_sentence(engine, tmp_path, share):
    whole = Path(engine.model("internet_lstm").details()["tflite_library"]).read_bytes()
    library = tmp_path / "libtensorflowlite_c.so"
    library.write_bytes(whole[: int(share * len(whole))])
    load_with(library)


def test_a_library_without_a_function_is_refused_by_its_name(tmp_path):
    names = [name for name in functions() if name != "InterpreterInvoke"]
    assert "no TfLiteInterpreterInvoke in it" in load_with(compiled(tmp_path, "2.17.1", names))


def test_an_older_library_is_refused_by_its_version(tmp_path):
    assert "expected TensorFlow Lite 2.17 or a later 2.x, got 2.16.1" in load_with(
        compiled(tmp_path, "2.16.1", functions())
    )


# -- disks


def test_a_full_disk_leaves_the_bundle_that_stood_there(bundle):
    before = files(bundle)
    content, metadata = read(bundle), read_metadata(bundle)
    with limited_files(200_000), pytest.raises(OSError, match="too large"):
        write(bundle, content, metadata, "report")
    assert files(bundle) == before


def test_a_full_disk_leaves_the_edge_bundle_that_stood_there(run, tmp_path):
    folder = tmp_path / "bandwidth_prediction_edge"
    folder.mkdir()
    (folder / "mine.txt").write_text("what stood there", encoding="utf-8")
    with limited_files(20_000):
        status, _, said = run("export-edge", folder, "--force")
    assert status == 1
    assert "too large" in said and said.count("\n") == 1
    assert files(tmp_path) == {"bandwidth_prediction_edge/mine.txt": b"what stood there"}


def test_a_full_disk_leaves_the_text_file_that_stood_there(tmp_path):
    file = tmp_path / "out.json"
    write_text(file, "what stood there")
    file.chmod(0o640)
    with limited_files(1000), pytest.raises(OSError, match=f"too large.*{re.escape(str(file))}"):
        write_text(file, "x" * 5000)
    assert files(tmp_path) == {"out.json": b"what stood there"}
    link = tmp_path / "link.json"
    link.symlink_to(file)
    write_text(link, "new")
    assert (link.is_symlink(), file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777) == (True, "new", 0o640)
    write_text("/dev/null", "a device is written to, not replaced")
    assert not Path("/dev/null").is_file()


def test_what_can_not_be_written_is_one_line_with_the_name(run):
    with pytest.raises(OSError, match=re.escape("/proc/x.json")):
        write_text("/proc/x.json", "")
    status, _, said = run("export-edge", "/proc/nowhere")
    assert status == 1
    assert "/proc" in said and said.count("\n") == 1


ON_A_DISK = """
import json, os, pathlib, shutil, subprocess, sys
import numpy as np
import linkcast, linkcast.cli
from linkcast.live.log import DecisionLog
from linkcast.live.session import Session
from linkcast.training.bundle import read, read_metadata, write
disk, whole, kind, key = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
shutil.copytree(whole, disk / "bundle")
(disk / "old.json").write_text("what stood there")
if kind == "read-only":
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
else:
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

def command(*words):
    sys.argv = ["linkcast", *map(str, words)]
    linkcast.cli.main()

engine = linkcast.Engine(disk / "bundle")
window = np.full((10, 4), 0.5)
session = Session("link", engine, capacity_mbps=100.0)
stood = sorted(map(str, disk.rglob("*")))
attempts = {
    "old.json": lambda: command("forecast", "--output", disk / "old.json"),
    "new.svg": lambda: command("replay", "--plot", disk / "new.svg"),
    "new.key": lambda: command("keygen", disk / "new.key"),
    "bundle/metadata/manifest.json.sig": lambda: command("sign", disk / "bundle", "--key", key),
    "edge": lambda: command("export-edge", disk / "edge"),
    "decisions.jsonl": lambda: DecisionLog(disk / "decisions.jsonl", session.header),
    "bundle": lambda: write(disk / "bundle", read(disk / "bundle"), read_metadata(disk / "bundle"), "report"),
}
told = {}
for name, attempt in attempts.items():
    try:
        attempt()
        told[name] = "done"
    except SystemExit as error:
        told[name] = f"exit status {error.code}"
    except OSError as error:
        told[name] = str(error)
        print(f"linkcast: {error.filename}: {error.strerror}", file=sys.stderr)
print(json.dumps({
    "told": told,
    "forecast": float(engine.forecast_raw("internet", window[None])[0]),
    "again": float(linkcast.Engine(disk / "bundle").forecast_raw("internet", window[None])[0]),
    "old": (disk / "old.json").read_text(),
    "beside": [one for one in sorted(map(str, disk.rglob("*"))) if one not in stood and not one.endswith("edge")],
}))
"""


@pytest.mark.parametrize(
    ("kind", "says"), [("read-only", "Read-only file system"), ("full", "No space left on device")]
)
def test_a_bundle_on_a_disk_that_takes_nothing_serves_and_every_write_is_a_line_with_its_file(tmp_path, kind, says):
    alone = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs mount namespaces")
    signing = pytest.importorskip("linkcast.signing")
    pytest.importorskip("cryptography")
    pytest.importorskip("matplotlib")
    signing.new_key(tmp_path / "release.key")
    disk = tmp_path / "disk"
    disk.mkdir()
    bundle = ROOT / "tests" / "versions" / "0.1.0" / "bundle"
    words = [disk, bundle, kind, tmp_path / "release.key"]
    done = subprocess.run(
        [*alone, sys.executable, "-c", ON_A_DISK, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    lines = done.stderr.splitlines()
    assert len(lines) == len(found["told"]), done.stderr
    for line, name in zip(lines, found["told"], strict=True):
        assert line.startswith(f"linkcast: {disk / name}") and says in line, line
    assert "done" not in found["told"].values()
    assert found["forecast"] == found["again"]
    assert (found["old"], found["beside"]) == ("what stood there", [])


class limited_files:  # noqa: N801 - reads as a statement
    """No file of this process may grow beyond so many bytes: a write fails half way, as on a full disk."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __enter__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.most, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


# -- limits


def test_too_few_open_files_are_a_sentence(engine):
    model = Path(engine.folder) / "models" / "internet_lstm.tflite"
    code = f"""
import resource, sys
import linkcast
linkcast.Model  # all that is imported when it is asked for
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try: linkcast.Model({str(model)!r})
except Exception as error: sys.exit(f"{{type(error).__name__}}: {{error}}")
"""
    done = python(code)
    assert done.returncode == 1
    assert done.stderr.strip().startswith("LoadError: ") and "Too many open files" in done.stderr


def test_a_small_stack_is_enough_for_groups_of_threads():
    code = """
import numpy as np, linkcast
engine = linkcast.Engine.load()
pool = engine.forecaster_pool(threads=3)
answers = pool.forecast({"internet": np.full((10, 4), 0.5), "datacenter": np.full((10, 4), 0.5)})
print(len(answers))
"""
    done = python(code, {resource.RLIMIT_STACK: 512 * 1024})
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


# -- clocks


def decisions(engine, wall_jump_ns: int, monotonic_jump_ns: int, count: int = 60, at: int = 30):
    """Ticks a second apart; before tick `at` the clocks jump."""
    session = Session("link", engine, **LIMITS)
    found = []
    for index, sample in enumerate(samples(count)):
        jumped = index >= at
        session.decide(
            sample,
            time_ns=START_NS + index * SECOND + jumped * wall_jump_ns,
            monotonic_ns=index * SECOND + jumped * monotonic_jump_ns,
        )
        found.append(session.finish(health="dry_run"))
    return found


def said(tick):
    return tick.allocation_mbps, tick.forecast, tick.action, tick.stalled, tick.blocked, tick.reason


@pytest.mark.parametrize("jump_s", [-86_400, -1, 3600, 10**7])
def test_the_wall_clock_may_jump_and_no_decision_changes(engine, jump_s):
    usual, jumped = decisions(engine, 0, 0), decisions(engine, jump_s * SECOND, 0)
    assert repr([said(tick) for tick in jumped]) == repr([said(tick) for tick in usual])
    assert jumped[40].time_ns - usual[40].time_ns == jump_s * SECOND


def test_a_monotonic_clock_that_goes_back_is_refused_and_the_session_goes_on(engine):
    session = Session("link", engine, **LIMITS)
    sample = samples(1)[0]
    session.decide(sample, time_ns=START_NS, monotonic_ns=5 * SECOND)
    session.finish(health="dry_run")
    with pytest.raises(ValueError, match="expected a clock that does not go back"):
        session.decide(sample, time_ns=START_NS, monotonic_ns=4 * SECOND)
    session.decide(sample, time_ns=START_NS, monotonic_ns=6 * SECOND)
    assert session.finish(health="dry_run").index == 1


def test_after_a_suspended_night_the_window_begins_anew_and_the_model_comes_back(engine):
    ticks = decisions(engine, 8 * 3600 * SECOND, 8 * 3600 * SECOND)
    assert ticks[29].forecast.source in ("model", "mixture")
    before = ticks[29].forecast.source
    assert all(tick.forecast.source != before for tick in ticks[30:39])  # no window spans the night
    assert ticks[45].forecast.source == before
    fractions = np.array([tick.allocation_fraction for tick in ticks])
    assert np.all((fractions > 0.0) & (fractions <= 1.0))
