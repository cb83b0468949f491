"""The allocation environment: gymnasium's own checker, its reward by hand, and what an allocation does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env

from linkcast import simulator
from linkcast.training import environment
from linkcast.training.environment import AllocatedLinks, AllocationEnv

PROFILES = list(simulator.PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
def test_passes_gymnasium_s_checker_without_a_warning(profile):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It is not registered, so there is no spec from which the checker could make it again in another render mode.
        warnings.filterwarnings("ignore", message=".*alternative render modes.*")
        check_env(AllocationEnv(profile))


@pytest.mark.parametrize("profile", PROFILES)
def test_observations_and_rewards_stay_in_their_ranges(profile):
    env = AllocationEnv(profile, episode_steps=200)
    rng = np.random.default_rng(0)
    state, _ = env.reset(seed=1)
    truncated = False
    while not truncated:
        assert env.observation_space.contains(state)
        state, reward, terminated, truncated, _ = env.step(rng.integers(10))
        assert 0.0 <= reward <= 1.0
        assert not terminated


def test_same_seed_gives_the_same_episode():
    def episode():
        env = AllocationEnv("internet", episode_steps=20)
        env.reset(seed=3)
        return [env.step(step % 10)[:2] for step in range(20)]

    for (state, reward), (same_state, same_reward) in zip(episode(), episode(), strict=True):
        np.testing.assert_array_equal(state, same_state)
        assert reward == same_reward


def test_step_before_reset_and_after_the_end_is_refused():
    env = AllocationEnv("internet", episode_steps=1)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(0)


def _links(seed: int = 5) -> AllocatedLinks:
    return AllocatedLinks(simulator.PROFILES["internet"], 200, 20, np.random.default_rng(seed))


def test_too_small_an_allocation_delays_and_loses_traffic_and_senders_back_off():
    starved, served = _links(), _links()
    for _ in range(10):
        starved_state, _ = starved.step(np.zeros(200, int))
        served_state, _ = served.step(np.full(200, 9))
    latency, bandwidth, loss, reliability = starved_state.mean(axis=0) / served_state.mean(axis=0)
    assert latency > 5.0
    assert loss > 5.0
    assert bandwidth < 0.6
    assert reliability < 1.0
    # One generous step later the backlog and the caution of the senders are still there.
    after_starving, _ = starved.step(np.full(200, 9))
    after_serving, _ = served.step(np.full(200, 9))
    assert after_starving[:, 1].mean() < 0.9 * after_serving[:, 1].mean()


def test_reward_by_hand():
    profile = simulator.PROFILES["internet"]
    carried, allocated, wanted = np.array([40.0, 50.0]), np.array([50.0, 50.0]), np.array([40.0, 52.0])
    queue_ms = np.array([0.0, 0.2 * profile.buffer_ms])
    # First: 0.4 * 0.8 + 0.3 + 0.3. Second: 0.4 * 1 + 0.3 / 2 + 0.3 * (1 - (2 / 52) / 0.1).
    expected = [0.92, 0.4 + 0.15 + 0.3 * (1.0 - (2.0 / 52.0) / 0.1)]
    np.testing.assert_allclose(environment.reward(profile, carried, allocated, wanted, queue_ms), expected)


def test_every_policy_plays_the_same_episodes():
    profile = simulator.PROFILES["internet"]
    seen = []

    def record(action):
        def policy(states):
            seen.append(states[0].copy())
            return np.full(len(states), action)

        return policy

    for action in (9, 9):
        environment.play(record(action), profile, 3, 4, seed=8)
    np.testing.assert_array_equal(seen[:4], seen[4:])


def test_round_up_takes_the_smallest_allocation_that_holds_the_last_bandwidth():
    states = np.array([[20.0, bandwidth, 0.0, 1.0] for bandwidth in (0.0, 10.0, 10.1, 50.0, 99.0, 140.0)])
    assert environment.round_up(100.0)(states).tolist() == [0, 0, 1, 4, 9, 9]
    assert environment.round_up(100.0, margin=1.2)(states).tolist() == [0, 1, 1, 5, 9, 9]


@pytest.mark.parametrize("profile", PROFILES)
def test_rules_differ_enough_for_a_policy_to_be_worth_learning(profile):
    parameters = simulator.PROFILES[profile]
    capacity = parameters.reference_capacity_mbps
    scores = [
        environment.play(policy, parameters, 100, 32, seed=1).mean()
        for policy in (environment.random_actions(0), environment.constant(9), environment.round_up(capacity))
    ]
    assert scores[0] < scores[1] < scores[2]


def test_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="datacenter, internet"):
        AllocationEnv("home")
