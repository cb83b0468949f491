"""The decision log: what is written is decided again bit for bit, and what goes wrong costs no more than it has to."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

import linkcast
from conftest import ROOT
from linkcast.cli import app
from linkcast.live import record
from linkcast.live.explain import explain, find_tick
from linkcast.live.log import SCHEMA_FILE, DecisionLog, is_log, log_files, read_log, tick_line, write_parquet
from linkcast.live.record import Header, Tick
from linkcast.live.rerun import rerun
from linkcast.live.session import Session
from live_sessions import LIMITS, START_NS, other_models, samples, ticks

HOUR = 3600
SCHEMA = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of an hour at a tick a second, rotated a few times."""
    path = tmp_path_factory.mktemp("hour") / "decisions.jsonl"
    session = Session("eth0", linkcast.Engine.load(), **LIMITS)
    log = DecisionLog(path, session.header, most_bytes=1_400_000)
    assert sum(1 for _ in ticks(session, samples(HOUR), log)) == HOUR
    log.close()
    return path


@pytest.fixture
def short(engine: linkcast.Engine, tmp_path: Path) -> Path:
    """The log of a minute and a half, in one file, with a shadow."""
    path = tmp_path / "decisions.jsonl"
    session = Session("eth0", engine, shadow=engine, **LIMITS)
    log = DecisionLog(path, session.header)
    list(ticks(session, samples(90), log))
    log.close()
    return path


