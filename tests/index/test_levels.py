"""Levels to the nested columns of the index and back."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from rasteret_sql.database.schema import index_schema
from rasteret_sql.index.header_columns import levels_to_arrow
from rasteret_sql.plan.tile_plan import tile_format
from rasteret_sql.tiff.model import Level, TileFormat

PLAIN = TileFormat("little", "uint16", 16, 1, False, 8, 2, 1, 1, 512, 512, tiled=True)
JPEG = TileFormat(
    "big", "uint8", 8, 3, False, 7, 1, 6, 1, 256, 16, tiled=False,
    jpeg_tables=b"\xff\xd8\xff\xd9", ycbcr_subsampling=(1, 1), codec_parameters=(4, 1),
)  # fmt: skip


def level(fmt, tiles, mask=None):
    return Level(100, 90, fmt, np.arange(tiles, dtype=np.int64) + 2**40, np.arange(tiles, dtype=np.int64), mask)


def test_levels_have_the_type_of_the_schema_and_come_back_as_they_were():
    rows = [(level(PLAIN, 3, level(JPEG, 1)), level(PLAIN, 1)), (), (level(JPEG, 2),)]
    formats, array = levels_to_arrow(rows)
    assert formats.type == index_schema().field("formats").type
    assert array.type == index_schema().field("levels").type
    formats.validate(full=True)
    array.validate(full=True)
    for row, forms, structs in zip(rows, formats.to_pylist(), array.to_pylist(), strict=True):
        assert len(row) == len(structs)
        for one, struct in zip(row, structs, strict=True):
            assert tile_format(forms[struct["format"] - 1]) == one.format
            assert (struct["width"], struct["height"]) == (100, 90)
            is_there = one.tile_byte_counts > 0
            assert struct["tile_byte_counts"] == one.tile_byte_counts.tolist()
            assert struct["run_offsets"] == ([one.tile_offsets[is_there][0]] if is_there.any() else [0])
            assert (struct["mask"] is None) == (one.mask is None)
    assert tile_format(formats.to_pylist()[0][array.to_pylist()[0][0]["mask"]["format"] - 1]) == JPEG


def test_a_file_has_each_of_its_formats_once():
    formats, _ = levels_to_arrow([(level(PLAIN, 3, level(JPEG, 1)), level(PLAIN, 1, level(JPEG, 1)))])
    assert [tile_format(form) for form in formats.to_pylist()[0]] == [PLAIN, JPEG]


def test_formats_come_back_through_duckdb():
    formats, levels = levels_to_arrow([(level(JPEG, 2),)])
    with duckdb.connect() as con:
        con.register("t", pa.table({"formats": formats, "levels": levels}))
        ((struct,),) = con.execute("SELECT formats[levels[1].format] FROM t").fetchall()
    assert tile_format(struct) == JPEG


def test_no_rows_are_empty_columns():
    assert [column.to_pylist() for column in levels_to_arrow([])] == [[], []]
