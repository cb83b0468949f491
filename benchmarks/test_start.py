"""What a process takes until it can predict: each sample is a process of its own, timed from within."""

from __future__ import annotations

import pytest

from linkcast.bench.python_calls import start_times_ms

PROCESSES = 5


@pytest.mark.benchmark(group="start")
def test_import_and_first_prediction(benchmark):
    imports, predictions = [], []

    def start() -> None:
        imported, predicted = start_times_ms()
        assert 0 < imported < predicted
        imports.append(imported)
        predictions.append(predicted)

    benchmark.pedantic(start, rounds=PROCESSES)  # the whole process, with the interpreter's own start
    benchmark.extra_info["import_ms"] = sorted(imports)
    benchmark.extra_info["first_prediction_ms"] = sorted(predictions)
