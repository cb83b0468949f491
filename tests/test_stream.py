"""Sliding windows: every push against the whole window, run by the engine (and in C++ by TensorFlow Lite)."""

from __future__ import annotations

import json

import numpy as np
import pytest

import linkcast
from linkcast.training.bundle import seal
from telemetry import GROUP_TRANSFORMS, TRANSFORMS, tolerance, unscaled

WINDOW = 10


@pytest.fixture(scope="module")
def walk(engine: linkcast.Engine) -> np.ndarray:
    """(400, 4) telemetry of a link: random walks between the minimum and the maximum of each feature."""
    rng = np.random.default_rng(11)
    steps = np.cumsum(rng.normal(0, 0.05, (400, 4)), axis=0) + 0.5
    return unscaled(engine, "internet", np.abs((steps + 1) % 2 - 1))


def mbps_of(answers: list) -> list[float | None]:
    return [None if answer is None else answer.mbps for answer in answers]


def windows_of(samples: np.ndarray) -> np.ndarray:
    """(n, F) -> (n - 9, 10, F)"""
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(samples, WINDOW, axis=0).transpose(0, 2, 1))


def test_each_push_is_the_forecast_of_the_full_window(engine, walk):
    stream = engine.stream("internet", mixture=False)
    answers = [stream.push(sample) for sample in walk]
    forecasts = mbps_of(answers)
    assert forecasts[: WINDOW - 1] == [None] * (WINDOW - 1)
    expected = engine.forecast_raw("internet", windows_of(walk))
    np.testing.assert_allclose(forecasts[WINDOW - 1 :], expected, rtol=0, atol=tolerance(engine, "internet"))
    assert isinstance(answers[-1], linkcast.Answer)
    assert (answers[-1].source, answers[-1].cause) == ("model", "none")
    assert float(answers[-1]) == answers[-1].mbps
    assert repr(answers[-1]).endswith("Mbit/s, by model)")
    assert stream.ready()
    assert (stream.ticks, stream.rows) == (len(walk), 1)


@pytest.mark.parametrize("backend", ["auto", "tflite"])
@pytest.mark.parametrize(("name", "scalers"), [("internet_lstm", TRANSFORMS), ("streaming_model", GROUP_TRANSFORMS)])
def test_with_logarithms_and_references_each_push_is_the_forecast_of_the_full_window(
    edit, walk, name, scalers, backend
):
    own = linkcast.Engine.load(edit("scalers", lambda content: content["models"].update({name: scalers})), backend)
    hours = np.arange(len(walk)) * (2 * np.pi / 24)
    samples = np.column_stack([walk, np.sin(hours), np.cos(hours), np.sin(hours / 7), np.cos(hours / 7)])
    samples = samples[:, : len(own.spec(name)["features"])]
    stream, pair = (own.stream(name, rows, plausible_margin=1e9, mixture=False) for rows in (1, 2))
    rows = samples if backend == "auto" else samples[:60]
    forecasts = np.array(mbps_of([stream.push(sample) for sample in rows]), dtype=np.float64)
    expected = own.forecast_raw(name, windows_of(rows))
    assert stream.mode == ("window" if backend == "tflite" else "incremental")
    np.testing.assert_allclose(forecasts[WINDOW - 1 :], expected, rtol=0, atol=tolerance(own, name, max(expected)))
    both = np.array([pair.push([sample, other]).mbps for sample, other in zip(rows, rows[::-1], strict=True)])
    np.testing.assert_allclose(both[WINDOW - 1 :, 0], expected, rtol=0, atol=tolerance(own, name, max(expected)))
    expected = own.forecast_raw(name, windows_of(rows[::-1]))
    np.testing.assert_allclose(both[WINDOW - 1 :, 1], expected, rtol=0, atol=tolerance(own, name, max(expected)))


def test_advance_only_moves_work(engine, walk):
    one, other = engine.stream("internet"), engine.stream("internet")
    for sample in walk[:50]:
        answers = [one.push(sample), other.push(list(sample))]
        one.advance()
        first, second = mbps_of(answers)
        assert first == second


def test_a_model_on_tensorflow_lite_runs_the_full_window_and_says_so(engine, walk):
    reference = linkcast.Engine.load(backend="tflite")
    stream = reference.stream("internet", mixture=False)
    assert stream.mode == "window"
    assert "TensorFlow Lite" in stream.mode_reason
    forecasts = mbps_of([stream.push(sample) for sample in walk[:40]])
    expected = reference.forecast_raw("internet", windows_of(walk[:40]))
    np.testing.assert_allclose(forecasts[WINDOW - 1 :], expected, rtol=0, atol=tolerance(engine, "internet"))


