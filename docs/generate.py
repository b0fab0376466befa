"""Writes the reference pages from what they describe: SQL files, schemas, docstrings and the command line.

`python docs/generate.py` writes them; `--check` writes nothing and fails where one of them is stale.
"""
# ruff: noqa: INP001, T201 - a script, not a module of the package; it talks to a terminal

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasteret_sql as rs
from rasteret_sql import errors
from rasteret_sql.index.sqlfiles import sql_file, sql_folder
from rasteret_sql.sql.catalog import sql_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_sql.sql.catalog import SqlObject

DOCS = Path(__file__).resolve().parent
_MADE = "<!-- Written by docs/generate.py; edit what it describes instead. -->\n"


# --- Schemas -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column, or a field inside one, as a schema file says it."""

    name: str
    type: str
    meaning: str


_NAME_AND_TYPE = re.compile(r'"?(?P<name>\w+)"? (?P<type>.+)')


def columns_of(schema: str) -> list[Column]:
    """Read the columns of a schema file; a field of a struct is named with all that it lies in."""
    lines = [line.strip() for line in schema.splitlines() if not line.startswith("-- ")]
    body = iter(lines[next(n for n, line in enumerate(lines) if line.startswith("CREATE TABLE")) + 1 :])
    return list(_columns(body, ""))


def _columns(lines: Iterator[str], inside: str) -> Iterator[Column]:
    """Give the columns up to the bracket that closes the struct `inside`; its own column comes first."""
    found: list[Column] = []
    for line in lines:
        code, _, meaning = (part.strip() for part in line.partition("-- "))
        code = code.rstrip(",;")
        if code.startswith(")"):
            if inside:
                brackets = code[1:]
                yield Column(inside, f"STRUCT{brackets}", meaning)
                yield from (Column(f"{inside}{brackets}.{one.name}", one.type, one.meaning) for one in found)
            else:
                yield from found
            return
        if code.endswith(" STRUCT("):
            found += _columns(lines, code.removesuffix(" STRUCT("))
            continue
        match = _NAME_AND_TYPE.fullmatch(code)
        assert match is not None, f"a schema line that docs/generate.py cannot read: {line!r}"
        found.append(Column(match["name"], match["type"], meaning))
    raise AssertionError("a schema file that does not end")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)])


def _column_table(columns: Sequence[Column]) -> str:
    return _table(("Column", "Type", "Meaning"), [(f"`{one.name}`", f"`{one.type}`", one.meaning) for one in columns])


# --- SQL -----------------------------------------------------------------------------------------