def changed(path: Path, line: int, change: dict[str, object]) -> Path:
    """The log with other values in a line, counted from 0."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[line] = json.dumps(json.loads(lines[line]) | change)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_logged_hour_is_decided_again_bit_for_bit_from_every_rotated_file(hour: Path) -> None:
    files = log_files(hour)
    assert len(files) >= 3
    results = [rerun(file) for file in files]
    assert [
        result.verdict() for result in results if not result.holds or result.same != result.ticks or result.why
    ] == []
    assert sum(result.ticks for result in results) == HOUR
    told = {(tick.reason, tick.blocked) for file in files for tick in read_log(file)[1]}
    assert {reason for reason, _ in told} >= {"stalled", "reserve", "allocator"}  # the hour had something to decide
    assert {blocked for _, blocked in told} == {None, "hold", "slew"}


def test_a_changed_decision_is_found_and_named(short: Path) -> None:
    number = 41
    tick = json.loads(short.read_text(encoding="utf-8").splitlines()[number])
    result = rerun(changed(short, number, {"allocation_mbps": tick["allocation_mbps"] * (1 + 1e-15)}))
    assert not result.holds
    assert (result.ticks, result.same) == (90, 89)
    assert result.first is not None
    assert (result.first.index, result.first.field) == (tick["index"], "allocation_mbps")
    assert "the log has been changed" in result.verdict()


def test_another_model_is_named_with_the_first_tick_that_differs(short: Path, tmp_path: Path) -> None:
    result = rerun(short, other_models(tmp_path / "other"))
    assert not result.holds
    assert result.first is not None
    assert result.first.index <= 10  # where the window is full
    assert [text.split()[:2] for text in result.why] == [["model", "internet_lstm"]]


def test_another_instruction_set_decides_within_the_tolerance_and_says_so(short: Path) -> None:
    code = (
        f"from linkcast.live.rerun import rerun; r = rerun({str(short)!r}); "
        "print(r.holds, r.same < r.ticks, r.outside, r.verdict())"
    )
    env = {**os.environ, "LINKCAST_ISA": "scalar"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True True 0 ")
    assert "kernels of internet_lstm were" in done.stdout


def test_a_shadow_is_decided_again_too(short: Path) -> None:
    result = rerun(short)
    assert result.same == result.ticks == 90
    assert result.shadow is not None
    assert result.shadow["gain"] == 0.0  # it is the same model
    line = 60
    shadow = json.loads(short.read_text(encoding="utf-8").splitlines()[line])["shadow"]
    assert rerun(changed(short, line, {"shadow": shadow | {"gain": 0.5}})).first.field == "shadow.gain"  # type: ignore[union-attr]


def test_a_line_that_was_cut_off_is_left_out_and_the_others_hold(engine: linkcast.Engine, short: Path) -> None:
    content = short.read_bytes()
    short.write_bytes(content[:-40])
    assert rerun(short).same == 89
    session = Session("eth0", engine, **LIMITS)
    log = DecisionLog(short, session.header)  # a restart numbers the file and begins another
    list(ticks(session, samples(12), log))
    log.close()
    assert [rerun(file).same for file in log_files(short)] == [89, 12]


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The keys of every value within a JSON document, outer ones first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


@pytest.mark.parametrize("wrong", [None, "x", -1, 1e300, [], {"a": [1]}, True], ids=repr)
def test_a_header_of_other_types_is_refused_or_read_and_never_ends_in_a_traceback(
    engine: linkcast.Engine, short: Path, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linkcast.live.rerun._engine", lambda *_: engine)  # loading it each time takes a minute
    lines = short.read_text(encoding="utf-8").splitlines()
    header = json.loads(lines[0])
    refused = 0
    for path in places(header):
        if len(path) > 1 and path[-1] not in (0, *(key for key in path if isinstance(key, str))):
            continue  # of a list, the first item
        damaged = json.loads(lines[0]) | {"next_index": 1}  # with a state to go on from
        at = damaged
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = wrong
        short.write_text("\n".join([json.dumps(damaged), *lines[1:3]]) + "\n", encoding="utf-8")
        try:
            rerun(short)
        except ValueError:  # an engine's LoadError is one
            refused += 1
    assert refused >= 40


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(short: Path) -> None:
    lines = short.read_bytes().splitlines(keepends=True)
    lines[20] = lines[20][:50] + b"\n"
    short.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match="line 21: expected a record of a decision log"):
        rerun(short)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sample": 3}, r"sample: expected an object, got 3"),
        ({"forecast": {"mbps": "x"}}, r"forecast\.mbps: expected a number, got 'x'"),
        ({"forecast": None}, r"forecast: expected an object, got None"),
        ({"telemetry": [1, []]}, r"telemetry\[1\]: expected a number, got \[\]"),
        ({"index": 1.5}, r"index: expected a whole number, got 1\.5"),
        ({"time_ns": 10**30}, r"time_ns: expected a whole number, got 1000"),
        ({"congested": 1}, r"congested: expected true or false, got 1"),
        ({"shadow": {"verdict": "undecided"}}, r"shadow\.forecast: expected it, and it is missing"),
        ({"type": []}, r"expected a header or a tick, got \[\]"),
    ],
)
def test_a_value_of_another_type_is_an_error_that_names_line_and_field(
    short: Path, change: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=rf"line 21: {says}"):
        list(read_log(changed(short, 20, change))[1])


def test_lines_nested_without_an_end_are_an_error_that_names_them(short: Path) -> None:
    with short.open("ab") as file:
        file.write(b"[" * 100_000 + b"\n")
    with pytest.raises(ValueError, match="line 92: expected a record of a decision log"):
        list(read_log(short)[1])


def test_a_header_whose_units_are_not_those_of_its_features_is_refused(short: Path) -> None:
    with pytest.raises(ValueError, match="line 1: units: expected 4, one for each feature, got 1"):
        read_log(changed(short, 0, {"units": ["ms"]}))


def test_a_newer_schema_is_refused_and_an_added_field_is_not(short: Path) -> None:
    assert rerun(changed(short, 5, {"added_later": 1})).same == 90
    with pytest.raises(ValueError, match="line 6: expected schema 1, got 2"):
        rerun(changed(short, 5, {"schema": 2}))


def test_headers_of_before_scores_and_kernels_were_fields_are_read(short: Path) -> None:
    header = json.loads(short.read_text(encoding="utf-8").splitlines()[0])
    for name in ("scores", "kernels", "extra", "lost", "next_index"):
        del header[name]
    del header["shadow"]["kernels"]
    lines = short.read_text(encoding="utf-8").splitlines()[1:]
    for scores in ({}, {"scores": {}}, {"scores": None}):
        short.write_text("\n".join([json.dumps(header | scores), *lines]) + "\n", encoding="utf-8")
        read, _ = read_log(short)
        assert (read.scores, read.kernels, read.next_index) == (None, "", 0)
        assert rerun(short).same == 90


@pytest.fixture
def limited_files() -> Iterator[None]:
    """No file of this process may grow beyond 60,000 bytes: the write fails half way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_written_is_reported_and_the_loop_goes_on(
    engine: linkcast.Engine, tmp_path: Path, limited_files: None
) -> None:
    path = tmp_path / "decisions.jsonl"
    session = Session("eth0", engine, **LIMITS)
    log = DecisionLog(path, session.header)
    troubles = []
    decided = 0
    for _ in ticks(session, samples(120), log):
        decided += 1
        troubles.append(log.trouble)
    log.close()
    assert decided == 120
    assert "decisions.jsonl: File too large" in troubles
    files = log_files(path)
    assert len(files) > 1  # there was room again
    results = [rerun(file) for file in files]
    assert all(result.same == result.ticks and not result.why for result in results)
    assert sum(result.ticks for result in results) == 120 - log.lost
    assert [result.header.lost for result in results] == [0, *[2] * (len(files) - 1)]
    assert log.lost >= 2 * (len(files) - 1)


