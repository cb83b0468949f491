"""Mutations of how a graph is wired: operators, their inputs and outputs, graphs that call graphs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

OPTIONS = {
    name: getattr(schema, f"{name}T") for name in vars(schema.BuiltinOptions) if name[0].isupper() and name != "NONE"
}
CODES = sorted(value for name, value in vars(schema.BuiltinOperator).items() if name[0].isupper())
TYPES = sorted(value for name, value in vars(schema.TensorType).items() if name[0].isupper())
EXTREMES = (-(2**31), -2, -1, 0, 1, 2, 3, 7, 127, 128, 2**16, 2**24, 2**30, 2**31 - 1)

Mutation = Callable[[Any, random.Random], str]


def graph_of(model: Any, draw: random.Random) -> tuple[int, Any]:
    index = draw.randrange(len(model.subgraphs))
    return index, model.subgraphs[index]


def operator_of(model: Any, draw: random.Random) -> tuple[str, Any, Any]:
    g, graph = graph_of(model, draw)
    if not graph.operators:
        return f"sg{g}", graph, None
    n = draw.randrange(len(graph.operators))
    return f"sg{g}-op{n}", graph, graph.operators[n]


def tensor_of(model: Any, draw: random.Random) -> tuple[str, Any]:
    g, graph = graph_of(model, draw)
    t = draw.randrange(len(graph.tensors))
    return f"sg{g}-t{t}", graph.tensors[t]


def put(values: Any, index: int, value: int) -> Any:
    """A copy of an array of int32 with one entry replaced, which stays within int32."""
    changed = np.array(values, np.int64)
    changed[index] = value
    return changed.astype(np.int32)


def change_options(options: Any, draw: random.Random) -> None:
    for name, value in vars(options).items():
        if isinstance(value, bool):
            setattr(options, name, draw.random() < 0.5)
        elif isinstance(value, int):
            small = any(
                word in name for word in ("padding", "Activation", "Type", "Format", "mode", "type", "combiner")
            )
            setattr(
                options, name, draw.choice((0, 1, 2, 4, 5, 127) if small else (-1, 0, 1, 1, 2, 3, 2**20, 2**31 - 1))
            )
        elif isinstance(value, float):
            setattr(options, name, draw.choice((0.0, 1.0, -1.0, 1e30, float("nan"))))


def absent_input(model: Any, draw: random.Random) -> str:
    where, _, op = operator_of(model, draw)
    if op is None or op.inputs is None or not len(op.inputs):
        return ""
    n = draw.randrange(len(op.inputs))
    op.inputs = put(op.inputs, n, -1)
    return f"{where}-in{n}=-1"


def rewired_input(model: Any, draw: random.Random) -> str:
    where, graph, op = operator_of(model, draw)
    if op is None or op.inputs is None or not len(op.inputs):
        return ""
    n, t = draw.randrange(len(op.inputs)), draw.randrange(len(graph.tensors) + draw.choice((0, 0, 0, 5)))
    op.inputs = put(op.inputs, n, t)
    return f"{where}-in{n}={t}"


def rewired_output(model: Any, draw: random.Random) -> str:
    where, graph, op = operator_of(model, draw)
    if op is None or op.outputs is None or not len(op.outputs):
        return ""
    n, t = draw.randrange(len(op.outputs)), draw.randrange(-1, len(graph.tensors) + 1)
    op.outputs = put(op.outputs, n, t)
    return f"{where}-out{n}={t}"


def other_count(model: Any, draw: random.Random) -> str:
    where, graph, op = operator_of(model, draw)
    if op is None:
        return ""
    side = draw.choice(("inputs", "outputs"))
    values = [int(v) for v in (getattr(op, side) if getattr(op, side) is not None else [])]
    if values and draw.random() < 0.5:
        values.pop(draw.randrange(len(values)))
    else:
        values.insert(draw.randrange(len(values) + 1), draw.randrange(len(graph.tensors)))
    setattr(op, side, np.array(values, np.int32))
    return f"{where}-{side}={len(values)}"


def other_code(model: Any, draw: random.Random) -> str:
    n = draw.randrange(len(model.operatorCodes))
    code = draw.choice(CODES)
    model.operatorCodes[n].builtinCode = code
    model.operatorCodes[n].deprecatedBuiltinCode = min(code, 127)
    return f"code{n}={code}"


def swapped_code(model: Any, draw: random.Random) -> str:
    """One operator takes the code of another one of the file."""
    where, _, op = operator_of(model, draw)
    if op is None:
        return ""
    op.opcodeIndex = draw.randrange(len(model.operatorCodes) + 1)
    return f"{where}-opcode={op.opcodeIndex}"


def disguised(model: Any, draw: random.Random) -> str:
    """One operator becomes another kind with that kind's options: what a code alone would be refused for."""
    where, _, op = operator_of(model, draw)
    if op is None:
        return ""
    name = draw.choice(sorted(n for n in vars(schema.BuiltinOperator) if n[0].isupper()))
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = draw.choice((1, 1, 1, 2, 3))
    op.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    squeezed = name.replace("_", "").lower()
    op.builtinOptionsType, op.builtinOptions = 0, None
    for option, maker in OPTIONS.items():
        if option.lower().removesuffix("options") in (squeezed, squeezed.removesuffix("v2")) or (
            option == "ReducerOptions" and name in ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
        ):
            op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, option), maker()
            change_options(op.builtinOptions, draw)
    return f"{where}-is-{name}"


