"""The Python engine: physical units in and out, against the manifest's golden outputs (from TensorFlow)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import linkcast
from linkcast.features import CALENDAR

# A golden input is float32; taken to physical units and scaled again it moves by a few float32 steps (6e-8 each), which
# a model amplifies a little. The largest shift seen is far below this share of the target's range.
GOLDEN_TOLERANCE = 2e-5


def metadata(engine: linkcast.Engine, stem: str) -> dict:
    return json.loads((Path(engine.folder) / "metadata" / f"{stem}.json").read_text(encoding="utf-8"))


def golden(engine: linkcast.Engine, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(physical inputs, TensorFlow's outputs, (min, max) of the target), unscaled by hand from scalers.json."""
    entry = engine.manifest["models"][name]["golden"]
    scalers = metadata(engine, "scalers")["models"][name]
    names = [feature["name"] for feature in metadata(engine, "feature_list")["models"][name]["features"]]
    low = np.array([scalers["features"][feature]["min"] for feature in names])
    high = np.array([scalers["features"][feature]["max"] for feature in names])
    target = scalers.get("target", {"min": 0.0, "max": 1.0})
    inputs = np.array(entry["inputs"]) * (high - low) + low
    return inputs, np.array(entry["outputs"]), np.array([target["min"], target["max"]])


def names_of_role(engine: linkcast.Engine, *roles: str) -> list[str]:
    return [name for name in engine.names if engine.spec(name)["role"] in roles]


def random_windows(engine: linkcast.Engine, name: str, n: int, seed: int) -> np.ndarray:
    """(n, ...) inputs between the minimum and the maximum of each feature."""
    scaler = engine.scaler(engine.resolve(name, "forecaster"))
    shape = engine.model(engine.resolve(name, "forecaster")).input_shape[1:]
    return np.random.default_rng(seed).uniform(0, 1, (n, *shape)) / scaler.scale + scaler.offset


def test_the_engine_names_the_fourteen_models(engine):
    assert sorted(engine.names) == sorted(
        ["datacenter_lstm", "internet_lstm", "datacenter_ddqn", "internet_ddqn"]
        + [
            f"{group}_{kind}"
            for group in ("streaming", "gaming", "social_media", "shopping", "software")
            for kind in ("model", "fallback")
        ]
    )
    assert list(engine.manifest["models"]) == engine.names


def test_forecasts_equal_tensorflows_golden_outputs_in_mbps(engine):
    for name in names_of_role(engine, "forecaster", "fallback"):
        inputs, outputs, (low, high) = golden(engine, name)
        expected = outputs[:, 0] * (high - low) + low
        tolerance = GOLDEN_TOLERANCE * (high - low)
        np.testing.assert_allclose(engine.forecast(name, inputs), expected, rtol=0, atol=tolerance, err_msg=name)


def test_decisions_are_the_largest_of_tensorflows_golden_q_values(engine):
    for name in names_of_role(engine, "allocator"):
        inputs, outputs, _ = golden(engine, name)
        assert engine.decide(name, inputs).tolist() == outputs.argmax(axis=1).tolist()
        scale = np.abs(outputs).max()
        np.testing.assert_allclose(engine.q_values(name, inputs), outputs, rtol=0, atol=GOLDEN_TOLERANCE * scale)


def test_a_profile_and_its_model_name_are_the_same_forecaster(engine):
    window = random_windows(engine, "internet", 1, seed=1)
    assert engine.forecast("internet", window) == engine.forecast("internet_lstm", window)


def test_the_same_window_twice_gives_the_same_forecast(engine):
    window = random_windows(engine, "internet", 1, seed=2)
    assert engine.forecast("internet", window) == engine.forecast("internet", window)


def test_one_window_without_a_batch_axis_is_a_batch_of_one(engine):
    windows = random_windows(engine, "internet", 1, seed=3)
    forecast = engine.forecast("internet", windows[0])
    assert forecast.shape == (1,)
    assert forecast.dtype == np.float32
    assert forecast == engine.forecast("internet", windows)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_a_batch_gives_what_its_windows_give_alone(engine, batch):
    windows = random_windows(engine, "internet", batch, seed=4)
    alone = [engine.forecast("internet", window)[0] for window in windows]
    # A batch may sum in another order than a single window: 1e-6 of the scaled output.
    tolerance = 1e-6 / engine.target_scaler("internet_lstm").scale[0]
    np.testing.assert_allclose(engine.forecast("internet", windows), alone, rtol=0, atol=tolerance)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_windows_scaled_into_the_batch_input_give_the_same_forecasts(engine, batch):
    windows = random_windows(engine, "streaming", batch, seed=5)
    expected = engine.forecast("streaming", windows)
    engine.model("streaming_model").batch_input(batch)[...] = engine.scaler("streaming_model").transform(windows)
    np.testing.assert_array_equal(engine.forecast_batch("streaming", batch), expected)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (np.zeros((9, 4)), r"window: expected \(10, 4\) .*finite floats, got \(9, 4\)"),
        (np.full((10, 4), np.nan), "expected .*finite"),
        (np.full((2, 10, 4), np.inf), "expected .*finite"),
        (np.zeros(4), r"expected \(10, 4\)"),
    ],
)
def test_a_wrong_window_is_refused_with_what_was_wanted_and_what_came(engine, windows, message):
    with pytest.raises(ValueError, match=message):
        engine.forecast("internet", windows)


