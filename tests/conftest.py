"""Fixtures for the tests of the Python package: the bundled engine, and copies of its bundle to change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import linkcast


@pytest.fixture(scope="session")
def engine() -> linkcast.Engine:
    """The bundled models."""
    return linkcast.Engine.load()


@pytest.fixture
def bundle(engine: linkcast.Engine, tmp_path: Path) -> Path:
    """A copy of the bundled models/ and metadata/."""
    for name in ("models", "metadata"):
        shutil.copytree(Path(engine.folder) / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def edit(bundle: Path) -> Callable[[str, Callable[[Any], None]], Path]:
    """edit("scalers", change): lets `change` alter a metadata file of the copy; returns the copy's folder."""

    def apply(stem: str, change: Callable[[Any], None]) -> Path:
        path = bundle / "metadata" / f"{stem}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        return bundle

    return apply
