"""What `linkcast run` is told in its TOML file: every key, what it may be, and errors that name the key.

An option of the controller has no default here: what the file does not say, the engine's own options say.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NUMBER, INTEGER, TEXT, SWITCH, TEXTS, TABLE = "a number", "a whole number", "a text", "true or false", "texts", "a table"

INF = math.inf


@dataclass(frozen=True)
class Key:
    """What a key may be."""

    kind: str
    default: Any = None
    says: str = ""
    one_of: tuple[str, ...] = ()
    least: float = -INF
    most: float = INF
    required: bool = False

    @property
    def expected(self) -> str:
        """In words: "a number from 0 to 1"."""
        if self.one_of:
            return f"one of {', '.join(self.one_of)}"
        if self.kind == TEXTS:
            return "a list of texts"
        if self.least > -INF and self.most < INF:
            return f"{self.kind} from {self.least:g} to {self.most:g}"
        return f"{self.kind} of {self.least:g} or more" if self.least > -INF else self.kind

    def check(self, name: str, value: Any) -> Any:
        """The value as it is used. ValueError names the key."""
        fits = {
            NUMBER: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
            INTEGER: isinstance(value, int) and not isinstance(value, bool),
            TEXT: isinstance(value, str) and value != "",
            SWITCH: isinstance(value, bool),
            TEXTS: isinstance(value, list) and all(isinstance(one, str) and one for one in value),
            TABLE: isinstance(value, dict),
        }[self.kind]
        if not fits or (self.one_of and value not in self.one_of):
            raise ValueError(f"{name}: expected {self.expected}, got {value!r}")
        if self.kind in (NUMBER, INTEGER):
            if not self.least <= value <= self.most:
                raise ValueError(f"{name}: expected {self.expected}, got {value!r}")
            return float(value) if self.kind == NUMBER else value
        return value


def _share(says: str) -> Key:
    return Key(NUMBER, None, says, least=0.0, most=1.0)


def _at_least_0(says: str) -> Key:
    return Key(NUMBER, None, says, least=0.0)


KEYS: dict[str, dict[str, Key]] = {
    "": {
        "capacity_mbps": Key(NUMBER, None, "of the link, in the direction that is measured", least=1e-3, required=True),
        "dry_run": Key(SWITCH, True, "false: rates are applied; true: they are only said"),
        "link": Key(TEXT, None, "its name in log and metrics; default: the interface or the file"),
        "profile": Key(TEXT, "internet", "of the models"),
        "models": Key(TEXT, None, "a folder with models/ and metadata/; default: the bundled one"),
        "backend": Key(TEXT, "auto", "what runs the models", one_of=("auto", "native", "tflite")),
        "precision": Key(TEXT, "float32", "of the forecaster's weights", one_of=("float32", "bfloat16", "int8")),
        "tick_s": Key(NUMBER, None, "seconds between ticks; default: the forecaster's time step", least=0.01, most=86400.0),
        "late_s": Key(NUMBER, None, "a tick that begins later than this is counted as late; default: a tenth of a tick", least=0.0),
        "status_s": Key(NUMBER, 60.0, "seconds between two lines that say how it is; 0: only what changes", least=0.0),
    },
    "source": {
        "kind": Key(TEXT, "interface", "where telemetry comes from", one_of=("interface", "file", "stdin")),
        "interface": Key(TEXT, None, "whose counters are read; needed for kind interface"),
        "direction": Key(TEXT, "sent", "which of its counters", one_of=("sent", "received")),
        "latency": Key(
            TEXT, "auto", "round-trip time and loss from TCP_INFO, echo replies, or both", one_of=("auto", "tcp", "ping", "none")
        ),
        "targets": Key(TEXTS, [], "what is pinged at each tick: a gateway, or a list of reflectors"),
        "path": Key(TEXT, None, "the file that is followed; needed for kind file"),
        "from_start": Key(SWITCH, False, "read what the file holds at the start, too"),
        "late_s": Key(NUMBER, None, "a sample that comes later than usual by more is left out; default: three ticks", least=0.0),
        "columns": Key(TABLE, {}, "other columns of a file or of standard input: latency_ms = \"rtt\""),
        "units": Key(TABLE, {}, "units of its columns: bandwidth_mbps = \"kbit/s\""),
        "timezone": Key(TEXT, None, "the site's zone, for abbreviations that mean several"),
    },
    "controller": {
        "risk": Key(NUMBER, None, "share of the ticks in which the allocation may be short", least=0.0, most=0.999),
        "headroom": _at_least_0("the allocation is at least this times the forecast"),
        "least_fraction": _share("of the capacity that is always allocated"),
        "most_fraction": _share("of the capacity that is allocated at most"),
        "safe_fraction": _share("where the allocation starts, and goes when telemetry stops"),
        "slew_per_s": _at_least_0("largest change of the fraction in a second; 0: no limit"),
        "hold_s": _at_least_0("after a change of the target, it stays for so long"),
        "stall_s": _at_least_0("telemetry older than this has stopped; 0: four time steps of the forecaster"),
        "measured_weight": _share("of the newest measurement in the average that answers until the window is full"),
        "deadline_ms": _at_least_0("a decision that takes longer is counted as late; 0: none"),
        "most_held": Key(INTEGER, None, "ticks without a sample over which the last one is held", least=0),
        "plausible_margin": _at_least_0("how far beyond what was seen a forecast may lie"),
        "stand_in": Key(TEXT, None, "what answers for an implausible forecast", one_of=("last", "forecast_mean")),
        "stand_in_weight": _share("of the newest forecast in forecast_mean"),
        "queue_ms": _at_least_0("queueing delay that is one; 0: the latency says nothing"),
        "congestion_step": _share("of the capacity, that a tick adds while the link is congested"),
        "stall_cut": _share("of the capacity, that a stall takes at most, in each stall_s"),
    },
    "shaper": {
        "kind": Key(TEXT, "none", "what is set; none: nothing", one_of=("none", "htb", "cake")),
        "interface": Key(TEXT, None, "where; default: the source's interface"),
        "leaf": Key(TEXT, "auto", "queue of HTB's class; auto: fq_codel where the kernel has it", one_of=("auto", "fq_codel", "pfifo")),
        "most_changes": Key(INTEGER, 12, "changes in any minute; lowering leaves a third of them for raises", least=2, most=6000),
        "least_change": Key(NUMBER, 0.02, "share of the highest rate below which a change is not made", least=1e-4, most=1.0),
        "lower_after_s": Key(NUMBER, 10.0, "a rate is what the allocations of so long needed most", least=0.0, most=3600.0),
        "full": Key(NUMBER, 0.95, "share of its rate that traffic fills when it may want any amount: all is given", least=0.1, most=1.0),
        "tc": Key(TEXT, "tc", "the program"),
        "timeout_s": Key(NUMBER, 5.0, "after which a tc that does not answer is given up", least=0.1, most=60.0),
        "state_dir": Key(TEXT, "/run/linkcast", "where it is written what was made, for the restore after a crash"),
    },
}
"""By section and name; "" is what stands above all sections."""


@dataclass(frozen=True)
class Config:
    """A checked file."""

    path: Path | None
    values: Mapping[str, Mapping[str, Any]]  # by section and key; defaults filled in, None where there is none
    controller: Mapping[str, Any] = field(default_factory=dict)  # of Engine.controller, as far as the file says them

    def __getitem__(self, section: str) -> Mapping[str, Any]:
        return self.values[section]

    @property
    def top(self) -> Mapping[str, Any]:
        return self.values[""]

    @property
    def link(self) -> str:
        """What the link is called."""
        source = self.values["source"]
        named = self.top["link"] or source["interface"]
        return str(named or (Path(source["path"]).name if source["path"] else "stdin"))


def read_config(path: str | os.PathLike[str]) -> Config:
    """Raises ValueError, naming the key, or the line that is no TOML; OSError: it cannot be read."""
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return check_config(content, path)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name}: expected TOML: {error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: expected TOML in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def check_config(content: Mapping[str, Any], path: Path | None = None) -> Config:
    """The parsed content of a file. ValueError names the key, what was expected and what came."""
    sections = {name: value for name, value in content.items() if isinstance(value, dict) and name in KEYS}
    plain = {name: value for name, value in content.items() if name not in sections}
    values: dict[str, dict[str, Any]] = {}
    for section, keys in KEYS.items():
        given = plain if section == "" else sections.get(section, {})
        values[section] = _checked(section, keys, given)
    said = {name: value for name, value in values["controller"].items() if value is not None}
    config = Config(path, values, {"capacity_mbps": values[""]["capacity_mbps"], **said})
    _check_together(config)
    return config


def _checked(section: str, keys: Mapping[str, Key], given: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{section}." if section else ""
    for name in given:
        if name not in keys:
            raise ValueError(_unknown(section, prefix, name, keys))
    result = {}
    for name, key in keys.items():
        if name in given:
            result[name] = key.check(prefix + name, given[name])
        elif key.required:
            raise ValueError(f"{prefix}{name}: expected {key.expected}, got none")
        else:
            result[name] = key.default
    return result


def _unknown(section: str, prefix: str, name: str, keys: Mapping[str, Key]) -> str:
    """ "shaper.knd: unknown; is it kind?": a key of the same section, or else where such a key is."""
    words = [*keys, *(name for name in KEYS if name)] if not section else list(keys)
    close = get_close_matches(name, words, 1)
    if close:
        hint = f"is it {prefix}{close[0]}?"
    else:
        places = [f"{other}.{name}" if other else name for other, there in KEYS.items() if name in there]
        hint = f"is it {places[0]}?" if places else f"expected one of {', '.join(words)}"
    return f"{prefix}{name}: unknown; {hint}"


def _check_together(config: Config) -> None:
    """What one key asks of another."""
    source, shaper, top = config["source"], config["shaper"], config.top
    needed = {"interface": "interface", "file": "path"}.get(source["kind"])
    if needed is not None and source[needed] is None:
        raise ValueError(f"source.{needed}: expected a text, got none; kind {source['kind']!r} needs it")
    if source["latency"] == "ping" and not source["targets"]:
        raise ValueError("source.targets: expected one reflector or more for latency 'ping', got none")
    if not top["dry_run"] and shaper["kind"] == "none":
        raise ValueError("shaper.kind: expected htb or cake, as dry_run is false, got 'none'")
    if shaper["kind"] != "none" and shaper["interface"] is None and source["interface"] is None:
        raise ValueError("shaper.interface: expected a text, got none; the source has no interface")
    limits = {name: config.controller.get(name) for name in ("least_fraction", "most_fraction")}
    if None not in limits.values() and limits["least_fraction"] > limits["most_fraction"]:
        raise ValueError(
            f"controller.most_fraction: expected least_fraction ({limits['least_fraction']:g}) to 1, "
            f"got {limits['most_fraction']:g}"
        )
