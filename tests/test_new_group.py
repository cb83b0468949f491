"""A new service group: its numbers beside those of a bundle, and docs/new-group.md in its order."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jsonschema")

import linkcast
from conftest import ROOT
from linkcast.cli import main
from linkcast.training import bundle, settings
from linkcast.training.new_group import NewGroup, new_identity
from linkcast.training.plan import plan
from test_docs import blocks

COMMANDS = [
    line.removeprefix("$ ")
    for block in blocks("new-group.md", "console")
    for line in block.splitlines()
    if line.startswith("$ ")
]


@pytest.fixture(scope="module")
def shipped() -> bundle.Bundle:
    return bundle.read(ROOT)


def test_a_new_group_gets_the_next_ids_that_are_free(shipped):
    identity = new_identity(NewGroup("Video Calls"), shipped)
    # The shipped groups are 1001 to 1005, and their services end at 503.
    assert (identity.name, identity.group_id, dict(identity.services)) == ("Video Calls", 1006, {"Video Calls": 601})
    named = new_identity(NewGroup("Video Calls", 7, {"Meetings": 12, "Webinars": 11}), shipped)
    assert (named.group_id, named.default_service_id) == (7, 12)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (NewGroup("social-media"), "group: expected another name than .*social_media"),
        (NewGroup("internet"), "group: expected another name than .*internet"),
        (NewGroup("4K"), "begins with a letter, got '4K'"),
        (NewGroup("calls", 1003), "group id: 1003 is Social Media already; 1006 is free"),
        (NewGroup("calls", 0), "group id: expected 1 or more, got 0"),
        (NewGroup("calls", services={"a": 601, "b": 201}), "service id: 201 is Online games of Gaming already; 504"),
        (NewGroup("calls", services={"a": 601, "b": 601}), "a different one for each service, got a=601, b=601"),
        (NewGroup("calls", max_bandwidth_mbps=0.0), "maximum: expected Mbit/s above 0, got 0"),
    ],
)
def test_names_and_ids_in_use_are_refused(asked, words, shipped):
    with pytest.raises(ValueError, match=words):
        new_identity(asked, shipped)


CHECKED = """
import sys
from linkcast.cli import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["linkcast", "train", *line.split(",")]
    try:
        main()
    except SystemExit as exit_:
        print(exit_.code, file=sys.stderr)
print("tensorflow" in sys.modules or "tf_keras" in sys.modules)
from linkcast.training.start import tf
print(float(tf.constant(1.0) + 1.0))
"""


def test_arguments_are_checked_before_tensorflow_is_imported_and_its_start_is_silent(tmp_path):
    pytest.importorskip("tensorflow")
    rows = [f"2026-03-02T{hour:02d}:00:00,5" for hour in range(24)]
    (tmp_path / "short.csv").write_text("timestamp,bandwidth_mbps\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("timestamp,speed\n" + "\n".join(rows) + "\n", encoding="utf-8")
    faults = {
        "--telemetry,/nope": "/nope",
        "--telemetry,short.csv": "windows of 10 steps",
        "--telemetry,other.csv": "bandwidth_mbps",
        "--telemetry,short.csv,--only,banana": "banana",
        "--telemetry,short.csv,--recipe,banana": "recipe",
        "--telemetry,short.csv,--base,/nope": "/nope",
        "--telemetry,short.csv,--group,gaming": "'gaming'",
        "--telemetry,short.csv,--group,calls,--group-id,1001": "1001 is Streaming",
        "--only,banana": "banana",
    }
    done = subprocess.run(
        [sys.executable, "-c", CHECKED],
        input="\n".join(faults),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stderr.splitlines()
    assert lines[1::2] == ["1"] * len(faults), done.stderr  # a line each, and the exit status
    for words, line in zip(faults.values(), lines[::2], strict=True):
        assert words in line
    assert len(lines) == 2 * len(faults)
    assert done.stdout == "False\n2.0\n"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["other.csv", "short.csv"]


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The folder in which every command of the page has run, and what each has printed."""
    pytest.importorskip("gymnasium")
    pytest.importorskip("linkcast.training.networks")
    folder = tmp_path_factory.mktemp("group")
    hours = np.arange(400)
    noise = np.random.default_rng(3).normal(0.0, 1.0, 400)
    rates = np.maximum(12.0 + 6.0 * np.sin(2.0 * np.pi * (hours - 8) / 24.0) + noise, 0.5)
    rows = [
        f"{np.datetime64('2026-03-02T00:00:00') + 3600 * hour},{rate:.2f},25"
        for hour, rate in zip(hours, rates, strict=True)
    ]
    text = "timestamp,bandwidth_mbps,latency_ms\n" + "\n".join(rows) + "\n"
    (folder / "calls.csv").write_text(text, encoding="utf-8")
    printed = {}
    with pytest.MonkeyPatch.context() as here:  # in this process, which has TensorFlow already
        here.chdir(folder)
        for command in COMMANDS:
            here.setattr(sys, "argv", shlex.split(command))
            with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as exit_:
                main()
            assert exit_.value.code == 0, command
            printed[command] = out.getvalue()
    return folder, printed


def test_the_new_group_is_one_of_six_with_the_numbers_that_were_asked_for(walked):
    folder, printed = walked
    group = linkcast.Engine(folder / "my-bundle").group("video calls")
    assert (group.group_id, dict(group.services)) == (1006, {"Meetings": 601, "Webinars": 602})
    assert group.default_service_id == 601 and group.profile is not None
    assert "Video Calls" in printed[COMMANDS[1]] and "telemetry" in printed[COMMANDS[1]]
    assert "at most 60" in " ".join(printed[COMMANDS[0]].split())
    manifest = json.loads((folder / "my-bundle" / "metadata" / "manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["models"]) == len(linkcast.Engine.load().names) + 2
    assert manifest["models"]["video_calls_model"]["skill"]["start"]["bundled_model"].endswith("_model")
    assert set(manifest["training"]["carried_over"]) == set(linkcast.Engine.load().names)


def test_training_a_new_group_again_begins_from_its_own_weights_and_keeps_its_ids(walked):
    folder, _ = walked
    again = plan(
        folder / "calls.csv", None, settings.quick(), 0, ["Video Calls"], None, folder / "my-bundle", None, "default"
    )
    assert again.trained == ["video_calls_model", "video_calls_fallback"]
    (start,) = again.of_base.starts["video_calls"]
    assert start.content == (folder / "my-bundle" / "models" / "video_calls_model.tflite").read_bytes()
    assert dict(again.of_base.identities["video_calls"].services) == {"Meetings": 601, "Webinars": 602}
    assert again.order == list(linkcast.Engine(folder / "my-bundle").manifest["models"])


@pytest.mark.parametrize("number", range(len(blocks("new-group.md", "python"))))
def test_the_python_of_the_page_runs(number, walked):
    block = blocks("new-group.md", "python")[number]
    done = subprocess.run([sys.executable, "-c", block], cwd=walked[0], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'group_id': 1006" in done.stdout
