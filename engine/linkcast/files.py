"""Files that are written whole, and hashed: the one place for both (but for `live.tc`, which the guard runs alone)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def sha256(content: bytes | Path) -> str:
    """Of bytes, or of what a file holds, as manifests have it. OSError: it can't be read."""
    return hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """In one go, whatever happens meanwhile: a reader finds the file as it was, or all of the new one.

    Raises:
        OSError: it can't be written; the file is as before then.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(fresh, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