def version(model: Any, draw: random.Random) -> str:
    n = draw.randrange(len(model.operatorCodes))
    model.operatorCodes[n].version = draw.choice((-1, 0, 2, 3, 4, 5, 7, 8, 12, 13, 14, 99))
    return f"code{n}-version={model.operatorCodes[n].version}"


def removed(model: Any, draw: random.Random) -> str:
    g, graph = graph_of(model, draw)
    if not graph.operators:
        return ""
    if draw.random() < 0.1:
        graph.operators = []
        return f"sg{g}-no-operators"
    n = draw.randrange(len(graph.operators))
    del graph.operators[n]
    return f"sg{g}-op{n}-removed"


def doubled(model: Any, draw: random.Random) -> str:
    g, graph = graph_of(model, draw)
    if not graph.operators:
        return ""
    n = draw.randrange(len(graph.operators))
    graph.operators.insert(draw.randrange(len(graph.operators) + 1), graph.operators[n])
    return f"sg{g}-op{n}-doubled"


def reordered(model: Any, draw: random.Random) -> str:
    g, graph = graph_of(model, draw)
    if len(graph.operators or []) < 2:
        return ""
    a, b = draw.sample(range(len(graph.operators)), 2)
    graph.operators[a], graph.operators[b] = graph.operators[b], graph.operators[a]
    return f"sg{g}-op{a}-op{b}-swapped"


def shared_state(model: Any, draw: random.Random) -> str:
    g, graph = graph_of(model, draw)
    variables = [t for t, tensor in enumerate(graph.tensors) if tensor.isVariable]
    users = [op for op in graph.operators or [] if any(t in variables for t in op.inputs)]
    if not users:
        return ""
    op = draw.choice(users)
    n = draw.choice([n for n, t in enumerate(op.inputs) if t in variables])
    t = draw.choice(variables)
    shape = graph.tensors[t].shape
    op.inputs = put(op.inputs, n, t)
    if draw.random() < 0.5:
        graph.tensors[t].shape = np.array(shape, np.int32)
    return f"sg{g}-state{n}={t}"


def doubled_lstm(model: Any, draw: random.Random) -> str:
    """A second recurrent operator with the same state, whose output is a tensor of its own."""
    g, graph = graph_of(model, draw)
    users = [op for op in graph.operators or [] if any(t >= 0 and graph.tensors[t].isVariable for t in op.inputs)]
    if not users:
        return ""
    op = draw.choice(users)
    first = schema.OperatorT()
    first.__dict__.update(op.__dict__)
    copy = schema.TensorT()
    copy.__dict__.update(graph.tensors[op.outputs[0]].__dict__)
    graph.tensors.append(copy)
    first.outputs = np.array([len(graph.tensors) - 1], np.int32)
    graph.operators.insert(graph.operators.index(op), first)
    return f"sg{g}-lstm-doubled"


def graph_ends(model: Any, draw: random.Random) -> str:
    g, graph = graph_of(model, draw)
    side = draw.choice(("inputs", "outputs"))
    values = [int(v) for v in (getattr(graph, side) if getattr(graph, side) is not None else [])]
    what = draw.randrange(3)
    if what == 0 and values:
        values[draw.randrange(len(values))] = draw.randrange(-1, len(graph.tensors) + 1)
    elif what == 1 and values:
        values.pop()
    else:
        values.append(draw.randrange(len(graph.tensors)))
    setattr(graph, side, np.array(values, np.int32))
    return f"sg{g}-{side}={values}"


def called_graphs(model: Any, draw: random.Random) -> str:
    loops = [
        op
        for graph in model.subgraphs
        for op in graph.operators or []
        if hasattr(op.builtinOptions, "bodySubgraphIndex")
    ]
    if not loops:
        return ""
    options = draw.choice(loops).builtinOptions
    index = draw.choice((-1, 0, 1, 2, 3, 4, 99))
    name = draw.choice(("condSubgraphIndex", "bodySubgraphIndex"))
    setattr(options, name, index)
    return f"{name}={index}"


def endless(model: Any, draw: random.Random) -> str:
    """The condition of a loop always holds, its counter stands still, or its limit is far away."""
    loops = [
        op
        for graph in model.subgraphs
        for op in graph.operators or []
        if hasattr(op.builtinOptions, "bodySubgraphIndex")
    ]
    if not loops:
        return ""
    options = draw.choice(loops).builtinOptions
    condition, body = model.subgraphs[options.condSubgraphIndex], model.subgraphs[options.bodySubgraphIndex]
    what = draw.randrange(4)
    if what == 0:
        buffer = schema.BufferT()
        buffer.data = np.array([1], np.uint8)
        tensor = condition.tensors[condition.outputs[0]]
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
        condition.operators = []
    elif what == 1:
        n = draw.randrange(len(body.outputs))
        body.outputs = put(body.outputs, n, int(body.inputs[n]))
    elif what == 2:
        body.outputs = np.array(body.inputs, np.int32)
    else:
        for tensor in condition.tensors:
            if tensor.type == schema.TensorType.INT32 and model.buffers[tensor.buffer].data is not None:
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(np.array([draw.choice((10**5, 10**9))], np.int32).tobytes(), np.uint8)
                tensor.buffer = len(model.buffers)
                model.buffers.append(buffer)
    return f"while-endless{what}"


OF_GRAPHS: tuple[Mutation, ...] = (
    absent_input,
    rewired_input,
    rewired_output,
    other_count,
    other_code,
    swapped_code,
    disguised,
    version,
    removed,
    doubled,
    reordered,
    shared_state,
    doubled_lstm,
    graph_ends,
    called_graphs,
    endless,
)
