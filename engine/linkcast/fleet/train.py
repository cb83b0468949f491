"""Models of a fleet's own: one for all links, one for each kind of link, each from the bundled weights.

Links are told apart by what a run of `score` found of them. Of some links of each kind the first rows train, and the
rows behind them are scored by streams with the bundled model and with the new ones: what counts is what the mixture
makes of a model, link by link.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from linkcast.features import TELEMETRY
from linkcast.fleet import source
from linkcast.fleet.characters import TOO_SHORT
from linkcast.fleet.score import LINKS, MANIFEST, score
from linkcast.fleet.settings import Settings, read_json, write_json
from linkcast.fleet.tables import write_table

if TYPE_CHECKING:
    from rich.console import Console

    from linkcast.training.settings import Settings as TrainingSettings

FloatArray = npt.NDArray[np.float64]

ALL = "all"
GAIN = 0.01  # of the mean absolute error, from which on a link gains
TRAINED = 0.7  # share of a link's rows that train; the others are scored
ROUNDS = 50  # of k-means
TRAITS = ("spread", "roughness", "predictable", "steps_per_1000", "skill_over_persistence")
"""What kinds are made of; roughness is the noise floor over the spread."""


def train_fleet(
    data: str | os.PathLike[str],
    scored: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    clusters: int = 3,
    links: int = 200,
    rows: int = 2_000,
    seed: int = 0,
    quick: bool = False,
    base: str | os.PathLike[str] | None = None,
    run_settings: TrainingSettings | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Trains `clusters` + 1 models, and writes a bundle folder of each, gains.parquet and train.json.

    Args:
        data: what was scored.
        scored: the folder of its run, which has ended; its model is where training begins.
        output: a new folder.
        clusters: kinds of links; 1 trains the one for all.
        links: of a kind that are trained on and scored, at most.
        rows: of a link, at most; the first TRAINED of them train.
        seed: two runs with the same seed and data give the same models.
        base: the bundle that the run was scored with; None: the one that ships.
        quick, run_settings, console: as `linkcast.training.run` takes them.
    Returns:
        What train.json holds: for each model its links, mean errors over persistence's, which links gain, and which is
        kept: "trained" where the links of its kind gain on average, otherwise "bundled".
    Raises:
        ValueError: the run has not ended, too few links, or an output that is there.
        ImportError: the train extra is not installed.
    """
    from linkcast import training

    target, run = Path(output), Path(scored)
    manifest = read_json(run / MANIFEST)
    if not manifest["complete"]:
        raise ValueError(f"{run}: expected a run that has ended")
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{target}: expected a folder that is not there or empty")
    table = _links(run / LINKS)
    kinds = kinds_of(table, clusters, seed)
    chosen = _sample(table, kinds, links, seed)
    folder = None if base is None else str(Path(base).resolve())
    settings = replace(_settings_of(manifest["settings"]), folder=folder)
    histories = _histories(Path(data), settings, chosen, rows)
    target.mkdir(parents=True, exist_ok=True)
    heads = {name: history[: int(TRAINED * len(history))] for name, history in histories.items()}
    tails = {name: history[int(TRAINED * len(history)) :] for name, history in histories.items()}
    profile = settings.model.removesuffix("_lstm")

    write_table(target / "held-out.parquet", _table(tails, settings.link, settings.timestamp))
    before = _errors(target, "bundled", settings)
    models, after = [], {}
    names = sorted(set(chosen.values()))
    for model in (ALL, *(names if len(names) > 1 else ())):
        own = [link for link, kind in chosen.items() if model in (ALL, kind)]
        file = target / f"{model}.parquet"
        write_table(file, _table({link: heads[link] for link in own}, "session", "timestamp"))
        training.run(
            target / model,
            file,
            seed=seed,
            quick=quick,
            only=[profile],
            base=settings.folder,
            run_settings=run_settings,
            console=console,
        )
        file.unlink()
        after[model] = _errors(target, model, replace(settings, folder=str(target / model)))
        models.append(_said(model, own, before, after[model], table))
    result = {"models": models, "traits": list(TRAITS), "seed": seed, "rows": rows}
    _write_gains(target, chosen, before, after)
    write_json(target / "train.json", result)
    return result


def _settings_of(written: Mapping[str, Any]) -> Settings:
    keys = ("model", "backend", "precision", "level", "link", "timestamp", "timezone", "step_s")
    return Settings(**{key: written[key] for key in keys})


