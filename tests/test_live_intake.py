"""From timed samples to one row a tick: the rules of linkcast.live.intake, and of docs/time.md."""

from __future__ import annotations

import pytest

from linkcast.features import TELEMETRY
from linkcast.live.intake import Intake
from linkcast.live.sources import Sample
from live_parts import ToldSource, measured

NOW, UP = 1_700_000_000.0, 5_000.0  # of the wall's clock and of the monotonic one


def taken(polls: list[list[Sample]], **options: float) -> tuple[list[float | None], Intake]:
    """The bandwidth of each tick, a second apart, and the intake with its counts."""
    intake = Intake(ToldSource(list(polls)), TELEMETRY, 1.0, **options)
    rows = [intake.take(NOW + tick, UP + tick).telemetry for tick in range(len(polls))]
    return [None if row is None else row[1] for row in rows], intake


def test_a_sample_a_tick_is_that_tick_s_row():
    rates, intake = taken([[measured(10.0 + tick, NOW + tick)] for tick in range(4)])
    assert rates == [10.0, 11.0, 12.0, 13.0]
    assert (intake.counts.samples, intake.counts.taken, intake.counts.empty) == (4, 4, 0)


def test_a_tick_without_a_sample_has_no_telemetry():
    rates, intake = taken([[measured(10.0)], [], [measured(12.0)]])
    assert rates == [10.0, None, 12.0]
    assert intake.counts.empty == 1


def test_a_duplicate_is_left_out():
    rates, intake = taken([[measured(10.0, NOW)], [measured(99.0, NOW), measured(12.0, NOW + 1)]])
    assert rates == [10.0, 12.0]
    assert intake.counts.duplicate == 1


def test_a_sample_that_goes_backward_is_left_out():
    rates, intake = taken([[measured(10.0, NOW + 5)], [measured(99.0, NOW + 4)], [measured(12.0, NOW + 7)]])
    assert rates == [10.0, None, 12.0]
    assert intake.counts.backward == 1


def test_a_clock_that_is_set_back_counts_from_the_third_sample_on():
    polls = [[measured(10.0, NOW + 3600 + tick)] for tick in range(3)]
    polls += [[measured(20.0 + tick, NOW + 3 + tick)] for tick in range(5)]
    rates, intake = taken(polls)
    assert rates == [10.0, 10.0, 10.0, None, None, 22.0, 23.0, 24.0]
    assert (intake.counts.backward, intake.counts.set_back, intake.counts.late) == (2, 1, 0)


def test_a_sample_that_comes_later_than_three_steps_is_left_out_and_one_that_is_less_late_counts():
    polls = [[measured(10.0, NOW + tick)] for tick in range(3)]
    polls += [[], [], [measured(13.0, NOW + 3)], [], [], [measured(14.0, NOW + 4)]]  # 2 s late, then 4 s
    rates, intake = taken(polls)
    assert rates == [10.0, 10.0, 10.0, None, None, 13.0, None, None, None]
    assert intake.counts.late == 1


def test_how_late_a_sample_may_be_can_be_said():
    polls = [[measured(10.0, NOW)], [], [measured(11.0, NOW + 0.5)]]
    assert taken(polls, late_s=1.0)[0] == [10.0, None, None]
    assert taken(polls, late_s=2.0)[0] == [10.0, None, 11.0]


@pytest.mark.parametrize("ahead_s", [-NOW, -7200.0, 5.0, 1e6])
def test_a_source_s_clock_may_be_any_other(ahead_s):
    rates, intake = taken([[measured(10.0 + tick, NOW + ahead_s + tick)] for tick in range(5)])
    assert rates == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert intake.counts.late == 0


@pytest.mark.parametrize("follows", [True, False])
def test_when_the_wall_s_clock_is_set_no_sample_is_late(follows):
    """The source's clock may be that clock, or another one."""
    polls = [[measured(10.0 + tick, NOW + tick + (3600.0 if follows and tick >= 5 else 0.0))] for tick in range(10)]
    intake = Intake(ToldSource(polls), TELEMETRY, 1.0)
    rows = [intake.take(NOW + tick + (3600.0 if tick >= 5 else 0.0), UP + tick).telemetry for tick in range(10)]
    assert [row and row[1] for row in rows] == [10.0 + tick for tick in range(10)]


def test_several_samples_of_a_tick_are_their_mean():
    row = Intake(ToldSource([[measured(10.0, NOW - 0.5, latency_ms=30.0), measured(14.0, NOW)]]), TELEMETRY, 1.0)
    assert row.take(NOW, UP).telemetry == (25.0, 12.0, 0.0, 1.0)


def test_what_a_sample_lacks_is_held_for_three_ticks_then_its_usual_value_stands_in():
    polls = [[measured(10.0, latency_ms=rtt)] for rtt in (20.0, 24.0, 90.0)]
    polls += [[Sample({"bandwidth_mbps": 10.0})]] * 5
    intake = Intake(ToldSource(polls), TELEMETRY, 1.0)
    latencies = [intake.take(NOW + tick, UP + tick).telemetry[0] for tick in range(8)]
    assert latencies == [20.0, 24.0, 90.0, 90.0, 90.0, 90.0, 24.0, 24.0]
    assert intake.counts.stood_in == 5


def test_a_feature_that_was_never_measured_is_what_a_file_without_its_column_would_have():
    intake = Intake(ToldSource([[Sample({"bandwidth_mbps": 10.0})]]), TELEMETRY, 1.0)
    row = intake.take(NOW, UP)
    assert row.telemetry == (50.0, 10.0, 0.0, 1.0)  # docs/own-data.md
    assert row.sample == {"latency_ms": None, "bandwidth_mbps": 10.0, "packet_loss": None, "reliability": None}


def test_a_bandwidth_is_never_made_up():
    intake = Intake(ToldSource([[measured(10.0)], [Sample({"latency_ms": 20.0})]]), TELEMETRY, 1.0)
    intake.take(NOW, UP)
    assert intake.take(NOW + 1, UP + 1).telemetry is None


def test_a_source_that_raises_gives_what_it_gave_before_and_is_told():
    class Broken(ToldSource):
        def poll(self):
            yield measured(10.0)
            raise OSError(116, "Stale file handle")

    intake = Intake(Broken([]), TELEMETRY, 1.0)
    assert intake.take(NOW, UP).telemetry == (20.0, 10.0, 0.0, 1.0)
    assert intake.trouble == "told: OSError: [Errno 116] Stale file handle"
    intake.source = ToldSource([])
    assert intake.take(NOW + 1, UP + 1).telemetry is None
    assert intake.trouble is None


def test_an_unknown_feature_is_refused():
    with pytest.raises(ValueError, match=r"sample: expected features among latency_ms, .*, got jitter"):
        Sample({"jitter": 1.0})
