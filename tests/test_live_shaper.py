"""A queueing discipline of ours: made, changed in place, restored. With a tc that only remembers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from linkcast.live import tc
from linkcast.live.shaper import Discipline, DryShaper, Shaper, ShaperOptions, warning_of
from linkcast.live.tc import NotOwnedError, TcError
from live_parts import FakeTc


@pytest.fixture
def fake(tmp_path: Path) -> FakeTc:
    return FakeTc(tmp_path)


@pytest.fixture
def options(fake: FakeTc, tmp_path: Path) -> ShaperOptions:
    folder = tmp_path / "run"
    return ShaperOptions("lo", most_mbps=50.0, tc=str(fake.path), state_dir=folder, guarded=False, timeout_s=5.0)


def wait_for(holds: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def kept(options: ShaperOptions) -> Path:
    return tc.state_path(options.state_dir, options.interface)


def test_htb_is_made_once_and_changed_in_place(fake, options):
    discipline = Discipline(options)
    for mbps in (20.0, 30.0, 12.5):
        discipline.set_rate(mbps)
    assert (fake.get("root"), fake.get("rate")) == ("htb 4c43:", "12500kbit")
    assert fake.get("leaf") == "pfifo 4c44: limit 206"  # 50 ms of 50 Mbit/s are 206 packets of 1514 bytes
    assert [call.split()[:2] for call in fake.changes] == [
        ["qdisc", "add"],
        ["class", "add"],
        ["qdisc", "add"],  # fq_codel, which this kernel does not have
        ["qdisc", "add"],
        ["class", "change"],
        ["class", "change"],
    ]
    discipline.restore()
    assert fake.get("root") is None
    assert not kept(options).exists()


def test_cake_is_changed_in_place_and_never_made_anew(fake, options):
    discipline = Discipline(replace(options, kind="cake"))
    discipline.set_rate(20.0)
    discipline.set_rate(30.0)
    assert (fake.get("root"), fake.get("rate")) == ("cake 4c43:", "30000kbit")
    assert fake.changes[1] == "qdisc change dev lo root handle 4c43: cake bandwidth 30000kbit"


def test_the_leaf_is_fq_codel_where_the_kernel_has_it(fake, options):
    fake.set("has_fq_codel")
    Discipline(options).set_rate(20.0)
    assert fake.get("leaf") == "fq_codel 4c44:"


def test_a_leaf_that_was_asked_for_and_is_not_there_is_an_error_and_leaves_nothing_behind(fake, options):
    with pytest.raises(TcError, match="fq_codel: Error: Specified qdisc kind is unknown"):
        Discipline(replace(options, leaf="fq_codel")).set_rate(20.0)
    assert fake.get("root") is None


@pytest.mark.parametrize("root", ["htb 1:", "fq_codel 8001:", "cake 4c43:", "htb 4c43:"])
def test_what_somebody_else_has_made_is_never_touched(fake, options, root):
    fake.set("root", root)  # with our handle, too: there is no state file
    discipline = Discipline(options)
    with pytest.raises(NotOwnedError, match="which linkcast did not make"):
        discipline.set_rate(20.0)
    discipline.restore()
    assert fake.get("root") == root
    assert fake.changes == []


def test_one_that_is_replaced_under_way_is_left_alone_from_then_on(fake, options):
    discipline = Discipline(options)
    discipline.set_rate(20.0)
    fake.set("root", "cake 8002:")
    before = len(fake.changes)
    with pytest.raises(NotOwnedError):
        discipline.set_rate(30.0)
    discipline.restore()
    assert fake.get("root") == "cake 8002:"
    assert fake.changes[before:] == [call for call in fake.changes[before:] if call.startswith("class change")]


def test_one_that_was_deleted_under_way_is_made_again(fake, options):
    discipline = Discipline(options)
    discipline.set_rate(20.0)
    for name in ("root", "rate", "leaf"):
        fake.clear(name)
    discipline.set_rate(30.0)
    assert (fake.get("root"), fake.get("rate")) == ("htb 4c43:", "30000kbit")


def test_one_that_is_damaged_is_made_anew(fake, options):
    discipline = Discipline(options)
    discipline.set_rate(20.0)
    fake.clear("rate")  # its class
    discipline.set_rate(30.0)
    assert fake.get("rate") == "30000kbit"


def test_half_of_it_is_taken_away_again(fake, options):
    fake.set("no_class")
    with pytest.raises(TcError, match="Out of memory"):
        Discipline(options).set_rate(20.0)
    assert fake.get("root") is None


def test_what_a_killed_one_has_left_is_gone_on_with(fake, options):
    first = Discipline(options)
    first.set_rate(20.0)
    assert first._lock is not None
    first._lock.release()  # as the kernel does when a process ends
    second = Discipline(options)
    second.set_rate(30.0)
    assert second.resumed
    assert [call for call in fake.changes if call.startswith("qdisc add dev lo root")] == fake.changes[:1]
    second.restore()
    assert fake.get("root") is None


def test_another_kind_than_what_was_left_takes_its_place(fake, options):
    first = Discipline(options)
    first.set_rate(20.0)
    assert first._lock is not None
    first._lock.release()
    Discipline(replace(options, kind="cake")).set_rate(30.0)
    assert (fake.get("root"), fake.get("rate")) == ("cake 4c43:", "30000kbit")


@pytest.mark.parametrize(("field", "value"), [("boot", "another"), ("index", 999), ("namespace", 1), ("kind", "cake")])
def test_a_state_file_of_another_boot_namespace_or_interface_proves_nothing(fake, options, field, value):
    fake.set("root", "htb 4c43:")
    options.state_dir.mkdir()
    state = replace(tc.this_state("lo", "htb", str(fake.path)), **{field: value})
    tc.write_state(kept(options), state)
    with pytest.raises(NotOwnedError):
        Discipline(options).set_rate(20.0)
    tc.restore(kept(options))
    assert fake.get("root") == "htb 4c43:"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "interface": "lo"}'])
def test_a_damaged_state_file_is_none(fake, options, text):
    options.state_dir.mkdir()
    kept(options).write_text(text, encoding="utf-8")
    assert tc.read_state(kept(options)) is None


def test_two_of_them_never_share_an_interface(fake, options):
    Discipline(options).set_rate(20.0)
    with pytest.raises(TcError, match="another linkcast has this interface"):
        tc.Lock(tc.lock_path(options.state_dir, "lo"), wait_s=0.0)


def test_a_tc_that_is_not_there_and_one_that_hangs_are_told(fake, options):
    with pytest.raises(TcError, match="no_such_tc qdisc show dev lo: No such file or directory"):
        Discipline(replace(options, tc="/no_such_tc")).set_rate(20.0)
    fake.set("hangs")
    with pytest.raises(TcError, match=r"no answer within 0.2 s"):
        tc.run(str(fake.path), "qdisc", "show", "dev", "lo", timeout_s=0.2)


def test_a_shaper_tries_a_failed_change_again_and_says_so_meanwhile(fake, options, monkeypatch):
    monkeypatch.setattr("linkcast.live.shaper.RETRY_S", 0.05)
    shaper = Shaper(options)
    shaper.want(20.0)
    wait_for(lambda: shaper.applied_mbps == 20.0)
    fake.set("broken")
    shaper.want(30.0)
    wait_for(lambda: shaper.failures >= 2)
    assert shaper.blocked == "apply_failed"
    assert "Device or resource busy" in str(shaper.trouble)
    assert shaper.applied_mbps == 20.0  # which is what the interface still has
    shaper.want(35.0)
    fake.clear("broken")
    wait_for(lambda: shaper.applied_mbps == 35.0)
    assert (shaper.trouble, shaper.blocked) == (None, None)
    assert shaper.close() is None
    assert fake.get("root") is None


def test_a_shaper_that_cannot_restore_says_so_and_keeps_the_state_file(fake, options):
    shaper = Shaper(options)
    shaper.want(20.0)
    wait_for(lambda: shaper.applied_mbps == 20.0)
    fake.set("broken")
    assert "not restored" in str(shaper.close())
    fake.clear("broken")
    assert tc.restore(kept(options)) == "lo: restored"
    assert fake.get("root") is None


def test_a_shaper_on_somebody_else_s_interface_reports_it(fake, options):
    fake.set("root", "htb 1:")
    shaper = Shaper(options)
    shaper.want(20.0)
    wait_for(lambda: shaper.blocked == "not_owned")
    assert shaper.applied_mbps is None
    shaper.close()
    assert fake.get("root") == "htb 1:"


def test_a_dry_one_sets_nothing():
    shaper = DryShaper()
    shaper.want(20.0)
    assert (shaper.applied_mbps, shaper.rate_mbps, shaper.close()) == (None, 20.0, None)


KILLED = """
import sys, time
from pathlib import Path
from linkcast.live.shaper import Discipline, ShaperOptions
discipline = Discipline(ShaperOptions("lo", most_mbps=50.0, tc=sys.argv[1], state_dir=Path(sys.argv[2])))
discipline.set_rate(20.0)
print("made", flush=True)
if sys.argv[3] == "stay":
    time.sleep(60)
