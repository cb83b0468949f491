"""Outlives the daemon: when it ends without a word, be it by kill -9, the interface is put back as it was.

Started by shaper.py as a program of its own, with the state file's path. The daemon holds the other end of its standard
input: "done" means that there is nothing left to restore; the end of the pipe without it means that the daemon is gone.
A daemon that was started again by then has the lock: it goes on with what is there, and nothing is restored.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

LOCK_WAIT_S = 1.0  # the kernel closes a dead process's files in no known order
SETTLE_S = 0.5  # a tc that the daemon had started may still be at work


def main(arguments: list[str]) -> int:
    """arguments: the state file, the lock file."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    tc = import_module("tc")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    path, lock = Path(arguments[0]), Path(arguments[1])
    if b"done" in sys.stdin.buffer.read():
        return 0
    try:
        held = tc.Lock(lock, LOCK_WAIT_S)
    except tc.TcError:
        return 0
    time.sleep(SETTLE_S)
    try:
        print(f"linkcast guard: {tc.restore(path)}", file=sys.stderr, flush=True)
    except tc.TcError as error:
        print(f"linkcast guard: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        held.release()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
