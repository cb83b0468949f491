"""Fits the LSTM forecasters and the fallbacks, and forecasts from the written .tflite file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.features import BANDWIDTH, NEUTRAL, TELEMETRY
from linkcast.metrics import mae
from linkcast.training import guide, networks
from linkcast.training.datasets import Dataset, Part, seed_of
from linkcast.training.guide import Guide
from linkcast.training.ranges import ScalerRanges, ranges_of
from linkcast.training.settings import Augmentation, ForecasterSettings, GuideSettings, warm
from linkcast.training.start import tf_keras
from linkcast.training.warm_start import Start

FloatArray = npt.NDArray[np.float64]
CALIBRATION_WINDOWS = 4096
NEAREST_WINDOWS = 1_000  # that starts are compared on
LEAST_MEAN_MBPS = 1e-3  # of a window that is resized: idle ones are not blown up
Progress = Callable[[int, int, str], None]
"""Called with (done, total, what a line of text says)."""


@dataclass(frozen=True)
class Trained:
    """One model file and what the metadata says about it."""

    content: bytes  # the .tflite file
    ranges: ScalerRanges
    history: dict[str, Any]
    golden: dict[str, Any]
    seen: tuple[float, float] | None = None  # Mbit/s of earlier training, where there was one

    def forecast(self, part: Part) -> FloatArray:
        """(n,) Mbit/s for each window of the part, by TensorFlow's interpreter from the written file."""
        outputs = networks.TFLite(self.content).predict(self.ranges.scale(part.windows))
        return self.ranges.unscale_targets(outputs[:, 0].astype(np.float64), part)


def train_forecaster(
    dataset: Dataset,
    settings: ForecasterSettings,
    seed: int,
    progress: Progress,
    guide_settings: GuideSettings | None = None,
    start: Start | None = None,
) -> Trained:
    """Fits one LSTM forecaster.

    The loss is the mean absolute error of the scaled target, each window weighted as `datasets.loss_weights` says.
    Several networks are begun, each from its own random weights; the one with the least validation loss after a few
    epochs is trained to the end. With guide settings a guide is fitted first, and its forecasts are what the LSTM
    learns from; validation is on what came. A scale-free forecaster's answer to a steady window is made exact at the
    end.

    With a start there are no trials: training goes on from its weights, by its ranges, and where no epoch is better the
    weights stay. A start of another network than this one gives nothing but its name.

    Returns:
        The model at the epoch of the least validation loss, converted at batch 1.
    Raises:
        RuntimeError: the validation loss is not finite.
    """
    networks.make_deterministic(seed)
    window, features = dataset.train.windows.shape[1:]
    if start is not None:
        went_on = _train_on(start, dataset, settings, seed, progress)
        if went_on is not None:
            return went_on
    ranges = ranges_of(dataset)
    rng = np.random.default_rng(seed)
    sample = ranges.scale(dataset.train.windows[dataset.train.draw(CALIBRATION_WINDOWS, rng)])
    teacher = None
    if guide_settings is not None:
        augmentation = dataset.augmentation

        def varied(part: Part, generator: np.random.Generator) -> None:
            if augmentation is not None:
                _vary(part, augmentation, generator)

        teacher = guide.fit(dataset.train, varied, guide_settings, seed_of(seed, "guide"))

    total = (settings.trials - 1) * settings.trial_epochs + settings.epochs
    trials = []
    for trial in range(settings.trials):
        model = networks.forecaster(window, features, settings.dropout)
        networks.calibrate_normalisation(model, sample)
        fit = _Fit(model, dataset.train, dataset.validation, ranges, settings, dataset.augmentation, teacher)
        for epoch in range(min(settings.trial_epochs, settings.epochs)):
            fit.epoch(rng)
            done = trial * settings.trial_epochs + epoch + 1
            progress(done, total, f"start {trial + 1}: validation loss {fit.losses[-1]:.4f}")
        trials.append(fit)
    fit = min(trials, key=lambda each: min(each.losses))
    history = {"starts": [min(each.losses) for each in trials]}
    _finish(fit, settings, rng, progress)

    single = networks.forecaster(window, features, settings.dropout, batch=1, unroll=False)
    single.set_weights(fit.best_weights)
    if dataset.scale_free:
        networks.shift_output(single, np.zeros((1, window, features), np.float32))
    content = networks.convert(single, fused_lstms=3)
    return _trained(content, dataset.test, ranges, {**history, **fit.history()})


