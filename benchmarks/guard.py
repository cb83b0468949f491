"""Fails when linkcast has become slower, on a machine that may be busy.

    python benchmarks/guard.py

Times are compared only as ratios, with TensorFlow Lite on the same file and in turns with it, against generous bounds.
The kernels are also counted instruction by instruction (instructions.py), which finds what a ratio hides; that needs
valgrind, cmake and g++ 12 and is skipped by name where they are missing. Takes about a minute, half of it the build.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import linkcast

ROOT = Path(__file__).parent.parent
ROUNDS = 1000
# linkcast's median over TensorFlow Lite's. Measured on AVX-512: 0.28, 0.16, 0.6; with AVX2 0.36 for the first.
BOUNDS = {("internet_lstm", 1): 0.55, ("internet_lstm", 100): 0.35, ("internet_ddqn", 1): 0.95}


def call_of(model: linkcast.Model, windows: np.ndarray) -> Callable[[], object]:
    """One call that computes the answers to `windows`, (batch, ...), which stand in the model's memory already."""
    if len(windows) == len(model.input):
        model.input[...] = windows
        return model.invoke
    model.batch_input(len(windows))[...] = windows
    return lambda: model.invoke_batch(len(windows))


def ratio(name: str, batch: int) -> float:
    """Median processor time of a call over TensorFlow Lite's, taking turns; waiting for a processor is left out."""
    path = linkcast.Engine.load().model(name).path
    models = [linkcast.Model(path, backend=backend) for backend in ("native", "tflite")]
    windows = np.random.default_rng(1).uniform(size=(batch, *models[0].input_shape[1:])).astype(np.float32)
    ours, theirs = (model.predict(windows) for model in models)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)  # model.cpp's proof at load is the strict one
    calls = [call_of(model, windows) for model in models]
    times: list[list[int]] = [[], []]
    repeats = 20 if name.endswith("ddqn") else 1  # reading the clock takes some 0.3 us
    for _ in range(ROUNDS // batch + 20):
        for call, seen in zip(calls, times, strict=True):
            call()  # the other one has used the caches
            start = time.thread_time_ns()
            for _ in range(repeats):
                call()
            seen.append(time.thread_time_ns() - start)
    return statistics.median(times[0]) / statistics.median(times[1])


def ratios_hold() -> bool:
    good = True
    for (name, batch), bound in BOUNDS.items():
        value = ratio(name, batch)
        verdict = "ok" if value <= bound else "SLOWER"
        print(f"{name}, batch {batch}: {value:.3f} of TensorFlow Lite's time, at most {bound}: {verdict}", flush=True)
        good &= value <= bound
    return good


def counts_hold() -> bool:
    missing = [tool for tool in ("valgrind", "cmake", "ninja", "g++", "readelf") if not shutil.which(tool)]
    if missing:
        print(f"SKIPPED: instruction counts, no {', '.join(missing)}")
        return True
    with tempfile.TemporaryDirectory() as folder:
        options = ["-G", "Ninja", "-DLINKCAST_BUILD_BENCH=ON", f"-DPython_EXECUTABLE={sys.executable}"]
        subprocess.run(["cmake", "-S", ROOT, "-B", folder, *options], check=True, stdout=subprocess.DEVNULL)
        build = ["cmake", "--build", folder, "--target", "kernel-calls"]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        count = [sys.executable, ROOT / "benchmarks" / "instructions.py", "x86", f"{folder}/cpp/bench/kernel-calls"]
        return subprocess.run(count, check=False).returncode == 0


if __name__ == "__main__":
    held = [ratios_hold(), counts_hold()]
    sys.exit(0 if all(held) else 1)
