"""Models with several inputs and outputs, by name: against Keras over a stream, in Python and through the C ABI."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import linkcast

pytest.importorskip("tensorflow", reason="TensorFlow is needed to build the models")
import tensorflow as tf

import make_models
import state_models
from built_models import built
from test_c_abi import LIBRARY

Floats = npt.NDArray[np.float32]
TOLERANCE = 1e-5
"""Float32 on both sides, over twenty steps whose differences are carried along; measured below 1e-6."""
STEPS = 20


@functools.cache
def keras_model(name: str) -> Any:
    """The model whose file is built(name): the seeds of its weights are fixed."""
    return make_models.MODELS[name](built(name).with_name("again.tflite"))


def output_names(model: linkcast.Model) -> dict[str, str]:
    """By what state_models calls an output, what the file does: without a signature numbers, in alphabetical order."""
    names = sorted({"y", *(f"{name}_next" for name in model.inputs if name != "x")})
    return {
        name: name if name in model.outputs else "_".join(["Identity", str(n)][: 1 + (n > 0)])
        for n, name in enumerate(names)
    }


def samples_of(model: linkcast.Model) -> Floats:
    return np.random.default_rng(3).normal(size=(STEPS, *model.inputs["x"].shape)).astype(np.float32)


def keras_answers(name: str, model: linkcast.Model) -> Floats:
    """(STEPS, ...) "y", with the state carried over."""
    states = {key: np.zeros(value.shape, np.float32) for key, value in model.inputs.items() if key != "x"}
    network = keras_model(name)
    order = [tensor.name for tensor in network.inputs]
    answers = []
    for sample in samples_of(model):
        given = [tf.constant(sample if key == "x" else states[key]) for key in order]
        answer, *after = network(given, training=False)
        states = {key: np.asarray(value) for key, value in zip(order[1:], after, strict=True)}
        answers.append(np.asarray(answer))
    return np.stack(answers)


@pytest.mark.parametrize("name", sorted(state_models.STATE))
@pytest.mark.parametrize("backend", ["auto", "tflite"])
def test_a_stream_of_steps_equals_keras(name: str, backend: str) -> None:
    model = linkcast.Model(built(name), backend=backend)
    native = backend == "auto" and state_models.STATE[name] in state_models.NATIVE_STATE
    assert model.backend == ("native" if native else "tflite")
    names = output_names(model)
    assert sorted(model.outputs) == sorted(names.values())
    expected = keras_answers(name, model)
    assert np.abs(expected).max() > 1e-2
    answers = []
    for sample in samples_of(model):
        model.inputs["x"][...] = sample
        model.invoke()
        answers.append(model.outputs[names["y"]].copy())
        for state in model.inputs.keys() - {"x"}:
            model.inputs[state][...] = model.outputs[names[f"{state}_next"]]
    np.testing.assert_allclose(np.stack(answers), expected, rtol=0, atol=TOLERANCE)


def test_run_takes_and_gives_by_name_and_keeps_what_is_not_given() -> None:
    model, other = linkcast.Model(built("lstm_cell")), linkcast.Model(built("lstm_cell"))
    x, h, c = (np.random.default_rng(5).normal(size=model.inputs[name].shape) for name in ("x", "h", "c"))
    first = model.run({"x": x, "h": h, "c": c})
    assert sorted(first) == ["c_next", "h_next", "y"]
    for name, value in (("x", x), ("h", h), ("c", c)):
        other.inputs[name][...] = value
    other.invoke()
    for name, value in first.items():
        np.testing.assert_array_equal(value, other.outputs[name])
    again = model.run({"h": np.zeros_like(h)})  # x and c stay
    assert np.abs(again["y"] - first["y"]).max() > 1e-3
    np.testing.assert_array_equal(model.run({"h": h})["y"], first["y"])


def test_why_a_step_is_not_native_is_said() -> None:
    for name, said in (
        ("simple_cell", "adds two activations"),
        ("backwards_chunk", "all of the steps"),
    ):
        assert said in linkcast.Model(built(name)).backend_reason
        with pytest.raises(linkcast.LoadError, match=said):
            linkcast.Model(built(name), backend="native")


def test_reduced_precision_is_refused_where_the_state_is_the_callers() -> None:
    with pytest.raises(linkcast.LoadError, match="int8 and bfloat16 are for states that the network has made itself"):
        linkcast.Model(built("lstm_cell"), precision="int8")


def test_prepare_leaves_every_tensor_as_it_was() -> None:
    model = linkcast.Model(built("lstm_cell"))
    model.run({name: np.full(tensor.shape, 0.25) for name, tensor in model.inputs.items()})
    before = {name: tensor.copy() for name, tensor in {**model.inputs, **model.outputs}.items()}
    model.inputs["h"][...] = before["h"] = np.full((1, 9), 0.75, np.float32)  # another answer, were it run and kept
    model.prepare()
    for name, tensor in {**model.inputs, **model.outputs}.items():
        np.testing.assert_array_equal(tensor, before[name])


def test_what_does_not_fit_is_refused_and_nothing_is_written() -> None:
    model = linkcast.Model(built("lstm_cell"))
    before = model.run({"x": np.ones((1, 4))})
    for given, said in (
        ({"x": np.zeros((1, 4)), "z": 1.0}, 'input: expected one of .*, got "z"'),
        ({"x": np.zeros((1, 4)), "h": np.zeros(9)}, r"h: expected \(1, 9\), got \(9,\)"),
        ({"x": np.zeros((1, 4)), "h": "state"}, "h: expected numbers"),
    ):
        with pytest.raises(ValueError, match=said):
            model.run(given)
        np.testing.assert_array_equal(model.run({})["y"], before["y"])
    with pytest.raises(ValueError, match=r"predict: expected a model with one input and one output, got .*h \(1, 9\)"):
        model.predict(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"batch: expected a model with one input and one output, got the inputs .*h"):
        model.batch_input(4)


def test_two_inputs_and_two_outputs_equal_tensorflow() -> None:
    for name in ("two_inputs", "two_outputs"):
        model = linkcast.Model(built(name))
        assert model.backend == "tflite"
        interpreter = tf.lite.Interpreter(model_path=str(built(name)))
        interpreter.allocate_tensors()
        random = np.random.default_rng(8)
        given = {key: random.normal(size=value.shape).astype(np.float32) for key, value in model.inputs.items()}
        for detail, value in zip(interpreter.get_input_details(), given.values(), strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        answers = model.run(given)
        for detail, answer in zip(interpreter.get_output_details(), answers.values(), strict=True):
            np.testing.assert_allclose(answer, interpreter.get_tensor(detail["index"]), rtol=0, atol=1e-6)


def test_names_are_those_of_the_signature() -> None:
    signature = tf.lite.Interpreter(model_path=str(built("two_layers"))).get_signature_list()["serving_default"]
    model = linkcast.Model(built("two_layers"))
    assert (sorted(model.inputs), sorted(model.outputs)) == (sorted(signature["inputs"]), sorted(signature["outputs"]))
    assert repr(model).count("g (1, 9)") == 1


def test_a_model_with_several_inputs_is_none_for_a_bundle(bundle: Path, edit: Any) -> None:
    content = built("two_inputs").read_bytes()
    (bundle / "models" / "streaming_model.tflite").write_bytes(content)

    def renamed(manifest: Any) -> None:
        import hashlib

        manifest["models"]["streaming_model"]["sha256"] = hashlib.sha256(content).hexdigest()

    edit("manifest", renamed)
    with pytest.raises(linkcast.LoadError, match="expected a model with 1 input and 1 output, got 2 and 1"):
        linkcast.Engine(bundle)


# ---- the C ABI -------------------------------------------------------------------------------------------------------


class Tensor(ctypes.Structure):
    """linkcast_tensor"""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("data", ctypes.POINTER(ctypes.c_float)),
        ("values", ctypes.c_size_t),
        ("shape", ctypes.POINTER(ctypes.c_int32)),
        ("rank", ctypes.c_size_t),
    ]

    def view(self) -> Floats:
        shape = self.shape[: self.rank]
        assert np.prod(shape) == self.values
        return np.ctypeslib.as_array(self.data, shape)


def test_the_c_abi_steps_as_python_does_bit_for_bit() -> None:
    library: Any = ctypes.CDLL(str(LIBRARY))
    library.linkcast_last_error.restype = ctypes.c_char_p
    network = ctypes.c_void_p()
    assert library.linkcast_network_open(bytes(built("two_layers")), None, ctypes.byref(network)) == 0

    def found(edge: int, name: str) -> Floats:
        tensor = Tensor(size=ctypes.sizeof(Tensor))
        assert library.linkcast_network_find(network, edge, name.encode(), ctypes.byref(tensor)) == 0
        assert tensor.name == name.encode()
        return tensor.view()

    model = linkcast.Model(built("two_layers"))
    for sample in samples_of(model):
        found(0, "x")[...] = model.inputs["x"][...] = sample
        assert library.linkcast_network_run(network) == 0
        model.invoke()
        np.testing.assert_array_equal(found(1, "y"), model.outputs["y"])
        for state in "ghc":
            found(0, state)[...] = found(1, f"{state}_next")
            model.inputs[state][...] = model.outputs[f"{state}_next"]
    tensor = Tensor(size=ctypes.sizeof(Tensor))
    assert library.linkcast_network_find(network, 0, b"z", ctypes.byref(tensor)) == 4
    assert b"input: expected one of " in library.linkcast_last_error()
    assert library.linkcast_network_close(network) == 0
    assert library.linkcast_network_run(network) == 3
