"""Item properties as columns: one column each, of a type that holds every value of the build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.schema import RENAMED_PROPERTY, index_columns
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal, quote_path, sql_file
from rasteret_sql.index.staging import ITEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import duckdb

#: STAC properties whose values are times.
_TIMES = frozenset({"created", "updated", "published", "expires", "unpublished"})
#: Columns that `items` adds to those of properties.
_ADDED_BY_ITEMS = frozenset({"assets", "files", "file_bytes"})
#: Only one item of each structure: the function joins all its input to one text.
_STRUCTURE = """
    SELECT json_group_structure(properties)::VARCHAR
    FROM (
        SELECT arg_min(properties, item_no) AS properties
        FROM items
        GROUP BY json_structure(properties)
        ORDER BY min(item_no)
    )
"""


def create_properties_view(
    con: duckdb.DuckDBPyConnection, folder: Path, column_files: Sequence[Path], period_time: str | None = None
) -> None:
    """Make the views `items`, and `properties`: `item_no`, and one column per property.

    A number stays a number, and an object becomes a struct. A property whose values differ in kind, also inside
    objects and lists, becomes a column of JSON text. A property that an item lacks is NULL. A property with the name
    of an index column becomes `properties:name`.

    Args:
        con: connection of the build; its time zone is UTC.
        folder: the staging folder.
        column_files: typed columns of tables.
        period_time: the time of items without datetime: "start", "middle" or "end" of their period; None for none.
    """
    con.execute(sql_file("functions/_rst_item_time.sql"))
    moment = "NULL" if period_time is None else quote_literal(period_time)
    con.execute(
        f"CREATE VIEW items AS SELECT * EXCLUDE (properties) "  # noqa: S608 - quoted
        f"REPLACE (_rst_item_time(datetime, start_datetime, end_datetime, {moment}) AS datetime), "
        f"properties::JSON AS properties FROM read_parquet({quote_path(folder, ITEMS)})"
    )
    parts = ["SELECT " + ", ".join(["item_no", *_from_json(con)]) + " FROM items"]  # noqa: S608 - quoted
    for path in column_files:
        reader = f"read_parquet({quote_path(path)})"
        names = [row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()]  # noqa: S608 - quoted
        renamed = column_names(name for name in names if name != "item_no")
        columns = [f"{quote_identifier(name)} AS {quote_identifier(new)}" for name, new in renamed.items()]
        parts.append(f"SELECT {', '.join(['item_no', *columns])} FROM {reader}")  # noqa: S608 - quoted
    if column_files:
        # Items of tables have a row in both parts; the row without properties is left out.
        typed = " UNION ALL ".join(
            f"SELECT item_no FROM read_parquet({quote_path(path)})"  # noqa: S608 - quoted
            for path in column_files
        )
        parts[0] += f" WHERE item_no NOT IN ({typed})"
    con.execute(f"CREATE VIEW properties AS {' UNION ALL BY NAME '.join(parts)}")


def column_names(names: Iterable[str]) -> dict[str, str]:
    """Give each property a name that no other column of an index or of `items` has, whatever the case."""
    taken = set(index_columns()) | {"item_no", "asset_no"} | _ADDED_BY_ITEMS
    columns: dict[str, str] = {}
    for name in names:
        column = name if name and name.lower() not in taken else RENAMED_PROPERTY.format(name)
        number = 1
        while column.lower() in taken:
            number += 1
            column = f"{RENAMED_PROPERTY.format(name)}_{number}"
        taken.add(column.lower())
        columns[name] = column
    return columns


def _from_json(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Give one SELECT expression per property of the staged JSON."""
    row = con.execute(_STRUCTURE).fetchone()
    structure = json.loads(row[0]) if row is not None and row[0] is not None else {}
    if not isinstance(structure, dict):
        return []
    names = column_names(structure)
    typed = {name: _expression(name, kind) for name, kind in structure.items()}
    lossy = _lossy(con, typed)
    expressions = []
    for name, expression in typed.items():
        text = f"properties ->> {_pointer(name)}"
        expressions.append(f"{text if name in lossy else expression} AS {quote_identifier(names[name])}")
    return expressions


def _expression(name: str, kind: Any) -> str:
    value = f"properties -> {_pointer(name)}"
    text = f"properties ->> {_pointer(name)}"
    if not isinstance(kind, str):
        return f"({text})" if _is_mixed(kind) else f"json_transform({value}, {quote_literal(json.dumps(kind))})"
    if kind == "VARCHAR" and name in _TIMES:
        return f"TRY_CAST({text} AS TIMESTAMPTZ)"
    if kind in {"VARCHAR", "NULL", "JSON"}:
        return f"({text})"
    # DuckDB infers unsigned types, which few readers of Parquet support.
    return f"TRY_CAST({text} AS {'BIGINT' if kind == 'UBIGINT' else kind})"


def _is_mixed(kind: Any) -> bool:
    """Whether values inside objects or lists differ in kind, as coordinates of polygons and multipolygons do."""
    if isinstance(kind, str):
        return kind == "JSON"
    return any(map(_is_mixed, kind.values() if isinstance(kind, dict) else kind))


def _lossy(con: duckdb.DuckDBPyConnection, typed: dict[str, str]) -> set[str]:
    """Give the properties whose inferred type cannot hold all their values."""
    if not typed:
        return set()
    tests = [
        f"count_if(json_type(properties -> {_pointer(name)}) <> 'NULL' AND ({expression}) IS NULL)"
        for name, expression in typed.items()
    ]
    counts = con.execute(f"SELECT {', '.join(tests)} FROM items").fetchone()  # noqa: S608 - quoted
    assert counts is not None
    return {name for name, count in zip(typed, counts, strict=True) if count}


def _pointer(name: str) -> str:
    """Give the JSON pointer (RFC 6901) of a property as an SQL string."""
    return quote_literal("/" + name.replace("~", "~0").replace("/", "~1"))
