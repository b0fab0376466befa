"""Collections that several tests read, and the words in which they ask for chips."""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import rasterio
from rasterio.windows import Window

from rasteret_sql.testing.server import RangeServer
from tests.arrays.cube_files import NORTH, WEST, File, at, make_index, noise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

#: Pixels of each scene.
SIDE = 96
#: Metres of a pixel.
PIXEL = 10.0
CRS = "EPSG:32643"


@dataclass(frozen=True)
class Scenes:
    """Items A, B and C with bands red and nir: B lies half a scene east of A a day later, C over A two days later."""

    server: RangeServer
    folder: Path
    index: Path
    files: tuple[File, ...]

    def pixels(self, item: str, asset: str) -> NDArray[Any]:
        return next(file.data for file in self.files if (file.item, file.asset) == (item, asset))

    def path(self, item: str, asset: str) -> Path:
        return self.folder / f"{item}_{asset}.tif"


@contextmanager
def make_scenes(folder: Path) -> Iterator[Scenes]:
    """Write them, build their index and serve them."""
    files = []
    for number, (item, east) in enumerate((("A", 0), ("B", SIDE // 2), ("C", 0))):
        for asset in ("red", "nir"):
            data = noise(len(files), (SIDE, SIDE))
            data[:6, :9] = 0
            options = {"transform": at(WEST + east * PIXEL), "overviews": (2,), "nodata": 0}
            files.append(File(item, asset, data, number + 1, properties={"cloud": number * 10.0}, options=options))
    with RangeServer(folder) as server:
        index = make_index(folder, files, base=server.base_url)
        server.reset()
        yield Scenes(server, folder, index, tuple(files))


def window(
    row: int, col: int, height: int, width: int, *, west: float = WEST, north: float = NORTH, pixel: float = PIXEL
) -> tuple[slice, slice]:
    """Say a window in pixels as slices of x and y."""
    return (
        slice(west + col * pixel, west + (col + width) * pixel),
        slice(north - (row + height) * pixel, north - row * pixel),
    )


def day(number: int) -> slice:
    """The hours around 10:00 UTC of a day of January 2024, when items were taken."""
    return slice(pd.Timestamp(2024, 1, number, 9), pd.Timestamp(2024, 1, number, 11))


def utc(*parts: int) -> dt.datetime:
    """A time in UTC."""
    return dt.datetime(*parts, tzinfo=dt.UTC)


def read_window(path: Path, row: int, col: int, height: int, width: int, **options: Any) -> NDArray[Any]:
    """Read a window as GDAL does, shape (band, height, width); outside of the file is `fill_value`."""
    with rasterio.open(path) as source:
        return source.read(window=Window(col, row, width, height), boundless=True, **options)


def as_array(sample: dict[str, Any], name: str = "image") -> NDArray[Any]:
    """Give a tensor of a sample as an array."""
    return np.asarray(sample[name].numpy())
