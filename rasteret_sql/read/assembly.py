"""Reads a cube. Windows of files on its own grid are decoded straight into its arrays; others are resampled.

Windows that are resampled or put together are decoded into scratch arrays of a bounded size, some files at a time.
While these are resampled, the next ones are fetched.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.io import fork
from rasteret_sql.io.machine import decode_threads
from rasteret_sql.plan.places import Places, lattice_of
from rasteret_sql.plan.scaling import make_physical, scaling_of
from rasteret_sql.read.mosaic import COUNT_BYTES, MEAN_BYTES, Mosaic
from rasteret_sql.read.regrid import Job, Regridder, Share, Source
from rasteret_sql.read.windows import Target, WindowReader
from rasteret_sql.tiff.nodata import fill_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.cube import Cube, CubeBand
    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.windows import OnFailure

#: Bytes of scratch arrays that are filled at a time; as many are resampled meanwhile. A larger window is read alone.
SCRATCH_BYTES = 67_108_864
#: Pixels of the target that a thread resamples at a time.
BLOCK_PIXELS = 262_144


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
        cube: What is read.
        pixels: One array (group, y, x) per band, of the band's dtype. Every pixel is written; pixels without data, and
            those that a geometry clips away, get the band's fill.
        masks: One array of booleans per band, of the same shape, or None where none is wanted; True means valid. With a
            mask and without a mosaic, invalid pixels of a file on the cube's own grid keep the value of the file; those
            of bands with physical values are NaN.
        options: Bounds of the read.
        on_failure: Called for each file that failed; its pixels then count as nodata.

    Raises:
        RasteretError: bytes could not be fetched or decoded, and there is no `on_failure`.
    """
    read_cubes([(cube, pixels, masks, Places(cube.whole))], options=options, on_failure=on_failure)


