"""Bandwidth forecasts for service groups on a device, from the folder that this file stands in.

Needs NumPy and one of linkcast, ai-edge-litert or tflite-runtime; nothing else of linkcast. README.md beside this file
says how it is used; `linkcast export-edge` wrote both. As a program:

    python edge_deployment.py --help
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:  # Python 3.9 could not evaluate these
    import numpy.typing as npt

    Timestamp = datetime | date | np.datetime64 | str | int | float
    Prediction = dict[str, str | int | float]
    Array = npt.NDArray[Any]  # the shapes and types stand where it is used
    Run = Callable[[Array], Array]  # (n, ...) float32 scaled inputs -> (n,) float32 outputs, each from zero state

RUNTIMES = ("linkcast", "ai-edge-litert", "tflite-runtime")
INTERPRETERS = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}

TELEMETRY = ("latency_ms", "bandwidth_mbps", "packet_loss", "reliability")
CALENDAR = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
FEATURES = TELEMETRY + CALENDAR
BANDWIDTH = TELEMETRY.index("bandwidth_mbps")
LATENCY = TELEMETRY.index("latency_ms")
FRACTIONS = ("packet_loss", "reliability")

HOUR_S = 3_600
DAY_S = 86_400
HOUR_US = 3_600_000_000
HOURS_PER_WEEK = 168
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
EPOCH_UNITS = {1e11: 1e6, 1e14: 1e3, 1e17: 1.0, 1e20: 1e-3}  # a number below: microseconds in its unit (s, ms, us, ns)
MOST_YEARS = 290_000  # that microseconds of 64 bits hold

LEAST_MBPS = 1e-6  # of a typical bandwidth that another is measured by
PLAUSIBLE_MARGIN = 0.5  # of the range that training has seen, at either end
MODEL_TOLERANCE = 1e-4  # of scaled outputs from TensorFlow's: float32 sums in another order stay below 1e-5
ANSWER_TOLERANCE = 1e-4  # of answers from those of linkcast, in Mbit/s, or of the answer where it is above 1 Mbit/s
MOST_METADATA_BYTES = 32 << 20
MOST_STEPS = 10_000  # of a window
MOST_STEP_S = 366 * DAY_S


class BundleError(RuntimeError):
    """The folder, or what runs its models, can't be used; the text names the file and the key."""


class NoRuntimeError(BundleError):
    """Nothing that runs the models is installed; the text tells what was tried."""


class MissingFileError(BundleError, FileNotFoundError):
    """A file of the folder is missing."""


