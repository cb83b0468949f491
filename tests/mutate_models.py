"""Damaged .tflite files, drawn from a seed: structured mutations of the graph, and random damage of the bytes.

`mutants` makes them; `try_files` opens each in a child process with a limit on memory and time, and compares what runs
with TensorFlow Lite's own kernels on the same file. By hand, for a long run:

    python tests/mutate_models.py --count 20000 --seed 1 models/*.tflite
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

SECONDS = 10
"""Of the processor, that one file may take: loaded twice, run and compared."""
MEMORY = 1 << 30
"""Bytes that a child may take beyond what it has after its imports."""

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


def retyped(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    tensor.type = draw.choice(TYPES)
    return f"{where}-type={tensor.type}"


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


def signature(model: Any, draw: random.Random) -> str:
    where, tensor = tensor_of(model, draw)
    rank = len(tensor.shape) if tensor.shape is not None else 0
    tensor.shapeSignature = np.array([draw.choice((-1, -1, 1, 5)) for _ in range(rank)], np.int32)
    if draw.random() < 0.5:
        return where + "-open-" + other_shape(model, draw)
    return f"{where}-signature"


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


STRUCTURED: tuple[Mutation, ...] = (
    absent_input,
    rewired_input,
    rewired_output,
    other_count,
    retyped,
    other_code,
    swapped_code,
    disguised,
    version,
    removed,
    doubled,
    reordered,
    shared_state,
    doubled_lstm,
    variable,
    other_shape,
    all_rows,
    signature,
    constant,
    other_buffer,
    shorter_buffer,
    outside_buffer,
    quantisation,
    blockwise,
    graph_ends,
    called_graphs,
    endless,
    no_options,
    other_options,
    metadata,
)


def structured(whole: bytes, draw: random.Random) -> tuple[str, bytes]:
    """One to three mutations of the graph; ("", b"") when none applies to this file, or it can't be written."""
    model = schema.ModelT.InitFromPackedBuf(whole, 0)
    labels = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        mutation = draw.choice(STRUCTURED)
        try:
            labels.append(mutation(model, draw))
        except (IndexError, TypeError, ValueError):  # an earlier mutation has taken away what this one needs
            continue
    label = "+".join(filter(None, labels))
    if not label:
        return "", b""
    builder = flatbuffers.Builder(len(whole))
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except Exception:
        return "", b""
    return label, bytes(builder.Output())


def damaged(whole: bytes, draw: random.Random, other: bytes) -> tuple[str, bytes]:
    """Flipped bits, overwritten numbers, a piece moved or taken from another file, or a cut."""
    content = bytearray(whole)
    what = draw.choice(("flip", "flip", "flip", "number", "splice", "cut"))
    ends = lambda: draw.choice((draw.randrange(len(content)), draw.randrange(min(3000, len(content)))))  # noqa: E731
    tail = lambda: len(content) - 1 - draw.randrange(min(12000, len(content)))  # noqa: E731
    if what == "flip":
        for _ in range(draw.choice((1, 1, 2, 4, 8))):
            content[draw.choice((ends, tail))()] ^= 1 << draw.randrange(8)
    elif what == "number":
        at = draw.choice((ends, tail))() & ~3
        content[at : at + 4] = (draw.choice(EXTREMES) & 0xFFFFFFFF).to_bytes(4, "little")
    elif what == "splice":
        size = draw.choice((1, 4, 16, 64, 1024))
        source = draw.choice((whole, other))
        start, at = draw.randrange(len(source)), draw.choice((ends, tail))()
        piece = source[start : start + size]
        if draw.random() < 0.3:
            content[at:at] = piece
        else:
            content[at : at + len(piece)] = piece
    else:
        content = content[: draw.randrange(1, len(content))]
    return what, bytes(content)


def mutants(
    sources: dict[str, bytes], count: int, seed: int, share_structured: float = 0.75
) -> Iterator[tuple[str, bytes]]:
    """`count` files as (label, content), the same for the same seed and sources."""
    draw = random.Random(seed)
    names = sorted(sources)
    made = 0
    while made < count:
        name = draw.choice(names)
        if draw.random() < share_structured:
            label, content = structured(sources[name], draw)
        else:
            label, content = damaged(sources[name], draw, sources[draw.choice(names)])
        if not content:
            continue
        yield f"{name}--{label}", content
        made += 1


CUT_AT: dict[str, Callable[[int], Iterable[int]]] = {
    "front": lambda size: range(1, 64),
    "steps": lambda size: range(64, size - 1, max(1, size // 60)),
    "end": lambda size: range(size - 64, size - 4),
}
"""Where a file is cut, by its size."""

CHILD = Path(__file__).with_name("open_damaged.py")


@dataclass
class Outcome:
    path: Path
    kind: str
    """"refused", "same", "differs", "memory", "hang" or "crash"."""
    text: str


def try_files(paths: Iterable[Path]) -> list[Outcome]:
    """Opens every file in a child; when one dies, the next child goes on behind the file that it died of."""
    left = [str(path) for path in paths]
    outcomes: list[Outcome] = []
    while left:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as listed:
            json.dump({"files": left, "seconds": SECONDS, "memory": MEMORY}, listed)
            listed.flush()
            command = [sys.executable, str(CHILD), listed.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        outcomes += [Outcome(Path(left[n]), answer["kind"], answer["text"]) for n, answer in enumerate(answers)]
        left = left[len(answers) :]
        if done.returncode != 0 and left:
            kind = "hang" if -done.returncode in (signal.SIGALRM, signal.SIGPROF) else "crash"
            words = f"exit {done.returncode}: {done.stderr[-600:]}"
            outcomes.append(Outcome(Path(left.pop(0)), kind, words))
        elif done.returncode == 0 and left:
            raise RuntimeError(f"the child left {len(left)} files: {done.stderr[-600:]}")
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="undamaged .tflite files")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for files that crash, hang, differ or take too much memory")
    arguments = parser.parse_args()
    sources = {path.stem: path.read_bytes() for path in arguments.models}
    totals: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    batch: list[Path] = []
    with tempfile.TemporaryDirectory() as folder:

        def flush() -> None:
            for outcome in try_files(batch):
                totals[outcome.kind] += 1
                if outcome.kind not in ("refused", "same"):
                    print(outcome.kind, outcome.path.name, outcome.text, flush=True)
                    if arguments.keep:
                        arguments.keep.mkdir(parents=True, exist_ok=True)
                        (arguments.keep / outcome.path.name).write_bytes(outcome.path.read_bytes())
            for path in batch:
                path.unlink()
            batch.clear()

        for index, (label, content) in enumerate(mutants(sources, arguments.count, arguments.seed)):
            path = Path(folder) / f"{index}-{label.replace('/', '_').replace(' ', '')[:120]}.tflite"
            path.write_bytes(content)
            batch.append(path)
            if len(batch) == 500:
                flush()
                print(
                    f"{index + 1} files, {time.monotonic() - started:.0f} s: {dict(totals)}",
                    file=sys.stderr,
                    flush=True,
                )
        flush()
    print(f"{sum(totals.values())} files, {time.monotonic() - started:.0f} s: {dict(totals)}")
    return int(any(totals[kind] for kind in ("crash", "hang", "memory", "differs")))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
