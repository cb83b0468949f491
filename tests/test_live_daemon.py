"""The daemon: signals, reload, what it tells systemd, and an end that leaves all as it was."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from linkcast.live.config import check_config, read_config
from linkcast.live.daemon import Daemon, restore_leftovers
from linkcast.live.notify import Notifier
from live_parts import FakeClock, FakeTc, Ticks, ToldSource, measured

CONFIG = """
capacity_mbps = 100
dry_run = {dry_run}
tick_s = {tick_s}
status_s = 0
link = "wan"
[source]
kind = "file"
path = "{folder}/probes.csv"
[shaper]
kind = "htb"
interface = "lo"
tc = "{folder}/tc"
state_dir = "{folder}/run"
[log]
path = "{folder}/decisions.jsonl"
"""


@pytest.fixture
def fake(tmp_path: Path) -> FakeTc:
    return FakeTc(tmp_path)


def written(folder: Path, dry_run: str = "false", tick_s: float = 1.0, more: str = "") -> Path:
    path = folder / "run.toml"
    path.write_text(CONFIG.format(dry_run=dry_run, tick_s=tick_s, folder=folder) + more, encoding="utf-8")
    return path


def dry(tmp_path: Path, polls: list, **options) -> tuple[Daemon, Ticks, list[str]]:
    said: list[str] = []
    sink = Ticks()
    config = read_config(written(tmp_path, "true"))
    return Daemon(config, ToldSource(polls), (sink,), FakeClock(), said.append, **options), sink, said


def steady(ticks: int) -> list:
    return [[measured(20.0 + tick % 3)] for tick in range(ticks)]


def test_a_dry_run_decides_and_logs_and_calls_no_tc(fake, tmp_path):
    daemon, sink, said = dry(tmp_path, steady(20))
    assert daemon.run(20) is None
    assert len(sink.ticks) == 20
    assert sink.closed
    assert fake.calls == []
    assert {tick.applied_mbps for tick in sink.ticks} == {None}
    assert said[0] == (
        f"wan: a tick every 1 s, told, 100 Mbit/s, models {sink.ticks[0].models}; nothing is applied (dry_run = true)"
    )
    assert said[-1] == "wan: stopped after 20 ticks, 0 lost"
    assert any(line.startswith("dry_run: ") and " would be set; next " in line for line in said)
    lines = (tmp_path / "decisions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["header"] + ["tick"] * 20


def test_the_state_says_what_it_does_and_how_it_is(fake, tmp_path):
    daemon, _, _ = dry(tmp_path, steady(12))
    daemon.loop.run(12)
    state = daemon.state()
    assert (state["health"], state["dry_run"], state["loop"]["ticks"], state["loop"]["lost"]) == (
        "dry_run",
        True,
        12,
        0,
    )
    assert state["last"]["source"] == "mixture"
    assert state["samples"]["taken"] == 12
    daemon.run(0)
    assert daemon.state()["health"] == "stopped"


def test_a_reload_takes_other_options_and_goes_on(fake, tmp_path):
    daemon, sink, _ = dry(tmp_path, steady(40))
    daemon.loop.run(20)
    written(tmp_path, "true", more="[controller]\nleast_fraction = 0.6\n")
    assert daemon.reload() is None
    daemon.loop.run(5)
    assert daemon.reloads == 1
    assert len(sink.headers) == 1
    assert sink.ticks[20].forecast.source == "mixture"  # what was learnt is carried over
    assert sink.ticks[24].allocation_fraction == 0.6
    written(tmp_path, "true")
    assert daemon.reload() is None
    daemon.loop.run(5)
    assert sink.ticks[-1].allocation_fraction < 0.6  # a key that is gone has its default again
    daemon.run(0)


def test_a_reload_goes_live_and_back_to_a_dry_run_and_restores(fake, tmp_path):
    daemon, sink, _ = dry(tmp_path, steady(30))
    daemon.loop.run(12)
    written(tmp_path, "false")
    assert daemon.reload() is None
    daemon.loop.run(1)
    end = time.monotonic() + 20
    while daemon.loop.applied.applied_mbps is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    daemon.loop.run(1)
    assert fake.get("root") == "htb 4c43:"
    assert (sink.ticks[-1].health, sink.ticks[-1].applied_mbps) == ("live", daemon.loop.applied.applied_mbps)
    written(tmp_path, "true")
    assert daemon.reload() is None
    assert fake.get("root") is None
    daemon.run(1)
    assert sink.ticks[-1].health == "dry_run"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[controller]\nrisk = 2\n", "controller.risk: expected a number from 0 to 0.999, got 2"),
        ("[controller]\nleast_fraction = 0.9\nmost_fraction = 0.5\n", "most_fraction: expected"),
        ("[shadow]\nmodels = '/no/such/folder'\n", "/no/such/folder"),
        ("KEY", "no.pub"),
    ],
)
def test_a_reload_that_is_wrong_leaves_all_as_it_was(fake, tmp_path, change, message):
    daemon, sink, _ = dry(tmp_path, steady(40))
    daemon.loop.run(20)
    before = daemon.config
    path = written(tmp_path, "true", more=change if change != "KEY" else "")
    if change == "KEY":  # which nobody has signed with
        path.write_text("public_key = 'no.pub'\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert message in str(daemon.reload())
    assert daemon.config is before
    daemon.loop.run(5)
    assert sink.ticks[-1].forecast.source == "mixture"
    assert sink.headers == []
    daemon.run(0)


def test_what_takes_a_restart_is_refused_by_name(fake, tmp_path):
    daemon, _, _ = dry(tmp_path, steady(2))
    written(tmp_path, "true", tick_s=2.0)
    assert str(daemon.reload()).startswith("tick_s: expected 1.0 as before, got 2.0")
    daemon.run(0)


def test_a_program_s_own_source_needs_no_file(engine, tmp_path):
    config = check_config({"capacity_mbps": 100, "link": "modem", "source": {"kind": "stdin"}})
    sink = Ticks()
    Daemon(config, ToldSource(steady(5)), (sink,), FakeClock(), lambda _: None).run(5)
    assert [tick.link for tick in sink.ticks] == ["modem"] * 5


def test_a_shadow_of_the_config_sees_the_same_and_never_acts(fake, engine, tmp_path):
    written(tmp_path, "true", more=f"[shadow]\nmodels = '{engine.folder}'\n")
    sink = Ticks()
    config = read_config(tmp_path / "run.toml")
    Daemon(config, ToldSource(steady(12)), (sink,), FakeClock(), lambda _: None).run(12)
    last = sink.ticks[-1]
    assert last.shadow is not None
    assert last.shadow.forecast.mbps == last.forecast.mbps


def test_metrics_are_served_while_it_runs(fake, tmp_path):
    prometheus = pytest.importorskip("prometheus_client")
    assert prometheus
    from urllib.request import urlopen

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    written(tmp_path, "true", more=f"[metrics]\nport = {port}\n")
    config = read_config(tmp_path / "run.toml")
    daemon = Daemon(config, ToldSource(steady(12)), (), FakeClock(), lambda _: None)
    daemon.loop.run(12)
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    assert 'linkcast_ticks_total{link="wan"} 12.0' in text
    daemon.run(0)


class Service:
    """`linkcast run` as a process of its own."""

    def __init__(self, folder: Path, config: Path, **environment: str) -> None:
        (folder / "probes.csv").write_text("bandwidth_mbps,latency_ms\n", encoding="utf-8")
        self._log = folder / "stderr.txt"
        self._folder = folder
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "linkcast", "run", str(config)], stderr=log, env={**os.environ, **environment}
            )

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def feed(self, mbps: float) -> None:
        with open(self._folder / "probes.csv", "a", encoding="utf-8") as file:
            file.write(f"{mbps},20\n")

    def wait_for(self, text: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while text not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, f"{text!r} is not in {self.said}"
            self.feed(20.0)
            time.sleep(0.02)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def service(fake, tmp_path):
    started = []

    def start(config: Path, **environment: str) -> Service:
        started.append(Service(tmp_path, config, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_signals_reload_print_the_state_restore_and_end(service, fake, tmp_path):
    config = written(tmp_path, tick_s=0.05)
    one = service(config)
    one.wait_for("Mbit/s allocated")
    one.wait_for(" set;")
    assert fake.get("root") == "htb 4c43:"
    one.process.send_signal(signal.SIGUSR1)
    one.wait_for('"health": ')
    config.write_text(config.read_text(encoding="utf-8") + "[controler]\n", encoding="utf-8")
    one.process.send_signal(signal.SIGHUP)
    one.wait_for("reload refused: run.toml: controler: unknown; is it controller?")
    written(tmp_path, tick_s=0.05, more="[controller]\nrisk = 0.1\n")
    one.process.send_signal(signal.SIGHUP)
    one.wait_for("reloaded: models")
    assert one.end() == 0
    assert fake.get("root") is None
    assert ", 0 lost" in one.said


def test_after_a_kill_the_guard_restores_and_says_so(service, fake, tmp_path):
    config = written(tmp_path, tick_s=0.05)
    one = service(config)
    one.wait_for(" set;")
    one.end(signal.SIGKILL)
    end = time.monotonic() + 20
    while "linkcast guard: lo: restored" not in one.said:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert fake.get("root") is None


def test_leftovers_are_restored_by_command_and_by_a_dry_run(fake, tmp_path):
    from linkcast.live import tc

    settings = read_config(written(tmp_path, "true"))
    assert restore_leftovers(settings) is None
    (tmp_path / "run").mkdir()
    for restoring in (lambda: restore_leftovers(settings), lambda: dry(tmp_path, [])[0].run(0)):
        fake.set("root", "htb 4c43:")
        tc.write_state(tc.state_path(tmp_path / "run", "lo"), tc.this_state("lo", "htb", str(fake.path)))
        restoring()
        assert fake.get("root") is None


def test_systemd_is_told_of_readiness_status_and_the_end(service, fake, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(30)
        one = service(written(tmp_path, "true", tick_s=0.05), NOTIFY_SOCKET=str(path), WATCHDOG_USEC="2000000")
        got: list[str] = []
        while not {"READY=1", "WATCHDOG=1"} <= set(got) or not any(word.startswith("STATUS=") for word in got):
            got.append(manager.recv(4096).decode())
        assert one.end() == 0
        manager.setblocking(False)
        try:
            while True:
                got.append(manager.recv(4096).decode())
        except BlockingIOError:
            pass
    assert "STOPPING=1" in got
    assert got[-1] == "STATUS=stopped"


def test_without_systemd_nothing_is_told():
    notifier = Notifier({})
    notifier.ready()
    notifier.alive()
    assert notifier.watchdog_s is None
    assert Notifier({"WATCHDOG_USEC": "4000000"}).watchdog_s == 2.0
    assert Notifier({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}).watchdog_s is None


def test_the_command_checks_a_file_and_says_what_is_wrong(tmp_path, fake):
    config = written(tmp_path, "true")
    command = [sys.executable, "-m", "linkcast", "run", str(config), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "linkcast: run.toml: is right; dry_run = true\n")
    config.write_text("capacity_mbps = 1\n[sorce]\n", encoding="utf-8")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "linkcast: run.toml: sorce: unknown; is it source?\n")
