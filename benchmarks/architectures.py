"""Networks of the kinds that people publish for telemetry, each beside ai-edge-litert in one process.

    python benchmarks/architectures.py [NAME ...] [--seconds 2]

Needs TensorFlow, tf-keras and ai-edge-litert. Every builder writes a file with random weights at the batch that is
asked for; answers are compared before anything is timed. The two take turns, so that what disturbs the machine disturbs
both. A call finds its input in place; ai-edge-litert's states are reset before it, as linkcast's are. A new kind is a
function among `BUILDERS`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from tf_keras import layers

import linkcast
from keras_models import convert, randomise

Floats = npt.NDArray[np.float32]
STEPS, FEATURES = 10, 4
TURN = 20  # calls in a row; the first one after the other runtime finds cold caches and is not timed


def sequential(*parts: Any, shape: tuple[int, ...] = (STEPS, FEATURES)) -> Any:
    return randomise(tf_keras.Sequential([layers.Input(shape), *parts]))


def dense_layer_norm(path: Path, batch: int) -> None:
    """Three dense layers with layer normalisation: the actor of an allocator."""
    hidden = [part for _ in range(3) for part in (layers.Dense(128, "relu"), layers.LayerNormalization())]
    convert(sequential(*hidden, layers.Dense(10), shape=(8,)), path, batch=batch)


def lstm_softmax(path: Path, batch: int) -> None:
    """A class of the next step from a window."""
    convert(sequential(layers.LSTM(64), layers.Dense(32, "relu"), layers.Dense(5, "softmax")), path, batch=batch)


def lstm_softmax_steps(path: Path, batch: int) -> None:
    """A class of each step."""
    parts = [layers.LSTM(64, return_sequences=True), layers.TimeDistributed(layers.Dense(5, "softmax"))]
    convert(sequential(*parts), path, batch=batch)


def dueling_dqn(path: Path, batch: int) -> None:
    """Q = V + A - mean(A), after Wang et al. 2016."""
    state = tf_keras.Input((8,))
    hidden = layers.Dense(128, "relu")(layers.Dense(128, "relu")(state))
    value, advantage = layers.Dense(1)(hidden), layers.Dense(10)(hidden)
    q = layers.Lambda(lambda x: x[0] + x[1] - tf.reduce_mean(x[1], axis=1, keepdims=True))([value, advantage])
    convert(randomise(tf_keras.Model(state, q)), path, batch=batch)


def dense_int8(path: Path, batch: int) -> None:
    """Whole numbers throughout; linkcast's call rounds its float32 to them and back."""
    quantised(
        sequential(layers.Dense(128, "relu"), layers.Dense(64, "relu"), layers.Dense(10), shape=(8,)), path, batch
    )


def lstm_int8(path: Path, batch: int) -> None:
    quantised(sequential(layers.LSTM(64), layers.Dense(1)), path, batch)


def quantised(model: Any, path: Path, batch: int) -> None:
    rng = np.random.default_rng(3)

    def windows() -> Iterator[list[Floats]]:
        for _ in range(16):
            yield [(3.0 * rng.normal(size=(batch, *model.inputs[0].shape[1:]))).astype(np.float32)]

    options = {"optimizations": [tf.lite.Optimize.DEFAULT], "representative": windows, "edge": tf.int8}
    convert(model, path, batch=batch, **options)


def lstm_autoencoder(path: Path, batch: int) -> None:
    """A window rebuilt from one state, for the detection of anomalies."""
    parts = [
        layers.LSTM(64),
        layers.RepeatVector(STEPS),
        layers.LSTM(64, return_sequences=True),
        layers.TimeDistributed(layers.Dense(FEATURES)),
    ]
    convert(sequential(*parts), path, batch=batch)


def gru(path: Path, batch: int) -> None:
    """A GRU forecaster: a loop in the file, as there is no fused operator of it."""
    parts = [layers.GRU(64, return_sequences=True), layers.GRU(32), layers.Dense(16, "relu"), layers.Dense(1)]
    convert(sequential(*parts), path, batch=batch)


def gru_reset_before(path: Path, batch: int) -> None:
    """The GRU of the paper, its steps unrolled."""
    parts = [layers.GRU(64, reset_after=False, unroll=True), layers.Dense(16, "relu"), layers.Dense(1)]
    convert(sequential(*parts), path, batch=batch)


def bidirectional_lstm(path: Path, batch: int) -> None:
    parts = [
        layers.Bidirectional(layers.LSTM(64, return_sequences=True)),
        layers.Bidirectional(layers.LSTM(32)),
        layers.Dense(1),
    ]
    convert(sequential(*parts), path, batch=batch)


def bidirectional_gru(path: Path, batch: int) -> None:
    convert(sequential(layers.Bidirectional(layers.GRU(64)), layers.Dense(1)), path, batch=batch)


