"""Naive one-step forecasts: what a model has to beat before it earns its place.

Every baseline reads the bandwidth column of windows (n, T, F), oldest first, and answers (n,) in that column's unit.
It sees the window only, as the model does; the autoregression has also seen windows before, to fit its coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Baseline = Callable[[npt.ArrayLike, int], FloatArray]

EWMA_ALPHAS = (0.2, 0.5, 0.8)
"""Further weights in BASELINES, for slower and faster links: whichever serves a trace best in hindsight counts."""

EWMA_ALPHA = 0.3
"""Weight of the newest sample; TCP's smoothed RTT uses 1/8 (RFC 6298), rate estimators for video usually 0.2 to 0.4."""

HARMONIC_SAMPLES = 5
"""Samples in the harmonic mean; FESTIVE (Jiang et al., CoNEXT 2012) takes it of a stream's last throughputs."""

HARMONIC_FLOOR = 1e-3
"""A sample below this share of the mean counts as this share: one idle sample must not force a forecast of zero."""

AR_ORDER = 10
"""Values that the autoregression reads: AR(10)."""

AR_REFIT = 200
"""Windows between two fits of the autoregression that learns as it goes."""

MARGIN_WINDOW = 300
"""Errors that a margin is read from: the newest ones."""

MARGIN_EVERY = 10
"""Ticks between two readings of a margin."""

__all__ = [
    "BASELINES",
    "Baseline",
    "autoregression",
    "ewma",
    "fit_autoregression",
    "growing_autoregression",
    "harmonic_mean",
    "hour_of_week",
    "median",
    "moving_average",
    "persistence",
    "with_margins",
]


def _column(windows: npt.ArrayLike, bandwidth: int) -> FloatArray:
    """(n, T) float64: the bandwidth column."""
    array = np.asarray(windows, dtype=np.float64)
    if array.ndim != 3:
        raise ValueError(f"windows must be (n, T, F), got shape {array.shape}")
    if not 0 <= bandwidth < array.shape[2] or array.shape[1] == 0:
        raise ValueError(f"no bandwidth column {bandwidth} in windows of shape {array.shape}")
    column: FloatArray = array[:, :, bandwidth]
    return column


def persistence(windows: npt.ArrayLike, bandwidth: int = 1) -> FloatArray:
    """The last value again: (n, T, F) -> (n,).

    Raises:
        ValueError: the windows are not (n, T, F) or have no such column.
    """
    last: FloatArray = _column(windows, bandwidth)[:, -1].copy()
    return last


def moving_average(windows: npt.ArrayLike, bandwidth: int = 1) -> FloatArray:
    """Mean of the window: (n, T, F) -> (n,).

    Raises:
        ValueError: the windows are not (n, T, F) or have no such column.
    """
    mean: FloatArray = _column(windows, bandwidth).mean(axis=1)
    return mean


def ewma(windows: npt.ArrayLike, bandwidth: int = 1, alpha: float = EWMA_ALPHA) -> FloatArray:
    """Exponentially weighted mean, started at the window's first value: (n, T, F) -> (n,).

    Raises:
        ValueError: the windows are not (n, T, F) or have no such column, or alpha is not in (0, 1].
    """
    if not 0.0 < alpha <= 1.0:
        raise ValueError(f"alpha must be in (0, 1], got {alpha}")
    column = _column(windows, bandwidth)
    level: FloatArray = column[:, 0].copy()
    for step in range(1, column.shape[1]):
        level += alpha * (column[:, step] - level)
    return level


def harmonic_mean(windows: npt.ArrayLike, bandwidth: int = 1, samples: int = HARMONIC_SAMPLES) -> FloatArray:
    """Harmonic mean of the last `samples` values: (n, T, F) -> (n,). It discounts short peaks; see HARMONIC_FLOOR.

    Raises:
        ValueError: the windows are not (n, T, F) or have no such column, or samples is not positive.
    """
    if samples < 1:
        raise ValueError(f"samples must be positive, got {samples}")
    column = _column(windows, bandwidth)[:, -samples:]
    mean = column.mean(axis=1)
    floored = np.maximum(column, np.maximum(HARMONIC_FLOOR * mean, 1e-300)[:, None])
    harmonic: FloatArray = 1.0 / np.mean(1.0 / floored, axis=1)
    return np.where(mean > 0.0, harmonic, 0.0)


