"""The gate before TensorFlow Lite: what a damaged, foreign or oversized model file is refused for, and how."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

import linkcast
from conftest import ROOT

pytest.importorskip("tensorflow", reason="TensorFlow is needed to build the models")
from tensorflow.lite.python import schema_py_generated as schema

import mutate_graph
import mutate_models
from built_models import built, tflite_answers, windows

Change = Callable[[Any], None]
BACKENDS = ("auto", "tflite")
CASES = next(
    (folder for folder in (p / "shared" / "cases" / "models" for p in ROOT.parents) if folder.is_dir()),
    ROOT.parent / "shared" / "cases" / "models",
)


def parsed(path: Path) -> Any:
    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def written(model: Any, path: Path) -> Path:
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def node(model: Any, name: str, graph: int = 0, nth: int = 0) -> Any:
    code = getattr(schema.BuiltinOperator, name)
    operators = model.subgraphs[graph].operators
    return [op for op in operators if model.operatorCodes[op.opcodeIndex].builtinCode == code][nth]


def node_index(model: Any, name: str, graph: int = 0, nth: int = 0) -> int:
    return int(model.subgraphs[graph].operators.index(node(model, name, graph, nth)))


def put(op: Any, side: str, n: int, value: int) -> None:
    setattr(op, side, mutate_graph.put(getattr(op, side), n, value))


def new_buffer(model: Any, values: Any) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.asarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def refusal(path: Path, backend: str, **limits: Any) -> str:
    """The words of the LoadError, which has to name the file."""
    with pytest.raises(linkcast.LoadError) as error:
        linkcast.Model(path, backend=backend, **limits)
    words = str(error.value)
    assert words.startswith(str(path))
    return words.removeprefix(str(path))


# ---- the cases that are kept beside the project --------------------------------------------------------------------


@pytest.mark.skipif(not CASES.is_dir(), reason="the folder of cases is not here")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one_unit--sg0-op1-in3=-1", ("STRIDED_SLICE (node 1)", "input 3 is absent")),
        ("bidir--sg0-op2-in1=-1", ("STRIDED_SLICE (node 2)", "input 1 is absent")),
        ("keras3_gru_while-622", ("WHILE (node 1)", "tensor 0, which is an input of its graph")),
        ("gru--sg2-op17-removed", ("of subgraph 2", "written by no operator")),
        ("keras3_gru_while--sg1-no-operators", ("of subgraph 1", "written by no operator")),
        ("one_unit--sg0-t18-type=5", ("tensor 18", "STRING")),
        ("conv_lstm--sg0-t25-type=6", ("RESHAPE (node 2)", "expected FLOAT32 as before, got BOOL")),
        ("gaming_fallback--code0=49", ("SPLIT (node 0)",)),
        ("gru_while-code5=2", ("CONCATENATION (node 2 of subgraph 1)",)),
        ("doubled-one_unit", ("UNIDIRECTIONAL_SEQUENCE_LSTM (node 1)", "was written before")),
        ("doubled-odd_lstm", ("UNIDIRECTIONAL_SEQUENCE_LSTM (node 1)", "was written before")),
        ("doubled-seed_lstm_drq", ("UNIDIRECTIONAL_SEQUENCE_LSTM (node 1)", "was written before")),
        ("keras3_gru_while--while-endless", ("WHILE (node 1)", "the loop never ends")),
        ("model-oom-0e2dadb00d0f045c9b6d4189961b3066cc618c66", ("takes 2048 MB", "the limit of 128 MB")),
        ("ddqn-666-hang", ("take 1188 MB or more", "the limit of 128 MB")),
    ],
)
def test_a_case_is_refused_by_name(name: str, words: tuple[str, ...], backend: str) -> None:
    said = refusal(CASES / f"{name}.tflite", backend)
    for part in words:
        assert part in said


# ---- damage to our own models --------------------------------------------------------------------------------------


def absent_weights(model: Any) -> None:
    put(node(model, "UNIDIRECTIONAL_SEQUENCE_LSTM"), "inputs", 3, -1)


def writes_the_input(model: Any) -> None:
    put(node(model, "MUL"), "outputs", 0, int(model.subgraphs[0].inputs[0]))


def writes_a_constant(model: Any) -> None:
    put(node(model, "MUL"), "outputs", 0, int(node(model, "MUL").inputs[1]))


def writes_twice(model: Any) -> None:
    put(node(model, "ADD", nth=1), "outputs", 0, int(node(model, "MUL").outputs[0]))


def output_of_nobody(model: Any) -> None:
    model.subgraphs[0].operators.pop()


def constant_string(model: Any) -> None:
    model.subgraphs[0].tensors[node(model, "MUL").inputs[1]].type = schema.TensorType.STRING


def output_of_constants(model: Any) -> None:
    graph = model.subgraphs[0]
    mul = node(model, "MUL")
    first = schema.OperatorT()
    first.__dict__.update(mul.__dict__)
    spare = schema.TensorT()
    spare.__dict__.update(graph.tensors[mul.inputs[1]].__dict__)
    spare.buffer = 0
    graph.tensors.append(spare)
    first.inputs = np.array([mul.inputs[1], mul.inputs[1]], np.int32)
    first.outputs = graph.outputs = np.array([len(graph.tensors) - 1], np.int32)
    graph.operators.append(first)


def state_of_another_size(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[node(model, "UNIDIRECTIONAL_SEQUENCE_LSTM").inputs[18]]
    tensor.shape = np.array([1, 2**29], np.int32)


def small_state(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[node(model, "UNIDIRECTIONAL_SEQUENCE_LSTM").inputs[19]]
    tensor.shape = np.array([1, 3], np.int32)


def stride_of_zero(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[node(model, "STRIDED_SLICE").inputs[3]]
    tensor.buffer = new_buffer(model, np.array([1, 0, 1], np.int32))


def short_bounds(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[node(model, "STRIDED_SLICE").inputs[1]]
    tensor.buffer, tensor.shape = new_buffer(model, np.array([0, 0], np.int32)), np.array([2], np.int32)


def many_dimensions(model: Any) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape = np.ones(9, np.int32)


def unknown_version(model: Any) -> None:
    model.operatorCodes[node(model, "FULLY_CONNECTED").opcodeIndex].version = 13


def blockwise(model: Any) -> None:
    q = schema.QuantizationParametersT()
    q.detailsType, q.details = 2, schema.CustomQuantizationT()
    model.subgraphs[0].tensors[node(model, "FULLY_CONNECTED").inputs[1]].quantization = q


def custom(model: Any) -> None:
    code = model.operatorCodes[node(model, "FULLY_CONNECTED").opcodeIndex]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, "FlexMatMul"


def no_options(model: Any) -> None:
    op = node(model, "STRIDED_SLICE")
    op.builtinOptionsType, op.builtinOptions = 0, None


def buffer_behind_the_end(model: Any) -> None:
    buffer = model.buffers[model.subgraphs[0].tensors[node(model, "MUL").inputs[1]].buffer]
    buffer.data, buffer.offset, buffer.size = None, 2**64 - 16, 64


def short_constant(model: Any) -> None:
    buffer = model.buffers[model.subgraphs[0].tensors[node(model, "MUL").inputs[1]].buffer]
    buffer.data = buffer.data[:-4]


def weight_of_nan(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[node(model, "MUL").inputs[1]]
    tensor.buffer = new_buffer(model, np.full(tensor.shape, np.nan, np.float32))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (absent_weights, "UNIDIRECTIONAL_SEQUENCE_LSTM (node 0): input 3 is absent"),
        (writes_the_input, "MUL (node 1): writes tensor 0, which is an input of its graph"),
        (writes_a_constant, "which is a constant"),
        (writes_twice, "which was written before"),
        (output_of_nobody, "is written by no operator"),
        (output_of_constants, "does not depend on the graph's input"),
        (constant_string, "STRING is a type that is not taken"),
        (state_of_another_size, "takes 2048 MB, over the limit of 128 MB"),
        (small_state, "UNIDIRECTIONAL_SEQUENCE_LSTM (node 0): input 19: expected (1, 24), got (1, 3)"),
        (stride_of_zero, "STRIDED_SLICE (node 7): input 3: expected a stride other than 0 along dimension 1, got 0"),
        (short_bounds, "STRIDED_SLICE (node 7): has bounds that do not fit its input"),
        (many_dimensions, "tensor 0: expected at most 8 dimensions, got 9"),
        (unknown_version, "FULLY_CONNECTED (node 8): expected version 1 to 12"),
        (blockwise, "blockwise quantisation is not known to TensorFlow Lite 2.17.1"),
        (
            custom,
            "FlexMatMul (node 8): custom operators are not taken; this one needs all of TensorFlow: `linkcast conv",
        ),
        (no_options, "STRIDED_SLICE (node 7): expected options of kind 32, got none"),
        (buffer_behind_the_end, "got 64 from 18446744073709551600 on"),
        (short_constant, "expected 96 bytes for FLOAT32 (24), got a buffer of 92"),
        (weight_of_nan, "MUL (node 1): input 1"),
    ],
)
def test_damage_is_refused_with_its_place(change: Change, words: str, backend: str, tmp_path: Path) -> None:
    model = parsed(built("fused"))
    change(model)
    assert words in refusal(written(model, tmp_path / "damaged.tflite"), backend)


def counter_that_stands_still(model: Any) -> None:
    options = node(model, "WHILE").builtinOptions
    body = model.subgraphs[options.bodySubgraphIndex]
    body.outputs = np.array(body.inputs, np.int32)


def far_limit(model: Any) -> None:
    options = node(model, "WHILE").builtinOptions
    for tensor in model.subgraphs[options.condSubgraphIndex].tensors:
        if tensor.type == schema.TensorType.INT32 and model.buffers[tensor.buffer].data is not None:
            tensor.buffer = new_buffer(model, np.array([10**9], np.int32))


def calls_itself(model: Any) -> None:
    options = node(model, "WHILE").builtinOptions
    options.bodySubgraphIndex = options.condSubgraphIndex


def calls_nothing(model: Any) -> None:
    node(model, "WHILE").builtinOptions.bodySubgraphIndex = 99


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (counter_that_stands_still, "the loop never ends"),
        (far_limit, r"is known|takes entry|outside|do not fit|turns more than|too many operators"),
        (calls_itself, "which is called before"),
        (calls_nothing, "calls subgraph 99, expected one from 1 to 2"),
    ],
)
def test_loops_whose_end_is_not_in_the_file_are_refused(
    change: Change, words: str, backend: str, tmp_path: Path
) -> None:
    import re

    model = parsed(built("while_sequence"))
    change(model)
    assert re.search(words, refusal(written(model, tmp_path / "loop.tflite"), backend))


def test_two_lstms_with_one_state_stay_on_tflite_and_give_its_answer(tmp_path: Path) -> None:
    # The second one starts from what the first one leaves: TensorFlow's own interpreter says what that gives.
    model = parsed(built("saturated"))
    graph = model.subgraphs[0]
    op = node(model, "UNIDIRECTIONAL_SEQUENCE_LSTM")
    spare, first = schema.TensorT(), schema.OperatorT()
    spare.__dict__.update(graph.tensors[op.outputs[0]].__dict__)
    graph.tensors.append(spare)
    first.__dict__.update(op.__dict__)
    first.outputs = np.array([len(graph.tensors) - 1], np.int32)
    graph.operators.insert(graph.operators.index(op), first)
    path = written(model, tmp_path / "shared_state.tflite")
    opened = linkcast.Model(path)
    assert opened.backend == "tflite"
    assert "shares its state" in opened.backend_reason
    inputs = windows(path, 5)
    answers = []
    for window in inputs:
        opened.input[...] = window
        opened.invoke()
        answers.append(opened.output.copy())
    np.testing.assert_allclose(np.concatenate(answers), tflite_answers(path, inputs), rtol=0, atol=1e-6)


def test_a_file_packed_anew_is_the_same_model(tmp_path: Path) -> None:
    # Another writer of flatbuffers lays the tables out in another order and aligns buffers less.
    for name in ("fused", "while_loop", "unrolled_open_batch", "gru", "convolution", "full_int8"):
        again = written(parsed(built(name)), tmp_path / f"{name}.tflite")
        inputs = windows(again, 6)
        expected = linkcast.Model(built(name), backend="tflite").predict(inputs)
        np.testing.assert_array_equal(linkcast.Model(again, backend="tflite").predict(inputs), expected)


@pytest.mark.parametrize("name", sorted(mutate_models.CUT_AT))
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    whole = built("gru").read_bytes()
    path = tmp_path / "cut.tflite"
    for size in mutate_models.CUT_AT[name](len(whole)):
        path.write_bytes(whole[:size])
        refusal(path, "tflite")


# ---- limits and files of other kinds ---------------------------------------------------------------------------------


def test_limits_are_options_and_say_what_was_met() -> None:
    path = built("fused")
    size = path.stat().st_size
    assert f"expected a file of at most 1000 bytes, got {size}" in refusal(path, "auto", max_file_bytes=1000)
    assert "over the limit of 100 bytes" in refusal(path, "auto", max_tensor_bytes=100)
    assert "over the limit of 100 (load_seconds, LINKCAST_LOAD_SECONDS)" in refusal(path, "tflite", load_seconds=1e-6)
    assert linkcast.Model(path, max_file_bytes=size, max_tensor_bytes=10**6, load_seconds=60).backend == "native"
    with pytest.raises(ValueError, match="threads: expected at most 64, got 1024"):
        linkcast.Model(path, threads=1024)
    with pytest.raises(ValueError, match="threads: expected at most 2, got 3"):
        linkcast.Model(path, threads=3, max_threads=2)
    with pytest.raises(ValueError, match="load_seconds: expected a number above 0"):
        linkcast.Model(path, load_seconds=0)


def test_what_loading_may_take_is_read_from_the_environment_where_no_option_says_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = built("fused")
    monkeypatch.setenv("LINKCAST_LOAD_SECONDS", "1e-6")
    assert "multiplications or more, over the limit" in refusal(path, "tflite")
    for load in (linkcast.Engine, lambda: linkcast.Engine.load(load_seconds=1e-6)):
        with pytest.raises(linkcast.LoadError, match="over the limit"):
            load()
    assert linkcast.Model(path, load_seconds=60).backend == "native"
    assert len(linkcast.Engine(load_seconds=60).names) > 1
    for word in ("soon", "10 s", "0", "-1", "nan", "1e7"):
        monkeypatch.setenv("LINKCAST_LOAD_SECONDS", word)
        with pytest.raises(ValueError, match=f'LINKCAST_LOAD_SECONDS: expected a number above 0.*got "{word}"'):
            linkcast.Model(path)
    monkeypatch.setenv("LINKCAST_LOAD_SECONDS", "1000")
    opened = linkcast.Engine()
    assert linkcast.Model(path).backend == "native"
    monkeypatch.setenv("LINKCAST_LOAD_SECONDS", "1e-6")
    pickle.loads(pickle.dumps(linkcast.Model(path, load_seconds=60)))  # takes its own limit along
    with pytest.raises(linkcast.LoadError, match="over the limit"):
        pickle.loads(pickle.dumps(opened))  # opens as a new one does


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("lfs.tflite", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n", "a Git LFS pointer"),
        ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "a Keras or other HDF5 file"),
        ("model.keras", b"PK\x03\x04" + bytes(100), r"a Keras file"),
        ("model.zip", b"PK\x03\x04" + bytes(100), "a zip archive"),
        ("model.onnx", b"\x08\x07\x12\x07pytorch" + bytes(100), "an ONNX model"),
        ("unnamed", b"\x08\x07\x12\x07pytorch" + bytes(100), "an ONNX model"),
        ("saved_model.pb", b"\x08\x01\x12" + bytes(100), "a protocol buffer, as of a SavedModel"),
        ("model.tflite.gz", b"\x1f\x8b" + bytes(100), "a gzip archive"),
        ("page.tflite", b"<!DOCTYPE html><html></html>", "a page of HTML"),
        ("empty.tflite", b"", "an empty file"),
        ("text.tflite", b"not a model at all", "its identifier, TFL3, is missing"),
        ("short.tflite", b"\x1c\x00\x00\x00TFL3", "not a valid .tflite model"),
    ],
)
def test_another_format_is_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert words in refusal(path, "auto")


def test_what_is_no_regular_file_is_named_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    for name, words in (
        ("fifo", "got a FIFO"),
        ("folder", "got a folder"),
        ("saved", "got a TensorFlow SavedModel"),
        ("socket", "got a socket"),
    ):
        assert words in refusal(tmp_path / name, "auto")
    assert "got a device" in refusal(Path("/dev/zero"), "auto")
    assert "No such file" in refusal(tmp_path / "missing", "auto")
    with pytest.raises((ValueError, linkcast.LoadError), match=r"null|NUL"):
        linkcast.Model(f"{built('fused')}\0.tflite")


def test_a_sparse_file_is_refused_by_its_size_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tflite"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "expected a file of at most 268435456 bytes, got 1099511627776" in refusal(path, "auto")


# ---- many damaged files ----------------------------------------------------------------------------------------------


def test_no_mutation_crashes_hangs_or_changes_an_answer(tmp_path: Path) -> None:
    names = (
        "fused",
        "while_sequence",
        "unrolled_open_batch",
        "gru",
        "convolution",
        "bidirectional",
        "dense",
        "softmax",
        "layer_norm_batch_7",
        "dueling_streams",
        "masking_gru",
        "masking_unrolled",
        "lstm_cell",
        "lstm_chunk",
        "open_lists",
    )
    quantised = ("fused_dynamic_range", "full_int8", "fused_float16", "decoder", "dense_uint8", "lstm_int8")
    sources = {name: built(name).read_bytes() for name in (*names, *quantised)}
    paths = []
    for index, (label, content) in enumerate(mutate_models.mutants(sources, 400, seed=20241)):
        paths.append(tmp_path / f"{label.replace('/', '_')[:100]}-{index}.tflite")
        paths[-1].write_bytes(content)
    outcomes = mutate_models.try_files(paths)
    assert len(outcomes) == len(paths)
    assert [o for o in outcomes if o.kind not in ("refused", "same")] == []
    kinds = [o.kind for o in outcomes]
    assert kinds.count("refused") > 100 and kinds.count("same") > 20  # both sides of the gate were met


def test_the_harness_sees_a_crash_and_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A child that dies on the second of three files: the others still get their answers.
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, signal, sys\n"
        "for path in json.load(open(sys.argv[1]))['files']:\n"
        "    if 'crash' in path: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if 'hang' in path: os.kill(os.getpid(), signal.SIGALRM)\n"
        "    print(json.dumps({'kind': 'same', 'text': ''}), flush=True)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(mutate_models, "CHILD", child)
    kinds = [o.kind for o in mutate_models.try_files([Path("a"), Path("crash"), Path("b"), Path("hang"), Path("c")])]
    assert kinds == ["same", "crash", "same", "hang", "same"]


def test_the_long_run_can_be_started_by_hand(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tests" / "mutate_models.py", "--count", "5", built("dense")]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 files, ")
