"""Two certificates side by side: what changed, and how sure that is.

Both runs are spread over rounds, and each round has its own median. The change is estimated from all pairs of a new
and an old round (Hodges and Lehmann 1963: the median of the differences of logarithms), and its interval is that of the
rank-sum test of Mann and Whitney (1947), which asks nothing of the distribution and is not moved by a round that
something disturbed. All intervals of medians and ratios hold together with a confidence of 95 % (Bonferroni).

There are two figures for a call: its median, and the ratio to TensorFlow Lite's in the same rounds. The one with the
narrower interval decides, and the other has to agree: a call is slower when the whole interval of the one lies above
zero, or above a limit, and the estimate of the other as well. A slower clock raises the median and leaves the ratio; a
neighbour on the same core slows TensorFlow Lite more than linkcast, and moves the ratio without the call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from linkcast.bench.results import EMPTY, Certificate, Key

CONFIDENCE = 0.95  # of all intervals together


@dataclass(frozen=True)
class Change:
    """new / old - 1, and the interval that it lies in; None where there are too few rounds to tell."""

    value: float
    low: float | None
    high: float | None

    @property
    def width(self) -> float:
        """Of the interval; infinite where there is none."""
        return math.inf if self.low is None or self.high is None else self.high - self.low


@dataclass(frozen=True)
class Comparison:
    """One cell of both certificates."""

    key: Key
    title: str
    old_us: float  # medians of the rounds' medians
    new_us: float
    median: Change
    ratio: Change | None  # to TensorFlow Lite; None when it can't be compared
    p99: Change | None  # None when a round had too few calls

    @property
    def deciding(self) -> Change:
        """The figure with the narrower interval."""
        return self.median if self.ratio is None or self.median.width < self.ratio.width else self.ratio

    @property
    def verdict(self) -> str:
        """ "slower", "faster" or "same": what both figures agree on."""
        if self.beyond(0.0):
            return "slower"
        decided, other = self.deciding, self._other
        faster = decided.high is not None and decided.high < 0 and (other is None or other.value < 0)
        return "faster" if faster else "same"

    def beyond(self, percent: float) -> bool:
        """Whether the call became slower by more than that."""
        decided, other = self.deciding, self._other
        if decided.low is None or 100.0 * decided.low <= percent:
            return False
        return other is None or 100.0 * other.value > percent

    @property
    def _other(self) -> Change | None:
        return self.ratio if self.deciding is self.median else self.median


def compare(old: Certificate, new: Certificate) -> list[Comparison]:
    """Every cell that both have; the empty loop is not compared."""
    same_reference = _tflite(old) is not None and _tflite(old) == _tflite(new)
    keys = [key for key in new.cells if key in old.cells and key.workload != EMPTY]
    figures: dict[Key, dict[str, tuple[list[float], list[float]]]] = {}
    for key in keys:
        before, after = old.cells[key]["rounds"], new.cells[key]["rounds"]
        figures[key] = {"median": (before["p50_us"], after["p50_us"])}
        ratios = old.ratios(key), new.ratios(key)
        if same_reference and ratios[0] is not None and ratios[1] is not None:
            figures[key]["ratio"] = (ratios[0], ratios[1])
    count = sum(len(of_cell) for of_cell in figures.values())
    confidence = 1.0 - (1.0 - CONFIDENCE) / max(1, count)
    compared = []
    for key, of_cell in figures.items():
        changes = {name: change(*pair, confidence) for name, pair in of_cell.items()}
        before_us, after_us = map(median, of_cell["median"])
        p99 = old.cells[key]["rounds"]["p99_us"], new.cells[key]["rounds"]["p99_us"]
        compared.append(
            Comparison(
                key,
                new.title(key.workload),
                before_us,
                after_us,
                changes["median"],
                changes.get("ratio"),
                None if None in p99[0] + p99[1] else change(*p99, confidence),
            )
        )
    return compared


def change(old: Sequence[float], new: Sequence[float], confidence: float) -> Change:
    """The change from old to new, both positive; see above."""
    differences = sorted(math.log(after / before) for before in old for after in new)
    rank = interval_rank(len(old), len(new), confidence)
    low, high = (differences[rank - 1], differences[-rank]) if rank > 0 else (None, None)
    return Change(
        math.expm1(median(differences)),
        None if low is None else math.expm1(low),
        None if high is None else math.expm1(high),
    )


def interval_rank(m: int, n: int, confidence: float) -> int:
    """k, for the interval from the k-th smallest of the m * n differences to the k-th largest.

    The largest k whose interval covers with at least that confidence, by the exact distribution of the rank sum; 0 when
    none does.
    """
    counts = _rank_sum_counts(m, n)
    allowed = (1.0 - confidence) / 2.0 * math.comb(m + n, m)
    below = 0
    for k, count in enumerate(counts):
        below += count
        if below > allowed:
            return k
    return 0


def _rank_sum_counts(m: int, n: int) -> list[int]:
    """In how many of the comb(m + n, m) orders U = 0, 1, ..., m * n pairs are the other way round."""
    counts = [1]
    for i in range(1, m + 1):  # the Gaussian binomial: times (1 - x^(n + i)) / (1 - x^i)
        numerator = counts + [0] * (n + i)
        for power, count in enumerate(counts):
            numerator[power + n + i] -= count
        for power in range(i, len(numerator)):
            numerator[power] += numerator[power - i]
        counts = numerator[: i * n + 1]
    return counts


def remarks(old: Certificate, new: Certificate) -> list[str]:
    """What else differs between the two runs, and should be known to who reads the changes."""
    said = []
    for name in ("processor", "isa", "cpus", "kernel", "governor", "preemption", "scheduling"):
        before, after = old.data["machine"][name], new.data["machine"][name]
        if before != after:
            said.append(f"{name}: {before} then, {after} now")
    before_models, after_models = old.data["models"], new.data["models"]
    changed = [
        name
        for name in after_models
        if name in before_models and before_models[name]["sha256"] != after_models[name]["sha256"]
    ]
    if changed:
        said.append(f"other models now: {', '.join(changed)}")
    if _tflite(old) != _tflite(new):
        said.append("another build of TensorFlow Lite: the medians decide, not the ratios to it")
    return said


def _tflite(certificate: Certificate) -> str | None:
    sha256: str | None = certificate.data["program"]["tflite"]["sha256"]
    return sha256
