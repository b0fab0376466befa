"""Values that torch would wrap, and slices that TorchGeo's samplers make: nothing is wrong without an error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Subset
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import WEST, File, at, make_index, noise
from tests.training.scenes import PIXEL, Scenes, window


def dataset_of(tmp_path, data, **options):
    index = make_index(tmp_path, [File("A", "a", data)])
    return rs.to_torchgeo(index, **options)


def pixels(sample, name="image"):
    return sample[name].numpy()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([[0, 60000]], "uint16"), torch.int16),
        (np.array([[0, 300]], "uint16"), torch.uint8),
        (np.array([[-1, 3]], "int16"), torch.uint8),
        (np.array([[0, 2**63]], "uint64"), torch.int64),
        (np.array([[0, 1e300]], "float64"), torch.float32),
        (np.array([[0, 70000]], "int32"), torch.float16),
        (np.array([[0, 0.5]], "float32"), torch.int64),
    ],
)
def test_pixels_that_a_dtype_cannot_hold_are_an_error_that_names_them(tmp_path, values, dtype):
    dataset = dataset_of(tmp_path, values, dtype=dtype)
    with pytest.raises(InvalidArgumentError, match="dtype: the files hold"):
        dataset[0]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([[0, 32767]], "uint16"), torch.int16),
        (np.array([[0, 255]], "uint16"), torch.uint8),
        (np.array([[0, 2**62]], "uint64"), torch.int64),
        (np.array([[0, np.inf]], "float64"), torch.float32),
        (np.array([[0, 3]], "float32"), torch.int64),
        (np.array([[0, 65535]], "uint16"), torch.float32),
    ],
)
def test_pixels_that_a_dtype_can_hold_are_themselves(tmp_path, values, dtype):
    assert pixels(dataset_of(tmp_path, values, dtype=dtype)[0]).ravel().tolist() == values.ravel().tolist()


@pytest.mark.parametrize(
    ("fill", "dtype"), [(-1, torch.uint8), (256, torch.uint8), (0.5, torch.int16), (float("nan"), torch.int64)]
)
def test_a_fill_that_a_dtype_cannot_hold_is_refused_before_anything_is_read(tmp_path, fill, dtype):
    with pytest.raises(InvalidArgumentError, match="fill: got"):
        dataset_of(tmp_path, noise(1, dtype="uint8"), dtype=dtype, fill=fill)


def test_nodata_that_an_integer_cannot_hold_needs_a_fill(tmp_path):
    index = make_index(tmp_path, [File("A", "a", np.array([[1, np.nan]], "float32"), options={"nodata": np.nan})])
    with pytest.raises(InvalidArgumentError, match="fill for pixels without data"):
        rs.to_torchgeo(index, dtype=torch.int32)[0]
    assert pixels(rs.to_torchgeo(index, dtype=torch.int32, fill=7)[0]).ravel().tolist() == [1, 7]


def test_complex_bands_are_refused_by_name(tmp_path):
    with pytest.raises(InvalidArgumentError, match='band "a": its files hold complex64'):
        dataset_of(tmp_path, np.array([[1 + 2j, 0]], "complex64"))


def test_labels_that_are_nan_are_refused(tmp_path):
    index = make_index(tmp_path, [File("A", "a", noise(1), properties={"grade": float("nan")})])
    with pytest.raises(InvalidArgumentError, match="label_column: got 'grade'"):
        rs.to_torchgeo(index, label_column="grade")
    chips = pd.DataFrame({"item_id": ["A"], "row_off": [0], "col_off": [0], "grade": [float("nan")]})
    with pytest.raises(InvalidArgumentError, match="label_column: 'grade' is N"):
        rs.to_torchgeo(index, chips=chips, chip_size=8, label_column="grade")


@pytest.mark.parametrize(("size", "stride"), [(2, 10), (4, 5), (3, 7), (10, 10)])
def test_a_grid_sampler_whose_stride_is_larger_than_its_size_ends_its_epoch_as_with_a_raster_dataset(
    tmp_path, size, stride
):
    data = np.ones((10, 10), "float32")
    ours = dataset_of(tmp_path, data)
    theirs = RasterDataset(str(tmp_path / "A_a.tif"), crs=ours.crs, res=PIXEL)
    sums = []
    for dataset in (ours, theirs):
        sampler = GridGeoSampler(dataset, size, stride)
        loader = DataLoader(dataset, sampler=sampler, collate_fn=stack_samples)
        sums.append([float(batch["image"].sum()) for batch in loader])
    assert sums[0] == sums[1]
    assert len(sums[0]) > 0


def test_a_slice_beside_all_items_has_no_valid_pixel_where_it_touches_them_and_is_an_index_error_elsewhere(
    scenes: Scenes,
):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    x, y, t = dataset.bounds
    sample = dataset[slice(x.stop, x.stop + 4 * PIXEL), y, t]
    assert not sample["mask_valid"].any()
    with pytest.raises(IndexError):
        dataset[slice(x.stop + PIXEL, x.stop + 5 * PIXEL), y, t]


def test_a_slice_without_extent_is_an_index_error_as_in_torchgeo(scenes: Scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    with pytest.raises(IndexError):
        dataset[-1:-1, -1:-1, pd.Timestamp.min : pd.Timestamp.min]


def test_numbers_of_any_kind_are_rows(scenes: Scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    expected = pixels(dataset[1])
    for number in (np.int64(1), np.uint8(1), torch.tensor(1), True):
        assert np.array_equal(pixels(dataset[number]), expected)
    subset = Subset(dataset, torch.tensor([1, 2]))
    assert np.array_equal(pixels(subset[0]), expected)
    batch = next(iter(DataLoader(subset, batch_size=2, collate_fn=lambda samples: samples)))
    assert np.array_equal(pixels(batch[0]), expected)


def test_the_method_of_resampling_is_known(scenes: Scenes):
    assert rs.to_torchgeo(scenes.index, bands=["red"]).resampling == "bilinear"
    assert rs.to_torchgeo(scenes.index, bands=["red"], is_image=False).resampling == "nearest"
    assert rs.to_torchgeo(scenes.index, bands=["red"], resampling="cubic").resampling == "cubic"


def test_windows_are_found_with_their_edges(scenes: Scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"])
    x, y = window(0, 0, 32, 32)
    assert dataset[x, y]["image"].shape[-2:] == (32, 32)


def _mixture(folder, **options):
    """Two items side by side, of uint8 and uint16, as Landsat's bands are."""
    folder.mkdir(exist_ok=True)
    values = noise(1, (16, 16), dtype="uint8"), noise(2, (16, 16))
    files = [
        File(f"i{number}", "red", data, options={"tile": 16, "transform": at(WEST + number * 160.0)} | options)
        for number, data in enumerate(values)
    ]
    return make_index(folder, files), np.concatenate(values, axis=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64])
