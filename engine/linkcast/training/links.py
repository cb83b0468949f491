"""How forecasts compare on each link, with the best naive rule in hindsight as the mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.baselines import ewma, growing_autoregression, harmonic_mean, median, moving_average, persistence
from linkcast.features import BANDWIDTH
from linkcast.metrics import mae, skill
from linkcast.training.datasets import FloatArray, Part
from linkcast.training.ranges import ScalerRanges

Json = dict[str, Any]
Forecast = Callable[[Part], FloatArray]

REWEIGHTINGS = 15
LINEAR_WINDOWS = 40_000  # that the linear model is fitted on
RIDGE = 1e-4  # of the mean square of an input


def naive_forecasts(part: Part) -> dict[str, FloatArray]:
    """(n,) Mbit/s by rule; the AR(10) is fitted again and again on the link's own past."""
    windows = part.windows
    forecasts = {
        "persistence": persistence(windows, BANDWIDTH),
        "moving_average": moving_average(windows, BANDWIDTH),
        "median": median(windows, BANDWIDTH),
        "harmonic_mean": harmonic_mean(windows, BANDWIDTH),
        "ar10": growing_autoregression(windows, part.targets, BANDWIDTH),
    }
    return forecasts | {f"ewma_{alpha:g}": ewma(windows, BANDWIDTH, alpha) for alpha in (0.2, 0.3, 0.5, 0.8)}


def compare(parts: Mapping[str, Part], forecast: Forecast) -> dict[str, Json]:
    """By link: how many windows, the best naive rule in hindsight, its MAE and the forecast's [Mbit/s], and the skill
    1 - MAE / best naive MAE."""
    rows: dict[str, Json] = {}
    for name, part in parts.items():
        naive = {rule: mae(values, part.targets) for rule, values in naive_forecasts(part).items()}
        best = min(naive, key=lambda rule: naive[rule])
        error = mae(forecast(part), part.targets)
        rows[name] = {
            "samples": len(part),
            "best_naive": best,
            "naive_mae": naive[best],
            "mae": error,
            "skill": skill(error, naive[best]),
        }
    return rows


def linear_model(train: Part, ranges: ScalerRanges, rng: np.random.Generator) -> Forecast:
    """A linear model on what enters the network, fitted to the same weighted absolute error of the scaled target.

    By iteratively reweighted least squares (Schlossmacher, JASA 1973) with a slight ridge.
    """
    drawn = train.draw(min(LINEAR_WINDOWS, len(train)), rng)
    chosen = Part(train.windows[drawn], train.targets[drawn], None, train.weights[drawn], train.chances[drawn])
    inputs, targets = _inputs(chosen.windows, ranges), ranges.scale_targets(chosen)[:, 0].astype(np.float64)
    coefficients = np.zeros(inputs.shape[1])
    penalty = RIDGE * np.diag(np.square(inputs).mean(axis=0) + 1e-12)
    for _ in range(REWEIGHTINGS):
        residual = np.abs(targets - inputs @ coefficients)
        weights = chosen.weights / np.maximum(residual, 1e-2)
        weights /= weights.sum()
        weighted = inputs * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ inputs + penalty, weighted.T @ targets)

    def forecast(part: Part) -> FloatArray:
        return ranges.unscale_targets(_inputs(part.windows, ranges) @ coefficients, part)

    return forecast


def _inputs(windows: FloatArray, ranges: ScalerRanges) -> npt.NDArray[np.float64]:
    """(n, T * F + 1) scaled inputs and a constant."""
    scaled = ranges.scale(windows).reshape(len(windows), -1).astype(np.float64)
    return np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
