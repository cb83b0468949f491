"""What kind of link each is, and whether forecasting it is worth while: from its tally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast.fleet.tally import HOURS, METHODS, noise

if TYPE_CHECKING:
    import pyarrow as pa

FloatArray = npt.NDArray[np.float64]
Tally = Mapping[str, FloatArray]

LEAST_SCORED = 200  # ticks, below which nothing is said
LEAST_GAIN = 0.01  # of the mean absolute error, that is worth while
SURE = 2.0  # standard errors
LEAST_BLOCKS = 4
LEAST_HOURS = 12  # of the day that two days have in common, below which there is no season to see

FORECAST, RULE, DO_NOT_BOTHER, TOO_SHORT = "forecast", "rule", "do not bother", "too short"
"""Verdicts: forecast it; a naive rule does as well or better; no rule beats persistence; too few ticks to say."""

PERSISTENCE = METHODS.index("persistence")


def link_table(
    names: Sequence[str], tally: Tally, counts: Sequence[Mapping[str, int]], steps: Sequence[int]
) -> pa.Table:
    """A row for each link; null where nothing can be said. Units in Mbit/s, shares 0 to 1."""
    import pyarrow as pa

    columns: dict[str, Any] = {"link": pa.array(names, pa.string())}
    whole = ("ticks", "measured", "scored")
    columns |= {name: pa.array(tally[name].astype(np.int64)) for name in whole}
    for key in ("repeated", "late", "gaps", "unmeasured"):
        columns[key] = pa.array([count[key] for count in counts], pa.int64())
    columns["step_s"] = pa.array(np.asarray(steps, np.float64) / 1e6, pa.float64())
    for name, values in (*accuracy(tally).items(), *character(tally).items()):
        if values.dtype.kind == "f":
            columns[name] = pa.array(values, pa.float64(), mask=~np.isfinite(values))
        else:
            columns[name] = pa.array(values.tolist(), pa.string())
    return pa.table(columns)


def accuracy(tally: Tally) -> dict[str, npt.NDArray[Any]]:
    """Errors of one step ahead, skill, the band and the reserve, and the verdict."""
    scored = tally["scored"]
    mae = _over(tally["absolute"], scored[:, None])
    banded = tally["banded"]
    stream, persistence = mae[:, 0], mae[:, PERSISTENCE]
    naive = mae[:, 1:]
    best = np.argmin(np.where(np.isfinite(naive), naive, np.inf), axis=1)
    best_mae = np.take_along_axis(naive, best[:, None], axis=1)[:, 0]
    names = np.array(METHODS[1:])[best]
    return {
        "mae": stream,
        "persistence_mae": persistence,
        "best_rule": np.where(scored > 0, names, ""),
        "best_rule_mae": best_mae,
        "skill": 1.0 - _over(stream, best_mae),
        "skill_over_persistence": 1.0 - _over(stream, persistence),
        "above_p90": _over(tally["above_p90"], banded),
        "below_p10": _over(tally["below_p10"], banded),
        "short": _over(tally["short"], banded),
        "idle_share": _over(tally["idle"], tally["needed"]),
        "verdict": verdicts(tally),
    }


def verdicts(tally: Tally) -> npt.NDArray[np.str_]:
    """(links,) see FORECAST. A gain counts when it is LEAST_GAIN, and SURE standard errors of its blocks' mean.

    The errors of a block are summed before they are compared: within one they are alike, and would seem to be more
    evidence than they are.
    """
    blocks, scored = tally["blocks"][:, None], tally["scored"]
    usual = tally["absolute"][:, [PERSISTENCE]]
    share = _over(tally["gain"], usual)
    spread = tally["gain_squared"] - _over(tally["gain"] ** 2, blocks)
    error = np.sqrt(np.maximum(spread, 0.0) * _over(blocks, blocks - 1.0))
    beats = (share >= LEAST_GAIN) & (tally["gain"] > SURE * error) & (blocks >= LEAST_BLOCKS)
    stream, rule = beats[:, 0], beats[:, 1:].any(axis=1)
    ahead = tally["absolute"][:, 0] < (1.0 - LEAST_GAIN) * tally["absolute"][:, 1:].min(axis=1)
    said: npt.NDArray[np.str_] = np.where(
        stream & (ahead | ~rule), FORECAST, np.where(rule | stream, RULE, DO_NOT_BOTHER)
    )
    return np.where(scored < LEAST_SCORED, TOO_SHORT, said)


def character(tally: Tally) -> dict[str, npt.NDArray[Any]]:
    """Level, spread, noise floor, steps, season, and how much of what happens can be forecast."""
    measured = tally["measured"]
    around = _over(tally["sum"], measured)
    mean = tally["anchor"] + around
    variance = np.maximum(_over(tally["sum_squared"], measured) - around**2, 0.0)
    floor = noise(tally)
    square = _over(tally["squared"], tally["scored"])
    return {
        "mean_mbps": mean,
        "spread": _over(np.sqrt(variance), mean),
        "noise_floor": _over(floor, mean),
        "steps_per_1000": 1000.0 * _over(tally["steps"], measured),
        "seasonality": seasonality(tally, variance),
        "predictable": np.clip(1.0 - _over(square, variance), 0.0, 1.0),
    }


def seasonality(tally: Tally, variance: FloatArray) -> FloatArray:
    """(links,) share of the variance that the hour of the day explains on other days: 0 to 1; NaN: less than two days.

    The covariance of the profiles of even and of odd days: what is of one day alone is in one of them only.
    """
    counts = tally["hour_count"]
    both = (counts > 0).all(axis=1)
    profiles = _over(tally["hour_sum"], counts)
    weights = np.where(both, counts.sum(axis=1), 0.0)
    total = weights.sum(axis=1)
    means = [_over((weights * np.where(both, profiles[:, day], 0.0)).sum(axis=1), total) for day in (0, 1)]
    apart = [np.where(both, profiles[:, day] - means[day][:, None], 0.0) for day in (0, 1)]
    shared = _over((weights * apart[0] * apart[1]).sum(axis=1), total)
    share = np.clip(_over(shared, variance), 0.0, 1.0)
    enough = both.sum(axis=1) >= min(LEAST_HOURS, HOURS)
    seen: FloatArray = np.where(enough, share, np.nan)
    return seen


def _over(above: FloatArray, below: FloatArray) -> FloatArray:
    """NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(above, below)
    share: FloatArray = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return share
