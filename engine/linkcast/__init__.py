"""linkcast: bandwidth forecasts and allocations for network links and service groups.

Importing the package loads nothing but this file; each name below loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linkcast._native import (
        Answer,
        Answers,
        Controller,
        Decision,
        LoadError,
        Model,
        RouteChoice,
        RouteChooser,
        Scaler,
        Stream,
        __version__,
    )
    from linkcast.ahead import LinkAhead, forecast_ahead
    from linkcast.compression import Codec, CompressionChoice, choose_compression, measure_codecs, read_codecs
    from linkcast.engine import Allocation, Engine
    from linkcast.predictor import BandwidthPredictor
    from linkcast.traces import Layout, Trace, read_trace

__all__ = [
    "Allocation",
    "Answer",
    "Answers",
    "BandwidthPredictor",
    "Codec",
    "CompressionChoice",
    "Controller",
    "Decision",
    "Engine",
    "Layout",
    "LinkAhead",
    "LoadError",
    "Model",
    "RouteChoice",
    "RouteChooser",
    "Scaler",
    "Stream",
    "Trace",
    "__version__",
    "choose_compression",
    "forecast_ahead",
    "measure_codecs",
    "read_codecs",
    "read_trace",
]

_HOME = {
    "Allocation": "linkcast.engine",
    "Answer": "linkcast._native",
    "Answers": "linkcast._native",
    "BandwidthPredictor": "linkcast.predictor",
    "Codec": "linkcast.compression",
    "CompressionChoice": "linkcast.compression",
    "Controller": "linkcast._native",
    "Decision": "linkcast._native",
    "Engine": "linkcast.engine",
    "Layout": "linkcast.traces",
    "LinkAhead": "linkcast.ahead",
    "LoadError": "linkcast._native",
    "Model": "linkcast._native",
    "RouteChoice": "linkcast._native",
    "RouteChooser": "linkcast._native",
    "Scaler": "linkcast._native",
    "Stream": "linkcast._native",
    "Trace": "linkcast.traces",
    "__version__": "linkcast._native",
    "choose_compression": "linkcast.compression",
    "forecast_ahead": "linkcast.ahead",
    "measure_codecs": "linkcast.compression",
    "read_codecs": "linkcast.compression",
    "read_trace": "linkcast.traces",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'linkcast' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
