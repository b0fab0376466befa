"""Nodata of 64-bit integers is exact from the header of a file to the mask, the array and the file that is written."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

import rasteret_sql as rs
from rasteret_sql.testing.cog import write_cog

VALUES = [
    ("uint64", 2**64 - 1),
    ("uint64", 2**63 + 1),
    ("int64", 2**63 - 1),
    ("int64", -(2**63) + 1),
    ("int64", 2**53 + 1),
    ("int64", -9999),
]


@pytest.fixture(params=VALUES, ids=lambda value: f"{value[0]} {value[1]}")
def source(request, tmp_path):
    """A file whose pixels are its nodata value and the neighbours of it, its index, dtype and nodata."""
    dtype, nodata = request.param
    limits = np.iinfo(dtype)
    near = [value for value in range(nodata - 2, nodata + 3) if limits.min <= value <= limits.max]
    pixels = np.resize(np.array([*near, 5], dtype), (32, 32))
    path = tmp_path / "a.tif"
    write_cog(path, pixels, tile=16, nodata=nodata, crs="EPSG:32643", transform=(10, 0, 600000, 0, -10, 1400000))
    rs.build_index([str(path)], tmp_path / "i.parquet")
    return path, tmp_path / "i.parquet", dtype, nodata


def test_masks_are_those_of_gdal(source):
    path, index, _, nodata = source
    array = rs.to_numpy(index)
    with rasterio.open(path) as dataset:
        expected = dataset.read_masks(1) != 0
    np.testing.assert_array_equal(array.mask[0, 0], expected)
    np.testing.assert_array_equal(array.data[0, 0] != np.array(nodata, array.data.dtype), expected)
    assert array.nodata == (nodata,)
    rows = [row for batch in rs.read_tiles(index) for row in batch.to_pylist()]
    assert sum(row["mask"].count(b"\1") for row in rows) == expected.sum()


def test_pixels_beside_a_file_hold_the_value(source):
    _, index, dtype, nodata = source
    chips = rs.read_chips(index, [("a", -8, -8)], size=(16, 16))
    assert chips.data[0, 0, 0, 0] == np.array(nodata, dtype)
    assert not chips.mask[0, 0, :8].any()


def test_an_export_says_the_value(source, tmp_path):
    _, index, _, nodata = source
    rs.export(index, tmp_path / "o.tif")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        text = dataset.tags(ns="TIFF").get("TIFFTAG_GDAL_NODATA")
        assert text is None or int(text) == nodata
    rs.build_index([str(tmp_path / "o.tif")], tmp_path / "o.parquet")
    assert rs.to_numpy(tmp_path / "o.parquet").nodata == (nodata,)


def test_an_index_says_the_value_only_where_a_double_does_not(source):
    _, index, _, nodata = source
    with rs.connect() as con:
        found = con.sql(f"SELECT bands[1].nodata, bands[1].nodata_integer FROM '{index}'").fetchall()
    assert found == [(float(nodata), None if int(float(nodata)) == nodata else nodata)]


def test_an_index_without_exact_values_is_read(source, tmp_path):
    _, index, _, nodata = source
    with rs.connect() as con:
        con.sql(
            "SELECT * REPLACE (list_transform(bands, lambda band: {'name': band.name, 'band': band.band, "
            "'common_name': band.common_name, 'description': band.description, 'nodata': band.nodata, 'scale': band.scale, "
            "'offset': band.offset, 'unit': band.unit, 'is_alpha': band.is_alpha}) AS bands) "
            f"FROM '{index}'"
        ).write_parquet(str(tmp_path / "old.parquet"))
    assert rs.to_numpy(tmp_path / "old.parquet").nodata == (float(nodata),)
