"""Tables with href: Arrow, DuckDB, data frames, Parquet, and indexes themselves."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
import shapely
from pyarrow import parquet

from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.sql.indexes import build_index


@pytest.fixture
def table(cog):
    return pa.table(
        {
            "href": [str(cog("a.tif")), str(cog("b.tif"))],
            "item_id": ["first", "second"],
            "asset": ["red", "red"],
            "datetime": [dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC), None],
            "price": [Decimal("1.50"), None],
            "tags": [["x", "y"], []],
            "crs": ["ignored", "ignored"],
        }
    )


def rows(path):
    return parquet.read_table(path).to_pylist()


def check(path):
    first, second = sorted(rows(path), key=lambda row: row["item_id"])
    assert (first["item_id"], first["asset"], second["item_id"]) == ("first", "red", "second")
    assert first["datetime"] == dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    assert second["datetime"] is None
    assert first["price"] == Decimal("1.50")
    assert second["price"] is None
    assert first["tags"] == ["x", "y"]
    assert first["crs"] == "EPSG:32643"


def test_an_arrow_table_keeps_its_columns_and_their_types(table, tmp_path):
    build_index(table, tmp_path / "i.parquet")
    check(tmp_path / "i.parquet")
    assert parquet.read_schema(tmp_path / "i.parquet").field("price").type == pa.decimal128(3, 2)


def test_a_stream_of_batches_is_a_source(table, tmp_path):
    build_index(table.to_reader(max_chunksize=1), tmp_path / "i.parquet")
    check(tmp_path / "i.parquet")


def test_a_duckdb_relation_is_a_source(table, tmp_path):
    with duckdb.connect() as con:
        con.register("t", table)
        build_index(con.sql("FROM t WHERE item_id <> 'third'"), tmp_path / "i.parquet")
    check(tmp_path / "i.parquet")


def test_a_parquet_file_is_a_source(table, tmp_path):
    parquet.write_table(table, tmp_path / "t.parquet")
    build_index(tmp_path / "t.parquet", tmp_path / "i.parquet")
    check(tmp_path / "i.parquet")


def test_a_data_frame_is_a_source(table, tmp_path):
    build_index(table.drop(["tags", "price"]).to_pandas(), tmp_path / "i.parquet")
    assert {row["item_id"] for row in rows(tmp_path / "i.parquet")} == {"first", "second"}


def test_a_geodataframe_gives_its_footprints(table, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(
        table.select(["href", "item_id"]).to_pandas(), geometry=[shapely.box(1, 2, 3, 4)] * 2, crs="OGC:CRS84"
    )
    build_index(frame, tmp_path / "i.parquet")
    row = rows(tmp_path / "i.parquet")[0]
    assert shapely.from_wkb(row["geometry"]).bounds == (1.0, 2.0, 3.0, 4.0)
    # The pixels lie elsewhere, and the bbox holds both.
    assert (row["bbox"]["xmin"], row["bbox"]["ymin"]) == (1.0, 2.0)
    assert row["bbox"]["xmax"] > 75


def test_an_index_is_a_source_of_the_next_one(table, tmp_path):
    build_index(table, tmp_path / "one.parquet")
    build_index(tmp_path / "one.parquet", tmp_path / "two.parquet")
    one, two = rows(tmp_path / "one.parquet"), rows(tmp_path / "two.parquet")
    for row in (*one, *two):
        del row["indexed_at"]
    assert one == two


def test_an_index_may_replace_the_one_it_was_built_from(table, tmp_path):
    path = tmp_path / "i.parquet"
    build_index(table, path)
    build_index(path, path)
    check(path)


def test_item_and_asset_come_from_the_href_where_there_are_no_columns(table, tmp_path):
    build_index(table.select(["href"]), tmp_path / "i.parquet")
    assert [(row["item_id"], row["asset"]) for row in rows(tmp_path / "i.parquet")] == [
        ("a", "data"),
        ("b", "data"),
    ]


def test_id_names_the_item_and_is_no_property(table, tmp_path):
    build_index(table.select(["href", "item_id"]).rename_columns(["href", "id"]), tmp_path / "i.parquet")
    assert {row["item_id"] for row in rows(tmp_path / "i.parquet")} == {"first", "second"}
    assert "id" not in parquet.read_schema(tmp_path / "i.parquet").names


def test_a_row_without_href_is_a_failure(table, tmp_path):
    broken = table.select(["href", "item_id", "price"]).set_column(0, "href", [[None, table["href"][1].as_py()]])
    report = build_index(broken, tmp_path / "i.parquet")
    assert [row["item_id"] for row in rows(tmp_path / "i.parquet")] == ["second"]
    assert "the table, row 0: got None as href" in report.failures[0].message


def test_two_parquet_files_with_other_columns_are_one_index(table, tmp_path):
    parquet.write_table(table.slice(0, 1).select(["href", "item_id", "price"]), tmp_path / "p1.parquet")
    parquet.write_table(table.slice(1, 1).select(["href", "item_id", "tags"]), tmp_path / "p2.parquet")
    build_index(f"{tmp_path}/p*.parquet", tmp_path / "i.parquet")
    first, second = sorted(rows(tmp_path / "i.parquet"), key=lambda row: row["item_id"])
    assert (first["price"], first["tags"]) == (Decimal("1.50"), None)
    assert (second["price"], second["tags"]) == (None, [])


def test_a_table_without_href_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="got the columns path, expected href"):
        build_index(pa.table({"path": ["a.tif"]}), tmp_path / "i.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "t.parquet").write_text("no")
    with pytest.raises((BuildError, InvalidArgumentError), match="this file cannot be read as Parquet"):
        build_index(tmp_path / "t.parquet", tmp_path / "i.parquet")
