"""The same model on linkcast and on the runtimes that one could use instead, in turns in one process.

    pip install '.[peers]' && linkcast bench --peers [--markdown] [--batch N]

Each runtime gets the same weights, one thread, memory that is bound in advance, and its fastest documented mode; what
is not installed is skipped by name. Answers are compared with TensorFlow Lite's before anything is timed: in float32 a
difference ends the run, at reduced precision it is named beside the time. A call is one Python call that computes the
answers to windows which stand in its memory already.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt

import linkcast
from linkcast.bench.onnx_graph import onnx_model
from linkcast.bench.program import machine as described

Floats = npt.NDArray[np.float32]
# From TensorFlow Lite, relative where an answer is above one: float32 sums in another order, and allocators let large
# terms cancel; weights rounded to 8 bits of mantissa; weights rounded to int8 (proof.h has the same figures).
_FLOAT32, _BFLOAT16, _INT8 = 1e-4, 2e-2, 5e-2
_TURN = 20  # calls in a row; the first one after another runtime finds cold caches and is not timed
_SECONDS = 8.0  # for each model and batch


@dataclass
class Contender:
    """One runtime in one mode.

    Attributes:
        call: computes the answers.
        answers: (batch, outputs), what the last call computed.
        tolerance: how far it may be from TensorFlow Lite.
        error: how far it is.
        us: times of a call, in microseconds.
    """

    name: str
    call: Callable[[], object]
    answers: Callable[[], Floats]
    tolerance: float
    error: float = 0.0
    us: list[float] = field(default_factory=list)


@dataclass
class Row:
    """A line of the table; times in microseconds."""

    model: str
    batch: int
    name: str
    p50: float
    p90: float
    p99: float
    ratio: float  # of medians, to linkcast in float32
    error: float  # distance from TensorFlow Lite, relative where an answer is above one
    trusted: bool  # within the tolerance of its precision


def _linkcast(path: Path, windows: Floats, name: str, backend: str, precision: str, tolerance: float) -> Contender:
    model = linkcast.Model(str(path), backend=backend, precision=precision)
    batch = len(windows)
    if batch == model.input_shape[0]:
        model.input[...] = windows
        return Contender(name, model.invoke, lambda: model.output, tolerance)
    model.batch_input(batch)[...] = windows
    return Contender(name, lambda: model.invoke_batch(batch), lambda: model.invoke_batch(batch), tolerance)


def _own(precision: str, tolerance: float) -> Callable[[Path, Floats], Iterator[Contender]]:
    def make(path: Path, windows: Floats) -> Iterator[Contender]:
        yield _linkcast(path, windows, f"linkcast {precision}", "native", precision, tolerance)

    return make


def _litert(path: Path, windows: Floats) -> Iterator[Contender]:
    """Its interpreter with XNNPACK. A fused LSTM keeps its state and its batch: each window is a call after a reset."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    stateful = len(source["shape"]) == 3
    if not stateful:
        interpreter.resize_tensor_input(source["index"], windows.shape)
    interpreter.allocate_tensors()
    rows = len(windows) if stateful else 1
    parts = np.split(windows, rows)
    answers = np.zeros((len(windows), target["shape"][-1]), np.float32)
    memory = interpreter.tensor(source["index"])
    memory()[...] = parts[0]

    def call() -> None:
        for k in range(rows):
            if stateful:
                interpreter.reset_all_variables()
            if rows > 1:
                memory()[...] = parts[k]
            interpreter.invoke()
            if rows > 1:
                answers[k] = interpreter.get_tensor(target["index"])[0]

    yield Contender(
        f"ai-edge-litert {version('ai-edge-litert')}",
        call,
        lambda: answers if rows > 1 else interpreter.get_tensor(target["index"]),
        _FLOAT32,
    )


def _onnxruntime(path: Path, windows: Floats) -> Iterator[Contender]:
    """With IO binding, which keeps inputs and outputs in place."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    session = onnxruntime.InferenceSession(onnx_model(path, len(windows)), options, providers=["CPUExecutionProvider"])
    source = onnxruntime.OrtValue.ortvalue_from_numpy(windows)
    target = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(session.get_outputs()[0].shape, np.float32))
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, source)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, target)
    yield Contender(
        f"ONNX Runtime {version('onnxruntime')}",
        lambda: session.run_with_iobinding(binding),
        lambda: np.asarray(target.numpy(), np.float32),
        _FLOAT32,
    )


def _openvino(path: Path, windows: Floats) -> Iterator[Contender]:
    """One infer request, used again and again; in float32, and in what it chooses by itself (bfloat16 where it can)."""
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx_model(path, len(windows)))
    for precision, tolerance in (("f32", _FLOAT32), ("default", _BFLOAT16)):
        config = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if precision == "f32":
            config["INFERENCE_PRECISION_HINT"] = "f32"
        compiled = core.compile_model(model, "CPU", config)
        chosen = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if precision == "default" and chosen == "f32":
            continue
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(windows, shared_memory=True))
        yield Contender(
            f"OpenVINO {version('openvino')} {'float32' if precision == 'f32' else chosen + ' (its default)'}",
            request.infer,
            lambda request=request: np.asarray(request.get_output_tensor().data),  # type: ignore[misc]
            tolerance,
        )


def contenders(path: Path, windows: Floats) -> tuple[list[Contender], list[str]]:
    """Everything that is installed, TensorFlow Lite's C API first, and what was skipped with the reason."""
    found = [_linkcast(path, windows, "TensorFlow Lite C API, XNNPACK", "tflite", "float32", 0.0)]
    skipped = []
    makers = {
        "linkcast float32": _own("float32", _FLOAT32),
        "linkcast bfloat16": _own("bfloat16", _BFLOAT16),
        "linkcast int8": _own("int8", _INT8),
        "ai-edge-litert": _litert,
        "ONNX Runtime": _onnxruntime,
        "OpenVINO": _openvino,
    }
    for name, make in makers.items():
        try:
            found += list(make(path, windows))
        except (ImportError, ValueError, linkcast.LoadError) as error:
            skipped.append(f"{path.stem}, {name}: {str(error).removeprefix(f'{path}: ')}")
    return found, skipped


