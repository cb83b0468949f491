"""Sliding windows: every push against the whole window, run by the engine (and in C++ by TensorFlow Lite)."""

from __future__ import annotations

import numpy as np
import pytest

import linkcast
from linkcast import baselines
from linkcast.features import BANDWIDTH
from telemetry import GROUP_TRANSFORMS, TRANSFORMS, tolerance, unscaled

WINDOW = 10


@pytest.fixture(scope="module")
def walk(engine: linkcast.Engine) -> np.ndarray:
    """(400, 4) telemetry of a link: random walks between the minimum and the maximum of each feature."""
    rng = np.random.default_rng(11)
    steps = np.cumsum(rng.normal(0, 0.05, (400, 4)), axis=0) + 0.5
    return unscaled(engine, "internet", np.abs((steps + 1) % 2 - 1))


def windows_of(samples: np.ndarray) -> np.ndarray:
    """(n, F) -> (n - 9, 10, F)"""
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(samples, WINDOW, axis=0).transpose(0, 2, 1))


def test_each_push_is_the_forecast_of_the_full_window(engine, walk):
    stream = engine.stream("internet")
    forecasts = [stream.push(sample) for sample in walk]
    assert forecasts[: WINDOW - 1] == [None] * (WINDOW - 1)
    expected = engine.forecast("internet", windows_of(walk))
    np.testing.assert_allclose(forecasts[WINDOW - 1 :], expected, rtol=0, atol=tolerance(engine, "internet"))
    assert stream.source == "model"
    assert stream.ready
    assert stream.ticks == len(walk)


@pytest.mark.parametrize("backend", ["auto", "tflite"])
@pytest.mark.parametrize(("name", "scalers"), [("internet_lstm", TRANSFORMS), ("streaming_model", GROUP_TRANSFORMS)])
def test_with_logarithms_and_references_each_push_is_the_forecast_of_the_full_window(
    edit, walk, name, scalers, backend
):
    own = linkcast.Engine.load(edit("scalers", lambda content: content["models"].update({name: scalers})), backend)
    hours = np.arange(len(walk)) * (2 * np.pi / 24)
    samples = np.column_stack([walk, np.sin(hours), np.cos(hours), np.sin(hours / 7), np.cos(hours / 7)])
    samples = samples[:, : len(own.spec(name)["features"])]
    stream, fleet = own.stream(name, plausible_margin=1e9), own.streams(name, 2, plausible_margin=1e9)
    rows = samples if backend == "auto" else samples[:60]
    forecasts = np.array([stream.push(sample) for sample in rows], dtype=np.float64)
    expected = own.forecast(name, windows_of(rows))
    assert stream.mode == ("window" if backend == "tflite" else "incremental")
    np.testing.assert_allclose(forecasts[WINDOW - 1 :], expected, rtol=0, atol=tolerance(own, name, max(expected)))
    both = np.array([fleet.push(np.stack([sample, other])) for sample, other in zip(rows, rows[::-1], strict=True)])
    np.testing.assert_allclose(both[WINDOW - 1 :, 0], expected, rtol=0, atol=tolerance(own, name, max(expected)))
    expected = own.forecast(name, windows_of(rows[::-1]))
    np.testing.assert_allclose(both[WINDOW - 1 :, 1], expected, rtol=0, atol=tolerance(own, name, max(expected)))


def test_advance_only_moves_work(engine, walk):
    one, other = engine.stream("internet"), engine.stream("internet")
    for sample in walk[:50]:
        forecast = one.push(sample)
        one.advance()
        assert forecast == other.push(list(sample))


def test_a_model_on_tensorflow_lite_runs_the_full_window_and_says_so(engine, walk):
    reference = linkcast.Engine.load(backend="tflite")
    stream = reference.stream("internet")
    assert stream.mode == "window"
    assert "TensorFlow Lite" in stream.mode_reason
    forecasts = [stream.push(sample) for sample in walk[:40]]
    expected = reference.forecast("internet", windows_of(walk[:40]))
    np.testing.assert_allclose(forecasts[WINDOW - 1 :], expected, rtol=0, atol=tolerance(engine, "internet"))


def test_a_native_model_is_stepped(engine):
    for name in ("internet", "streaming"):
        model = engine.model(engine.resolve(name, "forecaster"))
        expected = "incremental" if model.backend == "native" else "window"
        assert engine.stream(name).mode == expected


def test_missing_ticks_hold_the_last_sample_until_the_window_is_dropped(engine, walk):
    stream = engine.stream("internet", most_held=2)
    for sample in walk[:20]:
        stream.push(sample)
    filled = np.vstack([walk[:20], walk[19], walk[19]])
    expected = engine.forecast("internet", windows_of(filled))[-2:]
    held = [stream.push_missing(), stream.push_missing()]
    np.testing.assert_allclose(held, expected, rtol=0, atol=tolerance(engine, "internet"))
    assert (stream.held, stream.missing, stream.samples_in) == (2, 2, WINDOW)
    assert stream.push_missing() is None
    assert (stream.source, stream.samples_in, stream.missing) == ("none", 0, 3)
    again = [stream.push(sample) for sample in walk[20:30]]
    assert again[:-1] == [None] * 9
    assert again[-1] == pytest.approx(engine.forecast("internet", walk[20:30])[0], abs=tolerance(engine, "internet"))


