"""The items of a query as TorchGeo indexes them: footprints in one CRS, intervals of time, labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.antimeridian import joined_longitudes
from rasteret_sql.geo.crs import same_crs
from rasteret_sql.geo.pixelsize import resolution_in
from rasteret_sql.geo.project import project_geometries
from rasteret_sql.read.parts import BandFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.files import Files
    from rasteret_sql.sql.index_rows import AssetProperties

#: Items with one time are taken to last a second: TorchGeo wants intervals, and its splits take microseconds off them.
ITEM_US: Final = 1_000_000
_DAY_US: Final = 86_400_000_000
#: What pandas has of times, in microseconds since 1970; items without one last that long.
FIRST_US: Final = -9_223_372_036_854_775
LAST_US: Final = 9_223_372_036_854_775
#: Steps into which the sides of footprints and chips are cut: an index has many of them.
OUTLINE_STEPS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Items of an index, in order of time; arrays have one element per item.

    Attributes:
        table: their files.
        files: which has which band.
        ids: STAC item ids.
        start_us, end_us: microseconds since 1970-01-01 UTC; at least `ITEM_US` apart.
        has_time: whether they are known.
        crs_of: number of the CRS in `crs`.
        crs: of the items.
        bounds: (xmin, ymin, xmax, ymax) in the CRS of each item, shape (item, 4): where all of its bands have pixels.
        rank: of an item where a mosaic takes several, in the order of the query.
        solar_day: number of the day by the sun at the item's place; or None where a place is unknown.
        columns: what the query says of each item, where all its rows say the same; masked where NULL.
    """

    table: Files
    files: BandFiles
    ids: tuple[str, ...]
    start_us: npt.NDArray[np.int64]
    end_us: npt.NDArray[np.int64]
    has_time: npt.NDArray[np.bool_]
    crs_of: npt.NDArray[np.int64]
    crs: tuple[str, ...]
    bounds: npt.NDArray[np.float64]
    rank: npt.NDArray[np.int64]
    solar_day: npt.NDArray[np.int64] | None
    columns: dict[str, np.ma.MaskedArray[Any, Any]]

    def __len__(self) -> int:
        """Count the items."""
        return len(self.ids)

    def __deepcopy__(self, memo: dict[int, Any]) -> Items:
        """Give the same items: splits of a dataset share them."""
        return self

    def usual_crs(self) -> str:
        """Give the CRS that most items have."""
        return self.crs[int(np.bincount(self.crs_of).argmax())]

    def finest(self, crs: str) -> tuple[float, float]:
        """Give the size of the smallest pixels of any band, in units of a CRS and (x, y)."""
        from rasteret_sql.geo.geobox import GeoBox

        smallest: tuple[float, float] | None = None
        x_sizes, y_sizes, kinds = (self.table.column(name) for name in ("x_size", "y_size", "kind"))
        for number, code in enumerate(self.crs):
            files = self.files.file[self.crs_of == number].ravel()
            # One file of each size is enough.
            _, first = np.unique(np.stack([np.abs(x_sizes[files]), kinds[files]]), axis=1, return_index=True)
            for file in files[first].tolist():
                size = abs(float(x_sizes[file])), abs(float(y_sizes[file]))
                if not same_crs(code, crs):
                    asset = self.table.asset(file, 0)
                    assert asset.transform is not None
                    step = resolution_in(crs, GeoBox(asset.crs, asset.transform, asset.height, asset.width))
                    size = step, step
                if smallest is None or size[0] * size[1] < smallest[0] * smallest[1]:
                    smallest = size
        assert smallest is not None
        return smallest


def items_of(table: Files, properties: AssetProperties, *, may_cast: bool = False) -> Items:
    """Put files together to items.

    Args:
        table: the files.
        properties: of each file.
        may_cast: whether files of a band may have two dtypes; their pixels get one that holds both.

    Raises:
        InvalidArgumentError: an item lacks a band or has it twice, or dtypes differ.
    """
    keys = list(
        zip(table.texts("collection"), table.texts("item_id"), table.column("datetime_us").tolist(), strict=True)
    )
    numbers: dict[Any, int] = {}
    found = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    starts, ends = table.column("start_us"), table.column("end_us")
    _, first = np.unique(found, return_index=True)
    place = np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(place, found, properties.position)
    order = np.lexsort((first, place, starts[first]))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    item_of, first = rank[found], first[order]
    files = BandFiles.of(table, item_of, may_cast=may_cast)
    crs_of = table.column("crs")
    has_time = (starts[first] > FIRST_US) & (ends[first] < LAST_US)
    start_us = np.where(has_time, starts[first], FIRST_US)
    # STAC's ends are inclusive.
    end_us = np.where(has_time, np.maximum(ends[first], start_us + ITEM_US), LAST_US)
    return Items(
        table=table,
        files=files,
        ids=tuple(str(keys[number][1]) for number in first.tolist()),
        start_us=start_us,
        end_us=end_us,
        has_time=has_time,
        crs_of=crs_of[files.file[:, 0]],
        crs=tuple(map(str, table.crs)),
        bounds=_bounds(table, files, crs_of),
        rank=np.argsort(np.argsort(place[order], kind="stable"), kind="stable"),
        solar_day=_solar_days(start_us, properties.longitude[first]),
        columns={name: column[first] for name, column in _agreed(properties, item_of, first).items()},
    )


