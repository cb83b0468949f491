"""Any bytes as a file of telemetry: a trace that is sound, or a ValueError of one sentence that names the file.

Run by `fuzz/run trace_files`; by hand, with atheris: `python fuzz/trace_files.py [options of libFuzzer] [corpus]`.
"""

from __future__ import annotations

import random
import sys
import zlib

import atheris
import numpy as np
from instrument import instrument

import linkcast.traces
from linkcast.traces import Layout, trace_from_table
from linkcast.traces.reading import table_of_bytes

PIECES = [
    *b'nan -  1e400 99999999999999999999 " , ; { } [ null Z +99:99 2026-13-45 25:61:61 -1 1e-320 IST | true'.split(
        b" "
    ),
    *b"9999-12-31T23:59:59 0001-01-01 1767225600 1767225600000 timestamp bandwidth_mbps latency_ms % Mbps".split(),
    *(b"\n", b"\t", b"\0", b"\xff"),
]
ZONES = (None, "Europe/Berlin", "UTC", "Asia/Kathmandu")


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Cells and lines change places, or become what stands in no sound file; now and then what libFuzzer does."""
    draw = random.Random(seed)
    if len(data) < 4 or draw.random() < 0.3:
        return bytes(atheris.Mutate(data, most))
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        place, length = draw.randrange(len(changed) or 1), draw.randint(1, 60)
        what = draw.randrange(4)
        if what == 0:
            changed[place : place + draw.randint(0, 8)] = draw.choice(PIECES)
        elif what == 1:
            del changed[place : place + length]
        elif what == 2:
            changed[place:place] = changed[place : place + length]
        else:
            lines = bytes(changed).split(b"\n")
            a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[a], lines[b] = lines[b], lines[a]
            changed = bytearray(b"\n".join(lines))
    return bytes(changed[:most])


def one_input(data: bytes) -> None:
    layout = Layout(timezone=ZONES[zlib.crc32(data) % len(ZONES)])
    try:
        trace = trace_from_table("input", table_of_bytes("input", data), layout)
    except ValueError as error:
        text = str(error)
        assert text.startswith("input: "), f"the error does not name the file: {text!r}"
        assert "\n" not in text, f"more than a sentence: {text!r}"
        return
    assert len(trace) > 0
    assert np.isfinite(trace.features).all() and (trace.features >= 0.0).all()
    assert trace.timestamps is None or len(trace.timestamps) == len(trace)
    assert trace.held.shape == (len(trace),)


if __name__ == "__main__":
    instrument(*(module for name, module in sys.modules.items() if name.startswith(linkcast.traces.__name__)))
    atheris.Setup(sys.argv, one_input, custom_mutator=mutate)
    atheris.Fuzz()
