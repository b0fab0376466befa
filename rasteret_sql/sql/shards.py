"""Plans a read as shards: pieces of a plan that any process reads, without the index and without DuckDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.database.hrefs import absolute, is_url, unsigned
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.local import local_path
from rasteret_sql.plan.tokens import token_of
from rasteret_sql.read.chips import ChipLayout
from rasteret_sql.sql.planning import IndexPlans, index_origins
from rasteret_sql.sql.shard_plan import ShardChips, ShardPlan, split
from rasteret_sql.sql.wanted_chips import check_one_grid

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.sql.chosen_tiles import TileChoice
    from rasteret_sql.sql.wanted_chips import WantedChips

    Numbers = npt.NDArray[np.int64]


def plan_shards(
    cursor: duckdb.DuckDBPyConnection,
    arguments: ReadArguments,
    count: int,
    *,
    choice: TileChoice,
) -> list[ShardPlan]:
    """Plan a read of tiles as shards; none where nothing is left to read.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what is read.
        count: of shards, if there are as many files.
        choice: which tiles are wanted.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
        EmptyReadError: the area touches none of the assets that the other arguments leave.
    """
    (plan,) = choice.plan(cursor, arguments, max_rows=None)
    return split(_whole(plan, index_origins(cursor, arguments.index), None), count)


def plan_chip_shards(
    cursor: duckdb.DuckDBPyConnection,
    arguments: ReadArguments,
    count: int,
    wanted: WantedChips,
) -> list[ShardPlan]:
    """Plan a read of chips as shards.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what is read, at the level of the chips.
        count: of shards, if there are as many items, or if these are large.
        wanted: the chips.

    Raises:
        InvalidArgumentError: an argument is wrong, or an item or one of its bands is not in the index.
        InvalidIndexError: the index is not one.
        EmptyReadError: nothing is left to read.
    """
    files = IndexPlans(cursor, arguments).files(arguments)
    if wanted.is_table:
        check_one_grid(files.assets)
    layout = ChipLayout(files.assets, wanted.item_ids, wanted.offsets, wanted.size)
    planned = files.plan_windows(layout.windows).tiles
    _, first = np.unique(
        np.stack([planned.asset_no, planned.tile_offset, planned.tile_row, planned.tile_col, planned.band]),
        axis=1,
        return_index=True,
    )
    chips = ShardChips(np.arange(len(wanted.item_ids)), tuple(wanted.item_ids), wanted.offsets, wanted.size)
    return split(_whole(planned.take(first), index_origins(cursor, arguments.index), chips), count)


def refuse_with_chips(**others: Any) -> None:
    """Refuse arguments that choose tiles where chips do.

    Raises:
        InvalidArgumentError: there is one.
    """
    for name, value in others.items():
        if value is not None:
            raise InvalidArgumentError(f"{name}: got it with chips, expected one of them; leave {name} out")


def _whole(plan: TilePlan, origins: tuple[str, ...], chips: ShardChips | None) -> ShardPlan:
    """Give a plan as one shard, without the files of which nothing is read."""
    used = np.unique(plan.asset_no)
    if chips is not None:
        # Chips may lie beside the image.
        items = set(chips.item_ids)
        used = np.array([number for number, asset in enumerate(plan.assets) if asset.item_id in items], np.int64)
    plan = plan.with_assets(used)
    plan = replace(plan, assets=tuple(map(_settled, plan.assets)))
    name = token_of(plan) if chips is None else token_of(plan, chips.item_ids, chips.offsets, chips.size)
    return ShardPlan(0, 1, name, origins, plan, chips)


def _settled(asset: PlannedAsset) -> PlannedAsset:
    """Give a file as another process finds it: its path absolute, and no secret in its URLs."""
    address = asset.address
    address = unsigned(address) if is_url(address) else absolute(local_path(address))
    return replace(asset, href=unsigned(asset.href), address=address)
