"""`linkcast decide`: how much of a link to allocate in a state."""

from __future__ import annotations

from typing import Annotated

import typer

from linkcast.cli.options import Capacity, Json, Models, Profile
from linkcast.console import print_json, show, table

CAUSES = {
    "outside_training": "a value lies outside what training has seen, and was held to it",
    "over_capacity": "more bandwidth than the link has",
    "not_finite": "the network gave no finite Q-values",
}


def decide(
    latency_ms: Annotated[float, typer.Argument(help="Round trip in ms, the wait before the present share included.")],
    bandwidth_mbps: Annotated[float, typer.Argument(help="Mbit/s carried in the last step.")],
    packet_loss: Annotated[float, typer.Argument(help="Share of packets lost, 0 to 1.")],
    reliability: Annotated[float, typer.Argument(help="Share of the time that the link works, 0 to 1.")],
    profile: Profile = "internet",
    capacity: Capacity = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Decide how much of a link to allocate in a state.

    The state is what the present share shows: a long round trip at a share's rate is a backlog, loss tells that senders
    hold back. Q-values, the network's own, are gains in reward over a rule that rounds up and drains, added up over the
    steps to come. What is chosen is safe for every state: more bandwidth never gets less, and a full link gets all.
    """
    from linkcast.engine import Engine
    from linkcast.replay import allocator_capacity_mbps, capacity_ratio

    engine = Engine(models)
    trained_mbps = allocator_capacity_mbps(engine, engine.resolve(profile, "allocator"))
    state = [latency_ms, bandwidth_mbps * capacity_ratio(trained_mbps, capacity), packet_loss, reliability]
    allocation = engine.allocate(profile, state)
    action, cause = int(allocation.actions[0]), allocation.causes[0]
    q_values = [float(value) for value in engine.q_values(profile, state)[0]]
    capacity_mbps = trained_mbps if capacity is None else capacity
    if as_json:
        print_json(
            {
                "profile": profile,
                "capacity_mbps": capacity_mbps,
                "action": action,
                "allocation_percent": (action + 1) * 10,
                "cause": cause,
                "q_values": q_values,
            }
        )
        return
    link = "the link" if capacity_mbps is None else f"a {capacity_mbps:,g} Mbit/s link"
    because = f": {CAUSES[cause]}" if cause in CAUSES else ""
    title = f"Allocate {(action + 1) * 10} % of {link} (profile {profile}){because}"
    rows = table(title, "Action", "Allocation", "Q-value", "", left=("",))
    for index, value in enumerate(q_values):
        mark, style = ("<- chosen", "bold") if index == action else ("", "")
        rows.add_row(str(index), f"{(index + 1) * 10} %", f"{value:.4f}", mark, style=style)
    show(rows)