def median(windows: npt.ArrayLike, bandwidth: int = 1) -> FloatArray:
    """Median of the window: (n, T, F) -> (n,). A burst in less than half of it changes nothing.

    Raises:
        ValueError: the windows are not (n, T, F) or have no such column.
    """
    middle: FloatArray = np.median(_column(windows, bandwidth), axis=1)
    return middle


def fit_autoregression(windows: npt.ArrayLike, targets: npt.ArrayLike, bandwidth: int = 1) -> FloatArray:
    """Coefficients of an AR(10) with a constant, by ordinary least squares.

    Args:
        windows: (n, T, F), the earlier part of a trace; a window shorter than AR_ORDER gives an AR(T).
        targets: (n,) the value after each window.
    Returns:
        (order + 1,): the constant, then one for each value, oldest first. The shortest solution when there are many.
    Raises:
        ValueError: the windows are not (n, T, F) or have no such column, targets of another shape, or n is 0.
    """
    inputs, outputs = _regressors(windows, bandwidth), np.asarray(targets, dtype=np.float64)
    if outputs.shape != inputs.shape[:1] or not len(outputs):
        raise ValueError(f"targets must be ({len(inputs)},) and not empty, got {outputs.shape}")
    return np.asarray(np.linalg.lstsq(inputs, outputs, rcond=None)[0], dtype=np.float64)


def autoregression(windows: npt.ArrayLike, coefficients: npt.ArrayLike, bandwidth: int = 1) -> FloatArray:
    """Forecasts of a fitted autoregression, at least 0: (n, T, F) -> (n,).

    Raises:
        ValueError: the windows are not (n, T, F) or have no such column, or do not fit the coefficients.
    """
    inputs, weights = _regressors(windows, bandwidth), np.asarray(coefficients, dtype=np.float64)
    if weights.shape != inputs.shape[1:]:
        raise ValueError(f"coefficients must be ({inputs.shape[1]},), got {weights.shape}")
    return np.maximum(inputs @ weights, 0.0)


