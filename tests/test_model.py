"""linkcast.Model on TensorFlow Lite's own kernels: memory, batches, state, and files that are not what they should be.

Expected outputs come from the Keras models that the files were converted from.
"""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import linkcast

make_models = pytest.importorskip("make_models", reason="TensorFlow is needed to build the models")

Floats = npt.NDArray[np.float32]
# float32 sums of up to 128 products of values below 1: measured differences stay below 3e-7.
TOLERANCE = 1e-6


class Built:
    """A converted model, and the answers of the Keras model behind it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.path = folder / f"{name}.tflite"
        keras_model = make_models.MODELS[name](self.path)
        shape = keras_model.inputs[0].shape[1:]
        self.windows = np.random.default_rng(7).normal(size=(100, *shape)).astype(np.float32)
        self.answers = np.asarray(keras_model(self.windows), dtype=np.float32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    folder = tmp_path_factory.mktemp("models")
    kept: dict[str, Built] = {}

    def build(name: str) -> Built:
        if name not in kept:
            kept[name] = Built(name, folder)
        return kept[name]

    return build


def open_tflite(path: Path) -> linkcast.Model:
    return linkcast.Model(path, backend="tflite")


@pytest.mark.parametrize("name", ["fused", "fused_batch_7", "while_loop", "unrolled", "dense", "gru", "convolution"])
@pytest.mark.parametrize("batch", [1, 2, 7, 100])
def test_any_batch_equals_keras(built: Callable[[str], Built], name: str, batch: int) -> None:
    model = built(name)
    predicted = open_tflite(model.path).predict(model.windows[:batch])
    np.testing.assert_allclose(predicted, model.answers[:batch], rtol=0, atol=TOLERANCE)


def test_batches_of_changing_size_on_one_model_equal_keras(built: Callable[[str], Built]) -> None:
    for name in ("fused", "dense"):
        model = built(name)
        opened = open_tflite(model.path)
        for batch in (3, 100, 1, 50, 100, 2):
            predicted = opened.predict(model.windows[:batch])
            np.testing.assert_allclose(predicted, model.answers[:batch], rtol=0, atol=TOLERANCE)


def test_same_window_twice_gives_the_same_output(built: Callable[[str], Built]) -> None:
    model = built("fused")
    opened = open_tflite(model.path)
    opened.input[...] = model.windows[:1]
    opened.invoke()
    first = opened.output.copy()
    opened.invoke()
    np.testing.assert_array_equal(opened.output, first)
    np.testing.assert_allclose(first, model.answers[:1], rtol=0, atol=TOLERANCE)


def test_views_share_the_tensors_memory_and_outlive_the_model(built: Callable[[str], Built]) -> None:
    model = built("fused")
    opened = open_tflite(model.path)
    window, output = opened.input, opened.output
    assert np.shares_memory(window, opened.input)
    assert window.ctypes.data % 64 == 0
    window[...] = model.windows[:1]
    opened.invoke()
    del opened
    gc.collect()
    np.testing.assert_allclose(output, model.answers[:1], rtol=0, atol=TOLERANCE)
    window[...] = 0


def test_predict_leaves_the_views_as_they_were(built: Callable[[str], Built]) -> None:
    for name in ("fused", "dense"):
        model = built(name)
        opened = open_tflite(model.path)
        opened.input[...] = model.windows[:1]
        opened.invoke()
        before = opened.output.copy()
        opened.predict(model.windows)
        np.testing.assert_array_equal(opened.input, model.windows[:1])
        np.testing.assert_array_equal(opened.output, before)


@pytest.mark.parametrize("backend", ["native", "tflite"])
def test_prepare_leaves_the_views_as_they_were(built: Callable[[str], Built], backend: str) -> None:
    model = built("fused")
    opened = linkcast.Model(str(model.path), backend)
    opened.input[...] = model.windows[:1]
    opened.invoke()
    before = opened.output.copy()
    opened.input[...] = model.windows[1:2]  # not run yet: its answer is not to be seen
    opened.prepare()
    np.testing.assert_array_equal(opened.input, model.windows[1:2])
    np.testing.assert_array_equal(opened.output, before)


def test_batch_memory_is_read_without_a_copy(built: Callable[[str], Built]) -> None:
    model = built("fused")
    opened = open_tflite(model.path)
    memory = opened.batch_input(5)
    assert memory.shape == (5, *model.windows.shape[1:])
    memory[...] = model.windows[:5]
    np.testing.assert_allclose(opened.invoke_batch(5), model.answers[:5], rtol=0, atol=TOLERANCE)
    larger = opened.batch_input(50)
    memory[...] = 0  # the smaller memory is still there to be written
    larger[...] = model.windows[:50]
    np.testing.assert_allclose(opened.invoke_batch(50), model.answers[:50], rtol=0, atol=TOLERANCE)


def test_predict_takes_what_numpy_can_turn_into_floats(built: Callable[[str], Built]) -> None:
    model = built("dense")
    opened = open_tflite(model.path)
    expected = opened.predict(model.windows)
    np.testing.assert_array_equal(opened.predict(model.windows.astype(np.float64)), expected)
    np.testing.assert_array_equal(opened.predict(model.windows[::-1])[::-1], expected)
    np.testing.assert_array_equal(opened.predict(model.windows.tolist()), expected)
    np.testing.assert_array_equal(opened.predict(model.windows[0]), expected[:1])
    assert opened.predict(model.windows[:0]).shape == (0, 10)


def test_a_wrong_shape_says_what_was_expected_and_what_came(built: Callable[[str], Built]) -> None:
    opened = open_tflite(built("fused").path)
    with pytest.raises(ValueError, match=r"expected \(10, 4\) or \(batch, 10, 4\) finite floats, got \(9, 4\)"):
        opened.predict(np.zeros((9, 4)))
    with pytest.raises(ValueError, match=r"got \(2, 10, 5\)"):
        opened.predict(np.zeros((2, 10, 5)))
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        opened.batch_input(0)


def test_unusable_arguments_are_refused(built: Callable[[str], Built]) -> None:
    path = built("dense").path
    with pytest.raises(ValueError, match='expected "auto", "native" or "tflite", got "gpu"'):
        linkcast.Model(path, backend="gpu")
    with pytest.raises(ValueError, match="threads: expected at least 1, got 0"):
        linkcast.Model(path, threads=0)


def test_a_file_that_is_no_model_is_named(built: Callable[[str], Built], tmp_path: Path) -> None:
    with pytest.raises(linkcast.LoadError, match=r"missing\.tflite: can't be opened: No such file"):
        linkcast.Model(tmp_path / "missing.tflite")
    half = built("fused").path.read_bytes()[:9000]
    for name, content in (("empty", b""), ("text", b"not a model at all"), ("half", half)):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        with pytest.raises(linkcast.LoadError, match=rf"{name}\.tflite: "):
            linkcast.Model(path)


DAMAGE = """
import sys, linkcast, numpy as np
for path in sys.argv[1:]:
    try:
        model = linkcast.Model(path)
        model.predict(np.zeros((3, *model.input_shape[1:]), np.float32))
    except (RuntimeError, ValueError) as error:
        assert str(error)
