"""Windows from an hour-of-week profile, built, scaled and run in one native call, against the plain NumPy path."""

from __future__ import annotations

import copy
import logging
import pickle
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import linkcast
from linkcast import predictor as predictor_module
from linkcast._native import LEAST_TYPICAL_MBPS, ProfileForecaster, forecast_profiles
from linkcast.features import BANDWIDTH, calendar_features, feature_columns, hour_of_week, profile_windows, to_seconds
from linkcast.groups import ServiceGroup

QUICK = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
GROUPS = ["Streaming", "Gaming", "Social Media", "Shopping", "Software"]
MONDAY_6PM = 1772474400  # 2026-03-02T18:00, as UTC


@pytest.fixture(scope="module")
def predictor() -> linkcast.BandwidthPredictor:
    return linkcast.BandwidthPredictor()


@pytest.fixture
def lame(edit: Any) -> linkcast.BandwidthPredictor:
    """Streaming has no profile, and what gaming's model gives is implausible."""
    edit("service_group_stats", lambda content: content["groups"]["streaming"].pop("hour_of_week"))

    def raise_all(scalers: Any) -> None:
        scalers["models"]["gaming_model"]["target"] = {"min": 1e6, "max": 2e6}

    return linkcast.BandwidthPredictor(edit("scalers", raise_all))


def plain_windows(
    engine: linkcast.Engine, group: ServiceGroup, seconds: Any, in_use_mbps: float | None, device: str | None
) -> np.ndarray:
    """(n, T, F) by NumPy, step for step as the metadata says it."""
    bandwidth_factor, latency_factor = group.device_factors(device)
    profile, spec = group.scaled_profile(latency_factor), engine.spec(group.model)
    assert profile is not None
    step_s = int(spec["step_s"])
    factors = np.full(len(seconds), bandwidth_factor)
    if in_use_mbps is not None:
        factors *= in_use_mbps / np.maximum(profile[hour_of_week(seconds - step_s), BANDWIDTH], LEAST_TYPICAL_MBPS)
    columns = feature_columns(spec["features"])
    return profile_windows(seconds, spec["window"] or 1, step_s, profile, columns, factors, group.max_bandwidth_mbps)


def plain_forecast(
    engine: linkcast.Engine, group: ServiceGroup, time: datetime, usage: float | None, device: str | None
) -> tuple[float, str]:
    """(Mbit/s, source) with the window by NumPy, and the fallback where the forecast can't be used."""
    seconds = to_seconds(np.array([time.replace(tzinfo=None)], "datetime64[us]"))
    in_use_mbps = group.in_use_mbps(usage)
    if group.profile is not None:
        mbps = engine.forecast_raw(group.model, plain_windows(engine, group, seconds, in_use_mbps, device))
        if engine.plausible(group.model, mbps)[0]:
            return float(np.clip(mbps[0], 0, group.max_bandwidth_mbps)), "model"
    typical = float(engine.forecast_raw(group.fallback, calendar_features(seconds))[0])
    if in_use_mbps is not None:
        newest = float(engine.forecast_raw(group.fallback, calendar_features(seconds - 3600))[0])
        typical *= in_use_mbps / max(newest, LEAST_TYPICAL_MBPS)
    mbps_by_fallback = typical * group.device_factors(device)[0]
    return float(np.clip(mbps_by_fallback, 0, group.max_bandwidth_mbps)), "fallback"


TIMES = st.one_of(
    st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1)),
    st.sampled_from([datetime(2024, 2, 29, 12), datetime(2000, 2, 29, 23, 59, 59), datetime(1970, 1, 1)]),
    st.builds(  # the hours around a change of the clock, both readings of the doubled one among them
        lambda day, minutes, fold: (
            datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
            + timedelta(minutes=minutes)
        ),
        st.sampled_from(["2026-03-29T00:00", "2026-10-25T00:00"]),
        st.integers(0, 300),
        st.integers(0, 1),
    ),
)
USAGES = st.none() | st.floats(0, 100) | st.sampled_from([0, 100, 1e-300])
DEVICES = st.sampled_from([None, "mobile", "desktop", " Mobile", "TABLET"])


@QUICK
@given(TIMES, USAGES, DEVICES, st.sampled_from(GROUPS))
@example(datetime(1969, 12, 31, 23, 59, 59, 999999), 50.0, "mobile", "Gaming")
def test_a_prediction_is_that_of_the_plain_path(predictor, time, usage, device, group):
    known = predictor.engine.group(group)
    if device is not None and device.strip().lower() not in known.device_groups:
        with pytest.raises(ValueError, match=f"device_group: expected one of .* for {group}, got"):
            predictor.predict(time, group, usage, device)
        return
    numbers = predictor.predict(time, group, usage, device, as_numbers=True)
    expected, source = plain_forecast(predictor.engine, known, time, usage, device)
    assert numbers["source"] == source
    # On another machine NumPy's sine may differ in its last bit, and so may a scaled value's.
    assert numbers["predicted_bandwidth_mbps"] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert numbers == predictor.predict(time.isoformat(), group, usage, device, as_numbers=True)


