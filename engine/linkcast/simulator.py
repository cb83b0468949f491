"""Simulated telemetry: links (a datacenter and an internet profile) and service groups. NumPy only.

A link has an offered load and a capacity. The load is a level with a daily and weekly shape and regime switches, times
a self-similar fluctuation (fractional Gaussian noise), plus ON/OFF bursts with heavy-tailed lengths. The capacity
switches between regimes and fades. What exceeds it waits in a bounded buffer and shows in the round-trip time; what
exceeds the buffer is lost, and senders back off. Loss on the path follows a Gilbert-Elliott chain, packet by packet.
A service group's load is the sum of its applications', each with its own week, events and fluctuation; sites differ in
size and in their mix. Nothing here is fitted to a data set: the parameters below are round numbers.

Every accuracy that is quoted on simulated data depends on the noise level. At level 1 the internet profile varies about
as real mobile links do (tests/test_simulator_statistics.py compares them); `at_noise` gives a profile at another level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from linkcast.features import HOUR_S, HOURS_PER_WEEK, hour_of_week
from linkcast.traces import Trace, trace_from_arrays

FloatArray = npt.NDArray[np.float64]
Peaks = tuple[tuple[float, float, float], ...]

RELIABILITY_SAMPLES = 60
"""Samples that reliability looks back on, the present one included."""

GOOD_LOSS = 0.05
"""A sample is good while it lost less than this share of its packets."""

WARM_UP = 2 * RELIABILITY_SAMPLES
"""Steps simulated before the first row that is given out: the queue, the chains and the reliability have settled."""

EPOCH_S = 1_767_571_200
"""Monday 2026-01-05 00:00, where simulated time starts (seconds since 1970, wall clock)."""

WEEK_S = HOURS_PER_WEEK * HOUR_S


@dataclass(frozen=True)
class LinkProfile:
    """Parameters of a kind of link. Pairs are the bounds of what a trace draws; "log" marks a log-uniform draw."""

    name: str
    step_s: int
    capacity_mbps: tuple[float, float]  # log
    reference_capacity_mbps: float  # of the link that allocators are trained on
    noise: tuple[float, float]  # log, the noise level of a link: a factor of whatever is marked with * below
    utilisation: tuple[float, float]  # mean offered load over capacity
    diurnal_amplitude: float  # share of the load that follows the hour of the day
    weekend_factor: float
    drift: tuple[float, float]  # * log, standard deviation of the slow log-level (correlation time DRIFT_S)
    fluctuation: tuple[float, float]  # * log, standard deviation of the self-similar log-load
    hurst: tuple[float, float]
    measurement_noise: tuple[float, float]  # * log, relative standard deviation of one interval's byte count
    burst_interval_s: float  # mean time between bursts
    burst_size: tuple[float, float]  # * height over the mean load
    burst_length_s: float  # shortest burst; lengths are Pareto with exponent BURST_TAIL
    load_switch_s: float  # mean time between regime switches of the load (a job starts, a call changes its quality)
    load_switch_sigma: float  # * standard deviation of the log-load over regimes
    capacity_switch_s: float  # mean time between regime switches of the capacity (hand-over, new route)
    capacity_switch_sigma: float  # * standard deviation of the log-capacity over regimes; 0 for a fixed line
    capacity_fading: tuple[float, float]  # * log, standard deviation of the self-similar log-capacity; 0, 0 for none
    base_latency_ms: tuple[float, float]  # log, without any queue
    jitter: float  # relative standard deviation of the propagation part
    buffer_ms: float  # the buffer holds what the capacity drains in this time
    shaper_ms: float  # the queue before an allocated share holds what the whole link drains in this time
    reaction: float  # share of a step's overflow that is lost before senders notice
    micro_queue_ms: float  # queueing below one step: micro_queue_ms * rho / (1 - rho), the M/M/1 mean
    good_to_bad: float  # Gilbert-Elliott: probability per step to turn bad
    bad_to_good: float
    good_loss: float  # mean loss fraction in each state
    bad_loss: float


DRIFT_S = 300.0
BACK_OFF = 0.9  # many flows share a link, and not all of them halve at once
RECOVERY = 0.04  # additive increase per step
SMALLEST_SHARE = 0.05
PACKET_BITS = 8.0 * 1_200.0  # a full packet on a path with tunnels
BURST_TAIL = 1.5  # Pareto exponent of burst lengths: 1 < a < 2 gives H = (3 - a) / 2 (Taqqu, Willinger, Sherman 1997)
BURST_LIMIT = 100.0

PROFILES: dict[str, LinkProfile] = {
    "datacenter": LinkProfile(
        name="datacenter",
        step_s=1,
        capacity_mbps=(10_000.0, 10_000.0),
        reference_capacity_mbps=10_000.0,
        noise=(0.5, 1.0),
        utilisation=(0.15, 0.75),
        diurnal_amplitude=0.25,
        weekend_factor=0.8,
        drift=(0.02, 0.06),
        fluctuation=(0.004, 0.008),
        hurst=(0.8, 0.9),
        measurement_noise=(0.001, 0.003),
        burst_interval_s=300.0,
        burst_size=(0.02, 0.10),
        burst_length_s=8.0,
        load_switch_s=1_800.0,
        load_switch_sigma=0.1,
        capacity_switch_s=3_600.0,
        capacity_switch_sigma=0.0,
        capacity_fading=(0.0, 0.0),
        base_latency_ms=(0.2, 0.6),
        jitter=0.03,
        buffer_ms=12.0,
        shaper_ms=200.0,
        reaction=0.01,
        micro_queue_ms=0.05,
        good_to_bad=0.0005,
        bad_to_good=0.2,
        good_loss=1e-6,
        bad_loss=0.002,
    ),
    "internet": LinkProfile(
        name="internet",
        step_s=1,
        capacity_mbps=(0.7, 260.0),
        reference_capacity_mbps=100.0,
        noise=(0.05, 1.0),
        utilisation=(0.3, 1.3),
        diurnal_amplitude=0.35,
        weekend_factor=1.1,
        drift=(0.05, 0.4),
        fluctuation=(0.05, 0.4),
        hurst=(0.8, 0.95),
        measurement_noise=(0.05, 0.2),
        burst_interval_s=90.0,
        burst_size=(0.2, 1.0),
        burst_length_s=3.0,
        load_switch_s=180.0,
        load_switch_sigma=0.3,
        capacity_switch_s=120.0,
        capacity_switch_sigma=0.6,
        capacity_fading=(0.1, 0.5),
        base_latency_ms=(10.0, 90.0),
        jitter=0.08,
        buffer_ms=300.0,
        shaper_ms=500.0,
        reaction=0.05,
        micro_queue_ms=2.0,
        good_to_bad=0.001,
        bad_to_good=0.15,
        good_loss=0.00005,
        bad_loss=0.04,
    ),
}


@dataclass(frozen=True)
class Application:
    """One of a service group's applications. Peaks are (hour, width in hours, height over the floor)."""

    name: str
    service_id: int
    share: float  # of the group's mean bandwidth; a group's shares add up to 1
    peaks: Peaks  # on working days
    weekend_peaks: Peaks
    weekend_factor: float = 1.0
    fluctuation: float = 0.10  # standard deviation of the self-similar log-load from hour to hour
    event_interval_h: float = float("inf")  # mean time between events (a match, a release), which last hours
    event_size: tuple[float, float] = (0.5, 1.5)  # height over the application's mean


