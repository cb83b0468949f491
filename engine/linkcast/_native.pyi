"""The compiled part of linkcast: one interpreter per model, the scalers, and the engine that holds a bundle of them."""

import os
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypedDict, TypeVar, overload

import numpy as np
import numpy.typing as npt

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]

__version__: str
CELLS_PER_ACTION: int  # of bandwidth: where an allocator asks its network
HEADROOM_ACTIONS: int  # above a cell's least action that the network may choose

class LoadError(RuntimeError):
    """A model or metadata file is missing, damaged or wrong; the text names the file and, for metadata, the key."""

class InvokeError(RuntimeError):
    """The runtime refused an invoke."""

class Operator(TypedDict):
    index: int
    name: str
    inputs: list[list[int]]
    outputs: list[list[int]]
    output_type: str
    constant_bytes: int
    runs_on: str  # "tflite" | "xnnpack" | "native"

class Spec(TypedDict):
    name: str
    role: str  # "forecaster" | "allocator" | "fallback"
    serves: str
    window: int | None
    step_s: float
    features: list[str]
    units: list[str]
    target: str | None
    actions: int | None
    input_shape: list[int]
    output_shape: list[int]
    sha256: str
    file: str

class Model:
    """One .tflite file, or its content, and its interpreter. Used by one thread at a time."""

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes | bytearray | memoryview,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "float32",
        *,
        max_file_bytes: int = ...,
        max_tensor_bytes: int = ...,
        max_threads: int = ...,
        load_seconds: float = ...,
    ) -> None: ...
    @property
    def path(self) -> str: ...
    @property
    def input(self) -> _Float32: ...
    @property
    def output(self) -> _Float32: ...
    def invoke(self) -> None: ...
    def predict(self, x: npt.ArrayLike) -> _Float32: ...
    def batch_input(self, batch: int) -> _Float32: ...
    def invoke_batch(self, batch: int) -> _Float32: ...
    @property
    def backend(self) -> str: ...
    @property
    def backend_reason(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def proof_error(self) -> float: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...
    def _repr_html_(self) -> str: ...
    def operators(self) -> list[Operator]: ...
    def details(self) -> dict[str, Any]: ...

class Scaler:
    """Min-max scaling of values or of their logarithms, as they are or relative to another value.

    scaled = (level - share * reference level - offset) * scale, cut to -bound..bound where there is a bound; float64
    arithmetic rounded once to float32.
    """

    def __init__(
        self,
        offset: npt.ArrayLike,
        scale: npt.ArrayLike,
        log_offset: npt.ArrayLike | None = None,
        relative_to: Sequence[str | None] | None = None,
        share: npt.ArrayLike | None = None,
        bound: npt.ArrayLike | None = None,
    ) -> None: ...
    @property
    def offset(self) -> _Float64: ...
    @property
    def scale(self) -> _Float64: ...
    @property
    def log_offset(self) -> _Float64: ...
    @property
    def relative_to(self) -> list[str | None]: ...  # "first", "last" or None
    @property
    def share(self) -> _Float64: ...
    @property
    def bound(self) -> _Float64: ...  # 0 where there is none
    def transform(self, features: npt.ArrayLike) -> _Float32: ...
    def inverse_transform(self, scaled: npt.ArrayLike, reference: npt.ArrayLike | None = None) -> _Float32: ...

class Engine:
    """The models of one bundle folder with their scalers. Used by one thread at a time."""

    def __init__(
        self,
        folder: str,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "float32",
        *,
        public_key: str | os.PathLike[str] | None = None,
    ) -> None: ...
    @staticmethod
    def default_folder() -> str: ...
    @property
    def names(self) -> list[str]: ...
    @property
    def folder(self) -> str: ...
    def metadata_text(self, name: str) -> str: ...
    def model(self, name: str) -> Model: ...
    def resolve(self, name: str, role: str) -> str: ...
    def spec(self, name: str) -> Spec: ...
    def scaler(self, name: str) -> Scaler: ...
    def target_scaler(self, name: str) -> Scaler | None: ...
    def forecast(self, name: str, windows: npt.ArrayLike, deadline_ms: float | None = None) -> Answers: ...
    def forecast_many(
        self, windows: dict[str, npt.ArrayLike], deadline_ms: float | None = None
    ) -> dict[str, Answers]: ...
    def forecast_raw(self, name: str, windows: npt.ArrayLike) -> _Float32: ...
    def plausible(self, name: str, mbps: npt.ArrayLike) -> npt.NDArray[np.bool_]: ...
    def forecast_batch(self, name: str, newest: npt.ArrayLike) -> _Float32: ...
    def decide(self, name: str, states: npt.ArrayLike) -> npt.NDArray[np.int32]: ...
    def allocate(self, name: str, states: npt.ArrayLike) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]: ...
    def q_values(self, name: str, states: npt.ArrayLike) -> _Float32: ...
    @overload
    def stream(  # type: ignore[overload-overlap]  # 1 is an int, too
        self,
        name: str,
        rows: Literal[1] = 1,
        *,
        most_held: int = ...,
        plausible_margin: float = ...,
        stand_in: str = ...,
        stand_in_weight: float = ...,
        mixture: bool = ...,
        horizon: int = ...,
        level: float = ...,
    ) -> Stream[Answer | None]: ...
    @overload
    def stream(
        self,
        name: str,
        rows: int,
        *,
        most_held: int = ...,
        plausible_margin: float = ...,
        stand_in: str = ...,
        stand_in_weight: float = ...,
        mixture: bool = ...,
        horizon: int = ...,
        level: float = ...,
    ) -> Stream[Answers]: ...
    def forecaster_pool(
        self,
        *,
        threads: int = ...,
        cpus: Sequence[int] = ...,
        spin_us: int = ...,
        batch: int = ...,
        plausible_margin: float = ...,
        stand_in: str = ...,
        stand_in_weight: float = ...,
    ) -> ForecasterPool: ...
    def controller(
        self,
        profile: str,
        *,
        capacity_mbps: float,
        least_fraction: float = ...,
        most_fraction: float = ...,
        safe_fraction: float = ...,
        headroom: float = ...,
        slew_per_s: float = ...,
        hold_s: float = ...,
        stall_s: float = ...,
        measured_weight: float = ...,
        deadline_ms: float = ...,
        most_held: int = ...,
        plausible_margin: float = ...,
        stand_in: str = ...,
        stand_in_weight: float = ...,
        risk: float = ...,
        queue_ms: float = ...,
        congestion_step: float = ...,
        stall_cut: float = ...,
    ) -> Controller: ...
    def stats(self, name: str) -> Stats: ...

