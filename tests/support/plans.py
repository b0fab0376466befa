"""What tests look up in plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rasteret_sql.plan.tile_plan import MaskTile, TilePlan


def masks_of(plan: TilePlan, row: int) -> list[MaskTile]:
    """Give the mask tiles of a row."""
    first = int(plan.mask_first[row])
    return [plan.mask_tiles[number] for number in range(first, first + int(plan.mask_count[row]))]
