"""Scores of what lies further ahead: horizons, bands, and what a reservation costs.

Every link of a trace has a stream, an autoregression and margins of its own, and each of their answers rests on what
the link had shown by then. A link is a provider and session of the file, or all of it where there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from linkcast import baselines as naive
from linkcast import metrics
from linkcast.engine import Engine
from linkcast.features import BANDWIDTH
from linkcast.stream_answers import COST_RATIOS, STEPS, StreamScores, stream_answers
from linkcast.traces import Trace

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

RISK = 0.1
"""Share of the time in which a reservation may be short where methods are compared at equal risk."""

AR = "ar10"
MARGIN_RULES = ("persistence", "moving_average", "ewma", AR)  # that get margins, with the best one in hindsight
BAND_LEVELS = (RISK, 0.5, 1.0 - RISK)
COST_LEVELS = tuple(ratio / (ratio + 1.0) for ratio in COST_RATIOS)


class HorizonRow(TypedDict, total=False):
    """The stream beside the best naive rule so many steps ahead; MAE in Mbit/s."""

    steps: int
    samples: int
    best_baseline: str  # of least mean absolute error at this horizon, in hindsight
    best_mae: float
    stream_mae: float
    model_mae: float  # of the model alone, its forecast held
    skill: float  # of the stream
    skill_interval: tuple[float, float]
    p_value: float  # of no difference; see `metrics.diebold_mariano`
    model_skill: float
    above_p90: float  # where the stream gives the band
    above_p90_worst_tenth: float


class ReserveRow(TypedDict):
    """What it costs to reserve the quantile of a cost ratio, the stream's and the cheapest naive rule's."""

    cost_ratio: int  # a missing Mbit/s over an idle one
    level: float
    stream: metrics.Reserve
    baseline: str  # of least cost at this ratio, in hindsight
    naive: metrics.Reserve
    cost_skill: float  # 1 - cost of the stream / of the baseline


class RiskRow(TypedDict, total=False):
    """Mbit/s reserved for nothing, over what came, when all are short in RISK of the ticks (`metrics.idle_at_risk`)."""

    steps: int  # 1: the next value; more: the peak of that many
    risk: float
    above_p90: float  # the stream's, as it was given
    above_p90_worst_tenth: float
    stream: float
    baseline: str
    naive: float
    lightgbm: float


class Outlook(TypedDict):
    """All of it. `band_source` says whose band stands for the stream's: its own, or a margin on its forecasts."""

    horizons: list[HorizonRow]
    band_source: str  # "stream" or "margin"
    band: dict[str, metrics.Band]  # "stream", and the best naive rule with its margin
    reserve: list[ReserveRow]
    risk: list[RiskRow]


@dataclass(frozen=True)
class Link:
    """One link of a trace."""

    segments: list[slice]  # in the order of time
    windows: Indices  # positions among the trace's windows, in the order of the segments


def links_of(trace: Trace, window: int) -> list[Link]:
    """The links of a trace; a window counts when a row of its segment follows it, be that held or not."""
    segments = list(trace.segments())
    counts = [max(0, rows.stop - rows.start - window) for rows in segments]
    firsts = np.cumsum([0, *counts])
    names = trace.sources or ("",) * len(segments)
    order = list(range(len(segments)))
    if trace.moments is not None:
        begins = trace.moments.astype("datetime64[us]").astype(np.int64)
        order.sort(key=lambda segment: begins[segments[segment].start])
    links = []
    for name in dict.fromkeys(names):
        own = [segment for segment in order if names[segment] == name]
        windows = [np.arange(firsts[segment], firsts[segment] + counts[segment]) for segment in own]
        links.append(Link([segments[segment] for segment in own], np.concatenate(windows)))
    return links


