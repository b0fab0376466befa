"""Different files of one collection, item_id and asset: an error, the latest of them, or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from rasteret_sql.checks import is_one_of
from rasteret_sql.database.sqlfiles import quote_identifier, sql_file
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    import duckdb

OnDuplicate = Literal["error", "latest", "keep"]

REMEDY = (
    "If they are versions of one item, on_duplicate 'latest' takes the one that changed last, and 'keep' takes all. "
    "Otherwise tell them apart: with collection=, with a pattern, or with columns item_id and asset."
)
#: Name of the files that "latest" drops, in reports.
OLDER_VERSIONS = "files of older versions of items"
#: Properties that say when an item changed, best first; STAC has both.
_CHANGED = ("updated", "created")


def checked_on_duplicate(value: object, what: str = "on_duplicate") -> OnDuplicate:
    """Read a rule for files that share a key; None is "error".

    Raises:
        InvalidArgumentError: the value is no such rule.
    """
    for rule in get_args(OnDuplicate):
        if is_one_of(value, (rule,)) or (value is None and rule == "error"):
            checked: OnDuplicate = rule
            return checked
    raise InvalidArgumentError(f"{what}: got {value!r}, expected 'error', 'latest' or 'keep'")


def drop_older_versions(con: duckdb.DuckDBPyConnection) -> int:
    """Add the files of older versions of items to the table `dropped`, which the view `assets` leaves out.

    Args:
        con: connection of the build, with `assets`, `items`, `properties` and `dropped`.

    Returns:
        The number of files.
    """
    names = {row[0] for row in con.execute("DESCRIBE properties").fetchall()}
    times = [f"TRY_CAST({quote_identifier(name)}::VARCHAR AS TIMESTAMPTZ)" for name in _CHANGED if name in names]
    changed_at = f"coalesce({', '.join(times)})" if times else "NULL::TIMESTAMPTZ"
    con.execute(f"CREATE VIEW versions AS SELECT item_no, {changed_at} AS changed_at FROM properties")  # noqa: S608 - quoted
    con.execute(f"CREATE TABLE superseded AS {sql_file('index/superseded.sql')}")
    con.execute("INSERT INTO dropped SELECT asset_no FROM superseded")
    ((number,),) = con.execute("SELECT count(*) FROM superseded").fetchall()
    return int(number)