def filled(
    pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None, band: CubeBand
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Put the fill of a band where pixels of its files are not valid; files may hold any value there."""
    if mask is not None and band.is_filled:
        np.copyto(pixels, band.fill, where=~mask)
    return pixels, mask


def read_cubes(
    cubes: Sequence[tuple[Cube, Sequence[npt.NDArray[Any]], Sequence[npt.NDArray[np.bool_] | None], Places]],
    *,
    options: ReadOptions | None = None,
    on_failure: OnFailure | None = None,
) -> None:
    """Read several cubes at once, each into its arrays, as `read_cube` does: what they share is fetched once.

    Args:
        cubes: Each with its pixels and masks, as in `read_cube`, and its grid's windows in files. All have one plan.
        options: Bounds of the read.
        on_failure: Called for each file that failed; its pixels then count as nodata.

    Raises:
        RasteretError: bytes could not be fetched or decoded, and there is no `on_failure`.
    """
    jobs = [job for each in cubes for job in _Jobs(*each).all()]
    batches = _batches(jobs)
    if batches:
        _read_batches(cubes[0][0].plan, batches, options, on_failure)
    for cube, pixels, masks, _ in cubes:
        _clip(cube, pixels, masks)


def _read_batches(
    plan: TilePlan, batches: Sequence[list[Share]], options: ReadOptions | None, on_failure: OnFailure | None
) -> None:
    """Read batches, each while the one before it is resampled."""
    pending: list[Share] = []
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


def _clip(cube: Cube, pixels: Sequence[npt.NDArray[Any]], masks: Sequence[npt.NDArray[np.bool_] | None]) -> None:
    """Make pixels outside of the geometry of a cube invalid."""
    if cube.clip is None:
        return
    inside = cube.clip.inside(cube.window)
    if inside.all():
        return
    for band, array, mask in zip(cube.bands, pixels, masks, strict=True):
        np.copyto(array, band.fill, where=~inside)
        if mask is not None:
            np.logical_and(mask, inside, out=mask)


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

    def all(self) -> list[Job]:
        cube = self._cube
        by_place: dict[tuple[int, int], list[int]] = {
            (group, place): [] for group in range(cube.group_count) for place in range(len(cube.bands))
        }
        for number, key in enumerate(zip(cube.sources.group.tolist(), cube.sources.place.tolist(), strict=True)):
            by_place[key].append(number)
        jobs: list[Job] = []
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
    ) -> Iterator[Job]:
        """Make one job, or several for parts of a median, which takes all of its sources at once."""
        job = Job(box, self._cube.whole, band, pixels, mask, list(self._sources(box, numbers)))
        if band.mosaic != "median" or _scratch_bytes(job, job.sources) <= SCRATCH_BYTES or box.height == 1:
            yield job
            return
        half = box.height // 2
        for start, end in ((0, half), (half, box.height)):
            part = box.window(start, 0, end - start, box.width)
            yield from self._split(part, band, pixels[start:end], None if mask is None else mask[start:end], numbers)

    def _sources(self, box: GeoBox, numbers: Sequence[int]) -> Iterator[Source]:
        sources = self._cube.sources
        for number in numbers:
            found = self._cube.located(number, box, self._places)
            if found is not None:
                window, shift, rows = found
                asset_no, band = int(sources.asset_no[number]), int(sources.band[number])
                asset = self._cube.plan.assets[asset_no]
                scaling = next(scaling_of(each) for each in asset.bands if each.band == band)
                yield Source(asset_no, band, lattice_of(asset), rows, window, shift, np.dtype(asset.dtype), scaling)


def _scratch_bytes(job: Job, sources: Sequence[Source]) -> int:
    if job.is_direct:
        return job.pixels.size if _is_masked(job) else 1
    return sum(math.prod(source.window.shape) * (job.band.source_dtype.itemsize + 1) for source in sources)


def _held_bytes(job: Job) -> int:
    """Bytes that a mosaic takes beside its result, from its first source to its last."""
    if job.is_direct:
        return 0
    each = {"mean": MEAN_BYTES, "count": COUNT_BYTES}.get(job.band.mosaic or "first", 0) + (job.mask is None)
    return job.pixels.size * each


def _is_masked(job: Job) -> bool:
    """Whether a direct read needs a mask of its own, to fill invalid pixels."""
    return job.mask is None and job.band.is_filled


def _batches(jobs: Sequence[Job]) -> list[list[Share]]:
    """Share jobs out to batches whose scratch arrays take `SCRATCH_BYTES` at most, or hold one source."""
    batches: list[list[Share]] = [[]]
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
            before = batches[-1].pop().sources if batches[-1] and batches[-1][-1].job is job else []
            batches[-1].append(Share(job, [*before, *sources], is_last=number == len(parts) - 1))
    return [batch for batch in batches if batch]


def _fetch(
    plan: TilePlan,
    batch: Sequence[Share],
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


def _place(batch: Sequence[Share]) -> None:
    """Resample what was read of a batch, and put it into the arrays of its jobs."""
    by_box: dict[tuple[GeoBox, GeoBox], list[Share]] = {}
    for share in batch:
        job, sources, _ = share
        if job.is_direct:
            (source,) = sources
            if job.band.is_physical:
                make_physical(job.pixels, source.scaling)
            if job.band.mosaic is not None:
                # As where items overlap: a pixel must not tell whether they do in the part that is read.
                _leave_out_nan(source)
            if job.band.is_filled and (job.mask is None or job.band.mosaic is not None or job.band.is_physical):
                assert source.mask is not None
                np.copyto(job.pixels, job.band.fill, where=~source.mask)
            source.pixels = source.mask = None
            continue
        if job.mosaic is None:
            mask = np.empty(job.pixels.shape, bool) if job.mask is None else job.mask
            job.mosaic = Mosaic(job.band.mosaic or "first", job.pixels, mask, job.band.fill)
        for source in sources:
            _leave_out_nan(source)
        by_box.setdefault((job.box, job.whole), []).append(share)
    for (box, whole), shares in by_box.items():
        regridder = Regridder(box, whole, shares)
        # A median has all of its sources in hand at once.
        depth = max(len(sources) if job.band.mosaic == "median" else 1 for job, sources, _ in shares)
        step = max(1, BLOCK_PIXELS // (box.width * max(depth, 1)))
        # Exceptions of threads come out here.
        list(_pool().map(regridder.place, range(0, box.height, step), [step] * -(-box.height // step)))
        for job, sources, is_last in shares:
            for source in sources:
                source.pixels = source.mask = None
            if is_last:
                job.mosaic = None


def _leave_out_nan(source: Source) -> None:
    """Make NaN invalid: it is no reading, whatever the nodata value of the file, and would hide those of others."""
    assert source.pixels is not None
    if source.mask is not None and source.pixels.dtype.kind in "fc":
        source.mask &= ~np.isnan(source.pixels)


def _pool() -> ThreadPoolExecutor:
    """Give the threads that resample."""
    size, pools = decode_threads(), _pools.get()
    if size not in pools:
        pools.setdefault(size, ThreadPoolExecutor(size, thread_name_prefix="rasteret-resample"))
    return pools[size]


#: By their number of threads, since the option may change.
_pools: fork.PerProcess[dict[int, ThreadPoolExecutor]] = fork.PerProcess(dict)
