"""Double DQN for the allocators, and the rules that it is scored beside.

Many links are played side by side; each is one episode. What makes a difference of a thousandth in reward learnable:

What is learned is the gain over a rule: the reward minus what "round up and drain" gets at the same moment on the same
links, in a second world with the same users. That does not depend on what the network does, so it moves the return of
every policy by the same amount (an input-driven baseline: Mao et al. 2019), and it takes away most of the variance:
some links are calm and others are not, and the load lies just below or just above a tenth. With a discount of 0.99 the
values stay small. The exported Q-values are relative to it, in units of the reward.

First layer: its weights on the bandwidth start as steps spread over the range, since which tenth holds the load is a
function with ten sharp edges.

Batch normalisation: its statistics are measured once, on the random warm-up transitions, and then stay fixed. Acting,
targets, gradient steps and the exported file therefore compute one and the same function; with batch statistics in the
gradient step the network that acts would not be the one that learns.

Averaging: what is scored and exported is a moving average of the network that learns (Polyak and Juditsky 1992).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast import simulation
from linkcast.engine import Engine
from linkcast.features import BANDWIDTH, TELEMETRY
from linkcast.simulation import LinkProfile
from linkcast.training import certificate, environment, networks
from linkcast.training.datasets import seed_of
from linkcast.training.environment import ACTIONS, AllocatedLinks, Policy
from linkcast.training.forecasters import Progress
from linkcast.training.ranges import Range, ScalerRanges
from linkcast.training.settings import AllocatorSettings
from linkcast.training.start import tf, tf_keras

FloatArray = npt.NDArray[np.float64]
States = npt.NDArray[np.float32]  # scaled

REWARD_SCALE = 10.0  # while learning: targets of the order of one; the exported network is scaled back
MARGINS = (0.90, 0.95, 0.97, 0.98, 0.99, 1.01, 1.02, 1.05, 1.10, 1.15, 1.20, 1.30, 1.50)
"""The rules with a margin take the best of these on the validation episodes."""
FIRST_LAYER_GAINS = (0.5, 4.0)  # log: slope of a first-layer unit per tenth of the link
STUDENT_T = 2.093  # 97.5 % quantile of Student's t for 20 seeds (19 degrees of freedom)


@dataclass(frozen=True)
class TrainedAllocator:
    """The model file and its scores beside the rules' and the oracle's."""

    content: bytes
    ranges: ScalerRanges
    history: dict[str, Any]
    rewards: dict[str, FloatArray]  # (seeds,) mean reward over each seed's episodes: "model", the rules, "oracle"
    golden: dict[str, Any] = field(default_factory=dict)
    certificate: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Certified:
    """What is measured of an allocator's model file."""

    rewards: dict[str, FloatArray]  # as TrainedAllocator; "model" is what is decided, the projection included
    certificate: dict[str, Any]


class ReplayMemory:
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
    def states(self) -> States:
        """(len, 4) scaled."""
        return self._states[: len(self)]

    def add(self, states: States, actions: environment.Actions, rewards: FloatArray, next_states: States) -> None:
        """One transition of each link; (links, 4), (links,), (links,), (links, 4)."""
        rows = (self._count + np.arange(len(actions))) % self._capacity
        self._states[rows], self._next_states[rows] = states, next_states
        self._actions[rows], self._rewards[rows] = actions, rewards
        self._count += len(actions)

    def sample(self, rng: np.random.Generator, batches: int, batch: int) -> tuple[npt.NDArray[Any], ...]:
        """States, actions, rewards and next states, each (batches, batch, ...)."""
        rows = rng.integers(0, len(self), (batches, batch))
        return self._states[rows], self._actions[rows], self._rewards[rows], self._next_states[rows]


