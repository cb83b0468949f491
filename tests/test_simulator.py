"""The simulator: what its parts promise, from theory or by hand."""

from __future__ import annotations

import numpy as np
import pytest

from linkcast import simulation
from linkcast.features import hour_of_week


@pytest.mark.parametrize("profile", simulation.PROFILES)
def test_same_seed_gives_the_same_traces(profile):
    first, second, other = (simulation.simulate_link(profile, 3, 40, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.features, second.features)
    assert not np.array_equal(first.features, other.features)


@pytest.mark.parametrize("profile", simulation.PROFILES)
def test_link_features_are_in_their_physical_ranges(profile):
    traces = simulation.simulate_link(profile, 50, 80, 1)
    latency, bandwidth, loss, reliability = np.moveaxis(traces.features, -1, 0)
    assert traces.features.shape == (50, 80, 4)
    assert np.isfinite(traces.features).all()
    assert latency.min() > 0.0
    assert bandwidth.min() > 0.0
    assert loss.min() >= 0.0 and loss.max() <= 1.0
    assert reliability.min() >= 0.0 and reliability.max() <= 1.0
    assert (np.diff(traces.seconds, axis=1) == traces.step_s).all()


def test_internet_links_span_the_sizes_that_one_model_has_to_cover():
    levels = simulation.simulate_link("internet", 400, 20, 2).features[:, :, 1].mean(axis=1)
    assert levels.min() < 0.5
    assert levels.max() > 100.0


def test_fractional_gaussian_noise_has_the_autocorrelation_of_its_hurst_exponent():
    hurst = 0.85
    noise = simulation.noise.fractional_gaussian_noise(np.random.default_rng(0), np.full(2_000, hurst), 256)
    lags = np.arange(1, 20)
    # Mandelbrot and Van Ness 1968: rho(k) = ((k+1)^2H - 2 k^2H + (k-1)^2H) / 2.
    expected = 0.5 * ((lags + 1) ** (2 * hurst) - 2 * lags ** (2 * hurst) + (lags - 1) ** (2 * hurst))
    measured = [np.mean(noise[:, lag:] * noise[:, :-lag]) for lag in lags]
    # 2,000 traces: the standard error of a lag's mean is below 0.01.
    np.testing.assert_allclose(measured, expected, atol=0.03)
    assert np.var(noise) == pytest.approx(1.0, abs=0.03)


def test_half_as_hurst_exponent_is_white_noise():
    noise = simulation.noise.fractional_gaussian_noise(np.random.default_rng(0), np.full(500, 0.5), 200)
    assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 0.02


def test_queue_delays_what_exceeds_the_capacity_and_then_loses_it():
    # By hand: 12 Mbit/s on 10 Mbit/s leave 2 Mbit a second; the buffer of 300 ms holds 3 Mbit.
    wanted, capacity = np.full((1, 3), 12.0), np.full((1, 3), 10.0)
    offered, carried, delay_ms, lost = simulation.links.queue(wanted, capacity, buffer_ms=300.0, reaction=0.1, step_s=1)
    np.testing.assert_allclose(offered[0, :2], 12.0)
    np.testing.assert_allclose(carried[0], 10.0)
    np.testing.assert_allclose(delay_ms[0, :2], [200.0, 300.0])
    np.testing.assert_allclose(lost[0, :2], [0.0, 0.1 * 1.0 / 12.0])  # a tenth of it before they notice
    # The senders answer the overflow: (1 - 1/12) * 0.9 of what they want.
    assert offered[0, 2] == pytest.approx(12.0 * (11.0 / 12.0) * simulation.links.BACK_OFF)


def test_queue_below_capacity_adds_nothing():
    wanted, capacity = np.full((2, 50), 4.0), np.full((2, 50), 10.0)
    offered, carried, delay_ms, lost = simulation.links.queue(wanted, capacity, buffer_ms=300.0, reaction=0.1, step_s=1)
    np.testing.assert_array_equal(offered, carried)
    assert not delay_ms.any() and not lost.any()


def test_round_trip_time_rises_when_the_link_is_full():
    traces = simulation.simulate_link("internet", 200, 100, 3)
    load = traces.offered_mbps / traces.capacity_mbps
    base = np.median(traces.features[:, :, 0], axis=1, keepdims=True)
    relative = traces.features[:, :, 0] / base
    assert relative[load > 1.0].mean() > 1.5 * relative[load < 0.6].mean()


def test_gilbert_elliott_loss_has_the_chain_s_mean_and_comes_in_runs():
    profile = simulation.PROFILES["internet"]
    carried = np.full((400, 4_000), 50.0)
    loss = simulation.links.gilbert_elliott(np.random.default_rng(1), profile, carried)
    bad_share = profile.good_to_bad / (profile.good_to_bad + profile.bad_to_good)  # stationary distribution
    expected = bad_share * profile.bad_loss + (1.0 - bad_share) * profile.good_loss
    assert loss.mean() == pytest.approx(expected, rel=0.1)  # about 1,600 bad runs
    high = loss > 0.02
    assert high[:, 1:][high[:, :-1]].mean() > 10.0 * high.mean()


def test_reliability_is_the_share_of_good_samples_and_looks_only_back():
    loss = np.zeros((1, 100))
    loss[0, 70] = 0.5
    share = simulation.links.reliability(loss)
    assert share[0, 69] == 1.0
    assert share[0, 70] == pytest.approx(1.0 - 1.0 / simulation.links.RELIABILITY_SAMPLES)
    loss[0, 80:] = 1.0
    np.testing.assert_array_equal(simulation.links.reliability(loss)[0, :80], share[0, :80])


@pytest.mark.parametrize("group", simulation.GROUPS)
def test_a_group_follows_its_weekly_shape(group):
    traces = simulation.simulate_group(group, 40, 336, 4, typical=True)
    hours = hour_of_week(traces.seconds)
    profile = np.bincount(hours.ravel(), traces.features[:, :, 1].ravel()) / np.bincount(hours.ravel())
    assert np.corrcoef(profile, simulation.groups.weekly_shape(simulation.GROUPS[group]))[0, 1] > 0.97
    assert profile.mean() == pytest.approx(simulation.GROUPS[group].mean_bandwidth_mbps, rel=0.1)


def test_weekly_shape_has_mean_one():
    for group in simulation.GROUPS.values():
        assert simulation.groups.weekly_shape(group).mean() == pytest.approx(1.0)


def test_sites_differ_by_use_and_device_group_unless_they_are_typical():
    assert simulation.simulate_group("gaming", 50, 24, 1).level.std() > 0.3
    assert (simulation.simulate_group("gaming", 50, 24, 1, typical=True).level == 1.0).all()


def test_simulated_trace_has_timestamps_one_step_apart():
    trace = simulation.simulate_trace("internet", 120, 7)
    assert len(trace) == 120
    assert trace.step_s == 1.0
    assert len(trace.window_starts(10)) == 110


@pytest.mark.parametrize(
    "call", [lambda: simulation.simulate_link("home", 1, 10, 0), lambda: simulation.simulate_trace("x", 10, 0)]
)
def test_unknown_profile_is_refused_with_the_known_ones(call):
    with pytest.raises(ValueError, match="datacenter, internet"):
        call()


def test_unknown_group_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="streaming, gaming"):
        simulation.simulate_group("banana", 1, 10, 0)


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        simulation.simulate_link("internet", 0, 10, 0)
