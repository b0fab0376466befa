"""Each workaround is still needed: a test that fails here says that one of them can go."""

import gc

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import RangeError
from rasteret_sql.sql.workarounds import call_of, mentions, without_traceback
from rasteret_sql.testing import write_cog

TOKEN = b'rst_{"index": "a"}'


def test_the_python_client_still_registers_no_table_function():
    with duckdb.connect() as con:
        assert not hasattr(con, "create_table_function")


def test_an_expression_of_pyarrow_still_shows_itself_as_text_only():
    condition = (pc.field("_call") == pa.scalar(TOKEN)) & (pc.field("level") > 1)
    assert not hasattr(condition, "arguments")
    assert not hasattr(condition, "operands")
    assert call_of(condition).arguments == '{"index": "a"}'
    assert call_of(condition).token == TOKEN


@pytest.mark.parametrize("condition", [None, pc.field("level") == 1, pc.field("item_id") == '(_call == "7273745F41")'])
def test_a_condition_without_the_arguments_gives_no_call(condition):
    assert call_of(condition) is None


def test_a_condition_mentions_columns_and_not_their_names_in_texts():
    assert mentions(pc.field("pixels").is_valid(), ["pixels"])
    assert mentions((pc.field("level") == 1) & (pc.field("error") == "a"), ["error"])
    assert not mentions(pc.field("item_id") == "(pixels == 1)", ["pixels"])
    assert not mentions(None, ["pixels"])


def test_comparisons_of_texts_are_still_not_pushed_down_under_a_collation():
    """Once they are, `_call` can be text again."""
    seen = []

    class Source(pads.Dataset):
        def __init__(self):
            pass

        @property
        def schema(self):
            return pa.schema([("text", pa.string()), ("bytes", pa.binary())])

        def scanner(self, columns=None, **options):
            seen.append(str(options["filter"]))
            return pads.Scanner.from_batches(
                pa.table({"text": ["a"], "bytes": [b"a"]}).select(columns or ["text", "bytes"]).to_reader()
            )

    with duckdb.connect() as con:
        con.from_arrow(Source()).create_view("source")
        con.execute("SET default_collation = 'NOCASE'")
        con.execute("SELECT * FROM source WHERE text = 'a' AND bytes = 'a'::BLOB").fetchall()
    assert "bytes ==" in seen[-1]
    assert "text ==" not in seen[-1]


def test_pyarrow_still_puts_tracebacks_into_the_messages_of_batches():
    def batches():
        yield pa.record_batch({"a": [1]})
        raise RangeError("it ends early")

    schema = pa.schema([("a", pa.int64())])
    with duckdb.connect() as con:
        plain = pa.RecordBatchReader.from_batches(schema, batches())
        with pytest.raises(duckdb.Error, match=r"Traceback|File "):
            con.from_arrow(plain).fetchall()
        quiet = pa.RecordBatchReader.from_batches(schema, without_traceback(batches()))
        with pytest.raises(duckdb.Error, match="it ends early") as caught:
            con.from_arrow(quiet).fetchall()
    assert __file__ not in str(caught.value)


def test_duckdb_still_has_no_hook_for_new_connections_of_a_database():
    with duckdb.connect() as con:
        names = [name for name in dir(con) if not name.startswith("__")]
        assert not [name for name in names if "hook" in name or "callback" in name or name.startswith("on_")]
        assert con.execute("SELECT count(*) FROM duckdb_settings() WHERE name LIKE '%init%sql%'").fetchall() == [(0,)]


@pytest.mark.parametrize("name", ["cursor", "duplicate"])
def test_a_cursor_keeps_the_connection_that_its_functions_belong_to(name):
    def opened():
        return getattr(rs.connect(), name)()

    cursor = opened()
    gc.collect()
    text = "SELECT rasteret_sql.main._rst_project([{'xmin': 1.0, 'ymin': 1.0, 'xmax': 2.0, 'ymax': 2.0}], 'OGC:CRS84', 'EPSG:3035')"
    assert cursor.execute(text).fetchall()
    other = cursor.cursor()
    del cursor
    gc.collect()
    assert other.execute(text).fetchall()


def test_a_connection_still_does_not_say_which_database_it_belongs_to():
    with duckdb.connect() as one, duckdb.connect() as other:
        same = "SELECT database_name, database_oid, path FROM duckdb_databases() WHERE NOT internal"
        assert one.execute(same).fetchall() == other.execute(same).fetchall()


