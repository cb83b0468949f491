"""Fits the LSTM forecasters and the fallbacks, and scores them from the written .tflite file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from linkcast.training import networks
from linkcast.training.datasets import Dataset, Part, ScalerRanges, ranges_of
from linkcast.training.settings import ForecasterSettings

FloatArray = npt.NDArray[np.float64]
CALIBRATION_WINDOWS = 4096
Progress = Callable[[int, int, str], None]
"""Called with (done, total, what a line of text says)."""


@dataclass(frozen=True)
class Trained:
    """One model file and what the metadata says about it."""

    content: bytes  # the .tflite file
    ranges: ScalerRanges
    history: dict[str, Any]
    forecasts: FloatArray = field(default_factory=lambda: np.empty(0))  # (n,) Mbit/s, the test part
    golden: dict[str, Any] = field(default_factory=dict)


class _Report(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Reports each epoch, and keeps the weights of the best one."""

    def __init__(self, epochs: int, progress: Progress) -> None:
        super().__init__()
        self._epochs, self._progress = epochs, progress
        self.validation_losses: list[float] = []
        self.best_weights: list[FloatArray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {}).get("val_loss", float("nan")))
        if not np.isfinite(loss):
            raise RuntimeError(f"training diverged: the validation loss of epoch {epoch + 1} is {loss}")
        self.validation_losses.append(loss)
        if loss == min(self.validation_losses):
            self.best_weights = self.model.get_weights()
        self._progress(epoch + 1, self._epochs, f"validation loss {loss:.3e}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._progress(self._epochs, self._epochs, f"best validation loss {min(self.validation_losses):.3e}")


def train_forecaster(dataset: Dataset, settings: ForecasterSettings, seed: int, progress: Progress) -> Trained:
    """Fits one LSTM forecaster.

    The loss is the mean squared error of the scaled target, each window weighted by one over its squared level:
    a 0.5 Mbit/s link counts as much as a 200 Mbit/s one.

    Returns:
        The model at the epoch of the least validation loss, converted at batch 1; its forecasts of the test part.
    """
    networks.make_deterministic(seed)
    ranges = ranges_of(dataset)
    window, features = dataset.train.windows.shape[1:]
    model = networks.forecaster(window, features, settings.dropout)
    bandwidth = list(ranges.features).index("bandwidth_mbps")
    networks.spread_gains(model, bandwidth, ranges.scale(dataset.train.windows)[..., bandwidth], seed)
    sample = np.random.default_rng(seed).integers(0, len(dataset.train), CALIBRATION_WINDOWS)
    networks.calibrate_normalisation(model, ranges.scale(dataset.train.windows[sample]))
    history = _fit(model, dataset.train, dataset.validation, ranges, settings, seed, progress)

    single = networks.forecaster(window, features, settings.dropout, batch=1, unroll=False)
    single.set_weights(model.get_weights())
    content = networks.convert(single, fused_lstms=3)
    return _score(content, dataset.test, ranges, history)


def train_fallback(
    parts: tuple[Part, Part, Part], ranges: ScalerRanges, settings: ForecasterSettings, seed: int, progress: Progress
) -> Trained:
    """Fits a fallback on calendar features.

    Args:
        parts: training, validation and test; their "windows" are (n, 4) calendar features.
        ranges: of the calendar features and the target.
        settings, seed, progress: as for a forecaster.
    """
    networks.make_deterministic(seed)
    features = parts[0].windows.shape[1]
    model = networks.fallback(features)
    history = _fit(model, parts[0], parts[1], ranges, settings, seed, progress)
    single = networks.fallback(features, batch=1)
    single.set_weights(model.get_weights())
    return _score(networks.convert(single), parts[2], ranges, history)


def _fit(
    model: Any,
    train: Part,
    validation: Part,
    ranges: ScalerRanges,
    settings: ForecasterSettings,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Fits in place, leaves the best weights in the model."""
    model.compile(
        optimizer=tf_keras.optimizers.Adam(settings.learning_rate, clipnorm=settings.clip_norm),
        loss="mse",
        weighted_metrics=[],
    )
    report = _Report(settings.epochs, progress)
    callbacks = [
        report,
        tf_keras.callbacks.EarlyStopping(patience=settings.stop_patience),
        tf_keras.callbacks.ReduceLROnPlateau(
            factor=settings.reduce_factor, patience=settings.reduce_patience, min_lr=settings.smallest_learning_rate
        ),
    ]
    scaled = [_scaled(part, ranges) for part in (train, validation)]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train))  # Keras shuffles within each epoch; this mixes the traces once more
    inputs, targets, weights = (array[order] for array in scaled[0])
    model.fit(
        inputs,
        targets,
        sample_weight=weights,
        validation_data=scaled[1],
        epochs=settings.epochs,
        batch_size=settings.batch,
        callbacks=callbacks,
        verbose=0,
    )
    model.set_weights(report.best_weights)
    best = int(np.argmin(report.validation_losses))
    return {
        "epochs": len(report.validation_losses),
        "best_epoch": best + 1,
        "validation_loss": report.validation_losses[best],
    }


def _scaled(part: Part, ranges: ScalerRanges) -> tuple[npt.NDArray[np.float32], ...]:
    """Scaled inputs, scaled targets (n, 1), and weights (n,) with mean 1."""
    assert ranges.target is not None
    targets = ranges.target.scale(part.targets).astype(np.float32)[:, None]
    return ranges.scale(part.windows), targets, _relative_weights(part, ranges).astype(np.float32)


def _relative_weights(part: Part, ranges: ScalerRanges) -> FloatArray:
    """One over the squared level of each window, scaled so that a level at a tenth of the target's range weighs 1.

    Levels below a thousandth of the range count as that, so that idle links do not take over the loss. Fallbacks have
    no window: their rows weigh the same.
    """
    if part.windows.ndim == 2:
        return np.ones(len(part))
    assert ranges.target is not None
    column = list(ranges.features).index("bandwidth_mbps")
    level = part.windows[:, :, column].mean(axis=1) / (ranges.target.max - ranges.target.min)
    weights: FloatArray = np.square(0.1 / np.maximum(level, 1e-3))
    return weights


def _score(content: bytes, test: Part, ranges: ScalerRanges, history: dict[str, Any]) -> Trained:
    assert ranges.target is not None
    inputs = ranges.scale(test.windows)
    outputs = networks.TFLite(content).predict(inputs)
    return Trained(
        content=content,
        ranges=ranges,
        history=history,
        forecasts=ranges.target.unscale(outputs[:, 0].astype(np.float64)),
        golden=networks.golden(content, inputs),
    )
