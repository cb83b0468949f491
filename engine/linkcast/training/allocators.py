"""Double DQN for the allocators, and the rules that it is scored beside.

Batch normalisation: its statistics are measured once, on the random warm-up transitions, and then stay fixed. Acting,
targets, gradient steps and the exported file therefore compute one and the same function; with batch statistics in the
gradient step the network that acts would not be the one that learns.

Reward centring: the running mean of the rewards is subtracted in the targets. In a continuing task (episodes are
truncated, never terminal) that changes no policy, and it keeps Q-values small: 0.8 per step at a discount of 0.99
would otherwise be 80 with differences of a hundredth between actions. The exported Q-values are relative to that mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from linkcast import simulator
from linkcast.features import TELEMETRY
from linkcast.simulator import LinkProfile
from linkcast.training import environment, networks
from linkcast.training.datasets import Range, ScalerRanges, seed_of
from linkcast.training.environment import ACTIONS, AllocationEnv, Policy
from linkcast.training.forecasters import Progress
from linkcast.training.settings import AllocatorSettings

FloatArray = npt.NDArray[np.float64]

CENTRING_RATE = 1e-3  # how fast the running mean of the rewards follows
MARGINS = (1.02, 1.05, 1.10, 1.15, 1.20, 1.30, 1.50)  # the rule with a margin takes the best of these on validation
CONFIDENCE_95 = 1.96


@dataclass(frozen=True)
class TrainedAllocator:
    """The model file and its scores beside the rules'."""

    content: bytes
    ranges: ScalerRanges
    history: dict[str, Any]
    rewards: dict[str, FloatArray]  # (episodes,) mean reward of each test episode, by policy; "model" is the network
    golden: dict[str, Any] = field(default_factory=dict)


class Replay:
    """The last `capacity` transitions."""

    def __init__(self, capacity: int) -> None:
        self._states = np.empty((capacity, len(TELEMETRY)), np.float32)  # scaled
        self._next_states = np.empty_like(self._states)
        self._actions = np.empty(capacity, np.int32)
        self._rewards = np.empty(capacity, np.float32)
        self._capacity, self._count = capacity, 0

    def __len__(self) -> int:
        return min(self._count, self._capacity)

    @property
    def states(self) -> npt.NDArray[np.float32]:
        """(len, 4) scaled."""
        return self._states[: len(self)]

    @property
    def mean_reward(self) -> float:
        return float(self._rewards[: len(self)].mean())

    def add(
        self, state: npt.NDArray[np.float32], action: int, reward: float, next_state: npt.NDArray[np.float32]
    ) -> None:
        row = self._count % self._capacity
        self._states[row], self._next_states[row] = state, next_state
        self._actions[row], self._rewards[row] = action, reward
        self._count += 1

    def sample(self, rng: np.random.Generator, batch: int) -> tuple[npt.NDArray[Any], ...]:
        rows = rng.integers(0, len(self), batch)
        return self._states[rows], self._actions[rows], self._rewards[rows], self._next_states[rows]


