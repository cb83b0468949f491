"""What a file's columns mean: their names, their units, the clock, and how cells are written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

Columns: TypeAlias = Mapping[str, str | float]

ALIASES: dict[str, tuple[str, ...]] = {
    "latency_ms": ("latency_ms", "rtt_ms"),
    "bandwidth_mbps": ("bandwidth_mbps", "dl_mbps"),
    "packet_loss": ("packet_loss", "loss_fraction"),
    "reliability": ("reliability",),
    "timestamp": ("timestamp", "time", "datetime", "date"),
}
"""Column names that are taken for a feature, the first that the file has: a download rate stands for the bandwidth.
Upper and lower case, blanks and underscores do not matter."""

BASES: dict[str, tuple[str, ...]] = {
    "latency_ms": ("latency", "rtt", "ping"),
    "bandwidth_mbps": ("bandwidth", "dl"),
    "packet_loss": ("packet_loss", "loss"),
    "reliability": ("reliability",),
}
"""Names that are taken for a feature when the column's name also says the unit: bandwidth_kbps, "Latency (ms)"."""

SOURCE_COLUMNS = ("provider", "session")  # whose rows run in parallel
SEGMENT_COLUMNS = (*SOURCE_COLUMNS, "trace")
GROUP_COLUMN = "service_group"

_TIMES = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_SHARES = {"fraction": 1.0, "percent": 0.01, "%": 0.01}
UNITS: dict[str, dict[str, float]] = {
    "latency_ms": {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6},
    "bandwidth_mbps": {
        **{"bit/s": 1e-6, "kbit/s": 1e-3, "Mbit/s": 1.0, "Gbit/s": 1e3},
        **{"B/s": 8e-6, "kB/s": 8e-3, "MB/s": 8.0, "GB/s": 8e3},
    },
    "packet_loss": _SHARES,
    "reliability": _SHARES,
    "timestamp": _TIMES,
}
"""Units that a column may be in, and what its numbers are multiplied with; timestamps become microseconds."""

COUNTERS = {"bytes": 8e-6, "bits": 1e-6}
"""Units of a bandwidth column that counts what went by: the rate is its rise over the time between rows."""

