"""The windows that `read_chips` reads: a list, or a table such as the result of `chips`."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import checked_list, shown, shown_names
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geobox import MAX_SIDE, checked_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import numpy.typing as npt
    import pyarrow as pa

    from rasteret_sql.plan.tile_plan import PlannedAsset

_NEEDED: Final = ("item_id", "row_off", "col_off")
_CHIPS: Final = "(item_id, row_off, col_off) of each chip"


@dataclass(frozen=True, slots=True)
class ChipTable:
    """Windows of a table.

    Attributes:
        chips: (item_id, row_off, col_off) of each.
        size: (height, width) of all; None where the table has no such columns.
        level: of all; None where the table has no such column.
    """

    chips: list[tuple[str, int, int]]
    size: tuple[int, int] | None
    level: int | None

    @classmethod
    def of(cls, given: Any) -> ChipTable | None:
        """Read a table; None where the value is none.

        Raises:
            InvalidArgumentError: it lacks a column, or windows have several sizes or levels.
        """
        if not hasattr(given, "__arrow_c_stream__"):
            return None
        import pyarrow as pa

        try:
            table = pa.table(given)
        except (pa.ArrowInvalid, TypeError, ValueError) as error:
            raise InvalidArgumentError(f"chips: got {type(given).__name__} that is no table ({error})") from error
        names = table.column_names
        if not set(_NEEDED) <= set(names):
            raise InvalidArgumentError(
                f"chips: got columns {shown_names(names)}, expected {', '.join(_NEEDED)}, such as `chips` gives"
            )
        chips = list(zip(*(table.column(name).to_pylist() for name in _NEEDED), strict=True))
        height, width, level = (_one(table, name) for name in ("height", "width", "level"))
        return cls(chips, None if height is None or width is None else (height, width), level)


@dataclass(frozen=True, slots=True, eq=False)
class WantedChips:
    """Windows that a caller wants, checked.

    Attributes:
        item_ids: the item of each.
        offsets: (row_off, col_off) of each, in pixels of the level; int64, shape (chips, 2).
        size: (height, width) of all.
        level: of all; None for full resolution.
        is_table: whether they are rows of a table, whose bands must lie on one grid.
    """

    item_ids: list[str]
    offsets: npt.NDArray[np.int64]
    size: tuple[int, int]
    level: int | None
    is_table: bool

    @classmethod
    def of(cls, chips: Any, size: Any, level: int | None, *, size_name: str = "size") -> WantedChips:
        """Check what a caller gave.

        Args:
            chips: (item_id, row_off, col_off) of each, or a table with these columns.
            size: one number or (height, width); None where the table has it.
            level: as for a read; None where the table has it.
            size_name: of the argument, for messages.

        Raises:
            InvalidArgumentError: an argument is wrong, or contradicts the table.
        """
        table = ChipTable.of(chips)
        if table is not None:
            chips, size = table.chips, table.size if size is None else size
            level = _level_of(table, level)
        if size is None:
            raise InvalidArgumentError(
                f"{size_name}: got None, expected pixels, one number or (height, width), of all chips"
            )
        height, width = checked_size(size_name, size)
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise InvalidArgumentError(
                f"{size_name}: got {shown(size)}, expected pixels, 1 or more, and {MAX_SIDE} at most"
            )
        wanted = checked_list("chips", chips, _CHIPS) or []
        try:
            items = [str(item_id) for item_id, _, _ in wanted]
            offsets = np.array([[operator.index(off) for off in chip[1:]] for chip in wanted], np.int64).reshape(-1, 2)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgumentError(f"chips: got {shown(wanted)}, expected {_CHIPS}, in whole pixels") from error
        if (abs(offsets) > MAX_SIDE).any():
            raise InvalidArgumentError(f"chips: got {shown(wanted)}, expected offsets of {MAX_SIDE} pixels at most")
        if not wanted:
            raise InvalidArgumentError(f"chips: got none, expected {_CHIPS}, of one or more")
        return cls(items, offsets, (height, width), level, table is not None)


def windows_of(cursor: duckdb.DuckDBPyConnection, name: str) -> pa.Table:
    """Fetch a table of windows.

    Args:
        cursor: a connection of its own.
        name: of a table or view, or a Parquet path.

    Raises:
        InvalidArgumentError: it cannot be read, or has not the columns of windows.
    """
    import duckdb

    from rasteret_sql.sql.named_index import UNSEEN, is_query, named_table, no_such_file, reason_of

    if is_query(name):
        raise InvalidArgumentError(
            f"chips: got the query {shown(name)}, expected the name of a table, a view or a file; make a table of it: "
            f"CREATE TABLE my_chips AS {name}"
        )
    try:
        rows = cursor.sql("FROM query_table($1)", params=[named_table(cursor, name)])
        columns = [column for column in (*_NEEDED, "height", "width", "level") if column in rows.columns]
        missing = [column for column in _NEEDED if column not in columns]
        if missing:
            raise InvalidArgumentError(
                f"chips: got columns {shown_names(rows.columns)}, expected {', '.join(_NEEDED)}, such as `chips` gives"
            )
        return rows.project(", ".join(columns)).to_arrow_table()
    except duckdb.Error as error:
        raise InvalidArgumentError(
            no_such_file("chips", name)
            or f"chips: {shown(name)} cannot be read ({reason_of(error)}); expected a table, a view or a Parquet path "
            f"of windows that a read can see. {UNSEEN}"
        ) from error


def _level_of(table: ChipTable, level: int | None) -> int | None:
    """Give the level of windows: that of their table.

    Raises:
        InvalidArgumentError: another one is requested.
    """
    if level is None or table.level in {None, level}:
        return table.level if level is None else level
    raise InvalidArgumentError(
        f"level: got {shown(level)}, expected {table.level}, in whose pixels the windows of the table are; leave it out"
    )


def _one(table: pa.Table, name: str) -> int | None:
    """Give the one value of a column.

    Raises:
        InvalidArgumentError: there are several.
    """
    if name not in table.column_names or not len(table):
        return None
    values = table.column(name).unique().to_pylist()
    if len(values) == 1 and isinstance(values[0], int):
        return int(values[0])
    if name == "level":
        raise InvalidArgumentError(
            f"chips: got windows of the levels {shown_names(values)}, expected one level; read each by itself"
        )
    return None


def check_one_grid(assets: Sequence[PlannedAsset]) -> None:
    """Refuse items whose bands have several grids: a window of one is elsewhere in another.

    Raises:
        InvalidArgumentError: there is one.
    """
    first: dict[Any, PlannedAsset] = {}
    for asset in assets:
        other = first.setdefault(asset.item, asset)
        if other.lattice[:4] != asset.lattice[:4]:
            raise InvalidArgumentError(
                f'chips: asset "{other.asset}" of item {asset.item_id} has {other.height} x {other.width} pixels, and '
                f'asset "{asset.asset}" {asset.height} x {asset.width} on another grid; expected one grid, in whose '
                "pixels windows are. Choose bands of one resolution, or read them with to_torchgeo(chips=...)"
            )
