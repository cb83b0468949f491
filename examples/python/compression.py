"""Which codec to send a file with: the one with the least transfer time for what the link is forecast to carry.

linkcast measure-codecs sample.log --output codecs.json
python examples/python/compression.py codecs.json [megabytes]
"""

from __future__ import annotations

import math
import sys

import linkcast


def measure(second: int, mbps: float) -> list[float]:
    """Made up here: latency_ms, bandwidth_mbps, packet_loss, reliability."""
    return [40.0, mbps * (1 + 0.2 * math.sin(second)), 0.0, 1.0]


def main(table: str, megabytes: float) -> None:
    """Prints the choice on a slow, a middling and a fast link."""
    codecs = linkcast.read_codecs(table)
    engine = linkcast.Engine()
    for mbps in (0.5, 10.0, 200.0):
        stream = engine.stream("internet")
        for second in range(40):
            answer = stream.push(measure(second, mbps))
            stream.advance()
        choice = linkcast.choose_compression(codecs, megabytes * 1e6, answer)
        name = "no codec" if choice.codec is None else choice.codec.name
        print(
            f"P10 {answer.p10:.2f} Mbit/s: {name}, {megabytes:g} MB in {choice.seconds:.2f} s "
            f"({choice.seconds_p90:.2f} s where the link carries its P90)"
        )


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
