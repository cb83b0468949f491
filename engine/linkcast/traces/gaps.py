"""Rows to segments: their order, those that come twice, gaps that are held and those that break."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from linkcast.features import BANDWIDTH, TELEMETRY
from linkcast.traces import clock as clocks
from linkcast.traces.clock import HOUR_US, NO_TIME, Clock
from linkcast.traces.layout import Columns
from linkcast.traces.trace import Trace

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

GAP_STEPS = 3.0
MOST_HELD = 3  # rows in a row that hold the last value: what a stream does by default
SHUFFLED = 0.2  # of the steps that go back in time, from which on rows have no order
NEWEST_FIRST = 0.8  # of the steps that go back in time, from which on the file is turned round
LATE_STEPS = 3.0  # median steps that a row may come late


@dataclass
class Rows:
    """The rows of a table in the order of time, source by source."""

    name: str
    keys: Int64  # (rows,) source of each row of the table
    order: Int64  # (rows,) the table's rows as they follow each other
    wall: Int64 | None = None  # (rows,) site's clock, in the table's order; NO_TIME where a row has none
    moments: Int64 | None = None  # (rows,) what steps are measured by: UTC where it is known, else the wall clock
    utc: bool = False  # whether moments are UTC
    dated: bool = True
    clock: str = ""  # "", "as written", "UTC", "+05:00", "Europe/Berlin" or "offsets +01:00, +02:00"
    notices: list[str] = field(default_factory=list)
    as_given: bool = False  # rows of an array: neither sorted nor left out

    @classmethod
    def arranged(cls, name: str, keys: Int64, clock: Clock | None, timezone: str | None) -> Rows:
        """Puts rows in order: by source, and newest first turned round; times become those of the site's clock.

        Raises:
            ValueError: some times have an offset, some not, and no zone names the site.
        """
        rows = cls(name, keys, np.argsort(keys, kind="stable"))
        if clock is None:
            return rows
        timed = clock.wall != NO_TIME
        aware = timed & (clock.offset != NO_TIME)
        bare = timed & ~aware
        if aware.any() and bare.any() and timezone is None:
            first = int(np.argmax(bare)) + 1
            raise ValueError(
                f"{name}: timestamp: expected an offset in every row or in none, got {int(bare.sum())} rows "
                f"without one, first row {first}; --timezone names the site whose clock they show"
            )
        utc = np.where(aware, clock.wall - np.where(aware, clock.offset, 0), NO_TIME)
        rows.wall, rows.moments, rows.dated = clock.wall.copy(), np.where(aware, utc, clock.wall), clock.dated
        rows.utc = bool(aware.any()) and not bare.any()
        rows._sort()
        offsets = clocks.offset_words(clock.offset)
        rows.clock = "UTC" if offsets == "+00:00" else offsets or "as written"
        if "," in offsets:
            rows.clock = f"offsets {offsets}"
        if timezone is not None and clock.dated:
            rows._bring_to_zone(timezone, aware, bare, utc)
        elif "," in offsets:
            rows.notices.append(
                f"times have the offsets {offsets}: each row's own clock is the calendar; --timezone names the site"
            )
        return rows

    def of_sources(self) -> Iterator[Int64]:
        """The rows of each source, in order."""
        cuts = np.flatnonzero(np.diff(self.keys[self.order])) + 1
        yield from np.split(self.order, cuts) if len(self.order) else ()

    def _sort(self) -> None:
        """Turns sources round that are newest first, and sorts those without an order and rows that came a bit late."""
        assert self.moments is not None
        parts, turned, shuffled, late = [], 0, 0, 0
        for rows in self.of_sources():
            part, times = rows, self.moments[rows]
            if (times == NO_TIME).any():  # a row without a time stands where the row before it does
                known = np.flatnonzero(times != NO_TIME)
                before = np.searchsorted(known, np.arange(len(times)), side="right") - 1
                times = times[known[np.maximum(before, 0)]] if len(known) else np.zeros(len(times), np.int64)
            steps = np.diff(times)
            back, on = int(np.count_nonzero(steps < 0)), steps[steps > 0]
            if back > NEWEST_FIRST * (back + len(on)):
                part, times = part[::-1], times[::-1]
                turned += 1
                steps = np.diff(times)
                back, on = int(np.count_nonzero(steps < 0)), steps[steps > 0]
            if back:
                usual = float(np.median(on)) if len(on) else 0.0
                if back > SHUFFLED * len(steps):
                    shuffled += 1
                    part = part[np.argsort(times, kind="stable")]
                elif float(-steps.min()) <= LATE_STEPS * usual and (self.utc or not _an_hour_back(steps, usual)):
                    late += back
                    part = part[np.argsort(times, kind="stable")]
            parts.append(part)
        if turned:
            self.notices.append("rows are newest first: turned round")
        if shuffled:
            self.notices.append("rows are in no order of time: sorted")
        if late:
            self.notices.append(f"{late} row{'s' if late > 1 else ''} a little out of order: sorted")
        self.order = np.concatenate(parts) if parts else self.order

    def _bring_to_zone(self, timezone: str, aware: Mask, bare: Mask, utc: Int64) -> None:
        assert self.wall is not None and self.moments is not None
        zone = clocks.zone_of(timezone)
        unsure = skipped = 0
        moments = utc.copy()
        for rows in self.of_sources():
            part = rows[bare[rows]]
            moments[part], twice, never = clocks.from_zone(self.wall[part], zone)
            unsure, skipped = unsure + twice, skipped + never
        timed = aware | bare
        self.moments, self.utc, self.clock = moments, True, timezone
        self.wall[timed] = clocks.to_zone(moments[timed], zone)
        if unsure:
            self.notices.append(
                f"{unsure} rows in an hour that comes twice in {timezone}, and the clock does not go back in it: "
                "taken as the first time"
            )
        if skipped:
            self.notices.append(f"{skipped} rows in the hour that {timezone} leaves out in spring: read an hour later")


def _an_hour_back(steps: Int64, usual: float) -> bool:
    """Whether the clock goes back as it does in autumn."""
    back = steps[steps < 0]
    return bool(len(back)) and bool((np.abs(-back + usual - HOUR_US) < 0.5 * usual + 1e6).any())


def build(
    name: str,
    features: Float64,
    rows: Rows,
    columns: Columns | None,
    unmeasured: Mask | None = None,
    sources: tuple[str, ...] = (),
    notices: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Trace:
    """Cuts rows into segments, and holds short gaps.

    Args:
        features: (n, 4) in the table's order; NaN where there is no value.
        rows: their order and times.
        columns: where each feature comes from.
        unmeasured: (n, 4) True where a neutral value stands.
        sources: the name of each key.
        notices, warnings: for the trace.
    Raises:
        ValueError: no row is complete.
    """
    said, asked = [*notices, *rows.notices], list(warnings)
    order = rows.order if rows.moments is None else _without_repeats(features, rows, said, asked)
    features, keys = features[order], rows.keys[order]
    moments = None if rows.moments is None else rows.moments[order]
    timed = np.ones(len(order), np.bool_) if moments is None else moments != NO_TIME
    if not (timed & np.isfinite(features).all(axis=1)).any():
        raise ValueError(f"{name}: expected rows with a value in each column, got none among {len(features)}")

    features, keys, order = features[timed], keys[timed], order[timed]
    moments = None if moments is None else moments[timed]
    breaks = np.diff(keys) != 0
    if moments is not None:
        back = np.flatnonzero(~breaks & (np.diff(moments) < 0))
        if len(back):
            asked.append(_backwards(order, moments, back, rows))
        breaks |= _time_breaks(moments, breaks)
    segment = np.concatenate([[0], np.cumsum(breaks)])
    measured: Mask = np.isfinite(features[:, BANDWIDTH])
    gap: Mask = np.logical_not(np.all(np.isfinite(features), axis=1))
    _hold(features, segment)

    kept = np.flatnonzero(np.isfinite(features).all(axis=1))
    starts = np.flatnonzero(np.diff(segment[kept]) | (np.diff(kept) > 1)) + 1
    starts = np.concatenate([[0], starts]).astype(np.int64)
    order = order[kept]
    counts = np.zeros(len(TELEMETRY), int) if unmeasured is None else unmeasured[order].sum(axis=0)
    return Trace(
        name=name,
        features=np.ascontiguousarray(features[kept]),
        timestamps=None if rows.wall is None else clocks.datetimes(rows.wall[order]),
        segment_starts=starts,
        dropped_rows=int(len(timed) - len(kept)),
        columns=columns,
        neutral={feature: int(count) for feature, count in zip(TELEMETRY, counts, strict=True) if count},
        sources=tuple(sources[key] for key in rows.keys[order[starts]]) if sources else (),
        held_rows=int(np.count_nonzero(gap[kept])),
        held=np.logical_not(measured[kept]),
        instants=None if not rows.utc or rows.moments is None else clocks.datetimes(rows.moments[order]),
        dated=rows.dated,
        clock=rows.clock,
        notices=tuple(dict.fromkeys(said)),
        warnings=tuple(dict.fromkeys(asked)),
    )


def _hold(features: Float64, segment: Int64) -> None:
    """Fills gaps of up to MOST_HELD rows with the value before them, in place, feature by feature."""
    for column in range(features.shape[1]):
        missing = ~np.isfinite(features[:, column])
        if not missing.any():
            continue
        edges = np.flatnonzero(np.diff(missing.astype(np.int8), prepend=0, append=0))
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if stop - start <= MOST_HELD and start > 0:
                same = segment[start:stop] == segment[start - 1]
                features[start:stop, column][same] = features[start - 1, column]


def _without_repeats(features: Float64, rows: Rows, said: list[str], asked: list[str]) -> Int64:
    """The rows in order, without those that say the same of the same time again; says so, and where they differ."""
    assert rows.moments is not None
    order = rows.order
    timed = order[rows.moments[order] != NO_TIME]
    ascending = (np.diff(rows.moments[timed]) > 0) | (np.diff(rows.keys[timed]) != 0)
    if rows.as_given or ascending.all():
        return order
    pairs = np.stack([rows.keys[timed], rows.moments[timed]], axis=1)
    _, first, where = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(timed):
        return order
    again = np.ones(len(timed), np.bool_)
    again[first] = False
    here = np.nan_to_num(features[timed], nan=-1.0)
    differ = again & np.any(here != here[first[where.reshape(-1)]], axis=1)
    row = int(timed[again].min()) + 1
    count = int(np.count_nonzero(again))
    if not differ.any():
        said.append(
            f"{count} row{'s' if count > 1 else ''} left out that say the same of the same time again, first row {row}"
        )
        return order[~np.isin(order, timed[again])]
    autumn = "" if rows.utc else "; if the clock was put back in autumn, --timezone names the site"
    asked.append(
        f"{count} row{'s have' if count > 1 else ' has'} the time of an earlier row, first row {row}: if they are of "
        f"several links, -c session=COLUMN tells them apart{autumn}"
    )
    return order


def _backwards(order: Int64, moments: Int64, back: Int64, rows: Rows) -> str:
    """What is said of time that goes back."""
    steps = np.diff(moments)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    times = "once" if len(back) == 1 else f"{len(back)} times"
    text = f"time goes back {times}, first in row {int(order[back[0] + 1]) + 1}: a new segment begins there"
    if not rows.utc and _an_hour_back(steps[back], usual):
        text += "; if the clock was put back in autumn, --timezone names the site"
    return text


def _time_breaks(moments: Int64, known: Mask) -> Mask:
    """(rows - 1,) True where time goes backwards or jumps by more than three median steps within a segment."""
    steps = np.diff(moments)
    forward = steps[~known & (steps > 0)]
    longest = GAP_STEPS * float(np.median(forward)) if forward.size else np.inf
    breaks: Mask = (steps < 0) | (steps > longest)
    return breaks
