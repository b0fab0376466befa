"""Cubes as Dask arrays: each task carries its own tiles, and reads them concurrently when it is computed."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.arrays.failures import Failures, LazyFailures
from rasteret_sql.checks import shown, shown_names
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.cube import is_covered
from rasteret_sql.plan.places import Places
from rasteret_sql.plan.tokens import token_of
from rasteret_sql.read.assembly import filled, read_cube

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from rasteret_sql.arrays.failures import WorkerFailures
    from rasteret_sql.plan.cube import Cube

    #: A part of a cube, how it is read, and who is told of failures; None where they are raised.
    Opened = tuple[Cube, "BlockSettings", LazyFailures | WorkerFailures | None]

_DIMS = ("time", "y", "x")


def check_chunks(chunks: Any) -> None:
    """Refuse what no chunks can be, before anything is read.

    Raises:
        InvalidArgumentError: Dask is not installed, or `chunks` names no dimension.
    """
    try:
        import dask.array  # noqa: F401
    except ImportError as error:
        raise InvalidArgumentError("chunks: Dask is required: pip install 'rasteret-sql[dask]'") from error
    if hasattr(chunks, "items"):
        unknown = [name for name in chunks if name not in _DIMS]
        if unknown:
            raise InvalidArgumentError(f"chunks: got {shown_names(unknown)}, expected sizes for {', '.join(_DIMS)}")


def lazy_arrays(shared: SharedCube, chunks: Any) -> list[tuple[Any, Any]]:
    """Give pixels and, where it is to be kept, the mask of each band of a cube as Dask arrays (group, y, x).

    Args:
        shared: what is read, and what becomes of failures.
        chunks: sizes of chunks by dimension; a dimension that is not named is one chunk, but for time, whose chunks are
            of one slice.

    Raises:
        InvalidArgumentError: `chunks` does not fit.
    """
    import dask.array as da

    make: Any = da.Array
    cube = shared.cube
    shape = (cube.group_count, cube.box.height, cube.box.width)
    arrays = []
    for place, band in enumerate(cube.bands):
        sizes = _sizes(chunks, shape, band.dtype)
        settings = shared.settings(place)
        name = f"read-{band.name}-{token_of(shared.token, place, sizes, settings)}"
        graph: dict[Any, Any] = {}
        spans = [_spans(each) for each in sizes]
        for key in itertools.product(*(range(len(each)) for each in sizes)):
            block = Block(shared, place, tuple(spans[axis][number] for axis, number in enumerate(key)), settings)
            graph[name, *key] = (read_block, block)
        if not settings.with_mask:
            arrays.append((make(graph, name, sizes, band.dtype), None))
            continue
        both = make(graph, name, sizes, band.dtype)
        arrays.append((both.map_blocks(_first, dtype=band.dtype), both.map_blocks(_second, dtype=bool)))
    return arrays


@dataclass(frozen=True, slots=True)
class BlockSettings:
    """How a block is read.

    Attributes:
        on_error: "raise", or "nodata" to fill what fails and list it.
        with_mask: whether its mask is kept.
    """

    on_error: str
    with_mask: bool


class SharedCube:
    """What all blocks of a cube need to find their own part of it. It never leaves the process that made it.

    Args:
        cube: what is read.
        on_error: "raise", or "nodata" to fill what fails and list it.
        failures: who is told of failures; None for the list of a new dataset.
    """

    def __init__(self, cube: Cube, on_error: str, failures: WorkerFailures | None = None) -> None:
        self.cube, self.on_error, self._failures = cube, on_error, failures
        self.places = Places(cube.whole)
        # Sources are ordered by group, then by band.
        self.keys = cube.sources.group * len(cube.bands) + cube.sources.place

    @cached_property
    def token(self) -> str:
        """The name of the cube, by everything in it."""
        from rasteret_sql.index.parquet_file import package_version

        # Another version may decode or resample in another way.
        return token_of(package_version(), self.cube)

    @cached_property
    def failures(self) -> LazyFailures | WorkerFailures | None:
        """Who is told of failures; None where they are raised."""
        return self._failures or (LazyFailures(self.token) if self.on_error == "nodata" else None)

    def settings(self, place: int) -> BlockSettings:
        """Give how blocks of a band are read."""
        band = self.cube.bands[place]
        # Files that have all pixels of a band need no mask. But such files may still fail, and what takes the place of
        # their pixels must not pass for data.
        may_lack = self.on_error == "nodata" or not is_covered(self.cube, place, self.places)
        return BlockSettings(self.on_error, with_mask=band.has_mask and may_lack)

    def part(self, place: int, spans: tuple[tuple[int, int], ...]) -> Cube:
        """Give the part of the cube that a block takes."""
        (first, last), (row_off, row_end), (col_off, col_end) = spans
        count = len(self.cube.bands)
        picked = [
            np.arange(*np.searchsorted(self.keys, [group * count + place, group * count + place + 1]))
            for group in range(first, last)
        ]
        box = self.cube.box.window(row_off, col_off, row_end - row_off, col_end - col_off)
        return self.cube.part([place], slice(first, last), box, np.concatenate(picked), self.places)


class Block:
    """One chunk of one band. What is pickled of it is its own slice of the plan."""

    def __init__(
        self, shared: SharedCube, place: int, spans: tuple[tuple[int, int], ...], settings: BlockSettings
    ) -> None:
        self._shared, self._place, self._spans, self._settings = shared, place, spans, settings

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle the part of the cube, as bytes: a scheduler, which takes graphs apart, only passes them on."""
        return PackedBlock, (pickle.dumps(self.opened(), pickle.HIGHEST_PROTOCOL),)

    def opened(self) -> Opened:
        """The part of the cube that the chunk takes, how it is read, and who is told of failures."""
        return self._shared.part(self._place, self._spans), self._settings, self._shared.failures

    def __dask_tokenize__(self) -> Any:
        """Say what the block is: its part of a cube, and how it is read."""
        return self._shared.token, self._place, self._spans, repr(self._settings)


