"""GDAL's COG ghost area: its promises about the layout of a file, and the frames of tiles that it announces.

Format: https://gdal.org/en/stable/drivers/raster/cog.html#header-ghost-area
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from rasteret_sql.errors import CorruptTiffError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_sql.tiff.buffer import SparseBytes
    from rasteret_sql.tiff.ifd import Container

MAX_GHOST_BYTES: Final = 4096

_GHOST: Final = re.compile(rb"GDAL_STRUCTURAL_METADATA_SIZE=(\d{6}) bytes\n")
#: Bytes of the line that the pattern matches.
_HEAD_BYTES: Final = 43
_FRAME_BYTES: Final = 4
_LEADER: Final = "BLOCK_LEADER=SIZE_AS_UINT4"
_TRAILER: Final = "BLOCK_TRAILER=LAST_4_BYTES_REPEATED"
_BROKEN: Final = "KNOWN_INCOMPATIBLE_EDITION=YES"


class Frames(NamedTuple):
    """What lies around each tile.

    Attributes:
        leader: the size of the tile as little-endian uint32 before it.
        trailer: its last four bytes once more behind it.
    """

    leader: bool = False
    trailer: bool = False


def parse_ghost_area(buffer: SparseBytes, container: Container) -> tuple[str, ...]:
    """What GDAL's COG driver promises right after the file header, as "KEY=VALUE" lines; often none."""
    start = 16 if container.bigtiff else 8
    head = _GHOST.match(buffer.available(start, _HEAD_BYTES))
    if head is None:
        return ()
    size = min(int(head.group(1)), MAX_GHOST_BYTES)
    return _lines(bytes(buffer.available(start + head.end(), size)))


@lru_cache(maxsize=16)
def _lines(text: bytes) -> tuple[str, ...]:
    lines = text.decode("ascii", "replace").splitlines()
    return tuple(line.strip() for line in lines if line.partition("=")[2].strip())


def frames_of(layout: Sequence[str] | None) -> Frames:
    """The frames that a ghost area announces; none if the file was edited by a program that did not keep them."""
    if not layout or _BROKEN in layout:
        return Frames()
    return Frames(_LEADER in layout, _TRAILER in layout)


def check_frame(frames: Frames, response: memoryview, first: int, nbytes: int) -> None:
    """Compare a tile with its frame, as far as the bytes that were fetched hold it.

    Args:
        frames: what the file has.
        response: the bytes that were fetched.
        first: where the tile begins in them.
        nbytes: length of the tile.

    Raises:
        CorruptTiffError: the frame is that of another tile.
    """
    end = first + nbytes
    if frames.leader and first >= _FRAME_BYTES:
        (size,) = struct.unpack_from("<I", response, first - _FRAME_BYTES)
        if size != nbytes:
            raise _contradicts(f"a block leader of {size} bytes", f"{nbytes}")
    if frames.trailer and nbytes >= _FRAME_BYTES and end + _FRAME_BYTES <= len(response):
        last, trailer = bytes(response[end - _FRAME_BYTES : end]), bytes(response[end : end + _FRAME_BYTES])
        if trailer != last:
            raise _contradicts(f"a block trailer {trailer.hex()}", f"the tile's last bytes {last.hex()}")


def _contradicts(got: str, expected: str) -> CorruptTiffError:
    return CorruptTiffError(
        f"got {got}, expected {expected}; the file was rewritten since it was indexed, or is damaged. "
        "Build its index row again."
    )
