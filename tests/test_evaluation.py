"""Scores beside the baselines, and what the verdict says of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import linkcast
from linkcast.evaluation import evaluate_trace, forecast_windows, verdict
from linkcast.traces import trace_from_arrays


@pytest.mark.parametrize(
    ("model", "baselines", "sentence"),
    [
        (1.0, {"persistence": 1.0, "ewma": 1.2}, "Persistence is as good as the model"),
        (1.0, {"persistence": 1.005, "ewma": 1.2}, "Persistence is as good as the model"),
        (0.0, {"persistence": 0.0, "ewma": 0.0}, "Persistence is as good as the model"),
        (1.0, {"persistence": 0.8, "ewma": 1.2}, "Persistence wins"),
        (0.8, {"persistence": 1.0, "ewma": 1.2}, "20.0 % below persistence's 1.000"),
        (0.8, {"persistence": 1.0, "ewma": 0.7}, "But the EWMA beats the model: 0.700"),
        (0.8, {"persistence": 1.0, "harmonic_mean": 0.9}, "The best naive forecast, the harmonic mean, has 0.900"),
        (0.8, {"persistence": 1.0, "moving_average": 0.8}, "The moving average is as good as the model: 0.800"),
    ],
)
def test_the_verdict_says_who_wins(model, baselines, sentence):
    assert sentence in verdict(model, baselines)


def random_series(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform([20, 5, 0, 0.9], [60, 40, 0.02, 1], (rows, 4))


@pytest.mark.parametrize("count", [1, 5, 2048, 5000])
def test_the_batch_path_gives_what_the_engine_gives_for_the_same_windows(engine, count):
    series = random_series(64, seed=1)
    starts = np.random.default_rng(2).integers(0, 55, count)
    expected = engine.forecast("internet", series[starts[:, None] + np.arange(10)])
    answer = forecast_windows(engine, "internet", series, starts)
    # Batches of another size may sum in another order: 1e-6 of the scaled output.
    tolerance = 1e-6 / engine.target_scaler("internet_lstm").scale[0]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=tolerance)


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
