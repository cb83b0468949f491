"""One training run: which models on which data, carried through to a written bundle."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from linkcast import simulation
from linkcast.groups import group_key
from linkcast.traces import Columns, Layout
from linkcast.training import bundle, datasets, forecasters, public, report, settings, telemetry
from linkcast.training.bundle import Bundle, Json
from linkcast.training.datasets import Dataset, GroupRows
from linkcast.training.settings import Settings
from linkcast.training.trainer import Trainer, rounded

MODELS = (
    *(f"{profile}_lstm" for profile in simulation.PROFILES),
    *(f"{profile}_ddqn" for profile in simulation.PROFILES),
    *(f"{group}_model" for group in simulation.GROUPS),
    *(f"{group}_fallback" for group in simulation.GROUPS),
)
"""Every model of a bundle, in the manifest's order."""

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


COMPARED = "internet_lstm"  # beside rivals, on every link

Job = dict[str, Callable[[Trainer, forecasters.Progress], None]]
"""Models that one trainer trains one after the other, by name. A job can be sent to another process."""

Show = Callable[[str, int, int, str], None]
"""Called with a model's name and its progress."""


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
    run_settings: Settings | None = None,
    recipe: str = "default",
    workers: int = 1,
    console: Console | None = None,
) -> TrainingResult:
    """Trains models and writes a bundle folder in one go: nothing in it changes before everything is done.

    Without telemetry every model is trained on the simulator, and the internet forecaster also on public traces of real
    links when their folder is given. With a telemetry file only what the file speaks of is
    trained: with a `service_group` column the forecaster and the fallback of each group in it (and the group's
    statistics), without one the forecaster of the profiles in `only`, by default "internet". Allocators always learn
    in the simulator: what a link carried does not say what it would have carried at another allocation. Whatever is
    not trained is carried over, unchanged, from the base bundle, so that the folder is always complete.

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
        run_settings: sizes and hyper-parameters, instead of those that `quick` chooses.
        recipe: "default", or "classic" for the forecasters: Adam at 1e-3, squared error, batch 32, up to 100 epochs
            with early stopping and learning-rate reduction.
        workers: processes that train models side by side, one core each; their number does not change a model. More
            than one are started anew (`spawn`), so a script calls this under `if __name__ == "__main__":`.
        console: where progress and the closing tables go; None is standard error, Console(quiet=True) is nowhere.
    Raises:
        ValueError: an unknown name in `only` or recipe, traces together with a telemetry file, a negative seed, no
            workers, or a telemetry file with missing columns or too few rows.
        OSError: a file cannot be read or written.
        ImportError: the train extra is not installed.
    """
    started = perf_counter()
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    if workers < 1:
        raise ValueError(f"workers: expected 1 or more, got {workers}")
    chosen = run_settings or (settings.quick() if quick else settings.full())
    if recipe not in settings.RECIPES:
        raise ValueError(f"recipe: expected {' or '.join(settings.RECIPES)}, got {recipe}")
    if recipe == "classic":
        chosen = settings.by_classic_recipe(chosen)
    if traces is not None and telemetry_file is not None:
        raise ValueError("traces: expected none together with a telemetry file")
    models = [name for name in only or () if name in MODELS] if telemetry_file is None else []
    names = _known([name for name in only if name not in models] if only is not None else None, models)
    if telemetry_file is None:
        jobs = _chosen(_simulated_jobs(chosen, traces), names, models)
    else:
        jobs = _telemetry_jobs(chosen, telemetry_file, names, columns)
    asked = [name for job in jobs for name in job if name in MODELS]
    carried_over = [name for name in MODELS if name not in asked]
    kept = bundle.read(Path(base) if base is not None else bundle.bundled_folder()) if carried_over else Bundle()

    console = console or Console(stderr=True)
    trained = Bundle()
    for part in _run_jobs(jobs, chosen, seed, workers, console):
        trained.models.update(part.models)
        trained.groups.update(part.groups)
        for kind, rows in part.comparisons.items():
            trained.comparisons.setdefault(kind, {}).update(rows)
    if trained.comparisons:
        trained.models[COMPARED].manifest["skill"]["links"] = rounded(trained.comparisons)
    complete = Bundle(
        {name: trained.models.get(name) or kept.models[name] for name in MODELS},
        {group: trained.groups.get(group) or kept.groups[group] for group in simulation.GROUPS},
    )
    seconds = perf_counter() - started
    training = {
        "mode": "quick" if chosen.quick else "full",
        "seconds": round(seconds, 1),
        "settings": asdict(chosen),
        "carried_over": carried_over,
        "notes": list(NOTES),
    }
    created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    files = bundle.metadata(complete, _generator(), created, seed, training)
    folder = Path(output)
    manifest = bundle.write(folder, complete, files, report.markdown(files["manifest"]))
    for table in (report.forecaster_table(files["manifest"], asked), report.allocator_table(files["manifest"], asked)):
        if table.row_count:
            console.print(table)
    return TrainingResult(folder, manifest, folder / "metadata" / bundle.REPORT, tuple(asked), seconds)


