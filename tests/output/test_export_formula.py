"""A formula over bands as the one band of an exported file."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import File, make_index, noise

NDVI = "(nir - red) / (nir + red)"


@pytest.fixture
def bands(tmp_path):
    """An index of red and nir with nodata, and what the formula gives there, NaN where nothing."""
    red, nir = noise(1, (600, 600)), noise(2, (600, 600))
    red[:9] = 0
    options = {"nodata": 0.0, "scales": [0.0001], "offsets": [0.05]}
    index = make_index(tmp_path, [File("a", "red", red, options=options), File("a", "nir", nir, options=options)])
    physical = [np.where(band == 0, np.nan, band * 0.0001 + 0.05) for band in (red, nir)]
    with np.errstate(all="ignore"):
        return index, (physical[1] - physical[0]) / (physical[1] + physical[0])


def test_a_geotiff_of_a_formula_has_its_values(bands, tmp_path):
    index, expected = bands
    report = rs.export(index, tmp_path / "ndvi.tif", bands=NDVI)
    assert report.files[0].bands == (NDVI,)
    with rasterio.open(tmp_path / "ndvi.tif") as source:
        written = source.read(1)
        assert (source.count, source.dtypes, source.descriptions) == (1, ("float32",), (NDVI,))
        assert np.isnan(source.nodata)
        assert source.scales == (1.0,)
    np.testing.assert_array_equal(np.isnan(written), ~np.isfinite(expected))
    valid = np.isfinite(expected)
    # The bands are float32 where they are physical values, and so is the file.
    np.testing.assert_allclose(written[valid], expected[valid], rtol=1e-4, atol=1e-6)


def test_a_table_of_a_formula_has_its_values(bands, tmp_path):
    index, expected = bands
    rs.export(index, tmp_path / "ndvi.parquet", bands=[NDVI])
    table = pq.read_table(tmp_path / "ndvi.parquet")
    assert table.column_names == ["time", "item_id", "x", "y", NDVI]
    assert table.num_rows == np.isfinite(expected).sum()


def test_a_band_that_is_named_like_a_formula_is_exported_as_it_is(tmp_path):
    index = make_index(tmp_path, [File("a", name, noise(seed)) for seed, name in enumerate(("nir-red", "nir", "red"))])
    rs.export(index, tmp_path / "band.tif", bands=["nir-red"])
    with rasterio.open(tmp_path / "band.tif") as source:
        assert source.dtypes == ("uint16",)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("a.nc", {"bands": NDVI}, r"for \.nc, expected it for \.tif or \.parquet"),
        ("a.tif", {"bands": "nir - blue"}, "got 'blue', expected one of the assets 'nir', 'red'"),
        ("a.tif", {"bands": "nir - "}, "expected an expression of band names"),
        ("a.tif", {"bands": NDVI, "groupby": "day", "mosaic": "count"}, "mosaic: got 'count' with the expression"),
    ],
)
def test_formulas_that_cannot_be_written_are_refused(bands, tmp_path, name, arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        rs.export(bands[0], tmp_path / name, **arguments)
