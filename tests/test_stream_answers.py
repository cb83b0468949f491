"""The answers of a stream over a whole trace: whose they are, and that none knows what comes."""

from __future__ import annotations

import numpy as np
import pytest

from linkcast.stream_answers import stream_answers
from telemetry import tolerance


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
        if old is not None:
            np.testing.assert_array_equal(new[:seen], old[:seen])
            assert not np.array_equal(new[seen:], old[seen:])


def test_a_link_is_answered_by_the_stream_that_a_caller_would_push_to(engine):
    (rows,) = segments(3, 40)
    stream = engine.stream("internet")
    pushed = [stream.push(row) for row in rows][9:]
    expected = [float(getattr(answer, "mbps", answer)) for answer in pushed]
    np.testing.assert_allclose(
        stream_answers(engine, "internet", [rows]).mbps, expected, rtol=0, atol=tolerance(engine, "internet", 40.0)
    )


def test_the_ticks_are_counted_and_a_wrong_width_is_refused(engine):
    done: list[int] = []
    stream_answers(engine, "internet", segments(4, 1100, 20), done.append)
    assert sum(done) == 1091 + 11
    with pytest.raises(ValueError, match="4"):
        stream_answers(engine, "internet", [np.zeros((12, 3))])
