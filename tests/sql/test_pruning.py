"""The conditions that docs/sql.md lists: which ones decide what is fetched, on the DuckDB that runs."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    from rasteret_sql.testing.server import RangeServer
    from tests.sql.conftest import Collection

_DOCS = Path(__file__).parents[2] / "docs" / "sql.md"
_ROW = re.compile(
    r"^\| `(?P<condition>.+)` \| (?P<two>prunes|reads all) \| (?P<one>prunes|reads all) \|$", re.MULTILINE
)
_IS_2 = int(duckdb.__version__.partition(".")[0]) >= 2


def listed() -> list[tuple[str, str]]:
    """Conditions, and what is said of them for this DuckDB."""
    text = _DOCS.read_text(encoding="utf-8")
    return [(row["condition"], row["two" if _IS_2 else "one"]) for row in _ROW.finditer(text)]


def test_the_list_has_both_kinds() -> None:
    assert {said for _, said in listed()} == {"prunes", "reads all"}


@pytest.mark.parametrize(("condition", "said"), listed())
def test_conditions_prune_as_the_docs_say(
    con: duckdb.DuckDBPyConnection, collection: Collection, server: RangeServer, condition: str, said: str
) -> None:
    read = f"read_tiles('{collection.index}')"
    ((meeting,),) = con.execute(f"SELECT count(*) FROM {read} WHERE {condition}").fetchall()
    assert meeting < 54, "the condition leaves all tiles, and shows nothing"
    ((tiles, size),) = con.execute(
        f"SELECT count(*), coalesce(sum(octet_length(pixels)), 0) FROM {read} WHERE {condition}"
    ).fetchall()
    assert (tiles, size) == (meeting, meeting * 64 * 64 * 2)
    fetched = sum(request.nbytes_sent for request in server.requests)
    ((whole,),) = con.execute(
        f"SELECT request_bytes FROM explain_read('{collection.index}') WHERE band = 'total'"
    ).fetchall()
    assert (fetched < whole) == (said == "prunes")


@pytest.mark.parametrize("condition", ["tile_row = 0 OR tile_col = 1", "tile_row = 0 OR item_id = 'B'", "true"])
def test_no_byte_is_fetched_twice_under_an_or(
    con: duckdb.DuckDBPyConnection, collection: Collection, server: RangeServer, condition: str
) -> None:
    con.execute(f"SELECT sum(octet_length(pixels)) FROM read_tiles('{collection.index}') WHERE {condition}").fetchall()
    ranges = sorted((request.path, request.start, request.end) for request in server.requests)
    assert all(path != other or end <= start for (path, _, end), (other, start, _) in itertools.pairwise(ranges))
