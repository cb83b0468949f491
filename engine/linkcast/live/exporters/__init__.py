"""Sinks that count and measure: one table of metrics, an exporter for each way to read them."""

from __future__ import annotations

from linkcast.live.exporters.table import METRICS, Metric

__all__ = ["METRICS", "Metric"]
