"""Time: cells to points in time, and those to the site's clock. The rule stands in docs/time.md.

The calendar (hour, weekday, hour of the week) is the site's local time. What a row shows is local time there: text as
it is written, with its offset if it has one. A numeric time counts from 1970 in UTC. With a zone everything is brought
to the zone's clock, and text without an offset is a time of that clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from linkcast.features import epoch_unit
from linkcast.traces.layout import UNITS
from linkcast.traces.table import Column, ZonedTimes, cells_of

Int64 = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]

NO_TIME = np.iinfo(np.int64).min  # NaT, as numpy stores it
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
QUARTER_US = HOUR_US // 4  # clocks are changed at whole quarters of an hour
EARLIEST_US, LATEST_US = -2_208_988_800_000_000, 7_258_118_400_000_000  # the years 1900 and 2200
EXCEL_1970 = 25_569.0  # days from 1899-12-30
ELAPSED_BELOW = 1e8  # POSIX seconds of 1973: smaller numbers count from the start of the measurement

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_OFFSETS_H = {"z": 0, "utc": 0, "gmt": 0, "ut": 0, "wet": 0, "west": 1, "cet": 1, "cest": 2, "mez": 1, "mesz": 2}
_OFFSETS_H |= {"eet": 2, "eest": 3, "msk": 3, "est": -5, "edt": -4, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8}
_OFFSETS_H |= {"pdt": -7, "jst": 9, "kst": 9, "aest": 10, "aedt": 11, "nzst": 12, "nzdt": 13}
"""Abbreviations that mean one offset wherever they are used; CST, IST and BST do not."""

_CLOCK = r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
_CLOCK += r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
_OFFSET = r"(?:UTC|GMT)?[+\-\u2212]\d\d?:?(?:\d\d)?(?::\d\d)?"
_ZONE = rf"(?:\s*(?P<zone>[Zz]|{_OFFSET}|[A-Za-z]{{2,5}}|[A-Z][A-Za-z_]+/[A-Za-z_/+\-0-9]+))?"
_AREA = r"(?:\s*[\[(][^\])]*[\])]|\s+[A-Z]{2,5})?"  # [Europe/Berlin] or CET after an offset that already says it
_ISO = re.compile(r"[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?")
_WEEKDAY = r"(?:[^\W\d]{2,10}\.?,?\s+)?"
_END = _ZONE + _AREA + r"\s*"
_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        _WEEKDAY
        + r"(?P<year>\d{4})[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?)(?:(?:[Tt]|,?\s+|_|:)"
        + _CLOCK
        + ")?"
        + _END,
        _WEEKDAY
        + r"(?P<a>\d\d?)(?P<mark>[./-])(?P<b>\d\d?)(?P=mark)(?P<year>\d{4}|\d\d)(?:(?:[Tt]|,?\s+)"
        + _CLOCK
        + ")?"
        + _END,
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)[Tt _-]?(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"
        r"(?:[.,](?P<fraction>\d+))?" + _END,
        _WEEKDAY + r"(?P<day>\d\d?)[ /-](?P<name>[A-Za-z]{3,9})[ /-](?P<year>\d{4})[ :T]\s*" + _CLOCK + _END,
        _WEEKDAY + r"(?P<name>[A-Za-z]{3,9})\.?\s+(?P<day>\d\d?),?\s+(?P<year>\d{4}),?\s+" + _CLOCK + _END,
        _WEEKDAY + r"(?P<name>[A-Za-z]{3,9})\s+(?P<day>\d\d?)\s+" + _CLOCK + _ZONE + r"\s+(?P<year>\d{4})",
        _CLOCK + _END,
    )
]


@dataclass(frozen=True)
class Clock:
    """A column of times, read. Microseconds since 1970; NO_TIME where a cell is no time."""

    wall: Int64  # (rows,) what the clock on the wall shows
    offset: Int64  # (rows,) how far it is ahead of UTC; NO_TIME where the cell does not say
    dated: bool = True  # False: the times are of no known day
    words: int = 0  # cells that are no time, and not empty
    first: tuple[int, str] | None = None  # row (from 1) and text of the first of them
    notices: tuple[str, ...] = ()


def zone_of(name: str) -> ZoneInfo:
    """The zone of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        try:
            ZoneInfo("Europe/Berlin")
        except (KeyError, OSError):
            raise ValueError(f"timezone: {name}: there is no time zone data here: pip install tzdata") from None
        raise ValueError(f"timezone: expected a zone such as Europe/Berlin or UTC, got {name!r}") from None