def targets_ahead(trace: Trace, window: int) -> FloatArray:
    """(n, STEPS) Mbit/s, what came 1 to STEPS rows after each window that a row follows.

    NaN where nothing was measured: in held rows, and behind the end of the window's segment.
    """
    bandwidth = trace.features[:, BANDWIDTH]
    if trace.held is not None:
        bandwidth = np.where(trace.held, np.nan, bandwidth)
    targets = [np.empty((0, STEPS))]
    for rows in trace.segments():
        count = max(0, rows.stop - rows.start - window)
        later = np.append(bandwidth[rows][window:], np.full(STEPS - 1, np.nan))
        if count:
            targets.append(np.lib.stride_tricks.sliding_window_view(later, STEPS)[:count])
    return np.concatenate(targets)


def link_answers(
    engine: Engine,
    name: str,
    trace: Trace,
    links: list[Link],
    window: int,
    progress: Callable[[int], None] | None = None,
    ahead: bool = True,
) -> StreamScores:
    """The answers of each link's own stream at all windows of the trace that a row follows, in their order.

    In a held row no sample has come for the stream. `ahead` as in `stream_answers`.
    """
    series = trace.select(engine.spec(engine.resolve(name, "forecaster"))["features"])
    count = sum(len(link.windows) for link in links)
    whole: dict[str, npt.NDArray[np.float64]] = {}
    for link in links:
        held = None if trace.held is None else [trace.held[rows] for rows in link.segments]
        answers = stream_answers(engine, name, [series[rows] for rows in link.segments], progress, held, ahead)
        ticks = [max(0, rows.stop - rows.start - window + 1) for rows in link.segments]
        followed = np.ones(sum(ticks), np.bool_)
        followed[np.cumsum([length for length in ticks if length]) - 1] = False  # the last tick of each segment
        for column in fields(answers):
            values = getattr(answers, column.name)
            if values is not None:
                whole.setdefault(column.name, np.zeros((count, *values.shape[1:]), values.dtype))
                whole[column.name][link.windows] = values[followed]
    return StreamScores(**whole)  # type: ignore[arg-type]


def link_autoregressions(windows: FloatArray, targets: FloatArray, links: list[Link], steps: int) -> FloatArray:
    """An AR(10) for each link and each horizon up to `steps`, refitted as it goes.

    Args:
        windows: (n, T, 1) bandwidth.
        targets: (n, STEPS), as `targets_ahead` gives them.
        links: whose windows the rows are.
        steps: how many horizons.
    Returns:
        (n, steps) Mbit/s; persistence where there is no target.
    """
    forecasts: FloatArray = np.repeat(windows[:, -1], steps, axis=1)
    for link in links:
        for ahead in range(steps):
            rows = link.windows[np.isfinite(targets[link.windows, ahead])]
            forecasts[rows, ahead] = naive.growing_autoregression(
                windows[rows], targets[rows, ahead], 0, steps=ahead + 1
            )
    return forecasts


def link_margins(
    forecasts: FloatArray, targets: FloatArray, links: list[Link], levels: tuple[float, ...], steps: int
) -> FloatArray:
    """(n, L): `baselines.with_margins`, for each link by itself."""
    bounds = np.empty((len(forecasts), len(levels)))
    for link in links:
        rows = link.windows
        bounds[rows] = naive.with_margins(forecasts[rows], targets[rows], levels, steps)
    return bounds


