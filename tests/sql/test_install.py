"""`install` and `connect`: what they put into a connection, and what they leave behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import duckdb
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sql.conftest import Collection

COUNT = "SELECT count(*) FROM read_tiles('{}', bands := ['red'])"


def test_it_can_be_called_twice(collection: Collection) -> None:
    con = duckdb.connect()
    assert rs.install(con) is con
    rs.install(con)
    assert con.execute(COUNT.format(collection.index)).fetchall() == [(27,)]
    con.close()


def test_cursors_have_the_functions(collection: Collection) -> None:
    con = rs.connect()
    cursor = con.cursor()
    assert cursor.execute(COUNT.format(collection.index)).fetchall() == [(27,)]
    assert cursor.cursor().execute(COUNT.format(collection.index)).fetchall() == [(27,)]
    con.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_database_works_and_keeps_nothing(tmp_path: Path, collection: Collection, read_only: bool) -> None:
    path = tmp_path / "my.db"
    with duckdb.connect(str(path)) as con:
        con.execute(f"CREATE TABLE mine AS FROM '{collection.index}'")
    before = path.read_bytes()
    con = duckdb.connect(str(path), read_only=read_only)
    rs.install(con)
    rs.install(con)
    for each in (con, con.cursor(), con.cursor().cursor()):
        assert each.execute(COUNT.format("mine")).fetchall() == [(27,)]
        assert each.execute("SELECT count(*) FROM tile_plan('mine')").fetchall() == [(54,)]
        assert each.execute("SELECT count(*) FROM explain_read('mine')").fetchall() == [(3,)]
    con.close()
    gc.collect()
    assert path.read_bytes() == before
    # Another process can open it for writing: nothing of it is locked or left.
    code = (
        f"import duckdb; con = duckdb.connect({str(path)!r});"
        "print(con.execute(\"SELECT count(*) FROM duckdb_functions() WHERE database_name = 'my'\").fetchall());"
        "print(con.execute('SELECT count(*) FROM duckdb_views() WHERE NOT internal').fetchall());"
        "con.execute('CREATE TABLE t AS SELECT 1')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["[(0,)]", "[(0,)]"]), done.stderr


def test_the_search_path_stays_as_it_was(tmp_path: Path) -> None:
    con = duckdb.connect(str(tmp_path / "a.db"))
    con.execute("CREATE SCHEMA s")
    con.execute("SET search_path = 'a.s,a.main'")
    rs.install(con)
    assert con.execute("SELECT current_setting('search_path')").fetchall() == [("a.s,a.main",)]
    con.close()


def test_the_functions_are_found_after_use(tmp_path: Path, collection: Collection) -> None:
    con = rs.connect()
    con.execute(f"ATTACH '{tmp_path / 'other.db'}' AS other")
    con.execute("USE other")
    assert con.execute(COUNT.format(collection.index)).fetchall() == [(27,)]
    con.close()


def test_threads_read_with_cursors_of_their_own(collection: Collection) -> None:
    con = rs.connect()
    counts: list[object] = []

    def work(cursor: duckdb.DuckDBPyConnection) -> None:
        counts.extend(cursor.execute(f"SELECT count(pixels) FROM read_tiles('{collection.index}')").fetchall())

    threads = [threading.Thread(target=work, args=(con.cursor(),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    con.close()
    assert counts == [(54,)] * 6


def test_functions_describe_themselves() -> None:
    con = rs.connect()
    rows = con.execute(
        "SELECT DISTINCT function_name, comment FROM duckdb_functions() "
        "WHERE database_name = 'rasteret_sql' AND NOT internal AND comment IS NULL AND function_name != '_rst_identity'"
    ).fetchall()
    assert rows == []
    con.close()


@pytest.mark.parametrize("con", [None, "database.db", 3])
def test_what_is_no_connection_is_refused(con: object) -> None:
    with pytest.raises(InvalidArgumentError, match="expected a DuckDB connection"):
        rs.install(con)  # type: ignore[arg-type]


def test_a_closed_connection_is_refused() -> None:
    con = duckdb.connect()
    con.close()
    with pytest.raises(InvalidArgumentError, match="the connection is closed"):
        rs.install(con)


def test_a_database_of_our_name_is_not_touched() -> None:
    con = duckdb.connect()
    con.execute("ATTACH ':memory:' AS rasteret_sql")
    with pytest.raises(InvalidArgumentError, match="a database of the name 'rasteret_sql' is attached"):
        rs.install(con)
    con.close()


@pytest.mark.parametrize("ending", ["", "con.close()", "del con"])
def test_a_process_ends_quietly(collection: Collection, ending: str) -> None:
    code = (
        f"import rasteret_sql as rs; con = rs.connect(); "
        f"print(con.execute({COUNT.format(collection.index)!r}).fetchall()); "
        f"print(rs.to_numpy({str(collection.index)!r}, bands=['red']).shape); {ending}"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[(27,)]", "(3, 1, 192, 192)"]
    assert done.stderr == ""


@pytest.mark.parametrize("closes_first", [True, False])
def test_one_of_two_connections_may_be_closed(tmp_path: Path, collection: Collection, closes_first: bool) -> None:
    code = (
        "import rasteret_sql as rs\n"
        f"path = {str(tmp_path / 'my.db')!r}\n"
        "one, other = rs.connect(path), rs.connect(path)\n"
        f"closed, open_ = (one, other) if {closes_first} else (other, one)\n"
        "closed.close()\n"
        f"index, area = {str(collection.index)!r}, \"geometry := 'POINT (75.925 12.66)'\"\n"
        "print(open_.execute(f\"SELECT count(pixels) FROM read_tiles('{index}', bands := ['red'], {area})\").fetchall())\n"
        "print(open_.execute(f\"SELECT sum(rst_to_list(pixels, dtype)[1]) > 0 FROM read_tiles('{index}')\").fetchall())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    # On a slow machine DuckDB draws its progress bar there too.
    assert (done.returncode, [line for line in done.stdout.split("\n") if line.startswith("[")]) == (
        0,
        ["[(3,)]", "[(True,)]"],
    ), done.stderr


def test_the_default_connection_works_through_the_module(collection: Collection) -> None:
    code = (
        "import duckdb, rasteret_sql as rs\n"
        "rs.install(duckdb)\n"
        f"print(duckdb.execute({COUNT.format(collection.index)!r}).fetchall())\n"
        "rs.install(duckdb.default_connection())\n"
        f"print(duckdb.execute({COUNT.format(collection.index)!r}).fetchall())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[(27,)]\n[(27,)]\n"), done.stderr


def test_a_transaction_must_end_before_the_functions_come(collection: Collection) -> None:
    con = duckdb.connect()
    con.execute("BEGIN")
    with pytest.raises(InvalidArgumentError, match=r"it is in a transaction.*COMMIT or ROLLBACK first"):
        rs.install(con)
    con.execute("ROLLBACK")
    rs.install(con)
    assert con.execute(COUNT.format(collection.index)).fetchall() == [(27,)]
    con.execute("DETACH rasteret_sql")
    rs.install(con)
    assert con.execute(COUNT.format(collection.index)).fetchall() == [(27,)]
    con.close()


def test_a_temporary_table_of_tiles_is_left_alone() -> None:
    con = duckdb.connect()
    con.execute("CREATE TEMP TABLE tiles AS SELECT 42 AS mine")
    rs.install(con)
    assert con.execute("FROM tiles").fetchall() == [(42,)]
    con.close()


def test_an_install_that_fails_leaves_nothing_that_the_next_one_trips_over(monkeypatch: pytest.MonkeyPatch) -> None:
    con = duckdb.connect()

    def fail(*_: object) -> None:
        raise duckdb.Error("no")

    with monkeypatch.context() as patched:
        patched.setattr("rasteret_sql.sql.connection._make_helpers", fail)
        with pytest.raises(duckdb.Error, match="no"):
            rs.install(con)
    rs.install(con)
    assert con.execute("SELECT count(*) FROM datasets()").fetchall()[0][0] > 0
