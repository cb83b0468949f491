"""How graphs are read: the operators that are listed, and the reasons why a graph stays on TensorFlow Lite."""

from __future__ import annotations

import pytest

import linkcast

pytest.importorskip("tensorflow", reason="TensorFlow is needed to build the models")
from built_models import built


def test_operators_of_a_fused_lstm_are_listed_with_their_shapes() -> None:
    operators = linkcast.Model(built("fused"), backend="tflite").operators()
    assert [operator["name"] for operator in operators] == [
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "MUL",
        "ADD",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "MUL",
        "ADD",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "STRIDED_SLICE",
        "FULLY_CONNECTED",
        "FULLY_CONNECTED",
        "FULLY_CONNECTED",
    ]
    first = operators[0]
    assert first["index"] == 0
    assert list(first["inputs"][0]) == [1, 10, 4]
    assert list(first["outputs"][0]) == [1, 10, 24]
    # Four gates of (24, 4) input weights, (24, 24) recurrent weights and 24 biases, in float32.
    assert first["constant_bytes"] == 4 * 4 * (24 * 4 + 24 * 24 + 24)


def test_operators_say_what_runs_them() -> None:
    on_tflite = linkcast.Model(built("fused"), backend="tflite").operators()
    assert on_tflite[0]["runs_on"] == "tflite"  # XNNPACK knows no LSTM
    assert on_tflite[-1]["runs_on"] == "xnnpack"
    native = linkcast.Model(built("fused")).operators()
    assert [operator["name"] for operator in native] == [operator["name"] for operator in on_tflite]
    assert {operator["runs_on"] for operator in native} == {"native"}


def test_operators_of_a_while_loop_are_those_of_the_primary_graph() -> None:
    operators = linkcast.Model(built("while_sequence")).operators()
    assert [operator["name"] for operator in operators] == ["RESHAPE", "WHILE", "RESHAPE", "FULLY_CONNECTED", "TANH"]
    assert {operator["runs_on"] for operator in operators} == {"native"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("convolution", "PAD (node 0) has no native kernel"),
        ("softmax_over_steps", "SOFTMAX (node 2) runs over another dimension than the features"),
        ("mean_over_steps", "MEAN (node 1) averages over more than the features"),
        ("masked_last_step", "chooses by a mask, which no native layer does"),
        ("full_int8", "QUANTIZE (node 0) has no native kernel"),
        ("residual", "ADD (node 1) adds two activations"),
        ("cell_state", "ADD (node 15 of the loop in node 1) adds two activations"),
        ("some_steps", "or leaves some out"),
        ("time_major_input", "does not start with the batch"),
    ],
)
def test_the_reason_names_what_stands_in_the_way(name: str, reason: str) -> None:
    model = linkcast.Model(built(name))
    assert model.backend == "tflite"
    assert reason in model.backend_reason


def test_asking_for_the_native_backend_fails_with_the_reason() -> None:
    with pytest.raises(linkcast.LoadError, match=r"softmax_over_steps\.tflite: backend \"native\": SOFTMAX \(node 2\)"):
        linkcast.Model(built("softmax_over_steps"), backend="native")
