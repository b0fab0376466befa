"""Many files behind a server that records its requests: one TIFF under as many addresses as a test needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import rasteret_sql as rs
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from rasteret_sql.testing import RangeServer

TILES = 4


@dataclass(frozen=True)
class Scenes:
    """An index whose rows need one request and have `TILES` tiles each.

    Attributes:
        index: the index.
        count: its rows.
        pixels: of each row, (height, width), uint16.
    """

    index: Path
    count: int
    pixels: npt.NDArray[np.uint16]

    @property
    def total(self) -> int:
        """The sum of all pixels of all rows."""
        return int(self.pixels.sum(dtype=np.int64)) * self.count


def write_scenes(server: RangeServer, folder: Path, count: int, *, tile: int = 32) -> Scenes:
    """Write a file below the folder that is served, and an index that names it `count` times.

    Args:
        server: runs, and serves its file as `scene.tif`.
        folder: for the index.
        count: rows; each address is another one, so no two rows share a request.
        tile: pixels of a side of a tile.
    """
    pixels = np.random.default_rng(17).integers(0, 9000, (2 * tile, 2 * tile), np.uint16)
    write_cog(
        server.root / "scene.tif", pixels,
        tile=tile, overviews=(), crs="EPSG:32643", transform=(10, 0, 600_000, 0, -10, 1_400_000),
    )  # fmt: skip
    one, index = folder / "one.parquet", folder / f"{count}.parquet"
    rs.build_index([server.url("scene.tif")], one)
    with rs.connect() as con:
        con.execute(
            f"COPY (SELECT * REPLACE (href || '?n=' || n AS href, item_id || n AS item_id) FROM '{one}', range({count}) AS r(n)) "
            f"TO '{index}'"
        )
    server.reset()
    return Scenes(index, count, pixels)
