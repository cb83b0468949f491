"""Small .tflite models of many kinds from TensorFlow: those that run on the native kernels, and all by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from keras_models import FEATURES, convert, fused_layers, randomise, small, time_major_layers
from masked_models import MASKED
from quantised_models import QUANTISED
from recurrent_models import RECURRENT
from state_models import STATE
from unclaimed_models import NOT_CLAIMED


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


def fused_time_major(path: Path) -> Any:
    model = small(tf_keras, *time_major_layers(tf_keras))
    convert(model, path)
    return model


def fused_time_major_batch_3(path: Path) -> Any:
    model = small(tf_keras, *time_major_layers(tf_keras))
    convert(model, path, batch=3)
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


def softmax(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Dense(8, "relu"), k.Dense(4, "softmax"), shape=(FEATURES,))
    convert(model, path)
    return model


def softmax_steps(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.LSTM(9, return_sequences=True), k.TimeDistributed(k.Dense(5, "softmax")))
    convert(model, path)
    return model


def decoder(path: Path) -> Any:
    """The last state, repeated, feeds a second LSTM."""
    k = tf_keras.layers
    model = small(tf_keras, k.LSTM(8), k.RepeatVector(4), k.LSTM(6), k.Dense(1))
    convert(model, path)
    return model


def autoencoder_while(path: Path) -> Any:
    k = keras.layers
    layers = [k.LSTM(8), k.RepeatVector(10), k.LSTM(7, return_sequences=True), k.TimeDistributed(k.Dense(FEATURES))]
    model = small(keras, *layers)
    convert(model, path)
    return model


def layer_norm(path: Path) -> Any:
    """Behind a ReLU, in front of one, and last: its scale goes into the next layer where it can."""
    k = tf_keras.layers
    layers = [k.Dense(33, "relu"), k.LayerNormalization(), k.Dense(20), k.LayerNormalization(epsilon=1e-2), k.ReLU()]
    model = small(tf_keras, *layers, k.Dense(5), k.LayerNormalization(), shape=(FEATURES,))
    convert(model, path)
    return model


def layer_norm_batch_7(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.LayerNormalization(), k.LSTM(9), k.LayerNormalization(scale=False), k.Dense(3))
    convert(model, path, batch=7)
    return model


def layer_norm_open_batch(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Dense(17, "tanh"), k.LayerNormalization(center=False), k.Dense(3), shape=(FEATURES,))
    convert(model, path, batch=None)
    return model


def layer_norm_while(path: Path) -> Any:
    k = keras.layers
    layers = [k.LSTM(9, return_sequences=True), k.LayerNormalization(), k.LSTM(6), k.LayerNormalization(), k.Dense(2)]
    model = small(keras, *layers)
    convert(model, path)
    return model


def layer_norm_by_hand(path: Path) -> Any:
    """A difference divided by a root, as people write it who do not know the layer."""

    def standardised(x: Any) -> Any:
        away = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        deviation = tf.sqrt(tf.reduce_mean(tf.square(away), axis=-1, keepdims=True) + 1e-3)
        return away / deviation * 2.0 + 0.25

    k = tf_keras.layers
    model = small(tf_keras, k.Dense(12, "tanh"), k.Lambda(standardised), k.Dense(3), shape=(FEATURES,))
    convert(model, path)
    return model


def layer_norm_dynamic_range(path: Path) -> Any:
    k = tf_keras.layers
    layers = [k.Dense(64, "relu"), k.LayerNormalization(), k.Dense(48, "relu"), k.LayerNormalization(), k.Dense(10)]
    model = small(tf_keras, *layers, shape=(16,))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT])
    return model


def dueling(path: Path) -> Any:
    """Q = V + A - mean(A) of one hidden layer, after Wang et al. 2016."""
    k = tf_keras.layers
    state = tf_keras.Input((FEATURES,))
    hidden = k.Dense(21, "relu")(state)
    q = k.Lambda(lambda x: x[0] + x[1] - tf.reduce_mean(x[1], axis=1, keepdims=True))
    model = randomise(tf_keras.Model(state, q([k.Dense(1)(hidden), k.Dense(6)(hidden)])))
    convert(model, path)
    return model


def dueling_streams(path: Path) -> Any:
    """Its value and its advantages have hidden layers of their own, two of them, with batch normalisation."""
    k = keras.layers
    state = keras.Input((FEATURES,))
    hidden = k.Dense(21, "relu")(state)
    value = k.Dense(7, "relu")(k.BatchNormalization()(k.Dense(9, "relu")(hidden)))
    advantage = k.Dense(8, "relu")(k.BatchNormalization()(k.Dense(13, "relu")(hidden)))
    advantage = k.Dense(6)(advantage)
    q = k.Dense(1)(value) + (advantage - keras.ops.mean(advantage, axis=1, keepdims=True))
    model = randomise(keras.Model(state, q))
    convert(model, path, batch=7)
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
        softmax,
        softmax_steps,
        decoder,
        autoencoder_while,
        layer_norm,
        layer_norm_batch_7,
        layer_norm_open_batch,
        layer_norm_while,
        layer_norm_by_hand,
        layer_norm_dynamic_range,
        dueling,
        dueling_streams,
    )
}
CLAIMED |= RECURRENT | MASKED
"""Models that the native backend runs whole."""

MODELS = {**CLAIMED, **NOT_CLAIMED, **QUANTISED, **STATE}
