"""Whether a trace is like what a model was trained on, and which unit it may be in if not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast.features import BANDWIDTH
from linkcast.traces.layout import UNITS
from linkcast.traces.trace import Trace

FASTEST_MBPS = 15_000.0  # the simulated data centre links carry up to 10,000
NO_LINK_MBPS = 100_000.0
FAR = 3.0  # times the range that was trained on: the rate of a window is scaled by its own level
USUAL_MBPS = (1.0, 1000.0)
SLOWEST_MS = 5000.0  # a usual round trip: those over satellites take 600
FASTEST_MS = 1.0  # below it a column may be in seconds
MOST_LOSS = 0.1  # on average: with more no transport gets on


def likely_unit(median: float, low: float = USUAL_MBPS[0], high: float = USUAL_MBPS[1]) -> str | None:
    """The unit in which a median that is no Mbit/s would be low to high Mbit/s, the most central; None if none."""
    middle = np.log(np.sqrt(max(low, 1.0) * high))
    fits = {unit: median * factor for unit, factor in UNITS["bandwidth_mbps"].items() if unit != "Mbit/s"}
    fits = {unit: mbps for unit, mbps in fits.items() if max(low, 0.1) <= mbps <= high}
    return min(fits, key=lambda unit: abs(np.log(fits[unit]) - middle)) if fits else None


def _figure(value: float) -> str:
    """Four digits, never as a power of ten: "22.4", "10,020"."""
    return f"{float(f'{value:.4g}'):,.10f}".rstrip("0").rstrip(".")


def question_of(median: float, unit: str) -> str:
    """ "; is it in kbit/s? add -u bandwidth_mbps=kbit/s, which makes 22.4 Mbit/s of it"."""
    made = median * UNITS["bandwidth_mbps"][unit]
    return f"; is it in {unit}? add -u bandwidth_mbps={unit}, which makes {_figure(made)} Mbit/s of it"


def odd_latency(values: npt.NDArray[np.float64], said: bool) -> str | None:
    """A question about round trips in ms that no link has; None where there is none.

    Args:
        values: (rows,) NaN where there is none.
        said: the file says its unit; then short ones are believed.
    """
    above = values[values > 0.0]
    if not len(above):
        return None
    median = float(np.median(above))
    if median > SLOWEST_MS:
        unit = "us" if median < 1000.0 * SLOWEST_MS else "ns"
    elif median < FASTEST_MS and not said:
        unit = "s"
    else:
        return None
    made = median * UNITS["latency_ms"][unit]
    question = f"is it in {unit}? add -u latency_ms={unit}, which makes {_figure(made)} ms of it"
    return f"a median of {_figure(median)} ms; {question}"


def odd_loss(values: npt.NDArray[np.float64], said: bool) -> str | None:
    """A question about a packet loss that may be in percent; None where there is none. Arguments as `odd_latency`."""
    known = values[np.isfinite(values)]
    mean = float(np.mean(known)) if len(known) else 0.0
    if said or mean <= MOST_LOSS or not ((known > 0.0) & (known < 1.0)).any():
        return None
    return f"a mean loss of {100.0 * mean:.0f} %; is it in percent? add -u packet_loss=percent"


def unlike_training(trace: Trace, model: str, entry: Mapping[str, Any]) -> str | None:
    """A sentence when the trace's usual bandwidth lies far outside what a model was trained on; None when it does not.

    Args:
        trace: telemetry.
        model: what the sentence calls the model.
        entry: the model's in the manifest; nothing is said without trained_on.measured_range (of a model that takes any
            scale) or trained_on.target_range.
    """
    trained = entry["trained_on"].get("measured_range", entry["trained_on"].get("target_range"))
    rates = trace.features[:, BANDWIDTH]
    rates = rates[rates > 0.0]
    if trained is None or not len(rates):
        return None
    low, high = float(trained[0]), float(trained[1])
    median = float(np.median(rates))
    if low / FAR <= median <= high * FAR:
        return None
    unit = likely_unit(median, low, high)
    question = question_of(median, unit) if unit else "; scores and forecasts here say little about either"
    return (
        f"{trace.name}: a median of {_figure(median)} Mbit/s is far outside what {model} was trained on "
        f"({_figure(low)} to {_figure(high)}){question}"
    )