def test_old_files_go_and_numbers_go_on(engine: linkcast.Engine, tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    session = Session("eth0", engine, **LIMITS)
    log = DecisionLog(path, session.header, most_bytes=20_000, keep=2)
    list(ticks(session, samples(100), log))
    log.close()
    names = [file.name for file in log_files(path)]
    assert len(names) == 3
    numbers = [int(name.split(".")[1]) for name in names[:-1]]
    assert numbers[0] > 1
    assert numbers[1] == numbers[0] + 1


def test_every_line_follows_the_schema_and_every_field_is_in_it(short: Path) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for line in short.read_text(encoding="utf-8").splitlines():
        validator.validate(json.loads(line))
    for kind, definition in (
        (Header, "header"),
        (Tick, "tick"),
        (record.Forecast, "forecast"),
        (record.Shadow, "shadow"),
    ):
        named = set(SCHEMA["$defs"][definition]["properties"]) - {"type"}
        assert named == {field.name for field in dataclasses.fields(kind)}
    properties = SCHEMA["$defs"]["tick"]["properties"]
    assert properties["reason"]["enum"] == list(record.REASONS)
    assert properties["blocked"]["enum"] == [*record.BLOCKED, None]
    assert properties["health"]["enum"] == list(record.HEALTH)


def test_the_page_has_every_field() -> None:
    page = (ROOT / "docs" / "decision-log.md").read_text(encoding="utf-8")
    for definition in ("header", "tick", "forecast", "shadow", "score", "contest"):
        table = page.split(f"### `{definition}`\n", 1)[1].split("\n#", 1)[0]
        told = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, flags=re.MULTILINE))
        known = SCHEMA["$defs"][definition]["properties"]
        assert told == {name: value["description"] for name, value in known.items()}


def test_what_is_written_is_read_back_bit_for_bit(short: Path) -> None:
    lines = short.read_bytes().splitlines(keepends=True)[1:]
    assert [tick_line(tick) for tick in read_log(short)[1]] == lines


