"""How features and targets are scaled: by ranges of a forecaster's own data, or by fixed ones, free of any scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from linkcast.features import CALENDAR

if TYPE_CHECKING:
    from linkcast.training.datasets import Dataset, Part

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """How a feature or a target is scaled: (level - share * level of the reference - min) / (max - min), cut to
    -bound..bound where there is a bound.

    The level of a value x is ln(x + log_offset), or x without a log_offset. The reference is a sample of the same
    window: a feature's is the "first" one, a target's the "last" one of the feature that it continues; or none. As
    scalers.json has it; the engine's (scaler.h) has an offset and a scale instead, ready to compute with.
    """

    min: float
    max: float
    log_offset: float | None = None
    relative_to: str | None = None
    share: float = 1.0
    bound: float | None = None

    def level(self, values: FloatArray) -> FloatArray:
        return values if self.log_offset is None else np.log(np.maximum(values, 0.0) + self.log_offset)

    def scale(self, values: FloatArray, reference: FloatArray | None = None) -> FloatArray:
        """Scaled values, of the shape of `values` and `reference` together; physical units in."""
        return self._bounded((self._relative(values, reference) - self.min) / (self.max - self.min))

    def unscale(self, scaled: FloatArray, reference: FloatArray | None = None) -> FloatArray:
        """The values that `scale` made `scaled` of; at least 0 where there is a log_offset."""
        level = self._bounded(scaled) * (self.max - self.min) + self.min
        if self.relative_to is not None:
            assert reference is not None
            level = level + self.share * self.level(reference)
        return level if self.log_offset is None else np.maximum(np.exp(level) - self.log_offset, 0.0)

    def _bounded(self, scaled: FloatArray) -> FloatArray:
        return scaled if self.bound is None else np.clip(scaled, -self.bound, self.bound)

    def _relative(self, values: FloatArray, reference: FloatArray | None) -> FloatArray:
        if self.relative_to is None:
            return self.level(values)
        assert reference is not None
        return self.level(values) - self.share * self.level(reference)

    def fitted(self, values: FloatArray, reference: FloatArray | None, smallest: float) -> Range:
        """The same with min and max at the quartiles of the data, at least `smallest` apart.

        With a share below 1 their distance is that of a share of 1, around the median.
        """
        low, high = np.quantile(replace(self, share=1.0)._relative(values, reference), (0.25, 0.75))
        if self.share < 1.0:
            assert reference is not None
            middle = (1.0 - self.share) * float(np.median(self.level(reference)))
            low, high = low + middle, high + middle
        return replace(self, min=float(low), max=float(max(high, low + smallest)))


@dataclass(frozen=True)
class ScalerRanges:
    """The ranges of a model's features, in order, and of its target (None for allocators)."""

    features: dict[str, Range]
    target: Range | None

    def scale(self, values: FloatArray) -> npt.NDArray[np.float32]:
        """(n, T, F) windows or (n, F) rows, physical -> float32 scaled, same shape; in float64, as the engine does it.

        Only windows have a first sample that a feature can be relative to.
        """
        scaled = np.empty(values.shape, np.float32)
        for column, limits in enumerate(self.features.values()):
            first = values[..., :1, column] if limits.relative_to else None
            scaled[..., column] = limits.scale(values[..., column], first)
        return scaled

    def scale_targets(self, part: Part) -> npt.NDArray[np.float32]:
        """(n, 1) float32."""
        assert self.target is not None
        return self.target.scale(part.targets, self._last(part)).astype(np.float32)[:, None]

    def unscale_targets(self, outputs: FloatArray, part: Part) -> FloatArray:
        """The model's outputs (n,) as Mbit/s."""
        assert self.target is not None
        return self.target.unscale(outputs, self._last(part))

    def _last(self, part: Part) -> FloatArray | None:
        """(n,) the newest bandwidth of each window, for a target that is relative to it."""
        assert self.target is not None
        if self.target.relative_to is None:
            return None
        last: FloatArray = part.windows[:, -1, list(self.features).index("bandwidth_mbps")]
        return last


