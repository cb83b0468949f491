"""What a training run trains, on which data and from which weights. Loads no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linkcast import simulation
from linkcast.features import BANDWIDTH, CALENDAR, TELEMETRY
from linkcast.groups import group_key
from linkcast.traces import Columns, Layout
from linkcast.training import bundle, datasets, public, settings, telemetry
from linkcast.training.bundle import Bundle
from linkcast.training.datasets import Dataset
from linkcast.training.new_group import Identity, NewGroup, bundled_identity, new_identity
from linkcast.training.settings import Settings
from linkcast.training.warm_start import Start, start_of

if TYPE_CHECKING:
    from linkcast.training.trainer import Trainer

MODELS = (
    *(f"{profile}_lstm" for profile in simulation.PROFILES),
    *(f"{profile}_ddqn" for profile in simulation.PROFILES),
    *(f"{group}_model" for group in simulation.GROUPS),
    *(f"{group}_fallback" for group in simulation.GROUPS),
)
"""Every model of a bundle, in the manifest's order."""

COMPARED = "internet_lstm"  # beside rivals, on every link

Tell = Callable[[int, int, str], None]
"""Called with (done, total, what a line of text says)."""

Job = dict[str, Callable[["Trainer", Tell], None]]
"""Models that one trainer trains one after the other, by name. A job can be sent to another process."""


@dataclass(frozen=True)
class OfBase:
    """What a trainer needs of the base bundle."""

    starts: dict[str, list[Start]] = field(default_factory=dict)  # by profile or group: what training may begin from
    identities: dict[str, Identity] = field(default_factory=dict)  # of the groups


@dataclass(frozen=True)
class Plan:
    """A run that can begin."""

    settings: Settings
    jobs: list[Job]
    of_base: OfBase
    base: Bundle  # what is not trained; empty where all is
    trained: list[str]  # the models of the jobs that go into the bundle
    order: list[str]  # every model of the bundle, as in the manifest


def plan(
    telemetry_file: str | os.PathLike[str] | None,
    traces: str | os.PathLike[str] | None,
    chosen: Settings,
    seed: int,
    only: Sequence[str] | None,
    columns: Columns | Layout | None,
    base: str | os.PathLike[str] | None,
    group: NewGroup | None,
    recipe: str,
) -> Plan:
    """Checks what was asked for and reads the telemetry; arguments and errors as `pipeline.run` has them."""
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    if recipe not in settings.RECIPES:
        raise ValueError(f"recipe: expected {' or '.join(settings.RECIPES)}, got {recipe}")
    if recipe == "classic":
        chosen = settings.by_classic_recipe(chosen)
    if traces is not None and telemetry_file is not None:
        raise ValueError("traces: expected none together with a telemetry file")
    if group is not None and (telemetry_file is None or only is not None):
        raise ValueError("group: expected a telemetry file, and no other names to train")
    if telemetry_file is None:
        return _simulated(chosen, traces, only, base)
    kept = _base(base)
    identities = {key: bundled_identity(entry) for key, entry in kept.groups.items()}
    if group is not None:
        identities[group.key] = new_identity(group, kept)
    names = [group.key] if group is not None else _known(only, [], list(identities))
    jobs = _telemetry_jobs(chosen, telemetry_file, names, columns, identities)
    trained = [name for job in jobs for name in job]
    order = [*kept.models, *(name for name in trained if name not in kept.models)]
    return Plan(chosen, jobs, OfBase(_starts(kept, trained, chosen), identities), kept, trained, order)


def _simulated(
    chosen: Settings,
    traces: str | os.PathLike[str] | None,
    only: Sequence[str] | None,
    base: str | os.PathLike[str] | None,
) -> Plan:
    models = [name for name in only or () if name in MODELS]
    others = [name for name in only if name not in models] if only is not None else None
    jobs = choose(simulated_jobs(chosen, traces), _known(others, models, list(simulation.GROUPS)), models)
    trained = [name for job in jobs for name in job if name in MODELS]
    kept = _base(base) if base is not None or len(trained) < len(MODELS) else Bundle()
    order = [*MODELS, *(name for name in kept.models if name not in MODELS)]
    return Plan(chosen, jobs, OfBase(), kept, trained, order)


def _base(folder: str | os.PathLike[str] | None) -> Bundle:
    return bundle.read(Path(folder) if folder is not None else bundle.bundled_folder())


def _starts(kept: Bundle, trained: Sequence[str], chosen: Settings) -> dict[str, list[Start]]:
    """A profile or group begins from its own forecaster; one that has none from a group's."""
    starts: dict[str, list[Start]] = {}
    for name in (name for name in trained if not name.endswith("_fallback")):
        serves = name.rsplit("_", 1)[0]
        features = TELEMETRY if serves in simulation.PROFILES else (*TELEMETRY, *CALENDAR)
        own = [name] if name in kept.models else [entry.mapping["model"] for entry in kept.groups.values()]
        found = [start_of(other, kept.models[other], features, chosen.window) for other in own]
        starts[serves] = [start for start in found if start is not None]
    return starts


