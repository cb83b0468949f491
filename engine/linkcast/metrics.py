"""Scores of a forecast against what came.

Every function takes predictions and targets of one shape, in the same unit, and refuses an empty or a mismatched pair.
"""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from linkcast.features import plain_numbers

FloatArray = npt.NDArray[np.float64]

BOOTSTRAP_DRAWS = 1000
CONFIDENCE = 95.0  # percent of the draws that an interval spans
BLOCK_S = 60.0  # seconds of a bootstrap block: errors of a link stay alike for tens of seconds
PARTS = 10  # consecutive parts of equal length; "the worst tenth of the time" is the worst of them

__all__ = [
    "Band",
    "Reserve",
    "band",
    "block_bootstrap",
    "block_rows",
    "diebold_mariano",
    "idle_at_risk",
    "interval",
    "mae",
    "mape",
    "mse",
    "parts",
    "pinball",
    "r2",
    "reserve",
    "skill",
    "summary",
    "within_fraction",
]


class Band(TypedDict):
    """How well P10, P50 and P90 describe what came: shares 0..1 (nominal 0.1, 0.1, 0.8), the rest in Mbit/s."""

    above_p90: float  # share of the outcomes above P90
    above_p90_worst_tenth: float  # the same in that tenth of the time in which it is most often exceeded
    below_p10: float
    below_p10_worst_tenth: float
    coverage: float  # share of the outcomes from P10 to P90
    coverage_worst_tenth: float
    width: float  # mean of P90 - P10
    pinball_p10: float
    pinball_p50: float
    pinball_p90: float


class Reserve(TypedDict):
    """What a reservation costs: a share 0..1 of the time, Mbit/s on average, and a share of all that was needed."""

    short: float  # share of the time in which more came than was reserved
    short_worst_tenth: float
    short_mbps: float  # that was missing, on average over all of the time
    idle_mbps: float  # that was reserved for nothing, on average over all of the time
    idle_share: float  # the same over the mean of what came; NaN when nothing came


