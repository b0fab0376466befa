"""Reads a cube block by block, all bands of a block at once, while the caller writes the block before it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.io import loop
from rasteret_sql.plan.places import Places
from rasteret_sql.read.assembly import read_cube

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.arrays.failures import Failures
    from rasteret_sql.plan.cube import Cube

#: Bytes of pixels and masks of a block; two are in memory at a time, one that is read and one that is written.
BLOCK_BYTES = 48 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A part of one slice of a cube.

    Attributes:
        row_off, col_off: its corner, in pixels of the grid.
        pixels: array (y, x) of each band. Pixels that are not valid hold the value of the file; physical values are NaN
            there.
        masks: booleans of the same shape, True means valid.
    """

    row_off: int
    col_off: int
    pixels: list[npt.NDArray[Any]]
    masks: list[npt.NDArray[np.bool_]]


class BlockReader:
    """Reads parts of a cube; each tile is fetched once per block, however many bands it has.

    Args:
        cube: the files and the grid.
        failures: decides about files that cannot be read.
    """

    def __init__(self, cube: Cube, failures: Failures) -> None:
        self._cube = cube
        self._failures = failures
        self._places = Places(cube.whole)

    def dtype(self, place: int) -> np.dtype[Any]:
        """Give the dtype that a band is written in."""
        return self._cube.bands[place].dtype

    def side(self, places: Sequence[int], tile: int) -> int:
        """Choose the side of blocks of some bands: `tile` times a power of two, and few enough bytes."""
        each = self._pixel_bytes(places)
        side = tile
        while side < max(self._cube.box.height, self._cube.box.width) and (2 * side) ** 2 * each <= BLOCK_BYTES:
            side *= 2
        return side

    def _pixel_bytes(self, places: Sequence[int]) -> int:
        """Give the bytes that a pixel of some bands takes."""
        return sum(self.dtype(place).itemsize + 1 for place in places)

    def blocks(self, group: int, places: Sequence[int], side: int) -> Iterator[Block]:
        """Read a slice of some bands, from the top left on; a block is read while the one before it is worked on.

        Raises:
            RasteretError: bytes could not be fetched or decoded, and failures are raised.
        """
        box = self._cube.box
        corners = [(row, col) for row in range(0, box.height, side) for col in range(0, box.width, side)]
        with ThreadPoolExecutor(1, thread_name_prefix="rasteret-export") as reader:
            waiting = reader.submit(self.read, group, places, *corners[0], side)
            try:
                for following in [*corners[1:], None]:
                    block = waiting.result()
                    if following is not None:
                        waiting = reader.submit(self.read, group, places, *following, side)
                    yield block
                    del block
            except KeyboardInterrupt:
                # Ctrl-C reaches this thread only, and the one that reads would be waited for.
                loop.interrupt()
                raise
            finally:
                waiting.cancel()

    def read(self, group: int, places: Sequence[int], row_off: int, col_off: int, side: int) -> Block:
        """Read a block of at most `side` rows and columns.

        Raises:
            RasteretError: bytes could not be fetched or decoded, and failures are raised.
        """
        box, sources = self._cube.box, self._cube.sources
        shape = min(side, box.height - row_off), min(side, box.width - col_off)
        picked = np.flatnonzero((sources.group == group) & np.isin(sources.place, places))
        part = self._cube.part(
            places, slice(group, group + 1), box.window(row_off, col_off, *shape), picked, self._places
        )
        pixels = [np.empty((1, *shape), band.dtype) for band in part.bands]
        masks = [np.empty((1, *shape), bool) for _ in part.bands]
        read_cube(part, pixels, masks, on_failure=self._failures.add)
        return Block(row_off, col_off, [array[0] for array in pixels], [mask[0] for mask in masks])
