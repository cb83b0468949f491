"""Trains one model after another and collects what the bundle says about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from linkcast import metrics, simulation
from linkcast.baselines import hour_of_week as hour_of_week_baseline
from linkcast.evaluation import evaluate_forecasts
from linkcast.features import BANDWIDTH, CALENDAR, TELEMETRY, UNITS, calendar_features, hour_of_week
from linkcast.reference import lightgbm_forecasts
from linkcast.traces import GAP_STEPS
from linkcast.training import allocators, datasets, forecasters, links, networks
from linkcast.training.ablation import ablate
from linkcast.training.bundle import Bundle, BundledGroup, BundledModel, Json, model_entry, rounded
from linkcast.training.datasets import Dataset, GroupRows, Part, seed_of
from linkcast.training.environment import ACTIONS
from linkcast.training.forecasters import Progress, Trained
from linkcast.training.new_group import Identity, simulated_identity
from linkcast.training.ranges import Range, ScalerRanges, fallback_target, ranges_of
from linkcast.training.settings import ForecasterSettings, Settings
from linkcast.training.warm_start import Start

FloatArray = npt.NDArray[np.float64]

TARGET = {"name": "bandwidth_mbps", "unit": UNITS["bandwidth_mbps"]}
REFERENCE_WINDOWS = 20_000  # of the training part that LightGBM is fitted on


BURST = 10.0  # times a window's level that a forecast of a scale-free model may plausibly be


def target_range(dataset: Dataset) -> list[float]:
    """The lowest and the highest target that training has seen: what lies far outside is no forecast to rely on.

    A scale-free model has seen windows of every level that augmentation brings them to; how far a forecast may be from
    its own window's last sample is what the bound of its target says.
    """
    if dataset.scale_free and dataset.augmentation is not None:
        return [0.0, BURST * dataset.augmentation.levels_mbps[1]]
    return [float(dataset.train.targets.min()), float(dataset.train.targets.max())]


def measured_range(dataset: Dataset) -> list[float]:
    """The lowest and the highest value that was measured on its links: what a trace in Mbit/s is like."""
    targets = [part.targets for part in dataset.links.values()]
    return [float(min(part.min() for part in targets)), float(max(part.max() for part in targets))]


@dataclass
class Trainer:
    """Adds models to a bundle; the bundle is complete when every profile and group has been through."""

    settings: Settings
    seed: int
    bundle: Bundle
    starts: Mapping[str, Sequence[Start]] = field(default_factory=dict)  # by profile or group
    identities: Mapping[str, Identity] = field(default_factory=dict)  # of groups that the simulator does not know
    forecasters: dict[str, Trained] = field(default_factory=dict)  # of the groups, to score the fallbacks beside

    def link(self, profile: str, dataset: Dataset, progress: Progress) -> None:
        """The forecaster of a profile."""
        name = f"{profile}_lstm"
        if self.starts.get(profile):
            trained, skill = self._from_start(name, profile, dataset, progress)
        else:
            trained = self._trained(name, dataset, self.settings.internet, progress)
            skill = _forecaster_skill(trained, dataset, not self.settings.quick)
        if dataset.links:
            ranges, rng = ranges_of(dataset), np.random.default_rng(seed_of(self.seed, name, "linear"))
            self.bundle.comparisons["model"] = links.compare(dataset.links, trained.forecast)
            self.bundle.comparisons["linear"] = links.compare(
                dataset.links, links.linear_model(dataset.train, ranges, rng)
            )
        self._add_forecaster(name, profile, dataset, trained, skill)

    def rival(self, kind: str, name: str, dataset: Dataset, settings: ForecasterSettings, progress: Progress) -> None:
        """Another forecaster on the links of the data set, to stand beside the one that is kept: scores only."""
        trained = self._trained(name, dataset, settings, progress)
        self.bundle.comparisons.setdefault(kind, {}).update(links.compare(dataset.links, trained.forecast))

    def _trained(self, name: str, dataset: Dataset, settings: ForecasterSettings, progress: Progress) -> Trained:
        """Scale-free forecasters learn from a guide, others and those of the classic recipe from what came."""
        if not dataset.scale_free:
            settings = self.settings.forecaster
        guided = dataset.scale_free and not settings.plateau_patience
        guide = self.settings.guide if guided else None
        chosen = dataset if guided or not dataset.scale_free else replace(dataset, augmentation=None)
        return forecasters.train_forecaster(chosen, settings, seed_of(self.seed, name), progress, guide)

    def _from_start(
        self, name: str, serves: str, dataset: Dataset, progress: Progress, profile: FloatArray | None = None
    ) -> tuple[Trained, Json]:
        """A forecaster that goes on from a bundled one, or that one where training did not make it better.

        By the classic recipe training begins from random weights, and is compared just the same.
        """
        start = forecasters.nearest(self.starts[serves], dataset.validation)
        begin = start if self.settings.recipe == "default" else None
        seed = seed_of(self.seed, name)
        trained = forecasters.train_forecaster(dataset, self.settings.forecaster, seed, progress, None, begin)
        bundled = forecasters.as_trained(start, dataset.test)
        scores = {
            "trained": metrics.summary(trained.forecast(dataset.test), dataset.test.targets),
            "bundled": metrics.summary(bundled.forecast(dataset.test), dataset.test.targets),
        }
        kept = min(("bundled", "trained"), key=lambda who: scores[who]["mae"])
        if kept == "bundled":
            trained = replace(bundled, history={**trained.history, **bundled.history}, seen=start.target_range)
        skill = _forecaster_skill(trained, dataset, True, profile)
        skill["start"] = {"kept": kept, "bundled_model": start.name, **scores}
        return trained, skill

    def allocator(self, profile: str, progress: Progress) -> None:
        """The allocator of a profile."""
        name = f"{profile}_ddqn"
        trained = allocators.train_allocator(profile, self.settings.allocator, self.seed, progress)
        parameters = simulation.link_profile(profile)
        features = {"step_s": parameters.step_s, "features": _features(TELEMETRY), "actions": ACTIONS}
        trained_on: Json = {
            "source": "simulated",
            "capacity_mbps": parameters.reference_capacity_mbps,
            "history": trained.history,
        }
        skill = allocators.skill(trained.rewards)
        self._add(
            name, "allocator", profile, trained.content, trained.ranges, features, trained_on, skill, trained.golden
        )
        self.bundle.models[name].manifest["certificate"] = rounded(trained.certificate)

    def group(self, group: str, dataset: Dataset, rows: GroupRows, progress: Progress) -> None:
        """The forecaster of a service group, and the group's statistics."""
        name = f"{group}_model"
        if self.starts.get(group):
            trained, skill = self._from_start(name, group, dataset, progress, rows.profile("train"))
        else:
            seed = seed_of(self.seed, name)
            trained = forecasters.train_forecaster(dataset, self.settings.forecaster, seed, progress)
            skill = _forecaster_skill(trained, dataset, not self.settings.quick, rows.profile("train"))
        skill["ablation"] = ablate(trained.forecast, dataset.test, dataset.features)
        self._add_forecaster(name, group, dataset, trained, skill)
        self.forecasters[group] = trained
        identity = self.identities.get(group) or simulated_identity(group)
        self.bundle.groups[group] = _group_entry(group, identity, rows)

    def fallback(self, group: str, rows: GroupRows, progress: Progress) -> None:
        """The fallback of a service group: calendar in, bandwidth at typical use out."""
        name = f"{group}_fallback"
        train, validation, test = (rows.calendar(part) for part in datasets.PARTS)
        target = fallback_target(train)
        ranges = ScalerRanges({feature: Range(-1.0, 1.0) for feature in CALENDAR}, target)
        trained = forecasters.train_fallback(
            (train, validation, test), ranges, self.settings.fallback, seed_of(self.seed, name), progress
        )
        features = {"step_s": rows.step_s, "features": _features(CALENDAR), "target": TARGET}
        trained_on = {**rows.origin, "history": trained.history}
        skill = _fallback_skill(trained, rows, test)
        if group in self.forecasters:
            _score_beside(skill, trained, self.forecasters[group], _moments(rows, "test", self.settings.window))
        self._add(name, "fallback", group, trained.content, ranges, features, trained_on, skill, trained.golden)

    def _add_forecaster(self, name: str, serves: str, dataset: Dataset, trained: Trained, skill: Json) -> None:
        features = {
            "window": int(dataset.train.windows.shape[1]),
            "step_s": dataset.step_s,
            "features": _features(dataset.features),
            "target": TARGET,
        }
        low, high = target_range(dataset)
        if trained.seen is not None:
            low, high = min(low, trained.seen[0]), max(high, trained.seen[1])
        trained_on = {**dataset.origin, "target_range": [low, high], "history": trained.history}
        if dataset.links:
            trained_on["measured_range"] = measured_range(dataset)
        self._add(
            name, "forecaster", serves, trained.content, trained.ranges, features, trained_on, skill, trained.golden
        )

    def _add(
        self,
        name: str,
        role: str,
        serves: str,
        content: bytes,
        ranges: ScalerRanges,
        features: Json,
        trained_on: Json,
        skill: Json,
        golden: Json,
    ) -> None:
        reference = networks.TFLite(content)
        shapes = (reference.input_shape, reference.output_shape)
        entry = model_entry(name, content, role, serves, shapes, rounded(trained_on), rounded(skill), golden)
        scalers: Json = {"features": {feature: _range(limits) for feature, limits in ranges.features.items()}}
        if ranges.target is not None:
            scalers["target"] = _range(ranges.target)
        self.bundle.models[name] = BundledModel(content, features, scalers, entry)