def _known(only: Sequence[str] | None, models: Sequence[str], groups: Sequence[str]) -> list[str] | None:
    if only is None:
        return None
    if models and not only:
        return []
    known = [*simulation.PROFILES, *groups]
    names = [group_key(name) for name in only]
    unknown = [name for name, key in zip(only, names, strict=True) if key not in known]
    if unknown or not names:
        raise ValueError(f"only: expected names among {', '.join(known)}, got {', '.join(unknown) or 'none'}")
    return names


def choose(jobs: list[Job], names: list[str] | None, models: Sequence[str]) -> list[Job]:
    """The jobs, with what was asked for; the rivals of a forecaster go with it."""
    if names is None:
        return jobs
    wanted = {model for name in names for model in MODELS if model.rsplit("_", 1)[0] == name} | set(models)
    some = [{name: work for name, work in job.items() if name.split(",")[0] in wanted} for job in jobs]
    return [job for job in some if job]


def simulated_jobs(chosen: Settings, traces: str | os.PathLike[str] | None) -> list[Job]:
    """The longest first, so that no worker is left with one at the end."""
    profiles, groups = list(simulation.PROFILES), list(simulation.GROUPS)
    links: list[Job] = [{f"{profile}_lstm": partial(_link, profile=profile, traces=traces)} for profile in profiles]
    allocators: list[Job] = [{f"{profile}_ddqn": _Call("allocator", (profile,))} for profile in profiles]
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


@dataclass(frozen=True)
class _Call:
    """A trainer's method by name: a job is made, and sent to another process, before TensorFlow is there."""

    method: str
    known: tuple[Any, ...]  # its arguments before the progress

    def __call__(self, trainer: Trainer, progress: Tell) -> None:
        getattr(trainer, self.method)(*self.known, progress)


def _link(trainer: Trainer, progress: Tell, profile: str, traces: str | os.PathLike[str] | None) -> None:
    chosen = trainer.settings
    dataset = datasets.link_dataset(profile, chosen, trainer.seed)
    if profile == "internet":
        dataset = replace(dataset, scale_free=True, augmentation=chosen.augmentation)
        if traces is not None:
            dataset = public.internet_dataset(traces, dataset, chosen, trainer.seed)
    trainer.link(profile, dataset, progress)


def _unseen(trainer: Trainer, progress: Tell, traces: str | os.PathLike[str], family: str) -> None:
    """The internet forecaster without a family of traces, scored on that family: on links of a kind never seen."""
    assert trainer.settings.unseen is not None
    dataset = _measured(trainer, traces, family)
    trainer.rival("unseen", f"internet_lstm/{family}", dataset, trainer.settings.unseen, progress)


def _classic(trainer: Trainer, progress: Tell, traces: str | os.PathLike[str]) -> None:
    classic = settings.classic(trainer.settings.internet)
    trainer.rival("classic", "internet_lstm/classic", _measured(trainer, traces), classic, progress)


def _measured(trainer: Trainer, traces: str | os.PathLike[str], without: str | None = None) -> Dataset:
    simulated = datasets.link_dataset("internet", trainer.settings, trainer.seed)
    simulated = replace(simulated, scale_free=True, augmentation=trainer.settings.augmentation)
    return public.internet_dataset(traces, simulated, trainer.settings, trainer.seed, without)


def _group(trainer: Trainer, progress: Tell, group: str) -> None:
    dataset = datasets.group_dataset(group, trainer.settings, trainer.seed)
    trainer.group(group, dataset, datasets.typical_rows(group, trainer.settings, trainer.seed), progress)


def _fallback(trainer: Trainer, progress: Tell, group: str) -> None:
    trainer.fallback(group, datasets.typical_rows(group, trainer.settings, trainer.seed), progress)


def _telemetry_jobs(
    chosen: Settings,
    file: str | os.PathLike[str],
    names: list[str] | None,
    columns: Columns | Layout | None,
    identities: Mapping[str, Identity],
) -> list[Job]:
    jobs: list[Job] = []
    for name, trace in telemetry.read(file, names, columns, tuple(identities)).items():
        dataset = datasets.telemetry_dataset(trace, chosen, calendar=name in identities)
        if name not in identities:
            jobs.append({f"{name}_lstm": _Call("link", (name, dataset))})
            continue
        rows, most = datasets.telemetry_rows(trace), identities[name].max_bandwidth_mbps
        mean = float(trace.features[:, BANDWIDTH].mean())
        if most is not None and most < mean:
            raise ValueError(f"maximum: expected more than the mean of {trace.name}, {mean:.3f} Mbit/s, got {most:g}")
        jobs.append(
            {
                f"{name}_model": _Call("group", (name, dataset, rows)),
                f"{name}_fallback": _Call("fallback", (name, rows)),
            }
        )
    return jobs
