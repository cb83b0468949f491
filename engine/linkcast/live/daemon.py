"""`linkcast run`: a config to a running loop, its signals, and an end that leaves the interface as it was.

SIGTERM and SIGINT restore and end; SIGHUP reads config and models again and goes on with the old ones where anything is
wrong; SIGUSR1 prints the state as one line of JSON.
"""

from __future__ import annotations

import json
import math
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from linkcast.features import TELEMETRY
from linkcast.live import tc
from linkcast.live.build import engine_of, options_of, rule_of, shaper_of, shaper_options, sinks_of, source_of
from linkcast.live.clock import NS, Clock, SystemClock
from linkcast.live.config import Config, read_config
from linkcast.live.health import Health
from linkcast.live.intake import Intake
from linkcast.live.keys import KEYS
from linkcast.live.loop import Loop
from linkcast.live.notify import Notifier
from linkcast.live.record import Sink, Tick
from linkcast.live.session import Session
from linkcast.live.shaper import warning_of
from linkcast.live.sources.sample import Source
from linkcast.live.words import status_of

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

FIXED = {
    "": ("profile", "tick_s", "link", "late_s"),
    "shaper": ("state_dir",),
    "log": tuple(KEYS["log"]),
    "metrics": tuple(KEYS["metrics"]),
}
"""Keys that a reload cannot change: by section."""


def _to_stderr(line: str) -> None:
    with suppress(OSError):  # nobody listens any more: no reason to stop
        print(f"linkcast: {line}", file=sys.stderr, flush=True)


