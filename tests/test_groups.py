"""Forecasts of several groups in one call: models, batches, deadlines, and who answers in a model's place."""

from __future__ import annotations

import numpy as np
import pytest

import linkcast
from linkcast.features import CALENDAR, calendar_features, to_seconds
from telemetry import random_telemetry

GROUPS = ("streaming", "gaming", "social_media", "shopping", "software")
TOO_SHORT_MS = 1e-6


def random_windows(engine: linkcast.Engine, name: str, batch: int) -> np.ndarray:
    """(batch, 10, F) telemetry that the model's scaler maps to 0..1."""
    return random_telemetry(engine, name, batch, 10, seed=4)


@pytest.fixture
def call(engine: linkcast.Engine) -> dict[str, np.ndarray]:
    return {name: random_windows(engine, name, 1 + index) for index, name in enumerate(GROUPS)}


@pytest.mark.parametrize("threads", [1, 2])
def test_one_call_gives_what_single_calls_give(engine, call, threads):
    answers = engine.forecaster_pool(threads=threads).forecast(call)
    assert list(answers) == list(GROUPS)
    for name, answer in answers.items():
        np.testing.assert_array_equal(answer.mbps, engine.forecast_raw(name, call[name]))
        assert (answer.source, answer.cause, answer.sources) == ("model", "none", ["model"] * len(call[name]))
        assert answer.latency_us > 0


def test_behind_a_deadline_the_fallback_answers_for_the_step_after_the_window(engine):
    times = np.array(["2026-03-04T18:00", "2026-03-08T23:00"], "datetime64[m]")  # a Wednesday, and Sunday's last hour
    seconds = to_seconds(times)
    columns = [engine.spec("streaming_model")["features"].index(name) for name in CALENDAR]
    windows = random_windows(engine, "streaming", 2)
    windows[:, -1, columns] = calendar_features(seconds)
    answer = engine.forecast_many({"streaming": windows}, deadline_ms=TOO_SHORT_MS)["streaming"]
    expected = engine.forecast_raw("streaming_fallback", calendar_features(seconds + 3600))
    np.testing.assert_allclose(answer.mbps, expected, rtol=1e-6)
    assert (answer.source, answer.cause, answer.sources) == ("fallback", "deadline", ["fallback", "fallback"])


def test_a_long_deadline_changes_nothing(engine, call):
    for name, answer in engine.forecast_many(call, deadline_ms=60_000).items():
        np.testing.assert_array_equal(answer.mbps, engine.forecast_raw(name, call[name]))
        assert answer.source == "model"


def test_without_a_fallback_the_last_good_value_answers_and_before_there_is_one_nobody(engine):
    own = linkcast.Engine.load()
    windows = {"internet": random_windows(engine, "internet", 2)}
    answer = own.forecast_many(windows, deadline_ms=TOO_SHORT_MS)["internet"]
    assert answer.source == "none"
    assert np.isnan(answer.mbps).all()
    good = own.forecast_many(windows)["internet"]
    answer = own.forecast_many(windows, deadline_ms=TOO_SHORT_MS)["internet"]
    assert answer.source == "last"
    np.testing.assert_array_equal(answer.mbps, good.mbps)
    stats = own.stats("internet_lstm")
    assert {source: count for source, count in stats["sources"].items() if count} == {"model": 2, "last": 2, "none": 2}
    assert stats["causes"] == {"deadline": 4, "failed": 0, "not_finite": 0, "implausible": 0}
    assert (stats["calls"], stats["late"]) == (3, 2)


def test_an_implausible_forecast_is_not_used(engine, edit):
    windows = random_windows(engine, "internet", 40)
    windows[:, :, 1] *= np.linspace(0.3, 3.0, 40)[:, None]  # links of several sizes
    raw = engine.forecast_raw("internet", windows)
    highest = float(np.median(raw))

    def narrow(manifest):
        manifest["models"]["internet_lstm"]["trained_on"]["target_range"] = [0.0, highest]

    own = linkcast.Engine.load(edit("manifest", narrow)).forecaster_pool(plausible_margin=0.1)
    answer = own.forecast({"internet": windows})["internet"]
    outside = (raw < -0.1 * highest) | (raw > 1.1 * highest)
    assert 0 < outside.sum() < 40
    assert [name == "none" for name in answer.sources] == outside.tolist()
    assert (answer.source, answer.cause) == ("none", "implausible")
    np.testing.assert_array_equal(answer.mbps[~outside], raw[~outside])
    assert np.isnan(answer.mbps[outside]).all()


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ({"moon": np.zeros((10, 8))}, "forecaster: expected one of"),
        ({"gaming": np.zeros((9, 8))}, r"gaming: window: expected \(10, 8\)"),
        ({"gaming": np.full((10, 8), np.nan)}, "gaming: window: expected finite values"),
        ({"gaming": np.zeros((0, 10, 8))}, "at least 1, got 0"),
        ({"gaming": np.zeros((10, 8)), "gaming_model": np.zeros((10, 8))}, "gaming_model stands twice"),
    ],
)
def test_a_wrong_call_is_refused(engine, windows, message):
    with pytest.raises(ValueError, match=message):
        engine.forecast_many(windows)


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"stand_in": "mean"}, {"stand_in_weight": 0}, {"plausible_margin": -1}, {"cpus": [0]}]
)
def test_a_wrong_option_is_refused(engine, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        engine.forecaster_pool(**options)


def test_a_deadline_that_is_not_above_zero_is_refused(engine, call):
    with pytest.raises(ValueError, match="deadline_ms"):
        engine.forecast_many(call, deadline_ms=0)