LOG_OFFSET_MBPS = 0.01
TRANSFORMS = {
    "latency_ms": Range(0.0, 1.0, log_offset=1.0),
    "bandwidth_mbps": Range(0.0, 1.0, log_offset=LOG_OFFSET_MBPS, relative_to="first"),
    "packet_loss": Range(0.0, 1.0, log_offset=1e-3),
    "reliability": Range(0.0, 1.0),
}
"""What of a feature enters a forecaster. Bandwidth relative to the window's first sample, in logarithms: links that
differ in size by a factor of hundreds look alike, and a link of a size that training has not seen is no stranger.
"""

TARGET_TRANSFORM = Range(0.0, 1.0, log_offset=LOG_OFFSET_MBPS, relative_to="last")
"""What comes out: by how much the logarithm changes from the last sample to the next. 0 repeats the last value, which
a network learns exactly where that is right."""

LARGEST_LOG = 8.0  # of a ratio that a scale-free forecaster tells from larger ones: e^8 is about 3,000

SCALE_FREE = {
    "latency_ms": Range(0.0, 1.0, log_offset=1.0, relative_to="first", bound=3.0),
    "bandwidth_mbps": Range(0.0, 0.25, log_offset=LOG_OFFSET_MBPS, relative_to="first", bound=LARGEST_LOG / 0.25),
    "packet_loss": Range(float(np.log(1e-3)), float(np.log(1e-3)) + 3.0, log_offset=1e-3, bound=3.0),
    "reliability": Range(1.0, 1.2, bound=5.0),
}
"""What enters a scale-free forecaster, the same whatever it is trained on: a steady, loss-free link is all zeros, at
any rate and latency. The widths bring the usual changes to the size at which an LSTM's gates are sensitive; the bounds
keep one wild sample, or a window that begins at 0 Mbit/s, from swamping the rest."""

SCALE_FREE_TARGET = Range(0.0, 0.1, log_offset=LOG_OFFSET_MBPS, relative_to="last", bound=LARGEST_LOG / 0.1)

SMALLEST_WIDTHS = {"latency_ms": 1.0, "bandwidth_mbps": 0.005, "packet_loss": 3.0, "reliability": 0.2}
"""Of a range, in the unit of its level: a feature that hardly changes in training must not come out large later."""

RANGE_WINDOWS = 20_000  # windows of the training part that ranges are measured on


def ranges_of(dataset: Dataset) -> ScalerRanges:
    """SCALE_FREE for a scale-free data set, else `fitted_ranges`."""
    if dataset.scale_free:
        return ScalerRanges(dict(SCALE_FREE), SCALE_FREE_TARGET)
    return fitted_ranges(dataset)


def fitted_ranges(dataset: Dataset) -> ScalerRanges:
    """Ranges from the training part: from the first to the third quartile of what is scaled, at least SMALLEST_WIDTHS.

    The quartiles keep the usual values at the size of 1, where an LSTM's gates are sensitive, whatever bursts there
    are: what lies outside is scaled beyond 0..1, not clipped. Calendar features span -1 to 1.
    """
    sample = dataset.train.draw(min(RANGE_WINDOWS, len(dataset.train)), np.random.default_rng(0))
    windows, targets = dataset.train.windows[sample], dataset.train.targets[sample]
    ranges = {}
    for column, name in enumerate(dataset.features):
        if name in CALENDAR:
            ranges[name] = Range(-1.0, 1.0)
        else:
            values = windows[:, 1:, column]  # the first sample is 0 where it is the reference
            ranges[name] = TRANSFORMS[name].fitted(values, windows[:, :1, column], SMALLEST_WIDTHS[name])
    last = windows[:, -1, dataset.features.index("bandwidth_mbps")]
    return ScalerRanges(ranges, TARGET_TRANSFORM.fitted(targets, last, SMALLEST_WIDTHS["bandwidth_mbps"]))


def fallback_target(train: Part) -> Range:
    """The range of a fallback's target: logarithms, since the quiet hours count as much as the busy ones."""
    return Range(0.0, 1.0, log_offset=LOG_OFFSET_MBPS).fitted(train.targets, None, SMALLEST_WIDTHS["bandwidth_mbps"])
