"""Random processes: windows of many more kinds of links than there are traces, with no level of their own.

A forecaster of links that it has never seen must tell from one window how far the last sample can be relied on. Each
process here is a level that wanders, returns or jumps, seen through noise that may be even, heavy-tailed, one-sided or
rare, and possibly switched on and off. Their parameters are drawn over orders of magnitude: they are a prior, not a
model of a link.
"""

from __future__ import annotations

import numpy as np

from linkcast.features import BANDWIDTH, NEUTRAL, TELEMETRY
from linkcast.training.datasets import FloatArray, Part, scale_free_weights, windows_of_rows

ROWS = 40  # of a process
WARM_UP = 40  # steps before them
LONGEST_STEP = 8.0  # of noise, in its own scale
LARGEST_LOG = 6.0  # from the mean level, either way
LEAST_MEAN = 1e-6  # below it a process is taken as constant


def part(count: int, window: int, rng: np.random.Generator) -> Part:
    """Every window of `count` processes, each of a mean of 1 Mbit/s; latency, loss and reliability as not measured."""
    bandwidth = series(count, rng)
    rows = np.empty((count * ROWS, len(TELEMETRY)))
    for feature, value in NEUTRAL.items():
        rows[:, TELEMETRY.index(feature)] = value
    rows[:, BANDWIDTH] = bandwidth.reshape(-1)
    pieces = [slice(process * ROWS, (process + 1) * ROWS) for process in range(count)]
    return windows_of_rows(rows, None, pieces, window, each_a_source=True, weigh=scale_free_weights)


def series(count: int, rng: np.random.Generator) -> FloatArray:
    """(count, ROWS), each row of mean 1."""
    level = _level(count, rng)
    noise = _log_uniform(1e-3, 0.8, count, rng) * _chance(0.85, count, rng)
    logs = level + noise[:, None] * _noise(count, ROWS, rng)
    jumps = rng.random((count, ROWS)) < (0.05 * _chance(0.3, count, rng))[:, None]
    logs = np.clip(logs + np.cumsum(jumps * rng.normal(0.0, 1.0, (count, ROWS)), axis=1), -LARGEST_LOG, LARGEST_LOG)
    rates = np.where(_chance(0.5, count, rng)[:, None], np.maximum(1.0 + logs, 0.0), np.exp(logs))
    rates *= _switch(count, rng)
    mean = rates.mean(axis=1, keepdims=True)
    steady: FloatArray = np.where(mean > LEAST_MEAN, rates / np.maximum(mean, LEAST_MEAN), 1.0)
    return steady


def _level(count: int, rng: np.random.Generator) -> FloatArray:
    """(count, ROWS) logarithms around 0: random walks, autoregressions, and walks with momentum."""
    step = _log_uniform(1e-3, 0.7, count, rng) * _chance(0.85, count, rng)
    memory = np.where(_chance(0.4, count, rng), 1.0, 1.0 - _log_uniform(0.01, 1.0, count, rng))
    momentum = np.where(_chance(0.2, count, rng), rng.uniform(0.0, 0.8, count), 0.0)
    noise = _noise(count, WARM_UP + ROWS, rng)
    levels, level, slope = np.empty((count, WARM_UP + ROWS)), np.zeros(count), np.zeros(count)
    for row in range(WARM_UP + ROWS):
        slope = momentum * slope + step * noise[:, row]
        level = memory * level + slope
        levels[:, row] = level
    late = levels[:, WARM_UP:]
    around: FloatArray = late - late.mean(axis=1, keepdims=True)
    return around


def _noise(count: int, rows: int, rng: np.random.Generator) -> FloatArray:
    """(count, rows) of scale 1: half of the processes Student's t with few degrees of freedom; some one-sided, mostly
    dips; some only now and then."""
    freedom = np.where(_chance(0.5, count, rng), 50.0, rng.uniform(1.5, 5.0, count))[:, None]
    spread = np.sqrt(np.maximum(rng.chisquare(np.broadcast_to(freedom, (count, rows))), 1e-3) / freedom)
    noise = np.clip(rng.standard_normal((count, rows)) / spread, -LONGEST_STEP, LONGEST_STEP)
    side = np.where(_chance(0.75, count, rng), -1.0, 1.0)[:, None]
    noise = np.where(_chance(0.25, count, rng)[:, None], side * np.abs(noise) ** 1.5, noise)
    often = np.where(_chance(0.25, count, rng), rng.uniform(0.03, 0.5, count), 1.0)[:, None]
    return np.where(rng.random((count, rows)) < often, noise, 0.0)


def _switch(count: int, rng: np.random.Generator) -> FloatArray:
    """(count, ROWS): 1, or for an eighth of the processes at times next to nothing, or nothing."""
    switched = _chance(0.12, count, rng)
    to_on, to_off = _log_uniform(0.02, 0.5, count, rng), _log_uniform(0.02, 0.5, count, rng)
    low = np.where(_chance(0.5, count, rng), 0.0, _log_uniform(1e-3, 0.2, count, rng))
    factor, on = np.ones((count, ROWS)), _chance(0.5, count, rng)
    for row in range(ROWS):
        on = on ^ _chance(np.where(on, to_off, to_on), count, rng)
        factor[:, row] = np.where(on | ~switched, 1.0, low)
    return factor


def _log_uniform(low: float, high: float, count: int, rng: np.random.Generator) -> FloatArray:
    drawn: FloatArray = np.exp(rng.uniform(np.log(low), np.log(high), count))
    return drawn


def _chance(share: float | FloatArray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.random(count) < share
