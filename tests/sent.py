"""What tests send to other processes: those import it by this name, as they can't import a test module."""

from __future__ import annotations

import os
from typing import Any

import linkcast


def forecast(engine: linkcast.Engine, windows: Any) -> tuple[int, linkcast.Answers]:
    """The process that answers, and its answers."""
    return os.getpid(), engine.forecast("internet", windows)
