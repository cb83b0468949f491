"""Sizes and hyper-parameters of a training run."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ForecasterSettings:
    """How an LSTM forecaster or a fallback is fitted."""

    learning_rate: float = 1e-3
    batch: int = 32
    epochs: int = 100
    stop_patience: int = 8  # epochs without a better validation loss before training stops
    reduce_patience: int = 3  # epochs without a better validation loss before the learning rate is cut
    reduce_factor: float = 0.5
    smallest_learning_rate: float = 1e-5
    dropout: float = 0.01
    clip_norm: float = 0.1  # of each gradient; small links would otherwise throw the others' weights about


@dataclass(frozen=True)
class AllocatorSettings:
    """Double DQN (van Hasselt, Guez, Silver 2016)."""

    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-4  # reached by exponential decay over the whole run
    batch: int = 64
    episodes: int = 2_000
    episode_steps: int = 32
    discount: float = 0.99
    epsilon_start: float = 1.0
    epsilon_end: float = 0.01
    epsilon_decay: float = 0.995  # per episode
    replay: int = 10_000
    warm_up: int = 1_000  # random transitions before the first update; they also calibrate the normalisation
    update_every: int = 2  # steps of the environment between two updates
    target_update: int = 10  # updates between two copies of the network to the target network
    evaluate_every: int = 100  # episodes between two validations
    validation_episodes: int = 64
    test_episodes: int = 400


@dataclass(frozen=True)
class Settings:
    """One training run. `full()` is what the shipped models come from."""

    quick: bool
    window: int = 10
    link_traces: int = 700  # of each profile, each another link; a trace gives link_rows - window windows
    link_rows: int = 38
    group_sites: int = 36
    group_hours: int = 192  # of each site; more than a week, so that every hour of it occurs
    typical_sites: int = 60  # with typical use: statistics, profile and fallback
    forecaster: ForecasterSettings = ForecasterSettings()
    fallback: ForecasterSettings = ForecasterSettings(batch=64, epochs=60, stop_patience=6, dropout=0.0)
    allocator: AllocatorSettings = AllocatorSettings()


def full() -> Settings:
    """The settings of design.md; about half an hour on two cores."""
    return Settings(quick=False)


def quick() -> Settings:
    """A run that goes through everything in a few minutes; its models work, and are not good."""
    base = full()
    return replace(
        base,
        quick=True,
        link_traces=200,
        link_rows=38,
        group_sites=8,
        group_hours=192,
        typical_sites=12,
        forecaster=replace(base.forecaster, epochs=5),
        fallback=replace(base.fallback, epochs=8),
        allocator=replace(base.allocator, episodes=150, evaluate_every=50, epsilon_decay=0.97),
    )
