"""One training run: which models on which data, carried through to a written bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from linkcast import simulator
from linkcast.groups import group_key
from linkcast.traces import Columns, Layout
from linkcast.training import bundle, datasets, forecasters, public, report, settings, telemetry
from linkcast.training.bundle import Bundle, Json
from linkcast.training.settings import Settings
from linkcast.training.trainer import Trainer

Job = Callable[[forecasters.Progress], None]
MODELS = (
    *(f"{profile}_lstm" for profile in simulator.PROFILES),
    *(f"{profile}_ddqn" for profile in simulator.PROFILES),
    *(f"{group}_model" for group in simulator.GROUPS),
    *(f"{group}_fallback" for group in simulator.GROUPS),
)
"""Every model of a bundle, in the manifest's order."""

NOTES = (
    "Forecasters: bandwidth as the logarithm relative to the window's first sample, the target relative to its last. "
    "Loss: its absolute error, each window weighted by its level over the EWMA's mean absolute error on its source.",
    "Forecasters: a batch of 128 goes through two to three times as many windows a second as one of 32.",
    "Batch normalisation, in the LSTMs and in the DDQN: statistics measured once on training inputs, then fixed.",
    "DDQN: learned is the gain over the rule that rounds up and drains, on the same links; the exported Q-values are "
    "relative to it.",
    "Allocators: the state's bandwidth is that of a link of trained_on.capacity_mbps; scale it for another link.",
)


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
        quick: few epochs and episodes; a few minutes instead of half an hour.
        only: profiles and service groups to train, by name.
        columns: as `linkcast.read_trace` takes them.
        base: bundle folder to carry over from; by default the one that ships.
        run_settings: sizes and hyper-parameters, instead of those that `quick` chooses.
        console: where progress and the closing tables go; None is standard error, Console(quiet=True) is nowhere.
    Raises:
        ValueError: an unknown name in `only`, traces together with a telemetry file, a negative seed, or a telemetry
            file with missing columns or too few rows.
        OSError: a file cannot be read or written.
        ImportError: the train extra is not installed.
    """
    started = perf_counter()
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    chosen = run_settings or (settings.quick() if quick else settings.full())
    if traces is not None and telemetry_file is not None:
        raise ValueError("traces: expected none together with a telemetry file")
    names = _known(only)
    trainer = Trainer(chosen, seed, Bundle())
    if telemetry_file is None:
        jobs = _simulated_jobs(trainer, names, traces)
    else:
        jobs = _telemetry_jobs(trainer, telemetry_file, names, columns)
    carried_over = [name for name in MODELS if name not in jobs]
    kept = bundle.read(Path(base) if base is not None else bundle.bundled_folder()) if carried_over else Bundle()

    console = console or Console(stderr=True)
    _work(jobs, console)
    trained = trainer.bundle
    complete = Bundle(
        {name: trained.models.get(name) or kept.models[name] for name in MODELS},
        {group: trained.groups.get(group) or kept.groups[group] for group in simulator.GROUPS},
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
    bundle.write(folder, complete, files, report.markdown(files["manifest"]))
    for table in (report.forecaster_table(files["manifest"], jobs), report.allocator_table(files["manifest"], jobs)):
        if table.row_count:
            console.print(table)
    return TrainingResult(folder, files["manifest"], folder / "metadata" / bundle.REPORT, tuple(jobs), seconds)


def _known(only: Sequence[str] | None) -> list[str] | None:
    if only is None:
        return None
    known = [*simulator.PROFILES, *simulator.GROUPS]
    names = [group_key(name) for name in only]
    unknown = [name for name, key in zip(only, names, strict=True) if key not in known]
    if unknown or not names:
        raise ValueError(f"only: expected names among {', '.join(known)}, got {', '.join(unknown) or 'none'}")
    return names


def _simulated_jobs(trainer: Trainer, names: list[str] | None, traces: str | os.PathLike[str] | None) -> dict[str, Job]:
    chosen, seed = trainer.settings, trainer.seed

    def link(profile: str, progress: forecasters.Progress) -> None:
        dataset = datasets.link_dataset(profile, chosen, seed)
        if profile == "internet":
            dataset = replace(dataset, first_share=chosen.first_share, augmentation=chosen.augmentation)
            if traces is not None:
                dataset = public.internet_dataset(traces, dataset, chosen)
        trainer.link(profile, dataset, progress)

    def group(name: str, progress: forecasters.Progress) -> None:
        dataset, rows = datasets.group_dataset(name, chosen, seed), datasets.typical_rows(name, chosen, seed)
        trainer.group(name, dataset, rows, progress)

    def fallback(name: str, progress: forecasters.Progress) -> None:
        trainer.fallback(name, datasets.typical_rows(name, chosen, seed), progress)

    jobs: dict[str, Job] = {}
    for profile in simulator.PROFILES:
        if names is None or profile in names:
            jobs[f"{profile}_lstm"] = partial(link, profile)
            jobs[f"{profile}_ddqn"] = partial(trainer.allocator, profile)
    for name in simulator.GROUPS:
        if names is None or name in names:
            jobs[f"{name}_model"] = partial(group, name)
            jobs[f"{name}_fallback"] = partial(fallback, name)
    return jobs


def _telemetry_jobs(
    trainer: Trainer, file: str | os.PathLike[str], names: list[str] | None, columns: Columns | Layout | None
) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for name, trace in telemetry.read(file, names, columns).items():
        dataset = datasets.telemetry_dataset(trace, trainer.settings, calendar=name in simulator.GROUPS)
        if name in simulator.PROFILES:
            jobs[f"{name}_lstm"] = partial(trainer.link, name, dataset)
        else:
            rows = datasets.telemetry_rows(trace)
            jobs[f"{name}_model"] = partial(trainer.group, name, dataset, rows)
            jobs[f"{name}_fallback"] = partial(trainer.fallback, name, rows)
    return jobs


def _work(jobs: dict[str, Job], console: Console) -> None:
    """Runs the jobs one after the other, a progress bar for each."""
    columns = (TextColumn("{task.description:22}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console) as progress:
        for name, job in jobs.items():
            task = progress.add_task(name, total=None, note="")

            def report_progress(done: int, total: int, note: str, task: object = task) -> None:
                progress.update(task, completed=done, total=total, note=note)  # type: ignore[arg-type]

            job(report_progress)
            if not console.is_terminal:  # a log file shows no bars before the end
                line = progress.tasks[task]
                console.print(f"{name}: {line.fields['note']}, {line.elapsed:.0f} s")


def _generator() -> str:
    try:
        return f"linkcast {version('linkcast')}"
    except PackageNotFoundError:  # run from the source tree
        return "linkcast"
