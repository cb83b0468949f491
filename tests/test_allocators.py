"""Double DQN: its bookkeeping by hand, and a short run that has to learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("gymnasium")

from linkcast import simulation
from linkcast.training import allocators, environment, networks, settings

TINY = replace(
    settings.quick().allocator, episodes=40, links=20, episode_steps=16, validation_episodes=20, test_episodes=4
)


def test_replay_keeps_the_last_transitions():
    replay = allocators.ReplayMemory(6)
    for step in range(4):  # 12 transitions, two at a time
        states = np.full((2, 4), step, np.float32)
        replay.add(states, np.array([step, step]), np.array([0.0, 1.0]), states + 1.0)
    assert len(replay) == 6
    assert sorted(replay.states[:, 0]) == [1, 1, 2, 2, 3, 3]
    states, actions, rewards, next_states = replay.sample(np.random.default_rng(0), 3, 5)
    assert states.shape == (3, 5, 4) and rewards.shape == (3, 5)
    np.testing.assert_array_equal(states[..., 0], actions)
    np.testing.assert_array_equal(next_states, states + 1.0)


def test_one_gradient_step_moves_towards_the_double_dqn_target():
    networks.make_deterministic(0)
    agent = allocators.DoubleDqn(replace(TINY, learning_rate=1e-2, discount=0.5, averaging=1.0), 100, seed=0)
    rng = np.random.default_rng(0)
    agent.calibrate(rng.random((500, 4), dtype=np.float32) * np.float32(10.0))
    states = rng.random((1, 64, 4), dtype=np.float32) * np.float32(10.0)
    next_states = rng.random((1, 64, 4), dtype=np.float32) * np.float32(10.0)
    actions = rng.integers(0, 10, (1, 64)).astype(np.int32)
    rewards = rng.random((1, 64), dtype=np.float32)

    def value(network, inputs):
        return network(inputs, training=False).numpy()

    # van Hasselt et al. 2016, eq. 4: the online network chooses the next action, the target network values it.
    agent.target.set_weights([weights * 0.9 for weights in agent.target.get_weights()])
    chosen = value(agent.online, next_states[0]).argmax(axis=1)
    target = rewards[0] + 0.5 * value(agent.target, next_states[0])[np.arange(64), chosen]

    def error():
        return np.mean(np.abs(value(agent.online, states[0])[np.arange(64), actions[0]] - target))

    before = error()
    for _ in range(100):
        agent.learn(states, actions, rewards, next_states)
        chosen = value(agent.online, next_states[0]).argmax(axis=1)
        target = rewards[0] + 0.5 * value(agent.target, next_states[0])[np.arange(64), chosen]
    assert error() < 0.2 * before
    for learned, averaged in zip(agent.online.get_weights(), agent.average.get_weights(), strict=True):
        np.testing.assert_allclose(averaged, learned, rtol=0, atol=1e-6)  # averaging 1: the last one


def test_first_layer_starts_with_edges_all_over_the_link():
    model = networks.allocator(4, 10)
    allocators.spread_steps(model, seed=0)
    kernel, bias = model.layers[0].get_weights()
    edges = -bias / kernel[1]  # in tenths
    assert np.histogram(edges, bins=9, range=(0.0, 9.5))[0].min() >= 4  # 128 units, 14 expected in each


def test_skill_by_hand():
    base = np.linspace(0.0, 0.19, 20)
    rewards = {
        "model": 0.5 + base,
        "round up": 0.4 + base + 0.01 * np.tile([1.0, -1.0], 10),
        "random": 0.1 + base,
        "oracle": 0.6 + base,
    }
    skill = allocators.skill(rewards)
    assert skill["best_baseline"] == "round up"
    assert skill["seeds"] == 20
    assert skill["gain"] == pytest.approx(0.1)
    # Differences 0.09 and 0.11 in turn: standard deviation 0.01 * sqrt(20 / 19), over sqrt(20), times t.
    assert skill["gain_interval"] == pytest.approx(2.093 * 0.01 * np.sqrt(20.0 / 19.0) / np.sqrt(20.0))
    assert skill["baselines"]["random"]["gain"] == pytest.approx(0.4)
    assert skill["share_of_gap"] == pytest.approx(0.5)
    assert skill["verdict"].startswith("The model beats every rule")
    assert allocators.skill({**rewards, "model": rewards["round up"]})["verdict"].startswith("The model is not shown")
    worse = allocators.skill({**rewards, "model": rewards["random"]})
    assert worse["verdict"].startswith("The best rule (round up) beats the model")


def test_student_t_is_that_of_twenty_seeds():
    stats = pytest.importorskip("scipy.stats")
    assert pytest.approx(stats.t.ppf(0.975, settings.full().allocator.test_seeds - 1), abs=1e-3) == allocators.STUDENT_T


@pytest.mark.parametrize("profile", simulation.PROFILES)
def test_rules_with_a_margin_are_no_worse_than_any_margin_on_the_episodes_they_are_chosen_on(profile):
    parameters = simulation.PROFILES[profile]
    rules = allocators.rules(parameters, TINY, seed=1)
    assert len(rules) == 5
    tuned = next(policy for name, policy in rules.items() if name.startswith("round up, margin"))
    seed = allocators.seed_of(1, "validation", profile)

    def score(policy):
        return environment.play(policy, parameters, TINY.validation_episodes, TINY.episode_steps, seed).mean()

    candidates = [environment.round_up(parameters.reference_capacity_mbps, margin) for margin in allocators.MARGINS]
    assert score(tuned) == max(score(policy) for policy in candidates)


def test_a_short_run_learns_more_than_chance_and_gives_the_same_model_again():
    longer = replace(TINY, episodes=100, epsilon_decay=0.95)
    first, again = (allocators.train_allocator("datacenter", longer, 3, lambda *_: None) for _ in range(2))
    assert first.rewards["model"].mean() > first.rewards["random"].mean() + 0.2
    assert all(len(by_seed) == longer.test_seeds for by_seed in first.rewards.values())
    states = first.ranges.scale(np.random.default_rng(0).random((50, 4)) * [200.0, 10_000.0, 0.01, 1.0])
    np.testing.assert_allclose(
        networks.TFLite(first.content).predict(states), networks.TFLite(again.content).predict(states), atol=1e-4
    )