def test_a_band_of_two_dtypes_is_read_where_a_dtype_is_given_and_else_refused(tmp_path, dtype):
    index, expected = _mixture(tmp_path)
    with pytest.raises(
        InvalidArgumentError, match=r"i0 is uint8 and item i1 is uint16.*give dtype, one that holds uint16"
    ):
        rs.to_torchgeo(index)
    dataset = rs.to_torchgeo(index, dtype=dtype)
    x, y, t = dataset.bounds
    sample = dataset[x, y, t]
    assert sample["image"].dtype == dtype
    assert np.array_equal(pixels(sample)[0], expected)
    narrow = rs.to_torchgeo(index, dtype=torch.uint8)
    with pytest.raises(InvalidArgumentError, match=r"dtype: the files hold \d+ \(uint16\), which torch.uint8 cannot"):
        narrow[x, y, t]


@pytest.mark.parametrize("dtype", ["uint16", "int64"])
def test_a_nodata_value_that_is_given_is_read_like_one_of_the_file(tmp_path, dtype):
    """The oracle is the same file with that value in its header."""
    data = noise(1, (16, 16)).astype(dtype)
    data[:4] = 7 if dtype == "uint16" else 2**53 + 1
    value = int(data[0, 0])
    samples = []
    for name, own in (("a", 3), ("b", value)):
        (tmp_path / name).mkdir()
        index = make_index(tmp_path / name, [File("i", "red", data, options={"nodata": own})])
        dataset = rs.to_torchgeo(index, nodata={"red": value} if own == 3 else None, fill=-1, dtype=torch.int64)
        samples.append(dataset[0])
    assert not samples[0]["mask_valid"][0, :4].any()
    assert samples[0]["mask_valid"].any()
    for name in ("image", "mask_valid"):
        assert np.array_equal(pixels(samples[0], name), pixels(samples[1], name))


def test_a_nodata_value_is_refused_where_files_cannot_have_it_or_have_a_mask(tmp_path):
    index = make_index(tmp_path, [File("i", "red", noise(1), mask=noise(2) > 900)])
    with pytest.raises(InvalidArgumentError, match="has a mask or an alpha band"):
        rs.to_torchgeo(index, nodata=7)
    with pytest.raises(InvalidArgumentError, match="expected a value that uint16 pixels can have"):
        rs.to_torchgeo(index, nodata=-1)
    with pytest.raises(InvalidArgumentError, match="nodata: got band 'blue', expected one of red"):
        rs.to_torchgeo(index, nodata={"blue": 1})
