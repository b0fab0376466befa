"""Functions of the values of a tile, held against NumPy."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.testing import write_cog

TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)


@pytest.fixture
def con():
    connection = rs.connect()
    yield connection
    connection.close()


@pytest.fixture
def index(tmp_path):
    rng = np.random.default_rng(0)
    red, nir = rng.integers(0, 9, (2, 40, 48)).astype(np.uint8)
    rows = []
    for name, pixels in (("red", red), ("nir", nir)):
        write_cog(tmp_path / f"{name}.tif", pixels, tile=16, nodata=0, transform=TRANSFORM)
        rows.append({"href": str(tmp_path / f"{name}.tif"), "item_id": "i", "asset": name})
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    return tmp_path / "i.parquet", red, nir


def tile_of(pixels, row, col):
    return pixels[row * 16 : row * 16 + 16, col * 16 : col * 16 + 16].astype(float)


@pytest.mark.parametrize("argument", ["nodata := nodata", "mask := mask"])
def test_statistics_are_those_of_the_valid_pixels(con, index, argument):
    path, red, _ = index
    rows = con.execute(
        f"SELECT tile_row, tile_col, rst_stats(pixels, dtype, {argument}) FROM read_tiles('{path}', bands := ['red'])"
    ).fetchall()
    assert len(rows) == 9
    for row, col, found in rows:
        values = tile_of(red, row, col)
        values = values[values != 0]
        assert found == pytest.approx({
            "count": len(values), "sum": values.sum(), "mean": values.mean(), "stdev": values.std(),
            "min": values.min(), "max": values.max(),
        })  # fmt: skip


def test_without_nodata_and_mask_all_pixels_count_but_nan(con):
    pixels = np.array([1.0, np.nan, 3.0], "<f4").tobytes()
    assert con.execute("SELECT rst_stats($1::BLOB, 'float32')", [pixels]).fetchall() == [
        ({"count": 2, "sum": 4.0, "mean": 2.0, "stdev": 1.0, "min": 1.0, "max": 3.0},)
    ]
    assert con.execute("SELECT rst_stats(NULL::BLOB, 'float32')").fetchall() == [(None,)]
    nothing = con.execute("SELECT rst_stats($1::BLOB, 'uint8', nodata := 7)", [b"\x07\x07"]).fetchall()[0][0]
    assert nothing == {"count": 0, "sum": None, "mean": None, "stdev": None, "min": None, "max": None}


def test_a_histogram_counts_values(con, index):
    path, red, _ = index
    rows = con.execute(
        "SELECT tile_row, tile_col, rst_histogram(pixels, dtype, mask := mask) "
        f"FROM read_tiles('{path}', bands := ['red'])"
    ).fetchall()
    for row, col, found in rows:
        values, counts = np.unique(tile_of(red, row, col), return_counts=True)
        assert dict(found) == {value: count for value, count in zip(values, counts, strict=True) if value != 0}


def test_a_normalized_difference_is_one_number_per_pixel(con, index):
    path, red, nir = index
    rows = con.execute(
        "SELECT r.tile_row, r.tile_col, rst_normalized_difference(n.pixels, n.dtype, r.pixels, r.dtype) "
        f"FROM read_tiles('{path}', bands := ['red']) AS r JOIN read_tiles('{path}', bands := ['nir']) AS n "
        "USING (item_id, tile_row, tile_col)"
    ).fetchall()
    assert len(rows) == 9
    for row, col, found in rows:
        one, other = tile_of(nir, row, col), tile_of(red, row, col)
        total = one + other
        expected = np.where(total == 0, np.nan, (one - other) / np.where(total == 0, 1, total)).ravel()
        np.testing.assert_allclose([np.nan if value is None else value for value in found], expected)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_that_a_double_cannot_hold_are_refused_and_not_rounded(con, tmp_path, dtype):
    pixels = np.full((16, 16), np.iinfo(dtype).max // 2 + 1, dtype)
    lists = "SELECT rst_to_list(pixels, dtype) FROM read_tiles('{}')"
    for value in (2**53, 2**53 + 1, np.iinfo(dtype).max):
        pixels[3, 4] = value
        write_cog(tmp_path / "a.tif", pixels, tile=16, overviews=(), transform=TRANSFORM)
        rs.build_index(str(tmp_path / "a.tif"), tmp_path / "a.parquet")
        query = lists.format(tmp_path / "a.parquet")
        if value == 2**53:
            assert con.sql(query).fetchall() == [(pixels.ravel().tolist(),)]
            continue
        with pytest.raises(duckdb.Error, match=rf"rst_to_list: got a pixel of {value} \({dtype}\)"):
            con.sql(query).fetchall()
