"""The training report: a Markdown file beside the manifest, and tables for the terminal, both from the manifest."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.table import Table

from linkcast.console import table
from linkcast.evaluation import baseline_label
from linkcast.training.warm_start import sentence

Json = dict[str, Any]
MSE = 3  # its place among the cells of `_score_cells`


def forecaster_table(manifest: Json, names: Collection[str]) -> Table:
    """The named forecasters and fallbacks on held-out data, one line for the model and one for each baseline."""
    title = "Forecasts on held-out data, one step ahead (shares and MAPE in %, MAE in Mbit/s)"
    left = ("Model", "Forecast by")
    made = table(title, *left, "in 2 %", "in 10 %", "MAE", "MAPE", "R2", left=left)
    for name, entry in manifest["models"].items():
        if entry["role"] == "allocator" or name not in names:
            continue
        for label, skill in _cards(name, entry["skill"]):
            for row, (method, scores) in enumerate(_methods(skill)):
                cells = [cell for index, cell in enumerate(_score_cells(scores)) if index != MSE]
                made.add_row(label if row == 0 else "", method, *cells, style="bold" if row == 0 else None)
            made.add_section()
    return made


def allocator_table(manifest: Json, names: Collection[str]) -> Table:
    """The named allocators' mean reward beside the rules' and the oracle's, and what they gain over each."""
    title, left = "Allocation, mean reward per step on held-out episodes", ("Model", "Policy")
    made = table(title, *left, "Reward", "95 % interval", "Model's gain", left=left)
    for name, entry in manifest["models"].items():
        if entry["role"] != "allocator" or name not in names:
            continue
        for row, (policy, score) in enumerate(_policies(entry["skill"])):
            style = "bold" if row == 0 else None
            made.add_row(name if row == 0 else "", policy, *_reward_cells(score), style=style)
        made.add_section()
    return made


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
        "real link. MAPE leaves out rows whose target is zero. Skill is 1 - MAE / MAE of the best naive forecast; its "
        "95 % interval is from a block bootstrap. The AR(10) is fitted on the training part, or, on a held-out trace, "
        "on what came before. LightGBM (L1) is fitted on the training part; it is a reference, not "
        "a naive forecast.",
        "",
        "## Forecasters and fallbacks",
        "",
        "| model | forecast by | within 2 % | within 10 % | MAE [Mbit/s] | MSE | MAPE [%] | R2 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    forecasters = {name: entry for name, entry in manifest["models"].items() if entry["role"] != "allocator"}
    for name, entry in forecasters.items():
        for label, skill in _cards(name, entry["skill"]):
            for row, (method, scores) in enumerate(_methods(skill)):
                lines.append(f"| {_first(label, row)} | {method} | {' | '.join(_score_cells(scores))} |")
    lines.append("")
    for name, entry in forecasters.items():
        for label, skill in _cards(name, entry["skill"]):
            origin = f" {_origin(entry['trained_on'])}" if label == name else ""
            if "start" in skill:
                lines.append(f"- {sentence(name, skill)}")
            lines.append(f"- **{label}**: {skill['verdict']}{_interval(skill)}{origin}")
    lines += _links(forecasters)
    lines += _ablation(forecasters)
    lines += [
        "",
        "## Allocators",
        "",
        "Mean reward per step over test seeds, the model's gain over each rule paired seed by seed, both with 95 % "
        "intervals. The oracle knows the next load and takes the best action for one step.",
        "",
        "| model | policy | reward | 95 % interval | model's gain |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    allocators = {name: entry for name, entry in manifest["models"].items() if entry["role"] == "allocator"}
    for name, entry in allocators.items():
        for row, (policy, score) in enumerate(_policies(entry["skill"])):
            lines.append(f"| {_first(name, row)} | {policy} | {' | '.join(_reward_cells(score))} |")
    lines.append("")
    lines += [f"- **{name}**: {entry['skill']['verdict']}" for name, entry in allocators.items()]
    lines += ["", "## Settings", "", "| setting | value |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in _flat(training["settings"])]
    lines += ["", *(f"- {note}" for note in training["notes"]), ""]
    return "\n".join(lines)


RIVALS = {
    "model": "the model",
    "unseen": "without its family",
    "classic": "classic recipe",
    "linear": "linear",
}


def _links(forecasters: Json) -> list[str]:
    """Every link's held-out part: the model and its rivals against the best naive rule in hindsight."""
    lines: list[str] = []
    for name, entry in forecasters.items():
        compared = entry["skill"].get("links")
        if not compared:
            continue
        rivals = [rival for rival in RIVALS if rival in compared]
        lines += [
            "",
            f"## Link by link: {name}",
            "",
            "Skill over the best naive rule in hindsight [%] on the held-out part of each link (at most 20,000 windows "
            "of it, evenly spread); among the rules are EWMAs of four weights and an AR(10) that is refitted on the "
            "link's own past. Without its family: a forecaster with a shorter training that has seen no trace of the "
            "link's data set. Classic recipe: Adam at 1e-3, squared error, batch 32. Linear: on the network's inputs, "
            "L1.",
            "",
            f"| link | best naive rule | its MAE [Mbit/s] | {' | '.join(RIVALS[rival] for rival in rivals)} |",
            f"| --- | --- | ---: |{' ---: |' * len(rivals)}",
        ]
        for link, row in compared["model"].items():
            cells = [_percent_skill(compared[rival].get(link, {}).get("skill")) for rival in rivals]
            rule = row["best_naive"].replace("_", " ")
            lines.append(f"| {link} | {rule} | {row['naive_mae']:.4f} | {' | '.join(cells)} |")
        means = []
        for rival in rivals:
            skills = [row["skill"] for row in compared[rival].values() if row["skill"] is not None]
            means.append(_percent_skill(sum(skills) / len(skills) if skills else None))
        lines.append(f"| mean |  |  | {' | '.join(means)} |")
    return lines


def _percent_skill(skill: float | None) -> str:
    return "-" if skill is None else f"{100 * skill:+.1f}"


def _ablation(forecasters: Json) -> list[str]:
    """What the group forecasters are without their calendar or their telemetry."""
    ablated = {name: entry["skill"]["ablation"] for name, entry in forecasters.items() if "ablation" in entry["skill"]}
    if not ablated:
        return []
    methods = "; ".join(dict.fromkeys(ablation["method"] for ablation in ablated.values()))
    lines = [
        "",
        "## Calendar and telemetry",
        "",
        f"MAE [Mbit/s] of the group forecasters on their test windows, with {methods}. Course: the telemetry's level "
        "stays, and how it got there goes.",
        "",
        "| model | intact | other calendar | other telemetry | without the course |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, ablation in ablated.items():
        cells = [f"{ablation['mae'][key]:.3f}" for key in ("intact", "calendar", "telemetry", "course")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, "", *(f"- **{name}**: {ablation['verdict']}" for name, ablation in ablated.items())]


def _cards(name: str, skill: Json) -> list[tuple[str, Json]]:
    """The scores on the test part, and on every other held-out data set, each with what a table calls it."""
    sources = skill.get("sources", {})
    return [(name, skill), *((f"{name} on {source}", card) for source, card in sources.items())]


def _interval(skill: Json) -> str:
    """ " Skill over the EWMA +3.1 % (1.2 to 5.0).", or nothing where no interval was measured."""
    if "interval" not in skill or skill["skill"] is None or None in skill["interval"]["skill"]:
        return ""
    low, high = skill["interval"]["skill"]
    best = baseline_label(skill["best_baseline"], article=True)
    return f" Skill over {best} {100 * skill['skill']:+.1f} % ({100 * low:.1f} to {100 * high:.1f})."


def _methods(skill: Json) -> list[tuple[str, Json]]:
    methods = [("model", skill["model"])]
    if "start" in skill:
        kept = skill["start"]["kept"]
        other = "trained" if kept == "bundled" else "bundled"
        methods = [(f"{kept} model: kept", skill["model"]), (f"{other} model", skill["start"][other])]
    methods += [(baseline_label(name), row) for name, row in skill["baselines"].items()]
    if "reference" in skill:
        methods.append(("LightGBM (reference)", skill["reference"]))
    if "beside_forecaster" in skill:
        beside = skill["beside_forecaster"]
        methods.append(("model, where both answer", beside["fallback"]))
        methods.append(("the group's forecaster there", beside["forecaster"]))
    return methods


def _policies(skill: Json) -> list[tuple[str, Json]]:
    oracle = [("one-step oracle", skill["oracle"])] if "oracle" in skill else []  # carried over from an older bundle
    return [("model", skill["model"]), *skill["baselines"].items(), *oracle]


def _reward_cells(score: Json) -> list[str]:
    gain = f"{score['gain']:+.4f} ± {score['gain_interval']:.4f}" if "gain" in score else ""
    return [f"{score['reward']:.4f}", f"± {score['interval']:.4f}", gain]


def _score_cells(scores: Json) -> list[str]:
    return [
        f"{100 * scores['within_2_percent']:.1f}",
        f"{100 * scores['within_10_percent']:.1f}",
        f"{scores['mae']:.3f}",
        f"{scores['mse']:.4g}",
        "-" if scores["mape"] is None else f"{scores['mape']:.2f}",
        "-" if scores["r2"] is None else f"{scores['r2']:.3f}",
    ]


def _first(name: str, row: int) -> str:
    return name if row == 0 else ""


def _trained_on_file(trained_on: Json) -> str:
    read = "".join(f" {line}." for line in trained_on.get("read", []))
    return f"Trained on {trained_on['file']}, split {trained_on['split']}.{read}"


def _origin(trained_on: Json) -> str:
    """What a model was trained on, and how noisy that is: without it an accuracy says nothing."""
    if "simulated" in trained_on:  # beside traces
        return (
            f"{_trained_on_file(trained_on)} The scores here are on simulated links: {_origin(trained_on['simulated'])}"
        )
    if trained_on["source"] != "simulated":
        return _trained_on_file(trained_on)
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