def _known(only: Sequence[str] | None, models: Sequence[str]) -> list[str] | None:
    if only is None:
        return None
    if models and not only:
        return []
    known = [*simulation.PROFILES, *simulation.GROUPS]
    names = [group_key(name) for name in only]
    unknown = [name for name, key in zip(only, names, strict=True) if key not in known]
    if unknown or not names:
        raise ValueError(f"only: expected names among {', '.join(known)}, got {', '.join(unknown) or 'none'}")
    return names


def _chosen(jobs: list[Job], names: list[str] | None, models: Sequence[str]) -> list[Job]:
    """The jobs, with what was asked for; the rivals of a forecaster go with it."""
    if names is None:
        return jobs
    wanted = {model for name in names for model in MODELS if model.rsplit("_", 1)[0] == name} | set(models)
    some = [{name: work for name, work in job.items() if name.split(",")[0] in wanted} for job in jobs]
    return [job for job in some if job]


def _simulated_jobs(chosen: Settings, traces: str | os.PathLike[str] | None) -> list[Job]:
    """The longest first, so that no worker is left with one at the end."""
    profiles, groups = list(simulation.PROFILES), list(simulation.GROUPS)
    links: list[Job] = [{f"{profile}_lstm": partial(_link, profile=profile, traces=traces)} for profile in profiles]
    allocators: list[Job] = [{f"{profile}_ddqn": partial(_allocator, profile=profile)} for profile in profiles]
    pairs: list[Job] = [
        {f"{group}_model": partial(_group, group=group), f"{group}_fallback": partial(_fallback, group=group)}
        for group in groups
    ]
    rivals: list[Job] = []
    if traces is not None and chosen.unseen is not None:
        rivals = [{f"{COMPARED}, classic": partial(_classic, traces=traces)}]
        rivals += [
            {f"{COMPARED}, no {family}": partial(_unseen, traces=traces, family=family)} for family in public.FAMILIES
        ]
    return [*reversed(links), *rivals, *pairs, *allocators]


def _link(
    trainer: Trainer, progress: forecasters.Progress, profile: str, traces: str | os.PathLike[str] | None
) -> None:
    chosen = trainer.settings
    dataset = datasets.link_dataset(profile, chosen, trainer.seed)
    if profile == "internet":
        dataset = replace(dataset, scale_free=True, augmentation=chosen.augmentation)
        if traces is not None:
            dataset = public.internet_dataset(traces, dataset, chosen, trainer.seed)
    trainer.link(profile, dataset, progress)


def _unseen(trainer: Trainer, progress: forecasters.Progress, traces: str | os.PathLike[str], family: str) -> None:
    """The internet forecaster without a family of traces, scored on that family: on links of a kind never seen."""
    assert trainer.settings.unseen is not None
    dataset = _measured(trainer, traces, family)
    trainer.rival("unseen", f"internet_lstm/{family}", dataset, trainer.settings.unseen, progress)


def _classic(trainer: Trainer, progress: forecasters.Progress, traces: str | os.PathLike[str]) -> None:
    classic = settings.classic(trainer.settings.internet)
    trainer.rival("classic", "internet_lstm/classic", _measured(trainer, traces), classic, progress)


def _measured(trainer: Trainer, traces: str | os.PathLike[str], without: str | None = None) -> Dataset:
    simulated = datasets.link_dataset("internet", trainer.settings, trainer.seed)
    simulated = replace(simulated, scale_free=True, augmentation=trainer.settings.augmentation)
    return public.internet_dataset(traces, simulated, trainer.settings, trainer.seed, without)


