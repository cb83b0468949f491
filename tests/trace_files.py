"""Trace files as programs and people write them, all of one minute of one link: for tests of reading."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np

START = 1767225600  # 2026-01-01T00:00:00Z
RATES = (20.0 + 5.0 * np.sin(np.arange(60) / 7.0)).round(3)  # Mbit/s
MOMENTS = [datetime(2026, 1, 1) + timedelta(seconds=second) for second in range(60)]
ISO = [moment.isoformat() for moment in MOMENTS]
CLOCKS = [f"{moment:%H:%M:%S}" for moment in MOMENTS]


def csv_text(cells: list[str], times: list[str] | None = None, header: str = "timestamp,bandwidth_mbps") -> str:
    """A line for each row: its time and its cell, with the header's separator."""
    separator = next((mark for mark in "\t;|," if mark in header), ",")
    rows = [f"{time}{separator}{cell}" for time, cell in zip(times or ISO, cells, strict=True)]
    return "\n".join([header, *rows]) + "\n"


def comma(value: float) -> str:
    return f"{value:.3f}".replace(".", ",")


def iperf3(start: int = START, **changes: Any) -> dict[str, Any]:
    """What `iperf3 --json` writes; `changes` go into each sum."""
    intervals = []
    for second, rate in enumerate(RATES.tolist()):
        span = {"start": second, "end": second + 1, "seconds": 1.0, "bits_per_second": rate * 1e6, "omitted": False}
        streams = [{"socket": 5, **span, "rtt": 28000}, {"socket": 7, **span, "rtt": 30000}]
        intervals.append({"streams": streams, "sum": {**span, **changes}})
    return {"start": {"version": "iperf 3.16", "timestamp": {"timesecs": start}}, "intervals": intervals, "end": {}}


def iperf3_stream() -> str:
    """What `iperf3 --json-stream` writes."""
    document = iperf3()
    events = [("start", document["start"]), *(("interval", one) for one in document["intervals"]), ("end", {})]
    return "".join(json.dumps({"event": event, "data": data}) + "\n" for event, data in events)


IPERF3_TEXT = (
    "Connecting to host 192.0.2.1, port 5201\n[ ID] Interval           Transfer     Bitrate         Retr  Cwnd\n"
    + "".join(
        f"[  5] {second:3d}.00-{second + 1}.00   sec  2.40 MBytes  {rate:.3f} Mbits/sec    0    345 KBytes\n"
        for second, rate in enumerate(RATES)
    )
    + "- - - - - -\n[ ID] Interval           Transfer     Bitrate         Retr\n"
    "[  5]   0.00-60.00  sec   150 MBytes  21.0 Mbits/sec    0             sender\n\niperf Done.\n"
)


def prometheus(values: list[float], name: str | None = None, devices: tuple[str, ...] = ("eth0",)) -> str:
    """The answer to a range query, a value each second."""
    points = [[START + second, str(value)] for second, value in enumerate(values)]
    named = {} if name is None else {"__name__": name}
    series = [{"metric": {**named, "device": device}, "values": points} for device in devices]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}})


def counter(reset_at: int | None = None) -> list[float]:
    """Bytes that went by at RATES up to each second; a reset starts it again from 0."""
    counts, total = [], 1e6
    for second, rate in enumerate(RATES.tolist()):
        total = 0.0 if second == reset_at else total + rate * 125_000.0
        counts.append(total)
    return counts


def ookla(**changes: Any) -> str:
    """What `speedtest --format=jsonl` writes, run after run."""
    lines = [
        {"type": "result", "timestamp": f"{time}Z", "ping": {"jitter": 0.1, "latency": 14.9}, "packetLoss": 0.5}
        | {"download": {"bandwidth": rate * 125_000.0, "bytes": 1}, "upload": {"bandwidth": 1000}, **changes}
        for time, rate in zip(ISO, RATES.tolist(), strict=True)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)
