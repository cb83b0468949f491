"""Mutations of what a graph holds: types, shapes, buffers, quantisation, options, metadata."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from mutate_graph import EXTREMES, OPTIONS, TYPES, Mutation, change_options, operator_of, put, tensor_of


def retyped(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    tensor.type = draw.choice(TYPES)
    return f"{where}-type={tensor.type}"


def variable(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    tensor.isVariable = not tensor.isVariable
    return f"{where}-variable={tensor.isVariable}"


def other_shape(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    shape = [int(d) for d in (tensor.shape if tensor.shape is not None else [])]
    what = draw.randrange(5)
    if what == 0 and shape:
        shape[draw.randrange(len(shape))] = draw.choice(EXTREMES)
    elif what == 1 and shape:
        shape.pop(draw.randrange(len(shape)))
    elif what == 2:
        shape.insert(draw.randrange(len(shape) + 1), draw.choice((1, 2, 0, 5)))
    elif what == 3:
        shape = [draw.choice((1, 2, 3)) for _ in range(draw.randrange(12))]
    elif shape:
        draw.shuffle(shape)
    tensor.shape = np.array(shape, np.int32)
    if draw.random() < 0.5:
        tensor.shapeSignature = None
    return f"{where}-shape={shape}"


def signature(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    rank = len(tensor.shape) if tensor.shape is not None else 0
    tensor.shapeSignature = np.array([draw.choice((-1, -1, 1, 5)) for _ in range(rank)], np.int32)
    if draw.random() < 0.5:
        return where + "-open-" + other_shape(model, draw)
    return f"{where}-signature"


def all_rows(model: Any, draw: random.Random) -> str:
    """One dimension of the same size grows in every tensor at once, so that the graph stays consistent."""
    old = draw.choice((1, 1, 4, 8, 10, 16))
    new = draw.choice((2, 3, 64, 1000, 2**16, 2**20, 2**24, 2**27))
    held = {b for b, buffer in enumerate(model.buffers) if buffer.data is not None and len(buffer.data)}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.shape is not None and len(tensor.shape) and tensor.buffer not in held and tensor.shape[0] == old:
                tensor.shape = put(tensor.shape, 0, new)
                tensor.shapeSignature = None
    return f"rows-{old}={new}"


def constant(model: Any, draw: random.Random) -> str:
    """Another whole number where shapes, axes, bounds and counters stand."""
    choices = [
        (g, t, tensor)
        for g, graph in enumerate(model.subgraphs)
        for t, tensor in enumerate(graph.tensors)
        if tensor.type == schema.TensorType.INT32 and model.buffers[tensor.buffer].data is not None
    ]
    if not choices:
        return ""
    g, t, tensor = draw.choice(choices)
    values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int32).copy()
    if not len(values):
        return ""
    n = draw.randrange(len(values))
    values[n] = draw.choice(EXTREMES) if draw.random() < 0.7 else int(values[n]) + draw.choice((-1, 1))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)
    return f"sg{g}-t{t}[{n}]={values[n]}"


def other_buffer(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    tensor.buffer = draw.randrange(len(model.buffers) + 2)
    return f"{where}-buffer={tensor.buffer}"


def shorter_buffer(model: Any, draw: random.Random) -> str:
    held = [b for b, buffer in enumerate(model.buffers) if buffer.data is not None and len(buffer.data)]
    if not held:
        return ""
    b = draw.choice(held)
    data = model.buffers[b].data
    size = draw.choice((0, 1, len(data) // 2, len(data) - 1, len(data) - 4))
    model.buffers[b].data = data[: max(0, size)]
    return f"buffer{b}={size}"


def outside_buffer(model: Any, draw: random.Random) -> str:
    b = draw.randrange(len(model.buffers))
    if draw.random() < 0.5:
        model.buffers[b].data = None
    model.buffers[b].offset = draw.choice((0, 1, 2, 16, 2**20, 2**32, 2**63, 2**64 - 1, 2**64 - 16))
    model.buffers[b].size = draw.choice((0, 1, 16, 400, 2**20, 2**32, 2**63, 2**64 - 1))
    return f"buffer{b}-outside"


def quantisation(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    if tensor.quantization is None:
        tensor.quantization = schema.QuantizationParametersT()
    q = tensor.quantization
    what = draw.randrange(6)
    if what == 0:
        count = draw.choice((0, 1, 2, 3, 100))
        q.scale = np.full(count, draw.choice((0.0, 1e-30, 1e-6, 0.1, 1e6, 1e30, np.nan, np.inf, -1.0)), np.float32)
        q.zeroPoint = np.zeros(draw.choice((0, 1, count)), np.int64)
    elif what == 1:
        q.zeroPoint = np.array([draw.choice((-129, -1, 1, 128, 2**31, -(2**63)))], np.int64)
    elif what == 2:
        q.quantizedDimension = draw.choice((-1, 1, 2, 9, 2**31 - 1))
    elif what == 3 and q.scale is not None and len(q.scale):
        q.scale = np.asarray(q.scale, np.float32) * np.float32(draw.choice((0.0, 1e-9, 1e-3, 1e3, 1e9)))
    elif what == 4:
        q.detailsType, q.details = schema.QuantizationDetails.CustomQuantization, schema.CustomQuantizationT()
    else:
        tensor.quantization = None
    return f"{where}-quantisation{what}"


def blockwise(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    if not hasattr(schema, "BlockwiseQuantizationT"):
        return ""
    q = schema.QuantizationParametersT()
    q.detailsType, q.details = schema.QuantizationDetails.BlockwiseQuantization, schema.BlockwiseQuantizationT()
    q.details.blockSize = draw.choice((0, 16, 32))
    tensor.quantization = q
    if draw.random() < 0.5:
        tensor.type = schema.TensorType.INT4
    return f"{where}-blockwise"


def no_options(model: Any, draw: random.Random) -> str:
    where, _, op = operator_of(model, draw)
    if op is None:
        return ""
    if draw.random() < 0.5:
        op.builtinOptionsType, op.builtinOptions = 0, None
        return f"{where}-no-options"
    name = draw.choice(sorted(OPTIONS))
    op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, name), OPTIONS[name]()
    return f"{where}-{name}"


def other_options(model: Any, draw: random.Random) -> str:
    where, _, op = operator_of(model, draw)
    if op is None or op.builtinOptions is None or not vars(op.builtinOptions):
        return ""
    before = dict(vars(op.builtinOptions))
    change_options(op.builtinOptions, draw)
    keep = draw.choice(sorted(before))
    for name, value in before.items():
        if name != keep and draw.random() < 0.7:
            setattr(op.builtinOptions, name, value)
    return f"{where}-options"


def metadata(model: Any, draw: random.Random) -> str:
    if not model.metadata:
        return ""
    entry = draw.choice(model.metadata)
    if draw.random() < 0.5:
        entry.name = None
    else:
        entry.buffer = draw.choice((0, 1, 10**6, 2**32 - 1))
    return "metadata"


OF_TENSORS: tuple[Mutation, ...] = (
    retyped,
    variable,
    other_shape,
    signature,
    all_rows,
    constant,
    other_buffer,
    shorter_buffer,
    outside_buffer,
    quantisation,
    blockwise,
    no_options,
    other_options,
    metadata,
)