print("survived")
"""


@pytest.mark.parametrize("name", ["fused", "dense"])
def test_damaged_files_raise_or_run_but_never_crash(built: Callable[[str], Built], tmp_path: Path, name: str) -> None:
    whole = built(name).path.read_bytes()
    draw = random.Random(5)
    paths = []
    for index in range(200):
        damaged = bytearray(whole)
        if index % 5 == 0:
            damaged = damaged[: draw.randrange(1, len(damaged))]
        else:  # the tables, not the weights, are where damage does harm: they stand at both ends of the file
            for _ in range(draw.choice((1, 1, 2, 4))):
                at = draw.choice((draw.randrange(0, 3000), len(damaged) - 1 - draw.randrange(0, 12000)))
                damaged[at] ^= 1 << draw.randrange(8)
        paths.append(tmp_path / f"{index}.tflite")
        paths[-1].write_bytes(damaged)
    run = subprocess.run([sys.executable, "-c", DAMAGE, *map(str, paths)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "survived\n"


@pytest.mark.parametrize("index", [62, 89, 200])  # just behind the file's tensors, where the runtime puts its own, far
def test_an_operator_that_reads_a_tensor_which_the_file_lacks_is_refused(
    built: Callable[[str], Built], tmp_path: Path, index: int
) -> None:
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(built("fused").path.read_bytes(), 0)
    slice_code = schema.BuiltinOperator.STRIDED_SLICE
    for operator in model.subgraphs[0].operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode == slice_code:
            operator.inputs = np.array([*operator.inputs[:2], index, operator.inputs[3]], np.int32)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "damaged.tflite"
    path.write_bytes(builder.Output())
    run = subprocess.run([sys.executable, "-c", DAMAGE_TEXT, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "damaged.tflite" in run.stdout


DAMAGE_TEXT = """
import sys, linkcast
try:
    linkcast.Model(sys.argv[1])
except linkcast.LoadError as error:
    print(error)
"""


def test_a_second_thread_is_refused_not_raced(built: Callable[[str], Built]) -> None:
    model = built("fused")
    opened = open_tflite(model.path)
    windows = np.repeat(model.windows, 20, axis=0)
    outcomes: list[Any] = []

    def work() -> None:
        for _ in range(10):
            try:
                outcomes.append(opened.predict(windows)[0, 0])
            except RuntimeError as error:
                outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert answers and all(abs(answer - model.answers[0, 0]) < TOLERANCE for answer in answers)
    assert all("in use by another thread" in refusal for refusal in refusals)


def test_models_of_their_own_run_side_by_side(built: Callable[[str], Built]) -> None:
    model = built("fused")
    answers: list[Floats] = []

    def work() -> None:
        answers.append(open_tflite(model.path).predict(model.windows))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for answer in answers:
        np.testing.assert_allclose(answer, model.answers, rtol=0, atol=TOLERANCE)


def test_operators_are_listed_with_what_runs_them(built: Callable[[str], Built]) -> None:
    operators = open_tflite(built("fused").path).operators()
    lstms = [operator for operator in operators if operator["name"] == "UNIDIRECTIONAL_SEQUENCE_LSTM"]
    assert [lstm["outputs"] for lstm in lstms] == [[[1, 10, 24]], [[1, 10, 17]], [[1, 10, 8]]]
    assert {lstm["runs_on"] for lstm in lstms} == {"tflite"}
    assert {operator["runs_on"] for operator in operators if operator["name"] == "FULLY_CONNECTED"} == {"xnnpack"}