#: What the columns of tile_plan and explain_read mean that no schema file lists.
_PLAN_COLUMNS = {
    "mirror": "where the bytes are read instead of from href, or NULL",
    "tile_offset": "bytes from the start of the file; 0: sparse",
    "tile_byte_count": "bytes as stored; 0: sparse",
    "mask_kind": "what says which pixels are valid: 'mask', 'nodata', 'alpha', or NULL where all are",
    "mask_tiles": "the tiles of the internal mask or of the alpha band that lie over this tile",
    "request": "number of the range request that fetches it; NULL: sparse",
}
_COST_COLUMNS = {
    "collection": "STAC collection id; NULL in the total",
    "band": "the band as it was asked for, or 'total'",
    "items": "items that have it",
    "files": "files that are read",
    "tiles": "tiles that are read",
    "sparse_tiles": "those of them that no byte is stored for",
    "requests": "range requests, after coalescing",
    "tile_bytes": "compressed, as stored",
    "request_bytes": "with the gaps that are read over",
    "pixel_bytes": "decoded",
}
_EXAMPLES = {
    "read_tiles": """\
SELECT item_id, band_name, tile_row, tile_col, octet_length(pixels) AS pixel_bytes
FROM read_tiles('s2.parquet', bands := ['red', 'nir'], bbox := [77.98, 12.98, 78.00, 13.00])
WHERE datetime >= '2024-02-01';""",
    "tile_plan": """\
SELECT href, tile_row, tile_col, tile_offset, tile_byte_count, request
FROM tile_plan('s2.parquet', bands := ['red'], level := 1);""",
    "explain_read": """\
SELECT band, items, tiles, requests, request_bytes
FROM explain_read('s2.parquet', bands := ['red', 'nir'], datetime := '2024-01/2024-06');""",
    "stac_search": """\
SELECT item_id, asset, datetime, "eo:cloud_cover", href
FROM stac_search('earthsearch/sentinel-2-l2a', bbox := [77.9, 12.9, 78.1, 13.1], datetime := '2024-01/2024-06')
WHERE asset IN ('red', 'nir') AND "eo:cloud_cover" < 20;""",
    "stac_items": """\
SELECT item_id, asset, datetime, "eo:cloud_cover", href
FROM stac_items('demo/collection/catalog.json')
WHERE asset = 'red';""",
    "datasets": """\
SELECT id, collection, authentication, bands FROM datasets() WHERE id LIKE 'earthsearch/%';""",
    "read_headers": """\
WITH assets AS (
    SELECT file AS href, parse_filename(file, true) AS asset, split_part(file, '/', -2) AS item_id
    FROM glob('demo/collection/*/B0?.tif')
)
SELECT item_id, asset, crs, width, height, len(levels) AS levels FROM read_headers(assets);""",
    "rst_to_list": """\
SELECT item_id, tile_row, tile_col, round(list_avg(rst_to_list(pixels, dtype)), 1) AS mean
FROM read_tiles('s2.parquet', bands := ['red'], level := 1);""",
}
#: What the comment over an example says that it needs.
_EXAMPLE_NEEDS = {"stac_search": "rustac"}
_ALTERNATE = "Name of the alternate location that assets are read from, such as 's3', or several, best first."
#: Of functions that give what STAC or the catalog says: the schema file of their columns, and what arguments mean that
#: no Python function of the same name explains.
_SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    "stac_search": (
        "stac_assets",
        {
            "intersects": "GeoJSON, WKT or a GEOMETRY, in longitude and latitude; not together with `bbox`.",
            "datetime": "STAC's forms, both ends inclusive: '2024-01', '2024-01-01/2024-02-15', '../2024'.",
            "filter": "CQL2, as text, or as JSON or a struct.",
            "alternate": _ALTERNATE,
        },
    ),
    "stac_items": (
        "stac_assets",
        {
            "source": "Path, glob or URL of STAC Items, ItemCollections, Catalogs and Collections, which are crawled, "
            "NDJSON or stac-geoparquet.",
            "collection": "Collection of the items that name none.",
            "on_error": "'raise', or 'skip' what cannot be read.",
            "alternate": _ALTERNATE,
        },
    ),
    # No schema file: its columns are those of an index.
    "read_headers": (
        "",
        {
            "source": "Table, view, CTE or Parquet path with column href; relative ones lie in the working directory.",
            "on_error": "'raise' (also NULL), 'skip', or 'null' for rows without levels, whose notes say why.",
        },
    ),
    "datasets": (
        "datasets",
        {"folder": "Entries of your own; by default the folder that RASTERET_SQL_DATASETS names."},
    ),
}
_HEADER_COLUMNS = """\
Its columns are those of [the index](schema.md). `collection`, `item_id`, `asset`, `datetime`, `start_datetime`,
`end_datetime`, `geometry`, `mirror` and `bands` are taken from the source where it has them; a file without `item_id`
is called by its name, and a file without `asset` is "data". All further columns of the source stand before `geometry`,
except `band_lists` and `proj`, which `stac_search` gives and headers are compared with. What `COPY` writes of it is an
index."""
_SQL_INTRO = """\
# SQL functions

`rasteret_sql.connect()` opens a DuckDB connection that has these functions, and `rasteret_sql.install(con)` puts
them into one that is open; `rasteret-sql sql` runs SQL with them. Table functions are written after `FROM`, the index
first, the other arguments by name with `:=`. Their arguments are constants or prepared parameters; a value that
changes from row to row is refused, for a read is planned before it starts.

An index is named as a table or view, or as a Parquet path, folder, glob or URL. `tile_plan` and `explain_read` are
plain SQL, and take CTEs and temporary tables too, but a folder only with a slash at its end. `read_tiles` runs beside
the query that it is part of, so it sees no CTE, no temporary table and no uncommitted row; it takes the text of a query
instead, such as `$$FROM 's2.parquet' WHERE "eo:cloud_cover" < 10$$`.

A name in `bands` is looked up in this order: an asset key (`red`: all bands of that asset), a band inside an asset
(`visual:red`, `visual:1`), a band name, a common name, a band number. A name that fits two things in the first tier
in which it fits at all is an error that lists them.

Conditions in `WHERE` on columns other than `pixels`, `mask` and `error` decide what is fetched. A query that does not
select `pixels` fetches none, `mask` costs only what masks need, and `LIMIT` ends the reading.
"""
_ORDER = (
    "read_tiles",
    "tile_plan",
    "explain_read",
    "stac_search",
    "stac_items",
    "datasets",
    "read_headers",
    "rst_to_list",
)


