"""Runs the native program that measures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from linkcast import _native
from linkcast.bench.results import Certificate

_STATUSES = (0, 1, 3)  # what the budgets make of a run that went through


def program() -> Path:
    """`linkcast-bench`, which is installed beside the extension.

    Raises:
        RuntimeError: it is not there.
    """
    path = Path(_native.__file__).resolve().parent / "linkcast-bench"
    if not path.is_file():
        raise RuntimeError(f"{path}: no such program; install linkcast again")
    return path


def measure(folder: str, *options: str) -> Certificate:
    """Runs `linkcast-bench`, with its progress on standard error.

    Args:
        folder: a bundle, with models/ and metadata/.
        options: of the program: "--quick", "--only", "lstm", ...
    Returns:
        The certificate.
    Raises:
        RuntimeError: the program says why it could not run.
    """
    command = [str(program()), "--models", folder, "--json", "-", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in _STATUSES or not done.stdout:
        raise RuntimeError(f"linkcast-bench ended with status {done.returncode}; what it said stands above")
    return Certificate(json.loads(done.stdout))


def machine() -> dict[str, Any]:
    """This machine, as the certificate's "machine" describes it; what can't be read is None."""
    done = subprocess.run([str(program()), "--machine"], capture_output=True, text=True, check=True)
    described: dict[str, Any] = json.loads(done.stdout)
    return described
