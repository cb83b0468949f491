"""The comparison with other runtimes: they are given the same model, and a wrong answer is not timed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import linkcast
from linkcast.bench import peers

NAMES = ("internet_lstm", "internet_ddqn", "gaming_model", "gaming_fallback")


@pytest.mark.parametrize("name", NAMES)
def test_the_onnx_model_gives_tensorflows_golden_outputs(engine, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("onnx")
    from linkcast.bench.onnx_graph import onnx_model

    golden = engine.manifest["models"][name]["golden"]
    inputs = np.array(golden["inputs"], np.float32)
    content = onnx_model(Path(engine.model(name).path), len(inputs))
    (outputs,) = onnxruntime.InferenceSession(content).run(None, {"input": inputs})
    # In float32, sums in another order; allocators let large terms cancel.
    np.testing.assert_allclose(outputs, golden["outputs"], rtol=1e-5, atol=1e-4 if name.endswith("ddqn") else 1e-5)


def test_every_installed_runtime_answers_as_tensorflow_lite(engine):
    rows, skipped = peers.compare(Path(engine.model("internet_lstm").path), batch=3, seconds=0.05)
    names = [row.name for row in rows]
    assert names[:2] == ["TensorFlow Lite C API, XNNPACK", "linkcast float32"]
    assert all(row.p50 > 0 and row.error <= 1e-4 for row in rows[:2])
    assert all(reason.startswith("internet_lstm, ") for reason in skipped)
    assert peers.markdown(rows).count("\n") >= len(rows) + 1


def test_a_runtime_with_wrong_answers_is_not_timed(engine):
    windows = np.full((1, 10, 4), 0.5, np.float32)
    found, _ = peers.contenders(Path(engine.model("internet_lstm").path), windows)
    right = found[1].answers
    found[1].answers = lambda: right() + np.float32(0.01)
    with pytest.raises(ArithmeticError, match="linkcast float32"):
        peers.check(found)


def test_what_is_not_installed_is_skipped_by_name(engine, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    found, skipped = peers.contenders(Path(engine.model("internet_ddqn").path), np.zeros((1, 4), np.float32))
    assert any(reason.startswith("internet_ddqn, ONNX Runtime: ") for reason in skipped)
    assert not any(one.name.startswith("ONNX") for one in found)


def test_linkcast_is_what_others_are_compared_with(engine):
    rows, _ = peers.compare(Path(engine.model("internet_ddqn").path), batch=1, seconds=0.05)
    own = next(row for row in rows if row.name == "linkcast float32")
    assert own.ratio == 1.0
    assert all(row.ratio == pytest.approx(row.p50 / own.p50) for row in rows)
    assert linkcast.__version__ in peers.machine()


def test_the_command_compares_a_bundles_models_at_the_batches_that_it_is_told(run):
    status, out, _ = run("bench", "--peers", "--batch", "2", "--seconds", "0.2", "--json")
    report = json.loads(out)
    assert status == 0
    assert {(row["model"], row["batch"]) for row in report["rows"]} == {("internet_lstm", 2), ("internet_ddqn", 2)}
    status, out, _ = run("bench", "--peers", "--batch", "2", "--seconds", "0.2")
    assert status == 0
    assert "internet_ddqn, batch 2 [µs a call]" in out and "linkcast float32" in out
