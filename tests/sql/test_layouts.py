"""Any layout, from file to array: what `write_cog` writes and rasterio reads is what `read_tiles` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.testing.cog import write_cog

if TYPE_CHECKING:
    from pathlib import Path

# rasterio warns where nodata comes before alpha, which is the precedence that is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NodataShadowWarning")

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@st.composite
def layouts(draw: st.DrawFn) -> tuple[dict[str, Any], int, str, int]:
    """Options of a file, its bands, dtype and a seed."""
    dtype = draw(st.sampled_from(DTYPES))
    bands = draw(st.integers(1, 4))
    options: dict[str, Any] = {
        "compression": draw(st.sampled_from(["none", "deflate", "lzw", "zstd", "packbits", "lzma"])),
        "predictor": draw(st.booleans()),
        "planar": draw(st.booleans()),
        "byte_order": draw(st.sampled_from(["little", "big"])),
        "bigtiff": draw(st.booleans()),
        "overviews": draw(st.sampled_from([(), (2,), (2, 4)])),
        "nodata": draw(st.sampled_from([None, 0, 7])),
        "sparse": draw(st.booleans()),
        "ifds": draw(st.sampled_from(["first", "last"])),
    }
    if draw(st.booleans()):
        options["rows_per_strip"] = draw(st.integers(1, 120))
    else:
        options["tile"] = draw(st.sampled_from([16, 32, (16, 64), (64, 48)]))
    if draw(st.booleans()):
        options["mask_bits"] = draw(st.sampled_from([1, 8]))
    if bands in (2, 4) and draw(st.booleans()):
        options["alpha"] = True
    return options, bands, dtype, draw(st.integers(0, 2**16))


def _data(bands: int, dtype: str, seed: int, size: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 100, (bands, *size)).astype(dtype)
    # Whole tiles of nothing, so that there is something to leave out.
    data[:, :64, :64] = 0
    return data


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts())
def test_every_layout_reads_as_rasterio_reads_it(tmp_path: Path, layout: tuple[dict[str, Any], int, str, int]) -> None:
    options, bands, dtype, seed = layout
    size = (101, 83)
    mask = np.random.default_rng(seed).integers(0, 3, size) > 0 if options.pop("mask_bits", 0) else None
    path, index = tmp_path / "file.tif", tmp_path / "index.parquet"
    write_cog(path, _data(bands, dtype, seed, size), mask=mask, **options)
    report = rs.build_index([str(path)], index)
    assert not report.failures
    for level in range(1 + len(options["overviews"])):
        array = rs.to_numpy(index, level=level)
        choice = {} if level == 0 else {"overview_level": level - 1}
        with rasterio.open(path, **choice) as source:
            np.testing.assert_array_equal(array.data[0], source.read())
            np.testing.assert_array_equal(array.mask[0], source.read_masks() != 0)
            assert array.crs == source.crs.to_string()
            if level == 0:
                assert array.transform == tuple(source.transform)[:6]
        tiles = rs.read_tiles(index, level=level).read_all().to_pylist()
        form = _format(index, level)
        for tile in tiles:
            rows = slice(
                tile["tile_row"] * form["tile_height"],
                tile["tile_row"] * form["tile_height"] + tile["height"],
            )
            cols = slice(tile["tile_col"] * form["tile_width"], tile["tile_col"] * form["tile_width"] + tile["width"])
            shape = tile["height"], tile["width"]
            pixels = np.frombuffer(tile["pixels"], tile["dtype"]).reshape(shape)
            np.testing.assert_array_equal(pixels, array.data[0, tile["band"] - 1, rows, cols])
            valid = np.ones(shape, bool) if tile["mask"] is None else np.frombuffer(tile["mask"], bool).reshape(shape)
            np.testing.assert_array_equal(valid, array.mask[0, tile["band"] - 1, rows, cols])


def _format(index: Path, level: int) -> dict[str, Any]:
    import pyarrow.parquet as pq

    (row,) = pq.read_table(index, columns=["formats", "levels"]).to_pylist()
    return row["formats"][row["levels"][level]["format"] - 1]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=layouts(), top=st.integers(0, 90), left=st.integers(0, 70), height=st.integers(1, 101), width=st.integers(1, 83)
)  # fmt: skip
def test_every_window_reads_as_rasterio_reads_it(
    tmp_path: Path, layout: tuple[dict[str, Any], int, str, int], top: int, left: int, height: int, width: int
) -> None:
    options, bands, dtype, seed = layout
    options.pop("mask_bits", 0)
    path, index = tmp_path / "file.tif", tmp_path / "index.parquet"
    write_cog(path, _data(bands, dtype, seed, (101, 83)), **options)
    rs.build_index([str(path)], index)
    bottom, right = min(top + height, 101), min(left + width, 83)
    box = (600_000 + 10 * left, 1_400_000 - 10 * bottom, 600_000 + 10 * right, 1_400_000 - 10 * top)
    array = rs.to_numpy(index, bbox=box, geometry_crs="EPSG:32643")
    with rasterio.open(path) as source:
        window = ((top, bottom), (left, right))
        np.testing.assert_array_equal(array.data[0], source.read(window=window))
        np.testing.assert_array_equal(array.mask[0], source.read_masks(window=window) != 0)


@pytest.mark.parametrize("nodata", [np.nan, -9999.0, np.inf, -3.4028234663852886e38])
def test_nodata_of_floats_marks_as_in_gdal(tmp_path: Path, nodata: float) -> None:
    data = np.random.default_rng(0).normal(size=(40, 50)).astype("float32")
    data[3:9, 4:11] = nodata
    data[20, 20] = np.nan
    write_cog(tmp_path / "f.tif", data, tile=16, overviews=(), nodata=nodata)
    rs.build_index([str(tmp_path / "f.tif")], tmp_path / "i.parquet")
    array = rs.to_numpy(tmp_path / "i.parquet")
    with rasterio.open(tmp_path / "f.tif") as source:
        np.testing.assert_array_equal(array.data[0], source.read())
        np.testing.assert_array_equal(array.mask[0], source.read_masks() != 0)


@pytest.mark.parametrize("nodata", [-9999, 300, 1.5, 255])
def test_nodata_of_integers_marks_as_in_gdal(tmp_path: Path, nodata: float) -> None:
    data = np.arange(256, dtype="uint8").reshape(16, 16)
    write_cog(tmp_path / "f.tif", data, tile=16, overviews=(), nodata=nodata)
    rs.build_index([str(tmp_path / "f.tif")], tmp_path / "i.parquet")
    array = rs.to_numpy(tmp_path / "i.parquet")
    with rasterio.open(tmp_path / "f.tif") as source:
        np.testing.assert_array_equal(array.mask[0], source.read_masks() != 0)
    np.testing.assert_array_equal(array.data[0, 0], data)
