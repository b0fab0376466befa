"""Names of bands, properties and items in exports: kept, or refused by name before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import rasterio
import xarray as xr

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import File, make_index, noise

if TYPE_CHECKING:
    from pathlib import Path

#: Names that one format or the other cannot hold.
NAMES = [
    "NO2/CO",
    "..",
    "a/../../b",
    "/abs",
    "x" * 300,
    "tab\there",
    "__hidden",
    ".zattrs",
    " first",
    "last ",
    "café",
    "1",
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_index(tmp_path_factory.mktemp("files"), [File("i1", "red", noise(1)), File("i1", "plain", noise(2))])


def _named(index: Path, name: str) -> str:
    return f"SELECT * REPLACE (CASE asset WHEN 'red' THEN '{name}' ELSE asset END AS asset) FROM '{index}'"


def _bands(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_schema(path).names[4:]
    if path.suffix == ".tif":
        with rasterio.open(path) as file:
            return list(file.descriptions)
    with xr.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else "netcdf4") as dataset:
        return [str(name) for name in dataset.data_vars]


@pytest.mark.parametrize("suffix", [".zarr", ".nc", ".parquet", ".tif"])
@pytest.mark.parametrize("name", NAMES)
def test_names_of_bands_are_in_the_file_or_refused_by_name(index: Path, tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"o{suffix}"
    try:
        report = rs.export(_named(index, name), path)
    except InvalidArgumentError as error:
        assert repr(name) in str(error)  # noqa: PT017 - either is right
        assert "in the query" in str(error)  # noqa: PT017
        assert not list(tmp_path.iterdir())
        return
    assert set(_bands(path)) - {f"{name}_valid", "plain_valid"} == {name, "plain"}
    assert set(report.files[0].bands) == {name, "plain"}


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_names_of_properties_are_in_the_file_or_refused_with_the_remedy(
    index: Path, tmp_path: Path, suffix: str
) -> None:
    query = f"""SELECT *, 5 AS "cloud/cover" FROM '{index}'"""
    with pytest.raises(InvalidArgumentError, match=r"properties: got the name 'cloud/cover' for .*RENAME"):
        rs.export(query, tmp_path / f"o{suffix}")
    assert not list(tmp_path.iterdir())
    renamed = f"""SELECT * RENAME ("cloud/cover" AS other) FROM ({query})"""
    rs.export(renamed, tmp_path / f"o{suffix}")
    with xr.open_dataset(tmp_path / f"o{suffix}", engine="zarr" if suffix == ".zarr" else "netcdf4") as dataset:
        assert dataset["other"].values.tolist() == [5]


@pytest.mark.parametrize("column", ["asset", "item_id", "collection"])
@pytest.mark.parametrize("name", ["..", "a/../../b", "/etc/x", "../x", "x\0y"])
def test_files_named_by_the_index_stay_in_their_folder(index: Path, tmp_path: Path, column: str, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    value = "chr(0)" if "\0" in name else f"'{name}'"
    query = f"SELECT * REPLACE ({value} AS {column}) FROM '{index}' WHERE asset = 'red'"
    place = {"asset": "band", "item_id": "item", "collection": "collection"}[column]
    for pattern in (f"o-{{{place}}}.tif", f"{{{place}}}.tif"):
        if "\0" in name:
            with pytest.raises(InvalidArgumentError, match="control characters"):
                rs.export(query, folder / pattern)
            continue
        report = rs.export(query, folder / pattern)
        assert all(file.path.parent == folder for file in report.files)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "pattern", ["{item:>300}", "{item!r}", "{date:%Y}", "{item[0]}", "{item.__class__}", "{}", "{0}", "{"]
)
def test_braces_hold_a_placeholder_and_nothing_else(index: Path, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"path: got .*expected (one of|braces around one of) {item}"):
        rs.export(index, tmp_path / f"{pattern}.tif", bands=["red"])


def test_bands_that_would_share_a_file_are_named(index: Path, tmp_path: Path) -> None:
    query = f"SELECT * REPLACE (CASE asset WHEN 'red' THEN 'a/b' ELSE 'a_b' END AS asset) FROM '{index}'"
    with pytest.raises(InvalidArgumentError, match=r'for the bands "a/b" and "a_b", which would be one file, a_b\.tif'):
        rs.export(query, tmp_path / "{band}.tif")


@pytest.mark.parametrize("item", ["x" * 300, "é" * 200])
def test_names_that_file_systems_cannot_hold_are_refused(index: Path, tmp_path: Path, item: str) -> None:
    query = f"SELECT * REPLACE ('{item}' AS item_id) FROM '{index}'"
    with pytest.raises(InvalidArgumentError, match="bytes, expected 255 at most"):
        rs.export(query, tmp_path / "{item}.tif", bands=["red"])
    with pytest.raises(InvalidArgumentError, match="bytes, expected 255 at most"):
        rs.export(index, tmp_path / f"{item}.nc")


def test_the_longest_names_of_files_are_written(index: Path, tmp_path: Path) -> None:
    for suffix in (".tif", ".nc", ".zarr", ".parquet"):
        path = tmp_path / ("é" * 120 + suffix)
        rs.export(index, path, bands=["red"])
        assert path.exists()


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_dtypes_that_netcdf_lacks_are_refused_before_anything_is_read(tmp_path: Path, dtype: str) -> None:
    data: Any = noise(1).astype(dtype)
    index = make_index(tmp_path, [File("i1", "red", data)])
    before = set(tmp_path.iterdir())
    with pytest.raises(InvalidArgumentError, match=rf'band "red": got {dtype}, expected integers, float32 or float64'):
        rs.export(index, tmp_path / "o.nc")
    assert set(tmp_path.iterdir()) == before
    rs.export(index, tmp_path / "o.zarr")
    assert xr.open_zarr(tmp_path / "o.zarr").red.dtype == dtype
