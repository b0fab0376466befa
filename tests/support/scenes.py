"""Scenes on a server: files of some items with two bands each, and their index."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

import rasteret_sql as rs
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

    from rasteret_sql.testing.server import RangeServer

TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)
TILE = 32
BANDS = ("red", "nir")


class ServedScene:
    """Files of items on a server; a test says which in a class of its own, `Scene`, and takes the fixture `scene`.

    Attributes:
        items: their ids, a letter each.
        shape: (height, width) of the files.
        above: pixels are random integers below it; 0 is nodata.
        without_data: a part of each file, or None.
        pixels: of each item and band.
    """

    items: ClassVar[str]
    shape: ClassVar[tuple[int, int]]
    above: ClassVar[int]
    without_data: ClassVar[tuple[slice, slice] | None] = None

    def __init__(self, folder: Path, server: RangeServer) -> None:
        self.folder, self.server, self.index = folder, server, folder / "i.parquet"
        self.pixels: dict[tuple[str, str], np.ndarray] = {}
        rows = []
        for number, item in enumerate(self.items):
            for band in BANDS:
                pixels = np.random.default_rng(len(self.pixels)).integers(0, self.above, self.shape, np.uint16)
                if self.without_data is not None:
                    pixels[self.without_data] = 0
                self.pixels[item, band] = pixels
                name = f"{item}_{band}.tif"
                write_cog(folder / name, pixels, tile=TILE, overviews=(2,), nodata=0, transform=TRANSFORM)
                when = self.time(number)
                rows.append(
                    {"href": server.url(name), "item_id": item, "asset": band, "collection": "c", "datetime": when}
                )
        rs.build_index(pa.Table.from_pylist(rows), self.index)

    def time(self, number: int) -> dt.datetime:
        """The time of an item by its number: one a day."""
        return dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC)
