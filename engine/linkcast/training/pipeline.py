"""One training run: which models on which data, carried through to a written bundle.

Everything that was asked for is checked, and the telemetry read, before TensorFlow is imported: it takes seconds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from linkcast.traces import Columns, Layout
from linkcast.training import bundle, report, settings
from linkcast.training.bundle import Bundle, Json, rounded
from linkcast.training.new_group import NewGroup
from linkcast.training.plan import COMPARED, Job, OfBase, Plan, plan
from linkcast.training.resume import Unfinished, key_of
from linkcast.training.settings import Settings
from linkcast.training.start import check_installed

NOTES = (
    "Forecasters: bandwidth as the logarithm relative to the window's first sample, the target relative to its last. "
    "Loss: its absolute error, each window weighted by its level over the EWMA's mean absolute error on its source.",
    "The internet forecaster: latency relative to the first sample too, so that nothing of the level enters; trained "
    "on the forecasts of a guide, a mean of naive rules that a small network weighs, fitted to what came; windows at "
    "levels from 0.01 to 100,000 Mbit/s, with features left out, and random processes among them.",
    "Forecasters: a batch of 128 goes through two to three times as many windows a second as one of 32.",
    "Batch normalisation, in the LSTMs and in the DDQN: statistics measured once on training inputs, then fixed.",
    "DDQN: learned is the gain over the rule that rounds up and drains, on the same links; the exported Q-values are "
    "relative to it.",
    "Allocators: the state's bandwidth is that of a link of trained_on.capacity_mbps; scale it for another link.",
)


Show = Callable[[str, int, int, str], None]
"""Called with a model's name and its progress."""

Keep = Callable[[Job, Bundle], None]
"""Called with a job and what it gave."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run wrote."""

    folder: Path
    manifest: Json
    report: Path
    trained: tuple[str, ...]  # model names; the others were carried over
    seconds: float


