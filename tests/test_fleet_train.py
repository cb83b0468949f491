"""Models of a fleet's own: kinds of links, what is trained, and which links gain."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

import fleets
from linkcast.fleet import score
from linkcast.fleet.train import TRAITS, kinds_of, train_fleet


def test_kinds_part_what_lies_apart_and_the_largest_is_the_first():
    rng = np.random.default_rng(0)
    far = np.repeat([0.0, 10.0], [30, 50])
    table = {name: far + rng.normal(0, 0.1, 80) for name in (*TRAITS, "noise_floor")}
    table |= {"link": np.array([f"x{k}" for k in range(80)], object), "spread": 1.0 + far}
    kinds = kinds_of(table, 2, seed=0)
    assert set(kinds[30:]) == {"kind-1"}
    assert set(kinds[:30]) == {"kind-2"}
    assert kinds_of(table, 2, seed=0).tolist() == kinds.tolist()
    with pytest.raises(ValueError, match="expected at most as many as links"):
        kinds_of(table, 81, seed=0)


def test_links_that_follow_a_pattern_gain_from_a_model_of_their_own(tmp_path):
    pytest.importorskip("tensorflow")
    pytest.importorskip("gymnasium")
    from dataclasses import replace

    from rich.console import Console

    from linkcast.engine import Engine
    from linkcast.training import settings

    rng = np.random.default_rng(1)
    values = np.empty((700, 4, 4))
    values[...] = [20.0, 0.0, 0.01, 0.99]
    # three rates in turn: no naive rule and no bundled model knows what comes next
    values[..., 1] = np.resize([20.0, 60.0, 35.0], 700)[:, None] * [1.0, 2.0, 0.5, 3.0] + rng.normal(0, 0.3, (700, 4))
    data = fleets.write_days(tmp_path / "in", values, days=2)
    score(data, tmp_path / "scored", workers=1)
    base = settings.quick()
    quick = replace(base, forecaster=replace(base.forecaster, epochs=2, epoch_windows=500))
    result = train_fleet(
        data,
        tmp_path / "scored",
        tmp_path / "out",
        clusters=1,
        rows=700,
        run_settings=quick,
        console=Console(quiet=True),
    )
    (model,) = result["models"]
    gains = pq.read_table(tmp_path / "out" / "gains.parquet").to_pylist()
    assert [row["link"] for row in gains] == fleets.names_of(4)
    assert model["links"] == 4
    assert model["gaining"] > 0
    assert model["gaining"] == sum(row["mae_all"] < 0.99 * row["mae_bundled"] for row in gains)
    assert model["kept"] == ("trained" if model["trained"] < model["bundled"] else "bundled")
    assert Engine(tmp_path / "out" / "all").resolve("internet", "forecaster") == "internet_lstm"
    with pytest.raises(ValueError, match="not there or empty"):
        train_fleet(data, tmp_path / "scored", tmp_path / "out")
