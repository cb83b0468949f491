"""What a config asks for, made: engines, source, shaper, sinks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from linkcast.engine import Engine
from linkcast.extras import install
from linkcast.live.config import Config
from linkcast.live.log import DecisionLog
from linkcast.live.rate import RateOptions, RateRule
from linkcast.live.record import Sink
from linkcast.live.session import Session
from linkcast.live.shaper import Applied, DryShaper, Shaper, ShaperOptions
from linkcast.live.sources import FileSource, InterfaceSource, StdinSource
from linkcast.live.sources.sample import Source
from linkcast.traces.layout import Layout

SAFE_MOST = 1.0  # of the capacity: the controller's own default of most_fraction


def engine_of(config: Config) -> tuple[Engine, Engine | None]:
    """The models that act, and those that only watch. LoadError names the file and the key."""
    top, shadow = config.top, config["shadow"]["models"]
    options = {"precision": top["precision"], "public_key": top["public_key"]}
    engine = Engine(top["models"], top["backend"], **options)
    return engine, None if shadow is None else Engine(shadow, top["backend"], **options)


def options_of(engine: Engine, config: Config) -> dict[str, Any]:
    """All of Engine.controller's options: what the config says, and for the rest the engine's own defaults."""
    controller = engine.controller(config.top["profile"], capacity_mbps=config.top["capacity_mbps"])
    return {**controller.options, **config.controller}


def source_of(config: Config) -> Source:
    """ValueError names the key; OSError: sockets are not permitted."""
    source = config["source"]
    if source["kind"] == "interface":
        try:
            return InterfaceSource(source["interface"], source["direction"], source["latency"], source["targets"])
        except ValueError as error:
            raise ValueError(f"source.{error}") from None
    try:
        layout = Layout(source["columns"], source["units"], timezone=source["timezone"])
    except ValueError as error:
        raise ValueError(f"source.{error}") from None
    if source["kind"] == "file":
        return FileSource(source["path"], layout, source["from_start"])
    return StdinSource(layout)


def rule_of(config: Config) -> RateRule:
    """From allocations to rates."""
    shaper = config["shaper"]
    names = ("most_changes", "least_change", "lower_after_s", "full", "raise_by")
    return RateRule(most_mbps(config), RateOptions(**{name: shaper[name] for name in names}))


def shaper_options(config: Config) -> ShaperOptions | None:
    """What is to be set; None: nothing."""
    shaper = config["shaper"]
    if config.top["dry_run"] or shaper["kind"] == "none":
        return None
    return ShaperOptions(
        interface=shaper["interface"] or config["source"]["interface"],
        kind=shaper["kind"],
        leaf=shaper["leaf"],
        most_mbps=most_mbps(config),
        tc=shaper["tc"],
        timeout_s=shaper["timeout_s"],
        state_dir=Path(shaper["state_dir"]),
    )


def shaper_of(config: Config) -> Applied:
    """What sets the rates, or does not."""
    options = shaper_options(config)
    return DryShaper() if options is None else Shaper(options)


def most_mbps(config: Config) -> float:
    """The highest rate that can be set."""
    share: Any = config.controller.get("most_fraction", SAFE_MOST)
    return float(config.top["capacity_mbps"]) * float(share)


def sinks_of(config: Config, session: Session) -> list[Sink]:
    """Raises OSError: the log can't be written, or the port is taken; ImportError names the extra that is missing."""
    log, metrics = config["log"], config["metrics"]
    sinks: list[Sink] = []
    try:
        if log["path"] is not None:
            sinks.append(DecisionLog(log["path"], session.header, round(log["most_mb"] * 2**20), log["keep"]))
        if metrics["port"] is not None:
            sinks.append(_prometheus(session, metrics["port"], metrics["address"]))
        if metrics["otel"]:
            sinks.append(_otel(session))
    except (OSError, ImportError):
        for sink in sinks:
            sink.close()
        raise
    return sinks


def _prometheus(session: Session, port: int, address: str) -> Sink:
    try:
        from linkcast.live.exporters.prometheus import PrometheusSink
    except ImportError:
        raise ImportError(f"metrics.port needs prometheus-client: {install('metrics')}") from None
    sink = PrometheusSink(session.header())
    try:
        sink.serve(port, address)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"metrics.port: {address}:{port}") from None
    return sink


def _otel(session: Session) -> Sink:
    try:
        from linkcast.live.exporters.otel import OpenTelemetrySink
    except ImportError:
        raise ImportError(f"metrics.otel needs OpenTelemetry: {install('otel')}") from None
    return OpenTelemetrySink(session.header())
