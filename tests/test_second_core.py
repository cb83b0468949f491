"""One window on two cores, opt-in: the numbers of one core, and what is said of it."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys

import pytest

import linkcast
from telemetry import random_telemetry

SAID = re.compile(
    r"two cores: a window takes [\d.]+ us, and [\d.]+ us on one"
    r"|one core: a window takes [\d.]+ us, and [\d.]+ us on two"
    r"|one core: the helper was late in every window"
)


def test_an_engine_on_two_cores_forecasts_what_one_core_does_bit_for_bit(engine: linkcast.Engine) -> None:
    for place in ("any", min(os.sched_getaffinity(0))):
        shared = linkcast.Engine(second_core=place, helper_spin_us=20000)
        for name in shared.names:
            said = shared.model(name).second_core
            if shared.spec(name)["role"] == "forecaster":
                assert SAID.fullmatch(said), said
            else:
                assert said == ""
        windows = random_telemetry(engine, "internet", 200, 10, seed=3)
        for window in windows:
            assert shared.forecast_raw("internet", window) == engine.forecast_raw("internet", window)
        assert (shared.forecast_raw("internet", windows) == engine.forecast_raw("internet", windows)).all()


def test_nothing_is_said_where_nothing_was_asked(engine: linkcast.Engine) -> None:
    assert {engine.model(name).second_core for name in ("internet_lstm", "internet_ddqn")} == {""}


@pytest.mark.parametrize("place", ["cpu1", -1, 1 << 20, "1.5", True])
def test_a_cpu_that_is_none_is_refused_with_those_that_there_are(place: object) -> None:
    expected = r'second_core: expected "any" or a CPU that this process may run on \(\d.*\), got "' + re.escape(
        str(place)
    )
    with pytest.raises(ValueError, match=expected):
        linkcast.Engine(second_core=place)  # type: ignore[arg-type]


@pytest.mark.parametrize("spin_us", [0, 60_000_001])
def test_a_spin_out_of_range_is_refused(spin_us: int) -> None:
    with pytest.raises(ValueError, match=f"helper_spin_us: expected 1 to 60000000, got {spin_us}"):
        linkcast.Engine(second_core="any", helper_spin_us=spin_us)


def test_tensorflow_lites_backend_is_refused_a_second_core(engine: linkcast.Engine) -> None:
    with pytest.raises(ValueError, match='second_core: expected none with backend "tflite", got "any"'):
        linkcast.Model(engine.model("internet_lstm").path, "tflite", second_core="any")


def test_copies_of_a_model_and_an_engine_ask_for_the_same_core(engine: linkcast.Engine) -> None:
    model = linkcast.Model(engine.model("internet_lstm").path, second_core="any")
    for other in (copy.copy(model), pickle.loads(pickle.dumps(model))):
        assert SAID.fullmatch(other.second_core)
    shared = copy.copy(linkcast.Engine(second_core="any"))
    assert SAID.fullmatch(shared.model("internet_lstm").second_core)


def test_what_a_pinned_caller_copies_keeps_its_second_core(engine: linkcast.Engine) -> None:
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("one CPU alone")
    shared = linkcast.Engine(second_core=max(cpus))
    os.sched_setaffinity(0, {min(cpus)})
    try:
        for copied in (copy.copy(shared), pickle.loads(pickle.dumps(shared))):
            assert SAID.fullmatch(copied.model("internet_lstm").second_core)
    finally:
        os.sched_setaffinity(0, cpus)


def test_a_process_ends_while_its_helper_looks_for_work() -> None:
    program = """
import linkcast
engine = linkcast.Engine(second_core="any", helper_spin_us=60_000_000)
engine.forecast("internet", [[28.0, 12.5, 0.001, 0.998]] * 10)
print("done")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
