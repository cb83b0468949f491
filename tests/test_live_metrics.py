"""Metrics of a live loop: what Prometheus scrapes and OpenTelemetry reads is what the ticks said."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import linkcast
from conftest import ROOT
from linkcast.live.exporters.table import METRICS, OF_HEADER
from linkcast.live.record import Tick
from linkcast.live.session import Session
from live_sessions import LIMITS, samples, ticks

prometheus_client = pytest.importorskip("prometheus_client", reason="needs the metrics extra")
otel_metrics = pytest.importorskip("opentelemetry.sdk.metrics", reason="needs the otel extra")
DASHBOARD = json.loads((ROOT / "packaging" / "grafana" / "linkcast.json").read_text(encoding="utf-8"))
SERVER = shutil.which("prometheus")


@pytest.fixture
def session(engine: linkcast.Engine) -> Session:
    """With a shadow."""
    return Session("eth0", engine, shadow=engine, **LIMITS)


def sums(given: list[Tick], name: str) -> dict[tuple[str, ...], float]:
    """What a counter should stand at: the label values counted by hand."""
    read = next(metric.read for metric in METRICS if metric.name == name)
    total: dict[tuple[str, ...], float] = {}
    for tick in given:
        for labels, value in read(tick):
            total[labels] = total.get(labels, 0.0) + value
    return total


def test_what_is_scraped_is_what_the_ticks_said(session: Session) -> None:
    from linkcast.live.exporters.prometheus import PrometheusSink

    sink = PrometheusSink(session.header())
    made = list(ticks(session, samples(120), sink))
    last = made[-1]

    def value(name: str, **labels: str) -> float | None:
        found: float | None = sink.registry.get_sample_value(name, {"link": "eth0", **labels})
        return found

    assert value("linkcast_ticks_total") == 120
    assert value("linkcast_samples_total", outcome="missing") == sum(tick.sample is None for tick in made)
    assert value("linkcast_samples_total", outcome="refused") == sum(tick.refused is not None for tick in made)
    assert value("linkcast_forecast_mbps") == last.forecast.mbps
    assert value("linkcast_forecast_quantile_mbps", quantile="0.9") == last.forecast.p90
    assert value("linkcast_allocation_mbps") == last.allocation_mbps
    assert math.isnan(value("linkcast_applied_mbps") or 0.0)
    assert value("linkcast_capacity_mbps") == 100.0
    assert value("linkcast_health", state="dry_run") == 1.0
    assert value("linkcast_health", state="live") == 0.0
    assert value("linkcast_skill_ratio", side="shadow") == last.skill  # it is the same model
    assert value("linkcast_coverage_ratio") == last.coverage
    assert value("linkcast_tick_latency_seconds_count") == 120
    assert value("linkcast_tick_latency_seconds_sum") == pytest.approx(sum(tick.latency_ns for tick in made) * 1e-9)
    for labels, count in sums(made, "linkcast_answers_total").items():
        assert value("linkcast_answers_total", source=labels[0], cause=labels[1]) == count
    assert value("linkcast_reloads_total") == 0
    models = session.live.models_id
    assert value("linkcast_info", version=linkcast.__version__, profile="internet", models=models, shadow=models) == 1


def test_a_reload_is_counted_and_what_is_gone_is_scraped_no_more(engine: linkcast.Engine, session: Session) -> None:
    from linkcast.live.exporters.prometheus import PrometheusSink

    sink = PrometheusSink(session.header())
    list(ticks(session, samples(20), sink))
    assert session.reload(engine, capacity_mbps=80.0) is None  # without a shadow from here on
    sink.reloaded(session.header())
    list(ticks(session, samples(3), sink, first=20))
    page = prometheus_client.generate_latest(sink.registry).decode()
    assert 'linkcast_reloads_total{link="eth0"} 1.0' in page
    assert 'linkcast_capacity_mbps{link="eth0"} 80.0' in page
    assert 'side="live"' in page
    assert 'side="shadow"' not in page
    assert page.count("\nlinkcast_info{") == 1


def test_opentelemetry_reads_the_same_numbers(session: Session) -> None:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from linkcast.live.exporters.otel import OpenTelemetrySink, instrument_name

    reader = InMemoryMetricReader()
    sink = OpenTelemetrySink(session.header(), otel_metrics.MeterProvider([reader]))
    made = list(ticks(session, samples(120), sink))
    sink.reloaded(session.header())
    data = reader.get_metrics_data()
    read = {metric.name: metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics}
    # A gauge that is never known is not there: nothing is applied in a dry run.
    assert set(read) == {instrument_name(metric) for metric in (*METRICS, *OF_HEADER)} - {"linkcast.applied_mbps"}

    def points(name: str) -> dict[tuple[str, ...], Any]:
        return {tuple(point.attributes.values()): point for point in read[name].data.data_points}

    assert points("linkcast.ticks")[("eth0",)].value == 120
    assert points("linkcast.reloads")[("eth0",)].value == 1
    assert points("linkcast.allocation_mbps")[("eth0",)].value == made[-1].allocation_mbps
    answers = {labels[1:]: point.value for labels, point in points("linkcast.answers").items()}
    assert answers == sums(made, "linkcast_answers_total")
    latency = points("linkcast.tick_latency_seconds")[("eth0",)]
    assert latency.count == 120
    assert latency.sum == pytest.approx(sum(tick.latency_ns for tick in made) * 1e-9)
    assert sum(latency.bucket_counts[:8]) > 0  # the bounds are of microseconds, not the SDK's own


def test_the_page_has_every_metric() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(linkcast_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", page, flags=re.MULTILINE)
    known = [
        (metric.name, metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in (*METRICS, *OF_HEADER)
    ]
    assert told == known


def queries() -> list[str]:
    """Every query of the dashboard, as Grafana would send it."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [query.replace("$link", "eth0").replace("$__rate_interval", "4s") for query in found]


