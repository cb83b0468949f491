"""Metrics for OpenTelemetry, through its API (the extra otel): the same table as for Prometheus.

Names are those of Prometheus with a dot behind "linkcast" and without "_total": "linkcast.ticks". Where they go to is
the meter provider's business: OTLP, the console, a reader in memory.
"""

from __future__ import annotations

import math
from typing import Any

from opentelemetry.metrics import MeterProvider, get_meter_provider

from linkcast.live.exporters.table import CAPACITY, INFO, LATENCY_S, METRICS, OF_HEADER, RELOADS, Metric, info_labels
from linkcast.live.record import Header, Tick


def instrument_name(metric: Metric) -> str:
    """ "linkcast_ticks_total" -> "linkcast.ticks"."""
    return metric.name.replace("_", ".", 1).removesuffix("_total")


class OpenTelemetrySink:
    """A sink that measures through a meter.

    Args:
        header: of the session at its start.
        provider: None is the global one.
    """

    def __init__(self, header: Header, provider: MeterProvider | None = None) -> None:
        self._meter = (provider or get_meter_provider()).get_meter("linkcast", header.linkcast)
        self._instruments: dict[str, Any] = {metric.name: self._make(metric) for metric in (*METRICS, *OF_HEADER)}
        self._instruments[RELOADS.name].add(0, {"link": header.link})
        self._describe(header)

    def _make(self, metric: Metric) -> Any:
        name, unit = instrument_name(metric), metric.unit or "1"
        if metric.kind == "histogram":
            bounds = list(LATENCY_S)
            return self._meter.create_histogram(name, unit, metric.help, explicit_bucket_boundaries_advisory=bounds)
        make = self._meter.create_counter if metric.kind == "counter" else self._meter.create_gauge
        return make(name, unit, metric.help)

    @property
    def trouble(self) -> str | None:
        """Nothing: an exporter tells its own."""
        return None

    def write(self, tick: Tick) -> None:
        """The next tick; a number that is not known is not measured."""
        for metric in METRICS:
            instrument = self._instruments[metric.name]
            for labels, value in metric.read(tick):
                if math.isnan(value):
                    continue
                attributes = {"link": tick.link, **dict(zip(metric.labels, labels, strict=True))}
                if metric.kind == "counter":
                    instrument.add(value, attributes)
                elif metric.kind == "gauge":
                    instrument.set(value, attributes)
                else:
                    instrument.record(value, attributes)

    def reloaded(self, header: Header) -> None:
        """The next ticks are of other models or options."""
        self._instruments[RELOADS.name].add(1, {"link": header.link})
        self._describe(header)

    def close(self) -> None:
        """Nothing is measured any more; the provider is not ours to shut down."""

    def _describe(self, header: Header) -> None:
        attributes = {"link": header.link, **dict(zip(INFO.labels, info_labels(header), strict=True))}
        self._instruments[INFO.name].set(1, attributes)
        self._instruments[CAPACITY.name].set(float(header.options["capacity_mbps"]), {"link": header.link})
