"""The page of the SQL functions, from the files of `sql/`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rasteret_sql as rs
from generators.tables import MADE, Column, column_table, columns_of, table
from rasteret_sql.apps.function_help import EXAMPLES, argument_meanings
from rasteret_sql.database.sqlfiles import sql_file
from rasteret_sql.sql.catalog import sql_objects

if TYPE_CHECKING:
    from rasteret_sql.sql.catalog import SqlObject

#: What columns mean that no schema file lists.
_COLUMNS: dict[str, dict[str, str]] = {
    "tile_plan": {
        "mirror": "path or URL that is read instead of href, or NULL",
        "tile_offset": "bytes from the start of the file; 0: sparse",
        "tile_byte_count": "bytes as stored; 0: sparse",
        "mask_kind": "source of the mask: 'mask', 'nodata', 'alpha', or NULL if all pixels are valid",
        "mask_tiles": "the tiles of the internal mask or of the alpha band that lie over this tile",
        "request": "number of its range request; NULL: sparse",
    },
    "explain_read": {
        "collection": "STAC collection id; NULL in the total",
        "band": "the requested name of the band, or 'total'",
        "items": "items with the band",
        "files": "files to read",
        "tiles": "tiles to read",
        "sparse_tiles": "tiles without bytes in the file",
        "requests": "range requests, after coalescing",
        "tile_bytes": "compressed, as stored",
        "request_bytes": "including gaps inside requests",
        "pixel_bytes": "decoded",
    },
    "read_stats": {
        "valid_count": "valid pixels that are numbers",
        "valid_share": "the same as a share of all pixels of the tile",
        "min": "smallest value",
        "max": "largest value",
        "sum": "of values; rounded beyond 2^53, where the file has the exact integer",
        "sumsq": "of squared values; rounded likewise",
        "mean": "sum / valid_count",
        "stdev": "of the population",
        "classes": "number of pixels by value; NULL without a histogram",
    },
    "items": {
        "assets": "keys of its assets in the index",
        "bands": "names of its bands in `read_tiles`",
        "crs": "CRS of its files; NULL if they differ",
        "files": "number of its files in the index",
        "file_bytes": "total size of these files; unknown sizes do not count",
    },
}
#: What the comment over an example says that it needs.
_EXAMPLE_NEEDS = {"stac_search": "rustac"}
#: The schema files of results. DuckDB describes the results of all other functions.
_SCHEMAS = {
    "read_tiles": "tiles", "sample_points": "samples",
    "zonal_stats": "zonal_stats",
    "read_pixels": "pixels", "chips": "chips",
    "shards": "shards", "read_shard": "tiles", "read_shard_chips": "shard_chips",
    "stac_search": "stac_assets", "stac_items": "stac_assets", "datasets": "datasets"
}  # fmt: skip
#: Columns that carry arguments, and join results to the rows of a vector table.
_HIDDEN = frozenset({"_call", "rst_row", "rst_key"})
#: Notes below the columns.
_NOTES = {
    "read_pixels": "With layout 'wide', a column of type DOUBLE for each name in `bands` replaces the columns "
    "`band` and `value`.",
    "sample_points": "The columns of the points precede these. A point outside all files has no row. Neither has a "
    "point without coordinates. [Points, zones and pixels](how-to/points-zones-pixels.md) has more.",
    "zonal_stats": "The columns of the zones precede these. The result has only the statistics in `stats`. A zone that "
    "touches no file has no row. [Points, zones and pixels](how-to/points-zones-pixels.md) has more.",
    "chips": "`valid_share` needs pixels: a query that selects it, or gives `where_valid`, reads them. All other "
    "queries fetch nothing. If the bands of an item have several resolutions, windows are those of its finest grid.",
    "shards": "The column `shard` has what `read_shard` takes and, with `chips`, `read_shard_chips`. "
    "[Shards](how-to/shards.md) has more.",
    "read_shard": "One read of all shards gives the rows of `read_tiles`, and sends its requests.",
    "items": 'Item properties (`"eo:cloud_cover"`, ...) follow `end_datetime`, one column each.',
}
#: Types that no cast says.
_TYPES = {
    "read_shard": {"shard": "BLOB"},
    "read_shard_chips": {"shard": "BLOB"},
    "rst_credentials": {"prefix": "VARCHAR", "settings": "MAP(VARCHAR, VARCHAR)"},
    "rst_to_list": {"pixels": "BLOB", "dtype": "VARCHAR"},
    "rst_stats": {"pixels": "BLOB", "dtype": "VARCHAR", "nodata": "DOUBLE", "mask": "BLOB"},
    "rst_histogram": {"pixels": "BLOB", "dtype": "VARCHAR", "nodata": "DOUBLE", "mask": "BLOB"},
    "rst_normalized_difference": {
        "first_pixels": "BLOB", "first_dtype": "VARCHAR", "second_pixels": "BLOB", "second_dtype": "VARCHAR"
    },
    "rst_value": {
        "pixels": "BLOB", "dtype": "VARCHAR", "width": "INTEGER", "transform": "DOUBLE[]", "x": "DOUBLE", "y": "DOUBLE"
    },
}  # fmt: skip
_HEADER_COLUMNS = """\
It has the columns of [the index](schema.md). The source may provide `collection`, `item_id`, `asset`, `datetime`,
`start_datetime`, `end_datetime`, `geometry`, `mirror` and `bands`. Without `item_id`, the name of the file is the id,
and without `asset`, the asset is "data". Further columns of the source precede `geometry`. The exceptions are
`band_lists` and `proj` of `stac_search`, which are compared with headers. `COPY` writes the result as an index."""
_SQL_INTRO = """\
# SQL functions

