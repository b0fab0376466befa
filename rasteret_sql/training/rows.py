"""The index of a TorchGeo dataset as arrays, in which slices are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame

from rasteret_sql.training.items import interval_index, item_footprints

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.training.items import Items

#: Part of a pixel by which things must overlap.
_OVERLAP_PIXELS: Final = 1e-3


class Rows:
    """What is looked up in an index, as arrays.

    Args:
        index: the index of a dataset.
        items: its items.
        crs: the CRS of `index`, spelled as the index of a collection spells it.
    """

    def __init__(self, index: GeoDataFrame, items: Items, crs: str) -> None:
        self._geometry = index.geometry.to_numpy()
        self._bounds = shapely.bounds(self._geometry)
        self._left, self._right = index.index.left.to_numpy(), index.index.right.to_numpy()
        self._numbers = index["item"].to_numpy().astype(np.int64)
        self._items = items
        self._everything: Rows | None = None
        if not len(index):
            raise IndexError("index has no rows: whatever made it left nothing")
        xmin, ymin = self._bounds[:, :2].min(axis=0)
        xmax, ymax = self._bounds[:, 2:].max(axis=0)
        #: First and last x, y and time.
        self.extent = (xmin, xmax), (ymin, ymax), (index.index.left.min(), index.index.right.max())
        self.crs = crs
        # Most are boxes, of which bounds tell everything.
        self._is_box = shapely.area(self._geometry) >= shapely.area(shapely.box(*self._bounds.T)) * (1 - 1e-12)

    def touched(self, x: slice, y: slice, t: slice) -> npt.NDArray[np.int64]:
        """Give the rows that a slice overlaps, in place and time, by more than an edge.

        Without such a row, the slice takes the rows whose edge or instant it touches: samplers of TorchGeo go that far,
        and their sample has no valid pixel.
        """
        rows = self._overlapped(x, y, t, _OVERLAP_PIXELS)
        return rows if rows.size else self._overlapped(x, y, t, -_OVERLAP_PIXELS)

    def _overlapped(self, x: slice, y: slice, t: slice, by_pixels: float) -> npt.NDArray[np.int64]:
        """Give the rows that a slice overlaps by part of a pixel, or lies no farther away from than that."""
        beside_x, beside_y = abs(x.step) * by_pixels, abs(y.step) * by_pixels
        xmin, ymin, xmax, ymax = self._bounds.T
        start, stop = moment(t.start), moment(t.stop)
        found = (xmin < x.stop - beside_x) & (xmax > x.start + beside_x)
        found &= (ymin < y.stop - beside_y) & (ymax > y.start + beside_y)
        if start < stop:
            later = found & (self._right > start)
            found = later & (self._left < stop)
            if not found.any():
                found = later & (self._left <= stop)
        else:
            found &= (self._left <= stop) & (self._right >= start)
        rows = np.flatnonzero(found)
        if self._is_box[rows].all():
            return rows
        box = shapely.box(x.start + beside_x, y.start + beside_y, x.stop - beside_x, y.stop - beside_y)
        geometry = self._geometry[rows]
        return np.asarray(rows[shapely.intersects(geometry, box) & ~shapely.touches(geometry, box)])

    def chosen(self, rows: npt.NDArray[np.int64], x: slice, y: slice, t: slice) -> npt.NDArray[np.int64]:
        """Give those of some rows that are the slice itself, as samplers give whole chips; or else all of them."""
        beside = np.array([abs(x.step), abs(y.step)] * 2) * _OVERLAP_PIXELS
        same = (np.abs(self._bounds[rows] - (x.start, y.start, x.stop, y.stop)) < beside).all(axis=1)
        same &= (self._left[rows] == moment(t.start)) & (self._right[rows] == moment(t.stop))
        return rows[same] if same.any() else rows

    def items(self, rows: npt.NDArray[np.int64], x: slice, y: slice, t: slice) -> npt.NDArray[np.int64]:
        """Give the items of rows that a slice overlaps, in order of time; of chips of no item all that lie there."""
        numbers = np.unique(self._numbers[rows])
        if numbers[0] >= 0:
            return numbers
        if self._everything is None:
            self._everything = Rows(item_frame(self._items, self.crs), self._items, self.crs)
        return np.union1d(numbers[1:], self._everything.touched(x, y, t))

    def fitting(self, rows: npt.NDArray[np.int64], x: slice, y: slice) -> npt.NDArray[np.int64]:
        """Give those rows whose bounds have most in common with a slice, relative to what both have."""
        xmin, ymin, xmax, ymax = self._bounds[rows].T
        common = (np.minimum(xmax, x.stop) - np.maximum(xmin, x.start)) * (
            np.minimum(ymax, y.stop) - np.maximum(ymin, y.start)
        )
        both = (xmax - xmin) * (ymax - ymin) + (x.stop - x.start) * (y.stop - y.start) - common
        share = common / both
        return np.asarray(rows[share >= share.max() * (1 - 1e-6)])


def item_frame(items: Items, crs: str, columns: Sequence[str] = ()) -> GeoDataFrame:
    """Make an index with a row per item, in order of time."""
    data: dict[str, Any] = {"item": np.arange(len(items)), "item_id": np.array(items.ids, object)}
    data |= {name: np.ma.getdata(items.columns[name]) for name in columns}
    return GeoDataFrame(
        data, index=interval_index(items.start_us, items.end_us), geometry=item_footprints(items, crs), crs=crs
    )


def moment(time: Any) -> np.datetime64:
    """Give a time as pandas has it in an index: UTC without saying so."""
    stamp = pd.Timestamp(time)
    return np.datetime64((stamp.tz_convert(None) if stamp.tzinfo is not None else stamp).to_datetime64())
