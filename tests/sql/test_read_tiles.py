"""`read_tiles` in SQL: pixels, pruning, streaming, and what it says when it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.testing.cog import write_cog

if TYPE_CHECKING:
    from pathlib import Path

    from rasteret_sql.testing.server import RangeServer
    from tests.sql.conftest import Collection


def test_pixels_and_masks_are_those_of_the_file(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    rows = con.sql(f"FROM read_tiles('{collection.index}', bands := ['nir']) WHERE item_id = 'B'").to_arrow_table()
    whole = np.zeros((192, 192), np.uint16)
    mask = np.zeros((192, 192), bool)
    for row in rows.to_pylist():
        place = np.s_[row["tile_row"] * 64 :, row["tile_col"] * 64 :]
        whole[place][: row["height"], : row["width"]] = np.frombuffer(row["pixels"], "<u2").reshape(64, 64)
        mask[place][: row["height"], : row["width"]] = np.frombuffer(row["mask"], bool).reshape(64, 64)
    np.testing.assert_array_equal(whole, collection.pixels["B", "nir"])
    np.testing.assert_array_equal(mask, collection.pixels["B", "nir"] != 0)


def test_bounds_and_transform_of_a_tile_say_where_it_lies(
    con: duckdb.DuckDBPyConnection, collection: Collection
) -> None:
    (row,) = con.execute(
        f"SELECT bounds, transform, crs FROM read_tiles('{collection.index}', bands := ['red']) "
        "WHERE item_id = 'A' AND tile_row = 1 AND tile_col = 2"
    ).fetchall()
    assert row[0] == {"xmin": 601280.0, "ymin": 1398720.0, "xmax": 601920.0, "ymax": 1399360.0}
    assert row[1] == [10.0, 0.0, 601280.0, 0.0, -10.0, 1399360.0]
    assert row[2] == "EPSG:32643"


def test_a_query_without_pixels_fetches_nothing(
    con: duckdb.DuckDBPyConnection, collection: Collection, server: RangeServer
) -> None:
    counted = con.execute(f"SELECT item_id, count(*) FROM read_tiles('{collection.index}') GROUP BY ALL").fetchall()
    assert sorted(counted) == [("A", 18), ("B", 18), ("C", 18)]
    assert server.requests == []


@pytest.mark.parametrize(
    ("condition", "tiles"),
    [
        ("item_id = 'B' AND asset = 'red' AND tile_row = 1 AND tile_col = 2", 1),
        ("datetime >= '2024-01-03'", 18),
        ("datetime = TIMESTAMPTZ '2024-01-02 10:00:00+00'", 18),
        ("tile_row IN (0, 2) AND item_id IN ('A', 'C') AND band_name = 'nir'", 12),
        ("collection = 'other'", 0),
        ("item_id = 'A' OR item_id = 'B'", 36),
    ],
)
def test_conditions_on_tile_and_index_columns_prune_before_fetching(
    con: duckdb.DuckDBPyConnection, collection: Collection, server: RangeServer, condition: str, tiles: int
) -> None:
    rows = con.execute(f"SELECT count(pixels) FROM read_tiles('{collection.index}') WHERE {condition}").fetchall()
    assert rows == [(tiles,)]
    ((planned,),) = con.execute(
        f"SELECT coalesce(sum(tile_byte_count), 0) FROM tile_plan('{collection.index}') WHERE {condition}"
    ).fetchall()
    fetched = sum(request.nbytes_sent for request in server.requests)
    assert fetched >= planned
    # No tile outside the condition is fetched, but for what lies between two that are.
    assert fetched <= planned * 3 + 1024
    assert all(request.status == 206 for request in server.requests)


def test_an_or_across_columns_is_answered_rightly(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    rows = con.execute(
        f"SELECT count(*), count(pixels) FROM read_tiles('{collection.index}') WHERE item_id = 'A' OR tile_row = 0"
    ).fetchall()
    assert rows == [(18 + 12, 18 + 12)]


def test_a_condition_on_pixels_is_answered_rightly(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    query = f"SELECT count(*) FROM read_tiles('{collection.index}')"
    assert con.execute(f"{query} WHERE pixels IS NOT NULL").fetchall() == [(54,)]
    assert con.execute(f"{query} WHERE pixels IS NULL").fetchall() == [(0,)]
    assert con.execute(f"{query} WHERE error IS NULL AND tile_row = 0").fetchall() == [(18,)]


def test_limit_stops_reading(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> None:
    from rasteret_sql.testing.server import RangeServer

    folder = tmp_path_factory.mktemp("large")
    data = np.random.default_rng(7).integers(0, 60_000, (4096, 4096), np.uint16)
    with RangeServer(folder) as server:
        for number in range(4):
            write_cog(
                folder / f"{number}.tif",
                data + number,
                tile=512,
                overviews=(),
                compression="none",
                predictor=1,
            )
        rs.build_index([server.url(f"{number}.tif") for number in range(4)], folder / "i.parquet")
        server.reset()
        con = rs.connect()
        assert len(con.execute(f"SELECT pixels FROM read_tiles('{folder}/i.parquet') LIMIT 1").fetchall()) == 1
        con.close()
        fetched = sum(request.nbytes_sent for request in server.requests)
    assert fetched < 4 * data.nbytes


def test_each_byte_is_fetched_once(con: duckdb.DuckDBPyConnection, collection: Collection, server: RangeServer) -> None:
    con.execute(
        f"SELECT sum(octet_length(pixels) + octet_length(mask)) FROM read_tiles('{collection.index}')"
    ).fetchall()
    planned = con.execute(
        f"SELECT requests, request_bytes FROM explain_read('{collection.index}') WHERE band = 'total'"
    )
    assert planned.fetchall() == [(len(server.requests), sum(request.nbytes_sent for request in server.requests))]
    assert len(server.requests) == 6


def test_prepared_parameters_and_named_sources_work(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    con.execute(f"CREATE TABLE t AS FROM '{collection.index}'")
    con.execute("CREATE VIEW v AS FROM t WHERE cloud < 15")
    assert con.execute("SELECT count(*) FROM read_tiles(?, bands := ?)", ["v", ["red"]]).fetchall() == [(18,)]
    query = f"FROM '{collection.index}' WHERE cloud = 20"
    assert con.execute("SELECT count(DISTINCT item_id) FROM read_tiles($1)", [query]).fetchall() == [(1,)]
    glob = f"{collection.folder}/ind*.parquet"
    assert con.execute("SELECT count(*) FROM read_tiles($1)", [glob]).fetchall() == [(54,)]


def test_two_reads_in_one_query_do_not_mix(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    rows = con.execute(
        f"SELECT r.item_id, count(*), bool_and(r.pixels != n.pixels) FROM read_tiles('{collection.index}', bands := ['red']) r "
        f"JOIN read_tiles('{collection.index}', bands := ['nir']) n USING (item_id, tile_row, tile_col) GROUP BY ALL ORDER BY 1"
    ).fetchall()
    assert rows == [("A", 9, True), ("B", 9, True), ("C", 9, True)]


def test_order_is_the_same_each_time(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    query = f"SELECT item_id, asset, tile_row, tile_col, md5(pixels) FROM read_tiles('{collection.index}')"
    first = con.execute(query).fetchall()
    assert first == con.execute(query).fetchall()
    planned = con.execute(f"SELECT item_id, asset, tile_row, tile_col FROM tile_plan('{collection.index}')").fetchall()
    assert [row[:4] for row in first] == planned


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("read_tiles('nothing.parquet')", r"'nothing.parquet' cannot be read as Parquet: .*build_index"),
        *(
            (f"{call.format('i.parquett')}", r"index: 'i\.parquett': no such file, and no table or view")
            for call in (
                "read_tiles('{}')", "read_pixels('{}')", "chips('{}', size := 8)", "items('{}')", "tile_plan('{}')",
                "explain_read('{}')",
            )
        ),
        ("read_tiles('nobody')", r"'nobody', which is no table or view that a read can see .*cannot see CTEs, temporary tables"),
        ("read_tiles('{index}', bands := ['rde'])", r"bands: got 'rde', expected one of the assets 'nir', 'red'"),
        ("read_tiles('{index}', bbox := [100, 0, 101, 1])", r"touches none of the assets .*longitude first"),
        ("read_tiles('{index}', bbox := [77.1, 12.9, 77.0, 12.8])", r"ymin 12.9 is above its ymax 12.8"),
        ("read_tiles('{index}', bbox := [77.1, 12.8, 77.0, 12.9])", r"xmin 77.1 is above its xmax 77.0; .*359.9"),
        ("read_tiles('{index}', bbox := [600000, 1390000, 601000, 1400000])", r"expected degrees.*geometry_crs := 'EPSG:32643'"),
        ("read_tiles('{index}', bbox := [1, 2, 3])", r"expected four finite numbers"),
        ("read_tiles('{index}', bbox := [1, 2, 3, 'nan'::DOUBLE])", r"expected four finite numbers"),
        ("read_tiles('{index}', level := 5)", r"level: got 5, expected 0 to 1, the levels of asset"),
        ("read_tiles('{index}', level := 1, resolution := 20)", r"got both level and resolution"),
        ("read_tiles('{index}', datetime := 'yesterday')", r"datetime: got 'yesterday', expected a year"),
        ("read_tiles('{index}', on_error := 'ignore')", r"on_error: got 'ignore', expected 'raise' or 'null'"),
        ("read_tiles('{index}', geometry := 'POLYGON')", r"geometry: got 'POLYGON', expected GeoJSON, WKT or WKB"),
        ("read_tiles('{index}', bbox := [77, 12, 78, 13], geometry_crs := 'EPSG:0')", r"crs: got 'EPSG:0', expected an authority code"),
        ("read_tiles(NULL)", r"index: got NULL"),
        ("read_tiles('FROM nobody')", r"the query 'FROM nobody' does not run"),
        ("(VALUES ('{index}'), ('other')) v(i), read_tiles(v.i)", r"(?s)cannot use column .v.i.*only supports literals"),
        (
            "(VALUES ('red'), ('nir')) v(i), read_tiles('{index}', bands := [v.i])",
            r"arguments that change from row to row.*constants",
        ),
        ("read_tiles('{folder}/text.parquet')", r"cannot be read as Parquet"),
        ("read_tiles('{folder}/other.parquet')", r"is not an index: it has no column collection, item_id.*build_index"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_a_message_that_stands_alone(
    con: duckdb.DuckDBPyConnection, collection: Collection, server: RangeServer, call: str, message: str
) -> None:
    (collection.folder / "text.parquet").write_text("not a table")
    con.execute(f"COPY (SELECT 1 AS a) TO '{collection.folder}/other.parquet'")
    server.reset()
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"FROM {call.format(index=collection.index, folder=collection.folder)}").fetchall()
    assert server.requests == []


@pytest.mark.parametrize("function", ["read_tiles", "read_pixels", "tile_plan", "explain_read"])
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("bands := 'red'", r"bands: got 'red', expected a list of names: bands := \['red'\]"),
        (
            "bbox := {'xmin': 0, 'ymin': 1, 'xmax': 2, 'ymax': 3}",
            r"bbox: got \{'xmin': 0, .*expected four finite numbers",
        ),
        ("bbox := (1, 2, 3, 4)", r"bbox: got \(1, 2, 3, 4\), expected four finite numbers"),
        ("bbox := 'here'", r"bbox: got here, expected four finite numbers"),
        ("level := 1.6", r"level: got 1.6, expected a whole number"),
        ("resolution := [10]", r"resolution: got \[10\], expected a number"),
    ],
)
def test_arguments_of_other_types_are_refused_by_name(
    con: duckdb.DuckDBPyConnection, collection: Collection, function: str, argument: str, message: str
) -> None:
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"FROM {function}('{collection.index}', {argument})").fetchall()


def test_no_crs_is_the_crs_by_default(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    bbox = [70.0, 10.0, 80.0, 20.0]
    for function in ("read_tiles", "tile_plan", "explain_read", "items"):
        query = f"FROM {function}('{collection.index}', bbox := {bbox}"
        assert con.execute(f"{query}, geometry_crs := NULL)").fetchall() == con.execute(f"{query})").fetchall() != []
    assert rs.read_tiles(collection.index, bbox=bbox, geometry_crs=None).read_all().num_rows == 54  # type: ignore[arg-type]


def test_temporary_tables_and_ctes_are_refused_with_the_remedy(
    con: duckdb.DuckDBPyConnection, collection: Collection
) -> None:
    con.execute(f"CREATE TEMP TABLE mine AS FROM '{collection.index}'")
    with pytest.raises(
        duckdb.Error, match="cannot see CTEs, temporary tables or uncommitted rows; give a table, a view"
    ):
        con.execute("FROM read_tiles('mine')").fetchall()
    with pytest.raises(duckdb.Error, match="pass the rows from Python"):
        con.execute(f"WITH c AS (FROM '{collection.index}') FROM read_tiles('c')").fetchall()
    # The plan runs in the query itself, and sees both.
    assert con.execute("SELECT count(*) FROM tile_plan('mine')").fetchall() == [(54,)]
    rows = con.execute(f"WITH c AS (FROM '{collection.index}' WHERE item_id = 'A') SELECT count(*) FROM tile_plan('c')")
    assert rows.fetchall() == [(18,)]
    assert rs.read_tiles(con.sql("FROM mine WHERE item_id = 'A'")).read_all().num_rows == 18


def test_uncommitted_rows_are_refused_and_not_replaced_by_those_before(
    con: duckdb.DuckDBPyConnection, collection: Collection
) -> None:
    con.execute(f"CREATE TABLE t AS FROM '{collection.index}' WHERE item_id = 'A'")
    con.execute("BEGIN")
    con.execute(f"INSERT INTO t FROM '{collection.index}' WHERE item_id = 'B'")
    with pytest.raises(duckdb.Error, match="cannot see CTEs, temporary tables or uncommitted rows"):
        con.execute("SELECT count(*) FROM read_tiles('t')").fetchall()
    con.execute("ROLLBACK")
    assert con.execute("SELECT count(*) FROM read_tiles('t')").fetchall() == [(18,)]


def test_tiles_become_lists_of_numbers(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    rows = con.execute(
        f"SELECT rst_to_list(pixels, dtype), rst_to_list(mask, 'bool') FROM read_tiles('{collection.index}', bands := ['red']) "
        "WHERE item_id = 'A' AND tile_row = 0 AND tile_col = 0"
    ).fetchall()
    expected = collection.pixels["A", "red"][:64, :64].ravel()
    np.testing.assert_array_equal(rows[0][0], expected)
    np.testing.assert_array_equal(rows[0][1], expected != 0)
    assert con.execute("SELECT rst_to_list(NULL, 'uint8'), rst_to_list('\\x01\\x02'::BLOB, 'uint16')").fetchall() == [
        (None, [513.0])
    ]
    for dtype in ("uint16", "colour"):
        with pytest.raises(duckdb.Error, match=f"rst_to_list: got 3 bytes and dtype '{dtype}'"):
            con.execute(f"SELECT rst_to_list('\\x01\\x02\\x03'::BLOB, '{dtype}')").fetchall()


def test_a_query_as_index_runs_nothing_else(con: duckdb.DuckDBPyConnection, collection: Collection) -> None:
    con.execute("CREATE TABLE victim AS SELECT 1 AS a")
    with pytest.raises(duckdb.Error, match="expected one query that gives rows of an index"):
        con.execute(f"FROM read_tiles($$FROM '{collection.index}'; DROP TABLE victim$$)").fetchall()
    assert con.execute("FROM victim").fetchall() == [(1,)]


def test_names_and_times_mean_what_they_mean_to_the_caller(
    con: duckdb.DuckDBPyConnection, collection: Collection
) -> None:
    con.execute(f"CREATE TABLE idx AS FROM '{collection.index}'")
    con.execute("CREATE SCHEMA s")
    con.execute("CREATE TABLE s.idx AS FROM main.idx WHERE item_id = 'A'")
    con.execute("USE s")
    assert con.execute("SELECT count(*) FROM read_tiles('idx')").fetchall() == [(18,)]
    con.execute("USE memory.main")
    con.execute("SET TimeZone = 'Pacific/Auckland'")
    query = "FROM idx WHERE datetime < ''2024-01-02 12:00:00''"
    assert con.execute(f"SELECT count(*) FROM read_tiles('{query}')").fetchall() == [(18,)]


def test_a_file_that_changed_between_two_rows_is_not_read_for_both(
    con: duckdb.DuckDBPyConnection, collection: Collection
) -> None:
    con.execute(f"CREATE TABLE idx AS FROM '{collection.index}' WHERE item_id = 'A' AND asset = 'red'")
    con.execute("INSERT INTO idx BY NAME SELECT * REPLACE ('old' AS item_id, '\"0-0\"' AS etag) FROM idx")
    with pytest.raises(duckdb.Error, match=r"A_red\.tif"):
        con.execute("SELECT count(pixels) FROM read_tiles('idx')").fetchall()


def test_points_on_edges_of_pixels_have_the_values_that_gdal_gives(tmp_path: Path) -> None:
    """Edges of pixels and of tiles, where a division of floats falls on either side."""
    data = np.arange(1, 1 + 96 * 80, dtype=np.uint16).reshape(96, 80)
    for number, size in enumerate((300.0379266750948, 0.1, 1 / 3)):
        file = tmp_path / f"{number}.tif"
        write_cog(
            file, data, tile=32, overviews=(), crs="EPSG:32618", transform=(size, 0, 101_985.0, 0, -size, 2_826_915.0)
        )
        rs.build_index(str(file), tmp_path / f"{number}.parquet")
        # The middles of pixels, and the corners that GDAL's transform gives.
        corners = [(row, col) for row in range(0, 96, 7) for col in range(0, 80, 3)] + [(32, 32), (64, 0), (0, 64)]
        points = pa.table(
            {
                "row": [row for row, _ in corners], "col": [col for _, col in corners],
                "x": [101_985.0 + size * col for _, col in corners], "y": [2_826_915.0 - size * row for row, _ in corners],
                "half": [size / 2] * len(corners),
            }
        )  # fmt: skip
        with rs.connect() as con:
            con.register("points", points)
            for shift in ("0", "half"):
                rows = con.execute(
                    f"""
                    SELECT row, col, rst_value(pixels, dtype, width, transform, p.x + {shift}, p.y - {shift})
                    FROM points AS p
                    JOIN read_tiles('{tmp_path}/{number}.parquet') AS t
                        ON p.x + {shift} >= bounds.xmin AND p.x + {shift} < bounds.xmax
                        AND p.y - {shift} > bounds.ymin AND p.y - {shift} <= bounds.ymax
                    """
                ).fetchall()
                assert len(rows) == len(corners)
                assert all(value == data[row, col] for row, col, value in rows)


def test_a_point_beside_a_tile_has_no_value(con: duckdb.DuckDBPyConnection) -> None:
    call = "rst_value('\\x01\\x02\\x03\\x04'::BLOB, 'uint8', 2, [1.0, 0.0, 0.0, 0.0, -1.0, 2.0], {x}, {y})"
    inside = {(0.0, 2.0): 1, (1.0, 2.0): 2, (0.5, 1.0): 3, (1.99, 0.01): 4}
    beside = [(2.0, 1.5), (-0.5, 1.5), (0.5, 0.0), (0.5, 2.5)]
    for (x, y), value in inside.items():
        assert con.execute(f"SELECT {call.format(x=x, y=y)}").fetchall() == [(value,)]
    for x, y in beside:
        assert con.execute(f"SELECT {call.format(x=x, y=y)}").fetchall() == [(None,)]


def test_complex_pixels_do_not_lose_their_imaginary_part(con: duckdb.DuckDBPyConnection) -> None:
    for dtype in ("complex64", "complex128"):
        with pytest.raises(duckdb.Error, match=rf"rst_to_list: got dtype '{dtype}'.*imaginary part.*to_numpy"):
            con.execute(f"SELECT rst_to_list(encode(repeat('a', 16)), '{dtype}')").fetchall()