_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}
_RATE = re.compile(
    r"([kmgt]i?)?(bits?|bytes?|octets?|[bB])(?:[/_]s(?:ec(?:ond)?)?|ps|_?per_?s(?:ec(?:ond)?)?|p/s)", re.IGNORECASE
)
_RATE_AT_END = re.compile(r"(?:^|[a-z\d])([KkMGTmgt]i?(?:bits?|[Bb]ytes?|[bB])(?:/s(?:ec)?|ps))$")  # rxkB/s
_SPANS = {"s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "ms": "ms", "msec": "ms", "msecs": "ms"}
_SPANS |= {"milliseconds": "ms", "us": "us", "µs": "us", "μs": "us", "usec": "us", "microseconds": "us", "ns": "ns"}
_SHARE_WORDS = {"%": "percent", "percent": "percent", "pct": "percent", "percentage": "percent", "fraction": "fraction"}


def unit_factor(feature: str, text: str) -> float | None:
    """What a number in a unit as people write it is multiplied with to be in the feature's: "MBytes/sec", "µs", "%".

    A small b is a bit and a large B a byte where the two are told apart (MB/s); "MBPS" and "mbps" are Mbit/s.

    Returns:
        None for what is no unit of the feature.
    """
    word = text.strip()
    if word in UNITS[feature]:
        return UNITS[feature][word]
    if feature == "bandwidth_mbps":
        found = _RATE.fullmatch(word.replace(" ", ""))
        if found is None:
            return None
        prefix, base = (found[1] or "").lower(), found[2]
        bytes_ = base[:2].lower() in ("by", "oc") or (base == "B" and not word.endswith("PS"))
        return _PREFIXES[prefix] * (8e-6 if bytes_ else 1e-6) if prefix in _PREFIXES else None
    words = _SPANS if feature in ("latency_ms", "timestamp") else _SHARE_WORDS
    unit = words.get(word.lower())
    return None if unit is None else UNITS[feature][unit]


def _unit(feature: str, text: str) -> str:
    """The unit, among UNITS and COUNTERS, that a text says: "kbps" -> "kbit/s"."""
    if feature not in UNITS:
        raise ValueError(f"units: expected names among {', '.join(UNITS)}, got {feature}")
    words = [*UNITS[feature], *(COUNTERS if feature == "bandwidth_mbps" else ())]
    if text in words:
        return text
    factor = unit_factor(feature, text)
    unit = next((unit for unit, its_factor in UNITS[feature].items() if its_factor == factor), None)
    if unit is None:
        raise ValueError(f"units: {feature}: expected one of {', '.join(words)}, got {text!r}")
    return unit


def plain(name: str) -> str:
    """A column's name without what does not matter in it: "Packet Loss" -> "packet_loss"."""
    return re.sub(r"[\s_\-.]+", "_", name.strip().casefold()).strip("_")


def name_and_unit(feature: str, name: str) -> tuple[str, float | None]:
    """A column's plain name without the unit in it, and the unit's factor: "Download (kbit/s)" -> ("download", 1e-3).

    The factor is None, and the name whole, where it has no unit of the feature. Upper and lower case count in a unit:
    bandwidth_MBps is in bytes. A name that is a unit and nothing else has no rest: "kB/s" -> ("", 8e-3).
    """
    bracket = re.fullmatch(r"(.*?)\s*[\[(]\s*([^\[\]()]+?)\s*[\])]\s*", name)
    if bracket is not None and (factor := unit_factor(feature, bracket[2])) is not None:
        return plain(bracket[1]), factor
    words = re.sub(r"[\s_\-.]+", "_", name.strip()).strip("_")
    for start in (0, *(match.end() for match in re.finditer("_", words))):
        unit = re.sub(r"(?i)^([kmg]bit)s?$", r"\1/s", words[start:])  # bandwidth_kbit: nobody means a volume
        if (factor := unit_factor(feature, unit)) is not None:
            return plain(words[:start]), factor
    glued = _RATE_AT_END.search(words) if feature == "bandwidth_mbps" else None
    if glued is not None and (factor := unit_factor(feature, glued[1])) is not None:
        return plain(words[: glued.start(1)]), factor
    return plain(name), None


@dataclass(frozen=True)
class Layout:
    """How a file is read: what its columns mean, their units, which rows count, and at which step.

    Args:
        columns: for a feature, `timestamp`, `session`, `provider`, `trace` or `service_group`, the column to read
            instead of the one of that name; or for a feature a number that every row takes:
            {"bandwidth_mbps": "ul_mbps", "packet_loss": 0.0}.
        units: the unit of a feature's column where it is not that of the feature: {"bandwidth_mbps": "kbit/s",
            "packet_loss": "percent"}; see UNITS, or as people write them ("kbps", "msec"). A number in `columns` is in
            the feature's own unit. "bytes" or "bits" of the bandwidth: the column is a counter (see COUNTERS).
        where: for a column of the file, patterns (as in a shell: * and ?) of which its value has to match one:
            {"modem": ["*-WAVELAB"]}.
        step_s: seconds between rows, if rows are to be brought to an even step (see `resample`).
        separator: between the cells of a text file; None looks at the file.
        decimal: "." or ",", the decimal sign of a text file; None looks at the column.
        timezone: the site's zone, such as "Europe/Berlin": the calendar is its local time (see docs/time.md).
        day_first: whether 02/01/2026 is the 2nd of January; None looks at the column.
        missing: a number that stands for no value, such as -1.
    Raises:
        ValueError: an unknown feature, unit or zone, a separator that is not one character, a decimal sign that is
            neither "." nor ",", or a step that is not above 0.
    """

    columns: Columns = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    step_s: float | None = None
    separator: str | None = None
    decimal: str | None = None
    timezone: str | None = None
    day_first: bool | None = None
    missing: float | None = None

    def __post_init__(self) -> None:
        known = (*ALIASES, *SEGMENT_COLUMNS, GROUP_COLUMN)
        unknown = [name for name in self.columns if name not in known]
        if unknown:
            raise ValueError(f"columns: expected names among {', '.join(known)}, got {', '.join(unknown)}")
        object.__setattr__(self, "units", {name: _unit(name, unit) for name, unit in self.units.items()})
        if self.step_s is not None and not 0.0 < self.step_s < np.inf:
            raise ValueError(f"step_s: expected a number above 0, got {self.step_s!r}")
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '\r\n"'):
            raise ValueError(f"separator: expected one character, such as ';' or a tab, got {self.separator!r}")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"decimal: expected '.' or ',', got {self.decimal!r}")
        if self.timezone is not None:
            from linkcast.traces.clock import zone_of

            zone_of(self.timezone)

    def column(self, name: str) -> str:
        """The column of the file that stands for a name that is no feature, such as `session`."""
        return str(self.columns.get(name, name))
