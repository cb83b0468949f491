"""Models that must stay on TensorFlow Lite's own kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from keras_models import FEATURES, STEPS, Floats, convert, randomise, small


def convolution(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Conv1D(8, 3, padding="causal", activation="relu"), k.LSTM(8), k.Dense(1))
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


def residual(path: Path) -> Any:
    """Two paths that join: an ADD of two activations."""
    k = tf_keras.layers
    window = tf_keras.Input((FEATURES,))
    hidden = k.Dense(FEATURES, activation="relu")(window)
    model = randomise(tf_keras.Model(window, k.Dense(1)(k.Add()([hidden, window]))))
    convert(model, path)
    return model


def lstm_residual(path: Path) -> Any:
    k = tf_keras.layers
    window = tf_keras.Input((STEPS, FEATURES))
    hidden = k.LSTM(FEATURES, return_sequences=True)(window)
    model = randomise(tf_keras.Model(window, k.LSTM(3)(k.Add()([hidden, window]))))
    convert(model, path)
    return model


def time_major_input(path: Path) -> Any:
    """The input itself is (steps, batch, features), so that its first dimension is not the batch."""
    model = small(tf_keras, tf_keras.layers.LSTM(7, time_major=True), tf_keras.layers.Dense(2), shape=(1, FEATURES))
    convert(model, path, batch=STEPS)
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


def windows_mixed(path: Path) -> Any:
    """Each window's answer is made from the other window of the batch."""
    model = small(tf_keras, tf_keras.layers.Lambda(lambda x: x[::-1]), tf_keras.layers.Dense(2), shape=(FEATURES,))
    convert(model, path, batch=2)
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


def softmax_over_steps(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.LSTM(6, return_sequences=True), k.Softmax(axis=1), k.LSTM(5), k.Dense(1))
    convert(model, path)
    return model


def mean_over_steps(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.LSTM(6, return_sequences=True), k.GlobalAveragePooling1D(), k.Dense(1))
    convert(model, path)
    return model


def normalised_window(path: Path) -> Any:
    """Layer normalisation over steps and features together."""
    k = tf_keras.layers
    model = small(tf_keras, k.LayerNormalization(axis=[1, 2]), k.LSTM(5), k.Dense(1))
    convert(model, path)
    return model


def masked_backwards_sequence(path: Path) -> Any:
    """Newest step first, and every step given: what is left out is the step after it."""
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.LSTM(6, return_sequences=True, go_backwards=True), k.Dense(1))
    convert(model, path)
    return model


def masked_other_steps(path: Path) -> Any:
    """Two masks, one of zeros and one of ones."""
    k = tf_keras.layers
    window = tf_keras.Input((10, 4))
    first = k.LSTM(5, return_sequences=True)(window, mask=tf.reduce_any(window != 0.0, axis=-1))
    model = randomise(tf_keras.Model(window, k.Dense(1)(k.LSTM(3)(first, mask=tf.reduce_any(window != 1.0, axis=-1)))))
    convert(model, path)
    return model


def masked_last_step(path: Path) -> Any:
    """One step alone, zeros if it is left out."""
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.Lambda(lambda x: x[:, -1, :]), k.Dense(1))
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


NOT_CLAIMED: dict[str, Callable[[Path], Any]] = {
    builder.__name__: builder
    for builder in (
        convolution,
        initial_state_while,
        constant_state_while,
        residual,
        lstm_residual,
        time_major_input,
        some_steps,
        cell_state,
        windows_mixed,
        softmax_over_steps,
        mean_over_steps,
        normalised_window,
        masked_backwards_sequence,
        masked_other_steps,
        masked_last_step,
        two_outputs,
        two_inputs,
        full_int8,
        full_int8_dense,
    )
}
"""By name."""
