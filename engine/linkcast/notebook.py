"""Small HTML tables: what notebooks show in place of a repr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any


def values_table(title: str, values: Mapping[str, Any]) -> str:
    """A line for each value, its name in front."""
    return _table(title, "".join(f"<tr><th>{_text(name)}</th>{_cells([value])}</tr>" for name, value in values.items()))


def rows_table(title: str, headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Headings, and a line for each row."""
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    return _table(title, f"<tr>{head}</tr>" + "".join(f"<tr>{_cells(row)}</tr>" for row in rows))


def _table(title: str, lines: str) -> str:
    return f"<table><caption>{_text(title)}</caption>{lines}</table>"


def _cells(values: Iterable[Any]) -> str:
    return "".join(f"<td>{_text(value)}</td>" for value in values)


def _text(value: Any) -> str:
    return escape(f"{value:.6g}" if isinstance(value, float) else str(value))
