"""export to Zarr, netCDF and Parquet: what to_xarray gives, in files that others read."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import rioxarray  # noqa: F401 - the accessor
import xarray as xr

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, InvalidArgumentError
from rasteret_sql.output import export_blocks
from rasteret_sql.output.export import export
from tests.arrays.cube_files import File, at, make_index, noise, smooth

_ONTO = {"crs": "EPSG:32643", "resolution": 20, "resampling": {"scl": "nearest", "*": "average"}}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    options = {"nodata": 0, "scales": [0.0001], "offsets": [-0.1]}
    files = [
        *(File(f"i{day}", "red", smooth((300, 200), phase=day) + 1, day, options=options) for day in (1, 2)),
        File("i1", "scl", noise(9, (150, 100), "uint8"), 1, options={"transform": at(size=20.0)}),
        File("i2", "scl", noise(8, (100, 100), "uint8"), 2, options={"transform": at(size=20.0)}),
    ]
    return make_index(tmp_path_factory.mktemp("files"), files)


def opened(path, *, mask_and_scale=False) -> xr.Dataset:
    engine = "zarr" if path.suffix == ".zarr" else "netcdf4"
    with xr.open_dataset(path, engine=engine, mask_and_scale=mask_and_scale, decode_coords="all") as dataset:
        return dataset.load()


@pytest.fixture(params=["dask", "at once"])
def library(request, monkeypatch):
    """With Dask, and as if it were not installed."""
    found = importlib.util.find_spec
    if request.param == "at once":
        monkeypatch.setattr(
            "rasteret_sql.output.export_xarray.find_spec", lambda name: None if name == "dask" else found(name)
        )


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_cubes_hold_what_to_xarray_gives_and_know_their_crs(index, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    report = export(index, path, **_ONTO)
    expected = rs.to_xarray(index, **_ONTO)
    got = opened(path)
    for name in ("red", "scl", "scl_valid"):
        assert got[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(got[name], expected[name])
    for name in ("time", "y", "x", "item_id"):
        np.testing.assert_array_equal(got[name], expected[name])
    assert got.rio.crs == rasterio.crs.CRS.from_epsg(32643)
    assert got.spatial_ref.attrs["GeoTransform"] == expected.spatial_ref.attrs["GeoTransform"]
    assert got.attrs["Conventions"].startswith("CF-")
    assert got.red.attrs["scale_factor"] == 0.0001
    (file,) = report.files
    assert (file.bands, file.dtypes, file.shape) == (("red", "scl"), ("uint16", "uint8"), expected.red.shape)
    assert (file.crs, file.times[0], file.item_ids) == ("EPSG:32643", "2024-01-01T10:00:00Z", ("i1", "i2"))
    assert file.transform == (20.0, 0.0, 600_000.0, 0.0, -20.0, 1_400_000.0)
    assert (report.failures, file.nbytes > 0, report.requests > 0) == ((), True, True)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_gdal_reads_netcdf_and_zarr_with_their_crs(index, tmp_path):
    expected = rs.to_xarray(index, **_ONTO)
    for name, address in (("a.nc", "netcdf:{}:red"), ("a.zarr", 'ZARR:"{}":/red')):
        export(index, tmp_path / name, **_ONTO)
        with rasterio.open(address.format(tmp_path / name)) as file:
            assert file.crs == rasterio.crs.CRS.from_epsg(32643)
            assert tuple(file.transform)[:6] == (20.0, 0.0, 600_000.0, 0.0, -20.0, 1_400_000.0)
            np.testing.assert_array_equal(file.read(), expected.red)


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_physical_values_are_written_as_floats_with_nan(index, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    export(index, path, mask_and_scale=True, **_ONTO)
    expected = rs.to_xarray(index, mask_and_scale=True, **_ONTO)
    got = opened(path)
    assert got.red.dtype == np.float32
    np.testing.assert_array_equal(got.red, expected.red)


def test_a_store_takes_the_place_of_an_older_one_and_of_nothing_else(index, tmp_path):
    path = tmp_path / "a.zarr"
    export(index, path, bands=["scl"], **_ONTO)
    export(index, path, bands=["red"], **{**_ONTO, "resampling": "nearest"})
    assert list(opened(path).data_vars) == ["red"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.zarr"]
    other = tmp_path / "b.zarr"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidArgumentError, match=r"b\.zarr is a folder and no Zarr store"):
        export(index, other, **_ONTO)
    assert (other / "thesis.tex").read_text() == "years of work"


@pytest.mark.usefixtures("library")
def test_a_file_that_fails_ends_the_export_or_is_nodata_and_named(tmp_path):
    index = make_index(tmp_path, [File("i", "a", noise(1), 1), File("j", "a", noise(2), 2)])
    (tmp_path / "j_a.tif").unlink()
    before = sorted(tmp_path.iterdir())
    for name in ("x.zarr", "x.nc", "x.parquet"):
        with pytest.raises(AssetNotFoundError, match=r"j_a\.tif"):
            export(index, tmp_path / name)
        assert sorted(tmp_path.iterdir()) == before
        report = export(index, tmp_path / name, on_error="nodata")
        (failure,) = report.failures
        assert failure.startswith('asset "a" of item j: ')
        (tmp_path / name).rename(tmp_path.parent / f"{tmp_path.name}-{name}")
    got = opened(tmp_path.parent / f"{tmp_path.name}-x.nc")
    np.testing.assert_array_equal(got.a_valid.any(("y", "x")), [True, False])


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("a.zarr", {"zarr"}, r"^path: a\.zarr: zarr is required: pip install zarr"),
        ("a.nc", {"netCDF4", "h5netcdf"}, r"^path: a\.nc: neither netCDF4 nor h5netcdf is installed"),
    ],
)
def test_a_library_that_is_missing_is_named(index, tmp_path, monkeypatch, name, missing, message):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "rasteret_sql.output.export_xarray.find_spec", lambda name: None if name in missing else found(name)
    )
    with pytest.raises(InvalidArgumentError, match=message):
        export(index, tmp_path / name, **_ONTO)


@pytest.mark.parametrize("block_bytes", [1, 48 << 20])
def test_a_table_has_a_row_for_each_pixel_with_data(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(export_blocks, "BLOCK_BYTES", block_bytes)
    red = smooth((1100, 1050))
    red[:400] = 0
    options = {"nodata": 0, "tile": 256}
    index = make_index(
        tmp_path,
        [
            File("i", "red", red, 1, options=options),
            File("i", "nir", noise(1, (1100, 1050)), 1, options={**options, "transform": at(600_000.0 + 5000)}),
            File("j", "red", noise(2, (200, 300)), 2, options=options),
        ],
    )
    report = export(index, tmp_path / "pixels.parquet", bands=["red", "nir"])
    (file,) = report.files
    cube = rs.to_numpy(index, bands=["red", "nir"])
    table = pq.read_table(tmp_path / "pixels.parquet")
    assert table.schema.names == ["time", "item_id", "x", "y", "red", "nir"]
    assert file.rows == table.num_rows == int(cube.mask.any(axis=1).sum())
    grid = json.loads(table.schema.metadata[b"rasteret_sql.grid"])
    assert (grid["crs"], tuple(grid["transform"])) == ("EPSG:32643", cube.transform)
    con = rs.connect()
    rows = con.sql(
        f"SELECT item_id, (x - {cube.transform[2]}) / 10 - 0.5, ({cube.transform[5]} - y) / 10 - 0.5, red, nir "
        f"FROM '{tmp_path / 'pixels.parquet'}'"
    ).fetchnumpy()
    item, col, row, *bands = rows.values()
    place = np.searchsorted(cube.item_ids, item), row.astype(int), col.astype(int)
    for number, band in enumerate(bands):
        valid = cube.mask[place[0], number, place[1], place[2]]
        np.testing.assert_array_equal(~np.ma.getmaskarray(band), valid)
        np.testing.assert_array_equal(
            np.ma.getdata(band)[valid], cube.data[place[0], number, place[1], place[2]][valid]
        )
    times = con.sql(f"SELECT DISTINCT item_id, epoch(time) FROM '{tmp_path / 'pixels.parquet'}' ORDER BY 1").fetchall()
    assert times == [("i", 1704103200.0), ("j", 1704189600.0)]


def test_a_table_has_no_band_named_like_a_column_of_its_own(tmp_path):
    index = make_index(tmp_path, [File("i", "x", noise(1))])
    with pytest.raises(
        InvalidArgumentError, match=r'^bands: got "x", expected another name than those of the columns time'
    ):
        export(index, tmp_path / "a.parquet")
