"""Windows and targets for training, split by trace or by time, and the scalers that belong to them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast import simulation
from linkcast.baselines import Baseline, ewma, harmonic_mean, moving_average, persistence
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
from linkcast.training.ranges import LOG_OFFSET_MBPS
from linkcast.training.settings import Augmentation, Settings

FloatArray = npt.NDArray[np.float64]
SecondsArray = npt.NDArray[np.int64]

TRAIN_SHARE = 0.70
VALIDATION_SHARE = 0.15
PARTS = ("train", "validation", "test")
NOISE_TRACES = 200  # links at the noise level that an accuracy is quoted at


@dataclass(frozen=True)
class Part:
    """Windows of one part of a data set; no window reaches into another part."""

    windows: FloatArray  # (n, window, F) physical units
    targets: FloatArray  # (n,) Mbit/s, one step after the window
    seconds: SecondsArray | None  # (n,) wall clock of the target; None when the trace has no timestamps
    weights: FloatArray  # (n,) of the windows' errors in the loss, see `loss_weights`
    chances: FloatArray  # (n,) of being drawn for an epoch, summing up to 1

    def __len__(self) -> int:
        return len(self.targets)

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Indices of windows, by systematic sampling: each window count * chance times, rounded up or down."""
        ends = np.cumsum(self.chances)
        points = (np.arange(count) + rng.random()) / count * ends[-1]
        drawn: npt.NDArray[np.int64] = np.searchsorted(ends, points, side="right")
        return drawn


@dataclass(frozen=True)
class Dataset:
    """What one forecaster is trained and scored on."""

    features: tuple[str, ...]
    step_s: int
    train: Part
    validation: Part
    test: Part
    origin: dict[str, Any] = field(default_factory=dict)  # goes into the manifest
    held_out: dict[str, Part] = field(default_factory=dict)  # more test parts, each scored by itself, by name
    links: dict[str, Part] = field(default_factory=dict)  # held-out parts that all rivals are compared on, by name
    scale_free: bool = False  # nothing of the level reaches the network, which learns from a guide
    augmentation: Augmentation | None = None


def seed_of(seed: int, *words: str) -> int:
    """A seed for one purpose: the run's seed mixed with a name, so that a subset of models trains as in a full run."""
    return int(np.random.SeedSequence([seed, zlib.crc32("/".join(words).encode())]).generate_state(1)[0])


def link_dataset(profile: str, settings: Settings, seed: int) -> Dataset:
    """Simulated links, split by link."""
    drawn = seed_of(seed, "link", profile)
    traces = simulation.simulate_link(profile, settings.link_traces, settings.link_rows, drawn)
    parts = _split_by_trace(traces, settings.window, calendar=False)
    origin = _simulated_origin(traces, drawn, _link_noise(simulation.link_profile(profile)))
    dataset = _dataset(TELEMETRY, traces.step_s, parts, origin)
    return replace(dataset, held_out=dict([_at_target_noise(profile, settings, seed)]))


def _at_target_noise(profile: str, settings: Settings, seed: int) -> tuple[str, Part]:
    """Other links of a profile, all at the noise level at which the design's accuracy is to be reached."""
    level = simulation.TARGET_NOISE[profile]
    links = simulation.at_noise(profile, level)
    traces = simulation.simulate_link(links, NOISE_TRACES, settings.link_rows, seed_of(seed, "noise", profile))
    part = _windows_of_traces(traces, slice(None), settings.window, calendar=False)
    return f"simulated links at noise level {level:g}", part


def group_dataset(group: str, settings: Settings, seed: int) -> Dataset:
    """Simulated sites of a service group, split by site."""
    drawn = seed_of(seed, "group", group)
    traces = simulation.simulate_group(group, settings.group_sites, settings.group_hours, drawn)
    parts = _split_by_trace(traces, settings.window, calendar=True)
    origin = _simulated_origin(traces, drawn, _group_noise(simulation.group_profile(group)))
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
    parts = [windows_of_rows(series, seconds, rows, settings.window, held=trace.held) for rows in rows_of_part]
    for name, part in zip(PARTS, parts, strict=True):
        if not len(part):
            raise ValueError(
                f"{trace.name}: expected enough rows for windows of {settings.window} steps in each of "
                f"{', '.join(PARTS)}, got none for {name} from {len(trace)} rows in "
                f"{len(trace.segment_starts)} segments"
            )
    return _dataset(tuple(names), _step_s(trace), parts, _telemetry_origin(trace))