class DoubleDqn:
    """The online and the target network, and one update of them."""

    def __init__(self, settings: AllocatorSettings) -> None:
        self.online = networks.allocator(len(TELEMETRY), ACTIONS)
        self.target = networks.allocator(len(TELEMETRY), ACTIONS)
        updates = settings.episodes * settings.episode_steps // settings.update_every
        decay = settings.final_learning_rate / settings.learning_rate
        schedule = tf_keras.optimizers.schedules.ExponentialDecay(settings.learning_rate, updates, decay)
        self._optimizer = tf_keras.optimizers.Adam(schedule)
        self._discount = settings.discount
        self._huber = tf_keras.losses.Huber()

    def calibrate(self, states: npt.NDArray[np.float32]) -> None:
        """Fixes the normalisation's statistics, layer by layer, on (n, 4) scaled states."""
        networks.calibrate_normalisation(self.online, states)
        self.target.set_weights(self.online.get_weights())

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def q_values(self, states: Any) -> Any:
        """(n, 4) scaled -> (n, actions)."""
        return self.online(states, training=False)

    @tf.function  # type: ignore[untyped-decorator]
    def update(self, states: Any, actions: Any, rewards: Any, next_states: Any, mean_reward: Any) -> None:
        """One gradient step on a batch: the online network chooses the next action, the target network values it."""
        chosen = tf.argmax(self.online(next_states, training=False), axis=1)
        values = tf.gather(self.target(next_states, training=False), chosen, axis=1, batch_dims=1)
        targets = rewards - mean_reward + self._discount * values
        with tf.GradientTape() as tape:
            q_values = tf.gather(self.online(states, training=False), actions, axis=1, batch_dims=1)
            loss = self._huber(targets, q_values)
        variables = self.online.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    @tf.function  # type: ignore[untyped-decorator]
    def update_target(self) -> None:
        for target, online in zip(self.target.variables, self.online.variables, strict=True):
            target.assign(online)

    def policy(self, ranges: ScalerRanges) -> Policy:
        """The greedy policy of the online network, on states in physical units."""
        return lambda states: np.argmax(self.q_values(tf.constant(ranges.scale(states))).numpy(), axis=1)


def allocator_ranges(profile: LinkProfile) -> ScalerRanges:
    """Fixed ranges: no queue to a full buffer, an idle link to the reference capacity, no loss to a fifth."""
    return ScalerRanges(
        {
            "latency_ms": Range(0.0, profile.base_latency_ms[1] + profile.buffer_ms),
            "bandwidth_mbps": Range(0.0, profile.reference_capacity_mbps),
            "packet_loss": Range(0.0, 0.2),
            "reliability": Range(0.0, 1.0),
        },
        None,
    )


def train_allocator(name: str, settings: AllocatorSettings, seed: int, progress: Progress) -> TrainedAllocator:
    """Trains one profile's allocator and plays it and every rule on the same test episodes.

    Args:
        name: a profile.
        settings, seed: of the run.
        progress: called after each episode.
    """
    networks.make_deterministic(seed_of(seed, "allocator", name))
    profile = simulator.link_profile(name)
    ranges = allocator_ranges(profile)
    agent = DoubleDqn(settings)
    validation_seed, test_seed = seed_of(seed, "validation", name), seed_of(seed, "test", name)
    history = _learn(agent, name, profile, ranges, settings, seed, validation_seed, progress)

    single = networks.allocator(len(TELEMETRY), ACTIONS, batch=1)
    single.set_weights(agent.online.get_weights())
    content = networks.convert(single)
    model = networks.TFLite(content)
    policies: dict[str, Policy] = {
        "model": lambda states: np.argmax(model.predict(ranges.scale(states)), axis=1),
        **rules(profile, settings, seed, validation_seed),
    }
    steps = settings.episode_steps
    rewards = {
        rule: environment.play(policy, profile, settings.test_episodes, steps, test_seed)
        for rule, policy in policies.items()
    }
    return TrainedAllocator(content, ranges, history, rewards, networks.golden(content, _visited(name, agent, ranges)))


def rules(profile: LinkProfile, settings: AllocatorSettings, seed: int, validation_seed: int) -> dict[str, Policy]:
    """What the allocator has to beat; the constant and the margin are chosen on the validation episodes."""
    capacity = profile.reference_capacity_mbps

    def score(policy: Policy) -> float:
        episodes, steps = settings.validation_episodes, settings.episode_steps
        return float(environment.play(policy, profile, episodes, steps, validation_seed).mean())

    action = max(range(ACTIONS), key=lambda action: score(environment.constant(action)))
    margin = max(MARGINS, key=lambda margin: score(environment.round_up(capacity, margin)))
    return {
        "random": environment.random_actions(seed),
        f"constant {(action + 1) * 10} %": environment.constant(action),
        "round up": environment.round_up(capacity),
        f"round up, margin {round((margin - 1) * 100)} %": environment.round_up(capacity, margin),
    }


