"""Models on the native kernels, through the delegate, against TensorFlow."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import linkcast

pytest.importorskip("tensorflow", reason="TensorFlow is needed to build the models")
import keras_models
import make_models
from built_models import built, tflite_answers, windows, with_float_weights

Floats = npt.NDArray[np.float32]
# float32 on both sides: the sums round in another order. Measured below 5e-7 over all models here.
TOLERANCE = 1e-6
# A layer normalisation divides by a row's deviation, and so multiplies the rounding in front of it.
NORMALISED_TOLERANCE = 5e-6
# TensorFlow Lite rounds activations to int8 in front of int8 weights, the native network does not: measured below
# 6e-3 of answers of about 1.
DYNAMIC_RANGE_TOLERANCE = 0.05
# What the proof at load allows a reduced precision; measured below 1.2e-2 and 1.5e-2 over the random architectures.
REDUCED_TOLERANCE = {"bfloat16": 2e-2, "int8": 5e-2}


def tolerance(name: str) -> float:
    """Of a model of make_models."""
    return NORMALISED_TOLERANCE if name.startswith("layer_norm") else TOLERANCE


def isas() -> list[str]:
    """Those that this machine runs."""
    names = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("scalar", "avx2", "avx512", "neon"):
            patch.setenv("LINKCAST_ISA", name)
            with contextlib.suppress(ValueError):
                linkcast.Model(built("dense_rescaled"))
                names.append(name)
    return names


@pytest.mark.parametrize("name", sorted(make_models.CLAIMED))
def test_native_equals_tensorflow(name: str) -> None:
    path = built(name)
    reference = with_float_weights(path) if name.endswith("dynamic_range") else path
    model = linkcast.Model(path)
    assert (model.backend, model.backend_reason[:15]) == ("native", "the whole graph")
    inputs = windows(path, 42)
    expected = tflite_answers(reference, inputs)
    assert np.abs(expected).max() > 1e-3  # the comparison means something
    for batch in (1, 2, 7, 42):
        answers = np.concatenate([model.predict(inputs[row : row + batch]) for row in range(0, 42, batch)])
        np.testing.assert_allclose(answers, expected, rtol=0, atol=tolerance(name))


@pytest.mark.parametrize("name", sorted(make_models.CLAIMED))
def test_one_invoke_equals_tensorflow_and_keeps_no_state(name: str) -> None:
    path = built(name)
    reference = with_float_weights(path) if name.endswith("dynamic_range") else path
    model = linkcast.Model(path, backend="native")
    inputs = windows(path, len(model.input), seed=8)
    expected = tflite_answers(reference, inputs)
    for _ in range(2):
        model.input[...] = inputs
        model.invoke()
        np.testing.assert_allclose(model.output, expected, rtol=0, atol=tolerance(name))


@pytest.mark.parametrize(
    "name", ["fused_dynamic_range", "while_dynamic_range", "unrolled_dynamic_range", "dense_dynamic_range"]
)
def test_int8_weights_stay_within_the_rounding_of_tflite(name: str) -> None:
    path = built(name)
    inputs = windows(path, 20)
    difference = np.abs(linkcast.Model(path, backend="native").predict(inputs) - tflite_answers(path, inputs))
    assert difference.max() < DYNAMIC_RANGE_TOLERANCE


@pytest.mark.parametrize(
    "name", sorted(set(make_models.NOT_CLAIMED) - {"two_inputs", "two_outputs", "full_int8", "full_int8_dense"})
)
def test_other_models_run_on_tflite_and_are_right(name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = built(name)
    model = linkcast.Model(path)
    assert model.backend == "tflite"
    assert model.backend_reason
    told = [(record.levelname, record.message) for record in caplog.records if record.name == "linkcast"]
    assert told == [("WARNING", f"{path}: runs on tflite: {model.backend_reason}")]
    rows = model.input.shape[0]
    inputs = windows(path, 4 * rows)
    answers = []
    for row in range(0, len(inputs), rows):
        model.input[...] = inputs[row : row + rows]
        model.invoke()
        answers.append(model.output.copy())
    np.testing.assert_allclose(np.concatenate(answers), tflite_answers(path, inputs), rtol=0, atol=TOLERANCE)


def test_five_forms_of_one_network_agree(tmp_path: Path) -> None:
    # The same weights: randomise draws them in the order of the layers, which is the same for both versions of Keras.
    import keras
    import tensorflow as tf
    import tf_keras

    def layers(k: object, unroll: bool = False) -> list[object]:
        make = k.layers  # type: ignore[attr-defined]
        return [
            make.LSTM(40, return_sequences=True, unroll=unroll),
            make.BatchNormalization(),
            make.LSTM(24, unroll=unroll),
            make.Dense(16, activation="relu"),
            make.Dense(1),
        ]

    half = {"optimizations": [tf.lite.Optimize.DEFAULT], "supported_types": [tf.float16]}
    forms = {
        "fused": keras_models.convert(keras_models.small(tf_keras, *layers(tf_keras)), tmp_path / "fused.tflite"),
        "while": keras_models.convert(keras_models.small(keras, *layers(keras)), tmp_path / "while.tflite"),
        "unrolled": keras_models.convert(
            keras_models.small(keras, *layers(keras, unroll=True)), tmp_path / "unrolled.tflite"
        ),
        "float16": keras_models.convert(
            keras_models.small(tf_keras, *layers(tf_keras)), tmp_path / "float16.tflite", **half
        ),
        "int8": keras_models.convert(
            keras_models.small(tf_keras, *layers(tf_keras)),
            tmp_path / "int8.tflite",
            optimizations=[tf.lite.Optimize.DEFAULT],
        ),
    }
    # Weights in float16 are rounded by 2^-11 of themselves, those in int8 by 1/254 of the largest in their row.
    tolerances = {"fused": TOLERANCE, "while": TOLERANCE, "unrolled": TOLERANCE, "float16": 1e-3, "int8": 1e-2}
    inputs = windows(forms["fused"], 50)
    expected = tflite_answers(forms["fused"], inputs)
    for form, path in forms.items():
        answers = linkcast.Model(path, backend="native").predict(inputs)
        np.testing.assert_allclose(answers, expected, rtol=0, atol=tolerances[form], err_msg=form)


def reduced_kernels(path: Path) -> list[tuple[str, str]]:
    """Precision and kernels of every table of reduced precision that the present ISA has here."""
    tables = []
    for precision, prefix in (("bfloat16", "bf16"), ("int8", "int8")):
        measured = linkcast.Model(path, precision=precision).kernel_choices()["window"]["us"]
        tables += [(precision, name) for name in measured if name.startswith(prefix)]
    return tables


def test_random_architectures_equal_keras_on_every_isa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tf_keras

    names = isas()
    assert "scalar" in names
    monkeypatch.setenv("LINKCAST_ISA", names[-1])
    reduced = {names[-1]: reduced_kernels(built("fused"))}  # those of the others: cpp/tests/test_recurrence.cpp
    assert {precision for precision, _ in reduced[names[-1]]} == set(REDUCED_TOLERANCE)
    architectures = list(keras_models.random_architectures(30))
    assert {kind for architecture in architectures for kind in architecture.kinds} == set(keras_models.KINDS)
    assert {architecture.softmax for architecture in architectures} == {False, True}
    for number, architecture in enumerate(architectures):
        keras_model = keras_models.stack(tf_keras, architecture)
        path = keras_models.convert(keras_model, tmp_path / f"{number}.tflite")
        inputs = windows(path, 33, seed=number)
        expected = np.asarray(keras_model(inputs), dtype=np.float32)
        allowed = NORMALISED_TOLERANCE if architecture.layer_normalise else TOLERANCE
        for isa in names:
            monkeypatch.setenv("LINKCAST_ISA", isa)
            model = linkcast.Model(path, backend="native")
            assert model.isa == isa
            for batch in (1, 33):
                answers = np.concatenate([model.predict(inputs[row : row + batch]) for row in range(0, 33, batch)])
                np.testing.assert_allclose(
                    answers, expected, rtol=0, atol=allowed, err_msg=f"{architecture} {isa} batch {batch}"
                )
            # In units of the largest magnitude in a window, as at load.
            unit = np.maximum(1.0, np.maximum(np.abs(inputs).max((1, 2)), np.abs(expected).max(1)))[:, None]
            for precision, kernels in reduced.get(isa, []):
                model = linkcast.Model(path, backend="native", precision=precision, kernels=kernels)
                assert model.kernels == kernels
                error = np.abs(model.predict(inputs) - expected) / unit
                assert error.max() <= REDUCED_TOLERANCE[precision], f"{architecture} {isa} {kernels}"


def test_a_thousand_windows_equal_keras() -> None:
    import tf_keras

    path = built("fused")
    keras_model = keras_models.small(
        tf_keras, *keras_models.fused_layers(tf_keras)
    )  # the weights of the file: the seed is fixed
    inputs = windows(path, 1000, seed=11)
    expected = np.asarray(keras_model(inputs), dtype=np.float32)
    np.testing.assert_allclose(linkcast.Model(path, backend="native").predict(inputs), expected, rtol=0, atol=TOLERANCE)


def test_the_limit_of_a_fused_cell_state_is_kept() -> None:
    # Gates open for 39 steps: the cell state reaches the limit of 10, not 39. Then the forget gate shuts, which leaves
    # about sigmoid(20 - 23) * c + 1: 1.5 after 10 and 2.8 after 39.
    window = np.zeros((1, 40, 1), np.float32)
    window[:, 39:] = 23.0
    path = built("saturated")
    answer = linkcast.Model(path, backend="native").predict(window)
    np.testing.assert_allclose(answer, tflite_answers(path, window), rtol=0, atol=TOLERANCE)
    assert answer[0, 0] < 0.95  # tanh(1.5) = 0.905, tanh(2.8) = 0.993


def test_a_batch_leaves_the_single_window_alone() -> None:
    model = linkcast.Model(built("while_loop"), backend="native")
    inputs = windows(built("while_loop"), 100)
    model.input[...] = inputs[0]
    model.invoke()
    single = model.output.copy()
    for count in (100, 3, 64):
        batch = model.predict(inputs[:count])
        assert batch.shape == (count, 1)
        np.testing.assert_array_equal(model.input, inputs[:1])
        np.testing.assert_array_equal(model.output, single)
        model.invoke()
        np.testing.assert_array_equal(model.output, single)


def test_a_release_build_has_no_switches_for_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKCAST_TEST_WRONG_KERNEL", "1")  # that it does what it says: cpp/tests/test_wrong_kernel.cpp
    assert linkcast.Model(built("dense")).backend == "native"


def test_an_unknown_isa_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKCAST_ISA", "mmx")
    with pytest.raises(ValueError, match="mmx"):
        linkcast.Model(built("dense"))


FLIP = """
import sys
import numpy as np
import linkcast

path, scratch, seed = sys.argv[1:]
original = np.fromfile(path, np.uint8)
rng = np.random.default_rng(int(seed))
opened = 0
for _ in range(60):
    damaged = original.copy()
    for position in rng.integers(0, len(damaged), size=rng.integers(1, 5)):
        damaged[position] ^= np.uint8(1 << rng.integers(0, 8))
    damaged.tofile(scratch)
    try:
        model = linkcast.Model(scratch)
    except (linkcast.LoadError, RuntimeError):
        continue
    opened += 1
print(opened)
"""


@pytest.mark.parametrize("name", ["fused", "while_loop", "unrolled", "fused_dynamic_range", "dense", "gru"])
def test_flipped_bits_never_crash(name: str, tmp_path: Path) -> None:
    path = built(name)
    command = [sys.executable, "-c", FLIP, str(path), str(tmp_path / "damaged.tflite"), "5"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout) > 0
