"""Telemetry traces from files as people have them, and from frames and arrays in memory.

By idea: `reading` (bytes to a table; `delimited` text, what `tools` write), `layout` (what columns mean), `numbers` and
`clock` (what cells say), `counter`, `rows` (a table to a trace), `gaps` (order, segments, held rows), `resampling`,
`plausible` (is it what it says), and `trace` itself.
"""

from linkcast.traces.arrays import trace_from_arrays
from linkcast.traces.gaps import GAP_STEPS, MOST_HELD
from linkcast.traces.layout import ALIASES, COUNTERS, GROUP_COLUMN, UNITS, Columns, Layout
from linkcast.traces.plausible import unlike_training
from linkcast.traces.reading import name_of, read_table
from linkcast.traces.resampling import resample
from linkcast.traces.rows import read_trace, trace_from_table
from linkcast.traces.table import Table
from linkcast.traces.trace import Trace

__all__ = [
    "ALIASES",
    "COUNTERS",
    "GAP_STEPS",
    "GROUP_COLUMN",
    "MOST_HELD",
    "UNITS",
    "Columns",
    "Layout",
    "Table",
    "Trace",
    "name_of",
    "read_table",
    "read_trace",
    "resample",
    "trace_from_arrays",
    "trace_from_table",
    "unlike_training",
]