class Stats(TypedDict):
    calls: int
    sources: dict[str, int]  # answers, by who gave them: see Answer.source
    causes: dict[str, int]  # answers that have a cause, by it: see Answer.cause; an allocator's: Engine.allocate
    late: int  # calls that ended behind their deadline
    latency_us: dict[str, float]  # "p50", "p90", "p99", "p99.9" (each at most 1/8 too large), "max"

class Answer:
    """The next bandwidth of a link, Mbit/s, with who gave it."""

    @property
    def mbps(self) -> float: ...  # NaN when source is "none"
    @property
    def p10(self) -> float: ...  # of the outcomes, as p50 and p90; NaN where no band is known (yet)
    @property
    def p50(self) -> float: ...
    @property
    def p90(self) -> float: ...
    @property
    def reserve(self) -> float: ...  # the quantile of the stream's level
    @property
    def source(self) -> str: ...  # "model", "mixture", "fallback", "last", "forecast_mean", "measured_mean", "none"
    @property
    def cause(self) -> str: ...  # "none", "deadline", "failed", "not_finite", "implausible"
    def __float__(self) -> float: ...

class Answers:
    """The answers of many rows; each row has its own source and cause."""

    @property
    def mbps(self) -> _Float32: ...  # (rows,), as the next three
    @property
    def p10(self) -> _Float32: ...
    @property
    def p50(self) -> _Float32: ...
    @property
    def p90(self) -> _Float32: ...
    @property
    def reserve(self) -> _Float32: ...
    @property
    def sources(self) -> list[str]: ...
    @property
    def causes(self) -> list[str]: ...
    @property
    def source(self) -> str: ...  # the last resort that was needed for any row
    @property
    def cause(self) -> str: ...  # why the first row that the model did not answer was not answered by it
    @property
    def latency_us(self) -> float: ...
    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> Answer: ...

