"""Completion: what the cursor stands in, and what may be typed there. `|` is the cursor."""

from __future__ import annotations

import time

import pytest

from rasteret_sql.apps.shell.catalog import Catalog
from rasteret_sql.apps.shell.completion import Function, suggest
from rasteret_sql.apps.shell.session import Session
from rasteret_sql.apps.shell.syntax import Source, place_of, sources_of

COMMANDS = [("mode", "how results are shown"), ("maxrows", "rows"), ("explain", "the cost"), ("read", "a file")]


class Known:
    """A database as completion sees it."""

    def functions(self):
        return [
            Function("abs", ("x",)),
            Function("range", ("start",), is_table=True),
            Function("read_csv", ("path",), is_table=True),
            Function("read_tiles", ("index", "bands", "bbox", "level"), "The tiles.", is_ours=True, is_table=True),
            Function("rst_to_list", ("pixels", "dtype"), "Values.", is_ours=True),
            Function("stac_search", ("api", "collections"), "A search.", is_ours=True, is_table=True),
        ]

    def tables(self):
        return [("scenes", "table"), ("select me", "view")]

    def columns(self, source):
        known = {
            "scenes": [("item_id", "VARCHAR"), ("eo:cloud_cover", "DOUBLE"), ("order", "INTEGER")],
            "s2.parquet": [("asset", "VARCHAR"), ("geometry", "GEOMETRY")],
            "read_tiles": [("pixels", "BLOB"), ("tile_row", "INTEGER")],
        }
        return known.get(source.name, [])

    def bands(self, index):
        return [("red", "B04"), ("rededge1", ""), ("visual:red", "band")] if index == "s2.parquet" else []

    def datasets(self):
        return [("earthsearch/sentinel-2-l2a", "Sentinel-2"), ("pc/naip", "NAIP")]


def texts(text, *, is_asked=True):
    """What is suggested, put in the place of what is typed."""
    cursor = text.index("|")
    plain = text.replace("|", "")
    found = suggest(plain, cursor, Known(), COMMANDS, is_asked=is_asked)
    return [plain[: one.start] + one.text + "|" + plain[cursor:] for one in found]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s2.parquet", "notes.txt", "query.sql", "deep/more.parquet", ".hidden.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("FROM read_t|", "FROM read_tiles(|"),
        ("FROM read_tiles('s2.parquet', b|", "FROM read_tiles('s2.parquet', bands := |"),
        ("FROM read_tiles('x', bands := ['red'], l|)", "FROM read_tiles('x', bands := ['red'], level := |)"),
        ("FROM read_tiles('s2.parquet', bands := ['rede|", "FROM read_tiles('s2.parquet', bands := ['rededge1'|"),
        ("FROM read_tiles('s2.parquet', bands := ['v|'])", "FROM read_tiles('s2.parquet', bands := ['visual:red|'])"),
        ("FROM stac_search('ea|", "FROM stac_search('earthsearch/sentinel-2-l2a'|"),
        ("SELECT sc.i| FROM scenes sc", "SELECT sc.item_id| FROM scenes sc"),
        ("SELECT scenes.it| FROM scenes", "SELECT scenes.item_id| FROM scenes"),
        ("FROM scenes WHERE e|", 'FROM scenes WHERE "eo:cloud_cover"|'),
        ('FROM scenes WHERE "eo|', 'FROM scenes WHERE "eo:cloud_cover"|'),
        ('SELECT "eo|" FROM scenes', 'SELECT "eo:cloud_cover|" FROM scenes'),
        ("FROM scenes ORDER BY o|", 'FROM scenes ORDER BY "order"|'),
        ("SELECT pi| FROM read_tiles('s2.parquet')", "SELECT pixels| FROM read_tiles('s2.parquet')"),
        ("SELECT geo| FROM 's2.parquet'", "SELECT geometry| FROM 's2.parquet'"),
        (
            "SELECT 1; SELECT geo| FROM 's2.parquet'; FROM scenes",
            "SELECT 1; SELECT geometry| FROM 's2.parquet'; FROM scenes",
        ),
        ("FROM a JOIN sce|", "FROM a JOIN scenes|"),
        ("FROM a, sce|", "FROM a, scenes|"),
        ("FROM sel|", 'FROM "select me"|'),
        ("SELECT rst|", "SELECT rst_to_list(|"),
        ("SELECT ab|", "SELECT abs(|"),
        ("SEL|", "SELECT|"),
        ("sel|", "select|"),
        ("FROM 's|'", "FROM 's2.parquet|'"),
        ("FROM 'de|", "FROM 'deep/|"),
        ("FROM 'deep/|", "FROM 'deep/more.parquet'|"),
        ("FROM read_tiles(|", "FROM read_tiles('s2.parquet'|"),
        (".mod|", ".mode|"),
        (".mode j|", ".mode json|"),
        (".read q|", ".read query.sql|"),
        (".explain s2|", ".explain s2.parquet|"),
        (
            ".explain FROM read_tiles('s2.parquet', bands := ['red|",
            ".explain FROM read_tiles('s2.parquet', bands := ['red'|",
        ),
    ],
)
def test_the_first_suggestion_fits(folder, typed, expected):
    assert texts(typed)[0] == expected


@pytest.mark.parametrize(
    "typed",
    [
        "-- FROM read_t|",
        "/* FROM read_t|",
        "SELECT 'some te|",
        "SELECT $$ FROM read_t|",
        "SELECT 1|",
        "SELECT a AS sel|",
        "FROM read_tiles('s2.parquet', bands := ['x|",
        "FROM read_tiles('other.parquet', bands := ['r|",
        "LIMIT|",
        "SELECT 'x'|",
        "FROM 'https://example.com/s|",
        "SELECT nothing.i| FROM scenes",
        ".unknown x|",
    ],
)
def test_nothing_is_suggested_where_nothing_fits(folder, typed):
    assert texts(typed) == []


