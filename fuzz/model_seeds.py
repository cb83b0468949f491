"""Writes fuzz/seeds/model/: small .tflite files of every kind that tests/make_models.py knows, for the model targets.

`python fuzz/model_seeds.py`, by hand, when there is another kind: it needs TensorFlow. Files of more than 24 kB are
left out, and the folder's size is told: it is committed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).with_name("seeds") / "model"
MOST_BYTES = 24_000
SKIPPED = ("_batch_", "unrolled_", "while_no_bias", "two_", "random_", "plain_")
"""In names of those that are like another one, or are refused at once."""


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from make_models import MODELS

    FOLDER.mkdir(parents=True, exist_ok=True)
    total = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, build in MODELS.items():
            if any(part in name for part in SKIPPED):
                continue
            path = Path(scratch) / f"{name}.tflite"
            build(path)
            content = path.read_bytes()
            if len(content) <= MOST_BYTES:
                (FOLDER / path.name).write_bytes(content)
                total += len(content)
            print(name, len(content))
    print(f"{total / 1000:.0f} kB in {FOLDER}")


if __name__ == "__main__":
    main()
