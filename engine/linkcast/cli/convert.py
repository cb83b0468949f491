"""`linkcast convert`: a Keras model as a .tflite file, what will run it, and how far its answers are from Keras'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from linkcast.cli.options import Json
from linkcast.console import show, table
from linkcast.files import write_whole

SUFFIX = ".tflite"


def convert(
    model: Annotated[Path, typer.Argument(help="A .keras or .h5 file, of Keras 3 or of the legacy Keras.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.tflite", help="Default: the same name, ending in .tflite."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert a Keras model to a .tflite file of batch 1, and say what will run it."""
    target = output or model.with_suffix(SUFFIX)
    if target.suffix != SUFFIX:
        raise typer.BadParameter(f"expected a name that ends in {SUFFIX}, got {target.name}", param_hint="--output")
    if not target.parent.is_dir():
        raise typer.BadParameter(f"{target.parent}: no such folder", param_hint="--output")
    from linkcast.training.start import check_installed

    check_installed("tensorflow", "tf_keras")
    from linkcast.training.keras_file import saved_by

    version = saved_by(model)
    from linkcast.training.convert import convert_file

    done = convert_file(model)
    write_whole(target, done.content)
    import linkcast

    converted = linkcast.Model(target)
    isa = f" ({converted.isa})" if converted.backend == "native" else ""
    if as_json:
        print(
            json.dumps(  # its numbers are small: not rounded
                {
                    "model": str(model),
                    "output": str(target),
                    "bytes": len(done.content),
                    "saved_by_keras": version,
                    "rebuilt": done.rebuilt,
                    "notes": list(done.notes),
                    "backend": converted.backend,
                    "backend_reason": converted.backend_reason,
                    "isa": converted.isa,
                    "input_shape": list(converted.input_shape),
                    "output_shape": list(converted.output_shape),
                    "samples": done.samples,
                    "largest_difference": done.difference,
                    "largest_answer": done.largest,
                },
                indent=2,
            )
        )
        return
    rows = table(f"{model.name} is now {target} ({len(done.content):,} bytes)")
    rows.show_header = False
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("saved by", f"Keras {version}" + ("" if version > 2 else ", the legacy one"))
    rows.add_row("input", str(tuple(converted.input_shape)))
    rows.add_row("output", str(tuple(converted.output_shape)))
    rows.add_row("runs on", f"{_NAMES[converted.backend]}{isa}: {converted.backend_reason}")
    rows.add_row(
        "differs",
        f"by at most {done.difference:.1g} from Keras' own answers to {done.samples} random inputs (the largest of "
        f"them is {done.largest:.3g})",
    )
    for note in done.notes:
        rows.add_row("note", note)
    show(rows)


_NAMES = {"native": "the native kernels", "tflite": "TensorFlow Lite's own kernels"}
