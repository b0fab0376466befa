"""The colour table of a TIFF with a palette, which an index does not keep: one small request where one is shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

from rasteret_sql.io import loop
from rasteret_sql.io.asked import redact
from rasteret_sql.io.stores import store_for
from rasteret_sql.tiff.buffer import NeedBytes, SparseBytes
from rasteret_sql.tiff.ifd import FIRST_READ_BYTES, parse_container, parse_directory

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.io.store import RangeStore

_COLOR_MAP: Final = 320  # TIFF 6.0, section 5: all reds, then all greens, then all blues, of 16 bits each
#: The table of the IFD, what its values need, and the start of the file.
_MAX_ROUNDS: Final = 6


def color_table(address: str, etag: str | None) -> tuple[npt.NDArray[np.uint8] | None, int, int]:
    """Read the colour table of a file.

    Args:
        address: where its bytes are.
        etag: ETag that it must have, or None.

    Returns:
        The colours, uint8 (n, 3), by value, or None where it has no such table; requests; and bytes.

    Raises:
        RasteretError: the bytes could not be fetched, or are those of no TIFF.
    """
    return loop.run(_read(store_for(address), address, etag))


async def _read(store: RangeStore, address: str, etag: str | None) -> tuple[npt.NDArray[np.uint8] | None, int, int]:
    first = await store.fetch(address, 0, FIRST_READ_BYTES, if_match=etag)
    size = len(first.data) if first.file_size is None and len(first.data) < FIRST_READ_BYTES else first.file_size
    buffer = SparseBytes((0, first.data), file_size=size)
    requests, nbytes = 1, len(first.data)
    for _ in range(_MAX_ROUNDS):
        try:
            return _parsed(buffer, redact(address)), requests, nbytes
        except NeedBytes as need:
            ranges = need.ranges
        parts = await asyncio.gather(*(store.fetch(address, *each, if_match=etag) for each in ranges))
        for part in parts:
            buffer.add(part.start, part.data)
            requests, nbytes = requests + 1, nbytes + len(part.data)
    return None, requests, nbytes


def _parsed(buffer: SparseBytes, name: str) -> npt.NDArray[np.uint8] | None:
    """Give the table of the first IFD.

    Raises:
        NeedBytes: parts of it are not there yet.
        TiffError: these are the bytes of no TIFF.
    """
    container = parse_container(buffer, name)
    directory, _ = parse_directory(buffer, container, container.first_ifd, f"{name}, IFD 0")
    values = np.array(directory.integers(_COLOR_MAP), np.int64)
    if not values.size or values.size % 3:
        return None
    # Some writers took bytes for the 16 bits.
    scaled = values if values.max() < 256 else values >> 8
    return scaled.reshape(3, -1).T.astype(np.uint8)