def read_times(
    column: Column, unit: str | None = None, zone: str | None = None, day_first: bool | None = None
) -> Clock | None:
    """The times of a column; None when no cell is one. What is not of the years 1900 to 2199 is no time.

    Args:
        column: text, datetime64, numbers, or times with their offset.
        unit: of numbers; None tells seconds, milli-, micro- and nanoseconds apart by their size.
        zone: the site's, for abbreviations that mean several.
        day_first: whether 02/01/2026 is in January; None looks at the column.
    Raises:
        ValueError: text with the abbreviation of a zone that may be several.
    """
    clock = _times_of(column, unit, zone, day_first)
    if clock is None:
        return None
    odd = (clock.wall != NO_TIME) & ((clock.wall < EARLIEST_US) | (clock.wall >= LATEST_US))
    if not odd.any():
        return clock
    if odd.sum() == (clock.wall != NO_TIME).sum():
        return None
    row = int(np.argmax(odd))
    first = clock.first or (row + 1, str(column.wall[row] if isinstance(column, ZonedTimes) else column[row]))
    wall = np.where(odd, NO_TIME, clock.wall)
    return replace(clock, wall=wall, words=clock.words + int(odd.sum()), first=first)


def _times_of(column: Column, unit: str | None, zone: str | None, day_first: bool | None) -> Clock | None:
    if isinstance(column, ZonedTimes):
        wall, utc = (times.astype("datetime64[us]").astype(np.int64) for times in (column.wall, column.utc))
        return Clock(wall, np.where(wall == NO_TIME, NO_TIME, wall - utc))
    if column.dtype.kind == "M":
        wall = column.astype("datetime64[us]").astype(np.int64)
        return Clock(wall, np.full(len(wall), NO_TIME))
    if column.dtype.kind in "fiu":
        return _of_numbers(column.astype(np.float64), unit)
    if column.dtype.kind != "O":
        return None
    cells = cells_of(column)
    numbers = _as_numbers(cells)
    if numbers is not None:
        return _of_numbers(numbers, unit)
    return _of_plain_text(cells) or _of_text(cells, zone, day_first)


def _as_numbers(cells: list[str]) -> npt.NDArray[np.float64] | None:
    """(rows,) when every cell that is not empty is a number and not a date in digits such as 20260101000000."""
    filled = [cell for cell in cells if cell]
    if not filled or not re.fullmatch(r"[+-]?\d+([.,]\d*)?([eE][+-]?\d+)?", filled[0]):
        return None
    if len(filled[0]) == 14 and all(re.fullmatch(r"(19|20)\d\d[01]\d[0-3]\d[0-2]\d[0-5]\d[0-6]\d", c) for c in filled):
        return None
    try:
        return np.array([float(cell.replace(",", ".")) if cell else np.nan for cell in cells], np.float64)
    except ValueError:
        return None


def _are_excel_days(values: npt.NDArray[np.float64]) -> bool:
    """Whether numbers are a spreadsheet's days: of 1982 to 2119, in steps that hardly any clock of seconds has."""
    steps = np.abs(np.diff(values))
    steps = steps[steps > 0]
    days = bool(((values > 30_000) & (values < 80_000)).all())
    return days and bool(len(steps)) and float(np.median(steps)) <= 1.001 / 24.0


def _of_numbers(values: npt.NDArray[np.float64], unit: str | None) -> Clock | None:
    finite = np.isfinite(values)
    if not finite.any():
        return None
    size = float(np.median(np.abs(values[finite])))
    if unit is None and _are_excel_days(values[finite]):
        wall = np.full(len(values), NO_TIME)
        wall[finite] = (np.rint((values[finite] - EXCEL_1970) * 86_400_000.0) * 1000.0).astype(np.int64)
        said = "times are read as Excel's days since 1900; -u timestamp=s reads seconds"
        return Clock(wall, np.full(len(values), NO_TIME), notices=(said,))
    dated = unit is not None or size >= ELAPSED_BELOW
    factor = UNITS["timestamp"][unit or epoch_unit(size)]
    wall = np.full(len(values), NO_TIME)
    wall[finite] = np.rint(np.clip(values[finite] * factor, -LATEST_US, LATEST_US)).astype(np.int64)
    offset = np.where(finite & dated, 0, NO_TIME)
    notices = () if dated else (f"times of about {size:g} are taken as seconds since the start, without a date",)
    return Clock(wall, offset, dated, notices=notices)


