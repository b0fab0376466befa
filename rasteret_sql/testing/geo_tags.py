"""Builds the tags that make a TIFF a GeoTIFF: grid, CRS, GDAL's metadata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing.tiff_writer import FieldType, Tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def geo_tags(crs: str | None, transform: Sequence[float] | None, area_or_point: Literal["area", "point"]) -> list[Tag]:
    """Give GeoTIFF's tags (OGC 19-008r4): the grid and, by its code, the CRS.

    Raises:
        InvalidArgumentError: `crs` is not the code of an EPSG CRS.
    """
    tags = []
    if transform is not None:
        a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
        if area_or_point == "point":
            c, f = c + (a + b) / 2, f + (d + e) / 2
        if b == 0 and d == 0 and a > 0 and e < 0:
            tags.append(Tag(33550, FieldType.DOUBLE, (a, -e, 0.0)))
            tags.append(Tag(33922, FieldType.DOUBLE, (0.0, 0.0, 0.0, c, f, 0.0)))
        else:
            matrix = (a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
            tags.append(Tag(34264, FieldType.DOUBLE, matrix))
    if crs is None and area_or_point == "area":
        return tags  # a directory of nothing but the default makes GDAL see a local CRS
    keys = [(1025, 2 if area_or_point == "point" else 1)]
    if crs is not None:
        projected, code = _crs_code(crs)
        keys += [(1024, 1 if projected else 2), (3072 if projected else 2048, code)]
    directory = [1, 1, 0, len(keys)]
    for key, value in sorted(keys):
        directory += [key, 0, 1, value]
    return [*tags, short_tag(34735, *directory)]


def _crs_code(crs: str) -> tuple[bool, int]:
    """Give (projected, EPSG code); UTM zones and WGS 84 are known without pyproj, whose import is slow."""
    authority, _, digits = crs.partition(":")
    if authority.upper() == "EPSG" and digits.isdigit():
        code = int(digits)
        if 32601 <= code <= 32660 or 32701 <= code <= 32760:
            return True, code
        if code == 4326:
            return False, code
        import pyproj

        try:
            return not pyproj.CRS.from_epsg(code).is_geographic, code
        except pyproj.exceptions.CRSError:
            pass
    raise InvalidArgumentError(f'crs={crs!r}; give the code of an EPSG CRS such as "EPSG:32643", or None')


def metadata_tags(dataset: Mapping[str, str], bands: Mapping[str, Sequence[str] | Sequence[float] | None]) -> list[Tag]:
    """Give the GDAL_METADATA tag, where there is anything to say.

    Args:
        dataset: items of the whole file.
        bands: values per band by GDAL's role: `"description"`, `"scale"`, `"offset"`, `"unittype"`.
    """
    # GDAL escapes values twice and undoes both, "for backward compatibility" (its geotiff.cpp says).
    items = [f"  <Item name={quoteattr(name)}>{escape(escape(value))}</Item>" for name, value in dataset.items()]
    for role, values in bands.items():
        texts = [escape(escape(value)) if isinstance(value, str) else number_text(value) for value in values or ()]
        for sample, text in enumerate(texts):
            items.append(f'  <Item name="{role.upper()}" sample="{sample}" role="{role}">{text}</Item>')
    if not items:
        return []
    return [ascii_tag(42112, "\n".join(["<GDALMetadata>", *items, "</GDALMetadata>"]))]


def number_text(value: float) -> str:
    """Write a number as GDAL does: integers plain, floats so that they round-trip, `nan`, `inf`."""
    return str(int(value)) if math.isfinite(value) and float(value).is_integer() else repr(float(value))


def short_tag(code: int, *values: int) -> Tag:
    """Give a tag of type SHORT."""
    return Tag(code, FieldType.SHORT, values)


def long_tag(code: int, *values: int) -> Tag:
    """Give a tag of type LONG."""
    return Tag(code, FieldType.LONG, values)


def ascii_tag(code: int, text: str) -> Tag:
    """Give a tag of type ASCII."""
    return Tag(code, FieldType.ASCII, text.encode() + b"\0")
