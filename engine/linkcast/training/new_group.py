"""What a service group is called and numbered by: of the simulator's groups, of a bundle's, and of a new one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from linkcast import simulation
from linkcast.groups import group_key
from linkcast.training.bundle import Bundle, BundledGroup

KEY = re.compile(r"[a-z][a-z0-9_]*")
FIRST_GROUP_ID, FIRST_SERVICE_ID = 1001, 101


@dataclass(frozen=True)
class Identity:
    """What the metadata say about a group that no telemetry can."""

    name: str
    group_id: int
    default_service_id: int
    services: Mapping[str, int]
    device_groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    max_bandwidth_mbps: float | None = None  # None: the highest rate in the telemetry


@dataclass(frozen=True)
class NewGroup:
    """A group that is asked for. What is None is found: the next free ids, and the highest rate in the telemetry."""

    name: str
    group_id: int | None = None
    services: Mapping[str, int] | None = None  # ids by name, the default one first
    max_bandwidth_mbps: float | None = None

    @property
    def key(self) -> str:
        return group_key(self.name)


def simulated_identity(group: str) -> Identity:
    """Of a group that the simulator knows."""
    parameters = simulation.group_profile(group)
    return Identity(
        parameters.name,
        parameters.group_id,
        parameters.default_service_id,
        parameters.services,
        {
            device: {"bandwidth_factor": factors[0], "latency_factor": factors[1]}
            for device, factors in parameters.device_groups.items()
        },
    )


def bundled_identity(group: BundledGroup) -> Identity:
    """Of a group in a bundle; its maximum is measured again."""
    mapping = group.mapping
    return Identity(
        mapping["name"],
        mapping["group_id"],
        mapping["default_service_id"],
        mapping["services"],
        group.stats.get("device_groups", {}),
    )


def new_identity(asked: NewGroup, base: Bundle) -> Identity:
    """Numbers a new group beside those of a bundle.

    Raises:
        ValueError: a name that is no key, or a name or an id that the bundle uses already.
    """
    key = asked.key
    if not KEY.fullmatch(key):
        raise ValueError(f"group: expected a name of letters and digits that begins with a letter, got {asked.name!r}")
    taken = [*base.groups, *simulation.PROFILES]
    if key in taken or f"{key}_model" in base.models or f"{key}_fallback" in base.models:
        raise ValueError(f"group: expected another name than {', '.join(taken)}, got {asked.name!r}")
    groups = {entry.mapping["group_id"]: entry.mapping["name"] for entry in base.groups.values()}
    services = {
        number: f"{name} of {entry.mapping['name']}"
        for entry in base.groups.values()
        for name, number in entry.mapping["services"].items()
    }
    group_id = asked.group_id
    if group_id is None:
        group_id = max([FIRST_GROUP_ID - 1, *groups]) + 1
    _check_id("group id", group_id, groups)
    named = dict(asked.services or {})
    if not named:
        named = {asked.name: max([FIRST_SERVICE_ID - 101, *services]) // 100 * 100 + 101}
    for number in named.values():
        _check_id("service id", number, services)
    if len(set(named.values())) < len(named):
        raise ValueError(f"service id: expected a different one for each service, got {_listed(named)}")
    most = asked.max_bandwidth_mbps
    if most is not None and not 0.0 < most < float("inf"):
        raise ValueError(f"maximum: expected Mbit/s above 0, got {most:g}")
    return Identity(asked.name.strip(), group_id, next(iter(named.values())), named, {}, most)


def _check_id(what: str, number: int, taken: Mapping[int, str]) -> None:
    if number < 1:
        raise ValueError(f"{what}: expected 1 or more, got {number}")
    if number in taken:
        free = max(taken) + 1
        raise ValueError(f"{what}: {number} is {taken[number]} already; {free} is free")


def _listed(services: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={number}" for name, number in services.items())
