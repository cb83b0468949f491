"""What TensorFlow Lite mended after 2.17.1 in operators that the gate lets through: models that reach it are refused,
and their harmless neighbours run.

packaging/vex.cdx.json says of each fix why it does not reach us; here are those that have a rule of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

import linkcast

pytest.importorskip("tensorflow", reason="TensorFlow's schema is needed to write the models")
from tensorflow.lite.python import schema_py_generated as schema

Types = schema.TensorType
NUMPY = {Types.FLOAT32: np.float32, Types.INT32: np.int32, Types.INT8: np.int8}


class Graph:
    """A model of one subgraph, written operator by operator."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape: tuple[int, ...], kind: int = Types.FLOAT32, values: Any = None, scale: float = 0) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.name, tensor.buffer = list(shape), kind, f"t{len(self.graph.tensors)}", 0
        tensor.hasRank = True
        if scale:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(values, NUMPY[kind]).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs: list[int], outputs: list[int], options: Any = None, version: int = 1) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = len(self.model.operatorCodes), inputs, outputs
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.model.operatorCodes.append(code)
        self.graph.operators.append(op)

    def metadata(self, name: str, content: bytes) -> None:
        entry, buffer = schema.MetadataT(), schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        entry.name, entry.buffer = name, len(self.model.buffers)
        self.model.buffers.append(buffer)
        self.model.metadata = [entry]

    def write(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder()
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def mean_of_int8(path: Path, axes: list[int]) -> Path:
    """float32 (1, 2, 2, 2, 2) -> int8 -> its mean along `axes` -> float32."""
    graph = Graph()
    shape = (1, 2, 2, 2, 2)
    x = graph.tensor(shape)
    quantised = graph.tensor(shape, Types.INT8, scale=0.05)
    graph.operator("QUANTIZE", [x], [quantised], schema.QuantizeOptionsT())
    options = schema.ReducerOptionsT()
    options.keepDims = True
    left = tuple(1 if d in axes else size for d, size in enumerate(shape))
    mean = graph.tensor(left, Types.INT8, scale=0.05)
    graph.operator("MEAN", [quantised, graph.tensor((len(axes),), Types.INT32, axes)], [mean], options, version=2)
    out = graph.tensor(left)
    graph.operator("DEQUANTIZE", [mean], [out], schema.DequantizeOptionsT(), version=2)
    return graph.write(path, [x], [out])


def largest_of(path: Path, columns: int, k: int) -> Path:
    graph = Graph()
    x = graph.tensor((1, columns))
    values, places = graph.tensor((1, k)), graph.tensor((1, k), Types.INT32)
    graph.operator("TOPK_V2", [x, graph.tensor((1,), Types.INT32, [k])], [values, places], schema.TopKV2OptionsT())
    return graph.write(path, [x], [values])


def products(path: Path, shared: bool) -> Path:
    """float32 (1, 2, 4) times int8 weights, twice: with the same tensor or with one each."""
    graph = Graph()
    x = graph.tensor((1, 4, 4))
    weights = [graph.tensor((1, 4, 4), Types.INT8, np.eye(4), scale=1.0) for _ in range(1 if shared else 2)]
    first, second = graph.tensor((1, 4, 4)), graph.tensor((1, 4, 4))
    for source, target, which in ((x, first, 0), (first, second, -1)):
        graph.operator("BATCH_MATMUL", [source, weights[which]], [target], schema.BatchMatMulOptionsT(), version=4)
    return graph.write(path, [x], [second])


def with_metadata(path: Path, name: str) -> Path:
    graph = Graph()
    x, out = graph.tensor((1, 4)), graph.tensor((1, 4))
    graph.operator("ABS", [x], [out], schema.AbsOptionsT())
    # Zig-zag varints: version 1, one subgraph, one edge, from operator 8191 to operator 0.
    graph.metadata(name, bytes([2, 2, 2, 0xFE, 0x7F, 0]))
    return graph.write(path, [x], [out])


@pytest.mark.parametrize("backend", ["auto", "tflite"])
def test_control_dependencies_whose_operators_the_runtime_does_not_check_are_refused(
    tmp_path: Path, backend: str
) -> None:
    model = linkcast.Model(with_metadata(tmp_path / "other.tflite", "min_runtime_version"), backend=backend)
    assert model.predict(-np.ones((1, 4), np.float32)).tolist() == [[1, 1, 1, 1]]
    with pytest.raises(linkcast.LoadError, match=r"metadata entry 0: control dependencies between operators"):
        linkcast.Model(with_metadata(tmp_path / "edges.tflite", "model_control_dependencies"), backend=backend)


@pytest.mark.parametrize("backend", ["auto", "tflite"])
def test_more_axes_than_the_kernel_of_a_quantised_mean_has_room_for_are_refused(tmp_path: Path, backend: str) -> None:
    good = linkcast.Model(mean_of_int8(tmp_path / "four.tflite", [1, 2, 3, 4]), backend=backend)
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 2, 2, 2, 2)
    np.testing.assert_allclose(good.predict(x + 1).ravel(), [1.0], atol=0.06)
    for axes in ([0, 1, 2, 3, 4], [0, 0, 0, 0, 0], [-1, 1, -1, 2, 3, 4]):
        with pytest.raises(linkcast.LoadError, match=r"MEAN \(node 1\): names more than 4 dimensions"):
            linkcast.Model(mean_of_int8(tmp_path / "more.tflite", axes), backend=backend)


@pytest.mark.parametrize("backend", ["auto", "tflite"])
def test_a_sort_of_more_than_16_floats_is_refused_since_nan_has_no_order(tmp_path: Path, backend: str) -> None:
    model = linkcast.Model(largest_of(tmp_path / "16.tflite", 16, 16), backend=backend)
    x = np.random.default_rng(1).permutation(16).astype(np.float32)[None]
    assert model.predict(x).ravel().tolist() == list(range(15, -1, -1))
    x[0, 3] = np.nan
    assert model.predict(x).shape == (1, 16)
    assert linkcast.Model(largest_of(tmp_path / "few.tflite", 40, 17), backend=backend).predict(
        np.arange(40, dtype=np.float32)[None]
    ).ravel().tolist() == list(range(39, 22, -1))
    with pytest.raises(linkcast.LoadError, match=r"TOPK_V2 \(node 0\): sorts more than 16 numbers"):
        linkcast.Model(largest_of(tmp_path / "17.tflite", 17, 17), backend=backend)


@pytest.mark.parametrize("backend", ["auto", "tflite"])
def test_quantised_weights_that_two_products_share_are_refused(tmp_path: Path, backend: str) -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4) / 16
    model = linkcast.Model(products(tmp_path / "own.tflite", shared=False), backend=backend)
    np.testing.assert_allclose(model.predict(x), x, atol=0.02)
    with pytest.raises(linkcast.LoadError, match=r"BATCH_MATMUL \(node 0\): shares its quantised weights"):
        linkcast.Model(products(tmp_path / "shared.tflite", shared=True), backend=backend)