def sql_page() -> str:
    """The public SQL functions: headers, parameters and columns."""
    public = {found.name: found for found in sql_objects("macros", "functions") if found.is_public}
    assert set(_ORDER) == set(public), f"SQL functions that the page does not order: {sorted(public)}"
    described = [_function(public[name], public["read_tiles"]) for name in _ORDER]
    return "\n".join([_MADE, _SQL_INTRO, *described])


def _function(macro: SqlObject, typed: SqlObject) -> str:
    if macro.kind != "table macro":
        return _scalar_function(macro)
    return _source_function(macro) if macro.name in _SOURCES else _table_function(macro, typed)


def _source_function(macro: SqlObject) -> str:
    head = re.search(r"MACRO \w+\((.*?)\) AS TABLE", macro.text, re.DOTALL)
    assert head is not None
    schema, meanings = _SOURCES[macro.name]
    if hasattr(rs, macro.name):
        meanings = _sections(inspect.getdoc(getattr(rs, macro.name)) or "").items.get("Args", {}) | meanings
    rows = []
    for parameter in head[1].split(","):
        name, _, default = (part.strip() for part in parameter.partition(":="))
        cast = re.search(rf"\b{name}(?:\))?::([A-Z]+(?:\[\])?)", macro.text)
        # A name that stands in query_table() alone can have no cast.
        assert cast is not None or f"query_table({name})" in macro.text, f"{macro.name}: no type is known of {name}"
        kind = cast[1] if cast is not None else "VARCHAR"
        rows.append((f"`{name}`", f"`{kind}`", f"`{default}`" if default else "", _sentence(meanings[name])))
    columns = _column_table(columns_of(sql_file(f"schema/{schema}.sql"))) if schema else _HEADER_COLUMNS
    needs = f"<!-- needs: {_EXAMPLE_NEEDS[macro.name]} -->\n" if macro.name in _EXAMPLE_NEEDS else ""
    return f"""\
## {macro.name}

{macro.comment}

Grain: {macro.grain}.

{_table(("Argument", "Type", "Default", "Meaning"), rows)}

{columns}

{needs}```sql
{_EXAMPLES[macro.name]}
```
"""


def _scalar_function(macro: SqlObject) -> str:
    return f"""\
## {macro.name}

{macro.comment}

```sql
{_EXAMPLES[macro.name]}
```
"""


