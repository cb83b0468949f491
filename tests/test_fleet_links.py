"""What is said of a link: on series whose character is known by construction; and the page that shows it."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

import fleets
from linkcast.fleet import Settings, score
from linkcast.fleet.characters import accuracy, character, verdicts
from linkcast.fleet.report import write_page
from linkcast.fleet.settings import part_ticks, shard_count, shard_of
from linkcast.fleet.tally import METHODS, add, new_tally
from linkcast.fleet.ticks import Cursor, Segment

RNG = np.random.default_rng(5)


def tally_of(series, answers=None, step_s=1.0, parts=(640, 1280, 10_000)):
    """One link's tally. Without answers the stream says the last value."""
    series = np.asarray(series, np.float64)[:, None]
    given = np.repeat(series[:, :, None], 5, axis=2) if answers is None else answers
    micros = fleets.START_US + (np.arange(len(series))[:, None] * step_s * 1e6).astype(np.int64)
    tally, begin = new_tally(1), 0
    for end in (*parts, len(series)):
        if begin < min(end, len(series)):
            add(tally, series[begin:end], given[begin:end], micros[begin:end])
        begin = end
    return tally


def test_sums_do_not_depend_on_where_a_part_ends_but_for_rounding():
    series = 50.0 + 5.0 * RNG.normal(size=3200)
    series[100:130] = np.nan
    one, many = tally_of(series, parts=()), tally_of(series, parts=(640, 1280, 1920, 2560))
    for name in one:
        np.testing.assert_allclose(one[name], many[name], rtol=1e-12, err_msg=name)


def test_the_errors_are_those_of_the_rules_on_windows_of_the_series():
    series = np.exp(RNG.normal(3.0, 0.4, 500))
    tally = tally_of(series)
    errors = accuracy(tally)
    # the first ten values make the first window; from then on every value is scored
    assert tally["scored"][0] == 490
    assert errors["persistence_mae"][0] == pytest.approx(np.abs(np.diff(series))[9:].mean())
    assert errors["mae"][0] == errors["persistence_mae"][0]
    means = np.lib.stride_tricks.sliding_window_view(series, 10)[:-1].mean(axis=1)
    index = METHODS.index("moving_average")
    assert tally["absolute"][0, index] / 490 == pytest.approx(np.abs(series[10:] - means).mean())


def test_the_band_and_the_reserve_are_counted():
    series = np.tile([10.0, 20.0, 30.0, 40.0], 100)
    answers = np.broadcast_to(np.array([25.0, 15.0, 25.0, 35.0, 38.0]), (400, 1, 5)).copy()
    found = accuracy(tally_of(series, answers))
    assert (found["above_p90"][0], found["below_p10"][0], found["short"][0]) == pytest.approx(
        (0.25, 0.25, 0.25), abs=2e-3
    )
    assert found["idle_share"][0] == pytest.approx((28 + 18 + 8) / (10 + 20 + 30 + 40), abs=5e-3)


def test_the_noise_floor_of_white_noise_on_a_slope_is_its_standard_deviation():
    series = 100.0 + 0.02 * np.arange(20_000) + 3.0 * RNG.normal(size=20_000)
    found = character(tally_of(series))
    assert found["noise_floor"][0] * found["mean_mbps"][0] == pytest.approx(3.0, rel=0.02)


