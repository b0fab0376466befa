"""The script of a client: macros of the same names and arguments, whose calls a server runs.

A macro cannot hand a call on, so each writes it as SQL again and sends that text. Every argument becomes an SQL
literal of the type that the function casts it to, whatever characters are in it.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.sql.catalog import SqlObject, sql_object, sql_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Name under which a client attaches the server.
ALIAS = "rasteret"
#: A list that travels beside pixels: DuckDB bounds what a server holds of a result by what it can count, and it
#: counts the bytes of lists but none of BLOBs.
_ROOM = "_rst_room"
_COLUMNS = 116
_DEFAULTS = re.compile(r"(\w+)\s*:=\s*('(?:[^']|'')*'|[^,()\s]+)")

#: How an argument is written; any other one is text.
_WRITERS = {
    "bands": "_rst_list",
    "bbox": "_rst_numbers",
    "collections": "_rst_list",
    "ids": "_rst_list",
    "sortby": "_rst_list",
    "level": "_rst_whole",
    "max_items": "_rst_whole",
    "page_items": "_rst_whole",
    "resolution": "_rst_number",
    "gsd": "_rst_number",
    "size": "_rst_json",
    "stride": "_rst_json",
    "where_valid": "_rst_number",
    "stats": "_rst_list",
    "expressions": "_rst_json",
    "filter": "_rst_json",
    "scales": "_rst_json",
    "offsets": "_rst_json",
    "nodata": "_rst_json",
    "alternate": "_rst_json",
}

_HELPERS = """\
-- How values of arguments are written as SQL.
CREATE OR REPLACE TEMP MACRO _rst_quoted(value) AS '''' || replace(value::VARCHAR, '''', '''''') || '''';
CREATE OR REPLACE TEMP MACRO _rst_text(value) AS coalesce(_rst_quoted(value), 'NULL');
CREATE OR REPLACE TEMP MACRO _rst_whole(value) AS coalesce((value::BIGINT)::VARCHAR, 'NULL');
CREATE OR REPLACE TEMP MACRO _rst_number(value) AS coalesce(_rst_quoted(value::DOUBLE) || '::DOUBLE', 'NULL');
CREATE OR REPLACE TEMP MACRO _rst_numbers(value) AS coalesce(_rst_quoted(value::DOUBLE[]) || '::DOUBLE[]', 'NULL');
CREATE OR REPLACE TEMP MACRO _rst_list(value) AS
    coalesce('from_json(' || _rst_quoted(to_json(value::VARCHAR[])) || ', ''["VARCHAR"]'')', 'NULL');
CREATE OR REPLACE TEMP MACRO _rst_json(value) AS
    coalesce(nullif(_rst_quoted(to_json(value)), '''null''') || '::JSON', 'NULL');
"""

# The bytes of a value are little-endian; DOUBLE holds every intermediate result of the floats exactly.
_VALUES = """\
-- The pixels or the mask of a tile as a list of numbers; decoded here, by the client.
CREATE OR REPLACE TEMP MACRO _rst_bits(pixels, size) AS list_transform(
    regexp_extract_all(hex(pixels), '.{' || 2 * size || '}'),
    lambda g: ('0x' || substr(g, 15, 2) || substr(g, 13, 2) || substr(g, 11, 2) || substr(g, 9, 2)
        || substr(g, 7, 2) || substr(g, 5, 2) || substr(g, 3, 2) || substr(g, 1, 2))::UBIGINT
);
CREATE OR REPLACE TEMP MACRO _rst_signed(bits, width) AS list_transform(
    bits, lambda u: (u::HUGEINT - if(u::HUGEINT >= 1::HUGEINT << (width - 1), 1::HUGEINT << width, 0::HUGEINT))::DOUBLE
);
CREATE OR REPLACE TEMP MACRO _rst_float(bits, exponent_bits, fraction_bits) AS list_transform(
    bits,
    lambda u: if((u >> (exponent_bits + fraction_bits)) & 1::UBIGINT = 1, -1.0, 1.0)::DOUBLE * CASE
        WHEN ((u >> fraction_bits) & ((1::UBIGINT << exponent_bits) - 1)) = (1::UBIGINT << exponent_bits) - 1
        THEN if((u & ((1::UBIGINT << fraction_bits) - 1)) = 0, 'inf'::DOUBLE, 'nan'::DOUBLE)
        WHEN ((u >> fraction_bits) & ((1::UBIGINT << exponent_bits) - 1)) = 0
        THEN (u & ((1::UBIGINT << fraction_bits) - 1))::DOUBLE
            * pow(2.0::DOUBLE, 2 - (1 << (exponent_bits - 1)) - fraction_bits)
        ELSE (1 + (u & ((1::UBIGINT << fraction_bits) - 1))::DOUBLE / pow(2.0::DOUBLE, fraction_bits))
            * pow(2.0::DOUBLE,
                ((u >> fraction_bits) & ((1::UBIGINT << exponent_bits) - 1))::BIGINT + 1 - (1 << (exponent_bits - 1)))
    END
);
CREATE OR REPLACE TEMP MACRO rst_to_list(pixels, dtype) AS CASE dtype
    WHEN 'bool' THEN _rst_bits(pixels, 1)::DOUBLE[]
    WHEN 'uint8' THEN _rst_bits(pixels, 1)::DOUBLE[]
    WHEN 'int8' THEN _rst_signed(_rst_bits(pixels, 1), 8)
    WHEN 'uint16' THEN _rst_bits(pixels, 2)::DOUBLE[]
    WHEN 'int16' THEN _rst_signed(_rst_bits(pixels, 2), 16)
    WHEN 'uint32' THEN _rst_bits(pixels, 4)::DOUBLE[]
    WHEN 'int32' THEN _rst_signed(_rst_bits(pixels, 4), 32)
    WHEN 'uint64' THEN _rst_bits(pixels, 8)::DOUBLE[]
    WHEN 'int64' THEN _rst_signed(_rst_bits(pixels, 8), 64)
    WHEN 'float16' THEN _rst_float(_rst_bits(pixels, 2), 5, 10)
    WHEN 'float32' THEN _rst_float(_rst_bits(pixels, 4), 8, 23)
    WHEN 'float64' THEN _rst_float(_rst_bits(pixels, 8), 11, 52)
    WHEN NULL THEN NULL
    ELSE error('rst_to_list: got dtype ' || dtype || ', expected one of bool, (u)int8 to 64 and float16 to 64')
