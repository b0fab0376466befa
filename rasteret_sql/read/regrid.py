"""Resamples windows of files onto a grid, some rows at a time, and puts them together.

Positions are those of the file's level, and pixels are numbered in the whole grid. So no pixel depends on the window of
the file, nor on the part of the grid, that is read with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rasteret_sql.geo.resampling import AREA_METHODS, EPSILON, reach
from rasteret_sql.plan.dtypes import always_fits
from rasteret_sql.plan.mosaics import FLOATING
from rasteret_sql.plan.places import cover_of, pixel_map
from rasteret_sql.plan.scaling import to_physical
from rasteret_sql.read.resample import resample_areas, resample_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.geo.pixelmap import PixelMap
    from rasteret_sql.plan.cube import CubeBand
    from rasteret_sql.plan.places import Lattice, Window
    from rasteret_sql.plan.scaling import Scaling
    from rasteret_sql.read.mosaic import Mosaic
    from rasteret_sql.read.taps import Scale

    Positions = npt.NDArray[Any]
    #: Rows and columns of the grid, the pixels there, and their validity.
    _Reading = tuple[tuple[slice, slice], npt.NDArray[Any], npt.NDArray[np.bool_]]

#: Files whose positions a thread keeps meanwhile: the bands of an item share a grid.
KNOWN_FOOTPRINTS = 4


@dataclass(slots=True, eq=False)
class Source:
    """A band of a file, and the window of it that a job takes.

    Attributes:
        asset_no, band: The file in the plan, and the number of the band in it.
        lattice: The grid of the file's level.
        rows: Its rows of the plan.
        window: The window of the level.
        shift: Row and column of the level at which the job's grid begins, or None where its pixels are not those of the
            grid.
        dtype: Of the pixels of the file.
        scaling: Scale and offset of the band in this file.
        pixels, mask: The window once it is read, shape `window.shape`; True means valid.
    """

    asset_no: int
    band: int
    lattice: Lattice
    rows: npt.NDArray[np.int64]
    window: Window
    shift: tuple[int, int] | None
    dtype: np.dtype[Any]
    scaling: Scaling
    pixels: npt.NDArray[Any] | None = None
    mask: npt.NDArray[np.bool_] | None = None


@dataclass(slots=True, eq=False)
class Job:
    """One band of one group on one grid.

    Attributes:
        box: the target grid of the read.
        whole: The grid that `box` is a part of.
        band: What is known of the band.
        pixels, mask: Where the result goes, shape (box.height, box.width); `mask` is None where it is not wanted.
        sources: What it is made of, in the order in which a mosaic takes it.
        mosaic: What has been put together so far.
    """

    box: GeoBox
    whole: GeoBox
    band: CubeBand
    pixels: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_] | None
    sources: list[Source] = field(default_factory=list)
    mosaic: Mosaic | None = None

    @property
    def is_direct(self) -> bool:
        """Whether pixels go from the file straight into the array."""
        return (
            len(self.sources) == 1
            and self.sources[0].shift is not None
            and self.band.mosaic not in FLOATING
            and self.band.mosaic != "count"
            and (not self.band.is_physical or self._holds_stored(self.sources[0]))
        )

    def _holds_stored(self, source: Source) -> bool:
        """Whether the array holds all stored values of a source, so that they can become physical there."""
        return always_fits(source.dtype, self.band.source_dtype) and always_fits(
            self.band.source_dtype, self.band.dtype
        )


class Share(NamedTuple):
    """Some sources of a job, read at the same time, and whether they are its last ones."""

    job: Job
    sources: list[Source]
    is_last: bool

    @property
    def is_first(self) -> bool:
        """Whether no sources of the job were read before these."""
        return not self.sources or self.sources[0] is self.job.sources[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Footprint:
    """The part of a grid that a window of a file covers, in some rows; many sources have the same.

    Attributes:
        part: Rows and columns of the grid.
        source: Rows and columns of the window that resampling needs for them.
        offset: Row and column of the file's level at which `source` begins.
        rows, cols: Positions in the level of the centres of the grid's pixels or, for areas, of their corners: 1-D
            where both grids have one CRS, otherwise 2-D.
        scale: Pixels of the level per pixel of the grid, by which kernels widen.
    """

    part: tuple[slice, slice]
    source: tuple[slice, slice]
    offset: tuple[int, int]
    rows: Positions
    cols: Positions
    scale: Scale


class Regridder:
    """Resamples the sources of jobs on one grid.

    Args:
        box: the target grid of the read.
        whole: The grid that `box` is a part of.
        shares: The jobs, and which of their sources have been read.
    """

    def __init__(self, box: GeoBox, whole: GeoBox, shares: Sequence[Share]) -> None:
        self._box, self._shares = box, shares
        #: The part of the grid that a window covers, and the positions of that part in the file.
        self._maps: dict[tuple[Lattice, Window], tuple[Window, PixelMap]] = {}
        windows = {
            (source.lattice, source.window) for _, sources, _ in shares for source in sources if source.shift is None
        }
        for lattice, window in windows:
            cover = cover_of(lattice, window, box, whole)
            if cover is not None:
                part = box.window(cover.row_off, cover.col_off, *cover.shape)
                self._maps[lattice, window] = cover, pixel_map(lattice, part, whole)

    def place(self, start: int, step: int) -> None:
        """Resample `step` rows of the grid from `start` on, for all jobs. Threads may do so for rows of their own."""
        end = min(start + step, self._box.height)
        known: dict[tuple[Lattice, Window, str], _Footprint | None] = {}
        for share in self._shares:
            job, sources, is_last = share
            assert job.mosaic is not None
            if share.is_first:
                job.mosaic.begin(slice(start, end))
            if job.band.mosaic == "median":
                readings = [_values(job, source, self._reading(job, source, start, end, known)) for source in sources]
                rows = slice(start, end), slice(0, self._box.width)
                job.mosaic.add(rows, [self._widened(*each, start, end) for each in readings if each is not None])
            else:
                for source in sources:
                    reading = _values(job, source, self._reading(job, source, start, end, known))
                    if reading is not None:
                        part, pixels, valid = reading
                        job.mosaic.add(part, [(pixels, valid)])
            if is_last:
                job.mosaic.finish(slice(start, end))

    def _reading(
        self,
        job: Job,
        source: Source,
        start: int,
        end: int,
        known: dict[tuple[Lattice, Window, str], _Footprint | None],
    ) -> _Reading | None:
        """Give the part of some rows of the grid that a source covers, its pixels there and their validity."""
        assert source.pixels is not None
        assert source.mask is not None
        window, method = source.window, job.band.method
        if source.shift is not None:
            row_off, col_off = window.row_off - source.shift[0], window.col_off - source.shift[1]
            first, last = max(start, row_off), min(end, row_off + window.shape[0])
            if first >= last:
                return None
            part = slice(first, last), slice(col_off, col_off + window.shape[1])
            rows = slice(first - row_off, last - row_off)
            return part, source.pixels[rows], source.mask[rows]
        key = source.lattice, window, method
        if key not in known:
            if len(known) == KNOWN_FOOTPRINTS:
                del known[next(iter(known))]
            known[key] = self._footprint(source, method, start, end)
        found = known[key]
        if found is None:
            return None
        values, mask = source.pixels[found.source], source.mask[found.source]
        if method in AREA_METHODS:
            pixels, valid = resample_areas(values, mask, found.rows, found.cols, method, offset=found.offset)
            self._mend_seam(source, values, mask, found, method, (pixels, valid))
        else:
            pixels, valid = resample_points(
                values, mask, found.rows, found.cols, method, found.scale, offset=found.offset
            )
        _avoid_nodata(pixels, valid, job.band)
        return found.part, pixels, valid

    def _footprint(self, source: Source, method: str, start: int, end: int) -> _Footprint | None:
        """Find the part of some rows of the grid that the window of a source covers; None where it covers none."""
        is_area = method in AREA_METHODS
        cover, positions = self._maps.get((source.lattice, source.window), (None, None))
        if cover is None or positions is None:
            return None
        start, end = max(start, cover.row_off), min(end, cover.row_end)
        if start >= end:
            return None
        span = start - cover.row_off, end - cover.row_off
        rows, cols = positions.corners(*span) if is_area else positions.centres(*span)
        window = source.window
        down = _inside(rows, 0, window.row_off, window.row_end, is_area=is_area)
        across = _inside(cols, -1, window.col_off, window.col_end, is_area=is_area)
        if down is None or across is None:
            return None
        # Of corners there is one more than there are pixels.
        rows, cols = _cut((rows, cols), slice(down[0], down[1] + is_area), slice(across[0], across[1] + is_area))
        scale: Scale = (1.0, 1.0) if is_area else positions.kernel_scale(*span)
        if isinstance(scale[0], np.ndarray):
            scale = _cut(scale, slice(*down), slice(*across))
        # Only what these rows need: masked sources are copied before they are resampled.
        largest = positions.largest_scale
        needed = (
            _needed(rows, window.row_off, window.row_end, reach(method, largest[0]) + 1),
            _needed(cols, window.col_off, window.col_end, reach(method, largest[1]) + 1),
        )
        part = slice(start + down[0], start + down[1]), slice(cover.col_off + across[0], cover.col_off + across[1])
        offset = window.row_off + needed[0].start, window.col_off + needed[1].start
        return _Footprint(part, needed, offset, rows, cols, scale)

    def _mend_seam(
        self,
        source: Source,
        values: npt.NDArray[Any],
        mask: npt.NDArray[np.bool_],
        footprint: _Footprint,
        method: str,
        found: tuple[npt.NDArray[Any], npt.NDArray[np.bool_]],
    ) -> None:
        """Resample anew the pixels that lie across, or just beyond, the edge of a raster around the Earth.

        They get what the western edge of the raster has, or else what the eastern edge has.
        """
        _, positions = self._maps[source.lattice, source.window]
        cols, period = footprint.cols, positions.period
        if period is None:
            return
        _, _, width = source.lattice
        # The box of a pixel lies between two corners of it that are diagonally across.
        start, end = (cols[:-1], cols[1:]) if cols.ndim == 1 else (cols[:-1, :-1], cols[1:, 1:])
        low, high = np.minimum(start, end), np.maximum(start, end)
        is_across = np.asarray((high - low > period / 2) | ((low >= width) & (high >= period)))
        if not is_across.any():
            return
        where = np.broadcast_to(is_across, found[0].shape)
        is_east = cols > width / 2
        for revolved in (np.where(is_east, cols, cols + period), np.where(is_east, cols - period, cols)):
            pixels, valid = resample_areas(values, mask, footprint.rows, revolved, method, offset=footprint.offset)
            np.copyto(found[0], pixels, where=where & valid)
            np.copyto(found[1], valid, where=where & valid)

    def _widened(
        self, part: tuple[slice, slice], pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_], start: int, end: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Give a reading for all columns of the grid, and all rows from `start` to `end`."""
        shape = end - start, self._box.width
        if pixels.shape == shape:
            return pixels, valid
        wide, mask = np.zeros(shape, pixels.dtype), np.zeros(shape, bool)
        inside = slice(part[0].start - start, part[0].stop - start), part[1]
        wide[inside], mask[inside] = pixels, valid
        return wide, mask


