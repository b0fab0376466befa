"""Index definitions: one reviewed SELECT with a header becomes an index, or nothing does."""

from __future__ import annotations

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, BuildError, InvalidArgumentError
from rasteret_sql.index.definition import LEFT_OUT, kept_text, kept_variables, parse_definition
from rasteret_sql.index.info import info
from rasteret_sql.testing.server import RangeServer

HEADER = """\
-- name: demo
-- kind: index
-- grain: one row per asset
-- All that there is.
"""
SELECT = """\
WITH assets AS (
    SELECT file AS href, parse_filename(file, true) AS asset, 3.5 AS "eo:cloud_cover"
    FROM glob('{folder}/*/*.tif')
    WHERE file LIKE coalesce(getvariable('like'), '%')
)
SELECT * REPLACE (split_part(href, '/', -2) AS item_id) FROM read_headers(assets) -- {{a comment}}
"""


@pytest.fixture
def folder(cog, tmp_path):
    for number in range(3):
        for asset in ("red", "nir"):
            cog(f"i{number}/{asset}.tif")
    return tmp_path


@pytest.fixture
def define(folder):
    """Write a definition, of which parts can be replaced."""

    def write(header=HEADER, select=SELECT):
        path = folder / "index.sql"
        path.write_text(header + select.format(folder=folder))
        return path

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_definition_gives_the_rows_that_build_index_gives_of_the_same_files(define, folder):
    report = rs.build_index(define(), folder / "a.parquet")
    rs.build_index(f"{folder}/*/*.tif", folder / "b.parquet", pattern="{item_id}/{asset}.tif")
    assert (report.rows, report.items, report.assets) == (6, 3, {"nir": 3, "red": 3})
    assert (report.failures, report.requests) == ((), 6)
    with rs.connect() as con:
        query = "SELECT * EXCLUDE (indexed_at {}) FROM '{}'"
        ours = con.sql(query.format(', "eo:cloud_cover"', folder / "a.parquet")).fetchall()
        theirs = con.sql(query.format("", folder / "b.parquet")).fetchall()
        assert ours == theirs
        assert con.sql(f"SELECT DISTINCT \"eo:cloud_cover\" FROM '{folder / 'a.parquet'}'").fetchall() == [(3.5,)]
        assert len(con.sql(f"SELECT pixels FROM read_tiles('{folder / 'a.parquet'}', bands := ['red'])").fetchall())


def test_the_file_runs_as_it_is_in_copy(define, folder):
    with rs.connect() as con:
        con.execute(f"COPY (\n{define().read_text()}\n) TO '{folder / 'a.parquet'}'")
        assert con.sql(f"SELECT count(*) FROM '{folder / 'a.parquet'}'").fetchall() == [(6,)]
    assert info(folder / "a.parquet").rows == 6


def test_variables_stand_for_what_changes_and_are_kept(define, folder):
    report = rs.build_index(define(), folder / "a.parquet", variables={"like": "%/i1/%"})
    assert (report.rows, report.items) == (2, 1)
    definition = info(folder / "a.parquet").provenance["definition"]
    assert definition["variables"] == {"like": "%/i1/%"}
    assert definition["sql"] == define().read_text()


