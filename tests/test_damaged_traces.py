"""Damaged files, and files of cases that went wrong once: telemetry, or one sentence that says what to do."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import numpy as np
import pytest

from linkcast.traces import Layout, read_trace, trace_from_table
from linkcast.traces.reading import table_of_bytes
from trace_files import (
    READ,
)

CASES = Path(os.environ.get("LINKCAST_CASES", Path(__file__).resolve().parents[2] / "shared" / "cases")) / "traces"
FIRST = np.datetime64("2026-01-01T00:00:00")


PIECES = [
    b"nan",
    b"-",
    b"",
    b"1e400",
    b"99999999999999999999",
    b'"',
    b"\n",
    b",",
    b";",
    b"{",
    b"}",
    b"[",
    b"null",
    b"Z",
    b"+99:99",
]
PIECES += [b"2026-13-45", b"25:61:61", b"\0", b"\xff", b"-1", b"9999-12-31T23:59:59", b"0001-01-01", b"1e-320", b"IST"]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One to six changes: a byte, a cut, a piece that does not belong there, something lost, something twice."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(data) or 1)
        length = rng.randint(1, 100)
        change = rng.randrange(5)
        if change == 0 and data:
            data[place] = rng.randrange(256)
        elif change == 1:
            del data[max(place, 40) :]
        elif change == 2:
            data[place : place + rng.randint(0, 8)] = rng.choice(PIECES)
        elif change == 3:
            del data[place : place + length]
        else:
            data[place:place] = data[place : place + length]
    return bytes(data)


def test_a_damaged_file_gives_telemetry_or_one_sentence():
    rng = random.Random(7)
    kinds = [content if isinstance(content, bytes) else content.encode() for content in READ.values()]
    read = 0
    for _ in range(400):
        layout = Layout(timezone=rng.choice([None, "Europe/Berlin"]))
        try:
            trace = trace_from_table("damaged", table_of_bytes("damaged", damaged(rng.choice(kinds), rng)), layout)
        except ValueError as error:
            assert re.match("damaged: .*(expected|readable|--timezone)", str(error))
            assert "\n" not in str(error)
        else:
            read += 1
            assert np.isfinite(trace.features).all() and (trace.features >= 0.0).all()
            assert len(trace.timestamps if trace.timestamps is not None else trace) == len(trace)
    assert 100 < read < 400


BASE = {"base.csv", "bom.csv", "bom_first_bw.csv", "comment_lines.csv", "crlf.csv", "dup_header.csv", "dup_rows.csv"}
BASE |= {
    "iperf3.json",
    "kbit.csv",
    "prometheus.json",
    "quoted_comma.csv",
    "ragged.csv",
    "semicolon_comma.csv",
    "inf.csv",
}
BASE |= {
    "spaces_header.csv",
    "speedtest_sivel.csv",
    "speedtest_sivel.jsonl",
    "tab.tsv",
    "truncated_last.csv",
    "utf16.csv",
}
BASE |= {
    f"ts_{kind}.csv" for kind in ("dmy", "epoch_float", "epoch_ms", "epoch_s", "epoch_us", "iso_offset", "iso_space")
}
BASE |= {
    "ts_iso_us.csv",
    "ts_timeonly.csv",
    "ts_us.csv",
    "unsorted.csv",
    "upper_header.csv",
    "with_unit_text.csv",
    "nan_words.csv",
}
SAYS = {
    "counter.csv": "a counter; add -u bandwidth_mbps=bytes",
    "empty.csv": "got an empty file",
    "header_only.csv": "expected rows below the header",
    "loss_percent.csv": "add -u packet_loss=percent",
    "missing_bw.csv": "is it 'throughput'. add -c bandwidth_mbps=throughput",
    "neg.csv": "expected at least 0, got -1 .*--missing -1",
}


@pytest.mark.parametrize("path", sorted(CASES.glob("*")), ids=lambda path: path.name)
def test_a_case_is_read_with_its_values_or_says_what_to_do(path):
    if path.name in SAYS:
        with pytest.raises(ValueError, match=SAYS[path.name]):
            read_trace(path)
        return
    trace = read_trace(path)
    if path.name in BASE:
        base = read_trace(CASES / "base.csv")
        measured = ~trace.held
        assert len(trace) == 60
        np.testing.assert_allclose(trace.features[measured, 1], base.features[measured, 1], atol=5e-4)
        assert len(trace.segment_starts) == 1
    else:
        assert path.name in ("allzero.csv", "constant.csv", "few_rows.csv", "kbit_in_mbps.csv")
        assert bool(trace.warnings) == (path.name == "kbit_in_mbps.csv")