def footprints(bounds: npt.NDArray[np.float64], source: str, target: str) -> npt.NDArray[Any]:
    """Give polygons of bounds in another CRS; those over the antimeridian go on beyond it.

    Args:
        bounds: (xmin, ymin, xmax, ymax) in `source`, shape (n, 4).
        source, target: the CRSs.

    Raises:
        InvalidArgumentError: bounds lie outside of the target.
    """
    import shapely

    projected = project_geometries(np.asarray(shapely.box(*bounds.T)), source, target, steps=OUTLINE_STEPS)
    outside = shapely.is_missing(projected)
    if outside.any():
        raise InvalidArgumentError(
            f"crs: {int(outside.sum())} footprints in {source}, the first {bounds[outside.argmax()].tolist()}, lie "
            f"outside of {target}; choose a CRS that all items lie in, or leave these items out"
        )
    return projected


def item_footprints(items: Items, crs: str) -> npt.NDArray[Any]:
    """Give the footprint of each item in a CRS."""
    geometry = np.empty(len(items), object)
    for number, code in enumerate(items.crs):
        mine = items.crs_of == number
        if mine.any():
            geometry[mine] = footprints(items.bounds[mine], code, crs)
    return geometry


def _bounds(table: Files, files: BandFiles, crs_of: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Give where all bands of each item have pixels; of bands in another CRS than the first, nothing is asked."""
    x_size, x_off, y_size, y_off = (table.column(name)[files.file] for name in ("x_size", "x_off", "y_size", "y_off"))
    first = table.column("first_level")[files.file]
    width, height = table.column("level_width")[first], table.column("level_height")[first]
    x_end, y_end = x_off + x_size * width, y_off + y_size * height
    sides = np.stack(
        [np.minimum(x_off, x_end), np.minimum(y_off, y_end), -np.maximum(x_off, x_end), -np.maximum(y_off, y_end)]
    )
    code = crs_of[files.file]
    sides = np.where(code == code[:, :1], sides, -np.inf).max(axis=2)
    bounds = np.stack([sides[0], sides[1], -sides[2], -sides[3]], axis=1)
    empty = np.flatnonzero((bounds[:, 2] <= bounds[:, 0]) | (bounds[:, 3] <= bounds[:, 1]))
    if empty.size:
        one, *others = {str(table.texts("href")[number]) for number in files.file[empty[0]].tolist()}
        raise InvalidArgumentError(
            f"bands: {one} and {', '.join(others)} are bands of one item and lie nowhere together; choose bands that "
            "show the same ground"
        )
    return bounds


def _solar_days(start_us: npt.NDArray[np.int64], longitude: npt.NDArray[np.float64]) -> npt.NDArray[np.int64] | None:
    if np.isnan(longitude).any():
        return None
    return (start_us + (joined_longitudes(longitude) * (_DAY_US / 360)).astype(np.int64)) // _DAY_US


def _agreed(
    properties: AssetProperties, item_of: npt.NDArray[np.int64], first: npt.NDArray[np.int64]
) -> dict[str, np.ma.MaskedArray[Any, Any]]:
    """Give the columns that say the same in all rows of each item."""
    agreed = {}
    for name, column in properties.columns.items():
        expected = column[first][item_of]
        missing = np.ma.getmaskarray(column)
        same = np.ma.getdata(column) == np.ma.getdata(expected)
        if ((missing == np.ma.getmaskarray(expected)) & (missing | same)).all():
            agreed[name] = column
    return agreed


def interval_index(start_us: Sequence[int] | npt.NDArray[np.int64], end_us: Any) -> Any:
    """Make the index of times that TorchGeo wants: named datetime, closed on both sides, without time zone."""
    import pandas as pd

    left, right = (_nanoseconds(np.asarray(values)) for values in (start_us, end_us))
    return pd.IntervalIndex.from_arrays(pd.DatetimeIndex(left), pd.DatetimeIndex(right), closed="both", name="datetime")


def _nanoseconds(values_us: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
    return values_us.astype("M8[us]").astype("M8[ns]")