@dataclass(frozen=True)
class GroupProfile:
    """Parameters of a service group's hourly telemetry. Bandwidths are of one site with typical use, in Mbit/s."""

    key: str
    name: str
    group_id: int
    applications: tuple[Application, ...]
    default_service_id: int
    mean_bandwidth_mbps: float
    base_latency_ms: float
    load_latency_ms: float  # added at the busiest hour
    device_groups: dict[str, tuple[float, float]]  # name -> (bandwidth factor, latency factor)
    fluctuation: float = 0.06  # standard deviation of the self-similar log-load that all applications share
    measurement_noise: float = 0.03
    hurst: float = 0.85

    @property
    def services(self) -> dict[str, int]:
        """Service id by application name."""
        return {application.name: application.service_id for application in self.applications}


GROUP_STEP_S = HOUR_S
GROUP_FLOOR = 0.15  # share of an application's mean that runs at all hours
USAGE_LEVELS = (0.2, 4.0)  # log: a site's use over the typical one
DAY_SIGMA = 0.12  # standard deviation of each application's log-level from day to day (correlation of two days)
MIX_CONCENTRATION = 8.0  # Dirichlet concentration of a site's mix around the group's shares; larger is more alike
SHORTEST_EVENT_H = 2.0

_EVENING = (20.5, 2.5, 1.0)
_EVERYWHERE = {"mobile": (0.6, 1.4), "desktop": (1.0, 1.0), "tablet": (0.8, 1.2)}

