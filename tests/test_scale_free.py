"""The bundled internet forecaster does not see its link's level: what holds at 5 Mbit/s holds at 5,000."""

from __future__ import annotations

import numpy as np
import pytest

import linkcast


@pytest.fixture(scope="module")
def engine():
    return linkcast.Engine.load()


def _windows(rates: np.ndarray, latency_ms: float = 50.0) -> np.ndarray:
    """(n, 10) Mbit/s -> (n, 10, 4), without loss."""
    windows = np.ones((*rates.shape, 4))
    windows[..., 0], windows[..., 1], windows[..., 2] = latency_ms, rates, 0.0
    return windows


@pytest.mark.parametrize("mbps", [0.02, 0.5, 27.0, 270.0, 2500.0, 40_000.0])
@pytest.mark.parametrize("latency_ms", [1.0, 50.0, 600.0])
def test_a_steady_rate_is_forecast_to_go_on(engine, mbps, latency_ms):
    forecast = engine.forecast("internet", _windows(np.full((1, 10), mbps), latency_ms))
    np.testing.assert_allclose(forecast.mbps, mbps, rtol=1e-3)


@pytest.mark.parametrize("mbps", [0.5, 2500.0, 40_000.0, 400_000.0])
def test_no_rate_is_implausible_for_being_fast(engine, mbps):
    answer = engine.forecast("internet", _windows(np.full((1, 10), mbps)))[0]
    assert (answer.source, answer.cause) == ("model", "none")


@pytest.mark.parametrize("factor", [8.0, 64.0, 1000.0])
def test_a_link_of_another_size_gets_the_forecast_of_that_size(engine, factor):
    rng = np.random.default_rng(5)
    rates = 20.0 * np.exp(
        0.3 * rng.standard_normal((200, 10)) + np.cumsum(0.1 * rng.standard_normal((200, 10)), axis=1)
    )
    one, other = (engine.forecast("internet", _windows(scale * rates)).mbps for scale in (1.0, factor))
    # The log_offset of 0.01 Mbit/s is up to 0.2 % of the slowest samples.
    np.testing.assert_allclose(other, factor * one, rtol=3e-3)


def test_no_window_gets_a_forecast_far_from_what_it_has_seen(engine):
    rng = np.random.default_rng(6)
    rates = np.exp(rng.uniform(-9.0, 9.0, (2000, 10))) * (rng.random((2000, 10)) < 0.8)
    forecasts = engine.forecast("internet", _windows(rates)).mbps
    assert (forecasts >= 0.0).all()
    assert (forecasts <= 2.0 * rates.max(axis=1) + 0.1).all()