def _pair(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    predicted, actual = plain_numbers(predictions, "predictions"), plain_numbers(targets, "targets")
    if predicted.shape != actual.shape:
        raise ValueError(f"predictions and targets must have one shape, got {predicted.shape} and {actual.shape}")
    if predicted.size == 0:
        raise ValueError("a score needs at least one prediction, got none")
    return predicted, actual


def within_fraction(predictions: npt.ArrayLike, targets: npt.ArrayLike, tolerance: float = 0.02) -> float:
    """Share (0..1) of predictions with |prediction - target| <= tolerance * |target|.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    return float(np.mean(np.abs(predicted - actual) <= tolerance * np.abs(actual)))


def mae(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean absolute error, in the unit of the targets.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    return float(np.mean(np.abs(predicted - actual)))


def mse(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean squared error, in the squared unit of the targets.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    return float(np.mean(np.square(predicted - actual)))


def mape(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean absolute percentage error, in percent (18.8 means 18.8 %).

    It is not defined at a zero target: those rows are left out, and without any other row the answer is NaN.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    defined = actual != 0.0
    if not defined.any():
        return float("nan")
    return float(100.0 * np.mean(np.abs((predicted[defined] - actual[defined]) / actual[defined])))


def r2(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Coefficient of determination, 1 - SSE / SST; below 0 when worse than the mean, NaN for constant targets.

    Raises:
        ValueError: shapes differ or are empty.
    """
    predicted, actual = _pair(predictions, targets)
    total = float(np.sum(np.square(actual - actual.mean())))
    if total == 0.0:
        return float("nan")
    return 1.0 - float(np.sum(np.square(actual - predicted))) / total


def summary(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> dict[str, float]:
    """All scores of one forecast: within_2_percent and within_10_percent (0..1), mae, mse, mape (percent), r2.

    Raises:
        ValueError: shapes differ or are empty.
    """
    return {
        "within_2_percent": within_fraction(predictions, targets, 0.02),
        "within_10_percent": within_fraction(predictions, targets, 0.10),
        "mae": mae(predictions, targets),
        "mse": mse(predictions, targets),
        "mape": mape(predictions, targets),
        "r2": r2(predictions, targets),
    }


def skill(model_mae: float, baseline_mae: float) -> float:
    """1 - model / baseline: 0 for a tie, negative when the baseline wins; NaN when the baseline is exact."""
    return 1.0 - model_mae / baseline_mae if baseline_mae > 0.0 else float("nan")


def pinball(quantiles: npt.ArrayLike, targets: npt.ArrayLike, level: float) -> float:
    """Mean pinball loss of a quantile (Koenker and Bassett, Econometrica 1978), in the unit of the targets.

    A unit too little costs `level`, a unit too much 1 - level: the quantile of that level is what costs least.

    Raises:
        ValueError: shapes differ or are empty, or the level is not between 0 and 1.
    """
    reserved, actual = _pair(quantiles, targets)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a number between 0 and 1, got {level!r}")
    missing = actual - reserved
    return float(np.mean(np.maximum(level * missing, (level - 1.0) * missing)))


def parts(values: npt.ArrayLike, count: int = PARTS) -> FloatArray:
    """Means of consecutive parts of equal length, at most `count`: (n,) in the order of time -> (parts,).

    Raises:
        ValueError: not (n,) or empty.
    """
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not len(row):
        raise ValueError(f"values: expected (n,) with n above 0, got shape {row.shape}")
    return np.array([part.mean() for part in np.array_split(row, min(count, len(row)))])


def band(p10: npt.ArrayLike, p50: npt.ArrayLike, p90: npt.ArrayLike, targets: npt.ArrayLike) -> Band:
    """Coverage, width and losses of a band, all (n,) in the order of time.

    Raises:
        ValueError: shapes differ or are empty.
    """
    low, actual = _pair(p10, targets)
    high, _ = _pair(p90, targets)
    above, below, inside = actual > high, actual < low, (actual >= low) & (actual <= high)
    return {
        "above_p90": float(above.mean()),
        "above_p90_worst_tenth": float(parts(above).max()),
        "below_p10": float(below.mean()),
        "below_p10_worst_tenth": float(parts(below).max()),
        "coverage": float(inside.mean()),
        "coverage_worst_tenth": float(parts(inside).min()),
        "width": float(np.mean(high - low)),
        "pinball_p10": pinball(low, actual, 0.1),
        "pinball_p50": pinball(p50, actual, 0.5),
        "pinball_p90": pinball(high, actual, 0.9),
    }


def reserve(reserved: npt.ArrayLike, targets: npt.ArrayLike) -> Reserve:
    """How often, and by how much, a reservation was short or idle; both (n,) in the order of time.

    Raises:
        ValueError: shapes differ or are empty.
    """
    given, actual = _pair(reserved, targets)
    short, idle = actual > given, float(np.mean(np.maximum(given - actual, 0.0)))
    needed = float(actual.mean())
    return {
        "short": float(short.mean()),
        "short_worst_tenth": float(parts(short).max()),
        "short_mbps": float(np.mean(np.maximum(actual - given, 0.0))),
        "idle_mbps": idle,
        "idle_share": idle / needed if needed > 0.0 else float("nan"),
    }


def idle_at_risk(reserved: npt.ArrayLike, targets: npt.ArrayLike, risk: float) -> float:
    """What is reserved for nothing, over what came, once a reservation is short in just that share of the time.

    Reservations of different methods are short at different rates, and the one that is short more often reserves less.
    To compare them, each is multiplied by the one factor that makes it short at the rate `risk` on these very data: in
    hindsight, for all alike.

    Returns:
        A share of the mean of the targets; NaN when nothing came, or when no factor reaches the risk.
    Raises:
        ValueError: shapes differ or are empty, or the risk is not between 0 and 1.
    """
    given, actual = _pair(reserved, targets)
    if not 0.0 < risk < 1.0:
        raise ValueError(f"risk: expected a number between 0 and 1, got {risk!r}")
    needed = np.full(len(actual), np.inf)  # the factor from which on a reservation suffices
    np.divide(actual, given, out=needed, where=given > 0.0)
    needed[actual <= 0.0] = 0.0
    factor = float(np.quantile(needed, 1.0 - risk, method="inverted_cdf"))
    if not (np.isfinite(factor) and actual.mean() > 0.0):
        return float("nan")
    return float(np.mean(np.maximum(factor * given - actual, 0.0)) / actual.mean())


def block_rows(count: int, step_s: float | None) -> int:
    """Rows of a bootstrap block: BLOCK_S of time, and no fewer than the cube root of n.

    The cube root is the rate at which blocks should grow for a variance (Hall, Horowitz and Jing, Biometrika 1995): it
    serves where a row is half an hour. Without a clock a row is taken for a second.
    """
    return max(round(BLOCK_S / (step_s or 1.0)), int(np.ceil(np.cbrt(count))), 1)


def block_bootstrap(
    errors: npt.ArrayLike, draws: int = BOOTSTRAP_DRAWS, seed: int = 0, block: int | None = None
) -> FloatArray:
    """Means of consecutive errors, drawn again and again in moving blocks.

    Errors that follow each other are correlated, so single ones drawn at random would make the mean look surer than it
    is: blocks of consecutive rows from anywhere are drawn instead (Kuensch, Annals of Statistics 1989), and a block
    that reaches the end goes on at the beginning, so that every row is as likely (Politis and Romano 1992). All series
    are drawn together, so that differences and ratios are those of paired errors.

    Args:
        errors: (n,) or (series, n), in the order of time.
        draws: how many means.
        seed: of the draws.
        block: rows of a block, at most a quarter of n are used, since fewer than four blocks say nothing of how means
            vary; None is the square root of n.
    Returns:
        (draws,) or (series, draws).
    Raises:
        ValueError: no errors, or draws or block below 1.
    """
    values = np.asarray(errors, dtype=np.float64)
    rows = values.shape[-1] if values.ndim else 0
    if values.ndim not in (1, 2) or rows == 0:
        raise ValueError(f"errors must be (n,) or (series, n) with n above 0, got shape {values.shape}")
    length = max(1, round(rows**0.5)) if block is None else min(block, max(1, rows // 4))
    if draws < 1 or length < 1:
        raise ValueError(f"draws and block must be at least 1, got {draws} and {length}")
    series = np.atleast_2d(values).T  # (n, series): a block's sums of all series lie side by side
    totals = np.zeros((rows + length, series.shape[1]))
    np.cumsum(np.concatenate([series, series[: length - 1]]), axis=0, out=totals[1:])
    sums = totals[length : rows + length] - totals[:rows]  # (n, series), the block that begins at each row
    random, blocks = np.random.default_rng(seed), math.ceil(rows / length)
    means = np.empty((series.shape[1], draws))
    for draw in range(draws):
        means[:, draw] = sums[random.integers(0, rows, blocks)].sum(axis=0)
    means /= blocks * length
    return means if values.ndim == 2 else means[0]


def diebold_mariano(
    errors: npt.ArrayLike, rival_errors: npt.ArrayLike, steps: int = 1, lags: int | None = None
) -> tuple[float, float]:
    """Whether two forecasts are equally good (Diebold and Mariano, J. Business & Economic Statistics 1995).

    The mean difference of the losses over its standard error. The differences are correlated, so the variance of their
    mean counts autocovariances up to `lags` with Bartlett's weights (Newey and West, Econometrica 1987); the statistic
    is corrected for small samples and compared with Student's t (Harvey, Leybourne and Newbold, Int. J. of Forecasting
    1997).

    Args:
        errors, rival_errors: (n,) losses, such as absolute errors, in the order of time.
        steps: how far ahead the forecasts are.
        lags: of autocovariance, at least steps - 1; None is 4 (n / 100)^(2/9), Newey and West's rule.
    Returns:
        The statistic, negative when the first is better, and the two-sided p-value. NaN where the losses never differ
        or there are too few.
    Raises:
        ValueError: shapes differ or are empty, or steps is below 1.
    """
    first, second = _pair(errors, rival_errors)
    if first.ndim != 1 or steps < 1:
        raise ValueError(f"expected (n,) errors and steps of at least 1, got {first.shape} and {steps}")
    differences, rows = first - second, len(first)
    mean = float(differences.mean())
    deviations = differences - mean
    rule = math.floor(4.0 * (rows / 100.0) ** (2.0 / 9.0)) if lags is None else lags
    reach = min(max(rule, steps - 1), rows - 1)
    spectrum = np.fft.rfft(deviations, 1 << (rows + reach).bit_length())  # zeros behind: no wrap within `reach`
    covariances = np.fft.irfft(np.square(np.abs(spectrum)))[: reach + 1] / rows
    weights = 1.0 - np.arange(reach + 1) / (reach + 1.0)
    variance = float(2.0 * np.sum(weights * covariances) - covariances[0])
    shrink = (rows + 1.0 - 2.0 * steps + steps * (steps - 1.0) / rows) / rows
    if rows < 2 or not differences.any() or variance <= 0.0 or shrink <= 0.0:
        return float("nan"), float("nan")
    statistic = math.sqrt(shrink) * mean / math.sqrt(variance / rows)
    return statistic, student_two_sided(statistic, rows - 1)


def student_two_sided(statistic: float, freedom: int) -> float:
    """P(|T| > |statistic|) of Student's t: Abramowitz and Stegun 26.7.3 and 26.7.4; normal from 10,000 degrees on."""
    if freedom >= 10_000:
        return math.erfc(abs(statistic) / math.sqrt(2.0))
    angle = math.atan(abs(statistic) / math.sqrt(freedom))
    square, odd = math.cos(angle) ** 2, freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for power in range(odd, freedom - 1, 2):  # cos^power, each with the product of the ratios before it
        total += term
        term *= square * (power + 1.0) / (power + 2.0)
    inside = math.sin(angle) * total
    if odd:
        inside = 2.0 / math.pi * (angle + inside)
    return min(max(1.0 - inside, 0.0), 1.0)


def interval(draws: npt.ArrayLike) -> tuple[float, float]:
    """The 95 % interval of bootstrap draws, by percentiles; NaN when a draw is not a number."""
    low, high = np.percentile(np.asarray(draws, dtype=np.float64), [50.0 - CONFIDENCE / 2.0, 50.0 + CONFIDENCE / 2.0])
    return float(low), float(high)
