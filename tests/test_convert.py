"""`linkcast convert`: Keras files of both versions and any batch, against Keras' own answers."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import linkcast
from linkcast.cli import main
from linkcast.training import convert
from linkcast.training.start import keras, tf_keras

STEPS, FEATURES = 6, 4
Build = Callable[[Any], Any]


def lstm(k: Any) -> Any:
    """Unknown batch, which the converter by itself makes Flex operators of."""
    layers = k.layers
    return k.Sequential(
        [
            k.Input((STEPS, FEATURES)),
            layers.LSTM(9, return_sequences=True, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.LSTM(5),
            layers.Dense(3, activation="relu"),
            layers.Dense(1),
        ]
    )


def both_ways(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([k.Input((STEPS, FEATURES)), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)])


def branches(k: Any) -> Any:
    """A functional model that uses a layer twice."""
    window = k.Input((STEPS, FEATURES), name="window")
    shared = k.layers.Dense(4, activation="tanh")
    once = k.layers.LSTM(4)(shared(window))
    twice = k.layers.Flatten()(shared(shared(window)))
    return k.Model(window, k.layers.Dense(1)(k.layers.Concatenate()([once, twice])))


def stateful(k: Any) -> Any:
    first = k.Input(batch_shape=(1, STEPS, FEATURES))
    return k.Sequential([first, k.layers.LSTM(6, stateful=True, unroll=True), k.layers.Dense(1)])


def only_in_keras_3(k: Any) -> Any:
    window = k.Input((STEPS, FEATURES))
    return k.Model(window, k.layers.Dense(1)(k.layers.LSTM(4)(window * 2.0)))


def saved(build: Build, k: Any, path: Path) -> tuple[Path, Any]:
    """The model in a file, with weights that differ everywhere."""
    k.utils.set_random_seed(3)
    model = build(k)
    rng = np.random.default_rng(5)
    model.set_weights(
        [
            rng.uniform(0.2, 0.6, values.shape) * rng.choice([-1, 1], values.shape)
            if "variance" not in getattr(weight, "path", weight.name)
            else rng.uniform(0.5, 1.5, values.shape)
            for weight, values in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    model.save(path)
    return path, model


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(
    ("build", "k", "name", "backend", "rebuilt"),
    [
        (lstm, keras, "three.keras", "native", True),
        (lstm, tf_keras, "two.h5", "native", True),
        (both_ways, keras, "both.h5", "native", True),
        (branches, keras, "branches.keras", "tflite", True),
        (stateful, keras, "stateful.keras", "native", True),
        (only_in_keras_3, keras, "operation.keras", None, False),
    ],
)
def test_a_converted_model_answers_as_keras_does(build, k, name, backend, rebuilt, tmp_path):
    path, model = saved(build, k, tmp_path / name)
    done = convert.convert_file(path)
    assert done.rebuilt == rebuilt
    (tmp_path / "model.tflite").write_bytes(done.content)
    converted = linkcast.Model(tmp_path / "model.tflite")
    assert converted.input_shape == (1, STEPS, FEATURES)
    if backend is not None:
        assert converted.backend == backend, converted.backend_reason
    inputs = np.random.default_rng(1).random((3, STEPS, FEATURES), dtype=np.float32)
    if build is stateful:  # each window from zero state
        expected = []
        for window in inputs:
            model.layers[0].reset_state()
            expected.append(np.asarray(model(window[None]))[0])
    else:
        expected = model.predict(inputs, verbose=0)
    # float32 sums in another order
    np.testing.assert_allclose(converted.predict(inputs), expected, atol=1e-5)
    said = " ".join(done.notes)
    assert ("zero state" in said) == (build is stateful)
    assert ("batch was unknown" in said) == (build is not stateful)


def dense_only(k: Any) -> Any:
    return k.Sequential([k.Input((FEATURES,)), k.layers.Dense(3, activation="relu"), k.layers.Dense(1)])


def two_outputs(k: Any) -> Any:
    window = k.Input((STEPS, FEATURES))
    flat = k.layers.Flatten()(window)
    return k.Model(window, [k.layers.Dense(1)(flat), k.layers.Dense(2)(flat)])


def any_length(k: Any) -> Any:
    return k.Sequential([k.Input((None, FEATURES)), k.layers.LSTM(4)])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (two_outputs, "expected one input and one output, got 1 and 2"),
        (any_length, r"got (None, None, 4); a window has a fixed number of steps: keras.Input(batch_shape=(1, STEPS"),
    ],
)
def test_what_has_no_form_here_is_refused_in_a_sentence(build, words, tmp_path):
    path, _ = saved(build, keras, tmp_path / "model.keras")
    with pytest.raises(ValueError) as refused:
        convert.convert_file(path)
    assert words in str(refused.value)
    assert str(refused.value).startswith("model.keras: ") and "\n" not in str(refused.value)


@pytest.fixture
def run(monkeypatch, capfd):
    """run("model.keras", ...) -> (exit status, standard output, standard error, C++'s too)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["linkcast", "convert", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        status = 0
        try:
            main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


def test_the_command_says_what_runs_the_model_and_how_far_it_is_from_keras(run, tmp_path):
    path, _ = saved(stateful, keras, tmp_path / "line.keras")
    status, out, err = run(path)
    assert (status, err) == (0, "")
    assert f"line.keras is now {tmp_path / 'line.tflite'}" in out.replace("\n", "")
    assert "the native kernels" in out and "the whole graph runs" in out
    assert "from Keras' own answers to 32 random inputs" in " ".join(out.split())
    dense, _ = saved(dense_only, tf_keras, tmp_path / "dense.keras")
    status, out, _ = run(dense, "-o", tmp_path / "other.tflite", "--json")
    answer = json.loads(out)
    assert answer["backend"] == "native" and 0.0 <= answer["largest_difference"] < 1e-5
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        *("dense.keras", "line.keras", "line.tflite", "other.tflite")
    ]


def test_files_that_are_no_models_are_refused_by_name(run, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    (tmp_path / "text.keras").write_text("no model", encoding="utf-8")
    model = two_outputs(keras)
    model.save_weights(tmp_path / "only.weights.h5")
    for name, words in {
        "other.keras": "got another zip archive",
        "text.keras": "got another kind of file",
        "only.weights.h5": "got a file of weights without the model",
        "absent.keras": "No such file",
    }.items():
        status, out, err = run(tmp_path / name)
        assert (status, out, err.count("\n")) == (1, "", 1), err
        assert words in err
    assert run(tmp_path / "text.keras", "-o", tmp_path / "model.onnx")[0] == 2
