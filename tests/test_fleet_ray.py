"""A fleet on Ray, with a worker that is killed: row for row, and byte for byte, what one process writes."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("ray", reason="needs Ray: pip install 'linkcast[fleet]'")

import fleets
from conftest import ROOT
from linkcast.fleet import score
from linkcast.fleet.ray_driver import RayCrew


@pytest.fixture
def crew(monkeypatch):
    import ray

    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))  # its workers import `fleets`
    yield RayCrew("local", 2)
    ray.shutdown()


def test_a_ray_cluster_with_a_killed_worker_writes_what_one_process_does(crew, tmp_path):
    data = fleets.write_days(tmp_path / "in", fleets.telemetry(links=8, ticks=200), days=1)
    score(data, tmp_path / "alone", workers=1, part_ticks=64)
    score(data, tmp_path / "ray", crew=fleets.DyingCrew(crew, tmp_path, 2), part_ticks=64)
    assert (tmp_path / "died").exists()
    assert fleets.files_in(tmp_path / "ray") == fleets.files_in(tmp_path / "alone")
