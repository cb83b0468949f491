"""Models with int8, uint8 and int16 at their edge, against TensorFlow's interpreter on the same file."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import linkcast

pytest.importorskip("tensorflow", reason="TensorFlow is needed to build the models")
import flatbuffers
import tensorflow as tf
import tf_keras
from tensorflow.lite.python import schema_py_generated as schema

from built_models import built
from keras_models import convert, randomise
from quantised_models import QUANTISED

Floats = npt.NDArray[np.float32]
# TensorFlow 2.21 rounds products of int16 in another way than the runtime, 2.17.1: up to 5 steps of 65,536 were seen.
INT16_STEPS = 8


def interpreter_of(path: Path) -> Any:
    """With XNNPACK, which runs integer layers here too: its last bit is not that of the runtime's own kernels."""
    interpreter = tf.lite.Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def stored(values: Floats, details: Any) -> npt.NDArray[Any]:
    """What TensorFlow Lite's QUANTIZE makes of `values`: the nearest, halves away from zero, held within the type."""
    scale, zero_point = details["quantization"]
    ends = np.iinfo(details["dtype"])
    steps = (values / np.float32(scale)).astype(np.float32)
    nearest = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
    return np.clip(nearest + zero_point, ends.min, ends.max).astype(details["dtype"])


def answers_of(interpreter: Any, windows: Floats) -> Floats:
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = target["quantization"]
    answers = []
    for window in windows:
        interpreter.reset_all_variables()
        interpreter.set_tensor(source["index"], stored(window[None], source))
        interpreter.invoke()
        whole = interpreter.get_tensor(target["index"]).astype(np.int32)
        answers.append(np.float32(scale) * (whole - zero_point).astype(np.float32))
    return np.concatenate(answers)


@pytest.mark.parametrize("name", sorted(QUANTISED))
def test_answers_are_those_of_tensorflow_and_of_int8_bit_for_bit(name: str) -> None:
    path = built(name)
    model = linkcast.Model(path)
    # Some beyond what the scales hold: they become the ends.
    windows = (3.0 * np.random.default_rng(5).normal(size=(60, *model.input_shape[1:]))).astype(np.float32)
    expected = answers_of(interpreter_of(path), windows)
    assert len(np.unique(expected)) > 5  # the comparison means something
    assert (model.input.dtype, model.output.dtype) == (np.float32, np.float32)
    single = []
    for window in windows:
        model.input[...] = window
        model.invoke()
        single.append(model.output.copy())
    answers = np.concatenate(single)
    step = interpreter_of(path).get_output_details()[0]["quantization"][0]
    assert np.abs(answers - expected).max() <= (INT16_STEPS * step if name.endswith("int16") else 0.0)
    for batch in (7, 60):
        parts = [model.predict(windows[row : row + batch]) for row in range(0, 60, batch)]
        np.testing.assert_array_equal(np.concatenate(parts), answers)


@pytest.mark.parametrize("name", ["dense_int8", "dense_uint8", "dense_int16"])
def test_the_quantisation_is_named(name: str) -> None:
    path = built(name)
    model = linkcast.Model(path)
    assert model.backend == "tflite"
    kind = name.split("_")[1]
    assert model.backend_reason == f"the model's input is {kind.upper()}: no native kernel works with whole numbers"
    for side, details in (
        ("input", interpreter_of(path).get_input_details()[0]),
        ("output", interpreter_of(path).get_output_details()[0]),
    ):
        scale, zero_point = details["quantization"]
        assert model.details()[f"{side}_quantisation"] == f"{kind}, scale {scale:.4g}, zero point {zero_point}"
    with pytest.raises(linkcast.LoadError, match="the model's input is"):
        linkcast.Model(path, backend="native")


def test_inspect_names_the_quantisation() -> None:
    command = [sys.executable, "-m", "linkcast", "inspect", str(built("dense_int8"))]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=None).stdout
    assert "input quantisation" in shown and "int8, scale" in shown


def test_a_float_model_has_no_quantisation_at_its_edge() -> None:
    assert not any("quantisation" in key for key in linkcast.Model(built("full_int8_dense")).details())


@pytest.mark.parametrize("name", ["dense_int8", "dense_uint8", "dense_int16"])
def test_halves_go_away_from_zero_and_what_is_beyond_becomes_an_end(name: str) -> None:
    path = built(name)
    details = interpreter_of(path).get_input_details()[0]
    scale, zero_point = details["quantization"]
    ends = np.iinfo(details["dtype"])
    model = linkcast.Model(path)

    def answer(steps: float) -> Floats:
        model.input[...] = np.float32(scale) * np.float32(steps)
        model.invoke()
        return model.output.copy()

    np.testing.assert_array_equal(answer(1e9), answer(ends.max - zero_point))
    np.testing.assert_array_equal(answer(-1e9), answer(ends.min - zero_point))
    np.testing.assert_array_equal(answer(np.inf), answer(ends.max - zero_point))
    np.testing.assert_array_equal(answer(5.4), answer(5))
    np.testing.assert_array_equal(answer(-5.6), answer(-6))


def test_no_number_stands_for_nan() -> None:
    model = linkcast.Model(built("dense_int8"))
    before = model.predict(np.zeros((1, 4), np.float32))
    model.input[...] = [0.0, 1.0, np.nan, 0.0]
    with pytest.raises(RuntimeError, match=r"input: expected numbers, which int8, scale .* stands for, got NaN at 2"):
        model.invoke()
    model.input[...] = 0.0
    model.invoke()
    np.testing.assert_array_equal(model.output, before)


