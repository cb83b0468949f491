"""What works beside NumPy alone: run by test_light.py with all else hidden, and by .ci/run where nothing else is.

Reads trace.csv.gz of the present folder, or makes one; prints what came out as JSON.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np

import linkcast
from linkcast.evaluation import evaluate_trace
from linkcast.replay import replay

if not Path("trace.csv.gz").exists():
    rates = np.random.default_rng(0).uniform(5, 40, 60).round(3)
    rows = "".join(f"2026-03-02T18:00:{second:02d},{rate}\n" for second, rate in enumerate(rates))
    Path("trace.csv.gz").write_bytes(gzip.compress(f"timestamp,bandwidth_mbps\n{rows}".encode()))

engine = linkcast.Engine.load()
trace = linkcast.read_trace("trace.csv.gz")
result = replay(engine, trace).report()
stream = engine.stream("internet")
for row in trace.features[:12]:
    pushed = stream.push(row)
controller = engine.controller("internet", capacity_mbps=100.0)
for row in trace.features[:12]:
    allocation = controller.tick(row)
predictor = linkcast.BandwidthPredictor()
series = predictor.generate_time_series_predictions("2026-03-02T00:00", "2026-03-02T05:00", as_numbers=True)
print(
    json.dumps(
        {
            "rows": len(trace),
            "replay": result["accuracy"]["model"]["mae"],
            "evaluation": evaluate_trace(engine, "internet", trace)["model"]["mae"],
            "pushed": float(pushed),
            "allocation": float(getattr(allocation, "allocation_mbps", 0.0)),
            "predicted": [entry["predictions"]["Gaming"]["predicted_bandwidth_mbps"] for entry in series],
            "loaded": sorted({"numba", "pyarrow", "rich", "typer"} & {name.partition(".")[0] for name in sys.modules}),
        }
    )
)
