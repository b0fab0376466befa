"""Classes of bands, from STAC's classification extension. Pure.

The extension describes the values of an asset or of a band. An index has one column for the item's properties, so the
classes of all its assets become one property: an object with an entry for each asset, or for each band, "asset:number".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Name of STAC's field, and of the column.
CLASSES: Final = "classification:classes"
_FIELDS: Final = ("value", "name", "title", "description", "color_hint")
_BAND_FIELDS: Final = ("bands", "raster:bands", "eo:bands")


def classes_of(assets: Mapping[str, Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Give the classes of some assets.

    Args:
        assets: STAC assets by key.

    Returns:
        The classes by asset key, or by "key:number" with the 1-based number of a band. Each class has `value`, and
        `name`, `title`, `description` and `color_hint` where STAC gives them as texts.
    """
    found = {}
    for key, asset in assets.items():
        described = _classes(asset)
        if described:
            found[key] = described
        for field in _BAND_FIELDS:
            bands = asset.get(field)
            for number, band in enumerate(bands if isinstance(bands, list) else (), 1):
                described = _classes(band)
                if described:
                    found.setdefault(f"{key}:{number}", described)
    return found


def _classes(described: object) -> list[dict[str, Any]]:
    classes = described.get(CLASSES) if isinstance(described, dict) else None
    return [
        {
            field: each[field]
            for field in _FIELDS
            if (type(each.get(field)) is int if field == "value" else isinstance(each.get(field), str))
        }
        for each in (classes if isinstance(classes, list) else ())
        if isinstance(each, dict) and type(each.get("value")) is int
    ]
