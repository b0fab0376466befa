"""Workers of a DataLoader read what the parent would, with the same requests, however they are started."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import stack_samples

import rasteret_sql as rs
from rasteret_sql.errors import RasteretError
from tests.training.scenes import SIDE, day, make_scenes, window

QUERIES = [(*window(row, col, 24, 24), day(number)) for row, col, number in
           ((0, 0, 1), (30, 20, 3), (60, 70, 1), (8, 60, 2), (40, 40, 3), (72, 72, 1), (50, 50, 2), (3, 9, 3))]  # fmt: skip


def batches(dataset, workers: int = 0, **options):
    return DataLoader(dataset, sampler=QUERIES, batch_size=2, num_workers=workers, collate_fn=stack_samples, **options)


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other[name]), name


def ranges(scenes):
    return sorted((request.path, request.start, request.end) for request in scenes.server.requests)


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_give_the_batches_of_the_parent_and_make_its_requests(served, start):
    dataset = rs.to_torchgeo(served.index, bands=["red", "nir"])
    served.server.reset()
    expected = list(batches(dataset))
    requests = ranges(served)
    assert requests
    # Headers lie at the start of files, and no worker asks for one.
    assert all(first > 0 for _, first, _ in requests)
    served.server.reset()
    loader = batches(dataset, 2, multiprocessing_context=start, persistent_workers=True)
    assert_equal(list(loader), expected)
    assert ranges(served) == requests
    assert_equal(list(loader), expected)
    assert len(served.server.requests) == 2 * len(requests)
    del loader
    assert_equal(list(batches(dataset)), expected)


def test_workers_that_are_forked_for_each_epoch_read_after_the_parent_and_again(served):
    dataset = rs.to_torchgeo(served.index, bands=["red"]) & rs.to_torchgeo(served.index, bands=["nir"])
    loader = batches(dataset, 2, multiprocessing_context="fork")
    expected = list(batches(dataset))
    for _ in range(3):
        assert_equal(list(loader), expected)


def test_a_dataset_that_read_is_pickled_without_what_it_read_with(served):
    dataset = rs.to_torchgeo(served.index, bands=["red"])
    before = len(pickle.dumps(dataset))
    expected = dataset[QUERIES[0]]
    # pandas remembers a little about an index that was looked at.
    assert len(pickle.dumps(dataset)) < before + 200
    served.server.reset()
    again = pickle.loads(pickle.dumps(dataset))
    assert served.server.requests == []
    assert torch.equal(again[QUERIES[0]]["image"], expected["image"])


def test_a_dataset_is_planned_without_a_request(served):
    dataset = rs.to_torchgeo(served.index)
    assert len(dataset) == 3
    assert str(dataset)
    assert served.server.requests == []


def test_a_batch_asks_once_for_what_its_samples_share(served):
    dataset = rs.to_torchgeo(served.index, bands=["red"])
    query = (*window(0, 0, 24, 24), day(1))
    served.server.reset()
    dataset[query]
    once = ranges(served)
    assert len(once) == 1
    served.server.reset()
    dataset.__getitems__([query, query, (*window(4, 4, 20, 20), day(1))])
    assert ranges(served) == once


def test_rows_are_not_asked_for_tiles_beside_the_chip(served):
    dataset = rs.to_torchgeo(served.index, bands=["red"])
    served.server.reset()
    dataset[(*window(33, 33, 30, 30), day(3))]
    assert len(served.server.requests) == 1
    assert (
        sum(request.end - request.start for request in served.server.requests)
        < served.path("C", "red").stat().st_size / 4
    )


@pytest.fixture
def broken(tmp_path):
    """Scenes of which a file is gone since it was indexed."""
    with make_scenes(tmp_path) as made:
        made.path("B", "red").unlink()
        yield made


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_fails_is_an_error_with_its_name_and_item(broken, workers):
    dataset = rs.to_torchgeo(broken.index, bands=["nir", "red"])
    options = {"multiprocessing_context": "fork"} if workers else {}
    with pytest.raises(RasteretError, match=r"(?s)B.*B_red\.tif"):
        list(batches(dataset, workers, **options))


@pytest.mark.parametrize("workers", [0, 2])
def test_files_that_fail_are_counted_where_that_is_asked_for(broken, workers):
    dataset = rs.to_torchgeo(broken.index, bands=["nir", "red"], on_error="count")
    options = {"multiprocessing_context": "fork"} if workers else {}
    loaded = list(batches(dataset, workers, **options))
    found = {name: torch.cat([batch[name] for batch in loaded]) for name in ("image", "mask_valid", "read_errors")}
    is_b = torch.tensor([query[2].start.day == 2 for query in QUERIES])
    assert found["read_errors"].flatten().tolist() == is_b.long().tolist()
    assert not found["mask_valid"][is_b].any()
    assert (found["image"][is_b][:, 1] == 0).all()
    assert (found["image"][is_b][:, 0] > 0).float().mean() > 0.9
    assert found["mask_valid"][~is_b].float().mean() > 0.9


def test_a_file_that_was_rewritten_since_it_was_indexed_is_an_error(tmp_path):
    with make_scenes(tmp_path) as made:
        dataset = rs.to_torchgeo(made.index, bands=["red"])
        made.path("A", "red").write_bytes(made.path("C", "red").read_bytes())
        with pytest.raises(RasteretError, match=r"A_red\.tif"):
            dataset[(*window(0, 0, SIDE, SIDE), day(1))]


#: Makes a dataset, and prints what a forked worker imports for its first batch, and how often it asks PROJ for WKT.
FIRST_BATCH = """
import sys
import pyproj
from torch.utils.data import DataLoader
import rasteret_sql as rs
from tests.training.scenes import day, window

asked = []
to_wkt = pyproj.CRS.to_wkt

def counted(crs, *args, **kwargs):
    asked.append(crs)
    return to_wkt(crs, *args, **kwargs)

def start(worker):
    asked.clear()
    start.modules = set(sys.modules)

def facts(samples):
    assert samples[0]["mask_valid"].any()
    new = set(sys.modules) - start.modules
    return sorted(name for name in new if name.startswith(("rasteret_sql", "imagecodecs", "aiohttp"))), len(asked)

pyproj.CRS.to_wkt = counted
dataset = rs.to_torchgeo(sys.argv[1], bands=["red"])
queries = [(*window(0, 0, 24, 24), day(1))]
options = {"multiprocessing_context": "fork", "worker_init_fn": start, "timeout": 120}
(found,) = DataLoader(dataset, sampler=queries, num_workers=1, collate_fn=facts, **options)
print(found)
"""


def test_a_forked_worker_inherits_what_its_first_batch_needs(served):
    command = [sys.executable, "-W", "ignore", "-c", FIRST_BATCH, str(served.index)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "([], 0)\n", done.stderr


def test_a_dataset_whose_crs_is_set_anew_reads_in_it(served):
    dataset = rs.to_torchgeo(served.index, bands=["red"])
    before = dataset[(*window(0, 0, 24, 24), day(1))]["transform"]
    dataset.crs = "EPSG:4326"
    x, y, _ = dataset.bounds
    sample = dataset[x.start : x.stop : (x.stop - x.start) / 10, y.start : y.stop : (y.stop - y.start) / 10]
    assert not torch.equal(torch.as_tensor(sample["transform"]), torch.as_tensor(before))
    assert sample["mask_valid"].any()
    assert dataset._lookup().crs == "EPSG:4326"
