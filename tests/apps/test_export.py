"""`rasteret-sql export`: its options, its reports and its exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import xarray as xr

import rasteret_sql as rs

_ZONE = "crs = 'EPSG:32643'"


def test_a_condition_and_bands_become_a_geotiff(run, index, tmp_path):
    outcome = run("export", index, "-o", tmp_path / "a.tif", "--where", _ZONE, "--bands", "red,nir")
    assert (outcome.code, outcome.err) == (0, "")
    assert str(tmp_path / "a.tif") in outcome.out
    assert "256 x 256 (y, x), EPSG:32643" in outcome.out
    assert "red uint16, nir uint16" in outcome.out
    assert "\x1b" not in outcome.out
    with rasterio.open(tmp_path / "a.tif") as file:
        expected = rs.to_numpy(f"FROM '{index}' WHERE {_ZONE}", bands=["red", "nir"])
        np.testing.assert_array_equal(file.read(), expected.data[0])


def test_the_json_report_says_what_was_written_and_fetched(run, index, tmp_path):
    outcome = run("export", index, "-o", tmp_path / "a.tif", "--where", _ZONE, "--bands", "red", "--json")
    report = json.loads(outcome.out)
    (file,) = report["files"]
    assert (file["path"], file["nbytes"]) == (str(tmp_path / "a.tif"), (tmp_path / "a.tif").stat().st_size)
    assert (file["bands"], file["shape"], file["crs"]) == (["red"], [256, 256], "EPSG:32643")
    assert (report["failures"], report["tiles"]) == ([], 4)
    assert report["fetched_bytes"] > 0
    assert 1 <= report["requests"] <= 4


def test_a_query_calls_the_index_index_and_its_order_decides_in_mosaics(run, index, tmp_path):
    onto = ("--bands", "red", "--crs", "EPSG:32643", "--resolution", "10", "--groupby", "collection")
    for order in ("ASC", "DESC"):
        query = f"FROM index ORDER BY datetime {order};"
        outcome = run("export", index, "-o", tmp_path / f"{order}.tif", "--sql", query, *onto)
        assert (outcome.code, outcome.err) == (0, "")
        expected = rs.to_numpy(
            f"FROM '{index}' ORDER BY datetime {order}", bands=["red"], crs="EPSG:32643", resolution=10,
            groupby="collection",
        )  # fmt: skip
        with rasterio.open(tmp_path / f"{order}.tif") as file:
            np.testing.assert_array_equal(file.read(1), expected.data[0, 0])


def test_all_options_of_the_grid_reach_the_read(run, index, tmp_path):
    left, top = rs.to_numpy(f"FROM '{index}' WHERE {_ZONE}", bands=["red"]).transform[2::3]
    bbox = [left + 33, top - 1500, left + 2033, top - 77]
    outcome = run(
        "export", index, "-o", tmp_path / "a.nc", "--bands", "red,scl", "--crs", "EPSG:32643", "--shape", "40,50",
        "--bbox", ",".join(map(str, bbox)), "--geometry-crs", "EPSG:32643", "--resampling", "scl=mode,*=average",
        "--groupby", "solar_day", "--mosaic", "last", "--mask-and-scale",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    expected = rs.to_xarray(
        index, bands=["red", "scl"], crs="EPSG:32643", shape=(40, 50), bbox=bbox, geometry_crs="EPSG:32643",
        resampling={"scl": "mode", "*": "average"}, groupby="solar_day", mosaic="last", mask_and_scale=True,
    )  # fmt: skip
    with xr.open_dataset(tmp_path / "a.nc") as got:
        np.testing.assert_array_equal(got.red, expected.red)
        np.testing.assert_array_equal(got.scl, expected.scl)


def test_a_geometry_may_be_in_a_file(run, index, collection, tmp_path):
    item = json.loads(collection.items[0].path.read_text())
    (tmp_path / "area.json").write_text(json.dumps(item["geometry"]))
    outcome = run(
        "export", index, "-o", tmp_path / "a.parquet", "--bands", "red", "--where", _ZONE,
        "--geometry", tmp_path / "area.json",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    assert "rows" in outcome.out


def test_relative_hrefs_are_found_through_a_condition_too(run, collection, tmp_path):
    rs.build_index(str(collection.document), tmp_path / "full.parquet")
    con = rs.connect()
    folder = str(collection.folder)
    con.execute(
        f"COPY (SELECT * REPLACE (replace(href, '{folder}/', '') AS href) FROM '{tmp_path / 'full.parquet'}') "
        f"TO '{collection.folder / 'relative.parquet'}' (FORMAT parquet)"
    )
    outcome = run(
        "export", collection.folder / "relative.parquet", "-o", tmp_path / "a.tif", "--where", _ZONE, "--bands", "red"
    )
    assert (outcome.code, outcome.err) == (0, "")


def test_what_cannot_be_read_is_named_and_the_exit_code_is_3(run, index, collection, tmp_path):
    con = rs.connect()
    con.execute(
        f"COPY (SELECT * REPLACE (CASE WHEN asset = 'nir' THEN '/nowhere/b.tif' ELSE href END AS href) FROM '{index}') "
        f"TO '{tmp_path / 'i.parquet'}' (FORMAT parquet)"
    )
    arguments = ("export", tmp_path / "i.parquet", "-o", tmp_path / "a.zarr", "--where", _ZONE, "--bands", "red,nir")
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert "/nowhere/b.tif" in outcome.err
    outcome = run(*arguments, "--on-error", "nodata")
    assert outcome.code == 3
    assert "1 file could not be read, and are nodata:" in outcome.err
    assert 'asset "nir" of item' in outcome.err
    assert (tmp_path / "a.zarr").is_dir()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-o", "a.tif", "--where", "true", "--sql", "FROM index"), 2, "--where: got --sql too"),
        (("-o", "a.tif", "--resolution", "ten"), 2, "got 'ten'"),
        (("-o", "a.tif", "--shape", "10"), 2, "expected HEIGHT,WIDTH"),
        (("-o", "a.tif", "--resampling", "scl=nearest,bilinear"), 2, "expected BAND=METHOD"),
        (("-o", "a.tif", "--dtype", "scl=uint8,int16"), 2, "expected BAND=DTYPE"),
        (("-o", "a.tif", "--dtype", "word"), 2, "--dtype: got 'word', expected one of uint8"),
        ((), 2, "-o/--output"),
        (("-o", "a.tif", "--bands", "red"), 1, "expected one CRS"),
        (("-o", "a.tif", "--where", "nothing = 3"), 1, '"nothing" not found'),
        (("-o", "a.tif", "--sql", "FROM nothing"), 1, "nothing does not exist"),
        (("-o", "a.tif", "--sql", "SELECT 1 AS one"), 1, "without the column"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(run, index, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    outcome = run("export", index, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []
