"""Writes the seeds of a Python target: `python fuzz/python_seeds.py trace_files|decision_log FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path


def trace_files(folder: Path) -> None:
    """Every kind of file that the tests read."""
    from trace_files import READ

    for index, content in enumerate(READ.values()):
        data = content if isinstance(content, bytes) else content.encode()
        if len(data) <= 8_000:
            (folder / f"seed-{index}").write_bytes(data)


def decision_log(folder: Path) -> None:
    """The first ticks of two sessions, one with a shadow."""
    from linkcast import Engine
    from linkcast.live.log import header_line, tick_line
    from linkcast.live.session import Session
    from live_sessions import samples, ticks

    engine = Engine(Path(__file__).parents[1] / "tests" / "versions" / "0.1.0" / "bundle")
    for index, shadow in enumerate((None, engine)):
        session = Session("eth0", engine, shadow=shadow, capacity_mbps=100.0)
        header = header_line(session.header())
        lines = [tick_line(tick) for tick in ticks(session, samples(16))]
        (folder / f"seed-{index}").write_bytes(header + b"".join(lines[:1] + lines[-3:]))


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1] / "tests")  # instead of this folder, which has files of the same names
    {"trace_files": trace_files, "decision_log": decision_log}[sys.argv[1]](Path(sys.argv[2]))