`rasteret_sql.connect()` opens a DuckDB connection with these functions. `rasteret_sql.install(con)` adds them to an
open connection, and `rasteret-sql sql` runs SQL with them. Table functions follow `FROM`. The index is the first
argument, and all other arguments have names, with `:=`. Arguments are constants or prepared parameters. A value that
changes from row to row is refused, because a read is planned before it starts.

An index is a table or view, or a Parquet path, folder, glob or URL. `tile_plan` and `explain_read` are plain SQL. They
also take CTEs and temporary tables, and a folder only with a trailing slash. Without Python (`rasteret-sql macros`),
they plan the tiles that the bounds of each point, line and ring of a `geometry` touch. These are all tiles of a read,
and possibly more. `read_tiles` runs on a separate connection, and cannot see CTEs, temporary tables or uncommitted
rows. If the query around it sees other rows of the index, that is an error. The rows of a table macro in the
text of an index, and of views that draw a random sample, are not compared. `read_tiles` takes the text of a query
instead of a CTE, such as `$$FROM 's2.parquet' WHERE "eo:cloud_cover" < 10$$`. The points of `sample_points` and the
zones of `zonal_stats` are always compared, row by row: a view of them that draws a random sample is refused.

A name in `bands` is looked up in this order: an asset key (`red`: all bands of that asset), a band inside an asset
(`visual:red`, `visual:1`), a band name, a common name, a band number. The first step with a match decides. Two matches
in this step are an error that lists both.

