"""Models whose input and output are whole numbers that stand for float32, as the converter quantises them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from keras_models import FEATURES, STEPS, Floats, convert, small


def _convert(model: Any, path: Path, edge: Any, spread: float = 1.0) -> None:
    """With a data set of normal windows of the deviation `spread`, which set the scales."""
    rng = np.random.default_rng(3)

    def representative() -> Iterator[list[Floats]]:
        for _ in range(16):
            yield [(spread * rng.normal(size=(1, *model.inputs[0].shape[1:]))).astype(np.float32)]

    convert(model, path, optimizations=[tf.lite.Optimize.DEFAULT], representative=representative, edge=edge)


def dense(path: Path, edge: Any) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Dense(24, "relu"), k.Dense(7, "tanh"), k.Dense(3), shape=(FEATURES,))
    _convert(model, path, edge)
    return model


def plain(path: Path, edge: Any) -> Any:
    """Products and sums alone."""
    k = tf_keras.layers
    model = small(tf_keras, k.Dense(24, "relu"), k.Dense(3), shape=(FEATURES,))
    _convert(model, path, edge)
    return model


def classes(path: Path, edge: Any) -> Any:
    k = tf_keras.layers
    model = small(tf_keras, k.Dense(12, "sigmoid"), k.Dense(5, "softmax"), shape=(FEATURES,))
    _convert(model, path, edge)
    return model


def lstm(path: Path, edge: Any) -> Any:
    """Of large inputs: the runtime's kernel leaves cell states out that stay below 1/2."""
    k = tf_keras.layers
    model = small(tf_keras, k.LSTM(12), k.Dense(2), shape=(STEPS, FEATURES))
    _convert(model, path, edge, spread=3.0)
    return model


QUANTISED: dict[str, Callable[[Path], Any]] = {
    f"{builder.__name__}_{edge.name}": functools.partial(builder, edge=edge)
    for builder, edges in (
        (dense, (tf.int8, tf.uint8, tf.int16)),
        (plain, (tf.int8, tf.uint8, tf.int16)),
        (classes, (tf.int8, tf.uint8, tf.int16)),
        (lstm, (tf.int8, tf.uint8)),
    )
    for edge in edges
}
"""By name; the converter makes no LSTM of int16."""
