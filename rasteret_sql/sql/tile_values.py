"""The values of tiles as lists: the function in Python behind `rst_to_list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.sql.workarounds import without_paths

if TYPE_CHECKING:
    import numpy.typing as npt

#: From here on, not every integer is a float64.
_WHOLE_DOUBLES = 2.0**53


@without_paths
def tile_values(pixels: pa.Array, dtypes: pa.Array) -> pa.Array:
    """Give the values of BLOBs of tiles as lists of DOUBLE; NULL stays NULL.

    Args:
        pixels: bytes of tiles in C order, little-endian.
        dtypes: numpy dtype name of each.

    Raises:
        InvalidArgumentError: a dtype is not known or complex, a DOUBLE cannot hold a pixel, or the bytes are not
            whole values of the dtype.
    """
    values: list[Any] = []
    lengths: list[int | None] = []
    for blob, name in zip(pixels, dtypes, strict=True):
        if not blob.is_valid or not name.is_valid:
            values.append(np.empty(0))
            lengths.append(None)
            continue
        try:
            dtype = np.dtype(name.as_py())
            tile = np.frombuffer(blob.as_buffer(), dtype.newbyteorder("<"))
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(
                f"rst_to_list: got {len(blob.as_buffer())} bytes and dtype {name.as_py()!r}, expected pixels of "
                f"read_tiles and their dtype, or a mask and 'bool' ({error})"
            ) from error
        if dtype.kind == "c":
            raise InvalidArgumentError(
                f"rst_to_list: got dtype {name.as_py()!r}, expected real numbers: a list of DOUBLE would lose the "
                "imaginary part. Read complex pixels as arrays, with rasteret_sql.to_numpy"
            )
        values.append(_as_doubles(tile))
        lengths.append(len(tile))
    ends = np.cumsum([0] + [length or 0 for length in lengths], dtype=np.int32)
    offsets = pa.array(ends, pa.int32(), mask=np.array([length is None for length in lengths] + [False]))
    return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(values) if values else np.empty(0)))


def _as_doubles(tile: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Give pixels as float64.

    Raises:
        InvalidArgumentError: one of them would be another number.
    """
    doubles = tile.astype(np.float64)
    if tile.dtype.kind in "iu" and tile.dtype.itemsize == 8:
        large = np.abs(doubles) >= _WHOLE_DOUBLES
        for pixel, double in zip(tile[large].tolist(), doubles[large].tolist(), strict=True):
            if pixel != double:
                raise InvalidArgumentError(
                    f"rst_to_list: got a pixel of {pixel} ({tile.dtype.name}), expected integers that a list of DOUBLE "
                    "holds exactly. Read such pixels as arrays, with rasteret_sql.to_numpy"
                )
    return doubles
