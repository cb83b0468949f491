"""Signed bundles: who made a folder of models, beside whether it is whole.

manifest.json holds the SHA-256 of every other file that an engine reads, so an Ed25519 signature over its bytes is the
bundle's. It stands beside it, 64 bytes in manifest.json.sig, as `openssl pkeyutl -sign -rawin` writes it. Loading
checks it natively where a public key is configured; only keys and signatures are made with the package `cryptography`.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from linkcast.extras import install
from linkcast.files import naming, sha256, write_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from linkcast.engine import Engine

SIGNATURE = "manifest.json.sig"
KEY_VARIABLE = "LINKCAST_PUBLIC_KEY"


class Verified(NamedTuple):
    """What has been found right about a folder."""

    models: int
    """Each with the hash of the manifest, and with its golden rows' outputs."""
    files: int
    """Models and metadata files with the hash of the manifest."""
    public_key: str | None
    """The file with the keys, one of which has signed the manifest; None: no key was configured, or asked for."""
    is_signed: bool
    """Whether there is a signature, checked or not."""


def new_key(private: Path) -> Path:
    """Writes a new private key, for its owner's eyes alone, and beside it `private`.pub; returns the latter.

    Raises:
        FileExistsError: one of the two is there already; nothing has been written then.
        ImportError: the package cryptography is missing.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = private.with_name(f"{private.name}.pub")
    for path in (private, public):
        if path.exists():
            raise FileExistsError(17, "is there already; a key is never written over", str(path))
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with naming(private):
        file = os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        try:
            with file:
                file.write(pem)
            write_whole(public, _public_pem(key.public_key()))
        except OSError:
            private.unlink()  # half a pair
            raise
    return public


def sign(folder: Path, key_file: Path) -> str:
    """Signs a bundle folder with a private key, and loads it by that signature, with all that loading checks.

    Returns:
        The fingerprint of the key: the SHA-256 of its public half in DER.
    Raises:
        LoadError: the folder is no bundle, or a damaged one; its signature is as before then.
        ValueError: the key file holds no Ed25519 key that can be read.
        ImportError: the package cryptography is missing.
    """
    from linkcast.engine import Engine

    key = _read_private_key(key_file)
    manifest = folder / "metadata" / "manifest.json"
    signature = manifest.with_name(SIGNATURE)
    before = signature.read_bytes() if signature.exists() else None
    write_whole(signature, key.sign(manifest.read_bytes()))
    try:
        with tempfile.TemporaryDirectory() as scratch:
            public = Path(scratch) / f"{key_file.name}.pub"
            public.write_bytes(_public_pem(key.public_key()))
            Engine(folder, public_key=public)
            return fingerprints(public)[0]
    except BaseException:
        if before is None:
            signature.unlink()
        else:
            write_whole(signature, before)
        raise


def verify(folder: Path | None = None, public_key: Path | None = None) -> Verified:
    """Loads a bundle folder (None: the default one) with all that loading checks: its signature, where a key is given
    or LINKCAST_PUBLIC_KEY names one, the hashes of all files, and the golden rows.

    Raises:
        LoadError: something is wrong; says what, and what to do.
    """
    from linkcast.engine import Engine

    engine = Engine(folder, public_key=public_key)
    key = str(public_key) if public_key is not None else os.environ.get(KEY_VARIABLE) or None
    files = len(engine.names) + len(engine.manifest["files"])
    return Verified(len(engine.names), files, key, _signature_of(engine).exists())


def fingerprints(public_key: Path) -> list[str]:
    """The SHA-256 of each key of a PEM file in DER, as `openssl pkey -pubin -outform DER | sha256sum` says it."""
    text = public_key.read_text(encoding="ascii")
    keys = re.findall(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", text, flags=re.DOTALL)
    return [sha256(base64.b64decode(key)) for key in keys]


def _signature_of(engine: Engine) -> Path:
    return Path(engine.folder) / "metadata" / SIGNATURE


def _read_private_key(path: Path) -> Ed25519PrivateKey:
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = path.read_bytes()
    write_one = "write one with `linkcast keygen`"
    if b"PUBLIC KEY-----" in content and b"PRIVATE KEY-----" not in content:
        raise ValueError(f"{path}: expected a private key, got a public one: name the file without .pub")
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise ValueError(
            f"{path}: expected a key without a passphrase: take it away with `openssl pkey -in {path.name}`"
        ) from None
    except Exception as error:  # cryptography has a kind of its own for each fault
        raise ValueError(f"{path}: expected an Ed25519 private key in PEM ({error}): {write_one}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path}: expected an Ed25519 key, got {type(key).__name__.removeprefix('_')}: {write_one}")
    return key


def _public_pem(key: Ed25519PublicKey) -> bytes:
    serialization = _serialization()
    pem: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ModuleNotFoundError as error:
        raise ImportError(f"keys and signatures need cryptography: {install('sign')}") from error
    return serialization
