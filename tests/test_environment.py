"""The allocation environment: gymnasium's own checker, its reward by hand, and what an allocation does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env

from linkcast import simulation
from linkcast.training import environment
from linkcast.training.environment import AllocatedLinks, AllocationEnv

PROFILES = list(simulation.PROFILES)


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
    return AllocatedLinks(simulation.PROFILES["internet"], 200, 20, np.random.default_rng(seed))


def test_too_small_an_allocation_delays_and_loses_traffic_and_senders_back_off():
    starved, served = _links(), _links()
    for _ in range(10):
        starved_state, _ = starved.step(np.zeros(200, int))
        served_state, _ = served.step(np.full(200, 9))
    latency, bandwidth, loss, _ = starved_state.mean(axis=0) / served_state.mean(axis=0)
    assert latency > 5.0
    assert loss > 5.0
    assert bandwidth < 0.6
    # One generous step carries the backlog; after it the caution of the senders is still there.
    starved.step(np.full(200, 9)), served.step(np.full(200, 9))
    after_starving, _ = starved.step(np.full(200, 9))
    after_serving, _ = served.step(np.full(200, 9))
    assert after_starving[:, 1].mean() < 0.6 * after_serving[:, 1].mean()


def test_what_waits_is_carried_in_the_next_step():
    links = _links()
    before = links.state[:, 1].copy()
    links.step(np.zeros(200, int))
    crowded = (
        before > 20.0
    )  # one tenth is 10 Mbit/s: these leave a full queue, half of what the link carries in a second
    catching_up, _ = links.step(np.full(200, 9))
    assert np.median(catching_up[crowded, 1]) > np.median(before[crowded])


def test_reward_by_hand():
    profile = simulation.PROFILES["internet"]
    carried, allocated, lost = np.array([40.0, 50.0]), np.array([50.0, 50.0]), np.array([0.0, 0.04])
    queue_ms = np.array([0.0, 0.5 * profile.shaper_ms])
    # First: 0.4 * 0.8 + 0.3 + 0.3. Second: 0.4 * 1 + 0.3 / (1 + 1) + 0.3 * (1 - 0.04 / 0.1).
    expected = [0.92, 0.4 + 0.15 + 0.3 * 0.6]
    np.testing.assert_allclose(environment.reward(profile, carried, allocated, lost, queue_ms), expected)


def test_rewards_ahead_are_what_each_action_then_gives():
    for action in range(10):
        links = _links()
        links.step(np.full(200, 3))  # some wait, some hold back
        ahead = links.rewards_ahead()
        _, rewards = links.step(np.full(200, action))
        np.testing.assert_array_equal(ahead[:, action], rewards)


def test_the_oracle_beats_every_rule():
    for name in PROFILES:
        profile = simulation.PROFILES[name]
        oracle = environment.play_oracle(profile, 100, 32, seed=1).mean()
        capacity = profile.reference_capacity_mbps
        for policy in (environment.round_up(capacity), environment.round_up_and_drain(profile, 0.95)):
            assert oracle > environment.play(policy, profile, 100, 32, seed=1).mean()


def test_every_policy_plays_the_same_episodes():
    profile = simulation.PROFILES["internet"]
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


def test_round_up_and_drain_adds_what_the_delay_says_is_waiting():
    profile = simulation.PROFILES["internet"]  # 100 Mbit/s; idle latency counted as twice sqrt(10 * 90) ms = 60 ms
    states = np.array([[latency, 50.0, 0.0, 1.0] for latency in (20.0, 59.0, 160.0, 300.0)])
    # 160 ms are 100 ms of backlog: 5 Mbit more in the next second; 300 ms are 12 Mbit more.
    assert environment.round_up_and_drain(profile)(states).tolist() == [4, 4, 5, 6]


@pytest.mark.parametrize("profile", PROFILES)
def test_rules_differ_enough_for_a_policy_to_be_worth_learning(profile):
    parameters = simulation.PROFILES[profile]
    capacity = parameters.reference_capacity_mbps
    scores = [
        environment.play(policy, parameters, 100, 32, seed=1).mean()
        for policy in (environment.random_actions(0), environment.constant(9), environment.round_up(capacity))
    ]
    assert scores[0] < scores[1] < scores[2]


def test_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="datacenter, internet"):
        AllocationEnv("home")
