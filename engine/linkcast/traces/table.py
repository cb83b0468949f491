"""A table in memory: what every kind of file becomes before its columns are given a meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ZonedTimes:
    """A column of times that know their offset from UTC."""

    wall: npt.NDArray[np.datetime64]  # (rows,) datetime64[us], the clock on the wall there
    utc: npt.NDArray[np.datetime64]  # (rows,) datetime64[us]

    def __len__(self) -> int:
        return len(self.wall)

    def __getitem__(self, rows: Any) -> ZonedTimes:
        return ZonedTimes(self.wall[rows], self.utc[rows])


Column: TypeAlias = npt.NDArray[Any] | ZonedTimes
"""(rows,): numbers, datetime64, or text as objects, "" where there is none."""


@dataclass(frozen=True)
class Table:
    """Named columns of one length, and what their source says of them.

    Args:
        columns: by name, in the source's order.
        known: the column of a feature or of `timestamp`, where the kind of file says it: a download is the bandwidth.
        units: of a column, where the kind of file says it; as in UNITS or COUNTERS.
        notices: what was done to read it, one sentence each.
    """

    columns: Mapping[str, Column]
    known: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    @property
    def column_names(self) -> list[str]:
        return list(self.columns)

    def filter(self, rows: Mask) -> Table:
        """The rows where the mask is True."""
        return replace(self, columns={name: column[rows] for name, column in self.columns.items()})

    def words(self, name: str) -> list[str]:
        """(rows,) the cells of a column as text; "" where there is none."""
        column = self.columns[name]
        if isinstance(column, ZonedTimes):
            return [str(value) for value in column.wall]
        return cells_of(column)

    def codes(self, name: str) -> tuple[npt.NDArray[np.int64], list[str]]:
        """(rows,) a number for each cell, equal for equal text, and the text of each number."""
        labels: dict[str, int] = {}
        return np.array([labels.setdefault(word, len(labels)) for word in self.words(name)], np.int64), list(labels)


def cells_of(column: npt.NDArray[Any]) -> list[str]:
    """(rows,) the cells of a column as text without blanks around it; None and NaN are ""."""
    missing = (None, "nan", "NaT", "<NA>", "None") if column.dtype == object else ()
    return [
        "" if not isinstance(cell, str) and (cell is None or str(cell) in missing) else str(cell).strip()
        for cell in column.tolist()
    ]


def text_column(cells: list[str]) -> npt.NDArray[Any]:
    """(rows,) objects."""
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


def table_of_records(records: list[dict[str, Any]]) -> Table:
    """A table from parsed JSON objects; what is nested gets names with dots, what lacks is ""."""
    rows = [flat(record) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    return Table({name: text_column([row.get(name, "") for row in rows]) for name in names})


def flat(record: Any, prefix: str = "") -> dict[str, str]:
    """A JSON object's names, with dots for what is nested, and its values as text."""
    if not isinstance(record, Mapping):
        raise ValueError(f"expected a JSON object, got {str(record)[:40]}")
    cells: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            cells.update(flat(value, f"{prefix}{name}."))
        else:
            cells[f"{prefix}{name}"] = "" if value is None else str(value)
    return cells
