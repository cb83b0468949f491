"""Cells that hold numbers, as people and programs write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.traces.layout import unit_factor
from linkcast.traces.table import cells_of

SAMPLE_ROWS = 200  # of a column, that the decimal sign of a file is looked for in

Float64 = npt.NDArray[np.float64]

_NUMBER = re.compile(r"([+-]?(?:\d[\d.,'\u2019\u00a0\u202f ]*|[.,]\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)
_CERTAIN = re.compile(r"[+-]?\d+(?:(,)(?:\d{1,2}|\d{4,})|\.\d+)(?:\s*[^\d\s.,:/-].*)?")
_SPACES = re.compile(r"(?<=\d)['\u2019\u00a0\u202f ](?=\d{3}(?!\d))")  # between thousands


@dataclass(frozen=True)
class Numbers:
    """What a column holds."""

    values: Float64  # (rows,) NaN where there is no number
    scaled: npt.NDArray[np.bool_]  # (rows,) True where the cell said its unit: the value is in the feature's
    words: int  # cells that are neither a number nor empty
    first: tuple[int, str] | None  # row (from 1) and text of the first of them
    notice: str | None = None


def numbers_of(column: npt.NDArray[Any], feature: str, decimal: str | None = None) -> Numbers:
    """The numbers of a column: plain, with a unit in the cell, with a decimal comma, with marks between thousands.

    Args:
        column: (rows,) numbers or text.
        feature: what they are to be: says which units a cell may have.
        decimal: "." or ","; None looks at the cells.
    """
    if column.dtype.kind in "fiub":
        values = column.astype(np.float64)
        return _of_plain(values, [] if np.isfinite(values).all() else [f"{v:g}" if np.isinf(v) else "" for v in values])
    cells = cells_of(column)
    if decimal != ",":  # the quick way, for plain numbers
        try:
            return _of_plain(np.array([cell or "nan" for cell in cells], np.float64), cells)
        except ValueError:
            pass
    notice = None
    if decimal is None:
        decimal, notice = _decimal_of(cells)
    read: dict[str, tuple[float, bool]] = {}
    for cell in dict.fromkeys(cells):
        read[cell] = _number(cell, feature, decimal)
    pairs = [read[cell] for cell in cells]
    values = np.array([value for value, _ in pairs], np.float64)
    scaled = np.array([unit for _, unit in pairs], np.bool_)
    wrong = [row for row, cell in enumerate(cells) if cell and not np.isfinite(values[row])]
    values[~np.isfinite(values)] = np.nan
    return Numbers(values, scaled, len(wrong), (wrong[0] + 1, cells[wrong[0]]) if wrong else None, notice)


def _of_plain(values: Float64, cells: list[str]) -> Numbers:
    """Numbers without units; cells that are no finite number are words, unless they are empty."""
    finite = np.isfinite(values)
    wrong = [row for row in np.flatnonzero(~finite).tolist() if cells[row]]
    first = (wrong[0] + 1, cells[wrong[0]]) if wrong else None
    return Numbers(np.where(finite, values, np.nan), np.zeros(len(values), np.bool_), len(wrong), first)


def decimal_of(columns: Iterable[npt.NDArray[Any]]) -> str | None:
    """The decimal sign of a file, from the cells that leave no doubt: 28,5 or 28.5; None where none does."""
    signs = set()
    for column in columns:
        for cell in column[:SAMPLE_ROWS].tolist():
            found = _CERTAIN.fullmatch(cell.strip()) if isinstance(cell, str) else None
            if found is not None:
                signs.add("," if found[1] else ".")
    return signs.pop() if len(signs) == 1 else None


def _decimal_of(cells: list[str]) -> tuple[str, str | None]:
    """The decimal sign of a column, and a notice where it might have been the mark between thousands."""
    odd = [cell for cell in cells if "," in cell and cell[:1] in "+-.,0123456789"]
    if not odd:
        dotted = [cell for cell in cells if cell.count(".") > 1 and re.match(r"[+-]?\d{1,3}(\.\d{3}){2,}(?!\d)", cell)]
        return ("," if dotted else "."), None
    for cell in odd:
        number = _NUMBER.match(cell)
        text = number[1] if number else cell
        if text.count(",") > 1:
            return ".", None
        if "." in text and "," in text:
            return (",", None) if text.rfind(",") > text.rfind(".") else (".", None)
    if any("." in cell for cell in cells if cell[:1] in "+-0123456789" and "," not in cell):
        return ".", None  # 999.5 beside 1,000
    three = all(re.match(r"[+-]?\d{1,3},\d{3}(?!\d)", cell) for cell in odd)
    if not three or len(odd) < len([cell for cell in cells if cell[:1].isdigit()]):
        return ",", None
    first = odd[0]
    return ",", f"the comma of {first!r} is read as the decimal sign; --decimal . reads it as a mark between thousands"


def _number(cell: str, feature: str, decimal: str) -> tuple[float, bool]:
    """The number of a cell, and whether the cell said its unit; (NaN, False) where it is no number."""
    try:
        if "_" not in cell and (decimal == "." or "." not in cell):
            return float(cell), False
    except ValueError:
        pass
    found = _NUMBER.fullmatch(cell)
    if found is None:
        return np.nan, False
    text = _SPACES.sub("", found[1].strip())
    text = text.replace(".", "").replace(",", ".") if decimal == "," else text.replace(",", "")
    factor = unit_factor(feature, found[2]) if found[2] else 1.0
    try:
        return (np.nan, False) if factor is None else (float(text) * factor, bool(found[2]))
    except ValueError:
        return np.nan, False