def _forecaster_skill(trained: Trained, dataset: Dataset, reference: bool, profile: FloatArray | None = None) -> Json:
    """Scores on the test part; the AR(10) is fitted on the training part. A group's profile is one more baseline.

    Every other held-out part has scores of its own, under "sources"; there the AR(10) learns as it goes. With
    `reference` LightGBM stands beside the model, fitted on the training part too, if it is installed.
    """
    others = {}
    if profile is not None:
        others["hour_of_week"] = datasets.scaled_profile_forecast(dataset.test, profile, dataset.step_s)
    parts = {"": dataset.test, **dataset.held_out}
    light = _light_forecasts(dataset, list(parts.values())) if reference else [None] * len(parts)
    earlier = (dataset.train.windows, dataset.train.targets)
    scores = {
        name: evaluate_forecasts(
            trained.forecast(part),
            part.targets,
            part.windows,
            BANDWIDTH,
            None if name else earlier,
            None if name else others,
            forecasts,
        )
        for (name, part), forecasts in zip(parts.items(), light, strict=True)
    }
    skill: Json = dict(scores.pop(""))
    if scores:
        skill["sources"] = scores
    return skill


def _light_forecasts(dataset: Dataset, parts: list[Part]) -> list[FloatArray] | list[None]:
    """LightGBM's forecasts of each part, fitted on the training part; None where it is not installed."""
    windows = np.concatenate([part.windows for part in parts])
    train = (dataset.train.windows, dataset.train.targets)
    try:
        forecasts = lightgbm_forecasts(train, windows, BANDWIDTH, REFERENCE_WINDOWS)
    except ImportError:
        return [None] * len(parts)
    return np.split(forecasts, np.cumsum([len(part) for part in parts])[:-1])