@pytest.mark.parametrize(("name", "mode"), [("gru_legacy", "incremental"), ("bidirectional", "window")])
def test_a_recurrence_of_another_kind_is_stepped_where_it_reads_oldest_first(bundle, walk, name, mode):
    pytest.importorskip("tensorflow", reason="TensorFlow is needed to build the models")
    from built_models import built, tflite_answers

    path = bundle / "models" / "internet_lstm.tflite"
    path.write_bytes(built(name).read_bytes())
    manifest = json.loads((bundle / "metadata" / "manifest.json").read_text(encoding="utf-8"))
    golden = manifest["models"]["internet_lstm"]["golden"]
    golden["outputs"] = tflite_answers(path, np.array(golden["inputs"], np.float32)).tolist()
    (bundle / "metadata" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    seal(bundle)
    own, reference = (linkcast.Engine.load(bundle, backend=backend) for backend in ("native", "tflite"))
    stream = own.stream("internet", mixture=False, plausible_margin=1e9)
    assert (stream.mode, "oldest first" in stream.mode_reason) == (mode, mode == "window")
    forecasts = mbps_of([stream.push(sample) for sample in walk[:60]])
    expected = reference.forecast_raw("internet", windows_of(walk[:60]))
    np.testing.assert_allclose(forecasts[WINDOW - 1 :], expected, rtol=0, atol=tolerance(own, "internet"))


def test_a_native_model_is_stepped(engine):
    for name in ("internet", "streaming"):
        model = engine.model(engine.resolve(name, "forecaster"))
        expected = "incremental" if model.backend == "native" else "window"
        assert engine.stream(name).mode == expected


def test_missing_ticks_hold_the_last_sample_until_the_window_is_dropped(engine, walk):
    stream = engine.stream("internet", mixture=False, most_held=2)
    for sample in walk[:20]:
        stream.push(sample)
    filled = np.vstack([walk[:20], walk[19], walk[19]])
    expected = engine.forecast_raw("internet", windows_of(filled))[-2:]
    held = mbps_of([stream.push_missing(), stream.push(None)])
    np.testing.assert_allclose(held, expected, rtol=0, atol=tolerance(engine, "internet"))
    assert (stream.held(), stream.missing(), stream.samples_in()) == (2, 2, WINDOW)
    assert stream.push_missing() is None
    assert (stream.samples_in(), stream.missing()) == (0, 3)
    again = mbps_of([stream.push(sample) for sample in walk[20:30]])
    assert again[:-1] == [None] * 9
    assert again[-1] == pytest.approx(
        engine.forecast_raw("internet", walk[20:30])[0], abs=tolerance(engine, "internet")
    )


def test_a_snapshot_goes_on_in_another_stream(engine, walk):
    stream, other = engine.stream("internet"), engine.stream("internet")
    for sample in walk[:33]:
        stream.push(sample)
    other.restore(stream.snapshot())
    for sample in walk[33:60]:
        assert stream.push(sample).mbps == pytest.approx(other.push(sample).mbps, abs=tolerance(engine, "internet"))
    with pytest.raises(ValueError, match="snapshot: expected"):
        other.restore(b"nothing")
    with pytest.raises(ValueError, match="another model file"):
        engine.stream("datacenter").restore(stream.snapshot())


def test_each_row_gets_what_a_stream_of_its_own_gives(engine, walk):
    together = engine.stream("internet", rows=3)
    singles = [engine.stream("internet") for _ in range(3)]
    rng = np.random.default_rng(5)
    for tick in range(60):
        samples = walk[[tick, tick + 100, tick + 200]]
        present = rng.random(3) < 0.8
        answers = together.push(samples, present)
        assert isinstance(answers, linkcast.Answers)
        for row, (single, sample, came) in enumerate(zip(singles, samples, present, strict=True)):
            expected = single.push(sample) if came else single.push_missing()
            if expected is None:
                assert np.isnan(answers.mbps[row])
                assert answers.sources[row] == "none"
            else:
                assert answers.mbps[row] == pytest.approx(expected.mbps, abs=tolerance(engine, "internet"))
                assert (answers.sources[row], answers.causes[row]) == (expected.source, expected.cause)
                assert answers[row].mbps == answers.mbps[row]
    assert len(together) == len(answers) == together.rows == 3
    assert [together.missing(row) for row in range(3)] == [single.missing() for single in singles]
    other = engine.stream("internet", rows=3)
    other.restore(together.snapshot())
    np.testing.assert_allclose(
        other.push(None).mbps, together.push(None).mbps, rtol=0, atol=tolerance(engine, "internet")
    )
    together.reset(1)
    assert [together.ready(0), together.ready(1)] == [other.ready(0), False]
    together.reset()
    assert not together.ready(2)


def test_while_no_window_is_full_nobody_answers_for_any_row(engine, walk):
    answers = engine.stream("internet", rows=2).push(walk[:2])
    assert (answers.source, answers.sources, answers.causes) == ("none", ["none"] * 2, ["none"] * 2)
    for values in (answers.mbps, answers.p10, answers.p50, answers.p90):
        assert values.shape == (2,)
        assert np.isnan(values).all()
    with pytest.raises(IndexError):
        answers[2]
    with pytest.raises(ValueError, match="read-only"):
        answers.mbps[0] = 1.0


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([1.0, 2.0, 3.0], r"sample: expected \(4,\) finite floats, got \(3,\)"),
        (np.zeros((1, 4)), r"got \(1, 4\)"),
        ([1.0, np.nan, 0.0, 1.0], "got nan for bandwidth_mbps"),
    ],
)
def test_a_wrong_sample_is_refused_and_is_no_tick(engine, sample, message):
    stream = engine.stream("internet")
    with pytest.raises(ValueError, match=message):
        stream.push(sample)
    assert stream.ticks == 0