class DoubleDqn:
    """The network that learns, its target network, and the moving average that acts in the end."""

    def __init__(self, settings: AllocatorSettings, gradient_steps: int, seed: int) -> None:
        self.online, self.target, self.average = (networks.allocator(len(TELEMETRY), ACTIONS) for _ in range(3))
        spread_steps(self.online, seed)
        decay = settings.final_learning_rate / settings.learning_rate
        schedule = tf_keras.optimizers.schedules.ExponentialDecay(settings.learning_rate, gradient_steps, decay)
        self._optimizer = tf_keras.optimizers.Adam(schedule)
        self._discount, self._target_mix, self._averaging = settings.discount, settings.target_mix, settings.averaging
        self._huber = tf_keras.losses.Huber()

    def calibrate(self, states: States) -> None:
        """Fixes the normalisation's statistics, layer by layer, on (n, 4) scaled states."""
        networks.calibrate_normalisation(self.online, states)
        for copy in (self.target, self.average):
            copy.set_weights(self.online.get_weights())

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def q_values(self, states: Any) -> Any:
        """(n, 4) scaled -> (n, actions), of the network that learns."""
        return self.online(states, training=False)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def average_q_values(self, states: Any) -> Any:
        """(n, 4) scaled -> (n, actions), of the moving average."""
        return self.average(states, training=False)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def learn(self, states: Any, actions: Any, rewards: Any, next_states: Any) -> None:
        """One gradient step on each of (batches, batch, ...): the online network chooses, the target network values."""
        for index in tf.range(tf.shape(states)[0]):
            chosen = tf.argmax(self.online(next_states[index], training=False), axis=1)
            values = tf.gather(self.target(next_states[index], training=False), chosen, axis=1, batch_dims=1)
            targets = rewards[index] + self._discount * values
            with tf.GradientTape() as tape:
                all_values = self.online(states[index], training=False)
                loss = self._huber(targets, tf.gather(all_values, actions[index], axis=1, batch_dims=1))
            variables = self.online.trainable_variables
            self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        _move(self.average, self.online, self._averaging)

    @tf.function  # type: ignore[untyped-decorator]
    def update_target(self) -> None:
        _move(self.target, self.online, self._target_mix)

    def policy(self, ranges: ScalerRanges) -> Policy:
        """The greedy policy of the moving average, on states in physical units."""
        return lambda states: np.argmax(self.average_q_values(tf.constant(ranges.scale(states))).numpy(), axis=1)


def spread_steps(model: Any, seed: int) -> None:
    """Spreads the first layer's units over the bandwidth: unit i starts to answer at its own load.

    With Keras' initial weights all units would bend at zero, and the edges between tenths be learned slowly.

    Args:
        model: from `networks.allocator`; its bandwidth is scaled to one per tenth of the link (`allocator_ranges`).
        seed: draws loads and slopes.
    """
    layer = model.layers[0]
    kernel, bias = layer.get_weights()  # (features, units), (units,)
    rng = np.random.default_rng(seed)
    gains = simulation.noise.log_uniform(rng, FIRST_LAYER_GAINS, len(bias)) * rng.choice([-1.0, 1.0], len(bias))
    kernel[:] = 0.3 * rng.standard_normal(kernel.shape)
    kernel[BANDWIDTH] = gains
    bias[:] = -gains * rng.uniform(0.0, ACTIONS - 0.5, len(bias))
    layer.set_weights([kernel, bias])


def allocator_ranges(profile: LinkProfile) -> ScalerRanges:
    """Fixed ranges: a delay of the reward's target is 1, a tenth of the link is 1, a step's worst overflow is 1."""
    return ScalerRanges(
        {
            "latency_ms": Range(0.0, environment.DELAY_TARGET * profile.shaper_ms),
            "bandwidth_mbps": Range(0.0, profile.reference_capacity_mbps / ACTIONS),
            "packet_loss": Range(0.0, profile.reaction),
            "reliability": Range(0.0, 1.0),
        },
        None,
    )


def train_allocator(name: str, settings: AllocatorSettings, seed: int, progress: Progress) -> TrainedAllocator:
    """Trains one profile's allocator and plays it, every rule and the oracle on the same test episodes.

    Args:
        name: a profile.
        settings, seed: of the run.
        progress: called after each round of episodes.
    """
    networks.make_deterministic(seed_of(seed, "allocator", name))
    profile = simulation.link_profile(name)
    ranges = allocator_ranges(profile)
    agent, history = _learn(profile, ranges, settings, seed, progress)

    single = networks.allocator(len(TELEMETRY), ACTIONS, batch=1)
    single.set_weights(agent.average.get_weights())
    last = single.layers[-1]
    last.set_weights([weights / REWARD_SCALE for weights in last.get_weights()])
    content = networks.convert(single)
    golden = networks.golden(content, _visited(profile, agent, ranges))
    certified = certify(profile, content, ranges, golden, settings, seed)
    return TrainedAllocator(content, ranges, history, certified.rewards, golden, certified.certificate)


def certify(
    profile: LinkProfile,
    content: bytes,
    ranges: ScalerRanges,
    golden: dict[str, Any],
    settings: AllocatorSettings,
    seed: int,
) -> Certified:
    """Plays an allocator, as the engine decides with it, and the rules; and sweeps its states."""
    name = profile.name

    def network(of: Engine) -> Policy:
        return lambda states: np.argmax(of.q_values(name, states), axis=1)

    with certificate.engine(profile, content, ranges, golden) as engine:
        box = certificate.state_range(profile, network(engine), settings, seed)
    with certificate.engine(profile, content, ranges, golden, box) as engine:
        policies: dict[str, Policy] = {
            "model": lambda states: engine.decide(name, states).astype(np.int64),
            "network": network(engine),
            **rules(profile, settings, seed),
        }
        rewards = play_test_episodes(profile, policies, settings, seed)
        alone = float(rewards.pop("network").mean())
        return Certified(rewards, certificate.certificate(engine, profile, content, box, alone, seed))


