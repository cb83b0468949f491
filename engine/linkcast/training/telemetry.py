"""A user's telemetry file, taken apart by service group."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from linkcast import simulation
from linkcast.groups import group_key
from linkcast.traces import GROUP_COLUMN, Columns, Layout, Trace, name_of, read_table, trace_from_table

DEFAULT_PROFILE = "internet"


def read(
    file: str | os.PathLike[str],
    names: list[str] | None,
    columns: Columns | Layout | None = None,
    groups: Sequence[str] = tuple(simulation.GROUPS),
) -> dict[str, Trace]:
    """The trace that each profile or group is trained on.

    Args:
        file: as `read_trace` reads it, with telemetry columns, `timestamp`, and optionally `service_group`.
        names: profiles and groups to train; None is every group in the file, or "internet" without such a column.
        columns: as `read_trace` takes them.
        groups: the keys of the groups that there are.
    Raises:
        ValueError: a missing bandwidth, an unknown group, or none of `names` is in the file.
        OSError: the file cannot be read.
    """
    path = Path(file)
    layout = columns if isinstance(columns, Layout) else Layout(columns or {})
    table = read_table(path, layout.separator)
    name = name_of(path)
    column = layout.column(GROUP_COLUMN)
    if column in table.column_names:
        keys = [group_key(word) if word else None for word in table.words(column)]
        found = sorted({key for key in keys if key is not None})
        unknown = [key for key in found if key not in groups] if names is None else []
        if unknown or not found:
            known = ", ".join(groups)
            raise ValueError(f"{path.name}: {column}: expected {known}, got {', '.join(unknown) or 'none'}")
        chosen = names or [group for group in groups if group in found]
        missing = [group for group in chosen if group not in found]
        if missing:
            raise ValueError(f"{path.name}: expected rows of {', '.join(missing)}, found {', '.join(found)}")
        traces = {}
        for group in chosen:
            rows = table.filter(np.array([key == group for key in keys], np.bool_))
            traces[group] = trace_from_table(f"{name} ({group})", rows, layout)
    else:
        chosen = names or [DEFAULT_PROFILE]
        asked = [group for group in chosen if group in groups]
        if len(asked) > 1:
            raise ValueError(
                f"{path.name}: expected a column {column} to train {', '.join(asked)}, found "
                f"{', '.join(table.column_names)}"
            )
        traces = dict.fromkeys(chosen, trace_from_table(name, table, layout))
    for name, trace in traces.items():
        if name in groups and trace.timestamps is None:
            raise ValueError(f"{path.name}: expected a column timestamp to train {name}: it reads hour and weekday")
        if name in groups and not trace.dated:
            raise ValueError(f"{path.name}: expected times with a date to train {name}: it reads hour and weekday")
        if name in groups and trace.clock == "UTC":
            said = "times are in UTC, and so is the calendar of the group; --timezone names the site"
            traces[name] = replace(trace, notices=(*trace.notices, said))
    return traces
