"""A .tflite model as an ONNX model of the same layers and weights, for runtimes that read only ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_TYPES = {0: np.float32, 2: np.int32}  # TensorType in TensorFlow Lite's schema


class UnsupportedError(ValueError):
    """The model has an operator that this conversion does not know."""


class _Converter:
    """Goes through the operators in order. Sequences are (steps, batch, features), as ONNX's LSTM has them."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model = schema.Model.GetRootAs(content, 0)
        self.graph = self.model.Subgraphs(0)
        self.names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, tensor: int) -> Array | None:
        """The content of a tensor that stands in the file."""
        described = self.graph.Tensors(tensor)
        buffer = self.model.Buffers(described.Buffer())
        if buffer.DataLength() == 0:
            return None
        if described.Type() not in _TYPES:
            raise UnsupportedError(f"{described.Name().decode()}: expected float32 or int32 values")
        shape = [described.Shape(k) for k in range(described.ShapeLength())]
        return np.asarray(buffer.DataAsNumpy()).view(_TYPES[described.Type()]).reshape(shape)

    def required(self, tensor: int) -> Array:
        values = self.constant(tensor)
        if values is None:
            raise UnsupportedError(f"{self.graph.Tensors(tensor).Name().decode()}: expected a constant")
        return values

    def rank(self, tensor: int) -> int:
        return int(self.graph.Tensors(tensor).ShapeLength())

    def value(self, tensor: int) -> str:
        """The ONNX name of an input of an operator."""
        values = self.constant(tensor)
        return f"t{tensor}" if values is None else self.add_constant(f"t{tensor}", values)

    def add_constant(self, name: str, values: Array) -> str:
        from onnx import numpy_helper

        if all(name != known.name for known in self.constants):
            self.constants.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def activation(self, code: int, name: str, output: str) -> None:
        """What is fused into an operator: 0 nothing, 1 ReLU."""
        if code == 1:
            self.add("Relu", [name], output)
        elif code != 0:
            raise UnsupportedError(f"fused activation {code}")

    def options(self, operator: Any, kind: str) -> Any:
        table = getattr(self.schema, kind)()
        union = operator.BuiltinOptions()
        table.Init(union.Bytes, union.Pos)
        return table

    def convert(self, operator: Any) -> None:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        name = self.names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs = [operator.Inputs(k) for k in range(operator.InputsLength())]
        output = f"t{operator.Outputs(0)}"
        if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            self.lstm(inputs, output)
        elif name == "FULLY_CONNECTED":
            self.dense(inputs, output, self.options(operator, "FullyConnectedOptions").FusedActivationFunction())
        elif name in ("MUL", "ADD", "SUB"):
            fused = self.options(operator, f"{name.capitalize()}Options").FusedActivationFunction()
            before = output if fused == 0 else f"{output}_before"
            self.add(name.capitalize(), [self.value(tensor) for tensor in inputs], before)
            self.activation(fused, before, output)
        elif name == "STRIDED_SLICE":
            self.last_step(inputs, output)
        else:
            raise UnsupportedError(name)

    def lstm(self, inputs: list[int], output: str) -> None:
        """TensorFlow Lite has gates i, f, c, o apart; ONNX i, o, f, c in one matrix."""
        order = (0, 3, 1, 2)
        weights = np.concatenate([self.required(inputs[1 + gate]) for gate in order])[None]
        recurrent = np.concatenate([self.required(inputs[5 + gate]) for gate in order])[None]
        bias = np.concatenate([self.required(inputs[12 + gate]) for gate in order])
        biases = np.concatenate([bias, np.zeros_like(bias)])[None]
        named = [
            self.add_constant(f"{output}_{k}", v) for k, v in zip("WRB", (weights, recurrent, biases), strict=True)
        ]
        self.add("LSTM", [self.value(inputs[0]), *named], f"{output}_all", hidden_size=recurrent.shape[-1])
        axis = self.add_constant("direction", np.array([1], np.int64))
        self.add("Squeeze", [f"{output}_all", axis], output)

    def dense(self, inputs: list[int], output: str, fused: int) -> None:
        weights = self.add_constant(f"{output}_weights", self.required(inputs[1]).T)
        biases = [self.value(tensor) for tensor in inputs[2:] if tensor >= 0]
        before = output if fused == 0 else f"{output}_before"
        if self.rank(inputs[0]) == 2:
            self.add("Gemm", [self.value(inputs[0]), weights, *biases], before)
        else:
            product = self.add("MatMul", [self.value(inputs[0]), weights], f"{output}_product" if biases else before)
            if biases:
                self.add("Add", [product, *biases], before)
        self.activation(fused, before, output)

    def last_step(self, inputs: list[int], output: str) -> None:
        begin = self.required(inputs[1])
        if self.rank(inputs[0]) != 3 or begin[1] != -1:
            raise UnsupportedError("a STRIDED_SLICE other than the last step")
        self.add("Gather", [self.value(inputs[0]), self.add_constant("last", np.array(-1, np.int64))], output, axis=0)


def onnx_model(tflite: Path, batch: int) -> bytes:
    """The serialised ONNX model for a fixed batch.

    Raises:
        UnsupportedError: an operator that is not among those of this project's own models.
    """
    from onnx import TensorProto, checker, helper

    converter = _Converter(tflite.read_bytes())
    graph = converter.graph
    source, target = graph.Inputs(0), graph.Outputs(0)
    shapes = [[graph.Tensors(t).Shape(k) for k in range(converter.rank(t))] for t in (source, target)]
    if len(shapes[0]) == 3:
        converter.add("Transpose", ["input"], f"t{source}", perm=[1, 0, 2])
    else:
        converter.add("Identity", ["input"], f"t{source}")
    for k in range(graph.OperatorsLength()):
        converter.convert(graph.Operators(k))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape[1:]])
        for name, shape in zip(("input", f"t{target}"), shapes, strict=True)
    ]
    made = helper.make_model(
        helper.make_graph(converter.nodes, tflite.stem, ends[:1], ends[1:], converter.constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    checker.check_model(made)
    return bytes(made.SerializeToString())
