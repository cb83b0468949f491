"""The training report: a Markdown file beside the manifest, and tables for the terminal, both from the manifest."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from linkcast.evaluation import baseline_label

Json = dict[str, Any]


def forecaster_table(manifest: Json) -> Table:
    """Every forecaster and fallback on held-out data, one line for the model and one for each baseline."""
    title = "Forecasts on held-out data, one step ahead (shares and MAPE in %, MAE in Mbit/s)"
    table = Table(title=title, title_justify="left")
    table.add_column("Model", no_wrap=True)
    table.add_column("Forecast by", no_wrap=True)
    for heading in ("in 2 %", "in 10 %", "MAE", "MAPE", "R2"):
        table.add_column(heading, justify="right")
    for name, entry in manifest["models"].items():
        if entry["role"] == "allocator":
            continue
        for row, (method, scores) in enumerate(_methods(entry["skill"])):
            style = "bold" if row == 0 else None
            table.add_row(name if row == 0 else "", method, *_score_cells(scores), style=style)
        table.add_section()
    return table


def allocator_table(manifest: Json) -> Table:
    """Every allocator's mean reward beside the rules'."""
    table = Table(title="Allocation, mean reward per step on held-out episodes", title_justify="left")
    table.add_column("Model", no_wrap=True)
    table.add_column("Policy", no_wrap=True)
    table.add_column("Reward", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, entry in manifest["models"].items():
        if entry["role"] != "allocator":
            continue
        for row, (policy, score) in enumerate(_policies(entry["skill"])):
            style = "bold" if row == 0 else None
            cells = (f"{score['reward']:.4f}", f"± {score['interval']:.4f}")
            table.add_row(name if row == 0 else "", policy, *cells, style=style)
        table.add_section()
    return table


def markdown(manifest: Json) -> str:
    """The whole report."""
    training = manifest["training"]
    lines = [
        "# Training report",
        "",
        f"{manifest['generator']}, {manifest['created']}, seed {manifest['seed']}, "
        f"{training['mode']} run, {training['seconds']:.0f} s.",
        "",
    ]
    if training["mode"] == "quick":
        lines += ["A quick run goes through every step with few epochs and episodes: its models are not good.", ""]
    if training["carried_over"]:
        lines += [f"Not trained here, carried over from the base bundle: {', '.join(training['carried_over'])}.", ""]
    lines += [
        "The scores are of the written .tflite files, on traces, moments or episodes that took no part in training. "
        "Scores on simulated data hold for the simulator's noise, which stands beside them; they say nothing about a "
        "real link. MAPE leaves out rows whose target is zero.",
        "",
        "## Forecasters and fallbacks",
        "",
        "| model | forecast by | within 2 % | within 10 % | MAE [Mbit/s] | MAPE [%] | R2 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    forecasters = {name: entry for name, entry in manifest["models"].items() if entry["role"] != "allocator"}
    for name, entry in forecasters.items():
        for row, (method, scores) in enumerate(_methods(entry["skill"])):
            lines.append(f"| {_first(name, row)} | {method} | {' | '.join(_score_cells(scores))} |")
    lines.append("")
    lines += [f"- **{name}**: {entry['skill']['verdict']} {_origin(entry)}" for name, entry in forecasters.items()]
    lines += [
        "",
        "## Allocators",
        "",
        "| model | policy | reward | 95 % interval |",
        "| --- | --- | ---: | ---: |",
    ]
    allocators = {name: entry for name, entry in manifest["models"].items() if entry["role"] == "allocator"}
    for name, entry in allocators.items():
        for row, (policy, score) in enumerate(_policies(entry["skill"])):
            lines.append(f"| {_first(name, row)} | {policy} | {score['reward']:.4f} | ± {score['interval']:.4f} |")
    lines.append("")
    lines += [f"- **{name}**: {entry['skill']['verdict']}" for name, entry in allocators.items()]
    lines += ["", "## Settings", "", "| setting | value |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in _flat(training["settings"])]
    lines += ["", *(f"- {note}" for note in training["notes"]), ""]
    return "\n".join(lines)


def _methods(skill: Json) -> list[tuple[str, Json]]:
    return [("model", skill["model"]), *((baseline_label(name), row) for name, row in skill["baselines"].items())]


def _policies(skill: Json) -> list[tuple[str, Json]]:
    return [("model", skill["model"]), *skill["baselines"].items()]


def _score_cells(scores: Json) -> list[str]:
    return [
        f"{100 * scores['within_2_percent']:.1f}",
        f"{100 * scores['within_10_percent']:.1f}",
        f"{scores['mae']:.3f}",
        "-" if scores["mape"] is None else f"{scores['mape']:.2f}",
        "-" if scores["r2"] is None else f"{scores['r2']:.3f}",
    ]


def _first(name: str, row: int) -> str:
    return name if row == 0 else ""


def _origin(entry: Json) -> str:
    trained_on = entry["trained_on"]
    if trained_on["source"] != "simulated":
        return f"Trained on {trained_on['file']}, split {trained_on['split']}."
    noise = ", ".join(f"{name.replace('_', ' ')} {_percent(value)}" for name, value in trained_on["noise"].items())
    return f"Simulated; relative noise: {noise}."


def _percent(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return " to ".join(f"{100 * number:g} %" for number in values)


def _flat(settings: Json, prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in settings.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return rows
