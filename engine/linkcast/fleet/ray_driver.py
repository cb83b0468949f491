"""The same items on a Ray cluster, by Ray Data: an actor for each worker, with one engine each.

Ray Data hands an item to whichever actor is free, holds the others back, and starts an actor anew when it or its
machine dies (its default for actors); the item is then done again, from its checkpoint on. Input and output have to be
on storage that every machine sees under the same path.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from linkcast.extras import install
from linkcast.fleet.crew import Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LOCAL = "local"


class RayCrew:
    """Actors of a cluster.

    Args:
        address: of a running cluster ("auto", "10.0.0.1:6379"); "local" starts one on this machine.
        workers: actors, a CPU each; None: as many as the cluster has CPUs.
    Raises:
        ImportError: Ray is not installed.
    """

    def __init__(self, address: str = LOCAL, workers: int | None = None) -> None:
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise ImportError(f"--ray needs Ray: {install('fleet')} ({error})") from error
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        if not ray.is_initialized():
            ray.init(
                address=None if address == LOCAL else address,
                num_cpus=workers if address == LOCAL else None,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(self, work: Work, items: Sequence[int], report: Callable[[int], None]) -> Iterator[Any]:
        """As `Crew.run`; rows are reported when an item is done."""
        import ray.data

        if not items:
            return
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = False
        context.max_errored_blocks = 0
        workers = min(self.workers, len(items))
        data = ray.data.from_items([{"item": item} for item in items], override_num_blocks=len(items))
        done = data.map_batches(
            _Actor,
            fn_constructor_args=(work,),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        for row in done.iter_rows():
            report(int(row["rows"]))
            yield row["result"]


class _Actor:
    """Does items, and says how many rows each had."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, list[Any] | npt.NDArray[np.int64]]:
        rows: list[int] = []
        result = self.work(int(batch["item"][0]), rows.append)
        return {"result": [result], "rows": [sum(rows)]}
