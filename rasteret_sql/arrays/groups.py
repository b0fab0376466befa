"""Items that make up one slice of an array: which they are, and what all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.days import solar_days, utc_days
from rasteret_sql.plan.native_grid import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import PlannedAsset
    from rasteret_sql.sql.index_rows import AssetProperties

#: Ways of grouping items that are no columns.
GROUPINGS: Final = ("id", "time", "day", "solar_day")


def check_groupby(groupby: object) -> None:
    """Refuse what can be no way of grouping, before anything is planned.

    Raises:
        InvalidArgumentError: it is neither None nor a name.
    """
    if groupby is not None and not (isinstance(groupby, str) and groupby):
        raise InvalidArgumentError(
            f"groupby: got {shown(groupby)}, expected None, one of {', '.join(GROUPINGS)}, or the name of a column of "
            "the index"
        )


def group_keys(
    assets: Sequence[PlannedAsset], properties: AssetProperties, groupby: str | None
) -> npt.NDArray[np.int64]:
    """Give a number for each asset, the same for the assets of one group.

    An item without a value in the column is a group of its own.

    Raises:
        InvalidArgumentError: there is no such column, or a group needs a time or place that an item lacks.
    """
    items: list[Any] = [asset.item for asset in assets]
    values: list[Any]
    if groupby is None:
        values = items
    elif groupby == "id":
        values = [asset.item_id for asset in assets]
    elif groupby in GROUPINGS:
        values = _times(assets, properties, groupby).tolist()
    else:
        column = _column(assets, properties, groupby)
        # Every item that says nothing is told from the others, as from those that say something.
        values = [item if value is None else (value,) for value, item in zip(column, items, strict=True)]
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def members_of(assets: Sequence[PlannedAsset], group_of: npt.NDArray[np.int64]) -> list[list[tuple[str | None, str]]]:
    """Give collection and id of the items of each group.

    Raises:
        InvalidIndexError: an item has no id.
    """
    ids: list[str | None] = [asset.item_id for asset in assets]
    if None in ids:
        raise InvalidIndexError(
            f"index: got a row without item_id, of {redact(assets[ids.index(None)].href)}, expected an id in each row; "
            "give it one in the query"
        )
    found: list[dict[tuple[str | None, str], None]] = [{} for _ in range(int(group_of.max()) + 1)]
    for asset, group in zip(assets, group_of.tolist(), strict=True):
        found[group][asset.collection, asset.item_id] = None
    return [list(each) for each in found]


def agreed(properties: AssetProperties, group_of: npt.NDArray[np.int64]) -> dict[str, np.ma.MaskedArray[Any, Any]]:
    """Give the properties on which all assets of each group agree, one element per group."""
    _, first = np.unique(group_of, return_index=True)
    found = {}
    for name, column in properties.columns.items():
        spread = column[first][group_of]
        missing, expected = np.ma.getmaskarray(column), np.ma.getmaskarray(spread)
        same = np.ma.getdata(column) == np.ma.getdata(spread)
        if ((missing == expected) & (missing | same)).all():
            found[name] = column[first]
    return found


def _times(assets: Sequence[PlannedAsset], properties: AssetProperties, groupby: str) -> npt.NDArray[np.int64]:
    for asset in assets:
        if asset.datetime_us is None:
            raise InvalidArgumentError(
                f'groupby: item {asset.item_id} has no datetime, expected one for "{groupby}"; leave the item out, '
                'or group by "id" or a column'
            )
    times = np.array([asset.datetime_us for asset in assets], np.int64)
    if groupby == "time":
        return times
    if groupby == "day":
        return utc_days(times)
    unknown = np.flatnonzero(np.isnan(properties.longitude))
    if unknown.size:
        raise InvalidArgumentError(
            f'groupby: {named(assets[int(unknown[0])])} has no bbox in the index, expected one for "solar_day"; '
            'group by "day"'
        )
    return solar_days(times, properties.longitude)


def _column(assets: Sequence[PlannedAsset], properties: AssetProperties, name: str) -> list[Any]:
    """Give a column of the index, None where it is NULL."""
    if name == "collection":
        return [asset.collection for asset in assets]
    for columns in (properties.columns, properties.own):
        if name in columns:
            # Masked values are None in a list, and NaN differs from itself.
            return [None if value != value else value for value in columns[name].tolist()]  # noqa: PLR0124
    known = ", ".join(sorted({"collection", *properties.columns, *properties.own}))
    raise InvalidArgumentError(
        f"groupby: got {shown(name)}, expected None, one of {', '.join(GROUPINGS)}, or a column of the index: {known}"
    )
