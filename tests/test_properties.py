"""What holds for any input, on those that hypothesis draws: scaling, features, the predictor, metadata, traces."""

from __future__ import annotations

import gzip
import io
import json
import math
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import linkcast
from conftest import ROOT, rehash
from linkcast.features import calendar_features, hour_of_week, to_datetime64, to_seconds
from linkcast.traces import Layout, trace_from_table
from linkcast.traces.reading import table_of_bytes

SMALL = ROOT / "tests" / "versions" / "0.1.0" / "bundle"
QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SLOW = settings(QUICK, max_examples=25)

ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham", "UTC")]
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(microsecond=0))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@pytest.fixture(scope="module")
def predictor() -> linkcast.BandwidthPredictor:
    return linkcast.BandwidthPredictor(SMALL)


# ---- Scaling ----


@st.composite
def scalers(draw: st.DrawFn) -> dict[str, float]:
    least = draw(st.floats(-1e6, 1e6))
    log_offset = draw(st.sampled_from([0.0, 0.0, 0.01, 1.0, 50.0]))
    return {"min": least, "max": least + draw(st.floats(1e-3, 1e6)), "log_offset": log_offset}


@QUICK
@given(scalers(), st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_what_is_scaled_comes_back_within_the_rounding_of_float32(
    given_: dict[str, float], values: list[float]
) -> None:
    scale = 1.0 / (given_["max"] - given_["min"])
    scaler = linkcast.Scaler([given_["min"]], [scale], [given_["log_offset"]])
    x = np.array(values)[:, None, None]
    scaled = np.asarray(scaler.transform(x), np.float64).ravel()
    offset = given_["log_offset"]
    level = np.log(x.ravel() + offset) if offset else x.ravel()
    wanted = (level - given_["min"]) * scale
    step = 2.0**-23 * np.maximum(np.abs(wanted), 1e-30)
    np.testing.assert_allclose(scaled, wanted, rtol=0, atol=step.max())
    # One step of what is scaled is so much of the value; and the answer is rounded to float32 again.
    back = np.asarray(scaler.inverse_transform(scaled[:, None].astype(np.float32)), np.float64).ravel()
    slope = (x.ravel() + offset if offset else 1.0) / scale
    allowed = 2 * step * slope + 2.0**-22 * np.abs(x.ravel()) + 1e-6 * (1 + offset)
    assert (np.abs(back - x.ravel()) <= allowed + 1e-9 * np.abs(given_["min"])).all()
    order = np.argsort(x.ravel(), kind="stable")
    assert (np.diff(scaled[order]) >= 0).all()


# ---- Features ----


@QUICK
@given(MOMENTS)
@example(datetime(2024, 2, 29, 23, 59, 59))
@example(datetime(2100, 2, 28, 23, 59, 59))
@example(datetime(2000, 2, 29))
def test_the_calendars_features_are_those_of_pythons_calendar(moment: datetime) -> None:
    seconds = to_seconds(np.array([to_datetime64(moment)]))
    assert hour_of_week(seconds)[0] == moment.weekday() * 24 + moment.hour
    hour, weekday = 2 * math.pi * (moment.hour + moment.minute / 60) / 24, 2 * math.pi * moment.weekday() / 7
    expected = [math.sin(hour), math.cos(hour), math.sin(weekday), math.cos(weekday)]
    np.testing.assert_allclose(calendar_features(seconds)[0], expected, atol=1e-12)


@QUICK
@given(MOMENTS, st.sampled_from(ZONES), st.integers(0, 1))
@example(datetime(2026, 3, 29, 2, 30), ZONES[0], 0)  # a wall clock that summer time skips
@example(datetime(2026, 10, 25, 2, 30), ZONES[0], 1)  # and one that comes twice
def test_the_wall_clock_counts_whatever_the_zone_and_the_spelling(moment: datetime, zone: ZoneInfo, fold: int) -> None:
    zoned = moment.replace(tzinfo=zone, fold=fold)
    seconds = round((moment - datetime(1970, 1, 1)).total_seconds())
    fixed = zoned.replace(tzinfo=timezone(zoned.utcoffset() or timedelta()))
    spellings = [moment, zoned, fixed, moment.isoformat(), fixed.isoformat(), np.datetime64(moment, "s"), seconds]
    assert {to_datetime64(spelling) for spelling in spellings} == {np.datetime64(moment, "us")}


# ---- The predictor ----


@SLOW
@given(
    MOMENTS,
    st.sampled_from(["Streaming", "streaming", " STREAMING "]),
    st.none() | st.floats(0, 100),
    st.sampled_from(ZONES),
    st.integers(0, 1),
)
@example(datetime(2024, 2, 29, 12), "Streaming", 0.0, ZONES[0], 0)
@example(datetime(2026, 3, 29, 2, 30), "Streaming", 100.0, ZONES[0], 0)  # skipped by summer time
@example(datetime(2026, 10, 25, 2, 30), "Streaming", None, ZONES[0], 1)  # comes twice
def test_a_prediction_lies_within_the_groups_maximum_and_says_the_same_twice(
    predictor: linkcast.BandwidthPredictor, moment: datetime, group: str, usage: float | None, zone: ZoneInfo, fold: int
) -> None:
    numbers: Any = predictor.predict(moment, group, usage, as_numbers=True)
    zoned = moment.replace(tzinfo=zone, fold=fold)
    assert numbers == predictor.predict(zoned, group, usage, as_numbers=True)  # the wall clock counts
    assert numbers == predictor.predict(zoned.isoformat(), group, usage, as_numbers=True)
    most = predictor.engine.group("streaming").max_bandwidth_mbps
    assert numbers["service_group"] == "Streaming"
    assert 0 <= numbers["predicted_bandwidth_mbps"] <= most
    assert numbers["bandwidth_allocation"] == pytest.approx(100 * numbers["predicted_bandwidth_mbps"] / most, abs=0.01)
    assert numbers == predictor.predict(moment.isoformat(), "streaming", usage, as_numbers=True)
    text: Any = predictor.predict(moment, group, usage)
    assert float(text["predicted_bandwidth_mbps"]) == pytest.approx(numbers["predicted_bandwidth_mbps"], abs=0.00501)
    assert text["bandwidth_allocation"].endswith("%")


@SLOW
@given(st.text(max_size=12), st.none() | NUMBERS)
def test_an_argument_that_is_none_is_refused_and_named(
    predictor: linkcast.BandwidthPredictor, group: str, usage: float | None
) -> None:
    plain = "".join(letter for letter in group.casefold() if letter not in " -_\t\n")
    assume(plain != "streaming")
    with pytest.raises(ValueError, match="treaming"):
        predictor.predict("2026-03-02T18:00", group)
    if usage is not None and not 0 <= usage <= 100:
        with pytest.raises(ValueError, match="usage"):
            predictor.predict("2026-03-02T18:00", "streaming", usage)


@SLOW
@given(MOMENTS, st.integers(1, 30), st.sampled_from([0.25, 0.5, 1, 1.5, 6, 24]))
@example(datetime(2024, 2, 28, 12), 5, 24)
@example(datetime(2026, 3, 29), 8, 0.5)
def test_a_series_is_the_predictions_of_its_times(
    predictor: linkcast.BandwidthPredictor, start: datetime, count: int, hours: float
) -> None:
    end = start + timedelta(hours=hours * count)
    series: Any = predictor.generate_time_series_predictions(start, end, hours, as_numbers=True)
    times = [start + timedelta(hours=hours * index) for index in range(count + 1)]
    assert [entry["timestamp"] for entry in series] == [time.isoformat() for time in times]
    for index in (0, count // 2, count):
        alone: Any = predictor.predict(times[index], "Streaming", as_numbers=True)
        together = series[index]["predictions"]["Streaming"]
        assert together["source"] == alone["source"]
        assert together["predicted_bandwidth_mbps"] == pytest.approx(alone["predicted_bandwidth_mbps"], abs=0.011)


# ---- Metadata ----

FILES = ("feature_list", "scalers", "service_mappings", "service_group_stats", "manifest")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), NUMBERS, st.text(max_size=6), st.just([]), st.just({}),
    st.lists(st.integers(-2, 2**33), max_size=3), st.sampled_from(["fraction", "Mbit/s", "last", "first", "../x", "/"]),
)  # fmt: skip