@settings(QUICK, max_examples=40)
@given(TIMES, USAGES, st.sampled_from([None, "mobile"]))
def test_all_groups_together_are_the_single_predictions(predictor, time, usage, device):
    together = predictor.predict_all_groups(time, usage, device, as_numbers=True)
    assert together == {name: predictor.predict(time, name, usage, device, as_numbers=True) for name in GROUPS}


@settings(QUICK, max_examples=20)
@given(TIMES, USAGES, st.sampled_from([None, "mobile"]))
def test_beside_fallbacks_the_other_groups_keep_their_models(lame, time, usage, device):
    together = lame.predict_all_groups(time, usage, device, as_numbers=True)
    for name, numbers in together.items():
        expected, source = plain_forecast(lame.engine, lame.engine.group(name), time, usage, device)
        assert source == ("fallback" if name in ("Streaming", "Gaming") else "model")
        assert numbers["source"] == source
        assert numbers["predicted_bandwidth_mbps"] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@QUICK
@given(
    st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=20),
    st.none() | st.floats(0, 1e4),
    st.floats(0.1, 10.0),
    st.floats(0.0, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_native_windows_are_the_numpy_ones(predictor, seconds, in_use_mbps, factor, most_mbps, seed):
    engine, generator = predictor.engine, np.random.default_rng(seed)
    profile = generator.uniform(0.0, 1.0, (168, 4)) * [200.0, 900.0, 1.0, 1.0]
    columns = generator.permutation(8)  # not the model's order, so that a wrong one shows
    native = ProfileForecaster(engine, "streaming", profile, columns.tolist(), factor, most_mbps)
    times = np.array(seconds)
    factors = np.full(len(times), factor)
    if in_use_mbps is not None:
        factors *= in_use_mbps / np.maximum(profile[hour_of_week(times - 3600), BANDWIDTH], LEAST_TYPICAL_MBPS)
    expected = profile_windows(times, 10, 3600, profile, columns, factors, most_mbps)
    windows = native.windows(times, in_use_mbps)
    assert windows.shape == (len(times), 10, 8)
    # The sines of C's library and NumPy's may differ in the last bit.
    np.testing.assert_allclose(windows, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("step_s", [60, 900, 1800.5, 86400, 6e5, 1e9])
def test_the_steps_are_the_models_of_whatever_length(edit, step_s):
    def change(content: Any) -> None:
        content["models"]["streaming_model"]["step_s"] = step_s

    predictor = linkcast.BandwidthPredictor(edit("feature_list", change))
    group = predictor.engine.group("streaming")
    columns = feature_columns(predictor.engine.spec(group.model)["features"]).tolist()
    native = ProfileForecaster(predictor.engine, group.model, group.profile, columns, 1.0, group.max_bandwidth_mbps)
    seconds = np.array([MONDAY_6PM, MONDAY_6PM + 12345, -7])
    for in_use_mbps in (None, 12.0):
        expected = plain_windows(predictor.engine, group, seconds, in_use_mbps, None)
        np.testing.assert_allclose(native.windows(seconds, in_use_mbps), expected, rtol=1e-12, atol=0)


def test_all_groups_are_one_native_call_and_so_is_a_series(predictor, monkeypatch):
    shapes = []

    def counted(*arguments: Any) -> np.ndarray:
        shapes.append(forecast_profiles(*arguments).shape)
        return forecast_profiles(*arguments)

    monkeypatch.setattr(predictor_module, "forecast_profiles", counted)
    predictor.predict_all_groups("2026-03-02T18:00", 40)
    predictor.generate_time_series_predictions("2026-01-01", "2026-12-31T23:00")
    assert shapes == [(5,), (5, 168)]  # a week's hours: the profile repeats


def test_weeks_of_a_series_are_alike_and_their_predictions_are_not_one_object(predictor):
    series: Any = predictor.generate_time_series_predictions("2026-03-02T00:20", "2026-03-23T00:20", 0.5)
    week = 7 * 48
    assert len(series) == 3 * week + 1
    for entry, later in zip(series, series[week:], strict=False):
        assert entry["predictions"] == later["predictions"]
    for entry in series[:: week // 3]:
        assert entry["predictions"] == predictor.predict_all_groups(entry["timestamp"])
    series[0]["predictions"]["Gaming"]["group_id"] = -1
    assert [entry["predictions"]["Gaming"]["group_id"] for entry in series].count(-1) == 1


def test_the_log_counts_the_times_that_a_fallback_answered_not_the_windows(lame, caplog):
    with caplog.at_level(logging.WARNING, "linkcast"):
        lame.generate_time_series_predictions("2026-03-02", "2026-03-16")
        lame.predict_all_groups("2026-03-02")
    assert [record.getMessage() for record in caplog.records] == [
        "Streaming: streaming_fallback answered 337 of 337 times: it has no profile",
        "Gaming: gaming_fallback answered 337 of 337 times: what gaming_model gave is not plausible",
        "Streaming: streaming_fallback answered 1 of 1 times: it has no profile",
        "Gaming: gaming_fallback answered 1 of 1 times: what gaming_model gave is not plausible",
    ]


def test_after_a_reload_the_new_bundles_profiles_answer(edit):
    def halve(content: Any) -> None:
        hours = content["groups"]["shopping"]["hour_of_week"]
        hours["bandwidth_mbps"] = [value / 2 for value in hours["bandwidth_mbps"]]

    predictor = linkcast.BandwidthPredictor()
    before = predictor.predict_all_groups("2026-03-02T18:00", None, "mobile", as_numbers=True)
    folder = edit("service_group_stats", halve)
    predictor.load(folder)
    after = predictor.predict_all_groups("2026-03-02T18:00", None, "mobile", as_numbers=True)
    fresh = linkcast.BandwidthPredictor(folder)
    assert after == fresh.predict_all_groups("2026-03-02T18:00", None, "mobile", as_numbers=True)
    assert {name for name in GROUPS if after[name] != before[name]} == {"Shopping"}


def test_a_predictor_that_has_predicted_can_be_pickled_and_copied(predictor):
    expected = predictor.predict_all_groups("2026-03-02T18:00")
    for other in (pickle.loads(pickle.dumps(predictor)), copy.copy(predictor), copy.deepcopy(predictor)):
        assert other.predict_all_groups("2026-03-02T18:00") == expected


def test_tensorflow_lite_gives_the_same_predictions(predictor):
    other = linkcast.BandwidthPredictor(backend="tflite")
    native = predictor.predict_all_groups("2026-03-02T18:30", 55, "mobile", as_numbers=True)
    tflite = other.predict_all_groups("2026-03-02T18:30", 55, "mobile", as_numbers=True)
    for name, numbers in native.items():
        assert tflite[name]["source"] == "model"
        assert tflite[name]["predicted_bandwidth_mbps"] == pytest.approx(numbers["predicted_bandwidth_mbps"], rel=1e-4)


def test_predictions_are_not_counted_as_the_engines_calls(predictor):
    before = predictor.engine.stats("gaming_model")["calls"]
    predictor.predict_all_groups("2026-03-02T18:00")
    assert predictor.engine.stats("gaming_model")["calls"] == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "moon"}, "forecaster: expected one of .*streaming.*; got .moon."),
        ({"profile": np.ones((167, 4))}, r"profile: expected \(168, 4\) values, got 668"),
        ({"profile": [["1"] * 4] * 168}, "profile: expected plain numbers"),
        ({"columns": [0, 1]}, "columns: expected one for each of 8 features, got 2"),
        ({"columns": [0, 1, 2, 3, 4, 5, 6, 8]}, "columns: expected 0 to 7, got 8"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(engine, change, message):
    arguments = {
        "engine": engine,
        "model": "streaming",
        "profile": np.ones((168, 4)),
        "columns": list(range(8)),
        "bandwidth_factor": 1.0,
        "most_mbps": 50.0,
    }
    ProfileForecaster(**arguments)
    with pytest.raises(ValueError, match=message):
        ProfileForecaster(**(arguments | change))


def test_forecasters_and_what_is_in_use_come_in_pairs(engine):
    native = ProfileForecaster(engine, "streaming", np.ones((168, 4)), list(range(8)), 1.0, 50.0)
    with pytest.raises(ValueError, match="in_use_mbps: expected one for each of 2 forecasters, got 1"):
        forecast_profiles([native, None], MONDAY_6PM, [None])
    answers = forecast_profiles([None, native], np.array([[MONDAY_6PM], [0]]), [None, None])
    assert answers.shape == (2, 2, 1) and answers.dtype == np.float32
    assert np.isnan(answers[0]).all()
    assert forecast_profiles([], MONDAY_6PM, []).shape == (0,)
    assert native.windows(np.empty(0, np.int64)).shape == (0, 10, 8)


def test_a_profile_value_that_is_not_in_its_unit_is_refused(engine):
    profile = np.ones((168, 4))
    profile[:, 2] = 5.0
    native = ProfileForecaster(engine, "streaming", profile, list(range(8)), 1.0, 50.0)
    with pytest.raises(ValueError, match=r"window: packet_loss: expected a fraction 0\.\.1, got 5"):
        forecast_profiles([native], MONDAY_6PM, [None])


def test_a_forecaster_outlives_the_engine_that_made_it():
    engine = linkcast.Engine.load()
    native = ProfileForecaster(engine, "streaming", np.ones((168, 4)), list(range(8)), 1.0, 50.0)
    expected = forecast_profiles([native], MONDAY_6PM, [None])
    del engine
    np.testing.assert_array_equal(forecast_profiles([native], MONDAY_6PM, [None]), expected)
