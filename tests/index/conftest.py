"""Small files, items and catalogs that the tests of the index write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rasteret_sql.testing.cog import write_cog

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 64


@pytest.fixture
def cog(tmp_path):
    """Write a 64 x 64 COG below the test's folder."""

    def write(name: str, *, bands: int = 1, **options) -> Path:
        shape = (bands, SIZE, SIZE) if bands > 1 else (SIZE, SIZE)
        pixels = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
        return write_cog(tmp_path / name, pixels, **({"tile": 32, "overviews": (2,)} | options))

    return write


@pytest.fixture
def stac_item():
    """Make a STAC item of hrefs."""

    def make(item_id: str, hrefs: dict[str, str], **properties) -> dict:
        properties = {"datetime": "2024-01-02T03:04:05Z"} | properties
        return {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": item_id,
            "collection": "c",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[77, 12], [78, 12], [78, 13], [77, 13], [77, 12]]],
            },
            "bbox": [77, 12, 78, 13],
            "properties": properties,
            "assets": {key: {"href": href, "type": "image/tiff; application=geotiff"} for key, href in hrefs.items()},
            "links": [],
        }

    return make


@pytest.fixture
def write_json(tmp_path):
    """Write a JSON document below the test's folder."""

    def write(name: str, document) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        return path

    return write
