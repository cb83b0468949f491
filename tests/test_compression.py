"""Compression levels: tables that are measured and read, and the choice from Python (rules: test_compression.cpp)."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import linkcast
from conftest import ROOT, run
from linkcast.compression import LEVELS, codecs_content, sample_data, write_codecs

# 8 Mbit take 0.04, 0.2 and 2 s to compress, and 0.01, 0.01 and 0.04 s to decompress.
CODECS = [
    linkcast.Codec("fast", 0.5, 200.0, 800.0),
    linkcast.Codec("good", 0.4, 40.0, 800.0),
    linkcast.Codec("best", 0.25, 4.0, 200.0),
]


@pytest.mark.parametrize(
    ("mbps", "overlap", "name", "seconds"),
    [
        (1000.0, False, None, 0.008),
        (10.0, False, "fast", 0.04 + 0.4 + 0.01),
        (2.0, False, "good", 0.2 + 1.6 + 0.01),
        (0.5, False, "best", 2 + 4 + 0.04),
        (10.0, True, "good", 0.32),
        (1.0, True, "best", 2.0),
    ],
)
def test_the_least_transfer_time_is_chosen(mbps: float, overlap: bool, name: str | None, seconds: float) -> None:
    choice = linkcast.choose_compression(CODECS, 1e6, mbps, overlap=overlap)
    assert (choice.codec and choice.codec.name) == name
    assert choice.seconds == pytest.approx(seconds)
    assert choice.seconds_p50 == pytest.approx(seconds)


def test_the_band_of_a_stream_decides(engine: linkcast.Engine) -> None:
    stream = engine.stream("internet")
    for second in range(60):
        answer = stream.push([50.0, 5.0 + 4.0 * math.sin(second), 0.0, 1.0])
    assert answer is not None
    assert answer.p10 < answer.p50 < answer.p90
    choice = linkcast.choose_compression([CODECS[0]], 1e6, answer)
    assert choice.codec == CODECS[0]
    assert choice.seconds == choice.seconds_p10 == pytest.approx(8 * 0.5 / answer.p10)
    assert choice.seconds_p90 == pytest.approx(8 * 0.5 / answer.p90)
    median = linkcast.choose_compression([CODECS[0]], 1e6, answer, by="p50")
    assert median.seconds == pytest.approx(8 * 0.5 / answer.p50)


def test_without_a_forecast_or_codecs_nothing_is_compressed(engine: linkcast.Engine) -> None:
    answers = engine.stream("internet", rows=2).push(None)  # no window is full
    unknown = linkcast.choose_compression(CODECS, 1e6, answers[0])
    assert unknown.codec is None
    assert math.isnan(unknown.seconds)
    assert linkcast.choose_compression([], 1e6, 8.0) == (None, 1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("codec", "options", "message"),
    [
        (("x", 0.0, 1.0, 1.0), {}, "expected a ratio and speeds above 0, got 0"),
        (("x", 0.5, math.nan, 1.0), {}, "got 0.500000, nan"),
        (("x", 0.5, 1.0, 1.0), {"by": "p90"}, "by: expected 'p10' or 'p50', got 'p90'"),
        (("x", 0.5, 1.0, 1.0), {"size_bytes": -1.0}, "size_bytes: expected 0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(codec: tuple, options: dict, message: str) -> None:
    size_bytes = options.pop("size_bytes", 1.0)
    with pytest.raises(ValueError, match=message):
        linkcast.choose_compression([linkcast.Codec(*codec)], size_bytes, 1.0, **options)


def test_codecs_are_measured_at_every_level_and_their_ratio_is_zlibs() -> None:
    data = sample_data(40_000)
    assert len(data) == 40_000
    codecs = {codec.name: codec for codec in linkcast.measure_codecs(data)}
    assert list(codecs) == [f"{name}-{level}" for name, levels in LEVELS.items() for level in levels]
    assert codecs["zlib-6"].ratio == len(zlib.compress(data, 6)) / len(data)
    assert all(codec.compress_mbps > 0 and codec.decompress_mbps > 0 for codec in codecs.values())
    with pytest.raises(ValueError, match="expected bytes to compress, got none"):
        linkcast.measure_codecs(b"")


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_codecs(tmp_path / "codecs.json", CODECS, "logs", 1000)
    assert linkcast.read_codecs(tmp_path / "codecs.json") == CODECS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "expected a table of `linkcast measure-codecs`"),
        ({"codecs": [{"name": "x", "ratio": 0, "compress_mbps": 1, "decompress_mbps": 1}]}, "x: ratio: expected a num"),
        ({"codecs": [3]}, "expected an object with a name, got 3"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "codecs.json"
    path.write_text(json.dumps(codecs_content(CODECS, "logs", 1000) | change), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        linkcast.read_codecs(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"codecs\.json: expected JSON"):
        linkcast.read_codecs(path)


def test_the_command_measures_a_file(tmp_path: Path) -> None:
    (tmp_path / "telemetry.csv").write_bytes(sample_data(20_000))
    command = [sys.executable, "-m", "linkcast", "measure-codecs"]
    output = run(*command, "telemetry.csv", "--output", "codecs.json", cwd=tmp_path)
    assert "Codecs on telemetry.csv, 20,000 bytes" in output
    codecs = linkcast.read_codecs(tmp_path / "codecs.json")
    assert all(codec.name in output for codec in codecs)
    (tmp_path / "empty").touch()
    failed = subprocess.run([*command, "empty"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr) == (1, "linkcast: empty: expected data to compress, got an empty file\n")


def test_the_example_runs(tmp_path: Path) -> None:
    write_codecs(tmp_path / "codecs.json", CODECS, "logs", 1000)
    output = run(sys.executable, ROOT / "examples" / "python" / "compression.py", "codecs.json", cwd=tmp_path)
    assert output.count("Mbit/s") >= 3
    assert "good" in output


@pytest.mark.parametrize("forecast", [math.nan, math.inf, -1.0])
def test_a_bandwidth_that_is_none_is_refused(forecast: float) -> None:
    with pytest.raises(ValueError, match="forecast: expected an Answer or Mbit/s, 0 or more, got"):
        linkcast.choose_compression(CODECS, 1e6, forecast)
