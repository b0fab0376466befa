"""What TorchGeo expects of any dataset: its index, bounds, CRS, resolution and slices."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pyproj
import pytest
import torch
from geopandas import GeoDataFrame
from torchgeo.datasets import GeoDataset

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.training.dataset import TENSORS_ONLY
from tests.arrays.cube_files import NORTH, WEST, File, at, make_index, noise
from tests.training.scenes import CRS, PIXEL, SIDE, Scenes, as_array, day, window

X, Y = window(0, 0, 32, 32)


@pytest.fixture(scope="module")
def dataset(scenes: Scenes):
    return rs.to_torchgeo(scenes.index, bands=["red", "nir"])


def test_it_is_a_geodataset_of_one_row_per_item_in_order_of_time(dataset):
    assert isinstance(dataset, GeoDataset)
    assert len(dataset) == 3
    assert list(dataset.index["item_id"]) == ["A", "B", "C"]
    assert f"size: {len(dataset)}" in str(dataset)
    assert not hasattr(dataset.index, "filepath")


def test_the_index_has_a_crs_and_intervals_named_datetime_closed_on_both_sides_without_time_zone(dataset):
    index = dataset.index
    assert isinstance(index, GeoDataFrame)
    assert index.crs == pyproj.CRS(CRS)
    times = index.index
    assert isinstance(times, pd.IntervalIndex)
    assert (times.name, times.closed) == ("datetime", "both")
    assert times.left.tz is None
    assert (times.right > times.left).all()
    assert times.left[0] == pd.Timestamp(2024, 1, 1, 10)


def test_bounds_are_those_of_all_footprints_with_the_resolution_as_step(dataset):
    x, y, t = dataset.bounds
    assert (x.start, x.stop, x.step) == (WEST, WEST + 1.5 * SIDE * PIXEL, PIXEL)
    assert (y.start, y.stop, y.step) == (NORTH - SIDE * PIXEL, NORTH, PIXEL)
    assert t.start == pd.Timestamp(2024, 1, 1, 10)
    assert t.stop >= pd.Timestamp(2024, 1, 3, 10)
    assert t.step == 1


def test_files_are_those_of_the_query(dataset, scenes):
    assert dataset.files == sorted(scenes.server.url(file.name) for file in scenes.files)


@pytest.mark.parametrize("res", [20, 20.0, (20.0, 20.0)])
def test_resolution_may_be_set_and_is_the_step_of_slices_that_have_none(scenes, res):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    dataset.res = res
    assert dataset.res == (20.0, 20.0)
    assert dataset[X, Y, day(1)]["image"].shape == (1, 16, 16)


def test_a_resolution_of_two_numbers_is_that_of_x_and_y(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], resolution=(20.0, 10.0))
    sample = dataset[X, Y, day(1)]
    assert sample["image"].shape == (1, 32, 16)
    assert sample["transform"].tolist() == [20.0, 0.0, WEST, 0.0, -10.0, NORTH, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("crs", [pyproj.CRS("EPSG:4326"), "EPSG:4326", pyproj.CRS(pyproj.CRS("EPSG:4326").to_wkt())])
def test_the_crs_may_be_set_and_moves_the_index(scenes, crs):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    before = dataset.index.copy()
    dataset.crs = crs
    assert dataset.crs == pyproj.CRS("EPSG:4326")
    expected = before.to_crs("EPSG:4326").total_bounds
    assert np.allclose(dataset.index.total_bounds, expected, atol=1e-6)
    dataset.res = 1e-4
    sample = dataset[dataset.bounds]
    assert (as_array(sample, "mask_valid").mean()) > 0.9


def test_a_crs_that_is_set_and_set_back_gives_the_footprints_that_were(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    before = dataset.index.copy()
    dataset.crs = "EPSG:3857"
    dataset.crs = CRS
    assert dataset.index.geometry.to_numpy().tolist() == before.geometry.to_numpy().tolist()


def test_setting_crs_or_resolution_leaves_copies_as_they_are(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    other = copy.deepcopy(dataset)
    shallow = copy.copy(dataset)
    dataset.crs, dataset.res = "EPSG:4326", 1e-4
    for each in (other, shallow):
        assert each.crs == pyproj.CRS(CRS)
        assert each.res == (PIXEL, PIXEL)
        assert each[X, Y, day(1)]["image"].shape == (1, 32, 32)


def test_slices_may_leave_out_axes_ends_and_steps(dataset):
    x, y, t = dataset.bounds
    everything = dataset[x, y, t]
    for query in (slice(None), (slice(None),), (x, y), (slice(None), slice(None), slice(None)), dataset.bounds):
        assert torch.equal(dataset[query]["image"], everything["image"]), query
    height, width = everything["image"].shape[1:]
    assert (height, width) == (SIDE, SIDE * 3 // 2)
    part = dataset[x.start + 320 :, : y.start + 320]["image"]
    assert torch.equal(part, everything["image"][:, -32:, 32:])
    assert torch.equal(dataset[x.start + 320 :]["image"], everything["image"][:, :, 32:])
    assert torch.equal(dataset[X, Y]["image"], dataset[X, Y, t]["image"])


def test_the_step_of_a_slice_is_the_pixel_of_the_sample(dataset):
    sample = dataset[X.start : X.stop : 20.0, Y.start : Y.stop : 40.0, day(1)]
    assert sample["image"].shape == (2, 8, 16)
    assert sample["transform"].tolist() == [20.0, 0.0, X.start, 0.0, -40.0, Y.stop, 0.0, 0.0, 1.0]


def test_the_step_in_time_takes_every_nth_item(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], time_series=True)
    x, y = window(20, 60, 16, 16)
    t = dataset.bounds[2]
    each = dataset[x, y, t]["image"]
    assert each.shape == (3, 1, 16, 16)
    for step in (2, 2.0, np.int64(2)):
        assert torch.equal(dataset[x, y, t.start : t.stop : step]["image"], each[::2])
    assert torch.equal(dataset[x, y, t.start : t.stop : 3]["image"], each[:1])


@pytest.mark.parametrize(
    "query",
    [
        (slice(WEST + 1e6, WEST + 1e6 + 320), Y),
        (X, slice(NORTH + 1, NORTH + 321)),
        (slice(WEST - 321, WEST - 1), Y),
        (X, Y, slice(pd.Timestamp(2020, 1, 1), pd.Timestamp(2020, 1, 2))),
        (X, Y, slice(pd.Timestamp(2024, 1, 1, 10, 1), pd.Timestamp(2024, 1, 2, 9))),
        (*window(0, SIDE + 1, 8, 8), day(1)),
    ],
    ids=["far", "above", "left", "before", "between", "other item"],
)
def test_a_slice_that_touches_nothing_is_an_index_error(dataset, query):
    with pytest.raises(IndexError, match="not found in index with bounds"):
        dataset[query]


@pytest.mark.parametrize(
    "query",
    [(X, slice(NORTH, NORTH + 320)), (slice(WEST - 320, WEST), Y), (*window(0, SIDE, 8, 8), day(1))],
    ids=["edge above", "edge left", "other item"],
)
def test_a_slice_that_touches_an_edge_only_has_no_valid_pixel_as_with_a_raster_dataset(dataset, query):
    assert not dataset[query]["mask_valid"].any()


def test_a_slice_that_overlaps_by_part_of_a_pixel_is_found(dataset):
    sample = dataset[WEST - 315 : WEST + 5, Y, day(1)]
    assert sample["image"].shape == (2, 32, 32)


def test_what_lies_outside_of_files_is_fill_and_not_valid(scenes):
    query = (*window(-8, -5, 32, 32), day(1))
    for fill, expected in ((None, 0.0), (-1.0, -1.0)):
        sample = rs.to_torchgeo(scenes.index, bands=["red", "nir"], fill=fill)[query]
        valid = as_array(sample, "mask_valid")
        assert valid.shape == (1, 32, 32)
        assert not valid[0, :14, :14].any()
        assert valid[0, 14:, 14:].all()
        assert (as_array(sample)[:, :8] == expected).all()
        assert (as_array(sample)[:, :, :5] == expected).all()
        inside = scenes.pixels("A", "red")[6:24, 9:27]
        assert np.array_equal(as_array(sample)[0, 14:, 14:], inside)


def test_samples_have_the_keys_and_dtypes_that_torchgeo_has(dataset):
    query = (X, Y, day(1))
    sample = dataset[query]
    assert sample["image"].dtype == torch.float32
    assert sample["mask_valid"].dtype == torch.bool
    assert sample["transform"].dtype == torch.float64
    assert sample["timestamps"].tolist() == [pd.Timestamp(2024, 1, 1, 10).timestamp()]
    if TENSORS_ONLY:
        assert all(isinstance(value, torch.Tensor) for value in sample.values())
        t = day(1)
        times = [t.start.timestamp(), t.stop.timestamp()]
        expected = [X.start, X.stop, PIXEL, Y.start, Y.stop, PIXEL, *times, 1]
        assert sample["bounds"].dtype == torch.float64
        assert sample["bounds"].tolist() == expected
    else:
        assert sample["crs"] == dataset.crs
        assert sample["bounds"] == query


def test_times_with_a_zone_are_those_moments(dataset):
    t = slice(pd.Timestamp("2024-01-01T14:30", tz="Asia/Kolkata"), pd.Timestamp("2024-01-01T16:30", tz="Asia/Kolkata"))
    assert torch.equal(dataset[X, Y, t]["image"], dataset[X, Y, day(1)]["image"])
    other = slice(
        pd.Timestamp("2024-01-01T09:00", tz="Asia/Kolkata"), pd.Timestamp("2024-01-01T11:00", tz="Asia/Kolkata")
    )
    with pytest.raises(IndexError):
        dataset[X, Y, other]


def test_an_item_that_begins_when_the_slice_ends_is_found_only_where_there_is_no_other(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], time_series=True)
    x, y = window(20, 60, 16, 16)
    moment = pd.Timestamp(2024, 1, 3, 10)
    for start, found in ((pd.Timestamp(2024, 1, 2), [2]), (pd.Timestamp(2024, 1, 2, 12), [3])):
        times = dataset[x, y, start:moment]["timestamps"].tolist()
        assert times == [pd.Timestamp(2024, 1, number, 10).timestamp() for number in found]
    with pytest.raises(IndexError):
        dataset[x, y, pd.Timestamp(2024, 1, 3, 10, 0, 1) : pd.Timestamp(2024, 1, 4)]


def test_a_moment_is_a_slice_of_time(dataset):
    moment = pd.Timestamp(2024, 1, 1, 10)
    assert torch.equal(dataset[X, Y, moment:moment]["image"], dataset[X, Y, day(1)]["image"])


def test_items_without_a_time_are_found_at_any(tmp_path):
    index = make_index(
        tmp_path, [File("A", "red", noise(1), options={"transform": at()}, properties={"datetime": None})]
    )
    dataset = rs.to_torchgeo(index)
    x, y, t = dataset.bounds
    assert t.start < pd.Timestamp(1700, 1, 1)
    assert t.stop > pd.Timestamp(2200, 1, 1)
    for query in ((x, y), (x, y, day(1)), (x, y, slice(pd.Timestamp(1999, 1, 1), pd.Timestamp(1999, 1, 2)))):
        sample = dataset[query]
        assert np.array_equal(as_array(sample)[0], noise(1))
        assert np.isnan(as_array(sample, "timestamps")).all()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ((slice(WEST, WEST), Y), "x: got"),
        ((slice(WEST + 320, WEST), Y), "x: got"),
        ((slice(WEST, WEST + 320, 0), Y), "x: got"),
        ((X, slice(Y.start, Y.stop, -10)), "y: got"),
        ((slice(WEST, WEST + 320, 1e-3), Y), "expected 1 to"),
        ((X, Y, slice(None, None, 0)), "t: got a step"),
        ((X, Y, slice(None, None, -1)), "t: got a step"),
    ],
)
def test_a_slice_that_is_no_grid_is_refused(dataset, query, words):
    with pytest.raises(InvalidArgumentError, match=words):
        dataset[query]


def test_a_pickled_dataset_reads_the_same(dataset):
    query = (X, Y, day(1))
    before = dataset[query]
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[query]["image"], before["image"])
    assert again.index.equals(dataset.index)
    assert (again.crs, again.res) == (dataset.crs, dataset.res)
