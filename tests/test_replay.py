"""Replaying a trace: every tick's forecast and decision, and the report."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linkcast import baselines, metrics
from linkcast.plots import plot_replay
from linkcast.replay import allocator_capacity_mbps, latency, replay
from linkcast.traces import read_trace, trace_from_arrays

DATA = Path(os.environ.get("LINKCAST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def random_trace(rows: int, seed: int, gap_at: int | None = None):
    generator = np.random.default_rng(seed)
    features = generator.uniform([20, 5, 0, 0.9], [60, 40, 0.02, 1], (rows, 4))
    times = np.arange(rows)
    if gap_at is not None:
        times[gap_at:] += 60
    return trace_from_arrays(features, times.astype("datetime64[s]"), "random")


@pytest.fixture(scope="module")
def replayed(engine):
    trace = random_trace(60, seed=1, gap_at=25)
    return trace, replay(engine, trace, "internet")


def test_every_tick_forecasts_from_the_ten_rows_before_and_never_over_a_gap(engine, replayed):
    trace, result = replayed
    starts = [*range(15), *range(25, 50)]
    assert result.starts.tolist() == starts
    expected = [engine.forecast_raw("internet", trace.features[start : start + 10])[0] for start in starts]
    np.testing.assert_array_equal(result.forecasts, np.array(expected))


def test_every_tick_decides_from_its_newest_row(engine, replayed):
    trace, result = replayed
    newest = trace.features[result.starts + 9]
    assert result.actions.tolist() == [int(engine.decide("internet", state)[0]) for state in newest]


def test_a_link_of_another_capacity_is_decided_as_its_share_of_the_trained_one(engine):
    trained = allocator_capacity_mbps(engine, "internet_ddqn")
    trace = random_trace(30, seed=5)
    half = trace.features.copy()
    half[:, 1] *= 0.5
    smaller = replay(engine, trace_from_arrays(half), capacity_mbps=trained / 2)
    assert smaller.actions.tolist() == replay(engine, trace).actions.tolist()
    assert smaller.report()["allocation"]["capacity_mbps"] == trained / 2


@pytest.mark.parametrize("capacity_mbps", [0.0, -1.0, float("nan")])
def test_a_capacity_that_is_not_above_zero_is_refused(engine, capacity_mbps):
    with pytest.raises(ValueError, match="capacity_mbps: expected a number above 0"):
        replay(engine, random_trace(30, seed=6), capacity_mbps=capacity_mbps)


def test_the_errors_are_those_against_the_row_that_came_next(replayed):
    trace, result = replayed
    came = trace.features[result.starts + 10, 1]
    accuracy = result.report()["accuracy"]
    assert accuracy["model"]["mae"] == pytest.approx(np.mean(np.abs(result.forecasts - came)))
    last = trace.features[result.starts + 9, 1]
    assert accuracy["baselines"]["persistence"] == metrics.summary(last, came)


def test_the_report_counts_ticks_allocations_and_times(replayed):
    _, result = replayed
    report = result.report()
    assert report["ticks"] == 40
    assert report["segments"] == 2
    counts = report["allocation"]["ticks_by_percent"]
    assert list(counts) == [str(percent) for percent in range(10, 101, 10)]
    assert sum(counts.values()) == 40
    mean = sum(int(percent) * count for percent, count in counts.items()) / 40
    assert report["allocation"]["mean_percent"] == pytest.approx(mean)
    for times in report["latency_us"].values():
        assert 0.0 < times["p50"] <= times["p99"] <= times["max"]


def test_the_rolling_skill_is_that_of_the_errors_over_the_last_ticks(engine):
    trace = random_trace(200, seed=7, gap_at=90)
    result = replay(engine, trace, skill_ticks=40)
    windows = trace.features[result.starts[:, None] + np.arange(10)]
    came = trace.features[result.starts + 10, 1]
    ours, of_ewma = np.abs(result.answers - came), np.abs(baselines.ewma(windows) - came)
    expected = [
        1 - ours[tick - 39 : tick + 1].sum() / of_ewma[tick - 39 : tick + 1].sum() for tick in range(39, len(came))
    ]
    assert np.isnan(result.rolling_skill[:39]).all()
    np.testing.assert_allclose(result.rolling_skill[39:], expected, rtol=1e-9)
    report = result.report()["rolling_skill"]
    assert report == {
        "ticks": 40,
        "median": pytest.approx(np.median(expected)),
        "least": pytest.approx(min(expected)),
        "most": pytest.approx(max(expected)),
        "last": pytest.approx(expected[-1]),
        "share_below_zero": pytest.approx(np.mean(np.array(expected) < 0)),
    }
    with pytest.raises(ValueError, match="skill_ticks: expected 1 or more, got 0"):
        replay(engine, trace, skill_ticks=0)


def test_fewer_ticks_than_the_skill_looks_at_have_none(engine):
    assert replay(engine, random_trace(60, seed=1), skill_ticks=60).report()["rolling_skill"] is None


def test_the_report_says_what_a_stream_answers_and_who_gave_it(engine):
    trace = random_trace(60, seed=8, gap_at=25)
    result = replay(engine, trace)
    stream = engine.stream("internet")
    answers = []
    for row in [*range(25), None, *range(25, 59)]:  # nothing is forecast over the gap
        if row is None:
            stream.reset()
        else:
            answers.append(stream.push(trace.features[row]))
    expected = [answer for answer in answers if answer is not None][:15] + answers[-25:]
    np.testing.assert_allclose(result.answers, [answer.mbps for answer in expected], rtol=1e-5)
    assert result.stream.sources.tolist() == [answer.source for answer in expected]
    assert result.stream.p90.tolist() == [answer.p90 for answer in expected]
    report = result.report()["stream"]
    came = trace.features[result.starts + 10, 1]
    assert report["band"]["above_p90"] == np.mean(came > [answer.p90 for answer in expected])
    assert report["mae"] == pytest.approx(np.mean(np.abs(result.answers - trace.features[result.starts + 10, 1])))
    assert sum(report["answers_by_source"].values()) == 40


def test_a_held_row_is_no_tick_to_score(engine):
    trace = random_trace(80, seed=9, gap_at=40)
    held = np.zeros(80, np.bool_)
    held[[20, 60, 61]] = True
    result = replay(engine, replace(trace, held=held))
    assert (result.starts + 10).tolist() == [row for row in [*range(10, 40), *range(50, 80)] if not held[row]]
    assert len(result.stream.mbps) == len(result.answers) == 57
    assert sum(result.report()["stream"]["answers_by_source"].values()) == 57


def test_percentiles_are_numpys():
    times = np.arange(1.0, 102.0)
    assert latency(times) == {"p50": 51.0, "p99": 100.0, "max": 101.0}


def test_progress_adds_up_to_the_ticks(engine):
    done: list[int] = []
    replay(engine, random_trace(600, seed=2), "datacenter", done.append)
    assert sum(done) == 590


def test_on_a_constant_link_the_verdict_is_that_persistence_is_as_good(engine):
    trace = trace_from_arrays(np.tile([30.0, 20.0, 0.0, 1.0], (30, 1)))
    assert "persistence is as good" in replay(engine, trace).evaluation["verdict"]


def test_a_trace_shorter_than_a_window_and_its_target_is_refused(engine):
    with pytest.raises(ValueError, match="random: expected a segment of 11 rows or more, got none in 10 rows"):
        replay(engine, random_trace(10, seed=3))


def test_a_real_trace_is_replayed_to_its_end(engine):
    path = DATA / "webrtc_video_1hz" / "dev.parquet"
    if not path.is_file():
        pytest.skip("the data sets are not on this machine")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(path)
    bandwidth = table["bandwidth_mbps"].to_numpy().astype(np.float64)
    trace = table["trace"].to_numpy(zero_copy_only=False)
    # Persistence by hand: within each trace, every row from the eleventh on against the row before it.
    errors = [np.abs(np.diff(bandwidth[trace == name])[9:]) for name in dict.fromkeys(trace)]
    report = replay(engine, read_trace(path)).report()
    assert report["ticks"] == sum(map(len, errors))
    assert report["accuracy"]["baselines"]["persistence"]["mae"] == pytest.approx(np.mean(np.concatenate(errors)))


def test_an_unknown_profile_is_refused_with_the_known_ones(engine):
    with pytest.raises(ValueError, match="internet"):
        replay(engine, random_trace(20, seed=4), "moon")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_plot_is_an_image_file(replayed, tmp_path, kind):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"replay.{kind}"
    plot_replay(replayed[1], path)
    start = path.read_bytes()[:5]
    assert start == (b"\x89PNG\r" if kind == "png" else b"<?xml")


def test_without_matplotlib_the_error_names_the_extra(replayed, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ImportError, match=r"pip install 'matplotlib>=3\.8'"):
        plot_replay(replayed[1], tmp_path / "replay.png")
