"""The file of `linkcast run`: errors that name the key, and a reference that is complete."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from linkcast.live.build import options_of, source_of
from linkcast.live.config import KEYS, Config, check_config, read_config
from linkcast.live.keys import INTEGER, NUMBER, SWITCH, TABLE, TEXT, TEXTS

LEAST = {"capacity_mbps": 100, "source": {"interface": "eth0"}}
EXAMPLES = sorted((ROOT / "examples" / "run").glob("*.toml"))


def merged(change: dict) -> dict:
    content = {name: dict(value) if isinstance(value, dict) else value for name, value in LEAST.items()}
    for name, value in change.items():
        content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
    return content


def test_the_least_file_runs_dry_on_an_interface():
    config = check_config(LEAST)
    assert config.top["dry_run"] is True
    assert config.link == "eth0"
    assert config.controller == {"capacity_mbps": 100.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacity_mbps": 0}, "capacity_mbps: expected a number of 0.001 or more, got 0"),
        ({"capacity_mbps": "100"}, "capacity_mbps: expected a number of 0.001 or more, got '100'"),
        ({"capacity_mbps": True}, "capacity_mbps: expected a number of 0.001 or more, got True"),
        ({"capacity_mbps": float("nan")}, "capacity_mbps: expected a number of 0.001 or more, got nan"),
        ({"dry_run": 1}, "dry_run: expected true or false, got 1"),
        ({"dryrun": True}, "dryrun: unknown; is it dry_run?"),
        ({"kind": "htb"}, "kind: unknown; is it source.kind?"),
        ({"xyzzy": 1}, "xyzzy: unknown; expected one of capacity_mbps, dry_run, "),
        ({"shapr": {"kind": "htb"}}, "shapr: unknown; is it shaper?"),
        ({"shaper": {"knd": "htb"}}, "shaper.knd: unknown; is it shaper.kind?"),
        ({"shaper": {"risk": 0.1}}, "shaper.risk: unknown; is it controller.risk?"),
        ({"shaper": {"kind": "fq"}}, "shaper.kind: expected one of none, htb, cake, got 'fq'"),
        ({"shaper": {"most_changes": 1}}, "shaper.most_changes: expected a whole number from 2 to 6000, got 1"),
        ({"shaper": {"most_changes": 2.5}}, "shaper.most_changes: expected a whole number from 2 to 6000, got 2.5"),
        ({"shaper": "htb"}, "shaper: unknown; "),
        ({"source": {"targets": "9.9.9.9"}}, "source.targets: expected a list of texts, got '9.9.9.9'"),
        ({"source": {"latency": "ping"}}, "source.targets: expected one reflector or more for latency 'ping'"),
        ({"source": {"kind": "file"}}, "source.path: expected a text, got none; kind 'file' needs it"),
        ({"source": {"interface": ""}}, "source.interface: expected a text, got ''"),
        ({"controller": {"risk": 1}}, "controller.risk: expected a number from 0 to 0.999, got 1"),
        ({"controller": {"stand_in": "mean"}}, "controller.stand_in: expected one of last, forecast_mean, got 'mean'"),
        ({"dry_run": False}, "shaper.kind: expected htb or cake, as dry_run is false, got 'none'"),
        ({"log": {"keep": -1}}, "log.keep: expected a whole number from 0 to 100000, got -1"),
    ],
)
def test_an_error_names_the_key_what_was_expected_and_what_came(change, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        check_config(merged(change))


def test_a_file_without_a_capacity_is_refused():
    with pytest.raises(ValueError, match=r"^capacity_mbps: expected a number of 0\.001 or more, got none"):
        check_config({"source": {"interface": "eth0"}})


def test_a_shaper_on_a_file_s_telemetry_needs_its_interface():
    content = merged({"source": {"kind": "file", "path": "a.csv"}, "shaper": {"kind": "htb"}})
    del content["source"]["interface"]
    with pytest.raises(ValueError, match=r"^shaper\.interface: expected a text, got none"):
        check_config(content)


def wrong_values() -> list[tuple[str, str, object]]:
    """For each key of each section, a value of another kind."""
    wrong = {NUMBER: "1", INTEGER: 1.5, TEXT: 1, SWITCH: "true", TEXTS: [1], TABLE: []}
    return [(section, name, wrong[key.kind]) for section, keys in KEYS.items() for name, key in keys.items()]


@pytest.mark.parametrize(("section", "name", "value"), wrong_values())
def test_every_key_refuses_a_value_of_another_kind_by_its_name(section, name, value):
    content = merged({section: {name: value}} if section else {name: value})
    full = f"{section}.{name}" if section else name
    with pytest.raises(ValueError, match=rf"^{re.escape(full)}: expected .*, got "):
        check_config(content)


def test_what_is_no_toml_is_refused_by_file_and_line(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("capacity_mbps = \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^run.toml: expected TOML: .*line 1"):
        read_config(path)


def test_the_controller_s_keys_are_the_engine_s_options(engine):
    options = engine.controller("internet", capacity_mbps=1.0).options
    assert set(KEYS["controller"]) == set(options) - {"capacity_mbps"}


def test_what_the_file_does_not_say_is_the_engine_s_default(engine):
    config = check_config(merged({"controller": {"risk": 0.2}}))
    defaults = engine.controller("internet", capacity_mbps=100.0).options
    assert options_of(engine, config) == {**defaults, "risk": 0.2}


def test_what_the_engine_refuses_is_refused_by_name(engine):
    config = check_config(merged({"controller": {"least_fraction": 0.5, "most_fraction": 0.3}}))
    with pytest.raises(ValueError, match=r"most_fraction: expected least_fraction\.\.1, got 0\.3"):
        engine.controller("internet", **config.controller)


def test_a_column_s_wrong_name_is_refused_by_the_key(tmp_path):
    content = {"capacity_mbps": 1, "source": {"kind": "file", "path": "a.csv", "columns": {"rate": "x"}}}
    with pytest.raises(ValueError, match=r"^source.columns: expected names among"):
        source_of(check_config(content))


def reference(engine) -> list[str]:
    """The rows of the table in docs/run.md, as the code says them."""
    defaults = engine.controller("internet", capacity_mbps=1.0).options
    rows = []
    for section, keys in KEYS.items():
        for name, key in keys.items():
            default = defaults[name] if section == "controller" else key.default
            shown = "needed" if key.required else "-" if default is None else _toml(default)
            full = f"{section}.{name}" if section else name
            rows.append(f"| `{full}` | {key.expected} | {shown} | {key.says} |")
    return rows


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value:g}`" if isinstance(value, (int, float)) else f"`{value}`"


def test_the_reference_of_the_page_is_that_of_the_code(engine):
    page = (ROOT / "docs" / "run.md").read_text(encoding="utf-8").split("## Every key")[1]
    assert re.findall(r"^\| `.*$", page, flags=re.MULTILINE) == reference(engine)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_right_and_changes_nothing(path):
    config = read_config(path)
    assert isinstance(config, Config)
    assert config.top["dry_run"] is True
    assert EXAMPLES


def test_python_3_10_has_what_reads_toml():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "tomli>=2; python_version < '3.11'" in text
    assert sys.version_info >= (3, 10)
    assert Path(EXAMPLES[0]).suffix == ".toml"
