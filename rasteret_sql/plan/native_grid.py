"""The grid that files share: one CRS, one size of pixels, and edges that fall together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.antimeridian import narrowest
from rasteret_sql.geo.crs import revolution_at
from rasteret_sql.geo.geobox import GeoBox

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rasteret_sql.plan.tile_plan import PlannedAsset

#: Part of a pixel by which two grids may differ and still be one.
GRID_TOLERANCE = 1e-4


def native_box(files: Sequence[PlannedAsset]) -> GeoBox:
    """Give the grid that the windows of files make up together.

    Bands of several resolutions get the grid of the finest; only the files that have it must then share one.

    Raises:
        InvalidArgumentError: the files do not share one CRS, or those of the finest resolution no grid.
    """
    files = _distinct(files)
    sizes = [math.inf if file.transform is None else abs(file.transform[0]) for file in files]
    finest_size = min(sizes)
    finest = [file for file, size in zip(files, sizes, strict=True) if size <= finest_size * (1 + GRID_TOLERANCE)]
    first = finest[0]
    odd = (file for file in files if file.crs != first.crs or (file.transform is None) != (first.transform is None))
    check_grid([first, *odd])
    check_grid(finest)
    window = _window(finest)
    if first.transform is None:
        pixels = (1.0, 0.0, float(window.col_off), 0.0, 1.0, float(window.row_off))
        return GeoBox(None, pixels, window.height, window.width)
    x_size, _, x_off, _, y_size, y_off = first.transform
    box = GeoBox(
        first.crs,
        (x_size, 0.0, x_off + x_size * window.col_off, 0.0, y_size, y_off + y_size * window.row_off),
        window.height,
        window.width,
    )
    return box if len(finest) == len(files) else _grown(box, files)


def _distinct(files: Sequence[PlannedAsset]) -> list[PlannedAsset]:
    """Give the first of the files that have the same window of the same grid: most of a collection may."""
    found: dict[Any, PlannedAsset] = {}
    for file in files:
        found.setdefault(
            (
                file.crs, file.transform, file.width, file.height, file.row_off, file.col_off, file.row_end,
                file.col_end,
            ),
            file,
        )  # fmt: skip
    return list(found.values())


def check_grid(files: Sequence[PlannedAsset]) -> None:
    """Make sure that files share one CRS and pixel grid.

    Raises:
        InvalidArgumentError: they do not.
    """
    first = files[0]
    for file in files[1:]:
        if file.crs != first.crs:
            raise InvalidArgumentError(
                f"grid: {named(first)} is in {_crs(first)} and {named(file)} in {_crs(file)}, expected one CRS; "
                "read them apart, for example with WHERE crs = '…', or onto one grid with crs= and resolution="
            )
        if first.transform is None or file.transform is None:
            if (file.transform, file.width, file.height) != (first.transform, first.width, first.height):
                raise InvalidArgumentError(
                    f"grid: {named(first)} and {named(file)} have no common grid, for one has no transform; "
                    "read them apart"
                )
            continue
        if not _same(file.transform[0], first.transform[0], file.width) or not _same(
            file.transform[4], first.transform[4], file.height
        ):
            raise InvalidArgumentError(
                f"grid: {named(first)} has pixels of {_size(first)} and {named(file)} of {_size(file)}, expected "
                f"one size; choose bands of one resolution, or give resolution={max(_width(first), _width(file)):g}"
            )
        rows, cols = _shift(file, first)
        if abs(rows - round(rows)) > GRID_TOLERANCE or abs(cols - round(cols)) > GRID_TOLERANCE:
            raise InvalidArgumentError(
                f"grid: the pixels of {named(file)} lie {cols % 1:.4f} columns and {rows % 1:.4f} rows beside "
                f"those of {named(first)}, expected one grid; read them apart, or give resolution={_width(first):g} "
                "for a grid that both are resampled to"
            )


def bounds_of(file: PlannedAsset) -> tuple[float, float, float, float]:
    """Give (xmin, ymin, xmax, ymax) of the window of a file, in its CRS.

    Raises:
        InvalidArgumentError: it has no transform.
    """
    if file.transform is None:
        raise InvalidArgumentError(
            f"grid: {named(file)} has no transform, so it cannot be read onto a grid; leave it out"
        )
    x_size, _, x_off, _, y_size, y_off = file.transform
    xs = sorted((x_off + x_size * file.col_off, x_off + x_size * file.col_end))
    ys = sorted((y_off + y_size * file.row_off, y_off + y_size * file.row_end))
    return xs[0], ys[0], xs[1], ys[1]


def without_place(argument: str, file: str) -> InvalidArgumentError:
    """Give the error about a file of whose pixels no place is known.

    Args:
        argument: what needs the place.
        file: how the message names the file.
    """
    return InvalidArgumentError(
        f"{argument}: {file} has no CRS or no transform, so no place in it can be found. A grid that is rotated or "
        "sheared is no transform, and neither are ground control points. Leave the file out: give a query WHERE crs IS "
        "NOT NULL AND transform IS NOT NULL as the index. Or warp it, or read its pixels as arrays or tiles, without "
        "an area"
    )


def refuse_unplaced_crs(argument: str, files: Iterable[PlannedAsset]) -> None:
    """Refuse files whose coordinates would be numbers of pixels that a CRS is said of.

    Raises:
        InvalidArgumentError: a file has a CRS and no transform.
    """
    for file in files:
        if file.crs is not None and file.transform is None:
            raise without_place(argument, named(file))


def named(file: PlannedAsset) -> str:
    """Name a file of a plan in a message."""
    return f'asset "{file.asset}" of item {file.item_id}'


class _Window(NamedTuple):
    row_off: int
    col_off: int
    height: int
    width: int


def _window(files: Sequence[PlannedAsset]) -> _Window:
    """Give the window of all files together, in pixels of the first one's grid."""
    offsets = [(0.0, 0.0) if file.transform is None else _shift(file, files[0]) for file in files]
    placed = [(file, round(rows), round(cols)) for file, (rows, cols) in zip(files, offsets, strict=True)]
    row_off = min(file.row_off + rows for file, rows, _ in placed)
    row_end = max(file.row_end + rows for file, rows, _ in placed)
    spans = [(file.col_off + cols, file.col_end + cols) for file, _, cols in placed]
    col_off, col_end = _over_antimeridian(files[0], spans)
    return _Window(row_off, col_off, row_end - row_off, col_end - col_off)