class BandwidthPredictor:
    """Forecasts for service groups by time. Used by one thread at a time.

    A group's window for a time comes from its hour-of-week profile. A group that has none, whose model is missing or
    damaged, or whose model gives a number that is not plausible, is answered by its fallback model: `as_numbers=True`
    tells the source, `problems` why a model is not used, and loading gives a RuntimeWarning.

    Args:
        folder: holds `tflite_models/` and `metadata/`; None is the folder that this file stands in.
        runtime: "linkcast", "ai-edge-litert" or "tflite-runtime"; "auto" takes the first that is installed.
    Raises:
        MissingFileError: (a FileNotFoundError) a metadata file is missing.
        BundleError: a metadata file is damaged; neither a group's model nor its fallback can be used.
        NoRuntimeError: (a BundleError) none of the runtimes can be imported.
        ValueError: an unknown runtime.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, runtime: str = "auto") -> None:
        self.folder = Path(__file__).resolve().parent if folder is None else Path(folder)
        self._metadata = _Metadata(self.folder)
        self.runtime, self._open = _find_runtime(runtime)
        self.problems: dict[str, str] = {}  # by model: why it is not used
        self._runs: dict[str, Run] = {}
        for group in self._metadata.groups:
            self._load(group)

    @property
    def groups(self) -> list[str]:
        """Names of the service groups, in the order of their ids."""
        return [group.name for group in self._metadata.groups]

    def device_groups(self, service_group: str) -> list[str]:
        """What `device_group` may be for a service group."""
        return list(self._group(service_group).device_groups)

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
            service_group: a name out of `groups`; case, spaces, hyphens and underscores do not matter.
            usage_percentage: 0..100, the share of the group's maximum that is in use now, in the hour before the
                timestamp; None takes what is typical of that hour.
            device_group: a device group of the service group, such as "mobile"; None is the mix of all.
            as_numbers: numbers instead of text, and the source of the answer: "model" or "fallback".
        Returns:
            {"service_group": "Streaming", "group_id": 1001, "service_id": 102, "bandwidth_allocation": "75.32%",
            "predicted_bandwidth_mbps": "18.45"}. The forecast is between 0 and the group's maximum; the allocation is
            its share of that.
        Raises:
            ValueError: an unknown group or device group (the text names the known ones), a usage outside 0..100, or no
                timestamp.
        """
        group = self._group(service_group)
        seconds = _seconds(np.array([_datetime64(timestamp)]))
        mbps, rescued = self._forecast(group, seconds, usage_percentage, device_group)
        return _prediction(group, float(mbps[0]), bool(rescued[0]), as_numbers)

    def predict_all_groups(
        self,
        timestamp: Timestamp,
        usage_percentage: float | None = None,
        device_group: str | None = None,
        *,
        as_numbers: bool = False,
    ) -> dict[str, Prediction]:
        """`predict` for every group: {"Streaming": {...}, "Gaming": {...}, ...}, in the order of their ids."""
        return {
            group.name: self.predict(timestamp, group.key, usage_percentage, device_group, as_numbers=as_numbers)
            for group in self._metadata.groups
        }

    def generate_time_series_predictions(
        self,
        start_time: Timestamp,
        end_time: Timestamp,
        interval_hours: float = 1,
        *,
        usage_percentage: float | None = None,
        device_group: str | None = None,
        as_numbers: bool = False,
    ) -> list[dict[str, Any]]:
        """Predictions for every group over a range of times.

        Args:
            start_time: the first time, as in `predict`.
            end_time: the last time, included when a whole number of intervals leads to it.
            interval_hours: hours between times, above 0; fractions are allowed.
            usage_percentage, device_group, as_numbers: as in `predict`.
        Returns:
            One entry for each time: {"timestamp": "2026-03-02T18:00:00", "predictions": {"Streaming": {...}, ...}},
            the predictions as `predict_all_groups` gives them.
        Raises:
            ValueError: the range ends before it starts, or the interval is not above 0; and as in `predict`.
        """
        times = _time_range(_datetime64(start_time), _datetime64(end_time), interval_hours)
        seconds = _seconds(times)
        forecasts = [
            (group, *self._forecast(group, seconds, usage_percentage, device_group)) for group in self._metadata.groups
        ]
        return [
            {
                "timestamp": str(time.astype("datetime64[s]")),
                "predictions": {
                    group.name: _prediction(group, float(mbps[index]), bool(rescued[index]), as_numbers)
                    for group, mbps, rescued in forecasts
                },
            }
            for index, time in enumerate(times)
        ]

    @staticmethod
    def save_predictions_to_json(
        predictions: Mapping[str, Any] | Iterable[Mapping[str, Any]], path: str | os.PathLike[str]
    ) -> None:
        """Writes what any of the methods above returned to a JSON file (UTF-8, indented)."""
        content = predictions if isinstance(predictions, Mapping) else list(predictions)
        Path(path).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def check(self) -> tuple[int, float]:
        """Compares with the answers that linkcast gave when the folder was written (expected_predictions.json).

        Returns:
            How many answers were compared, and the largest difference: in Mbit/s, or of the answer above 1 Mbit/s.
        Raises:
            BundleError: a model is not used, or an answer lies further off than 1e-4.
        """
        if self.problems:
            raise BundleError(next(iter(self.problems.values())))
        answers = _read(self.folder / "metadata", "expected_predictions.json").at("predictions").array()
        largest = 0.0
        for answer in answers:
            arguments = {key: argument.value for key, argument in answer.at("arguments").object().items()}
            expected, source = answer.at("predicted_bandwidth_mbps").number(0.0), answer.at("source").string()
            try:
                got = self.predict(**arguments, as_numbers=True)
            except (TypeError, ValueError) as error:
                raise answer.at("arguments").refuse(f"those of predict ({error})") from None
            difference = abs(float(got["predicted_bandwidth_mbps"]) - expected) / max(1.0, expected)
            if not difference <= ANSWER_TOLERANCE or got["source"] != source:
                raise BundleError(
                    f"{arguments}: expected {expected:.6f} Mbit/s from the {source}, "
                    f"got {got['predicted_bandwidth_mbps']:.6f} from the {got['source']} ({self.runtime})"
                )
            largest = max(largest, difference)
        return len(answers), largest

    def _group(self, name: str) -> _Group:
        wanted = _key(name) if isinstance(name, str) else None
        for group in self._metadata.groups:
            if wanted in (group.key, _key(group.name)):
                return group
        raise ValueError(f"service_group: expected one of {', '.join(self.groups)}, got {name!r}")

    def _load(self, group: _Group) -> None:
        """Loads a group's model and fallback; one of the two is enough."""
        names = [name for name in (group.model, group.fallback) if name is not None]
        for name in names:
            try:
                self._runs[name] = self._proven(self._metadata.models[name])
            except BundleError as error:
                self.problems[name] = str(error)
        has_answer = group.fallback in self._runs or (group.model in self._runs and group.profile is not None)
        failed = [self.problems[name] for name in names if name in self.problems]
        if not has_answer:
            raise BundleError(f"{group.name}: nothing can answer: {'; '.join(failed)}")
        if failed:
            stands_in = "the fallback answers" if group.model in self.problems else "there is no fallback now"
            warnings.warn(f"{group.name}: {stands_in}: {'; '.join(failed)}", RuntimeWarning, stacklevel=3)

    def _proven(self, model: _Model) -> Run:
        """Loads one model file and compares what it gives with what TensorFlow gave, where the manifest says that.

        The hash is compared first: tflite-runtime 2.14 crashes on a file that is cut off.
        """
        path = self.folder / model.file
        content = _content(path)
        if model.sha256 is not None and hashlib.sha256(content).hexdigest() != model.sha256:
            raise BundleError(f"{path}: damaged: not the SHA-256 that metadata/manifest.json gives")
        shape = (model.window, len(model.columns)) if model.window else (len(model.columns),)
        try:
            run = self._open(path, content)
            if model.golden is None:
                inputs, expected = np.full((2, *shape), 0.5, np.float32), None
            else:
                inputs, expected = model.golden
            outputs = run(np.concatenate([inputs, inputs[-1:]]))
        except Exception as error:  # each runtime has its own kinds
            raise BundleError(f"{path}: {self.runtime} can't run it on inputs of {shape}: {error}") from None
        if outputs.shape != (len(inputs) + 1,) or not np.isfinite(outputs).all():
            raise BundleError(f"{path}: expected one finite number for each input of {shape}")
        if outputs[-1] != outputs[-2]:
            raise BundleError(f"{path}: {self.runtime} keeps state from one window to the next")
        if expected is not None and not np.abs(outputs[:-1] - expected).max() <= MODEL_TOLERANCE:
            raise BundleError(f"{path}: {self.runtime} gives other outputs than TensorFlow did")
        return run

    def _forecast(
        self, group: _Group, seconds: Array, usage_percentage: float | None, device_group: str | None
    ) -> tuple[Array, Array]:
        """(n,) Mbit/s and (n,) which of them the fallback gave, for (n,) int64 seconds of the wall clock."""
        in_use_mbps = _in_use_mbps(group, usage_percentage)
        bandwidth_factor, latency_factor = _device_factors(group, device_group)
        model = self._metadata.models[group.model]
        mbps = np.full(len(seconds), np.nan)
        if group.model in self._runs and group.profile is not None:
            profile = group.profile.copy()
            profile[:, LATENCY] *= latency_factor
            newest = profile[_hour_of_week(seconds - model.step_s), BANDWIDTH]
            factors = bandwidth_factor * _factors(in_use_mbps, newest)
            windows = _profile_windows(seconds, model, profile, factors, group.max_bandwidth_mbps)
            mbps = self._run(model, windows)
        rescued = ~_plausible(mbps, model, group.max_bandwidth_mbps)
        if rescued.any():
            mbps[rescued] = self._fallback(group, seconds[rescued], in_use_mbps) * bandwidth_factor
        return mbps, rescued

    def _fallback(self, group: _Group, seconds: Array, in_use_mbps: float | None) -> Array:
        """(n,) Mbit/s from the calendar of each time, before the device group."""
        if group.fallback is None or group.fallback not in self._runs:
            raise BundleError(f"{group.name}: the model's forecast is not plausible, and there is no fallback")
        model = self._metadata.models[group.fallback]
        typical = self._run(model, _calendar(seconds)[:, model.columns - len(TELEMETRY)])
        if in_use_mbps is not None:
            before = seconds - self._metadata.models[group.model].step_s
            newest = self._run(model, _calendar(before)[:, model.columns - len(TELEMETRY)])
            typical = typical * _factors(in_use_mbps, newest)
        if not np.isfinite(typical).all():
            raise BundleError(f"{group.name}: neither the model nor the fallback gives a finite forecast")
        return typical

    def _run(self, model: _Model, rows: Array) -> Array:
        """(n, window, F) or (n, F) physical units -> (n,) float64 of float32 values, the target in its unit."""
        scaled = np.empty(rows.shape, np.float32)
        for column, scaling in enumerate(model.scaling):
            levels = scaling.level(rows[..., column])
            first: Array | float = levels[:, :1] if scaling.relative else 0.0
            scaled[..., column] = scaling.transform(levels, first)
        reference = rows[:, -1, model.target_column] if model.target.relative else None
        return model.target.inverse_transform(self._runs[model.name](scaled), reference)


