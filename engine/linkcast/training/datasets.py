"""Windows and targets for training, split by trace or by time, and the scalers that belong to them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast import simulator
from linkcast.features import (
    BANDWIDTH,
    CALENDAR,
    HOURS_PER_WEEK,
    TELEMETRY,
    calendar_features,
    hour_of_week,
    to_seconds,
)
from linkcast.traces import Trace
from linkcast.training.settings import Settings

FloatArray = npt.NDArray[np.float64]
SecondsArray = npt.NDArray[np.int64]

TRAIN_SHARE = 0.70
VALIDATION_SHARE = 0.15
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """Windows of one part of a data set; no window reaches into another part."""

    windows: FloatArray  # (n, window, F) physical units
    targets: FloatArray  # (n,) Mbit/s, one step after the window
    seconds: SecondsArray | None  # (n,) wall clock of the target; None when the trace has no timestamps

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Dataset:
    """What one forecaster is trained and scored on."""

    features: tuple[str, ...]
    step_s: int
    train: Part
    validation: Part
    test: Part
    origin: dict[str, Any] = field(default_factory=dict)  # goes into the manifest


@dataclass(frozen=True)
class Range:
    """scaled = (x - min) / (max - min), the meaning of scikit-learn's MinMaxScaler; values outside are not clipped."""

    min: float
    max: float

    def scale(self, values: FloatArray) -> FloatArray:
        return (values - self.min) / (self.max - self.min)

    def unscale(self, values: FloatArray) -> FloatArray:
        return values * (self.max - self.min) + self.min


@dataclass(frozen=True)
class ScalerRanges:
    """The ranges of a model's features, in order, and of its target (None for allocators)."""

    features: dict[str, Range]
    target: Range | None

    def scale(self, values: FloatArray) -> npt.NDArray[np.float32]:
        """(..., F) physical -> (..., F) float32 scaled; float64 arithmetic, as the engine does it."""
        low = np.array([limits.min for limits in self.features.values()])
        width = np.array([limits.max - limits.min for limits in self.features.values()])
        scaled: npt.NDArray[np.float32] = ((values - low) * (1.0 / width)).astype(np.float32)
        return scaled


def seed_of(seed: int, *words: str) -> int:
    """A seed for one purpose: the run's seed mixed with a name, so that a subset of models trains as in a full run."""
    return int(np.random.SeedSequence([seed, zlib.crc32("/".join(words).encode())]).generate_state(1)[0])


def link_dataset(profile: str, settings: Settings, seed: int) -> Dataset:
    """Simulated links, split by link."""
    drawn = seed_of(seed, "link", profile)
    traces = simulator.simulate_link(profile, settings.link_traces, settings.link_rows, drawn)
    parts = _split_by_trace(traces, settings.window, calendar=False)
    origin = {
        "source": "simulated",
        "simulator_seed": drawn,
        "traces": len(traces),
        "rows_per_trace": settings.link_rows,
        "split": "by trace",
        "noise": _link_noise(simulator.link_profile(profile)),
    }
    return _dataset(TELEMETRY, traces.step_s, parts, origin)


def group_dataset(group: str, settings: Settings, seed: int) -> Dataset:
    """Simulated sites of a service group, split by site."""
    drawn = seed_of(seed, "group", group)
    traces = simulator.simulate_group(group, settings.group_sites, settings.group_hours, drawn)
    parts = _split_by_trace(traces, settings.window, calendar=True)
    origin = {
        "source": "simulated",
        "simulator_seed": drawn,
        "traces": len(traces),
        "rows_per_trace": settings.group_hours,
        "split": "by trace",
        "noise": _group_noise(simulator.group_profile(group)),
    }
    return _dataset((*TELEMETRY, *CALENDAR), traces.step_s, parts, origin)


def telemetry_dataset(trace: Trace, settings: Settings, calendar: bool) -> Dataset:
    """A user's telemetry, split by time: the first 70 % trains, the next 15 % validates, the last 15 % tests.

    Args:
        trace: rows in time order within each segment; segments of parallel sources are cut each at its own time.
        settings: gives the window.
        calendar: whether the model also reads hour and weekday.
    Raises:
        ValueError: a part has no window, or the calendar is wanted and the trace has no timestamps.
    """
    names = [*TELEMETRY, *CALENDAR] if calendar else list(TELEMETRY)
    series = trace.select(names)
    seconds = None if trace.timestamps is None else to_seconds(trace.timestamps)
    rows_of_part: list[list[slice]] = [[], [], []]
    for index, rows in _cut_by_time(trace):
        rows_of_part[index].append(rows)
    parts = [_windows(series, seconds, rows, settings.window) for rows in rows_of_part]
    for name, part in zip(PARTS, parts, strict=True):
        if not len(part):
            raise ValueError(
                f"{trace.name}: expected enough rows for windows of {settings.window} steps in each of "
                f"{', '.join(PARTS)}, got none for {name} from {len(trace)} rows in "
                f"{len(trace.segment_starts)} segments"
            )
    return _dataset(tuple(names), _step_s(trace), parts, _telemetry_origin(trace))


