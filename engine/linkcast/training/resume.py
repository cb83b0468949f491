"""What an interrupted training run had finished, kept beside its output for the next run to go on from.

One file for each job, written as a whole or not at all, in `.linkcast-train-unfinished` in the output folder. Its name
is a hash of all that the job's models depend on, so that nothing is taken for what it is not: another seed, other
settings, other telemetry or another base find nothing. A model follows from its seed alone, so a run that went on gives
what one without an interruption gives.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from linkcast.files import naming, write_whole
from linkcast.training.bundle import Bundle, BundledGroup, BundledModel

NAME = ".linkcast-train-unfinished"
TRIAL_BYTES = 1 << 20  # more than any model that ships


def key_of(**parts: Any) -> str:
    """Stands for everything that a run's models depend on; a path stands for the bytes of its file or files."""
    digest = hashlib.sha256()
    for name, value in sorted(parts.items()):
        digest.update(f"\0{name}\0".encode())
        if not isinstance(value, Path):
            digest.update(repr(value).encode("utf-8"))
            continue
        files = sorted(file for file in value.rglob("*") if file.is_file()) if value.is_dir() else [value]
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


class Unfinished:
    """The finished jobs of a run that is not.

    Args:
        output: the run's output folder.
        key: of the run.
    """

    def __init__(self, output: Path, key: str) -> None:
        self.folder = output / NAME
        self._key = key

    def check(self) -> None:
        """That what is finished can be kept here: told before hours of training, not after them. OSError: it can't."""
        trial = self.folder / "trial"
        try:
            with naming(self.folder.parent):
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(trial, bytes(TRIAL_BYTES))
                trial.unlink()
        except OSError:
            with suppress(OSError):
                self.folder.rmdir()  # unless a run before left something in it
            raise

    def load(self, names: list[str]) -> Bundle | None:
        """What a job of these names gave; None where it was not finished, or its file is damaged."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return _bundle(json.loads(self._path(names).read_text(encoding="utf-8")))
        return None

    def save(self, names: list[str], part: Bundle) -> None:
        """Keeps what a job gave. OSError: it can't be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(names), json.dumps(_plain(part)).encode("utf-8"))

    def clear(self) -> None:
        """The run is finished, or begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, names: list[str]) -> Path:
        return self.folder / f"{hashlib.sha256(json.dumps([self._key, names]).encode()).hexdigest()[:32]}.json"


def _plain(part: Bundle) -> dict[str, Any]:
    return {
        "models": {
            name: {
                "content": base64.b64encode(model.content).decode("ascii"),
                "features": model.features,
                "scalers": model.scalers,
                "manifest": model.manifest,
            }
            for name, model in part.models.items()
        },
        "groups": {key: vars(group) for key, group in part.groups.items()},
        "comparisons": part.comparisons,
    }


def _bundle(content: Mapping[str, Any]) -> Bundle:
    models = {
        name: BundledModel(**{**model, "content": base64.b64decode(model["content"], validate=True)})
        for name, model in content["models"].items()
    }
    groups = {key: BundledGroup(**group) for key, group in content["groups"].items()}
    return Bundle(models, groups, dict(content["comparisons"]))
