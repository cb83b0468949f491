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


PLAIN = [str(rate) for rate in RATES]


def table_of(header: str, *columns: list[str]) -> str:
    return "\n".join([header, *(",".join(row) for row in zip(*columns, strict=True))]) + "\n"


OOKLA_LINES = [
    f'"X - Y","1","14.9","0.1","0","{rate * 125_000:.0f}","1000","1","1","https://www.speedtest.net/result/c/{row}"'
    for row, rate in enumerate(RATES)
]
SIVEL_LINES = [
    f'1234,ISP,"Town, X",{time}.373302Z,12.5,14.9,{rate * 1e6},1000.0,,192.0.2.1'
    for time, rate in zip(ISO, RATES, strict=True)
]
SIVEL_JSON = "".join(
    json.dumps({"download": rate * 1e6, "upload": 1.0, "ping": 14.9, "timestamp": f"{time}Z"}) + "\n"
    for time, rate in zip(ISO, RATES, strict=True)
)
SIVEL_HEADER = "Server ID,Sponsor,Server Name,Timestamp,Distance,Ping,Download,Upload,Share,IP Address\n"
OOKLA_HEADER = (
    '"server name","server id","idle latency","idle jitter","packet loss","download","upload","download bytes",'
    '"upload bytes","share url"\n'
)
GRAFANA_TIMES = [time.replace("T", " ") for time in ISO]

