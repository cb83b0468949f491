"""Which of two paths to send over: the one with the best P10 over the next seconds, left only for a clearly better one.

python examples/python/route.py [seconds]
"""

from __future__ import annotations

import math
import sys

import linkcast

PATHS = ("fibre", "lte")
HORIZON = 5  # steps ahead, seconds here


def measure(second: int) -> list[list[float]]:
    """(paths, 4), made up here: latency_ms, bandwidth_mbps, packet_loss, reliability. The fibre fails for a while."""
    fibre_mbps = 0.2 if 40 <= second < 70 else 20 + math.sin(second)
    return [[12.0, fibre_mbps, 0.0, 1.0], [45.0, 8 + 2 * math.sin(second / 3), 0.01, 0.98]]


def main(seconds: int) -> None:
    """Prints every change of the path."""
    engine = linkcast.Engine()
    streams = [engine.stream("internet", horizon=HORIZON) for _ in PATHS]
    chooser = linkcast.RouteChooser(len(PATHS), margin=0.2, stay_s=5.0)
    for second in range(seconds):
        p10 = []
        for stream, sample in zip(streams, measure(second), strict=True):
            stream.push(sample)
            stream.advance()
            ahead = [stream.horizon(steps) for steps in range(1, HORIZON + 1)]
            p10.append([math.nan if answer is None else answer.p10 for answer in ahead])
        choice = chooser.choose(p10, now_s=float(second))
        if choice.changed and choice.path is not None:
            print(f"second {second}: over {PATHS[choice.path]}, {choice.mbps:.1f} Mbit/s or more nine times in ten")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 120)
