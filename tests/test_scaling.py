"""The compiled batch kernels, against scikit-learn and against the plain NumPy path."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from linkcast.features import FEATURES, feature_columns, profile_windows

scaling = pytest.importorskip("linkcast.scaling", exc_type=ImportError)

# One unit in the last place of a float32 near 1: both sides round float64 arithmetic of another order to float32.
FLOAT32_STEP = 2.0**-23


def random_rows(rows: int, features: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.uniform(0.0, 1.0, (rows, features)) * [200.0, 900.0, 1.0, 1.0, 3.0, 50.0, 7.0, 1.0][:features]


def bounds(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(offset, scale) of a min-max scaler fitted by hand."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    return low, 1.0 / (high - low)


@pytest.mark.parametrize("rows", [1, 2, 9, 1000])
@pytest.mark.parametrize("features", [1, 4, 8])
def test_scaled_rows_equal_scikit_learns_min_max_scaler(rows, features):
    sklearn = pytest.importorskip("sklearn.preprocessing")
    fitted = random_rows(500, features, seed=1)
    offset, scale = bounds(fitted)
    expected = sklearn.MinMaxScaler().fit(fitted).transform(random_rows(rows, features, seed=2))
    scaled = np.full((rows, features), np.nan, np.float32)
    scaling.scale_rows(random_rows(rows, features, seed=2), offset, scale, scaled)
    np.testing.assert_allclose(scaled, expected, rtol=FLOAT32_STEP, atol=FLOAT32_STEP)


def test_sliding_windows_equal_scaled_rows_cut_by_numpy():
    series = random_rows(300, 4, seed=3)
    offset, scale = bounds(series)
    starts = np.array([0, 1, 2, 150, 289, 290], dtype=np.int64)
    scaled = np.full((len(starts), 10, 4), np.nan, np.float32)
    scaling.scale_windows(series, starts, offset, scale, scaled)
    whole = ((series - offset) * scale).astype(np.float32)
    expected = np.lib.stride_tricks.sliding_window_view(whole, 10, axis=0).transpose(0, 2, 1)[starts]
    np.testing.assert_array_equal(scaled, expected)


@pytest.mark.parametrize("window", [1, 10, 30])
def test_profile_windows_equal_the_numpy_windows_scaled(window):
    generator = np.random.default_rng(4)
    profile = random_rows(168, 4, seed=5)
    seconds = generator.integers(-(10**9), 2 * 10**9, 500)
    columns = feature_columns(FEATURES)
    offset = np.array([10.0, 5.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0])
    scale = 1.0 / np.array([100.0, 400.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    scaled = np.full((len(seconds), window, len(FEATURES)), np.nan, np.float32)
    scaling.scale_profile_windows(seconds, 3600, profile, columns, offset, scale, scaled)
    expected = (profile_windows(seconds, window, 3600, profile, columns) - offset) * scale
    np.testing.assert_allclose(scaled, expected, rtol=FLOAT32_STEP, atol=FLOAT32_STEP)


def test_no_windows_write_nothing():
    scaled = np.full((0, 10, 4), np.nan, np.float32)
    scaling.scale_windows(random_rows(10, 4, seed=6), np.empty(0, np.int64), np.zeros(4), np.ones(4), scaled)
    assert scaled.size == 0


def test_without_a_folder_to_cache_in_the_kernels_still_work():
    code = (
        "from numba.core import caching\n"
        "kind = getattr(caching, 'CacheImpl', None) or caching._CacheImpl\n"  # its name until numba 0.61
        "kind._locator_classes = []\n"
        "import numpy as np\n"
        "from linkcast.scaling import scale_rows\n"
        "scaled = np.zeros((1, 1), np.float32)\n"
        "scale_rows(np.array([[3.0]]), np.array([1.0]), np.array([0.25]), scaled)\n"
        "print(scaled[0, 0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0.5\n"


def test_the_kernels_are_compiled_without_python_objects():
    series = random_rows(20, 4, seed=8)
    scaling.scale_windows(series, np.array([0], np.int64), np.zeros(4), np.ones(4), np.zeros((1, 10, 4), np.float32))
    assert scaling.scale_windows.nopython_signatures
