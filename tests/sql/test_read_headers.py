"""read_headers: any table with hrefs becomes rows of an index, and only what a query needs is fetched."""

from __future__ import annotations

import re

import duckdb
import numpy as np
import pytest
from pyarrow import parquet as pq

import rasteret_sql as rs
from rasteret_sql.index.sources.tiffs import _stem_parts
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer

KEY = ("item_id", "asset")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A server with four items of two files each."""
    folder = tmp_path_factory.mktemp("files")
    pixels = np.arange(1, 64 * 64 + 1, dtype="uint16").reshape(64, 64)
    for number in range(4):
        for asset in ("red", "nir"):
            write_cog(folder / f"i{number}" / f"{asset}.tif", pixels, tile=32, overviews=(2,))
    with RangeServer(folder) as server:
        yield server


@pytest.fixture
def assets(con, files):
    """The table `assets`: its rows name the files, and have a cloud cover of 10 times the number of the item."""
    con.execute(
        "CREATE TABLE assets AS SELECT ? || '/i' || i || '/' || asset || '.tif' AS href, 'i' || i AS item_id, asset, "
        "i * 10 AS cloud, TIMESTAMP '2024-01-01 10:00:00' + to_days(i::INTEGER) AS datetime "
        "FROM range(4) AS r(i), (VALUES ('red'), ('nir')) AS a(asset)",
        [files.base_url],
    )
    files.reset()
    return files


def requested(server):
    return sorted(request.path for request in server.requests)


def keys(result):
    return sorted(result.fetchall())


def test_a_row_is_that_of_build_index_and_its_columns_stand_in_the_same_order(con, assets, tmp_path):
    rs.build_index(con.sql("FROM assets"), tmp_path / "built.parquet")
    con.execute(f"COPY (FROM read_headers(assets) ORDER BY ALL) TO '{tmp_path / 'copied.parquet'}'")
    query = "SELECT * EXCLUDE (indexed_at) FROM '{}' ORDER BY item_id, asset"
    built, copied = (
        con.sql(query.format(tmp_path / f"{name}.parquet")).to_arrow_table() for name in ("built", "copied")
    )
    assert copied.schema.names == built.schema.names
    assert copied.to_pylist() == built.to_pylist()
    assert pq.read_schema(tmp_path / "copied.parquet").names[-2:] == ["indexed_at", "reach"]


def test_what_copy_writes_is_an_index_that_read_tiles_takes(con, assets, tmp_path):
    con.execute(f"COPY (FROM read_headers(assets)) TO '{tmp_path / 's2.parquet'}'")
    query = "SELECT item_id, sum(octet_length(pixels)) FROM read_tiles(?, bands := ['red']) GROUP BY ALL ORDER BY ALL"
    assert con.execute(query, [str(tmp_path / "s2.parquet")]).fetchall() == [(f"i{n}", 8192) for n in range(4)]


def test_one_request_reads_a_file(con, assets):
    con.sql("FROM read_headers(assets)").fetchall()
    assert len(assets.requests) == 8


@pytest.mark.parametrize(
    "query",
    [
        "WITH chosen AS (FROM assets WHERE cloud < 10) FROM read_headers(chosen) SELECT item_id, asset, width",
        "WITH chosen AS (FROM assets WHERE cloud < 10) FROM read_headers('chosen') SELECT item_id, asset, width",
        "FROM read_headers(assets) SELECT item_id, asset, width WHERE cloud < 10",
        "FROM read_headers(assets) SELECT item_id, asset, width WHERE item_id = 'i0' AND width > 1",
        "FROM read_headers(assets) SELECT item_id, asset, width WHERE datetime < '2024-01-01 12:00:00+00'",
    ],
)
def test_files_that_a_condition_leaves_out_are_not_requested(con, assets, query):
    assert keys(con.execute(query)) == [("i0", "nir", 64), ("i0", "red", 64)]
    assert requested(assets) == ["i0/nir.tif", "i0/red.tif"]


def test_conditions_may_be_prepared_parameters(con, assets):
    query = (
        "WITH chosen AS (FROM assets WHERE cloud >= ? AND asset = ?) FROM read_headers(chosen) SELECT item_id, width"
    )
    assert keys(con.execute(query, [20, "red"])) == [("i2", 64), ("i3", 64)]
    assert requested(assets) == ["i2/red.tif", "i3/red.tif"]


def test_views_temporary_tables_and_parquet_files_are_sources(con, assets, tmp_path):
    con.execute("CREATE TEMP TABLE a_table AS FROM assets WHERE item_id = 'i1'")
    con.execute("CREATE VIEW a_view AS FROM assets WHERE item_id = 'i1'")
    con.execute(f"COPY a_table TO '{tmp_path / 'a.parquet'}'")
    for source in ("a_table", "a_view", tmp_path / "a.parquet"):
        assets.reset()
        rows = con.execute(f"SELECT item_id, asset FROM read_headers('{source}') WHERE width = 64")
        assert keys(rows) == [("i1", "nir"), ("i1", "red")]
        assert len(assets.requests) == 2


def test_a_query_that_needs_no_header_fetches_nothing(con, assets):
    assert con.sql("SELECT count(*), min(cloud) FROM read_headers(assets)").fetchall() == [(8, 0)]
    assert assets.requests == []


def test_a_cursor_and_a_second_thread_of_work_have_it_too(con, assets):
    with con.cursor() as cursor:
        assert cursor.sql("SELECT count(width) FROM read_headers(assets)").fetchall() == [(8,)]


def test_it_works_after_the_connection_that_installed_first_is_closed(files, tmp_path):
    first = rs.connect(tmp_path / "a.duckdb")
    first.execute("CREATE TABLE assets AS SELECT ? AS href", [files.url("i0/red.tif")])
    second = rs.install(duckdb.connect(str(tmp_path / "a.duckdb")))
    first.close()
    third = rs.install(duckdb.connect(str(tmp_path / "a.duckdb")))
    assert third.sql("SELECT item_id, asset, width FROM read_headers(assets)").fetchall() == [("red", "data", 64)]
    assert second.sql("SELECT item_id, asset, width FROM read_headers(assets)").fetchall() == [("red", "data", 64)]
    third.close()
    second.close()


def test_an_index_is_a_source_and_its_header_columns_are_read_anew(con, assets, tmp_path):
    con.execute(f"COPY (SELECT * REPLACE (0 AS width) FROM read_headers(assets)) TO '{tmp_path / 'a.parquet'}'")
    rows = con.sql(f"SELECT DISTINCT width, cloud FROM read_headers('{tmp_path / 'a.parquet'}') WHERE cloud = 30")
    assert rows.fetchall() == [(64, 30)]


@pytest.mark.parametrize(
    "href",
    [
        "/data/a.b/scene.v2.tif",
        "/data/.tif",
        "/data/no_extension",
        "relative.tif",
        "https://example.com/a/b%20c+d.tif?sig=x/y.tif#part",
        "https://example.com/folder.d/",
        "https://example.com",
        "s3://bucket/key.TIFF",
    ],
)
def test_a_file_without_item_id_is_called_as_build_index_calls_it(con, href):
    con.execute("CREATE TABLE one AS SELECT ? AS href", [href])
    assert con.sql("SELECT item_id, asset FROM read_headers(one)").fetchall() == [(_stem_parts(href)[-1], "data")]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize(
    "time",
    [
        "'2024-01-02T03:04:05.678901Z'",
        "'2024-01-02 03:04:05.678901'",
        "'2024-01-02T08:34:05.678901+05:30'",
        "TIMESTAMP '2024-01-02 03:04:05.678901'",
        "TIMESTAMPTZ '2024-01-02 03:04:05.678901+00'",
    ],
)
def test_a_time_without_an_offset_is_utc_whatever_its_type(con, zone, time):
    con.execute(f"SET TimeZone = '{zone}'")
    con.execute(f"CREATE TABLE one AS SELECT 'a.tif' AS href, {time} AS datetime")
    assert con.sql("SELECT epoch_us(datetime) FROM read_headers(one)").fetchall() == [(1704164645678901,)]


def test_what_is_no_time_is_an_error_and_not_null(con):
    con.execute("CREATE TABLE one AS SELECT 'a.tif' AS href, 'yesterday' AS datetime")
    with pytest.raises(duckdb.Error, match=r"datetime: got 'yesterday', expected a time such as"):
        con.sql("SELECT datetime FROM read_headers(one)").fetchall()


def test_a_geometry_of_the_source_is_kept_to_the_last_bit(con, files):
    shape = "POLYGON ((77.123456789012345 12, 78 12.1, 78 13, 77.123456789012345 12))"
    url = files.url("i0/red.tif")
    con.execute("CREATE TABLE one AS SELECT ? AS href, ?::GEOMETRY AS geometry", [url, shape])
    con.execute("CREATE TABLE two AS SELECT href, ST_AsWKB(geometry) AS geometry FROM one")
    expected = con.sql("SELECT ST_AsWKB(geometry) FROM one").fetchall()
    for source in ("one", "two"):
        assert con.sql(f"SELECT ST_AsWKB(geometry) FROM read_headers('{source}')").fetchall() == expected
    assert con.sql("SELECT bbox.xmin < 76, bbox.xmax FROM read_headers(one)").fetchall() == [(True, 78.0)]


def test_bands_of_the_source_name_those_of_the_file(con, files):
    con.execute(
        "CREATE TABLE one AS SELECT ? AS href, [{'name': 'B04', 'scale': 0.0001}] AS bands, "
        """'[[{"common_name": "red", "name": "other"}]]' AS band_lists""",
        [files.url("i0/red.tif")],
    )
    ((band,),) = con.sql("SELECT bands[1] FROM read_headers(one)").fetchall()
    assert (band["name"], band["common_name"], band["scale"]) == ("B04", "red", 0.0001)
    columns = [column[0] for column in con.sql("FROM read_headers(one)").description]
    assert "band_lists" not in columns
    con.execute("CREATE TABLE two AS SELECT href, 'B04' AS bands FROM one")
    with pytest.raises(duckdb.Error, match=r"as bands, expected a list of structs"):
        con.sql("FROM read_headers(two)").fetchall()


def test_bytes_come_from_the_mirror_and_no_signature_is_kept(con, files):
    con.execute(
        "CREATE TABLE one AS SELECT 'https://example.com/red.tif?sig=SECRET&v=1' AS href, ? AS mirror",
        [files.url("i0/red.tif") + "?sig=SECRET"],
    )
    rows = con.sql("SELECT href, mirror, width FROM read_headers(one)").fetchall()
    assert rows == [("https://example.com/red.tif?v=1", files.url("i0/red.tif"), 64)]


@pytest.fixture
def broken(con, files, tmp_path):
    (tmp_path / "text.tif").write_text("this is no TIFF, whatever its name")
    con.execute(
        "CREATE TABLE broken AS SELECT unnest([?, ?, ?, NULL]) AS href, unnest(['a', 'b', 'c', 'd']) AS item_id",
        [files.url("i0/red.tif"), files.url("absent.tif") + "?sig=SECRET", str(tmp_path / "text.tif")],
    )


def test_a_file_that_fails_ends_the_query_with_its_name_cause_and_remedy(con, broken):
    with pytest.raises(duckdb.Error, match=r"item b, asset data: AssetNotFoundError: ") as caught:
        con.sql("FROM read_headers(broken)").fetchall()
    assert "absent.tif: the server answered 404" in str(caught.value)
    assert "on_error := 'skip'" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_relative_href_lies_in_the_working_directory(con, tmp_path, monkeypatch):
    write_cog(tmp_path / "a" / "b.tif", np.ones((64, 64), dtype="uint16"), tile=32)
    monkeypatch.chdir(tmp_path)
    con.execute("CREATE TABLE one AS SELECT 'a/b.tif' AS href")
    assert con.sql("SELECT href, width FROM read_headers(one)").fetchall() == [(str(tmp_path / "a" / "b.tif"), 64)]
    # Also where the source is a file in another folder: its rows do not tell.
    con.execute("COPY (SELECT 'b.tif' AS href) TO 'a/hrefs.parquet'")
    with pytest.raises(duckdb.Error, match=r"AssetNotFoundError: ") as caught:
        con.sql("FROM read_headers('a/hrefs.parquet')").fetchall()
    said = f"The href 'b.tif' is relative to the working directory, {tmp_path}; give absolute paths or URLs."
    assert said in str(caught.value)


def test_files_that_fail_are_left_out_where_that_is_asked_for(con, broken):
    query = "SELECT item_id FROM read_headers(broken, on_error := 'skip')"
    assert con.sql(query).fetchall() == [("a",)]
    assert con.sql(query.replace("item_id", "count(*)")).fetchall() == [(1,)]


def test_files_that_fail_are_rows_that_say_why_where_that_is_asked_for(con, broken):
    rows = con.sql("SELECT item_id, levels IS NULL, notes FROM read_headers(broken, on_error := 'null') ORDER BY ALL")
    (good, *bad) = rows.fetchall()
    assert good == ("a", False, None)
    assert [(item, absent) for item, absent, _ in bad] == [("b", True), ("c", True), ("d", True)]
    errors = [re.match(r"\w+", note)[0] for _, _, (note,) in bad]
    assert errors == ["AssetNotFoundError", "NotTiffError", "InvalidArgumentError"]


def test_on_error_is_checked_before_anything_is_fetched(con, assets):
    with pytest.raises(duckdb.Error, match=r"on_error: got 'ignore', expected 'raise', 'skip' or 'null'"):
        con.sql("FROM read_headers(assets, on_error := 'ignore')").fetchall()
    assert assets.requests == []


def test_a_table_of_more_than_one_vector_is_read_whole_and_in_order(con, files):
    con.execute(
        "CREATE TABLE many AS SELECT ? || '?n=' || i AS href, i AS number FROM range(3000) AS r(i)",
        [str(files.url("i0/red.tif"))],
    )
    rows = con.sql("SELECT number, width, href FROM read_headers(many)").fetchall()
    assert sorted(number for number, *_ in rows) == list(range(3000))
    assert all(width == 64 and href.endswith(f"?n={number}") for number, width, href in rows)
