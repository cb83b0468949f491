"""Files that are written whole, and hashed: the one place for both (but for `live.tc`, which the guard runs alone)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256(content: bytes | Path) -> str:
    """Of bytes, or of what a file holds, as manifests have it. OSError: it can't be read."""
    return hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """What the system refuses meanwhile is raised with this name: a full disk names none, and others one beside it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from error


def write_whole(path: Path, content: bytes) -> None:
    """In one go, whatever happens meanwhile: a reader finds the file as it was, or all of the new one.

    Raises:
        OSError: it can't be written, with its name; the file is as before then.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with naming(path):
        try:
            with open(fresh, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """A file for a user, whole as above: a link stays one, and a file keeps its rights.

    What is no regular file, such as /dev/stdout or a pipe, is written to directly.

    Raises:
        OSError: it can't be written; with the file's own name.
    """
    path = Path(os.path.realpath(path))
    with naming(path):
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        rights = path.stat().st_mode & 0o777 if path.exists() else None
        write_whole(path, content)
        if rights is not None:
            path.chmod(rights)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """As write_file, in UTF-8."""
    write_file(path, text.encode("utf-8"))
