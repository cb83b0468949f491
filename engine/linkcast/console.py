"""What is printed: tables, notes and progress for people, JSON for programs, errors on standard error."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import sys
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.table import Column, Table

    from linkcast.engine import Engine
    from linkcast.traces import Trace

DECIMALS = 6  # of the numbers in JSON and CSV: finer than any forecast is


def fail(message: str) -> NoReturn:
    """One line on standard error, exit status 1."""
    print(f"linkcast: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(1)


def note(message: str) -> None:
    """One line on standard error: what the reader should know beside the result."""
    print(f"linkcast: {message}", file=sys.stderr)


def say_in_any_encoding() -> None:
    """Lets standard output and error show what their encoding lacks as what comes nearest: R² in ASCII is R2."""
    codecs.register_error("linkcast.nearest", _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="linkcast.nearest")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = unicodedata.normalize("NFKD", error.object[error.start : error.end])
    return plain.encode("ascii", "replace").decode("ascii"), error.end


def notes_of(trace: Trace, engine: Engine, model: str) -> list[str]:
    """Prints what a trace has to say, and what a model has to ask about it, a line each on standard error.

    Returns:
        The questions: the trace's warnings, and whether it is far from what the model was trained on.
    """
    from linkcast.traces import unlike_training

    unlike = unlike_training(trace, model, engine.manifest["models"][model])
    asked = [f"{trace.name}: {warning}" for warning in trace.warnings]
    if unlike is not None and not any("is more than most links carry" in warning for warning in asked):
        asked.append(unlike)
    for notice in trace.notices:
        note(f"{trace.name}: {notice}")
    for warning in asked:
        note(f"warning: {warning}")
    return asked


def rounded(value: Any) -> Any:
    """The same structure with floats rounded, and None for what JSON cannot say (NaN, infinities)."""
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """JSON on standard output; with escapes where its encoding is not UTF-8."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(rounded(value), indent=2, ensure_ascii=not utf8))


def table(title: str, *headings: str, left: Collection[str] = (), close: bool = False) -> Table:
    """An empty table in the house style.

    Args:
        title: above it.
        headings: of columns that never wrap: names in the first and in those of `left`, numbers in the others.
        left: see there; what it does not hold stands to the right.
        close: many columns, close together.
    """
    from rich import box
    from rich.table import Table

    made = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        header_style="",
        caption_justify="left",
        caption_style="",
        padding=(0, 1, 0, 0) if close else (0, 1),
    )
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="left" if index == 0 or heading in left else "right", no_wrap=True)
    return made


def show(*items: Any) -> None:
    """Tables and text on standard output, a blank line between them."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    for index, item in enumerate(items):
        if index > 0:
            console.print()
        if isinstance(item, Table) and item.title:  # rich would wrap it at the table's width
            console.print(item.title, style="bold")
            item.title = None
        if isinstance(item, Table):
            for number, part in enumerate(_parts(console, item)):
                if number > 0:
                    console.print()
                Console(highlight=False, markup=False, width=_uncut_width(console, part)).print(part)
        else:
            console.print(item)


def _parts(console: Console, rows: Table) -> Iterator[Table]:
    """The table, or where a terminal is too narrow, its columns in several tables that each begin with the first."""
    narrow = console.is_terminal or "COLUMNS" in os.environ
    rest = rows.columns[1:]
    while narrow and len(rest) > 1 and _uncut_width(console, _of_columns(rows, rest)) > console.width:
        count = len(rest) - 1
        while count > 1 and _uncut_width(console, _of_columns(rows, rest[:count])) > console.width:
            count -= 1
        part = _of_columns(rows, rest[:count])
        part.caption = None
        yield part
        rest = rest[count:]
    yield _of_columns(rows, rest)


def _of_columns(rows: Table, columns: Sequence[Column]) -> Table:
    """The table with its first column and these."""
    part = copy(rows)
    part.columns = [replace(column, _index=index) for index, column in enumerate([*rows.columns[:1], *columns])]
    return part


def _uncut_width(console: Console, rows: Table) -> int:
    """The terminal's width, or what a table needs above it: numbers are never cut."""

    def cuts(width: int) -> int:
        lines = console.render_lines(rows, console.options.update(width=width))
        return sum(segment.text.count("…") for line in lines for segment in line)

    natural = console.measure(rows, options=console.options.update(max_width=10_000)).maximum
    width = console.width
    while width < natural and cuts(width) > cuts(natural):
        width += 1
    return width


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error while it takes, if that is a terminal; yields the function that advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)
