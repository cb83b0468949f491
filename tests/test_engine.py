"""The Python engine: physical units in and out, against the manifest's golden outputs (from TensorFlow)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import linkcast
from linkcast.features import BANDWIDTH, CALENDAR
from telemetry import (
    TRANSFORMS,
    physical_target,
    physical_windows,
    random_telemetry,
    scaled_windows,
    scalers_of,
    tolerance,
)

# A golden input is float32; taken to physical units and scaled again it moves by a few float32 steps (6e-8 each), which
# a model amplifies a little. The largest shift seen is far below this share of the target's range.
GOLDEN_TOLERANCE = 2e-5


def golden(engine: linkcast.Engine, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(physical inputs, TensorFlow's outputs), unscaled by hand from scalers.json."""
    entry = engine.manifest["models"][name]["golden"]
    return physical_windows(np.array(entry["inputs"]), scalers_of(engine, name)["features"]), np.array(entry["outputs"])


def names_of_role(engine: linkcast.Engine, *roles: str) -> list[str]:
    return [name for name in engine.names if engine.spec(name)["role"] in roles]


def random_windows(engine: linkcast.Engine, name: str, n: int, seed: int) -> np.ndarray:
    """(n, T, F) telemetry that the model's scaler maps to 0..1."""
    steps = engine.spec(engine.resolve(name, "forecaster"))["window"]
    return random_telemetry(engine, name, n, steps, seed=seed)


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
        inputs, outputs = golden(engine, name)
        spec, entry = engine.spec(name), scalers_of(engine, name)["target"]
        newest = inputs[:, -1, spec["features"].index(spec["target"])] if spec["role"] == "forecaster" else inputs[:, 0]
        expected, above = (physical_target(outputs[:, 0] + shift, newest, entry) for shift in (0, GOLDEN_TOLERANCE))
        difference = np.abs(engine.forecast_raw(name, inputs) - expected)
        assert np.all(difference <= 1.01 * (above - expected) + 1e-6), name


def test_decisions_are_the_largest_of_tensorflows_golden_q_values(engine):
    for name in names_of_role(engine, "allocator"):
        inputs, outputs = golden(engine, name)
        assert engine.decide(name, inputs).tolist() == outputs.argmax(axis=1).tolist()
        scale = np.abs(outputs).max()
        np.testing.assert_allclose(engine.q_values(name, inputs), outputs, rtol=0, atol=GOLDEN_TOLERANCE * scale)


def test_a_profile_and_its_model_name_are_the_same_forecaster(engine):
    window = random_windows(engine, "internet", 1, seed=1)
    assert engine.forecast_raw("internet", window) == engine.forecast_raw("internet_lstm", window)


def test_the_same_window_twice_gives_the_same_forecast(engine):
    window = random_windows(engine, "internet", 1, seed=2)
    assert engine.forecast_raw("internet", window) == engine.forecast_raw("internet", window)


def test_one_window_without_a_batch_axis_is_a_batch_of_one(engine):
    windows = random_windows(engine, "internet", 1, seed=3)
    forecast = engine.forecast_raw("internet", windows[0])
    assert forecast.shape == (1,)
    assert forecast.dtype == np.float32
    assert forecast == engine.forecast_raw("internet", windows)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_a_batch_gives_what_its_windows_give_alone(engine, batch):
    windows = random_windows(engine, "internet", batch, seed=4)
    alone = [engine.forecast_raw("internet", window)[0] for window in windows]
    # A batch may sum in another order than a single window.
    np.testing.assert_allclose(
        engine.forecast_raw("internet", windows), alone, rtol=0, atol=tolerance(engine, "internet", max(alone))
    )


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_windows_scaled_into_the_batch_input_give_the_same_forecasts(engine, batch):
    windows = random_windows(engine, "streaming", batch, seed=5)
    expected = engine.forecast_raw("streaming", windows)
    engine.model("streaming_model").batch_input(batch)[...] = engine.scaler("streaming_model").transform(windows)
    newest = windows[:, -1, BANDWIDTH]
    np.testing.assert_array_equal(engine.forecast_batch("streaming", newest), expected)
    with pytest.raises(ValueError, match=r"newest: expected \(batch,\) with at least 1 value, got \(0,\)"):
        engine.forecast_batch("streaming", [])


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
    for forecast in (engine.forecast, engine.forecast_raw):
        with pytest.raises(ValueError, match=message):
            forecast("internet", windows)