def ranges_of(dataset: Dataset) -> ScalerRanges:
    """Ranges from the training part.

    Each feature spans its smallest to its largest value; one that is constant gets a width of 1. Bandwidth starts at 0
    and ends at the training part's median, as feature and as target alike: on a data set whose links differ in
    size by a factor of hundreds the largest link would otherwise press the others into a corner. What lies above the
    range is scaled beyond 1, not clipped.
    """
    flat = dataset.train.windows.reshape(-1, dataset.train.windows.shape[2])
    low, high = flat.min(axis=0), flat.max(axis=0)
    ranges = {}
    for column, name in enumerate(dataset.features):
        width = float(high[column] - low[column])
        ranges[name] = Range(float(low[column]), float(high[column]) if width > 0.0 else float(low[column]) + 1.0)
    for name in CALENDAR:
        if name in ranges:
            ranges[name] = Range(-1.0, 1.0)
    top = float(np.median(flat[:, BANDWIDTH]))
    bandwidth = Range(0.0, top if top > 0.0 else 1.0)
    ranges["bandwidth_mbps"] = bandwidth
    return ScalerRanges(ranges, bandwidth)


@dataclass(frozen=True)
class GroupRows:
    """A service group's telemetry at typical use, row by row: for its statistics, its profile and its fallback."""

    step_s: int
    rows: dict[str, tuple[FloatArray, SecondsArray]]  # by part: (n, 4) features, (n,) wall clock
    origin: dict[str, Any]

    def features(self, part: str) -> FloatArray:
        return self.rows[part][0]

    def seconds(self, part: str) -> SecondsArray:
        return self.rows[part][1]

    def calendar(self, part: str) -> Part:
        """The calendar (n, 4) and the bandwidth at the same time, as inputs and targets of the fallback."""
        features, seconds = self.rows[part]
        return Part(calendar_features(seconds), features[:, BANDWIDTH], seconds)

    def profile(self, *parts: str) -> FloatArray | None:
        """(168, 4) mean telemetry of the named parts by hour of the week, Monday 0:00 first; None if an hour lacks."""
        features = np.concatenate([self.features(part) for part in parts])
        hours = hour_of_week(np.concatenate([self.seconds(part) for part in parts]))
        counts = np.bincount(hours, minlength=HOURS_PER_WEEK)
        if (counts == 0).any():
            return None
        sums = [np.bincount(hours, features[:, column], HOURS_PER_WEEK) for column in range(len(TELEMETRY))]
        profile: FloatArray = np.stack(sums, axis=1) / counts[:, None]
        return profile


def typical_rows(group: str, settings: Settings, seed: int) -> GroupRows:
    """Simulated sites of a group, each with typical use, split by site."""
    drawn = seed_of(seed, "typical", group)
    traces = simulator.simulate_group(group, settings.typical_sites, settings.group_hours, drawn, typical=True)
    rows = {
        name: (traces.features[sites].reshape(-1, len(TELEMETRY)), traces.seconds[sites].reshape(-1))
        for name, sites in zip(PARTS, _trace_parts(len(traces)), strict=True)
    }
    origin = {
        "source": "simulated",
        "simulator_seed": drawn,
        "traces": len(traces),
        "rows_per_trace": settings.group_hours,
        "split": "by trace",
        "noise": _group_noise(simulator.group_profile(group)),
        "rows": {name: len(seconds) for name, (_, seconds) in rows.items()},
    }
    return GroupRows(traces.step_s, rows, origin)


def telemetry_rows(trace: Trace) -> GroupRows:
    """A user's telemetry of one group, split by time as in `telemetry_dataset`. Its level is taken for the typical one.

    Raises:
        ValueError: the trace has no timestamps.
    """
    if trace.timestamps is None:
        raise ValueError(f"{trace.name}: expected a column timestamp")
    seconds = to_seconds(trace.timestamps)
    pieces: dict[str, list[npt.NDArray[np.int64]]] = {name: [np.empty(0, np.int64)] for name in PARTS}
    for part, rows in _cut_by_time(trace):
        pieces[PARTS[part]].append(np.arange(rows.start, rows.stop))
    chosen = {name: np.concatenate(parts) for name, parts in pieces.items()}
    rows_by_part = {name: (trace.features[index], seconds[index]) for name, index in chosen.items()}
    origin = {**_telemetry_origin(trace), "rows": {name: len(index) for name, index in chosen.items()}}
    return GroupRows(_step_s(trace), rows_by_part, origin)