def _of_plain_text(cells: list[str]) -> Clock | None:
    """The quick way, for ISO 8601 with one offset, or none, in all rows; None for anything else."""
    sample = next((cell for cell in cells if cell), "")
    found = re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?", sample)
    if found is None:
        return None
    suffix = found[1] or ""
    if not all(
        not cell or (cell.endswith(suffix) and _ISO.fullmatch(cell, 0, len(cell) - len(suffix))) for cell in cells
    ):
        return None
    bare = [cell.removesuffix(suffix) for cell in cells] if suffix else cells
    try:
        wall = np.array([cell or "NaT" for cell in bare], "datetime64[us]").astype(np.int64)
    except ValueError:
        return None
    offset = _offset_us(suffix, None, 0) if suffix else NO_TIME
    assert offset is not None
    return Clock(wall, np.where(wall == NO_TIME, NO_TIME, offset))


def _of_text(cells: list[str], zone: str | None, day_first: bool | None) -> Clock | None:
    found = [next((match for p in _PATTERNS if (match := p.fullmatch(cell))), None) if cell else None for cell in cells]
    first_day, notices = _day_first(found, day_first)
    wall = np.full(len(cells), NO_TIME)
    offset = np.full(len(cells), NO_TIME)
    dated = True
    wrong: list[int] = []
    unknown: list[str] = []
    days = last = 0
    for row, match in enumerate(found):
        parts = match.groupdict() if match else {}
        try:
            moment = _moment(parts, first_day) if match else None
        except ValueError:
            moment = None
        if moment is None:
            if cells[row]:
                wrong.append(row)
            continue
        if "year" not in parts:  # a clock without a date: after midnight comes the next day
            dated = False
            days += DAY_US if moment < last - DAY_US // 2 else 0
            last = moment
            moment += days
        word = parts.get("zone")
        ahead = _offset_us(word, zone, moment) if word else NO_TIME
        if ahead is None:
            unknown.append(str(word))
            wrong.append(row)
        else:
            wall[row], offset[row] = moment, ahead
    if 2 * len(unknown) > sum(map(bool, cells)):
        raise ValueError(
            f"zone {unknown[0]!r} has no one meaning; --timezone names the site, such as --timezone Asia/Kolkata"
        )
    if len(wrong) == sum(map(bool, cells)):
        return None
    if not dated:
        notices.append("the times have no date: hour and weekday are not known")
    return Clock(wall, offset, dated, len(wrong), (wrong[0] + 1, cells[wrong[0]]) if wrong else None, tuple(notices))


def _moment(parts: dict[str, str | None], day_first: bool) -> int:
    """Microseconds since 1970 that the parts of a cell say. ValueError: no such day or time of day."""
    year, month, day = 1970, 1, 1
    if parts.get("year"):
        year = int(parts["year"] or 0)
        year += 2000 if year < 100 else 0
        if parts.get("name"):
            name = (parts["name"] or "")[:3].lower()
            month = _MONTHS.index(name) + 1
            day = int(parts["day"] or 0)
        elif parts.get("a"):
            pair = int(parts["a"] or 0), int(parts["b"] or 0)
            day, month = pair if day_first else pair[::-1]
        else:
            month, day = int(parts["month"] or 0), int(parts["day"] or 0)
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    if parts.get("half"):
        hour = hour % 12 + (12 if (parts["half"] or "").lower() == "p" else 0)
    micro = int(((parts.get("fraction") or "") + "000000")[:6])
    moment = datetime(year, month, day, hour, minute, min(second, 59), micro)
    return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1) + (1_000_000 if second == 60 else 0)


def _day_first(found: list[re.Match[str] | None], asked: bool | None) -> tuple[bool, list[str]]:
    """Whether 02/01/2026 is in January, and a notice where the column leaves it open."""
    pairs = {(m["a"], m["b"], m["mark"], bool(m["half"])) for m in found if m is not None and "a" in m.groupdict()}
    if asked is not None or not pairs:
        return bool(asked), []
    if any(int(a) > 12 for a, *_ in pairs):
        return True, []
    if any(int(b) > 12 for _, b, *_ in pairs):
        return False, []
    a, b, mark, half = min(pairs)
    days, months = {int(a) for a, *_ in pairs}, {int(b) for _, b, *_ in pairs}
    first = mark == "." or (not half and len(days) >= len(months))
    open_ = mark != "." and any(a != b for a, b, *_ in pairs)
    order, other = ("day", "month") if first else ("month", "day")
    return first, [
        f"dates such as {a}{mark}{b} are read {order} first; --{other}-first reads them the other way"
    ] * open_


