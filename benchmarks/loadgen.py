"""MLPerf LoadGen drives the LSTM: SingleStream, MultiStream, Server and Offline.

    pip install '.[peers]' && python benchmarks/loadgen.py [--output loadgen] [--seconds 10]

LoadGen makes the queries, times them and judges the run; its own files stay in OUTPUT/<scenario>/, the verdict in
mlperf_log_summary.txt. Percentiles and streams are those of MLPerf Inference; the runs are shorter (600 s there), and
the server's latency bound is linkcast's budget for a forecast. These are this project's figures, not verified by
MLCommons. On a machine that does other work, give it the priority that a controller has: `chrt -f 10 python ...`.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlperf_loadgen as loadgen
import numpy as np

import linkcast

SAMPLES = 1024
STREAMS = 8  # samples of a MultiStream query, MLPerf's number
OFFLINE_BATCH = 100
BUDGET_MS = 5
SUMMARY = {  # the line of LoadGen's summary that is the scenario's metric
    "SingleStream": "90.0th percentile latency (ns)",
    "MultiStream": "99.0th percentile latency (ns)",
    "Server": "99.00 percentile latency (ns)",
    "Offline": "Samples per second",
}


class System:
    """The LSTM as LoadGen's system under test: answers each query before it returns."""

    def __init__(self, name: str) -> None:
        path = linkcast.Engine.load().model(name).path
        self.model = linkcast.Model(path)
        random = np.random.default_rng(1)
        self.windows = random.uniform(size=(SAMPLES, *self.model.input_shape[1:])).astype(np.float32)
        expected = linkcast.Model(path, backend="tflite").predict(self.windows)
        np.testing.assert_allclose(self.model.predict(self.windows), expected, rtol=1e-5, atol=1e-5)

    def answer(self, queries: list[loadgen.QuerySample]) -> None:
        for first in range(0, len(queries), OFFLINE_BATCH):
            part = queries[first : first + OFFLINE_BATCH]
            answers = self.forecast([query.index for query in part])
            size = answers.itemsize * answers[0].size
            loadgen.QuerySamplesComplete(
                [
                    loadgen.QuerySampleResponse(query.id, answers.ctypes.data + k * size, size)
                    for k, query in enumerate(part)
                ]
            )

    def forecast(self, indices: list[int]) -> np.ndarray:
        if len(indices) == 1:
            self.model.input[0] = self.windows[indices[0]]
            self.model.invoke()
            return self.model.output
        np.take(self.windows, indices, axis=0, out=self.model.batch_input(len(indices)))
        return self.model.invoke_batch(len(indices))

    def median_s(self, batch: int) -> float:
        """Of a forecast of `batch` windows: what LoadGen has to expect so that it makes enough queries."""
        times = []
        for _ in range(200):
            start = time.perf_counter()
            self.forecast(list(range(batch)))
            times.append(time.perf_counter() - start)
        return float(np.median(times))


def settings_of(scenario: str, system: System, seconds: float) -> loadgen.TestSettings:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(seconds * 1000)
    settings.performance_sample_count_override = SAMPLES
    if scenario == "SingleStream":
        settings.single_stream_expected_latency_ns = round(system.median_s(1) * 1e9)
        settings.single_stream_target_latency_percentile = 0.9
        settings.min_query_count = 100
    elif scenario == "MultiStream":
        settings.multi_stream_samples_per_query = STREAMS
        settings.multi_stream_expected_latency_ns = round(system.median_s(STREAMS) * 1e9)
        settings.multi_stream_target_latency_percentile = 0.99
        settings.min_query_count = 662  # the least with which a 99th percentile can be stated
    elif scenario == "Server":
        settings.server_target_qps = 1000  # a controller of a thousand links, one forecast of each in a second
        settings.server_target_latency_ns = BUDGET_MS * 1_000_000
        settings.server_target_latency_percentile = 0.99
        settings.min_query_count = 100
    else:
        # LoadGen makes this rate times the run's length, and a tenth more; the run has to last its length.
        settings.offline_expected_qps = 1.3 * OFFLINE_BATCH / system.median_s(OFFLINE_BATCH)
        settings.min_query_count = 1
    return settings


def run(scenario: str, system: System, seconds: float, output: Path) -> str:
    """LoadGen's summary."""
    output.mkdir(parents=True, exist_ok=True)
    files = loadgen.LogOutputSettings()
    files.outdir = str(output)
    logs = loadgen.LogSettings()
    logs.log_output = files
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    sut = loadgen.ConstructSUT(system.answer, nothing)
    samples = loadgen.ConstructQSL(SAMPLES, SAMPLES, nothing, nothing)
    loadgen.StartTestWithLogSettings(sut, samples, settings_of(scenario, system, seconds), logs)
    loadgen.DestroyQSL(samples)
    loadgen.DestroySUT(sut)
    return (output / "mlperf_log_summary.txt").read_text(encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("loadgen"), help="folder for LoadGen's files")
    parser.add_argument("--seconds", type=float, default=10, help="least length of each run")
    parser.add_argument("--model", default="internet_lstm")
    parser.add_argument("--scenarios", nargs="+", choices=SUMMARY, default=list(SUMMARY))
    options = parser.parse_args()

    system = System(options.model)
    print(
        f"{options.model} on linkcast's {system.model.backend} {system.model.isa} kernels, runs of {options.seconds} s"
    )
    valid = True
    for scenario in options.scenarios:
        summary = run(scenario, system, options.seconds, options.output / scenario)
        fields = dict(re.findall(r"^\s*(.+?)\s*: (.+?)\s*$", summary, re.MULTILINE))
        metric = SUMMARY[scenario]
        value = fields[metric]
        shown = f"{float(value) / 1000:,.1f} us" if metric.endswith("(ns)") else f"{float(value):,.0f}"
        print(f"{scenario:13s} {fields['Result is']:8s} {metric.removesuffix(' (ns)')}: {shown}", flush=True)
        valid &= fields["Result is"] == "VALID"
    return 0 if valid else 1


if __name__ == "__main__":
    sys.exit(main())
