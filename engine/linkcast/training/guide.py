"""The guide: naive rules weighed by a small network, which an LSTM learns from.

A sample says little of what was to be expected: it is mostly noise. What one window allows to say is how to weigh
the last value against longer and more robust averages. A guide learns that: its forecast is a mean of naive rules,
weighted by a softmax of what the window looks like apart from its level, so it is exact on constants, moves with the
link's size and never leaves what the window has seen, on links of unknown kinds too. The LSTM then learns the guide's
forecasts: labels without noise, at any level and for any window that one likes (Hinton, Vinyals and Dean 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.baselines import ewma, harmonic_mean
from linkcast.features import BANDWIDTH, TELEMETRY
from linkcast.training.datasets import FloatArray, Part, level_of
from linkcast.training.ranges import LOG_OFFSET_MBPS, SCALE_FREE
from linkcast.training.settings import GuideSettings
from linkcast.training.start import layers, tf, tf_keras

Float32 = npt.NDArray[np.float32]
Vary = Callable[[Part, np.random.Generator], None]

SENSITIVITY = 20.0  # relative deviations are compressed by asinh(20 x) / 3: proportional below 5 %, a logarithm above
LEAST_MEAN_MBPS = 1e-3  # that deviations are relative to


def rules(windows: FloatArray) -> FloatArray:
    """(n, T, F) -> (n, R) Mbit/s: what is weighed. None leaves the range of its window."""
    rates = windows[:, :, BANDWIDTH]
    last = rates[:, -1]
    trend = np.clip(2.0 * last - rates[:, -2], rates.min(axis=1), rates.max(axis=1))
    means = [rates[:, -steps:].mean(axis=1) for steps in (3, rates.shape[1])]
    medians = [np.median(rates[:, -steps:], axis=1) for steps in (3, 5, rates.shape[1])]
    averages = [ewma(windows, BANDWIDTH, alpha) for alpha in (0.2, 0.5, 0.8)]
    return np.stack([last, rates[:, -2], trend, *means, *medians, *averages, harmonic_mean(windows, BANDWIDTH)], axis=1)


def looks(windows: FloatArray) -> Float32:
    """(n, T, F) -> (n, inputs): deviations from the window's mean in order of time and of size, steps, how large both
    are, and the other features as the forecaster sees them."""
    rates = windows[:, :, BANDWIDTH]
    mean = rates.mean(axis=1, keepdims=True) + LEAST_MEAN_MBPS
    away, steps = rates / mean - 1.0, np.diff(rates, axis=1) / mean
    compressed = _compressed(away)
    sizes = [np.log(np.abs(each).mean(axis=1, keepdims=True) + 1e-3) for each in (away, steps)]
    skew = _compressed(np.median(away, axis=1, keepdims=True))
    others = [
        SCALE_FREE[name].scale(windows[:, :, column], windows[:, :1, column])
        for column, name in enumerate(TELEMETRY)
        if column != BANDWIDTH
    ]
    parts = [compressed, np.sort(compressed, axis=1), _compressed(steps), *sizes, skew, *others]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _compressed(values: FloatArray) -> FloatArray:
    return np.arcsinh(SENSITIVITY * values) / 3.0


@dataclass(frozen=True)
class Guide:
    """A fitted gate network."""

    gate: Any  # Keras model: (n, inputs) -> (n, R)

    def forecast(self, windows: FloatArray) -> FloatArray:
        """(n, T, F) -> (n,) Mbit/s."""
        scores = self.gate.predict(looks(windows), batch_size=8192, verbose=0).astype(np.float64)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        forecast: FloatArray = (weights * rules(windows)).sum(axis=1) / weights.sum(axis=1)
        return forecast


def fit(train: Part, vary: Vary, settings: GuideSettings, seed: int) -> Guide:
    """Fits a guide: the loss is the absolute error in Mbit/s over what is usual on the window's link.

    Args:
        train: windows are drawn from it by their chances, anew for each epoch.
        vary: augments drawn windows in place, with their targets and weights.
    Raises:
        RuntimeError: the loss is not finite.
    """
    tf_keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    sample = train.windows[:2]
    gate = tf_keras.Sequential(
        [
            tf_keras.Input((looks(sample).shape[1],)),
            *(layers.Dense(units, activation="relu") for units in settings.units),
            layers.Dense(rules(sample).shape[1]),
        ]
    )
    gate.compile(optimizer=tf_keras.optimizers.Adam(settings.learning_rate, clipnorm=1.0), loss=_weighed_error)
    for epoch in range(settings.epochs):
        drawn = rng.permutation(train.draw(min(len(train), settings.epoch_windows), rng))
        chosen = replace(
            train,
            windows=train.windows[drawn],
            targets=train.targets[drawn],
            weights=train.weights[drawn],
            chances=train.chances[drawn],
        )
        vary(chosen, rng)
        unit = (level_of(chosen.windows) + LOG_OFFSET_MBPS) / chosen.weights
        errors = (rules(chosen.windows) - chosen.targets[:, None]) / unit[:, None]
        rate = settings.learning_rate * (0.01 + 0.495 * (1.0 + np.cos(np.pi * epoch / settings.epochs)))
        gate.optimizer.learning_rate.assign(rate)
        result = gate.fit(
            looks(chosen.windows), errors.astype(np.float32), batch_size=settings.batch, shuffle=False, verbose=0
        )
        if not np.isfinite(result.history["loss"][-1]):
            raise RuntimeError(f"the guide diverged: its loss in epoch {epoch + 1} is {result.history['loss'][-1]}")
    return Guide(gate)


def _weighed_error(errors: Any, scores: Any) -> Any:
    """|weights . errors|: since the weights sum up to 1, the error of the weighed forecast."""
    return tf.abs(tf.reduce_sum(tf.nn.softmax(scores) * errors, axis=-1))
