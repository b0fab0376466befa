"""Names for values by everything in them: the same value has the same name in each process. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np

from rasteret_sql.geo.clip import Clip
from rasteret_sql.geo.inside import Outline, Part
from rasteret_sql.plan.cube import Cube, CubeBand, Sources
from rasteret_sql.plan.tile_plan import MaskTiles, PlannedAsset, TilePlan
from rasteret_sql.tiff.model import TileFormat


def token_of(*values: Any) -> str:
    """Name values by everything in them, the same in each process: dataclasses by all of their fields, arrays whole."""
    digest = hashlib.sha256()
    for value in values:
        _add_value(digest, value)
    return digest.hexdigest()[:16]


def _add_value(digest: hashlib._Hash, value: Any) -> None:
    """Add a value to a digest, with its type and its length, so that no two values have the same bytes."""
    if isinstance(value, np.ndarray):
        digest.update(f"\n{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (Cube, CubeBand, TilePlan, MaskTiles, Sources, Clip, Outline, Part)):
        names = [field.name for field in fields(value)]
        digest.update(f"\n{type(value).__name__}{names}".encode())
        for name in names:
            _add_value(digest, getattr(value, name))
    elif isinstance(value, (tuple, frozenset)):
        digest.update(f"\n{type(value).__name__} of {len(value)}".encode())
        # The order of a set may be another one in another process.
        for each in sorted(value) if isinstance(value, frozenset) else value:
            _add_value(digest, each)
    elif isinstance(value, PlannedAsset):
        columns = value.__reduce__()[1]
        digest.update(repr([_text_of(each) if isinstance(each, TileFormat) else each for each in columns]).encode())
    else:
        # The representation of all others has all of their fields, numbers to the last bit.
        digest.update(f"\n{value!r}".encode())


@lru_cache(maxsize=256)
def _text_of(layout: TileFormat) -> str:
    """Represent a format, which thousands of files share."""
    return repr(layout)