class ForecasterPool:
    """Forecasts of several models in one call, each with its own batch. Used by one thread at a time."""

    def forecast(self, windows: dict[str, npt.ArrayLike], deadline_ms: float | None = None) -> dict[str, Answers]: ...

_Pushed = TypeVar("_Pushed")  # Answer | None for one row, Answers for more

class Expert:
    """One of a mixture's forecasts."""

    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def error(self) -> float | None: ...

class Stream(Generic[_Pushed]):
    """A sliding window, or many of one model that tick together. Used by one thread at a time."""

    def push(
        self,
        samples: npt.ArrayLike | None,
        present: npt.ArrayLike | None = None,
        deadline_ms: float | None = None,
    ) -> _Pushed: ...
    def push_missing(self, deadline_ms: float | None = None) -> _Pushed: ...
    def advance(self) -> None: ...
    def reset(self, row: int | None = None) -> None: ...
    def snapshot(self, row: int | None = None) -> bytes: ...
    def restore(self, snapshot: bytes, same_model: bool = True, row: int | None = None) -> None: ...
    def push_many(self, samples: npt.ArrayLike, present: npt.ArrayLike | None = None) -> dict[str, Any]: ...
    def horizon(self, steps: int, row: int = 0) -> Answer | None: ...
    def peak(self, steps: int, row: int = 0) -> Answer | None: ...
    def experts(self, row: int = 0) -> list[Expert]: ...
    def exceeded(self, row: int = 0) -> float | None: ...
    def forget(self, row: int = 0) -> None: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...
    def ready(self, row: int = 0) -> bool: ...
    def samples_in(self, row: int = 0) -> int: ...
    def held(self, row: int = 0) -> int: ...
    def missing(self, row: int = 0) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def mode_reason(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def features(self) -> int: ...
    @property
    def ticks(self) -> int: ...

class Decision:
    """What a controller decided in one tick."""

    @property
    def allocation_mbps(self) -> float: ...
    @property
    def allocation_fraction(self) -> float: ...
    @property
    def forecast(self) -> Answer: ...
    @property
    def action(self) -> int: ...
    @property
    def allocation_cause(self) -> str: ...
    @property
    def clamped(self) -> bool: ...
    @property
    def holding(self) -> bool: ...
    @property
    def slewed(self) -> bool: ...
    @property
    def stalled(self) -> bool: ...
    @property
    def congested(self) -> bool: ...
    @property
    def silent(self) -> bool: ...
    @property
    def queue_ms(self) -> float: ...
    @property
    def latency_us(self) -> float: ...
    def _repr_html_(self) -> str: ...

class Controller:
    """The closed loop of one link. Used by one thread at a time."""

    def tick(self, telemetry: npt.ArrayLike | None, now_s: float | None = None) -> Decision: ...
    def advance(self) -> None: ...
    def reset(self) -> None: ...
    def snapshot(self) -> bytes: ...
    def restore(self, snapshot: bytes, same_model: bool = True) -> None: ...
    def weights(self) -> dict[str, float]: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def last(self) -> Decision: ...
    @property
    def counts(self) -> dict[str, int]: ...

class RouteChoice:
    """What a RouteChooser chose."""

    @property
    def path(self) -> int | None: ...
    @property
    def mbps(self) -> float: ...
    @property
    def changed(self) -> bool: ...
    @property
    def staying(self) -> bool: ...

class RouteChooser:
    """Chooses the path with the best P10 over the horizon. Used by one thread at a time."""

    def __init__(self, paths: int, *, margin: float = ..., stay_s: float = ..., gone_s: float = ...) -> None: ...
    def choose(self, p10_mbps: npt.ArrayLike, now_s: float | None = None) -> RouteChoice: ...
    @property
    def paths(self) -> int: ...
    @property
    def last(self) -> RouteChoice: ...

def choose_compression(
    codecs: npt.ArrayLike,
    size_bytes: float,
    mbps: float,
    p10: float,
    p50: float,
    p90: float,
    by: str,
    overlap: bool,
) -> tuple[int, float, float, float, float]: ...