def run(
    output: str | os.PathLike[str],
    telemetry_file: str | os.PathLike[str] | None = None,
    *,
    traces: str | os.PathLike[str] | None = None,
    seed: int = 0,
    quick: bool = False,
    only: Sequence[str] | None = None,
    columns: Columns | Layout | None = None,
    base: str | os.PathLike[str] | None = None,
    group: NewGroup | None = None,
    run_settings: Settings | None = None,
    recipe: str = "default",
    workers: int = 1,
    console: Console | None = None,
    resume: bool = False,
) -> TrainingResult:
    """Trains models and writes a bundle folder in one go: nothing in it changes before everything is done.

    What is finished is kept aside until then, so that after an interruption (Ctrl-C, a full disk, a machine that went
    off) the same run with `resume` goes on behind the last model, or pair of a group's, that was done.

    Without telemetry every model is trained on the simulator, and the internet forecaster also on public traces of real
    links when their folder is given. With a telemetry file only what the file speaks of is
    trained: with a `service_group` column the forecaster and the fallback of each group in it (and the group's
    statistics), without one the forecaster of the profiles in `only`, by default "internet". Allocators always learn
    in the simulator: what a link carried does not say what it would have carried at another allocation. Whatever is
    not trained is carried over, unchanged, from the base bundle, so that the folder is always complete.

    On telemetry a forecaster begins with the weights of the base bundle's, and is kept where its mean absolute error on
    the held-out part is the smaller; otherwise the base's weights stay (`skill.start` in the manifest has both). A new
    group begins with those of the group whose forecaster is nearest to its validation part.

    Args:
        output: the bundle folder; made when it is not there, its models and metadata replaced when it is.
        telemetry_file: CSV or Parquet with `bandwidth_mbps`, and what there is of the other telemetry columns,
            `timestamp` and `service_group` (see docs/own-data.md).
        traces: folder of the public traces (see `linkcast.training.public`); None trains on the simulator alone.
        seed: two runs with the same seed, settings and data give the same models.
        quick: few epochs and episodes; a few minutes instead of more than half an hour.
        only: profiles and service groups to train, by name; without a telemetry file also single models.
        columns: as `linkcast.read_trace` takes them.
        base: bundle folder to carry over from; by default the one that ships.
        group: a service group that the base bundle has not, to train on the telemetry file and to add.
        run_settings: sizes and hyper-parameters, instead of those that `quick` chooses.
        recipe: "default", or "classic" for the forecasters: Adam at 1e-3, squared error, batch 32, up to 100 epochs
            with early stopping and learning-rate reduction.
        workers: processes that train models side by side, one core each; their number does not change a model. More
            than one are started anew (`spawn`), so a script calls this under `if __name__ == "__main__":`.
        resume: takes what an interrupted run of the very same arguments and data had finished; where there is none of
            it, all is trained.
        console: where progress and the closing tables go; None is standard error, Console(quiet=True) is nowhere.
    Raises:
        ValueError: an unknown name in `only` or recipe, traces together with a telemetry file, a negative seed, no
            workers, a group whose name or ids are in use, or a telemetry file with missing columns or too few rows.
        OSError: a file cannot be read or written.
        ImportError: the train extra is not installed.
    """
    started = perf_counter()
    check_installed()
    if workers < 1:
        raise ValueError(f"workers: expected 1 or more, got {workers}")
    chosen = run_settings or (settings.quick() if quick else settings.full())
    planned = plan(telemetry_file, traces, chosen, seed, only, columns, base, group, recipe)
    chosen, names, kept = planned.settings, planned.trained, planned.base

    console = console or Console(stderr=True)
    console.print(settings.said(chosen, telemetry_file is not None), highlight=False, style="dim")
    folder = Path(output)
    unfinished = Unfinished(folder, _key(planned, seed, telemetry_file, traces, columns, base, group))
    if not resume:
        unfinished.clear()
    unfinished.check()
    trained = Bundle()
    for part in _run_or_take(planned, seed, workers, console, unfinished):
        trained.models.update(part.models)
        trained.groups.update(part.groups)
        for kind, rows in part.comparisons.items():
            trained.comparisons.setdefault(kind, {}).update(rows)
    if trained.comparisons:
        trained.models[COMPARED].manifest["skill"]["links"] = rounded(trained.comparisons)
    complete = Bundle(
        {name: trained.models.get(name) or kept.models[name] for name in planned.order}, kept.groups | trained.groups
    )
    seconds = perf_counter() - started
    training = {
        "mode": "quick" if chosen.quick else "full",
        "seconds": round(seconds, 1),
        "settings": asdict(chosen),
        "carried_over": [name for name in planned.order if name not in names],
        "notes": list(NOTES),
    }
    created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    files = bundle.metadata(complete, _generator(), created, seed, training)
    manifest = bundle.write(folder, complete, files, report.markdown(files["manifest"]))
    unfinished.clear()
    for table in (report.forecaster_table(files["manifest"], names), report.allocator_table(files["manifest"], names)):
        if table.row_count:
            console.print(table)
    return TrainingResult(folder, manifest, folder / "metadata" / bundle.REPORT, tuple(names), seconds)


def _key(
    planned: Plan,
    seed: int,
    telemetry_file: str | os.PathLike[str] | None,
    traces: str | os.PathLike[str] | None,
    columns: Columns | Layout | None,
    base: str | os.PathLike[str] | None,
    group: NewGroup | None,
) -> str:
    """Of what the run's models depend on."""
    return key_of(
        linkcast=_generator(),
        settings=planned.settings,
        seed=seed,
        telemetry=None if telemetry_file is None else Path(telemetry_file),
        traces=None if traces is None else Path(traces),
        columns=columns,
        base=(Path(base) if base is not None else bundle.bundled_folder()) / "metadata",
        group=group,
    )


