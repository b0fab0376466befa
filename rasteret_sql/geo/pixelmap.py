"""Where the pixels of one grid lie in another: reprojection, exact at control points and interpolated between them.

PROJ takes 0.15 to 0.4 microseconds for a point, interpolation a hundredth of that. So PROJ transforms control points
only, one in every 16 pixels, and more where grids bend. Bilinear interpolation between points at a distance h is wrong
by `h * h * f'' / 8` along each axis, and second differences of control points give `h * h * f''`: they are the bound.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.axis import Axis
from rasteret_sql.geo.crs import LONLAT, parsed_crs, period_of, revolution_of, same_crs, transformer
from rasteret_sql.geo.geobox import SNAP_PIXELS, GeoBox
from rasteret_sql.geo.pixelsize import median_of, pixel_steps
from rasteret_sql.geo.resampling import WIDENED_FROM

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.geo.geobox import Transform

    Floats = npt.NDArray[np.floating[Any]]

#: Cells between control points along each side of a block. A block is accepted, or refined, as a whole.
CELLS: Final = 4
#: Pixels along the sides of a block, and of the fine blocks into which a block that bends is cut. Fine blocks that bend
#: are exact. Blocks begin at multiples of their size from the origin of the CRS, so that a pixel has the same position
#: in every window of a grid.
BLOCK: Final = 64
FINE_BLOCK: Final = 16
#: A kernel whose scale is this close to a whole number has that number as its scale, as in GDAL.
_NEARLY_WHOLE: Final = 0.05
#: Error of interpolation, in pixels of the source, that is exact enough to say which part of it is needed.
_EXTENT_ERROR: Final = 0.5
#: Projections whose inverse gives points on Earth for points beyond its outline, in lower case.
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

    Positions are in pixels of the source, pixel corners at integers: the centre of its first pixel is (0.5, 0.5).
    Points without a position in the source's CRS have NaN. Positions may lie outside the source on any side.

    A position depends on both grids and on the number of the pixel, to the last bit: not on the window of the target.
    Where both grids have one CRS, a position within a millionth of a pixel from an edge or centre of a source pixel
    lies on it, so that rounding errors of coordinates decide nothing.

    Where x repeats itself, as longitudes do after 360 degrees, positions are moved by whole periods to within half a
    period from the middle of the source. So positions are continuous around a source, and jump by `period` only at the
    edge of a source around the Earth.

    Args:
        source_crs: CRS of the source: authority code, WKT2, or None.
        source_transform: Affine of the source; axis aligned.
        target: The grid whose pixels are looked for.
        max_error: Largest error of a position along rows or columns, in pixels of the source. 0 is exact everywhere.
        source_width: Pixels of the source in a row. Without it, a source goes around the Earth from its first column.
        part_of: The grid of which `target` is a window; or None. Positions are then those of the whole, whatever
            rounding errors the origin of `target` has.

    Attributes:
        is_separable: Both grids have one CRS, so that rows depend on y only, and columns on x only.
        error: Bound of the error that was reached, in pixels of the source; 0 where separable.
        scale: (rows, cols), pixels of the source per pixel of the target: the median over the target; above 1 when
            downsampling. NaN where no part of it has a position in the source's CRS.
        largest_scale: (rows, cols), the largest `kernel_scale` in the target.
        period: Columns of a revolution around the Earth, for a source in longitude or in a cylindrical projection;
            otherwise None.

    Raises:
        InvalidArgumentError: a CRS is not known, just one grid has one, or nothing leads from one to the other.

    Example:
        >>> target = GeoBox("EPSG:32643", (20.0, 0.0, 300000.0, 0.0, -20.0, 2100000.0), height=2, width=3)
        >>> pixel_map = PixelMap("EPSG:32643", (10.0, 0.0, 299980.0, 0.0, -10.0, 2100000.0), target)
        >>> pixel_map.is_separable, pixel_map.scale
        (True, (2.0, 2.0))
        >>> rows, cols = pixel_map.centres()
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
        whole = (part_of or target).transform
        self._rows = Axis.of(whole[5], whole[4]).window(target.transform[5])
        self._cols = Axis.of(whole[2], whole[0]).window(target.transform[2])
        self._max_error = max_error
        self.is_separable = same_crs(source_crs, target.crs)
        revolution = revolution_of(source_crs) if self.is_separable or source_crs is None else period_of(source_crs)
        self.period = None if revolution is None else revolution / source.x_size
        self._middle = (self.period or 0.0) / 2 if source_width is None else source_width / 2
        self.error = 0.0
        if self.is_separable:
            self.scale = target.y_size / source.y_size, target.x_size / source.x_size
            self.largest_scale = _nearly_whole(self.scale[0]), _nearly_whole(self.scale[1])
        else:
            right, down = pixel_steps(source_crs, target)
            rows, cols = np.hypot(right[1], down[1]) / source.y_size, np.hypot(right[0], down[0]) / source.x_size
            self.scale = median_of(rows), median_of(cols)
            self._set_control_points()

    def centres(self, row_start: int = 0, row_end: int | None = None) -> tuple[Floats, Floats]:
        """Give the positions of the centres of the target's pixels.

        Args:
            row_start: First row of the target.
            row_end: The row after the last one; all where None.

        Returns:
            Rows and columns in the source: 1-D where separable, shapes (row_end - row_start,) and (width,), otherwise
            2-D, both (row_end - row_start, width).
        """
        row_end = self._target.height if row_end is None else row_end
        return self._positions(row_start, row_end, self._target.width, 0.5)

    def corners(self, row_start: int = 0, row_end: int | None = None) -> tuple[Floats, Floats]:
        """Give the positions of the corners of the target's pixels: as `centres`, but one more along each axis."""
        row_end = self._target.height if row_end is None else row_end
        return self._positions(row_start, row_end + 1, self._target.width + 1, 0.0)

    def kernel_scale(self, row_start: int, row_end: int) -> tuple[float, float] | tuple[Floats, Floats]:
        """Give the pixels of the source per pixel of the target, by which kernels widen.

        Returns:
            Along rows and columns: two numbers that hold for all pixels, or two arrays (row_end - row_start, width).
        """
        if self.is_separable:
            return self.largest_scale
        if max(self.largest_scale) <= WIDENED_FROM:
            return 1.0, 1.0
        rows = (np.arange(row_start, row_end) + self._row_phase) // BLOCK
        cols = (np.arange(self._target.width) + self._col_phase) // BLOCK
        return self._block_scale[0][np.ix_(rows, cols)], self._block_scale[1][np.ix_(rows, cols)]

    def extent(self) -> tuple[float, float, float, float] | None:
        """Give the part of the source in which the whole target lies, with its curved edges.

        Returns:
            (row_min, col_min, row_max, col_max), in pixels and not cut to the source. It may be larger than need be, by
            twice `error` or, where grids bend much, by a pixel. None where no corner of a pixel has a position.
        """
        margin = 0.0
        if self.is_separable:
            parts = [self.corners()]
        else:
            parts = [self._exact(*self._control_points_inside())]
            is_bent = ~(self._block_error <= _EXTENT_ERROR)
            margin = SNAP_PIXELS + self.error + float(self._block_error[~is_bent].max(initial=0.0))
            for number in np.flatnonzero(is_bent.any(axis=1)).tolist():
                parts += self._bounding_positions(number, np.flatnonzero(is_bent[number]))
                margin = self.error + _EXTENT_ERROR
        limits = [_limits([part[axis] for part in parts]) for axis in (0, 1)]
        if limits[0] is None or limits[1] is None:
            return None
        (row_min, row_max), (col_min, col_max) = limits[0], limits[1]
        return row_min - margin, col_min - margin, row_max + margin, col_max + margin

    def is_complete(self) -> bool:
        """Whether the target has positions at all control points; where not, `extent` may lack some."""
        if self.is_separable:
            return True
        return bool(np.isfinite(self._exact(*self._control_points_inside())).all())

    def _control_points_inside(self) -> tuple[Floats, Floats]:
        """Give the rows and columns of control points, moved into the target where they lie outside."""
        rows = np.clip(self._control_rows, 0, self._target.height)
        cols = np.clip(self._control_cols, 0, self._target.width)
        return np.unique(rows)[:, None], np.unique(cols)[None, :]

    def _positions(self, row_start: int, row_end: int, width: int, offset: float) -> tuple[Floats, Floats]:
        """Give the positions of points of the target, `offset` pixels from the corners of its pixels."""
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
        a, _, c, _, e, f = self._source.transform
        found = self._rows.positions_in(f, e, rows), self._revolved(self._cols.positions_in(c, a, cols))
        return _on_halves(found[0]), _on_halves(found[1])

    def _exact(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """Give the positions of points of the target, as PROJ does. Rows and columns are broadcast."""
        x, y = np.broadcast_arrays(self._cols.coordinates(cols), self._rows.coordinates(rows))
        to_source = transformer(self._target.crs, self._source.crs)
        found_x, found_y = to_source.transform(x.ravel(), y.ravel(), errcheck=False)
        is_outside = ~(np.isfinite(found_x) & np.isfinite(found_y))
        if _folds(self._target.crs):
            is_outside |= self._is_beyond_outline(x.ravel(), y.ravel())
        found_x[is_outside] = found_y[is_outside] = np.nan
        a, _, c, _, e, f = self._source.transform
        found_rows = ((found_y - f) / e).reshape(x.shape)
        found_cols = ((found_x - c) / a).reshape(x.shape)
        return found_rows, self._revolved(found_cols)

    def _is_beyond_outline(self, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
        """Whether points of the target's CRS are copies of others: they come back to other coordinates."""
        to_lonlat = transformer(self._target.crs, LONLAT)
        back_x, back_y = to_lonlat.transform(
            *to_lonlat.transform(x, y, errcheck=False), direction="INVERSE", errcheck=False
        )
        a, _, _, _, e, _ = self._target.transform
        is_same: npt.NDArray[np.bool_] = (np.abs(back_x - x) <= abs(a)) & (np.abs(back_y - y) <= abs(e))
        return ~is_same

    def _revolved(self, cols: Floats) -> Floats:
        """Move columns around the Earth, to within half a revolution from the middle of the source."""
        if self.period is None:
            return cols
        turns = (cols - self._middle) / self.period
        # A source around the Earth has its edges just there; rounding must not carry one to the other.
        is_beyond = np.abs(turns) > 0.5 + 1e-12
        return np.where(is_beyond, cols - self.period * np.floor(turns + 0.5), cols)

    def _set_control_points(self) -> None:
        """Find exact positions at control points over the target, what bends too much between them, and scales."""
        target = self._target
        self._row_phase, self._col_phase = self._rows.first % BLOCK, self._cols.first % BLOCK
        # Blocks hold the corner after the last pixel, too.
        self._blocks = (target.height + self._row_phase) // BLOCK + 1, (target.width + self._col_phase) // BLOCK + 1
        step = BLOCK // CELLS
        self._control_rows = np.arange(self._blocks[0] * CELLS + 1) * float(step) - self._row_phase
        self._control_cols = np.arange(self._blocks[1] * CELLS + 1) * float(step) - self._col_phase
        self._control_points = np.stack(self._exact(self._control_rows[:, None], self._control_cols[None, :]))
        nodes = sliding_window_view(self._control_points, (CELLS + 1, CELLS + 1), axis=(1, 2))[:, ::CELLS, ::CELLS]
        error = _interpolation_error(nodes)
        self._block_error = error
        self._is_bent = ~(error <= self._max_error)
        # Blocks that are refined keep the bound, at worst by being exact.
        self.error = self._max_error if self._is_bent.any() else float(error.max())
        right, down = np.diff(nodes, axis=-1), np.diff(nodes, axis=-2)
        if self.period is not None:
            right[1] -= self.period * np.round(right[1] / self.period)
            down[1] -= self.period * np.round(down[1] / self.period)
        scale = _kernel_scale(_median_cell(right / step), _median_cell(down / step))
        self._block_scale = np.nan_to_num(_nearly_whole(scale), nan=1.0)
        self.largest_scale = float(self._block_scale[0].max()), float(self._block_scale[1].max())

    def _block_row(self, number: int, start: int, end: int, offset: float) -> tuple[Floats, Floats]:
        """Give positions for one row of blocks.

        Args:
            number: the row of blocks.
            start, end: rows of the blocks, the end exclusive.
            offset: from the corners of pixels, in pixels.

        Returns:
            Rows and columns, each of shape (end - start, pixels of all blocks).
        """
        nodes = self._control_points[:, number * CELLS : (number + 1) * CELLS + 1]
        step = BLOCK // CELLS
        positions = _between(_between(nodes, 1, step, start, end, offset), 2, step, 0, self._blocks[1] * BLOCK, offset)
        bent = np.flatnonzero(self._is_bent[number])
        if bent.size:
            by_block = positions.reshape(2, end - start, self._blocks[1], BLOCK)
            by_block[:, :, bent] = self._refined(number, bent, start, end, offset)
        return positions[0], positions[1]

    def _refined(self, number: int, bent: npt.NDArray[np.intp], start: int, end: int, offset: float) -> Floats:
        """Give positions for blocks that bend, shape (2, end - start, blocks, pixels of a block)."""
        first, last = start // FINE_BLOCK, (end - 1) // FINE_BLOCK
        starts = self._fine_blocks(number, bent, first, last)
        nodes = self._fine_nodes(starts)
        is_bent = ~(_interpolation_error(nodes) <= self._max_error)
        step = FINE_BLOCK // CELLS
        positions = _between(_between(nodes, 3, step, 0, FINE_BLOCK, offset), 4, step, 0, FINE_BLOCK, offset)
        if is_bent.any():
            rows, cols = np.broadcast_arrays(*_grids(starts, np.arange(FINE_BLOCK) + offset))
            positions[:, is_bent] = self._exact(rows[is_bent], cols[is_bent])
        by_row: Floats = positions.swapaxes(2, 3).reshape(2, -1, bent.size, BLOCK)
        return by_row[:, start - first * FINE_BLOCK : end - first * FINE_BLOCK]

    def _fine_blocks(
        self, number: int, bent: npt.NDArray[np.intp], first: int, last: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Give the rows and the columns of the target with which fine blocks begin, from the first row of them on."""
        row_starts = np.arange(first, last + 1) * FINE_BLOCK + (number * BLOCK - self._row_phase)
        col_starts = bent[:, None] * BLOCK + np.arange(0, BLOCK, FINE_BLOCK) - self._col_phase
        return row_starts, col_starts.ravel()

    def _fine_nodes(self, starts: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]) -> Floats:
        """Give exact positions in fine blocks, shape (2, rows, columns, CELLS + 1, CELLS + 1)."""
        return np.stack(self._exact(*_grids(starts, np.arange(CELLS + 1) * (FINE_BLOCK // CELLS))))

    def _bounding_positions(self, number: int, bent: npt.NDArray[np.intp]) -> list[tuple[Floats, Floats]]:
        """Give exact positions that bound those of bent blocks, to within the error that an extent may have."""
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


def _kernel_scale(right: Floats, down: Floats) -> Floats:
    """Source pixels per target pixel along rows and along columns, by which kernels widen: as GDAL has it.

    GDAL divides the size of a source by that of the box around it in the target. Here the source is one pixel, so that
    the result depends on the grids alone. Unlike the length of a target pixel's sides, it does not grow with shear.

    Args:
        right, down: Sides of target pixels as (rows, cols) of the source, shape (2, ...).

    Returns:
        Shape (2, ...), NaN where the sides have no length.
    """
    area = np.abs(right[1] * down[0] - right[0] * down[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        across_rows, across_cols = area / np.abs(right).sum(axis=0), area / np.abs(down).sum(axis=0)
    # Grids that are rotated by more than 45 degrees have their columns along the rows of the source.
    is_swapped = np.abs(right[0] * down[1]) > np.abs(right[1] * down[0])
    scale = np.where(is_swapped, [across_cols, across_rows], [across_rows, across_cols])
    finite: Floats = np.where(np.isfinite(scale), scale, np.nan)
    return finite


def _nearly_whole(scale: Any) -> Any:
    """The scale of a kernel: a whole number where it is nearly one."""
    whole = np.round(scale)
    return np.where(np.abs(scale - whole) < _NEARLY_WHOLE, whole, scale)[()]


def _on_halves(positions: Floats) -> Floats:
    """Move positions onto the edge or the centre of a pixel that they miss by a rounding error."""
    halves = np.round(positions * 2) / 2
    return np.where(np.abs(positions - halves) < SNAP_PIXELS, halves, positions)


def _median_cell(steps: Floats) -> Floats:
    """The median over the cells of each block, the last two axes; NaN where no cell has a value.

    It takes no sum of many values, whose order would decide the last bit.
    """
    ordered = np.sort(steps.reshape(*steps.shape[:-2], -1), axis=-1)
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    lower = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    upper = np.take_along_axis(ordered, count // 2 * (count > 0), axis=-1)
    median: Floats = ((lower + upper) / 2)[..., 0]
    return median


def _interpolation_error(nodes: Floats) -> Floats:
    """A bound of the error of bilinear interpolation in blocks of nodes, over rows and columns; NaN where it has none.

    It is twice what a constant curvature makes of the largest second differences, so that a curvature that changes over
    the block is held too.

    Args:
        nodes: exact positions, shape (2, ..., CELLS + 1, CELLS + 1).
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


def _limits(parts: list[Floats]) -> tuple[float, float] | None:
    finite = [part[np.isfinite(part)] for part in parts]
    found = [(float(part.min()), float(part.max())) for part in finite if part.size]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


@lru_cache(maxsize=1024)
def _folds(crs: str) -> bool:
    operation = parsed_crs(crs).coordinate_operation
    return operation is not None and str(operation.method_name).lower() in _FOLDING
