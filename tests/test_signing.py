"""Signed bundles: what is signed loads, what is not or was changed is refused in one sentence, in every language."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import linkcast
from conftest import rehash, run
from linkcast import _native, signing
from linkcast.cli import main
from linkcast.training import bundle as bundles

pytest.importorskip("cryptography", reason="signatures are made with cryptography")
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

PACKAGE = Path(_native.__file__).parent
OPEN = r"""
#include <linkcast/linkcast.h>
#include <stdio.h>

/* open FOLDER KEY [RELOADED]: the statuses of opening and of reloading; "" is NULL */
int main(int argc, char** argv) {
  linkcast_engine_options options = LINKCAST_ENGINE_OPTIONS_INIT;
  linkcast_engine* engine = NULL;
  options.public_key = *argv[2] ? argv[2] : NULL;
  printf("%s\n", linkcast_status_name(linkcast_engine_open(argv[1], &options, &engine)));
  for (int n = 3; engine && n < argc; ++n)
    printf("%s\n", linkcast_status_name(linkcast_engine_reload(engine, argv[n])));
  fprintf(stderr, "%s", linkcast_last_error());
  return linkcast_engine_close(engine);
}
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two private keys, "own" and "other"; each has its .pub beside it."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        signing.new_key(folder / name)
    return {name: folder / name for name in ("own", "other")}


@pytest.fixture
def signed(bundle: Path, keys: dict[str, Path]) -> Path:
    signing.sign(bundle, keys["own"])
    return bundle


@pytest.fixture(autouse=True)
def no_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(signing.KEY_VARIABLE, raising=False)


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def refusal(folder: Path, key: Path) -> str:
    with pytest.raises(linkcast.LoadError) as error:
        linkcast.Engine(folder, public_key=key)
    return str(error.value)


def test_a_signed_bundle_loads_with_its_signers_key_and_without_any(signed: Path, keys: dict[str, Path]) -> None:
    assert linkcast.Engine(signed, public_key=public(keys["own"])).names == linkcast.Engine(signed).names


def test_the_signature_is_the_one_that_cryptography_makes_and_checks(signed: Path, keys: dict[str, Path]) -> None:
    manifest = (signed / "metadata" / "manifest.json").read_bytes()
    signature = (signed / "metadata" / "manifest.json.sig").read_bytes()
    key = serialization.load_pem_public_key(public(keys["own"]).read_bytes())
    assert isinstance(key, ed25519.Ed25519PublicKey)
    key.verify(signature, manifest)
    with pytest.raises(InvalidSignature):
        key.verify(signature, manifest + b" ")


