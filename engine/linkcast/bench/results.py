"""A certificate: the JSON that the native program writes, with names for what is looked up in it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

SCHEMA_VERSION = 1
PERCENTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "max")
EMPTY = "empty"  # the workload that only wakes up


@dataclass(frozen=True)
class Key:
    """Where a cell stands: how calls of one workload follow each other, and what else runs."""

    workload: str
    rate_hz: float | None  # None: back to back
    hogs: bool

    @property
    def scenario(self) -> str:
        """ "back to back", "100 Hz", "100 Hz, hogs"."""
        pace = "back to back" if self.rate_hz is None else f"{self.rate_hz:g} Hz"
        return f"{pace}, hogs" if self.hogs else pace


class Certificate:
    """One run.

    Args:
        data: as schema.json describes it.
    Raises:
        ValueError: not a certificate of this version.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION or "cells" not in data:
            raise ValueError(f"expected a latency certificate of schema version {SCHEMA_VERSION}")
        self.data = data
        self.cells: dict[Key, dict[str, Any]] = {}
        self.references: dict[Key, dict[str, Any]] = {}
        for cell in data["cells"]:
            key = Key(cell["workload"], cell["rate_hz"], cell["hogs"])
            (self.cells if cell["contender"] == "linkcast" else self.references)[key] = cell

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """One for each budget: "pass", "late" or "fail", and the figures behind it."""
        verdicts: list[dict[str, Any]] = self.data["verdicts"]
        return verdicts

    @property
    def exit_status(self) -> int:
        """0: every budget is kept; 1: a call takes too long; 3: calls keep the budgets, but late on this machine."""
        verdicts = {verdict["verdict"] for verdict in self.verdicts}
        return 1 if "fail" in verdicts else 3 if "late" in verdicts else 0

    def title(self, workload: str) -> str:
        """What a workload is called for people."""
        return str(self.data["workloads"][workload])

    def workloads(self) -> list[str]:
        """Those that were measured, in their order; without the empty loop."""
        return list(dict.fromkeys(key.workload for key in self.cells if key.workload != EMPTY))

    def ratios(self, key: Key) -> list[float] | None:
        """linkcast's median / TensorFlow Lite's in each round; None where there is no reference."""
        if key not in self.cells or key not in self.references:
            return None
        ours, theirs = self.cells[key]["rounds"]["p50_us"], self.references[key]["rounds"]["p50_us"]
        if len(ours) != len(theirs) or not all(theirs):
            return None
        return [a / b for a, b in zip(ours, theirs, strict=True)]

    def ratio(self, key: Key) -> float | None:
        """The median of `ratios`."""
        ratios = self.ratios(key)
        return None if ratios is None else median(ratios)


def read_certificate(path: str | os.PathLike[str]) -> Certificate:
    """Reads a certificate.

    Raises:
        ValueError: not one, by the file's name.
        OSError: the file can't be read.
    """
    try:
        return Certificate(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:  # JSON's own among them
        raise ValueError(f"{path}: {error}") from error
