"""Any bytes as a decision log: ticks that can be told and written again, or a ValueError that names the file.

Run by `fuzz/run decision_log`; by hand, with atheris: `python fuzz/decision_log.py [options of libFuzzer] [corpus]`.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
from pathlib import Path

import atheris
from instrument import instrument

from linkcast.live import explain as explain_module
from linkcast.live import fields, log
from linkcast.live.explain import explain
from linkcast.live.log import is_log, read_log, tick_line

VALUES = (b'null true -1 0 1e308 1e400 NaN "" [] {} "NaN" 99999999999999999999 [[]] {"a":1} "x" 0.5 1 2').split(b" ")
VALUE = re.compile(rb'(?<=:)(null|true|false|"[^"]*"|-?[0-9][0-9.eE+-]*|\[[^][{}]*\]|\{[^][{}]*\})')
PLACE = Path(tempfile.mkdtemp(prefix="linkcast-fuzz-")) / "decisions.jsonl"


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """A value becomes another one, a field goes away, lines change places; now and then what libFuzzer does."""
    draw = random.Random(seed)
    if draw.random() < 0.2:
        return bytes(atheris.Mutate(data, most))
    for _ in range(draw.choice((1, 1, 2))):
        found = list(VALUE.finditer(data))
        if not found:
            return bytes(atheris.Mutate(data, most))
        match = draw.choice(found)
        what = draw.randrange(4)
        if what == 0:
            data = data[: match.start()] + draw.choice(VALUES) + data[match.end() :]
        elif what == 1:
            other = draw.choice(found).group()
            data = data[: match.start()] + other + data[match.end() :]
        elif what == 2:  # its field goes away
            key = data.rfind(b'"', 0, data.rfind(b'"', 0, match.start()))
            data = data[:key] + data[match.end() :].lstrip(b",")
        else:
            lines = data.split(b"\n")
            a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[a], lines[b] = lines[b], lines[a]
            data = b"\n".join(lines)
    return data[:most]


def one_input(data: bytes) -> None:
    PLACE.write_bytes(data)
    is_log(PLACE)
    try:
        header, ticks = read_log(PLACE)
        for tick in ticks:
            explain(header, tick)
            tick_line(tick)
    except ValueError as error:
        assert str(error).startswith(PLACE.name), f"the error does not name the file: {error}"


if __name__ == "__main__":
    os.environ.setdefault("TZ", "UTC")
    instrument(log, fields, explain_module)
    atheris.Setup(sys.argv, one_input, custom_mutator=mutate)
    atheris.Fuzz()
