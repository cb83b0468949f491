"""Scaling 4,096 windows: the compiled kernel (numba), the engine's scaler (C++), and NumPy by hand."""

from __future__ import annotations

import numpy as np
import pytest

COUNT = 4096
pytestmark = pytest.mark.benchmark(group=f"scaling {COUNT} windows (10, 4)")


@pytest.fixture(scope="module")
def scaler(engine):
    return engine.scaler("internet_lstm")


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    """(rows, 4) physical units."""
    return np.random.default_rng(1).uniform([20.0, 5.0, 0.0, 0.9], [60.0, 40.0, 0.02, 1.0], (COUNT + 9, 4))


@pytest.fixture(scope="module")
def starts() -> np.ndarray:
    return np.arange(COUNT)


def by_numpy(scaler, series, starts) -> np.ndarray:
    """(n, 10, 4) float32."""
    windows = series[starts[:, None] + np.arange(10)]
    logged = scaler.log_offset > 0
    levels = np.where(logged, np.log(np.maximum(windows, 0) + np.where(logged, scaler.log_offset, 1.0)), windows)
    relative = np.array([word is not None for word in scaler.relative_to])
    levels = levels - np.where(relative, levels[:, :1], 0.0)
    return ((levels - scaler.offset) * scaler.scale).astype(np.float32)


def test_numba(benchmark, scaler, series, starts):
    scaling = pytest.importorskip("linkcast.scaling", exc_type=ImportError)
    scaled = np.empty((COUNT, 10, 4), np.float32)
    arguments = (series, starts, scaling.ranges(scaler), scaled)
    scaling.scale_windows(*arguments)
    np.testing.assert_allclose(scaled, by_numpy(scaler, series, starts), rtol=1e-6, atol=1e-6)
    benchmark(scaling.scale_windows, *arguments)


def test_cpp(benchmark, scaler, series, starts):
    windows = series[starts[:, None] + np.arange(10)]
    np.testing.assert_allclose(scaler.transform(windows), by_numpy(scaler, series, starts), rtol=1e-6, atol=1e-6)
    benchmark(scaler.transform, windows)


def test_numpy(benchmark, scaler, series, starts):
    assert by_numpy(scaler, series, starts).shape == (COUNT, 10, 4)
    benchmark(by_numpy, scaler, series, starts)