def test_after_from_come_tables_then_our_functions_then_files(folder):
    assert texts("FROM |") == [
        "FROM scenes|",
        'FROM "select me"|',
        "FROM read_tiles(|",
        "FROM stac_search(|",
        "FROM 's2.parquet'|",
    ]


def test_an_argument_that_is_there_is_not_suggested_again():
    assert [text.rpartition(", ")[2] for text in texts("FROM read_tiles('x', level := 1, |")] == [
        "bands := |",
        "bbox := |",
    ]


def test_an_empty_word_gives_columns_only_to_those_who_ask():
    assert texts("SELECT | FROM scenes")[0] == "SELECT item_id| FROM scenes"
    assert texts("SELECT | FROM scenes", is_asked=False) == []


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("FROM a", [Source("table", "a", alias="a")]),
        (
            "FROM s.a AS b JOIN 'x.parquet' c USING (i)",
            [Source("table", "s.a", alias="b"), Source("file", "x.parquet", alias="c")],
        ),
        (
            "SELECT f(a, b) FROM a, b WHERE x IN (1, 2)",
            [Source("table", "a", alias="a"), Source("table", "b", alias="b")],
        ),
        ("FROM read_tiles('x', bands := ['red', 'nir']) t", [Source("function", "read_tiles", "x", "t")]),
        ("FROM (FROM inside) AS outer_one", [Source("table", "inside", alias="inside")]),
        ("WITH c AS (SELECT 1) FROM c WHERE a", [Source("table", "c", alias="c")]),
        ("SELECT 1", []),
        ("FROM", []),
    ],
)
def test_what_a_statement_reads_from(sql, expected):
    assert list(sources_of(sql)) == expected


def test_no_place_in_a_statement_is_too_strange(folder):
    sql = "WITH a AS (SELECT f(x, [1, {'b': 2}]) FROM read_tiles('s2.parquet', bands := ['red']) t) -- c\nSELECT a.\"b c\" FROM a;.x"
    for cursor in range(len(sql) + 1):
        place_of(sql[:cursor], cursor)
        place_of(sql, cursor)
        suggest(sql, cursor, Known(), COMMANDS)
        suggest(sql[:cursor], cursor, Known(), COMMANDS)


@pytest.fixture(scope="module")
def session():
    session = Session()
    yield session
    session.close()


def eventually(look):
    """What is not known yet is known a little later."""
    while not (found := look()):
        time.sleep(0.01)
    return found


@pytest.fixture
def catalog(session):
    assert session.con
    catalog = Catalog(session)
    yield catalog
    catalog.close()


def test_the_catalog_knows_functions_with_their_comments(catalog):
    functions = {function.name: function for function in eventually(catalog.functions)}
    assert functions["read_tiles"].is_ours
    assert functions["read_tiles"].parameters[:2] == ("index", "bands")
    assert functions["read_tiles"].comment.startswith("The tiles that touch")
    assert not functions["abs"].is_ours
    assert not [name for name in functions if name.startswith("_")]


def test_the_catalog_knows_tables_and_columns_of_all_kinds(session, catalog, index):
    session.attend(
        lambda: session.con.execute("CREATE OR REPLACE TEMP TABLE mine AS SELECT 1 AS one, 'x' AS two").fetchall()
    )
    assert ("mine", "table") in eventually(catalog.tables)
    assert eventually(lambda: catalog.columns(Source("table", "mine"))) == [("one", "INTEGER"), ("two", "VARCHAR")]
    assert ("asset", "VARCHAR") in eventually(lambda: catalog.columns(Source("file", str(index))))
    assert ("pixels", "BLOB") in eventually(lambda: catalog.columns(Source("function", "read_tiles", str(index))))
    session.attend(lambda: session.con.execute("DROP TABLE mine").fetchall())
    catalog.forget()
    assert ("mine", "table") not in catalog.tables()


def test_the_catalog_knows_bands_and_datasets(catalog, index):
    names = [name for name, _ in eventually(lambda: catalog.bands(str(index)))]
    assert {"red", "nir", "scl"} <= set(names)
    assert "earthsearch/sentinel-2-l2a" in dict(eventually(catalog.datasets))


def test_the_catalog_says_nothing_of_what_is_not_there_and_asks_nobody_far_away(catalog):
    assert catalog.columns(Source("table", "absent")) == []
    assert catalog.bands("absent.parquet") == []
    assert catalog.columns(Source("function", "stac_search", "earthsearch/sentinel-2-l2a")) == []


def test_completion_does_not_wait_for_a_statement_that_runs(session, catalog):
    with session.idle:  # as while a statement runs: who waits for it here waits for ever
        assert catalog.columns(Source("table", "whatever")) == []


def test_completion_does_not_abort_a_transaction(session, catalog):
    session.attend(lambda: session.con.execute("BEGIN").fetchall())
    session.attend(lambda: session.con.execute("CREATE TEMP TABLE begun AS SELECT 1 AS inside").fetchall())
    assert catalog.columns(Source("table", "absent")) == []
    assert catalog.columns(Source("file", "absent.parquet")) == []
    assert catalog.bands("absent.parquet") == []
    assert eventually(lambda: catalog.columns(Source("table", "begun"))) == [("inside", "INTEGER")]
    session.attend(lambda: session.con.execute("ROLLBACK").fetchall())
