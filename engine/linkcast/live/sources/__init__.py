"""Where telemetry comes from: an interface, a file that grows, standard input, or a program's own calls."""

from __future__ import annotations

from linkcast.live.sources.callback import CallbackSource
from linkcast.live.sources.follow import FileSource, StdinSource
from linkcast.live.sources.interface import InterfaceSource
from linkcast.live.sources.sample import Sample, Source

__all__ = ["CallbackSource", "FileSource", "InterfaceSource", "Sample", "Source", "StdinSource"]
