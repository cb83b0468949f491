"""Simulated telemetry: links (a datacenter and an internet profile) and service groups. NumPy only.

A link has an offered load and a capacity. The load is a level with a daily and weekly shape and regime switches, times
a self-similar fluctuation (fractional Gaussian noise), plus ON/OFF bursts with heavy-tailed lengths. The capacity
switches between regimes and fades. What exceeds it waits in a bounded buffer and shows in the round-trip time; what
exceeds the buffer is lost, and senders back off. Loss on the path follows a Gilbert-Elliott chain, packet by packet.
A service group's load is the sum of its applications', each with its own week, events and fluctuation; sites differ in
size and in their mix. Nothing here is fitted to a data set: its parameters are round numbers.

Every accuracy that is quoted on simulated data depends on the noise level. At level 1 the internet profile varies about
as real mobile links do (tests/test_simulator_statistics.py compares them); `at_noise` gives a profile at another level.
"""

from linkcast.simulation.groups import simulate_group
from linkcast.simulation.links import SimulatedTraces, simulate_link, simulate_trace
from linkcast.simulation.profiles import (
    GROUPS,
    PROFILES,
    TARGET_NOISE,
    GroupProfile,
    LinkProfile,
    at_noise,
    group_profile,
    link_profile,
)

__all__ = [
    "GROUPS",
    "PROFILES",
    "TARGET_NOISE",
    "GroupProfile",
    "LinkProfile",
    "SimulatedTraces",
    "at_noise",
    "group_profile",
    "link_profile",
    "simulate_group",
    "simulate_link",
    "simulate_trace",
]
