"""What only Python has: importing, the first prediction of a process, calls through the bindings."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import numpy as np

from linkcast.engine import Engine
from linkcast.predictor import BandwidthPredictor

_SECONDS = 0.3  # for each call
_LEAST_CALLS = 20
_PROCESSES = 5
_START = """
from time import perf_counter_ns
start = perf_counter_ns()
import linkcast
imported = perf_counter_ns()
linkcast.BandwidthPredictor({folder!r}).predict("2026-03-02 20:00", "Streaming")
print(imported - start, perf_counter_ns() - start)
"""


def measure_python(folder: str | None = None) -> dict[str, Any]:
    """The certificate's "python".

    Args:
        folder: a bundle; None: the one that ships with linkcast.
    """
    starts = [start_times_ms(folder) for _ in range(_PROCESSES)]
    return {
        "version": platform.python_version(),
        "numpy": np.__version__,
        "import_ms": [imported for imported, _ in starts],
        "first_prediction_ms": [predicted for _, predicted in starts],
        "calls_us": {name: _times_us(call) for name, call in python_calls(folder).items()},
    }


def start_times_ms(folder: str | None = None) -> tuple[float, float]:
    """What `import linkcast` takes in a fresh process, and the first prediction with all before it, in ms."""
    code = _START.format(folder=os.fspath(folder) if folder is not None else None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, predicted = map(int, done.stdout.split())
    return imported / 1e6, predicted / 1e6


def python_calls(folder: str | None = None) -> dict[str, Callable[[], object]]:
    """Calls that users make, by what they are called, ready to be repeated."""
    engine = Engine(folder)
    predictor = BandwidthPredictor(folder)
    window = np.tile([30.0, 12.0, 0.002, 0.995], (10, 1))
    windows = np.tile(window, (100, 1, 1))
    return {
        'engine.forecast("internet", window)': lambda: engine.forecast("internet", window),
        'engine.forecast("internet", 100 windows)': lambda: engine.forecast("internet", windows),
        'engine.decide("internet", state)': lambda: engine.decide("internet", window[-1]),
        "predictor.predict(time, group)": lambda: predictor.predict("2026-03-02 20:00", "Streaming"),
        "predictor.predict_all_groups(time)": lambda: predictor.predict_all_groups("2026-03-02 20:00"),
    }


def _times_us(call: Callable[[], object]) -> dict[str, float]:
    for _ in range(3):
        call()
    times: list[int] = []
    end = perf_counter_ns() + int(_SECONDS * 1e9)
    while len(times) < _LEAST_CALLS or perf_counter_ns() < end:
        start = perf_counter_ns()
        call()
        times.append(perf_counter_ns() - start)
    us = np.asarray(times) / 1e3
    p50, p90 = np.percentile(us, [50, 90])
    return {"samples": len(times), "p50": float(p50), "p90": float(p90), "max": float(us.max())}
