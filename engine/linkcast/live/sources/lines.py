"""Lines to samples as they come: CSV with a header, or JSON objects; columns and units as in a trace's file."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping

from linkcast.features import TELEMETRY
from linkcast.live.sources.sample import Sample
from linkcast.traces.clock import NO_TIME, read_times
from linkcast.traces.layout import ALIASES, BASES, COUNTERS, UNITS, Layout, name_and_unit, plain
from linkcast.traces.numbers import numbers_of
from linkcast.traces.table import flat, text_column

SEPARATORS = ",;\t|"


class LineReader:
    """Reads one line after another; a header line says what the columns are.

    Args:
        layout: other columns, units, the separator, the decimal sign and the number that stands for no value. Rows of
            other sources (`where`) and a step are for files that are read to their end.
    Raises:
        ValueError: a layout with `where` or a step, or a counter as the bandwidth.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        self._layout = layout or Layout()
        if self._layout.where or self._layout.step_s is not None:
            raise ValueError("where, step: expected a file that is read to its end, got one that is followed")
        if self._layout.units.get("bandwidth_mbps") in COUNTERS:
            raise ValueError("units: bandwidth_mbps: expected rates in a file that is followed, got a counter")
        self._names: list[str] = []
        self._separator = self._layout.separator or ","
        self._chosen: dict[str, tuple[str, float]] = {}
        self._constants = {name: source for name, source in self._layout.columns.items() if not isinstance(source, str)}

    def forget(self) -> None:
        """Another file begins: it has its own header."""
        self._names, self._chosen = [], {}

    def read(self, line: str) -> Sample | None:
        """The sample of a line; None for a header, a blank line and a comment.

        Raises:
            ValueError: the line has no bandwidth that is a number, or the header no column of it.
        """
        text = line.strip().lstrip("\ufeff")
        if not text or text.startswith("#"):
            return None
        if text.startswith("{"):
            return self._sample(flat(json.loads(text)), again=True)
        if not self._names:
            self._header(text)
            return None
        cells = next(csv.reader([text], delimiter=self._separator))
        if [plain(cell) for cell in cells] == [plain(name) for name in self._names]:
            return None  # the header, once more: a program that was started again
        if len(cells) != len(self._names):
            raise ValueError(f"expected {len(self._names)} cells, got {len(cells)}")
        return self._sample(dict(zip(self._names, cells, strict=True)))

    def _header(self, text: str) -> None:
        if self._layout.separator is None:
            self._separator = max(SEPARATORS, key=text.count)
        names = next(csv.reader([text], delimiter=self._separator))
        self._chosen = self._choose(names)
        self._names = names

    def _choose(self, names: list[str]) -> dict[str, tuple[str, float]]:
        """The column and the factor of each feature that there is, and of the time."""
        chosen = {}
        for feature, aliases in ALIASES.items():
            asked = self._layout.columns.get(feature)
            if asked is not None and not isinstance(asked, str):
                continue
            wanted = (asked,) if asked is not None else aliases
            found = next((name for want in wanted for name in names if plain(name) == plain(want)), None)
            if found is None and asked is None and feature in BASES:
                with_unit = ((name, *name_and_unit(feature, name)) for name in names)
                found = next((name for name, base, unit in with_unit if unit and base in BASES[feature]), None)
            if found is None and (asked is not None or feature == "bandwidth_mbps"):
                raise ValueError(f"expected a column {asked or feature}, found {', '.join(names)}")
            if found is not None:
                chosen[feature] = (found, self._factor(feature, found))
        return chosen

    def _factor(self, feature: str, column: str) -> float:
        stated = self._layout.units.get(feature)
        if stated is not None:
            return UNITS[feature][stated]
        return (name_and_unit(feature, column)[1] or 1.0) if feature in TELEMETRY else 1.0

    def _sample(self, row: Mapping[str, str], again: bool = False) -> Sample:
        chosen = self._choose(list(row)) if again else self._chosen
        values = {name: float(value) for name, value in self._constants.items() if name in TELEMETRY}
        for feature in TELEMETRY:
            if feature in chosen:
                column, factor = chosen[feature]
                value = self._number(feature, row[column], factor)
                if value is not None:
                    values[feature] = value
        if "bandwidth_mbps" not in values:
            column = chosen["bandwidth_mbps"][0]
            raise ValueError(f"bandwidth_mbps: expected a number in column {column}, got {row[column]!r}")
        return Sample(values, self._time(row[chosen["timestamp"][0]]) if "timestamp" in chosen else None)

    def _number(self, feature: str, cell: str, factor: float) -> float | None:
        read = numbers_of(text_column([cell]), feature, self._layout.decimal)
        value = float(read.values[0])
        if not math.isfinite(value) or value == self._layout.missing:
            return None
        return value if read.scaled[0] else value * factor

    def _time(self, cell: str) -> float | None:
        """Seconds since 1970, UTC where the cell says it; None where it is no time."""
        layout = self._layout
        clock = read_times(text_column([cell]), layout.units.get("timestamp"), layout.timezone, layout.day_first)
        if clock is None or clock.wall[0] == NO_TIME:
            return None
        ahead = 0 if clock.offset[0] == NO_TIME else int(clock.offset[0])
        return (int(clock.wall[0]) - ahead) / 1e6
