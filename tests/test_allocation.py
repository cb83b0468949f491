"""The guarantees of the allocators' decisions, their certificate, and the doors that they go through.

The reference is the projection of cpp/src/engine/allocation.h written again in NumPy, on the engine's own Q-values.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import linkcast
from linkcast.features import BANDWIDTH, TELEMETRY

PROFILES = ("datacenter", "internet")
CELLS, HEADROOM, ACTIONS = 4, 3, 10
TIE = 1e-4  # Q-values this close may be ordered otherwise in another batch: their last bits differ


def link(engine: linkcast.Engine, profile: str) -> tuple[float, np.ndarray, np.ndarray]:
    """Capacity, and the lowest and highest value of each feature, (4,)."""
    entry = engine.manifest["models"][f"{profile}_ddqn"]
    box = np.array([entry["certificate"]["state_range"][name] for name in TELEMETRY])
    return entry["trained_on"]["capacity_mbps"], box[:, 0], box[:, 1]


def random_states(count: int, capacity: float, seed: int) -> np.ndarray:
    """(count, 4): latency 0.05 ms to 10 s, bandwidth to ten times the capacity, loss and reliability 0 to 1."""
    rng = np.random.default_rng(seed)
    bandwidth = np.where(rng.random(count) < 0.5, 10.0 ** rng.uniform(-4, 1, count), rng.uniform(0.0, 1.1, count))
    latency = 10.0 ** rng.uniform(np.log10(0.05), 4.0, count)
    return np.stack([latency, capacity * bandwidth, rng.random(count) ** 3, 1.0 - rng.random(count) ** 3], axis=1)


def projected(engine: linkcast.Engine, profile: str, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) actions by the definition, and which of them no tie decides."""
    capacity, least, most = link(engine, profile)
    actions, clear = np.empty(len(states), int), np.ones(len(states), bool)
    for row, state in enumerate(states):
        carried = state[BANDWIDTH] / capacity * ACTIONS
        if carried >= ACTIONS * (1 - 1e-6):
            actions[row] = ACTIONS - 1
            continue
        cells = np.arange(int(carried * CELLS) + 1)  # all of them, where the engine leaves out what can't matter
        asked = np.tile(np.clip(state, least, most), (len(cells), 1))
        asked[:, BANDWIDTH] = (cells + 0.5) / CELLS * capacity / ACTIONS
        choices = []
        for cell, q in zip(cells, engine.q_values(profile, asked), strict=True):
            holds = cell // CELLS
            low = max(holds - 1, 0)
            allowed = q[low : holds + HEADROOM]
            choices.append(low + int(allowed.argmax()))
            clear[row] &= np.diff(np.sort(allowed)[-2:])[0] > TIE
        actions[row] = max(choices)
    return actions, clear


@pytest.mark.parametrize("profile", PROFILES)
def test_decisions_are_the_projection_of_the_networks_q_values(engine, profile):
    states = random_states(1_500, link(engine, profile)[0], seed=1)
    states = np.concatenate([states, states[:500] * [1e-2, 0.5, 0.01, 1.0]])
    expected, clear = projected(engine, profile, states)
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(engine.decide(profile, states)[clear], expected[clear])