def _fallback_skill(trained: Trained, rows: GroupRows, test: Part) -> Json:
    """Beside the training part's mean and its hour-of-week profile: what one can say without telemetry."""
    train = rows.features("train")[:, BANDWIDTH]
    baselines = {"mean": metrics.summary(np.full(len(test), train.mean()), test.targets)}
    profile = rows.profile("train")
    if profile is not None:
        forecast = hour_of_week_baseline(profile[:, BANDWIDTH], hour_of_week(rows.seconds("test")))
        baselines["hour_of_week"] = metrics.summary(forecast, test.targets)
    scores = metrics.summary(trained.forecast(test), test.targets)
    best = min(baselines, key=lambda name: baselines[name]["mae"])
    return {
        "samples": len(test),
        "model": scores,
        "baselines": baselines,
        "best_baseline": best,
        "skill": metrics.skill(scores["mae"], baselines[best]["mae"]),
        "verdict": f"Mean absolute error {scores['mae']:.3f} Mbit/s without any telemetry; the best naive forecast, "
        f"the {best.replace('_', ' ')}, has {baselines[best]['mae']:.3f}.",
    }


def _moments(rows: GroupRows, part: str, window: int) -> Part:
    """Windows of typical rows, telemetry and calendar, as a group's forecaster reads them."""
    features, seconds = rows.rows[part]
    steps = np.diff(seconds)
    cuts = np.flatnonzero((steps <= 0) | (steps > GAP_STEPS * rows.step_s)) + 1
    pieces = [slice(start, stop) for start, stop in pairwise([0, *cuts.tolist(), len(seconds)])]
    series = np.concatenate([features, calendar_features(seconds)], axis=1)
    return datasets.windows_of_rows(series, seconds, pieces, window)


