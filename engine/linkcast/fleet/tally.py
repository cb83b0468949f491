"""What a shard's links have shown and how their forecasts did, part by part, in memory that does not grow.

Every sum is over ticks of one link; arrays are (links, ...). One step ahead: the forecast of a tick is scored by the
next tick's measurement, where there is one, beside the naive rules on the same windows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from linkcast.baselines import BASELINES

FloatArray = npt.NDArray[np.float64]

WINDOW = 10  # values that naive rules see
BLOCK = 64  # ticks of a block: what errors have in common within one does not count as evidence twice
CALM = 10  # ticks that a level is read from
STEP_NOISES = 4.0  # a step is as many standard errors of the difference of two levels,
STEP_SHARE = 0.2  # and this share of the larger level
HOURS = 24

RULES = tuple(BASELINES)
METHODS = ("stream", *RULES)
MBPS, P10, P50, P90, RESERVE = range(5)

_SHAPES: dict[str, tuple[int, ...]] = {
    "ticks": (),
    "measured": (),
    "scored": (),
    "above_p90": (),
    "below_p10": (),
    "banded": (),  # scored ticks that had a band
    "short": (),  # of them, above the reserve
    "idle": (),  # Mbit/s reserved for nothing, summed
    "needed": (),  # Mbit/s that came in scored ticks
    "absolute": (len(METHODS),),  # errors
    "squared": (),  # errors of the stream
    "gain": (len(METHODS),),  # sums over blocks of persistence's error less the method's,
    "gain_squared": (len(METHODS),),
    "blocks": (),
    "anchor": (),  # the first value: sums of squares are around it
    "sum": (),
    "sum_squared": (),
    "second": (),  # absolute second differences
    "seconds": (),
    "steps": (),
    "hour_sum": (2, HOURS),  # on even and on odd days
    "hour_count": (2, HOURS),
    "carry_values": (WINDOW,),  # held values of the last ticks; NaN: none yet
    "carry_raw": (2,),  # measured values of the last two ticks
    "carry_answer": (5,),
    "carry_level": (2,),  # of the last two CALM ticks
}
CARRIED = ("carry_values", "carry_raw", "carry_answer", "carry_level")


def new_tally(links: int) -> dict[str, FloatArray]:
    """Nothing seen yet."""
    tally = {name: np.zeros((links, *shape)) for name, shape in _SHAPES.items()}
    for name in ("anchor", *CARRIED):
        tally[name][...] = np.nan
    return tally


def add(tally: dict[str, FloatArray], values: FloatArray, answers: FloatArray, micros: npt.NDArray[np.int64]) -> None:
    """Takes a part in, in place.

    Args:
        values: (K, links) Mbit/s measured; NaN: no sample. K is a multiple of BLOCK and CALM but for a link's end.
        answers: (K, links, 5) what the stream answered at each tick; NaN: nothing.
        micros: (K, links) the site's clock; below 0 where the link has ended.
    """
    there = micros >= 0
    tally["ticks"] += there.sum(axis=0)
    measured = np.isfinite(values)
    tally["measured"] += measured.sum(axis=0)
    history = np.concatenate([tally["carry_values"].T, _held(values, tally["carry_values"][:, -1])])
    given = np.concatenate([tally["carry_answer"][None], answers[:-1]])
    _score(tally, values, given, history, there)
    _describe(tally, values, measured, micros)
    ends = there.sum(axis=0)  # a link that has ended keeps what it was when it did
    for link in np.flatnonzero(ends):
        end = int(ends[link])
        tally["carry_values"][link] = history[end : end + WINDOW, link]
        tally["carry_answer"][link] = answers[end - 1, link]


def _held(values: FloatArray, last: FloatArray) -> FloatArray:
    """(K, links) with the value before it where there is none."""
    filled = np.concatenate([last[None], values])
    places = np.where(np.isfinite(filled), np.arange(len(filled))[:, None], 0)
    np.maximum.accumulate(places, axis=0, out=places)
    return np.take_along_axis(filled, places, axis=0)[1:]


def _score(
    tally: dict[str, FloatArray],
    values: FloatArray,
    given: FloatArray,
    history: FloatArray,
    there: npt.NDArray[np.bool_],
) -> None:
    ticks, links = values.shape
    scored = np.isfinite(values) & np.isfinite(given[:, :, MBPS]) & there
    windows = np.lib.stride_tricks.sliding_window_view(history[:-1], WINDOW, axis=0)
    scored &= np.isfinite(windows[:, :, 0])
    tick, link = np.nonzero(scored)
    if not len(tick):
        return
    came, answer = values[scored], given[scored]
    seen = np.ascontiguousarray(windows[scored])[:, :, None]
    forecasts = {"stream": answer[:, MBPS], **{rule: BASELINES[rule](seen, 0) for rule in RULES}}

    def total(weights: FloatArray) -> FloatArray:
        sums: FloatArray = np.bincount(link, weights, minlength=links).astype(np.float64)
        return sums

    tally["scored"] += total(np.ones(len(came)))
    blocks = -(-ticks // BLOCK)
    where = link * blocks + tick // BLOCK
    full = np.bincount(where, minlength=links * blocks) > 0
    tally["blocks"] += full.reshape(links, blocks).sum(axis=1)
    usual = np.abs(forecasts["persistence"] - came)
    for index, method in enumerate(METHODS):
        error = np.abs(forecasts[method] - came)
        tally["absolute"][:, index] += total(error)
        gain = np.bincount(where, usual - error, minlength=links * blocks).reshape(links, blocks)
        tally["gain"][:, index] += gain.sum(axis=1)
        tally["gain_squared"][:, index] += (gain**2).sum(axis=1)
    tally["squared"] += total((forecasts["stream"] - came) ** 2)
    tally["needed"] += total(came)
    banded = np.isfinite(answer[:, P90])
    tally["banded"] += total(banded.astype(float))
    tally["above_p90"] += total((banded & (came > answer[:, P90])).astype(float))
    tally["below_p10"] += total((banded & (came < answer[:, P10])).astype(float))
    tally["short"] += total((banded & (came > answer[:, RESERVE])).astype(float))
    tally["idle"] += total(np.where(banded, np.maximum(answer[:, RESERVE] - came, 0.0), 0.0))


def _describe(
    tally: dict[str, FloatArray], values: FloatArray, measured: npt.NDArray[np.bool_], micros: npt.NDArray[np.int64]
) -> None:
    fresh = np.isnan(tally["anchor"]) & measured.any(axis=0)
    first = values[np.argmax(measured, axis=0), np.arange(values.shape[1])]
    tally["anchor"][fresh] = first[fresh]
    around = np.where(measured, values - tally["anchor"], 0.0)
    tally["sum"] += around.sum(axis=0)
    tally["sum_squared"] += (around**2).sum(axis=0)

    raw = np.concatenate([tally["carry_raw"].T, values])
    second = np.abs(raw[2:] - 2.0 * raw[1:-1] + raw[:-2])
    known = np.isfinite(second)
    tally["second"] += np.where(known, second, 0.0).sum(axis=0)
    tally["seconds"] += known.sum(axis=0)
    tally["carry_raw"][:] = raw[-2:].T

    hours = micros // 3_600_000_000
    day, hour = hours // HOURS % 2, hours % HOURS
    link = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    cell = ((link * 2 + day) * HOURS + hour)[measured]
    shape = tally["hour_sum"].shape
    size = int(np.prod(shape))
    tally["hour_sum"] += np.bincount(cell, around[measured], minlength=size).reshape(shape)
    tally["hour_count"] += np.bincount(cell, minlength=size).reshape(shape)
    _count_steps(tally, values, measured)


def noise(tally: Mapping[str, FloatArray]) -> FloatArray:
    """(links,) standard deviation of what changes from tick to tick without a trend.

    From second differences, which a line through the values has none of (Gasser, Sroka and Jennen-Steinmetz, Residual
    variance and residual pattern in nonlinear regression, 1986), by their mean size, which a few steps hardly move.
    """
    size = tally["second"] / np.maximum(tally["seconds"], 1.0)
    return np.where(tally["seconds"] > 0, size * np.sqrt(np.pi / 2.0 / 6.0), np.nan)


def _count_steps(tally: dict[str, FloatArray], values: FloatArray, measured: npt.NDArray[np.bool_]) -> None:
    """Levels of CALM ticks that lie apart, and stay so."""
    whole = len(values) // CALM * CALM
    if not whole:
        return
    counts = measured[:whole].reshape(-1, CALM, values.shape[1]).sum(axis=1)
    sums = np.where(measured, values, 0.0)[:whole].reshape(-1, CALM, values.shape[1]).sum(axis=1)
    levels = np.where(counts * 2 > CALM, sums / np.maximum(counts, 1), np.nan)
    levels = np.concatenate([tally["carry_level"].T, levels])
    before, after, later = levels[:-2], levels[1:-1], levels[2:]
    with np.errstate(invalid="ignore"):
        apart = np.maximum(
            STEP_NOISES * noise(tally) * np.sqrt(2.0 / CALM), STEP_SHARE * np.maximum(np.abs(before), np.abs(after))
        )
        moved = np.abs(after - before) > apart
        stays = (np.abs(later - before) > apart) & (np.sign(later - before) == np.sign(after - before))
    tally["steps"] += (moved & stays).sum(axis=0)
    tally["carry_level"][:] = levels[-2:].T
