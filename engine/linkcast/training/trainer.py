"""Trains one model after another and collects what the bundle says about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast import metrics, simulator
from linkcast.baselines import hour_of_week as hour_of_week_baseline
from linkcast.evaluation import evaluate_forecasts
from linkcast.features import BANDWIDTH, CALENDAR, TELEMETRY, hour_of_week
from linkcast.training import allocators, datasets, forecasters, networks
from linkcast.training.bundle import Bundle, BundledGroup, BundledModel, Json, model_entry
from linkcast.training.datasets import Dataset, GroupRows, Part, Range, ScalerRanges, seed_of
from linkcast.training.environment import ACTIONS
from linkcast.training.forecasters import Progress, Trained
from linkcast.training.settings import Settings

FloatArray = npt.NDArray[np.float64]

UNITS = {"latency_ms": "ms", "bandwidth_mbps": "Mbit/s", "packet_loss": "fraction", "reliability": "fraction"}
TARGET = {"name": "bandwidth_mbps", "unit": UNITS["bandwidth_mbps"]}
SCORE_DIGITS = 6  # significant digits of a score in the manifest


def target_range(dataset: Dataset) -> list[float]:
    """The lowest and the highest target that training has seen: what lies far outside is no forecast to rely on."""
    return [float(dataset.train.targets.min()), float(dataset.train.targets.max())]


@dataclass
class Trainer:
    """Adds models to a bundle; the bundle is complete when every profile and group has been through."""

    settings: Settings
    seed: int
    bundle: Bundle

    def link(self, profile: str, dataset: Dataset, progress: Progress) -> None:
        """The forecaster of a profile."""
        name = f"{profile}_lstm"
        trained = forecasters.train_forecaster(dataset, self.settings.forecaster, seed_of(self.seed, name), progress)
        self._add_forecaster(name, profile, dataset, trained, _forecaster_skill(trained, dataset))

    def allocator(self, profile: str, progress: Progress) -> None:
        """The allocator of a profile."""
        name = f"{profile}_ddqn"
        trained = allocators.train_allocator(profile, self.settings.allocator, self.seed, progress)
        parameters = simulator.link_profile(profile)
        features = {"step_s": parameters.step_s, "features": _features(TELEMETRY), "actions": ACTIONS}
        trained_on = {
            "source": "simulated",
            "capacity_mbps": parameters.reference_capacity_mbps,
            "history": trained.history,
        }
        skill = allocators.skill(trained.rewards)
        self._add(
            name, "allocator", profile, trained.content, trained.ranges, features, trained_on, skill, trained.golden
        )

    def group(self, group: str, dataset: Dataset, rows: GroupRows, progress: Progress) -> None:
        """The forecaster of a service group, and the group's statistics."""
        name = f"{group}_model"
        trained = forecasters.train_forecaster(dataset, self.settings.forecaster, seed_of(self.seed, name), progress)
        self._add_forecaster(name, group, dataset, trained, _forecaster_skill(trained, dataset, rows.profile("train")))
        self.bundle.groups[group] = _group_entry(group, rows)

    def fallback(self, group: str, rows: GroupRows, progress: Progress) -> None:
        """The fallback of a service group: calendar in, bandwidth at typical use out."""
        name = f"{group}_fallback"
        train, validation, test = (rows.calendar(part) for part in datasets.PARTS)
        target = datasets.fallback_target(train)
        ranges = ScalerRanges({feature: Range(-1.0, 1.0) for feature in CALENDAR}, target)
        trained = forecasters.train_fallback(
            (train, validation, test), ranges, self.settings.fallback, seed_of(self.seed, name), progress
        )
        features = {"step_s": rows.step_s, "features": _features(CALENDAR), "target": TARGET}
        trained_on = {**rows.origin, "history": trained.history}
        skill = _fallback_skill(trained, rows, test)
        self._add(name, "fallback", group, trained.content, ranges, features, trained_on, skill, trained.golden)

    def _add_forecaster(self, name: str, serves: str, dataset: Dataset, trained: Trained, skill: Json) -> None:
        features = {
            "window": int(dataset.train.windows.shape[1]),
            "step_s": dataset.step_s,
            "features": _features(dataset.features),
            "target": TARGET,
        }
        trained_on = {**dataset.origin, "target_range": target_range(dataset), "history": trained.history}
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
        entry = model_entry(name, content, role, serves, shapes, _rounded(trained_on), _rounded(skill), golden)
        scalers: Json = {"features": {feature: _range(limits) for feature, limits in ranges.features.items()}}
        if ranges.target is not None:
            scalers["target"] = _range(ranges.target)
        self.bundle.models[name] = BundledModel(content, features, scalers, entry)


