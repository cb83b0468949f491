"""Scores beside the baselines, and what the verdict says of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import linkcast
from linkcast.evaluation import evaluate_trace, forecast_windows, verdict
from linkcast.traces import trace_from_arrays
from telemetry import tolerance


def of_mae(mae: float, within_2_percent: float = 0.1) -> dict[str, float]:
    return {"mae": mae, "within_2_percent": within_2_percent}


@pytest.mark.parametrize(
    ("model", "baselines", "sentence"),
    [
        (1.0, {"persistence": 1.0, "ewma": 1.2}, "Here persistence is as good as the model"),
        (1.0, {"persistence": 1.005, "ewma": 1.2}, "Here persistence is as good as the model"),
        (0.0, {"persistence": 0.0, "ewma": 0.0}, "Here persistence is as good as the model"),
        (1.0, {"persistence": 0.8, "ewma": 1.2}, "Here persistence is better than the model"),
        (0.8, {"persistence": 1.0, "ewma": 1.2}, "20.0 % below persistence's 1.000"),
        (0.8, {"persistence": 1.0, "ewma": 0.7}, "the EWMA, is better than the model: 0.700"),
        (0.6, {"persistence": 1.0, "ar10": 0.8}, "It is 25.0 % below the best naive forecast, the AR(10), with 0.800"),
        (0.8, {"persistence": 1.0, "moving_average": 0.8}, "the moving average, is as good as the model: 0.800"),
    ],
)
def test_the_verdict_says_who_wins(model, baselines, sentence):
    assert sentence in verdict(of_mae(model), {name: of_mae(mae) for name, mae in baselines.items()})


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [(-0.02, 0.2, "persistence is as good"), (0.01, 0.2, "10.0 % below persistence's")],
)
def test_a_difference_that_the_interval_does_not_tell_from_none_is_a_tie(low, high, sentence):
    assert sentence in verdict(of_mae(0.9), {"persistence": of_mae(1.0)}, {"persistence": (low, high)})


@pytest.mark.parametrize("model_mae", [0.7, 1.0, 3.0])
def test_at_a_constant_rate_persistence_is_as_good_whatever_the_model_says(model_mae):
    sentence = verdict(of_mae(model_mae, 0.9), {"persistence": of_mae(1.0, 0.98)})
    assert "persistence is as good" in sentence
    assert "within 2 % in 98.0 % of the samples, the model in 90.0 %" in sentence
    assert f"1.000 Mbit/s, the model {model_mae:.3f}" in sentence


def random_series(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform([20, 5, 0, 0.9], [60, 40, 0.02, 1], (rows, 4))


@pytest.mark.parametrize("count", [1, 5, 2048, 5000])
def test_the_batch_path_gives_what_the_engine_gives_for_the_same_windows(engine, count):
    series = random_series(64, seed=1)
    starts = np.random.default_rng(2).integers(0, 55, count)
    expected = engine.forecast("internet", series[starts[:, None] + np.arange(10)])
    answer = forecast_windows(engine, "internet", series, starts)
    # Batches of another size may sum in another order.
    np.testing.assert_allclose(answer, expected, rtol=0, atol=tolerance(engine, "internet", max(expected)))


def test_without_numba_the_engine_scales_to_the_same_forecasts(engine, monkeypatch):
    series = random_series(64, seed=6)
    starts = np.arange(50)
    expected = forecast_windows(engine, "internet", series, starts)
    monkeypatch.setitem(sys.modules, "linkcast.scaling", None)
    monkeypatch.delattr(linkcast, "scaling", raising=False)
    np.testing.assert_array_equal(forecast_windows(engine, "internet", series, starts), expected)


def test_progress_adds_up_to_the_windows(engine):
    done: list[int] = []
    forecast_windows(engine, "internet", random_series(64, seed=7), np.zeros(5000, np.int64), done.append)
    assert sum(done) == 5000


def test_no_window_gives_no_forecast(engine):
    assert forecast_windows(engine, "internet", random_series(20, seed=3), np.empty(0, np.int64)).shape == (0,)


def test_a_series_with_another_number_of_features_is_refused(engine):
    with pytest.raises(ValueError, match=r"internet_lstm: expected a series \(rows, 4\), got \(20, 3\)"):
        forecast_windows(engine, "internet", random_series(20, seed=3)[:, :3], np.array([0]))


def test_a_service_group_is_scored_on_a_trace_with_timestamps(engine):
    hours = np.datetime64("2026-03-02T00", "h") + np.arange(100)
    trace = trace_from_arrays(random_series(100, seed=4), hours.astype("datetime64[us]"), "hourly")
    evaluation = evaluate_trace(engine, "gaming", trace)
    assert evaluation["samples"] == 90
    windows = trace.select(engine.spec("gaming_model")["features"])[np.arange(90)[:, None] + np.arange(10)]
    expected = np.mean(np.abs(engine.forecast("gaming", windows) - trace.features[10:, 1]))
    assert evaluation["model"]["mae"] == pytest.approx(expected, rel=1e-5)


def test_a_service_group_on_a_trace_without_timestamps_is_refused(engine):
    with pytest.raises(ValueError, match="no timestamp column"):
        evaluate_trace(engine, "gaming", trace_from_arrays(random_series(100, seed=5)))
