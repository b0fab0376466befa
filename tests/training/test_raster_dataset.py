"""The same files through TorchGeo's RasterDataset and through ours: equal samples for equal queries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

import rasteret_sql as rs
from rasteret_sql.training.dataset import TENSORS_ONLY
from tests.arrays.cube_files import WEST, File, at, make_index, noise, smooth
from tests.training.scenes import as_array, window

SIDE = 96


class Bands(RasterDataset):
    """A file per band."""

    filename_glob = "S?_*_red.tif"
    filename_regex = r"^S\d_(?P<date>\d{8})_(?P<band>[a-z]+)\.tif$"
    separate_files = True
    all_bands = ("red", "nir")


class Stack(RasterDataset):
    """All bands in one file."""

    filename_glob = "V?_*_visual.tif"
    filename_regex = r"^V\d_(?P<date>\d{8})_visual\.tif$"
    all_bands = ("visual:red", "visual:green", "visual:blue")


class Classes(RasterDataset):
    """Masks."""

    filename_glob = "S?_*_class.tif"
    filename_regex = r"^S\d_(?P<date>\d{8})_class\.tif$"
    is_image = False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two tiles side by side on the first day, that overlap by 16 pixels, and one on the third."""
    made = tmp_path_factory.mktemp("tiles")
    files = []
    for number, (item, east, day) in enumerate((("S1", 0, 1), ("S2", SIDE - 16, 1), ("S3", 0, 3))):
        name = f"{item}_2024010{day}"
        options = {"transform": at(WEST + east * 10.0), "overviews": (2,), "nodata": 0}
        red, nir = noise(2 * number, (SIDE, SIDE)), noise(2 * number + 1, (SIDE, SIDE))
        red[:7, 85:] = nir[20:30, 90:] = 0
        files += [File(name, "red", red, day, options=options), File(name, "nir", nir, day, options=options)]
        classes = options | {"nodata": None}
        # No zeros, for rasterio takes them for nodata where a file has none, and lets them fall through.
        files.append(File(name, "class", noise(number, (SIDE, SIDE), "uint8") % 7 + 1, day, options=classes))
        visual = options | {"nodata": None, "band_names": ["red", "green", "blue"]}
        files.append(
            File(name.replace("S", "V"), "visual", noise(number, (3, SIDE, SIDE), "uint8"), day, options=visual)
        )
    make_index(made, files)
    return made


def both(folder, name):
    index = folder / "i.parquet"
    if name == "bands":
        query = f"FROM '{index}' WHERE asset IN ('red', 'nir') ORDER BY item_id"
        return Bands(folder), rs.to_torchgeo(query, bands=["red", "nir"])
    if name == "stack":
        return Stack(folder), rs.to_torchgeo(f"FROM '{index}' WHERE asset = 'visual' ORDER BY item_id")
    return Classes(folder), rs.to_torchgeo(f"FROM '{index}' WHERE asset = 'class' ORDER BY item_id", is_image=False)


def days(first: int, last: int) -> slice:
    return slice(pd.Timestamp(2024, 1, first), pd.Timestamp(2024, 1, last, 23, 59))


@pytest.mark.parametrize("name", ["bands", "stack", "classes"])
def test_index_bounds_crs_and_resolution_are_the_same(folder, name):
    theirs, ours = both(folder, name)
    assert len(theirs) == len(ours) == 3
    assert theirs.crs == ours.crs
    assert theirs.res == ours.res
    assert theirs.bounds[:2] == ours.bounds[:2]
    assert sorted(each.bounds for each in theirs.index.geometry) == sorted(each.bounds for each in ours.index.geometry)
    assert ours.index.index.name == theirs.index.index.name
    assert ours.index.index.closed == theirs.index.index.closed


@pytest.mark.parametrize("name", ["bands", "stack", "classes"])
@pytest.mark.parametrize(
    "query",
    [
        (*window(0, 0, SIDE, SIDE), days(1, 1)),
        (*window(11, 13, 32, 48), days(1, 1)),
        (*window(0, SIDE - 40, 64, 64), days(1, 1)),
        (*window(5, 0, 64, 2 * SIDE - 16), days(1, 1)),
        (*window(5, 6, 20, 20), days(3, 3)),
        (*window(5, 70, 40, 40), days(1, 3)),
        window(50, 70, 30, 30),
        (*window(-10, -20, 64, 64), days(1, 1)),
        (*window(SIDE - 10, 30, 64, 64), days(3, 3)),
    ],
    ids=[
        "tile",
        "part",
        "two tiles",
        "both tiles",
        "other day",
        "all days",
        "any time",
        "over the corner",
        "over the end",
    ],
)
def test_images_in_the_native_grid_are_equal(folder, name, query):
    theirs, ours = both(folder, name)
    key = "mask" if name == "classes" else "image"
    expected, sample = theirs[query], ours[query]
    assert sample[key].dtype == expected[key].dtype
    assert sample[key].shape == expected[key].shape
    assert torch.equal(sample[key], expected[key])
    if TENSORS_ONLY:
        assert sample["transform"].tolist() == expected["transform"].tolist()
        t = query[2] if len(query) > 2 else None
        assert np.allclose(sample["bounds"][:6], expected["bounds"][:6])
        if t is not None:
            assert np.allclose(sample["bounds"], expected["bounds"], rtol=1e-6)
    else:
        assert (sample["bounds"], sample["crs"]) == (expected["bounds"], expected["crs"])