def mean_with_interval(rewards: FloatArray) -> tuple[float, float]:
    """Mean over episodes and half the width of its 95 % interval (normal approximation; episodes are independent)."""
    return float(rewards.mean()), float(CONFIDENCE_95 * rewards.std(ddof=1) / np.sqrt(len(rewards)))


def _learn(
    agent: DoubleDqn,
    name: str,
    profile: LinkProfile,
    ranges: ScalerRanges,
    settings: AllocatorSettings,
    seed: int,
    validation_seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Runs the episodes; leaves the weights of the best validation in the agent."""
    rng = np.random.default_rng(seed_of(seed, "exploration", name))
    env = AllocationEnv(name, settings.episode_steps)
    env.reset(seed=seed_of(seed, "environment", name))
    replay = Replay(settings.replay)
    while len(replay) < settings.warm_up:
        _episode(env, replay, ranges, lambda _: int(rng.integers(ACTIONS)), lambda: None)
    agent.calibrate(replay.states)
    mean_reward, epsilon, taken, updates = replay.mean_reward, settings.epsilon_start, 0, 0
    best, best_weights, best_episode = -np.inf, agent.online.get_weights(), 0

    def act(state: npt.NDArray[np.float32]) -> int:
        if rng.random() < epsilon:
            return int(rng.integers(ACTIONS))
        return int(np.argmax(agent.q_values(tf.constant(state[None])).numpy()[0]))

    def update() -> None:
        nonlocal mean_reward, taken, updates
        taken += 1
        if taken % settings.update_every:
            return
        states, actions, rewards, next_states = replay.sample(rng, settings.batch)
        mean_reward += CENTRING_RATE * (float(rewards.mean()) - mean_reward)
        agent.update(*map(tf.constant, (states, actions, rewards, next_states)), tf.constant(mean_reward, tf.float32))
        updates += 1
        if updates % settings.target_update == 0:
            agent.update_target()

    for episode in range(1, settings.episodes + 1):
        _episode(env, replay, ranges, act, update)
        epsilon = max(settings.epsilon_end, epsilon * settings.epsilon_decay)
        if episode % settings.evaluate_every == 0 or episode == settings.episodes:
            episodes, steps = settings.validation_episodes, settings.episode_steps
            score = float(environment.play(agent.policy(ranges), profile, episodes, steps, validation_seed).mean())
            if score > best:
                best, best_weights, best_episode = score, agent.online.get_weights(), episode
        progress(episode, settings.episodes, f"best validation reward {best:.4f}, epsilon {epsilon:.2f}")
    agent.online.set_weights(best_weights)
    return {
        "episodes": settings.episodes,
        "best_episode": best_episode,
        "validation_reward": best,
        "mean_reward_subtracted": mean_reward,
    }


def _episode(env: AllocationEnv, replay: Replay, ranges: ScalerRanges, act: Any, update: Any) -> None:
    observation, _ = env.reset()
    state = ranges.scale(observation.astype(np.float64))
    truncated = False
    while not truncated:
        action = act(state)
        observation, reward, _, truncated, _ = env.step(np.int64(action))
        next_state = ranges.scale(observation.astype(np.float64))
        replay.add(state, action, reward, next_state)
        state = next_state
        update()


def _visited(name: str, agent: DoubleDqn, ranges: ScalerRanges) -> npt.NDArray[np.float32]:
    """(32, 4) scaled states of one episode under the policy: inputs for golden vectors."""
    env, policy = AllocationEnv(name), agent.policy(ranges)
    state, _ = env.reset(seed=0)
    states = []
    truncated = False
    while not truncated:
        states.append(state.astype(np.float64))
        state, _, _, truncated, _ = env.step(np.int64(policy(states[-1][None])[0]))
    return ranges.scale(np.array(states))
