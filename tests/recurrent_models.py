"""Models with recurrences other than a plain LSTM, read oldest step first: all run on the native kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from keras_models import FEATURES, STEPS, convert, randomise, small


def gru(path: Path) -> Any:
    model = small(keras, keras.layers.GRU(8), keras.layers.Dense(1))
    convert(model, path)
    return model


def bidirectional(path: Path) -> None:
    k = tf_keras.layers
    model = small(tf_keras, k.Bidirectional(k.LSTM(8)), k.Dense(1))
    convert(model, path)


def go_backwards(path: Path) -> None:
    model = small(tf_keras, tf_keras.layers.LSTM(8, go_backwards=True), tf_keras.layers.Dense(1))
    convert(model, path)


def go_backwards_while(path: Path) -> None:
    model = small(keras, keras.layers.LSTM(8, go_backwards=True), keras.layers.Dense(1))
    convert(model, path)


def go_backwards_unrolled(path: Path) -> None:
    model = small(keras, keras.layers.LSTM(8, go_backwards=True, unroll=True), keras.layers.Dense(1))
    convert(model, path)


def relu_lstm(path: Path) -> None:
    model = small(tf_keras, tf_keras.layers.LSTM(8, activation="relu"), tf_keras.layers.Dense(1))
    convert(model, path)


def relu_lstm_while(path: Path) -> None:
    model = small(keras, keras.layers.LSTM(8, activation="relu"), keras.layers.Dense(1))
    convert(model, path)


def relu_lstm_unrolled(path: Path) -> None:
    model = small(keras, keras.layers.LSTM(8, activation="relu", unroll=True), keras.layers.Dense(1))
    convert(model, path)


def hard_sigmoid_lstm(path: Path) -> None:
    model = small(keras, keras.layers.LSTM(8, recurrent_activation="hard_sigmoid"), keras.layers.Dense(1))
    convert(model, path)


def sigmoid_candidate_while(path: Path) -> None:
    """Only the candidate and output activation differ, by another function that the kernels know."""
    model = small(keras, keras.layers.LSTM(8, activation="sigmoid"), keras.layers.Dense(1))
    convert(model, path)


def gru_stack(path: Path) -> None:
    """Two GRUs with normalisation between, by Keras 3 as loops."""
    k = keras.layers
    convert(small(keras, k.GRU(19, return_sequences=True), k.BatchNormalization(), k.GRU(7), k.Dense(2)), path)


def gru_legacy(path: Path) -> None:
    k = tf_keras.layers
    convert(small(tf_keras, k.GRU(12, return_sequences=True), k.GRU(17), k.Dense(1)), path)


def gru_legacy_unrolled(path: Path) -> None:
    k = tf_keras.layers
    convert(small(tf_keras, k.GRU(6, return_sequences=True, unroll=True), k.GRU(5, unroll=True), k.Dense(1)), path)


def gru_reset_before(path: Path) -> None:
    """The reset gate in front of the candidate's matrix, as in the paper."""
    k = tf_keras.layers
    first = k.GRU(18, reset_after=False, return_sequences=True)
    convert(small(tf_keras, first, k.GRU(5, reset_after=False), k.Dense(1)), path)


def gru_reset_before_unrolled(path: Path) -> None:
    convert(small(keras, keras.layers.GRU(7, reset_after=False, unroll=True), keras.layers.Dense(1)), path)


def gru_no_bias(path: Path) -> None:
    convert(small(keras, keras.layers.GRU(5, use_bias=False, unroll=True), keras.layers.Dense(1)), path)


def gru_other_activations(path: Path) -> None:
    layer = keras.layers.GRU(9, activation="relu", recurrent_activation="hard_sigmoid")
    convert(small(keras, layer, keras.layers.Dense(1)), path)


def gru_dynamic_range(path: Path) -> None:
    model = small(keras, keras.layers.GRU(40, return_sequences=True), keras.layers.GRU(33), keras.layers.Dense(1))
    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT])


def gru_batch_7(path: Path) -> None:
    convert(small(keras, keras.layers.GRU(6, return_sequences=True), keras.layers.Dense(2)), path, batch=7)


def linear_lstm(path: Path) -> None:
    convert(small(keras, keras.layers.LSTM(8, activation="linear"), keras.layers.Dense(1)), path)


def sigmoid_candidate_unrolled(path: Path) -> None:
    """Input gate and candidate are of one function: which is which has to be the same at each step."""
    layer = tf_keras.layers.LSTM(8, activation="sigmoid", unroll=True)
    convert(small(tf_keras, layer, tf_keras.layers.Dense(1)), path)


