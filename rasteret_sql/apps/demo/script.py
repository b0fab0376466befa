"""What the demo runs, as texts: each is printed before it runs, and can be pasted as it is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rasteret_sql.database.sqlfiles import quote_literal

if TYPE_CHECKING:
    from pathlib import Path

#: What the demo calls clear, in per cent of clouds.
MAX_CLOUD_COVER = 30


@dataclass(frozen=True, slots=True)
class DemoScript:
    """The demo's SQL and Python for one folder and one area.

    Attributes:
        index: path of the index, as the user would name it.
        clear_index: path of the part of it with few clouds.
        area: bbox in lon/lat, rounded to what is printed.
    """

    index: Path
    clear_index: Path
    area: tuple[float, float, float, float]

    @property
    def show_index(self) -> str:
        """One row per item."""
        return f"""\
SELECT
    item_id,
    datetime::DATE AS date,
    crs,
    round(any_value("eo:cloud_cover")) AS clouds,
    count(*) AS files,
    round(sum(file_size) / 1e6, 1) AS mb
FROM {_quoted(self.index)}
GROUP BY ALL
ORDER BY date;"""  # noqa: S608 - quoted

    @property
    def filter_index(self) -> str:
        """Keep what is clear, in the dry half of the year, and touches the area."""
        xmin, ymin, xmax, ymax = self.area
        return f"""\
COPY (
    FROM {_quoted(self.index)}
    WHERE bbox.xmin <= {xmax} AND bbox.xmax >= {xmin}
      AND bbox.ymin <= {ymax} AND bbox.ymax >= {ymin}
      AND datetime >= '2024-01-01' AND datetime < '2024-07-01'
      AND "eo:cloud_cover" < {MAX_CLOUD_COVER}
) TO {_quoted(self.clear_index)};"""

    @property
    def show_clear_index(self) -> str:
        """What was kept."""
        return f"""\
SELECT
    item_id, crs, "eo:cloud_cover" AS clouds, parse_filename(href) AS file, file_size
FROM {_quoted(self.clear_index)}
WHERE asset = 'red'
ORDER BY datetime;"""  # noqa: S608 - quoted

    @property
    def explain(self) -> str:
        """The cost of the next read."""
        return f"""\
SELECT band, items, files, tiles, requests, request_bytes, pixel_bytes
FROM explain_read(
    {_quoted(self.clear_index)}, bands := ['red', 'nir'],
    bbox := {self._box}
);"""  # noqa: S608 - quoted

    @property
    def list_tiles(self) -> str:
        """Tiles without pixels."""
        return f"""\
SELECT item_id, band_name, level, tile_row, tile_col, dtype
FROM read_tiles(
    {_quoted(self.clear_index)}, bands := ['red', 'nir'],
    bbox := {self._box}
)
LIMIT 3;"""  # noqa: S608 - quoted

    @property
    def read(self) -> str:
        """The tiles with their pixels."""
        return f"""\
SELECT
    crs, band_name, count(*) AS tiles, sum(octet_length(pixels)) AS pixel_bytes
FROM read_tiles(
    {_quoted(self.clear_index)}, bands := ['red', 'nir'],
    bbox := {self._box}
)
GROUP BY ALL
ORDER BY ALL;"""  # noqa: S608 - quoted

    @property
    def ndvi(self) -> str:
        """Mean NDVI of the area per date, without clouds."""
        return f"""\
-- Classes of scl: 4 is vegetation, 5 bare soil, 6 water.
SELECT
    datetime::DATE AS date,
    crs,
    round(100 * avg((scl IN (4, 5, 6))::INTEGER) FILTER (scl > 0)) AS clear,
    round(avg((nir - red) / (nir + red)) FILTER (scl IN (4, 5, 6)), 3) AS ndvi,
    bar(ndvi, 0, 0.8, 32) AS curve
FROM read_pixels(
    {_quoted(self.index)}, bands := ['red', 'nir', 'scl'], layout := 'wide',
    bbox := {self._box}, resolution := 20
)
GROUP BY ALL
ORDER BY date;"""  # noqa: S608 - quoted

    def arrays(self, crs: list[str]) -> str:
        """Python: NDVI of the area to the pixel, in each CRS."""
        area = ", ".join(f"{value}" for value in self.area)
        items = f"FROM {_quoted(self.index)} WHERE crs = '{{crs}}'"
        return f"""\
import numpy as np
import rasteret_sql as rs

area = ({area})
series = {{}}
for crs in {crs}:
    items = f{_python_string(items)}
    pixels = rs.to_numpy(items, bands=["red", "nir"], bbox=area, resolution=20)
    classes = rs.to_numpy(items, bands=["scl"], bbox=area, resolution=20)
    red, nir = np.moveaxis(pixels.data.astype("float32"), 1, 0)
    clear = pixels.mask.all(axis=1) & np.isin(classes.data[:, 0], (4, 5, 6))
    ndvi = np.divide(nir - red, nir + red, out=np.full_like(red, np.nan), where=clear)
    series |= zip(pixels.times, ndvi)
    print(pixels)"""

    @property
    def _box(self) -> str:
        return "[{}, {}, {}, {}]".format(*self.area)


def _quoted(path: Path) -> str:
    return quote_literal(str(path))


def _python_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
