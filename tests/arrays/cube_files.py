"""Small collections for the tests of cubes: files, their index, and the same as STAC items for other readers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import rasterio
from rasterio.warp import transform_bounds

import rasteret_sql as rs
from rasteret_sql.testing.cog import write_cog

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Transform = tuple[float, float, float, float, float, float]
#: Corner of most files, in EPSG:32643.
WEST, NORTH = 600_000.0, 1_400_000.0


@dataclass(frozen=True)
class File:
    """One asset of an item: its pixels, and how they are written."""

    item: str
    asset: str
    data: NDArray[Any]
    when: dt.datetime | int = 1
    """A day of January 2024, 10:00 UTC, or a time."""
    mask: NDArray[np.bool_] | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.item}_{self.asset}.tif"

    @property
    def datetime(self) -> dt.datetime:
        return dt.datetime(2024, 1, self.when, 10, tzinfo=dt.UTC) if isinstance(self.when, int) else self.when


def at(west: float = WEST, north: float = NORTH, size: float = 10.0, *, south_up: bool = False) -> Transform:
    """An affine of square pixels."""
    return size, 0.0, west, 0.0, size if south_up else -size, north


def noise(seed: int, shape: tuple[int, int] = (64, 64), dtype: str = "uint16", low: int = 1, high: int = 5000) -> Any:
    """Pixels of which few are alike."""
    return np.random.default_rng(seed).integers(low, min(high, 250) if dtype == "uint8" else high, shape).astype(dtype)


def smooth(shape: tuple[int, int] = (64, 64), dtype: str = "uint16", phase: float = 0.0) -> Any:
    """Pixels that change slowly, as those of the ground do."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return (2000 + 1500 * np.sin(cols / 9 + phase) * np.cos(rows / 7)).astype(dtype)


def write_files(folder: Path, files: Iterable[File]) -> None:
    """Write the files of a collection."""
    for file in files:
        options = {"tile": 32, "overviews": (), "transform": at()} | file.options
        write_cog(folder / file.name, file.data, file.mask, **options)


def make_index(folder: Path, files: Sequence[File], base: str | None = None, name: str = "i.parquet") -> Path:
    """Write files and their index; `base` is where a server has the folder."""
    write_files(folder, files)
    rows = [
        {
            "href": f"{base}/{file.name}" if base else str(folder / file.name),
            "item_id": file.item,
            "asset": file.asset,
            "datetime": file.datetime,
            "collection": "c",
        }
        | file.properties
        for file in files
    ]
    rs.build_index(pa.Table.from_pylist(rows), folder / name)
    return folder / name


def stac_items(folder: Path, files: Sequence[File]) -> list[Any]:
    """The same collection as pystac items with the projection extension, as odc-stac takes them."""
    import pystac

    items: dict[str, Any] = {}
    for file in files:
        with rasterio.open(folder / file.name) as source:
            west, south, east, north = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
            ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
            if file.item not in items:
                items[file.item] = pystac.Item(
                    file.item, {"type": "Polygon", "coordinates": [ring]}, [west, south, east, north], file.datetime,
                    {"proj:epsg": source.crs.to_epsg(), **file.properties},
                    stac_extensions=["https://stac-extensions.github.io/projection/v1.0.0/schema.json"],
                )  # fmt: skip
            asset = pystac.Asset(
                str(folder / file.name), media_type="image/tiff; application=geotiff", roles=["data"],
                extra_fields={
                    "proj:epsg": source.crs.to_epsg(),
                    "proj:shape": list(source.shape),
                    "proj:transform": list(source.transform),
                },
            )  # fmt: skip
        items[file.item].add_asset(file.asset, asset)
    return list(items.values())


def ties(dataset: Any, path: Path, distance: float = 0.13) -> NDArray[np.bool_]:
    """Which pixels of a dataset have centres so near to the edge of one of a file that a small error moves them over.

    GDAL's warper approximates by up to an eighth of a pixel.
    """
    from pyproj import CRS, Transformer

    with rasterio.open(path) as source:
        crs = CRS.from_wkt(dataset.spatial_ref.attrs["crs_wkt"])
        transformer = Transformer.from_crs(crs, CRS.from_wkt(source.crs.to_wkt()), always_xy=True)
        x, y = transformer.transform(*np.meshgrid(dataset.x.values, dataset.y.values))
        cols, rows = ~source.transform * (x, y)
    return (np.abs(cols - np.round(cols)) < distance) | (np.abs(rows - np.round(rows)) < distance)
