"""serve: the stock DuckDB shell gets what a local connection gives."""

from __future__ import annotations

import stat

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from rasteret_sql.testing.server import RangeServer

from . import served as shells

NASTY = ["it's", 'say "hi"', "a\\b", "$$x$$", "two\nlines", "é€", "'; FROM nope; --", "{}", "%s", ""]
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]


def assert_same(served, *queries):
    """The rows of queries are those of a local connection."""
    answers = served.answers(*(f"SELECT to_json(r)::VARCHAR AS j FROM ({sql}) AS r" for sql in queries))
    with rs.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        for sql, rows in zip(queries, answers, strict=True):
            assert not isinstance(rows, str), (sql, rows)
            local = con.execute(f"SELECT to_json(r)::VARCHAR FROM ({sql}) AS r").fetchall()
            assert [row["j"] for row in rows] == [row for (row,) in local], sql
            assert rows, sql


def test_the_same_sql_gives_the_same_rows(served, index, collection):
    assert_same(
        served,
        f"SELECT * EXCLUDE (pixels, mask), md5(pixels) AS p, md5(mask) AS m FROM read_tiles('{index}')",
        f"SELECT item_id, md5(pixels) AS p FROM read_tiles('{index}', bands := ['red'], level := 0, resolution := NULL)",
        f"FROM tile_plan('{index}', bands := ['nir'], datetime := '2024-01', resolution := 20)",
        f"FROM explain_read('{index}', bbox := [-180, -85, 180, 85])",
        f"FROM items('{index}')",
        f"SELECT item_id, asset, crs, len(levels) AS n FROM read_headers('{index}')",
        f"SELECT item_id, asset, href FROM stac_items('{collection.document}')",
        "SELECT id, title FROM datasets()",
        f"SELECT * FROM read_pixels('{index}', bands := ['red'], expressions := {{'sum': 'red + nir'}}, gsd := 1e6, layout := 'wide') ORDER BY ALL LIMIT 9",
        f"SELECT * FROM chips('{index}', size := [40, 50], stride := 20, bands := ['red'], valid_where := 'nir > 2000', where_valid := 0.1, edges := 'keep')",
        # What tiles hold is decoded by the client.
        f"SELECT list_sum(rst_to_list(pixels, dtype)) AS s, len(rst_to_list(mask, 'bool')) AS n FROM read_tiles('{index}', bands := ['red'])",
    )


