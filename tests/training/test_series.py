"""Series: a first axis of times, and what shares a slice of it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import torch

import rasteret_sql as rs
from tests.arrays.cube_files import WEST, File, at, make_index, noise
from tests.training.scenes import as_array, utc, window

SIDE = 48


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    """Two tiles side by side, taken at the same time, at times apart, and on both sides of midnight in UTC."""
    times = {
        "same": (utc(2024, 1, 1, 10), utc(2024, 1, 1, 10)),
        "day": (utc(2024, 1, 3, 9), utc(2024, 1, 3, 15)),
        # At 76 degrees east the sun is 5 hours ahead of UTC: both are noon to evening of the 6th.
        "night": (utc(2024, 1, 5, 23), utc(2024, 1, 6, 1)),
    }
    folder = tmp_path_factory.mktemp("week")
    files = []
    for name, pair in times.items():
        for side, when in zip("WE", pair, strict=True):
            options = {"transform": at(WEST + (SIDE * 10.0 if side == "E" else 0)), "nodata": 0}
            data = noise(len(files), (SIDE, SIDE))
            files.append(File(f"{name}{side}", "red", data, when, options=options))
    return make_index(folder, files), {file.item: file.data for file in files}


ACROSS = window(0, 40, 16, 16)


def test_a_series_has_a_slice_per_item_in_order_of_time(week):
    index, pixels = week
    sample = rs.to_torchgeo(index, time_series=True)[ACROSS]
    assert sample["image"].shape == (6, 1, 16, 16)
    assert sample["mask_valid"].shape == (6, 1, 16, 16)
    assert sample["timestamps"].shape == (6,)
    assert (sample["timestamps"].diff() >= 0).all()
    assert np.array_equal(as_array(sample)[2, 0, :, :8], pixels["dayW"][:16, 40:])
    assert np.array_equal(as_array(sample)[3, 0, :, 8:], pixels["dayE"][:16, :8])
    assert not sample["mask_valid"][2, 0, :, 8:].any()
    assert (sample["image"][2, 0, :, 8:] == 0).all()


@pytest.mark.parametrize(
    ("groupby", "groups"),
    [
        ("time", [("sameW", "sameE"), ("dayW", ""), ("", "dayE"), ("nightW", ""), ("", "nightE")]),
        ("day", [("sameW", "sameE"), ("dayW", "dayE"), ("nightW", ""), ("", "nightE")]),
        ("solar_day", [("sameW", "sameE"), ("dayW", "dayE"), ("nightW", "nightE")]),
    ],
)
def test_items_share_a_slice_as_groupby_says(week, groupby, groups):
    index, pixels = week
    sample = rs.to_torchgeo(index, time_series=True, groupby=groupby)[ACROSS]
    image, valid = as_array(sample)[:, 0], as_array(sample, "mask_valid")[:, 0]
    assert image.shape == (len(groups), 16, 16)
    for number, (west, east) in enumerate(groups):
        left = pixels[west][:16, 40:] if west else np.zeros((16, 8))
        right = pixels[east][:16, :8] if east else np.zeros((16, 8))
        assert np.array_equal(image[number], np.hstack([left, right])), (groupby, number)
        assert valid[number, :, :8].all() == bool(west)
        assert valid[number, :, 8:].all() == bool(east)


def test_timestamps_are_those_of_the_first_item_of_each_slice(week):
    index, _ = week
    sample = rs.to_torchgeo(index, time_series=True, groupby="solar_day")[ACROSS]
    expected = [utc(2024, 1, 1, 10), utc(2024, 1, 3, 9), utc(2024, 1, 5, 23)]
    assert sample["timestamps"].tolist() == [when.timestamp() for when in expected]
    assert sample["timestamps"].dtype == torch.float64


def test_masks_of_a_series_have_an_axis_of_times(week):
    index, _ = week
    sample = rs.to_torchgeo(index, is_image=False, time_series=True, groupby="day")[ACROSS]
    assert sample["mask"].shape == (4, 16, 16)
    assert sample["mask"].dtype == torch.int64


def test_without_a_series_all_times_become_one_mosaic(week):
    index, pixels = week
    sample = rs.to_torchgeo(f"FROM '{index}' ORDER BY datetime, item_id DESC")[ACROSS]
    expected = np.hstack([pixels["sameW"][:16, 40:], pixels["sameE"][:16, :8]])
    assert np.array_equal(as_array(sample)[0], expected)
    assert sample["timestamps"].tolist() == [utc(2024, 1, 1, 10).timestamp()]


def test_a_period_and_a_step_choose_slices(week):
    index, _ = week
    dataset = rs.to_torchgeo(index, time_series=True)
    period = slice(pd.Timestamp(2024, 1, 3), pd.Timestamp(2024, 1, 5, 23, 30))
    assert dataset[(*ACROSS, period)]["image"].shape[0] == 3
    stepped = dataset[(*ACROSS, slice(period.start, period.stop, 2))]
    assert stepped["timestamps"].tolist() == [utc(2024, 1, 3, 9).timestamp(), utc(2024, 1, 5, 23).timestamp()]


def test_items_that_last_have_their_whole_interval(tmp_path):
    properties = {"start_datetime": utc(2024, 1, 1), "end_datetime": utc(2024, 3, 31)}
    index = make_index(tmp_path, [File("Q", "red", noise(1), properties=properties)])
    dataset = rs.to_torchgeo(index)
    interval = dataset.index.index[0]
    assert interval.left == pd.Timestamp(2024, 1, 1)
    assert interval.right == pd.Timestamp(2024, 3, 31)
    february = slice(pd.Timestamp(2024, 2, 1), pd.Timestamp(2024, 2, 2))
    assert dataset[(*window(0, 0, 8, 8), february)]["image"].shape == (1, 8, 8)
    assert dt.datetime.fromtimestamp(dataset[window(0, 0, 8, 8)]["timestamps"].item(), dt.UTC) == utc(2024, 1, 1)
