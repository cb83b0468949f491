"""The certificate of an allocator: what its decisions keep to, and what a sweep over its states has found.

    python -m linkcast.training.certificate FOLDER

gives the allocators of a bundle folder a new certificate and plays their test episodes again, without training.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast import simulation
from linkcast._native import CELLS_PER_ACTION, HEADROOM_ACTIONS
from linkcast.engine import Engine
from linkcast.features import BANDWIDTH, TELEMETRY, UNITS
from linkcast.files import sha256
from linkcast.simulation import LinkProfile
from linkcast.training import bundle
from linkcast.training.datasets import seed_of
from linkcast.training.environment import ACTIONS, AllocatedLinks
from linkcast.training.ranges import ScalerRanges
from linkcast.training.settings import AllocatorSettings

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Decide = Callable[[FloatArray], IntArray]
"""States (n, 4), physical units -> actions (n,); action a allocates (a + 1) / ACTIONS of the link."""
Json = dict[str, Any]

GUARANTEES = (
    "more bandwidth never means a smaller allocation",
    "a link that is full or over its capacity gets all of it",
    "no state gets less than one action below what it carries",
)
SWEPT = 100_000  # pairs of states that differ in bandwidth alone
PART = 50_000  # of those at a time
EXPLORING = 0.25  # share of random actions while the box is measured
BOX_EPISODES = 200
METHOD = (
    f"Exact projection, for any network: {CELLS_PER_ACTION} cells of bandwidth for each action; in a cell the network "
    f"chooses among {HEADROOM_ACTIONS + 1} actions from one below what holds the cell's bandwidth; the decision is "
    "the largest choice of this cell and those below it, and all of the link when it is full. Other features are held "
    "to state_range. The proof stands in cpp/src/engine/allocation.h; the sweep checks the code."
)


@contextlib.contextmanager
def engine(
    profile: LinkProfile,
    content: bytes,
    ranges: ScalerRanges,
    golden: Json,
    box: dict[str, list[float]] | None = None,
) -> Iterator[Engine]:
    """An engine with this one allocator, as it will decide in the bundle.

    Args:
        profile: that it serves, and is named after.
        content: of its model file.
        ranges, golden: its scaler's and its golden vectors.
        box: what its features are held to; None: nothing is.
    """
    digest = sha256(content)
    entry: Json = {
        "file": "models/allocator.tflite",
        "sha256": digest,
        "role": "allocator",
        "serves": profile.name,
        "input_shape": [1, len(TELEMETRY)],
        "output_shape": [1, ACTIONS],
        "trained_on": {"capacity_mbps": profile.reference_capacity_mbps},
        "golden": golden,
    }
    if box is not None:
        entry["certificate"] = {"model_sha256": digest, "state_range": box}
    features = [{"name": name, "unit": UNITS[name]} for name in TELEMETRY]
    scalers = {name: {"min": limits.min, "max": limits.max} for name, limits in ranges.features.items()}
    files: dict[str, Json] = {
        "manifest": {"models": {f"{profile.name}_ddqn": entry}},
        "feature_list": {"models": {f"{profile.name}_ddqn": {"features": features, "actions": ACTIONS}}},
        "scalers": {"models": {f"{profile.name}_ddqn": {"features": scalers}}},
        "service_mappings": {"groups": {}},
        "service_group_stats": {"groups": {}},
    }
    with tempfile.TemporaryDirectory(prefix="linkcast-allocator-") as name:
        folder = Path(name)
        for part in ("models", "metadata"):
            (folder / part).mkdir()
        (folder / entry["file"]).write_bytes(content)
        rows = bundle.physical_rows(folder / entry["file"], golden, {"features": features}, {"features": scalers})
        entry["golden"] = {**golden, "physical": rows}
        hashes = files["manifest"]["files"] = {}
        for stem, entries in reversed(files.items()):  # the manifest, which has the others' hashes, last
            text = json.dumps({"schema_version": bundle.SCHEMA_VERSION, **entries}).encode()
            (folder / "metadata" / f"{stem}.json").write_bytes(text)
            hashes[f"metadata/{stem}.json"] = sha256(text)
        yield Engine(folder)


def state_range(
    profile: LinkProfile, network: Decide, settings: AllocatorSettings, seed: int
) -> dict[str, list[float]]:
    """The lowest and highest value of each feature in the world that the allocator is trained in.

    Random actions among the network's own, as in training; six digits, rounded outwards.
    """
    rng = np.random.default_rng(seed_of(seed, "box", profile.name))
    links, steps = min(BOX_EPISODES, settings.episodes), settings.episode_steps
    world = AllocatedLinks(profile, links, steps, rng)
    least, most = world.state.min(axis=0), world.state.max(axis=0)
    for _ in range(steps):
        actions = network(world.state)
        random = rng.random(links) < EXPLORING
        states, _ = world.step(np.where(random, rng.integers(0, ACTIONS, links), actions))
        least, most = np.minimum(least, states.min(axis=0)), np.maximum(most, states.max(axis=0))
    return {
        name: [_outwards(low, np.floor), _outwards(high, np.ceil)]
        for name, low, high in zip(TELEMETRY, least, most, strict=True)
    }


def swept_states(rng: np.random.Generator, count: int, capacity_mbps: float) -> tuple[FloatArray, FloatArray]:
    """Random states far beyond training, and the same with more bandwidth.

    Latencies from 0.05 ms to 10 s, loss and reliability from 0 to 1, bandwidths up to ten times the capacity.

    Returns:
        (count, 4) each, physical units.
    """

    def log_uniform(low: float, high: float) -> FloatArray:
        return np.exp(rng.uniform(np.log(low), np.log(high), count))

    wide = rng.random(count) < 0.5
    bandwidth = capacity_mbps * np.where(wide, log_uniform(1e-4, 10.0), rng.uniform(0.0, 1.1, count))
    more = bandwidth * (1.0 + np.where(rng.random(count) < 0.5, log_uniform(1e-9, 1.0), rng.uniform(0.0, 0.2, count)))
    rest = (
        log_uniform(0.05, 10_000.0),
        np.where(rng.random(count) < 0.3, 0.0, rng.random(count) ** 3),
        np.where(rng.random(count) < 0.3, 1.0, 1.0 - rng.random(count) ** 3),
    )
    states = np.stack([rest[0], bandwidth, rest[1], rest[2]], axis=1)
    larger = states.copy()
    larger[:, BANDWIDTH] = np.minimum(more, 10.0 * capacity_mbps)
    return states, larger


def grid_states(capacity_mbps: float) -> FloatArray:
    """(latency, loss, bandwidth, 4): half to ten times the capacity, 0.05 ms to 10 s, loss 0 to 1; bandwidth rises."""
    bandwidth = capacity_mbps * np.concatenate([np.linspace(0.5, 1.5, 101), np.linspace(1.6, 10.0, 85)])
    latency, loss, mbps = np.meshgrid(np.geomspace(0.05, 1e4, 30), np.linspace(0.0, 1.0, 11), bandwidth, indexing="ij")
    return np.stack([latency, mbps, loss, 1.0 - loss], axis=-1)


def violations(
    decide: Callable[[FloatArray], IntArray], pairs: tuple[FloatArray, FloatArray], mbps: float
) -> list[int]:
    """How often each of GUARANTEES is broken.

    Args:
        decide: what is looked at.
        pairs: (n, 4) states, and the same with more bandwidth.
        mbps: capacity of the link.
    """
    less, more = (decide(states) for states in pairs)
    carried = pairs[0][:, BANDWIDTH] / mbps * ACTIONS  # in actions
    return [
        int((more < less).sum()),
        int((less[carried >= ACTIONS] < ACTIONS - 1).sum()),
        int((less + 2 < np.minimum(carried, ACTIONS) - 1e-6).sum()),
    ]


def certificate(
    engine: Engine, profile: LinkProfile, content: bytes, box: dict[str, list[float]], alone: float, seed: int
) -> Json:
    """What the manifest says.

    Args:
        engine: of `engine`, with the box.
        profile: whose links it allocates.
        content: of the model file.
        box: of `state_range`.
        alone: mean reward of the network without the projection on the test episodes.
        seed: of the sweep.
    """
    capacity = profile.reference_capacity_mbps

    def decide(states: FloatArray) -> IntArray:
        return engine.decide(profile.name, states).astype(np.int64)

    def network(states: FloatArray) -> IntArray:
        actions: IntArray = engine.q_values(profile.name, states).argmax(axis=1)
        return actions

    found = np.zeros((2, len(GUARANTEES)), np.int64)
    rng = np.random.default_rng(seed)
    for _ in range(SWEPT // PART):
        pairs = swept_states(rng, PART, capacity)
        found += [violations(decide, pairs, capacity), violations(network, pairs, capacity)]
    grid = grid_states(capacity)
    steps = (grid[..., :-1, :].reshape(-1, len(TELEMETRY)), grid[..., 1:, :].reshape(-1, len(TELEMETRY)))
    return {
        "model_sha256": sha256(content),
        "guarantees": list(GUARANTEES),
        "method": METHOD,
        "cells_per_action": CELLS_PER_ACTION,
        "headroom_actions": HEADROOM_ACTIONS,
        "state_range": box,
        "sweep": {
            "pairs": SWEPT,
            "seed": seed,
            "violations": found[0].tolist(),
            "grid_pairs": len(steps[0]),
            "grid_violations": violations(decide, steps, capacity),
        },
        "network_alone": {"violations": found[1].tolist(), "reward": alone},
    }


def recertify(folder: Path) -> list[str]:
    """Certifies and scores the allocators of a bundle folder again, and writes its metadata.

    Returns:
        The allocators' names.
    """
    from linkcast.training import allocators, report, settings

    held = bundle.read(folder)
    files = bundle.read_metadata(folder)
    manifest = files["manifest"]
    chosen = settings.quick() if manifest["training"]["mode"] == "quick" else settings.full()
    names = []
    for name, model in held.models.items():
        if model.manifest["role"] != "allocator":
            continue
        profile = simulation.link_profile(model.manifest["serves"])
        ranges = allocators.allocator_ranges(profile)
        golden = model.manifest["golden"]
        scored = allocators.certify(profile, model.content, ranges, golden, chosen.allocator, manifest["seed"])
        entry = {
            **model.manifest,
            "skill": bundle.rounded(allocators.skill(scored.rewards)),
            "certificate": bundle.rounded(scored.certificate),
        }
        held.models[name] = replace(model, manifest=entry)
        names.append(name)
    manifest["models"] = {name: model.manifest for name, model in held.models.items()}
    bundle.write(folder, held, files, report.markdown(manifest))
    return names


def _outwards(value: float, rounding: Any) -> float:
    if value == 0.0:
        return 0.0
    scale = 10.0 ** (np.floor(np.log10(abs(value))) - 5)
    return float(f"{rounding(value / scale) * scale:.6g}")


if __name__ == "__main__":
    print(", ".join(recertify(Path(sys.argv[1]))))