@pytest.mark.parametrize("call", ["forecast", "forecast_raw", "decide", "model", "spec"])
def test_an_unknown_name_is_refused_with_the_known_ones(engine, call):
    arguments = ("moon", np.zeros((10, 4))) if call not in ("model", "spec") else ("moon",)
    with pytest.raises(ValueError, match="internet"):
        getattr(engine, call)(*arguments)


def test_a_forecast_is_the_models_with_its_source_and_is_counted(engine):
    own = linkcast.Engine.load()
    windows = random_windows(engine, "internet", 3, seed=4)
    answers = own.forecast("internet", windows)
    np.testing.assert_array_equal(answers.mbps, engine.forecast_raw("internet", windows))
    assert (answers.source, answers.cause, answers.sources) == ("model", "none", ["model"] * 3)
    assert len(own.forecast("internet", windows[0])) == 1
    assert len(own.forecast("internet", windows[:0])) == 0
    assert own.stats("internet_lstm")["calls"] == 2
    assert own.stats("internet_lstm")["sources"]["model"] == 4
    own.forecast_raw("internet", windows)
    assert own.stats("internet_lstm")["calls"] == 2


def test_what_the_model_cannot_answer_is_answered_for_and_raw_numbers_stay_as_they_are(engine, edit):
    windows = random_windows(engine, "internet", 2, seed=5)
    windows[1, :, 1] *= 4.0
    raw = engine.forecast_raw("internet", windows)

    def narrow(manifest):
        manifest["models"]["internet_lstm"]["trained_on"]["target_range"] = [0.0, float(raw[0])]

    assert raw[1] > 1.5 * raw[0]  # beyond the margin of half the range
    own = linkcast.Engine.load(edit("manifest", narrow))
    np.testing.assert_array_equal(own.forecast_raw("internet", windows), raw)
    assert own.plausible("internet", [*raw, np.nan]).tolist() == [True, False, False]
    answers = own.forecast("internet", windows)
    assert (answers.sources, answers.causes) == (["model", "none"], ["none", "implausible"])
    assert np.isnan(answers.mbps[1])
    other = own.forecast("internet", windows[[1, 0]])  # row 0 has had a good one before
    assert other.sources == ["last", "model"]
    np.testing.assert_array_equal(other.mbps, raw[[0, 0]])
    late = own.forecast("internet", windows[1], deadline_ms=1e-6)
    assert (late.source, late.cause, late.mbps[0]) == ("last", "deadline", raw[0])


def test_a_fallback_answers_by_its_own_name(engine):
    calendar = [0.0, 1.0, 0.0, 1.0]
    answer = engine.forecast("streaming_fallback", calendar)
    assert (answer.source, answer.mbps) == ("fallback", engine.forecast_raw("streaming_fallback", calendar))


def test_groups_forecast_together_as_they_do_alone(engine):
    windows = {group: random_windows(engine, group, 3, seed=6) for group in ("streaming", "gaming", "software")}
    answers = engine.forecast_many(windows)
    assert list(answers) == ["streaming", "gaming", "software"]
    for group, answer in answers.items():
        assert isinstance(answer, linkcast.Answers)
        np.testing.assert_array_equal(answer.mbps, engine.forecast_raw(group, windows[group]))
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
    answer = broken.forecast_many({"streaming": windows})["streaming"]
    next_hour = [math.sin(2 * math.pi * 19 / 24), math.cos(2 * math.pi * 19 / 24), *calendar[2:]]
    expected = engine.forecast_raw("streaming_fallback", [next_hour, next_hour])
    assert answer.source == "fallback"
    np.testing.assert_allclose(answer.mbps, expected, rtol=1e-6)


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