def _score_beside(skill: Json, fallback: Trained, primary: Trained, moments: Part) -> None:
    """Adds what the group's forecaster, which reads telemetry, makes of the same moments."""
    if not len(moments):
        return
    assert moments.seconds is not None
    forecasts = fallback.forecast(replace(moments, windows=calendar_features(moments.seconds)))
    scores = {
        "forecaster": metrics.summary(primary.forecast(moments), moments.targets),
        "fallback": metrics.summary(forecasts, moments.targets),
    }
    skill["beside_forecaster"] = {"samples": len(moments), **scores}
    skill["verdict"] += (
        f" At the {len(moments):,} moments that have a window of telemetry before them the group's forecaster has "
        f"{scores['forecaster']['mae']:.3f}, the fallback {scores['fallback']['mae']:.3f}."
    )


def _group_entry(group: str, identity: Identity, rows: GroupRows) -> BundledGroup:
    mapping = {
        "name": identity.name,
        "group_id": identity.group_id,
        "default_service_id": identity.default_service_id,
        "services": dict(identity.services),
        "model": f"{group}_model",
        "fallback": f"{group}_fallback",
    }
    bandwidth = np.concatenate([rows.features(part) for part in datasets.PARTS])[:, BANDWIDTH]
    most = bandwidth.max() if identity.max_bandwidth_mbps is None else identity.max_bandwidth_mbps
    stats: Json = {
        "max_bandwidth_mbps": most,
        "mean_bandwidth_mbps": bandwidth.mean(),
        "std_bandwidth_mbps": bandwidth.std(),
        "typical_usage_percentage": 100.0 * bandwidth.mean() / most,
        "device_groups": dict(identity.device_groups),
    }
    profile = rows.profile(*datasets.PARTS)
    if profile is not None:
        stats["hour_of_week"] = {name: profile[:, column].tolist() for column, name in enumerate(TELEMETRY)}
    return BundledGroup(mapping, rounded(stats), rows.origin["source"])


def _features(names: tuple[str, ...]) -> list[Json]:
    return [{"name": name, "unit": UNITS.get(name, "1")} for name in names]


def _range(limits: Range) -> Json:
    entry: Json = {"min": limits.min, "max": limits.max}
    if limits.log_offset is not None:
        entry["log_offset"] = limits.log_offset
    if limits.relative_to is not None:
        entry["relative_to"] = limits.relative_to
    if limits.share < 1.0:
        entry["share"] = limits.share
    if limits.bound is not None:
        entry["bound"] = limits.bound
    return entry
