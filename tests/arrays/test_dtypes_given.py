"""Dtypes that a caller gives: each cast is checked, and pixels are those of files that were written in that dtype."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.dtypes import DTYPES, always_fits, cast_nodata, first_misfit
from tests.arrays.cube_files import File, make_index, noise

if TYPE_CHECKING:
    from pathlib import Path

ONTO = {"crs": "EPSG:32643", "resolution": 20, "resampling": "average"}
MEAN = {"groupby": "collection", "mosaic": "mean"}


def _mixture(folder: Path, *dtypes: str, **options: Any) -> Path:
    """Items of one band on one grid, in time order, each in its dtype."""
    folder.mkdir(exist_ok=True)
    files = [
        File(f"i{number}", "red", noise(number, dtype="uint8").astype(dtype), when=number + 1, options=options)
        for number, dtype in enumerate(dtypes)
    ]
    return make_index(folder, files)


@pytest.mark.parametrize("options", [{}, ONTO, MEAN], ids=["own", "onto", "mean"])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("nodata", [None, 7])
def test_a_mixture_is_read_like_files_of_one_dtype(
    tmp_path: Path, options: dict[str, Any], dtype: str, nodata: int | None
) -> None:
    """The oracle is the same files, written in that dtype."""
    mixed = _mixture(tmp_path / "a", "uint8", "uint16", nodata=nodata)
    alike = _mixture(tmp_path / "b", dtype, dtype, nodata=nodata)
    got, expected = rs.to_numpy(mixed, dtype=dtype, **options), rs.to_numpy(alike, **options)
    assert got.data.dtype == expected.data.dtype
    np.testing.assert_array_equal(got.data, expected.data)
    np.testing.assert_array_equal(got.mask, expected.mask)
    np.testing.assert_equal(got.nodata, expected.nodata)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_pixels_are_those_of_rasterio_cast(tmp_path: Path, dtype: str) -> None:
    index = _mixture(tmp_path, "uint8", "uint16")
    got = rs.to_numpy(index, dtype=dtype)
    for number in range(2):
        with rasterio.open(tmp_path / f"i{number}_red.tif") as source:
            np.testing.assert_array_equal(got.data[number, 0], source.read(1).astype(dtype))


def test_a_mixture_without_dtype_is_refused_and_the_argument_named(tmp_path: Path) -> None:
    index = _mixture(tmp_path, "uint8", "uint16")
    with pytest.raises(
        InvalidArgumentError, match=r'i0 is uint8 and .*i1 is uint16, expected one dtype; give dtype="uint16"'
    ):
        rs.to_numpy(index)


@pytest.mark.parametrize(
    "value", ["uint7", "O", "bool", 7, ["uint8"], {"red": "text"}, {1: "uint8"}, np.dtype("M8[s]")]
)
def test_what_is_no_dtype_of_pixels_is_refused(tmp_path: Path, value: Any) -> None:
    index = _mixture(tmp_path, "uint8")
    for read in (rs.to_numpy, rs.to_xarray):
        with pytest.raises(InvalidArgumentError, match=r"^dtype: got .*, expected one of uint8, "):
            read(index, dtype=value)
    with pytest.raises(InvalidArgumentError, match=r"^dtype: got band 'blue', expected one of red"):
        rs.to_numpy(index, dtype={"blue": "uint8"})


@pytest.mark.parametrize(
    ("source", "value", "dtype"),
    [
        ("uint16", 256, "uint8"),
        ("int16", -1, "uint16"),
        ("int32", 2**24 + 1, "float32"),
        ("int64", 2**53 + 1, "float64"),
        ("int64", -(2**63), "int32"),
        ("float32", 1.5, "uint8"),
        ("float32", np.nan, "int16"),
        ("float64", 1e300, "float32"),
        ("float64", 2.0**63, "int64"),
    ],
)
def test_a_pixel_that_does_not_fit_names_file_tile_and_value(
    tmp_path: Path, source: str, value: float, dtype: str
) -> None:
    data = np.ones((64, 64), source)
    data[40, 50] = value
    index = make_index(tmp_path, [File("i", "red", data)])
    message = r"tile \(row 1, col 1\), level 0, asset .red. of item i, .*i_red.tif: got a pixel of "
    message += re.escape(repr(data[40, 50].item()))
    for read in (rs.to_numpy, rs.to_xarray, lambda index, **given: rs.to_xarray(index, chunks={}, **given).compute()):
        for options in ({}, ONTO):
            with pytest.raises(InvalidArgumentError, match=message):
                read(index, dtype=dtype, **options)
    # To leave out files that fail does not leave out what the caller asked for wrongly.
    with pytest.raises(InvalidArgumentError, match=message):
        rs.to_xarray(index, dtype=dtype, on_error="nodata")


def test_nodata_pixels_need_not_fit(tmp_path: Path) -> None:
    """A nodata value that the dtype cannot hold leaves the mask, as in files without nodata value."""
    data = noise(1, dtype="uint8").astype("float32")
    data[:8] = np.nan
    index = make_index(tmp_path, [File("i", "dem", data, options={"nodata": np.nan})])
    got = rs.to_numpy(index, dtype="uint8")
    assert got.nodata == (None,)
    assert not got.mask[0, 0, :8].any()
    assert got.mask[0, 0, 8:].all()
    np.testing.assert_array_equal(got.data[0, 0, 8:], data[8:].astype("uint8"))
    dataset = rs.to_xarray(index, dtype="uint8")
    np.testing.assert_array_equal(dataset.dem_valid.values[0], got.mask[0, 0])
    assert not dataset.dem.values[0, :8].any()
    assert rs.to_numpy(index, dtype="uint8", nodata=np.nan).mask.sum() == got.mask.sum()


def test_sparse_tiles_and_masks_are_cast_too(tmp_path: Path) -> None:
    data = noise(1, dtype="uint8")
    data[:32, :32] = 7
    mask = noise(2) > 900
    files = [
        File("a", "red", data, when=1, options={"nodata": 7, "sparse": True}),
        File("b", "red", data.astype("uint16"), when=2, mask=mask),
    ]
    index = make_index(tmp_path, files)
    got = rs.to_numpy(index, dtype="int32")
    np.testing.assert_array_equal(got.mask[0, 0], data != 7)
    np.testing.assert_array_equal(got.mask[1, 0], mask)
    np.testing.assert_array_equal(got.data[1, 0][mask], data[mask])


def test_bands_of_two_dtypes_become_one_array(tmp_path: Path) -> None:
    red, scl = noise(1), noise(2, dtype="uint8")
    index = make_index(tmp_path, [File("i", "red", red), File("i", "scl", scl)])
    with pytest.raises(InvalidArgumentError, match=r"red is uint16 and scl is uint8.* give dtype"):
        rs.to_numpy(index)
    np.testing.assert_array_equal(rs.to_numpy(index, dtype="uint16").data[0], [red, scl])
    dataset = rs.to_xarray(index, dtype={"scl": "int16"})
    assert (dataset.red.dtype, dataset.scl.dtype) == ("uint16", "int16")
    lazy = rs.to_xarray(index, dtype={"scl": "int16"}, chunks={})
    assert lazy.scl.dtype == "int16"
    np.testing.assert_array_equal(lazy.scl.values, dataset.scl.values)
    assert lazy.scl.data.name != rs.to_xarray(index, chunks={}).scl.data.name


def test_rows_of_tiles_are_cast_as_files_are(tmp_path: Path) -> None:
    index = _mixture(tmp_path, "uint8", "uint16")
    tiles = rs.read_tiles(index).read_all()
    np.testing.assert_array_equal(rs.to_numpy(tiles, dtype="uint16").data, rs.to_numpy(index, dtype="uint16").data)


def test_exports_are_cast(tmp_path: Path) -> None:
    index = _mixture(tmp_path, "uint8", "uint16", nodata=0)
    rs.export(index, tmp_path / "{item}.tif", dtype="int32")
    for number in range(2):
        with (
            rasterio.open(tmp_path / f"i{number}.tif") as written,
            rasterio.open(tmp_path / f"i{number}_red.tif") as own,
        ):
            assert written.dtypes == ("int32",)
            assert written.nodata == 0
            np.testing.assert_array_equal(written.read(1), own.read(1))


def test_complex_pixels_do_not_lose_their_imaginary_part(tmp_path: Path) -> None:
    index = make_index(tmp_path, [File("i", "slc", noise(1).astype("complex64"))])
    with pytest.raises(InvalidArgumentError, match=r"dtype: got float32 for .*complex64"):
        rs.to_numpy(index, dtype="float32")
    assert rs.to_numpy(index, dtype="complex128").data.dtype == "complex128"


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_casts_are_exact_or_refused(source: str, dtype: str) -> None:
    """The oracle is Python: the value after the cast is that before it."""
    kind = np.dtype(source)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = {0, 1, limits.min, limits.max, limits.max // 3, *(2**power + 1 for power in (8, 16, 24, 31, 53, 63))}
        numbers = [kind.type(value) for value in values if limits.min <= value <= limits.max]
    else:
        numbers = [
            kind.type(value) for value in (0, -1, 1.5, 255, 256, 2.0**24, 2.0**63, 2.0**64, 3e38, np.inf, np.nan)
        ]
    wanted = np.dtype(dtype)
    for number in numbers:
        if kind.kind == "c" and wanted.kind != "c":
            continue
        misfit = first_misfit(np.array([number]), wanted)
        value = number.real.item() if kind.kind == "c" else number.item()
        if wanted.kind in "iu":
            fits = bool(np.isfinite(value)) and value == int(value)
            fits = fits and np.iinfo(wanted).min <= int(value) <= np.iinfo(wanted).max
        elif kind.kind in "iu":
            fits = int(np.array(number).astype(wanted).real.item()) == value
        else:
            fits = True
        assert (misfit is None) == fits, (number, wanted)
        if always_fits(kind, wanted):
            assert fits


def test_nodata_of_a_fraction_marks_what_it_marks_in_the_file() -> None:
    """GDAL cuts the fraction of an integer file's nodata value off."""
    assert cast_nodata(np.dtype("uint8"), 0.5, np.dtype("float32")) == 0.0
    assert cast_nodata(np.dtype("uint8"), -9999.0, np.dtype("int16")) == -9999
    assert cast_nodata(np.dtype("uint8"), -9999.0, np.dtype("uint16")) is None
    assert cast_nodata(np.dtype("int64"), 2**53 + 1, np.dtype("float64")) is None
    assert cast_nodata(np.dtype("float32"), -9999.9, np.dtype("float64")) == float(np.float32(-9999.9))