def test_a_snapshot_goes_on_in_another_stream(engine, walk):
    stream, other = engine.stream("internet"), engine.stream("internet")
    for sample in walk[:33]:
        stream.push(sample)
    other.restore(stream.snapshot())
    for sample in walk[33:60]:
        assert stream.push(sample) == pytest.approx(other.push(sample), abs=tolerance(engine, "internet"))
    with pytest.raises(ValueError, match="snapshot: expected"):
        other.restore(b"nothing")
    with pytest.raises(ValueError, match="another model file"):
        engine.stream("datacenter").restore(stream.snapshot())


def test_a_fleet_gives_each_link_its_own_forecast(engine, walk):
    fleet = engine.streams("internet", 3)
    singles = [engine.stream("internet") for _ in range(3)]
    rng = np.random.default_rng(5)
    for tick in range(60):
        samples = walk[[tick, tick + 100, tick + 200]]
        present = rng.random(3) < 0.8
        forecasts = fleet.push(samples, present)
        for single, sample, came, forecast in zip(singles, samples, present, forecasts, strict=True):
            expected = single.push(sample) if came else single.push_missing()
            if expected is None:
                assert np.isnan(forecast)
            else:
                assert forecast == pytest.approx(expected, abs=tolerance(engine, "internet"))
    assert len(fleet) == 3
    assert [fleet.missing(index) for index in range(3)] == [single.missing for single in singles]
    fleet.reset(1)
    assert [fleet.ready(0), fleet.ready(1)] == [singles[0].ready, False]
    assert fleet.sources == [single.source for single in singles]


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


def test_a_wrong_fleet_call_is_refused(engine, walk):
    fleet = engine.streams("internet", 2)
    with pytest.raises(ValueError, match=r"samples: expected \(2, 4\) finite floats, got \(3, 4\)"):
        fleet.push(walk[:3])
    with pytest.raises(ValueError, match=r"present: expected \(2,\) booleans"):
        fleet.push(walk[:2], [True])
    with pytest.raises(ValueError, match="stream: expected below 2, got 2"):
        fleet.reset(2)
    with pytest.raises(ValueError, match="at least 1 stream"):
        engine.streams("internet", 0)
    with pytest.raises(ValueError, match="forecaster: expected one of"):
        engine.stream("moon")


def test_pushes_and_late_ones_are_counted(engine, walk):
    own = linkcast.Engine.load()
    stream = own.stream("internet")
    for sample in walk[:30]:
        stream.push(sample, deadline_ms=1e-6)
    stats = own.stats("internet_lstm")
    assert stats["calls"] == stats["sources"]["model"] == stats["late"] == 21
    assert 0 < stats["latency_us"]["p50"] <= stats["latency_us"]["max"]


# A bundle whose internet model repeats the last value, whatever its weights: the target's range is next to nothing.
PERSISTENCE = {
    "features": {name: {"min": 0.0, "max": 100.0} for name in TRANSFORMS["features"]},
    "target": {"min": -1e-6, "max": 1e-6, "relative_to": "last"},
}


