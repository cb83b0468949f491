"""A simulated evening on a home line: what `linkcast replay` plays when it is given no file.

Twenty minutes of seconds on a 100 Mbit/s line that a few households share: calls and games, films in segments, pages,
and two downloads that come and go. What they want is queued, carried, delayed and lost as the links of
`linkcast.simulation.links` do. The script below is made up, its numbers are round; no forecast was consulted for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from linkcast import simulation
from linkcast.traces import Trace, trace_from_arrays

FloatArray = npt.NDArray[np.float64]

CAPACITY_MBPS = 100.0
ROWS = 1200
"""Seconds that are played unless told otherwise."""

START = np.datetime64("2026-01-09T20:00:00")  # a Friday
NAME = "A busy evening on a 100 Mbit/s line (simulated)"

PAGES_EVERY_S = 9.0
PAGE_MBPS = (3.0, 14.0)
BASE_LATENCY_MS = 14.0


@dataclass(frozen=True)
class Use:
    """One use of the line, from `start` to `stop` as shares of the evening."""

    name: str
    start: float
    stop: float
    mbps: float  # mean while it runs
    swing: float  # standard deviation of its self-similar log-load
    ramp_s: float = 1.0  # until it has its rate, as congestion control finds it
    segment_s: int = 0  # a film is fetched in segments: its rate swings with this period
    depth: float = 0.0  # by this share of the mean


SCRIPT = (
    Use("calls", 0.00, 0.42, 3.5, 0.10),
    Use("television", 0.00, 1.00, 7.0, 0.08, segment_s=6, depth=0.25),
    Use("online game", 0.08, 0.90, 1.5, 0.25),
    Use("film", 0.15, 0.80, 16.0, 0.10, ramp_s=4.0, segment_s=8, depth=0.25),
    Use("game update", 0.27, 0.43, 38.0, 0.08, ramp_s=8.0),
    Use("second film", 0.36, 0.86, 14.0, 0.10, ramp_s=4.0, segment_s=6, depth=0.30),
    Use("cloud gaming", 0.52, 0.74, 21.0, 0.14, ramp_s=3.0),
    Use("photo backup", 0.60, 0.70, 20.0, 0.10, ramp_s=6.0),
    Use("calls again", 0.78, 0.97, 4.0, 0.10),
)


def busy_evening(rows: int = ROWS, seed: int = 0) -> Trace:
    """The evening's telemetry, one row a second; more or fewer rows stretch the script.

    Raises:
        ValueError: rows is not positive.
    """
    if rows < 1:
        raise ValueError(f"rows: expected 1 or more, got {rows}")
    rng = np.random.default_rng(seed)
    steps = rows + simulation.links.WARM_UP
    wanted = np.zeros((1, steps))
    for use in SCRIPT:
        wanted[0] += _load(rng, use, rows, steps)
    wanted += simulation.noise.bursts(rng, PAGES_EVERY_S, PAGE_MBPS, 1.0, 1, 1, steps)

    parameters = replace(simulation.at_noise("internet", 0.3), jitter=0.05, bad_loss=0.01, buffer_ms=80.0)
    capacity = np.full((1, steps), CAPACITY_MBPS)
    offered, carried, queue_ms, queue_loss = simulation.links.queue(
        wanted, capacity, parameters.buffer_ms, parameters.reaction, parameters.step_s
    )
    latency = simulation.links.round_trip_ms(
        rng, parameters, np.array([[BASE_LATENCY_MS]]), queue_ms, offered / capacity
    )
    loss = 1.0 - (1.0 - queue_loss) * (1.0 - simulation.links.gilbert_elliott(rng, parameters, carried))
    features = np.stack([latency, carried, loss, simulation.links.reliability(loss)], axis=-1)[
        0, simulation.links.WARM_UP :
    ]
    times = START + np.arange(rows).astype("timedelta64[s]")
    return trace_from_arrays(features, times, NAME if seed == 0 else f"{NAME}, seed {seed}")


def _load(rng: np.random.Generator, use: Use, rows: int, steps: int) -> FloatArray:
    """(steps,) Mbit/s of one use; what runs at the start has run before it, too."""
    second = np.arange(steps) - (steps - rows)
    start, stop = use.start * rows if use.start > 0.0 else -np.inf, use.stop * rows
    running = (second >= start) & (second < stop)
    ramp = np.clip((second - start + 1.0) / use.ramp_s, 0.0, 1.0)
    level = np.exp(use.swing * simulation.noise.fractional_gaussian_noise(rng, np.array([0.85]), steps)[0])
    if use.segment_s > 0:
        phase = rng.uniform(0.0, 2.0 * np.pi)
        level *= 1.0 + use.depth * np.sign(np.sin(2.0 * np.pi * second / use.segment_s + phase))
    load: FloatArray = np.where(running, use.mbps * ramp * level, 0.0)
    return load