def _allocator(trainer: Trainer, progress: forecasters.Progress, profile: str) -> None:
    trainer.allocator(profile, progress)


def _group(trainer: Trainer, progress: forecasters.Progress, group: str) -> None:
    dataset = datasets.group_dataset(group, trainer.settings, trainer.seed)
    trainer.group(group, dataset, datasets.typical_rows(group, trainer.settings, trainer.seed), progress)


def _fallback(trainer: Trainer, progress: forecasters.Progress, group: str) -> None:
    trainer.fallback(group, datasets.typical_rows(group, trainer.settings, trainer.seed), progress)


def _telemetry_jobs(
    chosen: Settings, file: str | os.PathLike[str], names: list[str] | None, columns: Columns | Layout | None
) -> list[Job]:
    jobs: list[Job] = []
    for name, trace in telemetry.read(file, names, columns).items():
        dataset = datasets.telemetry_dataset(trace, chosen, calendar=name in simulation.GROUPS)
        if name in simulation.PROFILES:
            jobs.append({f"{name}_lstm": partial(_measured_link, profile=name, dataset=dataset)})
        else:
            rows = datasets.telemetry_rows(trace)
            jobs.append(
                {
                    f"{name}_model": partial(_measured_group, group=name, dataset=dataset, rows=rows),
                    f"{name}_fallback": partial(_measured_fallback, group=name, rows=rows),
                }
            )
    return jobs


def _measured_link(trainer: Trainer, progress: forecasters.Progress, profile: str, dataset: Dataset) -> None:
    trainer.link(profile, dataset, progress)


def _measured_group(
    trainer: Trainer, progress: forecasters.Progress, group: str, dataset: Dataset, rows: GroupRows
) -> None:
    trainer.group(group, dataset, rows, progress)


def _measured_fallback(trainer: Trainer, progress: forecasters.Progress, group: str, rows: GroupRows) -> None:
    trainer.fallback(group, rows, progress)


def _run_jobs(jobs: Sequence[Job], chosen: Settings, seed: int, workers: int, console: Console) -> list[Bundle]:
    """What each job trained; a progress bar for each model."""
    columns = (TextColumn("{task.description:22}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console) as bars:
        shown: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int, note: str) -> None:
            if name not in shown:
                shown[name] = bars.add_task(name, total=total, note=note)
            ended = bars.tasks[shown[name]].finished
            bars.update(shown[name], completed=done, total=total, note=note)
            if done >= total and not ended and not console.is_terminal:  # a log file shows no bars before the end
                console.print(f"{name}: {note}, {bars.tasks[shown[name]].elapsed:.0f} s")

        if workers == 1 or len(jobs) == 1:
            return [_train(job, chosen, seed, show) for job in jobs]
        return _run_side_by_side(jobs, chosen, seed, min(workers, len(jobs)), show)


def _run_side_by_side(jobs: Sequence[Job], chosen: Settings, seed: int, workers: int, show: Show) -> list[Bundle]:
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with context.Manager() as manager, ProcessPoolExecutor(workers, context) as pool:
        news = manager.Queue()
        results = [pool.submit(_train_in_worker, job, chosen, seed, news) for job in jobs]
        try:
            while not all(result.done() for result in results):
                with contextlib.suppress(queue.Empty):
                    show(*news.get(timeout=0.2))
                for result in results:
                    if result.done():
                        result.result()
            with contextlib.suppress(queue.Empty):
                while True:
                    show(*news.get(timeout=0.2))
        except BaseException:  # an interrupt too: nobody waits for models that will not be written
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        return [result.result() for result in results]


def _train(job: Job, chosen: Settings, seed: int, show: Show) -> Bundle:
    trainer = Trainer(chosen, seed, Bundle())
    for name, work in job.items():
        work(trainer, partial(show, name))
    return trainer.bundle


def _train_in_worker(job: Job, chosen: Settings, seed: int, news: queue.Queue[tuple[str, int, int, str]]) -> Bundle:
    return _train(job, chosen, seed, lambda *progress: news.put(progress))


def _generator() -> str:
    try:
        return f"linkcast {version('linkcast')}"
    except PackageNotFoundError:  # run from the source tree
        return "linkcast"