SMALLEST_ERROR = 0.1
"""A steady link's usual error counts as this share of its level. The gradient of an absolute error does not shrink with
the error: weighted by more, steady links would hold every forecast at the last value."""


def loss_weights(
    windows: FloatArray,
    targets: FloatArray,
    source: npt.NDArray[np.int64],
    rules: Sequence[Baseline] = (ewma,),
    smallest_error: float = SMALLEST_ERROR,
) -> FloatArray:
    """What the error of a window's log-bandwidth counts in the loss: its level over its source's usual error.

    An error of the logarithm times the level is about an error in Mbit/s. Over the mean absolute error of the EWMA on
    the same source it says how hard the window is to forecast for a link like this one. So the loss comes close to the
    mean over sources of the mean absolute error relative to the EWMA's: each source counts alike whatever its Mbit/s,
    idle seconds count little, and the optimum of each window is the median.

    Args:
        windows: (n, T, F) with the telemetry features first.
        targets: (n,) Mbit/s.
        source: (n,) a number for each link or trace.
        rules: a source's usual error is that of the best of these, by default the EWMA.
        smallest_error: see SMALLEST_ERROR.
    Returns:
        (n,)
    """
    level = level_of(windows)
    count = np.maximum(np.bincount(source), 1)
    errors = [np.bincount(source, np.abs(rule(windows, BANDWIDTH) - targets)) for rule in rules]
    usual = np.maximum(np.min(errors, axis=0), smallest_error * np.bincount(source, level)) / count
    weights: FloatArray = (level + LOG_OFFSET_MBPS) / (usual[source] + 0.1 * LOG_OFFSET_MBPS)
    return weights


def level_of(windows: FloatArray) -> FloatArray:
    """(n, T, F) -> (n,) Mbit/s: halfway between the window's mean and its last sample."""
    bandwidth = windows[:, :, BANDWIDTH]
    level: FloatArray = 0.5 * (bandwidth.mean(axis=1) + bandwidth[:, -1])
    return level


SCALE_FREE_SMALLEST_ERROR = 0.03
"""In place of SMALLEST_ERROR where the labels are a guide's: without noise in them, the error of a steady link's window
shrinks with training and holds nothing back."""


def scale_free_weights(windows: FloatArray, targets: FloatArray, source: npt.NDArray[np.int64]) -> FloatArray:
    """`loss_weights` over the best of four naive rules: every link counts by what is left for a forecast to gain."""
    rules = (persistence, ewma, moving_average, harmonic_mean)
    return loss_weights(windows, targets, source, rules, SCALE_FREE_SMALLEST_ERROR)


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
        same = np.ones(len(seconds))
        return Part(calendar_features(seconds), features[:, BANDWIDTH], seconds, same, same / max(len(same), 1))

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
    traces = simulation.simulate_group(group, settings.typical_sites, settings.group_hours, drawn, typical=True)
    rows = {
        name: (traces.features[sites].reshape(-1, len(TELEMETRY)), traces.seconds[sites].reshape(-1))
        for name, sites in zip(PARTS, _trace_parts(len(traces)), strict=True)
    }
    origin = _simulated_origin(traces, drawn, _group_noise(simulation.group_profile(group)))
    origin["rows"] = {name: len(seconds) for name, (_, seconds) in rows.items()}
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
        inside = np.arange(rows.start, rows.stop)
        pieces[PARTS[part]].append(inside if trace.held is None else inside[~trace.held[inside]])
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


def _split_by_trace(traces: simulation.SimulatedTraces, window: int, calendar: bool) -> list[Part]:
    """No trace stands in two parts."""
    return [_windows_of_traces(traces, chosen, window, calendar) for chosen in _trace_parts(len(traces))]


