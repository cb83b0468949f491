"""Scoring a fleet: equal to single streams, through kills, bad files and days; what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

import fleets
from conftest import ROOT
from linkcast.engine import Engine
from linkcast.fleet import Settings, score

BAND = ("mbps", "p10", "p50", "p90", "reserve")


def forecasts_of(output):
    """Link -> {second: (mbps, p10, p50, p90, reserve)}."""
    found = {}
    table = pq.read_table(output / "forecasts", partitioning=None)
    micros = table["timestamp"].cast("int64").to_numpy()
    values = np.stack([table[name].to_numpy() for name in BAND], axis=1)
    for link, micro, row in zip(table["link"].to_pylist(), micros.tolist(), values, strict=True):
        second = (micro - fleets.START_US) / 1e6
        assert second not in found.setdefault(link, {}), "nothing twice"
        found[link][second] = row
    return found


def single(engine, ticks, **options):
    """What a stream of one row answers; `ticks`: a sample, or None."""
    stream = engine.stream("internet", **{"horizon": 1, **options})
    answers = []
    for sample in ticks:
        answer = stream.push_missing() if sample is None else stream.push(sample)
        answers.append([np.nan] * 5 if answer is None else [getattr(answer, name) for name in BAND])
    return np.array(answers, np.float32)


def same_bits(left, right):
    left, right = np.asarray(left, np.float32), np.asarray(right, np.float32)
    return np.array_equal(np.isnan(left), np.isnan(right)) and (
        np.nan_to_num(left).tobytes() == np.nan_to_num(right).tobytes()
    )


@pytest.fixture(scope="module")
def values():
    return fleets.telemetry(links=20, ticks=400)


@pytest.fixture(scope="module")
def data(tmp_path_factory, values):
    return fleets.write_days(tmp_path_factory.mktemp("fleet"), values, days=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """A run that nothing has stopped."""
    output = tmp_path_factory.mktemp("whole") / "out"
    manifest = score(data, output, workers=1, part_ticks=64)
    assert manifest["complete"]
    assert manifest["totals"]["written"] == 20 * 400
    return output


def test_each_link_has_the_answers_of_a_stream_of_its_own_bit_for_bit(whole, values):
    engine, found = Engine(), forecasts_of(whole)
    assert len(found) == 20
    for index, name in enumerate(fleets.names_of(20)):
        assert sorted(found[name]) == list(range(400))
        assert same_bits([found[name][tick] for tick in range(400)], single(engine, values[:, index]))


def test_neither_parts_nor_layout_nor_row_groups_change_an_answer(whole, values, tmp_path):
    for index, name in enumerate(fleets.names_of(20)):  # a folder for each link, in place of a file for each day
        fleets.write(tmp_path / "in" / f"{name}.parquet", [name] * 400, np.arange(400), values[:, index], rows=77)
    score(tmp_path / "in", tmp_path / "out", workers=1)
    mine, theirs = forecasts_of(tmp_path / "out"), forecasts_of(whole)
    assert all(same_bits(list(mine[name].values()), list(theirs[name].values())) for name in theirs)


def test_links_that_end_early_begin_late_and_have_gaps_are_as_single_streams(tmp_path, values):
    """Gaps of up to three ticks are held; a longer one drops the window, as four ticks without a sample do."""
    came = {
        "short": [*range(60)],
        "late": [*range(150, 400)],
        "gaps": [t for t in range(400) if t not in (50, 51, 120, *range(200, 290))],
        "whole": [*range(400)],
        "alone": [7],
    }
    link, times, rows = [], [], []
    for index, (name, ticks) in enumerate(came.items()):
        for tick in ticks:
            link.append(name), times.append(tick), rows.append(values[tick, index])
    unmeasured = 30  # a row of "whole" without a value
    rows[link.index("whole") + unmeasured] = np.array([20.0, np.nan, 0.0, 1.0])
    again = [link.index("gaps") + 10] * 3  # the same row three times more
    order = np.concatenate([np.argsort(times, kind="stable")])
    order = np.insert(order, int(np.flatnonzero(order == again[0])[0]) + 1, again)
    fleets.write(tmp_path / "in.parquet", np.array(link)[order], np.array(times)[order], np.array(rows)[order])
    manifest = score(tmp_path / "in.parquet", tmp_path / "out", workers=1, part_ticks=64)
    assert manifest["totals"]["written"] == len(link)
    assert manifest["totals"]["repeated"] == 3
    assert manifest["totals"]["gaps"] == 3
    assert manifest["totals"]["unmeasured"] == 1
    engine, found = Engine(), forecasts_of(tmp_path / "out")
    for index, (name, ticks) in enumerate(came.items()):
        samples = []
        for before, tick in zip([ticks[0] - 1, *ticks], ticks, strict=False):
            samples += [None] * min(tick - before - 1, 4)
            measured = not (name == "whole" and tick == unmeasured)
            samples.append(values[tick, index] if measured else None)
        expected = single(engine, samples)
        rows_at = [i for i, sample in enumerate(samples) if sample is not None or (name == "whole" and i == unmeasured)]
        assert same_bits([found[name][tick] for tick in ticks], expected[rows_at]), name


def test_a_killed_run_goes_on_and_writes_the_same_bytes(whole, data, tmp_path):
    code = f"import fleets; fleets.killed_driver({str(data)!r}, {str(tmp_path / 'out')!r}, {str(tmp_path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "tests"), "PATH": ""}, timeout=60, check=False
    )
    assert done.returncode == -9
    assert (tmp_path / "died").exists()
    assert (tmp_path / "out" / "work").exists()
    assert list((tmp_path / "out" / "work" / "shards").glob("*.checkpoint"))
    score(data, tmp_path / "out", workers=1, part_ticks=64)
    assert fleets.files_in(tmp_path / "out") == fleets.files_in(whole)


def test_at_reduced_precision_every_worker_runs_the_kernels_of_the_one_that_began(data, tmp_path):
    choices = Engine(precision="int8").model("internet_lstm").kernel_choices()["step"]
    measured, other = choices["runs"], next(name for name in choices["us"] if name != choices["runs"])
    begun = score(data, tmp_path / "out", Settings(precision="int8"), workers=1)
    assert begun["settings"]["kernels"] == measured
    asked = score(data, tmp_path / "other", Settings(precision="int8", kernels=other), workers=1)
    assert asked["settings"]["kernels"] == other
    # The run that goes on takes those that it began with, whatever measures best by then.
    assert Settings(precision="int8").settled(asked["settings"]).kernels == other
    assert Settings().settled(None).kernels == ""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_that_wrote_no_kernels_goes_on_where_they_decide_no_bit(data, tmp_path, precision):
    settings = Settings(precision=precision)
    score(data, tmp_path / "run", settings, workers=1)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    del manifest["settings"]["kernels"]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if precision == "float32":
        assert score(data, tmp_path / "run", settings, workers=1)["complete"]
    else:
        with pytest.raises(ValueError, match=r"kernels: not known then, .* now"):
            score(data, tmp_path / "run", settings, workers=1)


@pytest.mark.parametrize("report", [3, 8])  # 8: all 7 parts are written, and the process dies before it says so
def test_a_killed_worker_loses_nothing_and_writes_nothing_twice(whole, data, tmp_path, report):
    score(data, tmp_path / "out", crew=fleets.dying_local_crew(tmp_path, report), part_ticks=64)
    assert (tmp_path / "died").exists()
    assert fleets.files_in(tmp_path / "out") == fleets.files_in(whole)


def test_tomorrow_goes_on_where_today_has_ended(values, tmp_path):
    fleets.write_days(tmp_path / "both", values, days=2)
    fleets.write_days(tmp_path / "today", values[:200], days=1)
    fleets.write_days(tmp_path / "tomorrow", values[200:], days=1, first=1)
    score(tmp_path / "both", tmp_path / "out", workers=1)
    score(tmp_path / "today", tmp_path / "out-1", workers=1, state_out=tmp_path / "state")
    second = score(
        tmp_path / "tomorrow", tmp_path / "out-2", workers=1, state_in=tmp_path / "state", state_out=tmp_path / "next"
    )
    assert second["totals"]["gaps"] == 0
    once, first, then = (forecasts_of(tmp_path / name) for name in ("out", "out-1", "out-2"))
    for name, rows in once.items():
        assert same_bits([rows[t] for t in range(400)], [{**first[name], **then[name]}[t] for t in range(400)])
    with pytest.raises(ValueError, match="has a state seen these rows"):
        score(tmp_path / "today", tmp_path / "out-3", workers=1, state_in=tmp_path / "next")
    with pytest.raises(ValueError, match="horizon: expected a state of 2, got 1"):
        score(tmp_path / "tomorrow", tmp_path / "out-4", Settings(horizon=2), state_in=tmp_path / "state")


def test_a_link_without_rows_today_keeps_its_state(values, tmp_path):
    fleets.write_days(tmp_path / "today", values[:50], days=1)
    fleets.write_days(tmp_path / "tomorrow", values[50:100, :7], days=1, first=1)
    score(tmp_path / "today", tmp_path / "out-1", workers=1, state_out=tmp_path / "state")
    score(
        tmp_path / "tomorrow", tmp_path / "out-2", workers=1, state_in=tmp_path / "state", state_out=tmp_path / "next"
    )
    before, after = states_in(tmp_path / "state"), states_in(tmp_path / "next")
    assert set(after) == set(before) == set(fleets.names_of(20))
    assert sorted(name for name in after if after[name] != before[name]) == fleets.names_of(7)


def states_in(folder):
    rows = [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    return {row["link"]: row for row in rows}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "day-0.parquet: "),
        (lambda path: path.write_bytes(b"no parquet"), "day-0.parquet: "),
        (lambda path: fleets.write(path, ["a"] * 20, range(20), np.full((20, 4), 0.5) * [1, 1, 9, 1]), "packet_loss"),
        (lambda path: fleets.write(path, ["a"] * 20, range(20, 0, -1), np.full((20, 4), 0.5)), "in the order of time"),
    ],
    ids=["cut", "not parquet", "a wrong unit", "newest first"],
)
def test_a_bad_file_is_named_and_left_out_on_request(values, tmp_path, damage, said):
    fleets.write_days(tmp_path / "in", values[:100], days=2)
    fleets.write_days(tmp_path / "good", values[:100], days=2)
    damage(tmp_path / "in" / "day-0.parquet")
    (tmp_path / "good" / "day-0.parquet").unlink()
    with pytest.raises(ValueError, match=f"day-0.parquet: .*{said.split(': ')[-1]}.*--skip-bad"):
        score(tmp_path / "in", tmp_path / "refused", workers=1)
    manifest = score(tmp_path / "in", tmp_path / "out", Settings(skip_bad=True), workers=1)
    assert list(manifest["bad"]) == ["day-0.parquet"]
    score(tmp_path / "good", tmp_path / "expected", workers=1)
    expected, found = forecasts_of(tmp_path / "expected"), forecasts_of(tmp_path / "out")
    assert set(found) == set(expected)
    assert all(same_bits(list(found[link].values()), list(expected[link].values())) for link in expected)


def test_a_file_that_is_bad_at_its_end_is_left_out_from_its_beginning(values, tmp_path, monkeypatch):
    """Its first row groups have been sorted by link before the last one is read."""
    monkeypatch.setattr("linkcast.fleet.source.CHUNK_ROWS", 64)
    wrong = values[:200, 0].copy()
    wrong[190, 2] = 7.0
    fleets.write(tmp_path / "in" / "a.parquet", ["a"] * 200, range(200), wrong, rows=50)
    fleets.write(tmp_path / "in" / "b.parquet", ["b"] * 200, range(200), values[:200, 1], rows=50)
    manifest = score(tmp_path / "in", tmp_path / "out", Settings(skip_bad=True), workers=1)
    assert list(manifest["bad"]) == ["a.parquet"]
    assert {link: len(rows) for link, rows in forecasts_of(tmp_path / "out").items()} == {"b": 200}


def test_an_output_of_other_settings_or_another_input_is_refused(whole, data, values, tmp_path):
    with pytest.raises(ValueError, match=r"level: 0\.95 then, 0\.9 now"):
        score(data, whole, Settings(level=0.9), part_ticks=64)
    fleets.write_days(tmp_path / "in", values[:100], days=1)
    score(tmp_path / "in", tmp_path / "out", workers=1)
    fleets.write_days(tmp_path / "in", values[1:101], days=1)
    with pytest.raises(ValueError, match="has changed since"):
        score(tmp_path / "in", tmp_path / "out", workers=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="a folder that is empty"):
        score(tmp_path / "in", tmp_path / "mine")


def test_files_that_do_not_follow_each_other_are_refused(values, tmp_path):
    fleets.write(tmp_path / "in" / "a.parquet", ["x"] * 50, range(50, 100), values[50:100, 0])
    fleets.write(tmp_path / "in" / "b.parquet", ["x"] * 50, range(50), values[:50, 0])
    with pytest.raises(ValueError, match=r"expected rows newer than 2026-03-02T00:01:39.* follow each other by name"):
        score(tmp_path / "in", tmp_path / "out", workers=1)


def test_a_missing_column_and_an_empty_folder_are_told(values, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected a Parquet file or a folder with \*.parquet"):
        score(tmp_path / "empty", tmp_path / "out")
    fleets.write_days(tmp_path / "in", values[:50], days=1)
    with pytest.raises(ValueError, match="expected the columns circuit, got link, timestamp"):
        score(tmp_path / "in", tmp_path / "out", Settings(link="circuit"))


def test_a_peak_and_an_allocation_stand_beside_the_band(values, tmp_path):
    fleets.write(tmp_path / "in.parquet", ["x"] * 100, range(100), values[:100, 0])
    score(tmp_path / "in.parquet", tmp_path / "out", Settings(horizon=3, capacity_mbps=500.0), workers=1)
    table = pq.read_table(tmp_path / "out" / "forecasts", partitioning=None)
    engine = Engine()
    stream = engine.stream("internet", horizon=3)
    peaks = []
    for sample in values[:100, 0]:
        stream.push(sample)
        peak = stream.peak(3)
        peaks.append(np.nan if peak is None else peak.p90)
    assert same_bits(table["peak_p90"].to_numpy(), peaks)
    seen = values[:100, 0].copy()
    seen[:, 1] *= engine.manifest["models"]["internet_ddqn"]["trained_on"]["capacity_mbps"] / 500.0
    assert table["allocation_percent"].to_pylist() == ((engine.decide("internet", seen) + 1) * 10).tolist()


def test_a_link_without_a_capacity_has_no_allocation(values, tmp_path):
    import pyarrow as pa

    fleets.write_days(tmp_path / "in", values[:40, :3], days=1)
    table = pa.table({"link": ["edge-000", "edge-002"], "capacity_mbps": [1e-3, 1e6]})
    pq.write_table(table, tmp_path / "capacities.parquet")
    settings = Settings(capacities=str(tmp_path / "capacities.parquet"))
    score(tmp_path / "in", tmp_path / "out", settings, workers=1)
    rows = pq.read_table(tmp_path / "out" / "forecasts", partitioning=None).to_pylist()
    given = {row["link"]: {one["allocation_percent"] for one in rows if one["link"] == row["link"]} for row in rows}
    assert given == {"edge-000": {100}, "edge-001": {None}, "edge-002": {10}}
