"""STAC documents of the collections that are made for tests and demos, as plain dictionaries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.demo.landscape import REFLECTANCE_SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

STAC_VERSION = "1.0.0"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
]
# Asset key, band name, centre and width in micrometres.
SENTINEL_2_BANDS = (
    ("blue", "B02", 0.49, 0.098),
    ("green", "B03", 0.56, 0.045),
    ("red", "B04", 0.665, 0.038),
    ("nir", "B08", 0.842, 0.145),
)


def link(rel: str, href: str, media_type: str = "application/json") -> dict[str, str]:
    """Give a STAC link."""
    return {"rel": rel, "href": href, "type": media_type}


def band_asset(href: str, key: str, shape: tuple[int, int], transform: Sequence[float]) -> dict[str, Any]:
    """Give the asset of one reflectance band; `shape` is (height, width)."""
    _, name, centre, width = next(band for band in SENTINEL_2_BANDS if band[0] == key)
    return {
        "href": href,
        "type": COG_TYPE,
        "title": f"{key} ({name})",
        "roles": ["data", "reflectance"],
        "gsd": transform[0],
        "eo:bands": [{"name": name, "common_name": key, "center_wavelength": centre, "full_width_half_max": width}],
        "raster:bands": [
            {
                "nodata": 0,
                "data_type": "uint16",
                "spatial_resolution": transform[0],
                "scale": REFLECTANCE_SCALE,
                "offset": 0,
            }
        ],
        "proj:shape": list(shape),
        "proj:transform": [*transform, 0, 0, 1],
    }


def class_asset(href: str, shape: tuple[int, int], transform: Sequence[float]) -> dict[str, Any]:
    """Give the asset of the scene classification; `shape` is (height, width)."""
    return {
        "href": href,
        "type": COG_TYPE,
        "title": "Scene classification (SCL)",
        "roles": ["data"],
        "gsd": transform[0],
        "raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": transform[0]}],
        "proj:shape": list(shape),
        "proj:transform": [*transform, 0, 0, 1],
    }


def item(
    item_id: str,
    collection: str,
    when: datetime,
    footprint: dict[str, Any],
    properties: dict[str, Any],
    assets: dict[str, Any],
) -> dict[str, Any]:
    """Give an item; the caller adds links."""
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": _EXTENSIONS,
        "id": item_id,
        "collection": collection,
        "geometry": footprint,
        "bbox": bounds_of(footprint),
        "properties": {"datetime": timestamp(when), **properties},
        "links": [],
        "assets": assets,
    }


def collection(
    collection_id: str,
    title: str,
    bbox: Sequence[float],
    interval: tuple[datetime, datetime],
    links: Sequence[dict[str, str]],
) -> dict[str, Any]:
    """Give a collection that spans `bbox` and `interval`."""
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": collection_id,
        "title": title,
        "description": "A landscape that does not exist, as Sentinel-2 would see it. For tests and demos.",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [list(bbox)]},
            "temporal": {"interval": [[timestamp(one) for one in interval]]},
        },
        "links": list(links),
    }


def catalog(catalog_id: str, description: str, links: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Give a catalog."""
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": catalog_id,
        "description": description,
        "links": list(links),
    }


def timestamp(when: datetime) -> str:
    """Write a UTC time as STAC does."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def bounds_of(footprint: dict[str, Any]) -> list[float]:
    """Give [west, south, east, north] of a polygon."""
    ring = footprint["coordinates"][0]
    lons, lats = zip(*ring, strict=True)
    return [min(lons), min(lats), max(lons), max(lats)]


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document aside and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)
