"""What `linkcast run` is told in its TOML file: every key, what it may be, and errors that name the key.

An option of the controller has no default here: what the file does not say, the engine's own options say.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from linkcast.live.keys import KEYS, Key

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


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