@pytest.mark.parametrize("how", ["export", "copy"])
def test_a_database_of_the_user_carries_nothing_of_ours_along(tmp_path, how):
    names = "SELECT function_name FROM duckdb_functions() WHERE NOT internal AND database_name NOT IN ('temp', 'rasteret_sql')"
    with rs.connect() as con, duckdb.connect() as plain:
        con.execute("CREATE TABLE mine AS SELECT 1 AS a")
        con.execute("CREATE MACRO my_macro(x) AS x + 1")
        if how == "export":
            con.execute(f"EXPORT DATABASE '{tmp_path / 'e'}'")
            plain.execute(f"IMPORT DATABASE '{tmp_path / 'e'}'")
        else:
            con.execute(f"ATTACH '{tmp_path / 'f.db'}' AS o")
            con.execute("COPY FROM DATABASE memory TO o")
            con.execute("DETACH o")
            plain.execute(f"ATTACH '{tmp_path / 'f.db'}' AS o")
            plain.execute("USE o")
        assert plain.execute("FROM mine").fetchall() == [(1,)]
        assert plain.execute(names).fetchall() == [("my_macro",)]
        with rs.connect() as again:
            if how == "export":
                again.execute(f"IMPORT DATABASE '{tmp_path / 'e'}'")
                assert again.execute("SELECT a FROM mine").fetchall() == [(1,)]


def test_a_cursor_still_has_no_variables_and_a_read_refuses_them(tmp_path):
    """A view that looks at a variable gave rows of another value; once cursors have variables, they can be passed on."""
    write_cog(tmp_path / "a.tif", np.zeros((16, 16), np.uint8), tile=16, overviews=())
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
    index = tmp_path / "i.parquet"
    with rs.connect() as con:
        con.execute("SET VARIABLE most = 5")
        assert con.cursor().execute("SELECT getvariable('most')").fetchall() == [(None,)]
        con.execute(f"CREATE VIEW chosen AS FROM '{index}' WHERE width < coalesce(getvariable('most'), 100)")
        assert con.execute("SELECT count(*) FROM chosen").fetchall() == [(0,)]
        for name in ("chosen", f"FROM '{index}' WHERE width > getvariable('most')"):
            # duckdb 1.5 looks first whether the view has the same rows elsewhere.
            unseen = "|expected rows that a read can see" if duckdb.__version__.startswith("1.") else ""
            with pytest.raises(duckdb.Error, match=rf"getvariable\(most\): got a variable of the session{unseen}"):
                con.execute("SELECT item_id FROM read_tiles($1)", [name]).fetchall()
        assert con.execute("SELECT getvariable('most')").fetchall() == [(5,)]


def test_duckdb_still_makes_an_error_of_its_own_of_a_keyboard_interrupt():
    def interrupted():
        raise KeyboardInterrupt
        yield

    schema = pa.schema([("a", pa.int32())])
    with duckdb.connect() as con, pytest.raises(duckdb.Error, match="KeyboardInterrupt"):
        con.from_arrow(pa.RecordBatchReader.from_batches(schema, interrupted())).fetchall()


def test_a_function_around_a_method_still_hides_the_variables_of_its_caller():
    """Once it does not, methods can be replaced, and the initialiser of errors need not be."""

    def execute(con, query):
        return con.execute(query)

    rows = pa.table({"a": [1]})
    with duckdb.connect() as con:
        assert con.execute("SELECT a FROM rows").fetchall() == [(rows["a"][0].as_py(),)]
        with pytest.raises(duckdb.CatalogException, match="rows"):
            execute(con, "SELECT a FROM rows")


def test_errors_of_ours_leave_functions_without_frames_and_paths():
    import traceback

    from rasteret_sql.errors import InvalidArgumentError
    from rasteret_sql.sql.workarounds import without_paths

    def deep():
        raise InvalidArgumentError("bands: got nothing")

    @without_paths
    def called(value):
        return value or deep()

    assert called(3) == 3
    with pytest.raises(InvalidArgumentError, match="bands: got nothing") as caught:
        called(0)
    ours = traceback.extract_tb(caught.value.__traceback__)[1:]
    assert [frame.filename for frame in ours] == ["rasteret_sql"]