def test_a_signature_of_openssl_is_taken(bundle: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, manifest = tmp_path / "key.pem", bundle / "metadata" / "manifest.json"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", key, cwd=tmp_path)
    run("openssl", "pkey", "-in", key, "-pubout", "-out", "key.pub", cwd=tmp_path)
    signature = f"{manifest}.sig"
    run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", manifest, "-out", signature, cwd=tmp_path)
    assert linkcast.Engine(bundle, public_key=tmp_path / "key.pub").names


def test_an_unsigned_bundle_is_refused_and_told_how_it_is_signed(bundle: Path, keys: dict[str, Path]) -> None:
    said = refusal(bundle, public(keys["own"]))
    assert "manifest.json.sig: can't be opened: No such file" in said and "`linkcast sign`" in said
    assert "own.pub asks for a signature" in said


def test_a_signature_of_another_key_is_refused(signed: Path, keys: dict[str, Path]) -> None:
    said = refusal(signed, public(keys["other"]))
    assert "manifest.json: its signature is not by the key in" in said and "name the signer's key" in said


def test_one_of_several_keys_is_enough(signed: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    both = tmp_path / "both.pub"
    both.write_bytes(public(keys["other"]).read_bytes() + public(keys["own"]).read_bytes())
    assert linkcast.Engine(signed, public_key=both).names
    both.write_bytes(2 * public(keys["other"]).read_bytes())
    assert "not by any key in" in refusal(signed, both)


def files_of(folder: Path) -> list[str]:
    """Every file that a bundle's manifest speaks for, and the manifest and its signature."""
    manifest = json.loads((folder / "metadata" / "manifest.json").read_text(encoding="utf-8"))
    models = [entry["file"] for entry in manifest["models"].values()]
    return [*manifest["files"], *models, "metadata/manifest.json", "metadata/manifest.json.sig"]


def test_a_changed_byte_in_any_file_is_refused_by_the_files_name(signed: Path, keys: dict[str, Path]) -> None:
    names = files_of(signed)
    assert len(names) == 21
    for name in names:
        path = signed / name
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        said = refusal(signed, public(keys["own"]))
        assert path.name.removesuffix(".sig") in said
        path.write_bytes(content)
    assert linkcast.Engine(signed, public_key=public(keys["own"])).names


def test_files_changed_together_with_their_hashes_are_still_refused(signed: Path, keys: dict[str, Path]) -> None:
    report = signed / "metadata" / "training_report.md"
    report.write_text("all is well\n", encoding="utf-8")
    rehash(signed)
    assert linkcast.Engine(signed).names  # hashes alone do not find who did it
    assert "changed afterwards" in refusal(signed, public(keys["own"]))


@pytest.mark.parametrize("size", [0, 63, 65, 5000])
def test_a_signature_of_another_size_is_refused_with_both_sizes(signed: Path, keys: dict[str, Path], size: int) -> None:
    (signed / "metadata" / "manifest.json.sig").write_bytes(b"x" * size)
    assert f"expected the 64 bytes of an Ed25519 signature, got {size}" in refusal(signed, public(keys["own"]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", 'expected "-----BEGIN PUBLIC KEY-----", got none'),
        (b"d75a980182b10ab7", 'expected "-----BEGIN PUBLIC KEY-----", got none'),
        (b"-----BEGIN PUBLIC KEY-----\nMCow", "another kind of key or a damaged one as number 1"),
        (b"-----BEGIN PUBLIC KEY-----\nMCow!\n-----END PUBLIC KEY-----\n", "a damaged one as number 1"),
        (None, "another kind of key or a damaged one as number 1"),
    ],
)
def test_a_malformed_key_is_refused_and_told_how_one_is_written(
    signed: Path, tmp_path: Path, content: bytes | None, words: str
) -> None:
    key = tmp_path / "key.pub"
    if content is None:
        content = (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    key.write_bytes(content)
    said = refusal(signed, key)
    assert said.startswith(f"public key: {key}: ") and words in said and "`linkcast keygen`" in said


def test_a_private_key_and_a_missing_one_are_refused(signed: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    assert "expected a public key, got a private one" in refusal(signed, keys["own"])
    assert "none.pub: can't be opened: No such file" in refusal(signed, tmp_path / "none.pub")


def test_the_environment_asks_for_a_signature_where_no_key_is_named(
    signed: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(signing.KEY_VARIABLE, str(public(keys["own"])))
    assert linkcast.BandwidthPredictor(signed) and linkcast.Engine(signed).names
    with pytest.raises(linkcast.LoadError, match="asks for a signature"):
        linkcast.Engine()  # the bundled models are nobody's
    assert "not by the key" in refusal(signed, public(keys["other"]))  # the argument comes first


def test_python_parses_what_was_checked_and_not_what_lies_there_later(signed: Path, keys: dict[str, Path]) -> None:
    engine = linkcast.Engine(signed, public_key=public(keys["own"]))
    for name in ("manifest", "service_mappings", "service_group_stats"):
        (signed / "metadata" / f"{name}.json").write_text("{}", encoding="utf-8")
    assert engine.manifest["models"].keys() == set(engine.names)
    assert len(engine.groups) == 5


def test_a_bundle_that_does_not_load_is_not_signed(bundle: Path, keys: dict[str, Path]) -> None:
    signature = bundle / "metadata" / "manifest.json.sig"
    model = bundle / "models" / "internet_lstm.tflite"
    content = model.read_bytes()
    model.write_bytes(content[:-1])
    with pytest.raises(linkcast.LoadError, match="internet_lstm"):
        signing.sign(bundle, keys["own"])
    assert not signature.exists()
    model.write_bytes(content)
    signing.sign(bundle, keys["own"])
    before = signature.read_bytes()
    model.write_bytes(content[:-1])
    with pytest.raises(linkcast.LoadError):
        signing.sign(bundle, keys["other"])
    assert signature.read_bytes() == before


def test_sealing_takes_a_signature_away_and_saving_takes_it_along(
    signed: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    linkcast.BandwidthPredictor(signed).save(saved)
    assert linkcast.Engine(saved, public_key=public(keys["own"])).names
    bundles.seal(signed)
    assert not (signed / "metadata" / "manifest.json.sig").exists()
    linkcast.BandwidthPredictor(signed).save(saved)
    assert "asks for a signature" in refusal(saved, public(keys["own"]))


def test_a_key_is_for_its_owner_alone_and_never_written_over(tmp_path: Path) -> None:
    made = signing.new_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        signing.new_key(tmp_path / "key")
    (tmp_path / "key").unlink()
    with pytest.raises(FileExistsError):
        signing.new_key(tmp_path / "key")
    der = (
        run("openssl", "pkey", "-pubin", "-in", made, "-noout", "-text", cwd=tmp_path)
        if shutil.which("openssl")
        else "ED25519"
    )
    assert "ED25519" in der


def test_a_key_that_can_not_sign_is_refused_with_what_to_do(
    bundle: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"got a public one: name the file without \.pub"):
        signing.sign(bundle, public(keys["own"]))
    other_kind = tmp_path / "ec.pem"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    other_kind.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(encoding, form, serialization.NoEncryption())
    )
    with pytest.raises(ValueError, match="expected an Ed25519 key, got ECPrivateKey: write one with"):
        signing.sign(bundle, other_kind)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            encoding, form, serialization.BestAvailableEncryption(b"word")
        )
    )
    with pytest.raises(ValueError, match="expected a key without a passphrase"):
        signing.sign(bundle, locked)
    with pytest.raises(ValueError, match="expected an Ed25519 private key in PEM"):
        signing.sign(bundle, bundle / "metadata" / "scalers.json")


# ---- the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[object]:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["linkcast", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    yield call


def test_keygen_sign_and_verify_work_together(command, bundle: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    status, out, _ = command("keygen", key, "--json")
    made = json.loads(out)
    assert status == 0 and made["public_key"] == f"{key}.pub"
    assert command("verify", bundle)[1].endswith("not signed\n")
    status, out, _ = command("sign", bundle, "--key", key, "--json")
    assert status == 0 and json.loads(out)["fingerprint"] == made["fingerprint"]
    status, out, _ = command("verify", bundle, "--public-key", f"{key}.pub", "--json")
    assert status == 0
    assert json.loads(out) == {
        "folder": str(bundle),
        "models": 14,
        "files": 19,
        "public_key": f"{key}.pub",
        "is_signed": True,
    }
    assert "by whom was not asked" in command("verify", bundle)[1]
    (bundle / "metadata" / "manifest.json.sig").write_bytes(bytes(64))
    status, out, said = command("verify", bundle, "--public-key", f"{key}.pub")
    assert (status, out) == (1, "") and said.count("\n") == 1 and "its signature is not by the key in" in said


# ---- C and Go ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C program that opens and reloads, against the installed library."""
    folder = tmp_path_factory.mktemp("c")
    (folder / "open.c").write_text(OPEN, encoding="utf-8")
    places = ["-I", PACKAGE / "include", "-L", PACKAGE, f"-Wl,-rpath,{PACKAGE}"]
    run("gcc", "-std=c99", "-Wall", "-Werror", "open.c", *places, "-llinkcast", "-o", "open", cwd=folder)
    return folder / "open"


def statuses(program: Path, *arguments: object, **variables: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [program, *map(str, arguments)], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines(), done.stderr


def test_the_c_library_asks_for_a_signature_at_open_and_at_reload(
    program: Path, signed: Path, keys: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    unsigned = tmp_path_factory.mktemp("unsigned")
    for part in ("models", "metadata"):
        shutil.copytree(signed / part, unsigned / part)
    (unsigned / "metadata" / "manifest.json.sig").unlink()
    own = public(keys["own"])
    found, said = statuses(program, signed, own, signed, unsigned, signed)
    assert found == ["ok", "ok", "can't be loaded", "ok"]  # the present models stay
    assert "asks for a signature" in said
    assert statuses(program, unsigned, own)[0] == ["can't be loaded"]
    assert statuses(program, unsigned, "", unsigned)[0] == ["ok", "ok"]
    assert statuses(program, unsigned, "", LINKCAST_PUBLIC_KEY=str(own))[0] == ["can't be loaded"]
    assert statuses(program, signed, "", unsigned, LINKCAST_PUBLIC_KEY=str(own))[0] == ["ok", "can't be loaded"]
    found, said = statuses(program, signed, keys["own"])
    assert found == ["can't be loaded"] and "got a private one" in said


def test_without_a_library_that_checks_signatures_nothing_loads_and_the_error_says_which(
    program: Path, signed: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("libsodium.so.26", "libsodium.so.23", "libcrypto.so.3", "libcrypto.so.1.1"):
        (tmp_path / name).write_bytes(b"no library")
    found, said = statuses(program, signed, public(keys["own"]), LD_LIBRARY_PATH=str(tmp_path))
    assert found == ["can't be loaded"]
    assert "neither libsodium nor OpenSSL's libcrypto is here" in said and "install one of them" in said
    assert statuses(program, signed, "", LD_LIBRARY_PATH=str(tmp_path))[0] == ["ok"]