def hard_sigmoid_legacy(path: Path) -> None:
    """min(max(x / 5 + 1/2, 0), 1), where Keras 3 has relu6(x + 3) / 6."""
    layer = tf_keras.layers.LSTM(8, recurrent_activation="hard_sigmoid")
    convert(small(tf_keras, layer, tf_keras.layers.Dense(1, activation="hard_sigmoid")), path)


def bidirectional_while(path: Path) -> None:
    k = keras.layers
    convert(small(keras, k.BatchNormalization(), k.Bidirectional(k.LSTM(9)), k.Dense(2)), path)


def bidirectional_stack(path: Path) -> None:
    """Each step's outputs side by side, for a second pair of LSTMs."""
    k = tf_keras.layers
    first = k.Bidirectional(k.LSTM(7, return_sequences=True))
    convert(small(tf_keras, first, k.BatchNormalization(), k.Bidirectional(k.LSTM(5)), k.Dense(1)), path)


def bidirectional_sum(path: Path) -> None:
    k = keras.layers
    first = k.Bidirectional(k.LSTM(18, return_sequences=True), merge_mode="sum")
    convert(small(keras, first, k.Bidirectional(k.LSTM(5), merge_mode="sum"), k.Dense(1)), path)


def bidirectional_average(path: Path) -> None:
    k = tf_keras.layers
    convert(small(tf_keras, k.Bidirectional(k.LSTM(6), merge_mode="ave"), k.Dense(1)), path)


def bidirectional_gru(path: Path) -> None:
    k = keras.layers
    first = k.Bidirectional(k.GRU(6, return_sequences=True), merge_mode="ave")
    convert(small(keras, first, k.Bidirectional(k.GRU(5, reset_after=False), merge_mode="mul"), k.Dense(1)), path)


def bidirectional_unrolled(path: Path) -> None:
    k = tf_keras.layers
    convert(small(tf_keras, k.Bidirectional(k.LSTM(6, unroll=True)), k.Dense(1)), path)


def bidirectional_of_two_kinds(path: Path) -> None:
    """A GRU forwards, an LSTM backwards."""
    k = keras.layers
    window = keras.Input((STEPS, FEATURES))
    both = k.Bidirectional(k.GRU(9), backward_layer=k.LSTM(9, go_backwards=True))
    convert(randomise(keras.Model(window, k.Dense(1)(both(window)))), path)


def go_backwards_sequence(path: Path) -> None:
    """Behind another recurrence, and every step of it."""
    k = keras.layers
    layers = [k.GRU(6, return_sequences=True), k.LSTM(8, go_backwards=True, return_sequences=True), k.LSTM(5)]
    convert(small(keras, *layers, k.Dense(1)), path)


def open_lists(path: Path) -> None:
    """A loop with an open batch, whose TensorLists are cut and joined with an entry at each turn."""
    k = keras.layers
    model = small(keras, k.LSTM(9, return_sequences=True), k.LSTM(5), k.Dense(1))
    convert(model, path, batch=None, single_lists=True)


def open_lists_legacy(path: Path) -> None:
    k = tf_keras.layers
    model = small(tf_keras, k.GRU(9, return_sequences=True), k.GRU(5), k.Dense(1))
    convert(model, path, batch=None, single_lists=True)


RECURRENT: dict[str, Callable[[Path], Any]] = {
    builder.__name__: builder
    for builder in (
        gru,
        bidirectional,
        go_backwards,
        go_backwards_while,
        go_backwards_unrolled,
        relu_lstm,
        relu_lstm_while,
        relu_lstm_unrolled,
        hard_sigmoid_lstm,
        sigmoid_candidate_while,
        gru_stack,
        gru_legacy,
        gru_legacy_unrolled,
        gru_reset_before,
        gru_reset_before_unrolled,
        gru_no_bias,
        gru_other_activations,
        gru_dynamic_range,
        gru_batch_7,
        linear_lstm,
        sigmoid_candidate_unrolled,
        hard_sigmoid_legacy,
        bidirectional_while,
        bidirectional_stack,
        bidirectional_sum,
        bidirectional_average,
        bidirectional_gru,
        bidirectional_unrolled,
        bidirectional_of_two_kinds,
        go_backwards_sequence,
        open_lists,
        open_lists_legacy,
    )
}
"""By name."""
