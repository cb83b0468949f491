"""`linkcast measure-codecs`: what compression costs and saves on this machine, for choosing a level by forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linkcast.cli.options import Json
from linkcast.console import print_json, show, table

MOST_BYTES = 8 << 20  # lzma takes a second for a few MB


def measure_codecs(
    file: Annotated[Path | None, typer.Argument(help="What is like the data to be sent; default: telemetry.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write the table to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure zlib, bz2 and lzma at several levels on this machine: the table that a compression level is chosen from.

    Of a file, the first 8 MB are taken. Speeds are of one thread; the ratio is compressed size to size.
    """
    from linkcast import compression

    if file is None:
        data, name = compression.sample_data(), "made-up telemetry"
    else:
        with file.open("rb") as opened:
            data, name = opened.read(MOST_BYTES), file.name
        if not data:
            raise ValueError(f"{name}: expected data to compress, got an empty file")
    codecs = compression.measure_codecs(data)
    if output is not None:
        compression.write_codecs(output, codecs, name, len(data))
    if as_json:
        print_json(compression.codecs_content(codecs, name, len(data)))
        return
    title = f"Codecs on {name}, {len(data):,} bytes"
    rows = table(title, "Codec", "Size", "Compress Mbit/s", "Decompress Mbit/s")
    for codec in codecs:
        rows.add_row(codec.name, f"{codec.ratio:.1%}", f"{codec.compress_mbps:,.1f}", f"{codec.decompress_mbps:,.1f}")
    show(rows)
