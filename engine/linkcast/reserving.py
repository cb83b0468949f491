"""What reserving bandwidth by the controller gains on a trace, beside the rules that people use instead.

Every rule sees what was measured up to a tick and names what is reserved for the next one; then the next one comes. All
are compared on the same ticks. Nothing is fed back: the trace goes on as it did, whatever would have been reserved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.baselines import persistence
from linkcast.engine import Engine
from linkcast.evaluation import Evaluation, baseline_forecasts, score, verdict
from linkcast.features import BANDWIDTH
from linkcast.traces import Trace
from linkcast.windows import windows_of

FloatArray = npt.NDArray[np.float64]

RISK = 0.05
"""Share of the ticks in which the controller's reservation may be too small."""

THRESHOLD = 1.2
"""The threshold rule reserves the last value times this."""

ENOUGH = 1e-6  # relative: a reservation this close to what came was not short of it

LINKCAST, QUANTILE, RULE, MATCHED, FIXED, ORACLE = (
    "linkcast",
    "quantile",
    "last_plus_20",
    "last_matched",
    "fixed",
    "oracle",
)
"""The rules: what the controller recommends; the quantile below it, without the allocator; the threshold rule; the last
value with the one margin that, in hindsight, is short as rarely as the controller; the whole link; what came."""


@dataclass(frozen=True)
class Tick:
    """What was known and decided when a row had come, and what came next."""

    index: int  # of the tick: 0, 1, ...
    row: int  # that had come
    measured_mbps: float  # in that row
    forecast_mbps: float  # of the next row, as the next two; NaN where nobody could forecast
    p10_mbps: float
    p90_mbps: float
    quantile_mbps: float  # 1 - RISK, held to that share by what came; NaN until it is known
    reserved_mbps: float  # for the next row
    came_mbps: float  # in the next row
    latency_us: float  # of the controller's tick

    @property
    def short_mbps(self) -> float:
        """What was missing; 0 where the reservation was enough."""
        return float(missing(self.reserved_mbps, self.came_mbps))


@dataclass(frozen=True)
class Reservations:
    """A trace walked from end to end; every array is (ticks,) Mbit/s unless it says another unit."""

    trace: Trace
    capacity_mbps: float
    capacity_known: bool  # False: it is the trace's peak, known in hindsight only
    rows: npt.NDArray[np.int64]  # the row that had come
    measured: FloatArray
    forecast: FloatArray
    p10: FloatArray
    p90: FloatArray
    rules: dict[str, FloatArray]  # what each reserves; LINKCAST is what the controller recommends
    matched_factor: float | None  # what MATCHED multiplies the last value with; None: no margin does
    came: FloatArray
    latency_us: FloatArray
    accuracy: Evaluation  # of the forecast beside the naive rules

    def __len__(self) -> int:
        return len(self.came)

    @property
    def short(self) -> npt.NDArray[np.bool_]:
        """Where the controller's reservation was too small."""
        short: npt.NDArray[np.bool_] = np.asarray(missing(self.rules[LINKCAST], self.came)) > 0.0
        return short

    def outcome(self, rule: str) -> dict[str, float]:
        """How a rule did: means in Mbit/s, shares of the ticks."""
        return outcome(self.rules[rule], self.came)

    def report(self) -> dict[str, Any]:
        """As plain numbers, for JSON."""
        known = np.isfinite(self.p90)
        return {
            "ticks": len(self),
            "capacity_mbps": self.capacity_mbps,
            "capacity_known": self.capacity_known,
            "risk": RISK,
            "rules": {rule: self.outcome(rule) for rule in self.rules},
            "matched_factor": self.matched_factor,
            "accuracy": dict(self.accuracy),
            "band_held": float(np.mean((self.came >= self.p10)[known] & (self.came <= self.p90)[known]))
            if known.any()
            else None,
            "latency_us": {f"p{at:g}": float(np.percentile(self.latency_us, at)) for at in (50.0, 99.0)},
        }


def missing(reserved: Any, came: Any) -> Any:
    """came - reserved where that is more than rounding, else 0; Mbit/s, numbers or (n,)."""
    return np.where(came > reserved * (1.0 + ENOUGH), came - reserved, 0.0)[()]


def outcome(reserved: FloatArray, came: FloatArray) -> dict[str, float]:
    """What a reservation was, and how often and by how much it was short of what came, both (n,) Mbit/s."""
    lack = np.asarray(missing(reserved, came))
    short = lack > 0.0
    return {
        "reserved_mbps": float(np.mean(reserved)),
        "unused_mbps": float(np.mean(np.maximum(reserved - came, 0.0))),
        "short_share": float(np.mean(short)),
        "short_by_mbps": float(np.mean(lack[short])) if short.any() else 0.0,
        "short_by_most_mbps": float(np.max(lack)),
    }


def matched_factor(last: FloatArray, came: FloatArray, most_short: int) -> float | None:
    """The least factor of the last value that is short in at most that many ticks; None when only infinity is."""
    ratio = np.full(len(came), np.inf)
    np.divide(came, last, out=ratio, where=last > 0.0)
    ratio[came <= 0.0] = 0.0
    factor = float(np.sort(ratio)[::-1][min(most_short, len(ratio) - 1)])
    return factor if np.isfinite(factor) else None


