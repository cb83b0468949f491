"""A veth pair between two network namespaces, real TCP on it, and the kernel's own HTB. Needs to be root."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MBPS = 24.0

FAR = """
import socket, threading
server = socket.create_server(("10.98.0.2", 5001))
print("listening", flush=True)
def read(connection):
    while connection.recv(1 << 20):
        pass
while True:
    threading.Thread(target=read, args=(server.accept()[0],), daemon=True).start()
"""

SEND = f"""
import socket, time
connection = socket.create_connection(("10.98.0.2", 5001))
start, sent, part = time.monotonic(), 0, bytes(8192)
while True:
    for _ in range(50):
        if sent < {MBPS} * 1e6 / 8 * (time.monotonic() - start):
            sent += connection.send(part)
        else:
            time.sleep(0.002)
    print(time.monotonic(), sent, flush=True)
"""

CONFIG = """
capacity_mbps = 100
dry_run = false
tick_s = 0.1
status_s = 0
[source]
interface = "lc0"
[shaper]
kind = "htb"
state_dir = "{folder}/run"
"""


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def near() -> Iterator[str]:
    """A namespace with lc0, behind which a TCP server listens."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("needs ip and tc (iproute2)")
    if os.geteuid() != 0:
        pytest.skip("needs to be root: network namespaces")
    names = [f"linkcast-{side}-{os.getpid()}" for side in ("near", "far")]
    here, there = names
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("-n", here, "link", "add", "lc0", "type", "veth", "peer", "name", "lc1", "netns", there)
            for name, interface, address in ((here, "lc0", "10.98.0.1/24"), (there, "lc1", "10.98.0.2/24")):
                ip("-n", name, "addr", "add", address, "dev", interface)
                ip("-n", name, "link", "set", interface, "up")
            ip("netns", "exec", here, "tc", "qdisc", "add", "dev", "lc0", "root", "handle", "9:", "htb")
            ip("netns", "exec", here, "tc", "qdisc", "del", "dev", "lc0", "root")
        except OSError as error:
            pytest.skip(f"not permitted here: {error}")
        with running(there, "-c", FAR) as far:
            assert far.stdout is not None
            far.stdout.readline()
            yield here
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextlib.contextmanager
def running(namespace: str, *arguments: str, stderr: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Python in a namespace, killed at the end."""
    command = ["ip", "netns", "exec", namespace, sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def root_of(namespace: str) -> str:
    command = ["ip", "netns", "exec", namespace, "tc", "qdisc", "show", "dev", "lc0"]
    return subprocess.check_output(command, text=True).splitlines()[0].split(" root")[0]


def test_the_rate_that_watch_shows_is_the_sender_s_within_5_percent(near: str) -> None:
    with running(near, "-c", SEND) as sender:
        assert sender.stdout is not None
        begin = [float(word) for word in sender.stdout.readline().split()]
        watching = ["-m", "linkcast", "watch", "lc0", "--capacity", "100", "--tick", "0.25", "--ticks", "9", "--json"]
        with running(near, *watching) as watch:
            assert watch.stdout is not None
            ticks = [json.loads(line) for line in watch.stdout]
        lines = [sender.stdout.readline()]
        while float(lines[-1].split()[0]) < ticks[-1]["monotonic_ns"] / 1e9:
            lines.append(sender.stdout.readline())
    end = [float(word) for word in lines[-1].split()]
    sent_mbps = (end[1] - begin[1]) * 8e-6 / (end[0] - begin[0])
    rates = [tick["sample"]["bandwidth_mbps"] for tick in ticks if tick["sample"]]
    assert len(rates) >= 8
    assert sum(rates) / len(rates) == pytest.approx(sent_mbps, rel=0.05)
    assert all(0.0 < tick["sample"]["latency_ms"] < 1000.0 for tick in ticks if tick["sample"])  # of TCP_INFO


def test_run_shapes_the_interface_and_a_kill_restores_it(near: str, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    before = root_of(near)
    with running(near, "-c", SEND), running(near, "-m", "linkcast", "run", str(config), stderr=subprocess.PIPE) as run:
        assert run.stderr is not None
        lines = []
        for line in run.stderr:
            lines.append(line)
            if line.startswith("linkcast: live") and " set" in line:
                break
        assert root_of(near) == "qdisc htb 4c43:", lines
        run.send_signal(signal.SIGKILL)
        end = time.monotonic() + 20
        while root_of(near) != before:
            assert time.monotonic() < end
            time.sleep(0.05)
