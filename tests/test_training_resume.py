"""A training run that is interrupted: the output stays as it was, and the next run goes on behind what was trained."""

from __future__ import annotations

import re
import signal

import pytest

import tiny_training
from linkcast.training import pipeline
from linkcast.training.bundle import Bundle
from linkcast.training.resume import NAME, Unfinished, key_of
from linkcast.training.trainer import Trainer
from test_faults import limited_files

MODELS = ["internet_ddqn", "datacenter_ddqn"]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and NAME not in str(p)}


@pytest.fixture
def trained(monkeypatch):
    """The profiles whose allocators were trained, in order; one named in `interrupted` gets Ctrl-C instead."""
    calls, whole = [], Trainer.allocator

    def allocator(self, profile, progress):
        calls.append(profile)
        if profile in trained.interrupted:
            signal.raise_signal(signal.SIGINT)
        whole(self, profile, progress)

    def trained():
        return calls

    trained.interrupted = set()
    monkeypatch.setattr(Trainer, "allocator", allocator)
    return trained


def test_an_interrupted_run_leaves_the_output_and_goes_on_where_it_was(trained, tmp_path):
    whole = tiny_training.run(tmp_path / "whole", only=MODELS, seed=3)
    output = tmp_path / "output"
    (output / "models").mkdir(parents=True)
    (output / "models" / "internet_ddqn.tflite").write_bytes(b"what stood there")
    before, first = files(output), trained()[0]
    trained.interrupted = {trained()[1]}
    trained().clear()
    with pytest.raises(KeyboardInterrupt):
        tiny_training.run(output, only=MODELS, seed=3)
    assert files(output) == before
    assert trained() == [first, *trained.interrupted]

    trained().clear()
    (second,) = trained.interrupted
    trained.interrupted = set()
    resumed = tiny_training.run(output, only=MODELS, seed=3, resume=True)
    assert trained() == [second]
    for name in MODELS:
        file = f"models/{name}.tflite"
        assert (output / file).read_bytes() == (whole.folder / file).read_bytes()
        assert resumed.manifest["models"][name]["skill"] == whole.manifest["models"][name]["skill"]
    assert not (output / NAME).exists()


def test_a_disk_that_is_full_is_told_before_anything_is_trained(trained, tmp_path):
    output = tmp_path / "output"
    with limited_files(500_000), pytest.raises(OSError, match=f"too large.*{re.escape(str(output))}"):
        tiny_training.run(output, only=MODELS, seed=3)
    assert trained() == []
    assert not list(output.iterdir())


def test_what_was_trained_with_another_seed_is_not_taken(tmp_path):
    kept = Unfinished(tmp_path, key_of(seed=3))
    kept.save(["a_model"], Bundle(comparisons={"rival": {}}))
    again = Unfinished(tmp_path, key_of(seed=3)).load(["a_model"])
    assert again is not None
    assert again.comparisons == {"rival": {}}
    assert Unfinished(tmp_path, key_of(seed=4)).load(["a_model"]) is None
    assert kept.load(["another_model"]) is None
    for file in (tmp_path / NAME).iterdir():
        file.write_bytes(file.read_bytes()[:-3])  # cut off
    assert kept.load(["a_model"]) is None


def test_the_key_is_of_the_files_bytes(tmp_path):
    file = tmp_path / "telemetry.csv"
    file.write_text("1", encoding="utf-8")
    before = key_of(telemetry=file, seed=1)
    assert key_of(telemetry=file, seed=1) == before
    file.write_text("2", encoding="utf-8")
    assert key_of(telemetry=file, seed=1) != before


def test_control_c_on_the_command_line_says_what_stays_and_how_to_go_on(run, monkeypatch, tmp_path):
    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(pipeline, "_run_or_take", interrupted)
    status, _, said = run(
        "train", "--quick", "--only", "internet_ddqn", "--output", tmp_path / "out", "--base", tiny_training.ROOT
    )
    assert status == 130
    assert f"{tmp_path / 'out'} is as it was" in said
    assert "--resume" in said
