"""Horizons, bands and reservations of a trace: by hand, and on links whose best answer is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linkcast import baselines, metrics
from linkcast.outlook import Ahead, link_answers, link_autoregressions, links_of, targets_ahead
from linkcast.stream_answers import StreamScores, stream_answers
from linkcast.traces import Trace, trace_from_arrays

START = np.datetime64("2026-03-02T18:00:00", "us")


def telemetry(rates: np.ndarray, seed: int = 0) -> np.ndarray:
    """(rows, 4) with these rates as the bandwidth."""
    features = np.random.default_rng(seed).uniform([20, 0, 0, 0.9], [60, 0, 0.02, 1], (len(rates), 4))
    features[:, 1] = rates
    return features


def two_links(rows: int = 40) -> Trace:
    """Two sources at the same time, the second with its later half first in the file."""
    seconds = np.r_[np.arange(rows), np.arange(rows // 2, rows), np.arange(rows // 2)]
    trace = trace_from_arrays(telemetry(np.arange(2.0 * rows)), START + seconds * np.timedelta64(1, "s"))
    assert trace.segment_starts.tolist() == [0, rows, rows + rows // 2]
    return replace(trace, sources=("dsl", "lte", "lte"))


def test_what_came_is_looked_up_within_its_segment():
    trace = replace(trace_from_arrays(telemetry(np.arange(40.0))), segment_starts=np.array([0, 25]))
    targets = targets_ahead(trace, 10)
    assert targets.shape == (15 + 5, 10)
    assert targets[0].tolist() == [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    np.testing.assert_array_equal(targets[14], [24.0, *[np.nan] * 9])
    np.testing.assert_array_equal(targets[15], [35.0, 36, 37, 38, 39, *[np.nan] * 5])


def test_nothing_came_where_a_row_is_held():
    trace = trace_from_arrays(telemetry(np.arange(30.0)))
    held = np.zeros(30, np.bool_)
    held[[12, 13]] = True
    targets = targets_ahead(replace(trace, held=held), 10)
    assert targets.shape == (20, 10)
    np.testing.assert_array_equal(targets[0], [10, 11, np.nan, np.nan, 14, 15, 16, 17, 18, 19])
    assert np.isnan(targets[2:4, 0]).all()


def test_each_source_is_a_link_whose_segments_go_by_time():
    links = links_of(two_links(), 10)
    assert [link.windows.tolist() for link in links] == [[*range(30)], [*range(40, 50), *range(30, 40)]]
    assert [rows.start for rows in links[1].segments] == [60, 40]


def test_each_link_has_a_stream_of_its_own(engine):
    trace = two_links()
    links = links_of(trace, 10)
    answers = link_answers(engine, "internet", trace, links, 10)
    alone = stream_answers(engine, "internet", [trace.features[60:80], trace.features[40:60]]).mbps
    np.testing.assert_array_equal(answers.mbps[40:50], alone[:10])  # the eleventh has no row after it
    np.testing.assert_array_equal(answers.mbps[30:40], alone[11:21])


def test_each_link_and_each_horizon_has_an_autoregression_of_its_own():
    rng = np.random.default_rng(1)
    trace = trace_from_arrays(telemetry(rng.uniform(5, 40, 1400)))
    trace = replace(trace, segment_starts=np.array([0, 700]), sources=("dsl", "lte"))
    targets, links = targets_ahead(trace, 10), links_of(trace, 10)
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(trace.features[:700, 1], 10)[:-1]] * 2)
    windows[690:] = np.lib.stride_tricks.sliding_window_view(trace.features[700:, 1], 10)[:-1]
    forecasts = link_autoregressions(windows[:, :, None], targets, links, 3)
    for steps in (1, 3):
        known = slice(690, 1380 - (steps - 1))
        expected = baselines.growing_autoregression(windows[known, :, None], targets[known, steps - 1], 0, steps=steps)
        np.testing.assert_array_equal(forecasts[known, steps - 1], expected)
    assert forecasts[-1, 2] == windows[-1, -1]  # nothing came three steps later


def known_link(rows: int = 4000, seed: int = 3) -> Ahead:
    """Independent rates around 20, whose best forecast and quantiles are known, and a stream that gives them."""
    rates = np.random.default_rng(seed).normal(20.0, 2.0, rows)
    trace = trace_from_arrays(telemetry(rates))
    targets, count = targets_ahead(trace, 10), rows - 10
    windows = np.lib.stride_tricks.sliding_window_view(rates, 10)[:count, :, None]
    whole = np.ones(count)
    quantile = 20.0 + 2.0 * np.array([-1.2815515655, 0.0, 1.2815515655])  # of the normal distribution, by tables
    peaks = np.array(
        [np.quantile(np.random.default_rng(4).normal(20, 2, (40_000, k)).max(1), 0.9) for k in range(1, 11)]
    )
    stream = StreamScores(
        mbps=20.0 * whole,
        sources=np.full(count, "mixture"),
        p10=quantile[0] * whole,
        p50=quantile[1] * whole,
        p90=quantile[2] * whole,
        horizon=np.full((count, 10), 20.0),
        horizon_p90=np.full((count, 10), quantile[2]),
        peak_p90=np.tile(peaks, (count, 1)),
    )
    return Ahead(
        targets=targets,
        links=links_of(trace, 10),
        stream=stream,
        model=windows[:, -1, 0],
        rules={name: rule(windows, 0) for name, rule in baselines.BASELINES.items()},
        autoregression=np.repeat(windows[:, -1], 10, axis=1),
        block=60,
        order=np.arange(count),
    )


@pytest.fixture(scope="module")
def known() -> Ahead:
    return known_link()


def test_the_horizons_are_scored_beside_the_best_rule_at_each(known):
    rows = known.outlook(np.ones(len(known.targets), np.bool_))["horizons"]
    assert [row["steps"] for row in rows] == list(range(1, 11))
    assert [row["samples"] for row in rows] == [3990 - k for k in range(10)]
    for row in rows:
        assert row["best_baseline"] == "moving_average"
        # The mean of ten is off by sqrt(1 + 1/10) deviations, the truth by one.
        assert row["skill"] == pytest.approx(1 - 1 / np.sqrt(1.1), abs=0.015)
        low, high = row["skill_interval"]
        assert 0.0 < low < row["skill"] < high < 0.1
        assert row["p_value"] < 1e-3
        assert row["model_skill"] == pytest.approx(1 - np.sqrt(2 / 1.1), abs=0.04)  # persistence
        assert row["above_p90"] == pytest.approx(0.1, abs=0.02)
        assert row["above_p90_worst_tenth"] > row["above_p90"]
    by_hand = np.abs(20.0 - known.targets[:-4, 4]).mean()
    assert rows[4]["stream_mae"] == pytest.approx(by_hand, rel=1e-12)


def test_a_band_that_the_stream_gives_is_scored_as_it_is(known):
    outlook = known.outlook(np.ones(len(known.targets), np.bool_))
    assert outlook["band_source"] == "stream"
    expected = metrics.band(known.stream.p10, known.stream.p50, known.stream.p90, known.targets[:, 0])
    assert outlook["band"]["stream"] == expected
    assert set(outlook["band"]) == {"stream", "moving_average"}
    assert outlook["band"]["moving_average"]["width"] > expected["width"]


def test_reserving_what_is_known_to_be_right_costs_less_than_any_margin(known):
    outlook = known.outlook(np.ones(len(known.targets), np.bool_))
    assert [row["steps"] for row in outlook["risk"]] == [1, 10]
    for row in outlook["risk"]:
        assert row["above_p90"] == pytest.approx(0.1, abs=0.025)
        assert row["stream"] < row["naive"]
        assert "lightgbm" not in row


def test_a_stream_without_a_band_gets_the_margins_of_its_errors(known):
    bare = replace(known, stream=StreamScores(known.stream.mbps, known.stream.sources))
    outlook = bare.outlook(np.ones(len(known.targets), np.bool_))
    assert outlook["band_source"] == "margin"
    assert outlook["band"]["stream"]["above_p90"] == pytest.approx(0.1, abs=0.02)
    assert all("above_p90" not in row for row in outlook["horizons"])
    assert [row["cost_ratio"] for row in outlook["reserve"]] == [1, 3, 10, 100]
    for row in outlook["reserve"]:
        assert row["stream"]["short"] == pytest.approx(1 - row["level"], abs=0.02)
        assert row["cost_skill"] > -0.02


def test_where_the_stream_gives_no_answer_the_last_value_stands(known):
    silent = known.stream.mbps.copy()
    silent[::2] = np.nan
    ahead = replace(known, stream=StreamScores(silent, known.stream.sources))
    np.testing.assert_array_equal(ahead.stream_forecast(1)[::2], known.rules["persistence"][::2])
    assert (ahead.stream_forecast(1)[1::2] == 20.0).all()
    assert np.isfinite(ahead.outlook(np.ones(len(silent), np.bool_))["band"]["stream"]["pinball_p90"])


def test_only_marked_windows_are_scored_and_short_segments_end_the_horizons_early(known):
    marked = np.zeros(len(known.targets), np.bool_)
    marked[2000:2500] = True
    rows = known.outlook(marked)["horizons"]
    assert rows[9]["samples"] == 500
    assert rows[0]["stream_mae"] == pytest.approx(np.abs(20.0 - known.targets[2000:2500, 0]).mean())
    ends = np.zeros(len(known.targets), np.bool_)
    ends[-3:] = True
    outlook = known.outlook(ends)
    assert [row["steps"] for row in outlook["horizons"]] == [1, 2, 3]
    assert outlook["risk"][1]["steps"] == 3


def test_lightgbm_stands_beside_at_equal_risk_where_it_was_fitted(known):
    peak = np.full(len(known.targets), 1.1 * known.stream.peak_p90[0, 9])
    light = np.stack([known.stream.p90, peak], axis=1)
    for row in replace(known, light=light).outlook(np.ones(len(light), np.bool_))["risk"]:
        assert row["lightgbm"] == pytest.approx(row["stream"])  # a constant factor is no difference


def test_the_benchmark_scores_the_sets_that_are_there_in_80_columns(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    rates = np.random.default_rng(9).uniform(5.0, 40.0, 600)
    (tmp_path / "puffer_streams_chunks").mkdir()
    names = np.repeat(["a", "b", "c"], 200)
    parquet.write_table(
        pa.table({"trace": names, "bandwidth_mbps": rates}), tmp_path / "puffer_streams_chunks" / "dev.parquet"
    )
    script = Path(__file__).parent.parent / "benchmarks" / "forecasts.py"
    environment = {**os.environ, "LINKCAST_DATA": str(tmp_path), "COLUMNS": "80"}
    command = [sys.executable, str(script), "--json", str(tmp_path / "scores.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line.split() for line in lines if line.startswith("mean")]
    scores = json.loads((tmp_path / "scores.json").read_text())["puffer streams"]
    assert scores["samples"] == 3 * 190
    expected = [
        scores["stream"]["skill"],
        scores["skill"],
        *(scores["outlook"]["horizons"][k]["skill"] for k in (4, 9)),
    ]
    assert row[1:5] == [f"{100 * skill:+.1f}" for skill in expected]
    environment["LINKCAST_DATA"] = str(tmp_path / "nowhere")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected data sets in" in done.stdout