GROUPS: dict[str, GroupProfile] = {
    profile.key: profile
    for profile in (
        GroupProfile(
            key="streaming",
            name="Streaming",
            group_id=1001,
            applications=(
                Application(
                    "Live video", 101, 0.25, ((20.0, 2.0, 1.0),), ((15.5, 2.5, 1.0), (20.0, 2.0, 0.8)), 1.5, 0.12, 60.0
                ),
                Application(
                    "Video on demand",
                    102,
                    0.65,
                    (_EVENING, (12.5, 1.5, 0.25)),
                    ((20.5, 3.0, 1.0), (15.0, 3.0, 0.5)),
                    1.25,
                ),
                Application("Music", 103, 0.10, ((8.5, 1.5, 0.8), (16.5, 3.0, 1.0)), ((14.0, 5.0, 1.0),), 0.8, 0.06),
            ),
            default_service_id=102,
            mean_bandwidth_mbps=9.0,
            base_latency_ms=28.0,
            load_latency_ms=22.0,
            device_groups={**_EVERYWHERE, "tv": (1.7, 0.95)},
        ),
        GroupProfile(
            key="gaming",
            name="Gaming",
            group_id=1002,
            applications=(
                Application(
                    "Online games",
                    201,
                    0.30,
                    ((21.5, 2.5, 1.0), (17.0, 1.5, 0.4)),
                    ((21.5, 3.5, 1.0), (15.5, 3.0, 0.8)),
                    1.4,
                ),
                Application(
                    "Game downloads",
                    202,
                    0.35,
                    ((19.0, 2.0, 1.0), (4.0, 1.5, 0.5)),
                    ((12.0, 3.0, 1.0),),
                    1.3,
                    0.15,
                    96.0,
                    (1.0, 3.0),
                ),
                Application(
                    "Cloud gaming", 203, 0.35, ((20.5, 2.0, 1.0),), ((20.0, 3.5, 1.0), (14.0, 2.5, 0.6)), 1.5, 0.12
                ),
            ),
            default_service_id=201,
            mean_bandwidth_mbps=4.0,
            base_latency_ms=22.0,
            load_latency_ms=14.0,
            device_groups={**_EVERYWHERE, "console": (1.5, 0.9)},
        ),
        GroupProfile(
            key="social_media",
            name="Social Media",
            group_id=1003,
            applications=(
                Application(
                    "Feeds", 301, 0.30, ((8.0, 1.2, 0.7), (12.5, 1.2, 1.0), (19.0, 2.0, 0.8)), ((11.5, 2.5, 1.0),)
                ),
                Application(
                    "Short video",
                    302,
                    0.55,
                    ((12.5, 1.2, 0.5), (21.5, 2.0, 1.0)),
                    ((21.5, 3.0, 1.0), (15.0, 3.0, 0.6)),
                    1.2,
                    0.12,
                ),
                Application(
                    "Messaging", 303, 0.15, ((10.0, 2.5, 0.8), (18.0, 3.0, 1.0)), ((17.0, 5.0, 1.0),), 0.9, 0.07
                ),
            ),
            default_service_id=302,
            mean_bandwidth_mbps=3.2,
            base_latency_ms=32.0,
            load_latency_ms=18.0,
            device_groups=_EVERYWHERE,
        ),
        GroupProfile(
            key="shopping",
            name="Shopping",
            group_id=1004,
            applications=(
                Application(
                    "Storefronts",
                    401,
                    0.60,
                    ((12.5, 1.5, 0.7), (20.0, 2.0, 1.0)),
                    ((14.5, 3.0, 1.0), (20.0, 2.0, 0.8)),
                    1.3,
                    0.10,
                    120.0,
                ),
                Application("Auctions", 402, 0.25, ((21.0, 1.5, 1.0),), ((20.0, 2.0, 1.0),), 1.6, 0.14),
                Application(
                    "Payments", 403, 0.15, ((12.0, 2.0, 0.8), (17.5, 1.5, 1.0)), ((13.0, 3.0, 1.0),), 1.1, 0.07
                ),
            ),
            default_service_id=401,
            mean_bandwidth_mbps=2.0,
            base_latency_ms=36.0,
            load_latency_ms=16.0,
            device_groups=_EVERYWHERE,
        ),
        GroupProfile(
            key="software",
            name="Software",
            group_id=1005,
            applications=(
                Application(
                    "Updates",
                    501,
                    0.30,
                    ((2.5, 1.0, 1.0), (13.0, 1.5, 0.3)),
                    ((2.5, 1.5, 1.0),),
                    0.9,
                    0.12,
                    120.0,
                    (1.0, 3.0),
                ),
                Application("Collaboration", 502, 0.45, ((10.0, 2.0, 1.0), (14.5, 2.0, 0.9)), ((14.0, 4.0, 1.0),), 0.2),
                Application(
                    "Cloud storage", 503, 0.25, ((11.0, 3.0, 0.8), (16.5, 2.0, 1.0)), ((15.0, 4.0, 1.0),), 0.4, 0.12
                ),
            ),
            default_service_id=502,
            mean_bandwidth_mbps=7.0,
            base_latency_ms=26.0,
            load_latency_ms=20.0,
            device_groups={**_EVERYWHERE, "server": (2.0, 0.8)},
        ),
    )
}


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
    _check_sizes(traces, rows)
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
    _check_sizes(traces, rows)
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


