"""Models of make_models, each converted once for a test run, with the answers that TensorFlow gives."""

from __future__ import annotations

import functools
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

import make_models

Floats = npt.NDArray[np.float32]
_FOLDER = tempfile.TemporaryDirectory(prefix="linkcast-models-")


@functools.cache
def built(name: str) -> Path:
    """The file of the builder with this name."""
    path = Path(_FOLDER.name) / f"{name}.tflite"
    make_models.MODELS[name](path)
    return path


def windows(path: Path, count: int, seed: int = 7) -> Floats:
    """`count` random windows, a multiple of the file's batch, for the model in `path`."""
    shape = _interpreter(path).get_input_details()[0]["shape"]
    return np.random.default_rng(seed).normal(size=(count, *shape[1:])).astype(np.float32)


def tflite_answers(path: Path, inputs: Floats) -> Floats:
    """What TensorFlow's own interpreter gives without XNNPACK: batches of the file's size, each from zero state."""
    interpreter = _interpreter(path)
    interpreter.allocate_tensors()
    into = interpreter.get_input_details()[0]
    out = interpreter.get_output_details()[0]
    batch = int(into["shape"][0])
    answers = []
    for row in range(0, len(inputs), batch):
        interpreter.reset_all_variables()
        interpreter.set_tensor(into["index"], inputs[row : row + batch])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(out["index"]).copy())
    return np.concatenate(answers)


def _interpreter(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tf.lite.Interpreter(
            model_path=str(path),
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )


def with_float_weights(path: Path) -> Path:
    """A copy of a dynamic-range model whose int8 weights are float32: the same network, without the rounding of
    activations that TensorFlow Lite does in front of int8 weights."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.type != schema.TensorType.INT8:
                continue
            stored = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8).reshape(tensor.shape)
            scale = np.asarray(tensor.quantization.scale, np.float32)
            shape = [1] * stored.ndim
            shape[tensor.quantization.quantizedDimension] = -1
            weights = (stored * scale.reshape(shape)).astype(np.float32)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(weights.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            tensor.type = schema.TensorType.FLOAT32
            tensor.quantization = None
            model.buffers.append(buffer)
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    copy = path.with_name(f"{path.stem}_as_float.tflite")
    copy.write_bytes(bytes(builder.Output()))
    return copy
