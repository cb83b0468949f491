"""Sessions over simulated telemetry, for the tests of what stands behind them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from linkcast.engine import Engine
from linkcast.features import TELEMETRY
from linkcast.live.record import Sink, Tick
from linkcast.live.session import Session
from linkcast.simulation.evening import busy_evening
from linkcast.training.bundle import seal

START_NS = 1_767_988_800 * 10**9  # 2026-01-09 20:00:00 UTC
LIMITS = {"capacity_mbps": 100.0, "hold_s": 2.0, "slew_per_s": 0.05}
"""Every limit is at work."""

Sample = dict[str, float | None] | None


@cache
def samples(count: int, seed: int = 0) -> tuple[Sample, ...]:
    """One a second: a busy evening, with some that are missing, wrong or late by a stall."""
    found: list[Sample] = [
        dict(zip(TELEMETRY, map(float, row), strict=True)) for row in busy_evening(count, seed).features
    ]
    for index, sample in enumerate(found):
        assert sample is not None
        if index % 97 == 5 or 1000 < index < 1010:
            found[index] = None
        elif index % 101 == 7:
            sample["packet_loss"] = float("nan")
        elif index % 101 == 8:
            sample["latency_ms"] = None
    return tuple(found)


def ticks(session: Session, given: tuple[Sample, ...], *sinks: Sink, first: int = 0) -> Iterator[Tick]:
    """Runs a session over samples, a second apart and some microseconds more, and hands each tick to the sinks."""
    for index, sample in enumerate(given, start=first):
        when = index * 10**9
        session.decide(sample, time_ns=START_NS + when, monotonic_ns=5 * 10**9 + when + index * 1237)
        tick = session.finish(health="dry_run")
        for sink in sinks:
            sink.write(tick)
        yield tick


def other_models(folder: Path) -> Path:
    """A bundle whose internet forecaster is the datacenter's: another file, which knows less of such a link."""
    bundled = Path(Engine.default_folder())
    for name in ("models", "metadata"):
        shutil.copytree(bundled / name, folder / name)
    metadata = folder / "metadata"
    shutil.copy(folder / "models" / "datacenter_lstm.tflite", folder / "models" / "internet_lstm.tflite")
    for stem in ("scalers", "manifest"):
        path = metadata / f"{stem}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        models = content["models"]
        kept = {key: models["internet_lstm"][key] for key in ("file", "serves") if key in models["internet_lstm"]}
        models["internet_lstm"] = models["datacenter_lstm"] | kept
        path.write_text(json.dumps(content), encoding="utf-8")
    seal(folder)
    return folder
