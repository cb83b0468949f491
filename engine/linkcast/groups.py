"""Service groups: what service_mappings.json and service_group_stats.json say about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.features import TELEMETRY
from linkcast.notebook import values_table

LATENCY = TELEMETRY.index("latency_ms")


def group_key(name: str) -> str:
    """The key of a group in the metadata: "Social Media", "social-media" and "social_media" are one group."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


@dataclass(frozen=True, repr=False)
class ServiceGroup:
    """One service group. Bandwidths in Mbit/s."""

    key: str
    name: str
    group_id: int
    default_service_id: int
    services: Mapping[str, int]
    model: str
    fallback: str
    max_bandwidth_mbps: float
    mean_bandwidth_mbps: float
    std_bandwidth_mbps: float
    typical_usage_percentage: float
    device_groups: Mapping[str, Mapping[str, float]]
    profile: npt.NDArray[np.float64] | None  # (168, 4) telemetry by hour of the week, Monday 0:00 first

    def __repr__(self) -> str:
        return (
            f"ServiceGroup({self.name!r}, id {self.group_id}, up to {self.max_bandwidth_mbps:g} Mbit/s, {self.model})"
        )

    def _repr_html_(self) -> str:
        return values_table(
            f"Service group {self.name}",
            {
                "id": self.group_id,
                "services": ", ".join(f"{name} ({number})" for name, number in self.services.items()),
                "maximum": f"{self.max_bandwidth_mbps:g} Mbit/s",
                "mean": f"{self.mean_bandwidth_mbps:.3g} ± {self.std_bandwidth_mbps:.3g} Mbit/s",
                "model": self.model,
                "fallback": self.fallback,
                "device groups": ", ".join(self.device_groups) or "none",
                "profile": "none" if self.profile is None else "by hour of the week",
            },
        )

    def in_use_mbps(self, usage_percentage: float | None) -> float | None:
        """What is in use when that share of the group's maximum is; None when no usage is given.

        Raises:
            ValueError: the usage is outside 0..100.
        """
        if usage_percentage is None:
            return None
        if isinstance(usage_percentage, (str, bool)) or not 0.0 <= usage_percentage <= 100.0:
            raise ValueError(f"usage_percentage: expected a number from 0 to 100, got {usage_percentage!r}")
        return self.max_bandwidth_mbps * usage_percentage / 100.0

    def device_factors(self, device_group: str | None) -> tuple[float, float]:
        """What bandwidth and latency are multiplied with for a device group; 1 for the mix of all.

        Raises:
            ValueError: the group does not know the device group.
        """
        if device_group is None:
            return 1.0, 1.0
        device = self.device_groups.get(group_key(device_group)) if isinstance(device_group, str) else None
        if device is None:
            known = ", ".join(self.device_groups) or "none"
            raise ValueError(f"device_group: expected one of {known} for {self.name}, got {device_group!r}")
        return device["bandwidth_factor"], device["latency_factor"]

    def scaled_profile(self, latency_factor: float) -> npt.NDArray[np.float64] | None:
        """(168, 4) the profile with the latency multiplied, or None when the group has no profile."""
        if self.profile is None:
            return None
        profile: npt.NDArray[np.float64] = self.profile.copy()
        profile[:, LATENCY] *= latency_factor
        return profile


def read_groups(mappings: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, ServiceGroup]:
    """Groups by key, in the order of their ids, from the two parsed metadata files (the engine has validated them)."""
    groups = {}
    for key, entry in sorted(mappings["groups"].items(), key=lambda item: int(item[1]["group_id"])):
        values = stats["groups"][key]
        hours = values.get("hour_of_week")
        profile = None
        if hours is not None:
            profile = np.ascontiguousarray(np.array([hours[name] for name in TELEMETRY], dtype=np.float64).T)
        groups[key] = ServiceGroup(
            key=key,
            name=entry["name"],
            group_id=entry["group_id"],
            default_service_id=entry["default_service_id"],
            services=entry["services"],
            model=entry["model"],
            fallback=entry["fallback"],
            max_bandwidth_mbps=float(values["max_bandwidth_mbps"]),
            mean_bandwidth_mbps=float(values["mean_bandwidth_mbps"]),
            std_bandwidth_mbps=float(values["std_bandwidth_mbps"]),
            typical_usage_percentage=float(values["typical_usage_percentage"]),
            device_groups=values.get("device_groups", {}),
            profile=profile,
        )
    return groups


def group_source(manifest: Mapping[str, Any], group: ServiceGroup) -> str:
    """Where a group's statistics, profile and models come from: "simulated" or "telemetry"."""
    return str(manifest["models"][group.model]["trained_on"]["source"])


def find_group(groups: Mapping[str, ServiceGroup], name: str) -> ServiceGroup:
    """The group of that name.

    Raises:
        ValueError: no such group; the text names the known ones.
    """
    group = None
    if isinstance(name, str):
        key = group_key(name)
        group = groups.get(key) or next((one for one in groups.values() if group_key(one.name) == key), None)
    if group is None:
        known = ", ".join(group.name for group in groups.values())
        raise ValueError(f"service_group: expected one of {known}, got {name!r}")
    return group
