"""Soak test: a loop at 1 kHz with reloads, bad input, telemetry that stops and forks, for as long as is asked.

    python tests/soak/run.py --minutes 10
    python tests/soak/run.py --minutes 600 --json soak.jsonl

Prints the slope of the resident memory, how the 99.9th percentile of a tick moved, and what was counted. Exit status 1
when something came back that the header does not say, when a child of fork() did not go on, or, over five minutes or
more, when memory grows by more than 50 kB a minute.

Memory is what is resident while no reload is under way; its slope is the median of the slopes of all pairs of samples
(Theil and Sen), behind a start in which the heap grows to two engines once. Latency is that of this machine with what
else it does, so it is told, not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
MOST_KB_A_MINUTE = 50.0
JUDGED_MINUTES = 5.0  # a shorter run is no base for a slope
START_SHARE = 0.2  # of a run, left out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--reload-every", type=float, default=6.0, metavar="SECONDS")
    parser.add_argument("--program", type=Path, help="soak, built already; default: it is built in build/soak")
    parser.add_argument("--json", type=Path, help="where the lines of every second are kept")
    asked = parser.parse_args()
    program = asked.program.resolve() if asked.program else build()
    with tempfile.TemporaryDirectory(prefix="linkcast-soak-") as folder:
        status, lines = soak(program, asked.minutes, asked.reload_every, Path(folder))
    if asked.json:
        asked.json.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if not lines:
        print(f"no line came: exit status {status}", file=sys.stderr)
        return 1
    print(text_of(lines))
    if status != 0:
        print(f"the loop ended with exit status {status}", file=sys.stderr)
        return 1
    slope = slope_of(lines, "rss_kb")
    if asked.minutes >= JUDGED_MINUTES and not slope <= MOST_KB_A_MINUTE:
        print(f"memory: expected at most {MOST_KB_A_MINUTE:g} kB a minute, got {slope:.1f}", file=sys.stderr)
        return 1
    return 0


def build() -> Path:
    """The program, built from this source tree."""
    folder = ROOT / "build" / "soak"
    options = ["-DLINKCAST_BUILD_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}"]
    subprocess.run(["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *options], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "--target", "soak"], check=True, stdout=subprocess.DEVNULL)
    return folder / "cpp" / "tests" / "soak"


def soak(program: Path, minutes: float, reload_every: float, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Runs it on two copies of the bundle, one of them damaged; its exit status and its lines."""
    for name in ("good", "bad"):
        for part in ("models", "metadata"):
            shutil.copytree(ROOT / part, folder / name / part)
    os.truncate(folder / "bad" / "models" / "internet_ddqn.tflite", 2000)
    command = [program, str(60.0 * minutes), str(reload_every), folder / "good", folder / "bad"]
    environment = {**os.environ}
    if "LINKCAST_TFLITE_LIBRARY" not in environment:
        from linkcast import _native

        environment["LINKCAST_TFLITE_LIBRARY"] = str(Path(_native.__file__).parent / "libtensorflowlite_c.so")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [json.loads(line) for line in process.stdout]
    return process.returncode, lines


def slope_of(lines: list[dict[str, Any]], key: str) -> float:
    """Units a minute, of the samples without a reload, behind the start; NaN with fewer than two.

    The last line is the sum of the run and no sample.
    """
    begin = START_SHARE * lines[-1]["t_s"]
    kept = [line for line in lines[:-1] if line["t_s"] >= begin and not line["reloading"]]
    kept = kept[:: max(len(kept) // 1000, 1)]
    minutes = np.array([line["t_s"] / 60.0 for line in kept])
    values = np.array([float(line[key]) for line in kept])
    first, second = np.triu_indices(len(kept), k=1)
    if not len(first):
        return float("nan")
    return float(np.median((values[second] - values[first]) / (minutes[second] - minutes[first])))


def text_of(lines: list[dict[str, Any]]) -> str:
    """What a run was like."""
    last, samples = lines[-1], lines[:-1]
    idle = [line["rss_kb"] for line in samples if not line["reloading"]] or [last["rss_kb"]]
    thirds = [part for part in np.array_split(np.arange(len(samples)), 3) if len(part)]
    tails = [np.median([samples[k]["p999_us"] for k in part]) for part in thirds]
    return "\n".join(
        [
            f"{last['ticks']:,} ticks in {last['t_s'] / 60.0:.1f} min, {last['late']:,} began late; "
            f"{last['reloads']} reloads and {last['refused_reloads']} refused, "
            f"{last['bad_inputs']:,} bad inputs refused, "
            f"{last['silent']:,} ticks without telemetry, {last['forks']} forks; {last['unexpected']} unexpected",
            f"memory: {slope_of(lines, 'rss_kb'):+.1f} kB a minute resident, {min(idle):,} to {max(idle):,} kB; "
            f"heap in use {slope_of(lines, 'heap_in_use') / 1024.0:+.1f} kB a minute",
            "p99.9 of a tick, us, by thirds of the run: " + ", ".join(f"{tail:.0f}" for tail in tails),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