def _table_function(macro: SqlObject, typed: SqlObject) -> str:
    head = re.search(r"MACRO \w+\((.*?)\) AS TABLE", macro.text, re.DOTALL)
    assert head is not None
    meanings = _sections(inspect.getdoc(rs.read_tiles) or "").items["Args"]
    rows = []
    for parameter in head[1].split(","):
        name, _, default = (part.strip() for part in parameter.partition(":="))
        cast = re.search(rf"\b{name}::([A-Z]+(?:\[\])?)", typed.text)
        assert cast is not None, f"{macro.name}: no type is known of {name}"
        meaning = _sentence(macro.reads.removeprefix("an index: ")) if name == "index" else _in_sql(name, meanings)
        rows.append((f"`{name}`", f"`{cast[1]}`", f"`{default}`" if default else "", meaning))
    return f"""\
## {macro.name}

{macro.comment}

Grain: {macro.grain}.

{_table(("Argument", "Type", "Default", "Meaning"), rows)}

{_column_table(_columns_given(macro.name))}

```sql
{_EXAMPLES[macro.name]}
```
"""


def _in_sql(name: str, meanings: dict[str, str]) -> str:
    """Say in SQL's words what the Python argument of the same name means."""
    if name == "geometry":
        return "GeoJSON, WKT, or WKB as a BLOB or hexadecimal digits, in `crs`."
    text = meanings[name].replace('"', "'").replace("None for all", "NULL for all")
    return re.sub(r"[,;] or None\.$", ".", text)


def _columns_given(name: str) -> list[Column]:
    tiles = {one.name: one for one in columns_of(sql_file("schema/tiles.sql")) if one.name != "_call"}
    if name == "read_tiles":
        return list(tiles.values())
    with rs.connect() as con:
        con.execute(sql_file("schema/asset_index.sql"))
        given = con.sql(f"DESCRIBE FROM {name}('asset_index')").fetchall()
    meanings = {key: one.meaning for key, one in tiles.items()} | _PLAN_COLUMNS
    if name == "explain_read":
        meanings = _COST_COLUMNS
    return [Column(row[0], row[1], meanings[row[0]]) for row in given]


# --- The index -----------------------------------------------------------------------------------

_SCHEMA_INTRO = """\
# The index

One row per asset: one TIFF file of one STAC item. The file is GeoParquet 1.1, sorted by collection, place, time,
item and asset, so that row groups are skipped by place and time. Item properties (`"eo:cloud_cover"`, ...) stand
after `end_datetime`, one column each, NULL where an item has none. Any tool that reads Parquet reads it.

A selection of its rows is an index too: a view, a query, or a file that `COPY` wrote. A read needs the columns
{needed}.
"""
_METADATA = {
    "schema_version": "changes when an older reader would misread the index",
    "version": "of rasteret_sql that built it",
    "definition": "source and options of the build, as JSON",
    "definition_sha256": "hash of these and of the SQL that made the rows",
    "built_at": "UTC",
    "build_seconds": "wall time",
    "failure_count": "files that could not be indexed",
    "failures": "the first thousand of them, as JSON",
}


def schema_page() -> str:
    """The columns of an index, its checks and its metadata."""
    from rasteret_sql.index.schema import METADATA_PREFIX
    from rasteret_sql.index.writing import provenance
    from rasteret_sql.sql.planning import INDEX_COLUMNS

    written = provenance({}, "", (), seconds=0.0)
    metadata = [(f"`{key}`", _METADATA[key.removeprefix(METADATA_PREFIX)]) for key in written]
    metadata.append(("`geo`", "GeoParquet 1.1: WKB in OGC:CRS84, with `bbox` as its covering"))
    checks = [(f"`{path.stem}`", _comment(path)) for path in sorted((sql_folder() / "checks").glob("*.sql"))]
    needed = textwrap.fill(", ".join(f"`{name}`" for name in INDEX_COLUMNS), 118)
    columns = columns_of(sql_file("schema/asset_index.sql"))
    return f"""\
{_MADE}
{_SCHEMA_INTRO.format(needed=needed)}
## Columns

{_column_table(columns)}

## Checks

A build writes nothing when one of these queries, in `sql/checks/`, gives a row.

{_table(("Check", "Claim"), checks)}

## Parquet metadata

{_table(("Key", "Value"), metadata)}
"""


def _comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = re.compile(r"-- (name|kind|grain|reads): ")
    return " ".join(line[3:] for line in lines if line.startswith("-- ") and not header.match(line))


