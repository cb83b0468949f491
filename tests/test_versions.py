"""What older versions wrote is read, and programs of their headers run: tests/versions/, a folder for each version."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

import linkcast
from conftest import run
from linkcast import _native
from linkcast.live.log import read_log
from linkcast.live.rerun import decide_again, open_session
from linkcast.training import bundle as bundles

KEPT = Path(__file__).parent / "versions"
VERSIONS = sorted(folder for folder in KEPT.iterdir() if (folder / "said.json").is_file())
PACKAGE = Path(_native.__file__).parent
MOST_BYTES = 300_000  # of one version's folder

CLOSE = 1e-3  # of a model's own number: kernels of different machines differ by 2e-6 of the scaled target (proof.h)
LIKE = 0.3  # of a stream's or a controller's: how it learns may change (docs/versioning.md), what it has learnt is kept
CAPACITY_MBPS = 20.0  # of the controller's link


def next_sample(tick: int) -> list[float]:
    """The telemetry that was pushed, as program.c has it."""
    return [30.0 + tick % 7, 8.0 + 0.5 * ((tick * 5) % 11), 0.001 * (tick % 3), 0.99]


def program_output(folder: Path) -> str:
    """What a version's C program prints, compiled with its header and linked with the library that is installed."""
    with tempfile.TemporaryDirectory() as scratch:
        places = ["-I", folder / "include", "-L", PACKAGE, f"-Wl,-rpath,{PACKAGE}"]
        program = Path(scratch) / "program"
        run("gcc", "-std=c99", "-Werror", folder / "program.c", *places, "-llinkcast", "-o", program, cwd=folder)
        return run(program, folder / "bundle", folder / "stream.snapshot", cwd=folder)


def said(folder: Path) -> Any:
    return json.loads((folder / "said.json").read_text(encoding="utf-8"))


each_version = pytest.mark.parametrize("folder", VERSIONS, ids=[folder.name for folder in VERSIONS])


def test_the_versions_that_there_were_are_kept_and_small() -> None:
    assert "0.1.0" in [folder.name for folder in VERSIONS]
    for folder in VERSIONS:
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < MOST_BYTES


@each_version
def test_a_bundle_loads_and_forecasts_as_it_did(folder: Path) -> None:
    now = linkcast.BandwidthPredictor(folder / "bundle").predict("2026-03-02T18:00", "Streaming", as_numbers=True)
    before = said(folder)["predict"]
    assert now.keys() == before.keys()
    for key, value in before.items():
        assert now[key] == (pytest.approx(value, rel=CLOSE) if isinstance(value, float) else value)


@each_version
def test_a_bundle_follows_todays_schemas_and_can_be_sealed_again(folder: Path, tmp_path: Path) -> None:
    bundle = bundles.read(folder / "bundle")
    files = bundles.read_metadata(folder / "bundle")
    bundles.write(tmp_path / "again", bundle, files, "again\n")
    assert linkcast.Engine(tmp_path / "again").names == list(bundle.models)


@each_version
def test_a_streams_snapshot_is_restored_and_goes_on_as_it_did(folder: Path) -> None:
    stream = linkcast.Engine(folder / "bundle").stream("internet", horizon=1)
    stream.restore((folder / "stream.snapshot").read_bytes())
    assert stream.push(next_sample(60)).mbps == pytest.approx(said(folder)["restored"], rel=LIKE)


@each_version
def test_a_controllers_snapshot_is_restored_and_goes_on_as_it_did(folder: Path) -> None:
    controller = linkcast.Engine(folder / "bundle").controller("internet", capacity_mbps=CAPACITY_MBPS)
    controller.restore((folder / "controller.snapshot").read_bytes())
    decision = controller.tick(next_sample(60), 60.0)
    assert decision.allocation_mbps == pytest.approx(said(folder)["controlled"], rel=LIKE)
    assert decision.forecast.source in ("model", "mixture")  # it has its window


@each_version
def test_a_decision_log_is_read_and_decided_again_as_it_was(folder: Path) -> None:
    header, logged = read_log(folder / "decisions.jsonl")
    session, why = open_session(header, folder / "bundle")
    assert not [text for text in why if text.startswith("model")]
    before = said(folder)["decided"]
    again = list(decide_again(session, logged))
    assert [tick.allocation_mbps for tick, _ in again] == before
    assert [tick.allocation_mbps for _, tick in again] == pytest.approx(before, rel=LIKE)


@each_version
def test_a_program_of_its_header_runs_on_todays_library_and_prints_what_it_did(folder: Path) -> None:
    lines = program_output(folder).splitlines()
    before = said(folder)["program"]
    assert [line.split()[0] for line in lines] == [line.split()[0] for line in before]
    for now, then in zip(lines, before, strict=True):
        numbers, expected = ([float(number) for number in line.split()[1:]] for line in (now, then))
        close = LIKE if then.split()[0] in ("stream", "restored", "controller") else CLOSE
        assert numbers == pytest.approx(expected, rel=close), then
