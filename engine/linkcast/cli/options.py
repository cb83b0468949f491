"""Options that several subcommands share."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from linkcast.engine import Engine
    from linkcast.groups import ServiceGroup
    from linkcast.traces import Layout


class Backend(str, Enum):
    """What runs a model."""

    AUTO = "auto"
    NATIVE = "native"
    TFLITE = "tflite"


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Models = Annotated[
    Path | None,
    typer.Option("--models", metavar="FOLDER", help="A folder with models/ and metadata/; default: the bundled one."),
]
BackendOption = Annotated[Backend, typer.Option("--backend", help="What runs the models.")]
PrecisionOption = Annotated[
    str,
    typer.Option("--precision", metavar="NAME", help="Of the forecaster's weights: float32, bfloat16 or int8."),
]


def complete_group(begun: str) -> list[str]:
    """The bundled service groups whose name begins so, for the shell's completion."""
    from linkcast import _native

    mappings = Path(_native.Engine.default_folder()) / "metadata" / "service_mappings.json"
    names = [entry["name"] for entry in json.loads(mappings.read_text(encoding="utf-8"))["groups"].values()]
    return [name for name in names if name.lower().startswith(begun.lower())]


def group_of(engine: Engine, name: str) -> ServiceGroup:
    """The service group of that name. ValueError names the known ones, and where a link's forecast comes from."""
    try:
        return engine.group(name)
    except ValueError as error:
        links = {engine.spec(model)["serves"] for model in engine.names if engine.spec(model)["role"] == "allocator"}
        if name not in links:
            raise
        raise ValueError(
            f"{error}: that is a link, whose forecast needs its telemetry: linkcast forecast FILE"
        ) from None


def complete_profile(begun: str) -> list[str]:
    """The profiles, for the shell's completion."""
    return [name for name in ("internet", "datacenter") if name.startswith(begun)]


Profile = Annotated[
    str,
    typer.Option(
        "--profile", "-p", help="The link's profile: internet or datacenter.", autocompletion=complete_profile
    ),
]
Usage = Annotated[
    float | None,
    typer.Option(
        "--usage",
        metavar="PERCENT",
        help="Share of the group's maximum in use now, 0 to 100; else what is typical.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="A device group, such as mobile; default: the mix of all."),
]
Capacity = Annotated[
    float | None,
    typer.Option("--capacity", metavar="MBPS", help="Capacity of the link; default: the one the allocator knows."),
]
_STEP_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


def layout(
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            "-c",
            metavar="NAME=SOURCE",
            help="Read a feature, timestamp, session or service_group from another column, or take a constant: "
            "bandwidth_mbps=ul_mbps, packet_loss=0. May be repeated.",
        ),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", "-u", metavar="NAME=UNIT", help="The unit of a column: bandwidth_mbps=kbit/s."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="COLUMN=PATTERN",
            help="Only rows whose value matches, as in a shell: 'modem=5G-*'. Repeated for one column: any of them.",
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step", metavar="TIME", help="Bring rows to an even step by time-weighted means: 1s, 500ms, 30min."
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping",
            metavar="FILE.json",
            help='These options from a file: {"columns": {...}, "units": {...}, "where": {...}, "step": "1s", '
            '"separator": ";", "decimal": ",", "timezone": "Europe/Berlin", "day_first": true, "missing": -1}.',
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            "--separator", metavar="CHAR", help="Between the cells of a text file: ';' or tab; default: looked for."
        ),
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(
            "--decimal", metavar="SIGN", help="The decimal sign of a text file, '.' or ','; default: looked for."
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone", metavar="ZONE", help="The site's time zone, whose clock is the calendar: Europe/Berlin."
        ),
    ] = None,
    day_first: Annotated[
        bool | None,
        typer.Option(
            "--day-first/--month-first", help="How 02/01/2026 is read; default: looked for.", show_default=False
        ),
    ] = None,
    missing: Annotated[
        float | None, typer.Option("--missing", metavar="NUMBER", help="A number that stands for no value, such as -1.")
    ] = None,
) -> Layout:
    """How a trace is read: what the mapping file says, and over it what the options say.

    Raises:
        typer.BadParameter: an assignment without "=", or a step that is no time.
        ValueError: the mapping file is not the JSON that it should be, or names what there is not.
        OSError: it cannot be read.
    """
    from linkcast.traces import Layout

    stated = _read_mapping(mapping) if mapping is not None else {}
    columns: dict[str, str | float] = dict(stated.get("columns", {}))
    for feature, source in _assignments(column, "--column"):
        columns[feature] = _number(source)
    patterns: dict[str, list[str]] = {}
    for name, pattern in _assignments(where, "--where"):
        patterns.setdefault(name, []).append(pattern)
    written = step if step is not None else stated.get("step")
    given = {
        "separator": separator,
        "decimal": decimal,
        "timezone": timezone,
        "day_first": day_first,
        "missing": missing,
    }
    how: dict[str, Any] = {name: stated.get(name) if value is None else value for name, value in given.items()}
    if how["separator"] in ("tab", "\\t"):
        how["separator"] = "\t"
    return Layout(
        columns,
        {**stated.get("units", {}), **dict(_assignments(unit, "--unit"))},
        {**stated.get("where", {}), **patterns},
        None if written is None else _seconds(written),
        **how,
    )


def _read_mapping(path: Path) -> dict[str, Any]:
    """The parsed mapping file, each part of the type that it should be."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: expected JSON: {error}") from error
    parts: dict[str, Any] = {"columns": dict, "units": dict, "where": dict, "step": str, "separator": str}
    parts |= {"decimal": str, "timezone": str, "day_first": bool, "missing": (int, float)}
    if not isinstance(content, dict) or not set(content) <= set(parts):
        raise ValueError(f"{path.name}: expected an object with {', '.join(parts)}, got {str(content)[:80]}")
    for name, value in content.items():
        if not isinstance(value, parts[name]):
            kind = "number" if name == "missing" else parts[name].__name__
            raise ValueError(f"{path.name}: {name}: expected a {kind}, got {value!r}")
    where = content.get("where", {})
    content["where"] = {name: [value] if isinstance(value, str) else value for name, value in where.items()}
    return content


def _assignments(assignments: list[str] | None, option: str) -> list[tuple[str, str]]:
    """["bandwidth_mbps=ul_mbps"] -> [("bandwidth_mbps", "ul_mbps")]."""
    pairs = []
    for assignment in assignments or []:
        name, separator, value = assignment.partition("=")
        if not separator or not name or not value:
            raise typer.BadParameter(f"expected NAME=VALUE, got {assignment!r}", param_hint=option)
        pairs.append((name, value))
    return pairs


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _seconds(text: str) -> float:
    """ "500ms" -> 0.5."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip() or "s"
    try:
        return float(number) * _STEP_UNITS[unit]
    except (KeyError, ValueError):
        known = ", ".join(_STEP_UNITS)
        raise typer.BadParameter(f"expected a time such as 1s ({known}), got {text!r}", param_hint="--step") from None


def reads_traces(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `reading: Layout` the options of `layout` take the place of."""
    options = inspect.signature(layout).parameters
    hints = get_type_hints(layout, localns={"Layout": Any}, include_extras=True)
    own = get_type_hints(command, localns={"Layout": Any}, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name == "reading":
            parameters += [one.replace(kind=parameter.kind, annotation=hints[key]) for key, one in options.items()]
        else:
            parameters.append(parameter.replace(annotation=own[name]))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        reading = layout(**{name: given.pop(name) for name in options})
        command(reading=reading, **given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
