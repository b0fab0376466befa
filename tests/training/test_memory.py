"""What a worker costs: an index of 100,000 rows is shared, and not a copy for each."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import pytest

import rasteret_sql as rs

ROOT = Path(__file__).parents[2]
#: MB of its own that a worker may have beyond one whose dataset is small; measured: fork 6, spawn 61.
MOST_MB = 120
#: MB that a plan of 100,000 rows may leave in its process; measured: 150, and 590 where DuckDB's connection stays.
MOST_KEPT_MB = 300
#: MB of a pickled dataset of 20,000 items; measured: 15.
MOST_PICKLED_MB = 25


def own_mb() -> float:
    """Memory of this process that is no part of a file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def work(pickled, dataset, sender) -> None:
    """Find and plan the files of chips, as a worker does before it fetches."""
    import torchgeo.datasets  # noqa: F401

    import rasteret_sql.training.dataset  # noqa: F401
    from rasteret_sql.plan.places import Places
    from rasteret_sql.read.parts import PartReader

    before = own_mb()
    dataset = dataset or pickle.loads(pickled)
    reader = PartReader(dataset._items.table, dataset._items.files, method="nearest", mosaic="first")
    for row in range(1, len(dataset), max(1, len(dataset) // 200)):
        middle = dataset.index.geometry.iloc[row].centroid
        time = dataset.index.index[row]
        x, y = (slice(at - 1280, at + 1280, 10.0) for at in (middle.x, middle.y))
        part, _ = dataset._found(x, y, slice(time.left, time.right, 1))
        plan, (sources,) = reader.plan([part], [Places(part.box)])
        assert sources.asset_no.size
        assert plan.tile_offset.size
    sender.send(own_mb() - before)


def plan_twice(index, bands, sender) -> None:
    """Make a small dataset, then a large one, and say what the large one left."""
    few = f"FROM '{index}' WHERE item_id IN (SELECT DISTINCT item_id FROM '{index}' ORDER BY item_id LIMIT 2)"
    small = rs.to_torchgeo(few, bands=bands, crs="EPSG:3857", resolution=10.0)
    before = own_mb()
    large = rs.to_torchgeo(index, bands=bands, crs="EPSG:3857", resolution=10.0)
    sender.send(own_mb() - before)
    assert len(large) > len(small)


@pytest.mark.slow
def test_a_process_keeps_nothing_of_duckdbs_after_planning_100_000_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.index import write_synthetic
    from benchmarks.index_data import ASSET_KEYS, Shape

    index = write_synthetic(tmp_path, Shape(places=4000, dates=5, tile=1024))
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=plan_twice, args=(str(index), list(ASSET_KEYS), sender))
    process.start()
    sender.close()
    try:
        assert receiver.recv() < MOST_KEPT_MB
    finally:
        process.join()
        receiver.close()


def cost_mb(dataset, start: str) -> float:
    context = multiprocessing.get_context(start)
    receiver, sender = context.Pipe(duplex=False)
    given = (None, dataset) if start == "fork" else (pickle.dumps(dataset), None)
    process = context.Process(target=work, args=(*given, sender))
    process.start()
    sender.close()  # so that the end of the process is the end of what can be received
    try:
        return receiver.recv()
    finally:
        process.join()
        receiver.close()


@pytest.mark.slow
def test_a_worker_costs_tens_of_megabytes_for_an_index_of_100_000_rows(tmp_path, monkeypatch):
    # Spawned processes import this file.
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.index import write_synthetic
    from benchmarks.index_data import ASSET_KEYS, Shape

    index = write_synthetic(tmp_path, Shape(places=4000, dates=5, tile=1024))
    bands = list(ASSET_KEYS)
    large = rs.to_torchgeo(str(index), bands=bands, crs="EPSG:3857", resolution=10.0)
    assert len(large) * len(bands) == 100_000
    few = f"FROM '{index}' WHERE item_id IN (SELECT DISTINCT item_id FROM '{index}' ORDER BY item_id LIMIT 2)"
    small = rs.to_torchgeo(few, bands=bands, crs="EPSG:3857", resolution=10.0)
    assert len(small) == 2
    assert len(pickle.dumps(large)) < MOST_PICKLED_MB * 1e6
    for start in ("fork", "spawn"):
        assert cost_mb(large, start) - cost_mb(small, start) < MOST_MB, start