def turns(ticks: int, seed: int) -> np.ndarray:
    """(ticks, 4): the bandwidth alternates for 80 ticks (bad for the last value), climbs for 80 (good), and so on."""
    step = np.arange(ticks)
    bandwidth = np.where(step // 80 % 2 == 0, 20.0 + 10.0 * (step % 2), 10.0 + 0.5 * (step % 80))
    bandwidth += np.random.default_rng(seed).normal(0, 0.5, ticks)
    return np.column_stack([np.full(ticks, 30.0), bandwidth, np.zeros(ticks), np.ones(ticks)])


def expected_switches(model: np.ndarray, average: np.ndarray, measured: np.ndarray, ticks: int) -> np.ndarray:
    """(n,) whether the EWMA answers at each tick; the forecasts of tick k are scored at k + 1, if that is not NaN.

    model, average: (n,) forecasts, NaN where there is none. Sums are made anew at each tick.
    """
    errors = np.abs(np.stack([model[:-1], average[:-1]]) - measured[1:])
    switched, since, past, answers = False, 0, [], [False]
    for pair in errors.T:
        if np.isfinite(pair).all():
            past.append(pair)
            since += 1
            of_model, of_average = np.sum(past[-ticks:], axis=0)
            if since >= ticks and (of_model < of_average if switched else of_model > 1.05 * of_average):
                switched, since = not switched, 0
        answers.append(switched)
    return np.array(answers)


@pytest.mark.parametrize("over", [12, 30])
def test_while_the_model_is_worse_over_the_last_ticks_the_ewma_answers_and_says_so(edit, over):
    own = linkcast.Engine.load(edit("scalers", lambda content: content["models"].update(internet_lstm=PERSISTENCE)))
    samples = turns(640, seed=31)
    missing = np.random.default_rng(32).random(640) < 0.03
    missing[0] = False
    plain = own.stream("internet", plausible_margin=1e9)
    stream = own.stream("internet", plausible_margin=1e9, switch_to_ewma=over)
    model, answers, sources, causes, skill = [], [], [], [], []
    seen = samples.copy()
    for tick, sample in enumerate(samples):
        if missing[tick]:
            seen[tick] = seen[tick - 1]
        for which, out in ((plain, model), (stream, answers)):
            out.append(which.push_missing() if missing[tick] else which.push(sample))
        sources.append(stream.source)
        causes.append(stream.cause)
        skill.append(stream.skill)
    first = WINDOW - 1
    average = np.full(640, np.nan)
    average[first:] = baselines.ewma(windows_of(seen))
    model = np.array(model, dtype=np.float64)
    switched = expected_switches(model, average, np.where(missing, np.nan, samples[:, BANDWIDTH]), over)
    assert 3 <= np.count_nonzero(np.diff(switched.astype(int)) == 1) <= 5
    assert causes == ["beaten" if is_switched else "none" for is_switched in switched]
    assert sources[first:] == ["ewma" if is_switched else "model" for is_switched in switched[first:]]
    expected = np.where(switched, average, model)
    np.testing.assert_allclose(np.array(answers[first:], np.float64), expected[first:], rtol=1e-6)
    stats = own.stats("internet_lstm")
    assert stats["causes"]["beaten"] == stats["sources"]["ewma"] == np.count_nonzero(switched)
    assert stats["switches"] == np.count_nonzero(np.diff(switched.astype(int)) == 1)
    errors = np.abs(np.stack([model[:-1], average[:-1]]) - np.where(missing, np.nan, samples[:, BANDWIDTH])[1:])
    scored = np.isfinite(errors).all(axis=0)
    of_model, of_average = errors[:, scored][:, -over:].sum(axis=1)
    assert skill[-1] == pytest.approx(1.0 - of_model / of_average, rel=1e-6)
    ticks = np.flatnonzero(scored) + 1  # the tick that scores
    assert skill[ticks[over - 1] - 1] is None
    assert skill[ticks[over - 1]] is not None


def test_the_switch_is_off_in_a_stream_and_on_in_the_closed_loop(edit):
    own = linkcast.Engine.load(edit("scalers", lambda content: content["models"].update(internet_lstm=PERSISTENCE)))
    stream = own.stream("internet", plausible_margin=1e9)
    fleet = own.streams("internet", 2, plausible_margin=1e9, switch_to_ewma=20)
    loop = own.controller("internet", capacity_mbps=100.0)
    never = own.controller("internet", capacity_mbps=100.0, switch_to_ewma=0)
    for second, sample in enumerate(turns(80, seed=33)):
        stream.push(sample)
        fleet.push(np.stack([sample, [30.0, 20.0 + second, 0.0, 1.0]]))  # the second link climbs
        decision, other = loop.tick(sample, now_s=float(second)), never.tick(sample, now_s=float(second))
        assert decision.cause == ("beaten" if second >= WINDOW - 1 + 60 else "none")
        assert decision.source == ("model" if WINDOW - 1 <= second < WINDOW - 1 + 60 else "ewma")
        assert other.cause == "none"
    assert (stream.cause, stream.switched, stream.skill) == ("none", False, None)
    assert (fleet.sources, fleet.causes) == (["ewma", "model"], ["beaten", "none"])
    assert [fleet.switched(0), fleet.switched(1)] == [True, False]
    assert fleet.skill(0) < 0 < fleet.skill(1)
    with pytest.raises(ValueError, match=r"switch_to_ewma: expected 0 \(off\) to 100000 ticks, got 100001"):
        own.stream("internet", switch_to_ewma=100_001)


def test_a_snapshot_carries_the_scores(edit):
    own = linkcast.Engine.load(edit("scalers", lambda content: content["models"].update(internet_lstm=PERSISTENCE)))
    samples = turns(200, seed=34)
    stream, other = (own.stream("internet", plausible_margin=1e9, switch_to_ewma=25) for _ in range(2))
    causes = set()
    for tick, sample in enumerate(samples):
        if tick % 11 == 0:
            other.restore(stream.snapshot())
        assert stream.push(sample) == pytest.approx(other.push(sample))
        assert (stream.cause, stream.skill) == (other.cause, other.skill)
        causes.add(stream.cause)
    assert causes == {"none", "beaten"}
