"""A bundle folder: `models/` and `metadata/`, written in one go and checked against the JSON schemas."""

from __future__ import annotations

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
import numpy as np

from linkcast import _native
from linkcast.files import naming, sha256, write_whole
from linkcast.signing import SIGNATURE
from linkcast.training.ranges import Range, ScalerRanges

SCHEMA_VERSION = 1
UNITS_OF_SHARES = ("fraction",)  # what a value in such a unit is held to 0..1 for
SCORE_DIGITS = 6  # significant digits of a score in the manifest
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
        "sha256": sha256(content),
        "bytes": len(content),
        "role": role,
        "serves": serves,
        "input_shape": shapes[0],
        "output_shape": shapes[1],
        "trained_on": trained_on,
        "skill": skill,
        "golden": golden,
    }


def read_metadata(folder: Path) -> dict[str, Json]:
    """The five metadata files of a bundle folder, by name.

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
    return files


def read(folder: Path) -> Bundle:
    """Reads a bundle folder, to carry over what a run does not train.

    Raises:
        ValueError: a metadata file is missing, or does not follow its schema.
    """
    files = read_metadata(folder)
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
    """The five metadata files by name; the manifest is sealed when they are written."""
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


def write(folder: Path, bundle: Bundle, files: Mapping[str, Json], report: str) -> Json:
    """Writes a bundle folder in one go, and returns its manifest, sealed.

    Everything is written, sealed and validated beside the folder first, then moved into it file by file, the manifest
    last: its hashes are what a reader checks, so a reader never takes a mixture for a bundle. Other files stay.

    Raises:
        ValueError: a metadata file does not follow its schema; nothing has been moved then.
        OSError: a file cannot be written.
    """
    for name in METADATA[:-1]:
        validate(name, files[name])
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".linkcast-train-", dir=folder))
    try:
        with naming(folder):
            for part in ("models", "metadata"):
                (stage / part).mkdir()
                (folder / part).mkdir(exist_ok=True)
            for model in bundle.models.values():
                (stage / model.manifest["file"]).write_bytes(model.content)
            for name in METADATA:
                (stage / "metadata" / f"{name}.json").write_bytes(_json_bytes(files[name]))
            (stage / "metadata" / REPORT).write_text(report, encoding="utf-8")
            manifest = seal(stage)
        moves = [path.relative_to(stage) for path in sorted(stage.rglob("*")) if path.is_file()]
        (folder / "metadata" / SIGNATURE).unlink(missing_ok=True)  # it is of the models that go
        for path in sorted(moves, key=lambda path: path.name == "manifest.json"):
            os.replace(stage / path, folder / path)
        return manifest
    finally:
        shutil.rmtree(stage)


def seal(folder: Path) -> Json:
    """Writes what the manifest says about the other files anew, and returns it: their hashes, and the golden rows in
    physical units.

    For a folder that was changed, or put together from two: what the manifest says about models, training and skill
    stays, as do the golden rows that TensorFlow gave, which the others follow from. The files themselves stay; a
    signature, which is of the manifest as it was, goes.

    Raises:
        ValueError: a metadata file does not follow its schema; the manifest is as before then.
        LoadError: a model whose scalers have changed can't be loaded.
        OSError: a file is missing.
    """
    path = folder / "metadata" / "manifest.json"
    manifest: Json = json.loads(path.read_text(encoding="utf-8"))
    scalers = json.loads((folder / "metadata" / "scalers.json").read_text(encoding="utf-8"))["models"]
    features = json.loads((folder / "metadata" / "feature_list.json").read_text(encoding="utf-8"))["models"]
    for name, entry in manifest["models"].items():
        content = (folder / entry["file"]).read_bytes()
        entry["sha256"] = sha256(content)
        entry["bytes"] = len(content)
        entry["golden"]["physical"] = physical_rows(
            folder / entry["file"], entry["golden"], features[name], scalers[name]
        )
    others = [*(f"{name}.json" for name in METADATA[:-1]), REPORT]
    hashes = {
        f"metadata/{name}": sha256(folder / "metadata" / name)
        for name in others
        if (folder / "metadata" / name).is_file() or name != REPORT
    }
    models = manifest.pop("models")
    manifest |= {"files": hashes, "models": models}  # in this order
    validate("manifest", manifest)
    path.with_name(SIGNATURE).unlink(missing_ok=True)  # it is of the manifest that goes
    write_whole(path, _json_bytes(manifest))
    return manifest


def physical_rows(path: Path, golden: Json, features: Json, scalers: Json) -> Json:
    """A model's golden rows in physical units: the scaled ones through the inverse of its scalers, in float64.

    Scalers that are not those of training may give other scaled values for any physical row: then the outputs are what
    the model gives for those, on TensorFlow Lite.
    """
    scaled = np.asarray(golden["inputs"], np.float64)
    ranges = ScalerRanges(
        {feature["name"]: Range(**scalers["features"][feature["name"]]) for feature in features["features"]},
        Range(**scalers["target"]) if "target" in scalers else None,
    )
    physical = np.empty(scaled.shape)
    for column, (feature, limits) in enumerate(zip(features["features"], ranges.features.values(), strict=True)):
        first = _first(limits, scaled[:, :1, column]) if limits.relative_to is not None else None
        physical[..., column] = limits.unscale(scaled[..., column], first)
        if feature["unit"] in UNITS_OF_SHARES:  # float32 rounding may lead beyond them
            physical[..., column] = np.clip(physical[..., column], 0.0, 1.0)
    outputs = np.asarray(golden["outputs"], np.float64)
    again = ranges.scale(physical)
    if not np.allclose(again, scaled, rtol=1e-5, atol=1e-5):
        outputs = _native.Model(path, backend="tflite").predict(again).astype(np.float64)
    if ranges.target is not None:
        newest = None
        if ranges.target.relative_to is not None:
            newest = physical[:, -1, list(ranges.features).index(features["target"]["name"])]
        outputs = ranges.target.unscale(outputs[:, 0], newest)[:, None]
    return {"inputs": physical.tolist(), "outputs": outputs.tolist()}


def _first(limits: Range, scaled: Any) -> Any:
    """(rows, 1) physical: the first samples that a relative feature's golden windows begin with, (rows, 1) scaled.

    With a share below 1 they follow from their own scaled values. Otherwise those are the same for any sample, and one
    is as good as another: 1 in the feature's unit, then 2, and so on.
    """
    if limits.share == 1.0:
        return np.arange(1.0, len(scaled) + 1.0)[:, None]
    level = (scaled * (limits.max - limits.min) + limits.min) / (1.0 - limits.share)
    return level if limits.log_offset is None else np.exp(level) - limits.log_offset


def rounded(value: Any) -> Any:
    """Numbers to SCORE_DIGITS significant digits; what is not finite, and so not JSON, to null."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{SCORE_DIGITS}g}") if np.isfinite(value) else None
    return value


def _json_bytes(content: Json) -> bytes:
    return (_compact(json.dumps(content, indent=1, allow_nan=False)) + "\n").encode("utf-8")


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
