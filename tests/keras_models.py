"""Small Keras models with random weights, and their conversion to .tflite files.

Every weight is random (biases and batch normalisation too), so that a weight read from the wrong place changes the
output. The legacy Keras (tf_keras) writes an LSTM as one fused operator; Keras 3 writes it as a WHILE loop, or as a
long chain with `unroll=True`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

Floats = npt.NDArray[np.float32]
STEPS, FEATURES = 10, 4


@dataclass(frozen=True)
class Architecture:
    """Recurrent layers with batch or layer normalisation behind each, then dense layers, the last one with a softmax or
    without; `random_architectures` draws them."""

    steps: int
    features: int
    lstm_units: tuple[int, ...]
    dense_units: tuple[int, ...]
    normalise: bool
    layer_normalise: bool = False
    softmax: bool = False
    kinds: tuple[str, ...] = ()  # of each recurrent layer: a key of KINDS; none: all are "lstm"

    def __str__(self) -> str:
        kinds = self.kinds or ("lstm",) * len(self.lstm_units)
        layers = "-".join(f"{kind}{units}" for kind, units in zip(kinds, self.lstm_units, strict=True))
        denses = "-".join(map(str, self.dense_units))
        marks = {"_bn": self.normalise, "_ln": self.layer_normalise, "_softmax": self.softmax}
        name = f"{self.steps}x{self.features}_{layers}_dense{denses}"
        return name + "".join(mark for mark, present in marks.items() if present)


KINDS: dict[str, Callable[..., Any]] = {
    "lstm": lambda k, units, **options: k.LSTM(units, **options),
    "relu": lambda k, units, **options: k.LSTM(units, activation="relu", **options),
    "gru": lambda k, units, **options: k.GRU(units, **options),
    "gru_reset_before": lambda k, units, **options: k.GRU(units, reset_after=False, **options),
    "both": lambda k, units, **options: k.Bidirectional(k.LSTM(units, **options)),
    "both_sum": lambda k, units, **options: k.Bidirectional(k.LSTM(units, **options), merge_mode="sum"),
    "both_gru": lambda k, units, **options: k.Bidirectional(k.GRU(units, **options)),
}
"""Recurrent layers of so many units; the first argument is the layers of the keras module."""


def random_architectures(count: int, seed: int = 20240) -> Iterator[Architecture]:
    """1 to 4 recurrent layers of 1 to 200 units, 1 to 64 steps of 1 to 16 features; wide layers are the rarer.

    Two of three architectures have LSTMs alone, in each third they are any of KINDS.
    """
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(seed + 1)
    for index in range(count):
        widest = 200 if index % 5 == 0 else 40
        lstm_units = tuple(int(rng.integers(1, widest + 1)) for _ in range(int(rng.integers(1, 5))))
        hidden_units = [int(rng.integers(1, 20)) for _ in range(int(rng.integers(0, 3)))]
        dense_units = (*hidden_units, int(rng.integers(1, 6)))
        yield Architecture(
            int(rng.integers(1, 65)),
            int(rng.integers(1, 17)),
            lstm_units,
            dense_units,
            bool(rng.integers(0, 2)),
            layer_normalise=index % 3 == 1,
            softmax=index % 4 == 2,
            kinds=tuple(str(kinds.choice(list(KINDS))) for _ in lstm_units) if index % 3 == 2 else (),
        )


def randomise(model: Any, seed: int = 1) -> Any:
    """Gives every weight of `model` a random value of a size that keeps activations in range; returns `model`."""
    rng = np.random.default_rng(seed)
    values = []
    for variable in model.weights:
        shape = tuple(variable.shape)
        name = getattr(variable, "path", variable.name)
        if "variance" in name:
            values.append(rng.uniform(0.3, 1.5, shape))
        elif "gamma" in name:
            values.append(rng.uniform(0.6, 1.4, shape))
        elif len(shape) >= 2:
            values.append(rng.normal(0.0, 0.8 / np.sqrt(np.prod(shape[:-1])), shape))
        else:
            values.append(rng.normal(0.0, 0.2, shape))
    model.set_weights([value.astype(np.float32) for value in values])
    return model


def stack(k: Any, architecture: Architecture, **lstm_options: Any) -> Any:
    """The Sequential model of `architecture`; `k` is the keras module to build it with."""
    model = k.Sequential([k.layers.Input((architecture.steps, architecture.features))])
    for index, units in enumerate(architecture.lstm_units):
        last = index + 1 == len(architecture.lstm_units)
        kind = architecture.kinds[index] if architecture.kinds else "lstm"
        model.add(KINDS[kind](k.layers, units, return_sequences=not last, **lstm_options))
        if architecture.normalise:
            model.add(k.layers.BatchNormalization())
        if architecture.layer_normalise:
            model.add(k.layers.LayerNormalization())
    for index, units in enumerate(architecture.dense_units):
        last = index + 1 == len(architecture.dense_units)
        model.add(k.layers.Dense(units, activation="relu" if not last else "softmax" if architecture.softmax else None))
    return randomise(model, seed=sum(architecture.lstm_units) + architecture.steps)


def converter_of(model: Any, function: Any) -> Any:
    """A converter of `function`, which calls `model`.

    A legacy LSTM becomes one fused operator only through a saved model, which needs an owner of the variables. The
    model itself would do, but saving it traces every layer once more, ten times as long. A Keras 3 model is frozen
    instead: its variables do not survive a saved model here.
    """
    owner = None
    if isinstance(model, tf_keras.Model):
        owner = tf.Module()
        owner.kept = model.weights
    return tf.lite.TFLiteConverter.from_concrete_functions([function], owner)


def convert(
    model: Any,
    path: Path,
    *,
    batch: int | None = 1,
    optimizations: Sequence[Any] = (),
    supported_types: Sequence[Any] = (),
    representative: Callable[[], Iterator[list[Floats]]] | None = None,
    edge: Any = tf.float32,
    single_lists: bool = False,
) -> Path:
    """Writes `model` to `path` as .tflite with the batch fixed to `batch` (None: left open); returns `path`.

    With `single_lists` the TensorLists of loops are made for one window where the batch is open; without, the converter
    refuses such a loop.

    With a representative data set all of it is whole numbers, and its input and output are of the type `edge`.
    """
    signature = [tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    function = tf.function(lambda *inputs: model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = converter_of(model, function.get_concrete_function(*signature))
        converter.optimizations = list(optimizations)
        converter._experimental_default_to_single_batch_in_tensor_list_ops = single_lists
        if supported_types:
            converter.target_spec.supported_types = list(supported_types)
        if representative is not None:
            converter.representative_dataset = representative
            wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            converter.target_spec.supported_ops = [wide if edge == tf.int16 else tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = edge
        path.write_bytes(converter.convert())
    return path


def small(k: Any, *layers: Any, shape: tuple[int, ...] = (STEPS, FEATURES)) -> Any:
    """A Sequential model of `layers` with random weights."""
    return randomise(k.Sequential([k.layers.Input(shape), *layers]))


def fused_layers(k: Any) -> list[Any]:
    """The forecaster of the project, in small: three LSTM layers with batch normalisation, then three dense layers."""
    layers = k.layers
    return [
        layers.LSTM(24, return_sequences=True),
        layers.BatchNormalization(),
        layers.LSTM(17, return_sequences=True),
        layers.BatchNormalization(),
        layers.LSTM(8),
        layers.BatchNormalization(),
        layers.Dense(16, activation="relu"),
        layers.Dense(8, activation="relu"),
        layers.Dense(1),
    ]


def time_major_layers(k: Any) -> list[Any]:
    """An LSTM that takes (steps, batch, features), behind a transposition."""
    return [k.layers.Lambda(lambda x: tf.transpose(x, (1, 0, 2))), k.layers.LSTM(7, time_major=True), k.layers.Dense(2)]
