"""Rows of pixels become the array again that they are of."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

UTM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)
SIZE = 24


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = rs.connect()
    yield connection
    connection.close()


def _indexed(folder: Path, crs: str = "EPSG:32643", transform: tuple[float, ...] = UTM) -> Path:
    rows = []
    for number, item in enumerate("abc"):
        for band in ("red", "nir"):
            pixels = np.random.default_rng(len(rows)).integers(0, 99, (SIZE, SIZE), np.uint8)
            write_cog(folder / f"{item}_{band}.tif", pixels, tile=16, nodata=0, crs=crs, transform=transform)
            when = dt.datetime(2024, 1, 1 + number, 10, tzinfo=dt.UTC)
            rows.append({"href": str(folder / f"{item}_{band}.tif"), "item_id": item, "asset": band, "datetime": when})
    rs.build_index(pa.Table.from_pylist(rows), folder / "i.parquet")
    return folder / "i.parquet"


def _same_grid(found: Any, expected: Any) -> None:
    assert found["x"].to_numpy().tobytes() == expected["x"].to_numpy().tobytes(), "to the last bit"
    assert found["y"].to_numpy().tobytes() == expected["y"].to_numpy().tobytes(), "to the last bit"
    attributes, others = dict(found["spatial_ref"].attrs), dict(expected["spatial_ref"].attrs)
    transform, other = (each.pop("GeoTransform") for each in (attributes, others))
    assert attributes == others
    # A transform of few digits is found again; of others, coordinates tell what they can.
    assert transform == other or len(other) > len("600000.0 10.0 0.0 1400000.0 0.0 -10.0")
    numbers, expected_numbers = ([float(part) for part in each.split()] for each in (transform, other))
    assert numbers == pytest.approx(expected_numbers, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32643", UTM),
        ("EPSG:4326", (8.983152841195215e-05, 0.0, 77.123456789, 0.0, -0.0002777777777777778, 13.1)),
        ("EPSG:3857", (38.21851414258813, 0.0, 8_600_000.5, 0.0, -38.21851414258813, 1_400_000.25)),
    ],
)
def test_rows_with_times_are_the_dataset_of_the_files(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, crs: str, transform: tuple[float, ...]
) -> None:
    index = _indexed(tmp_path, crs, transform)
    expected = rs.to_xarray(index, mask_and_scale=True)
    query = f"FROM read_pixels('{index}')"
    for rows in (con.sql(query), con.sql(query).to_arrow_table(), rs.read_pixels(index), con.sql(query).df()):
        found = rs.to_xarray(rows)
        _same_grid(found, expected)
        assert found["time"].to_numpy().tolist() == expected["time"].to_numpy().tolist()
        for band in ("red", "nir"):
            assert found[band].dims == ("time", "y", "x")
            np.testing.assert_array_equal(found[band].to_numpy(), expected[band].to_numpy())


def test_an_aggregate_over_pixels_is_an_image(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    index = _indexed(tmp_path)
    grouped = con.sql(f"SELECT x, y, band, median(value) AS value FROM read_pixels('{index}') GROUP BY ALL")
    found = rs.to_xarray(grouped, crs="EPSG:32643")
    expected = rs.to_xarray(index, mask_and_scale=True)
    _same_grid(found, expected)
    assert found["time"].isnull().all()
    for band in ("red", "nir"):
        pixels = expected[band].to_numpy().astype(np.float64)
        np.testing.assert_array_equal(
            found[band].to_numpy()[0], np.ma.median(np.ma.masked_invalid(pixels), axis=0).filled(np.nan)
        )
    assert list(rs.to_xarray(grouped, bands=["nir"]).data_vars) == ["nir"]
    assert "spatial_ref" not in rs.to_xarray(grouped)["spatial_ref"].attrs, "no row says the CRS"


def test_columns_of_bands_and_formulas_are_variables(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    index = _indexed(tmp_path)
    wide = con.sql(
        f"FROM read_pixels('{index}', bands := ['red'], expressions := {{'ndvi': '(nir - red) / (nir + red)'}}, "
        "layout := 'wide')"
    )
    found = rs.to_xarray(wide)
    assert list(found.data_vars) == ["red", "ndvi"]
    cube = rs.to_xarray(index, mask_and_scale=True).astype(np.float64)
    ndvi = (cube["nir"] - cube["red"]) / (cube["nir"] + cube["red"])
    np.testing.assert_array_equal(found["ndvi"].to_numpy(), ndvi.to_numpy())


def test_rows_that_are_missing_are_gaps(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    index = _indexed(tmp_path)
    some = con.sql(f"FROM read_pixels('{index}', bands := ['red']) WHERE value > 50 AND (x < 600050 OR x > 600150)")
    found, whole = rs.to_xarray(some), rs.to_xarray(index, bands=["red"], mask_and_scale=True)
    assert found.sizes["x"] == SIZE
    expected = whole["red"].where((whole["red"] > 50) & ((whole["x"] < 600_050) | (whole["x"] > 600_150)))
    np.testing.assert_array_equal(found["red"].to_numpy(), expected.sel(y=found["y"]).to_numpy())


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ("SELECT x, y, band, value FROM pixels", {}, "got several rows of band"),
        (
            "SELECT * REPLACE (x + 0.3 * (value > 50)::INT AS x) FROM pixels",
            {},
            "x: got coordinates that are .* not on such a",
        ),
        (
            "SELECT * REPLACE (if(value > 50, 'EPSG:4326', crs) AS crs) FROM pixels",
            {},
            "crs: got rows in .*, expected one",
        ),
        ("SELECT * EXCLUDE (value) FROM pixels", {}, "value: got rows with band and without value"),
        ("SELECT x, y FROM pixels", {}, "bands: got rows without numbers"),
        ("FROM pixels WHERE x < 600010", {}, "x: got the one coordinate 600005.0, .* give resolution"),
        ("FROM pixels", {"bands": ["blue"]}, "bands: got 'blue', expected one of the rows: nir, red"),
        ("FROM pixels", {"level": 1}, "level: got 1 with rows of pixels, expected none"),
        ("FROM pixels", {"crs": "EPSG:4326"}, "crs: got 'EPSG:4326' and rows in EPSG:32643"),
        ("FROM pixels", {"resolution": -1}, "resolution: got -1"),
    ],
)
def test_rows_that_are_no_array_are_refused(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, query: str, options: dict[str, Any], message: str
) -> None:
    index = _indexed(tmp_path)
    con.execute(f"CREATE TABLE pixels AS FROM read_pixels('{index}')")
    with pytest.raises(InvalidArgumentError, match=message):
        rs.to_xarray(con.sql(query), **options)
    with pytest.raises(EmptyReadError, match="the query gives no rows"):
        rs.to_xarray(con.sql("FROM pixels WHERE false"))


def test_one_column_of_pixels_needs_the_size_of_pixels(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    index = _indexed(tmp_path)
    column = con.sql(f"FROM read_pixels('{index}', bands := ['red']) WHERE x < 600010")
    found = rs.to_xarray(column, resolution=10)
    assert found["red"].shape == (3, SIZE, 1)
    assert found["spatial_ref"].attrs["GeoTransform"] == "600000.0 10.0 0.0 1400000.0 0.0 -10.0"
