"""An index of Sentinel-2-like files that do not exist: what a build has staged, made directly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely
from pyproj import Transformer

from rasteret_sql.index.header_columns import RUN_TILES, levels_to_arrow
from rasteret_sql.index.rows import header_schema
from rasteret_sql.index.staging import ASSETS, HEADER_FILE, ITEMS, ParquetFile, assets_schema, items_schema
from rasteret_sql.tiff.model import Level, TileFormat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLLECTION = "sentinel-2-l2a"
ASSET_KEYS = ("blue", "green", "nir", "red", "wvp")
SIZE = 10_980
PIXEL_M = 10.0
_GRID_DEGREES, _FOOTPRINT_DEGREES = 0.9, 0.99
_SOUTH, _NORTH = -56.0, 80.0
#: Land lies in blocks of this many degrees, about half of them.
_LAND_DEGREES = 10
_FIRST = datetime(2024, 1, 3, 10, 30, tzinfo=UTC)
_DAYS_BETWEEN = 10
_ITEMS_PER_BATCH = 1_000
#: Bytes of GDAL's leader and trailer between two tiles.
_GAP_BYTES = 8
_FIRST_TILE_BYTE = 8_192


@dataclass(frozen=True, slots=True)
class Shape:
    """How large an index is.

    Attributes:
        places: MGRS tiles.
        dates: items of each place.
        tile: height and width of a tile, in pixels.
    """

    places: int
    dates: int
    tile: int

    @property
    def rows(self) -> int:
        """One per item and asset."""
        return self.places * self.dates * len(ASSET_KEYS)


@dataclass(frozen=True, slots=True)
class Place:
    """One MGRS tile: a name, the EPSG code and upper left corner of its grid, and its footprint in degrees."""

    name: str
    epsg: int
    west: float
    north: float
    footprint: shapely.Polygon


def make_places(count: int) -> list[Place]:
    """Lay out places over the land of a world that does not exist; always the same ones."""
    rng = np.random.default_rng(5)
    is_land = rng.random((180 // _LAND_DEGREES + 1, 360 // _LAND_DEGREES + 1)) < 0.55
    centres = []
    for row in range(int((_NORTH - _SOUTH) / _GRID_DEGREES)):
        lat = _SOUTH + (row + 0.5) * _GRID_DEGREES
        width = _GRID_DEGREES / math.cos(math.radians(lat))
        for col in range(int(360 / width)):
            lon = -180 + (col + 0.5) * width
            if is_land[int((lat + 90) // _LAND_DEGREES), int((lon + 180) // _LAND_DEGREES)]:
                centres.append((lon, lat))
    chosen = [centres[number * len(centres) // count] for number in range(min(count, len(centres)))]
    return [_place(lon, lat) for lon, lat in chosen]


def _place(lon: float, lat: float) -> Place:
    zone = int((lon + 180) // 6) + 1
    epsg = (32600 if lat >= 0 else 32700) + zone
    x, y = _project(epsg).transform(lon, lat)
    west, north = round((x - SIZE * PIXEL_M / 2) / 20) * 20.0, round((y + SIZE * PIXEL_M / 2) / 20) * 20.0
    half = _FOOTPRINT_DEGREES / 2
    wide = half / math.cos(math.radians(lat))
    band = "CDEFGHJKLMNPQRSTUVWXX"[int((lat + 80) // 8)]
    name = f"{zone:02d}{band}{_letters(round(lon * 100) + round(lat * 100) * 77)}"
    return Place(name, epsg, west, north, shapely.box(lon - wide, lat - half, lon + wide, lat + half))


_PROJECTIONS: dict[int, Transformer] = {}


def _project(epsg: int) -> Transformer:
    if epsg not in _PROJECTIONS:
        _PROJECTIONS[epsg] = Transformer.from_crs("OGC:CRS84", f"EPSG:{epsg}", always_xy=True)
    return _PROJECTIONS[epsg]


def _letters(number: int) -> str:
    return "".join(chr(65 + number // 26**power % 26) for power in (1, 0))


def stage(folder: Path, shape: Shape) -> None:
    """Write what a build has staged once all headers are read.

    Args:
        folder: where the files of a build are staged.
        shape: how much.
    """
    places = make_places(shape.places)
    rng = np.random.default_rng(7)
    order = [(place, date) for date in range(shape.dates) for place in range(len(places))]
    with (
        ParquetFile(folder / ITEMS, items_schema()) as items,
        ParquetFile(folder / ASSETS, assets_schema()) as assets,
        ParquetFile(folder / HEADER_FILE.format(0), header_schema()) as headers,
    ):
        for first in range(0, len(order), _ITEMS_PER_BATCH):
            some = order[first : first + _ITEMS_PER_BATCH]
            asset_rows: list[dict[str, Any]] = []
            header_rows: list[dict[str, Any]] = []
            for number, (place_no, date) in enumerate(some, first):
                item, files = _item(number, places[place_no], date, place_no)
                items.add(item)
                for row in files:
                    asset_rows.append({"asset_no": len(asset_rows) + first * len(ASSET_KEYS), **row})
                    header_rows.append(_header(asset_rows[-1], item, places[place_no], rng))
            for row in asset_rows:
                assets.add(row)
            headers.write(_with_levels(header_rows, rng, shape.tile))


def _item(number: int, place: Place, date: int, place_no: int) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    when = _FIRST + timedelta(days=_DAYS_BETWEEN * date + place_no % 5, seconds=place_no % 3600, milliseconds=24)
    name = f"S2{'AB'[date % 2]}_{place.name}_{when:%Y%m%d}_{place_no % 2}_L2A"
    base = (
        "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/"
        f"{int(place.name[:2])}/{place.name[2]}/{place.name[3:]}/{when.year}/{when.month}/{name}-{place_no}"
    )
    item = {
        "item_no": number,
        "collection": COLLECTION,
        "item_id": f"{name}-{place_no}",
        "datetime": when,
        "geometry": shapely.to_wkb(place.footprint),
        "properties": f'{{"eo:cloud_cover": {(number * 7919) % 10_000 / 100}, "platform": "sentinel-2a"}}',
    }
    return item, (
        {"item_no": number, "asset": key, "href": f"{base}/{key}.tif", "read_href": f"{base}/{key}.tif"}
        for key in ASSET_KEYS
    )


def _header(asset: dict[str, Any], item: dict[str, Any], place: Place, rng: np.random.Generator) -> dict[str, Any]:
    xmin, ymin, xmax, ymax = place.footprint.bounds
    return {
        "asset_no": asset["asset_no"],
        "geometry": item["geometry"],
        "bbox": {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax},
        "bands": [{"name": asset["asset"], "band": 1, "common_name": asset["asset"], "nodata": 0.0, "is_alpha": False}],
        "dtype": "uint16",
        "crs": f"EPSG:{place.epsg}",
        "transform": [PIXEL_M, 0.0, place.west, 0.0, -PIXEL_M, place.north],
        "width": SIZE,
        "height": SIZE,
        "samples_per_pixel": 1,
        "planar": False,
        "compression": "deflate",
        "predictor": 2,
        "photometric": "minisblack",
        "byte_order": "little",
        "bigtiff": False,
        "cog_layout": ["LAYOUT=IFDS_BEFORE_DATA", "BLOCK_ORDER=ROW_MAJOR", "BLOCK_LEADER=SIZE_AS_UINT4"],
        "etag": f'"{rng.bytes(16).hex()}"',
        "last_modified": item["datetime"] + timedelta(hours=9),
        "indexed_at": _FIRST + timedelta(days=500),
    }


def _with_levels(rows: list[dict[str, Any]], rng: np.random.Generator, tile: int) -> pa.RecordBatch:
    formats, levels, nbytes = _levels(len(rows), rng, tile)
    arrays = []
    for field in header_schema():
        if field.name == "levels":
            arrays.append(levels)
        elif field.name == "formats":
            arrays.append(formats)
        elif field.name == "file_size":
            arrays.append(pa.array(nbytes))
        else:
            arrays.append(pa.array([row.get(field.name) for row in rows], field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=header_schema())


def _levels(count: int, rng: np.random.Generator, tile: int) -> tuple[pa.ListArray, pa.ListArray, Any]:
    """The formats and levels of some files, and the sizes of these; tiles lie as GDAL's COG driver writes them."""
    form = TileFormat("little", "uint16", 16, 1, False, 8, 2, 1, 1, tile, tile, tiled=True)
    sizes = [SIZE]
    while sizes[-1] > tile:
        sizes.append(-(-sizes[-1] // 2))
    tiles = [(-(-size // tile)) ** 2 for size in sizes]
    # Bright and rough land takes more bytes than dark water; a file as a whole is one or the other.
    usual = 0.6 * 2 * tile**2 * rng.lognormal(0, 0.2, (count, 1))
    byte_counts = [np.maximum(usual * rng.lognormal(0, 0.25, (count, n)), 400).astype(np.int64) for n in tiles]
    starts = np.full((count, 1), _FIRST_TILE_BYTE, np.int64)
    run_offsets: list[Any] = [None] * len(sizes)
    for level in reversed(range(len(sizes))):
        ends = starts + np.cumsum(byte_counts[level] + _GAP_BYTES, axis=1)
        run_offsets[level] = (ends - byte_counts[level] - _GAP_BYTES)[:, ::RUN_TILES]
        starts = ends[:, -1:]
    formats, one = levels_to_arrow(
        [tuple(Level(n, n, form, np.ones(1, np.int64), np.ones(1, np.int64)) for n in sizes)]
    )
    every = one.values.take(pa.array(np.tile(np.arange(len(sizes)), count)))
    kind = one.type.value_type
    parts = {
        "tile_byte_counts": _lists(byte_counts, count),
        "run_offsets": _lists(run_offsets, count),
        "tile_gaps": _lists([np.full((count, 1), _GAP_BYTES, np.int64)] * len(sizes), count),
    }
    structs = pa.StructArray.from_arrays(
        [parts[field.name].cast(field.type) if field.name in parts else every.field(field.name) for field in kind],
        fields=list(kind),
    )
    ends = pa.array(np.arange(0, count * len(sizes) + 1, len(sizes), dtype=np.int32))
    return (
        formats.take(pa.array([0] * count)),
        pa.ListArray.from_arrays(ends, structs, type=one.type),
        starts[:, 0],
    )


def _lists(levels: list[Any], count: int) -> pa.ListArray:
    """One list per file and level, file by file, of one (files, numbers) array per level."""
    ends = np.cumsum([0, *np.tile([level.shape[1] for level in levels], count)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(np.concatenate(levels, axis=1).ravel()))
