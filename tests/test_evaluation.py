"""Scores beside the baselines, and what the verdict says of them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import linkcast
from linkcast.baselines import autoregression, fit_autoregression
from linkcast.evaluation import evaluate_trace, score, score_trace, verdict
from linkcast.traces import read_trace, trace_from_arrays
from linkcast.windows import forecast_windows
from telemetry import tolerance

DATA = Path(os.environ.get("LINKCAST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def of_mae(mae: float, within_2_percent: float = 0.1) -> dict[str, float]:
    return {"mae": mae, "within_2_percent": within_2_percent}


@pytest.mark.parametrize(
    ("model", "baselines", "sentence"),
    [
        (1.0, {"persistence": 1.0, "ewma": 1.2}, "The best naive rule, persistence, is as good as the model"),
        (1.0, {"persistence": 1.005, "ewma": 1.2}, "The best naive rule, persistence, is as good as the model"),
        (0.0, {"persistence": 0.0, "ewma": 0.0}, "The best naive rule, persistence, is as good as the model"),
        (1.0, {"persistence": 0.8, "ewma": 1.2}, "The best naive rule, persistence, is better than the model"),
        (0.8, {"persistence": 1.0, "ewma": 0.7}, "The best naive rule, the EWMA, is better than the model"),
        (0.6, {"persistence": 1.0, "ar10": 0.8}, "Against the best naive rule, the AR(10), the model is 25.0 % better"),
        (0.8, {"persistence": 1.0, "moving_average": 0.8}, "The best naive rule, the moving average, is as good as"),
    ],
)
def test_the_verdict_opens_with_the_best_naive_rule(model, baselines, sentence):
    text = verdict(of_mae(model), {name: of_mae(mae) for name, mae in baselines.items()})
    assert text.startswith(sentence)
    assert text.endswith(f"mean absolute errors of {min(baselines.values()):.3f} and {model:.3f} Mbit/s.")


@pytest.mark.parametrize(("low", "high", "sentence"), [(-0.02, 0.2, "is as good as"), (0.01, 0.2, "is 10.0 % better")])
def test_a_difference_that_the_interval_does_not_tell_from_none_is_a_tie(low, high, sentence):
    assert sentence in verdict(of_mae(0.9), {"persistence": of_mae(1.0)}, {"persistence": (low, high)})


@pytest.mark.parametrize("model_mae", [0.7, 1.0, 3.0])
def test_at_a_constant_rate_persistence_is_as_good_whatever_the_model_says(model_mae):
    sentence = verdict(of_mae(model_mae, 0.9), {"persistence": of_mae(1.0, 0.98)})
    assert "persistence is as good as a forecast can usefully be" in sentence
    assert "within 2 % in 98.0 % of the samples, the model in 90.0 %" in sentence
    assert f"1.000 and {model_mae:.3f} Mbit/s" in sentence


def random_series(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform([20, 5, 0, 0.9], [60, 40, 0.02, 1], (rows, 4))


@pytest.mark.parametrize("count", [1, 5, 2048, 5000])
def test_the_batch_path_gives_what_the_engine_gives_for_the_same_windows(engine, count):
    series = random_series(64, seed=1)
    starts = np.random.default_rng(2).integers(0, 55, count)
    expected = engine.forecast_raw("internet", series[starts[:, None] + np.arange(10)])
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
    expected = np.mean(np.abs(engine.forecast_raw("gaming", windows) - trace.features[10:, 1]))
    assert evaluation["model"]["mae"] == pytest.approx(expected, rel=1e-5)


def test_a_service_group_on_a_trace_without_timestamps_is_refused(engine):
    with pytest.raises(ValueError, match="no timestamp column"):
        evaluate_trace(engine, "gaming", trace_from_arrays(random_series(100, seed=5)))


def at_a_constant_rate(rate_mbps: float, deviation: float, rows: int, seed: int):
    """A rate-limited stream: its rate with a little independent noise every second; other telemetry moves."""
    rng = np.random.default_rng(seed)
    features = rng.uniform([25, 0, 0, 0.95], [60, 0, 0.01, 1], (rows, 4))
    features[:, 1] = rate_mbps * rng.normal(1.0, deviation, rows)
    times = np.datetime64("2025-05-06T04:00:00") + np.arange(rows)
    return trace_from_arrays(features, times.astype("datetime64[us]"), "constant rate")


@pytest.mark.parametrize("rate_mbps", [0.5, 27.0, 270.0])
def test_a_stream_of_constant_rate_is_reported_as_persistence_is_as_good(engine, rate_mbps):
    # Two samples of 0.6 % noise differ by 0.85 % on average, by less than 2 % in 98 % of the cases.
    evaluation = evaluate_trace(engine, "internet", at_a_constant_rate(rate_mbps, 0.006, 1500, seed=8), last=0.3)
    persistence = evaluation["baselines"]["persistence"]
    assert persistence["within_2_percent"] == pytest.approx(0.98, abs=0.02)
    assert persistence["r2"] == pytest.approx(-1.0, abs=0.2)  # twice the variance of the rate
    assert "persistence is as good" in evaluation["verdict"]


def test_the_constant_stretches_of_a_real_trace_are_reported_so(engine):
    path = DATA / "starlink_1hz" / "dev.parquet"
    if not path.is_file():
        pytest.skip("the data sets are not on this machine")
    trace = read_trace(path, {"bandwidth_mbps": "ul_mbps"})
    rate = trace.features[:, 1]
    # Uploads limited to 27 and 54 Mbit/s: runs of two minutes whose rate stays within 5 % of their median.
    starts = np.arange(0, len(trace) - 120, 120)
    runs = rate[starts[:, None] + np.arange(120)]
    middle = np.median(runs, axis=1, keepdims=True)
    steady = starts[(np.abs(runs - middle) <= 0.05 * middle).all(axis=1) & (middle[:, 0] > 1.0)]
    assert len(steady) >= 5
    rows = (steady[:, None] + np.arange(120)).ravel()
    constant = trace_from_arrays(trace.features[rows], trace.timestamps[rows], "rate-limited upload")
    assert "persistence is as good" in evaluate_trace(engine, "internet", constant)["verdict"]
    whole = trace_from_arrays(trace.features[:20_000], trace.timestamps[:20_000], "all that was carried")
    assert "hardly changes" not in evaluate_trace(engine, "internet", whole)["verdict"]


def test_the_last_share_is_scored_and_the_autoregression_goes_on_learning_in_it(engine):
    series = random_series(900, seed=9)
    times = np.datetime64("2026-03-02T18:00:00") + np.arange(900)
    trace = trace_from_arrays(series, times.astype("datetime64[us]"))
    scored = score_trace(engine, "internet", trace, last=0.5)
    np.testing.assert_array_equal(scored.starts + 10, np.arange(450, 900))
    later = scored.starts[:, None] + np.arange(10)
    for begin, until in ((440, 600), (600, 800), (800, 890)):  # of the windows; it is fitted again at each 200th
        fitted = begin // 200 * 200
        known = np.arange(fitted)[:, None] + np.arange(10)
        coefficients = fit_autoregression(series[known], series[10 : fitted + 10, 1])
        part = slice(begin - 440, until - 440)
        expected = autoregression(series[later[part]], coefficients)
        np.testing.assert_allclose(scored.baselines["ar10"][part], expected, rtol=1e-6)
    windows = trace.select(engine.spec("internet_lstm")["features"])[later]
    np.testing.assert_allclose(scored.forecasts, engine.forecast_raw("internet", windows), rtol=1e-4)


def test_held_rows_are_no_targets_and_no_samples(engine):
    series = random_series(600, seed=14)
    held = np.zeros(600, np.bool_)
    held[[40, 300, 301, 302, 450, 580]] = True
    times = np.datetime64("2026-03-02T18:00:00") + np.arange(600)
    trace = replace(trace_from_arrays(series, times.astype("datetime64[us]")), held=held)
    scored = score_trace(engine, "internet", trace)
    measured = np.flatnonzero(~held)
    np.testing.assert_array_equal(scored.starts + 10, measured[measured >= 10])
    stream = engine.stream("internet")
    pushed = [stream.push(None if missing else row) for row, missing in zip(series, held, strict=True)]
    answers = [pushed[row - 1].mbps for row in measured if row >= 10]  # of the tick before the target
    evaluation = scored.evaluation()
    assert evaluation["samples"] == 584
    assert evaluation["stream"]["scores"]["mae"] == pytest.approx(
        np.abs(np.array(answers) - series[measured[measured >= 10], 1]).mean(), rel=1e-9
    )
    last = series[measured[measured >= 10] - 1, 1]
    expected = np.abs(last - series[measured[measured >= 10], 1]).mean()
    assert evaluation["baselines"]["persistence"]["mae"] == pytest.approx(expected, rel=1e-9)
    assert evaluation["outlook"]["horizons"][9]["samples"] == sum(
        not held[row] and not held[row + 9] for row in range(10, 591)
    )
    later = score_trace(engine, "internet", trace, last=0.5)
    np.testing.assert_array_equal(later.starts + 10, measured[measured >= 300])
    np.testing.assert_array_equal(later.answers, scored.answers[-len(later.starts) :])


def test_the_reference_is_neither_fitted_on_held_rows_nor_scored_there(engine):
    pytest.importorskip("lightgbm")
    series = random_series(600, seed=15)
    held = np.zeros(600, np.bool_)
    held[[40, 100, 500, 580]] = True
    trace = replace(trace_from_arrays(series), held=held)
    wild = trace.features.copy()
    wild[held, 1] = 1e6  # nobody may see it as a target; the windows that hold it are other ones
    scores = [
        evaluate_trace(engine, "internet", replace(trace, features=rows), last=0.5, reference=True)
        for rows in (trace.features, wild)
    ]
    assert scores[0]["samples"] == scores[1]["samples"] == 298
    assert scores[1]["reference"]["mae"] < 100.0
    assert all(row["lightgbm"] > 0.0 for row in scores[0]["outlook"]["risk"])


def test_scores_of_a_source_are_those_of_its_rows(engine):
    first, second = random_series(200, seed=10), random_series(100, seed=11)
    trace = trace_from_arrays(np.concatenate([first, second]))
    trace = replace(trace, segment_starts=np.array([0, 200]), sources=("dsl", "lte"))
    sources = evaluate_trace(engine, "internet", trace)["sources"]
    alone = evaluate_trace(engine, "internet", trace_from_arrays(second))
    assert list(sources) == ["dsl", "lte"]
    assert sources["lte"]["samples"] == 90
    assert sources["lte"]["model"]["mae"] == pytest.approx(alone["model"]["mae"], rel=1e-5)
    assert sources["lte"]["baselines"]["ewma"]["mae"] == pytest.approx(alone["baselines"]["ewma"]["mae"], rel=1e-12)


def test_a_reference_needs_an_earlier_part_and_a_cut_needs_windows_on_both_sides(engine):
    trace = trace_from_arrays(random_series(40, seed=12))
    with pytest.raises(ValueError, match="fitted on the part before"):
        evaluate_trace(engine, "internet", trace, reference=True)
    with pytest.raises(ValueError, match="expected windows before and after the cut, got 0 and 30"):
        evaluate_trace(engine, "internet", trace, last=0.9)


def test_the_interval_of_a_clear_difference_leaves_zero_out():
    rng = np.random.default_rng(13)
    targets = rng.uniform(10, 20, 2000)
    near, far = targets + rng.normal(0, 1, 2000), targets + rng.normal(0, 2, 2000)
    evaluation = score(near, targets, {"persistence": far})
    low, high = evaluation["interval"]["skill"]
    assert low < 0.5 < high  # half the deviation is half the mean absolute error
    assert low > 0.45
    assert high < 0.55
