"""Writes what is kept of a version, for test_versions.py to read in every later one.

`python tests/make_version.py 0.2.0`, in the source tree of that very version, once, when it is tagged.

tests/versions/0.2.0/ has to hold include/linkcast/linkcast.h, the version's own, and program.c by then: that of the
version before, and calls of what is new. Then come a bundle in small (its forecasters are untrained, and say so),
snapshots of a stream and of a controller, a decision log, and what all of it says.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import linkcast
import make_models
from linkcast.live.log import DecisionLog
from linkcast.live.session import Session
from linkcast.training import bundle as bundles
from live_sessions import LIMITS, samples, ticks
from test_versions import CAPACITY_MBPS, KEPT, next_sample, program_output

MODELS = ("internet_lstm", "internet_ddqn", "streaming_model", "streaming_fallback")
SMALL = ("internet_lstm", "streaming_model")


def small_forecaster(model: bundles.BundledModel) -> bundles.BundledModel:
    """The same inputs and outputs by a network of a few thousand random weights."""
    golden = model.manifest["golden"]
    inputs = np.asarray(golden["inputs"], np.float32)
    layers = make_models.tf_keras.layers
    network = make_models.small(
        make_models.tf_keras, layers.LSTM(12, return_sequences=True), layers.BatchNormalization(), layers.LSTM(8),
        layers.Dense(8, activation="relu"), layers.Dense(1), shape=inputs.shape[1:],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        content = make_models.convert(network, Path(scratch) / "small.tflite").read_bytes()
    outputs = np.asarray(network(inputs, training=False), np.float64).tolist()
    manifest = {**model.manifest, "golden": {**golden, "outputs": outputs}}
    return bundles.BundledModel(content, model.features, model.scalers, manifest)


def write_bundle(folder: Path) -> None:
    whole = bundles.read(bundles.bundled_folder())
    models = {name: small_forecaster(m) if name in SMALL else m for name, m in whole.models.items() if name in MODELS}
    small = bundles.Bundle(models, {"streaming": whole.groups["streaming"]})
    created = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    generator = f"linkcast {linkcast.__version__}, tests/make_version.py: untrained"
    training = bundles.read_metadata(bundles.bundled_folder())["manifest"]["training"]
    files = bundles.metadata(small, generator, created, 0, training)
    bundles.write(folder, small, files, "Untrained forecasters, for tests of later versions.\n")


def write_log(folder: Path) -> list[float]:
    """The decisions of half a minute, which are returned, Mbit/s; the log says nothing of where the bundle lay."""
    session = Session("link", linkcast.Engine(folder / "bundle"), **LIMITS)
    log = DecisionLog(folder / "decisions.jsonl", lambda: dataclasses.replace(session.header(), folder="bundle"))
    decided = [tick.allocation_mbps for tick in ticks(session, samples(30), log)]
    log.close()
    return decided


def write_controller(folder: Path) -> float:
    """The snapshot behind a minute; what the next tick allocates then, Mbit/s."""
    controller = linkcast.Engine(folder / "bundle").controller("internet", capacity_mbps=CAPACITY_MBPS)
    for tick in range(60):
        controller.tick(next_sample(tick), float(tick))
        controller.advance()
    (folder / "controller.snapshot").write_bytes(controller.snapshot())
    return controller.tick(next_sample(60), 60.0).allocation_mbps


def main(version: str) -> None:
    if version != linkcast.__version__:
        raise SystemExit(f"expected the version of this tree, {linkcast.__version__}, got {version}")
    folder = KEPT / version
    write_bundle(folder / "bundle")
    stream = linkcast.Engine(folder / "bundle").stream("internet", horizon=1)
    for tick in range(60):
        stream.push(next_sample(tick))
        stream.advance()
    (folder / "stream.snapshot").write_bytes(stream.snapshot())
    predictor = linkcast.BandwidthPredictor(folder / "bundle")
    said = {
        "predict": predictor.predict("2026-03-02T18:00", "Streaming", as_numbers=True),
        "restored": stream.push(next_sample(60)).mbps,
        "controlled": write_controller(folder),
        "decided": write_log(folder),
        "program": program_output(folder).splitlines(),
    }
    (folder / "said.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
