"""The tags of an image: how its pixels are stored, and what makes it a GeoTIFF: grid, GeoKeys, GDAL's metadata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.tiff.geo import REVISION
from rasteret_sql.tiff.writing.layout import FieldType, Tag
from rasteret_sql.tiff.writing.tiles import COMPRESSION_TAGS, PREDICTING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.tiff.geo import GeoKeys
    from rasteret_sql.tiff.writing.tiles import SegmentFormat

Photometric = Literal["minisblack", "miniswhite", "rgb", "palette", "mask", "ycbcr"]
PHOTOMETRIC_TAGS: dict[str, int] = {
    "miniswhite": 0, "minisblack": 1, "rgb": 2, "palette": 3, "mask": 4, "ycbcr": 6,
}  # fmt: skip
#: Samples that are colours; all further ones are extra samples.
COLOUR_SAMPLES = {"rgb": 3, "ycbcr": 3}
SAMPLE_FORMATS = {"u": 1, "b": 1, "i": 2, "f": 3, "c": 6}
#: Directory, double and text parameters of GeoKeys (OGC 19-008r4, section 7.1).
_DIRECTORY, _DOUBLES, _TEXTS = 34735, 34736, 34737
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113


def image_tags(  # noqa: PLR0913 - keywords only
    form: SegmentFormat,
    *,
    shape: tuple[int, int],
    segment: tuple[int, int],
    samples: int = 1,
    kind: str = "u",
    level: int = 0,
    is_tiled: bool = True,
    is_planar: bool = False,
    has_alpha: bool = False,
    colormap: npt.NDArray[np.uint8] | None = None,
    nodata: float | None = None,
) -> list[Tag]:
    """Give the tags of an IFD that say how its pixels are stored.

    Args:
        form: of its tiles or strips; the photometric interpretation `"mask"` makes it the mask of a level.
        shape: (height, width).
        segment: (height, width) of a tile or strip.
        samples: how many bands there are.
        kind: of their dtype, as NumPy has it.
        level: 0 for full resolution, more for overviews.
        is_tiled: False for strips.
        is_planar: one plane per band.
        has_alpha: whether the last band is an alpha channel.
        colormap: uint8 (2 ** bits, 3): the colours of a palette.
        nodata: the value of GDAL_NODATA, or None.

    Raises:
        InvalidArgumentError: the palette has another number of colours.
    """
    is_mask = form.photometric == "mask"
    tags = [
        long_tag(256, shape[1]),
        long_tag(257, shape[0]),
        *([long_tag(322, segment[1]), long_tag(323, segment[0])] if is_tiled else [long_tag(278, segment[0])]),
        short_tag(258, *[form.bits_per_sample] * samples),
        short_tag(259, COMPRESSION_TAGS[form.compression]),
        short_tag(262, PHOTOMETRIC_TAGS[form.photometric]),
        short_tag(277, samples),
        short_tag(284, 2 if is_planar else 1),
        short_tag(339, *[SAMPLE_FORMATS[kind]] * samples),
    ]
    if level or is_mask:
        tags.append(long_tag(254, (1 if level else 0) | (4 if is_mask else 0)))
    if form.fill_order == 2:
        tags.append(short_tag(266, 2))
    if form.compression in PREDICTING and not is_mask:
        tags.append(short_tag(317, form.predictor))
    extra = samples - COLOUR_SAMPLES.get(form.photometric, 1)
    if extra:
        tags.append(short_tag(338, *[0] * (extra - has_alpha), *[2] * has_alpha))
    if form.photometric == "palette":
        tags.append(_colormap_tag(colormap, form.bits_per_sample))
    if form.photometric == "ycbcr":
        tags += [short_tag(530, 2, 2), Tag(532, FieldType.RATIONAL, (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1))]
    if form.compression.startswith("lerc"):
        tags.append(long_tag(50674, 4, {"lerc_deflate": 1, "lerc_zstd": 2}.get(form.compression, 0)))
    if nodata is not None:
        tags.append(ascii_tag(_GDAL_NODATA, number_text(nodata)))
    return tags


def _colormap_tag(colormap: npt.NDArray[np.uint8] | None, bits: int) -> Tag:
    """Give the ColorMap: all reds, all greens, all blues, as 16-bit values."""
    table = np.zeros((0, 3), np.uint8) if colormap is None else np.asarray(colormap)
    if table.shape != (2**bits, 3):
        raise InvalidArgumentError(f'photometric="palette" with a colormap of shape {table.shape}; give ({2**bits}, 3)')
    return short_tag(320, *(table.astype(np.uint16).T.ravel() * 257).tolist())


def grid_tags(transform: Sequence[float]) -> list[Tag]:
    """Give the tags of a grid (OGC 19-008r4): north-up grids by pixel scale and tiepoint, others by a matrix."""
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    if b == 0 and d == 0 and a > 0 > e:
        return [Tag(33550, FieldType.DOUBLE, (a, -e, 0.0)), Tag(33922, FieldType.DOUBLE, (0.0, 0.0, 0.0, c, f, 0.0))]
    matrix = (a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    return [Tag(34264, FieldType.DOUBLE, matrix)]


def key_tags(keys: GeoKeys) -> list[Tag]:
    """Give the three tags that hold GeoKeys."""
    directory: list[int] = []
    doubles: list[float] = []
    texts = ""
    listed = sorted((number, value) for number, value in keys.items() if number != REVISION)
    for number, value in listed:
        if isinstance(value, int):
            directory += [number, 0, 1, value]
        elif isinstance(value, str):
            # GeoTIFF's texts are ASCII, and each ends with a bar.
            text = value.encode("ascii", "replace").decode() + "|"
            directory += [number, _TEXTS, len(text), len(texts)]
            texts += text
        else:
            values: tuple[Any, ...] = (value,) if isinstance(value, float) else tuple(value)
            directory += [number, _DOUBLES, len(values), len(doubles)]
            doubles += values
    tags = [short_tag(_DIRECTORY, 1, 1, int(str(keys.get(REVISION, 0))), len(listed), *directory)]
    if doubles:
        tags.append(Tag(_DOUBLES, FieldType.DOUBLE, tuple(doubles)))
    if texts:
        tags.append(ascii_tag(_TEXTS, texts))
    return tags


def metadata_tags(dataset: Mapping[str, str], bands: Mapping[str, Sequence[str | float | None] | None]) -> list[Tag]:
    """Give the GDAL_METADATA tag, where there is anything to say.

    Args:
        dataset: items of the whole file.
        bands: values per band by GDAL's role, `"description"`, `"scale"`, `"offset"` or `"unittype"`; None is left out.
    """
    # GDAL escapes values twice and undoes both, "for backward compatibility" (its geotiff.cpp says).
    items = [f"  <Item name={quoteattr(name)}>{escape(escape(value))}</Item>" for name, value in dataset.items()]
    for role, values in bands.items():
        for sample, value in enumerate(values or ()):
            if value is not None:
                text = escape(escape(value)) if isinstance(value, str) else number_text(value)
                items.append(f'  <Item name="{role.upper()}" sample="{sample}" role="{role}">{text}</Item>')
    if not items:
        return []
    return [ascii_tag(_GDAL_METADATA, "\n".join(["<GDALMetadata>", *items, "</GDALMetadata>"]))]


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
