"""What `rasteret-sql sample` and `rasteret-sql zonal` share: their options, and what becomes of their rows."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import (
    add_bands,
    add_datetime,
    add_index,
    add_level,
    add_pixel_size,
    add_scaling,
    refused_crs,
)
from rasteret_sql.apps.output import SUFFIXES, WRITERS
from rasteret_sql.apps.sql import add_result, write_result
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns that say least, in the order in which a narrow table leaves them out.
_SPARED = (
    "collection", "scale", "offset", "window_values", "distance_pixels", "geometry", "geom", "wkt", "wkb", "items",
    "sum", "item_id", "stdev",
)  # fmt: skip
#: Under this name DuckDB shows the rows to whatever writes them.
_ROWS = "rows_of_a_join"


def add_options(command: argparse.ArgumentParser, what: str) -> Any:
    """Add the arguments that both commands have.

    Args:
        command: the command.
        what: "points" or "zones".

    Returns:
        The group of options that say where the rows of the file lie.
    """
    add_index(command)
    command.add_argument(
        what, metavar=what.upper(), help=f"{what}: a Parquet, GeoParquet, CSV or GeoJSON file, or a query"
    )
    add_result(command, {**SUFFIXES, ".geojson": "geojson"})
    command.set_defaults(what=what)
    read = command.add_argument_group("what is read")
    add_bands(read)
    add_datetime(read)
    add_level(read)
    add_pixel_size(read)
    read.add_argument(
        "--expression",
        action="append",
        type=_formula,
        metavar="NAME=FORMULA",
        help='compute a band: "ndvi=(nir - red) / (nir + red)"; may be repeated',
    )
    read.add_argument(
        "--valid-where", metavar="CONDITION", help='leave out pixels where it is not true: "scl IN (4, 5, 6)"'
    )
    read.add_argument("--scale", action="store_true", help="give physical values: value times scale plus offset")
    add_scaling(read)
    read.add_argument(
        "--on-error", default="raise", choices=("raise", "null"), help="raise an error, or give the reason in a column"
    )
    where = command.add_argument_group(what)
    where.add_argument("--geometry-column", metavar="COLUMN", help=f"column of {what} as GEOMETRY, WKB, WKT or GeoJSON")
    where.add_argument("--geometry-crs", metavar="CRS", help=f"CRS of {what} that declare none: EPSG:32643, OGC:CRS84")
    where.add_argument("--crs", type=refused_crs, help=argparse.SUPPRESS)
    return where


def _formula(text: str) -> tuple[str, str]:
    """Split NAME=FORMULA."""
    name, sign, formula = text.partition("=")
    if not sign or not name.strip():
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=FORMULA: ndvi=(nir - red) / (nir + red)")
    return name.strip(), formula


def write_rows(arguments: argparse.Namespace, rows: pa.RecordBatchReader, bar: Any) -> None:
    """Write what was read."""
    from rasteret_sql.apps.geojson import write_geojson
    from rasteret_sql.sql.connection import connect
    from rasteret_sql.sql.vectors import VectorColumns

    columns = VectorColumns(
        arguments.what,
        arguments.geometry_column,
        getattr(arguments, "x_column", None),
        getattr(arguments, "y_column", None),
        crs=arguments.geometry_crs,
    )
    writers: dict[str, Any] = {**WRITERS, "geojson": partial(write_geojson, columns=columns)}
    with connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        found = con.from_arrow(rows).set_alias(_ROWS)
        # Without on_error "null", every row has its values, and no error.
        spared = [*(("error",) if arguments.on_error == "raise" else ()), arguments.geometry_column, *_SPARED]
        columns_there = [name for name in spared if name in found.columns]
        write_result(con, found, arguments, bar, writers=writers, spared=columns_there)


def common(arguments: argparse.Namespace) -> dict[str, Any]:
    """Give the options that both functions have."""
    return {
        "bands": arguments.bands, "datetime": arguments.datetime, "level": arguments.level,
        "resolution": arguments.resolution, "gsd": arguments.gsd, "geometry_column": arguments.geometry_column,
        "geometry_crs": arguments.geometry_crs,
        "expressions": _formulas(arguments.expression), "valid_where": arguments.valid_where,
        "scale": arguments.scale, "scales": arguments.scales, "offsets": arguments.offsets,
        "on_error": arguments.on_error,
    }  # fmt: skip


def _formulas(given: list[tuple[str, str]] | None) -> dict[str, str] | None:
    """Give formulas by name.

    Raises:
        InvalidArgumentError: a name is given twice.
    """
    found = dict(given or ())
    if len(found) < len(given or ()):
        names = [name for name, _ in given or ()]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidArgumentError(f"--expression: got the name {twice!r} twice, expected each name once")
    return found or None