def _links(path: Path) -> dict[str, npt.NDArray[Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    enough = columns["verdict"] != TOO_SHORT
    if not enough.any():
        raise ValueError(f"{path}: expected links with enough ticks to be told apart, got none")
    return {name: values[enough] for name, values in columns.items()}


def kinds_of(table: Mapping[str, npt.NDArray[Any]], clusters: int, seed: int) -> npt.NDArray[np.str_]:
    """(links,) "kind-1" for the largest kind, and so on: k-means of TRAITS, each brought to its ranks.

    Raises:
        ValueError: fewer links than clusters.
    """
    count = len(table["link"])
    if count < clusters:
        raise ValueError(f"clusters: expected at most as many as links, got {clusters} for {count}")
    traits = np.empty((count, len(TRAITS)))
    for index, name in enumerate(TRAITS):
        values = table["noise_floor"] / table["spread"] if name == "roughness" else table[name]
        known = np.isfinite(values)
        filled = np.where(known, values, np.median(values[known]) if known.any() else 0.0)
        traits[:, index] = np.searchsorted(np.sort(filled), filled, side="right") / count
    labels = _k_means(traits, clusters, np.random.default_rng(seed))
    sizes = np.bincount(labels, minlength=clusters)
    rank = np.empty(clusters, np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(clusters)
    return np.array([f"kind-{rank[label] + 1}" for label in labels])


def _k_means(points: FloatArray, clusters: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(n,) Lloyd's algorithm, begun by k-means++ (Arthur and Vassilvitskii, 2007)."""
    centres = points[[rng.integers(len(points))]]
    while len(centres) < clusters:
        apart = ((points[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
        chance = apart / apart.sum() if apart.sum() > 0 else None
        centres = np.concatenate([centres, points[[rng.choice(len(points), p=chance)]]])
    labels = np.zeros(len(points), np.int64)
    for _ in range(ROUNDS):
        labels = np.argmin(((points[:, None] - centres) ** 2).sum(axis=2), axis=1)
        moved = np.array(
            [points[labels == k].mean(axis=0) if (labels == k).any() else centres[k] for k in range(clusters)]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return labels


def _sample(table: Mapping[str, npt.NDArray[Any]], kinds: npt.NDArray[np.str_], most: int, seed: int) -> dict[str, str]:
    """Link -> its kind, of at most so many of each."""
    rng = np.random.default_rng(seed)
    chosen: dict[str, str] = {}
    for kind in sorted(set(kinds.tolist())):
        own = table["link"][kinds == kind]
        picked = own if len(own) <= most else rng.choice(own, most, replace=False)
        chosen.update({str(link): kind for link in sorted(picked)})
    return chosen


def _histories(data: Path, settings: Settings, chosen: Mapping[str, str], rows: int) -> dict[str, FloatArray]:
    """Link -> (at most `rows`, 5): its first rows, microseconds and the four features."""
    root = source.root_of(data)
    held: dict[str, list[FloatArray]] = {link: [] for link in chosen}
    missing = dict.fromkeys(chosen, rows)
    for file in source.files_of(data):
        if not any(missing.values()):
            break
        name = file.relative_to(root).as_posix()
        import pyarrow.parquet as pq

        groups = pq.ParquetFile(file).metadata.num_row_groups
        for piece in source.pieces(root, (name, 0, groups), settings.link, settings.timestamp):
            wanted = [code for code, link in enumerate(piece.links) if missing.get(link, 0) > 0]
            for code in wanted:
                link = piece.links[code]
                own = np.flatnonzero(piece.codes == code)[: missing[link]]
                held[link].append(np.column_stack([piece.times[own].astype(np.float64), piece.features[own]]))
                missing[link] -= len(own)
    return {link: np.concatenate(parts) for link, parts in held.items() if parts}


def _table(histories: Mapping[str, FloatArray], link: str, timestamp: str) -> Any:
    import pyarrow as pa

    names = [name for name, history in histories.items() for _ in range(len(history))]
    rows = np.concatenate(list(histories.values()))
    columns: dict[str, Any] = {
        link: pa.array(names, pa.string()),
        timestamp: pa.array(rows[:, 0].astype(np.int64)).cast(pa.timestamp("us")),
    }
    columns |= {name: pa.array(rows[:, index + 1]) for index, name in enumerate(TELEMETRY)}
    return pa.table(columns)


def _errors(target: Path, model: str, settings: Settings) -> dict[str, tuple[float, float]]:
    """Link -> mean absolute error on the held-out rows, of its stream with a model and of persistence."""
    import shutil

    import pyarrow.parquet as pq

    run = target / f".scored-{model}"
    score(target / "held-out.parquet", run, settings, workers=1)
    rows = pq.read_table(run / LINKS, columns=["link", "mae", "persistence_mae"]).to_pylist()
    shutil.rmtree(run)
    return {row["link"]: (row["mae"], row["persistence_mae"]) for row in rows if row["mae"] is not None}


def _said(
    model: str,
    own: list[str],
    before: Mapping[str, tuple[float, float]],
    after: Mapping[str, tuple[float, float]],
    table: Mapping[str, npt.NDArray[Any]],
) -> dict[str, Any]:
    links = [link for link in own if link in before and link in after and before[link][1] > 0]
    usual = np.array([before[link][1] for link in links])
    bundled = np.array([before[link][0] for link in links]) / usual
    trained = np.array([after[link][0] for link in links]) / usual
    gaining = [link for link, old, new in zip(links, bundled, trained, strict=True) if new < (1.0 - GAIN) * old]
    losing = sum(new > (1.0 + GAIN) * old for old, new in zip(bundled, trained, strict=True))
    members = np.isin(table["link"], own)
    traits = {name: float(np.nanmedian(table[name][members])) for name in TRAITS if name != "roughness"}
    gain = float(1.0 - trained.mean() / bundled.mean()) if links else 0.0
    return {
        "name": model,
        "links": len(links),
        "bundled": float(bundled.mean()) if links else float("nan"),
        "trained": float(trained.mean()) if links else float("nan"),
        "gain": gain,
        "gaining": len(gaining),
        "losing": int(losing),
        "kept": "trained" if gain > 0.0 else "bundled",
        "traits": traits,
    }


def _write_gains(
    target: Path,
    chosen: Mapping[str, str],
    before: Mapping[str, tuple[float, float]],
    after: Mapping[str, Mapping[str, tuple[float, float]]],
) -> None:
    """A row for each link: its kind, and its errors with the bundled model, the one for all and that of its kind."""
    import pyarrow as pa

    rows = []
    for link, kind in chosen.items():
        errors = {"bundled": before.get(link), ALL: after[ALL].get(link), "kind": after.get(kind, {}).get(link)}
        known = {who: error[0] for who, error in errors.items() if error is not None}
        best = min(known, key=lambda who: known[who]) if known else None
        rows.append({"link": link, "kind": kind, "best": best, **{f"mae_{who}": known.get(who) for who in errors}})
    write_table(target / "gains.parquet", pa.Table.from_pylist(rows))