def test_the_hash_is_that_of_the_text_and_the_variables(define, folder):
    hashes = []
    for variables in ({"like": "%"}, {"like": "%"}, {"like": "%/i1/%"}):
        rs.build_index(define(), folder / "a.parquet", variables=variables)
        hashes.append(info(folder / "a.parquet").provenance["definition_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_progress_is_told_in_files_that_the_select_has_named(define, folder, capsys):
    told = []
    rs.build_index(define(), folder / "a.parquet", progress=lambda *counts: told.append(counts))
    assert told == [(6, 6)]
    told.clear()
    rs.refresh(folder / "a.parquet", trust=True, progress=lambda *counts: told.append(counts))
    assert told == [(6, 6)]
    rs.build_index(define(), folder / "a.parquet", progress=True)
    assert "6/6" in capsys.readouterr().err


def test_many_files_are_told_of_before_all_of_them_are_read(folder):
    path = folder / "index.sql"
    path.write_text(
        f"{HEADER}WITH assets AS (SELECT '{folder}/i0/red.tif' AS href, n::VARCHAR AS item_id FROM range(600) AS r(n)) "
        "FROM read_headers(assets)"
    )
    told = []
    rs.build_index(path, folder / "a.parquet", progress=lambda *counts: told.append(counts))
    assert told == [(256, 600), (512, 600), (600, 600)]


def test_files_that_fail_are_in_the_report_and_in_the_metadata(define, folder):
    (folder / "i0" / "text.tif").write_text("this is no TIFF, whatever its name")
    report = rs.build_index(define(), folder / "a.parquet")
    (failure,) = report.failures
    assert (report.rows, failure.item_id, failure.asset, failure.error) == (6, "text", "text", "NotTiffError")
    assert info(folder / "a.parquet").provenance["failure_count"] == 1


def test_on_error_raise_in_a_definition_ends_its_build(define, folder):
    (folder / "i0" / "text.tif").write_text("this is no TIFF, whatever its name")
    path = define(select=SELECT.replace("read_headers(assets)", "read_headers(assets, on_error := 'raise')"))
    with pytest.raises(BuildError, match=r"item text, asset text: NotTiffError"):
        rs.build_index(path, folder / "a.parquet")
    assert not (folder / "a.parquet").exists()


def test_a_check_of_the_file_that_gives_rows_writes_nothing(define, folder):
    rs.build_index(define(), folder / "a.parquet")
    before = (folder / "a.parquet").read_bytes()
    check = "-- check: small: SELECT item_id, asset, width FROM asset_index\n--     WHERE width > 63\n"
    with pytest.raises(BuildError, match=r"check small: i0 nir: width 64; i0 red: width 64; .*Nothing was written"):
        rs.build_index(define(HEADER + check), folder / "a.parquet")
    assert (folder / "a.parquet").read_bytes() == before
    assert names(folder) == ["a.parquet", "i0", "i1", "i2", "index.sql"]


def test_a_check_that_holds_is_no_hindrance(define, folder):
    check = "-- check: wide: SELECT item_id FROM asset_index WHERE width < 63;\n"
    assert rs.build_index(define(HEADER + check), folder / "a.parquet").rows == 6


def test_the_checks_of_every_index_run_too(define, folder):
    path = define(select=SELECT.replace("split_part(href, '/', -2)", "'one'"))
    with pytest.raises(BuildError, match=r"check unique_key: one nir: the files .* share it"):
        rs.build_index(path, folder / "a.parquet")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "its header has no name, kind, grain; expected lines such as '-- name: s2'"),
        (HEADER.replace("-- grain: one row per asset\n", ""), "its header has no grain"),
        (HEADER.replace("kind: index", "kind: mart"), "got the kind 'mart', expected '-- kind: index'"),
        (HEADER + "-- check: SELECT 1\n", "got the check 'SELECT 1', expected a name and a query"),
        (HEADER + "-- check: a: SELECT 1\n-- check: a: SELECT 2\n", "got two checks of the name 'a'"),
    ],
)
def test_a_header_that_lacks_something_is_refused_by_name(define, folder, header, message):
    with pytest.raises(InvalidArgumentError) as caught:
        rs.build_index(define(header), folder / "a.parquet")
    assert message in str(caught.value)
    assert str(folder / "index.sql") in str(caught.value)