def test_a_parquet_table_has_every_tick(short: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert write_parquet([short], tmp_path / "ticks.parquet") == 90
    table = parquet.read_table(tmp_path / "ticks.parquet").to_pylist()
    logged = list(read_log(short)[1])
    assert [row["allocation_mbps"] for row in table] == [tick.allocation_mbps for tick in logged]
    assert dict(table[60]["experts"]) == logged[60].experts


def test_the_first_file_of_a_session_needs_no_state_and_a_later_one_is_refused_without(short: Path, hour: Path) -> None:
    assert rerun(changed(short, 0, {"state": "AAAA"})).same == 90
    later = log_files(hour)[1]
    damaged = short.with_name("later.jsonl")
    damaged.write_bytes(later.read_bytes())
    with pytest.raises(ValueError, match="snapshot: expected at least"):
        rerun(changed(damaged, 0, {"state": "AAAA"}))


def test_another_version_is_named(short: Path) -> None:
    result = rerun(changed(short, 0, {"linkcast": "0.0.9"}))
    assert result.same == 90
    assert result.why == (f"linkcast 0.0.9 wrote it, this is {linkcast.__version__}",)


def test_only_a_decision_log_is_taken_for_one(short: Path, tmp_path: Path) -> None:
    assert is_log(short)
    other = tmp_path / "trace.csv"
    other.write_text("time,bandwidth_mbps\n", encoding="utf-8")
    assert not is_log(other)
    assert not is_log(tmp_path / "nothing")


def test_explain_tells_what_the_record_says(short: Path) -> None:
    header, tick = find_tick(short, "#60")
    told = explain(header, tick)
    assert f"Expected next: {tick.forecast.mbps:.2f} Mbit/s" in told
    assert f"between {tick.forecast.p10:.2f} and {tick.forecast.p90:.2f}" in told
    assert f"Allocated: {tick.allocation_mbps:.2f} Mbit/s" in told
    heaviest = max(tick.experts, key=lambda name: tick.experts[name])
    assert f"weigh most: {heaviest} {100 * tick.experts[heaviest]:.0f} %" in told
    assert f"{tick.forecast.reserve:.2f} Mbit/s for a risk of 5 %" in told
    assert "The shadow expected" in told
    assert "Nothing was applied: the loop was in a dry run." in told


def test_explain_tells_missing_and_refused_samples(short: Path) -> None:
    assert "No sample came." in explain(*find_tick(short, "#5"))
    assert "was not used" in explain(*find_tick(short, "#7"))
    assert "packet_loss" in explain(*find_tick(short, "#7"))
    assert "latency_ms: expected a number, got none" in explain(*find_tick(short, "#8"))


def test_a_tick_is_found_by_its_time_in_whichever_file_it_is(hour: Path) -> None:
    for index in (0, 1500, HOUR - 1):
        assert find_tick(hour, str(START_NS / 1e9 + index))[1].index == index
        assert find_tick(hour, f"#{index}")[1].index == index
    assert find_tick(hour, "2026-01-09T20:25:00Z")[1].index == 1500
    assert find_tick(hour, str(START_NS / 1e9 + 99.4))[1].index == 99
    with pytest.raises(ValueError, match="or later, got '12'"):
        find_tick(hour, "12")
    with pytest.raises(ValueError, match=f"got #{HOUR}; before it stands #{HOUR - 1}"):
        find_tick(hour, f"#{HOUR}")
    with pytest.raises(ValueError, match="expected a time such as"):
        find_tick(hour, "soon")


def test_the_command_line_replays_and_explains_a_log(short: Path) -> None:
    def call(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments))

    done = call("replay", str(short))
    assert done.exit_code == 0
    assert "90 ticks decided again, every one bit for bit the same" in done.stdout
    assert "Shadow: skill" in done.stdout
    told = json.loads(call("explain", str(short), "--at", "#60", "--json").stdout)
    assert told["tick"]["index"] == 60
    assert told["sentences"][0].endswith("tick 60:")
    changed(short, 30, {"reason": "maximum"})
    done = call("replay", str(short), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["first"]["field"] == "reason"


@pytest.mark.parametrize("choice", ["measured", "other"])
def test_a_log_at_reduced_precision_is_decided_again_on_its_own_kernels(tmp_path: Path, choice: str) -> None:
    reduced = linkcast.Engine(precision="int8").model("internet_lstm")
    tables = list(reduced.kernel_choices()["step"]["us"])
    kernels = reduced.step_kernels if choice == "measured" else next(k for k in tables if k != reduced.step_kernels)
    path = tmp_path / "decisions.jsonl"
    session = Session("eth0", linkcast.Engine(precision="int8", kernels=kernels), **LIMITS)
    log = DecisionLog(path, session.header)
    list(ticks(session, samples(60), log))
    log.close()
    header, _ = read_log(path)
    assert (header.precision, header.kernels) == ("int8", kernels)
    assert header.runs_on["internet_lstm"] == f"native ({kernels})"
    result = rerun(path)
    assert (result.same, result.ticks, list(result.why)) == (60, 60, [])
    absent = changed(
        path, 0, {"kernels": "int8_amz", "runs_on": {**header.runs_on, "internet_lstm": "native (int8_amz)"}}
    )
    assert "kernels of internet_lstm were native (int8_amz), are native (" in " ".join(rerun(absent).why)
