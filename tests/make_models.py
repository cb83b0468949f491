"""Small .tflite models of many kinds from TensorFlow: those that run on the native kernels, and those that must not.

Every weight is random (biases and batch normalisation too), so that a weight read from the wrong place changes the
output. The legacy Keras (tf_keras) writes an LSTM as one fused operator; Keras 3 writes it as a WHILE loop, or as a
long chain with `unroll=True`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

Floats = npt.NDArray[np.float32]
STEPS, FEATURES = 10, 4


@dataclass(frozen=True)
class Architecture:
    """LSTM layers with batch normalisation behind each, then dense layers; `random_architectures` draws them."""

    steps: int
    features: int
    lstm_units: tuple[int, ...]
    dense_units: tuple[int, ...]
    normalise: bool

    def __str__(self) -> str:
        lstms, denses = "-".join(map(str, self.lstm_units)), "-".join(map(str, self.dense_units))
        return f"{self.steps}x{self.features}_lstm{lstms}_dense{denses}{'_bn' if self.normalise else ''}"


def random_architectures(count: int, seed: int = 20240) -> Iterator[Architecture]:
    """1 to 4 LSTM layers of 1 to 200 units, 1 to 64 steps of 1 to 16 features; wide layers are the rarer."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        widest = 200 if index % 5 == 0 else 40
        lstm_units = tuple(int(rng.integers(1, widest + 1)) for _ in range(int(rng.integers(1, 5))))
        hidden_units = [int(rng.integers(1, 20)) for _ in range(int(rng.integers(0, 3)))]
        dense_units = (*hidden_units, int(rng.integers(1, 6)))
        yield Architecture(
            int(rng.integers(1, 65)), int(rng.integers(1, 17)), lstm_units, dense_units, bool(rng.integers(0, 2))
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
        model.add(k.layers.LSTM(units, return_sequences=not last, **lstm_options))
        if architecture.normalise:
            model.add(k.layers.BatchNormalization())
    for index, units in enumerate(architecture.dense_units):
        last = index + 1 == len(architecture.dense_units)
        model.add(k.layers.Dense(units, activation=None if last else "relu"))
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
) -> Path:
    """Writes `model` to `path` as .tflite with the batch fixed to `batch` (None: left open); returns `path`."""
    signature = [tf.TensorSpec((batch, *tensor.shape[1:]), tf.float32) for tensor in model.inputs]
    function = tf.function(lambda *inputs: model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = converter_of(model, function.get_concrete_function(*signature))
        converter.optimizations = list(optimizations)
        if supported_types:
            converter.target_spec.supported_types = list(supported_types)
        if representative is not None:
            converter.representative_dataset = representative
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
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


def fused(path: Path) -> Any:
    model = small(tf_keras, *fused_layers(tf_keras))
    convert(model, path)
    return model


def fused_batch_7(path: Path) -> Any:
    model = small(tf_keras, *fused_layers(tf_keras))
    convert(model, path, batch=7)
    return model


def fused_sequence(path: Path) -> Any:
    model = small(tf_keras, tf_keras.layers.LSTM(9, return_sequences=True), tf_keras.layers.Dense(3, activation="tanh"))
    convert(model, path)
    return model


def fused_flatten(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.LSTM(6, return_sequences=True), k.Flatten(), k.Dense(5, activation="sigmoid"), k.Dense(2))
    convert(model, path)
    return model


def time_major_layers(k: Any) -> list[Any]:
    """An LSTM that takes (steps, batch, features), behind a transposition."""
    return [k.layers.Lambda(lambda x: tf.transpose(x, (1, 0, 2))), k.layers.LSTM(7, time_major=True), k.layers.Dense(2)]


def fused_time_major(path: Path) -> Any:
    model = small(tf_keras, *time_major_layers(tf_keras))
    convert(model, path)
    return model


def fused_time_major_batch_3(path: Path) -> Any:
    model = small(tf_keras, *time_major_layers(tf_keras))
    convert(model, path, batch=3)
    return model


def time_major_input(path: Path) -> Any:
    """The input itself is (steps, batch, features), so that its first dimension is not the batch."""
    model = small(tf_keras, tf_keras.layers.LSTM(7, time_major=True), tf_keras.layers.Dense(2), shape=(1, FEATURES))
    convert(model, path, batch=STEPS)
    return model


def normalised_input(path: Path) -> Any:
    """Batch normalisation and a dense layer at each step, before the LSTM."""
    k = tf_keras.layers
    model = small(tf_keras, k.BatchNormalization(), k.Dense(6, "relu"), k.LSTM(7), k.Dense(2))
    convert(model, path)
    return model


def one_step(path: Path) -> Any:
    model = small(
        keras,
        keras.layers.LSTM(7, return_sequences=True),
        keras.layers.LSTM(5),
        keras.layers.Dense(2),
        shape=(1, FEATURES),
    )
    convert(model, path)
    return model


def last_step_dense(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Lambda(lambda x: x[:, -1, :]), k.Dense(6, "relu"), k.Dense(2))
    convert(model, path)
    return model


def long_window(path: Path) -> Any:
    """More steps than the limit of 10 that the converter puts on the cell state of a fused LSTM."""
    model = small(tf_keras, tf_keras.layers.LSTM(5), tf_keras.layers.Dense(1), shape=(40, FEATURES))
    convert(model, path)
    return model


def fused_dynamic_range(path: Path) -> Any:
    wide = [
        tf_keras.layers.LSTM(40, return_sequences=True),
        tf_keras.layers.BatchNormalization(),
        tf_keras.layers.LSTM(33),
        tf_keras.layers.Dense(48, "relu"),
    ]
    model = small(tf_keras, *wide, tf_keras.layers.Dense(40, "relu"), tf_keras.layers.Dense(1))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT])
    return model


