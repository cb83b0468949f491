"""What comes after the end of a file: `forecast_ahead` and `linkcast forecast FILE`."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest

import linkcast
from linkcast.ahead import forecast_ahead
from linkcast.traces import read_trace


@pytest.fixture
def link_file(tmp_path):
    """A hundred rows of a link, one in five seconds, with a row that lacks its rate."""
    random = np.random.default_rng(4)
    rate = 40.0 + 10.0 * np.sin(np.arange(100) / 6.0) + random.normal(0.0, 2.0, 100)
    lines = [f"2026-01-05T20:{5 * k // 60:02}:{5 * k % 60:02},{r:.3f},20" for k, r in enumerate(rate.tolist())]
    lines[50] = lines[50].replace(f"{rate[50]:.3f}", "")
    path = tmp_path / "link.csv"
    path.write_text("time,bandwidth_mbps,latency_ms\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_what_is_ahead_is_what_a_stream_says_after_the_last_row(link_file):
    engine = linkcast.Engine()
    trace = read_trace(link_file)
    stream = engine.stream("internet", most_held=100, horizon=10, level=0.9)
    for sample, held in zip(trace.features, trace.held, strict=True):
        stream.push(None if held else sample)
        stream.advance()
    (link,) = forecast_ahead(engine, "internet", trace, 0.9)
    assert (link.link, link.model, link.rows, link.step_s) == ("", "internet_lstm", 100, 5.0)
    assert str(link.time(1)) == "2026-01-05T20:08:20.000000"
    for steps in (1, 4, 10):
        expected = stream.horizon(steps)
        answer = link.answers[steps - 1]
        for name in ("mbps", "p10", "p90", "reserve"):
            assert getattr(answer, name) == pytest.approx(getattr(expected, name), rel=1e-6)
        assert link.peaks[steps - 1].p90 == pytest.approx(stream.peak(steps).p90, rel=1e-6)
    assert {answer.source for answer in link.answers} == {"mixture"}


def test_each_link_of_a_file_has_a_forecast_of_its_own(tmp_path):
    rows = [f"2026-01-05T20:00:{k:02},{name},{level}" for k in range(30) for name, level in (("a", 10), ("b", 70))]
    path = tmp_path / "two.csv"
    path.write_text("time,session,bandwidth_mbps\n" + "\n".join(rows) + "\n", encoding="utf-8")
    links = forecast_ahead(linkcast.Engine(), "internet", read_trace(path))
    assert [link.rows for link in links] == [30, 30]
    assert ["a" in links[0].link, "b" in links[1].link] == [True, True]
    assert links[0].answers[0].mbps < 20
    assert links[1].answers[0].mbps > 50


def test_the_peak_of_more_steps_is_no_lower_and_no_lower_than_one_of_them(tmp_path):
    """By what a highest value is; the stream follows each of these quantiles by itself, and they cross."""
    random = np.random.default_rng(7)
    rates = np.exp(random.normal(0.0, 0.8, 400)) * np.repeat(random.choice([1.0, 20.0], 40), 10)
    trace = read_trace({"time": np.arange(1767571200, 1767571600), "bandwidth_mbps": rates})
    (link,) = forecast_ahead(linkcast.Engine(), "internet", trace)
    assert any(np.diff([peak.p90 for peak in link.peaks]) < 0.0)
    assert (np.diff(link.peak_p90) >= 0.0).all()
    for steps, bound in enumerate(link.peak_p90, 1):
        answers, peaks = link.answers[:steps], link.peaks[:steps]
        assert bound == max(one.p90 for one in (*answers, *peaks))
    assert [row["peak_p90"] for row in link.report()["ahead"]] == list(link.peak_p90)


def test_a_file_that_was_not_read_is_no_trace(link_file):
    unread: Any = str(link_file)
    with pytest.raises(TypeError, match="trace: expected what read_trace returns, got str"):
        forecast_ahead(linkcast.Engine(), "internet", unread)


def test_a_link_without_a_forecast_is_named(run, tmp_path):
    rows = [f"2026-01-05T20:00:{k:02},{name},10" for k in range(30) for name in ("a", "b") if name == "a" or k < 5]
    path = tmp_path / "two.csv"
    path.write_text("time,session,bandwidth_mbps\n" + "\n".join(rows) + "\n", encoding="utf-8")
    status, out, err = run("forecast", path, "--json")
    assert status == 0
    assert "no forecast for b: fewer than 10 rows" in err
    assert [link["link"] for link in json.loads(out)["links"]] == ["a"]
    assert any("no forecast for b" in notice for notice in json.loads(out)["notices"])


@pytest.mark.parametrize(
    ("written", "heading", "first"),
    [
        ("2026-01-05T20:00:{:02}", "Time  ", "2026-01-05 20:00:20 "),
        ("2026-01-05T20:00:{:02}Z", "Time (UTC)", "2026-01-05 20:00:20 "),
        ("2026-01-05T20:00:{:02}.25+05:30", "Time (+05:30)", "2026-01-05 20:00:20.250 "),
    ],
)
def test_the_table_says_which_clock_its_times_are_of(run, tmp_path, written, heading, first):
    path = tmp_path / "link.csv"
    rows = [f"{written.format(k)},{10 + k % 3}" for k in range(20)]
    path.write_text("time,bandwidth_mbps\n" + "\n".join(rows) + "\n", encoding="utf-8")
    _, out, _ = run("forecast", path)
    lines = out.splitlines()
    assert any(line.startswith(heading) for line in lines)
    assert sum(line.startswith(first) for line in lines) == 1


def test_a_file_of_json_holds_what_is_printed_as_json(run, link_file, tmp_path):
    _, out, _ = run("forecast", link_file, "--json")
    run("forecast", link_file, "-o", tmp_path / "ahead.json")
    assert json.loads((tmp_path / "ahead.json").read_text(encoding="utf-8")) == json.loads(out)


def test_a_file_that_ends_too_soon_after_a_gap_is_refused_in_a_line(run, link_file):
    lines = link_file.read_text(encoding="utf-8").splitlines()
    late = [line.replace("T20:", "T23:") for line in lines[1:8]]
    link_file.write_text("\n".join([*lines, *late]) + "\n", encoding="utf-8")
    status, out, err = run("forecast", link_file)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "link.csv: expected at least 10 rows without a gap at its end, got 7" in err


def test_forecast_prints_and_writes_the_next_ten_ticks(run, link_file, tmp_path):
    status, out, _ = run("forecast", link_file, "--risk", "0.1")
    assert status == 0
    assert "link.csv: the next 10 ticks [Mbit/s]" in out
    assert "2026-01-05 20:08:20" in out
    assert "above the reserve in 10 % of the ticks" in " ".join(out.split())
    (link,) = forecast_ahead(linkcast.Engine(), "internet", read_trace(link_file), 0.9)
    assert f"{link.answers[9].mbps:.2f}" in out
    _, out, _ = run("forecast", link_file, "--risk", "0.1", "--json")
    ahead = json.loads(out)["links"][0]["ahead"]
    assert [row["steps"] for row in ahead] == list(range(1, 11))
    assert ahead[9]["reserve"] == pytest.approx(link.answers[9].reserve, abs=1e-5)
    table = tmp_path / "ahead.csv"
    status, out, err = run("forecast", link_file, "-o", table)
    assert (status, out) == (0, "")
    assert f"wrote {table}" in err
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["time"] for row in rows][:2] == ["2026-01-05T20:08:20.000000", "2026-01-05T20:08:25.000000"]
    assert {row["link"] for row in rows} == {read_trace(link_file).name}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv"], "nowhere.csv: no such file"),
        (["LINK", "gaming"], "expected one FILE"),
        (["LINK", "--from", "2026-03-02"], "is of service groups"),
        (["LINK", "--usage", "80"], "is of service groups"),
        (["LINK", "--risk", "1.5"], "expected above 0 and below 1, got 1.5"),
        (["gaming", "--risk", "0.1"], "needs a FILE"),
        (["-c", "packet_loss=0"], "needs a FILE"),
        (["internet"], "got 'internet': that is a link, whose forecast needs its telemetry: linkcast forecast FILE"),
    ],
)
def test_options_of_a_link_and_of_groups_are_not_mixed(run, link_file, arguments, words):
    status, out, err = run("forecast", *(link_file if word == "LINK" else word for word in arguments))
    assert status != 0
    assert out == ""
    assert words in " ".join(err.split())


def test_predict_says_where_a_link_is_forecast(run):
    status, _, err = run("predict", "datacenter")
    assert status == 1
    assert "linkcast forecast FILE" in err