# --- Python --------------------------------------------------------------------------------------

_PYTHON_INTRO = """\
# Python

`import rasteret_sql as rs` imports nothing heavy; each name below is imported when it is first used. `index` is
always *rows of an index*: a DuckDB relation, an Arrow table, a Parquet path, folder, glob or URL, or the text of a
query.
"""
#: Sections of a docstring in the order of the page, and what they are called there.
_TITLES = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Raises": "Raises",
    "Example": "Example",
}
_SECTION = re.compile(rf"^({'|'.join(_TITLES)}):$")
_ITEM = re.compile(r"^    (?P<name>[\w*, ]+): (?P<text>.*)$")


@dataclass(frozen=True, slots=True)
class Sections:
    """A Google-style docstring taken apart: its text, its lists of names, and its other sections."""

    text: str
    items: dict[str, dict[str, str]]
    others: dict[str, str]


def _sections(docstring: str) -> Sections:
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in docstring.splitlines():
        match = _SECTION.match(line)
        if match:
            current = match[1]
            parts[current] = []
        else:
            parts[current].append(line)
    listed: list[str] = [name for name in ("Args", "Attributes", "Raises") if name in parts]
    items = {name: _items(parts.pop(name)) for name in listed}
    text = "\n".join(parts.pop("")).strip()
    return Sections(text, items, {name: inspect.cleandoc("\n".join(lines)) for name, lines in parts.items()})


def _items(lines: Sequence[str]) -> dict[str, str]:
    items: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        match = _ITEM.match(line)
        if match:
            names = [name.strip().lstrip("*") for name in match["name"].split(",")]
            items |= dict.fromkeys(names, match["text"])
        elif line.strip():
            items |= {name: f"{items[name]} {line.strip()}" for name in names}
    return {name: _sentence(text) for name, text in items.items()}


def _sentence(text: str) -> str:
    text = text.rstrip(".") + "."
    return text if text.startswith(("`", '"')) else text[0].upper() + text[1:]


def python_page() -> str:
    """The public names: signatures and docstrings."""
    names = [name for name in rs.__all__ if name != "RasteretError"]
    functions = [name for name in names if inspect.isfunction(getattr(rs, name))]
    classes = [name for name in names if name not in functions]
    return "\n".join(
        [
            _MADE,
            _PYTHON_INTRO,
            "## Functions\n",
            *(_documented(name, getattr(rs, name)) for name in functions),
            "## What they give\n",
            *(_documented(name, getattr(rs, name)) for name in classes),
            _errors(),
            _testing(),
        ]
    )


def _documented(name: str, thing: Any) -> str:
    sections = _sections(inspect.getdoc(thing) or "")
    shown = f"```text\n{_signature(name, thing)}\n```\n" if inspect.isfunction(thing) else ""
    parts = [f"### {name}\n", shown, sections.text + "\n"]
    for section, title in _TITLES.items():
        if section in sections.items:
            lines = [f"* `{key}`: {text}" for key, text in sections.items[section].items()]
            parts.append(f"{title}:\n\n" + "\n".join(lines).replace("<", "&lt;") + "\n")
        elif section in sections.others:
            text = sections.others[section]
            if text.startswith(">>>"):
                parts.append(f"{title}:\n\n```pycon\n{text}\n```\n")
            else:
                parts.append(f"{title}: {' '.join(text.split())}\n".replace("<", "&lt;"))
    return "\n".join(part for part in parts if part)


def _signature(name: str, function: Any) -> str:
    """Write a signature as its source has it; inspect's own text changes between versions of Python."""
    signature = inspect.signature(function)
    lines, seen_star = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not seen_star:
            lines.append("*")
            seen_star = True
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"{stars}{parameter.name}: {parameter.annotation}{default}")
    short = f"{name}({', '.join(lines)}) -> {signature.return_annotation}"
    if len(short) <= 100:
        return short
    return "\n".join([f"{name}(", *(f"    {line}," for line in lines), f") -> {signature.return_annotation}"])