END;
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a client finds a server.

    Attributes:
        uri: `quack:host:port`.
        token: what the server asks for.
        load: statements that load the extensions.
    """

    uri: str
    token: str
    load: tuple[str, ...] = ("LOAD httpfs", "LOAD quack")


def client_script(endpoint: Endpoint, version: str) -> str:
    """Write what `duckdb -init` reads: it loads the extensions, attaches the server and makes the macros.

    Args:
        endpoint: the server.
        version: of rasteret_sql; the script says it.
    """
    parts = [
        _header(endpoint, version),
        "".join(f"{statement};\n" for statement in endpoint.load),
        (
            f"CREATE OR REPLACE TEMPORARY SECRET {ALIAS} (TYPE quack, TOKEN {quote_literal(endpoint.token)}, "
            f"SCOPE {quote_literal(endpoint.uri)});\n"
            f"ATTACH IF NOT EXISTS {quote_literal(endpoint.uri)} AS {ALIAS};\n"
        ),
        _HELPERS,
        *(_macro(found, endpoint.uri) for found in forwarded()),
        _VALUES,
        *_values_at_points(),
    ]
    return "\n".join(parts)


def _values_at_points() -> Iterator[str]:
    """Give the scalar functions that need lists of values alone, which a client makes by itself."""
    for name in ("_rst_pixel_number", "rst_value"):
        text = sql_object("functions", name).text.replace("_rst_values(", "rst_to_list(")
        yield text.replace("CREATE OR REPLACE MACRO", "CREATE OR REPLACE TEMP MACRO", 1) + ";\n"


def forwarded() -> tuple[SqlObject, ...]:
    """Give the public table functions, which a client sends to the server."""
    return tuple(
        found for found in sql_objects("macros", "functions") if found.is_public and found.kind == "table macro"
    )


def _header(endpoint: Endpoint, version: str) -> str:
    whole = f"FROM {ALIAS}.query($$ SELECT item_id, count(*) FROM read_tiles('s2.parquet') GROUP BY ALL $$)"  # noqa: S608
    text = f"""\
rasteret_sql {version}: a client of {endpoint.uri}. Written by `rasteret-sql serve`. It holds the token of
the server: keep it to yourself. The macros are temporary, and no database file keeps them.
Paths, tables and views that the functions are given are those of the server. It reads and sends all columns,
unless `columns := ['item_id', 'pixels']` says which.
Whole queries run there too: {whole}
"""
    calls = [f"--   {found.name}({', '.join([*found.arguments, 'columns'])})\n" for found in forwarded()]
    return "".join([textwrap.indent(text, "-- "), "--\n", *calls])


def _macro(found: SqlObject, uri: str) -> str:
    arguments = found.arguments
    defaults = _defaults(found)
    listed = ", ".join(f"{name} := {defaults[name]}" if name in defaults else name for name in arguments)
    calls = [
        f"    || '{'' if number == 0 else ', '}{f'{name} := ' if name in defaults else ''}' "
        # Arguments such as `by` are words of DuckDB's grammar.
        f"|| {_WRITERS.get(name, '_rst_text')}({quote_identifier(name)})"
        for number, name in enumerate(arguments)
    ]
    described = f"{found.comment} Grain: {found.grain}. Runs on the server."
    return (  # names and literals are quoted where they are made
        f"{textwrap.fill(described, _COLUMNS, initial_indent='-- ', subsequent_indent='-- ')}\n"  # noqa: S608
        f"CREATE OR REPLACE TEMP MACRO {found.name}({listed}{', ' if listed else ''}columns := NULL) AS TABLE\n"
        f"SELECT COLUMNS(lambda name: name <> {quote_literal(_ROOM)})\n"
        f"FROM quack_query(\n    {quote_literal(uri)},\n"
        f"    'SELECT ' || {_selected(found)} || ' FROM {found.name}('\n" + "\n".join(calls) + "\n    || ')'\n);\n"
    )


def _selected(found: SqlObject) -> str:
    text = "array_to_string(columns::VARCHAR[], ', ')"
    if found.name != "read_tiles":
        return f"coalesce({text}, '*')"
    return f"coalesce({text} || if(regexp_matches({text}, '(?i)pixels|mask'), ', transform AS {_ROOM}', ''), '*')"


def _defaults(found: SqlObject) -> dict[str, str]:
    """The arguments that may be left out, and their values."""
    head = found.text.partition(") AS TABLE")[0]
    return dict(_DEFAULTS.findall(head))


def copy_paste(shell: str, path: str, endpoint: Endpoint) -> Sequence[str]:
    """Give the lines with which a client begins, first that of the shell.

    Args:
        shell: DuckDB's command.
        path: the script for clients.
        endpoint: the server.
    """
    return (
        f"{shell} -init {path}",
        *(f"{statement};" for statement in endpoint.load),
        f"ATTACH {quote_literal(endpoint.uri)} AS {ALIAS} (TOKEN {quote_literal(endpoint.token)});",
        f"FROM {ALIAS}.query($$ FROM datasets() $$);",
    )
