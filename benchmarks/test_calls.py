"""Calls from Python: forecasts, decisions, groups, streams, the predictor. Results are checked before they're timed."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

import linkcast
from linkcast.features import feature_columns, profile_windows

# Of a forecast, relative: the native kernels lie within 1e-6 of TensorFlow Lite's on scaled values, and undoing the
# scaling of a target can make more of it.
TOLERANCE = 1e-4
GROUPS = ("streaming", "gaming", "social_media", "shopping", "software")


@pytest.mark.benchmark(group="LSTM, one window")
@pytest.mark.parametrize("backend", ["native", "tflite"])
def test_lstm(benchmark, report_budget, engine, reference, windows, backend):
    chosen = engine if backend == "native" else reference
    np.testing.assert_allclose(
        chosen.forecast_raw("internet", windows[0]), reference.forecast_raw("internet", windows[0]), rtol=TOLERANCE
    )
    benchmark.pedantic(chosen.forecast, ("internet", windows[0]), rounds=5000, warmup_rounds=100)
    report_budget(5.0, 99.9)


@pytest.mark.benchmark(group="LSTM, one window")
def test_lstm_invoke_on_the_tensors(benchmark, engine, reference, windows):
    model = engine.model("internet_lstm")
    model.input[...] = engine.scaler("internet_lstm").transform(windows[0])
    model.invoke()
    expected = reference.model("internet_lstm").predict(model.input)
    np.testing.assert_allclose(model.output, expected, rtol=TOLERANCE, atol=1e-6)
    benchmark(model.invoke)


@pytest.mark.benchmark(group="DDQN, one state")
@pytest.mark.parametrize("backend", ["native", "tflite"])
def test_ddqn(benchmark, report_budget, engine, reference, windows, backend):
    chosen = engine if backend == "native" else reference
    state = windows[0, -1]
    np.testing.assert_allclose(
        chosen.q_values("internet", state), reference.q_values("internet", state), rtol=TOLERANCE, atol=1e-4
    )
    benchmark.pedantic(chosen.decide, ("internet", state), rounds=20000, warmup_rounds=100)
    report_budget(1.0, 99.9)


@pytest.mark.benchmark(group="LSTM, 100 windows")
@pytest.mark.parametrize("backend", ["native", "tflite"])
def test_batch_of_100(benchmark, report_budget, engine, reference, windows, backend):
    chosen = engine if backend == "native" else reference
    np.testing.assert_allclose(
        chosen.forecast_raw("internet", windows), reference.forecast_raw("internet", windows), rtol=TOLERANCE
    )
    rounds = 200 if backend == "native" else 20
    benchmark.pedantic(chosen.forecast, ("internet", windows), rounds=rounds, warmup_rounds=2)
    report_budget(20.0, 99.0)


@pytest.mark.benchmark(group="all groups")
def test_groups_in_one_call(benchmark, engine, reference):
    by_group = group_windows(engine)
    answers = engine.forecast_many(by_group)
    for name, window in by_group.items():
        assert answers[name].source == "model"
        expected = reference.forecast_raw(name, window)
        np.testing.assert_allclose(answers[name].mbps, expected, rtol=TOLERANCE, atol=1e-4)
    benchmark(engine.forecast_many, by_group)


@pytest.mark.benchmark(group="all groups")
def test_groups_in_single_calls(benchmark, engine):
    by_group = group_windows(engine)
    benchmark(lambda: [engine.forecast(name, window) for name, window in by_group.items()])


def group_windows(engine: linkcast.Engine) -> dict[str, np.ndarray]:
    """A window of each group: its own profile before an ordinary noon."""
    noon = np.array([1772452800])  # 2026-03-02T12:00Z
    windows = {}
    for name in GROUPS:
        group = engine.group(name)
        spec = engine.spec(group.model)
        columns = feature_columns(spec["features"])
        windows[name] = profile_windows(
            noon, spec["window"], int(spec["step_s"]), group.profile, columns, np.ones(1), np.inf
        )
    return windows


@pytest.mark.benchmark(group="stream")
def test_stream_push(benchmark, engine, reference, windows):
    stream = filled_stream(engine, reference, windows)
    sample = windows[0, -1]
    benchmark.pedantic(stream.push, (sample,), setup=stream.advance, rounds=5000, warmup_rounds=100)


@pytest.mark.benchmark(group="stream")
def test_stream_advance(benchmark, engine, reference, windows):
    stream = filled_stream(engine, reference, windows)
    sample = windows[0, -1]

    def push() -> None:
        stream.push(sample)

    benchmark.pedantic(stream.advance, setup=push, rounds=5000, warmup_rounds=100)


def filled_stream(engine: linkcast.Engine, reference: linkcast.Engine, windows: np.ndarray) -> linkcast.Stream:
    """A stream whose next push gives a forecast; what it gives is checked against full windows."""
    stream = engine.stream("internet")
    for sample in windows[0]:
        stream.push(sample)
    for window in windows[1:20]:
        answer = stream.push(window[-1])
        np.testing.assert_allclose(answer.mbps, reference.forecast_raw("internet", window)[0], rtol=TOLERANCE)
    return stream


@pytest.fixture(scope="module")
def predictor() -> linkcast.BandwidthPredictor:
    return linkcast.BandwidthPredictor()


@pytest.mark.benchmark(group="predictor")
def test_predict(benchmark, report_budget, predictor):
    answer = predictor.predict("2026-03-02 20:00", "Streaming", as_numbers=True)
    assert answer["group_id"] == 1001 and answer["source"] == "model"
    benchmark(predictor.predict, "2026-03-02 20:00", "Streaming")
    report_budget(0.035, 50.0)


@pytest.mark.benchmark(group="predictor")
def test_predict_all_groups(benchmark, report_ratio, engine, predictor):
    numbers = predictor.predict_all_groups("2026-03-02 12:00", as_numbers=True)
    by_group = group_windows(engine)
    for name, answers in engine.forecast_many(by_group).items():
        predicted = numbers[engine.group(name).name]["predicted_bandwidth_mbps"]
        np.testing.assert_allclose(predicted, answers.mbps[0], rtol=TOLERANCE)
    benchmark(predictor.predict_all_groups, "2026-03-02 12:00")
    report_ratio(
        lambda: predictor.predict_all_groups("2026-03-02 12:00"), lambda: engine.forecast_many(by_group), most=1.25
    )


@pytest.mark.benchmark(group="predictor")
def test_a_week_of_every_group(benchmark, predictor):
    start = datetime(2026, 3, 2)
    arguments = (start, start + timedelta(hours=167))
    series = predictor.generate_time_series_predictions(*arguments)
    assert len(series) == 168
    single = predictor.predict(start, "Gaming")
    assert series[0]["predictions"]["Gaming"] == single
    benchmark(predictor.generate_time_series_predictions, *arguments)


@pytest.mark.benchmark(group="predictor")
def test_a_year_of_every_group(benchmark, report_budget, predictor):
    arguments = (datetime(2026, 1, 1), datetime(2026, 12, 31, 23))
    series = predictor.generate_time_series_predictions(*arguments)
    assert len(series) == 8760
    for entry in series[:: 24 * 61]:
        assert entry["predictions"] == predictor.predict_all_groups(entry["timestamp"])
    benchmark.pedantic(predictor.generate_time_series_predictions, arguments, rounds=15, warmup_rounds=1)
    report_budget(350.0, 50.0)


@pytest.mark.benchmark(group="predictor")
def test_the_windows_of_a_year_by_the_model_alone(benchmark, engine):
    """43,800 windows in batches, without features, scaling or text: what a year costs where no week repeats."""
    models = [engine.model(engine.group(name).model) for name in GROUPS]
    for model in models:
        model.batch_input(8760)[...] = model.input
        np.testing.assert_allclose(model.invoke_batch(8760)[-1], model.predict(model.input)[0], rtol=1e-5, atol=1e-6)
    benchmark.pedantic(lambda: [model.invoke_batch(8760) for model in models], rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="predictor")
def test_predict_bandwidth(benchmark, predictor, reference, windows):
    np.testing.assert_allclose(
        predictor.predict_bandwidth(windows[:1]), reference.forecast_raw("internet", windows[:1]), rtol=TOLERANCE
    )
    benchmark(predictor.predict_bandwidth, windows[:1])


@pytest.mark.benchmark(group="predictor")
def test_decide_allocation(benchmark, predictor, reference, windows):
    state = windows[0, -1]
    assert predictor.decide_allocation(state) == reference.decide("internet", state)[0]
    benchmark(predictor.decide_allocation, state)
