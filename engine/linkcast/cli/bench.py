"""`linkcast bench`: the latency certificate of this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkcast.cli.options import Json, Models
from linkcast.console import fail, note, print_json, show
from linkcast.files import write_text

if TYPE_CHECKING:
    from linkcast.bench import Certificate
    from linkcast.bench.compare import Comparison


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="In less than a minute, not in ten.")] = False,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.1, help="How long to measure, about.")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds that the run is spread over.")] = 10,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="LIST",
            help="Of lstm,ddqn,batch100,groups,push,advance, and push,lstm with _prepared or _ordinary_pages behind.",
        ),
    ] = None,
    rates: Annotated[
        str | None, typer.Option("--rates", metavar="LIST", help="Ticks per second; default: 1000,100,10.")
    ] = None,
    reference: Annotated[bool, typer.Option("--reference/--no-reference", help="TensorFlow Lite beside.")] = True,
    hogs: Annotated[bool, typer.Option("--hogs/--no-hogs", help="Also beside a CPU hog and a memory hog.")] = True,
    cpu: Annotated[int | None, typer.Option("--cpu", min=0, help="Measure on this CPU only.")] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", min=1, max=99, help="Measure with this real-time priority (SCHED_FIFO).")
    ] = None,
    hog_cpus: Annotated[str | None, typer.Option("--hog-cpus", metavar="A,B", help="Pin the two hogs.")] = None,
    isa: Annotated[
        str | None, typer.Option("--isa", metavar="NAME", help="Force scalar, neon, avx2 or avx512.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", metavar="NAME", help="Of the forecasters: float32, bfloat16 or int8.")
    ] = None,
    second_core: Annotated[
        str | None,
        typer.Option("--second-core", metavar="CPU", help="One window on two cores: the helper's CPU, or any."),
    ] = None,
    helper_spin: Annotated[
        int | None, typer.Option("--helper-spin", metavar="US", min=1, help="How long the helper stays awake.")
    ] = None,
    python: Annotated[bool, typer.Option("--python/--no-python", help="Also what only Python has.")] = True,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write the certificate.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE.html", help="Write it as one page with plots.")
    ] = None,
    read: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE.json", help="Measure nothing: show this certificate, of a board perhaps."),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", metavar="OLD.json", help="Show what changed since that certificate.")
    ] = None,
    fail_above: Annotated[
        float | None,
        typer.Option("--fail-above", metavar="PERCENT", min=0.0, help="Exit with 1 when a call became slower by more."),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Other runtimes on the same models instead; needs the peers extra.")
    ] = False,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", min=1, help="Windows of a call of --peers; default: 1 and 100.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of --peers as Markdown.")] = False,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Measure the latency of this machine: percentiles, budgets, verdict.

    Exit status: 0 when every budget is kept, 1 when a call takes too long, 3 when calls keep the budgets but this
    machine starts them too late. With --compare: 1 when --fail-above is exceeded, else 0.
    """
    if peers:
        _compare_peers(models, batch or [1, 100], seconds, markdown, as_json)
        return
    from linkcast.bench import read_certificate
    from linkcast.bench.compare import compare as compare_certificates
    from linkcast.bench.compare import remarks

    if fail_above is not None and compare is None:
        raise typer.BadParameter("needs --compare OLD.json", param_hint="--fail-above")
    old = None if compare is None else read_certificate(compare)  # a wrong file is refused before ten minutes of work
    if read is not None:
        certificate = read_certificate(read)
    else:
        options = ["--rounds", str(rounds)]
        options += ["--quick"] if quick else []
        options += [] if reference else ["--no-reference"]
        options += [] if hogs else ["--no-hogs"]
        valued = {"--seconds": seconds, "--only": only, "--rates": rates, "--isa": isa, "--precision": precision}
        valued |= {"--second-core": second_core, "--helper-spin": helper_spin}
        placed = {"--cpu": cpu, "--priority": priority, "--hog-cpus": hog_cpus}
        for name, value in {**valued, **placed}.items():
            options += [] if value is None else [name, str(value)]
        certificate = _measure(models, options, python)
    if output is not None:
        write_text(output, json.dumps(certificate.data, indent=1, ensure_ascii=False) + "\n")
        note(f"wrote {output}")
    if html is not None:
        from linkcast.bench.page import page

        write_text(html, page(certificate))
        note(f"wrote {html}")
    compared = None if old is None else compare_certificates(old, certificate)
    if as_json:  # as it was written, not rounded
        changes = {} if compared is None else {"changes": _changes(compared)}
        print(json.dumps({**certificate.data, **changes}, indent=2, ensure_ascii=False))
    else:
        from linkcast.bench.tables import certificate_tables, comparison_table

        width = shutil.get_terminal_size().columns
        items = certificate_tables(certificate, width)
        if old is not None and compared is not None:
            items += [comparison_table(compared, fail_above, width), *remarks(old, certificate)]
        show(*items)
    if compared is None:
        raise typer.Exit(certificate.exit_status)
    raise typer.Exit(1 if fail_above is not None and any(one.beyond(fail_above) for one in compared) else 0)


def _compare_peers(
    models: Path | None, batches: list[int], seconds: float | None, markdown: bool, as_json: bool
) -> None:
    from dataclasses import asdict

    from linkcast.bench import peers
    from linkcast.bench.tables import peer_tables
    from linkcast.engine import Engine

    engine = Engine(models)
    files = [Path(engine.model(name).path) for name in ("internet_lstm", "internet_ddqn")]
    try:
        rows, skipped = peers.compare_all(files, batches, *([] if seconds is None else [seconds / 4]))
    except ArithmeticError as error:  # a runtime answers something else
        fail(str(error))
    if as_json:
        print_json({"machine": peers.machine(), "skipped": skipped, "rows": [asdict(row) for row in rows]})
        return
    missing = ["\n".join(f"skipped: {reason}" for reason in skipped)] if skipped else []
    if markdown:
        print(peers.markdown(rows), "", peers.machine(), *missing, sep="\n")
    else:
        show(*peer_tables(rows), peers.machine(), *missing)


def _measure(models: Path | None, options: list[str], python: bool) -> Certificate:
    from linkcast import _native
    from linkcast.bench import measure

    certificate = measure(str(models) if models is not None else _native.Engine.default_folder(), *options)
    if python:
        from linkcast.bench.python_calls import measure_python

        certificate.data["python"] = measure_python(None if models is None else str(models))
    return certificate


def _changes(compared: list[Comparison]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [
        {
            **asdict(one.key),
            "median": asdict(one.median),
            "ratio": None if one.ratio is None else asdict(one.ratio),
            "p99": None if one.p99 is None else asdict(one.p99),
            "verdict": one.verdict,
        }
        for one in compared
    ]
