"""The latency certificate of a machine: what `linkcast bench` runs, shows and compares.

One program measures, `linkcast-bench` beside the extension; a board without Python runs it by itself. Here is what is
made of its JSON (`schema.json`): `tables` and `page` show it, `compare` sets it beside an earlier one.
"""

from linkcast.bench.program import machine, measure
from linkcast.bench.results import Certificate, read_certificate

__all__ = ["Certificate", "machine", "measure", "read_certificate"]
