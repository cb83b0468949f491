"""What starts `linkcast run` as a service: commands that exist, paths that are there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conftest import ROOT
from linkcast.cli import app

PACKAGING = ROOT / "packaging"
UNIT = (PACKAGING / "systemd" / "linkcast.service").read_text(encoding="utf-8")
CONTAINER = (PACKAGING / "Containerfile").read_text(encoding="utf-8")
INIT = PACKAGING / "openwrt" / "linkcast.init"


def options() -> set[str]:
    """Of `linkcast run`."""
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).output
    return set(re.findall(r"--[a-z]+", shown))


@pytest.mark.parametrize("text", [UNIT, CONTAINER, INIT.read_text(encoding="utf-8")], ids=["unit", "container", "init"])
def test_the_options_that_they_call_it_with_exist(text):
    called = [line for line in text.splitlines() if re.search(r"\brun\b .*(\.toml|CONF)", line) and line[:1] != "#"]
    used = {option for line in called for option in re.findall(r"linkcast.* (--[a-z]+)|PROG.* (--[a-z]+)", line)}
    assert called
    assert {option for pair in used for option in pair if option} <= options()


def test_the_unit_restores_whatever_ended_it_and_keeps_the_state_files():
    settings = dict(line.split("=", 1) for line in UNIT.splitlines() if "=" in line and line[:1] != "#")
    assert settings["ExecStopPost"].endswith("--restore")
    assert settings["Type"] == "notify"
    assert (settings["RuntimeDirectory"], settings["RuntimeDirectoryPreserve"]) == ("linkcast", "yes")
    assert settings["CapabilityBoundingSet"] == settings["AmbientCapabilities"] == "CAP_NET_ADMIN CAP_NET_RAW"


def test_systemd_understands_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "linkcast.service"
    unit.write_text(UNIT.replace("/opt/linkcast/bin/linkcast", shutil.which("true") or "/bin/true"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "linkcast.service" not in done.stderr, done.stderr


def test_what_the_container_copies_is_there():
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", CONTAINER, flags=re.MULTILINE)
    assert len(copied) == 2
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_the_init_script_starts_reloads_and_restores(tmp_path: Path):
    """With procd's functions as ones that say what they are told, and a linkcast that does so, too."""
    program = tmp_path / "linkcast"
    program.write_text('#!/bin/sh\necho "linkcast $*"\n', encoding="utf-8")
    program.chmod(0o755)
    script = INIT.read_text(encoding="utf-8").replace("/usr/bin/linkcast", str(program))
    script = script.replace("/var/run/linkcast", str(tmp_path / "run"))
    stubs = 'procd_open_instance() { :; }; procd_close_instance() { :; }; procd_set_param() { echo "$*"; }\n'
    done = subprocess.run(
        ["sh", "-c", f"{stubs}{script}\nstart_service\nservice_stopped"], capture_output=True, text=True, check=False
    )
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert said[0] == "linkcast run /etc/linkcast/run.toml --check"
    assert f"command {program} run /etc/linkcast/run.toml" in said
    assert "reload_signal HUP" in said
    assert said[-1] == "linkcast run /etc/linkcast/run.toml --restore"
    assert (tmp_path / "run").is_dir()