def _windows_of_traces(traces: simulation.SimulatedTraces, chosen: slice, window: int, calendar: bool) -> Part:
    features, seconds = traces.features[chosen], traces.seconds[chosen]
    if calendar:
        features = np.concatenate([features, calendar_features(seconds)], axis=2)
    traces_here, rows = features.shape[:2]
    slices = [slice(trace * rows, (trace + 1) * rows) for trace in range(traces_here)]
    series = features.reshape(traces_here * rows, -1)
    return windows_of_rows(series, seconds.reshape(-1), slices, window, each_a_source=True)


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
    assert trace.moments is not None
    times = trace.moments.astype("datetime64[us]").astype(np.int64)
    moments = np.quantile(times, [TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE])
    for rows in trace.segments():
        inner = [rows.start + int(np.searchsorted(times[rows], moment)) for moment in moments]
        pieces += _pieces(rows, inner)
    return pieces


def _pieces(rows: slice, cuts: Sequence[int]) -> list[tuple[int, slice]]:
    bounds = [rows.start, *cuts, rows.stop]
    return [(part, slice(*ends)) for part, ends in enumerate(pairwise(bounds))]


def join(parts: Sequence[Part], shares: Sequence[float]) -> Part:
    """All windows of several parts; `shares` of what is drawn come from each."""
    return Part(
        windows=np.concatenate([part.windows for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        seconds=None,
        weights=np.concatenate([part.weights for part in parts]),
        chances=np.concatenate([share * part.chances for part, share in zip(parts, shares, strict=True)]),
    )


def windows_of_rows(
    series: FloatArray,
    seconds: SecondsArray | None,
    pieces: Sequence[slice],
    window: int,
    each_a_source: bool = False,
    held: npt.NDArray[np.bool_] | None = None,
    weigh: Callable[[FloatArray, FloatArray, npt.NDArray[np.int64]], FloatArray] = loss_weights,
) -> Part:
    """Every window of the pieces; for the loss the pieces are of one source, or each is of another.

    A row that is `held` (rows,) is no target: nothing was measured there.
    """
    of_piece = [np.arange(rows.start, rows.stop - window, dtype=np.int64) for rows in pieces]
    if held is not None:
        of_piece = [starts[~held[starts + window]] for starts in of_piece]
    starts = np.concatenate([np.empty(0, np.int64), *of_piece])
    source = np.repeat(np.arange(len(pieces)) * each_a_source, [len(piece) for piece in of_piece])
    windows, targets = series[starts[:, None] + np.arange(window)], series[starts + window, BANDWIDTH]
    return Part(
        windows=windows,
        targets=targets,
        seconds=None if seconds is None else seconds[starts + window],
        weights=weigh(windows, targets, source),
        chances=np.full(len(starts), 1.0 / max(len(starts), 1)),
    )


def _simulated_origin(traces: simulation.SimulatedTraces, seed: int, noise: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": "simulated",
        "simulator_seed": seed,
        "traces": len(traces),
        "rows_per_trace": traces.features.shape[1],
        "split": "by trace",
        "noise": noise,
    }


def _link_noise(profile: simulation.LinkProfile) -> dict[str, list[float]]:
    """What makes the next sample uncertain: without it an accuracy says nothing."""
    return {
        "level": list(profile.noise),
        "measurement": list(profile.measurement_noise),
        "self_similar": list(profile.fluctuation),
        "drift": list(profile.drift),
    }


def _group_noise(profile: simulation.GroupProfile) -> dict[str, float]:
    return {
        "measurement": profile.measurement_noise,
        "self_similar": profile.fluctuation,
        "day_to_day": simulation.groups.DAY_SIGMA,
    }


def _telemetry_origin(trace: Trace) -> dict[str, Any]:
    return {
        "source": "telemetry",
        "file": trace.name,
        "dropped_rows": trace.dropped_rows,
        "read": [*trace.describe(), *trace.notices, *trace.warnings],
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