@pytest.mark.parametrize("batch", [1, 5])
def test_logarithms_and_references_are_applied_as_numpy_does_it(edit, batch):
    own = linkcast.Engine.load(edit("scalers", lambda scalers: scalers["models"].update(internet_lstm=TRANSFORMS)))
    windows = random_telemetry(own, "internet", batch, 10, seed=21)
    scaled = scaled_windows(windows, TRANSFORMS["features"])
    np.testing.assert_allclose(own.scaler("internet_lstm").transform(windows), scaled, rtol=0, atol=2e-6)
    outputs = own.model("internet_lstm").predict(scaled.astype(np.float32))[:, 0].astype(np.float64)
    expected = physical_target(outputs, windows[:, -1, BANDWIDTH], TRANSFORMS["target"])
    for dtype in (np.float64, np.float32):  # of the windows; a float32 window is another one by a few 1e-7
        forecasts = own.forecast_raw("internet", windows.astype(dtype))
        np.testing.assert_allclose(forecasts, expected, rtol=2e-5 if dtype == np.float32 else 2e-6)
    answers = own.forecaster_pool(plausible_margin=1e9).forecast({"internet": windows})
    np.testing.assert_allclose(answers["internet"].mbps, expected, rtol=2e-6)
    own.model("internet_lstm").batch_input(batch)[...] = scaled
    np.testing.assert_allclose(own.forecast_batch("internet", windows[:, -1, BANDWIDTH]), expected, rtol=2e-6)


WRONG_TRANSFORMS = [
    ("internet_lstm", "latency_ms", {"log_offset": 0.0}, r"latency_ms\.log_offset: expected a number above 0, got 0"),
    ("internet_lstm", "latency_ms", {"log_offset": "1"}, r"latency_ms\.log_offset: expected a number, got"),
    ("internet_lstm", "latency_ms", {"relative_to": "last"}, r'latency_ms\.relative_to: expected "first", got "last"'),
    ("internet_lstm", "latency_ms", {"relative_to": None}, r"latency_ms\.relative_to: expected a string, got null"),
    ("internet_lstm", "latency_ms", {"bound": 0.0}, r"latency_ms\.bound: expected a number above 0, got 0"),
    ("internet_lstm", "target", {"bound": "3"}, r"target\.bound: expected a number, got"),
    (
        "internet_lstm",
        "latency_ms",
        {"log": 1.0},
        r"latency_ms\.log: expected min, max, log_offset, relative_to, share",
    ),
    (
        "internet_lstm",
        "packet_loss",
        {"share": 0.5},
        r'packet_loss\.share: expected it beside relative_to "first" only',
    ),
    ("internet_lstm", "target", {"relative_to": "last", "share": 0.5}, r"target\.share: expected it beside"),
    ("internet_lstm", "latency_ms", {"relative_to": "first", "share": 1.5}, r"share: expected a number of at most 1"),
    (
        "internet_ddqn",
        "latency_ms",
        {"relative_to": "first"},
        r"relative_to: expected no such key in a model",
    ),
    ("internet_lstm", "target", {"relative_to": "first"}, r'target\.relative_to: expected "last", got "first"'),
    ("streaming_fallback", "target", {"relative_to": "last"}, r"target\.relative_to: expected no such key: the target"),
    ("internet_lstm", "target", {"log_offset": -1.0}, r"target\.log_offset: expected a number above 0, got -1"),
]


@pytest.mark.parametrize(("model", "place", "keys", "message"), WRONG_TRANSFORMS)
def test_a_wrong_transform_is_refused_with_its_key(edit, model, place, keys, message):
    def change(scalers):
        entry = scalers["models"][model]
        (entry["target"] if place == "target" else entry["features"][place]).update(keys)

    folder = edit("scalers", change)
    with pytest.raises(linkcast.LoadError, match=rf"scalers\.json: models\.{model}\..*{message}"):
        linkcast.Engine.load(folder)