def test_a_refused_batch_leaves_the_models_own_tensors_alone() -> None:
    model = linkcast.Model(built("lstm_int8"))  # runs a batch window by window, through these tensors
    window = np.random.default_rng(6).normal(size=model.input.shape).astype(np.float32)
    model.input[...] = window
    model.invoke()
    before = model.output.copy()
    windows = np.repeat(window, 3, axis=0)
    windows[1, 0, 0] = np.nan
    with pytest.raises(RuntimeError, match="got NaN"):
        model.predict(windows)
    np.testing.assert_array_equal(model.input, window)
    np.testing.assert_array_equal(model.output, before)
    model.invoke()
    np.testing.assert_array_equal(model.output, before)


def damaged(path: Path, to: Path, side: str, change: Callable[[Any], None]) -> Path:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    change(graph.tensors[(graph.inputs if side == "input" else graph.outputs)[0]])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    to.write_bytes(bytes(builder.Output()))
    return to


def with_scales(*scales: float) -> Callable[[Any], None]:
    def change(tensor: Any) -> None:
        tensor.quantization.scale = np.array(scales, np.float32)
        tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        tensor.quantization.quantizedDimension = 1

    return change


def with_zero_point(zero_point: int) -> Callable[[Any], None]:
    def change(tensor: Any) -> None:
        tensor.quantization.zeroPoint = np.array([zero_point], np.int64)

    return change


def without(tensor: Any) -> None:
    tensor.quantization = None


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (with_scales(0.0), "expected INT8 with one scale above 0, got the scale 0"),
        (with_scales(-0.5), "expected scales from 1e-20 to 1e10, got -0.5"),
        (with_scales(float("nan")), "expected scales from 1e-20 to 1e10, got (-)?nan"),
        (with_scales(float("inf")), "expected scales from 1e-20 to 1e10, got inf"),
        (with_zero_point(128), "expected zero points from -128 to 127, got 128"),
        (with_zero_point(-129), "expected zero points from -128 to 127, got -129"),
        (without, "expected INT8 with one scale above 0, got 0 scales"),
    ],
)
def test_damaged_quantisation_is_refused(change: Any, told: str, side: str, tmp_path: Path) -> None:
    path = damaged(built("dense_int8"), tmp_path / "damaged.tflite", side, change)
    with pytest.raises(linkcast.LoadError, match=told):
        linkcast.Model(path)


@pytest.mark.parametrize(("side", "count"), [("input", 4), ("output", 3)])
def test_a_scale_for_each_feature_is_refused(side: str, count: int, tmp_path: Path) -> None:
    path = damaged(built("dense_int8"), tmp_path / "damaged.tflite", side, with_scales(*[0.1] * count))
    with pytest.raises(linkcast.LoadError, match=f"expected INT8 with one scale above 0, got {count} scales"):
        linkcast.Model(path)


def test_whole_numbers_without_a_meaning_are_refused(tmp_path: Path) -> None:
    def indices(tensor: Any) -> None:
        tensor.type = schema.TensorType.INT32

    path = damaged(built("dense_int8"), tmp_path / "indices.tflite", "input", indices)
    with pytest.raises(linkcast.LoadError, match="expected FLOAT32, got INT32"):
        linkcast.Model(path)
    window = tf_keras.Input((4,), dtype="int32")
    picked = tf_keras.layers.Lambda(lambda x: tf.gather(tf.constant([[0.5], [1.0], [2.0]]), x))(window)
    convert(tf_keras.Model(window, tf_keras.layers.Flatten()(picked)), tmp_path / "picked.tflite")
    with pytest.raises(linkcast.LoadError, match=r"INT32 .* at once, got a reader of it in GATHER \(node 0\)"):
        linkcast.Model(tmp_path / "picked.tflite")


@functools.cache
def counts() -> tuple[Any, Path]:
    """A forecaster of counts: int32 windows, made float32 by the graph; and its file."""
    k = tf_keras.layers
    window = tf_keras.Input((10, 4), dtype="int32")
    hidden = k.LSTM(6)(k.Lambda(lambda x: tf.cast(x, tf.float32) / 1000.0)(window))
    model = randomise(tf_keras.Model(window, k.Dense(2)(hidden)))
    return model, convert(model, built("dense_int8").with_name("counts.tflite"))


def test_whole_numbers_that_are_cast_at_once_are_taken_as_they_are() -> None:
    keras_model, path = counts()
    model = linkcast.Model(path)
    assert (model.input.dtype, model.backend) == (np.float32, "tflite")
    assert "INT32" in model.backend_reason
    assert model.details()["input_quantisation"] == "int32, whole numbers"
    windows = np.random.default_rng(12).integers(-3000, 3000, size=(20, 10, 4))
    windows[0, 0] = (2**24, -(2**24), 0, 1)
    expected = np.asarray(keras_model(tf.constant(windows, tf.int32)))
    assert len(np.unique(expected)) > 20
    for batch in (1, 7, 20):
        answers = [model.predict(windows[row : row + batch].astype(np.float32)) for row in range(0, 20, batch)]
        np.testing.assert_allclose(np.concatenate(answers), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "told"),
    [(2.5, "2.5"), (np.nan, "NaN"), (np.inf, "inf"), (2.0**24 + 2, "16777218"), (-3e9, "-3e\\+09")],
)
def test_what_is_no_whole_number_is_refused_by_its_place(value: float, told: str) -> None:
    model = linkcast.Model(counts()[1])
    model.input[...] = 7.0
    model.invoke()
    before = model.output.copy()
    model.input[0, 1, 2] = value
    with pytest.raises(RuntimeError, match=f"expected whole numbers from -16777216 to 16777216, got {told} at 6$"):
        model.invoke()
    model.input[...] = 7.0
    model.invoke()
    np.testing.assert_array_equal(model.output, before)
