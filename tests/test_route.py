"""Routes from Python; the rules are tested in C++ (cpp/tests/test_route.cpp)."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import linkcast
from conftest import ROOT, run


def test_the_best_p10_is_chosen_with_hysteresis_and_a_minimum_stay() -> None:
    chooser = linkcast.RouteChooser(2, margin=0.25, stay_s=10.0)
    assert chooser.choose([8.0, 4.0], now_s=0.0).path == 0
    waiting = chooser.choose([8.0, 40.0], now_s=9.0)
    assert (waiting.path, waiting.staying, waiting.changed) == (0, True, False)
    assert chooser.choose([8.0, 10.0], now_s=10.0).path == 0  # 8 * 1.25 is not above 10
    left = chooser.choose([8.0, 10.5], now_s=11.0)
    assert (left.path, left.mbps, left.changed) == (1, 10.5, True)
    assert chooser.last.path == 1
    assert "path 1" in repr(left)


def test_the_least_of_the_horizon_counts_and_what_is_not_finite_is_ignored() -> None:
    chooser = linkcast.RouteChooser(2, gone_s=1.0)
    horizon = np.array([[9.0, 2.0, 9.0], [3.0, np.nan, 4.0]])
    assert chooser.choose(horizon, now_s=0.0).mbps == 3.0
    assert chooser.choose([np.nan, np.nan], now_s=1.0).path == 1
    gone = chooser.choose([np.nan, np.nan], now_s=1.5)
    assert (gone.path, gone.mbps, gone.changed) == (None, 0.0, True)


def test_the_monotonic_clock_is_the_default() -> None:
    chooser = linkcast.RouteChooser(1)
    chooser.choose([1.0])
    assert chooser.choose([1.0]).path == 0
    assert chooser.paths == 1


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="paths: expected 1 to 65536, got 0"):
        linkcast.RouteChooser(0)
    with pytest.raises(ValueError, match="margin: expected 0 or more"):
        linkcast.RouteChooser(2, margin=-0.1)
    chooser = linkcast.RouteChooser(2)
    with pytest.raises(ValueError, match=r"p10_mbps: expected \(2,\) or \(2, steps\), got \(3,\)"):
        chooser.choose([1.0, 2.0, 3.0])
    chooser.choose([1.0, 2.0], now_s=5.0)
    with pytest.raises(ValueError, match="does not go back"):
        chooser.choose([1.0, 2.0], now_s=4.0)


def test_the_example_runs() -> None:
    output = run(sys.executable, ROOT / "examples" / "python" / "route.py", cwd=ROOT)
    assert "over fibre" in output
    assert "over lte" in output
