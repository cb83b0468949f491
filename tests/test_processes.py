"""Threads, processes, interpreters and signals: linkcast is answered, or refuses, and never hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import linkcast


def python(code: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout_s, check=False)


def test_a_sub_interpreter_is_refused_with_an_import_error() -> None:
    done = python("""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
try:
    import linkcast._native
except ImportError as error:
    print("refused:", error)
'''
interpreters.run_string(interpreters.create(), code)
""")
    assert "sub-interpreter" in done.stdout, done.stderr


def test_a_child_of_fork_predicts_with_tensorflow_lites_threads_and_with_groups_of_threads() -> None:
    done = python("""
import os, signal, sys
import numpy as np
import linkcast
engine = linkcast.Engine.load()
model = linkcast.Model(engine.folder + "/models/gaming_fallback.tflite", backend="tflite", threads=2)
x = np.full((2, *model.input_shape[1:]), 0.25, np.float32)
groups = engine.forecaster_pool(threads=3)
windows = {"internet": np.full((10, 4), 0.5), "datacenter": np.full((10, 4), 0.5)}
expected = model.predict(x)
groups.forecast(windows)
child = os.fork()
if child == 0:
    signal.alarm(30)
    groups.forecast(windows)
    os._exit(0 if np.array_equal(model.predict(x), expected) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")
    assert done.returncode == 0, (done.returncode, done.stderr)


@pytest.mark.parametrize("call", ["model.predict(x)", "engine.forecast('internet', w)", "stream.push(w[0])", "load()"])
def test_python_ends_while_daemon_threads_are_inside_a_call(call: str) -> None:
    done = python(f"""
import threading, time
import numpy as np
import linkcast
load = linkcast.Engine.load
def loop():
    engine = load()
    model = engine.model("internet_lstm")
    stream = engine.stream("internet", rows=256)
    x = np.full((400, *model.input_shape[1:]), 0.25, np.float32)
    w = np.full((400, *model.input_shape[1:]), 0.5)
    began.release()
    while True:
        {call.replace("w[0]", "w[:256, 0]")}
began = threading.Semaphore(0)
for _ in range(3):
    threading.Thread(target=loop, daemon=True).start()
for _ in range(3):
    began.acquire()
time.sleep(0.05)
print("ends")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")


@pytest.mark.parametrize("call", ["predict", "forecast_raw", "decide"])
def test_control_c_ends_a_long_call_between_two_parts(call: str) -> None:
    engine = linkcast.Engine.load(backend="tflite")
    model = engine.model("internet_lstm")
    rows = 20_000_000  # hours of work, in memory that is never touched
    window = np.broadcast_to(np.float32(0.5), (1, 10, 4))
    calls = {
        "predict": lambda: [model.predict(np.repeat(window, 200_000, axis=0)) for _ in range(rows // 200_000)],
        "forecast_raw": lambda: engine.forecast_raw("internet", np.repeat(window, rows // 100, axis=0)),
        "decide": lambda: [engine.decide("internet", np.full((2_000_000, 4), 0.5)) for _ in range(10)],
    }
    timer = threading.Timer(1.0, signal.raise_signal, [signal.SIGINT])
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        calls[call]()
    assert time.monotonic() - begin < 30  # hours without an interruption; how soon is for a benchmark
    # The model is free again.
    assert np.isfinite(model.predict(window[0])).all()


def test_parts_give_what_one_call_gives() -> None:
    random = np.random.default_rng(4)
    for backend in ("auto", "tflite"):
        engine = linkcast.Engine.load(backend=backend)
        windows = random.uniform(0.1, 1.0, (300, 10, 4)).astype(np.float32)
        apart = np.concatenate([engine.forecast_raw("internet", window) for window in windows])
        np.testing.assert_allclose(engine.forecast_raw("internet", windows), apart, rtol=1e-5)
        states = random.uniform(0.1, 1.0, (500, 4))
        apart = np.concatenate([engine.decide("internet", state) for state in states])
        assert np.array_equal(engine.decide("internet", states), apart)


def test_a_bad_row_of_a_long_call_is_named_by_its_number() -> None:
    windows = np.full((1000, 10, 4), 0.5)
    windows[900, 3, 1] = np.nan
    with pytest.raises(ValueError, match="of row 900"):
        linkcast.Engine.load().forecast_raw("internet", windows)