@dataclass(frozen=True)
class Ahead:
    """The answers for each window of a trace, and what came; the rules' forecasts are held over the horizons."""

    targets: FloatArray  # (n, STEPS), see `targets_ahead`
    links: list[Link]
    stream: StreamScores
    model: FloatArray  # (n,) of the model alone
    rules: Mapping[str, FloatArray]  # (n,) by name, held
    autoregression: FloatArray  # (n, STEPS)
    block: int  # rows of a bootstrap block
    order: Indices  # (n,) the windows in the order of time
    light: FloatArray | None = None  # (n, 2) LightGBM's P90 of the next value and of the peak; NaN outside its part

    def stream_forecast(self, steps: int) -> FloatArray:
        """(n,) of the stream so many steps ahead: its own, or else the next value held. Without an answer, the last
        value stands."""
        given = self.stream.mbps if self.stream.horizon is None else self.stream.horizon[:, steps - 1]
        return np.where(np.isfinite(given), given, self.rules["persistence"])

    def rule_forecasts(self, steps: int) -> dict[str, FloatArray]:
        """(n,) of each naive rule so many steps ahead."""
        return {**self.rules, AR: self.autoregression[:, steps - 1]}

    def outlook(self, scored: Mask) -> Outlook:
        """Scores of the windows that are marked, (n,)."""
        best = _best(self.rule_forecasts(1), self.targets[:, 0], scored)
        ruled = {name: self.rule_forecasts(1)[name] for name in dict.fromkeys([*MARGIN_RULES, best])}
        levels = (*BAND_LEVELS, *COST_LEVELS)
        mine = self._margins(self.stream_forecast(1), self.targets[:, 0], levels, 1)
        margins = {name: self._margins(values, self.targets[:, 0], levels, 1) for name, values in ruled.items()}
        own = _own_band(self.stream)
        band = _filled(own, mine[:, :3])
        costs = _filled(self.stream.reserve, mine[:, 3:])
        rows = self._in_time(scored)
        came = self.targets[rows, 0]
        return {
            "horizons": self._horizons(scored),
            "band_source": "margin" if own is None else "stream",
            "band": {"stream": _band(band[rows], came), best: _band(margins[best][rows, :3], came)},
            "reserve": [
                _reserve_row(index, costs[rows, index], {n: m[rows, 3 + index] for n, m in margins.items()}, came)
                for index in range(len(COST_RATIOS))
            ],
            "risk": [
                self._risk_row(1, scored, band[:, 2], {name: values[:, 2] for name, values in margins.items()}),
                self._peak_row(scored, ruled),
            ],
        }

    def _margins(self, forecasts: FloatArray, targets: FloatArray, levels: tuple[float, ...], steps: int) -> FloatArray:
        return link_margins(forecasts, targets, self.links, levels, steps)

    def _in_time(self, rows: Mask) -> Indices:
        """The marked windows in the order of time."""
        return self.order[rows[self.order]]

    def _horizons(self, scored: Mask) -> list[HorizonRow]:
        """One row for each horizon; all intervals from the same draws of blocks."""
        rows: list[HorizonRow] = []
        pairs: list[FloatArray] = []
        for steps in range(1, STEPS + 1):
            came = self.targets[:, steps - 1]
            counted = scored & np.isfinite(came)
            if not counted.any():
                break
            rules, forecast = self.rule_forecasts(steps), self.stream_forecast(steps)
            best = _best(rules, came, counted)
            errors = np.abs(np.stack([forecast, rules[best], self.model])[:, scored] - came[scored])
            inside = counted[scored]
            ours, least, model = errors[:, inside].mean(axis=1).tolist()
            row: HorizonRow = {
                "steps": steps,
                "samples": int(np.count_nonzero(counted)),
                "best_baseline": best,
                "best_mae": least,
                "stream_mae": ours,
                "model_mae": model,
                "skill": metrics.skill(ours, least),
                "p_value": metrics.diebold_mariano(errors[0, inside], errors[1, inside], steps, self.block)[1],
                "model_skill": metrics.skill(model, least),
            }
            if self.stream.horizon_p90 is not None:
                when = self._in_time(counted)
                above = came[when] > _filled(self.stream.horizon_p90[:, steps - 1], forecast)[when]
                row["above_p90"] = float(above.mean())
                row["above_p90_worst_tenth"] = float(metrics.parts(above).max())
            rows.append(row)
            pairs.append(np.where(inside, errors[:2], 0.0))  # 0 in both adds nothing to the ratio
        means = metrics.block_bootstrap(np.concatenate(pairs), block=self.block)
        for row, mine, rival in zip(rows, means[0::2], means[1::2], strict=True):
            row["skill_interval"] = skill_interval(mine, rival)
        return rows

    def _risk_row(self, steps: int, scored: Mask, reserved: FloatArray, margins: Mapping[str, FloatArray]) -> RiskRow:
        came = self.targets[:, :steps].max(axis=1)  # NaN where one is not known
        rows = self._in_time(scored & np.isfinite(came))
        idle = {name: metrics.idle_at_risk(values[rows], came[rows], RISK) for name, values in margins.items()}
        best = min(idle, key=lambda name: np.nan_to_num(idle[name], nan=np.inf))
        above = came[rows] > reserved[rows]
        row: RiskRow = {
            "steps": steps,
            "risk": RISK,
            "above_p90": float(above.mean()),
            "above_p90_worst_tenth": float(metrics.parts(above).max()),
            "stream": metrics.idle_at_risk(reserved[rows], came[rows], RISK),
            "baseline": best,
            "naive": idle[best],
        }
        if self.light is not None:
            row["lightgbm"] = metrics.idle_at_risk(self.light[rows, 0 if steps == 1 else 1], came[rows], RISK)
        return row

    def _peak_row(self, scored: Mask, rules: Mapping[str, FloatArray]) -> RiskRow:
        """The same for the peak over the longest horizon that a scored window has."""
        known = np.isfinite(self.targets[scored]).any(axis=0)
        steps = int(np.flatnonzero(known)[-1]) + 1
        peaks = self.targets[:, :steps].max(axis=1)
        level = (1.0 - RISK,)
        margins = {name: self._margins(values, peaks, level, steps)[:, 0] for name, values in rules.items()}
        own = None if self.stream.peak_p90 is None else self.stream.peak_p90[:, steps - 1]
        stand_in = self._margins(self.stream_forecast(1), peaks, level, steps)[:, 0]
        return self._risk_row(steps, scored, _filled(own, stand_in), margins)


