"""Where the pixels of one grid lie in another: reprojection, exact on a lattice and interpolated in between.

PROJ takes 0.15 to 0.4 microseconds for a point, interpolation a hundredth of that. So PROJ is asked for every 16th
pixel only, and for more where the lattice bends. Bilinear interpolation between points at a distance h is wrong by
`h * h * f'' / 8` along each axis, and second differences of the lattice give `h * h * f''`: they are the bound.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import LONLAT, parsed_crs, revolution_of, same_crs, transformer
from rasteret_sql.geo.geobox import GeoBox

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.geo.geobox import Transform

    Floats = npt.NDArray[np.floating[Any]]

#: Cells between the lattice's points along each side of a block. A block is accepted, or refined, as a whole.
CELLS: Final = 4
#: Pixels along the sides of a block: of those looked at first, and of those into which one that bends is cut. What
#: bends there too is exact.
BLOCK: Final = 64
FINE_BLOCK: Final = 16
#: Blocks begin at multiples of their size from the origin of the CRS, so that a pixel has the same place in every
#: window of a grid. Pixels' edges are counted from this part of a pixel: no common grid lies near it, so that rounding
#: decides nothing.
_ANCHOR: Final = 0.37
#: Fractions of a target's sides at which the size of pixels is looked at.
_PLACES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
#: Error of interpolation, in pixels of the source, that is exact enough to say which part of it is needed.
_EXTENT_ERROR: Final = 0.5
#: Projections whose inverse gives places on Earth for points that are beyond its outline, in lower case.
_FOLDING: Final = frozenset(
    {
        "aitoff",
        "american polyconic",
        "equal earth",
        "goode homolosine",
        "interrupted goode homolosine",
        "natural earth",
        "proj hammer",
        "sinusoidal",
        "van der grinten",
        "winkel tripel",
    }
)


class PixelMap:
    """Where the pixels of a target grid lie in a source grid.

    Places are in pixels of the source, corners at integers: the centre of its first pixel is (0.5, 0.5). What the
    projections do not reach is NaN. Places may lie outside the source on any side.

    Longitudes are turned by 360 degrees to where the source is, by the way that is nearest to its middle. So places are
    continuous around a source, and jump by `period` only at the edge of one that goes around the Earth.

    Args:
        source_crs: CRS of the source: authority code, WKT2, or None.
        source_transform: affine of the source; axis aligned.
        target: the grid whose pixels are looked for.
        max_error: pixels of the source by which a place may be wrong, along rows or columns. 0 is exact everywhere.
        source_width: pixels of the source in a row. Without it a source in longitude is taken to go around the Earth
            from its first column on.
        part_of: the grid of which `target` is a window; or None. Places and `scale` are then those of the whole, to
            the last bit.

    Attributes:
        is_separable: both grids have one CRS, so that rows depend on y only, and columns on x only.
        error: bound that was reached, in pixels of the source; 0 where separable.
        scale: (rows, cols), pixels of the source per pixel of the target: the median over the target, or over
            `part_of`; above 1 when downsampling. NaN where no part of it has a place in the source's CRS.
        period: columns of a turn around the Earth, for a source in longitude; otherwise None.

    Raises:
        InvalidArgumentError: a CRS is not known, just one grid has one, or nothing leads from one to the other.

    Example:
        >>> target = GeoBox("EPSG:32643", (20.0, 0.0, 300000.0, 0.0, -20.0, 2100000.0), height=2, width=3)
        >>> places = PixelMap("EPSG:32643", (10.0, 0.0, 299980.0, 0.0, -10.0, 2100000.0), target)
        >>> places.is_separable, places.scale
        (True, (2.0, 2.0))
        >>> rows, cols = places.centres()
        >>> rows.tolist(), cols.tolist()
        ([1.0, 3.0], [3.0, 5.0, 7.0])
    """

    def __init__(
        self,
        source_crs: str | None,
        source_transform: Transform,
        target: GeoBox,
        max_error: float = 0.01,
        *,
        source_width: int | None = None,
        part_of: GeoBox | None = None,
    ) -> None:
        if not max_error >= 0:
            raise InvalidArgumentError(f"max_error: got {max_error}, expected pixels of the source, 0 or more")
        source = GeoBox(source_crs, source_transform, 1, source_width or 1)
        self._source = source
        self._target = target
        # Places are reckoned in the whole grid, so that no part of it is rounded in another way.
        self._frame = (part_of or target).transform
        self._row_off = round((target.transform[5] - self._frame[5]) / self._frame[4])
        self._col_off = round((target.transform[2] - self._frame[2]) / self._frame[0])
        self._max_error = max_error
        self.is_separable = same_crs(source_crs, target.crs)
        turn = revolution_of(source_crs)
        self.period = None if turn is None else turn / source.x_size
        self._middle = (self.period or 0.0) / 2 if source_width is None else source_width / 2
        self.scale = self._find_scale(part_of or target)
        self.error = 0.0
        if not self.is_separable:
            self._folds = _folds(target.crs)
            self._make_lattice()

    def centres(self, row_start: int = 0, row_end: int | None = None) -> tuple[Floats, Floats]:
        """Give the places of the centres of the target's pixels.

        Args:
            row_start: first row of the target.
            row_end: the row after the last one; all where None.

        Returns:
            Rows and columns in the source: 1-D where separable, shapes (row_end - row_start,) and (width,), otherwise
            2-D, both (row_end - row_start, width).
        """
        row_end = self._target.height if row_end is None else row_end
        return self._places(row_start, row_end, self._target.width, 0.5)

    def corners(self, row_start: int = 0, row_end: int | None = None) -> tuple[Floats, Floats]:
        """Give the places of the corners of the target's pixels: as `centres`, but one more along each axis."""
        row_end = self._target.height if row_end is None else row_end
        return self._places(row_start, row_end + 1, self._target.width + 1, 0.0)

    def extent(self) -> tuple[float, float, float, float] | None:
        """Give the part of the source in which the whole target lies, with its curved edges.

        Returns:
            (row_min, col_min, row_max, col_max), in pixels and not cut to the source. It may be larger than need be, by
            twice `error` or, where grids bend much, by a pixel. None where no corner of a pixel has a place.
        """
        margin = 0.0
        if self.is_separable:
            parts = [self.corners()]
        else:
            parts = [self._exact(*self._nodes_inside())]
            is_bent = ~(self._block_error <= _EXTENT_ERROR)
            margin = self.error + float(self._block_error[~is_bent].max(initial=0.0))
            for number in np.flatnonzero(is_bent.any(axis=1)).tolist():
                parts += self._bounding_places(number, np.flatnonzero(is_bent[number]))
                margin = self.error + _EXTENT_ERROR
        limits = [_limits([part[axis] for part in parts]) for axis in (0, 1)]
        if limits[0] is None or limits[1] is None:
            return None
        (row_min, row_max), (col_min, col_max) = limits[0], limits[1]
        return row_min - margin, col_min - margin, row_max + margin, col_max + margin

    def is_complete(self) -> bool:
        """Whether the target has places at all corners of the lattice; where not, `extent` may lack some."""
        if self.is_separable:
            return True
        return bool(np.isfinite(self._exact(*self._nodes_inside())).all())

    def _nodes_inside(self) -> tuple[Floats, Floats]:
        """Give the rows and columns of the lattice, moved into the target where they lie outside."""
        rows, cols = (
            np.clip(self._lattice_rows, 0, self._target.height),
            np.clip(self._lattice_cols, 0, self._target.width),
        )
        return np.unique(rows)[:, None], np.unique(cols)[None, :]

    def _places(self, row_start: int, row_end: int, width: int, offset: float) -> tuple[Floats, Floats]:
        """Give the places of points of the target, `offset` pixels from the corners of its pixels."""
        if self.is_separable:
            return self._separable(np.arange(row_start, row_end) + offset, np.arange(width) + offset)
        rows, cols = np.empty((2, row_end - row_start, width))
        first, last = (row_start + self._row_phase) // BLOCK, (row_end - 1 + self._row_phase) // BLOCK
        for number in range(first, last + 1):
            block_start = number * BLOCK - self._row_phase
            start, end = max(row_start, block_start), min(row_end, block_start + BLOCK)
            found = self._block_row(number, start - block_start, end - block_start, offset)
            for part, out in zip(found, (rows, cols), strict=True):
                out[start - row_start : end - row_start] = part[:, self._col_phase : self._col_phase + width]
        return rows, cols

    def _separable(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        source, target = self._source.transform, self._frame
        found_rows = (target[5] - source[5]) / source[4] + target[4] / source[4] * (rows + self._row_off)
        found_cols = (target[2] - source[2]) / source[0] + target[0] / source[0] * (cols + self._col_off)
        return found_rows, self._turned(found_cols)

    def _exact(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """Give the places of points of the target, as PROJ does. Rows and columns are broadcast."""
        a, _, c, _, e, f = self._frame
        x, y = np.broadcast_arrays(c + a * (cols + self._col_off), f + e * (rows + self._row_off))
        to_source = transformer(self._target.crs, self._source.crs)
        found_x, found_y = to_source.transform(x.ravel(), y.ravel(), errcheck=False)
        is_outside = ~(np.isfinite(found_x) & np.isfinite(found_y))
        if self._folds:
            is_outside |= self._is_beyond_outline(x.ravel(), y.ravel())
        found_x[is_outside] = found_y[is_outside] = np.nan
        a, _, c, _, e, f = self._source.transform
        found_rows = ((found_y - f) / e).reshape(x.shape)
        found_cols = ((found_x - c) / a).reshape(x.shape)
        return found_rows, self._turned(found_cols)

    def _is_beyond_outline(self, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
        """Whether points of the target's CRS are copies of others: they come back to another place."""
        to_lonlat = transformer(self._target.crs, LONLAT)
        back_x, back_y = to_lonlat.transform(
            *to_lonlat.transform(x, y, errcheck=False), direction="INVERSE", errcheck=False
        )
        a, _, _, _, e, _ = self._target.transform
        is_same: npt.NDArray[np.bool_] = (np.abs(back_x - x) <= abs(a)) & (np.abs(back_y - y) <= abs(e))
        return ~is_same

    def _turned(self, cols: Floats) -> Floats:
        """Turn columns around the Earth, to within half a turn from the middle of the source."""
        if self.period is None:
            return cols
        turns = (cols - self._middle) / self.period
        # A source around the Earth has its edges just there; rounding must not carry one to the other.
        is_beyond = np.abs(turns) > 0.5 + 1e-12
        return np.where(is_beyond, cols - self.period * np.floor(turns + 0.5), cols)

    def _make_lattice(self) -> None:
        """Find exact places on a lattice over the target, and the blocks of it that bend too much."""
        target = self._target
        self._row_phase = (_phase(self._frame[5], self._frame[4]) + self._row_off) % BLOCK
        self._col_phase = (_phase(self._frame[2], self._frame[0]) + self._col_off) % BLOCK
        # Blocks hold the corner after the last pixel, too.
        self._blocks = (target.height + self._row_phase) // BLOCK + 1, (target.width + self._col_phase) // BLOCK + 1
        step = BLOCK // CELLS
        self._lattice_rows = np.arange(self._blocks[0] * CELLS + 1) * float(step) - self._row_phase
        self._lattice_cols = np.arange(self._blocks[1] * CELLS + 1) * float(step) - self._col_phase
        self._lattice = np.stack(self._exact(self._lattice_rows[:, None], self._lattice_cols[None, :]))
        nodes = sliding_window_view(self._lattice, (CELLS + 1, CELLS + 1), axis=(1, 2))[:, ::CELLS, ::CELLS]
        error = _interpolation_error(nodes)
        self._block_error = error
        self._is_bent = ~(error <= self._max_error)
        # Blocks that are refined keep the bound, at worst by being exact.
        self.error = self._max_error if self._is_bent.any() else float(error.max())

    def _block_row(self, number: int, start: int, end: int, offset: float) -> tuple[Floats, Floats]:
        """Give places for one row of blocks.

        Args:
            number: the row of blocks.
            start, end: rows of the blocks, the end exclusive.
            offset: from the corners of pixels, in pixels.

        Returns:
            Rows and columns, each of shape (end - start, pixels of all blocks).
        """
        nodes = self._lattice[:, number * CELLS : (number + 1) * CELLS + 1]
        step = BLOCK // CELLS
        places = _between(_between(nodes, 1, step, start, end, offset), 2, step, 0, self._blocks[1] * BLOCK, offset)
        bent = np.flatnonzero(self._is_bent[number])
        if bent.size:
            by_block = places.reshape(2, end - start, self._blocks[1], BLOCK)
            by_block[:, :, bent] = self._refined(number, bent, start, end, offset)
        return places[0], places[1]

    def _refined(self, number: int, bent: npt.NDArray[np.intp], start: int, end: int, offset: float) -> Floats:
        """Give places for blocks that bend, shape (2, end - start, blocks, pixels of a block)."""
        first, last = start // FINE_BLOCK, (end - 1) // FINE_BLOCK
        starts = self._fine_blocks(number, bent, first, last)
        nodes = self._fine_nodes(starts)
        is_bent = ~(_interpolation_error(nodes) <= self._max_error)
        step = FINE_BLOCK // CELLS
        places = _between(_between(nodes, 3, step, 0, FINE_BLOCK, offset), 4, step, 0, FINE_BLOCK, offset)
        if is_bent.any():
            rows, cols = np.broadcast_arrays(*_grids(starts, np.arange(FINE_BLOCK) + offset))
            places[:, is_bent] = self._exact(rows[is_bent], cols[is_bent])
        placed: Floats = places.swapaxes(2, 3).reshape(2, -1, bent.size, BLOCK)
        return placed[:, start - first * FINE_BLOCK : end - first * FINE_BLOCK]

    def _fine_blocks(
        self, number: int, bent: npt.NDArray[np.intp], first: int, last: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Give the rows and the columns of the target with which fine blocks begin, from the first row of them on."""
        row_starts = np.arange(first, last + 1) * FINE_BLOCK + (number * BLOCK - self._row_phase)
        col_starts = bent[:, None] * BLOCK + np.arange(0, BLOCK, FINE_BLOCK) - self._col_phase
        return row_starts, col_starts.ravel()

    def _fine_nodes(self, starts: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]) -> Floats:
        """Give exact places in fine blocks, shape (2, rows, columns, CELLS + 1, CELLS + 1)."""
        return np.stack(self._exact(*_grids(starts, np.arange(CELLS + 1) * (FINE_BLOCK // CELLS))))

    def _bounding_places(self, number: int, bent: npt.NDArray[np.intp]) -> list[tuple[Floats, Floats]]:
        """Give exact places that bound those of bent blocks, to within the error that an extent may have."""
        starts = self._fine_blocks(number, bent, 0, BLOCK // FINE_BLOCK - 1)
        is_bent = ~(_interpolation_error(self._fine_nodes(starts)) <= _EXTENT_ERROR)
        points = [
            (np.arange(CELLS + 1) * (FINE_BLOCK // CELLS), np.ones_like(is_bent)),
            (np.arange(FINE_BLOCK + 1), is_bent),
            (np.arange(FINE_BLOCK) + 0.5, is_bent),
        ]
        parts = []
        for within, blocks in points:
            rows, cols = np.broadcast_arrays(*_grids(starts, within))
            rows, cols = np.clip(rows[blocks], 0, self._target.height), np.clip(cols[blocks], 0, self._target.width)
            parts.append(self._exact(rows, cols))
        return parts

    def _find_scale(self, target: GeoBox) -> tuple[float, float]:
        source = self._source
        if self.is_separable:
            return target.y_size / source.y_size, target.x_size / source.x_size
        right, down = _steps(source.crs, target)
        rows = np.hypot(right[1], down[1]) / source.y_size
        cols = np.hypot(right[0], down[0]) / source.x_size
        return _median(rows), _median(cols)


def pixel_size_in(
    crs: str | None, source_crs: str | None, source_transform: Transform, x: float, y: float
) -> tuple[float, float]:
    """The size of a pixel of a source in units of another CRS, at one place.

    Args:
        crs: the CRS whose units are asked for.
        source_crs, source_transform: of the source; axis aligned.
        x, y: the place, in `source_crs`.

    Returns:
        (along its rows, along its columns): lengths of its width and of its height. NaN where the place is outside of
        `crs`.

    Raises:
        InvalidArgumentError: a CRS is not known, just one is None, or nothing leads from one to the other.
    """
    a, _, _, _, e, _ = source_transform
    pixel = GeoBox(source_crs, (a, 0.0, x - a / 2, 0.0, e, y - e / 2), 1, 1)
    right, down = _steps(crs, pixel, (0.5,))
    return float(np.hypot(*right)[0]), float(np.hypot(*down)[0])


def resolution_in(source_crs: str | None, target: GeoBox) -> float:
    """The size of a target's pixels in units of a source's CRS, by which an overview is chosen.

    It is the shorter side of a pixel, its median over the target: an overview as fine as that loses nothing. NaN where
    no part of the target is inside `source_crs`.

    Raises:
        InvalidArgumentError: a CRS is not known, just one grid has one, or nothing leads from one to the other.
    """
    right, down = _steps(source_crs, target)
    return _median(np.minimum(np.hypot(*right), np.hypot(*down)))


def _steps(crs: str | None, grid: GeoBox, places: tuple[float, ...] = _PLACES) -> tuple[Floats, Floats]:
    """The steps (x, y) in another CRS that pixels of a grid make from left to right, and from top to bottom.

    Returns:
        Two arrays of shape (2, number of places squared).
    """
    a, _, c, _, e, f = grid.transform
    rows, cols = np.meshgrid(np.array(places) * grid.height, np.array(places) * grid.width, indexing="ij")
    # Left, right, top and bottom.
    x = c + a * (cols.ravel() + np.array([[-0.5], [0.5], [0.0], [0.0]]))
    y = f + e * (rows.ravel() + np.array([[0.0], [0.0], [-0.5], [0.5]]))
    if not same_crs(grid.crs, crs):
        x, y = transformer(grid.crs, crs).transform(x, y, errcheck=False)
        is_outside = ~(np.isfinite(x) & np.isfinite(y))
        x[is_outside] = y[is_outside] = np.nan
    right, down = np.stack([x[1] - x[0], y[1] - y[0]]), np.stack([x[3] - x[2], y[3] - y[2]])
    turn = revolution_of(crs)
    if turn is not None:
        right[0] -= turn * np.round(right[0] / turn)
        down[0] -= turn * np.round(down[0] / turn)
    return right, down


def _interpolation_error(nodes: Floats) -> Floats:
    """A bound of the error of bilinear interpolation in blocks of nodes, over rows and columns; NaN where it has none.

    It is twice what a constant curvature makes of the largest second differences, so that a curvature that changes over
    the block is held too.

    Args:
        nodes: exact places, shape (2, ..., CELLS + 1, CELLS + 1).
    """
    along_rows = np.abs(np.diff(nodes, 2, axis=-2)).max(axis=(-2, -1))
    along_cols = np.abs(np.diff(nodes, 2, axis=-1)).max(axis=(-2, -1))
    error: Floats = ((along_rows + along_cols) / 4).max(axis=0)
    return error


def _between(nodes: Floats, axis: int, step: int, start: int, end: int, offset: float) -> Floats:
    """Interpolate along an axis, `step` pixels from node to node.

    Args:
        nodes: values at nodes.
        axis: the axis.
        step: pixels between two nodes.
        start, end: the pixels that are wanted, the end exclusive.
        offset: from the beginnings of pixels.

    Returns:
        As `nodes`, but `end - start` along the axis.
    """
    nodes = np.moveaxis(nodes, axis, -1)
    part = (np.arange(step) + offset) / step
    values = np.diff(nodes)[..., None] * part
    values += nodes[..., :-1, None]
    values = values.reshape(*nodes.shape[:-1], -1)[..., start:end]
    return np.moveaxis(values, -1, axis)


def _grids(starts: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], within: npt.NDArray[Any]) -> tuple[Any, Any]:
    """Rows and columns of points in blocks, which broadcast to (blocks down, blocks across, points, points)."""
    return starts[0][:, None, None, None] + within[:, None], starts[1][:, None, None] + within


def _phase(start: float, step: float) -> int:
    """The pixel of its block, in a lattice that begins at the origin of the CRS, with which a grid begins."""
    return math.floor(start / step + _ANCHOR) % BLOCK


def _limits(parts: list[Floats]) -> tuple[float, float] | None:
    finite = [part[np.isfinite(part)] for part in parts]
    found = [(float(part.min()), float(part.max())) for part in finite if part.size]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _median(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else math.nan


@lru_cache(maxsize=1024)
def _folds(crs: str) -> bool:
    operation = parsed_crs(crs).coordinate_operation
    return operation is not None and str(operation.method_name).lower() in _FOLDING