def scaled_profile_forecast(part: Part, profile: FloatArray, step_s: int) -> FloatArray:
    """The hour-of-week profile at the target's hour, brought to the window's level: the group baseline; (n,) Mbit/s.

    Sites differ in size, so the plain profile would be off by a factor; window mean over profile mean corrects it.
    """
    assert part.seconds is not None
    window = part.windows.shape[1]
    steps = part.seconds[:, None] - np.arange(window, 0, -1) * step_s
    usual = profile[hour_of_week(steps), BANDWIDTH].mean(axis=1)
    level = part.windows[:, :, BANDWIDTH].mean(axis=1) / np.maximum(usual, 1e-12)
    forecast: FloatArray = profile[hour_of_week(part.seconds), BANDWIDTH] * level
    return forecast


def _split_by_trace(traces: simulator.SimulatedTraces, window: int, calendar: bool) -> list[Part]:
    """No trace stands in two parts."""
    parts = []
    for chosen in _trace_parts(len(traces)):
        features, seconds = traces.features[chosen], traces.seconds[chosen]
        if calendar:
            features = np.concatenate([features, calendar_features(seconds)], axis=2)
        traces_here, rows = features.shape[:2]
        slices = [slice(trace * rows, (trace + 1) * rows) for trace in range(traces_here)]
        parts.append(_windows(features.reshape(traces_here * rows, -1), seconds.reshape(-1), slices, window))
    return parts


def _trace_parts(count: int) -> list[slice]:
    """The traces of each part. They are drawn alike and independently: the first train, the last test.

    Raises:
        ValueError: fewer than four traces.
    """
    train, validation = round(count * TRAIN_SHARE), max(1, round(count * VALIDATION_SHARE))
    if count < 4:
        raise ValueError(f"expected at least 4 traces to split, got {count}")
    return [slice(0, train), slice(train, train + validation), slice(train + validation, count)]


def _cut_by_time(trace: Trace) -> list[tuple[int, slice]]:
    """Each segment's rows, cut where 70 % and 85 % of the trace are over: by time, or by row without timestamps.

    With timestamps the cut is one moment for all segments: parallel sources share what happens at a moment.
    """
    pieces = []
    if trace.timestamps is None:
        cuts = [round(len(trace) * TRAIN_SHARE), round(len(trace) * (TRAIN_SHARE + VALIDATION_SHARE))]
        for rows in trace.segments():
            inner = [min(max(cut, rows.start), rows.stop) for cut in cuts]
            pieces += _pieces(rows, inner)
        return pieces
    times = trace.timestamps.astype("datetime64[us]").astype(np.int64)
    moments = np.quantile(times, [TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE])
    for rows in trace.segments():
        inner = [rows.start + int(np.searchsorted(times[rows], moment)) for moment in moments]
        pieces += _pieces(rows, inner)
    return pieces


def _pieces(rows: slice, cuts: Sequence[int]) -> list[tuple[int, slice]]:
    bounds = [rows.start, *cuts, rows.stop]
    return [(part, slice(*ends)) for part, ends in enumerate(pairwise(bounds))]


def _windows(series: FloatArray, seconds: SecondsArray | None, pieces: Sequence[slice], window: int) -> Part:
    starts = np.concatenate(
        [np.empty(0, np.int64), *(np.arange(rows.start, rows.stop - window, dtype=np.int64) for rows in pieces)]
    )
    return Part(
        windows=series[starts[:, None] + np.arange(window)],
        targets=series[starts + window, BANDWIDTH],
        seconds=None if seconds is None else seconds[starts + window],
    )


def _link_noise(profile: simulator.LinkProfile) -> dict[str, list[float]]:
    """What makes the next sample uncertain: without it an accuracy says nothing."""
    return {
        "measurement": list(profile.measurement_noise),
        "self_similar": list(profile.fluctuation),
        "drift": list(profile.drift),
    }


def _group_noise(profile: simulator.GroupProfile) -> dict[str, float]:
    return {
        "measurement": profile.measurement_noise,
        "self_similar": profile.fluctuation,
        "day_to_day": simulator.DAY_SIGMA,
    }


def _telemetry_origin(trace: Trace) -> dict[str, Any]:
    return {
        "source": "telemetry",
        "file": trace.name,
        "dropped_rows": trace.dropped_rows,
        "neutral": trace.neutral_notes(),
        "segments": len(trace.segment_starts),
        "split": "by time, 70 % / 15 % / 15 %",
    }


def _step_s(trace: Trace) -> int:
    """Whole seconds between rows; 1 when the trace does not say."""
    return max(1, round(trace.step_s)) if trace.step_s else 1


def _dataset(features: tuple[str, ...], step_s: int, parts: Sequence[Part], origin: dict[str, Any]) -> Dataset:
    train, validation, test = parts
    sizes = {name: len(part) for name, part in zip(PARTS, parts, strict=True)}
    return Dataset(features, step_s, train, validation, test, {**origin, "windows": sizes})
