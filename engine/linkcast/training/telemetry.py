"""A user's telemetry file, taken apart by service group."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from linkcast import simulator
from linkcast.groups import group_key
from linkcast.traces import Columns, Trace, read_trace

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_COLUMN = "service_group"
DEFAULT_PROFILE = "internet"


def read(file: str | os.PathLike[str], names: list[str] | None, columns: Columns | None = None) -> dict[str, Trace]:
    """The trace that each profile or group is trained on.

    Args:
        file: CSV or Parquet with the four telemetry columns, `timestamp`, and optionally `service_group`.
        names: profiles and groups to train; None is every group in the file, or "internet" without such a column.
        columns: as `read_trace` takes them.
    Raises:
        ValueError: missing columns, an unknown group, or none of `names` is in the file.
        OSError: the file cannot be read.
    """
    path = Path(file)
    whole = read_trace(path, columns)
    table = _group_table(path)
    if table is None:
        chosen = names or [DEFAULT_PROFILE]
        groups = [name for name in chosen if name in simulator.GROUPS]
        if len(groups) > 1:
            raise ValueError(
                f"{path.name}: expected a column {GROUP_COLUMN} to train {', '.join(groups)}, found "
                f"{', '.join(_column_names(path))}"
            )
        traces = dict.fromkeys(chosen, whole)
    else:
        traces = _by_group(path, table, columns)
        if names is not None:
            missing = [name for name in names if name not in traces]
            if missing:
                raise ValueError(f"{path.name}: expected rows of {', '.join(missing)}, found {', '.join(traces)}")
            traces = {name: traces[name] for name in names}
    for name, trace in traces.items():
        if name in simulator.GROUPS and trace.timestamps is None:
            raise ValueError(f"{path.name}: expected a column timestamp to train {name}: it reads hour and weekday")
    return traces


def _by_group(path: Path, table: pa.Table, columns: Columns | None) -> dict[str, Trace]:
    """One trace for each value of the group column, in the order of the known groups."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    keys = pa.array([None if value is None else group_key(str(value)) for value in table[GROUP_COLUMN].to_pylist()])
    found = sorted({key for key in keys.to_pylist() if key is not None})
    unknown = [key for key in found if key not in simulator.GROUPS]
    if unknown or not found:
        raise ValueError(
            f"{path.name}: {GROUP_COLUMN}: expected {', '.join(simulator.GROUPS)}, got {', '.join(unknown) or 'none'}"
        )
    traces = {}
    with tempfile.TemporaryDirectory() as folder:
        for group in (group for group in simulator.GROUPS if group in found):
            part = Path(folder) / f"{path.name}-{group}.parquet"
            parquet.write_table(table.filter(pc.equal(keys, group)), part)
            traces[group] = read_trace(part, columns)
    return traces


def _group_table(path: Path) -> pa.Table | None:
    """The file as a table when it has a group column."""
    if GROUP_COLUMN not in _column_names(path):
        return None
    from pyarrow import csv, parquet

    return parquet.read_table(path) if path.suffix in (".parquet", ".pq") else csv.read_csv(path)


def _column_names(path: Path) -> list[str]:
    from pyarrow import csv, parquet

    if path.suffix in (".parquet", ".pq"):
        return list(parquet.read_schema(path).names)
    with csv.open_csv(path) as reader:
        return list(reader.schema.names)
