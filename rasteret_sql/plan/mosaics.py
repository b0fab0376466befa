"""How items that overlap become one, and which dtype that gives."""

from __future__ import annotations

from typing import Any

import numpy as np

#: How pixels of several items become one. "first" and "last" are in the order of the query.
MOSAICS = ("first", "last", "min", "max", "mean", "median", "count")
#: Mosaics that give floats, whatever the files hold.
FLOATING = frozenset({"mean", "median"})


def mosaic_dtype(mosaic: str | None, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give the dtype of a mosaic of arrays of a dtype."""
    if mosaic == "count":
        return np.dtype(np.uint16)
    if mosaic in FLOATING and dtype.kind in "iu":
        return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    return dtype
