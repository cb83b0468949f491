"""The Keras networks of linkcast and their way into .tflite files. Importing this module loads TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.training.start import layers, quiet, tf, tf_keras

FloatArray = npt.NDArray[np.float32]

FUSED_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
GOLDEN_SAMPLES = 8


try:  # one thread: the same sums in the same order on every machine, and small networks gain nothing from two
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
except RuntimeError:  # TensorFlow is already at work in this process
    pass


def make_deterministic(seed: int) -> None:
    """Seeds Python, NumPy and TensorFlow, and asks TensorFlow for kernels that give the same bits at every run."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def forecaster(window: int, features: int, dropout: float, batch: int | None = None, unroll: bool = True) -> Any:
    """LSTM 128 -> BN -> LSTM 64 -> BN -> LSTM 32 -> BN -> Dense 16 -> 8 (ReLU) -> Dense 1, dropout after each BN.

    Args:
        window, features: the input is (batch, window, features).
        dropout: share of activations dropped in training.
        batch: a fixed batch size, for conversion.
        unroll: steps written out (faster to train); only the loop converts to the fused operator.
    """
    blocks: list[Any] = [tf_keras.Input((window, features), batch_size=batch, name="window")]
    for units, sequence in ((128, True), (64, True), (32, False)):
        blocks += [
            layers.LSTM(units, return_sequences=sequence, unroll=unroll),
            layers.BatchNormalization(),
            layers.Dropout(dropout),
        ]
    alive = {"activation": "relu", "bias_initializer": tf_keras.initializers.Constant(0.2)}  # at first, every unit is
    blocks += [layers.Dense(16, **alive), layers.Dense(8, **alive), layers.Dense(1)]
    return tf_keras.Sequential(blocks)


def allocator(features: int, actions: int, batch: int | None = None) -> Any:
    """Dense 128 -> 64 -> 32, each ReLU and BN, -> Dense `actions`: Q-values (batch, actions)."""
    blocks: list[Any] = [tf_keras.Input((features,), batch_size=batch, name="state")]
    for units in (128, 64, 32):
        blocks += [layers.Dense(units, activation="relu"), layers.BatchNormalization()]
    return tf_keras.Sequential([*blocks, layers.Dense(actions)])


def fallback(features: int, batch: int | None = None) -> Any:
    """Dense 32 -> 16 (ReLU) -> Dense 1 on the calendar features."""
    return tf_keras.Sequential(
        [
            tf_keras.Input((features,), batch_size=batch, name="calendar"),
            layers.Dense(32, activation="relu"),
            layers.Dense(16, activation="relu"),
            layers.Dense(1),
        ]
    )


def calibrate_normalisation(model: Any, samples: FloatArray) -> None:
    """Sets each batch normalisation's mean and variance to those of its input, layer by layer, and fixes them.

    With the statistics of each batch of 32 a forecast of a level would carry their sampling noise, and the network that
    is fitted would not be the one that is exported.

    Args:
        model: a Keras Sequential.
        samples: (n, ...) scaled inputs.
    """
    values = tf.constant(samples)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            axes = tuple(range(len(values.shape) - 1))
            layer.moving_mean.assign(tf.reduce_mean(values, axes))
            layer.moving_variance.assign(tf.math.reduce_variance(values, axes))
            layer.trainable = False
        values = layer(values, training=False)


FORECASTER = (
    *(FUSED_LSTM, "MUL", "ADD") * 2,
    *(FUSED_LSTM, "STRIDED_SLICE"),
    *("FULLY_CONNECTED",) * 3,
)
"""The operators of a forecaster's file: the last normalisation is folded into the dense layer behind it."""