def relu_lstm(path: Path, batch: int) -> None:
    """The LSTM of most tutorials, which is a loop in the file."""
    convert(sequential(layers.LSTM(50, activation="relu"), layers.Dense(1)), path, batch=batch)


def masked_lstm(path: Path, batch: int) -> None:
    """Windows of any length, filled up: a loop in the file. Measured whole, without a step to leave out."""
    convert(sequential(layers.Masking(), layers.LSTM(64), layers.Dense(1)), path, batch=batch)


def masked_sequence(path: Path, batch: int) -> None:
    """An answer for each step of a window of any length."""
    parts = [layers.Masking(), layers.LSTM(64, return_sequences=True), layers.TimeDistributed(layers.Dense(3))]
    convert(sequential(*parts), path, batch=batch)


def step_lstm(path: Path, batch: int) -> None:
    """One sample and the states in, the answer and the states out."""
    x, h, c = (tf_keras.Input((size,)) for size in (FEATURES, 64, 64))
    output, after = layers.LSTMCell(64)(x, [h, c])
    convert(randomise(tf_keras.Model([x, h, c], [layers.Dense(1)(output), *after])), path, batch=batch)


BUILDERS: list[Callable[[Path, int], None]] = [
    dense_layer_norm,
    lstm_softmax,
    lstm_softmax_steps,
    dueling_dqn,
    lstm_autoencoder,
    gru,
    gru_reset_before,
    bidirectional_lstm,
    bidirectional_gru,
    relu_lstm,
    masked_lstm,
    masked_sequence,
    step_lstm,
    dense_int8,
    lstm_int8,
]
"""Each writes a .tflite file of random weights whose batch is the one that is given."""


def litert_call(path: Path, inputs: list[Floats]) -> tuple[Callable[[], None], Callable[[], Floats]]:
    """A call of ai-edge-litert with XNNPACK on one thread, and its answers: all outputs, one behind the other.

    Args:
        inputs: as many as the file has, in its order.
    """
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    for source, given in zip(interpreter.get_input_details(), inputs, strict=True):
        scale, zero_point = source["quantization"]
        stored = np.clip(np.round(given / scale) + zero_point, -128, 127) if scale else given
        interpreter.set_tensor(source["index"], stored.astype(source["dtype"]))
    recurrent = any("LSTM" in operator["op_name"] for operator in interpreter._get_ops_details())

    def call() -> None:
        if recurrent:
            interpreter.reset_all_variables()
        interpreter.invoke()

    def answer(target: Any) -> Floats:
        scale, zero_point = target["quantization"]
        found = interpreter.get_tensor(target["index"]).ravel()
        return (scale * (found.astype(np.float32) - zero_point)).astype(np.float32) if scale else found

    def answers() -> Floats:
        return np.concatenate([answer(target) for target in interpreter.get_output_details()])

    return call, answers


def turns(calls: list[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Times of each call in microseconds."""
    times: list[list[float]] = [[] for _ in calls]
    end = perf_counter_ns() + round(seconds * 1e9)
    while not times[-1] or perf_counter_ns() < end:
        for call, us in zip(calls, times, strict=True):
            call()
            for _ in range(TURN):
                start = perf_counter_ns()
                call()
                us.append((perf_counter_ns() - start) / 1000)
    return times


def rows(names: list[str], seconds: float) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| network | batch | linkcast us | ai-edge-litert us | ratio | runs on | difference |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | ---: |"
    with tempfile.TemporaryDirectory() as scratch:
        for build in BUILDERS:
            if names and build.__name__ not in names:
                continue
            for batch in (1, 7):
                path = Path(scratch) / f"{build.__name__}_{batch}.tflite"
                build(path, batch)
                model = linkcast.Model(path)
                random = np.random.default_rng(batch)
                inputs = [random.normal(size=tensor.shape).astype(np.float32) for tensor in model.inputs.values()]
                call, answers = litert_call(path, inputs)
                for tensor, given in zip(model.inputs.values(), inputs, strict=True):
                    tensor[...] = given
                model.invoke()
                call()
                own_answers = np.concatenate([tensor.ravel() for tensor in model.outputs.values()])
                difference = float(np.abs(own_answers - answers()).max())
                # Two versions of the runtime round whole numbers in two ways.
                allowed = 0.05 if "int8" in build.__name__ else 1e-5
                if not difference <= allowed * max(1.0, float(np.abs(answers()).max())):
                    raise SystemExit(f"{path.stem}: {difference:.1e} from ai-edge-litert")
                own, other = map(statistics.median, turns([model.invoke, call], seconds))
                yield (
                    f"| {build.__name__} | {batch} | {own:.2f} | {other:.2f} | {own / other:.2f} | {model.backend} "
                    f"| {difference:.0e} |"
                )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("names", nargs="*", help="which; all without any")
    arguments.add_argument("--seconds", type=float, default=2.0, help="of measuring, for each network and batch")
    given = arguments.parse_args()
    for line in rows(given.names, given.seconds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
