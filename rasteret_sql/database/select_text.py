"""Text of SQL that a read runs: exactly one SELECT that only reads, as DuckDB's own parser sees it.

A text comes from a caller, a hand-off file, the metadata of an index or a session. DuckDB parses it, and the parsed
tree is compared with lists of what may be in it: kinds of query nodes, table functions and functions. A list of what
is allowed also refuses what a later DuckDB adds. `WITH x AS (COPY … TO …)` of DuckDB 2, for example, is a SELECT by its
statement type, and writes a file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from rasteret_sql import errors
from rasteret_sql.errors import InvalidIndexError, RasteretError
from rasteret_sql.io.asked import redact_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import duckdb

#: Query nodes that read. All others insert, update, delete or copy, or hold a statement of another type.
_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
#: Table functions of DuckDB that make rows of their arguments alone.
_PURE_TABLE_FUNCTIONS = frozenset(
    {"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"}
)
#: Table functions of DuckDB that read; `serve` restricts which files they may read. All others are refused: some change
#: settings or write, `query` runs a text that nobody has looked at, and some take addresses of memory.
READING_TABLE_FUNCTIONS = _PURE_TABLE_FUNCTIONS | {
    "duckdb_columns", "duckdb_constraints", "duckdb_databases", "duckdb_extensions", "duckdb_functions",
    "duckdb_indexes", "duckdb_keywords", "duckdb_optimizers", "duckdb_schemas", "duckdb_sequences", "duckdb_settings",
    "duckdb_tables", "duckdb_types", "duckdb_views", "glob", "icu_calendar_names", "parquet_bloom_probe",
    "parquet_file_metadata", "parquet_full_metadata", "parquet_kv_metadata", "parquet_metadata", "parquet_scan",
    "parquet_schema", "pg_timezone_names", "pragma_show", "pragma_table_info", "pragma_version", "query_table",
    "read_blob", "read_csv", "read_csv_auto", "read_json", "read_json_auto", "read_json_objects",
    "read_json_objects_auto", "read_ndjson", "read_ndjson_auto", "read_ndjson_objects", "read_parquet", "read_text",
    "sniff_csv", "summary",
}  # fmt: skip
#: Table functions of DuckDB's extensions that read; `serve` does not allow them.
_EXTENSION_READERS = frozenset(
    {
        "delta_scan", "iceberg_metadata", "iceberg_scan", "iceberg_snapshots", "mysql_scan", "postgres_scan",
        "read_avro", "read_duckdb", "read_xlsx", "sqlite_scan", "st_read", "st_read_meta", "st_readosm", "st_readshp",
    }
)  # fmt: skip
#: Functions that do more than give a value, or that run or bind another text.
REFUSED_FUNCTIONS = frozenset(
    {
        "_rst_credentials", "getenv", "json_serialize_plan", "nextval", "rst_credentials", "set_config", "setseed",
        "setval", "write_log",
    }
)  # fmt: skip
#: Functions that tell of the process, its settings or secrets. A text of somebody else has no use for them.
_TELLING_FUNCTIONS = frozenset(
    {"current_query", "current_setting", "currval", "getvariable", "sleep_ms", "which_secret"}
)
_TRANSACTION = re.compile(
    r"\s*(?:BEGIN|COMMIT|ROLLBACK|ABORT)(?:\s+TRANSACTION)?(?:\s+READ\s+ONLY)?\s*;?\s*", re.IGNORECASE
)
_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PARQUET = re.compile(r".+\.(?:parquet|parq|geoparquet)", re.IGNORECASE | re.DOTALL)
_PREFIX = re.compile(
    r"^(?:[A-Z][A-Za-z ]+ Error: |Python exception occurred while executing the UDF: |[A-Z][A-Za-z]+Error: )+"
)
#: Characters of a text that a message shows.
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Parts:
    """What a parsed SELECT holds, each by its name in lower case; "" stands for a name that the parser does not give.

    Attributes:
        query_nodes: types of its query nodes.
        table_functions: functions in FROM.
        functions: functions everywhere.
        tables: tables, views and files in FROM, with catalog and schema where they are written; not in lower case.
        ctes: names that WITH gives.
        shows: whether it holds DESCRIBE, SHOW or SUMMARIZE.
    """

    query_nodes: set[str] = field(default_factory=set)
    table_functions: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    ctes: set[str] = field(default_factory=set)
    shows: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """The tables that a text of somebody else may read.

    Attributes:
        tables: their names.
        parquet: whether it may also read Parquet files that it names.
    """

    tables: frozenset[str]
    parquet: bool = False


def require_select(
    con: duckdb.DuckDBPyConnection,
    text: str,
    what: str,
    *,
    rows: str = "rows of an index",
    scope: Scope | None = None,
    error: type[RasteretError] = InvalidIndexError,
) -> str:
    """Give the text of one SELECT that only reads, without the semicolon at its end.

    Args:
        con: any connection; its parser is used, and its table macros may be called.
        text: the text.
        what: how a message calls the text, such as "index".
        rows: what the SELECT is to give, for messages.
        scope: what the text may read where it is somebody else's; None where the caller wrote it.
        error: the type of the error.

    Returns:
        The text. Where it is put between parentheses, each of them stands on a line of its own: see `nested`.

    Raises:
        RasteretError: of the type `error`: the text is no SQL, is not exactly one SELECT, or does more than read.
    """
    expected = f"one query that gives {rows}: a single SELECT or FROM"
    _checked_tree(con, text, f"{what}: got {shortened(text)}", expected, scope, error)
    return text.strip().rstrip("; \t\r\n")


def require_condition(
    con: duckdb.DuckDBPyConnection,
    text: str,
    what: str,
    *,
    scope: Scope | None = None,
    error: type[RasteretError] = InvalidIndexError,
) -> str:
    """Give the text of a condition, which is one expression and nothing else.

    Args:
        con: any connection; its parser is used.
        text: the text, which goes behind WHERE in parentheses: see `nested`.
        what: how a message calls the text, such as "where".
        scope: as for `require_select`.
        error: the type of the error.

    Raises:
        RasteretError: of the type `error`: the text is no expression, or does more than read.
    """
    expected = 'one condition such as "eo:cloud_cover" < 20'
    # Without parentheses around it, so that "true) OR (x" does not parse; the tree shows that nothing follows it.
    tree = _checked_tree(con, f"SELECT\n{text}\n", f"{what}: got {shortened(text)}", expected, scope, error)
    node = tree["statements"][0]["node"]
    listed = node.get("select_list") or []
    others = ("modifiers", "where_clause", "group_expressions", "group_sets", "having", "sample", "qualify")
    is_alone = (
        node.get("type") == "SELECT_NODE"
        and len(listed) == 1
        and not listed[0].get("alias")
        and (node.get("from_table") or {}).get("type") == "EMPTY"
        and not (node.get("cte_map") or {}).get("map")
        and not any(node.get(name) for name in others)
    )
    if not is_alone or not _is_sql(con, f"SELECT {nested(text)}"):
        raise error(f"{what}: got {shortened(text)}, expected {expected}")
    return text


def nested(text: str) -> str:
    """Put a checked text between parentheses; a comment at its end does not hide the second one."""
    return f"(\n{text}\n)"


def message_of(error: Exception) -> str:
    """Give what a DuckDB error says, without the names of its kind and without signatures of URLs."""
    text = _PREFIX.sub("", str(error).strip())
    return redact_text(" ".join(text.partition("\n\nLINE ")[0].split()))


def plain_message(message: str) -> str:
    """Leave of DuckDB's message about an error of ours only our message; others stay as they are."""
    found = _our_error().search(message)
    if found is not None:
        return message[found.end() :].strip()
    # What error() in a macro of ours says: identity, got, expected.
    return re.sub(r"^(?:Invalid Input Error: )+(?=\w+: got )", "", message).strip()