def test_a_logarithm_needs_no_window(edit):
    def change(scalers):
        scalers["models"]["internet_ddqn"]["features"]["latency_ms"] = {"min": 0.0, "max": 8.0, "log_offset": 0.5}
        scalers["models"]["streaming_fallback"]["target"] = {"min": -3.0, "max": 5.0, "log_offset": 0.5}

    folder = edit("scalers", change)
    own = linkcast.Engine.load(folder)
    state = np.array([[30.0, 20.0, 0.01, 0.99]])
    features = scalers_of(own, "internet_ddqn")["features"]
    expected = own.model("internet_ddqn").predict(scaled_windows(state[None], features)[0].astype(np.float32))
    np.testing.assert_allclose(own.q_values("internet", state), expected, rtol=1e-5)
    calendar = np.array([[0.0, 1.0, 0.5, -0.5]])
    scaled = own.model("streaming_fallback").predict(own.scaler("streaming_fallback").transform(calendar))
    expected = np.maximum(np.exp(scaled[:, 0].astype(np.float64) * 8.0 - 3.0) - 0.5, 0.0)
    np.testing.assert_allclose(own.forecast_raw("streaming_fallback", calendar), expected, rtol=1e-5)


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
    assert difference.max() <= 1.2 * error  # the proof compares with TensorFlow Lite, which rounds in its own way
    runs = reduced.model("internet_lstm").kernel_choices()["many" if len(golden) >= 8 else "few"]["runs"]
    assert (difference.max() > 0) == (not runs.startswith("f32"))  # which run where nothing gains
    with pytest.raises(ValueError, match='expected "float32", "bfloat16" or "int8", got "float16"'):
        linkcast.Engine.load(precision="float16")
    refused = f'precision "{precision}" is the native kernels\': backend "tflite" was asked for'
    with pytest.raises(linkcast.LoadError, match=refused):
        linkcast.Engine.load(backend="tflite", precision=precision)


def test_every_bundled_model_runs_on_the_native_kernels(engine: linkcast.Engine) -> None:
    for name in engine.names:
        model = engine.model(name)
        assert model.backend == "native", f"{name}: {model.backend_reason}"


def test_an_engine_that_could_not_be_opened_can_be_shown() -> None:
    assert repr(linkcast.Engine.__new__(linkcast.Engine)) == "Engine(not open)"


def test_a_prepared_model_answers_as_before_and_nothing_is_counted(engine: linkcast.Engine) -> None:
    windows = random_windows(engine, "internet", 3, seed=5)
    expected = engine.forecast("internet", windows)
    for name in ("internet", "streaming_fallback", "internet_ddqn"):
        counted = engine.stats(engine.resolve(name, "forecaster") if name == "internet" else name)
        for _ in range(3):
            engine.prepare(name)
        assert engine.stats(engine.resolve(name, "forecaster") if name == "internet" else name) == counted
    assert np.array_equal(engine.forecast("internet", windows).mbps, expected.mbps)
    with pytest.raises(ValueError, match='got "nobody"'):
        engine.prepare("nobody")


@pytest.mark.parametrize("backend", ["native", "tflite"])
def test_what_is_prepared_leaves_every_view_as_it_was(backend: str) -> None:
    engine = linkcast.Engine(backend=backend)
    controller = engine.controller("internet", capacity_mbps=100)
    streams = [engine.stream(name, rows=3) for name in ("internet", "streaming")]
    for stream in streams:
        stream.push([[20.0, 12.0, 0.001, 0.99, *[0.5] * (stream.features - 4)]] * 3)
    controller.tick([20.0, 12.0, 0.001, 0.99], now_s=0)
    views = {}
    for k, name in enumerate(engine.names):
        model = engine.model(name)
        model.batch_input(20)[...] = k + 0.25
        views[name] = (model.input, model.output, model.batch_input(20), model.invoke_batch(20))
        model.input[...] = k + 0.5
        model.output[...] = k + 0.75
    before = {name: [view.copy() for view in of] for name, of in views.items()}
    prepared = [*(lambda name=name: engine.prepare(name) for name in engine.names), controller.prepare]
    for prepare in [*prepared, *(stream.prepare for stream in streams)]:
        for _ in range(2):  # the first makes what the others use
            prepare()
        for name, of in views.items():
            for view, kept in zip(of, before[name], strict=True):
                assert np.array_equal(view, kept), (name, view.shape)
