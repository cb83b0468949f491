"""Where telemetry comes from: the kernel, echo replies, files that grow, standard input, callbacks."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

import pytest

from linkcast.live.sources import CallbackSource, FileSource, InterfaceSource, Sample, Source, StdinSource
from linkcast.live.sources.lines import LineReader
from linkcast.live.sources.netlink import Connections, Interfaces
from linkcast.live.sources.ping import Pings, checksum
from linkcast.traces import Layout

HEADER = "timestamp,bandwidth_mbps,latency_ms\n"


def rates(source: Source) -> list[float]:
    return [sample.values["bandwidth_mbps"] for sample in source.poll()]


def append(path: Path, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def test_a_file_is_followed_from_its_end_on(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEADER + "1700000000,10,20\n", encoding="utf-8")
    source = FileSource(path)
    assert rates(source) == []
    append(path, "1700000001,11,21\n1700000002,12,22\n")
    samples = list(source.poll())
    assert [sample.at_s for sample in samples] == [1700000001.0, 1700000002.0]
    assert samples[1].values == {"bandwidth_mbps": 12.0, "latency_ms": 22.0}


def test_a_file_can_be_read_from_its_start(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEADER + "1700000000,10,20\n", encoding="utf-8")
    assert rates(FileSource(path, from_start=True)) == [10.0]


def test_half_a_line_waits_for_its_end(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEADER + "1700000000,1", encoding="utf-8")
    source = FileSource(path)
    assert rates(source) == []
    append(path, "3,20\n")
    assert rates(source) == [13.0]


def test_a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_start(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEADER, encoding="utf-8")
    source = FileSource(path)
    append(path, "1700000001,11,21\n")
    path.rename(tmp_path / "probes.csv.1")
    append(tmp_path / "probes.csv.1", "1700000002,12,22\n")
    path.write_text("bandwidth_kbps\n13000\n", encoding="utf-8")  # with columns of its own
    assert rates(source) == [11.0, 12.0, 13.0]
    append(path, "14000\n")
    assert rates(source) == [14.0]


def test_between_rotation_and_the_new_file_the_source_says_that_there_is_none(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEADER, encoding="utf-8")
    source = FileSource(path)
    path.rename(tmp_path / "old.csv")
    assert rates(source) == []
    assert source.trouble == "probes.csv: No such file or directory"
    path.write_text(HEADER + "1700000003,13,20\n", encoding="utf-8")
    assert rates(source) == [13.0]
    assert source.trouble is None


def test_a_truncated_file_is_read_from_its_start(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEADER + "1700000000,10,20\n" * 3, encoding="utf-8")
    source = FileSource(path)
    assert rates(source) == []
    path.write_text(HEADER + "1700000009,19,20\n", encoding="utf-8")
    assert rates(source) == [19.0]


def test_a_file_may_come_later(tmp_path):
    path = tmp_path / "probes.csv"
    source = FileSource(path)
    assert rates(source) == []
    assert source.trouble == "probes.csv: No such file or directory"
    path.write_text(HEADER + "1700000000,10,20\n", encoding="utf-8")
    assert rates(source) == [10.0]


def test_a_line_that_is_no_telemetry_is_counted_and_named(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEADER, encoding="utf-8")
    source = FileSource(path)
    append(path, "1700000001,eleven,21\n1700000002\n")
    assert rates(source) == []
    assert source.trouble == "probes.csv: line 3: expected 3 cells, got 1 (2 so far)"
    append(path, "1700000003,13,21\n")
    assert rates(source) == [13.0]
    assert source.trouble is None


def test_lines_without_an_end_do_not_fill_the_memory(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEADER, encoding="utf-8")
    source = FileSource(path)
    append(path, "x" * 200_000)
    assert rates(source) == []
    assert "expected lines of at most 65536 bytes" in str(source.trouble)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["rtt_ms;dl_mbps;loss_percent", "20;12.5;1"],
            {"latency_ms": 20.0, "bandwidth_mbps": 12.5, "packet_loss": 0.01},
        ),
        (['{"bandwidth_kbps": 9000, "latency_ms": null}'], {"bandwidth_mbps": 9.0}),
        (['{"bandwidth_mbps": 9, "wan": {"rtt_ms": 3}}'], {"bandwidth_mbps": 9.0}),
        (["# a comment", "", "bandwidth_mbps", "20.1 Mb/s"], {"bandwidth_mbps": 20.1}),
        (
            ["bandwidth_mbps,reliability", "bandwidth_mbps,reliability", "7,0.99"],
            {"bandwidth_mbps": 7.0, "reliability": 0.99},
        ),
    ],
)
def test_lines_are_read_as_a_trace_s_columns_are(lines, expected):
    reader = LineReader()
    samples = [sample for line in lines if (sample := reader.read(line)) is not None]
    assert [dict(sample.values) for sample in samples] == [pytest.approx(expected)]


def test_a_layout_says_other_columns_units_and_what_stands_for_no_value():
    layout = Layout({"bandwidth_mbps": "up", "packet_loss": 0.25}, {"bandwidth_mbps": "kbit/s"}, missing=-1)
    reader = LineReader(layout)
    assert reader.read("up,rtt_ms") is None
    sample = reader.read("5000,-1")
    assert sample is not None
    assert sample.values == {"bandwidth_mbps": 5.0, "packet_loss": 0.25}


def test_a_time_with_an_offset_is_that_moment():
    reader = LineReader()
    reader.read("timestamp,bandwidth_mbps")
    sample = reader.read("2026-03-02T18:00:00+05:00,1")
    assert sample is not None
    assert sample.at_s == 1772456400.0  # 2026-03-02T13:00:00Z


@pytest.mark.parametrize(
    "layout", [Layout(step_s=1.0), Layout(where={"a": ["b"]}), Layout(units={"bandwidth_mbps": "bytes"})]
)
def test_what_needs_a_whole_file_is_refused_for_one_that_grows(layout):
    with pytest.raises(ValueError, match="expected"):
        LineReader(layout)


def test_standard_input_is_read_as_it_comes_and_ends():
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as stream:
        source = StdinSource(stream=stream)
        assert (rates(source), source.ended) == ([], False)
        os.write(write, b"bandwidth_mbps\n10\n11")
        assert rates(source) == [10.0]
        os.write(write, b"\n12")
        assert rates(source) == [11.0]
        os.close(write)
        assert (rates(source), source.ended) == ([12.0], True)


def test_a_callback_is_called_once_a_poll_and_its_errors_are_told():
    values = iter([{"bandwidth_mbps": 1.0}, None, Sample({"bandwidth_mbps": 3.0}, 5.0)])
    source = CallbackSource(lambda: next(values))
    assert [rates(source) for _ in range(3)] == [[1.0], [], [3.0]]
    assert rates(source) == []
    assert source.trouble == "callback: StopIteration: "


def test_samples_can_be_put_in_from_elsewhere():
    source = CallbackSource(name="modem")
    source.put({"bandwidth_mbps": 1.0})
    source.put({"bandwidth_mbps": 2.0}, at_s=7.0)
    source.end()
    assert (rates(source), source.ended) == ([1.0, 2.0], True)


def test_counters_are_those_of_proc():
    def of_proc() -> tuple[int, int]:
        line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
        columns = [int(word) for word in line.split(":")[1].split()]
        return columns[0], columns[8]

    interfaces = Interfaces()
    for _ in range(50):  # other programs use the loopback, too
        before, counters, after = of_proc(), interfaces.counters("lo"), of_proc()
        if before == after:
            break
    assert (counters.received_bytes, counters.sent_bytes) == before
    assert counters.index == socket.if_nametoindex("lo")
    assert "127.0.0.1" in interfaces.addresses(counters.index)
    interfaces.close()


def test_an_interface_that_is_not_there_is_told_and_waited_for():
    source = InterfaceSource("nosuch0", latency="none")
    assert list(source.poll()) == []
    assert source.trouble == "nosuch0: No such device"
    source.close()


@pytest.fixture
def connection():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            yield near, far


def test_tcp_info_of_a_connection_counts_what_it_has_acknowledged(connection):
    near, far = connection
    near.sendall(bytes(50_000))
    received = 0
    while received < 50_000:
        received += len(far.recv(65536))
    while struct.unpack_from("=Q", near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232), 120)[0] < 50_000:
        time.sleep(0.01)
    connections = Connections()
    # The kernel's own account of the same socket: TCP_INFO by getsockopt.
    told = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    acknowledged, rtt_us = struct.unpack_from("=Q", told, 120)[0], struct.unpack_from("=I", told, 68)[0]
    found = [one for one in connections.all() if one.acknowledged == acknowledged and one.rtt_ms == rtt_us / 1e3]
    assert len(found) == 1
    assert (found[0].local, found[0].retransmitted) == ("127.0.0.1", 0)
    assert acknowledged >= 50_000
    connections.close()


def test_an_interface_s_rate_is_what_was_sent_and_its_round_trip_that_of_tcp(connection):
    near, far = connection
    now_s = [0.0]
    source = InterfaceSource("lo", clock=lambda: now_s[0])
    assert list(source.poll()) == []
    sent = 0
    while sent < 2_000_000:
        sent += near.send(bytes(65536))
        far.recv(1 << 20)
    now_s[0] = 2.0
    (sample,) = source.poll()
    least = sent * 8e-6 / 2.0
    # Headers come on top, and acknowledgements, which the loopback counts as sent as well; and others may use it.
    assert least <= sample.values["bandwidth_mbps"] < 3 * least
    assert 0.0 < sample.values["latency_ms"] < 1000.0
    assert sample.values["reliability"] == 1.0
    now_s[0] = 3.0
    (idle,) = source.poll()
    assert idle.values["bandwidth_mbps"] < sample.values["bandwidth_mbps"]
    source.close()


def test_the_checksum_is_that_of_the_rfc():
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # RFC 1071, section 3: the sum is ddf2


def test_pings_measure_round_trips_and_no_loss():
    try:
        pings = Pings(["127.0.0.1", "127.0.0.2"])
    except PermissionError as error:
        pytest.skip(str(error))
    assert pings.poll() == (None, None)
    for _ in range(100):
        time.sleep(0.02)
        rtt_ms, loss = pings.poll()
        if rtt_ms is not None:
            break
    assert rtt_ms is not None
    assert 0.0 <= rtt_ms < 1000.0
    assert loss == 0.0
    assert pings.trouble is None
    pings.close()


def test_a_reflector_that_is_silent_says_nothing_about_the_link():
    try:
        pings = Pings(["127.0.0.1", "127.0.0.3"])
    except PermissionError as error:
        pytest.skip(str(error))
    silent = pings._targets[1]
    silent.answered.extend([False] * 10)
    assert silent.silent
    pings._targets[0].answered.extend([True] * 10)
    assert pings.poll()[1] == 0.0
    pings.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "up"}, "direction: expected one of sent, received, got 'up'"),
        ({"latency": "icmp"}, "latency: expected one of auto, tcp, ping, none, got 'icmp'"),
        ({"latency": "ping"}, "targets: expected one reflector or more for latency 'ping', got none"),
        ({"targets": ["x" * 70]}, "targets: expected names"),
    ],
)
def test_a_wrong_option_of_an_interface_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InterfaceSource("lo", **options)
