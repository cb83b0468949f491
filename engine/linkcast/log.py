"""The logger "linkcast": silent until the application configures logging."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("linkcast")
LOGGER.addHandler(logging.NullHandler())
