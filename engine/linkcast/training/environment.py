"""The world that allocators are trained in: a link whose allocation is set at every step, as a gymnasium environment.

The allocation changes what happens next. What it cannot carry waits and shows as delay in this step and as backlog in
the next; what the buffer cannot hold is lost, and then senders back off for some steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from linkcast import simulator
from linkcast.features import BANDWIDTH, TELEMETRY
from linkcast.simulator import RELIABILITY_SAMPLES, LinkProfile

FloatArray = npt.NDArray[np.float64]
Policy = Callable[[FloatArray], npt.NDArray[np.int64]]
"""States (n, 4) in physical units -> actions (n,)."""

ACTIONS = 10
UTILISATION_WEIGHT = 0.4
DELAY_WEIGHT = 0.3
SERVICE_WEIGHT = 0.3
DELAY_TARGET = 0.2  # queueing delay, as a share of the buffer's, at which the delay term is one half
UNSERVED_LIMIT = 0.1  # share of the wanted load that goes unserved at which the service term is zero
LARGEST_LATENCY_MS = 60_000.0


class AllocatedLinks:
    """Independent links of one profile side by side, at its reference capacity, stepped together.

    Reward, per link and step, in 0..1:
        0.4 * carried / allocated
      + 0.3 / (1 + queueing delay / (0.2 * buffer delay))
      + 0.3 * max(0, 1 - unserved / 0.1),  unserved = 1 - carried / wanted, of what users wanted before any back-off.
    """

    def __init__(self, profile: LinkProfile, links: int, steps: int, rng: np.random.Generator) -> None:
        """Draws everything that does not depend on the allocation: (links, steps + 1) each, one step to start from."""
        self.profile = profile
        self.capacity_mbps = profile.reference_capacity_mbps
        self._rng = rng
        self._step = 0
        total = steps + 1
        start = simulator.EPOCH_S + rng.integers(0, simulator.WEEK_S // profile.step_s, links) * profile.step_s
        seconds = start[:, None] + np.arange(total, dtype=np.int64) * profile.step_s
        level = simulator.log_uniform(rng, profile.noise, links)
        self._wanted = simulator.offered_load(rng, profile, np.full(links, self.capacity_mbps), level, seconds)
        self._path_loss = simulator.gilbert_elliott(rng, profile, self._wanted)
        self._base_ms = simulator.log_uniform(rng, profile.base_latency_ms, links)
        self._measured = simulator.measurement_error(rng, profile, level, total)
        self._backlog = np.zeros(links)  # (links,) Mbit
        self._share = np.ones(links)  # (links,) of the wanted load that senders offer
        self._good = np.ones((links, RELIABILITY_SAMPLES), bool)  # ring buffer
        self.state, _ = self.step(np.full(links, ACTIONS - 1))  # before anyone decides, all of the link is allocated

    def step(self, actions: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Allocates (action + 1) * 10 % for one step.

        Args:
            actions: (links,) 0..9.
        Returns:
            The next states (links, 4), physical units, and the rewards (links,).
        """
        profile, step = self.profile, self._step
        allocated = self.capacity_mbps * (actions + 1) / ACTIONS
        wanted = self._wanted[:, step]
        offered = wanted * self._share
        buffer_mbit = np.full(len(wanted), self.capacity_mbps * profile.buffer_ms / 1e3)
        carried, queue_ms, overflow, self._backlog = simulator.queue_step(
            offered, allocated, self._backlog, buffer_mbit, profile.step_s
        )
        self._share = simulator.back_off(self._share, overflow)

        latency = simulator.round_trip_ms(self._rng, profile, self._base_ms, queue_ms, offered / allocated)
        loss = 1.0 - (1.0 - profile.reaction * overflow) * (1.0 - self._path_loss[:, step])
        self._good[:, step % RELIABILITY_SAMPLES] = loss < simulator.GOOD_LOSS
        bandwidth = carried * self._measured[:, step]
        self.state = np.stack([latency, bandwidth, loss, self._good.mean(axis=1)], axis=1)
        self._step += 1
        return self.state, reward(profile, carried, allocated, wanted, queue_ms)


def reward(
    profile: LinkProfile, carried: FloatArray, allocated: FloatArray, wanted: FloatArray, queue_ms: FloatArray
) -> FloatArray:
    """(links,) in 0..1; see AllocatedLinks. Bandwidths in Mbit/s."""
    utilisation = np.minimum(carried / allocated, 1.0)
    delay = 1.0 / (1.0 + queue_ms / (DELAY_TARGET * profile.buffer_ms))
    unserved = 1.0 - np.minimum(carried / np.maximum(wanted, 1e-12), 1.0)
    service = np.maximum(0.0, 1.0 - unserved / UNSERVED_LIMIT)
    total: FloatArray = UTILISATION_WEIGHT * utilisation + DELAY_WEIGHT * delay + SERVICE_WEIGHT * service
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
        self._profile = simulator.link_profile(profile)
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
    """Mean reward of each episode under a policy, (episodes,). The same seed gives every policy the same episodes.

    The random stream of the delay jitter is shared by the links, so it also is the same for every policy.
    """
    links = AllocatedLinks(profile, episodes, steps, np.random.default_rng(seed))
    total = np.zeros(episodes)
    for _ in range(steps):
        _, rewards = links.step(policy(links.state))
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
