"""Reads a cube: windows of files straight into its arrays where the grids are one, or resampled and put together.

What is fetched is decoded into scratch arrays of a bounded size, some files at a time; while these are resampled the
next are fetched.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.io import fork
from rasteret_sql.plan.places import Places, cover_of, lattice_of, pixel_map, touches
from rasteret_sql.read.mosaic import COUNT_BYTES, FLOATING, MEAN_BYTES, Mosaic
from rasteret_sql.read.resample import AREA_METHODS, EPSILON, reach, resample_areas, resample_points
from rasteret_sql.read.tiles import fill_value
from rasteret_sql.read.windows import Target, WindowReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.geo.pixelmap import PixelMap
    from rasteret_sql.plan.cube import Cube, CubeBand
    from rasteret_sql.plan.places import Lattice, Window
    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.windows import OnFailure

#: Bytes of scratch arrays that are filled at a time; as many are resampled meanwhile. A larger window is read alone.
SCRATCH_BYTES = 67_108_864
#: Pixels of the target that a thread resamples at a time.
BLOCK_PIXELS = 262_144
_NEARLY_WHOLE = 0.05
#: Lattices of files whose places a thread keeps meanwhile, for the bands of an item share one.
KNOWN_PLACES = 4


@dataclass(slots=True, eq=False)
class _Source:
    """A band of a file, and the part of it that a job takes."""

    asset_no: int
    band: int
    lattice: Lattice
    rows: npt.NDArray[np.int64]
    window: Window
    shift: tuple[int, int] | None
    pixels: npt.NDArray[Any] | None = None
    mask: npt.NDArray[np.bool_] | None = None


@dataclass(slots=True, eq=False)
class _Job:
    """One band of one group on one grid."""

    box: GeoBox
    whole: GeoBox
    band: CubeBand
    pixels: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_] | None
    sources: list[_Source] = field(default_factory=list)
    mosaic: Mosaic | None = None

    @property
    def is_direct(self) -> bool:
        """Whether pixels go from the file straight into the array."""
        return (
            len(self.sources) == 1
            and self.sources[0].shift is not None
            and self.band.mosaic not in FLOATING
            and self.band.mosaic != "count"
        )


def read_cube(
    cube: Cube,
    pixels: Sequence[npt.NDArray[Any]],
    masks: Sequence[npt.NDArray[np.bool_] | None],
    *,
    options: ReadOptions | None = None,
    on_failure: OnFailure | None = None,
) -> None:
    """Read a cube into arrays.

    Args:
        cube: what is read.
        pixels: one array (group, y, x) per band, of the band's dtype; what they hold before does not matter. Where
            there is no data they get the band's fill.
        masks: one array of booleans per band, of the same shape, or None where it is not wanted; True means valid.
            With one, pixels of files on the very grid that are not valid stay as they are, unless there is a mosaic.
        options: bounds of the read.
        on_failure: told of each file that failed; its pixels are then as if they were nodata.

    Raises:
        RasteretError: bytes could not be fetched or decoded, and there is no `on_failure`.
    """
    read_cubes([(cube, pixels, masks, Places(cube.whole))], options=options, on_failure=on_failure)


def read_cubes(
    cubes: Sequence[tuple[Cube, Sequence[npt.NDArray[Any]], Sequence[npt.NDArray[np.bool_] | None], Places]],
    *,
    options: ReadOptions | None = None,
    on_failure: OnFailure | None = None,
) -> None:
    """Read several cubes at once, each into its arrays, as `read_cube` does: what they share is fetched once.

    Args:
        cubes: with their pixels, masks, and where their grids lie in files; all have one plan.
        options: bounds of the read.
        on_failure: told of each file that failed; its pixels are then as if they were nodata.

    Raises:
        RasteretError: bytes could not be fetched or decoded, and there is no `on_failure`.
    """
    jobs = [job for each in cubes for job in _Jobs(*each).all()]
    batches = _batches(jobs)
    if not batches:
        return
    plan = cubes[0][0].plan
    pending: list[tuple[_Job, list[_Source], bool]] = []
    if len(batches) == 1:
        # In this thread, so that Ctrl-C ends it at once.
        _fetch(plan, batches[0], options, on_failure)
        _place(batches[0])
        return
    with ThreadPoolExecutor(1, thread_name_prefix="rasteret-read") as reader:
        for batch in batches:
            fetched = reader.submit(_fetch, plan, batch, options, on_failure)
            _place(pending)
            fetched.result()
            pending = batch
        _place(pending)


class _Jobs:
    """Makes the jobs of a cube."""

    def __init__(
        self,
        cube: Cube,
        pixels: Sequence[npt.NDArray[Any]],
        masks: Sequence[npt.NDArray[np.bool_] | None],
        places: Places,
    ) -> None:
        self._cube, self._pixels, self._masks, self._places = cube, pixels, masks, places

    def all(self) -> list[_Job]:
        cube = self._cube
        by_place: dict[tuple[int, int], list[int]] = {
            (group, place): [] for group in range(cube.group_count) for place in range(len(cube.bands))
        }
        for number, key in enumerate(zip(cube.sources.group.tolist(), cube.sources.place.tolist(), strict=True)):
            by_place[key].append(number)
        jobs: list[_Job] = []
        for (group, place), numbers in by_place.items():
            mask = self._masks[place]
            whole = self._pixels[place][group], None if mask is None else mask[group]
            jobs += self._split(cube.box, cube.bands[place], *whole, numbers)
        return jobs

    def _split(
        self,
        box: GeoBox,
        band: CubeBand,
        pixels: npt.NDArray[Any],
        mask: npt.NDArray[np.bool_] | None,
        numbers: Sequence[int],
    ) -> Iterator[_Job]:
        """Make one job, or several for parts of a median, which wants all of its sources at once."""
        job = _Job(box, self._cube.whole, band, pixels, mask, list(self._sources(box, band, numbers)))
        if band.mosaic != "median" or _scratch_bytes(job, job.sources) <= SCRATCH_BYTES or box.height == 1:
            yield job
            return
        half = box.height // 2
        for start, end in ((0, half), (half, box.height)):
            part = box.window(start, 0, end - start, box.width)
            yield from self._split(part, band, pixels[start:end], None if mask is None else mask[start:end], numbers)

    def _sources(self, box: GeoBox, band: CubeBand, numbers: Sequence[int]) -> Iterator[_Source]:
        sources, plan = self._cube.sources, self._cube.plan
        for number in numbers:
            asset_no = int(sources.asset_no[number])
            asset = plan.assets[asset_no]
            rows = np.arange(sources.start[number], sources.end[number])
            found = self._places.window(asset, box, band.method)
            if found is None:
                continue
            window, shift = found
            kept = rows[touches(plan, rows, asset, window)]
            if len(kept):
                yield _Source(asset_no, int(sources.band[number]), lattice_of(asset), kept, window, shift)


def _scratch_bytes(job: _Job, sources: Sequence[_Source]) -> int:
    if job.is_direct:
        return job.pixels.size if _is_masked(job) else 1
    return sum(math.prod(source.window.shape) * (job.band.source_dtype.itemsize + 1) for source in sources)


def _held_bytes(job: _Job) -> int:
    """Bytes that a mosaic takes beside its result, from its first source to its last."""
    if job.is_direct:
        return 0
    each = {"mean": MEAN_BYTES, "count": COUNT_BYTES}.get(job.band.mosaic or "first", 0) + (job.mask is None)
    return job.pixels.size * each


def _is_masked(job: _Job) -> bool:
    """Whether a direct read takes a mask that nobody else wants, to fill what is not valid."""
    return job.mask is None and job.band.is_filled


def _batches(jobs: Sequence[_Job]) -> list[list[tuple[_Job, list[_Source], bool]]]:
    """Share jobs out to batches: each with some sources of each, and whether they are its last ones."""
    batches: list[list[tuple[_Job, list[_Source], bool]]] = [[]]
    size = 0
    for job in jobs:
        parts = (
            [job.sources] if job.is_direct or job.band.mosaic == "median" else [[each] for each in job.sources] or [[]]
        )
        held = _held_bytes(job)
        for number, sources in enumerate(parts):
            nbytes = _scratch_bytes(job, sources) + (held if number == 0 else 0)
            if size and size + nbytes > SCRATCH_BYTES:
                batches.append([])
                size = held if number else 0
            size += nbytes
            is_last = number == len(parts) - 1
            if batches[-1] and batches[-1][-1][0] is job:
                _, known, _ = batches[-1].pop()
                sources = [*known, *sources]  # noqa: PLW2901
            batches[-1].append((job, sources, is_last))
    return [batch for batch in batches if batch]


def _fetch(
    plan: TilePlan,
    batch: Sequence[tuple[_Job, list[_Source], bool]],
    options: ReadOptions | None,
    on_failure: OnFailure | None,
) -> None:
    """Read the windows of a batch into its arrays."""
    targets: list[Target] = []
    rows: list[npt.NDArray[np.int64]] = []
    for job, sources, _ in batch:
        for source in sources:
            if job.is_direct:
                assert source.shift is not None
                source.pixels, source.mask = job.pixels, job.mask
                if _is_masked(job):
                    source.mask = np.empty(job.pixels.shape, bool)
                corner, fill = source.shift, job.band.fill
            else:
                source.pixels = np.empty(source.window.shape, job.band.source_dtype)
                source.mask = np.empty(source.window.shape, bool)
                corner, fill = (source.window.row_off, source.window.col_off), fill_value(job.band.source_dtype, None)
            targets.append(Target(source.pixels, source.mask, *corner, fill))
            rows.append(source.rows)
    if not rows:
        return
    target_of = np.repeat(np.arange(len(rows)), [len(found) for found in rows])
    WindowReader(plan.take(np.concatenate(rows)), targets, target_of).read(options, on_failure)


def _place(batch: Sequence[tuple[_Job, list[_Source], bool]]) -> None:
    """Put what was read of a batch into the arrays of its jobs."""
    by_box: dict[tuple[GeoBox, GeoBox], list[tuple[_Job, list[_Source], bool]]] = {}
    for job, sources, is_last in batch:
        if job.is_direct:
            (source,) = sources
            if job.band.mosaic is not None:
                # Whether items overlap in a part of a grid must not tell.
                _leave_out_nan(source)
            if job.band.is_filled and (job.mask is None or job.band.mosaic is not None):
                assert source.mask is not None
                np.copyto(job.pixels, job.band.fill, where=~source.mask)
            source.pixels = source.mask = None
            continue
        if job.mosaic is None:
            mask = np.empty(job.pixels.shape, bool) if job.mask is None else job.mask
            job.mosaic = Mosaic(job.band.mosaic or "first", job.pixels, mask, job.band.fill)
        for source in sources:
            _leave_out_nan(source)
        by_box.setdefault((job.box, job.whole), []).append((job, sources, is_last))
    for (box, whole), entries in by_box.items():
        resampler = _Resampler(box, entries, whole)
        # A median has all of its sources in hand at once.
        depth = max(len(sources) if job.band.mosaic == "median" else 1 for job, sources, _ in entries)
        step = max(1, BLOCK_PIXELS // (box.width * max(depth, 1)))
        # Exceptions of threads come out here.
        list(_pool().map(resampler.place, range(0, box.height, step), [step] * -(-box.height // step)))
        for job, sources, is_last in entries:
            for source in sources:
                source.pixels = source.mask = None
            if is_last:
                job.mosaic = None


def _leave_out_nan(source: _Source) -> None:
    """Take NaN for not valid: whatever a file says of nodata, it is no reading, and would hide those of others."""
    assert source.pixels is not None
    if source.mask is not None and source.pixels.dtype.kind in "fc":
        source.mask &= ~np.isnan(source.pixels)


@dataclass(frozen=True, slots=True, eq=False)
class _Footprint:
    """Where some rows of a grid lie in the window of a source; many sources have the same.

    Attributes:
        place: the part of the grid that the source has.
        part: the part of the window that it takes.
        rows, cols: places of the grid's pixels in that part, as resampling wants them.
    """

    place: tuple[slice, slice]
    part: tuple[slice, slice]
    rows: npt.NDArray[Any]
    cols: npt.NDArray[Any]


class _Resampler:
    """Resamples what jobs on one grid have, some rows of the grid at a time."""

    def __init__(self, box: GeoBox, entries: Sequence[tuple[_Job, list[_Source], bool]], whole: GeoBox) -> None:
        self._box, self._entries = box, entries
        windows = {
            (source.lattice, source.window) for _, sources, _ in entries for source in sources if source.shift is None
        }
        #: The part of the grid that a window covers, and the places of that part in the file.
        self._maps: dict[tuple[Lattice, Window], tuple[Window, PixelMap]] = {}
        for lattice, window in windows:
            cover = cover_of(lattice, window, box, whole)
            if cover is not None:
                part = box.window(cover.row_off, cover.col_off, *cover.shape)
                self._maps[lattice, window] = cover, pixel_map(lattice, part, whole)

    def place(self, start: int, step: int) -> None:
        """Do some rows of the grid, for all jobs."""
        end = min(start + step, self._box.height)
        known: dict[tuple[Lattice, Window, str], _Footprint | None] = {}
        for job, sources, is_last in self._entries:
            assert job.mosaic is not None
            if job.band.mosaic == "median":
                readings = [self._reading(job, source, start, end, known) for source in sources]
                whole = slice(start, end), slice(0, self._box.width)
                job.mosaic.add(whole, [self._widened(*each, start, end) for each in readings if each is not None])
            else:
                for source in sources:
                    reading = self._reading(job, source, start, end, known)
                    if reading is not None:
                        place, pixels, valid = reading
                        job.mosaic.add(place, [(pixels, valid)])
            if is_last:
                job.mosaic.finish(slice(start, end))

    def _reading(
        self,
        job: _Job,
        source: _Source,
        start: int,
        end: int,
        known: dict[tuple[Lattice, Window, str], _Footprint | None],
    ) -> tuple[tuple[slice, slice], npt.NDArray[Any], npt.NDArray[np.bool_]] | None:
        """Give the part of some rows of the grid that a source has, its pixels and their validity."""
        assert source.pixels is not None
        assert source.mask is not None
        window = source.window
        if source.shift is not None:
            rows_off, cols_off = window.row_off - source.shift[0], window.col_off - source.shift[1]
            first, last = max(start, rows_off), min(end, rows_off + window.shape[0])
            if first >= last:
                return None
            part = slice(first - rows_off, last - rows_off)
            place = slice(first, last), slice(cols_off, cols_off + window.shape[1])
            return place, source.pixels[part], source.mask[part]
        key = source.lattice, source.window, job.band.method
        if key not in known:
            if len(known) == KNOWN_PLACES:
                del known[next(iter(known))]
            known[key] = self._footprint(source, job.band.method, start, end)
        found = known[key]
        if found is None:
            return None
        values, mask = source.pixels[found.part], source.mask[found.part]
        _, places = self._maps[source.lattice, source.window]
        if job.band.method in AREA_METHODS:
            pixels, valid = resample_areas(values, mask, found.rows, found.cols, job.band.method)
            if places.period is not None:
                _mend_seam(values, mask, found.rows, found.cols, places.period, job.band.method, (pixels, valid))
        else:
            scale = _kernel_scale(places.scale[0]), _kernel_scale(places.scale[1])
            pixels, valid = resample_points(values, mask, found.rows, found.cols, job.band.method, scale)
        _avoid_nodata(pixels, valid, job.band)
        return found.place, pixels, valid

    def _footprint(self, source: _Source, method: str, start: int, end: int) -> _Footprint | None:
        """Find where some rows of the grid lie in the window of a source; None where they do not."""
        is_area = method in AREA_METHODS
        cover, places = self._maps.get((source.lattice, source.window), (None, None))
        if cover is None or places is None:
            return None
        start, end = max(start, cover.row_off), min(end, cover.row_end)
        if start >= end:
            return None
        span = start - cover.row_off, end - cover.row_off
        rows, cols = places.corners(*span) if is_area else places.centres(*span)
        rows -= source.window.row_off
        cols -= source.window.col_off
        height, width = source.window.shape
        down, across = _inside(rows, 0, height, is_area=is_area), _inside(cols, -1, width, is_area=is_area)
        if down is None or across is None:
            return None
        # Of areas there is one more corner than there are pixels.
        row_part, col_part = slice(down[0], down[1] + is_area), slice(across[0], across[1] + is_area)
        rows, cols = (rows[row_part], cols[col_part]) if rows.ndim == 1 else (
            rows[row_part, col_part], cols[row_part, col_part]
        )  # fmt: skip
        # Only what these rows need: masked sources are copied before they are resampled.
        needed = (
            _needed(rows, height, method, places.scale[0]),
            _needed(cols, width, method, places.scale[1]),
        )
        rows -= needed[0].start
        cols -= needed[1].start
        place = slice(start + down[0], start + down[1]), slice(cover.col_off + across[0], cover.col_off + across[1])
        return _Footprint(place, needed, rows, cols)

    def _widened(
        self, place: tuple[slice, slice], pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_], start: int, end: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Give a reading for all columns and rows of a part."""
        shape = end - start, self._box.width
        if pixels.shape == shape:
            return pixels, valid
        wide, mask = np.zeros(shape, pixels.dtype), np.zeros(shape, bool)
        inside = slice(place[0].start - start, place[0].stop - start), place[1]
        wide[inside], mask[inside] = pixels, valid
        return wide, mask


