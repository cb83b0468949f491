"""Links: what their users want to send, a queue in front of a capacity, round trips and losses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linkcast.features import HOUR_S, HOURS_PER_WEEK, hour_of_week
from linkcast.simulation.noise import FloatArray, bursts, drift, fractional_gaussian_noise, log_uniform, regimes
from linkcast.simulation.profiles import LinkProfile, link_profile
from linkcast.traces import Trace, trace_from_arrays

RELIABILITY_SAMPLES = 60
"""Samples that reliability looks back on, the present one included."""

GOOD_LOSS = 0.05
"""A sample is good while it lost less than this share of its packets."""

WARM_UP = 2 * RELIABILITY_SAMPLES
"""Steps simulated before the first row that is given out: the queue, the chains and the reliability have settled."""

EPOCH_S = 1_767_571_200
"""Monday 2026-01-05 00:00, where simulated time starts (seconds since 1970, wall clock)."""

WEEK_S = HOURS_PER_WEEK * HOUR_S
BACK_OFF = 0.9  # many flows share a link, and not all of them halve at once
RECOVERY = 0.04  # additive increase per step
SMALLEST_SHARE = 0.05
PACKET_BITS = 8.0 * 1_200.0  # a full packet on a path with tunnels


@dataclass(frozen=True)
class SimulatedTraces:
    """Traces of one length, simulated together."""

    name: str
    step_s: int
    features: FloatArray  # (traces, rows, 4): latency_ms, bandwidth_mbps, packet_loss, reliability
    seconds: npt.NDArray[np.int64]  # (traces, rows) wall clock, seconds since 1970
    offered_mbps: FloatArray  # (traces, rows) what senders offered, back-off included
    capacity_mbps: FloatArray  # (traces, rows); for groups what the site has, which is never the limit
    level: FloatArray  # (traces,) a site's use over the typical one, device group included; 1 for links

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[tuple[FloatArray, npt.NDArray[np.int64]]]:
        """(rows, 4) features and (rows,) seconds of each trace."""
        return iter(zip(self.features, self.seconds, strict=True))


def simulate_link(profile: str | LinkProfile, traces: int, rows: int, seed: int) -> SimulatedTraces:
    """Telemetry of links of one profile, each trace another link.

    Args:
        profile: "datacenter", "internet", or parameters of one's own.
        traces: how many links.
        rows: steps of each trace that are given out.
        seed: the same seed gives the same traces.
    Raises:
        ValueError: an unknown profile, or sizes that are not positive.
    """
    parameters = profile if isinstance(profile, LinkProfile) else link_profile(profile)
    check_sizes(traces, rows)
    rng = np.random.default_rng(seed)
    steps = rows + WARM_UP
    start = EPOCH_S + rng.integers(0, WEEK_S // parameters.step_s, traces) * parameters.step_s
    seconds = start[:, None] + np.arange(steps, dtype=np.int64) * parameters.step_s

    nominal = log_uniform(rng, parameters.capacity_mbps, traces)
    level = log_uniform(rng, parameters.noise, traces)
    capacity = nominal[:, None] * capacity_shape(rng, parameters, level, steps)
    offered = offered_load(rng, parameters, nominal, level, seconds)
    offered, carried, queue_ms, queue_loss = queue(
        offered, capacity, parameters.buffer_ms, parameters.reaction, parameters.step_s
    )

    bandwidth = carried * measurement_error(rng, parameters, level, steps)
    base = log_uniform(rng, parameters.base_latency_ms, traces)[:, None]
    latency = round_trip_ms(rng, parameters, base, queue_ms, offered / capacity)
    path_loss = gilbert_elliott(rng, parameters, carried)
    loss = 1.0 - (1.0 - queue_loss) * (1.0 - path_loss)

    features = np.stack([latency, bandwidth, loss, reliability(loss)], axis=-1)
    kept = slice(WARM_UP, None)
    return SimulatedTraces(
        name=parameters.name,
        step_s=parameters.step_s,
        features=np.ascontiguousarray(features[:, kept]),
        seconds=np.ascontiguousarray(seconds[:, kept]),
        offered_mbps=np.ascontiguousarray(offered[:, kept]),
        capacity_mbps=np.ascontiguousarray(capacity[:, kept]),
        level=np.ones(traces),
    )


def simulate_trace(profile: str, rows: int, seed: int) -> Trace:
    """One link's telemetry as a trace with timestamps, as `read_trace` gives one from a file.

    Raises:
        ValueError: an unknown profile, or rows is not positive.
    """
    simulated = simulate_link(profile, 1, rows, seed)
    times = simulated.seconds[0].astype("datetime64[s]")
    return trace_from_arrays(simulated.features[0], times, f"simulated {profile} link, seed {seed}")


def offered_load(
    rng: np.random.Generator,
    parameters: LinkProfile,
    nominal_mbps: FloatArray,
    level: FloatArray,
    seconds: npt.NDArray[np.int64],
) -> FloatArray:
    """What the links' users want to send.

    Args:
        rng: draws everything.
        parameters: the kind of link.
        nominal_mbps: (traces,) nominal capacity.
        level: (traces,) noise level of each link.
        seconds: (traces, steps) wall clock.
    Returns:
        (traces, steps) Mbit/s.
    """
    traces, steps = len(seconds), seconds.shape[1]
    mean = nominal_mbps * rng.uniform(parameters.utilisation[0], parameters.utilisation[1], traces)
    log_load = log_uniform(rng, parameters.drift, traces)[:, None] * drift(rng, traces, steps, parameters.step_s)
    hurst = rng.uniform(parameters.hurst[0], parameters.hurst[1], traces)
    sigma = log_uniform(rng, parameters.fluctuation, traces)[:, None]
    log_load += sigma * fractional_gaussian_noise(rng, hurst, steps)
    log_load += regimes(rng, parameters.load_switch_s / parameters.step_s, parameters.load_switch_sigma, traces, steps)
    bursting = bursts(
        rng,
        parameters.burst_interval_s,
        parameters.burst_size,
        parameters.burst_length_s,
        parameters.step_s,
        traces,
        steps,
    )
    varying = np.exp(level[:, None] * log_load) + level[:, None] * bursting
    return mean[:, None] * link_calendar(parameters, seconds) * varying


def capacity_shape(rng: np.random.Generator, parameters: LinkProfile, level: FloatArray, steps: int) -> FloatArray:
    """Capacity over the nominal one, (traces, steps): regimes and fading, each link at its noise level (traces,)."""
    traces = len(level)
    log_capacity = regimes(
        rng, parameters.capacity_switch_s / parameters.step_s, parameters.capacity_switch_sigma, traces, steps
    )
    if parameters.capacity_fading[1] > 0.0:
        sigma = log_uniform(rng, parameters.capacity_fading, traces)[:, None]
        hurst = rng.uniform(parameters.hurst[0], parameters.hurst[1], traces)
        log_capacity += sigma * fractional_gaussian_noise(rng, hurst, steps)
    shape: FloatArray = np.exp(level[:, None] * log_capacity)
    return shape


def measurement_error(rng: np.random.Generator, parameters: LinkProfile, level: FloatArray, steps: int) -> FloatArray:
    """Measured over carried bandwidth, (traces, steps), each link at its noise level (traces,)."""
    sigma = (level * log_uniform(rng, parameters.measurement_noise, len(level)))[:, None]
    error: FloatArray = np.exp(sigma * rng.standard_normal((len(level), steps)))
    return error


def link_calendar(parameters: LinkProfile, seconds: npt.NDArray[np.int64]) -> FloatArray:
    """Factor of the load by hour and weekday, mean near 1, busiest at 20:00; same shape as `seconds`."""
    hour = (seconds % (24 * HOUR_S)) / HOUR_S
    daily = 1.0 + parameters.diurnal_amplitude * np.cos(2.0 * np.pi * (hour - 20.0) / 24.0)
    weekend = hour_of_week(seconds) >= 5 * 24
    return np.where(weekend, parameters.weekend_factor, 1.0) * daily


def queue(
    wanted_mbps: FloatArray, capacity_mbps: FloatArray, buffer_ms: float, reaction: float, step_s: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """A bounded first-in-first-out queue in front of each link, step by step; senders back off when it overflows.

    Args:
        wanted_mbps: (traces, steps) load that senders would offer to a link without limits.
        capacity_mbps: (traces, steps).
        buffer_ms: the buffer holds what the capacity drains in this time.
        reaction: share of a step's overflow that is lost before senders notice; the rest they do not send.
        step_s: length of a step.
    Returns:
        Offered Mbit/s after back-off, carried Mbit/s, queueing delay at the end of the step in ms, lost share of what
        was offered; each (traces, steps).
    """
    offered, carried, delay_ms, lost = (np.empty_like(wanted_mbps) for _ in range(4))
    buffer_mbit = capacity_mbps * buffer_ms / 1e3
    backlog = np.zeros(len(wanted_mbps))  # (traces,) Mbit
    share = np.ones(len(wanted_mbps))  # (traces,) of the wanted load that senders offer
    for step in range(wanted_mbps.shape[1]):
        offered[:, step] = wanted_mbps[:, step] * share
        carried[:, step], delay_ms[:, step], overflow, backlog = queue_step(
            offered[:, step], capacity_mbps[:, step], backlog, buffer_mbit[:, step], step_s
        )
        lost[:, step] = reaction * overflow
        share = back_off(share, overflow)
    return offered, carried, delay_ms, lost


def queue_step(
    offered_mbps: FloatArray, capacity_mbps: FloatArray, backlog: FloatArray, buffer_mbit: FloatArray, step_s: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """One step of `queue`: carried Mbit/s, delay in ms, overflow as a share of the offer, and the next backlog in Mbit.

    Each is (traces,).
    """
    waiting = backlog + offered_mbps * step_s
    sent = np.minimum(waiting, capacity_mbps * step_s)
    left = waiting - sent
    kept = np.minimum(left, buffer_mbit)
    overflow = (left - kept) / np.maximum(offered_mbps * step_s, 1e-12)
    return sent / step_s, 1e3 * kept / capacity_mbps, np.minimum(overflow, 1.0), kept


def back_off(share: FloatArray, overflow: FloatArray) -> FloatArray:
    """The share of the wanted load that senders offer next, (traces,): cut after an overflow, else RECOVERY more."""
    less = np.maximum(share * (1.0 - overflow) * BACK_OFF, SMALLEST_SHARE)
    return np.where(overflow > 0.0, less, np.minimum(share + RECOVERY, 1.0))


def round_trip_ms(
    rng: np.random.Generator, parameters: LinkProfile, base_ms: FloatArray, queue_ms: FloatArray, load: FloatArray
) -> FloatArray:
    """Propagation with jitter, plus the queue, plus the queueing below one step (M/M/1 mean, load capped at 0.95)."""
    rho = np.minimum(load, 0.95)
    propagation = base_ms * np.exp(parameters.jitter * rng.standard_normal(queue_ms.shape))
    micro = parameters.micro_queue_ms * rho / (1.0 - rho) * rng.gamma(4.0, 0.25, queue_ms.shape)
    total: FloatArray = propagation + queue_ms + micro
    return total


def gilbert_elliott(rng: np.random.Generator, parameters: LinkProfile, carried_mbps: FloatArray) -> FloatArray:
    """Loss fraction of the path: a two-state Markov chain (Gilbert 1960, Elliott 1963) over the packets of each step.

    A step in a state draws its loss probability, exponential around the state's mean and capped at 1, and then loses
    whole packets: a small link's loss is a multiple of one over its packets, and mostly zero.

    Args:
        rng: draws the chain and the losses.
        parameters: the chain.
        carried_mbps: (traces, steps) what crosses the path.
    Returns:
        (traces, steps).
    """
    traces, steps = carried_mbps.shape
    draw = rng.random((traces, steps))
    bad = np.zeros((traces, steps), bool)
    state = draw[:, 0] * (parameters.good_to_bad + parameters.bad_to_good) < parameters.good_to_bad
    bad[:, 0] = state
    for step in range(1, steps):
        state = np.where(state, draw[:, step] >= parameters.bad_to_good, draw[:, step] < parameters.good_to_bad)
        bad[:, step] = state
    mean = np.where(bad, parameters.bad_loss, parameters.good_loss)
    probability = np.minimum(mean * rng.exponential(1.0, (traces, steps)), 1.0)
    packets = np.maximum(carried_mbps * parameters.step_s * 1e6 / PACKET_BITS, 1.0).astype(np.int64)
    return rng.binomial(packets, probability) / packets


def reliability(loss: FloatArray) -> FloatArray:
    """Share of good samples among the last RELIABILITY_SAMPLES, the present one included; causal; (traces, steps)."""
    good = np.cumsum(loss < GOOD_LOSS, axis=1, dtype=np.float64)
    before = np.zeros_like(good)
    before[:, RELIABILITY_SAMPLES:] = good[:, :-RELIABILITY_SAMPLES]
    seen = np.minimum(np.arange(1, loss.shape[1] + 1), RELIABILITY_SAMPLES)
    share: FloatArray = (good - before) / seen
    return share


def check_sizes(traces: int, rows: int) -> None:
    if traces < 1 or rows < 1:
        raise ValueError(f"traces and rows must be positive, got {traces} and {rows}")
