"""GeoTIFF: where pixels lie. The affine transform of an image, and its GeoKeys as plain values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rasteret_sql.tiff import tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_sql.tiff.ifd import Directory

Transform = tuple[float, float, float, float, float, float]
"""Affine (a, b, c, d, e, f): x = a*col + b*row + c, y = d*col + e*row + f."""

GeoKeys = dict[int, "int | float | str | tuple[float, ...]"]
"""Values by GeoKey number."""

MAX_KEYS: Final = 1024
"""GeoKeys that are looked at; GeoTIFF defines fewer than 100."""

MAX_KEY_VALUES: Final = 1024
"""Numbers of one GeoKey; keys may share the numbers of a file, so that its size bounds nothing."""

MAX_KEY_TEXT: Final = 1 << 16
"""Bytes of the text of one GeoKey."""

REVISION: Final = 0
"""Where `parse_geo_keys` puts the minor revision of GeoTIFF (0 or 1); no GeoKey has this number."""

RASTER_TYPE: Final = 1025
PIXEL_IS_POINT: Final = 2


def parse_transform(directory: Directory, keys: Mapping[int, object]) -> tuple[Transform | None, str | None]:
    """The transform of an image from pixel corners to its CRS, or None and, often, a note that says why.

    Where GTRasterTypeGeoKey is PixelIsPoint the tags speak of pixel centres; the transform is moved by half a
    pixel, as GDAL does.

    Raises:
        CorruptTiffError: a tag holds too few numbers.
    """
    scale = directory.numbers(tags.MODEL_PIXEL_SCALE)
    tiepoints = directory.numbers(tags.MODEL_TIEPOINT)
    matrix = directory.numbers(tags.MODEL_TRANSFORMATION)
    if len(scale) >= 2 and scale[0] and scale[1]:
        if len(tiepoints) < 6:
            return None, "no transform: ModelPixelScale without a ModelTiepoint"
        a, e = float(scale[0]), -abs(float(scale[1]))
        col, row, _, x, y, _ = (float(value) for value in tiepoints[:6])
        transform = (a, 0.0, x - col * a, 0.0, e, y - row * e)
    elif len(matrix) == 16:
        a, b, _, c, d, e, _, f = (float(value) for value in matrix[:8])
        transform = (a, b, c, d, e, f)
    elif matrix:
        raise directory.corrupt(tags.MODEL_TRANSFORMATION, f"{len(matrix)} numbers", "16")
    elif has_control_points(directory):
        return None, f"no transform: {len(tiepoints) // 6} ground control points instead of a grid"
    else:
        return None, None
    a, b, c, d, e, f = transform
    if not all(math.isfinite(value) for value in transform) or a * e - b * d == 0:
        return None, f"no transform: the georeferencing tags give {transform}, which is no grid"
    if b or d:
        return None, f"no transform: the grid {transform} is rotated or sheared; warp the file to read areas of it"
    if keys.get(RASTER_TYPE) == PIXEL_IS_POINT:
        c -= 0.5 * a
        f -= 0.5 * e
    return (a, b, c, d, e, f), None


def has_control_points(directory: Directory) -> bool:
    """Whether the image has ground control points instead of a grid."""
    has_grid = tags.MODEL_TRANSFORMATION in directory or any(directory.numbers(tags.MODEL_PIXEL_SCALE)[:2])
    return directory.length(tags.MODEL_TIEPOINT) > 6 and not has_grid


def parse_geo_keys(directory: Directory) -> GeoKeys:
    """The GeoKeys of an image by number; keys whose value lies outside the parameter tags are left out."""
    if tags.GEO_KEY_DIRECTORY not in directory:
        return {}
    shorts = directory.integers(tags.GEO_KEY_DIRECTORY)
    if len(shorts) < 4:
        return {}
    doubles = directory.numbers(tags.GEO_DOUBLE_PARAMS)
    ascii_params = bytes(directory.raw(tags.GEO_ASCII_PARAMS)) if tags.GEO_ASCII_PARAMS in directory else b""
    keys: GeoKeys = {REVISION: shorts[2]}
    for index in range(4, min(4 + 4 * min(shorts[3], MAX_KEYS), len(shorts) - 3), 4):
        key, location, count, value = shorts[index : index + 4]
        if location == 0:
            keys[key] = value
        elif location == tags.GEO_ASCII_PARAMS:
            text = ascii_params[value : value + min(count, MAX_KEY_TEXT)].decode("utf-8", "replace")
            keys[key] = text.rstrip("\0").removesuffix("|")
        else:
            source = doubles if location == tags.GEO_DOUBLE_PARAMS else shorts
            found = source[value : value + min(count, MAX_KEY_VALUES + 1)]
            if len(found) == count and 0 < count <= MAX_KEY_VALUES:
                keys[key] = found[0] if count == 1 else found
    return keys
