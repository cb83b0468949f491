"""The world that allocators are trained in: a link whose allocation is set at every step, as a gymnasium environment.

A shaper gives the users a share of the link. What the share cannot carry waits in the shaper's queue: it shows as delay
in this step and has to be carried in the next ones. What the queue cannot hold is lost or not sent, and then senders
back off for some steps. The state tells more than the last bandwidth: bandwidth at a share's rate with a long delay is
a backlog to be drained; loss tells that users hold back; and a share a little too small for one or two steps is
cheaper than the next larger one, if the queue is watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from linkcast import simulation
from linkcast.features import BANDWIDTH, TELEMETRY
from linkcast.simulation import LinkProfile
from linkcast.simulation.links import RELIABILITY_SAMPLES, queue_step

FloatArray = npt.NDArray[np.float64]
Actions = npt.NDArray[np.int64]
Policy = Callable[[FloatArray], Actions]
"""States (n, 4) in physical units -> actions (n,)."""

LATENCY = TELEMETRY.index("latency_ms")
ACTIONS = 10
UTILISATION_WEIGHT = 0.4
DELAY_WEIGHT = 0.3
LOSS_WEIGHT = 0.3
DELAY_TARGET = 0.5  # queueing delay over the shaper's (shaper_ms), at which the delay term is one half
LOSS_LIMIT = 0.1  # share of the wanted load that is lost or held back, at which the loss term is zero
MEAN_LOAD = (0.02, 0.75)  # of the reference capacity: from nearly idle to as full as a link is sized for
LARGEST_LATENCY_MS = 60_000.0


class AllocatedLinks:
    """Independent links of one profile side by side, at its reference capacity, stepped together.

    Reward, per link and step, in 0..1:
        0.4 * carried / allocated
      + 0.3 / (1 + (queueing delay / (0.5 * shaper_ms)) ** 2)
      + 0.3 * max(0, 1 - lost / 0.1),  lost: the share of what users want that overflows or that they hold back.
    """

    def __init__(self, profile: LinkProfile, links: int, steps: int, rng: np.random.Generator) -> None:
        """Draws everything that does not depend on the allocation: (links, steps + 1) each, one step to start from."""
        self.profile = profile
        self.capacity_mbps = profile.reference_capacity_mbps
        self._step = 0
        total = steps + 1
        start = (
            simulation.links.EPOCH_S
            + rng.integers(0, simulation.links.WEEK_S // profile.step_s, links) * profile.step_s
        )
        seconds = start[:, None] + np.arange(total, dtype=np.int64) * profile.step_s
        level = simulation.noise.log_uniform(rng, profile.noise, links)
        users, capacity = replace(profile, utilisation=MEAN_LOAD), np.full(links, self.capacity_mbps)
        self._wanted = simulation.links.offered_load(rng, users, capacity, level, seconds)
        self._path_loss = simulation.links.gilbert_elliott(rng, profile, self._wanted)
        self._base_ms = simulation.noise.log_uniform(rng, profile.base_latency_ms, links)
        self._measured = simulation.links.measurement_error(rng, profile, level, total)
        self._jitter = rng.spawn(total)  # a stream for each step: every policy meets the same jitter
        self._buffer_mbit = np.full(links, self.capacity_mbps * profile.shaper_ms / 1e3)
        self._backlog = np.zeros(links)  # (links,) Mbit
        self._share = np.ones(links)  # (links,) of the wanted load that senders offer
        self._good = np.ones((links, RELIABILITY_SAMPLES), bool)  # ring buffer
        self.state, _ = self.step(np.full(links, ACTIONS - 1))  # before anyone decides, all of the link is allocated

    def step(self, actions: Actions) -> tuple[FloatArray, FloatArray]:
        """Allocates (action + 1) * 10 % for one step.

        Args:
            actions: (links,) 0..9.
        Returns:
            The next states (links, 4), physical units, and the rewards (links,).
        """
        profile, step = self.profile, self._step
        allocated, offered = self._allocated(actions), self._offered()
        carried, queue_ms, overflow, backlog = self._carry(allocated)
        rewards = reward(profile, carried, allocated, self._lost(overflow), queue_ms)
        self._backlog = backlog
        self._share = simulation.links.back_off(self._share, overflow)

        latency = simulation.links.round_trip_ms(
            self._jitter[step], profile, self._base_ms, queue_ms, offered / allocated
        )
        loss = 1.0 - (1.0 - profile.reaction * overflow) * (1.0 - self._path_loss[:, step])
        self._good[:, step % RELIABILITY_SAMPLES] = loss < simulation.links.GOOD_LOSS
        bandwidth = carried * self._measured[:, step]
        self.state = np.stack([latency, bandwidth, loss, self._good.mean(axis=1)], axis=1)
        self._step += 1
        return self.state, rewards

    def rewards_ahead(self) -> FloatArray:
        """The reward that each action would have in the coming step, (links, 10); changes nothing."""
        columns = []
        for action in range(ACTIONS):
            allocated = self._allocated(np.full(len(self._share), action))
            carried, queue_ms, overflow, _ = self._carry(allocated)
            columns.append(reward(self.profile, carried, allocated, self._lost(overflow), queue_ms))
        return np.stack(columns, axis=1)

    def _allocated(self, actions: Actions) -> FloatArray:
        allocated: FloatArray = self.capacity_mbps * (actions + 1) / ACTIONS
        return allocated

    def _offered(self) -> FloatArray:
        return self._wanted[:, self._step] * self._share

    def _carry(self, allocated: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        return queue_step(self._offered(), allocated, self._backlog, self._buffer_mbit, self.profile.step_s)

    def _lost(self, overflow: FloatArray) -> FloatArray:
        return 1.0 - self._share * (1.0 - overflow)


def reward(
    profile: LinkProfile, carried: FloatArray, allocated: FloatArray, lost: FloatArray, queue_ms: FloatArray
) -> FloatArray:
    """In 0..1, of the arguments' shape; see AllocatedLinks. Bandwidths in Mbit/s, lost as a share."""
    utilisation = np.minimum(carried / allocated, 1.0)
    delay = 1.0 / (1.0 + np.square(queue_ms / (DELAY_TARGET * profile.shaper_ms)))
    served = np.maximum(0.0, 1.0 - lost / LOSS_LIMIT)
    total: FloatArray = UTILISATION_WEIGHT * utilisation + DELAY_WEIGHT * delay + LOSS_WEIGHT * served
    return total


