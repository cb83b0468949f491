"""Public traces of real links: which files and columns, how they are cut, and to whom they are owed.

The files are prepared copies, each with a note of its origin beside it, in one folder; they are not part of this
project. `linkcast train --traces FOLDER` trains the internet forecaster on them, on simulated links and on random
processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.features import BANDWIDTH, TELEMETRY, to_seconds
from linkcast.traces import Layout, Trace, read_trace
from linkcast.training import processes
from linkcast.training.datasets import Dataset, Part, join, scale_free_weights, seed_of, windows_of_rows
from linkcast.training.settings import Settings

HELD_OUT_SHARE = 0.30
VALIDATION_SHARE = 0.20  # of what comes before the held-out part
LINK_WINDOWS = 20_000  # of a link's held-out part, at most, that all rivals are compared on
IDLE_MBPS = 0.05
IDLE_CHANCE = 0.05  # of drawing a window that is idle throughout, over that of another

_KIEL = "ds-kiel/CanalLink and ds-kiel/FjordLink, Distributed Systems Group, Kiel University, CC BY 4.0"


_COLLECTION = "confiwent/Real-world-bandwidth-traces, MIT"


@dataclass(frozen=True)
class PublicTrace:
    """One direction of one data set."""

    name: str
    file: str  # below the folder
    layout: Layout
    credit: str
    scored: bool = False  # its held-out part has a score of its own in the manifest

    @property
    def family(self) -> str:
        """The data set that it comes from: traces of one family are of one kind of link."""
        return self.file.split("/")[0]


_SHIP = {"modem": ("*-WAVELAB",)}
_PROBES = {"modem": ("CAU-*",)}
_NO_LATENCY = {"latency_ms": 50.0}  # few rows of the modems have one, and only those of the probes

TRACES = (
    PublicTrace("webrtc video", "webrtc_video_1hz/dev.parquet", Layout(), _KIEL, True),
    PublicTrace(
        "ship 5G uplink",
        "modem5g_1hz/dev.parquet",
        Layout({"bandwidth_mbps": "ul_mbps", **_NO_LATENCY}, where=_SHIP),
        _KIEL,
        True,
    ),
    PublicTrace("ship 5G downlink", "modem5g_1hz/dev.parquet", Layout({**_NO_LATENCY}, where=_SHIP), _KIEL),
    PublicTrace(
        "5G probes uplink",
        "modem5g_1hz/dev.parquet",
        Layout({"bandwidth_mbps": "ul_mbps", **_NO_LATENCY}, where=_PROBES),
        _KIEL,
    ),
    PublicTrace("5G probes downlink", "modem5g_1hz/dev.parquet", Layout({**_NO_LATENCY}, where=_PROBES), _KIEL),
    PublicTrace("starlink downlink", "starlink_1hz/dev.parquet", Layout(), _KIEL, True),
    PublicTrace("starlink uplink", "starlink_1hz/dev.parquet", Layout({"bandwidth_mbps": "ul_mbps"}), _KIEL),
    PublicTrace("home line", "speedtest_home_30min/dev.csv.gz", Layout(), "WizardTim/speedtest-data, CC BY 4.0", True),
    PublicTrace(
        "home line uplink",
        "speedtest_home_30min/dev.csv.gz",
        Layout({"bandwidth_mbps": "ul_mbps"}),
        "WizardTim/speedtest-data, CC BY 4.0",
    ),
    PublicTrace(
        "3G commutes",
        "norway_3g_1hz/dev.parquet",
        Layout(),
        f"Riiser, Vigmostad, Griwodz, Halvorsen, MMSys 2013; {_COLLECTION}",
        True,
    ),
    PublicTrace(
        "FCC lines", "fcc_lines_5s/dev.parquet", Layout(), f"FCC Measuring Broadband America; {_COLLECTION}", True
    ),
    PublicTrace(
        "Puffer streams",
        "puffer_streams_chunks/dev.parquet",
        Layout(),
        f"Puffer, puffer.stanford.edu, CC BY 4.0; {_COLLECTION}",
        True,
    ),
)

FAMILIES = tuple(dict.fromkeys(public.family for public in TRACES))


def shares(traces: Sequence[PublicTrace]) -> list[float]:
    """Of the windows that are drawn from traces: each family counts alike, and in it each trace."""
    families = [public.family for public in traces]
    return [1.0 / len(set(families)) / families.count(family) for family in families]


def internet_dataset(
    folder: str | os.PathLike[str],
    simulated: Dataset,
    settings: Settings,
    seed: int,
    without: str | None = None,
) -> Dataset:
    """The public traces together with simulated links and random processes.

    The last 30 % in time of each file, and of each of its sessions, takes no part in training: it is what the model is
    scored on. Of each session's rows before that, the last fifth validates.

    Args:
        folder: holds the files of TRACES.
        simulated: links of the internet profile; its test part stays the data set's test part.
        settings: gives the window, and the shares of simulated links and of random processes.
        seed: of the processes.
        without: a family that takes no part in training or validation; only its links' held-out parts are kept then.
    Raises:
        OSError: a file is not there.
        ValueError: a file has other columns than TRACES says, or an unknown family.
    """
    if without is not None and without not in FAMILIES:
        raise ValueError(f"without: expected a family among {', '.join(FAMILIES)}, got {without}")
    parts: dict[str, list[Part]] = {"train": [simulated.train], "validation": [simulated.validation]}
    held_out = {} if without else dict(simulated.held_out)
    taken = [public for public in TRACES if public.family != without]
    links: dict[str, Part] = {}
    for public in TRACES:
        train, validation, test = _parts(read_trace(Path(folder) / public.file, public.layout), settings.window)
        if public.family == without:
            links[public.name] = _spread(test)
            continue
        parts["train"].append(train)
        parts["validation"].append(validation)
        if without is None:
            links[public.name] = _spread(test)
            if public.scored:
                held_out[public.name] = test
    rng = np.random.default_rng(seed_of(seed, "processes"))
    invented = processes.part(settings.processes, settings.window, rng)
    simulated_share, invented_share = settings.simulated_share, settings.processes_share
    measured = [share * (1.0 - simulated_share - invented_share) for share in shares(taken)]
    validated = [simulated_share, *(share * (1.0 - simulated_share) for share in shares(taken))]
    return replace(
        simulated,
        train=join([*parts["train"], invented], [simulated_share, *measured, invented_share]),
        validation=join(parts["validation"], validated),
        held_out=held_out,
        links=links,
        origin=_origin(simulated, parts, held_out, taken, [simulated_share, *measured, invented_share], len(invented)),
    )


def _spread(part: Part) -> Part:
    """At most LINK_WINDOWS windows, evenly spread: links differ in length by a factor of twenty."""
    rows = np.unique(np.linspace(0, len(part) - 1, min(len(part), LINK_WINDOWS)).astype(np.int64))
    seconds = None if part.seconds is None else part.seconds[rows]
    return Part(part.windows[rows], part.targets[rows], seconds, part.weights[rows], part.chances[rows])


def _parts(trace: Trace, window: int) -> list[Part]:
    part_of_row = _cut(trace)
    series = trace.select(list(TELEMETRY))
    seconds = None if trace.timestamps is None else to_seconds(trace.timestamps)
    pieces: list[list[slice]] = [[], [], []]
    for rows in trace.segments():
        cuts = rows.start + 1 + np.flatnonzero(np.diff(part_of_row[rows]))
        bounds = [rows.start, *cuts.tolist(), rows.stop]
        for start, stop in pairwise(bounds):
            pieces[part_of_row[start]].append(slice(start, stop))
    return [
        _idle_rarely(windows_of_rows(series, seconds, rows, window, held=trace.held, weigh=scale_free_weights))
        for rows in pieces
    ]


def _cut(trace: Trace) -> npt.NDArray[np.int64]:
    """(rows,) 0 training, 1 validation, 2 held out."""
    held_out = trace.last_rows(HELD_OUT_SHARE)
    part: npt.NDArray[np.int64] = np.where(held_out, 2, 0)
    sources = list(trace.source_rows().values()) or [np.ones(len(trace), np.bool_)]
    for source in sources:
        rows = np.flatnonzero(source)
        part[rows[round(len(rows) * (1.0 - HELD_OUT_SHARE)) :]] = 2
        before = rows[part[rows] == 0]
        part[before[round(len(before) * (1.0 - VALIDATION_SHARE)) :]] = 1
    return part


def _idle_rarely(part: Part) -> Part:
    idle = part.windows[:, :, BANDWIDTH].max(axis=1) < IDLE_MBPS
    chances = np.where(idle, IDLE_CHANCE, 1.0)
    return replace(part, chances=chances / chances.sum())


def _origin(
    simulated: Dataset,
    parts: dict[str, list[Part]],
    held_out: dict[str, Part],
    taken: Sequence[PublicTrace],
    shares: Sequence[float],
    invented: int,
) -> dict[str, Any]:
    traces = {}
    for index, public in enumerate(taken, start=1):
        columns = dict(public.layout.columns)
        traces[public.name] = {
            "file": public.file,
            "credit": public.credit,
            **({"columns": columns} if columns else {}),
            **(
                {"where": {name: list(patterns) for name, patterns in public.layout.where.items()}}
                if public.layout.where
                else {}
            ),
            "windows": {
                **{name: len(several[index]) for name, several in parts.items()},
                **({"test": len(held_out[public.name])} if public.name in held_out else {}),
            },
            "share": shares[index],
        }
    return {
        "source": "traces and simulation",
        "file": ", ".join(dict.fromkeys(public.file for public in taken)),
        "split": "by time: the last 30 % of each file and of each session held out, a fifth of the rest validates",
        "traces": traces,
        "simulated": {**simulated.origin, "share": shares[0]},
        "processes": {"windows": invented, "share": shares[-1]},
        "windows": {
            **{name: sum(map(len, several)) for name, several in parts.items()},
            "test": len(simulated.test) + sum(map(len, held_out.values())),
        },
    }