def test_the_dashboard_asks_for_nothing_that_there_is_not() -> None:
    names = {metric.name for metric in (*METRICS, *OF_HEADER)}
    asked = {name.removesuffix("_bucket") for name in re.findall(r"linkcast_\w+", " ".join(queries()))}
    assert asked <= names
    assert names - asked <= {"linkcast_ticks_total", "linkcast_allocation_ratio", "linkcast_shadow_verdict"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def scraped(session: Session, tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that has scraped a session under way for a few seconds."""
    if SERVER is None:
        pytest.skip("needs the prometheus server (Debian: apt-get install prometheus)")
    from linkcast.live.exporters.prometheus import PrometheusSink

    sink = PrometheusSink(session.header())
    target, port = sink.serve(0), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: linkcast, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n",
        encoding="utf-8",
    )
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [
                SERVER,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        run = ticks(session, samples(900), sink)
        list(itertools.islice(run, 60))
        last = time.monotonic() + 60
        while len(ask(address, 'linkcast_ticks_total{link="eth0"}[4s]')) == 0 or not moved(address):
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < last, "nothing was scraped within a minute"
            list(itertools.islice(run, 4))
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()
        sink.close()


def ask(address: str, query: str) -> list[Any]:
    """The result of an instant query; empty while the server starts."""
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[Any] = json.load(answer)["data"]["result"]
            return result
    except urllib.error.HTTPError as error:
        if error.code == 503:  # not ready yet
            return []
        raise AssertionError(f"{query}: {error.read().decode()}") from error
    except urllib.error.URLError:
        return []


def moved(address: str) -> bool:
    """Whether rates over the interval are known."""
    rates = ask(address, "rate(linkcast_ticks_total[4s])")
    return bool(rates) and float(rates[0]["value"][1]) > 0.0


def test_every_query_of_the_dashboard_returns_data_from_a_real_scrape(scraped: str) -> None:
    # What cannot have a value here: nothing is applied in a dry run, and NaN says so.
    unknown = {'linkcast_applied_mbps{link="eth0"}'}
    empty = []
    for query in queries():
        values = [float(series["value"][1]) for series in ask(scraped, query)]
        if not values or (query not in unknown and all(math.isnan(value) for value in values)):
            empty.append(query)
    assert empty == []
    assert [series["metric"]["link"] for series in ask(scraped, "linkcast_ticks_total")] == ["eth0"]