def test_steps_are_counted_and_noise_is_none():
    calm = 100.0 + RNG.normal(size=3200)
    assert character(tally_of(calm))["steps_per_1000"][0] == 0.0
    moved = calm + 80.0 * (np.arange(3200) // 800 % 2)  # three steps
    assert character(tally_of(moved))["steps_per_1000"][0] * 3.2 == pytest.approx(3.0)


def test_a_season_is_what_the_hour_explains_on_other_days():
    hours = np.arange(8 * 24)
    wave = 100.0 + 30.0 * np.sin(2 * np.pi * hours / 24)
    noise = RNG.normal(size=len(hours))
    share = (30.0**2 / 2) / (30.0**2 / 2 + 15.0**2)  # variance of the wave over all of it
    found = character(tally_of(wave + 15.0 * noise, step_s=3600.0))["seasonality"][0]
    assert found == pytest.approx(share, abs=0.1)
    assert character(tally_of(100.0 + 15.0 * noise, step_s=3600.0))["seasonality"][0] < 0.1
    assert np.isnan(character(tally_of(wave[:20], step_s=3600.0))["seasonality"][0])


def test_a_random_walk_is_not_worth_a_forecast_and_noise_is():
    walk = 1000.0 + np.cumsum(RNG.normal(size=4000))
    assert verdicts(tally_of(walk)).tolist() == ["do not bother"]
    noise = 100.0 + 10.0 * RNG.normal(size=4000)
    best = np.broadcast_to(np.full(5, 100.0), (4000, 1, 5)).copy()
    assert verdicts(tally_of(noise, best)).tolist() == ["forecast"]
    assert verdicts(tally_of(noise)).tolist() == ["rule"]  # the stream says the last value: a mean is better
    assert verdicts(tally_of(noise[:150])).tolist() == ["too short"]


def test_shards_and_parts_depend_on_links_alone():
    assert [shard_count(links) for links in (1, 7, 1000, 10_000, 1_000_000)] == [1, 7, 16, 79, 7813]
    assert shard_of("edge-7", 16) == shard_of("edge-7", 16)
    # CRC-32 of "123456789" is 0xCBF43926 (the check value of its definition)
    assert shard_of("123456789", 1 << 32) == 0xCBF43926
    assert all(part_ticks(links) % 320 == 0 and part_ticks(links) > 0 for links in (1, 128, 100_000))


@pytest.mark.parametrize("most", [1, 2, 3, 7, 1000])
def test_ticks_are_the_same_however_many_are_taken_at_once(tmp_path, most):
    from linkcast.fleet.split import ROW

    seconds = [0, 1, 2, 2, 5, 6, 4, 7, 40, 41, 43]
    rows = np.zeros(len(seconds), ROW)
    rows["time"], rows["features"] = fleets.START_US + np.array(seconds) * 1_000_000, np.arange(44.0).reshape(11, 4)
    rows.tofile(tmp_path / "rows")
    cursor = Cursor("x", [Segment(tmp_path / "rows", 0, 4), Segment(tmp_path / "rows", 4, 11)], 1_000_000)
    taken = []
    while cursor.row < cursor.rows:
        ticks = cursor.take(most, True)
        assert len(ticks.times) <= most
        taken += zip(((ticks.times - fleets.START_US) // 1_000_000).tolist(), ticks.is_row.tolist(), strict=True)
    # 2 comes twice, 4 is late; 3 and 4 are missing before 5; of 33 ticks before 40 there are four
    expected = [(0, True), (1, True), (2, True), (5, False), (5, False), (5, True), (6, True), (7, True)]
    expected += [(40, False)] * 4 + [(40, True), (41, True), (43, False), (43, True)]
    assert taken == expected
    assert cursor.counts == {"repeated": 1, "late": 1, "gaps": 3, "unmeasured": 0}


def test_the_page_needs_nothing_else_and_escapes_names(tmp_path):
    values = fleets.telemetry(links=4, ticks=300)
    for index, name in enumerate(["<script>alert(1)</script>", "b&b", "c", "d"]):
        fleets.write(tmp_path / "in" / f"{index}.parquet", [name] * 300, np.arange(300), values[:, index])
    (tmp_path / "in" / "bad.parquet").write_bytes(b"none")
    manifest = score(tmp_path / "in", tmp_path / "out", Settings(skip_bad=True), workers=1)
    write_page(tmp_path / "out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "b&amp;b" in page
    assert "bad.parquet" in page
    assert not re.search(r"(src|href)=|@import|url\(|https?://", page)
    links = pq.read_table(tmp_path / "out" / "links.parquet").to_pylist()
    assert sum(manifest["verdicts"].values()) == len(links) == 4
    worth = sum(row["verdict"] == "forecast" for row in links)
    assert f"{worth} of 4 links are worth a forecast" in page
    with pytest.raises(ValueError, match="expected the folder of a run"):
        write_page(tmp_path / "in", tmp_path / "page.html")