def _run_or_take(planned: Plan, seed: int, workers: int, console: Console, unfinished: Unfinished) -> list[Bundle]:
    """What each job gives: taken from an earlier run, or trained now and kept until all are."""
    taken = {index: unfinished.load(list(job)) for index, job in enumerate(planned.jobs)}
    left = [index for index, part in taken.items() if part is None]
    done = [name for index, job in enumerate(planned.jobs) if index not in left for name in job]
    if done:
        console.print(f"trained before the interruption: {', '.join(done)}", highlight=False)

    def keep(job: Job, part: Bundle) -> None:
        unfinished.save(list(job), part)

    jobs = [planned.jobs[index] for index in left]
    if jobs:
        parts = _run_jobs(jobs, planned.settings, seed, planned.of_base, workers, console, keep)
        taken.update(zip(left, parts, strict=True))
    return [part for part in taken.values() if part is not None]


class _TimeLeft(ProgressColumn):
    """By the pace so far, as if no training ended early."""

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text("")
        minutes, seconds = divmod(int(task.time_remaining), 60)
        return Text(f"at most {minutes} min left" if minutes > 1 else f"at most {60 * minutes + seconds} s left")


def _run_jobs(
    jobs: Sequence[Job], chosen: Settings, seed: int, of_base: OfBase, workers: int, console: Console, keep: Keep
) -> list[Bundle]:
    """What each job trained, told to `keep` as soon as it is; a progress bar for each model."""
    side_by_side = workers > 1 and len(jobs) > 1
    if not side_by_side:
        import linkcast.training.trainer  # noqa: F401 - TensorFlow, before a bar is drawn
    columns = (
        TextColumn("{task.description:22}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        _TimeLeft(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        shown: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int, note: str) -> None:
            if name not in shown:
                shown[name] = bars.add_task(name, total=total, note=note)
            ended = bars.tasks[shown[name]].finished
            bars.update(shown[name], completed=done, total=total, note=note)
            if done >= total and not ended and not console.is_terminal:  # a log file shows no bars before the end
                console.print(f"{name}: {note}, {bars.tasks[shown[name]].elapsed:.0f} s")

        if not side_by_side:
            parts = []
            for job in jobs:
                parts.append(_train(job, chosen, seed, of_base, show))
                keep(job, parts[-1])
            return parts
        return _run_side_by_side(jobs, chosen, seed, of_base, min(workers, len(jobs)), show, keep)


def _run_side_by_side(
    jobs: Sequence[Job], chosen: Settings, seed: int, of_base: OfBase, workers: int, show: Show, keep: Keep
) -> list[Bundle]:
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with context.Manager() as manager, ProcessPoolExecutor(workers, context) as pool:
        news = manager.Queue()
        results = [pool.submit(_train_in_worker, job, chosen, seed, of_base, news) for job in jobs]
        kept: set[int] = set()
        try:
            while len(kept) < len(results):
                with contextlib.suppress(queue.Empty):
                    show(*news.get(timeout=0.2))
                for index, result in enumerate(results):
                    if result.done() and index not in kept:
                        keep(jobs[index], result.result())
                        kept.add(index)
            with contextlib.suppress(queue.Empty):
                while True:
                    show(*news.get(timeout=0.2))
        except BaseException:  # an interrupt too: nobody waits for models that will not be written
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        return [result.result() for result in results]


def _train(job: Job, chosen: Settings, seed: int, of_base: OfBase, show: Show) -> Bundle:
    from linkcast.training.trainer import Trainer

    trainer = Trainer(chosen, seed, Bundle(), of_base.starts, of_base.identities)
    for name, work in job.items():
        work(trainer, partial(show, name))
    return trainer.bundle


def _train_in_worker(
    job: Job, chosen: Settings, seed: int, of_base: OfBase, news: queue.Queue[tuple[str, int, int, str]]
) -> Bundle:
    return _train(job, chosen, seed, of_base, lambda *progress: news.put(progress))


def _generator() -> str:
    try:
        return f"linkcast {version('linkcast')}"
    except PackageNotFoundError:  # run from the source tree
        return "linkcast"
