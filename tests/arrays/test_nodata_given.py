"""Nodata values that a caller gives: masks and fill follow them, through every way in which pixels are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import File, make_index, noise

if TYPE_CHECKING:
    from pathlib import Path

ONTO = {"crs": "EPSG:32643", "resolution": 20, "resampling": "average"}


def _data(seed: int, dtype: str = "uint16") -> Any:
    """Pixels of which a quarter is 7."""
    data = noise(seed, dtype=dtype)
    data[:32, :32] = 7
    return data


@pytest.mark.parametrize(
    "options", [{}, ONTO, {"groupby": "collection", "mosaic": "mean"}], ids=["own", "onto", "mean"]
)
@pytest.mark.parametrize("own", [None, 0])
@pytest.mark.parametrize("dtype", ["uint16", "int64", "float32"])
def test_a_value_that_is_given_is_read_like_one_of_the_file(
    tmp_path: Path, options: dict[str, Any], own: int | None, dtype: str
) -> None:
    """The oracle is the same file with that value in its header."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    other = make_index(tmp_path / "a", [File("i", "red", _data(1, dtype), options={"nodata": own})])
    expected = rs.to_numpy(
        make_index(tmp_path / "b", [File("i", "red", _data(1, dtype), options={"nodata": 7})]), **options
    )
    got = rs.to_numpy(other, nodata=7, **options)
    np.testing.assert_array_equal(got.mask, expected.mask)
    np.testing.assert_array_equal(got.data, expected.data)
    assert not got.mask[..., 0, 0].any()
    assert got.mask.any()
    np.testing.assert_equal(got.nodata, expected.nodata)


def test_values_by_band_go_to_their_bands_eagerly_and_lazily(tmp_path: Path) -> None:
    index = make_index(tmp_path, [File("i", "red", _data(1)), File("i", "nir", _data(2))])
    eager = rs.to_xarray(index, nodata={"red": 7}, mask_and_scale=True)
    lazy = rs.to_xarray(index, nodata={"red": 7}, mask_and_scale=True, chunks={})
    assert np.isnan(eager.red.values[0, :32, :32]).all()
    assert not np.isnan(eager.nir.values).any()
    np.testing.assert_array_equal(lazy.red.values, eager.red.values)
    assert lazy.red.data.name != rs.to_xarray(index, mask_and_scale=True, chunks={}).red.data.name
    stored = rs.to_xarray(index, nodata={"red": 7, "*": 9})
    assert (stored.red.attrs["_FillValue"], stored.nir.attrs["_FillValue"]) == (7, 9)


@pytest.mark.parametrize(
    ("nodata", "message"),
    [
        ("seven", "nodata: got 'seven', expected a number"),
        (True, "nodata: got True"),
        ([7], r"nodata: got \[7\]"),
        ({"red": None}, "expected a number, or a mapping"),
        ({"rde": 7}, "nodata: got band 'rde', expected one of red"),
        (-1, 'nodata: got -1 for band "red" of .*, expected a value that uint16 pixels can have'),
        (7.5, "uint16 pixels"),
        (float("nan"), "uint16 pixels"),
        (10**30, "uint16 pixels"),
    ],
)
def test_values_that_pixels_cannot_have_are_refused(tmp_path: Path, nodata: Any, message: str) -> None:
    index = make_index(tmp_path, [File("i", "red", _data(1))])
    for read in (rs.to_numpy, rs.to_xarray):
        with pytest.raises(InvalidArgumentError, match=message):
            read(index, nodata=nodata)


def test_files_with_a_mask_and_rows_of_tiles_refuse_a_value(tmp_path: Path) -> None:
    index = make_index(tmp_path, [File("i", "red", _data(1), mask=noise(3) > 900)])
    with pytest.raises(InvalidArgumentError, match="has a mask or an alpha band"):
        rs.to_numpy(index, nodata=7)
    with pytest.raises(InvalidArgumentError, match="nodata: got one with rows of read_tiles"):
        rs.to_numpy(rs.read_tiles(index), nodata=7)
