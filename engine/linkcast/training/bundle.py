"""A bundle folder: `models/` and `metadata/`, written in one go and checked against the JSON schemas."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA_VERSION = 1
METADATA = ("feature_list", "scalers", "service_mappings", "service_group_stats", "manifest")
REPORT = "training_report.md"

Json = dict[str, Any]


@dataclass(frozen=True)
class BundledModel:
    """One model file and its entries in the metadata files."""

    content: bytes
    features: Json  # its entry of feature_list.json
    scalers: Json  # its entry of scalers.json
    manifest: Json  # its entry of manifest.json


@dataclass(frozen=True)
class BundledGroup:
    """One service group's entries."""

    mapping: Json  # of service_mappings.json
    stats: Json  # of service_group_stats.json
    source: str  # "simulated" or "telemetry"


@dataclass
class Bundle:
    """Everything that a bundle folder holds, by model name and by group key; dictionaries keep the file's order."""

    models: dict[str, BundledModel] = field(default_factory=dict)
    groups: dict[str, BundledGroup] = field(default_factory=dict)
    comparisons: Json = field(default_factory=dict)  # of the internet forecaster with rivals, by rival and link


def model_entry(
    name: str,
    content: bytes,
    role: str,
    serves: str,
    shapes: tuple[list[int], list[int]],
    trained_on: Json,
    skill: Json,
    golden: Json,
) -> Json:
    """A model's entry of manifest.json."""
    return {
        "file": f"models/{name}.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "role": role,
        "serves": serves,
        "input_shape": shapes[0],
        "output_shape": shapes[1],
        "trained_on": trained_on,
        "skill": skill,
        "golden": golden,
    }


def read(folder: Path) -> Bundle:
    """Reads a bundle folder, to carry over what a run does not train.

    Raises:
        ValueError: a metadata file is missing, or does not follow its schema.
    """
    files = {}
    for name in METADATA:
        path = folder / "metadata" / f"{name}.json"
        if not path.is_file():
            raise ValueError(f"{path}: no such file; {folder} is no bundle folder")
        files[name] = json.loads(path.read_text(encoding="utf-8"))
        validate(name, files[name])
    models = {
        name: BundledModel(
            content=(folder / entry["file"]).read_bytes(),
            features=files["feature_list"]["models"][name],
            scalers=files["scalers"]["models"][name],
            manifest=entry,
        )
        for name, entry in files["manifest"]["models"].items()
    }
    stats = files["service_group_stats"]
    groups = {
        key: BundledGroup(entry, stats["groups"][key], _group_source(models[entry["model"]]))
        for key, entry in files["service_mappings"]["groups"].items()
    }
    return Bundle(models, groups)


def metadata(bundle: Bundle, generator: str, created: str, seed: int, training: Json) -> dict[str, Json]:
    """The five metadata files by name."""
    sources = {group.source for group in bundle.groups.values()}
    contents: dict[str, Json] = {
        "feature_list": {"models": {name: model.features for name, model in bundle.models.items()}},
        "scalers": {"models": {name: model.scalers for name, model in bundle.models.items()}},
        "service_mappings": {"groups": {key: group.mapping for key, group in bundle.groups.items()}},
        "service_group_stats": {
            "source": sources.pop() if len(sources) == 1 else "mixed",
            "groups": {key: group.stats for key, group in bundle.groups.items()},
        },
        "manifest": {
            "generator": generator,
            "created": created,
            "seed": seed,
            "training": training,
            "models": {name: model.manifest for name, model in bundle.models.items()},
        },
    }
    return {name: {"schema_version": SCHEMA_VERSION, **content} for name, content in contents.items()}


def write(folder: Path, bundle: Bundle, files: Mapping[str, Json], report: str) -> None:
    """Writes a bundle folder in one go.

    Everything is written and validated beside the folder first, then moved into it file by file, the manifest last:
    its hashes are what a reader checks, so a reader never takes a mixture for a bundle. Other files stay.

    Raises:
        ValueError: a metadata file does not follow its schema; nothing has been moved then.
        OSError: a file cannot be written.
    """
    for name in METADATA:
        validate(name, files[name])
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".linkcast-train-", dir=folder))
    try:
        for part in ("models", "metadata"):
            (stage / part).mkdir()
            (folder / part).mkdir(exist_ok=True)
        for model in bundle.models.values():
            (stage / model.manifest["file"]).write_bytes(model.content)
        for name in METADATA:
            text = json.dumps(files[name], indent=1, allow_nan=False)
            (stage / "metadata" / f"{name}.json").write_text(_compact(text) + "\n", encoding="utf-8")
        (stage / "metadata" / REPORT).write_text(report, encoding="utf-8")
        moves = [path.relative_to(stage) for path in sorted(stage.rglob("*")) if path.is_file()]
        for path in sorted(moves, key=lambda path: path.name == "manifest.json"):
            os.replace(stage / path, folder / path)
    finally:
        shutil.rmtree(stage)


def validate(name: str, content: Json) -> None:
    """Checks one metadata file against metadata/schema.

    Raises:
        ValueError: with the file and the key path.
    """
    schema = json.loads((schema_folder() / f"{name}.schema.json").read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(content)
    first = next(iter(sorted(errors, key=lambda error: list(map(str, error.absolute_path)))), None)
    if first is not None:
        key = "/".join(map(str, first.absolute_path)) or "(root)"
        raise ValueError(f"{name}.json: {key}: {first.message}")


def bundled_folder() -> Path:
    """The bundle that ships: beside the package when installed, at the root of the source tree otherwise.

    Raises:
        FileNotFoundError: in neither place.
    """
    return _shipped(Path("metadata") / "manifest.json").parent.parent


def schema_folder() -> Path:
    """metadata/schema, from the same two places.

    Raises:
        FileNotFoundError: in neither place.
    """
    return _shipped(Path("metadata") / "schema" / "manifest.schema.json").parent


def _shipped(path: Path) -> Path:
    package = Path(__file__).resolve().parent.parent
    for root in (package, package.parent.parent):
        if (root / path).is_file():
            return root / path
    raise FileNotFoundError(f"{path}: neither in {package} nor in {package.parent.parent}")


def _group_source(model: BundledModel) -> str:
    source: str = model.manifest["trained_on"]["source"]
    return source


def _compact(text: str) -> str:
    """Puts every innermost list on one line: the file stays readable, and its differences small."""
    return re.sub(r"\[[^][{}]*\]", lambda match: " ".join(match.group().split()), text)
