"""Names that the session and a read would look up differently are refused; conditions on NaN mean what they mean in tables."""

import duckdb
import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.testing import write_cog

UNSEEN = "cannot see CTEs, temporary tables or uncommitted rows"
READ = "SELECT DISTINCT item_id FROM read_tiles({}) ORDER BY ALL"
#: What hides the table `scenes`, what names it, and what stands before the query.
HIDDEN = {
    "temporary table": ("CREATE TEMP TABLE scenes AS FROM memory.main.scenes LIMIT 1", "'scenes'", ""),
    "temporary view": ("CREATE TEMP VIEW scenes AS FROM memory.main.scenes LIMIT 1", "'scenes'", ""),
    "name in another case": ("CREATE TEMP VIEW Scenes AS FROM memory.main.scenes LIMIT 1", "'SCENES'", ""),
    "quoted name": ("CREATE TEMP VIEW scenes AS FROM memory.main.scenes LIMIT 1", "'\"scenes\"'", ""),
    "text of a query": ("CREATE TEMP VIEW scenes AS FROM memory.main.scenes LIMIT 1", "$$FROM scenes$$", ""),
    "view over the name": ("CREATE TEMP VIEW scenes AS FROM memory.main.scenes LIMIT 1", "'over'", ""),
    "text over such a view": ("CREATE TEMP VIEW scenes AS FROM memory.main.scenes LIMIT 1", "$$FROM over$$", ""),
    "CTE": ("", "'scenes'", "WITH scenes AS (FROM memory.main.scenes LIMIT 1) "),
    "CTE of several": ("", "'scenes'", "WITH a AS (SELECT 1), scenes(x) AS NOT MATERIALIZED (SELECT 1) "),
    "CTE and the text of a query": ("", "$$FROM scenes$$", "WITH scenes AS (FROM memory.main.scenes LIMIT 1) "),
}
FILES = "CREATE TEMP VIEW files AS FROM memory.main.files LIMIT 1"
#: What hides a table, or a view of files, further away.
HIDDEN |= {
    "CTE with an odd name": ("", '$$FROM "odd ""b, (c"$$', 'WITH "odd ""b, (c" AS (FROM memory.main.scenes LIMIT 1) '),
    "CTE over a view of files": ("", "'files'", "WITH files AS (FROM memory.main.files LIMIT 1) "),
    "temporary view over a view of files": (FILES, "'files'", ""),
    "temporary view behind two views": ("CREATE TEMP VIEW scenes AS FROM memory.main.scenes LIMIT 1", "'further'", ""),
    "temporary view of files behind two views": (FILES, "'further_files'", ""),
}
#: What a transaction changes, and what names it.
CHANGED = {
    "rows are deleted": ("DELETE FROM scenes WHERE item_id = 'i0'", "'scenes'"),
    "rows are inserted": ("INSERT INTO scenes FROM scenes", "'further'"),
    "a value is updated": ("UPDATE scenes SET item_id = 'x' WHERE item_id = 'i0'", "$$FROM scenes USING SAMPLE 100%$$"),
    "a nested value is updated": ("UPDATE scenes SET levels = [] WHERE item_id = 'i0'", "$$FROM main.scenes$$"),
    "the table is replaced": ("CREATE OR REPLACE TABLE scenes AS FROM files LIMIT 1", "'over'"),
    "a view is replaced": ("CREATE OR REPLACE VIEW over AS FROM scenes LIMIT 1", "'further'"),
}
#: Names that are not hidden though there is a temporary view `scenes`.
PLAIN = ("'memory.main.scenes'", "$$FROM memory.main.scenes$$", "$$WITH own AS (FROM memory.main.scenes) FROM own$$")
NODATA = {"nan": float("nan"), "zero": 0.0, "low": -9999.0, "none": None}
CONDITIONS = [
    f"nodata {operator} {value}"
    for operator in ("<", "<=", ">", ">=", "=", "<>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
    for value in ("0", "'nan'::DOUBLE", "'inf'::DOUBLE", "NULL")
] + ["NOT (nodata < 0)", "nodata BETWEEN 0 AND 'nan'::DOUBLE", "nodata IN (0, 'nan'::DOUBLE)", "nodata NOT IN (0, 1)"]


@pytest.fixture
def con(tmp_path):
    for number in range(2):
        write_cog(tmp_path / f"i{number}.tif", np.full((32, 32), number, np.uint8), tile=32, overviews=())
    rs.build_index(f"{tmp_path}/*.tif", tmp_path / "i.parquet")
    with rs.connect() as con:
        con.execute(
            f"CREATE TABLE scenes AS FROM '{tmp_path / 'i.parquet'}'; CREATE VIEW over AS FROM scenes; "
            f"CREATE VIEW further AS FROM over; CREATE VIEW files AS FROM '{tmp_path / 'i.parquet'}'; "
            "CREATE VIEW over_files AS FROM files; CREATE VIEW further_files AS FROM over_files; "
            'CREATE TABLE "odd ""b, (c" AS FROM scenes'
        )
        yield con


@pytest.mark.parametrize(("hide", "name", "before"), HIDDEN.values(), ids=HIDDEN)
def test_a_name_that_the_session_gives_to_other_rows_is_refused(con, hide, name, before):
    query = READ.format(name)
    assert con.execute(query).fetchall() == [("i0",), ("i1",)]
    if hide:
        con.execute(hide)
    for run in (con.execute, con.sql):
        for condition in ("", "SELECT count(*) FROM ({}) WHERE item_id = 'none'"):
            with pytest.raises(duckdb.Error, match=UNSEEN):
                run(before + (condition.format(query) if condition else query)).fetchall()


@pytest.mark.parametrize(("change", "name"), CHANGED.values(), ids=CHANGED)
def test_what_a_transaction_has_changed_is_refused_until_it_is_committed(con, change, name):
    for condition in ("true", "item_id = 'none'"):
        con.begin()
        con.execute(change)
        with pytest.raises(duckdb.Error, match=UNSEEN):
            con.execute(f"SELECT item_id FROM read_tiles({name}) WHERE {condition}").fetchall()
        con.rollback()
    con.begin()
    assert con.execute(READ.format(name)).fetchall() == [("i0",), ("i1",)]
    con.commit()


def test_the_message_names_what_hides_the_rows(con):
    con.execute("CREATE TEMP TABLE scenes AS FROM memory.main.scenes LIMIT 1; CREATE TEMP VIEW over AS FROM scenes")
    for before, name, kind in (
        ("", "scenes", "the temporary table 'scenes'"),
        ("", "over", "the temporary view 'over'"),
        ("WITH files AS (SELECT 1) ", "files", "the CTE 'files'"),
        ("", "further", "'further'"),
    ):
        with pytest.raises(duckdb.Error, match=f"index: got {kind}, expected rows that a read can see"):
            con.execute(before + READ.format(repr(name))).fetchall()


@pytest.mark.parametrize("name", ["scenes", "files", "over"])
def test_a_cte_in_a_prepared_statement_is_refused(con, name):
    con.execute(f"PREPARE hidden AS WITH {name} AS (FROM memory.main.{name} LIMIT 1) {READ.format(repr(name))}")
    con.execute(f"PREPARE plain AS {READ.format(repr(name))}")
    with pytest.raises(duckdb.Error, match=UNSEEN):
        con.execute("EXECUTE hidden").fetchall()
    assert con.execute("EXECUTE plain").fetchall() == [("i0",), ("i1",)]


@pytest.mark.parametrize("name", ["scenes", "files", "over", "further_files"])
def test_a_cte_that_is_not_in_scope_or_has_the_same_rows_is_read(con, name):
    read = READ.format(repr(name))
    for query in (
        f"WITH {name} AS ({read}) FROM {name}",
        f"WITH other AS (SELECT 1) {read}",
        f"WITH {name} AS (FROM memory.main.{name}) {read}",
        f"SELECT * FROM (WITH {name} AS (SELECT 1) FROM {name}), ({read}) ORDER BY ALL",
    ):
        assert [row[-1] for row in con.execute(query).fetchall()] == ["i0", "i1"]


@pytest.mark.parametrize("name", ["files", "further_files", "over"])
def test_temporary_tables_and_views_of_other_names_change_nothing(con, name):
    con.execute("CREATE TEMP TABLE f AS SELECT 1 AS a; CREATE TEMP VIEW o AS FROM f; CREATE TEMP VIEW other AS FROM o")
    assert con.execute(READ.format(repr(name))).fetchall() == [("i0",), ("i1",)]
    # The relation of a relation is a temporary view while it runs.
    relation = con.sql(READ.format(repr(name)))
    relation.query("shown", "CREATE TEMP TABLE kept AS FROM shown")
    assert con.execute("FROM kept ORDER BY ALL").fetchall() == [("i0",), ("i1",)]


def test_rows_of_a_macro_in_the_text_of_a_query_are_not_compared(con):
    """The limit that the docs state: what a table macro in the text of an index reads is not looked at."""
    con.execute("CREATE MACRO recent() AS TABLE FROM scenes")
    con.begin()
    con.execute("DELETE FROM scenes WHERE item_id = 'i0'")
    assert con.execute("SELECT DISTINCT item_id FROM recent()").fetchall() == [("i1",)]
    assert con.execute(READ.format("'FROM recent()'")).fetchall() == [("i0",), ("i1",)]
    con.rollback()


def test_rows_that_are_drawn_are_read(con):
    con.execute("CREATE VIEW drawn AS FROM scenes USING SAMPLE 1")
    for name in ("'drawn'", "'FROM scenes USING SAMPLE 1'", "'FROM scenes ORDER BY random() LIMIT 1'"):
        assert len(con.execute(READ.format(name)).fetchall()) == 1


def test_names_that_mean_one_table_are_read(con):
    con.execute("CREATE TEMP VIEW scenes AS FROM memory.main.scenes LIMIT 1")
    for name in PLAIN:
        assert con.execute(READ.format(name)).fetchall() == [("i0",), ("i1",)]
    text = "WITH own AS (FROM memory.main.scenes WHERE item_id = 'i0') FROM own"
    assert con.execute(READ.format("?"), [text]).fetchall() == [("i0",)]
    quoted = text.replace("'", "''")
    query = READ.format(f"'{quoted}'")
    assert con.execute(f"WITH other AS (SELECT 1) {query}").fetchall() == [("i0",)]


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("floats")
    for name, nodata in NODATA.items():
        write_cog(folder / f"{name}.tif", np.ones((32, 32), np.float32), tile=32, overviews=(), nodata=nodata)
    rs.build_index(f"{folder}/*.tif", folder / "i.parquet")
    with rs.connect() as con:
        con.execute(f"CREATE TABLE tiles AS FROM read_tiles('{folder / 'i.parquet'}')")
        yield con, f"read_tiles('{folder / 'i.parquet'}')"


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_on_nan_keep_the_rows_that_a_table_keeps(floats, condition):
    con, source = floats
    query = f"SELECT item_id, nodata::VARCHAR FROM {{}} WHERE {condition} ORDER BY ALL"
    assert con.execute(query.format(source)).fetchall() == con.execute(query.format("tiles")).fetchall()


def test_tiles_of_another_case_are_tiles(floats):
    con, source = floats
    names = con.sql(f"FROM {source}").columns
    upper = ", ".join(f'"{name}" AS "{name.upper()}"' for name in names)
    expected = rs.to_numpy(con.sql(f"FROM {source} WHERE item_id = 'zero'"))
    rows = con.sql(f"SELECT {upper} FROM {source} WHERE item_id = 'zero'")
    for given in (rows, rows.to_arrow_table(), rows.df()):
        assert (rs.to_numpy(given).data == expected.data).all()
