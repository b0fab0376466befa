"""A table of windows, such as the result of `chips`, as what `read_chips` reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.checks import shown_names
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from rasteret_sql.plan.tile_plan import PlannedAsset

_NEEDED: Final = ("item_id", "row_off", "col_off")


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
