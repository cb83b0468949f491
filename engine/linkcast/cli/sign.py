"""`linkcast keygen`, `sign` and `verify`: bundles that say who made them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linkcast.cli.options import Json
from linkcast.console import print_json

Folder = Annotated[Path, typer.Argument(help="A folder with models/ and metadata/.", metavar="FOLDER")]


def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The private key; the public one is FILE.pub.")],
    as_json: Json = False,
) -> None:
    """Make a key pair to sign bundles with: Ed25519, in PEM. Needs the package cryptography."""
    from linkcast import signing

    public = signing.new_key(file)
    fingerprint = signing.fingerprints(public)[0]
    if as_json:
        print_json({"private_key": str(file), "public_key": str(public), "fingerprint": fingerprint})
        return
    print(f"{file}: the private key; keep it where bundles are signed, and nowhere else")
    print(f"{public}: the public key, for whoever loads them; SHA-256 {fingerprint}")


def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key, as `linkcast keygen` wrote it.")],
    as_json: Json = False,
) -> None:
    """Sign a bundle, once it has loaded without a fault: metadata/manifest.json.sig. Needs the package cryptography."""
    from linkcast import signing

    fingerprint = signing.sign(folder, key)
    signature = folder / "metadata" / signing.SIGNATURE
    if as_json:
        print_json({"folder": str(folder), "signature": str(signature), "fingerprint": fingerprint})
        return
    print(f"{signature}: signed by {key.name}, SHA-256 {fingerprint}")


def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A folder with models/ and metadata/; default: the bundled one.", metavar="FOLDER"),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key",
            metavar="FILE",
            help="The signer's public key, or several; default: what LINKCAST_PUBLIC_KEY names, or else no signature "
            "is asked for.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a bundle as loading does: signature (with a public key), hashes of all files, golden rows of all models."""
    from linkcast import _native, signing

    folder = folder or Path(_native.Engine.default_folder())
    found = signing.verify(folder, public_key)
    if as_json:
        print_json({"folder": str(folder), **found._asdict()})
        return
    print(f"{folder}: {found.files} files as the manifest says, golden rows of {found.models} models come out")
    if found.public_key is not None:
        print(f"{folder}: signed with a key in {found.public_key}")
    elif found.is_signed:
        print(f"{folder}: signed; by whom was not asked (--public-key)")
    else:
        print(f"{folder}: not signed")
