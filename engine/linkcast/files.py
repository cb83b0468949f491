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


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """A UTF-8 file for a user, whole as above: a link stays one, and a file keeps its rights.

    What is no regular file, such as /dev/stdout or a pipe, is written to directly.

    Raises:
        OSError: it can't be written; with the file's own name.
    """
    path = Path(os.path.realpath(path))
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        rights = path.stat().st_mode & 0o777 if path.exists() else None
        write_whole(path, text.encode("utf-8"))
        if rights is not None:
            path.chmod(rights)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