class Walk:
    """Walks a trace as a controller would, tick by tick.

    Args:
        engine: the models.
        trace: link telemetry.
        profile: "internet" or "datacenter".
        capacity_mbps: of the link; None takes the trace's peak for it.
    Raises:
        ValueError: an unknown profile, a capacity that is not above 0, or no segment longer than a window.
    """

    def __init__(self, engine: Engine, trace: Trace, profile: str, capacity_mbps: float | None) -> None:
        spec = engine.spec(engine.resolve(profile, "forecaster"))
        if spec["window"] is None:
            raise ValueError(f"{spec['name']}: expected a model that reads windows")
        self.trace = trace
        self.window = spec["window"]
        self.capacity_known = capacity_mbps is not None
        self.starts = trace.window_starts(self.window)
        if not len(self.starts):
            raise ValueError(
                f"{trace.name}: expected a segment of {self.window + 1} rows or more, got none in {len(trace)} rows"
            )
        peak = float(np.max(trace.features[:, BANDWIDTH]))
        if capacity_mbps is None and peak == 0.0:
            raise ValueError(
                f"{trace.name}: bandwidth_mbps is 0 in every row: there is nothing to reserve; is it the right column? "
                "-c bandwidth_mbps=COLUMN names another"
            )
        self.capacity_mbps = peak if capacity_mbps is None else capacity_mbps
        self._controller = engine.controller(profile, capacity_mbps=self.capacity_mbps, risk=RISK)
        self._series = trace.select(spec["features"])
        self._step_s = spec["step_s"]
        self._ticks: list[Tick] = []

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Tick]:
        """Each tick as it is reached; `result` needs all of them."""
        measured = self.trace.features[:, BANDWIDTH]
        counted = set((self.starts + self.window - 1).tolist())
        self._ticks.clear()
        self._controller.reset()
        for rows in self.trace.segments():
            self._controller.reset()  # over a gap the window is lost; what the controller has learnt stays
            for row in range(rows.start, rows.stop):
                decision = self._controller.tick(self._series[row], row * self._step_s)
                reserved, latency_us, answer = decision.allocation_mbps, decision.latency_us, decision.forecast
                known = (answer.mbps, answer.p10, answer.p90, answer.reserve)
                self._controller.advance()
                if row in counted:
                    index, came = len(self._ticks), float(measured[row + 1])
                    tick = Tick(index, row, float(measured[row]), *known, reserved, came, latency_us)
                    self._ticks.append(tick)
                    yield tick

    def result(self) -> Reservations:
        """What the walk was like, once it is at its end."""
        if len(self._ticks) != len(self):
            raise RuntimeError(f"expected a walk at its end, tick {len(self)}, got {len(self._ticks)}")

        def of(name: str) -> FloatArray:
            return np.array([getattr(tick, name) for tick in self._ticks], np.float64)

        came, quantile, reserved, forecast = (
            of(name) for name in ("came_mbps", "quantile_mbps", "reserved_mbps", "forecast_mbps")
        )
        windows = windows_of(self.trace.features, self.starts, self.window)
        last = persistence(windows, BANDWIDTH)
        rules = {
            LINKCAST: reserved,
            # Until the quantile is known, as the controller does.
            QUANTILE: np.minimum(np.where(np.isfinite(quantile), quantile, reserved), self.capacity_mbps),
            RULE: np.minimum(THRESHOLD * last, self.capacity_mbps),
        }
        factor = matched_factor(last, came, int(np.count_nonzero(missing(reserved, came))))
        if factor is not None:
            rules[MATCHED] = np.minimum(factor * last, self.capacity_mbps)
        rules |= {FIXED: np.full(len(came), self.capacity_mbps), ORACLE: came.copy()}
        answers = np.where(np.isfinite(forecast), forecast, last)
        accuracy = score(answers, came, baseline_forecasts(windows, came, BANDWIDTH))
        sure = {accuracy["best_baseline"]: accuracy["interval"]["skill"]}
        accuracy["verdict"] = verdict(accuracy["model"], accuracy["baselines"], sure, "controller's forecast")
        return Reservations(
            trace=self.trace,
            capacity_mbps=self.capacity_mbps,
            capacity_known=self.capacity_known,
            rows=self.starts + self.window - 1,
            measured=of("measured_mbps"),
            forecast=forecast,
            p10=of("p10_mbps"),
            p90=of("p90_mbps"),
            rules=rules,
            matched_factor=factor,
            came=came,
            latency_us=of("latency_us"),
            accuracy=accuracy,
        )


def walk(engine: Engine, trace: Trace, profile: str = "internet", capacity_mbps: float | None = None) -> Reservations:
    """Walks a trace to its end; see `Walk`."""
    walking = Walk(engine, trace, profile, capacity_mbps)
    for _ in walking:
        pass
    return walking.result()