@pytest.mark.parametrize(
    ("select", "error", "message"),
    [
        ("COPY (SELECT 1) TO 'x'", InvalidArgumentError, "expected one query that gives rows of an index: a single SELECT or FROM"),
        ("SELECT 1; SELECT 2", InvalidArgumentError, "expected one query that gives rows of an index: a single SELECT or FROM"),
        ("SELEC 1", InvalidArgumentError, "which does not run"),
        ("", InvalidArgumentError, "expected one query that gives rows of an index: a single SELECT or FROM"),
        ("SELECT 1 AS item_id", InvalidArgumentError, "its SELECT gives no collection, asset,"),
        ("FROM absent", BuildError, "absent"),
        (SELECT.replace("'%'", "'absent'"), BuildError, "gives no rows; nothing was written"),
        (SELECT.replace("AS item_id", "AS item_id, width::VARCHAR AS width"), InvalidArgumentError, "column width is VARCHAR, expected INTEGER; cast it"),
    ],
)  # fmt: skip
def test_what_is_no_select_of_index_rows_is_refused_and_leaves_nothing(define, folder, select, error, message):
    with pytest.raises(error) as caught:
        rs.build_index(define(select=select), folder / "a.parquet")
    assert message in str(caught.value)
    assert names(folder) == ["i0", "i1", "i2", "index.sql"]


def test_a_definition_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AssetNotFoundError, match=r"absent\.sql: no such file; expected an index definition"):
        rs.build_index(tmp_path / "absent.sql", tmp_path / "a.parquet")


def test_options_of_other_sources_are_refused_and_so_are_variables_there(define, folder):
    with pytest.raises(InvalidArgumentError, match="write them into its SELECT"):
        rs.build_index(define(), folder / "a.parquet", collection="c")
    with pytest.raises(InvalidArgumentError, match="they are for index definitions"):
        rs.build_index(folder / "i0" / "red.tif", folder / "a.parquet", variables={"a": 1})


@pytest.mark.parametrize("variables", [{"not a name": 1}, {"a": object()}, {"a": [[1]]}])
def test_a_variable_that_cannot_be_one_is_refused(define, folder, variables):
    with pytest.raises(InvalidArgumentError, match="variables: got"):
        rs.build_index(define(), folder / "a.parquet", variables=variables)


def test_no_secret_is_in_the_index(define, folder):
    with RangeServer(folder) as server:
        select = f"WITH assets AS (SELECT '{server.url('i0/red.tif')}?sig=SECRET' AS href) FROM read_headers(assets)"
        path = folder / "index.sql"
        path.write_text(HEADER + select)
        rs.build_index(path, folder / "a.parquet", variables={"my_token": "SECRET", "u": "https://me:SECRET@a/b"})
    assert b"SECRET" not in (folder / "a.parquet").read_bytes()
    kept = info(folder / "a.parquet").provenance["definition"]["variables"]
    assert kept == {"my_token": LEFT_OUT, "u": "https://a/b"}


def test_what_is_kept_of_texts_is_what_they_were_but_for_secrets():
    assert kept_text("FROM 'https://a.b/c?x=1&sig=S' -- 'https://d'") == "FROM 'https://a.b/c?x=1' -- 'https://d'"
    assert kept_variables({"bbox": [1.0, 2.0], "period": "2024-01"}) == {"bbox": [1.0, 2.0], "period": "2024-01"}


def test_the_header_is_taken_apart():
    text = HEADER + "--\n-- check: a b: SELECT 'x:y'\n--    FROM asset_index\n\n-- more\nSELECT 1\n-- check: not: one\n"
    definition = parse_definition(text, "x.sql")
    assert (definition.name, definition.grain) == ("demo", "one row per asset")
    assert definition.comment == "All that there is.  more"
    assert definition.checks == {"a b": "SELECT 'x:y'\nFROM asset_index"}


def test_files_without_a_place_are_rows_too(cog, define, folder):
    for path in folder.glob("*/*.tif"):
        cog(path.relative_to(folder), crs=None, transform=None)
    assert rs.build_index(define(), folder / "a.parquet").rows == 6
    with rs.connect() as con:
        assert con.sql(f"SELECT count(geometry), count(levels) FROM '{folder / 'a.parquet'}'").fetchall() == [(0, 6)]


def test_a_definition_of_which_no_file_can_be_read_says_why(define, folder):
    for path in folder.glob("*/*.tif"):
        path.write_text("this is no TIFF, whatever its name")
    with pytest.raises(BuildError, match=r"none of 6 files could be read; nothing was written\.\n.*NotTiffError"):
        rs.build_index(define(), folder / "a.parquet")