class AllocationEnv(gymnasium.Env[npt.NDArray[np.float32], np.int64]):
    """One link as a gymnasium environment; an episode is truncated after `episode_steps`, it never terminates.

    Observation: (4,) float32, physical units: latency_ms, bandwidth_mbps, packet_loss, reliability.
    Action: 0..9 allocates (action + 1) * 10 % of the profile's reference capacity. Reward: see AllocatedLinks.

    Raises:
        ValueError: an unknown profile, or episode_steps is not positive.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's own declaration)

    def __init__(self, profile: str = "internet", episode_steps: int = 32) -> None:
        if episode_steps < 1:
            raise ValueError(f"episode_steps must be positive, got {episode_steps}")
        self._profile = simulation.link_profile(profile)
        self._episode_steps = episode_steps
        high = np.array([LARGEST_LATENCY_MS, 100.0 * self._profile.reference_capacity_mbps, 1.0, 1.0], np.float32)
        self.observation_space = gymnasium.spaces.Box(np.zeros(len(TELEMETRY), np.float32), high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        self._links: AllocatedLinks | None = None
        self._taken = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """A new link."""
        super().reset(seed=seed)
        self._links = AllocatedLinks(self._profile, 1, self._episode_steps, self.np_random)
        self._taken = 0
        return self._links.state[0].astype(np.float32), {}

    def step(self, action: np.int64) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step of the link.

        Raises:
            RuntimeError: before the first reset, or after the episode's end.
        """
        if self._links is None or self._taken == self._episode_steps:
            raise RuntimeError("step: reset the environment first")
        states, rewards = self._links.step(np.array([action]))
        self._taken += 1
        return states[0].astype(np.float32), float(rewards[0]), False, self._taken == self._episode_steps, {}


def play(policy: Policy, profile: LinkProfile, episodes: int, steps: int, seed: int) -> FloatArray:
    """Mean reward of each episode under a policy, (episodes,). The same seed gives every policy the same episodes."""
    return _play(lambda links: policy(links.state), profile, episodes, steps, seed)


def play_oracle(profile: LinkProfile, episodes: int, steps: int, seed: int) -> FloatArray:
    """As `play`, for the greedy one-step oracle: it knows the next load, tries all actions and takes the best one.

    It does not look further than one step, so that a policy may do better.
    """
    return _play(lambda links: links.rewards_ahead().argmax(axis=1), profile, episodes, steps, seed)


def _play(
    choose: Callable[[AllocatedLinks], Actions], profile: LinkProfile, episodes: int, steps: int, seed: int
) -> FloatArray:
    links = AllocatedLinks(profile, episodes, steps, np.random.default_rng(seed))
    total = np.zeros(episodes)
    for _ in range(steps):
        _, rewards = links.step(choose(links))
        total += rewards
    return total / steps


def constant(action: int) -> Policy:
    """Always the same allocation."""
    return lambda states: np.full(len(states), action)


def random_actions(seed: int) -> Policy:
    """Any allocation, uniformly."""
    rng = np.random.default_rng(seed)
    return lambda states: rng.integers(0, ACTIONS, len(states))


def round_up(capacity_mbps: float, margin: float = 1.0) -> Policy:
    """The smallest allocation that holds `margin` times the last bandwidth."""

    def policy(states: FloatArray) -> npt.NDArray[np.int64]:
        tenths = np.ceil(margin * states[:, BANDWIDTH] / capacity_mbps * ACTIONS - 1e-9)
        return (np.clip(tenths, 1, ACTIONS) - 1).astype(np.int64)

    return policy


def round_up_and_drain(profile: LinkProfile, margin: float = 1.0) -> Policy:
    """As `round_up`, for the last bandwidth and the backlog that the delay shows beside it.

    The delay is what exceeds twice the profile's middle latency; what waits is that delay at the last bandwidth's rate.
    """
    idle_ms = 2.0 * np.sqrt(profile.base_latency_ms[0] * profile.base_latency_ms[1])
    rule = round_up(profile.reference_capacity_mbps, margin)

    def policy(states: FloatArray) -> Actions:
        waiting_s = np.maximum(states[:, LATENCY] - idle_ms, 0.0) / 1e3
        drained = states.copy()
        drained[:, BANDWIDTH] *= 1.0 + waiting_s / profile.step_s
        return rule(drained)

    return policy