def link_profile(name: str) -> LinkProfile:
    """The parameters of a profile.

    Raises:
        ValueError: no such profile; the text names the known ones.
    """
    if name not in PROFILES:
        raise ValueError(f"profile: expected one of {', '.join(PROFILES)}, got {name!r}")
    return PROFILES[name]


TARGET_NOISE = {"datacenter": 1.0, "internet": 0.05}
"""Noise level of each profile at which the design targets for accuracy are meant; tests hold the naive scores there."""


def at_noise(profile: str | LinkProfile, level: float) -> LinkProfile:
    """A profile whose links all have one noise level: a factor of every * of LinkProfile; 0 leaves the calendar alone.

    Raises:
        ValueError: an unknown profile, or a level that is negative or not finite.
    """
    if not 0.0 <= level < np.inf:
        raise ValueError(f"noise level: expected 0 or more, got {level}")
    parameters = profile if isinstance(profile, LinkProfile) else link_profile(profile)
    return replace(parameters, noise=(level, level))


def group_profile(key: str) -> GroupProfile:
    """The parameters of a service group.

    Raises:
        ValueError: no such group; the text names the known ones.
    """
    if key not in GROUPS:
        raise ValueError(f"service group: expected one of {', '.join(GROUPS)}, got {key!r}")
    return GROUPS[key]


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
    log_load = log_uniform(rng, parameters.drift, traces)[:, None] * _drift(rng, traces, steps, parameters.step_s)
    hurst = rng.uniform(parameters.hurst[0], parameters.hurst[1], traces)
    sigma = log_uniform(rng, parameters.fluctuation, traces)[:, None]
    log_load += sigma * fractional_gaussian_noise(rng, hurst, steps)
    log_load += _regimes(rng, parameters.load_switch_s / parameters.step_s, parameters.load_switch_sigma, traces, steps)
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
    log_capacity = _regimes(
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


def fractional_gaussian_noise(rng: np.random.Generator, hurst: FloatArray, steps: int) -> FloatArray:
    """Self-similar noise of unit variance, exact, by circulant embedding (Davies and Harte, Biometrika 1987).

    Args:
        rng: draws the noise.
        hurst: (traces,) Hurst exponents in (0, 1); 0.5 is white noise.
        steps: samples of each trace.
    Returns:
        (traces, steps).
    """
    lag: FloatArray = np.arange(steps + 1, dtype=np.float64)
    double_h: FloatArray = 2.0 * hurst[:, None]
    covariance = 0.5 * ((lag + 1.0) ** double_h - 2.0 * lag**double_h + np.abs(lag - 1.0) ** double_h)
    circulant = np.concatenate([covariance, covariance[:, -2:0:-1]], axis=1)  # (traces, 2 * steps)
    eigenvalues = np.maximum(np.fft.rfft(circulant, axis=1).real, 0.0)  # (traces, steps + 1), >= 0 but for rounding
    white = np.fft.rfft(rng.standard_normal(circulant.shape), axis=1)
    noise: FloatArray = np.fft.irfft(white * np.sqrt(eigenvalues), n=circulant.shape[1], axis=1)
    return noise[:, :steps]


def bursts(
    rng: np.random.Generator,
    interval_s: float,
    size: tuple[float, float],
    shortest_s: float,
    step_s: int,
    traces: int,
    steps: int,
) -> FloatArray:
    """Sum of ON/OFF bursts over the mean load, (traces, steps). Starts are Poisson, lengths Pareto (BURST_TAIL).

    Args:
        rng: draws the bursts.
        interval_s: mean time between starts.
        size: bounds of a burst's height.
        shortest_s: shortest burst; none lasts longer than BURST_LIMIT times as long.
        step_s: length of a step.
        traces, steps: the shape.
    """
    edges = np.zeros((traces, steps + 1))
    counts = rng.poisson(steps * step_s / interval_s, traces)
    trace = np.repeat(np.arange(traces), counts)
    start = rng.integers(0, steps, counts.sum())
    length_s = shortest_s * np.minimum(1.0 + rng.pareto(BURST_TAIL, counts.sum()), BURST_LIMIT)
    length = np.maximum(1, length_s / step_s).astype(np.int64)
    height = rng.uniform(size[0], size[1], counts.sum())
    np.add.at(edges, (trace, start), height)
    np.add.at(edges, (trace, np.minimum(start + length, steps)), -height)
    return np.maximum(np.cumsum(edges, axis=1)[:, :steps], 0.0)


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


def _drift(rng: np.random.Generator, traces: int, steps: int, step_s: int) -> FloatArray:
    """(traces, steps) AR(1) of unit variance with correlation time DRIFT_S: the level that a trace wanders around."""
    keep = np.exp(-step_s / DRIFT_S)
    shocks = np.sqrt(1.0 - keep * keep) * rng.standard_normal((traces, steps))
    level = np.empty((traces, steps))
    level[:, 0] = rng.standard_normal(traces)
    for step in range(1, steps):
        level[:, step] = keep * level[:, step - 1] + shocks[:, step]
    return level


def _regimes(rng: np.random.Generator, interval: float, sigma: float, traces: int, steps: int) -> FloatArray:
    """(traces, steps) Gaussian levels of standard deviation sigma, constant between switches `interval` steps apart."""
    if sigma == 0.0:
        return np.zeros((traces, steps))
    switches = rng.random((traces, steps)) < 1.0 / interval
    regime: npt.NDArray[np.int64] = np.cumsum(switches, axis=1, dtype=np.int64)
    levels = sigma * rng.standard_normal((traces, int(regime.max()) + 1))
    return np.take_along_axis(levels, regime, axis=1)


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float], size: int) -> FloatArray:
    """(size,) values whose logarithm is uniform between the bounds'."""
    low, high = bounds
    if low == high:
        return np.full(size, low)
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def _check_sizes(traces: int, rows: int) -> None:
    if traces < 1 or rows < 1:
        raise ValueError(f"traces and rows must be positive, got {traces} and {rows}")
