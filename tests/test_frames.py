"""What comes in as rows: frames and mappings are read by name, arrays by position; what is no plain number is refused.

pandas comes with the test extra; polars and pyarrow are tried where they are installed.
"""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pytest

import linkcast
from linkcast.features import TELEMETRY
from telemetry import random_telemetry

SHUFFLED = ("reliability", "bandwidth_mbps", "latency_ms", "site", "packet_loss")


@pytest.fixture
def window(engine: linkcast.Engine) -> np.ndarray:
    return random_telemetry(engine, "internet", 10, seed=3)


def columns(rows: np.ndarray) -> dict[str, np.ndarray]:
    """By name, in another order, beside a column that no model reads."""
    named = dict(zip(TELEMETRY, rows.T.copy(), strict=True)) | {"site": np.arange(len(rows))}
    return {name: named[name] for name in SHUFFLED}


def frames(rows: np.ndarray):
    yield "dict", columns(rows)
    for library, make in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "table")):
        try:
            module = __import__(library)
        except ImportError:
            continue
        yield library, getattr(module, make)(columns(rows))


def test_a_frame_is_read_by_column_name(engine, window):
    expected = engine.forecast_raw("internet", window)
    for library, frame in frames(window):
        np.testing.assert_array_equal(engine.forecast_raw("internet", frame), expected, err_msg=library)
        np.testing.assert_array_equal(engine.forecast("internet", frame).mbps, expected, err_msg=library)
        together = engine.forecast_many({"internet": frame})["internet"].mbps
        np.testing.assert_array_equal(together, expected, err_msg=library)
    for library, frame in frames(window):
        np.testing.assert_array_equal(engine.decide("internet", frame), engine.decide("internet", window), library)


def test_the_predictor_reads_frames_by_name(engine, window):
    predictor = linkcast.BandwidthPredictor()
    for _, frame in frames(window):
        np.testing.assert_array_equal(predictor.predict_bandwidth(frame), predictor.predict_bandwidth(window))


def test_a_missing_column_is_named_with_those_that_came(engine, window):
    for library, frame in frames(window):
        for call in (engine.forecast, engine.decide):
            part = (
                {name: values for name, values in frame.items() if name != "packet_loss"}
                if library == "dict"
                else (frame.drop(columns="packet_loss") if library == "pandas" else frame.drop(["packet_loss"]))
            )
            with pytest.raises(ValueError, match="packet_loss is missing among reliability, bandwidth_mbps"):
                call("internet", part)


def test_a_frame_of_another_length_is_no_window(engine, window):
    for _, frame in frames(np.concatenate([window, window[:2]])):
        with pytest.raises(ValueError, match=r"window: expected a frame of 10 rows.*; got 12 rows"):
            engine.forecast("internet", frame)


def test_unnamed_columns_are_no_frame_to_read_by_name(engine, window):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="latency_ms, bandwidth_mbps, packet_loss, reliability are missing among 0, 1"):
        engine.forecast("internet", pandas.DataFrame(window))
    twice = pandas.DataFrame(columns(window)).rename(columns={"site": "latency_ms"})
    with pytest.raises(ValueError, match="column latency_ms stands twice"):
        engine.forecast("internet", twice)


def test_a_sample_by_name_is_the_sample_by_position(engine, window):
    sample = {name: float(values[0]) for name, values in columns(window).items()}
    forms = [sample, OrderedDict(sample), MappingProxyType(sample)]
    try:
        import pandas
    except ImportError:
        pass
    else:
        frame = pandas.DataFrame(columns(window))
        forms += [pandas.Series(sample), frame.iloc[0], frame.iloc[:1], frame.iloc[0].astype(object)]
    by_position = engine.stream("internet")
    for row in np.repeat(window[:1], 10, axis=0):
        answer = by_position.push(row)
    for form in forms:
        by_name = engine.stream("internet")
        for _ in range(10):
            named = by_name.push(form)
        assert named.mbps == answer.mbps, type(form)
        controller = engine.controller("internet", capacity_mbps=100.0)
        assert controller.tick(form, now_s=0.0).forecast.mbps == pytest.approx(window[0, 1])
        assert engine.decide("internet", form) == engine.decide("internet", window[:1])
    with pytest.raises(ValueError, match=r"sample: expected the columns .*; reliability is missing among latency_ms"):
        engine.stream("internet").push({"latency_ms": 28.0, "bandwidth_mbps": 12.5, "packet_loss": 0.0})
    with pytest.raises(ValueError, match="sample: expected a frame of 1 row, got 10"):
        engine.stream("internet").push(columns(window))


def test_a_series_without_labels_of_its_own_is_read_by_position(engine, window):
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(
        engine.decide("internet", pandas.Series(window[0])), engine.decide("internet", window[0])
    )


def test_rows_that_tick_together_take_a_frame_with_a_row_each(engine, window):
    for _, frame in frames(window):
        by_name, by_position = engine.stream("internet", 10), engine.stream("internet", 10)
        for _ in range(10):
            answers = by_name.push(frame).mbps, by_position.push(window).mbps
        np.testing.assert_array_equal(*answers)


def test_many_ticks_are_read_from_a_frame_by_name(engine, window):
    expected = engine.stream("internet").push_many(window)
    for library, frame in frames(window):
        found = engine.stream("internet").push_many(frame)
        np.testing.assert_array_equal(found["next"], expected["next"], err_msg=library)


def test_gaps_in_a_frame_are_refused_as_not_finite(engine, window):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns(window))
    frame["site"] = 1
    frame["latency_ms"] = pandas.array([28, None, *range(30, 38)], dtype="Int64")
    with pytest.raises(ValueError, match="expected finite values, got nan for latency_ms at time step 1"):
        engine.forecast("internet", frame)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: np.ma.masked_less(rows, 0.5), "window: expected plain numbers, got a masked array"),
        (lambda rows: rows.astype(complex), r"got complex numbers \(complex128\)"),
        (lambda rows: rows.astype(object), "got Python objects"),
        (lambda rows: rows.astype(str), "got values of type <U32"),
        (lambda rows: rows.astype("datetime64[s]"), "got values of type datetime64"),
        (lambda rows: rows.view([(name, float) for name in TELEMETRY]).copy(), "got a structured array"),
        (lambda rows: [[Decimal(str(value)) for value in row] for row in rows], "got Python objects"),
        (lambda rows: [*rows.tolist()[:-1], [1.0]], "window: expected an array of numbers, got list"),
        (lambda rows: {**columns(rows), "latency_ms": rows[:, 0].astype(str)}, "window: latency_ms: expected plain"),
        (lambda rows: {**columns(rows), "latency_ms": rows[:3, 0]}, "window: expected columns of one length"),
    ],
)
def test_what_is_no_plain_number_is_refused(engine, window, change, message):
    with pytest.raises(ValueError, match=message):
        engine.forecast("internet", change(window))
    with pytest.raises(ValueError, match=f"internet: .*{message}"):
        engine.forecast_many({"internet": change(window)})


def test_integers_and_short_floats_are_numbers(engine):
    state = [28, 12, 0, 1]
    expected = engine.decide("internet", state)
    for kind in (np.int8, np.uint32, np.float16, np.float32, np.longdouble):
        np.testing.assert_array_equal(engine.decide("internet", np.array(state, kind)), expected)


def test_linkcast_imports_no_library_of_frames():
    code = (
        "import sys, linkcast; linkcast.Engine().decide('internet', {'latency_ms': 28.0, 'bandwidth_mbps': 12.5,"
        " 'packet_loss': 0.0, 'reliability': 1.0}); print({'pandas', 'polars', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
