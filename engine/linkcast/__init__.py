"""linkcast: bandwidth forecasts and allocations for network links and service groups.

Importing the package loads nothing but this file; each name below loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linkcast._native import Controller, Decision, LoadError, Model, Scaler, Stream, StreamFleet, __version__
    from linkcast.engine import Allocation, Engine, Forecast
    from linkcast.predictor import BandwidthPredictor
    from linkcast.traces import Layout, Trace, read_trace

__all__ = [
    "Allocation",
    "BandwidthPredictor",
    "Controller",
    "Decision",
    "Engine",
    "Forecast",
    "Layout",
    "LoadError",
    "Model",
    "Scaler",
    "Stream",
    "StreamFleet",
    "Trace",
    "__version__",
    "read_trace",
]

_HOME = {
    "Allocation": "linkcast.engine",
    "BandwidthPredictor": "linkcast.predictor",
    "Controller": "linkcast._native",
    "Decision": "linkcast._native",
    "Engine": "linkcast.engine",
    "Forecast": "linkcast.engine",
    "Layout": "linkcast.traces",
    "LoadError": "linkcast._native",
    "Model": "linkcast._native",
    "Scaler": "linkcast._native",
    "Stream": "linkcast._native",
    "StreamFleet": "linkcast._native",
    "Trace": "linkcast.traces",
    "__version__": "linkcast._native",
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