class PackedBlock:
    """A block in another process: what it takes, pickled until it is read."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return PackedBlock, (self._packed,)

    def opened(self) -> Opened:
        """The part of the cube that the chunk takes, how it is read, and who is told of failures."""
        return pickle.loads(self._packed)  # type: ignore[no-any-return]  # noqa: S301 - made by Block

    def __dask_tokenize__(self) -> Any:
        """Say what the block is."""
        return self._packed


def read_block(block: Block | PackedBlock) -> Any:
    """Read a chunk: an array (group, y, x), or a pair of it and its mask.

    Raises:
        RasteretError: bytes could not be fetched or decoded, and `on_error` is "raise".
    """
    cube, settings, told = block.opened()
    (band,) = cube.bands
    shape = (cube.group_count, cube.box.height, cube.box.width)
    pixels = np.empty(shape, band.dtype)
    mask = np.empty(shape, bool) if settings.with_mask else None
    failures = Failures.of(settings.on_error)
    read_cube(cube, [pixels], [mask], on_failure=failures.add)
    if told is not None:
        told.tell(failures)
    return filled(pixels, mask, band) if settings.with_mask else pixels


def _first(pair: Any) -> npt.NDArray[Any]:
    return pair[0]  # type: ignore[no-any-return]


def _second(pair: Any) -> npt.NDArray[np.bool_]:
    return pair[1]  # type: ignore[no-any-return]


def _sizes(chunks: Any, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> tuple[tuple[int, ...], ...]:
    from dask.array import core

    if isinstance(chunks, (str, int)):
        wanted: Any = chunks
    elif hasattr(chunks, "items"):
        wanted = tuple(chunks.get(name, 1 if name == "time" else -1) for name in _DIMS)
    else:
        wanted = chunks
    normalize: Any = core.normalize_chunks
    reason = "they must be whole numbers above 0 and add up to the size"
    try:
        sizes: tuple[tuple[int, ...], ...] = normalize(wanted, shape, dtype=dtype)
    except Exception as error:  # noqa: BLE001 - any object may be given, and Dask formats it
        sizes, reason = (), str(error).partition("\n")[0]
    if [sum(each) for each in sizes] != list(shape) or min(itertools.chain(*sizes)) < 1:
        raise InvalidArgumentError(
            f'chunks: got {shown(chunks)}, expected sizes by dimension, such as {{"time": 1, "y": 2048}}; of '
            f"{dict(zip(_DIMS, shape, strict=True))}: {reason}"
        )
    return sizes


def _spans(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    ends = list(itertools.accumulate(sizes))
    return list(zip([0, *ends[:-1]], ends, strict=True))
