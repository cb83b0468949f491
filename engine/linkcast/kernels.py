"""The one door to numba: compiled kernels where it is installed, and none where it is not."""

from __future__ import annotations

from types import ModuleType


def scaling_kernels() -> ModuleType | None:
    """`linkcast.scaling`, or None without numba: then the engine's own scaler does what the kernels do, in C++.

    Only the batch path asks: importing numba takes longer than a thousand forecasts.
    """
    try:
        from linkcast import scaling
    except ImportError:
        return None
    return scaling