# --- What runs a model ------------------------------------------------------------------------------------------------


def _find_runtime(wanted: str) -> tuple[str, Callable[[Path, bytes], Run]]:
    """(name and version, what opens a model file) of the runtime of that name, or of the first that is there."""
    if wanted != "auto" and wanted not in RUNTIMES:
        raise ValueError(f"runtime: expected auto, {', '.join(RUNTIMES)}, got {wanted!r}")
    failed = []
    for name in RUNTIMES if wanted == "auto" else (wanted,):
        try:
            if name == "linkcast":
                linkcast = importlib.import_module("linkcast")
                return f"linkcast {linkcast.__version__}", _linkcast_run(linkcast.Model)
            package = importlib.import_module(INTERPRETERS[name])
            interpreter = importlib.import_module(f"{package.__name__}.interpreter").Interpreter
            return f"{name} {getattr(package, '__version__', '')}".rstrip(), _interpreter_run(interpreter)
        except (ImportError, AttributeError) as error:  # not there, or built for another NumPy
            failed.append(f"{name} ({error})")
    raise NoRuntimeError(
        "no runtime: expected linkcast, ai-edge-litert, or tflite-runtime with numpy<2 to be installed; "
        f"tried {', '.join(failed)}"
    )


def _linkcast_run(open_model: Any) -> Callable[[Path, bytes], Run]:
    def opened(path: Path, content: bytes) -> Run:
        model = open_model(path)
        return lambda inputs: model.predict(inputs).reshape(len(inputs), -1)[:, 0]

    return opened


