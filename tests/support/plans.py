"""Plans that tests make, and what they look up in plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.io.identity import UNKNOWN, FileIdentity
from rasteret_sql.plan.ragged import bounds_of
from rasteret_sql.plan.tile_plan import MaskKind, MaskTile, MaskTiles, TilePlan

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(eq=False)
class Format:
    """What cuts need to know of a format."""

    tile_height: int = 64


@dataclass(eq=False)
class File:
    """What requests and cuts need to know of a file; files of one address are equal."""

    address: str
    identity: FileIdentity = UNKNOWN
    format: Format = Format()  # noqa: RUF009 - never changed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, File) and self.address == other.address

    __hash__ = None


def plan_of_rows(files: Sequence[Any], rows: Sequence[Any]) -> TilePlan:
    """Make a plan.

    Args:
        files: the files.
        rows: (file, tile row, tile column, offset, bytes, mask kind, mask tiles) of each; mask tiles are (tile row, tile
            column, offset, bytes), and count for the kind MASK only.
    """
    masks = [tile if kind == MaskKind.MASK else [] for *_, kind, tile in rows]
    count = np.array([len(each) for each in masks], np.int32)
    flat = np.array([tile for each in masks for tile in each], np.int64).reshape(-1, 4)

    def column(number: int, dtype: Any) -> np.ndarray:
        return np.array([row[number] for row in rows], dtype)

    return TilePlan(
        assets=tuple(files), asset_no=column(0, np.int64), band=np.ones(len(rows), np.int32),
        tile_row=column(1, np.int32), tile_col=column(2, np.int32), width=np.full(len(rows), 64, np.int32),
        height=np.full(len(rows), 64, np.int32), tile_offset=column(3, np.int64), tile_byte_count=column(4, np.int64),
        nodata=np.zeros(len(rows)), has_nodata=np.zeros(len(rows), bool), mask_kind=column(5, np.uint8),
        mask_first=bounds_of(count)[:-1], mask_count=count, mask_tiles=MaskTiles(*(flat[:, n] for n in range(4))),
    )  # fmt: skip


def masks_of(plan: TilePlan, row: int) -> list[MaskTile]:
    """Give the mask tiles of a row."""
    first = int(plan.mask_first[row])
    return [plan.mask_tiles[number] for number in range(first, first + int(plan.mask_count[row]))]
