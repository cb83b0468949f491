"""What varies: self-similar noise, drift, regimes and bursts, each an array of (traces, steps)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

DRIFT_S = 300.0
BURST_TAIL = 1.5  # Pareto exponent of burst lengths: 1 < a < 2 gives H = (3 - a) / 2 (Taqqu, Willinger, Sherman 1997)
BURST_LIMIT = 100.0


def fractional_gaussian_noise(rng: np.random.Generator, hurst: FloatArray, steps: int) -> FloatArray:
    """Self-similar noise of unit variance, exact, by circulant embedding (Davies and Harte, Biometrika 1987).

    Args:
        rng: draws the noise.
        hurst: (traces,) Hurst exponents in (0, 1); 0.5 is white noise.
        steps: samples of each trace.
    Returns:
        (traces, steps).
    """
    lag: FloatArray = np.arange(steps + 1, dtype=np.float64)
    double_h: FloatArray = 2.0 * hurst[:, None]
    covariance = 0.5 * ((lag + 1.0) ** double_h - 2.0 * lag**double_h + np.abs(lag - 1.0) ** double_h)
    circulant = np.concatenate([covariance, covariance[:, -2:0:-1]], axis=1)  # (traces, 2 * steps)
    eigenvalues = np.maximum(np.fft.rfft(circulant, axis=1).real, 0.0)  # (traces, steps + 1), >= 0 but for rounding
    white = np.fft.rfft(rng.standard_normal(circulant.shape), axis=1)
    noise: FloatArray = np.fft.irfft(white * np.sqrt(eigenvalues), n=circulant.shape[1], axis=1)
    return noise[:, :steps]


def bursts(
    rng: np.random.Generator,
    interval_s: float,
    size: tuple[float, float],
    shortest_s: float,
    step_s: int,
    traces: int,
    steps: int,
) -> FloatArray:
    """Sum of ON/OFF bursts over the mean load, (traces, steps). Starts are Poisson, lengths Pareto (BURST_TAIL).

    Args:
        rng: draws the bursts.
        interval_s: mean time between starts.
        size: bounds of a burst's height.
        shortest_s: shortest burst; none lasts longer than BURST_LIMIT times as long.
        step_s: length of a step.
        traces, steps: the shape.
    """
    edges = np.zeros((traces, steps + 1))
    counts = rng.poisson(steps * step_s / interval_s, traces)
    trace = np.repeat(np.arange(traces), counts)
    start = rng.integers(0, steps, counts.sum())
    length_s = shortest_s * np.minimum(1.0 + rng.pareto(BURST_TAIL, counts.sum()), BURST_LIMIT)
    length = np.maximum(1, length_s / step_s).astype(np.int64)
    height = rng.uniform(size[0], size[1], counts.sum())
    np.add.at(edges, (trace, start), height)
    np.add.at(edges, (trace, np.minimum(start + length, steps)), -height)
    return np.maximum(np.cumsum(edges, axis=1)[:, :steps], 0.0)


def drift(rng: np.random.Generator, traces: int, steps: int, step_s: int) -> FloatArray:
    """(traces, steps) AR(1) of unit variance with correlation time DRIFT_S: the level that a trace wanders around."""
    keep = np.exp(-step_s / DRIFT_S)
    shocks = np.sqrt(1.0 - keep * keep) * rng.standard_normal((traces, steps))
    level = np.empty((traces, steps))
    level[:, 0] = rng.standard_normal(traces)
    for step in range(1, steps):
        level[:, step] = keep * level[:, step - 1] + shocks[:, step]
    return level


def regimes(rng: np.random.Generator, interval: float, sigma: float, traces: int, steps: int) -> FloatArray:
    """(traces, steps) Gaussian levels of standard deviation sigma, constant between switches `interval` steps apart."""
    if sigma == 0.0:
        return np.zeros((traces, steps))
    switches = rng.random((traces, steps)) < 1.0 / interval
    regime: npt.NDArray[np.int64] = np.cumsum(switches, axis=1, dtype=np.int64)
    levels = sigma * rng.standard_normal((traces, int(regime.max()) + 1))
    return np.take_along_axis(levels, regime, axis=1)


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float], size: int) -> FloatArray:
    """(size,) values whose logarithm is uniform between the bounds'."""
    low, high = bounds
    if low == high:
        return np.full(size, low)
    return np.exp(rng.uniform(np.log(low), np.log(high), size))