def _needed(places: npt.NDArray[Any], size: int, method: str, scale: float) -> slice:
    """Give the part of a source along an axis that a method reads for some places."""
    finite = places[np.isfinite(places)]
    beside = reach(method, scale) + 1
    first = math.floor(max(float(finite.min()), 0.0)) - beside
    last = math.ceil(min(float(finite.max()), float(size))) + beside
    start = min(max(first, 0), size - 1)
    return slice(start, max(min(last, size), start + 1))


def _kernel_scale(scale: float) -> float:
    """Give the scale that widens a kernel: as in GDAL a whole number where it is nearly one."""
    whole = round(scale)
    return float(whole) if abs(scale - whole) < _NEARLY_WHOLE else scale


def _mend_seam(
    values: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    rows: npt.NDArray[Any],
    cols: npt.NDArray[Any],
    period: float,
    method: str,
    found: tuple[npt.NDArray[Any], npt.NDArray[np.bool_]],
) -> None:
    """Resample anew the pixels that lie across the edge of a raster around the Earth, with corners on both sides of it.

    They get what is there of the side that lies to the east.
    """
    corners = np.stack([cols[..., :-1], cols[..., 1:]])
    if cols.ndim > 1:
        corners = np.concatenate([corners[:, :-1], corners[:, 1:]])
    across = np.asarray(corners.max(axis=0) - corners.min(axis=0) > period / 2)
    if not across.any():
        return
    middle = (np.nanmin(cols) + np.nanmax(cols)) / 2
    turned = np.where(cols > middle, cols - period, cols)
    pixels, valid = resample_areas(values, mask, rows, turned, method)
    where = np.broadcast_to(across, found[0].shape)
    np.copyto(found[0], pixels, where=where)
    np.copyto(found[1], valid, where=where)


def _inside(places: npt.NDArray[Any], axis: int, size: int, *, is_area: bool) -> tuple[int, int] | None:
    """Give the first and the last target pixel (exclusive) along an axis that lie in a source of a size."""
    low, high = (-1.0, size + 1.0) if is_area else (-EPSILON, size + EPSILON)
    is_in: npt.NDArray[np.bool_] = (places > low) & (places < high)
    if is_in.ndim > 1:
        is_in = np.asarray(is_in.any(axis=1 if axis == 0 else 0))
    if is_area:
        # Pixels that hold the whole source have no corner in it.
        is_in = is_in[:-1] | is_in[1:]
        if not is_in.any():
            with np.errstate(invalid="ignore"):
                is_in = np.ones(len(is_in), bool) if np.nanmin(places) < size and np.nanmax(places) > 0 else is_in
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


_pools: list[ThreadPoolExecutor] = []


def _pool() -> ThreadPoolExecutor:
    if not _pools:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        _pools.append(ThreadPoolExecutor(threads, thread_name_prefix="rasteret-resample"))
    return _pools[0]


fork.on_fork(_pools.clear)