@cache
def _our_error() -> re.Pattern[str]:
    names = [
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, RasteretError)
    ]
    return re.compile(rf"\b(?:rasteret_sql\.errors\.)?(?:{'|'.join(names)}): ")


def shortened(text: str) -> str:
    """Quote the beginning of a text for a message, without signatures of URLs."""
    text = redact_text(text)
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def is_admitted(query: str, tree: str, macros: Collection[str]) -> bool:
    """Whether a statement of a served session may run.

    Args:
        query: its text.
        tree: what `json_serialize_sql` gives for the text without EXPLAIN.
        macros: names of table macros that may be called.
    """
    if _TRANSACTION.fullmatch(query) is not None:
        return True
    try:
        parsed = json.loads(tree)
        return (
            parsed.get("error") is False
            and bool(parsed.get("statements"))
            and _fault(parts_of(parsed), None, lambda: macros, readers=READING_TABLE_FUNCTIONS) is None
        )
    except (ValueError, AttributeError, RecursionError):
        return False


def objects_of(tree: Any) -> Iterator[dict[str, Any]]:
    """Give all JSON objects of a tree, the tree itself first where it is one."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            yield value
            waiting += value.values()


def parts_of(tree: Any) -> Parts:
    """Find what a tree of `json_serialize_sql` holds."""
    parts = Parts()
    shows = False
    for value in objects_of(tree):
        kind = value.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE"):
            parts.query_nodes.add(kind)
        if kind == "TABLE_FUNCTION":
            parts.table_functions.add(str((value.get("function") or {}).get("function_name") or "").lower())
        if kind == "BASE_TABLE":
            path = (value.get("catalog_name"), value.get("schema_name"), value.get("table_name") or "")
            parts.tables.add(".".join(str(part) for part in path if part))
        if value.get("class") == "FUNCTION":
            parts.functions.add(str(value.get("function_name") or "").lower())
        shows = shows or kind == "SHOW_REF"
        named = value.get("cte_map")
        parts.ctes.update(str(each.get("key")) for each in (named or {}).get("map") or ())
    return Parts(parts.query_nodes, parts.table_functions, parts.functions, parts.tables, parts.ctes, shows)


def _checked_tree(
    con: duckdb.DuckDBPyConnection,
    text: str,
    got: str,
    expected: str,
    scope: Scope | None,
    error: type[RasteretError],
) -> dict[str, Any]:
    """Parse a text and give its tree, where it is one SELECT that only reads."""
    import duckdb

    try:
        # DuckDB's binding takes no lone surrogates, and says so by a TypeError.
        text.encode()
        statements = con.extract_statements(text)
        is_one = len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT
        tree = _parsed(con, text) if is_one else {}
    except UnicodeEncodeError as reason:
        raise error(f"{got}, which is no Unicode text; expected {expected}") from reason
    except duckdb.Error as reason:
        raise error(f"{got}, which does not run: {message_of(reason)}; expected {expected}") from reason
    if tree.get("error") is not False or len(tree.get("statements") or ()) != 1:
        raise error(f"{got}, expected {expected}")
    fault = _fault(parts_of(tree), scope, lambda: table_macros(con))
    if fault is not None:
        remedy = (
            "Run it yourself and pass the rows: con.sql(...)"
            if scope is None
            else "Review the file, and pass trust=True if you trust whoever wrote it"
        )
        raise error(f"{got} with {fault}, expected one SELECT that only reads. {remedy}")
    return tree


def _is_sql(con: duckdb.DuckDBPyConnection, text: str) -> bool:
    """Whether a text is one statement."""
    import duckdb

    try:
        return len(con.extract_statements(text)) == 1
    except duckdb.Error:
        return False


def _fault(
    parts: Parts,
    scope: Scope | None,
    macros: Any,
    *,
    readers: Collection[str] = READING_TABLE_FUNCTIONS | _EXTENSION_READERS,
) -> str | None:
    """Say what in a SELECT does more than read, or reads what it may not; None where there is nothing."""
    if others := parts.query_nodes - _QUERY_NODES:
        return f"a statement inside it ({', '.join(sorted(each.partition('_')[0] for each in others))})"
    if scope is not None:
        return _fault_of_foreign(parts, scope)
    if refused := parts.functions & REFUSED_FUNCTIONS:
        return f"the function {', '.join(sorted(refused))}"
    unknown = parts.table_functions.difference(readers)
    if unknown and (unknown := unknown.difference(macros())):
        return f"the table function {', '.join(sorted(unknown))}"
    return None


def _fault_of_foreign(parts: Parts, scope: Scope) -> str | None:
    """Say what in the SELECT of somebody else is beyond its scope."""
    if refused := parts.functions & (REFUSED_FUNCTIONS | _TELLING_FUNCTIONS):
        return f"the function {', '.join(sorted(refused))}"
    if refused := parts.table_functions - _PURE_TABLE_FUNCTIONS:
        return f"the table function {', '.join(sorted(refused))}"
    if parts.shows:
        return "DESCRIBE, SHOW or SUMMARIZE"
    # DuckDB looks for a file where no table of a name is in scope, so a name that WITH gives must be none of a file.
    named = {name for name in parts.ctes if _PLAIN_NAME.fullmatch(name)} | scope.tables
    known = {name.lower() for name in named}
    for table in sorted(parts.tables):
        if table.lower() not in known and not (scope.parquet and _PARQUET.fullmatch(table)):
            return f"the table or file {shortened(table)}"
    return None


def _parsed(con: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    ((tree,),) = con.execute("SELECT json_serialize_sql($1::VARCHAR)", [text]).fetchall()
    try:
        found = json.loads(tree)
    except RecursionError:
        return {}
    return found if isinstance(found, dict) else {}


def table_macros(con: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Give the names of the table macros of a connection, in lower case."""
    rows = con.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type = 'table_macro'"
    ).fetchall()
    return frozenset(name for (name,) in rows)