def paths(content: Any) -> list[tuple[Any, ...]]:
    """Where a value stands; of a list, its first and last."""
    items = content.items() if isinstance(content, dict) else []
    if isinstance(content, list):
        items = [(index, content[index]) for index in sorted({0, len(content) - 1}) if content]
    return [(key, *rest) for key, value in items for rest in [(), *paths(value)]]


PLACES = {stem: paths(json.loads((SMALL / "metadata" / f"{stem}.json").read_text())) for stem in FILES}


@pytest.fixture(scope="module")
def copy_of_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    shutil.copytree(SMALL, folder, dirs_exist_ok=True)
    return folder


@settings(QUICK, max_examples=80)
@given(st.sampled_from(FILES).flatmap(lambda stem: st.tuples(st.just(stem), st.sampled_from(PLACES[stem]))), VALUES)
def test_any_value_in_the_metadata_is_taken_or_refused_by_the_files_name(
    copy_of_small: Path, place: tuple[str, tuple[Any, ...]], value: Any
) -> None:
    stem, path = place
    files = {name: (SMALL / "metadata" / f"{name}.json").read_bytes() for name in (stem, "manifest")}
    content = json.loads(files[stem])
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        (copy_of_small / "metadata" / f"{stem}.json").write_text(json.dumps(content))
        if stem != "manifest":
            rehash(copy_of_small)
        try:
            engine = linkcast.Engine(copy_of_small)
        except linkcast.LoadError as error:
            assert str(error).startswith(str(copy_of_small))
            return
        assert np.isfinite(engine.forecast_raw("internet", np.full((1, 10, 4), 0.5))).all()
    finally:
        for name, whole in files.items():
            (copy_of_small / "metadata" / f"{name}.json").write_bytes(whole)


