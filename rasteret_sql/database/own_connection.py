"""The connections on which our own SQL runs, and the settings of DuckDB that decide what SQL gives.

Our SQL runs in two places. Reads from Python, builds, checks and reports open a database of their own with
`own_connection`. A read in SQL has to see the tables of the session, so it opens a cursor on the session's database.
`apply_settings` gives that cursor the settings of the session, since they decide what the text of a query gives; SQL of
ours that runs there says each order, zone and type itself. Settings of a cursor do not change those of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rasteret_sql.database.sqlfiles import quote_literal
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io import fork

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

#: Settings of a database that is ours alone: no variable of a Python frame is a table there, and no extension comes
#: from anybody but DuckDB. Extensions of DuckDB itself load by themselves, since an index may lie on a server.
_CLOSED: Mapping[str, str | bool] = {
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
}


def own_connection(**config: str | bool | float) -> duckdb.DuckDBPyConnection:
    """Open a database in memory for our own SQL.

    Text of a query that comes from elsewhere goes through `select_text.require_select` before it runs there.

    Args:
        **config: further settings of DuckDB, such as `memory_limit`.
    """
    import duckdb

    with fork.no_fork:
        con = duckdb.connect(":memory:", config={**_CLOSED, **config})
    # Settings of the database, so that its cursors have them too. A plan is several statements, and parsing the footer
    # of an index of a million rows takes 35 ms in each. DuckDB parses it again where the time of the file has changed,
    # or is less than ten seconds ago.
    con.execute("SET GLOBAL TimeZone = 'UTC'; SET GLOBAL parquet_metadata_cache = true")
    return con


def require_no_collation(settings: Mapping[str, str]) -> None:
    """Refuse a session that takes names that differ for the same; `_rst_is_usual_session` does so in SQL.

    Raises:
        InvalidArgumentError: the session has a default collation.
    """
    collation = settings.get("default_collation") or ""
    if collation.upper() not in {"", "C", "BINARY"}:
        raise InvalidArgumentError(
            f"default_collation: got {collation!r}, expected none while a read is planned: names that differ would be "
            "the same. RESET default_collation, and write COLLATE into your own conditions"
        )


def apply_settings(cursor: duckdb.DuckDBPyConnection, settings: Mapping[str, str]) -> None:
    """Set what differs, for this cursor alone.

    Args:
        cursor: a cursor that nobody else uses.
        settings: values by name, as `current_setting` gives them in a session of the same database.

    Raises:
        InvalidArgumentError: the configuration of the database is locked, and a setting has another value.
    """
    import duckdb

    # The table function duckdb_settings() makes rows of all settings, which takes five times as long.
    listed = ", ".join(f"current_setting({quote_literal(name)})::VARCHAR" for name in settings)
    (values,) = cursor.execute(f"SELECT {listed}").fetchall()
    present = dict(zip(settings, values, strict=True))
    for name, value in settings.items():
        if _normal(present[name]) == _normal(value):
            continue
        try:
            cursor.execute(f"SET SESSION {name} = {quote_literal(value)}")
        except duckdb.Error as error:
            raise InvalidArgumentError(
                f"{name}: the database has {present[name]!r}, expected {value!r}, as the session has it, and its "
                f"configuration is locked ({str(error).splitlines()[0]}); add {name!r} to allowed_configs, or give it "
                "this value before lock_configuration is set"
            ) from error


def _normal(value: str | None) -> str:
    """DuckDB spells some values in more than one way: ASC and ASCENDING, UTC and Etc/UTC, true and 1."""
    text = (value or "").strip().upper()
    return {
        "ASCENDING": "ASC", "NULLS LAST": "NULLS_LAST", "ETC/UTC": "UTC", "ETC/UCT": "UTC", "UCT": "UTC",
        "ZULU": "UTC", "1": "TRUE", "0": "FALSE",
    }.get(text, text)  # fmt: skip