def rules(profile: LinkProfile, settings: AllocatorSettings, seed: int) -> dict[str, Policy]:
    """What the allocator has to beat; constant and margins are the best ones on the validation episodes."""
    capacity = profile.reference_capacity_mbps

    constants = {f"constant {(action + 1) * 10} %": environment.constant(action) for action in range(ACTIONS)}
    margins = {_margin_text("round up", margin): environment.round_up(capacity, margin) for margin in MARGINS}
    return {
        "random": environment.random_actions(seed_of(seed, "random", profile.name)),
        **dict([_best(constants, profile, settings, seed)]),
        "round up": environment.round_up(capacity),
        **dict([_best(margins, profile, settings, seed), _tuned_drain(profile, settings, seed)]),
    }


def play_test_episodes(
    profile: LinkProfile, policies: dict[str, Policy], settings: AllocatorSettings, seed: int
) -> dict[str, FloatArray]:
    """Mean reward of each policy, and of the one-step oracle, over the episodes of each test seed; (seeds,) each."""
    seeds = [seed_of(seed, "test", profile.name, str(index)) for index in range(settings.test_seeds)]
    size = (settings.test_episodes, settings.episode_steps)
    rewards = {
        name: np.array([environment.play(policy, profile, *size, test_seed).mean() for test_seed in seeds])
        for name, policy in policies.items()
    }
    oracle = [environment.play_oracle(profile, *size, test_seed).mean() for test_seed in seeds]
    return {**rewards, "oracle": np.array(oracle)}


def skill(rewards: dict[str, FloatArray]) -> dict[str, Any]:
    """What the manifest says: mean rewards, and what the model gains over each rule, paired seed by seed.

    Args:
        rewards: of `TrainedAllocator`.
    Returns:
        "model", "oracle" and each of "baselines" with reward and interval (95 %); each baseline also with the model's
        gain over it and the gain's interval; the best one's gain, its share of the gap to the oracle, and a verdict.
    """
    scores = {}
    for policy, by_seed in rewards.items():
        reward, interval = mean_with_interval(by_seed)
        gain, gain_interval = mean_with_interval(rewards["model"] - by_seed)
        scores[policy] = {"reward": reward, "interval": interval, "gain": gain, "gain_interval": gain_interval}
    model, oracle = (
        {"reward": score["reward"], "interval": score["interval"]}
        for score in (scores.pop("model"), scores.pop("oracle"))
    )
    best = max(scores, key=lambda policy: scores[policy]["reward"])
    gain, interval = scores[best]["gain"], scores[best]["gain_interval"]
    gap = oracle["reward"] - scores[best]["reward"]
    compared = f"by {abs(gain):.4f} ± {interval:.4f} per step over {len(rewards['model'])} seeds"
    unbeaten = [policy for policy, score in scores.items() if score["gain"] <= score["gain_interval"]]
    if not unbeaten:
        outcome = f"The model beats every rule, the best one ({best}) {compared}"
    elif gain < -interval:
        outcome = f"The best rule ({best}) beats the model {compared}"
    else:
        outcome = (
            f"The model is not shown to beat {', '.join(unbeaten)}; from the best rule ({best}) it differs {compared}"
        )
    share = gain / gap if gap > 0.0 else float("nan")
    return {
        "seeds": len(rewards["model"]),
        "model": model,
        "baselines": scores,
        "oracle": oracle,
        "best_baseline": best,
        "gain": gain,
        "gain_interval": interval,
        "share_of_gap": share,
        "verdict": f"{outcome}: {100.0 * share:.0f} % of the best rule's gap to the one-step oracle.",
    }


def mean_with_interval(by_seed: FloatArray) -> tuple[float, float]:
    """Mean over independent seeds and half the width of its 95 % interval (Student's t at 20 seeds)."""
    return float(by_seed.mean()), float(STUDENT_T * by_seed.std(ddof=1) / np.sqrt(len(by_seed)))


