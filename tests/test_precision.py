"""Reduced precision: streams and controllers on it, the choice of kernels, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import linkcast
from telemetry import random_telemetry

# Of scaled outputs, in units of the largest magnitude in the window: what the proof at load allows, as
# docs/howto/precision.md says.
TOLERANCE = {"bfloat16": 2e-2, "int8": 5e-2}
PREFIX = {"bfloat16": "bf16", "int8": "int8"}
REDUCED = sorted(TOLERANCE)


def tables_of(precision: str) -> list[str]:
    """The kernels of a precision on this CPU."""
    measured = linkcast.Engine(precision=precision).model("internet_lstm").kernel_choices()["step"]["us"]
    return [name for name in measured if name.startswith(PREFIX[precision])]


def bracket(engine: linkcast.Engine, name: str, scaled: float, newest: float, within: float) -> tuple[float, float]:
    """Mbit/s of a scaled output a little smaller, and a little larger."""
    scaler = engine.target_scaler(name)
    assert scaler is not None
    ends = np.array([[scaled - within], [scaled + within]], np.float32)
    low, high = scaler.inverse_transform(ends, np.full((2, 1), newest))[:, 0]
    return float(low), float(high)


@pytest.mark.parametrize("precision", REDUCED)
def test_a_streams_golden_ticks_are_within_the_precisions_tolerance_of_tensorflow(precision: str) -> None:
    for kernels in tables_of(precision):
        engine = linkcast.Engine(precision=precision, kernels=kernels)
        compared = 0
        for name in (name for name in engine.names if engine.spec(name)["role"] == "forecaster"):
            assert engine.model(name).kernels == kernels
            golden = engine.manifest["models"][name]["golden"]
            stream = engine.stream(engine.spec(name)["serves"], mixture=False)
            column = engine.spec(name)["features"].index(engine.spec(name)["target"] or "")
            for inputs, window, (output,) in zip(
                golden["inputs"], golden["physical"]["inputs"], golden["outputs"], strict=True
            ):
                stream.reset()
                answer = [stream.push(sample) for sample in window][-1]
                if answer is None or answer.source != "model":
                    continue  # not plausible, says the safeguard: that is not what is compared
                whole = engine.forecast_raw(name, np.array([window]))[0]
                unit = max(1.0, abs(output), np.abs(inputs).max())
                low, high = bracket(engine, name, output, window[-1][column], TOLERANCE[precision] * unit)
                assert low <= answer.mbps <= high, (name, kernels)
                # The whole window at the same precision: sums in another order, which may turn a rounding.
                scaled = np.array([[1e-3 * unit]], np.float32)
                low, high = bracket(engine, name, output, window[-1][column], float(scaled[0, 0]))
                assert abs(answer.mbps - whole) <= (high - low) / 2 + 1e-6, (name, kernels)
                compared += 1
        assert compared > 20


@pytest.mark.parametrize("precision", REDUCED)
def test_a_row_of_a_stream_has_the_bits_of_a_stream_of_its_own_at_reduced_precision(precision: str) -> None:
    for kernels in tables_of(precision):
        engine = linkcast.Engine(precision=precision, kernels=kernels)
        samples = random_telemetry(engine, "internet", 128, 12, seed=3)
        together = engine.stream("internet", rows=128, mixture=False)
        nine = engine.stream("internet", rows=9, mixture=False)
        alone = engine.stream("internet", mixture=False)
        for tick in range(samples.shape[1]):
            all_rows = together.push(samples[:, tick])
            some = nine.push(samples[40:49, tick])
            one = alone.push(samples[44, tick])
            np.testing.assert_array_equal(some.mbps, all_rows.mbps[40:49])
            if one is not None:
                assert one.mbps == all_rows.mbps[44] == some.mbps[4]


@pytest.mark.parametrize("precision", REDUCED)
def test_a_controller_at_reduced_precision_forecasts_what_its_stream_does(precision: str) -> None:
    engine = linkcast.Engine(precision=precision)
    stream = engine.stream("internet")
    controller = engine.controller("internet", capacity_mbps=100.0)
    exact = linkcast.Engine().controller("internet", capacity_mbps=100.0)
    for sample in random_telemetry(engine, "internet", 30, seed=4):
        answer, decision, plain = stream.push(sample), controller.tick(sample), exact.tick(sample)
        if answer is not None and decision.forecast is not None and plain.forecast is not None:
            assert decision.forecast.mbps == answer.mbps
            assert decision.forecast.mbps == pytest.approx(plain.forecast.mbps, rel=0.1)


def test_float32_is_the_same_to_the_bit_whatever_is_chosen() -> None:
    plain = linkcast.Engine()
    windows = random_telemetry(plain, "internet", 40, 10, seed=5)
    model = plain.model("internet_lstm")
    forced = linkcast.Engine(kernels=model.step_kernels)
    reduced = linkcast.Engine(precision="int8", kernels=model.step_kernels)
    assert "float32 kernels were asked for" in reduced.model("internet_lstm").backend_reason
    for batch in (1, 5, 40):
        expected = plain.forecast_raw("internet", windows[:batch])
        np.testing.assert_array_equal(forced.forecast_raw("internet", windows[:batch]), expected)
        np.testing.assert_array_equal(reduced.forecast_raw("internet", windows[:batch]), expected)


def test_the_choice_and_its_figures_can_be_read_and_a_second_engine_makes_the_same() -> None:
    first, second = (linkcast.Engine(precision="bfloat16").model("internet_lstm") for _ in range(2))
    choices = first.kernel_choices()
    assert list(choices) == ["step", "window", "few", "many"]
    assert choices == second.kernel_choices()  # not measured again: the figures are the same, too
    for choice in choices.values():
        assert choice["runs"] in choice["us"]
        reduced = {name: us for name, us in choice["us"].items() if name.startswith("bf16")}
        plain = min(us for name, us in choice["us"].items() if name.startswith("f32"))
        if choice["runs"] in reduced:
            assert reduced[choice["runs"]] <= 0.97 * plain
        else:
            assert "bfloat16 does not gain on this CPU" in first.backend_reason
            assert choice["runs"].startswith("f32")
    assert first.step_kernels == choices["step"]["runs"]
    allocator = linkcast.Engine(precision="bfloat16").model("internet_ddqn")
    assert allocator.kernels.startswith("f32")


def test_kernels_that_are_not_there_are_refused_by_name() -> None:
    isa = linkcast.Engine().model("internet_lstm").isa
    with pytest.raises(ValueError, match=rf'kernels: expected one of those that run here on {isa}, .*got "bf16_amz"'):
        linkcast.Engine(kernels="bf16_amz")
    reduced = tables_of("int8")[0]
    with pytest.raises(ValueError, match=f'expected some of bfloat16 or float32, as .* says; got "{reduced}"'):
        linkcast.Engine(precision="bfloat16", kernels=reduced)
    with pytest.raises(ValueError, match="expected some of float32"):
        linkcast.Model(linkcast.Engine().model("internet_lstm").path, kernels=reduced)
    for kernels in (reduced, "bf16_amz"):
        with pytest.raises(ValueError, match=f'kernels: expected none with backend "tflite", got "{kernels}"'):
            linkcast.Engine(backend="tflite", kernels=kernels)


def run_with(kernels: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LINKCAST_KERNELS": kernels},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_forces_kernels_on_models_of_their_precision() -> None:
    wanted = tables_of("bfloat16")[-1]
    code = """
import linkcast
for precision in ("float32", "bfloat16", "int8"):
    print(linkcast.Engine(precision=precision).model("internet_lstm").kernels)
"""
    done = run_with(wanted, code)
    assert done.returncode == 0, done.stderr
    plain, bfloat16, int8 = done.stdout.splitlines()
    assert plain.startswith("f32_")
    assert bfloat16 == wanted
    assert wanted not in int8
    done = run_with("f32_amz", "import linkcast; linkcast.Engine()")
    assert "ValueError: LINKCAST_KERNELS: kernels: expected one of" in done.stderr
    assert 'got "f32_amz"' in done.stderr
