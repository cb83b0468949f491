"""The compiled batch kernels, against scikit-learn and against the plain NumPy path."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import linkcast
from telemetry import TRANSFORMS, physical_target, scaled_windows

scaling = pytest.importorskip("linkcast.scaling", exc_type=ImportError)

# One unit in the last place of a float32 near 1: both sides round float64 arithmetic of another order to float32.
FLOAT32_STEP = 2.0**-23


def random_rows(rows: int, features: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.uniform(0.0, 1.0, (rows, features)) * [200.0, 900.0, 1.0, 1.0, 3.0, 50.0, 7.0, 1.0][:features]


def bounds(rows: np.ndarray) -> np.ndarray:
    """(5, F) ranges of a min-max scaler fitted by hand."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    return np.stack([low, 1.0 / (high - low), np.zeros_like(low), np.zeros_like(low), np.full_like(low, np.inf)])


def scaler_of(features: dict) -> linkcast.Scaler:
    """The native scaler of a model's features in scalers.json."""
    entries = list(features.values())
    return linkcast.Scaler(
        [entry["min"] for entry in entries],
        [1.0 / (entry["max"] - entry["min"]) for entry in entries],
        [entry.get("log_offset", 0.0) for entry in entries],
        [entry.get("relative_to") for entry in entries],
        [entry.get("share", 1.0) for entry in entries],
        [entry.get("bound", 0.0) for entry in entries],
    )


@pytest.mark.parametrize("rows", [1, 2, 9, 1000])
@pytest.mark.parametrize("features", [1, 4, 8])
def test_scaled_windows_equal_scikit_learns_min_max_scaler(rows, features):
    sklearn = pytest.importorskip("sklearn.preprocessing")
    fitted = random_rows(500, features, seed=1)
    expected = sklearn.MinMaxScaler().fit(fitted).transform(random_rows(rows, features, seed=2))
    scaled = np.full((1, rows, features), np.nan, np.float32)
    scaling.scale_windows(random_rows(rows, features, seed=2), np.array([0]), bounds(fitted), scaled)
    np.testing.assert_allclose(scaled[0], expected, rtol=FLOAT32_STEP, atol=FLOAT32_STEP)


def test_sliding_windows_equal_scaled_rows_cut_by_numpy():
    series = random_rows(300, 4, seed=3)
    offset, scale = bounds(series)[:2]
    starts = np.array([0, 1, 2, 150, 289, 290], dtype=np.int64)
    scaled = np.full((len(starts), 10, 4), np.nan, np.float32)
    scaling.scale_windows(series, starts, bounds(series), scaled)
    whole = ((series - offset) * scale).astype(np.float32)
    expected = np.lib.stride_tricks.sliding_window_view(whole, 10, axis=0).transpose(0, 2, 1)[starts]
    np.testing.assert_array_equal(scaled, expected)


def test_logarithms_and_references_equal_numpys_and_the_native_scaler_s():
    features, scaler = TRANSFORMS["features"], scaler_of(TRANSFORMS["features"])
    series = random_rows(300, 4, seed=9)
    series[17, 1], series[23, 0] = 0.0, -3.0  # what is below 0 counts as 0
    starts = np.arange(290)
    windows = series[starts[:, None] + np.arange(10)]
    scaled = np.full(windows.shape, np.nan, np.float32)
    scaling.scale_windows(series, starts, scaling.ranges(scaler), scaled)
    expected = scaled_windows(windows, features)
    np.testing.assert_allclose(scaled, expected, rtol=FLOAT32_STEP, atol=FLOAT32_STEP)
    # The C++ and the Python side's logarithms may differ in the last place of float64.
    np.testing.assert_allclose(scaler.transform(windows), scaled, rtol=FLOAT32_STEP, atol=FLOAT32_STEP)
    first = np.broadcast_to(windows[:, :1], windows.shape)
    back = scaler.inverse_transform(scaled, first)
    np.testing.assert_allclose(back, np.maximum(windows, [0, 0, -np.inf, -np.inf]), rtol=2e-5, atol=2e-5)


def test_bounds_cut_what_is_scaled_alike_in_numpy_numba_and_the_native_scaler():
    features = TRANSFORMS["features"] | {
        "bandwidth_mbps": {**TRANSFORMS["features"]["bandwidth_mbps"], "bound": 0.75},
        "packet_loss": {**TRANSFORMS["features"]["packet_loss"], "bound": 0.01},
    }
    scaler = scaler_of(features)
    assert scaler.bound.tolist() == [0.0, 0.75, 0.01, 0.0]
    series = random_rows(300, 4, seed=9)
    series[17, 1] = 0.0
    starts = np.arange(290)
    windows = series[starts[:, None] + np.arange(10)]
    scaled = np.full(windows.shape, np.nan, np.float32)
    scaling.scale_windows(series, starts, scaling.ranges(scaler), scaled)
    np.testing.assert_allclose(scaled, scaled_windows(windows, features), rtol=FLOAT32_STEP, atol=FLOAT32_STEP)
    np.testing.assert_allclose(scaler.transform(windows), scaled, rtol=FLOAT32_STEP, atol=FLOAT32_STEP)
    largest = np.abs(scaled).max(axis=(0, 1))
    np.testing.assert_array_equal(largest[1:3], np.float32([0.75, 0.01]))
    assert largest[0] > 0.75  # the others are not cut