def test_every_dtype_is_decoded_as_numpy_does(served):
    queries, expected = [], []
    for dtype in DTYPES:
        kind = np.dtype(dtype)
        if kind.kind == "f":
            info = np.finfo(kind)
            some = [0, -0.0, 1, -2.5, 0.1, info.max, info.tiny, info.smallest_subnormal, np.inf, -np.inf]
        else:
            info = np.iinfo(kind)
            some = [0, 1, info.max, info.min, info.max // 3]
        values = np.array(some, kind)
        data = values.astype(kind.newbyteorder("<")).tobytes().hex()
        queries.append(f"SELECT rst_to_list(from_hex('{data}'), '{dtype}')::VARCHAR AS v")
        expected.append(values.astype(float).tolist())
    answers = served.answers(*queries)
    assert [[float(text) for text in rows[0]["v"].strip("[]").split(", ")] for rows in answers] == expected


def test_arguments_arrive_whatever_characters_are_in_them(served, index):
    queries = [
        "SELECT count(*) AS n FROM tile_plan('{}', bands := ['red', '{}'])".format(index, text.replace("'", "''"))
        for text in NASTY
    ]
    with rs.connect() as con:
        for sql, got in zip(queries, served.answers(*queries), strict=True):
            with pytest.raises(Exception, match="expected") as local:
                con.execute(sql).fetchall()
            assert isinstance(got, str)
            assert str(local.value).partition("bands: ")[2].partition("\n\n")[0] in got


def test_geometries_null_and_prepared_parameters_arrive(served, index):
    geometry = "'POLYGON ((77 12, 79 12, 79 14, 77 14, 77 12))'"
    assert_same(
        served,
        *(
            f"FROM tile_plan('{index}', geometry := {argument})"
            for argument in (geometry, f"ST_AsWKB({geometry}::GEOMETRY)", f"{geometry}::GEOMETRY", "NULL")
        ),
    )
    rows = served.run(
        f"PREPARE p AS SELECT count(*) > 0 AS n FROM tile_plan($1, bands := $2, bbox := $3); "
        f"EXECUTE p('{index}', ['red'], [-180, -85, 180, 85])"
    )
    assert rows == [{"n": True}]


def test_two_reads_in_one_query_do_not_disturb_each_other(served, index):
    rows = served.run(
        f"SELECT count(*) AS n, count_if(a.pixels = b.pixels)::BIGINT AS same FROM read_tiles('{index}') a "
        f"JOIN read_tiles('{index}') b USING (item_id, asset, band, level, tile_row, tile_col)"
    )
    assert rows[0]["n"] == rows[0]["same"] > 0


def test_columns_say_what_is_read(packages, collection, index, tmp_path):
    with RangeServer(collection.folder) as http:
        remote = tmp_path / "remote.parquet"
        with rs.connect() as con:
            con.execute(
                f"COPY (SELECT * REPLACE (replace(href, '{collection.folder}', '{http.base_url}') AS href, NULL AS etag) "
                f"FROM '{index}') TO '{remote}'"
            )
        with shells.running(packages, tmp_path, "--allow-dir", tmp_path, "--allow-url", f"{http.base_url}/") as found:
            some, counted = found.answers(
                f"FROM read_tiles('{remote}', columns := ['item_id', 'tile_row + 1 AS r'])",
                f"FROM rasteret.query($$ SELECT count(*) AS n FROM read_tiles('{remote}') $$)",
            )
            assert set(some[0]) == {"item_id", "r"}
            assert counted[0]["n"] == len(some)
            assert http.requests == []
            rows = found.run(f"SELECT count(pixels) AS n FROM read_tiles('{remote}', columns := ['item_id', 'pixels'])")
            assert rows[0]["n"] == len(some)
            assert http.requests


def test_tables_of_the_database_are_found_and_cannot_be_changed(served):
    notes = [{"note": "clear", "n": 7}]
    queried, attached, read, inserted, inserted_here, after = served.answers(
        "FROM rasteret.query('SELECT note, n FROM notes')",
        "FROM rasteret.notes",
        "SELECT count(*) AS n FROM read_tiles('s2', bands := ['red'])",
        "FROM rasteret.query('INSERT INTO study.notes VALUES (''x'', 1)')",
        "INSERT INTO rasteret.notes VALUES ('x', 1)",
        "FROM rasteret.notes",
    )
    assert queried == attached == after == notes
    assert read[0]["n"] > 0
    assert "Authorization failed" in inserted
    assert "is not a" in inserted_here  # for clients, tables of the database are views


def test_an_error_of_ours_reaches_the_client_whole_and_without_a_traceback(served, index):
    wrong, missing, good = served.answers(
        f"FROM read_tiles('{index}', bands := ['redd'])",
        f"FROM read_tiles($$SELECT * REPLACE ('{index.parent}/none.tif' AS href) FROM '{index}'$$)",
        f"SELECT count(*) AS n FROM read_tiles('{index}', bands := ['red'])",
    )
    assert "bands: got 'redd', expected one of the assets" in wrong
    assert "there is no such file; expected one" in missing
    assert "Traceback" not in missing
    assert ".py" not in missing
    assert good[0]["n"] > 0


@pytest.mark.parametrize(
    "query",
    [
        "FROM read_headers($$INDEX$$) WHERE href = 'x'",
        "FROM read_tiles('INDEX', geometry := 'POINT(')",
        "FROM explain_read('INDEX', geometry := 'POINT(')",
        "FROM stac_items('nowhere.json')",
        "FROM datasets('/nowhere')",
        "FROM items('INDEX', bbox := [1, 2, 3, 4], crs := 'EPSG:999999')",
        "FROM rasteret.query($$ SELECT rst_to_list('abc'::BLOB, 'uint16') $$)",
        "FROM zonal_stats('INDEX', 'nowhere')",
    ],
)
def test_errors_show_nothing_of_the_server_s_python(served, index, query):
    message = str(served.run(query.replace("INDEX", str(index))))
    for word in ("Traceback", ".py", "site-packages", "rasteret_sql/"):
        assert word not in message, message


def test_clients_at_the_same_time_do_not_disturb_each_other(served, index):
    shells_ = [
        served.start(f"SELECT count(pixels) AS n FROM read_tiles('{index}', bands := ['red'])") for _ in range(3)
    ]
    bad = served.start(f"FROM read_tiles('{index}', bands := ['redd'])")
    assert "redd" in bad.communicate()[0]
    assert bad.returncode == 1
    found = [shells.parsed(shell.communicate()[0])[0] for shell in shells_]
    assert found[0][0]["n"] > 0
    assert found == [found[0]] * 3


def test_the_script_of_a_client_is_for_its_owner_only(served):
    assert stat.S_IMODE(served.client.stat().st_mode) == 0o600
    assert served.facts["token"] in served.client.read_text()


def test_help_has_examples(capsys):
    assert main(["serve", "--help"]) == 0
    assert "duckdb -init client.sql" in capsys.readouterr().out
