"""What `linkcast replay` does with a decision log: decides every tick again."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from linkcast.console import print_json, show


def rerun_log(log: Path, models: Path | None, as_json: bool) -> None:
    """Prints whether each decision came out as it was; exit status 1 when one that has to did not."""
    from linkcast.live.rerun import rerun

    result = rerun(log, models)
    if as_json:
        print_json(_report(result))
    else:
        show("\n".join((result.verdict(), _header(result), *_scores(result))))
    if not result.holds:
        raise typer.Exit(1)


def _report(result: Any) -> dict[str, Any]:
    report = asdict(result)
    del report["header"]["state"], report["header"]["scores"]
    if report["header"]["shadow"] is not None:
        report["header"]["shadow"] = {
            name: report["header"]["shadow"][name] for name in ("folder", "models", "models_id", "runs_on")
        }
    return {**report, "holds": result.holds, "verdict": result.verdict()}


def _header(result: Any) -> str:
    header = result.header
    lost = f"; {header.lost} ticks before it could not be written" if header.lost else ""
    return (
        f"{header.link}: {header.profile}, {header.options['capacity_mbps']:g} Mbit/s, models {header.models_id}, "
        f"from tick {header.next_index}{lost}."
    )


def _scores(result: Any) -> list[str]:
    lines = []
    if not math.isnan(result.skill):
        held = "" if math.isnan(result.coverage) else f", band held {100.0 * result.coverage:.1f} %"
        lines.append(f"At the end: skill {100.0 * result.skill:+.1f} % over the best naive rule{held}.")
    if result.shadow is not None:
        shadow = result.shadow
        band = f"{100.0 * shadow['gain_low']:+.1f} to {100.0 * shadow['gain_high']:+.1f} %"
        gain = f"{100.0 * shadow['gain']:+.1f} % ({band})"
        verdict = shadow["verdict"].replace("_", " ")
        lines.append(f"Shadow: skill {100.0 * shadow['skill']:+.1f} %, gain {gain}: {verdict}.")
    return lines
