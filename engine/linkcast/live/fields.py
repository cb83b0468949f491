"""Records out of JSON: every field is there, and of the type that its dataclass names.

A number that JSON has no word for is null, and comes back as NaN. Fields that this version does not know are left out.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from linkcast.live.record import NAN

MOST = 2**63
"""Whole numbers lie below it, and not below its negative: those of the engine do."""


def record(kind: Any, content: Any, where: str = "") -> Any:
    """`kind(**content)`, checked.

    Raises:
        ValueError: "forecast.p90: expected a number, got 'x'".
    """
    if not isinstance(content, dict):
        raise _unlike(where or "the record", "an object", content)
    values = {}
    for name, hint, needed in _fields(kind):
        path = f"{where}.{name}" if where else name
        if name in content:
            values[name] = _value(hint, content[name], path)
        elif needed:
            raise ValueError(f"{path}: expected it, and it is missing")
    return kind(**values)


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    """Name, type, and whether it has to be there."""
    hints = get_type_hints(kind)
    return tuple((f.name, hints[f.name], f.default is MISSING and f.default_factory is MISSING) for f in fields(kind))


def _value(hint: Any, value: Any, path: str) -> Any:
    if hint in _SCALARS:
        expected, fits = _SCALARS[hint]
        if not fits(value):
            raise _unlike(path, expected, value)
        return NAN if hint is float and value is None else value
    if is_dataclass(hint):
        return record(hint, value, path)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return _one_of(inner, value, path)
    expected, made = {tuple: ("a list", list), Mapping: ("an object", dict)}[origin]
    if not isinstance(value, made):
        raise _unlike(path, expected, value)
    if origin is tuple:
        return tuple(_value(inner[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    return {name: _value(inner[1], item, f"{path}.{name}") for name, item in value.items()}


def _is_finite(value: Any) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or _is_whole(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -MOST <= value < MOST


_SCALARS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    Any: ("anything", lambda _: True),
    float: ("a number", lambda value: value is None or _is_finite(value)),
    int: ("a whole number", _is_whole),
    str: ("a text", lambda value: isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
}


def _one_of(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    """A value that may be of several types; null first, which stands for itself there and not for NaN."""
    if value is None and type(None) in kinds:
        return None
    trouble: ValueError | None = None
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _value(kind, value, path)
        except ValueError as error:
            trouble = trouble or error
    assert trouble is not None
    raise trouble


def _unlike(path: str, expected: str, value: Any) -> ValueError:
    text = repr(value)
    return ValueError(f"{path}: expected {expected}, got {text if len(text) <= 60 else text[:57] + '...'}")
