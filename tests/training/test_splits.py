"""The splits of TorchGeo split our datasets as they split a RasterDataset."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import (
    random_bbox_assignment,
    random_bbox_splitting,
    random_grid_cell_assignment,
    roi_split,
    stack_samples,
    time_series_split,
)
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler

import rasteret_sql as rs
from rasteret_sql.training.dataset import RasteretDataset
from tests.arrays.cube_files import NORTH, WEST
from tests.training.scenes import CRS, PIXEL, SIDE


def seeded():
    return torch.Generator().manual_seed(4)


def thirds(dataset):
    x, y, _ = dataset.bounds
    middle = (x.start + x.stop) / 2
    return [shapely.box(x.start, y.start, middle, y.stop), shapely.box(middle, y.start, x.stop, y.stop)]


SPLITS = {
    "random_bbox_assignment": lambda dataset: random_bbox_assignment(dataset, [2, 1], seeded()),
    "random_bbox_splitting": lambda dataset: random_bbox_splitting(dataset, [0.5, 0.25, 0.25], seeded()),
    "random_grid_cell_assignment": lambda dataset: random_grid_cell_assignment(dataset, [0.75, 0.25], 4, seeded()),
    "roi_split": lambda dataset: roi_split(dataset, thirds(dataset)),
    "time_series_split": lambda dataset: time_series_split(dataset, [0.5, 0.5]),
}


@pytest.mark.parametrize("label", [None, "cloud"])
@pytest.mark.parametrize("name", SPLITS)
def test_samples_of_splits_are_read(scenes, name, label):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], label_column=label)
    # As after some reads.
    dataset[dataset.bounds[0], dataset.bounds[1], pd.Timestamp(2024, 1, 1) : pd.Timestamp(2024, 1, 1, 23)]
    splits = SPLITS[name](dataset)
    assert len(splits) > 1
    for split in splits:
        assert isinstance(split, RasteretDataset)
        assert split.index.crs == dataset.crs
        assert split.index.index.name == "datetime"
        assert split.res == dataset.res
        for sampler in (RandomGeoSampler(split, size=8, length=6), GridGeoSampler(split, size=12)):
            loader = DataLoader(split, sampler=sampler, batch_size=3, collate_fn=stack_samples)
            for batch in loader:
                assert batch["mask_valid"].flatten(1).any(dim=1).all()
                if label is not None:
                    days = [pd.Timestamp(second, unit="s").day for second in batch["timestamps"].flatten().tolist()]
                    assert batch["label"].tolist() == [10.0 * (day - 1) for day in days]


@pytest.mark.parametrize("name", SPLITS)
def test_splits_are_the_same_for_the_same_seed_and_share_the_files(scenes, name):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    for one, other in zip(SPLITS[name](dataset), SPLITS[name](dataset), strict=True):
        assert one.index.geometry.tolist() == other.index.geometry.tolist()
        assert one.index.index.equals(other.index.index)
        assert one._items is other._items is dataset._items


@pytest.mark.parametrize("name", ["random_bbox_splitting", "random_grid_cell_assignment", "roi_split"])
def test_splits_by_place_have_all_of_it_and_nothing_twice(scenes, name):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    splits = SPLITS[name](dataset)
    areas = [split.index.geometry.area.sum() for split in splits]
    assert sum(areas) == pytest.approx(dataset.index.geometry.area.sum())
    for day in (1, 2, 3):
        parts = [split.index[split.index.index.left.day == day].geometry.union_all() for split in splits]
        for number, part in enumerate(parts):
            assert all(part.intersection(other).area < 1e-3 for other in parts[number + 1 :])


def test_splits_by_time_have_other_items(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    first, second = time_series_split(dataset, [0.5, 0.5])
    assert set(first.index["item_id"]) | set(second.index["item_id"]) == {"A", "B", "C"}
    x, y = slice(WEST, WEST + 80), slice(NORTH - 80, NORTH)
    assert np.array_equal(first[x, y]["image"].numpy()[0], scenes.pixels("A", "red")[:8, :8])
    assert np.array_equal(second[x, y]["image"].numpy()[0], scenes.pixels("C", "red")[:8, :8])


def test_a_region_cuts_items_and_not_pixels(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    region = shapely.box(WEST + 200, NORTH - 500, WEST + 400, NORTH - 200)
    (part,) = roi_split(dataset, [region])
    assert part.bounds[0] == slice(WEST + 200, WEST + 400, PIXEL)
    assert len(part) == 2
    with pytest.raises(IndexError):
        part[WEST : WEST + 80, NORTH - 80 : NORTH]
    image = part[part.bounds[0], part.bounds[1]]["image"].numpy()[0]
    assert np.array_equal(image, scenes.pixels("A", "red")[20:50, 20:40])


def test_splits_may_change_their_crs(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    for split in (*SPLITS["roi_split"](dataset), *SPLITS["random_grid_cell_assignment"](dataset)):
        expected = split.index.to_crs("EPSG:4326").total_bounds
        split.crs, split.res = "EPSG:4326", 1e-4
        assert np.allclose(split.index.total_bounds, expected, atol=2e-6)
        assert split[split.bounds]["mask_valid"].any()
    assert str(dataset.crs) == CRS
    assert dataset.bounds[0] == slice(WEST, WEST + 1.5 * SIDE * PIXEL, PIXEL)
