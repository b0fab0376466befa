"""Cubes as arrays that read a window when they are indexed, as xarray expects of a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core.indexing import IndexingSupport, LazilyIndexedArray, explicit_indexing_adapter

from rasteret_sql.arrays.dask import Block, SharedCube, read_block
from rasteret_sql.arrays.memory import check_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from xarray.core.indexing import ExplicitIndexer

    from rasteret_sql.arrays.dask import BlockSettings
    from rasteret_sql.arrays.failures import WorkerFailures
    from rasteret_sql.plan.cube import Cube

    Numbers = npt.NDArray[np.intp]


def indexed_arrays(shared: SharedCube) -> list[tuple[Any, Any]]:
    """Give pixels and, where it is to be kept, the mask of each band of a cube as arrays (group, y, x).

    Args:
        shared: what is read, and what becomes of failures.
    """
    arrays: list[tuple[Any, Any]] = []
    for place in range(len(shared.cube.bands)):
        settings = shared.settings(place)
        pixels = LazilyIndexedArray(WindowArray(shared, place, settings))
        mask = LazilyIndexedArray(WindowArray(shared, place, settings, is_mask=True)) if settings.with_mask else None
        arrays.append((pixels, mask))
    return arrays


class WindowArray(BackendArray):  # type: ignore[no-untyped-call, unused-ignore]
    """The pixels of one band of a cube, or their mask: an array (group, y, x).

    An index reads the smallest window of the grid that holds it, of the slices that it names.
    """

    def __init__(self, shared: SharedCube, place: int, settings: BlockSettings, *, is_mask: bool = False) -> None:
        cube = shared.cube
        self._shared, self._place, self._settings, self._is_mask = shared, place, settings, is_mask
        self.shape = (cube.group_count, cube.box.height, cube.box.width)
        self.dtype = np.dtype(bool) if is_mask else cube.bands[place].dtype

    def __getitem__(self, key: ExplicitIndexer) -> Any:
        """Read what an index of xarray names.

        Raises:
            InvalidArgumentError: it has more pixels than memory or the option `max_result_bytes` allow.
            RasteretError: bytes could not be fetched or decoded, and `on_error` is "raise".
        """
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._read)

    def __reduce__(self) -> tuple[Callable[..., WindowArray], tuple[Any, ...]]:
        """Pickle the plan of this band alone."""
        spans = tuple((0, size) for size in self.shape)
        part = self._shared.part(self._place, spans)
        return _unpacked, (part, self._settings, self._shared.failures, self._is_mask)

    def __dask_tokenize__(self) -> Any:
        """Say what the array is: a band of a cube, and how it is read."""
        return self._shared.token, self._place, repr(self._settings), self._is_mask

    def _read(self, key: tuple[int | slice | Numbers, ...]) -> npt.NDArray[Any]:
        """Read what an outer index names; each of its parts is a number, a slice, or an array of numbers."""
        picked = [np.arange(size)[part] for size, part in zip(self.shape, key, strict=True)]
        shape = tuple(size for each in picked for size in each.shape)
        groups, rows, cols = (np.atleast_1d(each) for each in picked)
        if not groups.size * rows.size * cols.size:
            return np.empty(shape, self.dtype)
        window = (int(rows.min()), int(rows.max()) + 1), (int(cols.min()), int(cols.max()) + 1)
        wanted = np.unique(groups)
        (top, bottom), (left, right) = window
        check_bytes((len(wanted), bottom - top, right - left), 1, self.dtype.itemsize)
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        parts = [self._block((int(run[0]), int(run[-1]) + 1), *window) for run in runs]
        pixels = parts[0] if len(parts) == 1 else np.concatenate(parts)
        within = np.searchsorted(wanted, groups), rows - top, cols - left
        if any(
            len(each) != size or (np.diff(each) != 1).any() for each, size in zip(within, pixels.shape, strict=True)
        ):
            pixels = pixels[np.ix_(*within)]
        return pixels.reshape(shape)

    def _block(self, *spans: tuple[int, int]) -> npt.NDArray[Any]:
        found = read_block(Block(self._shared, self._place, spans, self._settings))
        if not self._settings.with_mask:
            return found  # type: ignore[no-any-return]
        pixels, mask = found
        return mask if self._is_mask else pixels  # type: ignore[no-any-return]


def _unpacked(
    cube: Cube,
    settings: BlockSettings,
    failures: WorkerFailures | None,
    is_mask: bool,  # noqa: FBT001 - pickled
) -> WindowArray:
    return WindowArray(SharedCube(cube, settings.on_error, failures), 0, settings, is_mask=is_mask)
