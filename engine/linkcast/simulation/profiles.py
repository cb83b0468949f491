"""Parameters of links and of service groups. Nothing is fitted to a data set: all are round numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Peaks = tuple[tuple[float, float, float], ...]


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


_EVENING = (20.5, 2.5, 1.0)
_EVERYWHERE = {"mobile": (0.6, 1.4), "desktop": (1.0, 1.0), "tablet": (0.8, 1.2)}

_PROFILES = (
    GroupProfile(
        key="streaming",
        name="Streaming",
        group_id=1001,
        applications=(
            Application(
                "Live video", 101, 0.25, ((20.0, 2.0, 1.0),), ((15.5, 2.5, 1.0), (20.0, 2.0, 0.8)), 1.5, 0.12, 60.0
            ),
            Application(
                "Video on demand", 102, 0.65, (_EVENING, (12.5, 1.5, 0.25)), ((20.5, 3.0, 1.0), (15.0, 3.0, 0.5)), 1.25
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
            Application("Feeds", 301, 0.30, ((8.0, 1.2, 0.7), (12.5, 1.2, 1.0), (19.0, 2.0, 0.8)), ((11.5, 2.5, 1.0),)),
            Application(
                "Short video",
                302,
                0.55,
                ((12.5, 1.2, 0.5), (21.5, 2.0, 1.0)),
                ((21.5, 3.0, 1.0), (15.0, 3.0, 0.6)),
                1.2,
                0.12,
            ),
            Application("Messaging", 303, 0.15, ((10.0, 2.5, 0.8), (18.0, 3.0, 1.0)), ((17.0, 5.0, 1.0),), 0.9, 0.07),
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
            Application("Payments", 403, 0.15, ((12.0, 2.0, 0.8), (17.5, 1.5, 1.0)), ((13.0, 3.0, 1.0),), 1.1, 0.07),
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

GROUPS: dict[str, GroupProfile] = {profile.key: profile for profile in _PROFILES}


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