def _learn(
    profile: LinkProfile, ranges: ScalerRanges, settings: AllocatorSettings, seed: int, progress: Progress
) -> tuple[DoubleDqn, dict[str, Any]]:
    """Plays the episodes; the agent's average has the weights of the best validation."""
    rng = np.random.default_rng(seed_of(seed, "exploration", profile.name))
    links = min(settings.links, settings.episodes)
    rounds = -(-settings.episodes // links)
    gradient_steps = rounds * settings.episode_steps * settings.updates
    agent = DoubleDqn(settings, gradient_steps, seed_of(seed, "weights", profile.name))
    replay = ReplayMemory(settings.replay)
    rule = _tuned_drain(profile, settings, seed)[1]

    def play_round(act: Callable[[States], environment.Actions], after_step: Callable[[], None]) -> None:
        round_seed = int(rng.integers(2**32))
        world, other = (
            AllocatedLinks(profile, links, settings.episode_steps, np.random.default_rng(round_seed)) for _ in range(2)
        )
        states = ranges.scale(world.state)
        for _ in range(settings.episode_steps):
            actions = act(states)
            observed, rewards = world.step(actions)
            _, rule_rewards = other.step(rule(other.state))
            next_states = ranges.scale(observed)
            replay.add(states, actions, REWARD_SCALE * (rewards - rule_rewards), next_states)
            states = next_states
            after_step()

    while len(replay) < settings.warm_up:
        play_round(lambda states: rng.integers(0, ACTIONS, len(states)), lambda: None)
    agent.calibrate(replay.states)
    epsilon, steps = settings.epsilon_start, 0

    def act(states: States) -> environment.Actions:
        actions = np.argmax(agent.q_values(tf.constant(states)).numpy(), axis=1)
        nearby = rng.random(len(states)) < settings.neighbours
        actions = np.where(nearby, np.clip(actions + rng.choice([-1, 1], len(states)), 0, ACTIONS - 1), actions)
        return np.where(rng.random(len(states)) < epsilon, rng.integers(0, ACTIONS, len(states)), actions)

    def after_step() -> None:
        nonlocal steps
        steps += 1
        agent.learn(*map(tf.constant, replay.sample(rng, settings.updates, settings.batch)))
        if steps % settings.target_update == 0:
            agent.update_target()

    best, best_weights, best_episode = -np.inf, agent.average.get_weights(), 0
    for played in range(links, rounds * links + 1, links):
        play_round(act, after_step)
        epsilon = max(settings.epsilon_end, epsilon * settings.epsilon_decay**links)
        if played % settings.evaluate_every < links or played == rounds * links:
            score = _validate(agent.policy(ranges), profile, settings, seed)
            if score > best:
                best, best_weights, best_episode = score, agent.average.get_weights(), played
        progress(played, rounds * links, f"best validation reward {best:.4f}, epsilon {epsilon:.2f}")
    agent.average.set_weights(best_weights)
    history = {"episodes": rounds * links, "best_episode": best_episode, "validation_reward": best}
    return agent, history


def _tuned_drain(profile: LinkProfile, settings: AllocatorSettings, seed: int) -> tuple[str, Policy]:
    margins = (1.0, *MARGINS)
    candidates = {
        _margin_text("round up and drain", margin): environment.round_up_and_drain(profile, margin)
        for margin in margins
    }
    return _best(candidates, profile, settings, seed)


def _best(
    candidates: dict[str, Policy], profile: LinkProfile, settings: AllocatorSettings, seed: int
) -> tuple[str, Policy]:
    """The candidate with the highest reward on the validation episodes."""
    scores = {text: _validate(policy, profile, settings, seed) for text, policy in candidates.items()}
    text = max(scores, key=lambda text: scores[text])
    return text, candidates[text]


def _validate(policy: Policy, profile: LinkProfile, settings: AllocatorSettings, seed: int) -> float:
    episodes, steps = settings.validation_episodes, settings.episode_steps
    return float(environment.play(policy, profile, episodes, steps, seed_of(seed, "validation", profile.name)).mean())


def _visited(profile: LinkProfile, agent: DoubleDqn, ranges: ScalerRanges) -> States:
    """(32, 4) scaled states of one episode under the policy: inputs for golden vectors."""
    world, policy = AllocatedLinks(profile, 1, 32, np.random.default_rng(0)), agent.policy(ranges)
    states = []
    for _ in range(32):
        states.append(world.state[0])
        world.step(policy(world.state))
    return ranges.scale(np.array(states))


def _move(model: Any, towards: Any, share: float) -> None:
    for ours, theirs in zip(model.variables, towards.variables, strict=True):
        ours.assign_add(share * (theirs - ours))


def _margin_text(rule: str, margin: float) -> str:
    return f"{rule}, margin {round((margin - 1.0) * 100.0)} %"