@pytest.mark.parametrize("call", ["forecast", "decide", "model", "spec"])
def test_an_unknown_name_is_refused_with_the_known_ones(engine, call):
    arguments = ("moon", np.zeros((10, 4))) if call in ("forecast", "decide") else ("moon",)
    with pytest.raises(ValueError, match="internet"):
        getattr(engine, call)(*arguments)


def test_groups_forecast_together_as_they_do_alone(engine):
    windows = {group: random_windows(engine, group, 3, seed=6) for group in ("streaming", "gaming", "software")}
    answers = engine.forecast_groups(windows)
    assert list(answers) == ["streaming", "gaming", "software"]
    for group, answer in answers.items():
        assert isinstance(answer, linkcast.Forecast)
        np.testing.assert_array_equal(answer.bandwidth_mbps, engine.forecast(group, windows[group]))
        assert answer.source == "model"
        assert answer.latency_us > 0.0


def test_a_group_whose_model_gives_infinity_is_answered_by_its_fallback(engine, edit):
    def overflow(scalers):
        scalers["models"]["streaming_model"]["target"] = {"min": 0.0, "max": 1e300}  # past float32: the output is inf

    broken = linkcast.Engine.load(edit("scalers", overflow))
    hour, weekday = 18, 2
    calendar = [
        math.sin(2 * math.pi * hour / 24),
        math.cos(2 * math.pi * hour / 24),
        math.sin(2 * math.pi * weekday / 7),
        math.cos(2 * math.pi * weekday / 7),
    ]
    windows = random_windows(engine, "streaming", 2, seed=7)
    columns = [engine.spec("streaming_model")["features"].index(name) for name in CALENDAR]
    windows[:, :, columns] = calendar
    answer = broken.forecast_groups({"streaming": windows})["streaming"]
    next_hour = [math.sin(2 * math.pi * 19 / 24), math.cos(2 * math.pi * 19 / 24), *calendar[2:]]
    expected = engine.forecast("streaming_fallback", [next_hour, next_hour])
    assert answer.source == "fallback"
    np.testing.assert_allclose(answer.bandwidth_mbps, expected, rtol=1e-6)


def test_each_model_is_one_object(engine):
    assert engine.model("internet_lstm") is engine.model("internet_lstm")


def test_an_empty_folder_is_a_load_error_that_names_the_file(tmp_path):
    with pytest.raises(linkcast.LoadError, match=r"\.json"):
        linkcast.Engine.load(tmp_path)


def test_a_model_file_with_one_flipped_bit_is_refused_by_name(bundle):
    path = bundle / "models" / "internet_lstm.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(linkcast.LoadError, match="internet_lstm"):
        linkcast.Engine.load(bundle)


def test_a_zero_scale_is_refused_with_its_file_and_key(edit):
    def flatten(scalers):
        scalers["models"]["internet_lstm"]["features"]["latency_ms"] = {"min": 1.0, "max": 1.0}

    folder = edit("scalers", flatten)
    with pytest.raises(linkcast.LoadError, match=r"scalers\.json.*internet_lstm.*latency_ms"):
        linkcast.Engine.load(folder)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_reduced_precision_is_the_forecasters_and_its_error_can_be_read(precision: str) -> None:
    exact, reduced = linkcast.Engine.load(), linkcast.Engine.load(precision=precision)
    for name in reduced.names:
        model = reduced.model(name)
        assert model.backend == "native", model.backend_reason
        assert model.precision == (precision if reduced.spec(name)["role"] == "forecaster" else "float32")
    golden = np.array(exact.manifest["models"]["internet_lstm"]["golden"]["inputs"], np.float32)
    difference = np.abs(reduced.model("internet_lstm").predict(golden) - exact.model("internet_lstm").predict(golden))
    error = reduced.model("internet_lstm").proof_error
    assert 0 < difference.max() <= 1.2 * error  # the proof compares with TensorFlow Lite, which rounds in its own way
    with pytest.raises(ValueError, match='expected "float32", "bfloat16" or "int8", got "float16"'):
        linkcast.Engine.load(precision="float16")
    with pytest.raises(linkcast.LoadError, match=f'precision "{precision}" is the native kernels'):
        linkcast.Engine.load(backend="tflite", precision=precision)


def test_every_bundled_model_runs_on_the_native_kernels(engine: linkcast.Engine) -> None:
    for name in engine.names:
        model = engine.model(name)
        assert model.backend == "native", f"{name}: {model.backend_reason}"
