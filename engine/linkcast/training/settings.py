"""Sizes and hyper-parameters of a training run."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ForecasterSettings:
    """How an LSTM forecaster or a fallback is fitted.

    A batch of 128 goes through two to three times as many windows a second as one of 32; the learning rate is higher
    with it.
    """

    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5  # reached along half a cosine over all epochs
    batch: int = 128
    epochs: int = 100
    epoch_windows: int = 16_000  # at most, drawn anew for each epoch
    validation_windows: int = 4_000  # at most
    trials: int = 3  # random initial weights that are tried
    trial_epochs: int = 3  # before the best of them goes on alone
    stop_patience: int = 20  # epochs without a better validation loss before training stops
    dropout: float = 0.01
    clip_norm: float = 1.0  # of each gradient
    loss: str = "mae"  # of the scaled target; or "mse", each window alike
    plateau_patience: int = 0  # epochs without a better validation loss before the rate is halved; 0: half a cosine


@dataclass(frozen=True)
class Augmentation:
    """How training windows are varied, anew in each epoch."""

    masked: float = 0.3  # share of the windows in which latency is as if it was not measured; so loss and reliability
    resized: float = 0.5  # share of the windows that are brought to another level, with the target
    levels_mbps: tuple[float, float] = (1e-2, 1e5)  # of their means then, evenly in the logarithm
    steady: float = 0.03  # share of the windows that repeat their last sample, with the target


@dataclass(frozen=True)
class GuideSettings:
    """How the mean of naive rules is fitted that the internet forecaster learns from; see `linkcast.training.guide`."""

    units: tuple[int, ...] = (96, 48)
    learning_rate: float = 2e-3  # falls along half a cosine over all epochs
    batch: int = 256
    epochs: int = 40
    epoch_windows: int = 16_000


@dataclass(frozen=True)
class AllocatorSettings:
    """Double DQN (van Hasselt, Guez, Silver 2016)."""

    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5  # reached by exponential decay over the whole run
    batch: int = 64
    episodes: int = 2_000
    episode_steps: int = 400
    links: int = 100  # episodes that are played side by side
    discount: float = 0.99
    epsilon_start: float = 1.0
    epsilon_end: float = 0.01
    epsilon_decay: float = 0.995  # per episode
    neighbours: float = 0.1  # share of the other steps that take the action next to the best one
    replay: int = 10_000
    warm_up: int = 2_000  # random transitions before the first update; they also calibrate the normalisation
    updates: int = 30  # gradient steps after each step of the links
    target_update: int = 10  # steps of the links between two moves of the target network
    target_mix: float = 0.1  # of the online network in the target network at each move
    averaging: float = 0.005  # of the online network in the moving average at each step of the links
    evaluate_every: int = 100  # episodes between two validations
    validation_episodes: int = 100
    test_seeds: int = 20
    test_episodes: int = 40  # of each seed


@dataclass(frozen=True)
class Settings:
    """One training run. `full()` is what the shipped models come from."""

    quick: bool
    window: int = 10
    link_traces: int = 700  # of each profile, each another link; a trace gives link_rows - window windows
    link_rows: int = 38
    simulated_share: float = 0.1  # of the internet forecaster's training, when there are traces of real links too
    processes_share: float = 0.4  # of its training that are random processes
    processes: int = 6_000
    augmentation: Augmentation = Augmentation()  # of its training windows
    guide: GuideSettings = GuideSettings()
    internet: ForecasterSettings = ForecasterSettings(trials=1)  # it learns labels without noise: any start does
    unseen: ForecasterSettings | None = ForecasterSettings(trials=1, epochs=30)  # without one family; None: not scored
    recipe: str = "default"  # of the forecasters, or "classic"
    group_sites: int = 36
    group_hours: int = 192  # of each site; more than a week, so that every hour of it occurs
    typical_sites: int = 60  # with typical use: statistics, profile and fallback
    forecaster: ForecasterSettings = ForecasterSettings()
    fallback: ForecasterSettings = ForecasterSettings(batch=64, epochs=60, trials=1, stop_patience=12, dropout=0.0)
    allocator: AllocatorSettings = AllocatorSettings()


def warm(base: ForecasterSettings) -> ForecasterSettings:
    """For training that goes on from weights that are good already: smaller steps, and sooner at an end."""
    return replace(
        base, learning_rate=5e-4, epochs=min(base.epochs, 40), trials=1, stop_patience=min(base.stop_patience, 10)
    )


def classic(base: ForecasterSettings) -> ForecasterSettings:
    """The usual settings: Adam at 1e-3, squared error, batch 32, up to 100 epochs, early stopping, reduction of the
    learning rate on a plateau."""
    return replace(
        base,
        learning_rate=1e-3,
        batch=32,
        epochs=100,
        trials=1,
        stop_patience=10,
        loss="mse",
        plateau_patience=5,
    )


RECIPES = ("default", "classic")


def by_classic_recipe(base: Settings) -> Settings:
    """Every LSTM forecaster by `classic`, and nothing that is scored beside it."""
    return replace(
        base, recipe="classic", forecaster=classic(base.forecaster), internet=classic(base.internet), unseen=None
    )


def full() -> Settings:
    """The settings of design.md; three quarters of an hour on two cores."""
    return Settings(quick=False)


def said(chosen: Settings, on_telemetry: bool) -> str:
    """What kind of run it is, in a line for people."""
    if on_telemetry:
        most, other = warm(chosen.forecaster), warm((full() if chosen.quick else quick()).forecaster)
        if chosen.recipe != "default":
            return f"Classic recipe: from random weights, at most {chosen.forecaster.epochs} epochs."
        if chosen.quick:
            return (
                f"Quick run: at most {most.epochs} epochs from the bundled weights, a first look; without --quick "
                f"{other.epochs}."
            )
        return (
            f"Full run: at most {most.epochs} epochs from the bundled weights, fewer once {most.stop_patience} in a "
            f"row bring nothing; --quick is {other.epochs}."
        )
    if chosen.quick:
        return "Quick run: every step with few epochs and episodes, minutes; its models work, and are not good."
    return "Full run: as the bundled models were trained, more than half an hour; --quick is minutes, and not good."


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
        processes=1_000,
        guide=replace(base.guide, epochs=4),
        internet=replace(base.internet, epochs=6, epoch_windows=8_000),
        unseen=None,
        forecaster=replace(base.forecaster, epochs=4, epoch_windows=8_000, trials=1),
        fallback=replace(base.fallback, epochs=8),
        allocator=replace(
            base.allocator,
            episodes=200,
            episode_steps=32,
            links=20,
            averaging=0.05,
            epsilon_decay=0.97,
            test_episodes=20,
        ),
    )
