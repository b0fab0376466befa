"""What arrays are read from: items on one grid, items of two UTM zones, and the same as STAC for the peers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import rasteret_sql as rs
from benchmarks.data import BANDS, EPSG, NORTH, PIXEL_M, WEST
from rasteret_sql.testing import bench_collection, write_collection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.data import Scale
    from rasteret_sql.testing import CollectionInfo, RangeServer

#: The zone east of the one that the files of `bench_collection` lie in.
OTHER_EPSG = 32644


@dataclass(frozen=True, slots=True)
class ArrayData:
    """Files that are there, and the folder for what is made of them."""

    scale: Scale
    served: Path
    folder: Path
    one_grid: CollectionInfo
    two_zones: CollectionInfo


def write_data(folder: Path, scale: Scale) -> ArrayData:
    """Write all files below a folder."""
    served = folder / "served"
    return ArrayData(
        scale,
        served,
        folder,
        bench_collection(served / "one", items=scale.items, bands=len(BANDS), size=scale.size, tile=scale.tile),
        write_collection(served / "two", items=max(2, scale.full_items), size=scale.size, tile=scale.tile),
    )


def make_jobs(data: ArrayData, server: RangeServer) -> dict[str, dict[str, Any]]:
    """Build the indexes, and give all that the measured processes need to know, by the name of the area.

    "window" is a small part of all items of one grid; "full" is some of these items as a whole; "warped" is the
    same items on a grid of the neighbouring zone; "zones" is items of two zones on the grid of one of them.
    """
    scale = data.scale
    kept = data.folder / "kept"
    kept.mkdir(exist_ok=True)
    one, two = data.folder / "one.parquet", data.folder / "two.parquet"
    rs.build_index(server.url("one/items.json"), one)
    rs.build_index(server.url("two/catalog.json"), two)
    features = json.loads(data.one_grid.document.read_text(encoding="utf-8"))["features"]
    zone_features = [
        json.loads(item.path.read_text(encoding="utf-8")) for item in data.two_zones.items if item.path is not None
    ]
    base = server.url("one/items.json")
    absolute = _absolute(features, [base] * len(features))
    zones = _absolute(zone_features, [server.url(item.path) for item in data.two_zones.items if item.path is not None])
    items = data.one_grid.items
    days = [items[0].when, items[scale.full_items - 1].when]
    west, south, east, north = items[0].bbox
    row, col = scale.tile + scale.tile // 4, scale.tile - scale.window // 2
    common = {
        "index": str(one),
        "bands": BANDS,
        "epsg": EPSG,
        "resolution": PIXEL_M,
        "resampling": None,
        "datetime": None,
        "kept": None,
        "is_bulk": True,
        "chunks": {"time": 1, "y": 2048, "x": 2048},
        "size": scale.size,
        "window": scale.window,
        "items": _written(data.folder / "full.json", absolute[: scale.full_items]),
        "item_count": scale.full_items,
        "rasteret_folder": str(data.folder / "rasteret" / "bench_records"),
        "footprint": [west, south, east, north],
        "item_ids": [item.item_id for item in items],
        "times_us": [round(item.when.timestamp() * 1e6) for item in items],
        "files": [[server.url(item.assets[band]) for band in BANDS] for item in items],
    }
    full = {**common, "datetime": "/".join(f"{day:%Y-%m-%d}" for day in days), "bounds": None}
    return {
        "window": {
            **common,
            "bounds": _bounds(WEST + PIXEL_M * col, NORTH - PIXEL_M * row, scale.window),
            "items": _written(data.folder / "window.json", absolute),
            "item_count": scale.items,
            "is_bulk": False,
        },
        "full": full,
        "warped": {**full, "epsg": OTHER_EPSG, "bounds": _across(scale.size), "kept": str(kept)},
        "zones": {
            **common,
            "index": str(two),
            "items": _written(data.folder / "zones.json", zones),
            "item_count": len(zones),
            "bounds": _grid_of(data.two_zones, scale.size),
            "kept": str(kept),
        },
    }


def _absolute(features: list[dict[str, Any]], bases: Sequence[str]) -> list[dict[str, Any]]:
    """Give items whose assets have absolute addresses."""
    return [
        {
            **feature,
            "links": [],
            "assets": {
                key: {**asset, "href": urljoin(base, asset["href"])} for key, asset in feature["assets"].items()
            },
        }
        for feature, base in zip(features, bases, strict=True)
    ]


def _written(path: Path, features: list[dict[str, Any]]) -> str:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return str(path)


def _bounds(west: float, north: float, size: int) -> list[float]:
    return [west, north - PIXEL_M * size, west + PIXEL_M * size, north]


def _across(size: int) -> list[float]:
    """Give the bounds of a grid in the neighbouring zone with its middle in that of the files."""
    import pyproj

    middle = PIXEL_M * size / 2
    x, y = pyproj.Transformer.from_crs(EPSG, OTHER_EPSG, always_xy=True).transform(WEST + middle, NORTH - middle)
    west, north = (PIXEL_M * round(value / PIXEL_M) for value in (x - middle, y + middle))
    return _bounds(west, north, size)


def _grid_of(collection: CollectionInfo, size: int) -> list[float]:
    """Give the bounds of the files in the zone that the target has."""
    first = next(item for item in collection.items if item.epsg == EPSG)
    document = json.loads(Path(first.path or "").read_text(encoding="utf-8"))
    _, _, west, _, _, north = document["properties"]["proj:transform"][:6]
    return _bounds(west, north, size)