def _errors() -> str:
    tree = inspect.cleandoc(errors.__doc__ or "").splitlines()
    first = next(n for n, line in enumerate(tree) if line.strip() == "RasteretError")
    last = max(n for n, line in enumerate(tree) if "──" in line)
    drawn = inspect.cleandoc("\n".join(tree[first : last + 1]))
    return f"""\
## Errors

All are in `rasteret_sql.errors`, and inherit the builtin in brackets too; `rs.RasteretError` catches every one.
A message says what it is about, what was got, what was expected and what to do. Inside SQL, DuckDB raises an error of
its own whose text ends with the name of ours and its message.

```text
{drawn}
```
"""


def _testing() -> str:
    from rasteret_sql import testing

    rows = []
    for name in testing.__all__:
        first = (inspect.getdoc(getattr(testing, name)) or "").partition("\n")[0]
        rows.append((f"`{name}`", first))
    return f"""\
## Testing

`rasteret_sql.testing` holds what the tests, the demo and the benchmarks write files and serve them with.

{_table(("Name", "What it is"), rows)}
"""


# --- Command line --------------------------------------------------------------------------------

_CLI_INTRO = """\
# Command line

`rasteret-sql COMMAND`, or `python -m rasteret_sql COMMAND`. Results go to stdout; progress, notes and errors to stderr.
"""


def cli_page() -> str:
    """The commands, from their parsers."""
    from rasteret_sql.cli.main import parser

    root = parser()
    (commands,) = (action for action in root._actions if isinstance(action.choices, dict))  # noqa: SLF001
    assert isinstance(commands.choices, dict)
    parts = [_MADE, _CLI_INTRO, _fenced(root.epilog)]
    parts += [_command(command) for command in commands.choices.values()]
    return "\n".join(parts)


def _command(command: argparse.ArgumentParser) -> str:
    actions = [one for one in command._actions if one.dest != "help"]  # noqa: SLF001
    rows = [(f"`{_invocation(one)}`", _help(command, one)) for one in actions]
    usage = " ".join(
        [
            command.prog,
            *(
                _invocation(one, is_short=True) if one.required else f"[{_invocation(one, is_short=True)}]"
                for one in _usage_order(actions)
            ),
        ]
    )
    return "\n".join(
        [
            f"## {command.prog}\n",
            f"{command.description}\n",
            f"```text\n{usage}\n```\n",
            _table(("Argument", "Meaning"), rows) + "\n",
            _fenced(command.epilog),
        ]
    )


def _usage_order(actions: Sequence[argparse.Action]) -> list[argparse.Action]:
    return sorted(actions, key=lambda one: not one.option_strings)


def _invocation(action: argparse.Action, *, is_short: bool = False) -> str:
    metavar = action.metavar
    if metavar is None:
        metavar = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    shown = metavar if isinstance(metavar, str) else " ".join(metavar)
    if not action.option_strings:
        return f"{shown} ..." if action.nargs in {"+", "*"} else shown
    flags = ", ".join(action.option_strings[: 1 if is_short else None])
    return flags if action.nargs == 0 else f"{flags} {shown}"


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": command.prog}


def _fenced(epilog: str | None) -> str:
    return f"```text\n{epilog.strip()}\n```\n" if epilog else ""


# --- Pages ---------------------------------------------------------------------------------------

PAGES = {
    "sql.md": sql_page,
    "schema.md": schema_page,
    "python.md": python_page,
    "cli.md": cli_page,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or say which are stale."""
    arguments = argparse.ArgumentParser(prog="python docs/generate.py", description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="write nothing; fail where a page is stale")
    is_check = arguments.parse_args(argv).check
    stale = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make().rstrip() + "\n"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not is_check:
            path.write_text(text, encoding="utf-8")
    if is_check and stale:
        print(f"{', '.join(stale)}: stale; run python docs/generate.py", file=sys.stderr)
        return 1
    print("\n".join(stale) or "all pages are current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
