"""NumPy alone: what works without the other packages, and what is said where one is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import linkcast

# Everything but NumPy, the standard library and linkcast itself is hidden, whatever this environment has.
HIDE = """
import importlib.abc, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top.startswith("_") or top in ("numpy", "linkcast"):
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
for name in [name for name in sys.modules if name.partition(".")[0] in ("numba", "pyarrow", "rich", "typer", "pandas")]:
    del sys.modules[name]
"""

WORK = """
import json
import numpy as np
import linkcast
from linkcast.evaluation import evaluate_trace
from linkcast.replay import replay

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
print(json.dumps({
    "rows": len(trace),
    "replay": result["accuracy"]["model"]["mae"],
    "evaluation": evaluate_trace(engine, "internet", trace)["model"]["mae"],
    "pushed": float(pushed),
    "allocation": float(getattr(allocation, "allocation_mbps", 0.0)),
    "predicted": [entry["predictions"]["Gaming"]["predicted_bandwidth_mbps"] for entry in series],
    "loaded": sorted({"numba", "pyarrow", "rich", "typer"} & {name.partition(".")[0] for name in sys.modules}),
}))
"""


def hidden(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HIDE + code], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import gzip

    rates = np.random.default_rng(0).uniform(5, 40, 60).round(3)
    rows = "".join(f"2026-03-02T18:00:{second:02d},{rate}\n" for second, rate in enumerate(rates))
    (tmp_path / "trace.csv.gz").write_bytes(gzip.compress(f"timestamp,bandwidth_mbps\n{rows}".encode()))
    return tmp_path


def test_numpy_alone_runs_engine_stream_controller_predictor_and_replay(folder):
    import json

    done = hidden(WORK, folder)
    assert done.returncode == 0, done.stderr
    light = json.loads(done.stdout)
    assert light["loaded"] == []
    full = subprocess.run(
        [sys.executable, "-c", "import sys\n" + WORK], cwd=folder, capture_output=True, text=True, check=True
    )
    # The engine's scaler and the compiled kernels may round their sums differently.
    for name, value in json.loads(full.stdout).items():
        if name != "loaded":
            assert light[name] == pytest.approx(value, rel=1e-5), name


def test_without_typer_the_command_line_names_the_extra(folder):
    done = hidden("from linkcast.__main__ import main; sys.argv = ['linkcast', 'groups']; main()", folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "linkcast: the command line needs typer: pip install 'linkcast[cli]'\n"


def test_without_pyarrow_a_parquet_file_names_the_extra(folder):
    (folder / "trace.parquet").write_bytes(b"PAR1")
    done = hidden("import linkcast; linkcast.read_trace('trace.parquet')", folder)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: trace.parquet: Parquet needs pyarrow: pip install 'linkcast[traces]'"
    )


def test_the_extras_that_messages_name_are_declared():
    from importlib.metadata import metadata

    assert {"cli", "traces", "plot", "reference", "train"} <= set(metadata("linkcast").get_all("Provides-Extra") or [])
    assert linkcast.__version__
