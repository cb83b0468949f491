"""Telemetry for tests, and the transforms of scalers.json in NumPy: the reference for the engine's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import linkcast

TRANSFORMS = {
    "features": {
        "latency_ms": {"min": 0.0, "max": 6.0, "log_offset": 1.0},
        "bandwidth_mbps": {"min": -2.0, "max": 2.0, "log_offset": 0.01, "relative_to": "first", "share": 0.8},
        "packet_loss": {"min": 0.0, "max": 40.0},
        "reliability": {"min": -10.0, "max": 10.0, "relative_to": "first"},
    },
    "target": {"min": -1.5, "max": 1.0, "log_offset": 0.02, "relative_to": "last"},
}
"""Of one model: logarithms, references and plain ranges, mixed."""

CALENDAR = {name: {"min": -1.0, "max": 1.0} for name in ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")}
GROUP_TRANSFORMS = {"features": TRANSFORMS["features"] | CALENDAR, "target": TRANSFORMS["target"]}
"""The same for a service group's model."""


def unscaled(engine: linkcast.Engine, name: str, scaled: np.ndarray) -> np.ndarray:
    """(..., F) 0..1 -> the minimum to the maximum of each feature; around 20 where those are of a relative one.

    Fractions are held to 0..1: others are no telemetry.
    """
    resolved = engine.resolve(name, "forecaster")
    values = engine.scaler(resolved).inverse_transform(scaled.astype(np.float32), np.full(scaled.shape, 20.0))
    fractions = np.array([unit == "fraction" for unit in engine.spec(resolved)["units"]])
    return np.where(fractions, values.clip(0.0, 1.0), values).astype(np.float64)


def random_telemetry(engine: linkcast.Engine, name: str, *shape: int, seed: int) -> np.ndarray:
    """(*shape, F) as `unscaled` gives it of uniform random numbers."""
    features = len(engine.spec(engine.resolve(name, "forecaster"))["features"])
    return unscaled(engine, name, np.random.default_rng(seed).uniform(0, 1, (*shape, features)))


def tolerance(engine: linkcast.Engine, name: str, mbps: float = 100.0) -> float:
    """1e-6 of the scaled output in Mbit/s, for forecasts up to `mbps`: kernels may sum in another order."""
    scaler = engine.target_scaler(engine.resolve(name, "forecaster"))
    return 1e-6 * (mbps + scaler.log_offset[0] if scaler.log_offset[0] else 1.0) / scaler.scale[0]


def scalers_of(engine: linkcast.Engine, name: str) -> dict[str, Any]:
    """What scalers.json says of a model."""
    text = (Path(engine.folder) / "metadata" / "scalers.json").read_text(encoding="utf-8")
    return json.loads(text)["models"][name]


def level(values: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """The logarithm of what is not below 0 where the entry asks for it; same shape."""
    return np.log(np.maximum(values, 0.0) + entry["log_offset"]) if "log_offset" in entry else values


def unlevel(levels: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """The inverse, at least 0 for a logarithm."""
    return np.maximum(np.exp(levels) - entry["log_offset"], 0.0) if "log_offset" in entry else levels


def scaled_windows(windows: np.ndarray, features: dict[str, Any]) -> np.ndarray:
    """(n, T, F) physical units -> (n, T, F) float64, by the features of a model in their order."""
    scaled = np.empty(windows.shape)
    for column, entry in enumerate(features.values()):
        levels = level(windows[..., column], entry)
        if "relative_to" in entry:
            levels = levels - entry.get("share", 1.0) * levels[:, :1]
        scaled[..., column] = (levels - entry["min"]) / (entry["max"] - entry["min"])
        if "bound" in entry:
            scaled[..., column] = np.clip(scaled[..., column], -entry["bound"], entry["bound"])
    return scaled


def physical_windows(scaled: np.ndarray, features: dict[str, Any], first: float = 20.0) -> np.ndarray:
    """The inverse of `scaled_windows`; any leading shape. `first` where all of the first value was taken off."""
    windows = np.empty(scaled.shape)
    for column, entry in enumerate(features.values()):
        levels = scaled[..., column] * (entry["max"] - entry["min"]) + entry["min"]
        if "relative_to" in entry:
            share = entry.get("share", 1.0)
            levels = levels + share * (
                levels[..., :1] / (1.0 - share) if share < 1.0 else level(np.array(first), entry)
            )
        windows[..., column] = unlevel(levels, entry)
    return windows


def physical_target(scaled: np.ndarray, newest: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """(n,) scaled outputs and the newest values that they may be relative to -> (n,) physical units."""
    bound = entry.get("bound", np.inf)
    levels = np.clip(scaled, -bound, bound) * (entry["max"] - entry["min"]) + entry["min"]
    return unlevel(levels + level(newest, entry) if "relative_to" in entry else levels, entry)
