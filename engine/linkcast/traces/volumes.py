"""What programs write that count what goes by: vnstat's JSON and MRTG's log."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from linkcast.traces.table import Table, table_of_records

PERIODS_S = {"fiveminute": 300.0, "hour": 3600.0, "day": 86_400.0}  # of vnstat, the finest first

_MRTG_TOP = re.compile(r"\d{9,10} \d+ \d+\s*")  # the moment and the counters of the last poll
_MRTG_LINE = re.compile(r"\d{9,10}( \d+){4}\s*")  # the moment, mean in and out, largest in and out


def is_mrtg(text: str) -> bool:
    """Whether the text is the log that MRTG keeps for a link."""
    lines = text[:1000].splitlines()[:3]
    return len(lines) == 3 and bool(_MRTG_TOP.fullmatch(lines[0])) and all(map(_MRTG_LINE.fullmatch, lines[1:]))


def read_mrtg(text: str) -> Table:
    """A row for each of MRTG's means, in bytes a second: of 5 minutes, and of longer spans the older they are."""
    cells = [line.split() for line in text.splitlines() if _MRTG_LINE.fullmatch(line)]
    table = table_of_records([{"time": time, "in": into, "out": out} for time, into, out, *_ in cells])
    notice = "MRTG's log: what comes in is read; -c bandwidth_mbps=out reads what goes out"
    return replace(
        table,
        known={"timestamp": "time", "bandwidth_mbps": "in"},
        units={"in": "B/s", "out": "B/s"},
        notices=(notice,),
    )


def is_vnstat(document: Any) -> bool:
    """Whether a JSON document is what `vnstat --json` writes."""
    return isinstance(document, dict) and "vnstatversion" in document and "interfaces" in document


def read_vnstat(file: str, document: dict[str, Any]) -> Table:
    """A row for each of vnstat's shortest periods: its bytes as a rate. Interfaces are sessions.

    Raises:
        ValueError: vnstat 1's report, or one without periods of a day or less.
    """
    if str(document.get("jsonversion")) == "1":
        raise ValueError(f"{file}: expected the JSON of vnstat 2, got that of vnstat {document['vnstatversion']}")
    kinds = [kind for kind in PERIODS_S if any(one["traffic"].get(kind) for one in document["interfaces"])]
    if not kinds:
        raise ValueError(f"{file}: expected vnstat's periods, got its totals only; ask vnstat --json f")
    kind, seconds = kinds[0], PERIODS_S[kinds[0]]
    rows = []
    for interface in document["interfaces"]:
        for period in interface["traffic"].get(kind, [])[:-1]:  # the last is not over
            date, time = period["date"], period.get("time", {})
            rows.append(
                {
                    "time": f"{date['year']:04d}-{date['month']:02d}-{date['day']:02d}T"
                    f"{time.get('hour', 0):02d}:{time.get('minute', 0):02d}",
                    "rx": period["rx"] / seconds,
                    "tx": period["tx"] / seconds,
                    "session": interface["name"],
                }
            )
    if not rows:
        raise ValueError(f"{file}: expected periods that are over in vnstat's report, got none; ask again later")
    notice = f"vnstat's {kind} volumes as rates of what was received, without the last period, which is not over; "
    return replace(
        table_of_records(rows),
        known={"timestamp": "time", "bandwidth_mbps": "rx"},
        units={"rx": "B/s", "tx": "B/s"},
        notices=(notice + "-c bandwidth_mbps=tx reads what was sent",),
    )
