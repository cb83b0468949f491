"""The engine: every model of a bundle with its scalers, physical units in and out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast import _native
from linkcast.features import CALENDAR, next_calendar
from linkcast.groups import ServiceGroup, find_group, read_groups

if TYPE_CHECKING:
    from linkcast._native import Model, Scaler, Spec


@dataclass(frozen=True)
class Forecast:
    """The answer for one group."""

    bandwidth_mbps: npt.NDArray[np.float32]  # (batch,)
    source: str  # "model", or "fallback" when any of the values came from the fallback model
    latency_us: float  # from the call to the answer, this group alone


class Engine:
    """The models of one bundle folder. Used by one thread at a time.

    Args:
        folder: holds `models/` and `metadata/`; None is the bundle that ships with linkcast.
        backend: "auto", "native" or "tflite".
        threads: for TFLite's own kernels.
    Raises:
        LoadError: a model or metadata file is missing, damaged or wrong; the text names the file and the key.
        ValueError: an unknown backend, or threads below 1.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, backend: str = "auto", threads: int = 1) -> None:
        bundle = Path(_native.__file__).parent if folder is None else Path(folder)
        self._native = _native.Engine(str(bundle), backend, threads)

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None, backend: str = "auto", threads: int = 1) -> Engine:
        """The same as the constructor: the bundled models and metadata, or those of a folder."""
        return cls(folder, backend, threads)

    def __repr__(self) -> str:
        return f"Engine({self.folder!r}, {len(self.names)} models)"

    @property
    def names(self) -> list[str]:
        """Every model by name, in the manifest's order."""
        return self._native.names

    @property
    def folder(self) -> str:
        """The bundle folder."""
        return self._native.folder

    def model(self, name: str) -> Model:
        """The model of that name; the same object at each call. ValueError for an unknown name."""
        return self._native.model(name)

    def resolve(self, name: str, role: str) -> str:
        """The model name for a name that `forecast` or `decide` takes: "internet" -> "internet_lstm".

        Args:
            name: a model name, or what it serves: a profile or a service group.
            role: "forecaster", "allocator" or "fallback".
        Raises:
            ValueError: nothing of that role has the name; the text names the known ones.
        """
        return self._native.resolve(name, role)

    def spec(self, name: str) -> Spec:
        """What the metadata says about a model: role, features and units, window, shapes, file."""
        return self._native.spec(name)

    def scaler(self, name: str) -> Scaler:
        """The scaler of a model's features."""
        return self._native.scaler(name)

    def target_scaler(self, name: str) -> Scaler | None:
        """The scaler of a model's target; None for an allocator."""
        return self._native.target_scaler(name)

    def forecast(self, name: str, windows: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Next-step bandwidth of each window.

        Args:
            name: a profile ("internet"), a service group ("streaming") or a model name ("internet_lstm").
            windows: (batch, T, F) or (T, F) in physical units, oldest step first; (batch, F) or (F,) for a fallback.
        Returns:
            (batch,) float32, Mbps, as the model gives it: not clipped.
        Raises:
            ValueError: an unknown name, a wrong shape, or a value that is not finite.
        """
        return self._native.forecast(name, windows)

    def forecast_batch(self, name: str, batch: int) -> npt.NDArray[np.float32]:
        """Forecasts from scaled windows that stand in `model(name).batch_input(batch)`; (batch,) float32, Mbps."""
        return self._native.forecast_batch(name, batch)

    def forecast_groups(self, windows: Mapping[str, npt.ArrayLike]) -> dict[str, Forecast]:
        """Forecasts for several groups.

        A value that the group's model gives as not finite is replaced by its fallback's, for the hour that follows the
        window; without a fallback it stays.

        Args:
            windows: by group or profile, each (batch, T, F) or (T, F) in physical units.
        Returns:
            The forecasts under the same keys.
        Raises:
            ValueError: an unknown name, a wrong shape, or a value that is not finite.
        """
        return {name: self._forecast_group(name, group) for name, group in windows.items()}

    def _forecast_group(self, name: str, windows: npt.ArrayLike) -> Forecast:
        begin = perf_counter_ns()
        bandwidth_mbps = self._native.forecast(name, windows)
        source = "model"
        bad = ~np.isfinite(bandwidth_mbps)
        if bad.any():
            rescued = self._fallback(name, np.asarray(windows, dtype=np.float64), bad)
            if rescued is not None:
                bandwidth_mbps, source = np.where(bad, rescued, bandwidth_mbps), "fallback"
        return Forecast(bandwidth_mbps, source, (perf_counter_ns() - begin) / 1e3)

    def _fallback(
        self, name: str, windows: npt.NDArray[np.float64], bad: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32] | None:
        """(batch,) the fallback's answers, or None when the group has none or its window has no calendar."""
        spec = self.spec(self.resolve(name, "forecaster"))
        group = self.groups.get(spec["serves"])
        if group is None or any(feature not in spec["features"] for feature in CALENDAR):
            return None
        columns = [spec["features"].index(feature) for feature in CALENDAR]
        last = windows.reshape(len(bad), -1, len(spec["features"]))[:, -1, columns]
        return self._native.forecast(group.fallback, next_calendar(last, int(spec["step_s"])))

    def decide(self, name: str, states: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """The action of highest Q-value in each state; action a allocates (a + 1) * 10 % of the link.

        Args:
            name: a profile ("internet") or a model name ("internet_ddqn").
            states: (batch, 4) or (4,) latency_ms, bandwidth_mbps, packet_loss, reliability, in physical units.
        Returns:
            (batch,) int32, 0..9.
        Raises:
            ValueError: an unknown name, a wrong shape, or a value that is not finite.
        """
        return self._native.decide(name, states)

    def q_values(self, name: str, states: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The Q-value of each action, (batch, actions) float32; arguments and errors as in `decide`."""
        return self._native.q_values(name, states)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """manifest.json: for each model its hash, shapes, training and skill."""
        return self._metadata("manifest")

    @cached_property
    def groups(self) -> dict[str, ServiceGroup]:
        """The service groups by key, in the order of their ids."""
        return read_groups(self._metadata("service_mappings"), self._metadata("service_group_stats"))

    def group(self, name: str) -> ServiceGroup:
        """The service group of that name or key. ValueError names the known ones."""
        return find_group(self.groups, name)

    def _metadata(self, stem: str) -> dict[str, Any]:
        text = (Path(self.folder) / "metadata" / f"{stem}.json").read_text(encoding="utf-8")
        parsed: dict[str, Any] = json.loads(text)
        return parsed
