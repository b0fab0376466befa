"""The SQL files of the index: one schema, one SELECT, checks that find what is wrong."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from rasteret_sql.database.schema import index_schema
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal, sql_file, sql_folder
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.sql.indexes import build_index

CHECKS = sorted(path.stem for path in (sql_folder() / "checks").glob("*.sql"))


def test_an_index_has_the_columns_of_the_schema_in_its_order(cog, tmp_path):
    build_index(cog("a/red.tif"), tmp_path / "i.parquet", pattern="{place}/{asset}.tif")
    with duckdb.connect() as con:
        con.execute(sql_file("schema/asset_index.sql"))
        expected = con.execute("SELECT column_name, column_type FROM (DESCRIBE asset_index)").fetchall()
        query = f"SELECT column_name, column_type FROM (DESCRIBE FROM '{tmp_path / 'i.parquet'}')"
        columns = con.execute(query).fetchall()
    assert columns.pop(6) == ("place", "VARCHAR")
    assert columns == [(name, kind.replace("GEOMETRY", "GEOMETRY('OGC:CRS84')")) for name, kind in expected]


@pytest.mark.parametrize("folder", ["checks", "index", "schema"])
def test_every_file_begins_with_its_name_kind_grain_and_sources(folder):
    for path in (sql_folder() / folder).glob("*.sql"):
        lines = path.read_text().splitlines()
        keys = [line.removeprefix("-- ").partition(":")[0] for line in lines[:4]]
        assert keys == ["name", "kind", "grain", "reads"], path
        assert lines[0] == f"-- name: {path.stem}"
        assert lines[4].startswith("-- ")
        assert lines[4].endswith(".")


def level(width=64, height=64, tiles=4, runs=1, gaps=1, mask=None):
    return {
        "width": width,
        "height": height,
        "format": 1,
        "tile_byte_counts": list(range(tiles)),
        "run_offsets": [8] * runs,
        "tile_gaps": [0] * gaps,
        "mask": mask,
    }


def row(**changes):
    form = {
        "byte_order": "little", "dtype": "uint16", "bits_per_sample": 16, "samples_per_pixel": 1, "planar": False,
        "compression": 8, "predictor": 1, "photometric": 1, "fill_order": 1, "tile_width": 32, "tile_height": 32,
        "tiled": True,
    }  # fmt: skip
    box = {"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}
    return {
        "item_id": "i", "asset": "a", "href": "/a.tif", "geometry": b"x", "bbox": box, "width": 64, "height": 64,
        "samples_per_pixel": 1, "bands": [{"name": "a", "band": 1}], "formats": [form],
        "levels": [level()], "reach": box,
    } | changes  # fmt: skip


BROKEN = {
    "unique_key": [row(), row(href="/b.tif")],
    "bbox_is_sane": [row(bbox={"xmin": 2.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}), row(bbox=None)],
    "levels_are_there": [
        row(levels=[]),
        row(levels=None),
        row(levels=[level(), level(128, 128, 16)]),
        row(width=65),
    ],
    "tiles_are_complete": [
        row(levels=[level(tiles=3)]),
        row(levels=[level(width=33)] * 2 + [level(65, 64, 4)]),
        row(levels=[level(runs=2)]),
        row(levels=[level(gaps=3)]),
        row(levels=[level(mask=level(tiles=3))]),
        row(formats=[]),
    ],
    "bands_fit_samples": [row(samples_per_pixel=2), row(bands=None), row(bands=[{"name": None, "band": 1}])],
    "reach_holds_row": [
        row(reach=None),
        row(bbox=None, geometry=None),
        row(reach={"xmin": 0.0, "ymin": 0.0, "xmax": 0.5, "ymax": 1.0}),
        row(datetime=1_000_000),
        row(datetime=1_000_000, reach={**row()["reach"], "start_us": 1_000_000, "end_us": 999_999}),
    ],
    "times_in_order": [row(start_datetime=2_000_000, end_datetime=1_000_000)],
}


def run_check(name, rows):
    with duckdb.connect() as con:
        con.register("asset_index", pa.Table.from_pylist(rows, index_schema()))
        return con.sql(sql_file(f"checks/{name}.sql")).fetchall()


def test_there_is_a_test_of_every_check():
    assert sorted(BROKEN) == CHECKS


@pytest.mark.parametrize("name", BROKEN)
def test_a_check_is_silent_about_what_is_right_and_finds_what_is_wrong(name):
    assert run_check(name, [row()]) == []
    if name == "unique_key":
        assert len(run_check(name, BROKEN[name])) == 1
        return
    for broken in BROKEN[name]:
        assert len(run_check(name, [broken])) == 1, broken


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(InvalidArgumentError, match=r"'index/none\.sql': no such SQL file"):
        sql_file("index/none.sql")


def test_identifiers_and_strings_are_quoted():
    with duckdb.connect() as con:
        name, text = 'a "b" c', "it's; --"
        con.execute(f"CREATE TABLE t ({quote_identifier(name)} VARCHAR)")
        con.execute(f"INSERT INTO t VALUES ({quote_literal(text)})")
        assert con.execute(f"SELECT {quote_identifier(name)} FROM t").fetchall() == [(text,)]


def test_row_groups_are_small_enough_to_prune(cog, tmp_path):
    build_index(cog("red.tif"), tmp_path / "i.parquet")
    metadata = parquet.read_metadata(tmp_path / "i.parquet")
    columns = {metadata.row_group(0).column(n).path_in_schema: n for n in range(metadata.num_columns)}
    for name in ("bbox.xmin", "datetime", "item_id", "asset"):
        assert metadata.row_group(0).column(columns[name]).statistics is not None
