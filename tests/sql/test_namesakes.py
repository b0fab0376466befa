"""Names that the session and a read would look up differently are refused; conditions on NaN mean what they mean in tables."""

import duckdb
import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.testing import write_cog

UNSEEN = "sees no CTE, temporary table or uncommitted row"
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
        con.execute(f"CREATE TABLE scenes AS FROM '{tmp_path / 'i.parquet'}'; CREATE VIEW over AS FROM scenes")
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
