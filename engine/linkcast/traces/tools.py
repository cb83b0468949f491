"""What measuring programs write: iperf3, speedtest-cli, Ookla's speedtest, Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from linkcast.traces.clock import read_times
from linkcast.traces.counter import rises
from linkcast.traces.layout import unit_factor
from linkcast.traces.table import Table, table_of_records, text_column

Json = dict[str, Any]

SHORT = 0.5  # of the usual interval: a last one below that is the rest of a measurement


def read_json(file: str, text: str) -> Table:
    """A table from JSON: one document, several after each other, or one on each line.

    Raises:
        ValueError: no JSON, JSON that ends in the middle of its first document, or nothing in it that is a table.
    """
    try:
        documents, wrong, rest = _documents(text)
    except RecursionError as error:
        raise ValueError(f"{file}: expected JSON with a table in it, got one that is nested too deep") from error
    if not documents:
        where = f"line {text.count(chr(10)) + 1}" if text.strip() else "its first character"
        raise ValueError(f"{file}: expected JSON, got text that is cut off or none at {where}; write the file anew")
    notices = []
    if wrong:
        lines = "1 line that is" if len(wrong) == 1 else f"{len(wrong)} lines that are"
        notices.append(f"{lines} no JSON left out, the first {wrong[0][:40]!r}")
    if rest:
        notices.append(f"the last line is cut off ({' '.join(rest.split())[:40]}) and left out")
    if len(documents) == 1 and isinstance(documents[0], list):
        documents = documents[0]
    records = [document for document in documents if isinstance(document, dict)]
    table = _table_of(file, records) if records else None
    if table is None:
        raise ValueError(f"{file}: expected JSON objects with a value for each column, got {str(documents[:1])[:60]}")
    return replace(table, notices=(*notices, *table.notices))


def _documents(text: str) -> tuple[list[Any], list[str], str]:
    """Each JSON document of the text, lines between them that are none, and a last one that is cut off."""
    documents: list[Any] = []
    wrong: list[str] = []
    decoder, position = json.JSONDecoder(), 0
    while True:
        found = re.compile(r"[\s,\x00\x1e]*").match(text, position)
        position = found.end() if found else position
        if position >= len(text):
            return documents, wrong, ""
        try:
            document, position = decoder.raw_decode(text, position)
        except ValueError:
            following = re.compile(r"\n(?=[{\[])").search(text, position)
            if not documents or following is None:
                return documents, wrong, text[position:].strip()
            wrong.append(text[position : following.start()].splitlines()[0])
            position = following.end()
            continue
        documents.append(document)


def _table_of(file: str, records: list[Json]) -> Table | None:
    """The table that the records are; None when they are none."""
    try:
        table = _of_program(file, records)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{file}: expected JSON as its program writes it, got another structure: {error!r}") from error
    if table is not None or len(records) > 1:
        return table or table_of_records(records)
    first = records[0]
    inner = next((value for value in first.values() if _is_rows(value)), None)
    if inner is not None:
        return table_of_records(inner)
    columns = {name: values for name, values in first.items() if isinstance(values, list)}
    if columns and len({len(values) for values in columns.values()}) == 1:
        cells = {name: ["" if value is None else str(value) for value in values] for name, values in columns.items()}
        return Table({name: text_column(words) for name, words in cells.items()})
    return None if columns else table_of_records(records)


def _of_program(file: str, records: list[Json]) -> Table | None:
    """The table of records that a program wrote which is known."""
    first = records[0]
    if any("intervals" in record and "start" in record for record in records):
        return _iperf3(file, [record for record in records if "intervals" in record])
    if first.get("event") in ("start", "interval", "end", "error") and isinstance(first.get("data"), (dict, str)):
        return _iperf3(file, _runs_of_stream(records))
    answer = _answer_of(first, records)
    if answer is not None:
        return _prometheus(file, answer)
    if any(record.get("type") == "result" and "download" in record for record in records):
        return _ookla([record for record in records if record.get("type") == "result"], len(records))
    if not {"download", "upload", "ping"} <= set(first):
        return None
    table = table_of_records(records)
    known = {"bandwidth_mbps": "download", "latency_ms": "ping", "timestamp": "timestamp"}
    known = {feature: column for feature, column in known.items() if column in table.columns}
    return replace(table, known=known, units={"download": "bit/s", "upload": "bit/s", "ping": "ms"})


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


# ----- iperf3


def _runs_of_stream(events: list[Json]) -> list[Json]:
    """The events of `iperf3 --json-stream` as the documents that `--json` writes."""
    runs: list[Json] = []
    for event in events:
        data = event.get("data")
        if event.get("event") == "start" or not runs:
            runs.append({"start": data if event.get("event") == "start" else {}, "intervals": []})
        if event.get("event") == "interval":
            runs[-1]["intervals"].append(data)
        elif event.get("event") == "error":
            runs[-1]["error"] = data
    return runs


def _iperf3(file: str, runs: Sequence[Json]) -> Table:
    rows: list[dict[str, float | str]] = []
    notices = []
    for number, run in enumerate(runs):
        begin = ((run.get("start") or {}).get("timestamp") or {}).get("timesecs")
        sums = [_sum_of(interval) for interval in run.get("intervals") or []]
        sums = [one for one in sums if not one.get("omitted")]
        lengths = [_float(one.get("end", 0)) - _float(one.get("start", 0)) for one in sums]
        if len(lengths) > 2 and lengths[-1] < SHORT * float(np.median(lengths)):
            sums = sums[:-1]
        for one in sums:
            at = _float(one.get("start", 0))
            rows.append(
                {
                    "time": _float(begin) + at if begin is not None else at,
                    "bits_per_second": _float(one["bits_per_second"]),
                    "rtt_us": one.get("rtt_us", ""),
                    "lost_percent": one.get("lost_percent", ""),
                    "trace": str(number + 1),
                }
            )
        if run.get("error"):
            notices.append(f"iperf3 reports: {run['error']}")
        if any("sum_bidir_reverse" in interval for interval in run.get("intervals") or []):
            notices.append("of both directions the first, what this end sends, is read")
    if not rows:
        said = f": {notices[0]}" if notices else ""
        raise ValueError(f"{file}: expected intervals with a rate in iperf3's report, got none{said}")
    table = table_of_records(rows)
    known = {"timestamp": "time", "bandwidth_mbps": "bits_per_second"}
    known |= {"latency_ms": "rtt_us"} if any(row["rtt_us"] != "" for row in rows) else {}
    known |= {"packet_loss": "lost_percent"} if any(row["lost_percent"] != "" for row in rows) else {}
    if len(runs) == 1:
        table = replace(table, columns={name: values for name, values in table.columns.items() if name != "trace"})
    units = {"bits_per_second": "bit/s", "rtt_us": "us", "lost_percent": "percent"}
    return replace(table, known=known, units=units, notices=tuple(dict.fromkeys(notices)))


def _sum_of(interval: Json) -> Json:
    """The rate of all streams together, and the mean round trip of those that have one (microseconds)."""
    streams = interval.get("streams") or []
    total = dict(interval.get("sum") or {})
    if "bits_per_second" not in total and streams:
        total = {**streams[0], "bits_per_second": sum(_float(stream.get("bits_per_second", 0)) for stream in streams)}
    total.setdefault("bits_per_second", "nan")
    round_trips = [_float(stream["rtt"]) for stream in streams if stream.get("rtt")]
    if round_trips:
        total["rtt_us"] = float(np.mean(round_trips))
    return total


_IPERF_LINE = re.compile(
    r"^(?P<before>.*?)\[\s*(?P<id>SUM|\d+)\](?:\[(?P<role>[^\]]+)\])?\s+(?P<start>\d+(?:\.\d+)?)-\s*(?P<end>\d+(?:\.\d+)?)"
    r"\s+sec\s+[\d.]+\s+\w+\s+(?P<rate>\d+(?:\.\d+)?)\s+(?P<unit>[KMGT]?(?:bits|Bytes)/sec)(?P<rest>.*)$"
)


def is_iperf_text(text: str) -> bool:
    """Whether the first lines are what iperf3 prints."""
    return any(_IPERF_LINE.match(line) for line in text.splitlines()[:60])


def read_iperf_text(file: str, text: str) -> Table:
    """iperf3's (and iperf's) report as it prints it: a line for each interval; [SUM] where there are several streams.

    Raises:
        ValueError: no interval of the measurement itself.
    """
    found = [match for line in text.splitlines() if (match := _IPERF_LINE.match(line))]
    found = [match for match in found if "omitted" not in match["rest"]]
    chosen = [match for match in found if match["id"] == "SUM"] or found
    notices = []
    roles = list(dict.fromkeys(match["role"] for match in chosen))
    if len(roles) > 1:
        notices.append(f"of {', '.join(map(str, roles))} the first is read")
        chosen = [match for match in chosen if match["role"] == roles[0]]
    streams = list(dict.fromkeys(match["id"] for match in chosen))
    spans = [float(match["end"]) - float(match["start"]) for match in chosen]
    usual = float(np.median(spans)) if spans else 0.0
    started = re.search(r"^(?:Time|Start Time):\s*(.+)$", text, re.MULTILINE)
    start = started[1].strip() if started else None
    base = None if start is None else read_times(text_column([start]))
    rows: list[dict[str, float | str]] = []
    for match, span in zip(chosen, spans, strict=True):
        if not SHORT * usual <= span <= 1.5 * usual:  # the summary of the whole, and the rest of the last interval
            continue
        lost = re.search(r"\((?P<percent>[\d.e+-]+)%\)", match["rest"])
        before = match["before"].strip()
        at = float(match["start"]) + (0.0 if base is None else float(base.wall[0]) / 1e6)
        factor = unit_factor("bandwidth_mbps", match["unit"])
        assert factor is not None
        rows.append(
            {
                "time": before or f"{at:.3f}",
                "bandwidth_mbps": float(match["rate"]) * factor,
                "lost_percent": lost["percent"] if lost else "",
                **({"session": match["id"]} if len(streams) > 1 else {}),
            }
        )
    if not rows:
        raise ValueError(f"{file}: expected lines with an interval and a rate of iperf3, got none that is whole")
    known = {"timestamp": "time", "bandwidth_mbps": "bandwidth_mbps"}
    known |= {"packet_loss": "lost_percent"} if any(row["lost_percent"] != "" for row in rows) else {}
    return replace(table_of_records(rows), known=known, units={"lost_percent": "percent"}, notices=tuple(notices))


# ----- speed tests


def _ookla(results: list[Json], lines: int) -> Table:
    table = table_of_records(results)
    known = {
        "bandwidth_mbps": "download.bandwidth",
        "latency_ms": "ping.latency",
        "packet_loss": "packetLoss",
        "timestamp": "timestamp",
    }
    known = {feature: column for feature, column in known.items() if column in table.columns}
    units = {"download.bandwidth": "B/s", "upload.bandwidth": "B/s", "ping.latency": "ms", "packetLoss": "percent"}
    left = lines - len(results)
    notices = (f"{left} line{'s' if left > 1 else ''} of speedtest left out that are no result",) if left else ()
    return replace(table, known=known, units=units, notices=notices)


# ----- Prometheus


def _answer_of(first: Json, records: list[Json]) -> Json | None:
    """Prometheus' answer, whole or what people take out of it with jq: .data, or .data.result."""
    if first.get("status") in ("success", "error") and ("data" in first or "error" in first):
        return first
    if "resultType" in first and "result" in first:
        return {"status": "success", "data": first}
    if "metric" in first and "values" in first:
        return {"status": "success", "data": {"resultType": "matrix", "result": records}}
    return None


