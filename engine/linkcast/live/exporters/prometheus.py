"""Metrics for Prometheus, through `prometheus-client` (the extra metrics)."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from linkcast.live.exporters.table import CAPACITY, INFO, LATENCY_S, METRICS, OF_HEADER, RELOADS, Metric, info_labels
from linkcast.live.record import Header, Tick


class PrometheusSink:
    """A sink whose numbers are scraped.

    Args:
        header: of the session at its start.
        registry: where the metrics are; None: one of its own, which `serve` serves. A registry takes one sink,
            which the loops of several links may share.
    """

    def __init__(self, header: Header, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._metrics: dict[str, Any] = {metric.name: self._make(metric) for metric in (*METRICS, *OF_HEADER)}
        self._info: dict[str, tuple[str, ...]] = {}  # by link: the labels of its INFO
        self._states: set[tuple[str, tuple[str, ...]]] = set()  # gauges with labels that may go: name, labels
        self._server: Any = None
        self._describe(header)
        self._metrics[RELOADS.name].labels(header.link).inc(0.0)

    def _make(self, metric: Metric) -> Any:
        labels = ("link", *metric.labels)
        if metric.kind == "histogram":
            return Histogram(metric.name, metric.help, labels, buckets=LATENCY_S, registry=self.registry)
        kind = Counter if metric.kind == "counter" else Gauge
        return kind(metric.name, metric.help, labels, registry=self.registry)

    @property
    def trouble(self) -> str | None:
        """Nothing: who does not scrape is not told here."""
        return None

    def serve(self, port: int = 9779, address: str = "127.0.0.1") -> int:
        """Serves http://address:port/metrics from a thread of its own; 0 takes a free port.

        Returns:
            The port.
        Raises:
            OSError: it is taken, or may not be listened on.
        """
        self._server, _ = start_http_server(port, address, registry=self.registry)
        return int(self._server.server_port)

    def write(self, tick: Tick) -> None:
        """The next tick."""
        for metric in METRICS:
            made = self._metrics[metric.name]
            for labels, value in metric.read(tick):
                series = made.labels(tick.link, *labels)
                if metric.kind == "counter":
                    series.inc(value)
                elif metric.kind == "gauge":
                    series.set(value)
                    if labels:
                        self._states.add((metric.name, (tick.link, *labels)))
                else:
                    series.observe(value)

    def reloaded(self, header: Header) -> None:
        """The next ticks are of other models or options."""
        self._metrics[RELOADS.name].labels(header.link).inc()
        gone = {(name, labels) for name, labels in self._states if labels[0] == header.link}
        for name, labels in gone:  # an expert or a shadow that there is not any more, say
            self._metrics[name].remove(*labels)
        self._states -= gone
        self._describe(header)

    def close(self) -> None:
        """Nothing is served any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _describe(self, header: Header) -> None:
        labels = (header.link, *info_labels(header))
        if header.link in self._info:
            self._metrics[INFO.name].remove(*self._info[header.link])
        self._metrics[INFO.name].labels(*labels).set(1.0)
        self._info[header.link] = labels
        self._metrics[CAPACITY.name].labels(header.link).set(float(header.options["capacity_mbps"]))