READ = {
    "semicolons and decimal commas": csv_text([comma(rate) for rate in RATES], header="timestamp;bandwidth_mbps"),
    "tabs": csv_text(PLAIN, header="timestamp\tbandwidth_mbps"),
    "bars": csv_text(PLAIN, header="timestamp|bandwidth_mbps"),
    "blanks": csv_text(PLAIN).replace(",", "   "),
    "quoted decimal commas": csv_text([f'"{comma(rate)}"' for rate in RATES]),
    "thousands beside a decimal point": csv_text(
        [f'"{rate * 1000:,.0f}"' for rate in RATES], header="time,bandwidth_kbps,"
    ).replace('"\n', '",0.5\n'),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + csv_text(PLAIN).encode(),
    "UTF-16 little": csv_text(PLAIN).replace("\n", "\r\n").encode("utf-16"),
    "UTF-16 big without a mark": csv_text([comma(r) for r in RATES], header="timestamp;bandwidth_mbps").encode(
        "utf-16-be"
    ),
    "a Windows code page": csv_text(PLAIN, header="timestamp,Bandwidth_Mbps") + "# µ\n",
    "old Mac lines": csv_text(PLAIN).replace("\n", "\r"),
    "comments and blank lines": "# by collector\n\n" + csv_text(PLAIN).replace("\n", "\n\n"),
    "a commented header": "# " + csv_text(PLAIN, [f"{time}Z" for time in ISO]),
    "a title before the header": "Report for eth0\n" + csv_text(PLAIN),
    "Excel's separator line": "sep=;\n" + csv_text(PLAIN, header="timestamp;bandwidth_mbps"),
    "separators at the ends": csv_text([f"{rate}," for rate in RATES]),
    "zeros after a crash": csv_text(PLAIN).encode() + b"\0" * 512,
    "units in cells": csv_text([f"{rate} Mbps" for rate in RATES]),
    "mixed units in cells": csv_text([f"{r} Mb/s" if i % 2 else f"{r * 1000} kb/s" for i, r in enumerate(RATES)]),
    "Grafana": csv_text([f"{rate / 8:.6f} MB/s" for rate in RATES], GRAFANA_TIMES, '"Time","eth0 in"'),
    "Grafana in milliseconds": csv_text(
        [f"{rate * 1e6} b/s" for rate in RATES],
        [str((START + s) * 1000) for s in range(60)],
        'Time;"{device=""eth0""}"',
    ),
    "Grafana in MiB": csv_text([f"{r * 125000 / 2**20:.9f} MiB/s" for r in RATES], GRAFANA_TIMES, "Time,in"),
    "kilobits by name": csv_text([str(rate * 1000) for rate in RATES], header="timestamp,bandwidth_kbps"),
    "iperf3 JSON": json.dumps(iperf3()),
    "iperf3 JSON stream": iperf3_stream(),
    "iperf3 text": IPERF3_TEXT,
    "iperf3 text of two streams": "".join(
        "".join(
            f"[{name}] {second}.00-{second + 1}.00 sec 1 MBytes {value:.3f} Mbits/sec\n"
            for name, value in (("  5", rate / 4), ("  7", rate * 3 / 4), ("SUM", rate))
        )
        for second, rate in enumerate(RATES)
    ),
    "iperf3 text with times": "".join(
        f"Thu Jan  1 {clock} 2026 [  5] {second}.00-{second + 1}.00 sec 1 MBytes {rate:.3f} Mbits/sec\n"
        for second, (clock, rate) in enumerate(zip(CLOCKS, RATES, strict=True))
    ),
    "speedtest-cli CSV": SIVEL_HEADER + "\n".join(SIVEL_LINES) + "\n",
    "speedtest-cli CSV without its header": "\n".join(SIVEL_LINES) + "\n",
    "speedtest-cli JSON": SIVEL_JSON,
    "Ookla CSV": OOKLA_HEADER + "\n".join(OOKLA_LINES) + "\n",
    "Ookla CSV with times in front": "\n".join(f"{t},{line}" for t, line in zip(ISO, OOKLA_LINES, strict=True)) + "\n",
    "Ookla JSON lines": ookla(),
    "Ookla JSON list": json.dumps([json.loads(line) for line in ookla().splitlines()], indent=1),
    "Prometheus bytes": prometheus((RATES * 125_000).tolist()),
    "Prometheus bits": prometheus((RATES * 1e6).tolist(), "link_bits_per_second"),
    "JSON records": json.dumps([{"time": t, "bandwidth_mbps": r} for t, r in zip(ISO, RATES.tolist(), strict=True)]),
    "JSON columns": json.dumps({"timestamp": ISO, "bandwidth_mbps": RATES.tolist()}),
    "newest first": "\n".join(["timestamp,bandwidth_mbps", *csv_text(PLAIN).splitlines()[:0:-1]]) + "\n",
    "each row twice": csv_text(PLAIN).replace("\n", "\n", 1) + "\n".join(csv_text(PLAIN).splitlines()[1:]) + "\n",
    "one after another with its header": csv_text(PLAIN) * 2,
    "no line end and cut off": csv_text(PLAIN) + "2026-01-01T00:01",
    "POSIX seconds": csv_text(PLAIN, [str(START + second) for second in range(60)]),
    "POSIX microseconds": csv_text(PLAIN, [str((START + second) * 10**6) for second in range(60)]),
    "POSIX nanoseconds": csv_text(PLAIN, [str((START + second) * 10**9) for second in range(60)]),
    "nanoseconds in text": csv_text(PLAIN, [f"{time}.000000001Z" for time in ISO]),
    "zone names": csv_text(PLAIN, [f"{time} CET" for time in GRAFANA_TIMES]),
    "zones of the IANA": csv_text(PLAIN, [f"{time} Europe/Berlin" for time in GRAFANA_TIMES]),
    "an offset and its zone": csv_text(PLAIN, [f"{time}+01:00[Europe/Berlin]" for time in ISO]),
    "day, month, year": csv_text(PLAIN, [f"01.01.2026 {clock}" for clock in CLOCKS]),
    "American": csv_text(PLAIN, [f"{moment:%m/%d/%Y %I:%M:%S %p}" for moment in MOMENTS]),
    "digits": csv_text(PLAIN, [f"{moment:%Y%m%d%H%M%S}" for moment in MOMENTS]),
    "a mail's date": csv_text(PLAIN, [f"Thu, 01 Jan 2026 {c} +0000" for c in CLOCKS], "timestamp;bandwidth_mbps"),
    "a web server's date": csv_text(PLAIN, [f"01/Jan/2026:{clock} +0000" for clock in CLOCKS]),
    "date(1)": csv_text(PLAIN, [f"Thu Jan  1 {clock} UTC 2026" for clock in CLOCKS]),
    "a weekday before the date": csv_text(PLAIN, [f"Do, 01.01.2026 {c}" for c in CLOCKS], "timestamp;bandwidth_mbps"),
    "Go's time": csv_text(PLAIN, [f"{time}.000000001 +0100 CET" for time in GRAFANA_TIMES]),
    "Excel's days": csv_text(PLAIN, [f"{46023 + second / 86400:.8f}" for second in range(60)]),
    "Prometheus through jq": json.dumps(json.loads(prometheus((RATES * 125_000).tolist()))["data"]["result"]),
    "a word between JSON lines": SIVEL_JSON.replace("\n", "\nERROR: no server\n", 1),
    "a failed run between lines of CSV": (
        SIVEL_HEADER + "\n".join([SIVEL_LINES[0], "Cannot retrieve", *SIVEL_LINES[1:]])
    ),
    "cut off in quotes": csv_text([f'"{rate}"' for rate in RATES]) + '2026-01-01T00:01:00,"2',
    "date and time apart": csv_text(PLAIN, [f"01.01.2026;{clock}" for clock in CLOCKS], "Date;Time;bandwidth_mbps"),
}


def vnstat(**changes: Any) -> str:
    """What `vnstat --json f` writes: volumes of five minutes at RATES, the last of them not over."""
    volumes = []
    for row, rate in enumerate([*RATES.tolist(), 1.0]):
        at = datetime(2026, 1, 1) + timedelta(minutes=5 * row)
        date, time = {"year": at.year, "month": at.month, "day": at.day}, {"hour": at.hour, "minute": at.minute}
        volumes.append({"id": row, "date": date, "time": time, "rx": round(rate * 300 * 125_000), "tx": 1})
    traffic = {"total": {"rx": 10**12, "tx": 10**11}, "fiveminute": volumes, **changes}
    interfaces = [{"name": "eth0", "traffic": traffic}]
    return json.dumps({"vnstatversion": "2.10", "jsonversion": "2", "interfaces": interfaces})


MRTG = f"{START + 59 * 300} 4000000000 12345\n" + "".join(
    f"{START + row * 300} {round(rate * 125_000)} 10 {round(rate * 200_000)} 20\n"
    for row, rate in reversed(list(enumerate(RATES)))
)