def _prometheus(file: str, answer: Json) -> Table:
    """The answer of /api/v1/query_range: each series is a session."""
    if answer.get("status") != "success":
        raise ValueError(
            f"{file}: expected a Prometheus answer with data, got the error {answer.get('error', 'unknown')!r}"
        )
    data = answer.get("data") or {}
    series = data.get("result") or []
    if data.get("resultType") != "matrix":
        raise ValueError(
            f"{file}: expected the answer of a Prometheus range query, got a {data.get('resultType')}; "
            "ask /api/v1/query_range, with start, end and step"
        )
    if not any(one.get("values") for one in series):
        raise ValueError(f"{file}: expected series with values in Prometheus' answer, got none; widen its time range")
    labels = _labels([one.get("metric") or {} for one in series])
    times, values, sessions = [], [], []
    counters = []
    for one, label in zip(series, labels, strict=True):
        points = one.get("values") or []
        times += [str(point[0]) for point in points]
        values += [str(point[1]) for point in points]
        sessions += [label] * len(points)
        counters.append(rises(np.array([_float(point[1]) for point in points])))
    names = {(one.get("metric") or {}).get("__name__", "") for one in series}
    unit, notice = _prometheus_unit(next(iter(names)) if len(names) == 1 else "", all(counters))
    columns = {"time": text_column(times), "value": text_column(values)}
    if len(series) > 1:
        columns["session"] = text_column(sessions)
    return Table(columns, {"timestamp": "time", "bandwidth_mbps": "value"}, {"value": unit}, (notice,))


def _prometheus_unit(name: str, rising: bool) -> tuple[str, str]:
    """The unit of a metric by its name and values: Prometheus' base unit is the byte."""
    word = name.lower()
    bits = "bit" in word
    if rising or word.endswith("_total"):
        unit = "bits" if bits else "bytes"
        return (
            unit,
            f"the values of {name or 'the query'} are taken as a counter of {unit}; -u bandwidth_mbps=B/s reads rates",
        )
    unit = "Mbit/s" if "mbit" in word or "mbps" in word else "bit/s" if bits or word.endswith("bps") else "B/s"
    return unit, f"the values of {name or 'the query'} are taken as {unit}; -u bandwidth_mbps=UNIT reads another"


def _labels(metrics: list[Json]) -> list[str]:
    """A name for each series from the labels in which they differ."""
    names = dict.fromkeys(name for metric in metrics for name in metric)
    differ = [name for name in names if len({metric.get(name) for metric in metrics}) > 1]
    return [" ".join(str(metric.get(name, "-")) for name in differ) or "series" for metric in metrics]


def _float(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan
