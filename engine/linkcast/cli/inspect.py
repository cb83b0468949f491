"""`linkcast inspect`: the operators, shapes and sizes of a model, and what runs where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkcast.cli.options import Backend, BackendOption, Json, Models, PrecisionOption
from linkcast.console import print_json, show, table

if TYPE_CHECKING:
    from linkcast._native import Model


def inspect(
    model: Annotated[str, typer.Argument(help="A model of the bundle, such as internet_lstm, or a .tflite file.")],
    models: Models = None,
    backend: BackendOption = Backend.AUTO,
    precision: PrecisionOption = "float32",
    as_json: Json = False,
) -> None:
    """Show what is in a model and what runs it."""
    found, metadata = _open(model, models, backend.value, precision)
    summary = {
        "path": found.path,
        "bytes": Path(found.path).stat().st_size,
        "backend": found.backend,
        "backend_reason": found.backend_reason,
        "isa": found.isa,
        "precision": found.precision,
        "kernels": found.kernels,
        "kernel_choices": found.kernel_choices(),
        "input_shape": list(found.input_shape),
        "output_shape": list(found.output_shape),
        "inputs": {name: list(tensor.shape) for name, tensor in found.inputs.items()},
        "outputs": {name: list(tensor.shape) for name, tensor in found.outputs.items()},
        **metadata,
        "details": found.details(),
        "operators": found.operators(),
    }
    if as_json:
        print_json(summary)
        return
    show(_summary_table(model, summary), _operator_table(summary["operators"]))


def _open(name: str, folder: Path | None, backend: str, precision: str) -> tuple[Model, dict[str, Any]]:
    """The model, and what the bundle's metadata says about it (nothing for a bare file)."""
    import linkcast

    if name.endswith(".tflite"):
        return linkcast.Model(name, backend, precision=precision), {}
    engine = linkcast.Engine(folder, backend, precision=precision)
    if name not in engine.names:
        raise ValueError(f"model: expected a .tflite file or one of {', '.join(engine.names)}, got {name!r}")
    metadata: dict[str, Any] = {"metadata": dict(engine.spec(name))}
    certificate = engine.manifest["models"][name].get("certificate")
    if certificate is not None:
        metadata["certificate"] = certificate
    return engine.model(name), metadata


def _summary_table(name: str, summary: dict[str, Any]) -> Any:
    rows = table(name)
    rows.show_header = False
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("file", f"{summary['path']} ({summary['bytes']:,} bytes)")
    spec = summary.get("metadata")
    if spec is not None:
        rows.add_row("role", f"{spec['role']} for {spec['serves']}")
        rows.add_row("features", ", ".join(f"{f} [{u}]" for f, u in zip(spec["features"], spec["units"], strict=True)))
        rows.add_row("sha256", f"{spec['sha256'][:16]}…")
    for edge in ("inputs", "outputs"):
        named = summary[edge]
        shapes = [f"{name} {_shape(shape)}" if len(named) > 1 else _shape(shape) for name, shape in named.items()]
        rows.add_row(edge[:-1], ", ".join(shapes))
    isa = f" ({summary['isa']})" if summary["backend"] == "native" else ""
    rows.add_row("backend", f"{summary['backend']}{isa}: {summary['backend_reason']}")
    if summary["kernels"]:
        rows.add_row("kernels", summary["kernels"])
    for of, choice in summary["kernel_choices"].items():
        if choice["us"]:
            took = ", ".join(f"{kernels} {us:.3g} us" for kernels, us in choice["us"].items())
            rows.add_row(f"measured, {of}", took)
    if "certificate" in summary:
        _add_certificate(rows, summary["certificate"])
    for key, value in summary["details"].items():
        if key in ("path", "file_bytes"):  # stand above
            continue
        shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        rows.add_row(str(key).replace("_", " "), shown)
    return rows


def _add_certificate(rows: Any, certificate: dict[str, Any]) -> None:
    rows.add_row("guarantees", "; ".join(certificate["guarantees"]))
    rows.add_row("by", certificate["method"])
    box = (f"{name} {low:g} to {high:g}" for name, (low, high) in certificate["state_range"].items())
    rows.add_row("trained box", ", ".join(box))
    sweep, alone = certificate["sweep"], certificate["network_alone"]
    pairs, found = sweep["pairs"] + sweep["grid_pairs"], sum(sweep["violations"]) + sum(sweep["grid_violations"])
    rows.add_row(
        "sweep",
        f"{pairs:,} pairs of states, {found} violations; the network alone has {sum(alone['violations']):,} in "
        f"{sweep['pairs']:,}",
    )


def _operator_table(operators: Sequence[dict[str, Any]]) -> Any:
    left = ("Operator", "Input", "Output", "Runs on")
    rows = table("Operators, in order", *left[:3], "Constants", left[3], left=left)
    for operator in operators:
        rows.add_row(
            operator["name"],
            _shape(operator["inputs"][0]) if operator["inputs"] else "",
            " ".join(map(_shape, operator["outputs"])),
            f"{operator['constant_bytes']:,} B",
            operator["runs_on"],
        )
    return rows


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"
