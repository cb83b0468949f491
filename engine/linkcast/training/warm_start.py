"""Training that begins from a bundled forecaster, and is kept only where it is the better one.

A telemetry file of a user is small beside what the bundled forecasters have seen. So their weights are where training
begins, and their scores on the same held-out rows what its result has to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from linkcast.evaluation import baseline_label
from linkcast.files import sha256
from linkcast.training.bundle import BundledModel, Json
from linkcast.training.ranges import Range, ScalerRanges


@dataclass(frozen=True)
class Start:
    """A forecaster of the base bundle."""

    name: str  # "internet_lstm"
    content: bytes  # the .tflite file
    ranges: ScalerRanges
    target_range: tuple[float, float] | None  # Mbit/s that its training has seen

    def origin(self) -> Json:
        """Which model it is, for the manifest."""
        return {"model": self.name, "sha256": sha256(self.content)}


def start_of(name: str, model: BundledModel, features: Sequence[str], window: int) -> Start | None:
    """A bundled forecaster as a start for one that reads these features; None where it reads others."""
    described = model.features
    if model.manifest["role"] != "forecaster" or described.get("window") != window or "target" not in model.scalers:
        return None
    if [feature["name"] for feature in described["features"]] != list(features):
        return None
    ranges = {feature: Range(**model.scalers["features"][feature]) for feature in features}
    seen = model.manifest["trained_on"].get("target_range")
    limits = ScalerRanges(ranges, Range(**model.scalers["target"]))
    return Start(name, model.content, limits, (seen[0], seen[1]) if seen else None)


def is_better(skill: Json) -> bool:
    """Whether training has been worth it: the trained model is kept, and better than the best naive rule."""
    best = skill["baselines"][skill["best_baseline"]]["mae"]
    kept = skill.get("start", {}).get("kept", "trained")
    return bool(kept == "trained" and skill["model"]["mae"] < best)


def sentence(name: str, skill: Json) -> str:
    """In a line: who is kept, and the mean absolute errors of all on the held-out part."""
    start = skill["start"]
    kept, other = start["kept"], "trained" if start["kept"] == "bundled" else "bundled"
    best = skill["baselines"][skill["best_baseline"]]["mae"]
    rule = baseline_label(skill["best_baseline"], article=True)
    against = "" if skill["model"]["mae"] < best else f" ({rule} is better)"
    figures = [f"{other} {start[other]['mae']:.3f}", f"{rule.removeprefix('the ')} {best:.3f}"]
    if "reference" in skill:
        figures.append(f"LightGBM {skill['reference']['mae']:.3f}")
    which = "" if start["bundled_model"] == name else f", {start['bundled_model']},"
    return (
        f"{name}: kept the {kept} model{which if kept == 'bundled' else ''}{against}: mean absolute error "
        f"{skill['model']['mae']:.3f} Mbit/s on the last 15 %, {', '.join(figures)}."
    )