def fused_float16(path: Path) -> Any:
    model = small(tf_keras, *fused_layers(tf_keras))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT], supported_types=[tf.float16])
    return model


def while_loop(path: Path) -> Any:
    model = small(keras, *fused_layers(keras))
    convert(model, path)
    return model


def saturated(path: Path) -> Any:
    """Its cell state would grow by nearly one a step, over the limit of 10 that the converter puts on a fused LSTM.

    A large input shuts the forget gate, so that the limit is seen in the answer. No weight is zero: the converter
    merges a zero matrix of the state's shape with the state.
    """
    model = small(tf_keras, tf_keras.layers.LSTM(1), shape=(40, 1))
    kernel = np.array([[0.01, -1.0, 0.02, 0.03]], np.float32)  # i, f, c, o
    recurrent = np.array([[0.04, 0.05, 0.06, 0.07]], np.float32)
    model.set_weights([kernel, recurrent, np.full(4, 20.0, np.float32)])
    convert(model, path)
    return model


def while_batch_7(path: Path) -> Any:
    model = small(keras, *fused_layers(keras))
    convert(model, path, batch=7)
    return model


def while_sequence(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(9, return_sequences=True), keras.layers.Dense(3, activation="tanh"))
    convert(model, path)
    return model


def while_no_bias(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(9, use_bias=False), keras.layers.Dense(3))
    convert(model, path)
    return model


def while_dynamic_range(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(40, return_sequences=True), keras.layers.LSTM(33), keras.layers.Dense(1))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT])
    return model


def while_float16(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(24, return_sequences=True), keras.layers.LSTM(17), keras.layers.Dense(1))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT], supported_types=[tf.float16])
    return model


def unrolled(path: Path) -> Any:
    k = keras.layers
    layers = [
        k.LSTM(12, return_sequences=True, unroll=True),
        k.BatchNormalization(),
        k.LSTM(7, unroll=True),
        k.BatchNormalization(),
        k.Dense(5, "relu"),
        k.Dense(1),
    ]
    model = small(keras, *layers)
    convert(model, path)
    return model


def unrolled_open_batch(path: Path) -> Any:
    k = keras.layers
    model = small(keras, k.LSTM(12, return_sequences=True, unroll=True), k.LSTM(7, unroll=True), k.Dense(1))
    convert(model, path, batch=None)
    return model


def unrolled_batch_7(path: Path) -> Any:
    k = keras.layers
    model = small(keras, k.LSTM(12, return_sequences=True, unroll=True), k.LSTM(7, unroll=True), k.Dense(1))
    convert(model, path, batch=7)
    return model


def unrolled_legacy(path: Path) -> Any:
    k = tf_keras.layers
    layers = [
        k.LSTM(12, return_sequences=True, unroll=True),
        k.BatchNormalization(),
        k.LSTM(7, unroll=True),
        k.Dense(5, "relu"),
        k.Dense(1),
    ]
    model = small(tf_keras, *layers)
    convert(model, path)
    return model


def unrolled_dynamic_range(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(40, unroll=True), keras.layers.Dense(1))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT])
    return model


