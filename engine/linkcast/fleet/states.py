"""What each link has taught, from run to run: its window and mixture, the step of its clock, its newest time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.fleet.settings import read_json, write_json
from linkcast.fleet.tally import CARRIED

MANIFEST = "state.json"


@dataclass(frozen=True)
class LinkState:
    """Of one link."""

    step_us: int
    newest: int  # microseconds: rows up to it have been seen
    stream: bytes  # as `Stream.snapshot` gives it for a row
    carried: bytes  # what the tally needs of the last ticks, float64

    def restore_tally(self, tally: Mapping[str, npt.NDArray[np.float64]], link: int) -> None:
        values = np.frombuffer(self.carried)
        for name in CARRIED:
            width = tally[name].shape[1]
            tally[name][link], values = values[:width], values[width:]


def carried_of(tally: Mapping[str, npt.NDArray[np.float64]], link: int) -> bytes:
    """As `LinkState.carried`."""
    return np.concatenate([tally[name][link] for name in CARRIED]).tobytes()


def write(folder: Path, shard: int, states: Mapping[str, LinkState]) -> None:
    """Writes a shard's file in one step."""
    import pyarrow as pa

    from linkcast.fleet.tables import write_table

    names = sorted(states)
    columns = {
        "link": pa.array(names, pa.string()),
        "step_us": pa.array([states[name].step_us for name in names], pa.int64()),
        "newest": pa.array([states[name].newest for name in names], pa.int64()),
        "stream": pa.array([states[name].stream for name in names], pa.binary()),
        "carried": pa.array([states[name].carried for name in names], pa.binary()),
    }
    write_table(folder / f"shard-{shard:06d}.parquet", pa.table(columns))


def write_manifest(folder: Path, shards: int, model: Mapping[str, Any]) -> None:
    """Says that the folder is whole."""
    write_json(folder / MANIFEST, {"shards": shards, **model})


def shards_of(folder: Path, model: Mapping[str, Any]) -> int:
    """How many shards a state has.

    Raises:
        ValueError: the folder is none, is not whole, or is of another model or other options.
    """
    try:
        manifest = read_json(folder / MANIFEST)
    except FileNotFoundError:
        raise ValueError(f"{folder}: expected a state that a run has finished, got no {MANIFEST}") from None
    for key, value in model.items():
        if manifest.get(key) != value:
            raise ValueError(f"{folder}: {key}: expected a state of {value}, got {manifest.get(key)}")
    return int(manifest["shards"])


def read(folder: Path, shard: int, only: Collection[str] | None = None) -> dict[str, LinkState]:
    """The states of a shard's links."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / f"shard-{shard:06d}.parquet").to_pydict()
    rows = zip(*(table[key] for key in ("link", "step_us", "newest", "stream", "carried")), strict=True)
    return {name: LinkState(*rest) for name, *rest in rows if only is None or name in only}