def _interpreter_run(interpreter: Any) -> Callable[[Path, bytes], Run]:
    def opened(path: Path, content: bytes) -> Run:
        model = interpreter(model_content=content, num_threads=1)
        model.allocate_tensors()
        (given,), (wanted,) = model.get_input_details(), model.get_output_details()

        def run(inputs: Array) -> Array:
            outputs = np.empty(len(inputs), np.float32)
            for index in range(len(inputs)):
                model.reset_all_variables()  # a fused LSTM keeps its state from one invoke to the next
                model.set_tensor(given["index"], inputs[index : index + 1])
                model.invoke()
                outputs[index] = model.get_tensor(wanted["index"]).reshape(1)[0]
            return outputs

        return run

    return opened


# --- Time -------------------------------------------------------------------------------------------------------------


def _datetime64(timestamp: Timestamp) -> np.datetime64:
    """The wall clock that a timestamp shows, datetime64[us]: an aware time keeps its own."""
    if isinstance(timestamp, str):
        try:
            timestamp = datetime.fromisoformat(timestamp.strip().replace("Z", "+00:00"))
        except ValueError:
            raise ValueError(
                f"timestamp: expected an ISO 8601 time such as 2026-03-02T18:00, got {timestamp!r}"
            ) from None
    if isinstance(timestamp, datetime):
        return np.datetime64(timestamp.replace(tzinfo=None), "us")
    if isinstance(timestamp, date):
        return np.datetime64(timestamp, "us")
    if isinstance(timestamp, np.datetime64):
        if np.isnat(timestamp):
            raise ValueError("timestamp: expected a time, got NaT")
        if not abs(int(timestamp.astype("datetime64[Y]").astype(np.int64))) < MOST_YEARS:
            raise ValueError(f"timestamp: expected a time within {MOST_YEARS:,} years of 1970, got {timestamp}")
        return cast("np.datetime64", timestamp.astype("datetime64[us]"))
    if isinstance(timestamp, (int, float, np.integer, np.floating)) and not isinstance(timestamp, bool):
        for most, microseconds in EPOCH_UNITS.items():
            if abs(timestamp) < most:
                return np.datetime64(round(float(timestamp) * microseconds), "us")
        raise ValueError(f"timestamp: expected POSIX seconds, got {timestamp!r}")
    raise ValueError(
        "timestamp: expected a datetime, an ISO 8601 string, a datetime64 or POSIX seconds, "
        f"got {type(timestamp).__name__}"
    )


def _seconds(times: Array) -> Array:
    return times.astype("datetime64[s]").astype(np.int64)


