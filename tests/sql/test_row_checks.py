"""Rows of an index that contradict themselves are refused with row and column, at every door, before anything is planned."""

import time

import duckdb
import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidIndexError
from rasteret_sql.testing import write_cog

LEVEL = "list_transform(levels, lambda l: struct_update(l, {})) AS levels"
FORMAT = "list_transform(formats, lambda f: struct_update(f, {})) AS formats"
BAND = "list_transform(bands, lambda b: struct_update(b, {})) AS bands"
#: What somebody may make of a row, as SQL for `SELECT * REPLACE`, and the column that the error names.
FAULTS = {
    **{f"width {value}": (LEVEL.format(f"width := {value}"), "levels.") for value in (0, -1, 2_000_000_000, 100, "NULL")},
    **{f"height {value}": (LEVEL.format(f"height := {value}"), "levels.") for value in (0, -7, 2_000_000_000, 100, "NULL")},
    **{f"format {value}": (LEVEL.format(f"format := {value}"), "levels.format") for value in (0, 9, -1, "NULL")},
    "no byte counts": (LEVEL.format("tile_byte_counts := NULL"), "tile_byte_counts"),
    "fewer byte counts": (LEVEL.format("tile_byte_counts := l.tile_byte_counts[2:]"), "tile_byte_counts"),
    "more byte counts": (LEVEL.format("tile_byte_counts := list_append(l.tile_byte_counts, 7)"), "tile_byte_counts"),
    "negative byte count": (LEVEL.format("tile_byte_counts := list_transform(l.tile_byte_counts, lambda n: -n)"), "tile_byte_counts"),
    "byte count of NULL": (LEVEL.format("tile_byte_counts := list_transform(l.tile_byte_counts, lambda n: NULL)"), "tile_byte_counts"),
    "huge byte count": (LEVEL.format("tile_byte_counts := list_transform(l.tile_byte_counts, lambda n: 1125899906842624)"), "run_offsets"),
    "negative offset": (LEVEL.format("run_offsets := list_transform(l.run_offsets, lambda n: -n)"), "run_offsets"),
    "offset behind the file": (LEVEL.format("run_offsets := list_transform(l.run_offsets, lambda n: n + 1000000)"), "run_offsets"),
    "no offsets": (LEVEL.format("run_offsets := []"), "run_offsets"),
    "no gaps": (LEVEL.format("tile_gaps := NULL"), "tile_gaps"),
    "other number of gaps": (LEVEL.format("tile_gaps := [1, 2, 3]"), "tile_gaps"),
    "small file": ("10 AS file_size", "run_offsets"),
    "no levels": ("NULL AS levels", "levels"),
    "empty levels": ("levels[1:0] AS levels", "levels"),
    "overview first": ("list_reverse(levels) AS levels", "levels."),
    "no formats": ("NULL AS formats", "levels.format"),
    **{f"tile_width {value}": (FORMAT.format(f"tile_width := {value}"), "tile_") for value in (0, -1, 16, "NULL")},
    **{f"tile_height {value}": (FORMAT.format(f"tile_height := {value}"), "tile_") for value in (0, -1, 16, "NULL")},
    "planar": (FORMAT.format("planar := NULL"), "planar"),
    **{f"samples {value}": (FORMAT.format(f"samples_per_pixel := {value}"), "samples_per_pixel") for value in (0, 1, -1)},
    "dtype": (FORMAT.format("dtype := 'object'"), "dtype"),
    "byte_order": (FORMAT.format("byte_order := 'middle'"), "byte_order"),
    "bits": (FORMAT.format("bits_per_sample := 1000"), "bits_per_sample"),
    **{f"transform {value}": (f"{value} AS transform", "transform") for value in (
        "[1.0, 0.0, 0.0]", "[10.0, 0, 'nan'::DOUBLE, 0, -10, 0]", "[10.0, 0, 'inf'::DOUBLE, 0, -10, 0]", "[0.0, 0, 0, 0, -10, 0]",
        "[10.0, 0, NULL, 0, -10, 0]", "[10.0, 3, 0, 3, -10, 0]", "[10.0, 0, 0, 0, -10, 0, 1]", "[]",
    )},
    **{f"band {value}": (BAND.format(f"band := {value}"), "bands") for value in (0, 3, -1, "NULL")},
    "no bands": ("NULL AS bands", "bands"),
}  # fmt: skip


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(1, 99, (2, 96, 80), np.uint16)
        write_cog(folder / f"i{number}.tif", pixels, tile=32, overviews=(2,), nodata=0)
    rs.build_index(f"{folder}/*.tif", folder / "i.parquet")
    return folder / "i.parquet"


@pytest.mark.parametrize(("change", "column"), FAULTS.values(), ids=FAULTS)
def test_a_row_that_contradicts_itself_is_named_with_its_column(index, change, column):
    query = f"SELECT * REPLACE ({change}) FROM '{index}' WHERE item_id = 'i1' UNION ALL FROM '{index}' WHERE item_id <> 'i1'"
    named = rf"item i1.*{column}"
    # Of the processor: other processes may take all of the time.
    start = time.process_time()
    with pytest.raises(InvalidIndexError, match=named):
        rs.to_numpy(query)
    with rs.connect() as con, pytest.raises(duckdb.Error, match=named):
        con.execute("SELECT count(pixels) FROM read_tiles(?)", [query]).fetchall()
    assert time.process_time() - start < 10


@pytest.mark.parametrize("name", ["width 2000000000", "height 2000000000", "fewer byte counts", "no byte counts"])
@pytest.mark.parametrize("function", ["explain_read", "tile_plan"])
def test_no_plan_in_sql_is_larger_than_its_row(index, name, function):
    change, _ = FAULTS[name]
    with rs.connect() as con:
        con.execute(f"CREATE TEMP VIEW wrong AS SELECT * REPLACE ({change}) FROM '{index}' WHERE item_id = 'i1'")
        with pytest.raises(duckdb.Error, match=r"item i1: levels\.tile_byte_counts is .*expected one for each tile"):
            con.execute(f"SELECT count(*) FROM {function}('wrong')").fetchall()


def test_rows_as_they_were_built_pass(index):
    expected = rs.to_numpy(index)
    assert (rs.to_numpy(f"SELECT * REPLACE (NULL AS file_size) FROM '{index}'").data == expected.data).all()
    assert (rs.to_numpy(f"SELECT * REPLACE (levels[1:1] AS levels) FROM '{index}'").data == expected.data).all()
