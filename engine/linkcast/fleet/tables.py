"""Parquet files that are whole or not there, and the columns of the forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast.fleet.settings import in_one_step

if TYPE_CHECKING:
    import pyarrow as pa

BAND = ("mbps", "p10", "p50", "p90", "reserve")


def write_table(path: Path, table: pa.Table) -> None:
    """Writes in one step; the same table gives the same bytes."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    with in_one_step(path) as beside:
        pq.write_table(table, beside, compression="zstd", row_group_size=1 << 20)


def forecast_table(
    names: list[str],
    codes: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    answers: npt.NDArray[np.float32],
    peak: npt.NDArray[np.float32] | None,
    allocation: npt.NDArray[np.int32] | None,
    sources: npt.NDArray[np.uint8],
    source_names: list[str],
) -> pa.Table:
    """Rows of forecasts: each for the tick after its timestamp.

    Args:
        names: of the links.
        codes: (rows,) index of each row's link.
        times: (rows,) microseconds.
        answers: (rows, 5) as BAND.
        peak: (rows,) P90 of the peak of the horizon's steps.
        allocation: (rows,) 0 to 9; below 0: none.
        sources: (rows,) index of `source_names`.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "link": pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string())),
        "timestamp": pa.array(times).cast(pa.timestamp("us")),
    }
    for index, name in enumerate(BAND):
        columns[name] = _floats(answers[:, index])
    if peak is not None:
        columns["peak_p90"] = _floats(peak)
    if allocation is not None:
        columns["allocation_percent"] = pa.array((allocation + 1) * 10, pa.int8(), mask=allocation < 0)
    columns["source"] = pa.DictionaryArray.from_arrays(
        pa.array(sources, pa.int8()), pa.array(source_names, pa.string())
    )
    return pa.table(columns)


def _floats(values: npt.NDArray[np.float32]) -> pa.Array:
    """Null where there is none."""
    import pyarrow as pa

    return pa.array(np.ascontiguousarray(values), pa.float32(), mask=np.isnan(values))