def _time_range(start: Any, end: Any, interval_hours: float) -> Array:
    """start, start + interval, ... up to and including end; datetime64[us]."""
    number = isinstance(interval_hours, (int, float, np.integer, np.floating)) and not isinstance(interval_hours, bool)
    if not (number and np.isfinite(interval_hours) and 1 <= interval_hours * HOUR_US < np.inf):
        raise ValueError(f"interval_hours: expected a number above 0, got {interval_hours!r}")
    if end < start:
        raise ValueError(f"end_time: expected a time at or after start_time {start}, got {end}")
    interval_us = interval_hours * HOUR_US
    count = int((end - start).astype(np.int64) / interval_us + 1e-9) + 1
    times: Array = start + np.rint(np.arange(count) * interval_us).astype("timedelta64[us]")
    return times


def _hour_of_week(seconds: Array) -> Array:
    """Index into a profile: weekday * 24 + hour, Monday 0."""
    return (seconds // HOUR_S + 24 * EPOCH_WEEKDAY) % HOURS_PER_WEEK


def _calendar(seconds: Array) -> Array:
    """(*seconds.shape, 4) float64 in the order of CALENDAR: hour (with its minutes) and weekday on a circle."""
    hour_angle = 2.0 * np.pi * ((seconds % DAY_S) // 60 / 60.0) / 24.0
    weekday_angle = 2.0 * np.pi * ((seconds // DAY_S + EPOCH_WEEKDAY) % 7) / 7.0
    return np.stack([np.sin(hour_angle), np.cos(hour_angle), np.sin(weekday_angle), np.cos(weekday_angle)], axis=-1)


def _profile_windows(seconds: Array, model: _Model, profile: Array, factors: Array, most_mbps: float) -> Array:
    """(n, window, F) physical units: the steps before each time, oldest first, each with the profile of its hour."""
    steps = seconds[:, None] - np.arange(model.window, 0, -1, dtype=np.int64) * model.step_s
    features = np.concatenate([profile[_hour_of_week(steps)], _calendar(steps)], axis=-1)
    features[..., BANDWIDTH] = np.minimum(features[..., BANDWIDTH] * factors[:, None], most_mbps)
    return features[..., model.columns]


# --- Groups -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """A service group, as service_mappings.json and service_group_stats.json describe it."""

    key: str
    name: str
    group_id: int
    service_id: int
    model: str
    fallback: str | None
    max_bandwidth_mbps: float
    device_groups: Mapping[str, tuple[float, float]]  # what bandwidth and latency are multiplied with
    profile: Array | None  # (168, 4) telemetry by hour of the week


def _key(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _in_use_mbps(group: _Group, usage_percentage: float | None) -> float | None:
    if usage_percentage is None:
        return None
    if isinstance(usage_percentage, (str, bool)) or not 0.0 <= usage_percentage <= 100.0:
        raise ValueError(f"usage_percentage: expected a number from 0 to 100, got {usage_percentage!r}")
    return group.max_bandwidth_mbps * usage_percentage / 100.0


def _device_factors(group: _Group, device_group: str | None) -> tuple[float, float]:
    if device_group is None:
        return 1.0, 1.0
    factors = group.device_groups.get(_key(device_group)) if isinstance(device_group, str) else None
    if factors is None:
        known = ", ".join(group.device_groups) or "none"
        raise ValueError(f"device_group: expected one of {known} for {group.name}, got {device_group!r}")
    return factors


def _factors(in_use_mbps: float | None, typical_mbps: Array) -> Array:
    """(n,) what typical bandwidths are multiplied with so that the newest is what is in use."""
    if in_use_mbps is None:
        return np.ones(len(typical_mbps))
    return in_use_mbps / np.maximum(typical_mbps, LEAST_MBPS)


def _plausible(mbps: Array, model: _Model, max_mbps: float) -> Array:
    """(n,) bool: finite, and not far from what training has seen, or from the group's maximum where that is more."""
    if model.target_range is None:
        return np.isfinite(mbps)
    least, most = model.target_range
    margin = PLAUSIBLE_MARGIN * (most - least)
    return np.isfinite(mbps) & (mbps >= least - margin) & (mbps <= max(most, max_mbps) + margin)


def _prediction(group: _Group, bandwidth_mbps: float, rescued: bool, as_numbers: bool) -> Prediction:
    mbps = min(max(bandwidth_mbps, 0.0), group.max_bandwidth_mbps)
    share = 100.0 * mbps / group.max_bandwidth_mbps
    prediction: Prediction = {
        "service_group": group.name,
        "group_id": group.group_id,
        "service_id": group.service_id,
        "bandwidth_allocation": share if as_numbers else f"{share:.2f}%",
        "predicted_bandwidth_mbps": mbps if as_numbers else f"{mbps:.2f}",
    }
    if as_numbers:
        prediction["source"] = "fallback" if rescued else "model"
    return prediction


# --- Metadata ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scaling:
    """Min-max scaling of one feature, or of the target: of values or of their logarithms, as they are or relative."""

    offset: float
    scale: float  # 1 / (max - min)
    log_offset: float  # 0: no logarithm
    relative: bool  # to the window's first value (a feature) or to its last (the target)
    share: float  # of the reference that is taken off
    bound: float  # of what is scaled

    def level(self, values: Array) -> Array:
        return np.log(np.maximum(values, 0.0) + self.log_offset) if self.log_offset else values

    def transform(self, levels: Array, first: Array | float) -> Array:
        return np.clip((levels - self.share * first - self.offset) * self.scale, -self.bound, self.bound)

    def inverse_transform(self, scaled: Array, reference: Array | None) -> Array:
        """(n,) float32 scaled -> (n,) physical, rounded to float32 as linkcast does, in float64."""
        level = np.clip(scaled.astype(np.float64), -self.bound, self.bound) / self.scale + self.offset
        if reference is not None:
            level = level + self.share * self.level(reference)
        with np.errstate(over="ignore"):  # what overflows is not plausible: the fallback answers
            if self.log_offset:
                level = np.maximum(np.exp(level) - self.log_offset, 0.0)
            return level.astype(np.float32).astype(np.float64)


@dataclass(frozen=True)
class _Model:
    """A model, as feature_list.json, scalers.json and manifest.json describe it."""

    name: str
    file: str
    window: int  # time steps; 0: it reads one row of features
    step_s: int
    columns: Array  # (F,) of FEATURES
    scaling: tuple[_Scaling, ...]  # (F,)
    target: _Scaling
    target_column: int  # of the feature that the target is relative to
    sha256: str | None
    target_range: tuple[float, float] | None
    golden: tuple[Array, Array] | None  # (n, ...) scaled inputs and (n,) outputs


class _Json:
    """A value of a metadata file that knows where it stands, for errors that name the file and the key."""

    def __init__(self, value: Any, where: str, path: str = "") -> None:
        self.value, self._where, self._path = value, where, path

    def refuse(self, expected: str) -> BundleError:
        text = json.dumps(self.value)
        got = text if len(text) <= 60 else f"{text[:57]}..."
        return BundleError(f"{self._where}: {self._path or '(root)'}: expected {expected}, got {got}")

    def find(self, key: str) -> _Json | None:
        members = self.object()
        return members.get(key)

    def at(self, key: str) -> _Json:
        found = self.find(key)
        if found is None:
            raise BundleError(f"{self._where}: {self._path or '(root)'}: expected the key {key!r}, got none")
        return found

    def object(self) -> dict[str, _Json]:
        if not isinstance(self.value, dict):
            raise self.refuse("an object")
        return {key: _Json(value, self._where, f"{self._path}/{key}") for key, value in self.value.items()}

    def array(self) -> list[_Json]:
        if not isinstance(self.value, list):
            raise self.refuse("an array")
        return [_Json(value, self._where, f"{self._path}/{index}") for index, value in enumerate(self.value)]

    def string(self, pattern: str = ".+") -> str:
        if not isinstance(self.value, str) or not re.fullmatch(pattern, self.value):
            raise self.refuse("a text" if pattern == ".+" else f"a text like {pattern}")
        return self.value

    def number(self, least: float = -math.inf, most: float = math.inf) -> float:
        known = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
        if not known or not abs(self.value) <= sys.float_info.max or not least <= self.value <= most:
            limits = f" from {least:g}" if least > -math.inf else ""
            limits += f" to {most:g}" if most < math.inf else ""
            raise self.refuse(f"a number{limits}")
        return float(self.value)

    def positive(self) -> float:
        if self.number() <= 0:
            raise self.refuse("a number above 0")
        return float(self.value)

    def count(self, least: int = 0, most: int = sys.maxsize) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not least <= self.value <= most:
            raise self.refuse(f"a whole number of {least} {'or more' if most == sys.maxsize else f'to {most}'}")
        return self.value

    def numbers(self, size: int, least: float = -math.inf, most: float = math.inf) -> list[float]:
        items = self.array()
        if len(items) != size:
            raise self.refuse(f"{size} numbers")
        return [item.number(least, most) for item in items]


class _Metadata:
    """What the files of metadata/ say. Models that the manifest does not list have no hash and no golden rows."""

    def __init__(self, folder: Path) -> None:
        where = folder / "metadata"
        mappings = _read(where, "service_mappings.json").at("groups")
        stats = _read(where, "service_group_stats.json").at("groups")
        features = _read(where, "feature_list.json").at("models")
        scalers = _read(where, "scalers.json").at("models")
        listed = _read(where, "manifest.json").at("models").object()
        groups = [_group(key, entry, stats.at(key)) for key, entry in mappings.object().items()]
        if not groups:
            raise mappings.refuse("at least one group")
        self.groups = sorted(groups, key=lambda group: group.group_id)
        self.models: dict[str, _Model] = {}
        for group in self.groups:
            model = _model(group.model, features.at(group.model), scalers.at(group.model), listed.get(group.model))
            if not model.window:
                raise features.at(group.model).refuse("the key 'window'")
            self.models[group.model] = model
            if group.fallback is None:
                if group.profile is None:
                    raise stats.at(group.key).refuse("the key 'hour_of_week', as the group has no fallback")
                continue
            name = group.fallback
            self.models[name] = _model(name, features.at(name), scalers.at(name), listed.get(name))
            if self.models[name].window or (self.models[name].columns < len(TELEMETRY)).any():
                raise features.at(name).refuse(f"a fallback, which reads {', '.join(CALENDAR)} without a window")


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise BundleError(f"{path}: expected a regular file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file") from None
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None


def _read(folder: Path, name: str) -> _Json:
    path = folder / name
    content = _content(path)
    if len(content) > MOST_METADATA_BYTES:
        raise BundleError(f"{path}: expected at most {MOST_METADATA_BYTES} bytes, got {len(content)}")
    try:
        root = _Json(json.loads(content.decode("utf-8")), str(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: damaged: no JSON: {error}") from None
    version = root.at("schema_version")
    if version.value != 1:
        raise version.refuse("1")
    return root


def _group(key: str, entry: _Json, stats: _Json) -> _Group:
    services = [service.count() for service in entry.at("services").object().values()]
    service_id = entry.at("default_service_id").count()
    if service_id not in services:
        raise entry.at("default_service_id").refuse("the id of one of the services")
    hours = stats.find("hour_of_week")
    profile = None
    if hours is not None:
        most = [1.0 if name in FRACTIONS else math.inf for name in TELEMETRY]
        columns = [hours.at(name).numbers(HOURS_PER_WEEK, 0.0, most[c]) for c, name in enumerate(TELEMETRY)]
        profile = np.array(columns, dtype=np.float64).T.copy()
    fallback = entry.find("fallback")
    devices = stats.find("device_groups")
    return _Group(
        key=key,
        name=entry.at("name").string(),
        group_id=entry.at("group_id").count(),
        service_id=service_id,
        model=entry.at("model").string("[A-Za-z0-9_-]+"),  # a file name: nothing outside the folder
        fallback=None if fallback is None else fallback.string("[A-Za-z0-9_-]+"),
        max_bandwidth_mbps=stats.at("max_bandwidth_mbps").positive(),
        device_groups={
            device: (factors.at("bandwidth_factor").positive(), factors.at("latency_factor").positive())
            for device, factors in (devices.object() if devices is not None else {}).items()
        },
        profile=profile,
    )


def _scaling(entry: _Json, relative_to: str | None) -> _Scaling:
    """@param relative_to: the word that may stand there; None: none may"""
    offset, most = entry.at("min").number(), entry.at("max").number()
    if not most > offset or not math.isfinite(1.0 / (most - offset)):
        raise entry.refuse("max above min")
    unknown = set(entry.object()) - {"min", "max", "log_offset", "relative_to", "share", "bound"}
    if unknown:
        raise entry.refuse("min, max, log_offset, relative_to, share and bound alone")
    log_offset, share, bound = entry.find("log_offset"), entry.find("share"), entry.find("bound")
    reference = entry.find("relative_to")
    if reference is not None and reference.value != relative_to:
        raise reference.refuse("no such key" if relative_to is None else f'"{relative_to}"')
    return _Scaling(
        offset=offset,
        scale=1.0 / (most - offset),
        log_offset=0.0 if log_offset is None else log_offset.positive(),
        relative=reference is not None,
        share=1.0 if share is None else share.positive(),
        bound=math.inf if bound is None else bound.positive(),
    )


def _model(name: str, features: _Json, scalers: _Json, listed: _Json | None) -> _Model:
    names = [feature.at("name") for feature in features.at("features").array()]
    for feature in names:
        if feature.value not in FEATURES:
            raise feature.refuse(f"one of {', '.join(FEATURES)}")
    if not names:
        raise features.at("features").refuse("at least one feature")
    columns = np.array([FEATURES.index(feature.value) for feature in names], dtype=np.int64)
    window = features.find("window")
    steps = 0 if window is None else window.count(1, MOST_STEPS)
    target = features.at("target").at("name").string()
    has_reference = window is not None and target in FEATURES and FEATURES.index(target) in columns
    sha256 = target_range = golden = None
    if listed is not None:
        sha256 = listed.at("sha256").string("[0-9a-f]{64}")
        trained_on = listed.find("trained_on")
        seen = trained_on.find("target_range") if trained_on is not None else None
        target_range = tuple(seen.numbers(2)) if seen is not None else None
        golden = _golden(listed.find("golden"), (steps, len(columns)) if steps else (len(columns),))
    return _Model(
        name=name,
        file=f"tflite_models/{name}.tflite",
        window=steps,
        step_s=features.at("step_s").count(1, MOST_STEP_S),
        columns=columns,
        scaling=tuple(
            _scaling(scalers.at("features").at(feature.value), None if window is None else "first") for feature in names
        ),
        target=_scaling(scalers.at("target"), "last" if has_reference else None),
        target_column=[feature.value for feature in names].index(target) if has_reference else 0,
        sha256=sha256,
        target_range=target_range,  # type: ignore[arg-type]  # of two
        golden=golden,
    )


def _golden(entry: _Json | None, shape: tuple[int, ...]) -> tuple[Array, Array] | None:
    if entry is None:
        return None
    try:
        inputs = np.array(entry.at("inputs").value, dtype=np.float32)
        outputs = np.array(entry.at("outputs").value, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        inputs = outputs = np.empty(0, np.float32)
    if inputs.shape[1:] != shape or not len(inputs) or outputs.shape != inputs.shape[:1]:
        raise entry.refuse(f"inputs of {shape} and an output for each")
    return inputs, outputs


# --- As a program -----------------------------------------------------------------------------------------------------


def seal(folder: Path) -> list[str]:
    """Writes the SHA-256 of every model and file that is in the folder now into metadata/manifest.json.

    For a folder that was changed on purpose. Models that the manifest does not know get an entry with their hash; a
    model whose hash has changed loses its golden rows and target range, which were those of the model before.

    Returns:
        The names of the models that are new or have changed.
    """
    path = folder / "metadata" / "manifest.json"
    manifest: dict[str, Any] = {"files": {}, **_read(path.parent, path.name).value}
    changed = []
    for model in _Metadata(folder).models.values():
        content = _content(folder / model.file)
        digest = hashlib.sha256(content).hexdigest()
        if digest != model.sha256:
            manifest["models"][model.name] = {"file": model.file, "sha256": digest, "bytes": len(content)}
            changed.append(model.name)
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256(_content(folder / name)).hexdigest()
    manifest["generator"] = "edge_deployment.py --seal"  # linkcast export-edge does not take it for its own any more
    fresh = path.with_suffix(".fresh")
    fresh.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, path)
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 1 after an error, 3 without a runtime, told in one line on standard error."""
    parser = argparse.ArgumentParser(description="Predict what service groups need at a time; prints JSON.")
    parser.add_argument("group", nargs="?", help="a service group; default: all")
    parser.add_argument("--at", metavar="ISO_TIME", help="such as 2026-03-02T18:00; default: now")
    parser.add_argument("--usage", type=float, metavar="PERCENT", help="of the group's maximum in use now, 0 to 100")
    parser.add_argument("--device", metavar="NAME", help="a device group, such as mobile; default: the mix of all")
    parser.add_argument("--runtime", default="auto", help=f"auto, {', '.join(RUNTIMES)}; default: auto")
    parser.add_argument("--check", action="store_true", help="compare with the answers that linkcast gave, and exit")
    parser.add_argument("--seal", action="store_true", help="note the hashes of changed or new models, and exit")
    options = parser.parse_args(arguments)
    warnings.showwarning = lambda message, *rest: print(f"edge_deployment: {message}", file=sys.stderr)
    try:
        if options.seal:
            changed = seal(Path(__file__).resolve().parent)
            print(f"sealed; new or changed models: {', '.join(changed) or 'none'}")
            return 0
        predictor = BandwidthPredictor(runtime=options.runtime)
        if options.check:
            count, largest = predictor.check()
            print(f"{predictor.runtime}: {count} answers as linkcast's, within {largest:.1g}")
            return 0
        when = options.at if options.at is not None else datetime.now().replace(second=0, microsecond=0)
        if options.group is None:
            answer: Any = predictor.predict_all_groups(when, options.usage, options.device)
        else:
            answer = predictor.predict(when, options.group, options.usage, options.device)
        print(json.dumps(answer, indent=2, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf")))
        return 0
    except (BundleError, ValueError, OSError) as error:
        print(f"edge_deployment: {error}", file=sys.stderr)
        return 3 if isinstance(error, NoRuntimeError) else 1


if __name__ == "__main__":
    sys.exit(main())
