"""What `read_headers` needs in a database: its function in Python, made without importing what that needs."""

from __future__ import annotations

from typing import Any

import duckdb
from duckdb.func import FunctionNullHandling, PythonUDFType

from rasteret_sql.index.schema import column_types
from rasteret_sql.index.sqlfiles import quote_identifier, quote_literal

#: What the macro gives the function, all of it as text.
_GIVEN = ("href", "mirror", "item_id", "asset", "geometry", "bands", "band_lists", "proj", "on_error", "build")
#: Index columns that the macro takes from its source.
OF_SOURCE = frozenset({"collection", "item_id", "asset", "datetime", "start_datetime", "end_datetime"})
#: Index columns that the function does not give.
NOT_OF_HEADERS = OF_SOURCE | {"geometry", "reach"}
#: Columns of the source that are no properties, and no columns of an index.
_CONSUMED = ("band_lists", "proj")


def register(con: duckdb.DuckDBPyConnection, suffix: str, qualifier: str) -> None:
    """Make the function in the database of a connection, and the macro that lists the columns of an index.

    Args:
        con: the connection.
        suffix: what the function's name ends with.
        qualifier: catalog and schema of the macro.
    """
    columns = column_types(con)
    names = ", ".join(quote_literal(name) for name in [*columns, *_CONSUMED])
    con.execute(f"CREATE OR REPLACE MACRO {qualifier}_rst_index_columns() AS [{names}]")
    con.execute(
        f"COMMENT ON MACRO {qualifier}_rst_index_columns IS "
        f"'Names that are no properties: the columns of an index, and what read_headers uses up. Grain: one value.'"
    )
    fields = ", ".join(
        f"{quote_identifier(name)} {kind}" for name, kind in columns.items() if name not in NOT_OF_HEADERS
    )
    con.create_function(
        f"_rstpy_read_headers{suffix}",
        _header_rows,
        [duckdb.sqltype(f"STRUCT({', '.join(f'{name} VARCHAR' for name in _GIVEN)})")],
        duckdb.sqltype(f"STRUCT(geometry BLOB, columns STRUCT({fields}))"),
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
        # So that a condition on what it gives is no reason to call it twice.
        side_effects=True,
    )


def _header_rows(files: Any) -> Any:  # Any: duckdb evaluates annotations, and pyarrow is imported only now
    from rasteret_sql.sql.header_rows import header_rows

    return header_rows(files)
