"""The simulated evening: a busy line, and the same one each time."""

from __future__ import annotations

import numpy as np
import pytest

from linkcast.simulation.evening import CAPACITY_MBPS, SCRIPT, busy_evening


def test_the_evening_is_quiet_and_full_within_its_line():
    trace = busy_evening()
    latency, bandwidth, loss, reliability = trace.features.T
    assert len(trace) == 1200 and trace.step_s == 1.0
    assert 3.0 < bandwidth.min() < 10.0
    assert 90.0 < bandwidth.max() <= CAPACITY_MBPS
    assert np.mean(bandwidth > 0.99 * CAPACITY_MBPS) < 0.03  # full at its peaks, not stuck there
    assert (
        (latency > 0.0).all()
        and ((loss >= 0.0) & (loss <= 1.0)).all()
        and ((reliability > 0.5) & (reliability <= 1.0)).all()
    )


def test_a_use_adds_its_rate_when_it_starts():
    """Minute by minute the mean follows the sum of what the script says runs in it, with what pages add."""
    bandwidth = busy_evening().features[:, 1].reshape(20, 60).mean(axis=1)
    minutes = np.arange(20) / 20.0
    running = np.array([sum(use.mbps for use in SCRIPT if use.start <= t and t + 0.05 <= use.stop) for t in minutes])
    assert np.corrcoef(bandwidth, running)[0, 1] > 0.9
    assert (bandwidth > 0.8 * running).all()


def test_the_same_seed_is_the_same_evening():
    np.testing.assert_array_equal(busy_evening(200, 3).features, busy_evening(200, 3).features)
    assert not np.array_equal(busy_evening(200, 3).features, busy_evening(200, 4).features)
    assert "simulated" in busy_evening().name and "seed 4" in busy_evening(200, 4).name


def test_an_evening_without_rows_is_refused():
    with pytest.raises(ValueError, match="rows: expected 1 or more, got 0"):
        busy_evening(0)
