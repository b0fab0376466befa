"""Rows of an index as other tools write them: each spelling of a row reads as the row that we wrote."""

import re

import duckdb
import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.schema import cast_column, cast_columns, column_types, schema_types
from rasteret_sql.database.sqlfiles import sql_file
from rasteret_sql.testing import write_cog

#: Columns of a row in types that are not those of the schema, as SQL for `SELECT * REPLACE`.
SPELLINGS = {
    "nodata of DECIMAL": "list_transform(bands, lambda b: struct_update(b, nodata := 7.0)) AS bands",
    "nodata of INTEGER": "list_transform(bands, lambda b: struct_update(b, nodata := 7)) AS bands",
    "nodata of NULL": "list_transform(bands, lambda b: struct_update(b, nodata := NULL)) AS bands",
    "scale of DECIMAL": "list_transform(bands, lambda b: struct_update(b, scale := 0.5)) AS bands",
    "fields of bands in another order": "[{'band': 1, 'name': 'x', 'nodata': 7.0}] AS bands",
    "transform of DECIMAL": "[10.0, 0.0, 600000.0, 0.0, -10.0, 1400000.0] AS transform",
    "transform of INTEGER": "[10, 0, 600000, 0, -10, 1400000] AS transform",
    "transform of a fixed size": "transform::DOUBLE[6] AS transform",
    "item_id of INTEGER": "substr(item_id, 2)::BIGINT AS item_id",
    "item_id of ENUM": "item_id::ENUM('i0', 'i1', 'i2') AS item_id",
    "asset of ENUM": "asset::ENUM('m') AS asset",
    "collection of INTEGER": "7 AS collection",
    "datetime of DATE": "datetime::DATE AS datetime",
    "datetime of TIMESTAMP": "timezone('UTC', datetime)::TIMESTAMP AS datetime",
    "datetime of TIMESTAMP_S": "timezone('UTC', datetime)::TIMESTAMP_S AS datetime",
    "datetime of TIMESTAMP_MS": "timezone('UTC', datetime)::TIMESTAMP_MS AS datetime",
    "datetime of TIMESTAMP_NS": "timezone('UTC', datetime)::TIMESTAMP_NS AS datetime",
    "datetime as text": "strftime(timezone('UTC', datetime), '%Y-%m-%dT%H:%M:%SZ') AS datetime",
    "datetime as text of another zone": "strftime(timezone('UTC', datetime) + INTERVAL 5 HOUR, '%Y-%m-%dT%H:%M:%S+05:00') AS datetime",
    "mirror of NULL": "NULL AS mirror",
    "etag of NULL": "NULL AS etag",
    "numbers of levels in BIGINT": "levels::JSON::STRUCT(width BIGINT, height BIGINT, format BIGINT, tile_byte_counts DECIMAL(18, 0)[], "
    "run_offsets HUGEINT[], tile_gaps UINTEGER[], mask STRUCT(width INTEGER, height INTEGER, format INTEGER, "
    "tile_byte_counts BIGINT[], run_offsets BIGINT[], tile_gaps BIGINT[]))[] AS levels",
}
CONDITIONS = (
    "true",
    "datetime >= '2024-01-02'",
    "datetime = TIMESTAMPTZ '2024-01-02 00:00:00+00'",
    "item_id > 'i0'",
    "item_id = '1'",
    "collection = '7'",
    "nodata = 7",
    "nodata < 7.5",
    "scale > 0.1",
)
TIMES = (
    pa.timestamp("us", "UTC"), pa.timestamp("us", "Asia/Kolkata"), pa.timestamp("ns", "UTC"), pa.timestamp("ms", "UTC"),
    pa.timestamp("s", "UTC"), pa.timestamp("ns"), pa.timestamp("us"), pa.timestamp("s"), pa.date32(),
)  # fmt: skip


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    rows = []
    for number in range(3):
        pixels = np.full((48, 48), number + 1, np.uint16)
        write_cog(folder / f"{number}.tif", pixels, tile=32, overviews=(2,), nodata=0)
        rows.append(
            {
                "href": str(folder / f"{number}.tif"),
                "item_id": f"i{number}",
                "asset": "m",
                "datetime": f"2024-01-0{number + 1}",
            }
        )
    rs.build_index(pa.Table.from_pylist(rows), folder / "i.parquet")
    return folder / "i.parquet"


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_read_gives_the_same_rows_as_a_table_of_its_result(index, spelling):
    """Conditions mean the same of tiles that are read and of tiles in a table."""
    with rs.connect() as con:
        con.execute("SET TimeZone = 'Asia/Kolkata'")
        con.execute(f"CREATE TABLE i AS SELECT * REPLACE ({spelling}) FROM '{index}'")
        con.execute("CREATE TABLE t AS FROM read_tiles('i')")
        for condition in CONDITIONS:
            text = f"SELECT item_id, datetime, nodata, scale, octet_length(pixels) FROM {{}} WHERE {condition} ORDER BY ALL"
            assert con.execute(text.format("read_tiles('i')")).fetchall() == con.execute(text.format("t")).fetchall()
        rows = con.execute("SELECT epoch_us(datetime) FROM t ORDER BY ALL").fetchall()
        expected = con.execute(f"SELECT epoch_us(datetime) FROM read_tiles('{index}') ORDER BY ALL").fetchall()
        assert rows == expected
        assert con.execute("SELECT count(*) FROM tile_plan('i')").fetchall() == [(len(rows),)]
        assert len(rs.to_numpy(con.sql("FROM i")).data) == 3


