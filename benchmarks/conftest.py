"""What the suites share: the bundled engine, telemetry, budgets as figures of the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import linkcast
from linkcast.bench import machine

LEAST_FOR = {50.0: 5, 99.0: 100, 99.9: 1000}  # calls that have to stand behind a percentile


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """The machine as the certificate describes it, in the saved report."""
    machine_info.pop("node", None)
    machine_info["linkcast"] = machine()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Each budget, as far as it was measured, below the tables."""
    session = getattr(config, "_benchmarksession", None)
    for benchmark in session.benchmarks if session else ():
        info = benchmark.extra_info
        if "budget_ms" in info:
            kept = "kept" if info["within_budget"] else "MISSED"
            terminalreporter.write_line(
                f"budget {kept}: {benchmark.name}: {info['figure']} of {info['calls']} calls "
                f"{info['figure_ms']:.4g} ms, budget {info['budget_ms']:g} ms"
            )
        if "times_native" in info:
            kept = "kept" if info["times_native"] <= info["most_times_native"] else "MISSED"
            terminalreporter.write_line(
                f"budget {kept}: {benchmark.name}: {info['times_native']:.3f} times the native call, "
                f"budget {info['most_times_native']:g}"
            )


@pytest.fixture(scope="session")
def engine() -> linkcast.Engine:
    """The bundled models, native where they can be."""
    return linkcast.Engine.load()


@pytest.fixture(scope="session")
def reference() -> linkcast.Engine:
    """The same models on TensorFlow Lite: what results are checked against."""
    return linkcast.Engine.load(backend="tflite")


@pytest.fixture(scope="session")
def windows() -> np.ndarray:
    """(100, 10, 4) plausible telemetry, sliding by one step."""
    random = np.random.default_rng(1)
    low, high = [25.0, 8.0, 0.0, 0.98], [40.0, 14.0, 0.01, 1.0]
    series = random.uniform(low, high, (109, 4))
    return np.stack([series[start : start + 10] for start in range(100)])


@pytest.fixture
def report_ratio(benchmark: Any) -> Callable[[Callable[[], Any], Callable[[], Any], float], None]:
    """report_ratio(call, native, most), after the timing: puts how many times as long a call takes as the native one
    in the report: the median over pairs of calls, one after the other, so that a loaded machine slows both."""

    def report(call: Callable[[], Any], native: Callable[[], Any], most: float) -> None:
        ratios = []
        for _ in range(2000):
            times = []
            for one in (native, call):
                start = time.perf_counter_ns()
                one()
                times.append(time.perf_counter_ns() - start)
            ratios.append(times[1] / times[0])
        benchmark.extra_info.update({"times_native": float(np.median(ratios)), "most_times_native": most})

    return report


@pytest.fixture
def report_budget(benchmark: Any) -> Callable[[float, float], None]:
    """report_budget(ms, percentile), after the timing: puts the figure and whether it keeps the budget in the report.

    With fewer calls than the percentile needs, the longest stands for it.
    """

    def report(budget_ms: float, percentile: float) -> None:
        times_ms = 1e3 * np.asarray(benchmark.stats.stats.data)
        enough = len(times_ms) >= LEAST_FOR[percentile]
        figure = float(np.percentile(times_ms, percentile)) if enough else float(times_ms.max())
        benchmark.extra_info.update(
            {
                "budget_ms": budget_ms,
                "figure": f"p{percentile:g}" if enough else "max",
                "figure_ms": figure,
                "calls": len(times_ms),
                "within_budget": figure < budget_ms,
            }
        )

    return report
