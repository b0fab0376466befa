"""The functions of a connection that are written in Python: the geometry room, for SQL, and credentials.

DuckDB calls them from its own threads, so each that works with PROJ runs in the thread for these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence  # noqa: TC003 - duckdb evaluates the annotations of functions it is given
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import AccessDeniedError, InvalidArgumentError
from rasteret_sql.geo.crs import check_crs, in_proj_thread
from rasteret_sql.io import access
from rasteret_sql.io.asked import redact
from rasteret_sql.io.options import credentials
from rasteret_sql.plan.area import Area, area_of_geometry
from rasteret_sql.sql.workarounds import without_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb
    import numpy.typing as npt

Bounds = dict[str, float]

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BOUNDS = "STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE)[]"
_GRID = (
    "STRUCT(width INTEGER, height INTEGER, tile_width INTEGER, tile_height INTEGER, "
    "first_row INTEGER, last_row INTEGER, first_col INTEGER, last_col INTEGER)"
)


def register(con: duckdb.DuckDBPyConnection, suffix: str) -> None:
    """Make the functions in the database of a connection, with a suffix to their names."""
    text = "VARCHAR"
    signatures: list[tuple[str, Callable[..., Any], list[Any], str]] = [
        ("_rstpy_project", project, [_BOUNDS, text, text], _BOUNDS),
        ("_rstpy_pixel_size", pixel_size, ["DOUBLE", text, text, _BOUNDS, text], "DOUBLE"),
        ("_rstpy_geometry_parts", geometry_parts, [text, text], _BOUNDS),
        ("_rstpy_tiles_touched", tiles_touched, [text, text, text, "DOUBLE[]", _GRID], "BIGINT[]"),
    ]
    con.create_function(f"_rstpy_credentials{suffix}", set_credentials, [text, text], text, side_effects=True)
    for name, function, arguments, result in signatures:
        con.create_function(
            f"{name}{suffix}", without_paths(in_proj_thread(function)), arguments, result, side_effects=False
        )


def set_credentials(prefix: str, settings: str) -> str:
    """Set the credentials of one prefix for this process, and give the prefix without what may be secret.

    Args:
        prefix: of addresses.
        settings: their names and values, as a JSON object; an empty one takes them away.

    Raises:
        AccessDeniedError: the process serves clients, who share its credentials.
        InvalidArgumentError: these are no settings of such a store.
    """
    if access.policy() is not None:
        raise AccessDeniedError(
            f"rst_credentials({redact(prefix)}): the credentials of a server hold for all of its clients; expected "
            "a session of your own. Ask who runs the server to set them there."
        )
    given = json.loads(settings)
    if not isinstance(given, dict):
        raise InvalidArgumentError(
            f"rst_credentials({redact(prefix)}): got settings that are no MAP, STRUCT or JSON object; expected for "
            "example MAP {'region': 'us-west-2'}"
        )
    credentials(prefix, **given)
    return redact(prefix)


def project(parts: Sequence[Bounds], from_crs: str, to_crs: str) -> list[Bounds]:
    """Give bounds in one CRS as bounds in another that hold them; see `search_bounds`."""
    from rasteret_sql.geo.project import search_bounds

    check_crs("geometry_crs", from_crs)
    return _structs(search_bounds(_array(parts), from_crs, to_crs).tolist())


def pixel_size(size: float, from_crs: str, to_crs: str, area: Sequence[Bounds], area_crs: str) -> float:
    """Give the size of a pixel in the units of another CRS, at the middle of an area; see `Area.pixel_size`."""
    return Area(area_crs, _array(area)).pixel_size(size, from_crs, to_crs)


def geometry_parts(text: str, crs: str) -> list[Bounds]:
    """Give the bounds of the parts of a geometry, in its own CRS."""
    return _structs(area_of_geometry(text, crs).parts.tolist())


def tiles_touched(
    text: str, crs: str, raster_crs: str, transform: Sequence[float], grid: Mapping[str, int]
) -> list[int]:
    """Give the numbers of the tiles that a geometry touches; see `Area.tiles_in`.

    Args:
        text: the geometry.
        crs: its CRS.
        raster_crs: CRS of the raster.
        transform: affine (a, b, c, d, e, f) of the level.
        grid: size of the level and of its tiles, and the tile rows and columns to look at, last ones included.

    Returns:
        `tile_row * tiles_across + tile_col` of each, ascending.
    """
    shape, tile_shape = (grid["height"], grid["width"]), (grid["tile_height"], grid["tile_width"])
    tiles = grid["first_row"], grid["first_col"], grid["last_row"] + 1, grid["last_col"] + 1
    touched = area_of_geometry(text, crs).tiles_in(raster_crs, transform, shape, tile_shape, tiles)
    numbers: list[int] = (touched[:, 0] * -(-shape[1] // tile_shape[1]) + touched[:, 1]).tolist()
    return numbers


def _array(parts: Sequence[Bounds]) -> npt.NDArray[np.float64]:
    return np.array([[part[side] for side in _SIDES] for part in parts], np.float64).reshape(-1, 4)


def _structs(bounds: Sequence[Sequence[float]]) -> list[Bounds]:
    return [dict(zip(_SIDES, each, strict=True)) for each in bounds]
