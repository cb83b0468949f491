"""Worker processes of one box, an engine each: items are handed out one at a time, and done again when one dies."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

Work = Callable[[int, Callable[[int], None]], Any]
"""Does one item, and calls the second argument with rows done. Done again after a kill, it gives the same."""

RETRIES = 5  # deaths of workers in a row, without an item done between them, that a run survives
POLL_S = 0.2

_done: Any = None  # rows done by the workers of this pool; set in each worker


class Crew(Protocol):
    """Whoever does items side by side."""

    def run(self, work: Work, items: Sequence[int], report: Callable[[int], None]) -> Iterator[Any]:
        """Does every item once, in any order; yields what `work` returns.

        Raises:
            Whatever `work` raises; RuntimeError when workers die again and again.
        """


class InProcess:
    """One after the other, here."""

    def run(self, work: Work, items: Sequence[int], report: Callable[[int], None]) -> Iterator[Any]:
        for item in items:
            yield work(item, report)


class LocalCrew:
    """Processes on this machine."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, work: Work, items: Sequence[int], report: Callable[[int], None]) -> Iterator[Any]:
        if len(items) == 1:  # not worth a process
            yield work(items[0], report)
            return
        left, deaths = list(items), 0
        while left:
            done_before = len(left)
            try:
                for item, result in self._pool(work, left, report):
                    left.remove(item)
                    yield result
            except BrokenProcessPool:
                deaths = deaths + 1 if len(left) == done_before else 1
                if deaths > RETRIES:
                    raise RuntimeError(
                        f"workers: {deaths} died one after the other, each without an item done; {len(left)} items are "
                        "left. Is there enough memory? What is done stays: the same command goes on"
                    ) from None

    def _pool(self, work: Work, items: Sequence[int], report: Callable[[int], None]) -> Iterator[tuple[int, Any]]:
        context = multiprocessing.get_context("spawn")
        rows = context.Value("q", 0)
        seen = 0
        workers = min(self.workers, len(items))
        with ProcessPoolExecutor(workers, context, _begin, (rows,)) as pool:
            waiting = list(items)
            running: dict[Future[Any], int] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < workers:  # no more than are worked on: what is queued is lost
                        item = waiting.pop(0)
                        running[pool.submit(_do, work, item)] = item
                    finished, _ = wait(running, POLL_S, FIRST_COMPLETED)
                    report(rows.value - seen)
                    seen = rows.value
                    for future in finished:
                        yield running.pop(future), future.result()
            except BaseException:
                for process in list((getattr(pool, "_processes", None) or {}).values()):
                    process.terminate()
                raise


def _begin(rows: Any) -> None:
    """In a worker: it ends when its parent does, however that ended."""
    global _done  # noqa: PLW0603 - a pool's function is told of no state but its module's
    _done = rows
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _do(work: Work, item: int) -> Any:
    def report(rows: int) -> None:
        with _done.get_lock():
            _done.value += rows

    return work(item, report)
