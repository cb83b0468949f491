"""A controller on a live link: what happened at each tick, and who is told of it."""

from __future__ import annotations

from linkcast.live.record import Forecast, Header, Shadow, Sink, Tick

__all__ = ["Forecast", "Header", "Shadow", "Sink", "Tick"]
