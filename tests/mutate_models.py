"""Damaged .tflite files, drawn from a seed: structured mutations of the graph, and random damage of the bytes.

`mutants` makes them; `try_files` opens each in a child process with a limit on memory and time, and compares what runs
with TensorFlow Lite's own kernels on the same file. By hand, for a long run:

    python tests/mutate_models.py --count 20000 --seed 1 models/*.tflite
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema

from mutate_graph import EXTREMES, OF_GRAPHS
from mutate_tensors import OF_TENSORS

SECONDS = 10
"""Of the processor, that one file may take: loaded twice, run and compared."""
MEMORY = 1 << 30
"""Bytes that a child may take beyond what it has after its imports."""

STRUCTURED = OF_GRAPHS + OF_TENSORS


def structured(whole: bytes, draw: random.Random) -> tuple[str, bytes]:
    """One to three mutations of the graph; ("", b"") when none applies to this file, or it can't be written."""
    model = schema.ModelT.InitFromPackedBuf(whole, 0)
    labels = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        mutation = draw.choice(STRUCTURED)
        try:
            labels.append(mutation(model, draw))
        except (IndexError, TypeError, ValueError):  # an earlier mutation has taken away what this one needs
            continue
    label = "+".join(filter(None, labels))
    if not label:
        return "", b""
    builder = flatbuffers.Builder(len(whole))
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except Exception:
        return "", b""
    return label, bytes(builder.Output())


def damaged(whole: bytes, draw: random.Random, other: bytes) -> tuple[str, bytes]:
    """Flipped bits, overwritten numbers, a piece moved or taken from another file, or a cut."""
    content = bytearray(whole)
    what = draw.choice(("flip", "flip", "flip", "number", "splice", "cut"))
    ends = lambda: draw.choice((draw.randrange(len(content)), draw.randrange(min(3000, len(content)))))  # noqa: E731
    tail = lambda: len(content) - 1 - draw.randrange(min(12000, len(content)))  # noqa: E731
    if what == "flip":
        for _ in range(draw.choice((1, 1, 2, 4, 8))):
            content[draw.choice((ends, tail))()] ^= 1 << draw.randrange(8)
    elif what == "number":
        at = draw.choice((ends, tail))() & ~3
        content[at : at + 4] = (draw.choice(EXTREMES) & 0xFFFFFFFF).to_bytes(4, "little")
    elif what == "splice":
        size = draw.choice((1, 4, 16, 64, 1024))
        source = draw.choice((whole, other))
        start, at = draw.randrange(len(source)), draw.choice((ends, tail))()
        piece = source[start : start + size]
        if draw.random() < 0.3:
            content[at:at] = piece
        else:
            content[at : at + len(piece)] = piece
    else:
        content = content[: draw.randrange(1, len(content))]
    return what, bytes(content)


def mutants(
    sources: dict[str, bytes], count: int, seed: int, share_structured: float = 0.75
) -> Iterator[tuple[str, bytes]]:
    """`count` files as (label, content), the same for the same seed and sources."""
    draw = random.Random(seed)
    names = sorted(sources)
    made = 0
    while made < count:
        name = draw.choice(names)
        if draw.random() < share_structured:
            label, content = structured(sources[name], draw)
        else:
            label, content = damaged(sources[name], draw, sources[draw.choice(names)])
        if not content:
            continue
        yield f"{name}--{label}", content
        made += 1


CUT_AT: dict[str, Callable[[int], Iterable[int]]] = {
    "front": lambda size: range(1, 64),
    "steps": lambda size: range(64, size - 1, max(1, size // 60)),
    "end": lambda size: range(size - 64, size - 4),
}
"""Where a file is cut, by its size."""

CHILD = Path(__file__).with_name("open_damaged.py")


@dataclass
class Outcome:
    path: Path
    kind: str
    """"refused", "same", "differs", "memory", "hang" or "crash"."""
    text: str


def try_files(paths: Iterable[Path]) -> list[Outcome]:
    """Opens every file in a child; when one dies, the next child goes on behind the file that it died of."""
    left = [str(path) for path in paths]
    outcomes: list[Outcome] = []
    while left:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as listed:
            json.dump({"files": left, "seconds": SECONDS, "memory": MEMORY}, listed)
            listed.flush()
            command = [sys.executable, str(CHILD), listed.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        outcomes += [Outcome(Path(left[n]), answer["kind"], answer["text"]) for n, answer in enumerate(answers)]
        left = left[len(answers) :]
        if done.returncode != 0 and left:
            kind = "hang" if -done.returncode in (signal.SIGALRM, signal.SIGPROF) else "crash"
            words = f"exit {done.returncode}: {done.stderr[-600:]}"
            outcomes.append(Outcome(Path(left.pop(0)), kind, words))
        elif done.returncode == 0 and left:
            raise RuntimeError(f"the child left {len(left)} files: {done.stderr[-600:]}")
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="undamaged .tflite files")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for files that crash, hang, differ or take too much memory")
    arguments = parser.parse_args()
    sources = {path.stem: path.read_bytes() for path in arguments.models}
    totals: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    batch: list[Path] = []
    with tempfile.TemporaryDirectory() as folder:

        def flush() -> None:
            for outcome in try_files(batch):
                totals[outcome.kind] += 1
                if outcome.kind not in ("refused", "same"):
                    print(outcome.kind, outcome.path.name, outcome.text, flush=True)
                    if arguments.keep:
                        arguments.keep.mkdir(parents=True, exist_ok=True)
                        (arguments.keep / outcome.path.name).write_bytes(outcome.path.read_bytes())
            for path in batch:
                path.unlink()
            batch.clear()

        for index, (label, content) in enumerate(mutants(sources, arguments.count, arguments.seed)):
            path = Path(folder) / f"{index}-{label.replace('/', '_').replace(' ', '')[:120]}.tflite"
            path.write_bytes(content)
            batch.append(path)
            if len(batch) == 500:
                flush()
                print(
                    f"{index + 1} files, {time.monotonic() - started:.0f} s: {dict(totals)}",
                    file=sys.stderr,
                    flush=True,
                )
        flush()
    print(f"{sum(totals.values())} files, {time.monotonic() - started:.0f} s: {dict(totals)}")
    return int(any(totals[kind] for kind in ("crash", "hang", "memory", "differs")))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
