"""Which pixels are valid: nodata, internal masks and alpha, and which of them counts; rasterio is the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.testing import write_cog
from rasteret_sql.tiff.nodata import valid_pixels

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning", "ignore::rasterio.errors.NodataShadowWarning"
)

FLOAT_NODATA = (-9999.0, 1.0, -3.4028234663852886e38, 1e-40, 0.0, float("inf"), float("-inf"), float("nan"), 123.456)


def gdal_mask(pixels: np.ndarray, nodata: float) -> np.ndarray:
    """What GDAL takes for valid pixels of an image (height, width)."""
    with rasterio.MemoryFile() as memory:
        height, width = pixels.shape
        profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": pixels.dtype}
        with memory.open(**profile, nodata=nodata) as dataset:
            dataset.write(pixels, 1)
        with memory.open() as dataset:
            return dataset.read_masks(1) != 0


@given(
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(FLOAT_NODATA),
    hnp.arrays(np.float64, (1, 64), elements=st.floats(-8, 8)),
)
@settings(deadline=None, max_examples=60)
def test_floats_near_nodata_are_nodata_as_in_gdal(dtype: str, nodata: float, steps: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        near = np.dtype(dtype).type(nodata) * (1 + steps * np.finfo(np.float32).eps)
        pixels = np.concatenate([near, steps, [[0, nodata, -nodata, np.inf, -np.inf, np.nan]]], axis=1).astype(dtype)
    np.testing.assert_array_equal(valid_pixels(pixels, nodata), gdal_mask(pixels, nodata))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_integers_at_the_ends_of_their_range_can_be_nodata(dtype: str) -> None:
    limits = np.iinfo(dtype)
    pixels = np.array([[limits.min, limits.min + 1, 0, 1, limits.max - 1, limits.max]], dtype)
    for nodata in (limits.min, 0, 1, limits.max):
        np.testing.assert_array_equal(valid_pixels(pixels, nodata), gdal_mask(pixels, nodata))


@pytest.mark.parametrize("nodata", [-1.0, 256.0, float("nan"), float("inf"), float("-inf")])
def test_nodata_that_no_pixel_can_hold_masks_nothing(nodata: float, tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_cog(tmp_path / "f.tif", pixels, tile=16, overviews=(), nodata=nodata)
    rs.build_index([str(tmp_path / "f.tif")], tmp_path / "i.parquet")
    (row,) = rs.read_tiles(tmp_path / "i.parquet").read_all().to_pylist()
    with rasterio.open(tmp_path / "f.tif") as dataset:
        assert dataset.read_masks(1).all()
    assert row["mask"] is None
    assert row["nodata"] is None
    with rs.connect() as con:
        ((notes,),) = con.sql(f"SELECT notes FROM '{tmp_path}/i.parquet'").fetchall()
    assert "cannot occur in uint8 pixels" in notes[0]


def bands(dtype: str = "uint8") -> np.ndarray:
    """Four bands; the last is 0 in the upper half, the first is 7 at the left."""
    data = np.full((4, 64, 64), 200, dtype)
    data[0, :, :16] = 7
    data[3, :32] = 0
    return data


CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "nodata": ({"nodata": 7}, False),
    "alpha": ({"alpha": True, "photometric": "rgb"}, False),
    "mask": ({}, True),
    "mask before nodata": ({"nodata": 7}, True),
    "nodata before alpha": ({"nodata": 7, "alpha": True, "photometric": "rgb"}, False),
    "mask before alpha": ({"alpha": True, "photometric": "rgb"}, True),
    "mask before nodata and alpha": ({"nodata": 7, "alpha": True, "photometric": "rgb"}, True),
    "nothing": ({}, False),
}


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_one_source_of_a_mask_counts_at_every_level_and_in_arrays(case: str, planar: bool, tmp_path: Path) -> None:
    options, has_mask = CASES[case]
    mask = np.tri(64, dtype=bool) if has_mask else None
    path = write_cog(tmp_path / "f.tif", bands(), mask, tile=32, overviews=(2,), planar=planar, **options)
    index = tmp_path / "i.parquet"
    rs.build_index([str(path)], index)
    for level in (0, 1):
        with rasterio.open(path, **({"overview_level": 0} if level else {})) as dataset:
            expected = dataset.read_masks() != 0
        array = rs.to_numpy(index, level=level)
        np.testing.assert_array_equal(array.mask[0], expected, err_msg=f"level {level}")
        dataset = rs.to_xarray(index, level=level, mask_and_scale=True)
        for number, name in enumerate(sorted(dataset.data_vars)):
            values = dataset[name].isel(time=0).to_numpy()
            np.testing.assert_array_equal(np.isfinite(values), expected[number], err_msg=name)


def test_a_mask_with_one_sample_for_each_band_is_that_of_each_band(tmp_path: Path) -> None:
    from tests.tiff.conftest import BASIC, write_tiff

    image = np.arange(192, dtype=np.uint8)
    masks = np.zeros((8, 8, 3), np.uint8)
    masks[:4, :, 0] = masks[:, :4, 1] = masks[2:, :, 2] = 255
    entries = [entry for entry in BASIC if entry[0] not in {258, 262, 277, 279}]
    shape = [*entries, (258, 3, [8, 8, 8]), (277, 3, 3), (279, 4, 192)]
    first = sorted([*shape, (262, 3, 2)])
    second = sorted([entry for entry in shape if entry[0] != 273] + [(254, 4, 4), (262, 3, 4), (273, 4, 16 + 192)])
    path = tmp_path / "f.tif"
    path.write_bytes(write_tiff(first, second, data=image.tobytes() + masks.tobytes()))
    with rasterio.open(path) as dataset:
        expected = dataset.read_masks() != 0
    rs.build_index([str(path)], tmp_path / "i.parquet")
    rows = rs.read_tiles(tmp_path / "i.parquet").read_all().to_pylist()
    got = [np.frombuffer(row["mask"], bool).reshape(8, 8) for row in sorted(rows, key=lambda row: row["band"])]
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(got, masks.transpose(2, 0, 1) != 0)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_of_complex_pixels_the_real_part_counts(dtype: str) -> None:
    pixels = np.array([[0, 1j, 1, -9999, -9999 + 3j, np.nan]], dtype)
    for nodata in (0.0, -9999.0, float("nan")):
        np.testing.assert_array_equal(valid_pixels(pixels, nodata), gdal_mask(pixels, nodata))