def forecaster_weights(content: bytes) -> list[list[FloatArray]] | None:
    """The weights in a forecaster's .tflite file, for each layer of `forecaster` that has some; None if the file holds
    another network."""
    interpreter = tf.lite.Interpreter(
        model_content=content,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    if tuple(node["op_name"] for node in nodes) != FORECASTER:
        return None
    layers_found: list[list[FloatArray]] = []
    for node in nodes:
        constants = [np.array([]) if index < 0 else interpreter.get_tensor(index) for index in node["inputs"][1:]]
        if any(constant.dtype.kind == "i" and constant.dtype.itemsize == 1 for constant in constants):
            return None
        if node["op_name"] == FUSED_LSTM:  # gates i, f, c, o in both
            kernel, recurrent = (np.concatenate(constants[first : first + 4]).T for first in (0, 4))
            layers_found.append([kernel, recurrent, np.concatenate(constants[11:15])])
        elif node["op_name"] == "MUL":
            layers_found.append(_fixed_normalisation(constants[0]))
        elif node["op_name"] == "ADD":
            layers_found[-1][1] = constants[0]
        elif node["op_name"] == "STRIDED_SLICE":
            layers_found.append(_fixed_normalisation(np.ones(layers_found[-1][1].shape[0], np.float32)))
        else:
            layers_found.append([constants[0].T, constants[1]])
    return layers_found


def _fixed_normalisation(factor: FloatArray) -> list[FloatArray]:
    """gamma, beta, mean and variance of a batch normalisation that only multiplies."""
    zeros = np.zeros_like(factor)
    return [factor, zeros, zeros, np.full_like(factor, 1.0 - layers.BatchNormalization().epsilon)]


def begin_from(model: Any, weights: list[list[FloatArray]]) -> bool:
    """Gives a `forecaster` the weights of `forecaster_weights`, with its normalisation fixed; False where they do not
    fit, and the model is as before."""
    receivers = [layer for layer in model.layers if layer.weights]
    shapes = [[tuple(values.shape) for values in layer.get_weights()] for layer in receivers]
    if shapes != [[values.shape for values in entry] for entry in weights]:
        return False
    for layer, values in zip(receivers, weights, strict=True):
        layer.set_weights(values)
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    return True


def shift_output(model: Any, sample: FloatArray) -> None:
    """Moves the last layer's bias so that the answer to `sample` (1, ...) is exactly 0."""
    bias = model.layers[-1].bias
    bias.assign_sub(model(tf.constant(sample), training=False)[0])


def convert(model: Any, fused_lstms: int = 0) -> bytes:
    """A float32 .tflite file.

    Args:
        model: a Keras model with batch 1.
        fused_lstms: how many fused LSTM operators the file must hold.
    Raises:
        RuntimeError: the converted graph has another number of fused LSTMs, or a loop.
    """
    function = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec(model.inputs[0].shape)])
    export = (
        tf.Module()
    )  # holds the variables and this one function; exporting the Keras model takes three times as long
    export.variables_of_model = list(model.variables)
    export.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], export)
    content: bytes = converter.convert()
    found = operators(content)
    if found.count(FUSED_LSTM) != fused_lstms or "WHILE" in found:
        raise RuntimeError(f"conversion: expected {fused_lstms} {FUSED_LSTM} and no WHILE, got {', '.join(found)}")
    return content


def operators(content: bytes) -> list[str]:
    """The operators of a .tflite file, in the order of execution."""
    details = tf.lite.Interpreter(model_content=content)._get_ops_details()
    return [str(entry["op_name"]) for entry in details]


class TFLite:
    """TensorFlow's own interpreter of a .tflite file: the reference for golden outputs and for every score."""

    def __init__(self, content: bytes) -> None:
        with quiet():  # the first one says what it was made of
            self._interpreter = tf.lite.Interpreter(model_content=content)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    @property
    def input_shape(self) -> list[int]:
        return [int(size) for size in self._input["shape"]]

    @property
    def output_shape(self) -> list[int]:
        return [int(size) for size in self._output["shape"]]

    def predict(self, samples: FloatArray) -> FloatArray:
        """(n, ...) scaled inputs -> (n, outputs), each from zero LSTM state."""
        outputs = np.empty((len(samples), self.output_shape[1]), np.float32)
        for row, sample in enumerate(samples):
            self._interpreter.reset_all_variables()
            self._interpreter.set_tensor(self._input["index"], sample[None])
            self._interpreter.invoke()
            outputs[row] = self._interpreter.get_tensor(self._output["index"])[0]
        return outputs


def golden(content: bytes, samples: FloatArray) -> dict[str, Any]:
    """Golden inputs and TensorFlow's outputs for the manifest: GOLDEN_SAMPLES spread over the given scaled inputs."""
    rows = np.linspace(0, len(samples) - 1, GOLDEN_SAMPLES).astype(int)
    # Rounded for a readable file; the rounded inputs are what the outputs belong to.
    inputs = np.round(samples[rows].astype(np.float64), 6)
    outputs = TFLite(content).predict(inputs.astype(np.float32))
    return {"inputs": inputs.tolist(), "outputs": [[float(value) for value in row] for row in outputs]}