def _train_on(
    start: Start, dataset: Dataset, settings: ForecasterSettings, seed: int, progress: Progress
) -> Trained | None:
    """A forecaster trained from a start's weights; None where they are those of another network."""
    window, features = dataset.train.windows.shape[1:]
    weights = networks.forecaster_weights(start.content)
    model = networks.forecaster(window, features, settings.dropout)
    if weights is None or not networks.begin_from(model, weights):
        return None
    settings = warm(settings)
    fit = _Fit(model, dataset.train, dataset.validation, start.ranges, settings, begun=True)
    _finish(fit, settings, np.random.default_rng(seed), progress)
    single = networks.forecaster(window, features, settings.dropout, batch=1, unroll=False)
    single.set_weights(fit.best_weights)
    history = {"start": start.origin(), "starting_loss": fit.starting_loss, **fit.history()}
    return _trained(networks.convert(single, fused_lstms=3), dataset.test, start.ranges, history)


def as_trained(start: Start, test: Part) -> Trained:
    """A start as it is, on another test part."""
    return _trained(start.content, test, start.ranges, {"start": start.origin(), "epochs": 0})


def nearest(starts: Sequence[Start], validation: Part) -> Start:
    """The one of the least mean absolute error on the validation part."""
    if len(starts) == 1:
        return starts[0]
    rows = validation.draw(min(len(validation), NEAREST_WINDOWS), np.random.default_rng(0))
    part = replace(validation, windows=validation.windows[rows], targets=validation.targets[rows])
    return min(starts, key=lambda start: mae(as_trained(start, part).forecast(part), part.targets))


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
    fit = _Fit(networks.fallback(features), parts[0], parts[1], ranges, settings)
    _finish(fit, settings, np.random.default_rng(seed), progress)
    single = networks.fallback(features, batch=1)
    single.set_weights(fit.best_weights)
    return _trained(networks.convert(single), parts[2], ranges, fit.history())


