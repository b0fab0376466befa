"""`&` and `|` with our datasets and those of TorchGeo on either side: the right pixels in the right place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyproj
import pytest
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import IntersectionDataset, RasterDataset, UnionDataset
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler

import rasteret_sql as rs
from rasteret_sql.training.dataset import RasteretDataset
from tests.arrays.cube_files import WEST, File, at, make_index, noise, smooth
from tests.training.scenes import as_array, window

SIDE = 96


class Theirs(RasterDataset):
    """One kind of file of the folder."""

    filename_regex = r"^[A-Z]_.*\.tif$"


class TheirImages(Theirs):
    filename_glob = "A_red.tif"


class TheirMasks(Theirs):
    filename_glob = "M_class.tif"
    is_image = False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image, masks that lie 32 pixels east of it, and both again in other CRSs and sizes of pixels."""
    made = tmp_path_factory.mktemp("pairs")
    east = at(WEST + 320.0)
    files = [
        File("A", "red", noise(1, (SIDE, SIDE)), options={"nodata": 0}),
        File("A", "nir", noise(2, (SIDE, SIDE)), options={"nodata": 0}),
        File("M", "class", noise(3, (SIDE, SIDE), "uint8") % 7 + 1, options={"transform": east}),
        File("D", "dem", smooth((SIDE // 2, SIDE // 2)), options={"transform": at(size=20.0), "nodata": 0}),
        File(
            "G", "gradient", smooth((120, 120)),
            options={"crs": "EPSG:4326", "transform": (1e-4, 0.0, 75.92, 0.0, -1e-4, 12.666), "nodata": 0},
        ),
    ]  # fmt: skip
    make_index(made, files)
    return made


def ours(folder, asset: str, **options):
    names = [asset] if isinstance(asset, str) else asset
    listed = ", ".join(f"'{name}'" for name in names)
    return rs.to_torchgeo(f"FROM '{folder / 'i.parquet'}' WHERE asset IN ({listed})", bands=names, **options)


def class_pixels():
    return noise(3, (SIDE, SIDE), "uint8") % 7 + 1


def pairs(folder):
    def images():
        return ours(folder, "red")

    def masks():
        return ours(folder, "class", is_image=False)

    return {
        "ours & ours": lambda: (images(), masks()),
        "ours & theirs": lambda: (images(), TheirMasks(folder)),
        "theirs & ours": lambda: (TheirImages(folder), masks()),
    }


@pytest.mark.parametrize("name", ["ours & ours", "ours & theirs", "theirs & ours"])
def test_an_intersection_has_image_and_mask_of_the_same_ground(folder, name):
    one, other = pairs(folder)[name]()
    dataset = one & other
    assert isinstance(dataset, IntersectionDataset)
    assert len(dataset) == 1
    x = dataset.bounds[0]
    assert (x.start, x.stop) == (WEST + 320, WEST + SIDE * 10)
    sample = dataset[window(10, 40, 24, 32)]
    assert np.array_equal(as_array(sample)[0], noise(1, (SIDE, SIDE))[10:34, 40:72])
    assert np.array_equal(as_array(sample, "mask"), class_pixels()[10:34, 8:40])


@pytest.mark.parametrize("name", ["ours & ours", "ours & theirs", "theirs & ours"])
def test_samplers_of_an_intersection_give_the_same_ground(folder, name):
    one, other = pairs(folder)[name]()
    dataset = one & other
    sampler = RandomGeoSampler(dataset, size=24, length=6)
    for query in sampler:
        sample = dataset[query]
        row, col = round((dataset.bounds[1].stop - query[1].stop) / 10), round((query[0].start - WEST) / 10)
        assert np.array_equal(as_array(sample)[0], noise(1, (SIDE, SIDE))[row : row + 24, col : col + 24])
        assert np.array_equal(as_array(sample, "mask"), class_pixels()[row : row + 24, col - 32 : col - 8])


def test_an_intersection_of_images_joins_their_channels(folder):
    sample = (ours(folder, "red") & ours(folder, "nir"))[window(10, 40, 24, 32)]
    expected = np.stack([noise(seed, (SIDE, SIDE))[10:34, 40:72] for seed in (1, 2)])
    assert np.array_equal(as_array(sample), expected)
    assert sample["mask_valid"].shape == (2, 24, 32)


def test_the_second_dataset_reads_onto_the_grid_of_the_first(folder):
    images, heights = ours(folder, "red"), ours(folder, "dem", resampling="nearest")
    assert heights.res == (20.0, 20.0)
    sample = (images & heights)[window(10, 40, 24, 32)]
    assert sample["image"].shape == (2, 24, 32)
    expected = np.kron(smooth((SIDE // 2, SIDE // 2)), np.ones((2, 2)))[10:34, 40:72]
    assert np.array_equal(as_array(sample)[1], expected)
    assert heights.res == (10.0, 10.0)


def test_the_other_way_round_pixels_are_those_of_the_coarser(folder):
    heights, images = ours(folder, "dem"), ours(folder, "red", resampling="average")
    sample = (heights & images)[window(10, 40, 24, 32)]
    assert sample["image"].shape == (2, 12, 16)
    assert np.array_equal(as_array(sample)[0], smooth((SIDE // 2, SIDE // 2))[5:17, 20:36])
    blocks = noise(1, (SIDE, SIDE))[10:34, 40:72].reshape(12, 2, 16, 2).mean(axis=(1, 3))
    assert np.allclose(as_array(sample)[1], blocks, atol=0.51)


def ground_truth(x, y):
    """The gradient of G at places in EPSG:4326, by what it was made of."""
    cols, rows = (x - 75.92) / 1e-4 - 0.5, (12.666 - y) / 1e-4 - 0.5
    return 2000 + 1500 * np.sin(cols / 9) * np.cos(rows / 7)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_the_second_dataset_reads_in_the_crs_of_the_first(folder, first):
    images = ours(folder, "red") if first == "ours" else TheirImages(folder)
    gradient = ours(folder, "gradient")
    assert gradient.crs == pyproj.CRS("EPSG:4326")
    dataset = images & gradient
    assert gradient.crs == images.crs
    x, y, _ = dataset.bounds
    query = slice(x.start, x.start + 300, 10.0), slice(y.stop - 300, y.stop, 10.0)
    sample = dataset[query]
    valid = ground_valid(images, query, gradient)
    east, north = np.meshgrid(x.start + 5 + 10 * np.arange(30), y.stop - 5 - 10 * np.arange(30))
    places = pyproj.Transformer.from_crs("EPSG:32643", "EPSG:4326", always_xy=True).transform(east, north)
    difference = np.abs(as_array(sample)[1] - ground_truth(*places))[valid]
    assert valid.mean() > 0.8
    # A pixel beside is up to 210 away.
    assert np.median(difference) < 8
    assert difference.max() < 60


def ground_valid(images, query, gradient):
    return as_array(gradient[query], "mask_valid")[0]


def test_theirs_in_the_crs_of_ours_meet_in_the_same_place(folder):
    gradient, images = ours(folder, "gradient"), TheirImages(folder)
    dataset = gradient & images
    x, y, _ = dataset.bounds
    assert dataset.crs == pyproj.CRS("EPSG:4326")
    query = slice(x.start, x.start + 3e-3, 1e-4), slice(y.stop - 3e-3, y.stop, 1e-4)
    assert np.array_equal(as_array(dataset[query])[0], as_array(ours(folder, "gradient")[query])[0])


def test_three_datasets_meet(folder):
    images, heights = ours(folder, ["red", "nir"]), ours(folder, "dem", resampling="nearest")
    masks = ours(folder, "class", is_image=False)
    expected = np.concatenate(
        [
            np.stack([noise(seed, (SIDE, SIDE))[10:34, 40:72] for seed in (1, 2)]),
            np.kron(smooth((SIDE // 2, SIDE // 2)), np.ones((2, 2)))[None, 10:34, 40:72],
        ]
    )
    for dataset in (images & heights & masks, images & (heights & masks), (images & masks) & heights):
        sample = dataset[window(10, 40, 24, 32)]
        assert np.array_equal(as_array(sample), expected)
        assert np.array_equal(as_array(sample, "mask"), class_pixels()[10:34, 8:40])
        assert len(list(GridGeoSampler(dataset, size=16))) > 3


def test_setting_crs_and_resolution_of_an_intersection_moves_both(folder):
    dataset = ours(folder, "red") & ours(folder, "class", is_image=False)
    dataset.crs, dataset.res = pyproj.CRS("EPSG:4326"), 1e-4
    for each in dataset.datasets:
        assert each.crs == pyproj.CRS("EPSG:4326")
        assert each.res == (1e-4, 1e-4)
    x, y, _ = dataset.bounds
    sample = dataset[x.start + 5e-4 : x.start + 25e-4, y.start + 5e-4 : y.start + 25e-4]
    assert sample["image"].shape == (1, 20, 20)
    assert sample["mask_valid"].all()
    assert set(np.unique(as_array(sample, "mask"))) <= set(range(1, 8))


def test_a_union_gives_what_either_has(folder):
    red = ours(folder, "red")
    east = ours(folder, "class", dtype=torch.float32)
    dataset = red | east
    assert isinstance(dataset, UnionDataset)
    assert len(dataset) == 2
    only_red, only_class = dataset[window(0, 0, 20, 20)], dataset[window(0, SIDE, 20, 20)]
    assert np.array_equal(as_array(only_red)[0], noise(1, (SIDE, SIDE))[:20, :20])
    assert np.array_equal(as_array(only_class)[0], class_pixels()[:20, 64:84])
    both = dataset[window(0, 40, 20, 20)]
    assert np.array_equal(as_array(both)[0], np.maximum(noise(1, (SIDE, SIDE))[:20, 40:60], class_pixels()[:20, 8:28]))
    with pytest.raises(IndexError):
        dataset[window(0, 500, 20, 20)]


@pytest.mark.parametrize("order", ["ours | theirs", "theirs | ours"])
def test_a_union_with_theirs_gives_what_either_has(folder, order):
    theirs, mine = TheirImages(folder), ours(folder, "class")
    dataset = mine | theirs if order == "ours | theirs" else theirs | mine
    assert np.array_equal(as_array(dataset[window(0, 0, 20, 20)])[0], noise(1, (SIDE, SIDE))[:20, :20])
    assert np.array_equal(as_array(dataset[window(0, SIDE, 20, 20)])[0], class_pixels()[:20, 64:84])


def test_unions_and_intersections_nest(folder):
    dataset = (ours(folder, "red") | ours(folder, "nir")) & ours(folder, "class", is_image=False)
    sample = dataset[window(10, 40, 24, 32)]
    expected = np.maximum(noise(1, (SIDE, SIDE)), noise(2, (SIDE, SIDE)))[10:34, 40:72]
    assert np.array_equal(as_array(sample)[0], expected)
    assert np.array_equal(as_array(sample, "mask"), class_pixels()[10:34, 8:40])


def test_datasets_of_other_times_meet_in_place_only_where_asked_for(tmp_path):
    index = make_index(tmp_path, [File("A", "red", noise(1), 1), File("M", "class", noise(2, dtype="uint8"), 20)])
    images = rs.to_torchgeo(f"FROM '{index}' WHERE asset = 'red'")
    masks = rs.to_torchgeo(f"FROM '{index}' WHERE asset = 'class'", is_image=False)
    with pytest.raises(RuntimeError, match="no temporal intersection"):
        images & masks
    dataset = IntersectionDataset(images, masks, spatial_only=True)
    assert len(dataset) == 1
    sample = dataset[window(3, 4, 20, 20)]
    assert np.array_equal(as_array(sample)[0], noise(1)[3:23, 4:24])
    assert np.array_equal(as_array(sample, "mask"), noise(2, dtype="uint8")[3:23, 4:24])


def test_datasets_that_do_not_meet_are_refused(folder, tmp_path):
    far = rs.to_torchgeo(make_index(tmp_path, [File("A", "red", noise(1), options={"transform": at(WEST + 1e5)})]))
    with pytest.raises(RuntimeError, match="no spatial intersection"):
        ours(folder, "red") & far


@pytest.mark.parametrize("other", [1, "x", None])
def test_what_is_no_dataset_is_refused(folder, other):
    with pytest.raises((TypeError, ValueError), match="only supports GeoDatasets"):
        ours(folder, "red") & other
    with pytest.raises((TypeError, ValueError), match="only supports GeoDatasets"):
        ours(folder, "red") | other


def negated(sample):
    return sample | {"image": -sample["image"]}


def doubled(sample):
    return sample | {"image": 2 * sample["image"]}


def test_transforms_of_every_level_are_applied_in_turn(folder):
    one = ours(folder, "red", transforms=negated)
    other = ours(folder, "nir", transforms=doubled)
    query = window(10, 40, 24, 32)
    dataset = one & other
    dataset.transforms = negated
    sample = dataset[query]
    expected = np.stack([noise(1, (SIDE, SIDE)), -2.0 * noise(2, (SIDE, SIDE))])[:, 10:34, 40:72]
    assert np.array_equal(as_array(sample), expected)
    assert torch.equal(dataset.__getitems__([query])[0]["image"], sample["image"])


def first_of(samples):
    return samples[0]


@pytest.mark.parametrize("kind", [IntersectionDataset, UnionDataset])
def test_a_collate_function_of_ones_own_is_used(folder, kind):
    plain = kind(ours(folder, "red"), ours(folder, "nir"), collate_fn=first_of)
    ours_too = (
        ours(folder, "red") & ours(folder, "nir")
        if kind is IntersectionDataset
        else ours(folder, "red") | ours(folder, "nir")
    )
    ours_too.collate_fn = first_of
    query = window(10, 40, 24, 32)
    for dataset in (plain, ours_too):
        for sample in (dataset[query], next(iter(DataLoader(dataset, sampler=[query], collate_fn=first_of)))):
            assert np.array_equal(as_array(sample)[0], noise(1, (SIDE, SIDE))[10:34, 40:72])


class Halved(RasteretDataset):
    """A subclass that makes more of each sample."""

    def __getitem__(self, query):
        sample = super().__getitem__(query)
        return sample | {"image": sample["image"] / 2, "half": torch.tensor(1)}


def test_a_subclass_that_makes_more_of_samples_is_honoured_everywhere(folder):
    dataset = ours(folder, "red")
    dataset.__class__ = Halved
    query = window(10, 40, 24, 32)
    expected = noise(1, (SIDE, SIDE))[10:34, 40:72] / np.float32(2)
    loaded = next(iter(DataLoader(dataset, sampler=[query, query], batch_size=2, collate_fn=first_of)))
    joined = dataset & ours(folder, "nir")
    for sample in (
        dataset[query],
        dataset.__getitems__([query])[0],
        loaded,
        joined[query],
        joined.__getitems__([query])[0],
    ):
        assert np.array_equal(as_array(sample)[0], expected)
        assert "half" in sample
    with pytest.raises(IndexError):
        dataset[window(0, 500, 8, 8)]


def test_batches_are_what_single_samples_are(folder):
    images = ours(folder, ["red", "nir"])
    masks = ours(folder, "class", is_image=False)
    queries = [window(row, col, 24, 24) for row, col in ((0, 33), (11, 40), (50, 60), (11, 40))]
    for dataset in (images, images & masks, images | ours(folder, "dem")):
        for one, other in zip(dataset.__getitems__(queries), [dataset[query] for query in queries], strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
                assert same or value.isnan().any(), name


@pytest.mark.parametrize("kind", ["dataset", "intersection", "union"])
def test_a_batch_in_which_one_query_finds_nothing_is_an_index_error(folder, kind):
    images, nir = ours(folder, "red"), ours(folder, "nir")
    dataset = {"dataset": images, "intersection": images & nir, "union": images | nir}[kind]
    far = (*window(0, 500, 8, 8), slice(pd.Timestamp(2024, 1, 1), pd.Timestamp(2024, 1, 2)))
    with pytest.raises(IndexError, match="not found"):
        dataset.__getitems__([window(0, 0, 8, 8), far])
