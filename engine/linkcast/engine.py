"""The engine: every model of a bundle with its scalers, physical units in and out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast import _native
from linkcast.groups import ServiceGroup, find_group, read_groups

if TYPE_CHECKING:
    from linkcast._native import Controller, GroupForecaster, Model, Scaler, Spec, Stats, Stream, StreamFleet


@dataclass(frozen=True)
class Forecast:
    """The answer for one group."""

    bandwidth_mbps: npt.NDArray[np.float32]  # (batch,); NaN where nobody could answer
    source: str  # the last resort that was needed for any row: "model", "fallback", "last", "ewma" or "none"
    cause: str  # why it was not the model: "none", "deadline", "failed", "not_finite" or "implausible"
    latency_us: float  # spent on this group alone
    sources: tuple[str, ...]  # (batch,) who gave each value


class Engine:
    """The models of one bundle folder. Used by one thread at a time.

    Args:
        folder: holds `models/` and `metadata/`; None is what LINKCAST_BUNDLE names, or else the bundle that ships with
            linkcast.
        backend: "auto", "native" or "tflite".
        threads: for TFLite's own kernels.
        precision: of the forecasters' native weights: "float32", "bfloat16" or "int8"; see `Model`. Allocators and
            fallbacks keep float32.
    Raises:
        LoadError: a model or metadata file is missing, damaged or wrong; the text names the file and the key.
        ValueError: an unknown backend or precision, or threads below 1.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "float32",
    ) -> None:
        bundle = _native.Engine.default_folder() if folder is None else os.fspath(folder)
        self._native = _native.Engine(bundle, backend, threads, precision)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "float32",
    ) -> Engine:
        """The same as the constructor: the bundled models and metadata, or those of a folder."""
        return cls(folder, backend, threads, precision)

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

    def forecast_batch(self, name: str, newest: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Forecasts from scaled windows that stand in `model(name).batch_input(batch)`.

        Args:
            name: as in `forecast`.
            newest: (batch,) each window's last value of the feature that has the target's name, in physical units: what
                a target that is scaled relative to "last" is relative to. Of another target's only the count matters.
        Returns:
            (batch,) float32, Mbps.
        """
        return self._native.forecast_batch(name, newest)

    def forecast_groups(
        self, windows: Mapping[str, npt.ArrayLike], deadline_ms: float | None = None
    ) -> dict[str, Forecast]:
        """Forecasts for several groups in one call, each with its own model and batch.

        A value that a group's model does not give in time, or gives as not finite or outside a plausible range (that of
        the targets seen in training or up to the group's maximum, widened by half that range at either end), is
        replaced by the fallback model's for the step after the window. Without a fallback, the row's last good value of
        an earlier call answers, or else it is NaN.

        Args:
            windows: by group or profile, each (batch, T, F) or (T, F) in physical units. What matters most stands first
                when there is a deadline.
            deadline_ms: from the call on; None: no deadline.
        Returns:
            The forecasts under the same keys.
        Raises:
            ValueError: an unknown name, a wrong shape, or a value that is not finite.
        """
        answers = self._groups.forecast(dict(windows), deadline_ms)
        return {name: Forecast(*answer) for name, answer in answers.items()}

    @cached_property
    def _groups(self) -> GroupForecaster:
        return self.group_forecaster()

    def group_forecaster(self, **options: Any) -> GroupForecaster:
        """What is behind `forecast_groups`, with worker threads and other options: see `GroupForecaster` in _native.

        Args:
            options: threads, cpus, spin_us, batch, plausible_margin, held ("last" or "ewma"), ewma_weight.
        """
        return self._native.group_forecaster(**options)

    def stream(self, name: str, **options: Any) -> Stream:
        """A sliding window of a forecaster: `push` a sample at every tick, get the forecast.

        Args:
            name: a profile ("internet"), a service group ("streaming") or a model name.
            options: most_held (3: ticks in a row for which a missing sample is held), plausible_margin, held,
                ewma_weight, switch_to_ewma (0, off: ticks over which the model's absolute errors have to be more than
                5 % above those of `baselines.ewma` for that to answer, with the source "ewma" and the cause "beaten",
                until the model's are below; each change stays for as many ticks).
        Raises:
            ValueError: an unknown name, or an option out of range.
        """
        return self._native.stream(name, **options)

    def streams(self, name: str, count: int, **options: Any) -> StreamFleet:
        """Many sliding windows of a forecaster that tick together, as one batch; arguments as in `stream`."""
        return self._native.streams(name, count, **options)

    def controller(self, profile: str, *, capacity_mbps: float, **options: Any) -> Controller:
        """The closed loop of one link: telemetry -> forecast -> allocator's action -> limits -> allocation.

        Args:
            profile: what the forecaster and the allocator serve: "internet".
            capacity_mbps: of the link.
            options: least_fraction (0.1), most_fraction (1.0), safe_fraction (1.0), headroom (1.0), slew_per_s (none),
                hold_s (none), stall_s (four time steps), ewma_weight (0.3), deadline_ms (none), most_held (3),
                switch_to_ewma (60 ticks; 0: off).
        Raises:
            ValueError: an unknown profile, or an option out of range.
        """
        return self._native.controller(profile, capacity_mbps=capacity_mbps, **options)

    def stats(self, name: str) -> Stats:
        """What happened to a model's calls through groups, streams and controllers: see `Stats` in _native."""
        return self._native.stats(name)

    def decide(self, name: str, states: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """The action of highest Q-value in each state; action a allocates (a + 1) * 10 % of the link.

        Args:
            name: a profile ("internet") or a model name ("internet_ddqn").
            states: (batch, 4) or (4,) latency_ms (the wait before the present share included), bandwidth_mbps (carried
                in the last step, brought to a link of trained_on.capacity_mbps), packet_loss, reliability.
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
