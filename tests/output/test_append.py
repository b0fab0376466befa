"""A cube to which each day is appended, as docs/how-to/export.md says: the store holds the stored values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import rasteret_sql as rs
from tests.arrays.cube_files import File, make_index, noise

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.filterwarnings("ignore:Consolidated metadata", "ignore:The data type")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("chunks", [None, {"time": 1}], ids=["eager", "lazy"])
@pytest.mark.parametrize("options", [{"nodata": 0}, {"nodata": 0, "scales": [0.0001], "offsets": [-0.1]}, {}])
def test_appended_days_are_those_of_the_cube(
    tmp_path: Path, zarr_format: Any, chunks: dict[str, int] | None, options: dict[str, Any]
) -> None:
    files = [File(f"item{day}", "red", noise(day, low=0, high=65535), day, options=options) for day in (1, 2, 3)]
    cube = rs.to_xarray(make_index(tmp_path, files), chunks=chunks)
    decoded = xr.decode_cf(cube)
    store = tmp_path / "days.zarr"
    decoded.isel(time=[0]).to_zarr(store, zarr_format=zarr_format)
    for number in (1, 2):
        decoded.isel(time=[number]).to_zarr(store, append_dim="time")
    days = xr.open_zarr(store, mask_and_scale=False)
    assert days.red.dtype == cube.red.dtype
    np.testing.assert_array_equal(days.red, cube.red)
    np.testing.assert_array_equal(days.time, cube.time)
    assert days.item_id.values.tolist() == ["item1", "item2", "item3"]
    for name in ("scale_factor", "add_offset", "_FillValue"):
        assert days.red.attrs.get(name) == cube.red.attrs.get(name)
