"""The metrics of a live loop: what each is read from. Every exporter takes them from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from linkcast.live.record import HEALTH, NAN, VERDICTS, Header, Tick

LATENCY_S = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1)
"""Upper bounds of a latency's buckets, s."""

Readings = Iterable[tuple[tuple[str, ...], float]]  # values of the labels after `link`, and the number


@dataclass(frozen=True)
class Metric:
    """One metric; every one has the label `link` first."""

    name: str
    kind: str  # "gauge", "counter" (by how much it rises in this tick) or "histogram"
    help: str
    read: Callable[[Tick], Readings] = field(compare=False)
    labels: tuple[str, ...] = ()
    unit: str = ""  # as in UCUM, for OpenTelemetry


def _one(read: Callable[[Tick], float]) -> Callable[[Tick], Readings]:
    return lambda tick: (((), read(tick)),)


def _as_states(names: tuple[str, ...], present: str | None) -> Readings:
    """1 for the present state, 0 for the others."""
    return [((name,), float(name == present)) for name in names]


def _measured(tick: Tick) -> float:
    value = None if tick.sample is None or tick.telemetry is None else tick.sample.get("bandwidth_mbps")
    return NAN if value is None else float(value)


def _sample(tick: Tick) -> str:
    return "missing" if tick.sample is None else "refused" if tick.telemetry is None else "used"


def _link_states(tick: Tick) -> Readings:
    return [((name,), float(getattr(tick, name))) for name in ("congested", "silent", "stalled")]


def _skills(tick: Tick) -> Readings:
    yield ("live",), tick.skill
    if tick.shadow is not None:
        yield ("shadow",), tick.shadow.skill


def _shadow_gains(tick: Tick) -> Readings:
    if tick.shadow is not None:
        yield ("mean",), tick.shadow.gain
        yield ("low",), tick.shadow.gain_low
        yield ("high",), tick.shadow.gain_high


METRICS = (
    Metric("linkcast_ticks_total", "counter", "Ticks.", _one(lambda tick: 1.0)),
    Metric(
        "linkcast_samples_total",
        "counter",
        "Ticks by what became of their sample: used, missing, refused.",
        lambda tick: [((_sample(tick),), 1.0)],
        ("outcome",),
    ),
    Metric(
        "linkcast_late_ticks_total",
        "counter",
        "Ticks answered behind the deadline, or begun late.",
        _one(lambda t: float(t.late)),
    ),
    Metric(
        "linkcast_answers_total",
        "counter",
        "Answers by who gave them, and why it was not the model.",
        lambda tick: [((tick.forecast.source, tick.forecast.cause), 1.0)],
        ("source", "cause"),
    ),
    Metric(
        "linkcast_decisions_total",
        "counter",
        "Decisions by what asked for the most.",
        lambda tick: [((tick.reason,), 1.0)],
        ("reason",),
    ),
    Metric(
        "linkcast_blocked_total",
        "counter",
        "Ticks by what kept the allocation, or what is applied, from the target; none: nothing did.",
        lambda tick: [((tick.blocked or "none",), 1.0)],
        ("by",),
    ),
    Metric(
        "linkcast_tick_latency_seconds",
        "histogram",
        "From telemetry to decision.",
        _one(lambda tick: tick.latency_ns * 1e-9),
        unit="s",
    ),
    Metric(
        "linkcast_advance_latency_seconds",
        "histogram",
        "Of the work that waits until the decision is applied.",
        _one(lambda tick: tick.advance_ns * 1e-9),
        unit="s",
    ),
    Metric("linkcast_measured_mbps", "gauge", "Bandwidth of the newest sample.", _one(_measured), unit="Mbit/s"),
    Metric(
        "linkcast_forecast_mbps", "gauge", "Of the next tick.", _one(lambda tick: tick.forecast.mbps), unit="Mbit/s"
    ),
    Metric(
        "linkcast_forecast_quantile_mbps",
        "gauge",
        "Of the next tick: 0.1, 0.5, 0.9, and reserve, the quantile that the risk names.",
        lambda tick: [
            (("0.1",), tick.forecast.p10),
            (("0.5",), tick.forecast.p50),
            (("0.9",), tick.forecast.p90),
            (("reserve",), tick.forecast.reserve),
        ],
        ("quantile",),
        unit="Mbit/s",
    ),
    Metric("linkcast_allocation_mbps", "gauge", "Allocated.", _one(lambda tick: tick.allocation_mbps), unit="Mbit/s"),
    Metric(
        "linkcast_allocation_ratio", "gauge", "Allocated, of the capacity.", _one(lambda tick: tick.allocation_fraction)
    ),
    Metric(
        "linkcast_applied_mbps",
        "gauge",
        "What the shaper is set to; NaN in a dry run.",
        _one(lambda tick: NAN if tick.applied_mbps is None else tick.applied_mbps),
        unit="Mbit/s",
    ),
    Metric("linkcast_queue_seconds", "gauge", "Queueing delay.", _one(lambda tick: tick.queue_ms * 1e-3), unit="s"),
    Metric("linkcast_link_state", "gauge", "1 while the link is congested, silent, stalled.", _link_states, ("state",)),
    Metric(
        "linkcast_coverage_ratio",
        "gauge",
        "Share of the last 600 or so outcomes between P10 and P90; 0.8 should be.",
        _one(lambda tick: tick.coverage),
    ),
    Metric(
        "linkcast_skill_ratio",
        "gauge",
        "1 - error / error of the best naive rule, over the last 600 or so outcomes; live and shadow.",
        _skills,
        ("side",),
    ),
    Metric(
        "linkcast_expert_weight_ratio",
        "gauge",
        "Each expert's share of the forecast.",
        lambda tick: [((name,), weight) for name, weight in tick.experts.items()],
        ("expert",),
    ),
    Metric(
        "linkcast_shadow_gain_ratio",
        "gauge",
        "Share of the mean error that the shadow saves: the mean so far, and where it lies with 95 % confidence.",
        _shadow_gains,
        ("bound",),
    ),
    Metric(
        "linkcast_shadow_verdict",
        "gauge",
        "1 for what is known of the shadow: undecided, shadow_better, live_better.",
        lambda tick: [] if tick.shadow is None else _as_states(VERDICTS, tick.shadow.verdict),
        ("verdict",),
    ),
    Metric(
        "linkcast_health",
        "gauge",
        "1 for the loop's state: starting, dry_run, live, degraded, stopped.",
        lambda tick: _as_states(HEALTH, tick.health),
        ("state",),
    ),
)
"""Of each tick."""

RELOADS = Metric("linkcast_reloads_total", "counter", "Changes of models or options under way.", lambda tick: ())
CAPACITY = Metric("linkcast_capacity_mbps", "gauge", "Of the link, as it was given.", lambda tick: (), unit="Mbit/s")
INFO = Metric(
    "linkcast_info",
    "gauge",
    "1, with the version and the models: models_id of the decision log, and the shadow's.",
    lambda tick: (),
    ("version", "profile", "models", "shadow"),
)
OF_HEADER = (RELOADS, CAPACITY, INFO)
"""Of the session; what they are is read from a header."""


def info_labels(header: Header) -> tuple[str, ...]:
    """Values of INFO's labels after `link`."""
    shadow = "" if header.shadow is None else header.shadow.models_id
    return header.linkcast, header.profile, header.models_id, shadow