def test_a_wrong_call_with_rows_is_refused(engine, walk):
    pair = engine.stream("internet", 2)
    with pytest.raises(ValueError, match=r"samples: expected \(2, 4\) finite floats, got \(3, 4\)"):
        pair.push(walk[:3])
    with pytest.raises(ValueError, match=r"present: expected \(2,\) booleans"):
        pair.push(walk[:2], [True])
    with pytest.raises(ValueError, match="row: expected below 2, got 2"):
        pair.reset(2)
    with pytest.raises(ValueError, match="rows: expected 1 to 65536, got 0"):
        engine.stream("internet", 0)
    with pytest.raises(ValueError, match='stand_in: expected "last" or "forecast_mean", got "mean"'):
        engine.stream("internet", stand_in="mean")
    with pytest.raises(ValueError, match="forecaster: expected one of"):
        engine.stream("moon")


def test_pushes_and_late_ones_are_counted(engine, walk):
    own = linkcast.Engine.load()
    stream = own.stream("internet", mixture=False)
    for sample in walk[:30]:
        stream.push(sample, deadline_ms=1e-6)
    stats = own.stats("internet_lstm")
    assert stats["calls"] == stats["sources"]["model"] == stats["late"] == 21
    assert 0 < stats["latency_us"]["p50"] <= stats["latency_us"]["max"]


@pytest.mark.parametrize("name", ["internet", "datacenter"])
def test_a_row_has_the_bits_of_a_stream_of_its_own_whatever_stands_beside_it(engine, name):
    rng = np.random.default_rng(12)
    samples = np.empty((60, 13, 4))
    samples[...] = [20.0, 0.0, 0.01, 0.99]
    samples[..., 1] = np.exp(rng.normal(2.0, 0.3, (60, 13)))
    present = rng.random((60, 13)) > 0.1
    for rows in (2, 3, 7, 13):
        together = engine.stream(name, rows, horizon=2).push_many(samples[:, :rows], present[:, :rows])
        for row in range(rows):
            alone = engine.stream(name, horizon=2).push_many(samples[:, row], present[:, row])
            for key in ("next", "horizon", "peak", "source"):
                assert np.ascontiguousarray(together[key][:, row]).tobytes() == alone[key].tobytes()


def test_rows_move_to_another_stream_and_go_on_bit_for_bit(engine, walk):
    samples = np.stack([walk[k : k + 120] for k in range(5)], axis=1)
    whole = engine.stream("internet", 5, horizon=2).push_many(samples)
    first = engine.stream("internet", 5, horizon=2)
    first.push_many(samples[:61])
    second = engine.stream("internet", 3, horizon=2)
    second.push_many(samples[:17, :3])  # to be forgotten
    moved = [4, 0, 2]
    for row, link in enumerate(moved):
        second.restore(first.snapshot(row=link), row=row)
    then = second.push_many(samples[61:, moved])
    for key in ("next", "horizon", "peak"):
        assert np.ascontiguousarray(whole[key][61:, moved]).tobytes() == then[key].tobytes()
    with pytest.raises(ValueError, match="row: expected below 3, got 3"):
        second.snapshot(row=3)
    with pytest.raises(ValueError, match="expected \\(rows, window, features\\) of \\(1, 10, 4\\), got \\(5, 10, 4\\)"):
        second.restore(first.snapshot(), row=0)
    with pytest.raises(ValueError, match="present: expected \\(59, 3\\) booleans"):
        second.push_many(samples[61:, :3], np.ones(59, bool))


def test_a_stream_kept_before_advance_learns_there_as_the_one_that_went_on(engine):
    kept = engine.stream("internet", horizon=3)
    for tick in range(14):  # the peaks ahead learn on the last one
        kept.push([20.0, 10.0 if tick % 3 else 1.0, 0.001, 0.99])
    snapshot = kept.snapshot()
    whole, row = engine.stream("internet", horizon=3), engine.stream("internet", horizon=3)
    whole.restore(snapshot)
    row.restore(snapshot, row=0)
    before = kept.peak(2)
    for stream in (kept, whole, row):
        stream.advance()
    after = kept.peak(2)
    assert after.p90 != before.p90
    for stream in (whole, row):
        answer = stream.peak(2)
        assert (answer.mbps, answer.p10, answer.p50, answer.p90) == (after.mbps, after.p10, after.p50, after.p90)
