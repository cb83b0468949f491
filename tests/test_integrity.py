"""A bundle that is not what its manifest says is refused, with the file's name; sealing it makes it one again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linkcast
from conftest import rehash
from linkcast.training import bundle as bundles

METADATA = ("feature_list", "scalers", "service_mappings", "service_group_stats")
Edit = Callable[..., Path]


@pytest.mark.parametrize("stem", [*METADATA, "training_report"])
def test_a_changed_metadata_file_is_refused_by_name_with_both_hashes(bundle: Path, stem: str) -> None:
    path = next((bundle / "metadata").glob(f"{stem}.*"))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(linkcast.LoadError, match=rf"{path.name}: expected the SHA-256 [0-9a-f]{{64}} .* got [0-9a-f]"):
        linkcast.Engine.load(bundle)


def test_every_one_digit_change_of_the_scalers_is_refused_by_its_hash(bundle: Path) -> None:
    path = bundle / "metadata" / "scalers.json"
    text = path.read_text(encoding="utf-8")
    digits = [match.start() for match in re.finditer(r"\d", text)]
    for at in digits[:: len(digits) // 20]:
        path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :], encoding="utf-8")
        with pytest.raises(linkcast.LoadError, match=r"scalers.json: expected the SHA-256"):
            linkcast.Engine.load(bundle)


@pytest.mark.parametrize("name", ["internet_lstm", "streaming_model", "internet_ddqn", "gaming_fallback"])
def test_scalers_changed_with_their_hash_fail_the_golden_rows_in_physical_units(edit: Edit, name: str) -> None:
    def change(scalers: Any) -> None:
        entry = scalers["models"][name]
        ranges = entry["target"] if "target" in entry else entry["features"]["bandwidth_mbps"]
        ranges["max"] *= 1.02

    with pytest.raises(linkcast.LoadError, match=rf"scalers.json: {name}: golden input in physical units"):
        linkcast.Engine.load(edit("scalers", change, sealed=False))


def test_a_manifest_without_physical_rows_is_refused_by_key(edit: Edit) -> None:
    folder = edit("manifest", lambda manifest: manifest["models"]["internet_lstm"]["golden"].pop("physical"))
    with pytest.raises(linkcast.LoadError, match=r'models.internet_lstm.golden: the key "physical" is missing'):
        linkcast.Engine.load(folder)


def test_a_manifest_without_a_files_hash_is_refused_by_key(edit: Edit) -> None:
    folder = edit("manifest", lambda manifest: manifest["files"].pop("metadata/scalers.json"))
    with pytest.raises(linkcast.LoadError, match=r'files: the key "metadata/scalers.json" is missing'):
        linkcast.Engine.load(folder)


def test_a_golden_output_that_the_model_does_not_give_is_refused_in_python_too(edit: Edit) -> None:
    def change(manifest: Any) -> None:
        manifest["models"]["internet_lstm"]["golden"]["outputs"][2][0] += 0.5

    with pytest.raises(linkcast.LoadError, match=r"internet_lstm.tflite: golden input 2: expected"):
        linkcast.Engine.load(edit("manifest", change))


def test_sealing_makes_a_changed_folder_a_bundle_and_leaves_a_sealed_one_as_it_is(edit: Edit) -> None:
    def change(scalers: Any) -> None:
        scalers["models"]["internet_lstm"]["target"]["max"] *= 1.5

    folder = edit("scalers", change, sealed=False)
    bundles.seal(folder)
    engine = linkcast.Engine.load(folder)
    golden = json.loads((folder / "metadata" / "manifest.json").read_text())["models"]["internet_lstm"]["golden"]
    windows, mbps = golden["physical"]["inputs"], golden["physical"]["outputs"]
    np.testing.assert_allclose(engine.forecast_raw("internet", windows), np.ravel(mbps), rtol=1e-4)
    sealed = (folder / "metadata" / "manifest.json").read_bytes()
    bundles.seal(folder)
    assert (folder / "metadata" / "manifest.json").read_bytes() == sealed


def test_the_shipped_manifest_is_sealed(bundle: Path) -> None:
    path = bundle / "metadata" / "manifest.json"
    shipped = path.read_bytes()
    bundles.seal(bundle)
    assert path.read_bytes() == shipped


def test_linkcast_bundle_names_the_folder_in_python_as_in_c(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKCAST_BUNDLE", str(bundle))
    assert linkcast.Engine.load().folder == str(bundle)


def test_a_huge_a_missing_and_a_special_file_are_refused_at_once_by_name(bundle: Path) -> None:
    path = bundle / "metadata" / "manifest.json"
    path.unlink()
    with pytest.raises(linkcast.LoadError, match=r"manifest.json: can't be opened: No such file"):
        linkcast.Engine.load(bundle)
    os.mkfifo(path)
    with pytest.raises(linkcast.LoadError, match=r"manifest.json: expected a file, got a FIFO"):
        linkcast.Engine.load(bundle)
    path.unlink()
    path.mkdir()
    with pytest.raises(linkcast.LoadError, match=r"manifest.json: expected a file, got a folder"):
        linkcast.Engine.load(bundle)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(linkcast.LoadError, match=r"manifest.json: expected a file, got a device"):
        linkcast.Engine.load(bundle)
    path.unlink()
    path.touch()
    os.truncate(path, 1_000_000_000)  # sparse
    with pytest.raises(linkcast.LoadError, match=r"expected a file of at most 33554432 bytes, got 1000000000"):
        linkcast.Engine.load(bundle)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbf{}", "scalers.json: line 1, column 1: expected JSON in UTF-8 without a byte order mark"),
        (b'{"a": "\xff"}', "scalers.json: line 1, column 8: expected UTF-8, got the byte 0xFF"),
        (b'{"a": \xc3\xa9}', "scalers.json: line 1, column 7: expected a value, got the byte 0xC3"),
    ],
)
def test_bytes_that_are_no_json_are_refused_by_file_and_place(bundle: Path, content: bytes, expected: str) -> None:
    (bundle / "metadata" / "scalers.json").write_bytes(content)
    rehash(bundle)
    with pytest.raises(linkcast.LoadError, match=expected):
        linkcast.Engine.load(bundle)


def test_a_folder_whose_name_holds_a_nul_or_is_no_utf8_keeps_its_name_in_the_error(tmp_path: Path) -> None:
    with pytest.raises((linkcast.LoadError, ValueError), match=r"NUL|null"):
        linkcast.Engine.load(f"{tmp_path}\0/elsewhere")
    with pytest.raises(linkcast.LoadError, match=r"odd\\xff.*manifest.json: can't be opened"):
        linkcast.Engine.load(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))


def test_another_runtime_library_is_refused_until_its_hash_is_named(tmp_path: Path, engine: linkcast.Engine) -> None:
    import hashlib
    import subprocess
    import sys

    library = tmp_path / "libtensorflowlite_c.so"
    library.write_bytes(Path(engine.model("internet_lstm").details()["tflite_library"]).read_bytes() + b"\0")
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    code = "import linkcast; print(linkcast.Engine.load().model('internet_lstm').details()['tflite_library'])"
    environment = {**os.environ, "LINKCAST_TFLITE_LIBRARY": str(library)}

    def load(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], env={**environment, **more}, capture_output=True, text=True, check=False
        )

    refused = load()
    assert refused.returncode != 0
    assert f"got {digest}" in refused.stderr and "set LINKCAST_TFLITE_SHA256" in refused.stderr
    taken = load(LINKCAST_TFLITE_SHA256=digest)
    assert taken.stdout.strip() == str(library), taken.stderr
    assert taken.stderr == ""  # nor does the runtime say anything there