def _forecaster_skill(trained: Trained, dataset: Dataset, profile: FloatArray | None = None) -> Json:
    """Scores on the test part; the AR(10) is fitted on the training part. A group's profile is one more baseline.

    Every other held-out part has scores of its own, under "sources"; there the AR(10) learns as it goes.
    """
    others = {}
    if profile is not None:
        others["hour_of_week"] = datasets.scaled_profile_forecast(dataset.test, profile, dataset.step_s)
    test, earlier = dataset.test, (dataset.train.windows, dataset.train.targets)
    forecasts = trained.forecast(test)
    skill: Json = dict(evaluate_forecasts(forecasts, test.targets, test.windows, BANDWIDTH, earlier, others))
    if dataset.held_out:
        skill["sources"] = {
            name: evaluate_forecasts(trained.forecast(part), part.targets, part.windows, BANDWIDTH)
            for name, part in dataset.held_out.items()
        }
    return skill


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
    skill = 1.0 - scores["mae"] / baselines[best]["mae"] if baselines[best]["mae"] > 0.0 else float("nan")
    return {
        "samples": len(test),
        "model": scores,
        "baselines": baselines,
        "best_baseline": best,
        "skill": skill,
        "verdict": f"Mean absolute error {scores['mae']:.3f} Mbps without any telemetry; the best naive forecast, the "
        f"{best.replace('_', ' ')}, has {baselines[best]['mae']:.3f}.",
    }


def _group_entry(group: str, rows: GroupRows) -> BundledGroup:
    parameters = simulator.group_profile(group)
    mapping = {
        "name": parameters.name,
        "group_id": parameters.group_id,
        "default_service_id": parameters.default_service_id,
        "services": parameters.services,
        "model": f"{group}_model",
        "fallback": f"{group}_fallback",
    }
    bandwidth = np.concatenate([rows.features(part) for part in datasets.PARTS])[:, BANDWIDTH]
    stats: Json = {
        "max_bandwidth_mbps": bandwidth.max(),
        "mean_bandwidth_mbps": bandwidth.mean(),
        "std_bandwidth_mbps": bandwidth.std(),
        "typical_usage_percentage": 100.0 * bandwidth.mean() / bandwidth.max(),
        "device_groups": {
            device: {"bandwidth_factor": factors[0], "latency_factor": factors[1]}
            for device, factors in parameters.device_groups.items()
        },
    }
    profile = rows.profile(*datasets.PARTS)
    if profile is not None:
        stats["hour_of_week"] = {name: profile[:, column].tolist() for column, name in enumerate(TELEMETRY)}
    return BundledGroup(mapping, _rounded(stats), rows.origin["source"])


def _features(names: tuple[str, ...]) -> list[Json]:
    return [{"name": name, "unit": UNITS.get(name, "1")} for name in names]


def _range(limits: Range) -> Json:
    entry: Json = {"min": limits.min, "max": limits.max}
    if limits.log_offset is not None:
        entry["log_offset"] = limits.log_offset
    if limits.relative_to is not None:
        entry["relative_to"] = limits.relative_to
    return entry


def _rounded(value: Any) -> Any:
    """Numbers to SCORE_DIGITS significant digits; what is not finite, and so not JSON, to null."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{SCORE_DIGITS}g}") if np.isfinite(value) else None
    return value