def test_an_output_beyond_the_bound_is_read_back_as_the_bound():
    scaler = scaler_of(
        {"bandwidth_mbps": {"min": 0.0, "max": 0.5, "log_offset": 0.01, "relative_to": "last", "bound": 2}}
    )
    # e times (5 + 0.01), less 0.01, and 1 / e times
    read = scaler.inverse_transform([[2.0], [9.0], [-9.0]], [[5.0]] * 3)[:, 0]
    np.testing.assert_allclose(read, [np.e * 5.01 - 0.01, np.e * 5.01 - 0.01, 5.01 / np.e - 0.01], rtol=1e-6)
    assert np.isnan(scaler.inverse_transform([[np.nan]], [[5.0]])).all()


def test_a_target_is_read_back_relative_to_the_newest_value():
    entry = TRANSFORMS["target"]
    scaler = scaler_of({"bandwidth_mbps": entry})
    assert (scaler.relative_to, scaler.log_offset.tolist()) == (["last"], [0.02])
    outputs = np.linspace(-1, 2, 50, dtype=np.float32)
    newest = np.geomspace(0.01, 500, 50)
    expected = physical_target(outputs.astype(np.float64), newest, entry)
    np.testing.assert_allclose(scaler.inverse_transform(outputs[:, None], newest[:, None])[:, 0], expected, rtol=1e-6)
    assert scaler.inverse_transform([[-9.0]], [[1.0]]) == 0.0
    with pytest.raises(ValueError, match="reference: expected the values that these are relative to, got none"):
        scaler.inverse_transform(outputs[:, None])
    with pytest.raises(ValueError, match=r"reference: expected \(50, 1\), got \(49, 1\)"):
        scaler.inverse_transform(outputs[:, None], newest[:49, None])
    with pytest.raises(ValueError, match='a target that is relative to "last"'):
        scaler.transform(newest[:, None])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"log_offset": [1.0, -1.0]}, "feature 1: expected a finite log_offset of 0 or more, got -1"),
        ({"log_offset": [1.0]}, "expected one log_offset for each of 2 features, got 1"),
        ({"bound": [0.0, -1.0]}, "feature 1: expected a finite bound of 0 or more, got -1"),
        ({"bound": [1.0]}, "expected one bound for each of 2 features, got 1"),
        ({"relative_to": [None, "ewma"]}, 'relative_to: expected "first", "last" or None, got "ewma"'),
        ({"relative_to": ["first"]}, "expected one relative_to for each of 2 features, got 1"),
    ],
)
def test_a_wrong_transform_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        linkcast.Scaler([0.0, 0.0], [1.0, 1.0], **arguments)


def test_a_relative_feature_needs_whole_windows():
    scaler = linkcast.Scaler([0.0, 0.0], [1.0, 1.0], relative_to=["first", None])
    np.testing.assert_array_equal(scaler.transform([[5.0, 1.0], [7.0, 2.0]]), [[0.0, 1.0], [2.0, 2.0]])
    assert scaler.transform(np.empty((0, 10, 2))).shape == (0, 10, 2)
    with pytest.raises(ValueError, match=r"features: expected \(..., steps, 2\), got \(2,\)"):
        scaler.transform([5.0, 1.0])


def test_no_windows_write_nothing():
    scaled = np.full((0, 10, 4), np.nan, np.float32)
    scaling.scale_windows(random_rows(10, 4, seed=6), np.empty(0, np.int64), np.ones((5, 4)), scaled)
    assert scaled.size == 0


def test_without_a_folder_to_cache_in_the_kernels_still_work():
    code = (
        "from numba.core import caching\n"
        "kind = getattr(caching, 'CacheImpl', None) or caching._CacheImpl\n"  # its name until numba 0.61
        "kind._locator_classes = []\n"
        "import numpy as np\n"
        "from linkcast.scaling import scale_windows\n"
        "scaled = np.zeros((1, 1, 1), np.float32)\n"
        "scale_windows(np.array([[3.0]]), np.array([0]), np.array([[1.0], [0.25], [0.0], [0.0], [9.0]]), scaled)\n"
        "print(scaled[0, 0, 0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0.5\n"


def test_the_kernels_are_compiled_without_python_objects():
    series = random_rows(20, 4, seed=8)
    scaling.scale_windows(series, np.array([0], np.int64), np.ones((5, 4)), np.zeros((1, 10, 4), np.float32))
    assert scaling.scale_windows.nopython_signatures
