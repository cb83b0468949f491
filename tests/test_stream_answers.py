"""The answers of a stream over a whole trace: whose they are, and that none knows what comes."""

from __future__ import annotations

import numpy as np
import pytest

from linkcast.stream_answers import COST_RATIOS, stream_answers


def segments(seed: int, *lengths: int) -> list[np.ndarray]:
    """Telemetry, (rows, 4) each."""
    rng = np.random.default_rng(seed)
    return [rng.uniform([20, 5, 0, 0.9], [60, 40, 0.02, 1], (rows, 4)) for rows in lengths]


def test_there_is_an_answer_for_every_full_window_of_every_segment(engine):
    parts = segments(1, 30, 9, 10, 25)
    answers = stream_answers(engine, "internet", parts)
    assert answers.mbps.shape == answers.sources.shape == (21 + 0 + 1 + 16,)
    assert np.isfinite(answers.mbps).all()


def test_an_answer_rests_on_the_past_alone(engine):
    first, second = segments(2, 60, 60)
    before = stream_answers(engine, "internet", [first, second])
    changed = second.copy()
    changed[30:] *= [1.0, 9.0, 0.1, 0.9]
    after = stream_answers(engine, "internet", [first, changed])
    seen = 51 + 21  # of the second segment the answers up to row 29
    for name in ("mbps", "p10", "p50", "p90", "horizon", "horizon_p90", "peak_p90", "reserve"):
        old, new = getattr(before, name), getattr(after, name)
        np.testing.assert_array_equal(new[:seen], old[:seen])
        assert not np.array_equal(new[seen:], old[seen:])


def test_a_link_is_answered_by_the_stream_that_a_caller_would_push_to(engine):
    parts = segments(3, 2500, 9, 40)
    answers = stream_answers(engine, "internet", parts)
    streams = [engine.stream("internet", level=ratio / (ratio + 1)) for ratio in COST_RATIOS]
    tick = 0
    for rows in parts:
        for row in rows:
            pushed = [stream.push(row) for stream in streams]
            if pushed[0] is None:
                continue
            assert answers.sources[tick] == pushed[0].source == "mixture"
            assert (answers.mbps[tick], answers.p10[tick], answers.p50[tick], answers.p90[tick]) == (
                pushed[0].mbps,
                pushed[0].p10,
                pushed[0].p50,
                pushed[0].p90,
            )
            assert answers.reserve[tick, 0] == pushed[0].p50  # what costs alike either way
            assert answers.reserve[tick, 1:].tolist() == [answer.reserve for answer in pushed[1:]]
            if tick % 50 == 0:
                ahead = [streams[0].horizon(steps) for steps in range(1, 11)]
                assert answers.horizon[tick].tolist() == [one.mbps for one in ahead]
                assert answers.horizon_p90[tick].tolist() == [one.p90 for one in ahead]
                peaks = [streams[0].peak(steps).p90 for steps in range(1, 11)]
                assert answers.peak_p90[tick].tolist() == peaks
            tick += 1
        for stream in streams:
            stream.reset()
    assert tick == len(answers.mbps) == 2491 + 31


def test_a_held_row_is_a_tick_without_a_sample(engine):
    (rows,) = segments(6, 60)
    held = np.zeros(60, np.bool_)
    held[[20, 30, 31, 32, 33]] = True
    answers = stream_answers(engine, "internet", [rows], held=[held])
    stream = engine.stream("internet", most_held=4)
    pushed = [stream.push(None if missing else row) for row, missing in zip(rows, held, strict=True)][9:]
    assert answers.mbps.tolist() == [answer.mbps for answer in pushed]
    assert answers.p90.tolist() == [answer.p90 for answer in pushed]
    other = rows.copy()
    other[held] *= 3.0
    np.testing.assert_array_equal(stream_answers(engine, "internet", [other], held=[held]).mbps, answers.mbps)


def test_one_step_ahead_alone_is_the_same_without_the_rest(engine):
    parts = segments(7, 50, 30)
    whole, alone = stream_answers(engine, "internet", parts), stream_answers(engine, "internet", parts, ahead=False)
    for name in ("mbps", "sources", "p10", "p50", "p90"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(whole, name))
    assert alone.horizon is alone.horizon_p90 is alone.peak_p90 is alone.reserve is None


def test_the_ticks_are_counted_and_a_wrong_width_is_refused(engine):
    done: list[int] = []
    stream_answers(engine, "internet", segments(4, 1100, 20), done.append)
    assert sum(done) == 1091 + 11
    with pytest.raises(ValueError, match="4"):
        stream_answers(engine, "internet", [np.zeros((12, 3))])