def dense(path: Path) -> Any:
    k = tf_keras.layers
    layers = [
        k.Dense(128, "relu"),
        k.BatchNormalization(),
        k.Dense(64, "relu"),
        k.BatchNormalization(),
        k.Dense(32, "relu"),
        k.BatchNormalization(),
        k.Dense(10),
    ]
    model = small(tf_keras, *layers, shape=(FEATURES,))
    convert(model, path)
    return model


def dense_activations(path: Path) -> Any:
    k = tf_keras.layers
    layers = [
        k.Dense(11, "tanh"),
        k.Dense(9, "sigmoid"),
        k.Dense(7, tf.nn.relu6),
        k.Dense(5, "relu"),
        k.ReLU(),
        k.Activation("tanh"),
        k.Dense(3, "sigmoid"),
    ]
    model = small(tf_keras, *layers, shape=(FEATURES,))
    convert(model, path)
    return model


def dense_rescaled(path: Path) -> Any:
    k = tf_keras.layers
    layers = [k.Lambda(lambda x: 3.0 - 2.0 * x), k.Dense(6, "relu"), k.Lambda(lambda x: (x - 0.5) * 0.25), k.Dense(2)]
    model = small(tf_keras, *layers, shape=(FEATURES,))
    convert(model, path)
    return model


def dense_dynamic_range(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Dense(128, "relu"), k.BatchNormalization(), k.Dense(64, "relu"), k.Dense(10), shape=(16,))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT])
    return model


def gru(path: Path) -> Any:
    model = small(keras, keras.layers.GRU(8), keras.layers.Dense(1))
    convert(model, path)
    return model


def convolution(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Conv1D(8, 3, padding="causal", activation="relu"), k.LSTM(8), k.Dense(1))
    convert(model, path)
    return model


def bidirectional(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Bidirectional(k.LSTM(8)), k.Dense(1))
    convert(model, path)
    return model


def go_backwards(path: Path) -> Any:
    model = small(tf_keras, tf_keras.layers.LSTM(8, go_backwards=True), tf_keras.layers.Dense(1))
    convert(model, path)
    return model


def go_backwards_while(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(8, go_backwards=True), keras.layers.Dense(1))
    convert(model, path)
    return model


def go_backwards_unrolled(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(8, go_backwards=True, unroll=True), keras.layers.Dense(1))
    convert(model, path)
    return model


def relu_lstm(path: Path) -> Any:
    model = small(tf_keras, tf_keras.layers.LSTM(8, activation="relu"), tf_keras.layers.Dense(1))
    convert(model, path)
    return model


def relu_lstm_while(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(8, activation="relu"), keras.layers.Dense(1))
    convert(model, path)
    return model


def relu_lstm_unrolled(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(8, activation="relu", unroll=True), keras.layers.Dense(1))
    convert(model, path)
    return model


def hard_sigmoid_lstm(path: Path) -> Any:
    model = small(keras, keras.layers.LSTM(8, recurrent_activation="hard_sigmoid"), keras.layers.Dense(1))
    convert(model, path)
    return model


def sigmoid_candidate_while(path: Path) -> Any:
    """Only the candidate and output activation differ, by another function that the kernels know."""
    model = small(keras, keras.layers.LSTM(8, activation="sigmoid"), keras.layers.Dense(1))
    convert(model, path)
    return model


def initial_state_while(path: Path) -> Any:
    window = keras.Input((STEPS, FEATURES))
    hidden = keras.layers.Lambda(lambda x: x[:, 0, :] * 0.0 + 0.5)(window)
    output = keras.layers.LSTM(FEATURES)(window, initial_state=[hidden, hidden])
    model = randomise(keras.Model(window, keras.layers.Dense(1)(output)))
    convert(model, path)
    return model


def constant_state_while(path: Path) -> Any:
    """Starts from a constant state that is not zero."""
    window = keras.Input((STEPS, FEATURES))
    hidden = keras.layers.Lambda(lambda x: tf.ones((1, 5)) * 0.5)(window)
    output = keras.layers.LSTM(5)(window, initial_state=[hidden, hidden])
    model = randomise(keras.Model(window, keras.layers.Dense(1)(output)))
    convert(model, path)
    return model


def some_steps(path: Path) -> Any:
    """Reads the last five steps only."""
    k = tf_keras.layers
    model = small(tf_keras, k.Lambda(lambda x: x[:, 5:, :]), k.LSTM(8), k.Dense(1))
    convert(model, path)
    return model


def cell_state(path: Path) -> Any:
    """Gives the cell state, not the hidden state."""
    window = keras.Input((STEPS, FEATURES))
    _, _, cell = keras.layers.LSTM(8, return_state=True)(window)
    model = randomise(keras.Model(window, keras.layers.Dense(1)(cell)))
    convert(model, path)
    return model