# ---- Traces ----


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, list[float]]:
    """A file of telemetry as a program might write it, and its bandwidths in Mbit/s."""
    count = draw(st.integers(12, 40))
    values = draw(st.lists(st.integers(1, 900_000), min_size=count, max_size=count))
    separator = draw(st.sampled_from([",", ";", "\t"]))
    decimal = "," if separator == ";" and draw(st.booleans()) else "."
    name, per_mbps = draw(st.sampled_from([("bandwidth_mbps", 1), ("bandwidth_kbps", 1000), ("bandwidth_bps", 10**6)]))
    clock = draw(st.sampled_from(["iso", "space", "zulu", "epoch_s", "epoch_ms"]))
    start = datetime(2026, 1, 1) + timedelta(days=draw(st.integers(0, 800)), hours=draw(st.integers(0, 23)))
    rows = []
    for index, value in enumerate(values):
        moment = start + timedelta(seconds=index)
        seconds = round((moment - datetime(1970, 1, 1)).total_seconds())
        when = {
            "iso": moment.isoformat(), "space": str(moment), "zulu": f"{moment.isoformat()}Z",
            "epoch_s": str(seconds), "epoch_ms": str(seconds * 1000),
        }[clock]  # fmt: skip
        rows.append([when, f"{value / 1000 * per_mbps:.3f}".replace(".", decimal), "20"])
    header = ["timestamp", name, "latency_ms"]
    if draw(st.booleans()):  # the columns in another order
        rows, header = [row[::-1] for row in rows], header[::-1]
    text = draw(st.sampled_from(["\n", "\r\n"])).join(separator.join(row) for row in [header, *rows])
    data = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    return (gzip.compress(data) if draw(st.booleans()) else data), [value / 1000 for value in values]


@QUICK
@given(written())
def test_a_trace_is_read_with_its_values_however_it_was_written(case: tuple[bytes, list[float]]) -> None:
    data, values = case
    trace = trace_from_table("drawn", table_of_bytes("drawn", data), Layout())
    np.testing.assert_allclose(trace.features[:, 1], values, rtol=1e-6)
    np.testing.assert_allclose(trace.features[:, 0], 20.0)
    assert not trace.held.any()
    assert trace.timestamps is not None
    assert (np.diff(trace.timestamps) == np.timedelta64(1, "s")).all()


@QUICK
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_telemetry_or_one_sentence(data: bytes) -> None:
    try:
        trace = trace_from_table("drawn", table_of_bytes("drawn", data), Layout())
    except ValueError as error:
        assert str(error).startswith("drawn: ")
        assert "\n" not in str(error)
    else:
        assert np.isfinite(trace.features).all()


def encrypted_zip() -> bytes:
    """With the bit set that says so."""
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.writestr("trace.csv", "timestamp,bandwidth_mbps\n1,2\n")
    data = bytearray(packed.getvalue())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"[" * 100_000, "nested"), (b'{"intervals":' * 5000, "nested"), (encrypted_zip(), "zip")],
    ids=["list", "object", "zip"],
)
def test_what_python_gives_up_on_is_one_sentence(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=f"^drawn: .*{says}"):
        table_of_bytes("drawn", data)