@pytest.mark.skipif(not TENSORS_ONLY, reason="time_series came with torchgeo 0.9")
@pytest.mark.parametrize("name", ["bands", "stack", "classes"])
def test_time_series_are_equal(folder, name):
    theirs, ours = both(folder, name)
    theirs.time_series = True
    ours = rs.to_torchgeo(
        f"FROM '{folder / 'i.parquet'}' WHERE asset IN ({', '.join(repr(asset) for asset in assets_of(name))})",
        bands=list(ours.bands), is_image=ours.is_image, time_series=True,
    )  # fmt: skip
    key = "mask" if name == "classes" else "image"
    query = (*window(20, 85, 9, 8), days(1, 3))
    expected = theirs[query][key]
    assert ours[query][key].shape == expected.shape
    assert torch.equal(ours[query][key], expected)


def assets_of(name: str) -> tuple[str, ...]:
    return {"bands": ("red", "nir"), "stack": ("visual",), "classes": ("class",)}[name]


def test_batches_of_a_grid_sampler_are_equal(folder):
    theirs, ours = both(folder, "bands")

    def batches(dataset):
        sampler = GridGeoSampler(dataset, size=32, stride=24)
        loader = DataLoader(dataset, sampler=sampler, batch_size=4, collate_fn=lambda samples: samples)
        return [sample for batch in loader for sample in batch]

    expected, samples = batches(theirs), batches(ours)
    assert len(samples) == len(expected) > 20

    def by_place(sample):
        places = sample["bounds"] if TENSORS_ONLY else [each.start for each in sample["bounds"][:2]]
        return (float(places[0]), float(places[3 if TENSORS_ONLY else 1])), sample["image"].sum().item()

    # Their intervals are days, and so each finds both tiles; ours are in order of time, theirs of names.
    for one, other in zip(sorted(map(by_place, expected)), sorted(map(by_place, samples)), strict=True):
        assert one == other


def test_coarser_steps_are_near_to_each_other_and_in_the_same_place(tmp_path):
    files = [
        File("S1_20240101", "red", smooth((SIDE, SIDE)), options={"overviews": (2,), "overview_resampling": "average"})
    ]
    index = make_index(tmp_path, files)

    class Red(Bands):
        all_bands = ("red",)

    theirs, ours = Red(tmp_path), rs.to_torchgeo(index)
    x, y = window(8, 8, 64, 64)
    query = slice(x.start, x.stop, 20.0), slice(y.start, y.stop, 20.0)
    assert np.abs(as_array(ours[query]) - as_array(theirs[query])).max() < 30


def test_another_crs_gives_the_same_ground(tmp_path):
    files = [File("S1_20240101", "red", smooth((SIDE, SIDE)), options={"nodata": 0})]
    index = make_index(tmp_path, files)

    class Red(Bands):
        all_bands = ("red",)

    import pyproj

    theirs = Red(tmp_path, crs=pyproj.CRS("EPSG:4326"), res=1e-4)
    ours = rs.to_torchgeo(index, crs="EPSG:4326", resolution=1e-4)
    for one, other in zip(theirs.bounds[:2], ours.bounds[:2], strict=True):
        # GDAL's footprint is that of its grid, which is up to a pixel larger.
        assert abs(one.start - other.start) < 1e-4
        assert abs(one.stop - other.stop) < 1e-4
    x, y, _ = theirs.bounds
    query = slice(x.start + 1e-3, x.start + 6e-3), slice(y.start + 1e-3, y.start + 6e-3)
    one, other = as_array(theirs[query]), as_array(ours[query])
    assert one.shape == other.shape == (1, 50, 50)
    # RasterDataset resamples twice, to a grid of its own and from there to that of the chip: nearest, then bilinear.
    assert np.quantile(np.abs(one - other), 0.95) < 250
    assert np.abs((one - other).mean()) < 10


def test_collated_batches_have_the_same_keys_beside_ours(folder):
    theirs, ours = both(folder, "bands")
    queries = [(*window(0, 0, 16, 16), days(1, 1)), (*window(9, 3, 16, 16), days(1, 1))]
    if not TENSORS_ONLY:
        assert set(theirs[queries[0]]) <= set(ours[queries[0]])
        return
    expected = stack_samples([theirs[query] for query in queries])
    batch = stack_samples([ours[query] for query in queries])
    assert set(batch) - set(expected) == {"mask_valid", "timestamps"}
    assert torch.equal(batch["image"], expected["image"])
