"""Writes the folder `bandwidth_prediction_edge`, and runs what its README shows before it takes its place."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linkcast.edge.edge_deployment import INTERPRETERS
from linkcast.files import naming, sha256
from linkcast.groups import group_source
from linkcast.predictor import BandwidthPredictor

NAME = "bandwidth_prediction_edge"
PROGRAM = "edge_deployment.py"
MODELS = "tflite_models"
MANIFEST = "metadata/manifest.json"
NO_RUNTIME = 3  # the program's exit status
EXAMPLE_TIME = "2026-03-02T18:00"
EXPECTED_TIMES = ("2026-03-02T00:00", "2026-03-04T08:30", "2026-03-07T20:15:59", "2026-10-25T02:30:00+02:00")
EXPECTED_USAGES = (None, 0.0, 35.0, 100.0)

Json = dict[str, Any]


class _ExitError(RuntimeError):
    def __init__(self, status: int, stderr: str) -> None:
        last = stderr.strip().splitlines()[-1:] or [f"exit status {status}"]
        super().__init__(f"what was written does not run: {last[0]}")
        self.status = status


@dataclass(frozen=True)
class EdgeBundle:
    """What was written, and what was seen when it ran."""

    folder: Path
    groups: tuple[str, ...]
    sources: tuple[str, ...]  # of each group's models and statistics: "simulated" or "telemetry"
    bytes: int
    checks: tuple[str, ...]  # what `edge_deployment.py --check` said, a line for each runtime that is installed
    is_new: bool  # not the very files that stood there
    previous: Path | None  # where what stood there before has gone


def export_edge(
    folder: str | os.PathLike[str], models: str | os.PathLike[str] | None = None, *, force: bool = False
) -> EdgeBundle:
    """Writes `bandwidth_prediction_edge` into a folder, or as the folder when it has that name.

    Everything is written beside it, run there, and moved into place as a whole. What stood there before, unless it is
    the same, is kept as `bandwidth_prediction_edge.previous`.

    Args:
        folder: made when it is not there.
        models: a bundle with `models/` and `metadata/`; None is the bundle that ships with linkcast.
        force: also where there is something that an export did not write, or that was changed since.
    Raises:
        LoadError: the bundle is missing, damaged or wrong.
        ValueError: something else stands there; it stays as it is.
        RuntimeError: what was written does not run, or gives other answers; nothing has been moved then.
        OSError: a file can't be written.
    """
    target = Path(folder).resolve()
    if target.name != NAME:
        target = target / NAME
    previous = target.with_name(f"{NAME}.previous")
    check_replaceable(target, previous, force)
    predictor = BandwidthPredictor(models)
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = target.with_name(f".{NAME}.{os.getpid()}")
    try:
        with naming(target):
            _write(stage, predictor)
        checks = verify(stage)
        size = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file())
        is_new = not _is_same(stage, target)
        replaced = is_new and _move(stage, target, previous)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    groups = predictor.engine.groups.values()
    names = tuple(group.name for group in groups)
    sources = tuple(group_source(predictor.engine.manifest, group) for group in groups)
    return EdgeBundle(target, names, sources, size, checks, is_new, previous if replaced else None)


def check_replaceable(target: Path, previous: Path, force: bool) -> None:
    """Refuses to touch what an export did not write.

    Raises:
        ValueError: `target` holds such files and `force` is not set, or `previous` does, which nothing deletes.
    """
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target}: expected a folder, got a file")
    others = _not_exported(target)
    if others and not force:
        raise ValueError(
            f"{target}: holds what linkcast did not write, or what was changed since ({_few(others)}); "
            f"--force moves all of it to {previous.name}"
        )
    is_needed = target.is_dir() and any(target.iterdir())
    if is_needed and (others := _not_exported(previous)):
        raise ValueError(
            f"{previous}: expected room for what is now in {NAME}, got files that linkcast did not write, or that were "
            f"changed since ({_few(others)}); move the folder elsewhere"
        )


def _not_exported(folder: Path) -> list[str]:
    """Files of a folder that are not as an export wrote them; [] for none, and for no folder."""
    if not folder.is_dir():
        return [folder.name] if folder.exists() else []
    files = {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and "__pycache__" not in path.relative_to(folder).parts
    }
    try:
        content = json.loads(files[MANIFEST].read_text(encoding="utf-8"))
        written = {str(name): str(digest) for name, digest in content["files"].items()}
        written |= {entry["file"]: entry["sha256"] for entry in content["models"].values()}
        is_own = content["generator"].startswith("linkcast") and PROGRAM in written
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        is_own = False
    if not is_own:
        return list(files)
    del files[MANIFEST]
    return [name for name, path in files.items() if path.is_symlink() or sha256(path) != written.get(name)]


def _write(folder: Path, predictor: BandwidthPredictor) -> None:
    source = Path(predictor.engine.folder)
    for part in (MODELS, "metadata"):
        (folder / part).mkdir(parents=True)
    names = [name for group in predictor.engine.groups.values() for name in (group.model, group.fallback)]
    for name in names:
        shutil.copyfile(source / predictor.engine.spec(name)["file"], folder / MODELS / f"{name}.tflite")
    contents = _metadata(source, names)
    contents["expected_predictions"] = {"schema_version": 1, "predictions": expected_predictions(predictor)}
    manifest = contents.pop("manifest")
    for stem, content in contents.items():
        _write_json(folder / "metadata" / f"{stem}.json", content)
    here = Path(__file__).parent
    shutil.copyfile(here / PROGRAM, folder / PROGRAM)
    (folder / "README.md").write_text(_readme(here / "readme.md", predictor), encoding="utf-8")
    written = [PROGRAM, "README.md", *(f"metadata/{stem}.json" for stem in contents)]
    manifest["files"] = {name: sha256(folder / name) for name in written}
    _write_json(folder / MANIFEST, manifest)


def _metadata(source: Path, names: list[str]) -> dict[str, Json]:
    """The five metadata files of a bundle with the service groups' models alone, which stand in tflite_models/."""
    stems = ("service_mappings", "service_group_stats", "feature_list", "scalers", "manifest")
    contents: dict[str, Json] = {
        stem: json.loads((source / "metadata" / f"{stem}.json").read_text(encoding="utf-8")) for stem in stems
    }
    for stem in ("feature_list", "scalers", "manifest"):
        contents[stem]["models"] = {name: contents[stem]["models"][name] for name in names}
    for name, entry in contents["manifest"]["models"].items():
        entry["file"] = f"{MODELS}/{name}.tflite"
    return contents