class Daemon:
    """One link under control, as a config says it.

    Args:
        config: checked.
        source: telemetry of a program's own instead of the config's source.
        sinks: that are told of each tick, beside those of the config.
        clock: another one, for tests; then signals are left alone.
        say: takes a line for people.
    Raises:
        ValueError: an option that the engine refuses, or a source that cannot be; the text names the key.
        OSError: a log that cannot be written, or sockets that are not permitted.
    """

    def __init__(
        self,
        config: Config,
        source: Source | None = None,
        sinks: tuple[Sink, ...] = (),
        clock: Clock | None = None,
        say: Callable[[str], None] = _to_stderr,
    ) -> None:
        self.config = config
        self._say = say
        self._own_source = source is not None
        self._own_sinks = list(sinks)
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._signals = clock is None
        self._clock = clock or SystemClock(self._woken.fileno())
        self._notifier = Notifier()
        self.health = Health(config.top["dry_run"])
        self.reloads = 0
        self._said: tuple[str, str | None] = ("", None)
        self._said_rate: float | None = None
        self._said_ns = 0
        engine, shadow = engine_of(config)
        self._session = Session(config.link, engine, config.top["profile"], shadow=shadow, **dict(config.controller))
        self._session.extra = self._extra()
        spec = self._session.live.spec
        unknown = [name for name in spec["features"] if name not in TELEMETRY]
        if unknown:
            raise ValueError(f"profile: expected a model that reads telemetry, got one that reads {', '.join(unknown)}")
        self.step_s = float(config.top["tick_s"] or spec["step_s"])
        late_s = config.top["late_s"]
        intake = self._intake(source or source_of(config))
        self.loop = Loop(
            self._session,
            intake,
            rule_of(config),
            shaper_of(config),
            [*sinks_of(config, self._session), *self._own_sinks],
            self._clock,
            self.step_s,
            0.1 * self.step_s if late_s is None else late_s,
            self._judge,
            self._between,
            self._notifier.watchdog_s,
        )
        self._late = 0

    def run(self, ticks: int | None = None) -> str | None:
        """Until a signal ends it, its source ends, or so many ticks.

        Returns:
            What could not be restored; None: all was.
        """
        with self._catching():
            for line in (*self._greeting(), *self._leftovers()):
                self._say(line)
            self._notifier.ready()
            try:
                self.loop.run(ticks)
            finally:  # also on an error: the interface is as it was before anything else is said
                self._notifier.stopping()
                trouble = self._close()
        return trouble

    def stop(self) -> None:
        """Ends `run`; from any thread."""
        self.loop.stop()
        self._wake.send(b"\0")

    def state(self) -> dict[str, Any]:
        """What SIGUSR1 prints."""
        loop, session = self.loop, self._session
        last = loop.last
        return {
            "link": session.link,
            "health": self.health.state,
            "health_reason": self.health.reason,
            "health_for_s": (self._clock.monotonic_ns() - self.health.since_ns) / NS,
            "dry_run": self.config.top["dry_run"],
            "config": None if self.config.path is None else str(self.config.path),
            "models": session.live.models_id,
            "reloads": self.reloads,
            "source": loop.intake.source.name,
            "samples": asdict(loop.intake.counts),
            "loop": asdict(loop.counts),
            "controller": session.live.controller.counts,
            "applied_mbps": loop.applied.applied_mbps,
            "last": None if last is None else _summary(last),
        }

    def reload(self) -> str | None:
        """Reads the config and the models again.

        All that can fail is made before anything is changed; what is refused leaves all as it was.

        Returns:
            What was refused; None: nothing.
        """
        if self.config.path is None:
            return "there is no config file to read again"
        made: list[Any] = []
        try:
            config = read_config(self.config.path)
            self._check_fixed(config)
            engine, shadow = engine_of(config)
            source = None
            if not self._own_source and config["source"] != self.config["source"]:
                source = source_of(config)
                made.append(source)
            lost = self._session.reload(engine, shadow=shadow, **options_of(engine, config))
        except (ValueError, RuntimeError, OSError) as error:
            for one in made:
                one.close()
            return str(error)
        self._take_over(config, source)
        self.reloads += 1
        if lost is not None:
            self._say(f"reload: the window begins anew: {lost}")
        return None

    def _take_over(self, config: Config, source: Source | None) -> None:
        """What a reload has made takes the place of what there was."""
        before, self.config = self.config, config
        loop = self.loop
        if source is not None:
            loop.intake.source.close()
            loop.intake = self._intake(source)
        self.health.dry_run = config.top["dry_run"]
        self._session.extra = self._extra()
        if config["shaper"] != before["shaper"] or config.top != before.top or config.controller != before.controller:
            loop.rule = rule_of(config)
            if shaper_options(config) != shaper_options(before):
                trouble = loop.applied.close()
                if trouble:
                    self._say(trouble)
                loop.applied = shaper_of(config)
        header = self._session.header()
        for sink in loop.sinks:
            sink.reloaded(header)

    def _check_fixed(self, config: Config) -> None:
        for section, names in FIXED.items():
            for name in names:
                if config[section][name] != self.config[section][name]:
                    full = f"{section}.{name}" if section else name
                    raise ValueError(
                        f"{full}: expected {self.config[section][name]!r} as before, got {config[section][name]!r}: it "
                        "takes a restart"
                    )

    def _intake(self, source: Source) -> Intake:
        return Intake(source, tuple(self._session.live.spec["features"]), self.step_s, self.config["source"]["late_s"])

    def _extra(self) -> dict[str, Any]:
        return {
            "dry_run": self.config.top["dry_run"],
            "source": dict(self.config["source"]),
            "shaper": self.config["shaper"]["kind"],
        }

    def _judge(self, decision: Any, now_ns: int) -> tuple[str, str | None]:
        loop = self.loop
        if loop.counts.late > self._late:
            self._late = loop.counts.late
            self.health.late(now_ns)
        troubles = [loop.intake.trouble, loop.applied.trouble, loop.sink_error]
        troubles += [sink.trouble for sink in loop.sinks]
        return self.health.judge(decision, troubles, now_ns)

    def _between(self) -> None:
        """After each tick: signals, what people and systemd should know."""
        for number in self._arrived():
            self._handle(number)
        self._notifier.alive()
        if self.loop.last is not None:
            self._tell(self.loop.last)

    def _handle(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.loop.stop()
        elif number == signal.SIGUSR1:
            self._say(json.dumps(_plain(self.state())))
        elif number == signal.SIGHUP:
            self._notifier.reloading(self._clock.monotonic_ns() // 1000)
            refused = self.reload()
            models = self._session.live.models_id
            self._say(f"reload refused: {refused}" if refused else f"reloaded: models {models}")
            self._notifier.ready()

    def _tell(self, tick: Tick) -> None:
        """A line where health or the applied rate has changed, and one a minute."""
        now_ns = self._clock.monotonic_ns()
        status_s = self.config.top["status_s"]
        due = status_s > 0 and now_ns - self._said_ns >= status_s * NS
        rate = self.loop.applied.rate_mbps if self.config["shaper"]["kind"] != "none" else None
        shown = status_of(tick, rate if self.config.top["dry_run"] else None)
        self._notifier.status(shown)
        health = (tick.health, tick.health_reason)
        if health != self._said or rate != self._said_rate or due:
            self._said, self._said_rate, self._said_ns = health, rate, now_ns
            self._say(shown)

    def _greeting(self) -> Iterator[str]:
        top, shaper = self.config.top, self.config["shaper"]
        what = "nothing is applied (dry_run = true)" if top["dry_run"] else f"{shaper['kind']} is set"
        yield (
            f"{self.config.link}: a tick every {self.step_s:g} s, {self.loop.intake.source.name}, "
            f"{top['capacity_mbps']:g} Mbit/s, models {self._session.live.models_id}; {what}"
        )
        warning = warning_of(shaper["kind"])
        if warning is not None:
            yield f"warning: {warning}"

    def _leftovers(self) -> list[str]:
        """A dry run applies nothing: what a killed linkcast has left goes, too."""
        if not self.config.top["dry_run"]:
            return []
        try:
            done = restore_leftovers(self.config, wait_s=0.0)
        except tc.TcError as error:
            return [str(error)]
        return [] if done is None else [done]

    def _close(self) -> str | None:
        trouble = self.loop.applied.close()
        self.health.stop(self._clock.monotonic_ns(), trouble)
        if self.loop.last is not None:
            self.loop.last = replace(self.loop.last, applied_mbps=None, health="stopped", health_reason=trouble)
        for sink in self.loop.sinks:
            sink.close()
        self.loop.intake.source.close()
        counts = self.loop.counts
        self._say(trouble or f"{self.config.link}: stopped after {counts.ticks} ticks, {counts.lost} lost")
        self._notifier.status(trouble or "stopped")
        self._notifier.close()
        return trouble

    def _arrived(self) -> bytes:
        """Numbers of the signals that have come; 0: `stop` was called."""
        try:
            return self._woken.recv(64)
        except BlockingIOError:
            return b""

    @contextmanager
    def _catching(self) -> Iterator[None]:
        """Signals wake the loop, and are handled between two ticks; nothing runs within a handler."""
        if not self._signals:
            yield
            return
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        fd = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd)
            for number, handler in before.items():
                signal.signal(number, handler)


def restore_leftovers(config: Config, wait_s: float = 10.0) -> str | None:
    """Puts back what a linkcast that was killed has left, as its state file says.

    Returns:
        What was done; None: there was nothing.
    Raises:
        TcError: tc failed, or another linkcast is at work there.
    """
    interface = config["shaper"]["interface"] or config["source"]["interface"]
    folder = Path(config["shaper"]["state_dir"])
    if interface is None or not tc.state_path(folder, interface).exists():
        return None
    lock = tc.Lock(tc.lock_path(folder, interface), wait_s)
    try:
        return tc.restore(tc.state_path(folder, interface), config["shaper"]["timeout_s"])
    finally:
        lock.release()


def _summary(tick: Tick) -> dict[str, Any]:
    return {
        "index": tick.index,
        "time_ns": tick.time_ns,
        "sample": None if tick.sample is None else dict(tick.sample),
        "forecast_mbps": tick.forecast.mbps,
        "p10": tick.forecast.p10,
        "p90": tick.forecast.p90,
        "source": tick.forecast.source,
        "allocation_mbps": tick.allocation_mbps,
        "reason": tick.reason,
        "blocked": tick.blocked,
        "latency_us": tick.latency_ns / 1e3,
    }


def _plain(value: Any) -> Any:
    """NaN is null in JSON."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