def check(found: list[Contender]) -> None:
    """Compares every answer with TensorFlow Lite's.

    Raises:
        ArithmeticError: a contender in float32 is further away than its tolerance.
    """
    found[0].call()
    expected = np.array(found[0].answers(), np.float64)
    for contender in found:
        contender.call()
        answers = np.asarray(contender.answers(), np.float64).reshape(expected.shape)
        contender.error = float(np.max(np.abs(answers - expected) / np.maximum(1.0, np.abs(expected))))
        if not contender.error <= contender.tolerance and contender.tolerance <= _FLOAT32:
            raise ArithmeticError(f"{contender.name}: {contender.error:.1e} from TensorFlow Lite")


def measure(found: list[Contender], seconds: float) -> None:
    """Fills in the times; contenders take turns, so that what disturbs the machine disturbs all of them."""
    repeats = []
    for contender in found:  # so many calls in a sample that reading the clock does not count
        start = perf_counter_ns()
        for _ in range(10):
            contender.call()
        repeats.append(max(1, round(20_000 * 10 / (perf_counter_ns() - start))))
    end = perf_counter_ns() + round(seconds * 1e9)
    while not found[-1].us or perf_counter_ns() < end:
        for contender, calls in zip(found, repeats, strict=True):
            contender.call()
            for _ in range(_TURN if calls > 1 or not contender.us or contender.us[0] < 1000 else 1):
                start = perf_counter_ns()
                for _ in range(calls):
                    contender.call()
                contender.us.append((perf_counter_ns() - start) / calls / 1000)


def compare(path: Path, batch: int, seconds: float = _SECONDS) -> tuple[list[Row], list[str]]:
    """The table of one model and batch, and what was skipped.

    Raises:
        ArithmeticError: a runtime answers something else than TensorFlow Lite.
    """
    shape = linkcast.Model(str(path)).input_shape
    windows = np.random.default_rng(1).uniform(size=(batch, *shape[1:])).astype(np.float32)
    found, skipped = contenders(path, windows)
    check(found)
    measure(found, seconds)
    medians = {contender.name: statistics.median(contender.us) for contender in found}
    own = medians.get("linkcast float32", float("nan"))
    rows = []
    for one in found:
        p90, p99 = (float(np.percentile(one.us, percent)) for percent in (90, 99))
        median = medians[one.name]
        trusted = one.error <= one.tolerance
        rows.append(Row(path.stem, batch, one.name, median, p90, p99, median / own, one.error, trusted))
    return rows, skipped


def compare_all(
    models: Sequence[Path], batches: Sequence[int], seconds: float = _SECONDS
) -> tuple[list[Row], list[str]]:
    """`compare` of each model at each batch, one after the other."""
    rows: list[Row] = []
    skipped: dict[str, None] = {}
    for path in models:
        for batch in batches:
            found, missing = compare(path, batch, seconds)
            rows += found
            skipped |= dict.fromkeys(missing)
    return rows, list(skipped)


def machine() -> str:
    """The processor, the instruction set in use and the versions of what runs everywhere."""
    here = described()
    processor = here["processor"] or here["architecture"]
    return (
        f"{processor}, {here['isa']}, one thread, Python {platform.python_version()}, linkcast {linkcast.__version__}"
    )


def markdown(rows: list[Row]) -> str:
    """One table: runtimes down, models across, medians and in brackets the ratio to linkcast in float32."""
    columns = list(dict.fromkeys((row.model, row.batch) for row in rows))
    titles = [f"{model}, {'1 window' if batch == 1 else f'{batch} windows'}" for model, batch in columns]
    lines = ["| us a call | " + " | ".join(titles) + " |", "| --- |" + " ---: |" * len(columns)]
    cells = {(row.name, row.model, row.batch): row for row in rows}
    for name in dict.fromkeys(row.name for row in rows):
        found = [cells.get((name, *column)) for column in columns]
        texts = ["" if row is None else f"{row.p50:,.3g}" if row.p50 < 100 else f"{row.p50:,.0f}" for row in found]
        ratios = ["" if row is None else f" ({row.ratio:.2g}x)" for row in found]
        lines.append(f"| {name} | " + " | ".join(a + b for a, b in zip(texts, ratios, strict=True)) + " |")
    lines += [f"\n{row.model}, batch {row.batch}: {remark(row)}" for row in rows if not row.trusted]
    return "\n".join(lines)


def remark(row: Row) -> str:
    """Said of answers that should not be used."""
    return f"{row.name} answers {row.error:.0e} away from TensorFlow Lite, more than its precision explains"
