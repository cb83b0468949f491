"""The guide to your own data: its commands and its Python run, in its order, on small files of the same kinds."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import linkcast
from linkcast.evaluation import evaluate_trace
from linkcast.traces import ALIASES, UNITS

pytest.importorskip("tensorflow")
pytest.importorskip("lightgbm")
pytest.importorskip("matplotlib")

GUIDE = (Path(__file__).parent.parent / "docs" / "own-data.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"^```console\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]


def link(rows: int, seed: int) -> np.ndarray:
    """(rows,) Mbit/s that swing around 40."""
    noise = np.random.default_rng(seed).normal(0.0, 2.0, rows)
    for row in range(1, rows):
        noise[row] += 0.8 * noise[row - 1]
    return np.maximum(40.0 + noise, 1.0)


def write_files(folder: Path) -> None:
    """home.csv.gz, probes.csv, probes.json and groups.csv, as the guide describes them."""
    rng = np.random.default_rng(0)
    times = np.datetime64("2026-03-02T00:00:30") + 1800 * np.arange(700)
    home = [
        f"{time},{latency:.1f},{rate:.2f},1"
        for time, latency, rate in zip(times, rng.uniform(9, 20, 700), link(700, 1), strict=True)
    ]
    text = "timestamp,latency_ms,dl_mbps,reliability\n" + "\n".join(home) + "\n"
    (folder / "home.csv.gz").write_bytes(gzip.compress(text.encode()))

    lines = ["timestamp,link,rx,rtt"]
    for second, rate in enumerate(link(300, 2)):
        for name in ("dsl1", "dsl2", "lte"):
            lines.append(f"{1772474400 + second},{name},{rate * 125:.1f},{rng.uniform(0.02, 0.04):.4f}")
    (folder / "probes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "probes.json").write_text(
        re.findall(r"^```json\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)[0], encoding="utf-8"
    )

    lines = ["timestamp,service_group,bandwidth_mbps,latency_ms,packet_loss,reliability"]
    hours = np.datetime64("2026-03-02T00:00:00") + 3600 * np.arange(400)
    for time, rate in zip(hours, link(400, 3), strict=True):
        lines += [f"{time},{group},{rate:.2f},20,0,1" for group in ("Gaming", "Shopping")]
    (folder / "groups.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which every command of the guide has run, and what each has printed."""
    folder = tmp_path_factory.mktemp("guide")
    write_files(folder)
    printed = {}
    for command in COMMANDS:
        arguments = [sys.executable, "-m", *shlex.split(command)]
        done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
        printed[command] = done.stdout
    return folder, printed


def printed_by(outputs: tuple[Path, dict[str, str]], start: str) -> str:
    return next(text for command, text in outputs[1].items() if command.startswith(start))


def test_the_trained_folder_is_one_that_the_engine_loads(outputs):
    engine = linkcast.Engine.load(outputs[0] / "my-line")
    trained_on = engine.manifest["models"]["internet_lstm"]["trained_on"]
    assert trained_on["source"] == "telemetry"
    assert engine.names == linkcast.Engine.load().names
    assert "packet_loss: not in the file, taken as 0" in printed_by(outputs, "linkcast train")
    assert (outputs[0] / "my-line.png").stat().st_size > 10_000


def test_the_score_of_a_command_is_the_score_of_the_training(outputs):
    folder = outputs[0]
    engine = linkcast.Engine.load(folder / "my-line")
    evaluation = evaluate_trace(engine, "internet", linkcast.read_trace(folder / "home.csv.gz"), last=0.15)
    skill = engine.manifest["models"]["internet_lstm"]["skill"]
    # The command also scores the ten rows after the cut, whose windows reach back before it.
    assert evaluation["samples"] == skill["samples"] + 10
    assert evaluation["model"]["mae"] == pytest.approx(skill["model"]["mae"], rel=0.15)


def headings(text: str) -> list[str]:
    """The headings of the tables in what a command has printed, without their spacing."""
    lines = text.splitlines()
    return [" ".join(lines[row - 1].split()) for row, line in enumerate(lines) if line.startswith("───")]


def test_the_output_that_the_guide_shows_has_the_tables_that_the_command_prints(outputs):
    shown = next(
        block
        for block in re.findall(r"^```console\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
        if block.startswith("$ linkcast evaluate home.csv.gz")
    )
    printed = printed_by(outputs, "linkcast evaluate home.csv.gz")
    assert headings(shown) == headings(printed)
    assert len(headings(shown)) == 5


def test_the_python_of_the_guide_runs(outputs):
    for block in re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=outputs[0], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        rates = re.findall(r"[\d.]+(?= Mbit/s)", done.stdout) or [done.stdout.strip("[]\n")]
        assert all(float(rate) > 0.0 for rate in rates)


def test_options_and_the_mapping_file_read_the_links_that_they_name(outputs):
    by_options = printed_by(outputs, "linkcast evaluate probes.csv -c")
    assert "600 rows in 2 segments" in by_options
    assert "A row every 1 s, brought to 2 s by time-weighted means" in printed_by(
        outputs, "linkcast evaluate probes.csv --m"
    )


def test_the_group_comes_from_telemetry_and_the_others_stay_simulated(outputs):
    assert "telemetry" in printed_by(outputs, "linkcast groups")
    manifest = json.loads((outputs[0] / "my-groups" / "metadata" / "manifest.json").read_text(encoding="utf-8"))
    sources = {name: entry["trained_on"]["source"] for name, entry in manifest["models"].items()}
    assert {name for name, source in sources.items() if source == "telemetry"} == {"gaming_model", "gaming_fallback"}
    stats = json.loads((outputs[0] / "my-groups" / "metadata" / "service_group_stats.json").read_text(encoding="utf-8"))
    profile = np.array(stats["groups"]["gaming"]["hour_of_week"]["bandwidth_mbps"])
    rate = np.array([float(f"{value:.2f}") for value in link(400, 3)])
    # Monday 0:00 is the first row; the profile is the mean of each hour of the week.
    expected = [rate[hour::168].mean() for hour in range(168)]
    np.testing.assert_allclose(profile, expected, rtol=1e-4)
    assert "imulated" not in printed_by(outputs, "linkcast predict gaming")


def test_the_guide_names_every_alias_and_unit():
    for aliases in ALIASES.values():
        for alias in aliases:
            assert f"`{alias}`" in GUIDE
    for unit in {unit for units in UNITS.values() for unit in units} - {"%"}:
        assert f"`{unit}`" in GUIDE