def growing_autoregression(
    windows: npt.ArrayLike,
    targets: npt.ArrayLike,
    bandwidth: int = 1,
    order: npt.ArrayLike | None = None,
    steps: int = 1,
) -> FloatArray:
    """An AR(10) that learns as it goes, from all that is over and from nothing else.

    Every AR_REFIT windows it is fitted again, on all windows before whose target is known by then; the first ones are
    answered by persistence.

    Args:
        windows: as in `fit_autoregression`.
        targets: (n,) the value `steps` after each window: each horizon has an autoregression of its own.
        order: (n,) the windows' positions in the order of time, as np.argsort gives them; None is their own order.
        steps: rows from a window's last to its target.
    Returns:
        (n,) at least 0.
    Raises:
        ValueError: as in `fit_autoregression`, or steps is below 1.
    """
    inputs, outputs = _regressors(windows, bandwidth), np.asarray(targets, dtype=np.float64)
    if outputs.shape != inputs.shape[:1]:
        raise ValueError(f"targets must be ({len(inputs)},), got {outputs.shape}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not len(outputs):
        return np.empty(0)
    sequence = np.arange(len(outputs)) if order is None else np.asarray(order, dtype=np.int64)
    level = float(np.mean(np.abs(inputs[:, 1:])))  # brings values beside the constant 1: conditioning, not knowledge
    inputs[:, 1:] /= level if level > 0.0 else 1.0
    width, late = inputs.shape[1], steps - 1  # a target is known `late` windows later than that of the next row
    padding = -len(sequence) % AR_REFIT
    padded = np.pad(inputs[sequence], ((0, padding), (0, 0))).reshape(-1, AR_REFIT, width)
    known_inputs = _delayed(inputs[sequence], late, padding).reshape(-1, AR_REFIT, width)
    known_outputs = _delayed(outputs[sequence, None], late, padding).reshape(-1, AR_REFIT, 1)
    transposed = known_inputs.transpose(0, 2, 1)
    squares = np.cumsum(transposed @ known_inputs, axis=0)[:-1]  # (blocks - 1, width, width), all blocks before
    products = np.cumsum(transposed @ known_outputs, axis=0)[:-1]  # (blocks - 1, width, 1)
    weights = np.zeros((len(padded), width, 1))
    weights[0, -1] = level  # persistence
    weights[1:] = np.linalg.pinv(squares, rcond=1e-12, hermitian=True) @ products
    forecasts = np.empty(len(outputs))
    forecasts[sequence] = (padded @ weights).reshape(-1)[: len(sequence)]
    return np.maximum(forecasts, 0.0)


def _delayed(values: FloatArray, rows: int, padding: int) -> FloatArray:
    """(n + padding, columns): zeros, then all but what moves out at the end, then zeros."""
    return np.pad(values, ((rows, padding), (0, 0)))[: len(values) + padding]


def with_margins(
    forecasts: npt.ArrayLike,
    targets: npt.ArrayLike,
    levels: npt.ArrayLike,
    steps: int = 1,
) -> FloatArray:
    """A forecast and a margin for each level: the quantile of its last MARGIN_WINDOW errors that are known.

    What anyone can put around any forecast: split conformal bounds on a rolling set (Vovk et al. 2005, with the newest
    errors only). Read again every MARGIN_EVERY ticks.

    Args:
        forecasts: (n,) in the order of time.
        targets: (n,) what came; NaN where that is not known.
        levels: (L,) between 0 and 1.
        steps: ticks until a target is known.
    Returns:
        (n, L), at least 0; as long as no error is known, the forecast itself.
    Raises:
        ValueError: shapes do not belong together, a level is out of range, or steps is below 1.
    """
    given, came = np.asarray(forecasts, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    shares = np.asarray(levels, dtype=np.float64)
    if given.ndim != 1 or came.shape != given.shape:
        raise ValueError(f"forecasts and targets must be (n,), got {given.shape} and {came.shape}")
    if steps < 1 or shares.ndim != 1 or not np.all((shares > 0.0) & (shares < 1.0)):
        raise ValueError(f"expected levels between 0 and 1 and steps of at least 1, got {levels!r} and {steps}")
    if not len(given):
        return np.empty((0, len(shares)))
    ticks = np.arange(0, len(given), MARGIN_EVERY)
    errors = np.concatenate([np.full(MARGIN_WINDOW + steps - 1, np.nan), came - given])
    known = np.lib.stride_tricks.sliding_window_view(errors, MARGIN_WINDOW)[ticks]  # (readings, window), a view's copy
    known = np.sort(known, axis=1)  # NaN last
    count = np.count_nonzero(np.isfinite(known), axis=1)[:, None]
    ranks = np.clip(np.ceil(shares * (count + 1)).astype(np.int64) - 1, 0, np.maximum(count - 1, 0))
    margins = np.where(count > 0, np.take_along_axis(known, ranks, axis=1), 0.0)
    bounds: FloatArray = given[:, None] + np.repeat(margins, MARGIN_EVERY, axis=0)[: len(given)]
    return np.maximum(bounds, 0.0)


def _regressors(windows: npt.ArrayLike, bandwidth: int) -> FloatArray:
    """(n, order + 1): a one, and the last values of each window."""
    column = _column(windows, bandwidth)[:, -AR_ORDER:]
    return np.concatenate([np.ones((len(column), 1)), column], axis=1)


def hour_of_week(profile: npt.ArrayLike, index: npt.ArrayLike) -> FloatArray:
    """The profile's value at each target's hour of the week.

    Args:
        profile: (168,), index = weekday * 24 + hour, Monday 0.
        index: (n,) integers, 0..167.
    Raises:
        ValueError: the profile is not (168,), or an index is out of range.
    """
    values = np.asarray(profile, dtype=np.float64)
    hours = np.asarray(index, dtype=np.int64)
    if values.shape != (168,):
        raise ValueError(f"an hour-of-week profile must be (168,), got {values.shape}")
    if hours.size and (hours.min() < 0 or hours.max() > 167):
        raise ValueError(f"an hour of the week must be in 0..167, got {int(hours.min())}..{int(hours.max())}")
    chosen: FloatArray = values[hours]
    return chosen


BASELINES: dict[str, Baseline] = {
    "persistence": persistence,
    "moving_average": moving_average,
    "ewma": ewma,
    **{f"ewma_{alpha}": partial(ewma, alpha=alpha) for alpha in EWMA_ALPHAS},
    "harmonic_mean": harmonic_mean,
    "median": median,
}
"""The window baselines by the name under which the manifest and the reports list them.

The best of them and of the AR(10) in hindsight is the one to beat.
"""
