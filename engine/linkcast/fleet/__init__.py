"""Fleets: thousands of links in a Parquet data set, scored on one box or on a Ray cluster. See docs/fleet.md."""

from linkcast.fleet.score import score
from linkcast.fleet.settings import Settings

__all__ = ["Settings", "score"]