def _offset_us(text: str, zone: str | None, wall: int) -> int | None:
    """How far a clock with "+01:00", "Z", "CET" or "Europe/Berlin" behind it is ahead of UTC; NO_TIME: as the site.

    None for an abbreviation that may mean several, or nothing.
    """
    word = text.replace("\u2212", "-")
    found = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d\d?):?(\d\d)?(?::?(\d\d))?", word)
    if found is not None:
        sign = -1 if found[1] == "-" else 1
        return sign * (int(found[2]) * 3600 + int(found[3] or 0) * 60 + int(found[4] or 0)) * 1_000_000
    if word.lower() in _OFFSETS_H:
        return _OFFSETS_H[word.lower()] * HOUR_US
    if "/" in word:
        try:
            return _local_offset(zone_of(word), wall // QUARTER_US, 0)
        except (ValueError, OverflowError):
            return None
    return None if zone is None else NO_TIME


def _local_offset(zone: ZoneInfo, quarter: int, fold: int) -> int:
    """How far the zone's clock is ahead of UTC in a quarter of an hour of its own time."""
    local = datetime(1970, 1, 1) + timedelta(microseconds=quarter * QUARTER_US)
    ahead = local.replace(tzinfo=zone, fold=fold).utcoffset()
    assert ahead is not None
    return ahead // timedelta(microseconds=1)


def to_zone(utc: Int64, zone: ZoneInfo) -> Int64:
    """(rows,) the zone's clock at moments in UTC, both in microseconds since 1970."""
    quarters, where = np.unique(utc // QUARTER_US, return_inverse=True)
    ahead = []
    for quarter in quarters.tolist():
        moment = datetime.fromtimestamp(quarter * (QUARTER_US // 1_000_000), zone)
        offset = moment.utcoffset()
        assert offset is not None
        ahead.append(offset // timedelta(microseconds=1))
    return utc + np.array(ahead, np.int64)[where.reshape(-1)]


def from_zone(wall: Int64, zone: ZoneInfo) -> tuple[Int64, int, int]:
    """The moments in UTC of a zone's clock, rows in the order in which they were measured.

    Of the hour that comes twice in autumn, the rows after the clock has gone back are of the second time. A time in the
    hour that spring leaves out is one of a clock that was not changed: it is read with the offset from before.

    Returns:
        (rows,) microseconds since 1970; how many rows are in an hour that comes twice without the clock going back in
        it, taken as the first; and how many in one that is left out.
    """
    quarters, where = np.unique(wall // QUARTER_US, return_inverse=True)
    offsets = np.array(
        [[_local_offset(zone, q, fold) for fold in (0, 1)] for q in quarters.tolist()], np.int64
    ).reshape(-1, 2)
    before, after = offsets[where.reshape(-1)].T
    twice = before > after
    second = np.zeros(len(wall), np.bool_)
    unsure = 0
    edges = np.flatnonzero(np.diff(twice.astype(np.int8), prepend=0, append=0))
    steps = np.diff(wall)
    hourly = bool(len(steps)) and float(np.median(np.abs(steps))) >= HOUR_US
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        inside = steps[start : stop - 1]
        back = np.flatnonzero(inside <= 0 if hourly else inside < 0)
        if len(back):
            second[start + int(back[0]) + 1 : stop] = True
        elif start > 0 and wall[start] < wall[start - 1]:  # the rows of the first time are missing
            second[start:stop] = True
        else:
            unsure += stop - start
    return wall - np.where(second, after, before), unsure, int(np.count_nonzero(before < after))


def offset_words(offsets: Int64) -> str:
    """ "+01:00, +02:00": the offsets that rows have."""
    return ", ".join(
        f"{'-' if value < 0 else '+'}{abs(value) // HOUR_US:02d}:{abs(value) % HOUR_US // 60_000_000:02d}"
        for value in np.unique(offsets[offsets != NO_TIME]).tolist()
    )


def datetimes(micros: Int64) -> Times:
    """(rows,) datetime64[us], NaT where there is no time."""
    times: Times = micros.astype("datetime64[us]")
    return times


def any_time(column: Any) -> bool:
    """Whether the first cells of a text column are times."""
    cells = [cell for cell in cells_of(column[:20]) if cell]
    return bool(cells) and all(any(p.fullmatch(cell) for p in _PATTERNS) for cell in cells)
