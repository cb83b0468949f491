"""Training with tiny settings, and the data for it: for the tests of training."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("gymnasium")

from rich.console import Console

from linkcast import simulation, training
from linkcast.features import TELEMETRY
from linkcast.training import public, settings

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("LINKCAST_DATA", ROOT.parent / "shared" / "data"))
QUIET = Console(quiet=True)

_BASE = settings.quick()
TINY = replace(
    _BASE,
    link_traces=12,
    link_rows=24,
    group_sites=6,
    group_hours=30,
    typical_sites=8,
    forecaster=replace(_BASE.forecaster, epochs=2, epoch_windows=256),
    internet=replace(_BASE.internet, epochs=2, epoch_windows=256),
    processes=40,
    guide=replace(_BASE.guide, epochs=1, epoch_windows=512),
    fallback=replace(_BASE.fallback, epochs=2),
    allocator=replace(
        _BASE.allocator, episodes=6, evaluate_every=3, warm_up=64, validation_episodes=4, test_episodes=10
    ),
)


def run(output, telemetry=None, **options):
    return training.run(output, telemetry, base=ROOT, run_settings=TINY, console=QUIET, **options)


def public_folder(folder):
    """Every file of the public traces' table, simulated: the columns and the layout, not the data."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    for file in {public_trace.file for public_trace in public.TRACES}:
        sessions = []
        for session in ("5G-A-WAVELAB", "CAU-1"):
            rows = 400
            features, seconds = simulated_rows(rows)
            names = {"session": session, "modem": session} if "modem" in file else {"session": session}
            rates = {"bandwidth_mbps": features[:, 1]} if "webrtc" in file else {}
            rates = rates or {"dl_mbps": features[:, 1], "ul_mbps": 0.1 * features[:, 1]}
            sessions.append(
                pa.table(
                    {
                        "timestamp": pa.array(seconds.astype("datetime64[s]")),
                        **{name: [value] * rows for name, value in names.items()},
                        "latency_ms": features[:, 0],
                        **rates,
                        "packet_loss": features[:, 2],
                        "reliability": features[:, 3],
                    }
                )
            )
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        table = pa.concat_tables(sessions)
        if path.suffix == ".parquet":
            parquet.write_table(table, path)
        else:
            with pa.CompressedOutputStream(path, "gzip") as stream:
                csv.write_csv(table.drop_columns("session"), stream)
    return folder


def write_csv(path, traces, group=None):
    names = ["timestamp", *TELEMETRY, *(["service_group"] if group else [])]
    lines = [",".join(names)]
    for name, (features, seconds) in traces:
        for row, second in zip(features, seconds, strict=True):
            cells = [str(np.datetime64(int(second), "s")), *(f"{value:.6g}" for value in row)]
            lines.append(",".join([*cells, name] if group else cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def simulated_rows(rows, group=None):
    traces = simulation.simulate_group(group, 1, rows, 1) if group else simulation.simulate_link("internet", 1, rows, 1)
    return next(iter(traces))