discipline.restore()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_guard_restores_when_the_process_is_killed(fake, options, number):
    command = [sys.executable, "-c", KILLED, str(fake.path), str(options.state_dir), "stay"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        assert fake.get("root") == "htb 4c43:"
        os.kill(process.pid, number)
        wait_for(lambda: fake.get("root") is None)
        wait_for(lambda: not kept(options).exists())


def test_the_guard_has_nothing_to_do_after_an_end_in_order(fake, options):
    command = [sys.executable, "-c", KILLED, str(fake.path), str(options.state_dir), "go"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("made\n", "")
    assert [call for call in fake.changes if " del " in call] == ["qdisc del dev lo root handle 4c43:"]


def test_the_guard_leaves_it_to_one_that_was_started_again(fake, options):
    command = [sys.executable, "-c", KILLED, str(fake.path), str(options.state_dir), "stay"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    second = Discipline(options)
    second.set_rate(30.0)  # resumes, or waits for the guard and makes it anew
    time.sleep(1.8)  # longer than the guard tries
    assert (fake.get("root"), fake.get("rate")) == ("htb 4c43:", "30000kbit")
    second.restore()


@pytest.mark.parametrize(
    ("kind", "release", "warns"),
    [
        ("cake", "6.18.44", False),
        ("cake", "7.0.0-rc1", True),
        ("cake", "7.1.9-arch1", True),
        ("cake", "7.2.0", False),
        ("cake", "5.15.0-91-generic", False),
        ("cake", "unknown", False),
        ("htb", "7.1.0", False),
    ],
)
def test_kernels_that_clear_cake_s_tins_are_warned_of(kind, release, warns):
    assert (warning_of(kind, release) is not None) is warns
