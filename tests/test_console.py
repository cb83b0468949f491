"""What the command line prints holds every number, in any terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from linkcast.console import print_json, say_in_any_encoding, show, table


def test_a_table_that_is_wider_than_the_terminal_cuts_no_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = table("Latency")
    numbers = [f"{1234567.125 + k:.3f}" for k in range(8)]
    for number in numbers:
        rows.add_column(f"p{number[-5:]} [Mbit/s]", justify="right")
    rows.add_row(*numbers)
    show(rows)
    out = capsys.readouterr().out
    assert all(number in out for number in numbers)
    assert "…" not in out


def test_a_table_that_is_wider_than_the_terminal_goes_on_below_with_its_first_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = table("Errors", "Rule", *(f"Horizon {step}" for step in range(1, 9)))
    for name in ("persistence", "moving average"):
        rows.add_row(name, *(f"{len(name)}.{step}" for step in range(1, 9)))
    show(rows)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 60
    assert (
        sum(line.startswith("Rule") for line in lines) == sum(line.startswith("moving average") for line in lines) > 1
    )
    numbers = [cell for line in lines if line.startswith("persistence") for cell in line.split()[1:]]
    assert numbers == [f"11.{step}" for step in range(1, 9)]


def test_an_encoding_that_lacks_a_character_gets_the_nearest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    ascii_out = io.TextIOWrapper(written, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", ascii_out)
    monkeypatch.setattr(sys, "stderr", ascii_out)
    say_in_any_encoding()
    print("R² 0.9 …")
    print_json({"name": "Zürich²"})
    first, rest = written.getvalue().decode("ascii").split("\n", 1)
    assert first == "R2 0.9 ..."
    assert json.loads(rest) == {"name": "Zürich²"}  # data are not changed


def test_a_wrong_option_of_the_bench_is_told_without_another_programs_usage() -> None:
    command = [sys.executable, "-m", "linkcast", "bench", "--only", "foo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--only: expected some of lstm, ddqn" in done.stderr and "got 'foo'" in done.stderr
    assert "usage" not in done.stderr
