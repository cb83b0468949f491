"""`linkcast groups`: what the metadata knows about each service group."""

from __future__ import annotations

from collections.abc import Iterable

from linkcast.cli.options import Json, Models
from linkcast.console import print_json, show, table


def groups(models: Models = None, as_json: Json = False) -> None:
    """List the service groups, their services and device groups."""
    from linkcast.engine import Engine
    from linkcast.groups import group_source

    engine = Engine(models)
    known = engine.groups.values()
    sources = {group.key: group_source(engine.manifest, group) for group in known}
    if as_json:
        print_json(
            {
                group.key: {
                    "name": group.name,
                    "group_id": group.group_id,
                    "default_service_id": group.default_service_id,
                    "services": dict(group.services),
                    "device_groups": {name: dict(factors) for name, factors in group.device_groups.items()},
                    "max_bandwidth_mbps": group.max_bandwidth_mbps,
                    "mean_bandwidth_mbps": group.mean_bandwidth_mbps,
                    "std_bandwidth_mbps": group.std_bandwidth_mbps,
                    "typical_usage_percentage": group.typical_usage_percentage,
                    "has_profile": group.profile is not None,
                    "source": sources[group.key],
                    "model": group.model,
                    "fallback": group.fallback,
                }
                for group in known
            }
        )
        return
    rows = table("Service groups (bandwidth in Mbit/s)", "Group", "Id", "Mean", "Max")
    rows.add_column("Source")
    rows.add_column("Services (* default)", no_wrap=True)
    rows.add_column("Device groups", ratio=1)
    for group in known:
        services = [
            f"{number} {name}{' *' if number == group.default_service_id else ''}"
            for name, number in group.services.items()
        ]
        rows.add_row(
            group.name,
            str(group.group_id),
            f"{group.mean_bandwidth_mbps:.1f}",
            f"{group.max_bandwidth_mbps:.1f}",
            sources[group.key],
            "\n".join(services),
            ", ".join(group.device_groups),
        )
    show(rows, *source_note(sources.values()))


def source_note(sources: Iterable[str]) -> list[str]:
    """What to say of numbers that come from the simulator; nothing when all come from telemetry."""
    if "simulated" not in sources:
        return []
    return [
        "Simulated: statistics, hour-of-week profiles and models come from the simulator, not from measurements; "
        "`linkcast train --telemetry FILE` makes them from yours."
    ]