def _over_antimeridian(first: PlannedAsset, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Give the columns that spans of them take together, counted in the first file's grid.

    Files in longitude on both sides of the antimeridian get a grid that goes on there, if the other way around the
    Earth is longer.
    """
    revolution = None if first.transform is None else revolution_at(first.crs, first.transform[2])
    cols = np.array(spans, np.int64)
    if revolution is not None:
        assert first.transform is not None
        period = abs(revolution / first.transform[0])
        if abs(period - round(period)) <= GRID_TOLERANCE:
            cols += round(period) * narrowest(cols, period)[:, None]
    return int(cols[:, 0].min()), int(cols[:, 1].max())


def _grown(box: GeoBox, files: Sequence[PlannedAsset]) -> GeoBox:
    """Give a grid that holds files of other resolutions too, as far as they leave it by more than a rounding error."""
    x_size, _, x_off, _, y_size, y_off = box.transform
    bounds = [bounds_of(file) for file in files]
    revolution, middle = revolution_at(box.crs, x_off), x_off + x_size * box.width / 2
    if revolution is not None:
        offsets = [revolution * round((middle - (xmin + xmax) / 2) / revolution) for xmin, _, xmax, _ in bounds]
        bounds = [(b[0] + by, b[1], b[2] + by, b[3]) for b, by in zip(bounds, offsets, strict=True)]
    cols = [(x - x_off) / x_size for xmin, _, xmax, _ in bounds for x in (xmin, xmax)]
    rows = [(y - y_off) / y_size for _, ymin, _, ymax in bounds for y in (ymin, ymax)]
    col_off, row_off = math.floor(min(cols) + GRID_TOLERANCE), math.floor(min(rows) + GRID_TOLERANCE)
    col_end, row_end = math.ceil(max(cols) - GRID_TOLERANCE), math.ceil(max(rows) - GRID_TOLERANCE)
    return box.window(row_off, col_off, row_end - row_off, col_end - col_off)


def _shift(file: PlannedAsset, first: PlannedAsset) -> tuple[float, float]:
    """Rows and columns of the first file's grid at which a file begins."""
    assert file.transform is not None
    assert first.transform is not None
    rows = (file.transform[5] - first.transform[5]) / first.transform[4]
    cols = (file.transform[2] - first.transform[2]) / first.transform[0]
    return rows, cols


def _same(size: float, other: float, pixels: int) -> bool:
    """Whether two pixel sizes differ by less than the tolerance over a whole file."""
    return abs(size - other) * pixels <= GRID_TOLERANCE * abs(other)


def _crs(file: PlannedAsset) -> str:
    return "no CRS" if file.crs is None else file.crs[:60]


def _width(file: PlannedAsset) -> float:
    assert file.transform is not None
    return abs(file.transform[0])


def _size(file: PlannedAsset) -> str:
    assert file.transform is not None
    return f"{abs(file.transform[0]):g} x {abs(file.transform[4]):g}"
