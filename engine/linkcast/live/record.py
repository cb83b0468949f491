"""What a live loop says of each tick, and who it says it to.

A `Tick` is made by `linkcast.live.session.Session.tick`, completed by the loop (what was applied, health), and handed
to every `Sink`: the decision log, the metrics. NaN stands for a number that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

SCHEMA = 1
"""Version of a tick's and a header's fields: an added field leaves it, one that changes its meaning does not."""

NAN = float("nan")

HEALTH = ("starting", "dry_run", "live", "degraded", "stopped")
"""What a loop can be in; `Tick.health_reason` says why it is degraded."""

REASONS = (
    "no_telemetry",
    "stalled",
    "congested",
    "silent",
    "allocator_failed",
    "minimum",
    "maximum",
    "reserve",
    "forecast",
    "allocator",
)
"""What set the target of the allocation: no telemetry yet or any more, which is the safe fraction; a queue on a full
link; a link that holds back; the allocator's network failed, which gets all; the options' least or most; the quantile
that `risk` names; the forecast with its headroom; the allocator's action."""

BLOCKED = ("hold", "slew", "rate_limit", "apply_failed", "not_owned")
"""What kept the allocation, or what is applied, from the target: the controller's hold time and slew limit; the loop's
changes a minute; a shaper that failed; a queueing discipline that is not ours. A dry run is a state of health."""


VERDICTS = ("undecided", "shadow_better", "live_better")
"""What is known of a shadow: whether its gain's interval lies on one side of 0."""


@dataclass(frozen=True)
class Forecast:
    """The answer for the next tick, Mbit/s."""

    mbps: float = NAN
    p10: float = NAN
    p50: float = NAN
    p90: float = NAN
    reserve: float = NAN  # the quantile of 1 - risk
    source: str = "none"
    cause: str = "none"


@dataclass(frozen=True)
class Shadow:
    """What a second model folder would have done in this tick; it never acts."""

    forecast: Forecast
    allocation_mbps: float
    skill: float = NAN  # as `Tick.skill`
    gain: float = NAN  # share of the mean error that the shadow saves, so far; below 0: it adds
    gain_low: float = NAN  # the gain lies from here to gain_high, at every tick at once with 95 % confidence
    gain_high: float = NAN
    verdict: str = "undecided"  # one of VERDICTS


@dataclass(frozen=True)
class Tick:
    """One tick of one link, once everything about it is known."""

    index: int  # of the session: 0, 1, ...
    time_ns: int  # since 1970, of the wall clock
    monotonic_ns: int  # of a clock that does not go back; what the controller was given
    link: str
    models: str  # Header.models_id of the models that answered
    sample: Mapping[str, float | None] | None  # as it came, by feature; None: none did
    telemetry: tuple[float, ...] | None  # what the controller was given of it; None: nothing
    refused: str | None  # why the sample was not given to the controller: "latency_ms: expected ..., got nan"
    forecast: Forecast
    experts: Mapping[str, float]  # weight by name; empty until the window is full
    action: int  # the allocator's, from 0; -1: none
    allocation_mbps: float
    allocation_fraction: float
    allocation_cause: str
    reason: str  # one of REASONS
    blocked: str | None  # one of BLOCKED; None: the allocation is the target, and was applied where it is live
    congested: bool
    silent: bool
    stalled: bool
    queue_ms: float
    latency_ns: int  # of the controller's tick
    advance_ns: int  # of the work that could wait
    late: bool  # the tick was answered behind its deadline, or began late by the loop's own measure
    applied_mbps: float | None = None  # what the shaper has been set to by now; None: nothing was
    health: str = "starting"  # one of HEALTH
    health_reason: str | None = None
    skill: float = NAN  # 1 - error / error of the best naive rule, both averaged over the last 600 or so outcomes
    coverage: float = NAN  # share of what came between P10 and P90, over the same outcomes
    shadow: Shadow | None = None
    schema: int = SCHEMA


@dataclass(frozen=True)
class ScoreState:
    """What a `Score` goes on from."""

    outcomes: int
    error: float  # mean absolute, Mbit/s
    rules: tuple[float, ...]  # the same, of each naive rule
    banded: int  # outcomes that had a band
    held: float  # share of them in it
    expected: tuple[float, ...] | None  # value, P10, P90 of the next tick; None: nothing was expected
    naive: tuple[float, ...]  # what the rules expect; empty before the window is full


@dataclass(frozen=True)
class ScoreStates:
    """What the live side's skill and coverage go on from."""

    live: ScoreState
    naive: tuple[float, ...]  # the last values, Mbit/s, oldest first


@dataclass(frozen=True)
class ContestState:
    """What a `Contest` goes on from."""

    ticks: int
    sum: float
    variance: float
    errors: float
    seen: int


@dataclass(frozen=True)
class ShadowHeader:
    """Of a shadow what `Header` has of the live side."""

    folder: str
    models: Mapping[str, str]
    models_id: str
    runs_on: Mapping[str, str]
    precision: str
    state: str
    score: ScoreState
    contest: ContestState
    kernels: str = ""


@dataclass(frozen=True)
class Header:
    """What a session runs on, and the state that its next tick starts from: with it, the ticks can be run again."""

    time_ns: int
    link: str
    linkcast: str  # version
    folder: str  # of the models
    profile: str
    backend: str
    precision: str
    features: tuple[str, ...]
    units: tuple[str, ...]
    step_s: float
    options: Mapping[str, float | int | str]  # every option of Engine.controller
    models: Mapping[str, str]  # SHA-256 by name: of the forecaster, its fallback, and the allocator
    models_id: str  # of `models`: what a tick refers to
    runs_on: Mapping[str, str]  # by model: "native (avx512)", "tflite"
    state: str  # base64 of Controller.snapshot
    next_index: int = 0  # of the tick that comes next
    scores: ScoreStates | None = None  # None: nothing came yet
    shadow: ShadowHeader | None = None
    lost: int = 0  # ticks before this header that could not be written
    extra: Mapping[str, Any] = field(default_factory=dict)  # what the loop wants to be known: source, shaper, dry_run
    kernels: str = ""  # native kernels that the forecaster was run on, where they decide bits: at a reduced precision
    schema: int = SCHEMA


class Sink(Protocol):
    """Is told of every tick, after the decision was applied and the advance is done: the hot path is over by then.

    A sink never stops the loop: what goes wrong in it, it keeps to itself, and says so in its `trouble`.
    """

    @property
    def trouble(self) -> str | None:
        """What keeps this sink from its work at present: "decisions.jsonl: No space left on device"; None: nothing."""

    def write(self, tick: Tick) -> None:
        """The next tick."""

    def reloaded(self, header: Header) -> None:
        """The models or options have changed: the next ticks are those of `header`."""

    def close(self) -> None:
        """No tick comes any more."""
