"""Every sampler of TorchGeo gives slices that can be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from torch.utils.data import DataLoader
from torchgeo import samplers
from torchgeo.datasets import stack_samples
from torchgeo.samplers import (
    GridGeoSampler,
    PreChippedGeoSampler,
    RandomBatchGeoSampler,
    RandomGeoSampler,
    Units,
)

import rasteret_sql as rs
from tests.arrays.cube_files import File, make_index, noise
from tests.training.scenes import PIXEL, SIDE, as_array

HAS_NEW = hasattr(samplers, "RandomPatchSampler")
new_samplers = pytest.mark.skipif(not HAS_NEW, reason="these samplers came with torchgeo 0.10")


@pytest.fixture(scope="module")
def dataset(scenes):
    return rs.to_torchgeo(scenes.index, bands=["red", "nir"])


def stacked(samples):
    """Stack what is a tensor; before 0.9 samples held more."""
    return stack_samples(
        [{name: value for name, value in each.items() if name not in {"crs", "bounds"}} for each in samples]
    )


def batches_of(dataset, sampler=None, **options):
    options = {"batch_size": 4} | options if sampler is not None else options
    return list(DataLoader(dataset, sampler=sampler, collate_fn=stacked, **options))


def test_random_chips_are_read_inside_items(dataset):
    sampler = RandomGeoSampler(dataset, size=32, length=20, generator=torch.Generator().manual_seed(1))
    found = batches_of(dataset, sampler)
    assert sum(len(batch["image"]) for batch in found) == 20
    for batch in found:
        assert batch["image"].shape[1:] == (2, 32, 32)
        # Only the corner of the first 6 by 9 pixels has no data.
        assert (batch["mask_valid"].sum(dim=(1, 2, 3)) >= 32 * 32 - 54).all()


def test_random_chips_are_the_same_for_the_same_seed(dataset):
    def drawn():
        torch.manual_seed(3)
        sampler = RandomGeoSampler(dataset, size=32, length=8, generator=torch.Generator().manual_seed(1))
        return torch.cat([batch["image"] for batch in batches_of(dataset, sampler)])

    assert torch.equal(drawn(), drawn())


def test_random_chips_in_units_of_the_crs_and_inside_a_region(dataset, scenes):
    x, y, _ = dataset.bounds
    region = shapely.box(x.start, y.start, x.start + 400, y.stop)
    period = pd.Interval(pd.Timestamp(2024, 1, 1), pd.Timestamp(2024, 1, 1, 23))
    sampler = RandomGeoSampler(dataset, size=160.0, length=8, roi=region, toi=period, units=Units.CRS)
    for batch in batches_of(dataset, sampler):
        assert batch["image"].shape[1:] == (2, 16, 16)
        assert (batch["timestamps"] == pd.Timestamp(2024, 1, 1, 10).timestamp()).all()
        assert (batch["transform"][:, 2] <= x.start + 240).all()


def test_a_grid_of_chips_covers_each_item_once(dataset, scenes):
    sampler = GridGeoSampler(dataset, size=48)
    found = batches_of(dataset, sampler, batch_size=5)
    images = torch.cat([batch["image"] for batch in found])
    assert len(images) == len(sampler) == 3 * 4
    total = sum(scenes.pixels(item, "red").astype(np.int64).sum() for item in "ABC")
    # B overlaps A and C in place but not in time.
    assert int(images[:, 0].double().sum()) == total


def test_a_grid_of_larger_chips_is_padded(dataset):
    sampler = GridGeoSampler(dataset, size=40)
    for batch in batches_of(dataset, sampler):
        outside = ~batch["mask_valid"].expand_as(batch["image"])
        assert (batch["image"][outside] == 0).sum() >= outside.sum() // 2
        assert batch["image"].shape[1:] == (2, 40, 40)


@pytest.mark.parametrize("shuffle", [False, True])
def test_whole_items_are_read_as_chips(dataset, scenes, shuffle):
    sampler = PreChippedGeoSampler(dataset, shuffle=shuffle, generator=torch.Generator().manual_seed(0))
    found = batches_of(dataset, sampler, batch_size=1)
    assert len(found) == 3
    sums = sorted(int(batch["image"][0, 0].double().sum()) for batch in found)
    assert sums == sorted(int(scenes.pixels(item, "red").astype(np.int64).sum()) for item in "ABC")


def test_batches_of_one_item_are_read(dataset):
    sampler = RandomBatchGeoSampler(dataset, size=24, batch_size=6, length=18)
    found = batches_of(dataset, batch_sampler=sampler)
    assert len(found) == 3 * (1 if len(sampler) == 3 else 6)
    for batch in found:
        assert batch["image"].shape == (6, 2, 24, 24)
        assert len(set(batch["timestamps"].flatten().tolist())) == 1


def test_chips_in_another_crs_are_read(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], crs="EPSG:4326", resolution=1e-4)
    for sampler in (RandomGeoSampler(dataset, size=16, length=6), GridGeoSampler(dataset, size=30)):
        for batch in batches_of(dataset, sampler):
            assert batch["mask_valid"].float().mean() > 0.5


@new_samplers
@pytest.mark.parametrize("time_series", [False, True])
def test_random_and_gridded_patches_are_read(scenes, time_series):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], time_series=time_series)
    for sampler in (
        samplers.RandomPatchSampler(dataset, size=24, length=6, generator=1),
        samplers.GriddedPatchSampler(dataset, size=32, stride=24),
    ):
        queries = list(sampler)
        assert len(queries) == len(sampler) > 5
        for sample in dataset.__getitems__(queries):
            assert sample["image"].ndim == (4 if time_series else 3)
            assert sample["image"].shape[-2:] in {(24, 24), (32, 32)}
            assert sample["mask_valid"].any()


TEMPORAL = ["timestamps, random", "timestamps", "timedeltas, random", "timedeltas", "periods, random", "periods"]


def temporal_samplers(dataset):
    day = pd.Timedelta(days=1)
    return {
        "timestamps, random": samplers.RandomTimestampSampler(dataset, generator=1),
        "timestamps": samplers.SequentialTimestampSampler(dataset),
        "timedeltas, random": samplers.RandomTimedeltaSampler(dataset, delta=day, length=5, generator=1),
        "timedeltas": samplers.SequentialTimedeltaSampler(dataset, delta=day),
        "periods, random": samplers.RandomPeriodSampler(dataset, freq="D", length=5, generator=1),
        "periods": samplers.SequentialPeriodSampler(dataset, freq="D"),
    }


@new_samplers
@pytest.mark.parametrize("time_series", [False, True])
@pytest.mark.parametrize("name", TEMPORAL)
def test_what_temporal_samplers_give_is_read(scenes, name, time_series):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], time_series=time_series)
    sampler = temporal_samplers(dataset)[name]
    queries = list(sampler)
    assert queries
    for query in queries:
        assert dataset[query]["mask_valid"].any()


@new_samplers
@pytest.mark.filterwarnings("ignore:random_sampler @ sequential_sampler:UserWarning")
@pytest.mark.parametrize("name", TEMPORAL)
@pytest.mark.parametrize("spatial", ["random", "gridded"])
def test_products_of_spatial_and_temporal_samplers_are_read(tmp_path, name, spatial):
    # All in one place: TorchGeo draws no interval of a day where an item lies alone, for a second.
    files = [File(f"I{number}", "red", noise(number, (72, 72)), number) for number in (1, 2, 3)]
    dataset = rs.to_torchgeo(make_index(tmp_path, files))
    if spatial == "random":
        place = samplers.RandomPatchSampler(dataset, size=24, length=4, generator=1)
    else:
        place = samplers.GriddedPatchSampler(dataset, size=36)
    sampler = place @ temporal_samplers(dataset)[name]
    found = batches_of(dataset, sampler)
    assert found
    for batch in found:
        assert batch["mask_valid"].flatten(1).any(dim=1).all()


def test_samplers_of_a_series_give_slices_of_one_item_each(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], time_series=True)
    for batch in batches_of(dataset, RandomGeoSampler(dataset, size=16, length=6)):
        assert batch["image"].shape[1:] == (1, 1, 16, 16)
        assert batch["mask_valid"].shape[1:] == (1, 1, 16, 16)


def test_a_chip_equals_what_is_read_where_it_lies(dataset, scenes):
    """A wrong place by one pixel shows, for no two pixels are alike."""
    sampler = RandomGeoSampler(dataset, size=20, length=10, generator=torch.Generator().manual_seed(5))
    for query in sampler:
        x, y, t = query
        item = {1: "A", 2: "B", 3: "C"}[t.start.day]
        west = dataset.index[dataset.index["item_id"] == item].total_bounds[0]
        col, row = round((x.start - west) / PIXEL), round((dataset.bounds[1].stop - y.stop) / PIXEL)
        assert 0 <= row <= SIDE - 20
        image = as_array(dataset[query])[0]
        assert np.array_equal(image, scenes.pixels(item, "red")[row : row + 20, col : col + 20])
