"""BandwidthPredictor: exact formats, the profile window, fallbacks and errors."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import linkcast
from linkcast.groups import find_group

GROUPS = ["Streaming", "Gaming", "Social Media", "Shopping", "Software"]
MONDAY_6PM = "2026-03-02T18:00:00"


@pytest.fixture(scope="module")
def predictor():
    return linkcast.BandwidthPredictor()


def stats(engine: linkcast.Engine, group: str) -> dict:
    path = Path(engine.folder) / "metadata" / "service_group_stats.json"
    return json.loads(path.read_text(encoding="utf-8"))["groups"][group]


def calendar(time: datetime) -> list[float]:
    hour, weekday = 2 * math.pi * (time.hour + time.minute / 60) / 24, 2 * math.pi * time.weekday() / 7
    return [math.sin(hour), math.cos(hour), math.sin(weekday), math.cos(weekday)]


def window_by_hand(
    engine, group: str, time: datetime, usage: float | None = None, bandwidth_factor=1.0, latency_factor=1.0
) -> np.ndarray:
    """(1, 10, 8): the ten hours before the time from the profile, written out step by step.

    With a usage the last hour has that share of the group's maximum, and the hours before it the same factor.
    """
    profile, most = stats(engine, group)["hour_of_week"], stats(engine, group)["max_bandwidth_mbps"]
    newest = time - timedelta(hours=1)
    if usage is not None:
        bandwidth_factor *= usage / 100 * most / profile["bandwidth_mbps"][newest.weekday() * 24 + newest.hour]
    rows = []
    for back in range(10, 0, -1):
        step = time - timedelta(hours=back)
        slot = step.weekday() * 24 + step.hour
        rows.append(
            [
                profile["latency_ms"][slot] * latency_factor,
                min(profile["bandwidth_mbps"][slot] * bandwidth_factor, most),
                profile["packet_loss"][slot],
                profile["reliability"][slot],
                *calendar(step),
            ]
        )
    return np.array([rows])


def test_predict_returns_exactly_the_promised_keys_and_formats(predictor):
    prediction = predictor.predict(MONDAY_6PM, "Streaming")
    assert list(prediction) == [
        "service_group",
        "group_id",
        "service_id",
        "bandwidth_allocation",
        "predicted_bandwidth_mbps",
    ]
    assert prediction["service_group"] == "Streaming"
    assert prediction["group_id"] == 1001
    assert prediction["service_id"] == 102
    assert re.fullmatch(r"\d{1,3}\.\d\d%", prediction["bandwidth_allocation"])
    assert re.fullmatch(r"\d+\.\d\d", prediction["predicted_bandwidth_mbps"])


def test_the_numbers_are_those_of_the_text_with_the_source_beside_them(predictor):
    text = predictor.predict(MONDAY_6PM, "Gaming")
    numbers = predictor.predict(MONDAY_6PM, "Gaming", as_numbers=True)
    assert list(numbers) == [*text, "source"]
    assert text["predicted_bandwidth_mbps"] == f"{numbers['predicted_bandwidth_mbps']:.2f}"
    assert text["bandwidth_allocation"] == f"{numbers['bandwidth_allocation']:.2f}%"
    assert numbers["source"] == "model"


@pytest.mark.parametrize("group", ["streaming", "software"])
def test_the_forecast_is_the_models_for_the_window_of_the_ten_hours_before(predictor, engine, group):
    time = datetime(2026, 3, 2, 4, 30)  # a Monday morning: the window starts on Sunday
    expected = float(engine.forecast_raw(group, window_by_hand(engine, group, time))[0])
    numbers = predictor.predict(time, group, as_numbers=True)
    # The window by hand differs in the last bit of a sine.
    assert numbers["predicted_bandwidth_mbps"] == pytest.approx(max(expected, 0.0), rel=1e-5)
    share = 100.0 * max(expected, 0.0) / stats(engine, group)["max_bandwidth_mbps"]
    assert numbers["bandwidth_allocation"] == pytest.approx(min(share, 100.0), rel=1e-5)


def test_usage_and_device_group_scale_the_profile(predictor, engine):
    time = datetime(2026, 3, 4, 20)
    entry = stats(engine, "shopping")
    name, device = next(iter(entry["device_groups"].items()))
    window = window_by_hand(engine, "shopping", time, 30.0, device["bandwidth_factor"], device["latency_factor"])
    numbers = predictor.predict(time, "Shopping", 30, name, as_numbers=True)
    expected = max(float(engine.forecast_raw("shopping", window)[0]), 0.0)
    assert numbers["predicted_bandwidth_mbps"] == pytest.approx(expected, rel=1e-5)


def test_a_group_is_found_by_its_key_and_by_the_name_that_its_bundle_gives_it(engine):
    groups = {key: replace(group, name=f"All {group.name}") for key, group in engine.groups.items()}
    assert find_group(groups, "all-social-media") is find_group(groups, "Social Media") is groups["social_media"]
    with pytest.raises(ValueError, match=r"expected one of All Streaming, .*got 'All'"):
        find_group(groups, "All")


@pytest.mark.parametrize("usage", ["50", True])
def test_words_and_booleans_are_no_usage(predictor, usage):
    with pytest.raises(ValueError, match="usage_percentage: expected a number from 0 to 100, got"):
        predictor.predict(MONDAY_6PM, "Gaming", usage)


def test_the_usage_is_the_share_of_the_maximum_that_is_in_use_in_the_hour_before(predictor, engine):
    entry = stats(engine, "gaming")
    monday_5pm = entry["hour_of_week"]["bandwidth_mbps"][17]
    usage = 100.0 * monday_5pm / entry["max_bandwidth_mbps"]  # what is typical changes nothing
    plain = predictor.predict(MONDAY_6PM, "Gaming", as_numbers=True)
    stated = predictor.predict(MONDAY_6PM, "Gaming", usage, as_numbers=True)
    assert stated["predicted_bandwidth_mbps"] == pytest.approx(plain["predicted_bandwidth_mbps"], rel=1e-6)


@pytest.mark.parametrize("usage", [0.0, 1.0, 50.0, 80.0, 100.0])
def test_a_forecast_stays_within_the_groups_maximum(predictor, engine, usage):
    for device in (None, "mobile"):
        week = predictor.generate_time_series_predictions(
            "2026-03-02", "2026-03-09", usage_percentage=usage, device_group=device, as_numbers=True
        )
        for entry in week:
            for name, prediction in entry["predictions"].items():
                most = engine.group(name).max_bandwidth_mbps
                assert 0.0 <= prediction["predicted_bandwidth_mbps"] <= most
                assert prediction["bandwidth_allocation"] <= 100.0


def test_at_80_percent_on_a_monday_evening_streaming_needs_about_80_percent(predictor):
    numbers = predictor.predict("2026-03-02 20:00", "Streaming", 80, as_numbers=True)  # it was 84.55 of 46.24 Mbit/s
    assert 70.0 < numbers["bandwidth_allocation"] < 95.0


@pytest.mark.parametrize("name", ["Social Media", "social media", "social_media", "SOCIAL-MEDIA", " Social Media "])
def test_a_group_may_be_written_in_several_ways(predictor, name):
    assert predictor.predict(MONDAY_6PM, name) == predictor.predict(MONDAY_6PM, "Social Media")


@pytest.mark.parametrize("group", ["Banana", "", None, 1001])
def test_an_unknown_group_is_refused_with_the_five_known_ones(predictor, group):
    with pytest.raises(ValueError, match="Streaming, Gaming, Social Media, Shopping, Software"):
        predictor.predict(MONDAY_6PM, group)


@pytest.mark.parametrize("usage", [-0.1, 100.1, float("nan")])
def test_a_usage_outside_0_to_100_is_refused(predictor, usage):
    with pytest.raises(ValueError, match="usage_percentage: expected a number from 0 to 100, got"):
        predictor.predict(MONDAY_6PM, "Streaming", usage)


def test_an_unknown_device_group_is_refused_with_the_known_ones(predictor, engine):
    known = ", ".join(stats(engine, "streaming")["device_groups"])
    with pytest.raises(ValueError, match=f"device_group: expected one of {known} for Streaming, got 'fridge'"):
        predictor.predict(MONDAY_6PM, "Streaming", device_group="fridge")


def test_all_groups_are_the_single_predictions_in_the_order_of_their_ids(predictor):
    together = predictor.predict_all_groups(MONDAY_6PM, 40)
    assert list(together) == GROUPS
    assert [prediction["group_id"] for prediction in together.values()] == [1001, 1002, 1003, 1004, 1005]
    assert together == {name: predictor.predict(MONDAY_6PM, name, 40) for name in GROUPS}


def test_a_time_series_equals_its_single_predictions(predictor):
    start, end = datetime(2026, 3, 1, 12, 15), datetime(2026, 3, 3, 12, 15)
    series = predictor.generate_time_series_predictions(start, end, 1, usage_percentage=55.0, as_numbers=True)
    assert [entry["timestamp"] for entry in series] == [
        (start + timedelta(hours=hour)).isoformat() for hour in range(49)
    ]
    for entry in series:
        alone = predictor.predict_all_groups(entry["timestamp"], 55.0, as_numbers=True)
        assert list(entry["predictions"]) == GROUPS
        for name, prediction in entry["predictions"].items():
            for key, value in prediction.items():
                # Batches may sum in another order: 1e-6 of the scaled output, a share of a few Mbit/s.
                assert value == (
                    pytest.approx(alone[name][key], rel=1e-4) if isinstance(value, float) else alone[name][key]
                )


@pytest.mark.parametrize(
    ("end", "interval", "times"),
    [
        ("2026-03-02T18:00", 1, 1),
        ("2026-03-02T21:00", 1, 4),  # the end is included
        ("2026-03-02T20:59", 1, 3),
        ("2026-03-02T19:00", 0.25, 5),
        ("2026-03-02T19:00", 1 / 3, 4),
        ("2026-03-09T18:00", 24, 8),
    ],
)
def test_a_range_includes_its_end_when_whole_intervals_lead_to_it(predictor, end, interval, times):
    series = predictor.generate_time_series_predictions(MONDAY_6PM, end, interval)
    assert len(series) == times
    assert series[0]["timestamp"] == MONDAY_6PM


@pytest.mark.parametrize(
    ("end", "interval", "message"),
    [
        ("2026-03-02T17:00", 1, "end_time: expected a time at or after start_time"),
        ("2026-03-02T19:00", 0, "interval_hours: expected a number above 0, got 0"),
        ("2026-03-02T19:00", -1, "interval_hours: expected a number above 0"),
        ("2026-03-02T19:00", float("nan"), "interval_hours: expected a number above 0"),
        ("2026-03-02T19:00", 1e300, "interval_hours: expected a number above 0"),
        ("2026-03-02T19:00", "1", "interval_hours: expected a number above 0, got '1'"),
        ("2026-03-02T19:00", True, "interval_hours: expected a number above 0, got True"),
    ],
)
def test_a_range_that_leads_nowhere_is_refused(predictor, end, interval, message):
    with pytest.raises(ValueError, match=message):
        predictor.generate_time_series_predictions(MONDAY_6PM, end, interval)


def test_saved_predictions_read_back_as_they_were(predictor, tmp_path):
    path = tmp_path / "predictions.json"
    for predictions in (
        predictor.predict(MONDAY_6PM, "Streaming"),
        predictor.predict_all_groups(MONDAY_6PM),
        predictor.generate_time_series_predictions(MONDAY_6PM, "2026-03-02T20:00"),
    ):
        predictor.save_predictions_to_json(predictions, path)
        assert json.loads(path.read_text(encoding="utf-8")) == predictions


def test_a_group_without_a_profile_is_answered_by_its_fallback(engine, edit):
    folder = edit("service_group_stats", lambda content: content["groups"]["streaming"].pop("hour_of_week"))
    predictor = linkcast.BandwidthPredictor(folder)
    time = datetime(2026, 3, 2, 18)
    expected = max(float(engine.forecast_raw("streaming_fallback", [calendar(time)])[0]), 0.0)
    numbers = predictor.predict(time, "Streaming", as_numbers=True)
    assert numbers["source"] == "fallback"
    assert numbers["predicted_bandwidth_mbps"] == pytest.approx(expected, rel=1e-5)
    series = predictor.generate_time_series_predictions(time, time, as_numbers=True)[0]["predictions"]
    assert series["Streaming"]["source"] == "fallback"
    assert series["Streaming"]["predicted_bandwidth_mbps"] == pytest.approx(expected, rel=1e-4)
    assert series["Gaming"]["source"] == "model"


def test_a_model_output_that_is_not_finite_is_answered_by_the_fallback(engine, edit):
    def overflow(scalers):
        scalers["models"]["gaming_model"]["target"] = {"min": 0.0, "max": 1e300}  # past float32: the output is inf

    predictor = linkcast.BandwidthPredictor(edit("scalers", overflow))
    times = [datetime(2026, 3, 2, 17), datetime(2026, 3, 2, 18)]
    newest, usual = (float(mbps) for mbps in engine.forecast_raw("gaming_fallback", [calendar(time) for time in times]))
    half_of_typical = 50.0 * newest / stats(engine, "gaming")["max_bandwidth_mbps"]
    numbers = predictor.predict(MONDAY_6PM, "Gaming", half_of_typical, as_numbers=True)
    assert numbers["source"] == "fallback"
    assert numbers["predicted_bandwidth_mbps"] == pytest.approx(usual / 2, rel=1e-5)
    series = predictor.generate_time_series_predictions(MONDAY_6PM, MONDAY_6PM, as_numbers=True)
    assert series[0]["predictions"]["Gaming"]["source"] == "fallback"


def test_an_implausible_model_output_is_answered_by_the_fallback_one_by_one_and_in_a_series(engine, edit):
    def raise_all(scalers):
        scalers["models"]["gaming_model"]["target"] = {"min": 1e6, "max": 2e6}  # nothing that training has seen

    predictor = linkcast.BandwidthPredictor(edit("scalers", raise_all))
    expected = float(engine.forecast_raw("gaming_fallback", [calendar(datetime(2026, 3, 2, 18))])[0])
    numbers = predictor.predict(MONDAY_6PM, "Gaming", as_numbers=True)
    series = predictor.generate_time_series_predictions(MONDAY_6PM, MONDAY_6PM, as_numbers=True)
    for answer in (numbers, series[0]["predictions"]["Gaming"]):
        assert answer["source"] == "fallback"
        assert answer["predicted_bandwidth_mbps"] == pytest.approx(max(expected, 0.0), rel=1e-4)


def test_predict_bandwidth_is_the_profiles_forecaster(engine):
    windows = np.random.default_rng(1).uniform([10, 1, 0, 0.9], [80, 60, 0.05, 1], (5, 10, 4))
    for profile in ("internet", "datacenter"):
        answer = linkcast.BandwidthPredictor(profile=profile).predict_bandwidth(windows)
        np.testing.assert_array_equal(answer, engine.forecast_raw(profile, windows))


@pytest.mark.parametrize("sequence", [np.zeros((9, 4)), np.zeros((2, 10, 3)), np.full((10, 4), np.nan)])
def test_a_wrong_sequence_is_refused(predictor, sequence):
    with pytest.raises(ValueError, match=r"^window: expected .*finite .*got"):
        predictor.predict_bandwidth(sequence)


def test_decide_allocation_is_the_profiles_allocator(predictor, engine):
    state = [35.0, 20.0, 0.001, 0.999]
    action = predictor.decide_allocation(state)
    assert isinstance(action, int)
    assert action == int(engine.decide("internet", state)[0])


@pytest.mark.parametrize("state", [[1, 2, 3], [[30, 20, 0, 1], [30, 20, 0, 1]], [30, 20, np.nan, 1]])
def test_a_wrong_state_is_refused(predictor, state):
    with pytest.raises(ValueError, match="state: expected"):
        predictor.decide_allocation(state)


def test_a_saved_bundle_loads_and_predicts_the_same(predictor, tmp_path):
    predictor.save(tmp_path / "copy")
    copy = linkcast.BandwidthPredictor(tmp_path / "copy")
    assert copy.engine.folder == str(tmp_path / "copy")
    assert copy.predict_all_groups(MONDAY_6PM) == predictor.predict_all_groups(MONDAY_6PM)
    copy.save(tmp_path / "copy")  # onto itself: nothing is lost
    linkcast.BandwidthPredictor(tmp_path / "copy")


def test_a_bad_folder_leaves_the_present_models_in_place(tmp_path):
    predictor = linkcast.BandwidthPredictor()
    before = predictor.predict(MONDAY_6PM, "Streaming")
    with pytest.raises(linkcast.LoadError):
        predictor.load(tmp_path)
    assert predictor.predict(MONDAY_6PM, "Streaming") == before


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="internet"):
        linkcast.BandwidthPredictor(profile="moon")


def test_evaluate_scores_the_model_and_persistence_by_hand(predictor):
    generator = np.random.default_rng(2)
    windows = generator.uniform([10, 1, 0, 0.9], [80, 60, 0.05, 1], (50, 10, 4))
    targets = generator.uniform(1, 60, 50)
    result = predictor.evaluate(windows, targets)
    forecasts = predictor.predict_bandwidth(windows).astype(np.float64)
    assert result["samples"] == 50
    assert result["model"]["mae"] == pytest.approx(np.mean(np.abs(forecasts - targets)))
    assert result["baselines"]["persistence"]["mae"] == pytest.approx(np.mean(np.abs(windows[:, -1, 1] - targets)))
    best = min(score["mae"] for score in result["baselines"].values())
    assert result["baselines"][result["best_baseline"]]["mae"] == best
    assert result["skill"] == pytest.approx(1.0 - result["model"]["mae"] / best)


def test_on_a_constant_link_evaluate_says_that_persistence_is_as_good(predictor):
    windows = np.tile([30.0, 20.0, 0.0, 1.0], (20, 10, 1))
    result = predictor.evaluate(windows, np.full(20, 20.0))
    assert result["baselines"]["persistence"]["mae"] == 0.0
    assert "persistence is as good" in result["verdict"]


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


HEAVY = {"numba", "tensorflow", "pyarrow", "rich", "typer", "pandas", "matplotlib"}


def test_importing_linkcast_loads_no_heavy_package():
    assert not HEAVY & modules_after("import linkcast")


@pytest.mark.parametrize(
    "call",
    [
        f"predict('{MONDAY_6PM}', 'Streaming')",
        f"predict_all_groups('{MONDAY_6PM}', 40)",
        f"generate_time_series_predictions('{MONDAY_6PM}', '2026-03-20')",
    ],
)
def test_a_prediction_loads_no_heavy_package(call):
    assert not HEAVY & modules_after(f"import linkcast; linkcast.BandwidthPredictor().{call}")


def test_every_public_name_can_be_imported():
    for name in linkcast.__all__:
        assert getattr(linkcast, name) is not None
    assert set(linkcast.__all__) <= set(dir(linkcast))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = linkcast.nothing
