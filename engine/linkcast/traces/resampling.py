"""A trace at another step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from linkcast.features import TELEMETRY
from linkcast.traces.trace import Trace


def resample(trace: Trace, step_s: float) -> Trace:
    """The trace at an even step: time-weighted means, a row's values holding until the next row.

    A mean at time t is over t .. t + step_s, on a grid of whole steps of the site's clock, and each segment by itself.
    The last row of a segment holds for one median step of the trace. A step of which less than half is covered is left
    out.

    Raises:
        ValueError: no timestamps, a step below the trace's own (values would be made up), or nothing is left.
    """
    own = trace.step_s
    if trace.timestamps is None or trace.moments is None or own is None:
        raise ValueError(
            f"{trace.name}: expected a column timestamp and rows that follow each other to change the step"
        )
    if step_s < own:
        raise ValueError(f"{trace.name}: step: expected at least the {own:g} s between the file's rows, got {step_s:g}")
    wall = trace.timestamps.astype("datetime64[us]").astype(np.int64)
    micros = trace.moments.astype("datetime64[us]").astype(np.int64)
    seconds = micros / 1e6
    held = np.zeros(len(trace)) if trace.held is None else trace.held.astype(np.float64)
    features: list[npt.NDArray[np.float64]] = []
    times: list[npt.NDArray[np.float64]] = []
    held_steps: list[npt.NDArray[np.bool_]] = []
    starts: list[int] = []
    kept: list[int] = []
    rows_now = 0
    for segment, rows in enumerate(trace.segments()):
        knots = np.append(seconds[rows], seconds[rows.stop - 1] + own)
        sums = np.vstack([np.zeros(len(TELEMETRY)), np.cumsum(trace.features[rows] * np.diff(knots)[:, None], axis=0)])
        ahead = (wall[rows.start] - micros[rows.start]) / 1e6
        first, end = np.floor((knots[0] + ahead) / step_s), np.ceil((knots[-1] + ahead) / step_s)
        edges = np.arange(first, end + 1.0) * step_s - ahead
        covered = np.diff(np.clip(edges, knots[0], knots[-1]))
        held_s = np.interp(edges, knots, np.append(0.0, np.cumsum(held[rows] * np.diff(knots))))
        integral = np.stack([np.interp(edges, knots, sums[:, column]) for column in range(len(TELEMETRY))], axis=1)
        full = covered >= 0.5 * step_s
        if full.any():
            kept.append(segment)
            starts.append(rows_now)
            rows_now += int(np.count_nonzero(full))
            features.append(np.diff(integral, axis=0)[full] / covered[full, None])
            times.append(edges[:-1][full])
            held_steps.append((np.diff(held_s) > 0.5 * covered)[full])
    if not features:
        raise ValueError(f"{trace.name}: expected segments of at least half a step of {step_s:g} s, got none")
    moments = np.rint(np.concatenate(times) * 1e6).astype(np.int64)
    in_time = np.argsort(micros, kind="stable")
    row_of = np.clip(np.searchsorted(micros[in_time], moments, side="right") - 1, 0, len(micros) - 1)
    shown = (wall - micros)[in_time][row_of]  # how far the site's clock is ahead in the row that a step begins in
    held_now = np.concatenate(held_steps)
    return replace(
        trace,
        features=np.concatenate(features),
        timestamps=(moments + shown).astype("datetime64[us]"),
        instants=None if trace.instants is None else moments.astype("datetime64[us]"),
        held=held_now,
        held_rows=int(np.count_nonzero(held_now)),
        segment_starts=np.array(starts, np.int64),
        sources=tuple(trace.sources[segment] for segment in kept) if trace.sources else (),
        neutral={name: round(count * rows_now / len(trace)) for name, count in trace.neutral.items()},
        resampled_from_s=own,
    )