@pytest.mark.parametrize("kind", TIMES, ids=map(str, TIMES))
def test_times_of_arrow_and_parquet_are_utc(index, tmp_path, kind):
    rows = pq.read_table(index)
    place = rows.schema.get_field_index("datetime")
    plain = rows["datetime"] if getattr(kind, "tz", None) else rows["datetime"].cast(pa.timestamp("us"))
    rows = rows.set_column(place, "datetime", plain.cast(kind))
    pq.write_table(rows, tmp_path / "i.parquet")
    expected = rs.to_numpy(index).times
    assert (rs.to_numpy(rows).times == expected).all()
    assert (rs.to_numpy(tmp_path / "i.parquet").times == expected).all()


@pytest.mark.parametrize(
    "given",
    [
        pd.read_parquet,
        gpd.read_parquet,
        lambda path: duckdb.sql(f"FROM '{path}'").df(),
        lambda path: pa.Table.from_pylist(pq.read_table(path).to_pylist()),
        lambda path: pq.read_table(path).rename_columns([name.upper() for name in pq.read_schema(path).names]),
    ],
)
def test_frames_and_tables_of_other_tools_are_rows(index, tmp_path, given):
    rows = given(index)
    assert (rs.to_numpy(rows).data == rs.to_numpy(index).data).all()
    assert rs.read_tiles(rows).read_all().num_rows == rs.read_tiles(index).read_all().num_rows
    if isinstance(rows, pa.Table):
        pq.write_table(rows, tmp_path / "given.parquet")
    else:
        rows.to_parquet(tmp_path / "given.parquet")
    assert (rs.to_numpy(tmp_path / "given.parquet").data == rs.to_numpy(index).data).all()


@pytest.mark.parametrize("name", ["_rst_asset_plan", "_rst_items"])
def test_macros_cast_as_python_does(name):
    """The macros run without Python, so they hold the text of the casts."""
    text = sql_file(f"macros/{name}.sql")
    casts = re.findall(r"^ +(.*index_of_schema_2\..*) AS (\w+),?$", text, re.MULTILINE)
    assert len(casts) > 7
    for cast, column in casts:
        read = cast_columns([column], "index_of_schema_2").strip()
        assert f"{cast} AS {column}" in {read, f"{cast_column(column, 'index_of_schema_2')} AS {column}"}


def test_types_are_those_of_the_schema():
    with own_connection() as con:
        described = column_types(con)
        assert list(described) == list(schema_types())
        for name, kind in schema_types().items():
            con.execute(f"CREATE OR REPLACE TABLE one (a {kind})")
            assert con.execute("DESCRIBE one").fetchall()[0][1] == described[name]


@pytest.mark.parametrize(
    ("spelling", "column", "value"),
    [
        ("'soon' AS datetime", "datetime", "soon"),
        ("5 AS datetime", "datetime", "5"),
        ("['a', 'b'] AS transform", "transform", "a"),
        ("'none' AS levels", "levels", "none"),
    ],
)
def test_a_value_that_is_none_of_its_column_is_named_with_its_row(index, spelling, column, value):
    query = (
        f"SELECT * REPLACE (CASE WHEN item_id = 'i1' THEN 'i1' ELSE item_id END AS item_id, {spelling}) FROM '{index}'"
    )
    with pytest.raises(rs.RasteretError, match=rf"{column}.*{value}") as caught:
        rs.to_numpy(query)
    assert column == "datetime" or "item i" in str(caught.value)