@pytest.mark.parametrize("profile", PROFILES)
def test_the_certificate_is_what_a_recomputation_finds(engine, profile):
    certificate = pytest.importorskip("linkcast.training.certificate")
    from linkcast import simulation

    entry = engine.manifest["models"][f"{profile}_ddqn"]
    content = (Path(engine.folder) / entry["file"]).read_bytes()
    claimed = entry["certificate"]
    found = certificate.certificate(
        engine,
        simulation.link_profile(profile),
        content,
        claimed["state_range"],
        claimed["network_alone"]["reward"],
        claimed["sweep"]["seed"],
    )
    # Where the last bits of two Q-values decide, another machine may count the network's own faults otherwise.
    alone, alone_claimed = (entry["network_alone"].pop("violations") for entry in (found, dict(claimed)))
    np.testing.assert_allclose(alone, alone_claimed, rtol=1e-2, atol=5)
    assert found == {**claimed, "network_alone": found["network_alone"]}
    assert claimed["sweep"]["violations"] == claimed["sweep"]["grid_violations"] == [0, 0, 0]
    assert claimed["model_sha256"] == hashlib.sha256(content).hexdigest() == engine.spec(f"{profile}_ddqn")["sha256"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("backend", ["auto", "tflite"])
def test_the_state_of_the_report_gets_all_of_the_link(profile, backend):
    engine = linkcast.Engine(backend=backend)
    capacity, _, _ = link(engine, profile)
    for share in (1.0, 1.02, 1.05, 2.0, 10.0):
        np.testing.assert_array_equal(engine.decide(profile, [0.3, share * capacity, 0.0, 1.0]), [9])
        np.testing.assert_array_equal(engine.decide(profile, np.float32([28.0, share * capacity, 1.0, 0.0])), [9])


def test_what_is_special_about_a_decision_is_said(engine):
    states = [[28.0, 12.5, 0.0, 1.0], [3.4e38, 12.5, 0.0, 1.0], [28.0, 120.0, 0.0, 1.0]]
    allocation = engine.allocate("internet", states)
    assert allocation.causes == ("none", "outside_training", "over_capacity")
    np.testing.assert_array_equal(allocation.actions, engine.decide("internet", states))
    assert allocation.actions[2] == 9


def test_q_values_that_are_not_finite_give_a_safe_action_and_a_warning(edit):
    def overflow(scalers):
        scalers["models"]["internet_ddqn"]["features"]["latency_ms"]["max"] = 1e-300

    engine = linkcast.Engine(edit("scalers", overflow))
    with pytest.warns(RuntimeWarning, match="internet_ddqn: the network gave Q-values that are not finite"):
        actions = engine.decide("internet", [28.0, 55.0, 0.0, 1.0])
    assert actions[0] == 7  # 55 % lies in the sixth tenth: from 50 % on, and the most is three tenths above that


def test_a_controller_asks_for_no_less_when_more_is_carried(engine):
    """At the same history: empty, and a steady link. Before slew and hold, which are off."""
    capacity = 40.0
    for ticks in (1, 14):
        for latency, loss in ((0.3, 0.0), (28.0, 0.0), (28.0, 0.2), (900.0, 0.01)):
            fractions = []
            for share in np.concatenate([np.linspace(0.01, 1.0, 60), [1.05, 1.5, 5.0, 10.0]]):
                controller = engine.controller("internet", capacity_mbps=capacity)
                for second in range(ticks):
                    decision = controller.tick([latency, share * capacity, loss, 1.0 - loss], now_s=float(second))
                fractions.append(decision.allocation_fraction)
                assert decision.allocation_fraction >= min(share, 1.0) - 0.1 - 1e-9
                assert share < 1.0 or decision.allocation_fraction == 1.0
                assert decision.allocation_cause in ("none", "outside_training", "over_capacity")
            assert (np.diff(fractions) >= 0.0).all(), (ticks, latency, loss)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([28.0, 12.5, 5.0, 0.998], r"packet_loss: expected a fraction 0..1, got 5 \(percent\?\)"),
        ([28.0, 12.5, 0.1, 99.8], r"reliability: expected a fraction 0..1, got 99.8 \(percent\?\)"),
        ([-1.0, 12.5, 0.1, 0.9], "latency_ms: expected ms, 0 or more, got -1"),
        ([28.0, -12.5, 0.1, 0.9], "bandwidth_mbps: expected Mbit/s, 0 or more, got -12.5"),
        ([28.0, float("inf"), 0.1, 0.9], "expected finite values, got inf for bandwidth_mbps"),
    ],
)
def test_a_value_in_another_unit_is_refused_at_every_door(engine, state, message):
    window = np.tile([28.0, 12.5, 0.001, 0.998], (10, 1))
    window[-1] = state
    doors = [
        lambda: engine.decide("internet", state),
        lambda: engine.allocate("internet", np.float32(state)),
        lambda: engine.q_values("internet", state),
        lambda: engine.forecast("internet", window),
        lambda: engine.forecast_raw("internet", window),
        lambda: engine.forecast_many({"internet": window}),
        lambda: engine.stream("internet").push(state),
        lambda: engine.stream("internet", 2).push([window[0], state]),
        lambda: engine.stream("internet").push_many([window[0], state]),
        lambda: engine.controller("internet", capacity_mbps=100.0).tick(state),
        lambda: linkcast.BandwidthPredictor().decide_allocation(state),
        lambda: linkcast.BandwidthPredictor().predict_bandwidth(window),
    ]
    for door in doors:
        with pytest.raises(ValueError, match=message):
            door()


def test_a_bandwidth_of_more_than_ten_times_the_capacity_is_another_unit(engine):
    with pytest.raises(ValueError, match=r"at most 10 times the link's capacity of 100 Mbit/s, got 1.25e\+07 \(bit/s"):
        engine.decide("internet", [28.0, 12.5e6, 0.0, 1.0])
    with pytest.raises(ValueError, match="at most 10 times the link's capacity of 5 Mbit/s, got 51"):
        engine.controller("internet", capacity_mbps=5.0).tick([28.0, 51.0, 0.0, 1.0])
    assert engine.controller("internet", capacity_mbps=5.0).tick([28.0, 50.0, 0.0, 1.0]).allocation_mbps == 5.0
