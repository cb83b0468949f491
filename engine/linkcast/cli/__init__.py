"""The command `linkcast`: each file beside this one is one subcommand."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from linkcast.cli.bench import bench
from linkcast.cli.convert import convert
from linkcast.cli.decide import decide
from linkcast.cli.evaluate import evaluate
from linkcast.cli.explain import explain
from linkcast.cli.export_edge import export_edge
from linkcast.cli.fleet import fleet
from linkcast.cli.forecast import forecast
from linkcast.cli.groups import groups
from linkcast.cli.inspect import inspect
from linkcast.cli.measure_codecs import measure_codecs
from linkcast.cli.predict import predict
from linkcast.cli.replay import replay
from linkcast.cli.run import run
from linkcast.cli.sign import keygen, sign, verify
from linkcast.cli.train import train
from linkcast.cli.watch import watch
from linkcast.console import fail, say_in_any_encoding

_NEGATIVE = re.compile(r"-((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|nan)", re.IGNORECASE)

app = typer.Typer(
    name="linkcast",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Command(TyperCommand):
    """One whose arguments may be negative numbers: "-1" is no option; what takes the number says whether it may be."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f" {arg}" if _NEGATIVE.fullmatch(arg) else arg for arg in args])


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
    cmakedir: Annotated[
        bool, typer.Option("--cmakedir", help="Print the folder of linkcast-config.cmake, for C and C++, and exit.")
    ] = False,
    includedir: Annotated[
        bool, typer.Option("--includedir", help="Print the folder of the C and C++ headers and exit.")
    ] = False,
    pkgconfigdir: Annotated[
        bool, typer.Option("--pkgconfigdir", help="Print the folder of linkcast.pc, for pkg-config, and exit.")
    ] = False,
    godir: Annotated[bool, typer.Option("--godir", help="Print the folder of the Go module and exit.")] = False,
) -> None:
    """Forecasts how much bandwidth a link or a service group needs next, and decides how much to allocate."""


for _command in (
    predict,
    forecast,
    decide,
    groups,
    replay,
    explain,
    watch,
    run,
    evaluate,
    inspect,
    bench,
    measure_codecs,
    train,
    convert,
    export_edge,
    keygen,
    sign,
    verify,
):
    app.command(cls=_Command)(_command)
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
