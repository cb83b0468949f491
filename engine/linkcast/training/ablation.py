"""Which of a group forecaster's inputs matter: its error when they are taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast import metrics
from linkcast.features import CALENDAR, TELEMETRY
from linkcast.training.datasets import Part

FloatArray = npt.NDArray[np.float64]
MATTERS = 0.01  # an error that rises by less than this share says that an input hardly matters
METHOD = "inputs exchanged between test windows (permutation importance), without training again"


def ablate(
    forecast: Callable[[Part], FloatArray], part: Part, features: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Mean absolute errors of a trained forecaster with some of its inputs taken away.

    The network is the same throughout; what it is told is not (permutation importance: Breiman, Random Forests, 2001).
    "calendar": every window has the hours and weekdays of another test window. "telemetry": every window has the
    telemetry of another, and so its level too. "course": the level stays, and the way there goes: every step has the
    window's mean of each telemetry feature.

    Args:
        forecast: gives (n,) Mbit/s for a part.
        part: the test part; windows (n, T, F).
        features: names of the F columns, telemetry and calendar.
        seed: of the exchange.
    Returns:
        {"method", "samples", "mae": {"intact", "calendar", "telemetry", "course"}, "verdict"}; Mbit/s.
    """
    other = np.random.default_rng(seed).permutation(len(part))
    calendar = [column for column, name in enumerate(features) if name in CALENDAR]
    telemetry = [column for column, name in enumerate(features) if name in TELEMETRY]

    def error(windows: FloatArray) -> float:
        return metrics.mae(forecast(replace(part, windows=windows)), part.targets)

    def changed(columns: list[int], values: FloatArray) -> FloatArray:
        windows: FloatArray = part.windows.copy()
        windows[:, :, columns] = values
        return windows

    level = part.windows[:, :, telemetry].mean(axis=1, keepdims=True)
    mae = {
        "intact": error(part.windows),
        "calendar": error(changed(calendar, part.windows[other][:, :, calendar])),
        "telemetry": error(changed(telemetry, part.windows[other][:, :, telemetry])),
        "course": error(changed(telemetry, np.broadcast_to(level, part.windows[:, :, telemetry].shape))),
    }
    return {"method": METHOD, "samples": len(part), "mae": mae, "verdict": _verdict(mae)}


def _verdict(mae: dict[str, float]) -> str:
    rises = {name: value / mae["intact"] - 1.0 if mae["intact"] > 0.0 else 0.0 for name, value in mae.items()}
    matters = {name: rises[name] > MATTERS for name in ("calendar", "telemetry")}
    if all(matters.values()):
        first = "The calendar and the telemetry both matter"
    elif any(matters.values()):
        first = f"Only the {'calendar' if matters['calendar'] else 'telemetry'} matters"
    else:
        first = "Neither the calendar nor the telemetry matters"
    return (
        f"{first}: the mean absolute error of {mae['intact']:.3f} Mbit/s changes by {100 * rises['calendar']:+.0f} % "
        f"with the calendar of another window, by {100 * rises['telemetry']:+.0f} % with the telemetry of another, and "
        f"by {100 * rises['course']:+.0f} % when the telemetry's level alone is left."
    )
