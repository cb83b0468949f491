"""An export of the edge bundle: what it replaces, keeps and leaves alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import linkcast
from linkcast.edge import edge_deployment as edge
from linkcast.edge import export


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports that are about the folder alone do not run it."""
    monkeypatch.setattr(export, "verify", lambda folder: ("not run",))


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("unverified")
@pytest.mark.parametrize("force", [False, True])
def test_files_that_no_export_wrote_stay_or_are_kept(tmp_path: Path, force: bool) -> None:
    target = tmp_path / export.NAME
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    if not force:
        with pytest.raises(ValueError, match=r"did not write.*\(notes\.txt\).*--force moves all of it"):
            export.export_edge(tmp_path)
        assert tree(tmp_path) == {f"{export.NAME}/notes.txt": hashlib.sha256(b"mine").hexdigest()}
        return
    bundle = export.export_edge(tmp_path, force=True)
    assert bundle.previous is not None
    assert (bundle.previous / "notes.txt").read_text() == "mine"
    assert (target / "edge_deployment.py").is_file()
    (target / "more.txt").write_text("mine, too")
    with pytest.raises(ValueError, match=r"previous: expected room .*\(notes\.txt\); move the folder elsewhere"):
        export.export_edge(tmp_path, force=True)
    assert (bundle.previous / "notes.txt").is_file() and (target / "more.txt").is_file()


@pytest.mark.usefixtures("unverified")
def test_an_export_replaces_an_older_one_and_keeps_it_but_not_one_that_was_changed(
    tmp_path: Path, edit: Callable[..., Path]
) -> None:
    other = edit("service_group_stats", lambda content: content["groups"]["gaming"].update(max_bandwidth_mbps=99.0))
    target = tmp_path / "devices" / export.NAME
    first = export.export_edge(target)
    assert (first.folder, first.is_new, first.previous) == (target, True, None)
    written = tree(target)
    again = export.export_edge(target.parent)
    assert (again.folder, again.is_new, again.previous) == (target, False, None)
    replaced = export.export_edge(target, models=other)
    assert replaced.is_new and replaced.previous is not None
    assert tree(replaced.previous) == written and tree(target) != written
    scalers = target / "metadata" / "scalers.json"
    scalers.write_bytes(scalers.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"changed since \(metadata/scalers\.json\)"):
        export.export_edge(target)
    edge.seal(target)  # what was changed by hand stays so for an export
    with pytest.raises(ValueError, match="changed since"):
        export.export_edge(target)
    assert sorted(path.name for path in target.parent.iterdir()) == [export.NAME, f"{export.NAME}.previous"]


def test_an_export_that_does_not_run_is_not_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = export.expected_predictions

    def wrong(predictor: linkcast.BandwidthPredictor) -> list[dict[str, Any]]:
        told = right(predictor)
        told[7]["predicted_bandwidth_mbps"] += 0.01
        return told

    monkeypatch.setattr(export, "expected_predictions", wrong)
    with pytest.raises(RuntimeError, match=r"what was written does not run: .*expected .* Mbit/s"):
        export.export_edge(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / export.NAME).write_text("a file")
    with pytest.raises(ValueError, match="expected a folder, got a file"):
        export.export_edge(tmp_path, force=True)


def test_an_interpreter_that_can_not_be_imported_does_not_stop_an_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tflite-runtime beside NumPy 2."""
    (tmp_path / "lib" / "tflite_runtime").mkdir(parents=True)
    (tmp_path / "lib" / "tflite_runtime" / "__init__.py").write_text("raise ImportError('numpy.core.multiarray')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.setattr(export, "INTERPRETERS", {"tflite-runtime": "linkcast"})  # one that is found
    checks = export.export_edge(tmp_path / "out").checks
    assert checks[0].startswith("linkcast ") and checks[1] == (
        "tflite-runtime: not with this environment, which can't import it"
    )
