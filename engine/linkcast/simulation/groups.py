"""Service groups: hourly telemetry of sites, the sum of their applications' loads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from linkcast.features import HOUR_S, HOURS_PER_WEEK, hour_of_week
from linkcast.simulation.links import EPOCH_S, WARM_UP, SimulatedTraces, check_sizes, reliability
from linkcast.simulation.noise import FloatArray, bursts, fractional_gaussian_noise, log_uniform
from linkcast.simulation.profiles import Application, GroupProfile, Peaks, group_profile

GROUP_FLOOR = 0.15  # share of an application's mean that runs at all hours
USAGE_LEVELS = (0.2, 4.0)  # log: a site's use over the typical one
DAY_SIGMA = 0.12  # standard deviation of each application's log-level from day to day (correlation of two days)
MIX_CONCENTRATION = 8.0  # Dirichlet concentration of a site's mix around the group's shares; larger is more alike
SHORTEST_EVENT_H = 2.0


def simulate_group(
    group: str | GroupProfile, traces: int, rows: int, seed: int, typical: bool = False
) -> SimulatedTraces:
    """Hourly telemetry of one service group, each trace another site with its own use and device group.

    Args:
        group: a key of GROUPS, or parameters of one's own.
        traces: how many sites.
        rows: hours of each trace that are given out.
        seed: the same seed gives the same traces.
        typical: every site has the typical use, and no device group.
    Raises:
        ValueError: an unknown group, or sizes that are not positive.
    """
    parameters = group if isinstance(group, GroupProfile) else group_profile(group)
    check_sizes(traces, rows)
    rng = np.random.default_rng(seed)
    steps = rows + WARM_UP
    start = EPOCH_S + rng.integers(0, HOURS_PER_WEEK, traces) * HOUR_S
    seconds = start[:, None] + np.arange(steps, dtype=np.int64) * HOUR_S

    usage = log_uniform(rng, USAGE_LEVELS, traces)
    factors = np.array(list(parameters.device_groups.values()))[rng.integers(0, len(parameters.device_groups), traces)]
    if typical:
        usage, factors = np.ones(traces), np.ones((traces, 2))
    level = usage * factors[:, 0]

    mix = site_mixes(rng, parameters, traces)
    if typical:
        mix[:] = [application.share for application in parameters.applications]
    common = np.exp(parameters.fluctuation * fractional_gaussian_noise(rng, np.full(traces, parameters.hurst), steps))
    loads = [application_load(rng, application, parameters.hurst, seconds) for application in parameters.applications]
    typical_load = parameters.mean_bandwidth_mbps * common * np.einsum("ta,ats->ts", mix, np.stack(loads))
    offered = level[:, None] * typical_load
    bandwidth = offered * np.exp(parameters.measurement_noise * rng.standard_normal((traces, steps)))

    # The site's network is shared: it is busy when the group is, whatever this site's own use.
    busy = np.clip(typical_load / (parameters.mean_bandwidth_mbps * weekly_shape(parameters).max()), 0.0, 1.5)
    latency = factors[:, 1:] * (parameters.base_latency_ms + parameters.load_latency_ms * np.square(busy))
    latency *= np.exp(0.05 * rng.standard_normal((traces, steps)))
    loss = 0.001 * busy * rng.exponential(1.0, (traces, steps))
    loss += np.where(rng.random((traces, steps)) < 0.004, rng.uniform(0.02, 0.15, (traces, steps)), 0.0)

    features = np.stack([latency, bandwidth, loss, reliability(loss)], axis=-1)
    kept = slice(WARM_UP, None)
    return SimulatedTraces(
        name=parameters.key,
        step_s=HOUR_S,
        features=np.ascontiguousarray(features[:, kept]),
        seconds=np.ascontiguousarray(seconds[:, kept]),
        offered_mbps=np.ascontiguousarray(offered[:, kept]),
        capacity_mbps=np.full((traces, rows), np.inf),
        level=level,
    )


def site_mixes(rng: np.random.Generator, parameters: GroupProfile, traces: int) -> FloatArray:
    """(traces, applications) each site's mix, adding up to 1: Dirichlet around the group's shares."""
    shares = np.array([application.share for application in parameters.applications])
    return rng.dirichlet(MIX_CONCENTRATION * shares, traces)


def application_load(
    rng: np.random.Generator, application: Application, hurst: float, seconds: npt.NDArray[np.int64]
) -> FloatArray:
    """An application's load over its mean at sites of one size, (traces, steps), by the hour.

    Args:
        rng: draws days, fluctuation and events.
        application: its parameters.
        hurst: of the fluctuation.
        seconds: (traces, steps) wall clock.
    """
    traces, steps = len(seconds), seconds.shape[1]
    days = (steps + 23) // 24 + 1
    day_level = np.repeat(fractional_gaussian_noise(rng, np.full(traces, 0.75), days), 24, axis=1)
    hour = ((seconds[:, 0] // HOUR_S) % 24)[:, None] + np.arange(steps)
    log_load = DAY_SIGMA * np.take_along_axis(day_level, np.minimum(hour, days * 24 - 1), axis=1)
    log_load += application.fluctuation * fractional_gaussian_noise(rng, np.full(traces, hurst), steps)
    load = application_shape(application)[hour_of_week(seconds)] * np.exp(log_load)
    if np.isfinite(application.event_interval_h):
        interval, shortest = application.event_interval_h * HOUR_S, SHORTEST_EVENT_H * HOUR_S
        load += bursts(rng, interval, application.event_size, shortest, HOUR_S, traces, steps)
    return load


def weekly_shape(parameters: GroupProfile) -> FloatArray:
    """(168,) a group's load by hour of the week over its mean, Monday 0:00 first: typical mix, without events."""
    shapes = [application.share * application_shape(application) for application in parameters.applications]
    shape: FloatArray = np.sum(shapes, axis=0)
    return shape


def application_shape(application: Application) -> FloatArray:
    """(168,) an application's load by hour of the week over its mean, Monday 0:00 first."""
    hours = np.arange(24) + 0.5

    def day(peaks: Peaks) -> FloatArray:
        load = np.zeros(24)
        for centre, width, height in peaks:
            distance = np.abs(hours - centre)
            load += height * np.exp(-0.5 * np.square(np.minimum(distance, 24.0 - distance) / width))
        return load

    weekend = application.weekend_factor * np.tile(day(application.weekend_peaks), 2)
    week = np.concatenate([np.tile(day(application.peaks), 5), weekend])
    shape: FloatArray = GROUP_FLOOR + (1.0 - GROUP_FLOOR) * week / week.mean()
    return shape