def decoder(path: Path) -> Any:
    """The last state, repeated, feeds a second LSTM."""
    k = tf_keras.layers
    model = small(tf_keras, k.LSTM(8), k.RepeatVector(4), k.LSTM(6), k.Dense(1))
    convert(model, path)
    return model


def windows_mixed(path: Path) -> Any:
    """Each window's answer is made from the other window of the batch."""
    model = small(tf_keras, tf_keras.layers.Lambda(lambda x: x[::-1]), tf_keras.layers.Dense(2), shape=(FEATURES,))
    convert(model, path, batch=2)
    return model


def lstm_residual(path: Path) -> Any:
    k = tf_keras.layers
    window = tf_keras.Input((STEPS, FEATURES))
    hidden = k.LSTM(FEATURES, return_sequences=True)(window)
    model = randomise(tf_keras.Model(window, k.LSTM(3)(k.Add()([hidden, window]))))
    convert(model, path)
    return model


def residual(path: Path) -> Any:
    """Two paths that join: an ADD of two activations."""
    k = tf_keras.layers
    window = tf_keras.Input((FEATURES,))
    hidden = k.Dense(FEATURES, activation="relu")(window)
    model = randomise(tf_keras.Model(window, k.Dense(1)(k.Add()([hidden, window]))))
    convert(model, path)
    return model


def two_outputs(path: Path) -> Any:
    k = tf_keras.layers
    window = tf_keras.Input((STEPS, FEATURES))
    hidden = k.LSTM(8)(window)
    model = randomise(tf_keras.Model(window, [k.Dense(1)(hidden), k.Dense(2)(hidden)]))
    convert(model, path)
    return model


def two_inputs(path: Path) -> Any:
    k = tf_keras.layers
    window, context = tf_keras.Input((STEPS, FEATURES)), tf_keras.Input((3,))
    joined = k.Concatenate()([k.LSTM(8)(window), context])
    model = randomise(tf_keras.Model([window, context], k.Dense(1)(joined)))
    convert(model, path)
    return model


def softmax(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Dense(8, "relu"), k.Dense(4, "softmax"), shape=(FEATURES,))
    convert(model, path)
    return model


def full_int8(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.LSTM(24, return_sequences=True), k.LSTM(17), k.Dense(1))
    rng = np.random.default_rng(3)

    def representative() -> Iterator[list[Floats]]:
        for _ in range(16):
            yield [rng.normal(size=(1, STEPS, FEATURES)).astype(np.float32)]

    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT], representative=representative)
    return model


def full_int8_dense(path: Path) -> Any:
    model = small(tf_keras, tf_keras.layers.Dense(24, "relu"), tf_keras.layers.Dense(1), shape=(FEATURES,))
    rng = np.random.default_rng(3)

    def representative() -> Iterator[list[Floats]]:
        for _ in range(16):
            yield [rng.normal(size=(1, FEATURES)).astype(np.float32)]

    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT], representative=representative)
    return model


CLAIMED: dict[str, Callable[[Path], Any]] = {
    builder.__name__: builder
    for builder in (
        fused,
        fused_batch_7,
        fused_sequence,
        fused_flatten,
        fused_time_major,
        fused_time_major_batch_3,
        normalised_input,
        one_step,
        last_step_dense,
        long_window,
        saturated,
        fused_dynamic_range,
        fused_float16,
        while_loop,
        while_batch_7,
        while_sequence,
        while_no_bias,
        while_dynamic_range,
        while_float16,
        unrolled,
        unrolled_open_batch,
        unrolled_batch_7,
        unrolled_legacy,
        unrolled_dynamic_range,
        dense,
        dense_activations,
        dense_rescaled,
        dense_dynamic_range,
    )
}
"""Models that the native backend runs whole."""

NOT_CLAIMED: dict[str, Callable[[Path], Any]] = {
    builder.__name__: builder
    for builder in (
        gru,
        convolution,
        bidirectional,
        go_backwards,
        go_backwards_while,
        go_backwards_unrolled,
        relu_lstm,
        relu_lstm_while,
        relu_lstm_unrolled,
        hard_sigmoid_lstm,
        sigmoid_candidate_while,
        initial_state_while,
        constant_state_while,
        residual,
        lstm_residual,
        time_major_input,
        some_steps,
        cell_state,
        decoder,
        windows_mixed,
        two_outputs,
        two_inputs,
        softmax,
        full_int8,
        full_int8_dense,
    )
}
"""Models that must stay on TFLite's own kernels."""