A query without `pixels` fetches no pixels, `mask` fetches only the bytes of masks, and `LIMIT` ends the read.
Conditions in `WHERE` decide which tiles are fetched, if DuckDB passes them on: see
[below](#which-conditions-decide-what-is-fetched).
"""
#: What tests/sql/test_pruning.py measures.
_CONDITIONS = """\
## Which conditions decide what is fetched

Conditions in `WHERE` decide what is fetched if DuckDB passes them to the read. It passes comparisons of a column with
constants. It applies all other conditions itself, after every tile was fetched. The rows are the same.

| Condition on `read_tiles` | DuckDB 2.0 | DuckDB 1.5 |
|---|---|---|
| `item_id = 'A'` | prunes | prunes |
| `item_id <> 'A'` | prunes | prunes |
| `item_id IN ('A', 'B')` | prunes | prunes |
| `item_id >= 'B' AND asset = 'red'` | prunes | prunes |
| `datetime >= '2024-01-02'` | prunes | prunes |
| `datetime BETWEEN '2024-01-02' AND '2024-01-03'` | prunes | prunes |
| `date_trunc('day', datetime) = '2024-01-02'::TIMESTAMPTZ` | prunes | prunes |
| `tile_row = 0 AND tile_col = 1` | prunes | prunes |
| `item_id = 'A' OR item_id = 'B'` | prunes | prunes |
| `tile_row = 0 OR item_id = 'B'` | prunes | reads all |
| `NOT (item_id = 'A' AND asset = 'red')` | prunes | reads all |
| `collection IS NULL` | prunes | reads all |
| `scale IS NOT NULL` | reads all | reads all |
| `bounds.xmin < 601000` | prunes | prunes |
| `bounds.xmin > 601000` | reads all | prunes |
| `nodata > 5` | reads all | reads all |
| `item_id LIKE 'A%'` | reads all | prunes |
| `item_id IN (SELECT 'A')` | reads all | prunes |
| `item_id LIKE '%A'` | reads all | reads all |
| `starts_with(item_id, 'A')` | reads all | reads all |
| `upper(item_id) = 'A'` | reads all | reads all |
| `datetime::DATE = '2024-01-02'` | reads all | reads all |
| `year(datetime) = 2023` | reads all | reads all |
| `tile_row > tile_col` | reads all | reads all |
| `tile_row % 2 = 1` | reads all | reads all |

An area that touches no file is an error in every function that takes one, with or without Python: most often, latitude
and longitude are swapped. A period without files gives 0 rows. The command line and the shell then add a line that says
which argument left nothing, and which times the index has.

Conditions on `pixels`, `mask` and `error` need the bytes of the tiles that the other conditions leave. A join reduces
nothing. Three ways always prune: the arguments `bands`, `bbox`, `geometry` and `datetime`; a query as the index, with
any condition, such as `read_tiles($$FROM 's2.parquet' WHERE item_id LIKE 'S2A%' AND year(datetime) = 2024$$)`; and a
view of such a query. `EXPLAIN` shows a condition that DuckDB keeps as a filter over the Arrow scan, and a condition
that it passes on in the `Filters` of the scan. In `rasteret-sql shell`, `.explain` counts tiles, requests and bytes of
any query. `explain_read` and `tile_plan` count the tiles of the arguments and the index, before conditions on their
rows. Tiles that lie apart in a file take a request each. So a condition can take more requests than the whole file,
but never more bytes.
"""
_ORDER = (
    "read_tiles",
    "read_pixels",
    "sample_points",
    "zonal_stats",
    "chips",
    "read_stats",
    "shards",
    "read_shard",
    "read_shard_chips",
    "tile_plan",
    "explain_read",
    "items",
    "stac_search",
    "stac_items",
    "datasets",
    "read_headers",
    "rst_credentials",
    "rst_to_list",
    "rst_stats",
    "rst_histogram",
    "rst_normalized_difference",
    "rst_value",
)


#: Argument that the functions have to say what to write in its place.
_REFUSED = "crs"
_PARAMETERS = re.compile(r"MACRO \w+\((?P<inside>.*?)\) AS\b", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    type: str
    default: str
    meaning: str


def sql_page() -> str:
    """The public SQL functions: headers, parameters and columns."""
    public = {found.name: found for found in sql_objects("macros", "functions") if found.is_public}
    names = [name for name in _ORDER if name in public]
    names += sorted(public.keys() - set(names))
    rows = [(f"[`{name}`](#{name})", public[name].comment) for name in names]
    listed = table(("Function", "What it gives"), rows) + "\n"
    functions = [_function(public[name], public["read_tiles"]) for name in names]
    return "\n".join([MADE, _SQL_INTRO, listed, *functions, _CONDITIONS])


def _function(macro: SqlObject, typed: SqlObject) -> str:
    parameters = _parameters(macro, typed)
    parts = [f"## {macro.name}", macro.comment]
    if macro.kind == "table macro":
        parts.append(f"Grain: {macro.grain}.")
    if parameters:
        rows = [
            (
                f"`{one.name}`",
                f"`{one.type}`" if one.type else "",
                f"`{one.default}`" if one.default else "",
                one.meaning,
            )
            for one in parameters
        ]
        parts.append(table(("Argument", "Type", "Default", "Meaning"), rows))
    if macro.name == "read_headers":
        parts.append(_HEADER_COLUMNS)
    elif macro.kind == "table macro":
        parts.append(column_table(_columns_given(macro.name)))
    if macro.name in _NOTES:
        parts.append(_NOTES[macro.name])
    if macro.name in EXAMPLES:
        needs = f"<!-- needs: {_EXAMPLE_NEEDS[macro.name]} -->\n" if macro.name in _EXAMPLE_NEEDS else ""
        parts.append(f"{needs}```sql\n{EXAMPLES[macro.name]}\n```")
    return "\n\n".join(parts) + "\n"


def _parameters(macro: SqlObject, typed: SqlObject) -> list[_Parameter]:
    head = _PARAMETERS.search(macro.text)
    assert head is not None, f"{macro.name}: a macro whose parameters docs/generators/sql_functions.py cannot read"
    meanings = argument_meanings(macro)
    parameters = []
    for parameter in filter(None, map(str.strip, head["inside"].split(","))):
        name, _, default = (part.strip() for part in parameter.partition(":="))
        if name == _REFUSED:
            continue
        parameters.append(_Parameter(name, _type_of(name, macro, typed), default, meanings.get(name, "")))
    return parameters


def _type_of(name: str, macro: SqlObject, typed: SqlObject) -> str:
    """What the SQL casts an argument to; that of `read_tiles` where this one hands it on as it is."""
    if name in _TYPES.get(macro.name, {}):
        return _TYPES[macro.name][name]
    for text in (macro.text, typed.text):
        cast = re.search(rf"\b{name}(?:\))?::([A-Z]+(?:\[\])?)", text)
        if cast is not None:
            return cast[1]
    return "VARCHAR" if f"query_table({name})" in macro.text else ""


def _columns_given(name: str) -> list[Column]:
    if name in _SCHEMAS:
        columns = columns_of(sql_file(f"schema/{_SCHEMAS[name]}.sql"))
        return [one for one in columns if one.name not in _HIDDEN]
    with rs.connect() as con:
        # What the functions read whose columns no schema file lists.
        read = "tile_statistics" if name == "read_stats" else "asset_index"
        con.execute(sql_file(f"schema/{read}.sql"))
        given = con.sql(f"DESCRIBE FROM {name}('{read}')").fetchall()
    listed = [*columns_of(sql_file("schema/asset_index.sql")), *columns_of(sql_file("schema/tiles.sql"))]
    meanings = {one.name: one.meaning for one in listed} | _COLUMNS.get(name, {})
    return [Column(row[0], row[1], meanings.get(row[0], "")) for row in given]
