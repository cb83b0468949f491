"""A fleet's run: what is read, sorted by link, scored shard by shard, and put together; killed, it goes on.

OUTPUT/manifest.json   what was asked for and read, and what came of it; "complete" when the run has ended
OUTPUT/forecasts/      shard=000000/part-000000.parquet: a row for each row of the input
OUTPUT/links.parquet   a row for each link: accuracy, character, verdict
OUTPUT/work/           under way: rows sorted by link, checkpoints; gone at the end
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from linkcast.extras import install
from linkcast.fleet import source, states
from linkcast.fleet.crew import Crew, InProcess, LocalCrew
from linkcast.fleet.settings import Settings, digest, read_json, shard_count, write_json
from linkcast.fleet.shard import Job, score_shard
from linkcast.fleet.source import Plan
from linkcast.fleet.split import split_chunk

MANIFEST = "manifest.json"
LINKS = "links.parquet"
VERSION = 1  # of the output's form

Bars = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""As `linkcast.console.progress`."""


@contextmanager
def silent(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """No progress bar."""
    del label, total
    yield lambda done: None


@dataclass(frozen=True)
class _SplitChunk:
    """A `Work` of the first half: item = chunk."""

    root: Path
    work: Path
    plan: Plan
    shards: int
    settings: Settings

    def __call__(self, number: int, report: Callable[[int], None]) -> dict[str, str]:
        chunk = self.plan.chunks[number]
        bad = split_chunk(self.root, self.work, number, chunk, self.shards, self.settings)
        report(chunk.rows)
        return bad


def _score_shard(shard: int, report: Callable[[int], None], *, job: Job) -> dict[str, int]:
    return score_shard(job, shard, report)


def score(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    ray: str | None = None,
    state_in: str | os.PathLike[str] | None = None,
    state_out: str | os.PathLike[str] | None = None,
    bars: Bars = silent,
    crew: Crew | None = None,
    part_ticks: int | None = None,
) -> dict[str, Any]:
    """Scores every link of a Parquet data set: see docs/fleet.md.

    The same command goes on where a run was killed, and writes the same bytes. With more than one worker a script calls
    this under `if __name__ == "__main__":`.

    Args:
        path: a Parquet file, or a folder of them, with the columns link, timestamp and the four features.
        output: a folder: made, or of a run of the same input and settings.
        settings: None: the defaults.
        workers: processes, a core and an engine each; None: as many as there are cores. Their number changes nothing.
        ray: run on this Ray cluster: its address, or "local". None: without Ray.
        state_in: a folder that `state_out` named in an earlier run: links go on where they were.
        state_out: where each link's state at its end is written.
        bars: shows progress.
        crew: who does the work, in place of what workers and ray say.
        part_ticks: ticks of a part, for tests.
    Returns:
        The manifest.
    Raises:
        ValueError: bad settings, an input that is none, a bad partition, or an output of another run.
        OSError: something can't be read or written.
        ImportError: pyarrow, or Ray where it is asked for, is not installed.
    """
    _needs_arrow()
    chosen = (settings or Settings()).checked()
    target, data = Path(output).resolve(), Path(path).resolve()
    if not data.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    folders = [None if one is None else Path(one).resolve() for one in (state_in, state_out)]
    if state_out is not None and folders[0] == folders[1]:
        raise ValueError(f"state_out: expected another folder than state_in, got {state_out}")
    begun = read_json(target / MANIFEST)["settings"] if (target / MANIFEST).exists() else None
    chosen = chosen.settled(begun)
    resolved = chosen.resolved(chosen.engine())
    asked = {"version": VERSION, **resolved, "part_ticks": part_ticks}
    with _locked(target):
        manifest = _begin(target, data, chosen, asked, folders[0], bars)
        if manifest["complete"]:
            shutil.rmtree(target / "work")
            return manifest
        plan = Plan.from_json(read_json(target / "work" / "plan.json"))
        who = crew or _crew(workers, ray)
        shards = manifest["shards"]
        chosen = replace(chosen, folder=None if chosen.folder is None else str(Path(chosen.folder).resolve()))
        split = _SplitChunk(source.root_of(data), target / "work", plan, shards, chosen)
        bad = dict(plan.bad)
        with bars("Sorting rows by link", plan.rows) as advance:
            for found in who.run(split, range(len(plan.chunks)), advance):
                bad |= found
        job = Job(
            target,
            chosen,
            shards,
            len(plan.chunks),
            tuple(sorted(bad)),
            resolved["runs_on"],
            folders[0],
            folders[1],
            part_ticks,
        )
        totals: dict[str, int] = {}
        with bars("Scoring", plan.rows) as advance:
            for counts in who.run(partial(_score_shard, job=job), range(shards), advance):
                for key, count in counts.items():
                    totals[key] = totals.get(key, 0) + count
        return _finish(target, manifest, job, totals, bad)


def _begin(
    target: Path, data: Path, settings: Settings, asked: dict[str, Any], state_in: Path | None, bars: Bars
) -> dict[str, Any]:
    """The manifest of a run that is new, or that goes on."""
    there = target / MANIFEST
    state = None if state_in is None else digest(read_json(state_in / states.MANIFEST)) if _has(state_in) else ""
    known = {key: asked[key] for key in ("sha256", "horizon", "level")}
    if there.exists():
        manifest: dict[str, Any] = read_json(there)
        _same(target, manifest["settings"], asked | {"state": state})
        if source.changed(data, manifest["input"]):
            raise ValueError(f"{target}: expected the input that its run began with, got one that has changed since")
        return manifest
    if any(one.name != "work" for one in target.iterdir()):
        raise ValueError(f"{target}: expected a folder that is empty, or of a run, got another")
    shards = 0 if state_in is None else states.shards_of(state_in, known)
    with bars("Reading footers", 1) as advance:
        plan = source.plan(data, settings.link, settings.timestamp, settings.skip_bad)
        advance(1)
    shutil.rmtree(target / "work", ignore_errors=True)
    for folder in ("rows", "shards", "links"):
        (target / "work" / folder).mkdir(parents=True)
    write_json(target / "work" / "plan.json", plan.as_json())
    manifest = {
        "complete": False,
        "settings": asked | {"state": state},
        "shards": shards or shard_count(plan.links),
        "links": plan.links,
        "rows": plan.rows,
        "input": {"sha256": source.fingerprint(plan), "files": plan.files, "bad": plan.bad},
    }
    write_json(there, manifest)
    return manifest


def _has(folder: Path) -> bool:
    return (folder / states.MANIFEST).exists()


def _same(target: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuses settings that are not those of the run that began."""
    now = json.loads(json.dumps(now))
    if before.get("precision") == "float32":
        before = {"kernels": ""} | before  # of a version that did not write them; they decide no bit
    differ = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if differ:
        said = "; ".join(f"{key}: {before.get(key, 'not known')} then, {now.get(key)} now" for key in differ)
        raise ValueError(f"{target}: expected the settings that its run began with, got others: {said}")


def _finish(
    target: Path, manifest: dict[str, Any], job: Job, totals: dict[str, int], bad: dict[str, str]
) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from linkcast.fleet.tables import write_table

    parts = [pq.read_table(target / "work" / "links" / f"{shard:06d}.parquet") for shard in range(job.shards)]
    links = pa.concat_tables(parts).sort_by("link")
    write_table(target / LINKS, links)
    if job.state_out is not None:
        known = {key: manifest["settings"][key] for key in ("sha256", "horizon", "level")}
        states.write_manifest(job.state_out, job.shards, known)
    verdicts = links["verdict"].value_counts().to_pylist()
    manifest = {
        **manifest,
        "complete": True,
        "totals": totals,
        "bad": bad,
        "verdicts": {row["values"]: row["counts"] for row in sorted(verdicts, key=lambda row: row["values"])},
    }
    write_json(target / MANIFEST, manifest)
    shutil.rmtree(target / "work")
    return manifest


def _crew(workers: int | None, ray: str | None) -> Crew:
    if workers is not None and workers < 1:
        raise ValueError(f"workers: expected 1 or more, got {workers}")
    if ray is not None:
        from linkcast.fleet.ray_driver import RayCrew

        return RayCrew(ray, workers)
    count = workers or len(os.sched_getaffinity(0))
    return InProcess() if count == 1 else LocalCrew(count)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """The folder, which no other run writes at the same time."""
    (target / "work").mkdir(parents=True, exist_ok=True)
    lock = os.open(target, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ValueError(f"{target}: another run is writing here") from None
    try:
        yield
    finally:
        work = target / "work"
        if work.exists() and not any(work.iterdir()):
            work.rmdir()
        os.close(lock)


def _needs_arrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ImportError(f"linkcast fleet needs pyarrow: {install('fleet')} ({error})") from error