def _cut(axes: tuple[npt.NDArray[Any], npt.NDArray[Any]], rows: slice, cols: slice) -> Any:
    """Cut what belongs to rows and to columns of a grid: two 1-D arrays, or two 2-D arrays."""
    if axes[0].ndim == 1:
        return axes[0][rows], axes[1][cols]
    return axes[0][rows, cols], axes[1][rows, cols]


def _needed(positions: Positions, start: int, end: int, beside: int) -> slice:
    """Give the part of a window along an axis that a method reads for some positions.

    Args:
        positions: In pixels of the level; one at least is finite.
        start, end: The window in the level.
        beside: Pixels that the method reads on each side.
    """
    finite = positions[np.isfinite(positions)]
    first = math.floor(max(float(finite.min()), start)) - beside
    last = math.ceil(min(float(finite.max()), end)) + beside
    first = min(max(first, start), end - 1)
    return slice(first - start, max(min(last, end), first + 1) - start)


def _inside(positions: Positions, axis: int, start: int, end: int, *, is_area: bool) -> tuple[int, int] | None:
    """Give the first and the last target pixel (exclusive) along an axis that lie in a window of a level."""
    low, high = (start - 1.0, end + 1.0) if is_area else (start - EPSILON, end + EPSILON)
    is_in: npt.NDArray[np.bool_] = (positions > low) & (positions < high)
    if is_in.ndim > 1:
        is_in = np.asarray(is_in.any(axis=1 if axis == 0 else 0))
    if is_area:
        # Pixels that hold the whole window have no corner in it.
        is_in = is_in[:-1] | is_in[1:]
        if not is_in.any():
            with np.errstate(invalid="ignore"):
                holds = np.nanmin(positions) < end and np.nanmax(positions) > start
            is_in = np.ones(len(is_in), bool) if holds else is_in
    found = np.flatnonzero(is_in)
    return (int(found[0]), int(found[-1]) + 1) if found.size else None


def _avoid_nodata(pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_], band: CubeBand) -> None:
    """Move results that would be taken for nodata by one, as GDAL does."""
    if (
        band.nodata is None
        or band.has_mask
        or band.method in {"nearest", "mode", "min", "max"}
        or pixels.dtype.kind not in "iu"
    ):
        return
    same = valid & (pixels == band.fill)
    if same.any():
        pixels[same] = band.fill + 1 if band.fill == np.iinfo(pixels.dtype).min else band.fill - 1


def _values(job: Job, source: Source, reading: _Reading | None) -> _Reading | None:
    """Give what was read of a source as the job's array has its pixels."""
    if reading is None or not job.band.is_physical:
        return reading
    part, pixels, valid = reading
    return part, to_physical(pixels, source.scaling, job.band.dtype), valid