class _Fit:
    """A network on its way: epoch after epoch, with its best weights so far.

    An epoch is `epoch_windows` windows drawn by their chances, or all when there are fewer. The learning rate falls
    along half a cosine (Loshchilov and Hutter 2017), or is halved on a plateau; `stop_patience` epochs without a better
    validation loss end it. With a teacher training targets are its forecasts. A model that has `begun` is its own first
    best.
    """

    def __init__(
        self,
        model: Any,
        train: Part,
        validation: Part,
        ranges: ScalerRanges,
        settings: ForecasterSettings,
        augmentation: Augmentation | None = None,
        teacher: Guide | None = None,
        begun: bool = False,
    ) -> None:
        self._model, self._train, self._ranges, self._settings = model, train, ranges, settings
        self._augmentation, self._teacher = augmentation, teacher
        model.compile(
            optimizer=tf_keras.optimizers.Adam(settings.learning_rate, clipnorm=settings.clip_norm),
            loss=settings.loss,
            weighted_metrics=[],
        )
        count = min(len(validation), settings.validation_windows)
        self._validation = self._scaled(validation, validation.draw(count, np.random.default_rng(0)))
        self._since_best, self._rate = 0, settings.learning_rate
        self.losses: list[float] = []  # on the validation part, by epoch
        self.best_weights: list[npt.NDArray[np.float32]] = model.get_weights() if begun else []
        self.starting_loss = self._validation_loss() if begun else np.inf

    @property
    def finished(self) -> bool:
        return len(self.losses) >= self._settings.epochs or self._since_best >= self._settings.stop_patience

    def epoch(self, rng: np.random.Generator) -> None:
        settings = self._settings
        self._model.optimizer.learning_rate.assign(self._next_rate())
        drawn = rng.permutation(self._train.draw(min(len(self._train), settings.epoch_windows), rng))
        inputs, targets, weights = self._scaled(self._train, drawn, rng)
        self._model.fit(inputs, targets, sample_weight=weights, batch_size=settings.batch, shuffle=False, verbose=0)
        loss = self._validation_loss()
        if not np.isfinite(loss):
            raise RuntimeError(f"training diverged: the validation loss of epoch {len(self.losses) + 1} is {loss}")
        better = loss < self.best_loss
        self.losses.append(loss)
        if better:
            self.best_weights, self._since_best = self._model.get_weights(), 0
        else:
            self._since_best += 1

    @property
    def best_loss(self) -> float:
        return min([self.starting_loss, *self.losses])

    def _validation_loss(self) -> float:
        inputs, targets, weights = self._validation
        errors = np.abs(self._model.predict(inputs, batch_size=1024, verbose=0) - targets)[:, 0].astype(np.float64)
        return float(np.average(errors**2 if self._settings.loss == "mse" else errors, weights=weights))

    def _next_rate(self) -> float:
        settings = self._settings
        if not settings.plateau_patience:
            done = len(self.losses) / settings.epochs
            span = settings.learning_rate - settings.final_learning_rate
            return settings.final_learning_rate + 0.5 * span * (1.0 + float(np.cos(np.pi * done)))
        if self._since_best and self._since_best % settings.plateau_patience == 0:
            self._rate = max(0.5 * self._rate, settings.final_learning_rate)
        return self._rate

    def history(self) -> dict[str, Any]:
        """Goes into the manifest; best epoch 0 is the beginning."""
        best = int(np.argmin([self.starting_loss, *self.losses]))
        return {"epochs": len(self.losses), "best_epoch": best, "validation_loss": self.best_loss}

    def _scaled(
        self, part: Part, rows: npt.NDArray[np.int64], rng: np.random.Generator | None = None
    ) -> tuple[npt.NDArray[np.float32], ...]:
        """Inputs, targets (n, 1) and weights (n,) of the chosen windows; with an rng they are varied."""
        chosen = replace(part, windows=part.windows[rows], targets=part.targets[rows], weights=part.weights[rows])
        if rng is not None and self._augmentation is not None:
            _vary(chosen, self._augmentation, rng)
        if rng is not None and self._teacher is not None:
            chosen = replace(chosen, targets=self._teacher.forecast(chosen.windows))
        inputs, targets = self._ranges.scale(chosen.windows), self._ranges.scale_targets(chosen)
        weights = np.ones(len(rows)) if self._settings.loss == "mse" else chosen.weights
        return inputs, targets, weights.astype(np.float32)


def _vary(part: Part, augmentation: Augmentation, rng: np.random.Generator) -> None:
    """In place. The weights stay: a link of another size counts as much."""
    for feature, value in NEUTRAL.items():
        part.windows[rng.random(len(part)) < augmentation.masked, :, TELEMETRY.index(feature)] = value
    low, high = augmentation.levels_mbps
    levels = np.exp(rng.uniform(np.log(low), np.log(high), len(part)))
    factors = levels / np.maximum(part.windows[:, :, BANDWIDTH].mean(axis=1), LEAST_MEAN_MBPS)
    factors[rng.random(len(part)) >= augmentation.resized] = 1.0
    part.windows[:, :, BANDWIDTH] *= factors[:, None]
    part.targets[:] *= factors
    steady = rng.random(len(part)) < augmentation.steady
    part.targets[steady] = part.windows[steady, -1, BANDWIDTH]
    part.windows[steady, :, BANDWIDTH] = part.targets[steady, None]


def _finish(fit: _Fit, settings: ForecasterSettings, rng: np.random.Generator, progress: Progress) -> None:
    begun = (settings.trials - 1) * settings.trial_epochs
    while not fit.finished:
        fit.epoch(rng)
        progress(begun + len(fit.losses), begun + settings.epochs, f"validation loss {fit.losses[-1]:.4f}")
    progress(begun + settings.epochs, begun + settings.epochs, f"best validation loss {fit.best_loss:.4f}")


def _trained(content: bytes, test: Part, ranges: ScalerRanges, history: dict[str, Any]) -> Trained:
    return Trained(content, ranges, history, networks.golden(content, ranges.scale(test.windows)))
