"""The command `linkcast`: each file beside this one is one subcommand."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from linkcast.cli.bench import bench
from linkcast.cli.decide import decide
from linkcast.cli.evaluate import evaluate
from linkcast.cli.export_edge import export_edge
from linkcast.cli.fleet import fleet
from linkcast.cli.forecast import forecast
from linkcast.cli.groups import groups
from linkcast.cli.inspect import inspect
from linkcast.cli.measure_codecs import measure_codecs
from linkcast.cli.predict import predict
from linkcast.cli.replay import replay
from linkcast.cli.train import train
from linkcast.console import fail, say_in_any_encoding

app = typer.Typer(
    name="linkcast",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import linkcast

        print(f"linkcast {linkcast.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Forecasts how much bandwidth a link or a service group needs next, and decides how much to allocate."""


for _command in (
    predict,
    forecast,
    decide,
    groups,
    replay,
    evaluate,
    inspect,
    bench,
    measure_codecs,
    train,
    export_edge,
):
    app.command()(_command)
app.add_typer(fleet, name="fleet")


def main() -> None:
    """Runs the command line; exit status 0, 1 after an error (one line on standard error), 2 for wrong usage."""
    say_in_any_encoding()
    try:
        app(prog_name="linkcast")
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, RuntimeError, ImportError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