def skill_interval(means: FloatArray, rival_means: FloatArray) -> tuple[float, float]:
    """The 95 % interval of 1 - mean / rival's mean, from draws of both."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return metrics.interval(1.0 - means / rival_means)


def _best(forecasts: Mapping[str, FloatArray], targets: FloatArray, rows: Mask) -> str:
    errors = {name: float(np.abs(values[rows] - targets[rows]).mean()) for name, values in forecasts.items()}
    return min(errors, key=lambda name: errors[name])


def _band(bounds: FloatArray, targets: FloatArray) -> metrics.Band:
    """Of (n, 3) P10, P50, P90."""
    return metrics.band(bounds[:, 0], bounds[:, 1], bounds[:, 2], targets)


def _filled(own: FloatArray | None, stand_in: FloatArray) -> FloatArray:
    """The stream's own values, and the margins' where it has none."""
    return stand_in if own is None else np.where(np.isfinite(own), own, stand_in)


def _own_band(stream: StreamScores) -> FloatArray | None:
    """(n, 3) P10, P50, P90 of the stream, if it gives them."""
    if stream.p10 is None or stream.p50 is None or stream.p90 is None:
        return None
    return np.stack([stream.p10, stream.p50, stream.p90], axis=1)


def _reserve_row(
    index: int, reserved: FloatArray, margins: Mapping[str, FloatArray], targets: FloatArray
) -> ReserveRow:
    ratio = COST_RATIOS[index]

    def cost(scores: metrics.Reserve) -> float:
        return ratio * scores["short_mbps"] + scores["idle_mbps"]

    scores = {name: metrics.reserve(values, targets) for name, values in margins.items()}
    best = min(scores, key=lambda name: cost(scores[name]))
    mine = metrics.reserve(reserved, targets)
    return {
        "cost_ratio": ratio,
        "level": COST_LEVELS[index],
        "stream": mine,
        "baseline": best,
        "naive": scores[best],
        "cost_skill": metrics.skill(cost(mine), cost(scores[best])),
    }
