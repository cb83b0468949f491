"""BandwidthPredictor: what a service group or a link needs next, in one call."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from linkcast._native import LEAST_TYPICAL_MBPS, ProfileForecaster, forecast_profiles
from linkcast.engine import Engine
from linkcast.features import (
    BANDWIDTH,
    WEEK_S,
    Timestamp,
    calendar_features,
    feature_columns,
    to_datetime64,
    to_seconds,
    to_wall_seconds,
)
from linkcast.files import write_text
from linkcast.groups import group_key
from linkcast.log import LOGGER
from linkcast.notebook import rows_table
from linkcast.signing import SIGNATURE

if TYPE_CHECKING:
    from linkcast.evaluation import Evaluation
    from linkcast.groups import ServiceGroup

Prediction: TypeAlias = dict[str, str | int | float]
TimePredictions: TypeAlias = dict[str, Any]  # {"timestamp": str, "predictions": {group name: Prediction}}

MOST_TIMES = 200_000  # of a range: two decades of hours, and half a gigabyte of predictions
HOUR_US = 3_600_000_000


class BandwidthPredictor:
    """Forecasts for service groups by time, and for links by telemetry. Used by one thread at a time.

    A group's window for a time comes from its hour-of-week profile. A group that has none, or whose model gives a value
    that `Engine.forecast` would not let pass, is answered by its fallback model; `as_numbers=True` tells the source.

    Args:
        folder: a bundle with `models/` and `metadata/`; None is the bundle that ships with linkcast.
        profile: "internet" or "datacenter": which link `predict_bandwidth` and `decide_allocation` are about.
        backend: "auto", "native" or "tflite".
        threads: for TFLite's own kernels.
    Raises:
        LoadError: a model or metadata file is missing, damaged or wrong.
        ValueError: an unknown profile or backend.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        profile: str = "internet",
        backend: str = "auto",
        threads: int = 1,
    ) -> None:
        self._profile = profile
        self._backend = backend
        self._threads = threads
        self.load(folder)

    @property
    def engine(self) -> Engine:
        """The engine behind the predictor."""
        return self._engine

    def load(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Takes the models and metadata of another folder; on an error the present ones stay.

        Raises:
            LoadError: a model or metadata file is missing, damaged or wrong.
            ValueError: the bundle has no models for the predictor's profile.
        """
        engine = Engine(folder, self._backend, self._threads)
        forecaster = engine.resolve(self._profile, "forecaster")
        allocator = engine.resolve(self._profile, "allocator")
        before: Engine | None = getattr(self, "_engine", None)
        if before is not None:
            LOGGER.info("reloaded: %s in place of %s", engine.folder, before.folder)
        self._engine, self._forecaster, self._allocator = engine, forecaster, allocator
        self._profiles: dict[tuple[str, str | None], ProfileForecaster | None] = {}  # by group and device group

    def __getstate__(self) -> dict[str, Any]:
        """Copies make what they need of an engine of their own."""
        return {**self.__dict__, "_profiles": {}}

    def __repr__(self) -> str:
        if not hasattr(self, "_engine"):  # a traceback shows one whose folder could not be opened
            return "BandwidthPredictor(not open)"
        groups = len(self._engine.groups)
        return f"BandwidthPredictor({self._engine.folder!r}, profile {self._profile!r}, {groups} service groups)"

    def _repr_html_(self) -> str:
        groups = self._engine.groups.values()
        rows = [(group.name, group.group_id, f"{group.max_bandwidth_mbps:g}", group.model) for group in groups]
        title = f"BandwidthPredictor {self._engine.folder}, profile {self._profile}"
        return rows_table(title, ("service group", "id", "maximum [Mbit/s]", "model"), rows)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the models and metadata in use to a folder that `load` takes; files of the same name are replaced."""
        source, target = Path(self._engine.folder), Path(folder)
        manifest = Path("metadata") / "manifest.json"
        listed = json.loads((source / manifest).read_text(encoding="utf-8"))["files"]
        signature = manifest.with_name(SIGNATURE)
        files = [manifest, *map(Path, listed)]
        if (source / signature).exists():
            files.append(signature)
        else:  # one of other models does not fit these
            (target / signature).unlink(missing_ok=True)
        files += [Path(self._engine.spec(name)["file"]) for name in self._engine.names]
        for file in files:
            destination = target / file
            destination.parent.mkdir(parents=True, exist_ok=True)
            if not (destination.exists() and destination.samefile(source / file)):
                shutil.copyfile(source / file, destination)

    def predict(
        self,
        timestamp: Timestamp,
        service_group: str,
        usage_percentage: float | None = None,
        device_group: str | None = None,
        *,
        as_numbers: bool = False,
    ) -> Prediction:
        """What a service group needs at a time.

        Args:
            timestamp: datetime, ISO 8601 string, numpy datetime64, or POSIX seconds (read as UTC). The wall clock that
                it shows counts: a time zone is not converted.
            service_group: "Streaming", "Gaming", "Social Media", "Shopping" or "Software"; case, spaces, hyphens and
                underscores do not matter.
            usage_percentage: 0..100, the share of the group's maximum that is in use now, in the hour before the
                timestamp; None takes what is typical of that hour. The hours before it have the typical course.
            device_group: a device group of the service group, such as "mobile"; None is the mix of all.
            as_numbers: numbers instead of text, and the source of the answer.
        Returns:
            {"service_group": "Streaming", "group_id": 1001, "service_id": 102, "bandwidth_allocation": "75.32%",
            "predicted_bandwidth_mbps": "18.45"}. The forecast is between 0 and the group's maximum; the allocation is
            its share of that. With as_numbers: the same keys with floats, and "source": "model" or "fallback".
        Raises:
            ValueError: an unknown group or device group (the text names the known ones), a usage outside 0..100, or no
                timestamp.
        """
        group = self._engine.group(service_group)
        seconds = to_wall_seconds(timestamp)
        return self._predict_each([group], seconds, usage_percentage, device_group, as_numbers)[0]

    def predict_all_groups(
        self,
        timestamp: Timestamp,
        usage_percentage: float | None = None,
        device_group: str | None = None,
        *,
        as_numbers: bool = False,
    ) -> dict[str, Prediction]:
        """`predict` for every group: {"Streaming": {...}, "Gaming": {...}, ...}, in the order of their ids."""
        groups = list(self._engine.groups.values())
        seconds = to_wall_seconds(timestamp)
        predictions = self._predict_each(groups, seconds, usage_percentage, device_group, as_numbers)
        return {group.name: prediction for group, prediction in zip(groups, predictions, strict=True)}

    def generate_time_series_predictions(
        self,
        start_time: Timestamp,
        end_time: Timestamp,
        interval_hours: float = 1,
        *,
        usage_percentage: float | None = None,
        device_group: str | None = None,
        as_numbers: bool = False,
    ) -> list[TimePredictions]:
        """Predictions for every group over a range of times, as batches.

        Args:
            start_time: the first time, as in `predict`.
            end_time: the last time, included when a whole number of intervals leads to it.
            interval_hours: hours between times, above 0; fractions are allowed.
            usage_percentage, device_group, as_numbers: as in `predict`.
        Returns:
            One entry for each time: {"timestamp": "2026-03-02T18:00:00", "predictions": {"Streaming": {...}, ...}},
            the predictions as `predict_all_groups` gives them.
        Raises:
            ValueError: the range ends before it starts or holds more than 200,000 times, or the interval is not above
                0; and as in `predict`.
        """
        times = _time_range(to_datetime64(start_time), to_datetime64(end_time), interval_hours)
        groups = list(self._engine.groups.values())
        by_name, entries = self._predict_series(groups, to_seconds(times), usage_percentage, device_group, as_numbers)
        texts = np.datetime_as_string(times.astype("datetime64[s]")).tolist()
        return [
            {"timestamp": text, "predictions": {name: made[entry].copy() for name, made in by_name.items()}}
            for text, entry in zip(texts, entries.tolist(), strict=True)
        ]

    @staticmethod
    def save_predictions_to_json(
        predictions: Prediction | Mapping[str, Any] | Iterable[Mapping[str, Any]], path: str | os.PathLike[str]
    ) -> None:
        """Writes what any of the methods above returned to a JSON file (UTF-8, indented)."""
        content = predictions if isinstance(predictions, Mapping) else list(predictions)
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def predict_bandwidth(self, sequence: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Next-step bandwidth of each window of link telemetry.

        Args:
            sequence: (batch, 10, 4) or (10, 4): latency_ms, bandwidth_mbps, packet_loss, reliability; oldest first.
        Returns:
            (batch,) float32, Mbit/s, as `Engine.forecast` answers: NaN where nobody can.
        Raises:
            ValueError: wrong shape, or a value is not finite.
        """
        return self._engine.forecast(self._forecaster, sequence).mbps

    def decide_allocation(self, state: npt.ArrayLike) -> int:
        """The action for the present state of a link; action a allocates (a + 1) * 10 % of it.

        Args:
            state: (4,) latency_ms, bandwidth_mbps, packet_loss, reliability.
        Returns:
            0..9.
        Raises:
            ValueError: wrong shape, or a value is not finite.
        """
        actions = self._engine.decide(self._allocator, state)
        if len(actions) != 1:
            raise ValueError(f"state: expected (4,) finite floats, got {np.shape(state)}")
        return int(actions[0])

    def evaluate(self, windows: npt.ArrayLike, targets: npt.ArrayLike) -> Evaluation:
        """Scores the model of `predict_bandwidth`, as it is, beside the naive baselines.

        Args:
            windows: (n, 10, 4) as in `predict_bandwidth`.
            targets: (n,) Mbit/s, what came after each window.
        Returns:
            {"samples", "model": scores, "interval": {"mae", "skill"}, "baselines": {name: scores}, "best_baseline",
            "skill", "verdict"}; scores are within_2_percent, within_10_percent (0..1), mae (Mbit/s), mse, mape
            (percent) and r2; intervals are of 95 %, by a bootstrap of blocks of windows that follow each other. The
            verdict says so when persistence ties or wins.
        Raises:
            ValueError: wrong shapes, or a value is not finite.
        """
        from linkcast.evaluation import evaluate_forecasts

        forecasts = self._engine.forecast_raw(self._forecaster, windows)
        return evaluate_forecasts(forecasts, targets, windows, BANDWIDTH)

    def _predict_each(
        self,
        groups: list[ServiceGroup],
        seconds: int,
        usage_percentage: float | None,
        device_group: str | None,
        as_numbers: bool,
    ) -> list[Prediction]:
        """One time's prediction for each group."""
        predictions = []
        forecasts = self._forecast_profiles(groups, seconds, usage_percentage, device_group).tolist()
        for group, mbps in zip(groups, forecasts, strict=True):
            if math.isnan(mbps):
                _log_fallback(group, 1, 1)
                rescued = float(self._fallback(group, np.array([seconds]), usage_percentage, device_group)[0])
                predictions.append(_prediction(group, rescued, "fallback", as_numbers))
            else:
                predictions.append(_prediction(group, mbps, "model", as_numbers))
        return predictions

    def _predict_series(
        self,
        groups: list[ServiceGroup],
        seconds: npt.NDArray[np.int64],
        usage_percentage: float | None,
        device_group: str | None,
        as_numbers: bool,
    ) -> tuple[dict[str, list[Prediction]], npt.NDArray[np.int64]]:
        """By group's name the predictions that differ, and (n,) which of them each time has."""
        # A profile's windows are the same in every week: each is run, judged and written out once.
        week, entries = np.unique(seconds % WEEK_S, return_inverse=True)
        forecasts = self._forecast_profiles(groups, week, usage_percentage, device_group).astype(np.float64)
        by_name = {}
        for group, mbps in zip(groups, forecasts, strict=True):
            rescued = np.isnan(mbps)
            if rescued.any():
                _log_fallback(group, int(rescued[entries].sum()), len(entries))
                mbps[rescued] = self._fallback(group, week[rescued], usage_percentage, device_group)
            sources = np.where(rescued, "fallback", "model").tolist()
            by_name[group.name] = [
                _prediction(group, value, source, as_numbers)
                for value, source in zip(mbps.tolist(), sources, strict=True)
            ]
        return by_name, entries

    def _forecast_profiles(
        self,
        groups: list[ServiceGroup],
        seconds: int | npt.NDArray[np.int64],
        usage_percentage: float | None,
        device_group: str | None,
    ) -> npt.NDArray[np.float32]:
        """(groups, *seconds' shape) Mbit/s in one native call; NaN where the fallback has to answer."""
        in_use_mbps = [group.in_use_mbps(usage_percentage) for group in groups]
        forecasters = [self._profile_forecaster(group, device_group) for group in groups]
        return forecast_profiles(forecasters, seconds, in_use_mbps)

    def _profile_forecaster(self, group: ServiceGroup, device_group: str | None) -> ProfileForecaster | None:
        """What does not change between the calls for a device group; None without a profile."""
        key = (group.key, group_key(device_group) if isinstance(device_group, str) else device_group)
        if key not in self._profiles:
            bandwidth_factor, latency_factor = group.device_factors(device_group)
            profile, spec = group.scaled_profile(latency_factor), self._engine.spec(group.model)
            self._profiles[key] = (
                None
                if profile is None
                else ProfileForecaster(
                    self._engine,
                    group.model,
                    profile,
                    feature_columns(spec["features"]).tolist(),
                    bandwidth_factor,
                    group.max_bandwidth_mbps,
                )
            )
        return self._profiles[key]

    def _fallback(
        self,
        group: ServiceGroup,
        seconds: npt.NDArray[np.int64],
        usage_percentage: float | None,
        device_group: str | None,
    ) -> npt.NDArray[np.float64]:
        """(n,) Mbit/s from the calendar of each time."""
        bandwidth_factor, _ = group.device_factors(device_group)
        in_use_mbps = group.in_use_mbps(usage_percentage)
        mbps = self._engine.forecast_raw(group.fallback, calendar_features(seconds)).astype(np.float64)
        if in_use_mbps is not None:
            step_s = int(self._engine.spec(group.model)["step_s"])
            newest = self._engine.forecast_raw(group.fallback, calendar_features(seconds - step_s)).astype(np.float64)
            mbps *= in_use_mbps / np.maximum(newest, LEAST_TYPICAL_MBPS)
        return mbps * bandwidth_factor


def _log_fallback(group: ServiceGroup, rescued: int, times: int) -> None:
    why = "it has no profile" if group.profile is None else f"what {group.model} gave is not plausible"
    LOGGER.warning("%s: %s answered %d of %d times: %s", group.name, group.fallback, rescued, times, why)


def _prediction(group: ServiceGroup, bandwidth_mbps: float, source: str, as_numbers: bool) -> Prediction:
    mbps = min(max(bandwidth_mbps, 0.0), group.max_bandwidth_mbps)
    share = 100.0 * mbps / group.max_bandwidth_mbps
    prediction: Prediction = {
        "service_group": group.name,
        "group_id": group.group_id,
        "service_id": group.default_service_id,
        "bandwidth_allocation": share if as_numbers else f"{share:.2f}%",
        "predicted_bandwidth_mbps": mbps if as_numbers else f"{mbps:.2f}",
    }
    if as_numbers:
        prediction["source"] = source
    return prediction


def _time_range(start: np.datetime64, end: np.datetime64, interval_hours: float) -> npt.NDArray[np.datetime64]:
    """start, start + interval, ... up to and including end; datetime64[us]."""
    number = isinstance(interval_hours, (int, float, np.integer, np.floating)) and not isinstance(interval_hours, bool)
    if not (number and np.isfinite(interval_hours) and 1 <= interval_hours * HOUR_US < np.inf):
        raise ValueError(f"interval_hours: expected a number above 0, got {interval_hours!r}")
    if end < start:
        raise ValueError(f"end_time: expected a time at or after start_time {start}, got {end}")
    interval_us = interval_hours * HOUR_US
    count = int((end - start).astype(np.int64) / interval_us + 1e-9) + 1
    if count > MOST_TIMES:
        raise ValueError(
            f"range: expected at most {MOST_TIMES:,} times, got {count:,}, every {interval_hours:g} h from {start} "
            f"to {end}: take a shorter range, or a longer interval"
        )
    offsets = np.rint(np.arange(count) * interval_us).astype("timedelta64[us]")
    times: npt.NDArray[np.datetime64] = start + offsets
    return times
