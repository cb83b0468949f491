"""Models whose recurrent state is among their inputs and outputs, as people export them to step through a stream."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from keras_models import FEATURES, converter_of, randomise

UNITS = 9


def convert_step(model: Any, path: Path, *, batch: int = 1, signature: bool = True) -> Path:
    """Writes `model`. Its inputs are called as in Keras; its outputs "y", and then as the inputs behind the first,
    with "_next". Without a signature, as the converter writes a Keras 3 model, the outputs have no names."""
    names = [tensor.name for tensor in model.inputs]
    specs = [
        tf.TensorSpec((batch, *tensor.shape[1:]), tf.float32, name=name)
        for name, tensor in zip(names, model.inputs, strict=True)
    ]

    def step(*inputs: Any) -> Any:
        outputs = model(list(inputs), training=False)
        return dict(zip(["y", *(f"{name}_next" for name in names[1:])], outputs, strict=True))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if signature:
            owner = tf.Module()
            owner.kept = model.weights
            owner.step = tf.function(step, input_signature=specs)
            function = owner.step.get_concrete_function()
            converter = tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
        else:
            converter = converter_of(model, tf.function(step).get_concrete_function(*specs))
        path.write_bytes(converter.convert())
    return path


def inputs_of(k: Any, *names: str, shape: tuple[int, ...] = (FEATURES,)) -> list[Any]:
    """Called "x" and then `names`, each of UNITS."""
    return [k.Input(shape, name="x"), *(k.Input((UNITS,), name=name) for name in names)]


def lstm_cell(path: Path) -> Any:
    k = tf_keras
    x, h, c = inputs_of(k, "h", "c")
    output, (h_next, c_next) = k.layers.LSTMCell(UNITS)(x, [h, c])
    model = randomise(k.Model([x, h, c], [k.layers.Dense(2)(output), h_next, c_next]))
    convert_step(model, path)
    return model


def lstm_cell_batch_3(path: Path) -> Any:
    k = keras
    x, h, c = inputs_of(k, "h", "c")
    output, (h_next, c_next) = k.layers.LSTMCell(UNITS)(x, [h, c])
    model = randomise(k.Model([x, h, c], [k.layers.Dense(2)(output), h_next, c_next]))
    convert_step(model, path, batch=3, signature=False)
    return model


def gru_cell(path: Path) -> Any:
    k = keras
    x, h = inputs_of(k, "h")
    output, h_next = k.layers.GRUCell(UNITS)(x, h)
    model = randomise(k.Model([x, h], [k.layers.Dense(1, "sigmoid")(output), h_next]))
    convert_step(model, path, signature=False)
    return model


def lstm_chunk(path: Path) -> Any:
    """Five steps at a time, by Keras 3 as a loop."""
    k = keras
    x, h, c = inputs_of(k, "h", "c", shape=(5, FEATURES))
    output, h_next, c_next = k.layers.LSTM(UNITS, return_state=True)(x, initial_state=[h, c])
    model = randomise(k.Model([x, h, c], [k.layers.Dense(1)(output), h_next, c_next]))
    convert_step(model, path, signature=False)
    return model


def gru_chunk(path: Path) -> Any:
    k = tf_keras
    x, h = inputs_of(k, "h", shape=(5, FEATURES))
    output, h_next = k.layers.GRU(UNITS, return_state=True)(x, initial_state=h)
    model = randomise(k.Model([x, h], [k.layers.Dense(1)(output), h_next]))
    convert_step(model, path)
    return model


def two_layers(path: Path) -> Any:
    """An LSTM on top of a GRU, behind a batch normalisation and in front of dense layers."""
    k = tf_keras
    x, g, h, c = inputs_of(k, "g", "h", "c", shape=(1, FEATURES))
    below, g_next = k.layers.GRU(UNITS, return_sequences=True, return_state=True)(
        k.layers.BatchNormalization()(x), initial_state=g
    )
    above, h_next, c_next = k.layers.LSTM(UNITS, return_state=True)(below, initial_state=[h, c])
    answer = k.layers.Dense(1)(k.layers.Dense(6, "relu")(above))
    model = randomise(k.Model([x, g, h, c], [answer, g_next, h_next, c_next]))
    convert_step(model, path)
    return model


def state_alone(path: Path) -> Any:
    """The hidden state is the answer: one tensor, by two names."""
    k = tf_keras
    x, h, c = inputs_of(k, "h", "c")
    _, (h_next, c_next) = k.layers.LSTMCell(UNITS)(x, [h, c])
    model = randomise(k.Model([x, h, c], [h_next, h_next, c_next]))
    convert_step(model, path)
    return model


def square_cell(path: Path) -> Any:
    """As many features as units: which input is the hidden state is told by the cell state alone, or not at all."""
    k = keras
    x, h, c = inputs_of(k, "h", "c", shape=(UNITS,))
    output, (h_next, c_next) = k.layers.LSTMCell(UNITS)(x, [h, c])
    model = randomise(k.Model([x, h, c], [k.layers.Dense(2)(output), h_next, c_next]))
    convert_step(model, path, signature=False)
    return model


def relu_cell(path: Path) -> Any:
    k = tf_keras
    x, h, c = inputs_of(k, "h", "c")
    output, (h_next, c_next) = k.layers.LSTMCell(UNITS, activation="relu")(x, [h, c])
    model = randomise(k.Model([x, h, c], [k.layers.Dense(2, "softmax")(output), h_next, c_next]))
    convert_step(model, path)
    return model


def simple_cell(path: Path) -> Any:
    """A plain recurrent network, which no native layer is."""
    k = tf_keras
    x, h = inputs_of(k, "h")
    output, h_next = k.layers.SimpleRNNCell(UNITS)(x, h)
    model = randomise(k.Model([x, h], [k.layers.Dense(1)(output), h_next]))
    convert_step(model, path)
    return model


def backwards_chunk(path: Path) -> Any:
    """Reads its five steps newest first, which no stepping can."""
    k = keras
    x, h, c = inputs_of(k, "h", "c", shape=(5, FEATURES))
    layer = k.layers.LSTM(UNITS, return_state=True, go_backwards=True)
    output, h_next, c_next = layer(x, initial_state=[h, c])
    model = randomise(k.Model([x, h, c], [k.layers.Dense(1)(output), h_next, c_next]))
    convert_step(model, path, signature=False)
    return model


NATIVE_STATE = [
    lstm_cell,
    lstm_cell_batch_3,
    gru_cell,
    lstm_chunk,
    gru_chunk,
    two_layers,
    state_alone,
    square_cell,
    relu_cell,
]

STATE: dict[str, Callable[[Path], Any]] = {
    builder.__name__: builder for builder in (*NATIVE_STATE, simple_cell, backwards_chunk)
}
"""By name."""
