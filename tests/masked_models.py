"""Recurrences behind a Masking layer, which leaves out steps whose features are all one value. All run natively."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from keras_models import convert, small


def masking(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.LSTM(6), k.Dense(1))
    convert(model, path)
    return model


def masking_stack(path: Path) -> Any:
    """The mask goes on through normalisation to a second LSTM; another value than zero stands for what is missing."""
    k = tf_keras.layers
    layers = [k.Masking(-1.0), k.BatchNormalization(), k.LSTM(19, return_sequences=True), k.BatchNormalization()]
    model = small(tf_keras, *layers, k.LSTM(7), k.BatchNormalization(), k.Dense(5, "relu"), k.Dense(2))
    convert(model, path)
    return model


def masking_gru(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.GRU(9, return_sequences=True), k.GRU(5, reset_after=False), k.Dense(1))
    convert(model, path)
    return model


def masking_unrolled(path: Path) -> Any:
    k = tf_keras.layers
    model = small(
        tf_keras, k.Masking(), k.LSTM(6, return_sequences=True, unroll=True), k.GRU(4, unroll=True), k.Dense(1)
    )
    convert(model, path)
    return model


def masking_while(path: Path) -> Any:
    """By Keras 3, for a batch of 7."""
    k = keras.layers
    model = small(keras, k.Masking(0.5), k.LSTM(8, return_sequences=True), k.LSTM(6, activation="relu"), k.Dense(2))
    convert(model, path, batch=7)
    return model


def masking_gru_while(path: Path) -> Any:
    k = keras.layers
    model = small(keras, k.Masking(), k.GRU(8), k.LayerNormalization(), k.Dense(2, "softmax"))
    convert(model, path)
    return model


def masking_both(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.Bidirectional(k.LSTM(6)), k.Dense(1))
    convert(model, path)
    return model


def masking_backwards(path: Path) -> Any:
    k = keras.layers
    model = small(keras, k.Masking(), k.LSTM(6, go_backwards=True), k.Dense(1))
    convert(model, path)
    return model


def masking_one_feature(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.LSTM(6), k.Dense(1), shape=(12, 1))
    convert(model, path)
    return model


def masking_dynamic_range(path: Path) -> Any:
    k = keras.layers
    model = small(keras, k.Masking(), k.LSTM(40), k.Dense(1))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT])
    return model


def masking_sequence(path: Path) -> Any:
    """Every step of a masked LSTM is given, the ones that are left out as the one before them."""
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.LSTM(6, return_sequences=True), k.Dense(1))
    convert(model, path)
    return model


def masking_sequence_while(path: Path) -> Any:
    """By Keras 3: two layers, normalised steps, and all of them read by what follows."""
    k = keras.layers
    layers = [k.Masking(-0.5), k.LSTM(7, return_sequences=True), k.GRU(5, return_sequences=True)]
    model = small(keras, *layers, k.LayerNormalization(), k.Flatten(), k.Dense(3, "softmax"))
    convert(model, path)
    return model


def masking_dense(path: Path) -> Any:
    """No recurrence: what is left out is zeros."""
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.Flatten(), k.Dense(1))
    convert(model, path)
    return model


def masking_both_sequence(path: Path) -> Any:
    """Both directions step by step: what is left out is zeros, and not the one before."""
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.Bidirectional(k.LSTM(4, return_sequences=True)), k.Dense(2))
    convert(model, path)
    return model


def masking_zeros(path: Path) -> Any:
    """Zeros in the place of what is left out, which a second layer leaves out, too, and gives as the step before."""
    k = tf_keras.layers
    layers = [k.Masking(), k.LSTM(6, return_sequences=True, zero_output_for_mask=True), k.BatchNormalization()]
    model = small(tf_keras, *layers, k.LSTM(3, return_sequences=True), k.Dense(2))
    convert(model, path)
    return model


def masking_zeros_last(path: Path) -> Any:
    k = tf_keras.layers
    model = small(
        tf_keras, k.Masking(), k.GRU(6, return_sequences=True, zero_output_for_mask=True), k.Dense(2, "softmax")
    )
    convert(model, path)
    return model


def masking_both_then_lstm(path: Path) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Masking(), k.Bidirectional(k.LSTM(4, return_sequences=True)), k.LSTM(3), k.Dense(1))
    convert(model, path)
    return model


def masking_both_sum(path: Path) -> Any:
    k = tf_keras.layers
    both = k.Bidirectional(k.GRU(4, return_sequences=True), merge_mode="sum")
    model = small(tf_keras, k.Masking(), both, k.TimeDistributed(k.Dense(2, "tanh")))
    convert(model, path)
    return model


MASK_VALUES = {"masking_stack": -1.0, "masking_while": 0.5, "masking_sequence_while": -0.5}
"""By name; of the others it is 0."""

MASKED: dict[str, Callable[[Path], Any]] = {
    builder.__name__: builder
    for builder in (
        masking,
        masking_stack,
        masking_gru,
        masking_unrolled,
        masking_while,
        masking_gru_while,
        masking_both,
        masking_backwards,
        masking_one_feature,
        masking_dynamic_range,
        masking_sequence,
        masking_sequence_while,
        masking_dense,
        masking_both_sequence,
        masking_both_then_lstm,
        masking_zeros,
        masking_zeros_last,
        masking_both_sum,
    )
}
"""By name."""