def expected_predictions(predictor: BandwidthPredictor) -> list[Json]:
    """What linkcast answers for every group, with and without usage and device groups: what a device compares with."""
    predictions = []
    for group in predictor.engine.groups.values():
        for time in EXPECTED_TIMES:
            for usage in EXPECTED_USAGES:
                for device in (None, *group.device_groups):
                    got = predictor.predict(time, group.key, usage, device, as_numbers=True)
                    arguments: Json = {"timestamp": time, "service_group": group.name}
                    arguments |= {} if usage is None else {"usage_percentage": usage}
                    arguments |= {} if device is None else {"device_group": device}
                    kept = {key: got[key] for key in ("predicted_bandwidth_mbps", "source")}
                    predictions.append({"arguments": arguments, **kept})
    return predictions


def _readme(template: Path, predictor: BandwidthPredictor) -> str:
    groups = predictor.engine.groups
    first = next(iter(groups.values()))
    device = next(iter(first.device_groups), None)
    example = predictor.predict(EXAMPLE_TIME, first.key)
    adjusted = predictor.predict(EXAMPLE_TIME, first.key, 40.0, device)
    rows = [
        f"| {group.name} | {group.group_id} | {group.default_service_id} | {group.max_bandwidth_mbps:.1f} "
        f"| {', '.join(group.device_groups) or '-'} | {group_source(predictor.engine.manifest, group)} |"
        for group in groups.values()
    ]
    filled = {
        "time": EXAMPLE_TIME,
        "group": first.name,
        "device": repr(device).replace("'", '"'),
        "example": str(example),
        "adjusted": str(adjusted),
        "example_json": json.dumps(example, indent=2, ensure_ascii=False),
        "groups": "\n".join(rows),
        "group_count": str(len(groups)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: filled[match.group(1)], template.read_text(encoding="utf-8"))


def verify(folder: Path) -> tuple[str, ...]:
    """Runs the README's example in a new process, then compares the answers of every runtime that is installed.

    Returns:
        What `edge_deployment.py --check` said, for each runtime.
    Raises:
        RuntimeError: an example fails or prints something else than the README says, or an answer is another one.
    """
    text = (folder / "README.md").read_text(encoding="utf-8")
    example = "\n".join(_blocks(text, "python"))
    with tempfile.TemporaryDirectory() as elsewhere:  # the example writes a file
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        printed = _run(["-c", example], Path(elsewhere), {"PYTHONPATH": path})
    if printed.split() != "\n".join(_blocks(text, "text")).split():
        raise RuntimeError(f"the example of {folder / 'README.md'} printed {printed!r}")
    others = [name for name, package in INTERPRETERS.items() if importlib.util.find_spec(package) is not None]
    return tuple(_check(folder, runtime) for runtime in ("linkcast", *others))


def _check(folder: Path, runtime: str) -> str:
    try:
        return _run([str(folder / PROGRAM), "--check", "--runtime", runtime], folder, {}).strip()
    except _ExitError as error:
        if error.status == NO_RUNTIME and runtime != "linkcast":
            return f"{runtime}: not with this environment, which can't import it"
        raise


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def _run(arguments: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-B", "-X", "utf8", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise _ExitError(done.returncode, done.stderr)
    return done.stdout


def _is_same(stage: Path, target: Path) -> bool:
    """Whether the target is what the stage is, by the hashes of all files."""
    if _not_exported(target) or not (target / MANIFEST).is_file():
        return False
    return (stage / MANIFEST).read_bytes() == (target / MANIFEST).read_bytes()


def _move(stage: Path, target: Path, previous: Path) -> bool:
    """Puts the stage in the target's place; whether something stood there, which is `previous` now."""
    if not target.exists():
        stage.rename(target)
        return False
    if not any(target.iterdir()):
        stage.replace(target)  # an empty folder gives way
        return False
    if previous.exists():
        shutil.rmtree(previous)
    target.rename(previous)
    try:
        stage.rename(target)
    except OSError:
        previous.rename(target)
        raise
    return True


def _write_json(path: Path, content: Json) -> None:
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    compact = re.sub(r"\[[^][{}]*\]", lambda match: " ".join(match.group().split()), text)  # an innermost list, a line
    path.write_text(compact + "\n", encoding="utf-8")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
