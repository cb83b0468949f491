"""What a fleet's run is asked for, and what decides its bytes: a run goes on only with the same."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast.traces.clock import zone_of

if TYPE_CHECKING:
    from linkcast.engine import Engine

MOST_HORIZON = 10
TICKS_STEP = 320  # a part's ticks are a multiple of it: of the blocks that the character and the scores look at
ROWS_PER_PART = 65_536
LINKS_PER_SHARD = 128  # rows of a stream: from 16 on a tick of a row costs the same, and a shard is what can be lost
LEAST_SHARDS = 16  # where there are as many links: work for the cores of one box


@dataclass(frozen=True)
class Settings:
    """Of scoring. Everything here decides what is written; how many workers there are does not."""

    model: str = "internet"  # a profile, a service group or a model's name
    folder: str | None = None  # of the bundle
    backend: str = "auto"
    precision: str = "float32"
    horizon: int = 1
    """Steps ahead that the streams forecast; above 1 the forecasts have the P90 of the peak of so many steps, too."""
    level: float = 0.95  # of `reserve`: the share of outcomes that it holds
    capacity_mbps: float | None = None  # of every link that `capacities` does not name; None: not known
    capacities: str | None = None  # a Parquet file with link and capacity_mbps; a link without has no allocation
    link: str = "link"  # the column that names the link
    timestamp: str = "timestamp"
    timezone: str | None = None  # of the site, whose clock is the calendar; None: as the times are written, or UTC
    step_s: float | None = None  # between two ticks; None: each link's own, the median of its first steps
    skip_bad: bool = False
    kernels: str = ""
    """Native kernels that every worker runs the streams on; "": at a reduced precision those that measure best where
    the run begins. In float32 they decide no bit."""

    def checked(self) -> Settings:
        """Itself.

        Raises:
            ValueError: a value out of its range.
        """
        if not 1 <= self.horizon <= MOST_HORIZON:
            raise ValueError(f"horizon: expected 1 to {MOST_HORIZON} steps, got {self.horizon}")
        if not 0.5 <= self.level < 1.0:
            raise ValueError(f"level: expected 0.5 to below 1, got {self.level:g}")
        if self.step_s is not None and not 1e-6 <= self.step_s <= 1e9:
            raise ValueError(f"step_s: expected seconds above 0, got {self.step_s:g}")
        if self.capacity_mbps is not None and not 0.0 < self.capacity_mbps < float("inf"):
            raise ValueError(f"capacity_mbps: expected a number above 0, got {self.capacity_mbps:g}")
        if self.timezone is not None:
            zone_of(self.timezone)
        return self

    @property
    def has_capacities(self) -> bool:
        """Whether there is an allocation."""
        return self.capacity_mbps is not None or self.capacities is not None

    def engine(self) -> Engine:
        """The engine of this process for these settings."""
        return _engine(self.folder, self.backend, self.precision, self.kernels)

    def settled(self, begun: Mapping[str, Any] | None) -> Settings:
        """With kernels, where they decide bits: those of the run that goes on, or else what measures best here.

        Args:
            begun: the settings in that run's manifest; None: there is none.
        """
        if self.kernels or self.precision == "float32":
            return self
        if begun is not None and begun.get("precision") == self.precision and "kernels" in begun:
            return replace(self, kernels=begun["kernels"])
        engine = self.engine()
        return replace(self, kernels=engine.model(engine.resolve(self.model, "forecaster")).step_kernels)

    def resolved(self, engine: Engine) -> dict[str, Any]:
        """What is written of them: the model by its full name, and what decides the bits of its answers."""
        forecaster = engine.resolve(self.model, "forecaster")
        allocator = allocator_of(engine, forecaster)
        models = {name: engine.manifest["models"][name]["sha256"] for name in (forecaster, allocator) if name}
        capacities = None if self.capacities is None else hashlib.sha256(Path(self.capacities).read_bytes()).hexdigest()
        own = asdict(replace(self, model=forecaster, folder=None, capacities=capacities))
        return own | {"sha256": models, "runs_on": runs_on(engine, forecaster)}


@lru_cache(maxsize=2)
def _engine(folder: str | None, backend: str, precision: str, kernels: str) -> Engine:
    from linkcast.engine import Engine

    return Engine(folder, backend, 1, precision, kernels=kernels or None)


def runs_on(engine: Engine, forecaster: str) -> str:
    """What decides the last bits of an answer: "native avx512"."""
    model = engine.model(forecaster)
    return f"{model.backend} {model.isa}".strip()


def capacities_of(settings: Settings, links: Sequence[str]) -> npt.NDArray[np.float64]:
    """(links,) Mbit/s; NaN: not known.

    Raises:
        ValueError: the file has other columns, or a capacity that is none.
    """
    everywhere = np.nan if settings.capacity_mbps is None else settings.capacity_mbps
    found = np.full(len(links), everywhere)
    if settings.capacities is None or not links:
        return found
    import pyarrow.parquet as pq

    table = pq.read_table(settings.capacities)
    missing = [name for name in (settings.link, "capacity_mbps") if name not in table.column_names]
    if missing:
        raise ValueError(
            f"{settings.capacities}: expected the columns {settings.link} and capacity_mbps, got "
            f"{', '.join(table.column_names)}"
        )
    known = dict(zip(table[settings.link].to_pylist(), table["capacity_mbps"].to_pylist(), strict=True))
    for index, link in enumerate(links):
        capacity = known.get(link)
        if capacity is None:
            continue
        if not 0.0 < capacity < float("inf"):
            raise ValueError(f"{settings.capacities}: {link}: expected a capacity above 0, got {capacity:g}")
        found[index] = capacity
    return found


def allocator_of(engine: Engine, forecaster: str) -> str | None:
    """The allocator of a forecaster's profile; a service group has none."""
    serves = engine.spec(forecaster)["serves"]
    try:
        return engine.resolve(serves, "allocator")
    except ValueError:
        return None


def shard_of(link: str, shards: int) -> int:
    """The shard of a link: the same on every machine and in every run with as many shards."""
    return zlib.crc32(link.encode("utf-8", "surrogatepass")) % shards


def shard_count(links: int) -> int:
    """How many shards a fleet has: of about LINKS_PER_SHARD, and LEAST_SHARDS of a small fleet."""
    return max(1, min(links, LEAST_SHARDS), -(-links // LINKS_PER_SHARD))


def part_ticks(links: int) -> int:
    """Ticks of a part of a shard with so many links."""
    return max(1, ROWS_PER_PART // max(1, links) // TICKS_STEP) * TICKS_STEP


def write_json(path: Path, content: Any) -> None:
    """Writes in one step: what stands there is whole, or what was there before."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The parsed file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_atomically(path: Path, content: bytes) -> None:
    """As `write_json`."""
    with in_one_step(path) as beside:
        beside.write_bytes(content)


@contextlib.contextmanager
def in_one_step(path: Path) -> Iterator[Path]:
    """The file to write, which then takes the place of `path`; what killed processes have begun there goes."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    yield beside
    os.replace(beside, path)
    for begun in path.parent.glob(f".{glob.escape(path.name)}.*"):
        begun.unlink(missing_ok=True)


def digest(content: Any) -> str:
    """SHA-256 of what JSON says of it."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
