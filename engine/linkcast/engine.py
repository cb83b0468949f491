"""The engine: every model of a bundle with its scalers, physical units in and out."""

from __future__ import annotations

import json
import os
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from linkcast import _native
from linkcast.groups import ServiceGroup, find_group, read_groups
from linkcast.notebook import rows_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Allocation(NamedTuple):
    """Decisions, and what is special about each."""

    actions: npt.NDArray[np.int32]
    """(batch,) 0..9; action a allocates (a + 1) * 10 % of the link."""
    causes: tuple[str, ...]
    """(batch,) "none", "outside_training", "over_capacity" or "not_finite"."""


class Engine(_native.Engine):
    """The models of one bundle folder. Used by one thread at a time.

    Args:
        folder: holds `models/` and `metadata/`; None is what LINKCAST_BUNDLE names, or else the bundle that ships with
            linkcast.
        backend: "auto", "native" or "tflite".
        threads: for TFLite's own kernels.
        precision: of the forecasters' native weights: "float32", "bfloat16" or "int8"; see `Model`. Allocators and
            fallbacks keep float32.
        kernels: native kernels for the forecasters, by name; None is what LINKCAST_KERNELS names, or else those that
            measure best on this CPU; see `Model`.
        second_core: one window of a forecaster on two cores where that gains: the CPU of a helper thread, or "any"; see
            `Model`.
        helper_spin_us: how long the helper keeps that CPU busy after a window.
        load_seconds: that loading each model may take; None is what LINKCAST_LOAD_SECONDS says, or else 10: more for
            a large model, or on a slow board.
        public_key: a PEM file with Ed25519 public keys: the folder has to be signed with one of them (`linkcast sign`).
            None is what LINKCAST_PUBLIC_KEY names, or else no signature is asked for.
    Raises:
        LoadError: a model or metadata file is missing, damaged, wrong or not signed as it has to be; the text names the
            file and the key.
        ValueError: an unknown backend or precision, kernels that do not run here, a second core that this process
            may not run on, or a number out of its range.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "float32",
        *,
        kernels: str | None = None,
        second_core: int | str | None = None,
        helper_spin_us: int = 1000,
        load_seconds: float | None = None,
        public_key: str | os.PathLike[str] | None = None,
    ) -> None:
        bundle = _native.Engine.default_folder() if folder is None else os.fspath(folder)
        options: dict[str, Any] = {
            "kernels": kernels,
            "second_core": second_core,
            "helper_spin_us": helper_spin_us,
            "load_seconds": load_seconds,
        }
        super().__init__(bundle, backend, threads, precision, **options, public_key=public_key)
        key = None if public_key is None else os.path.abspath(public_key)
        self._reopen = partial(
            type(self), os.path.abspath(bundle), backend, threads, precision, **options, public_key=key
        )

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "float32",
        *,
        kernels: str | None = None,
        second_core: int | str | None = None,
        helper_spin_us: int = 1000,
        load_seconds: float | None = None,
        public_key: str | os.PathLike[str] | None = None,
    ) -> Engine:
        """Another name of the constructor."""
        return cls(
            folder,
            backend,
            threads,
            precision,
            kernels=kernels,
            second_core=second_core,
            helper_spin_us=helper_spin_us,
            load_seconds=load_seconds,
            public_key=public_key,
        )

    def __repr__(self) -> str:
        if not hasattr(self, "_reopen"):  # a traceback shows one whose folder could not be opened
            return "Engine(not open)"
        return f"Engine({self.folder!r}, {len(self.names)} models)"

    def _repr_html_(self) -> str:
        specs = [self.spec(name) for name in self.names]
        rows = [(spec["name"], spec["role"], spec["serves"], self.model(spec["name"]).backend) for spec in specs]
        return rows_table(f"Engine {self.folder}", ("model", "role", "serves", "runs on"), rows)

    def __reduce__(self) -> tuple[partial[Engine], tuple[()]]:
        """Pickles and copies are engines of their own, opened from the same folder with the same options."""
        if not hasattr(self, "_reopen"):
            raise TypeError("Engine: expected one that is open, got one whose folder could not be opened")
        return self._reopen, ()

    def allocate(self, name: str, states: npt.ArrayLike) -> Allocation:
        """`decide`, with the cause of each row.

        Causes: "outside_training", a feature lies outside what training has seen and was held to it; "over_capacity",
        the bandwidth is beyond the link's capacity, which gets all; "not_finite", a Q-value is, and the network's say
        was taken for the most that it may ask for (`decide` too gives a RuntimeWarning then: the model is broken).
        """
        return Allocation(*super().allocate(name, states))

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
        parsed: dict[str, Any] = json.loads(self.metadata_text(f"{stem}.json"))
        return parsed
