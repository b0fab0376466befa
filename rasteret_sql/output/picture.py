"""Pictures of what an index holds: red, green and blue, or one band in colours, from the overviews that suffice."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.arrays.display import PERCENTILES, checked_percentiles, stretch_limits, stretched
from rasteret_sql.checks import check_choice, check_flag, checked_list, shown, text_of
from rasteret_sql.database.hrefs import is_url
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.fresh import with_fresh_headers
from rasteret_sql.output.colormaps import (
    MAX_CLASSES,
    class_colors,
    class_names,
    colormap_colors,
    formula_colormap,
    is_diverging,
)
from rasteret_sql.shared_docs import shares_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.output.class_meanings import Meanings
    from rasteret_sql.output.picture_pixels import Reading
    from rasteret_sql.output.picture_plan import PicturePlan
    from rasteret_sql.plan.tile_plan import PlannedAsset

    Image = npt.NDArray[np.uint8]

Transform = tuple[float, float, float, float, float, float]

#: Picture files, by suffix.
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
_MAX_SIZE: Final = 16_383  # WebP knows no more
_ITEM: Final = "the id of an item, or several"
#: Mosaics whose values are those of the files.
_KEEPING: Final = frozenset({"first", "last", "min", "max"})
_PALETTE: Final = 3  # TIFF PhotometricInterpretation
_JPEG_QUALITY: Final = 90
_GRAYS: Final = ("gray", "gray_r")
#: Colour of pixels without data in files that know no transparency.
_BACKGROUND: Final = 255


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture with its grid, bands and items.

    Attributes:
        pixels: uint8 (height, width, 4): red, green, blue, alpha; north is up. Alpha is 0 where there are no data.
        crs: CRS of the grid; None where the files have none.
        transform: affine (a, b, c, d, e, f), pixel corner (col, row) to CRS; or None.
        bands: names of the bands, as in a read; or the formula.
        limits: the stored values of each band that became black and white, or the first and last colour; none for
            classes. Physical values of a formula, and where files of one band differ in scale or offset.
        classes: colours "#rrggbb" by value, for bands that are shown as classes.
        class_names: names by value, as far as they are known.
        colormap: the map of a single band, or None.
        item_ids: items that were read, from the top.
        levels: levels that were read, 0 is full resolution.
        requests, nbytes: requests and bytes that were fetched.
        notes: remarks for users.
    """

    pixels: Image
    crs: str | None
    transform: Transform | None
    bands: tuple[str, ...]
    limits: tuple[tuple[float, float], ...] = ()
    classes: dict[int, str] = field(default_factory=dict)
    class_names: dict[int, str] = field(default_factory=dict)
    colormap: str | None = None
    item_ids: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()
    requests: int = 0
    nbytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """(xmin, ymin, xmax, ymax) in the CRS, or None."""
        if self.transform is None:
            return None
        a, _, c, _, e, f = self.transform
        height, width = self.pixels.shape[:2]
        return min(c, c + a * width), min(f, f + e * height), max(c, c + a * width), max(f, f + e * height)

    def facts(self) -> dict[str, Any]:
        """Give its attributes, but for the pixels, as JSON has them."""
        return {
            "width": self.pixels.shape[1],
            "height": self.pixels.shape[0],
            "bounds": None if self.bounds is None else list(self.bounds),
            "crs": self.crs,
            "bands": list(self.bands),
            "limits": [list(each) for each in self.limits],
            "classes": {str(value): color for value, color in self.classes.items()},
            "class_names": {str(value): name for value, name in self.class_names.items()},
            "colormap": self.colormap,
            "items": list(self.item_ids),
            "levels": list(self.levels),
            "requests": self.requests,
            "bytes": self.nbytes,
            "notes": list(self.notes),
        }

    @property
    def has_legend(self) -> bool:
        """Whether its colours need an explanation: those of classes and maps do; greys and natural colours do not."""
        return bool(self.classes) or self.colormap not in {None, *_GRAYS}

    def with_legend(self) -> Image:
        """Give the pixels with a legend below them: the names of classes, or the colours of the map and their limits.

        Returns:
            uint8 (height + that of the legend, width, 4); wider than the picture where the legend is.
        """
        from rasteret_sql.output.legend import Legend, with_legend

        title = ", ".join(self.bands)
        if self.classes:
            labels = {value: f"{value} {self.class_names.get(value, '')}".rstrip() for value in self.classes}
            swatches = {
                value: np.frombuffer(bytes.fromhex(color[1:]), np.uint8) for value, color in self.classes.items()
            }
            entries = tuple((labels[value], swatches[value]) for value in self.classes)
            return with_legend(self.pixels, Legend(title, np.empty((0, 3), np.uint8), entries=entries))
        if self.colormap is None:
            return self.pixels
        return with_legend(self.pixels, Legend(title, colormap_colors(self.colormap), self.limits[0]))

    def encoded(self, suffix: str = ".png", *, legend: bool | None = None) -> bytes:
        """Give the bytes of a picture file.

        Args:
            suffix: one of `SUFFIXES`. JPEG knows no transparency: there, pixels without data are white.
            legend: whether a legend is drawn below the picture; None draws one where `has_legend`.

        Raises:
            InvalidArgumentError: the suffix is another one.
        """
        import imagecodecs

        if suffix.lower() not in SUFFIXES:
            raise InvalidArgumentError(f"suffix: got {shown(suffix)}, expected one of {', '.join(SUFFIXES)}")
        is_explained = self.has_legend if legend is None else legend
        pixels = np.ascontiguousarray(self.with_legend() if is_explained else self.pixels)
        if suffix.lower() == ".webp":
            return bytes(imagecodecs.webp_encode(pixels, level=_JPEG_QUALITY))
        if suffix.lower() == ".png":
            return bytes(imagecodecs.png_encode(pixels))
        flat = np.where(pixels[..., 3:] > 0, pixels[..., :3], np.uint8(_BACKGROUND))
        return bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(flat), level=_JPEG_QUALITY))

    def save(self, path: str | Path, *, legend: bool | None = None) -> None:
        """Write a picture file, which appears under its name once it is complete.

        Args:
            path: its suffix says the format: .png, .jpg or .webp.
            legend: whether a legend is drawn below the picture; None draws one where `has_legend`.

        Raises:
            InvalidArgumentError: there is no such format or folder.
            RasteretError: the disk is full.
        """
        import os
        from pathlib import Path

        from rasteret_sql.io.disk import writing

        target = Path(path).expanduser()
        data = self.encoded(target.suffix, legend=legend)
        if not target.parent.is_dir() or target.is_dir():
            raise InvalidArgumentError(f"path: got {target}, expected a file in a folder that exists")
        aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with writing(target):
                aside.write_bytes(data)
                aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def _repr_png_(self) -> bytes:
        """Show it in notebooks."""
        return self.encoded()

    def __repr__(self) -> str:
        """Describe it in one line."""
        height, width = self.pixels.shape[:2]
        items = f"{len(self.item_ids)} item" + ("" if len(self.item_ids) == 1 else "s")
        return f"<Picture {width} x {height} of {', '.join(self.bands)}, {items}, {self.crs or 'no CRS'}>"


@with_fresh_headers
@shares_arguments
def picture(  # noqa: PLR0913 - keywords only
    index: Any,
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
    bands: Sequence[str] | str | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: str = "OGC:CRS84",
    all_touched: bool = False,
    datetime: str | None = None,
    where: str | None = None,
    item: str | Sequence[str] | None = None,
    size: int | tuple[int, int] = 1024,
    percentiles: tuple[float, float] | None = None,
    colormap: str | None = None,
    mosaic: str = "first",
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
) -> Picture:
    """Draw an area of an index as a picture.

    Pixels come from the coarsest overview that is as fine as the picture, averaged down to its size, so that large
    files cost little. No pixel is finer than those of the files. Files in several CRSs are brought into one. Where
    items overlap, the item with the least "eo:cloud_cover" lies on top, then the earliest; items of a query lie in the
    order of its rows. Reading stops when everything is covered.

    A band of 8-bit integers with few values shows classes: it is never averaged, and each class has a colour. Names
    and colours of classes come from STAC's `classification:classes`, GDAL's categories or the palette of the file.

    A formula over bands, such as "(nir - red) / (nir + red)", is computed from physical values after they were
    averaged. A difference is shown in colours that diverge from 0.

    Pixels that are nodata, masked or outside of all files are transparent.

    Args:
        index: rows of an index, as for `to_xarray`; or rows of `read_tiles`, which are put together as they are.
        connection: has the tables and functions that a query in `index` names.
        bands: three, or one: assets ("red"), or bands inside them ("visual:red"); or one formula of band names,
            numbers, + - * / ** and parentheses, in which a name such as "visual:red" stands in double quotes. By
            default red, green and blue where the index has them, else a picture in colour, else the first band.
        geometry: area as GeoJSON, WKT, WKB or an object with `__geo_interface__`, in `geometry_crs`; pixels whose
            centre is outside it are transparent.
        where: a condition in SQL on the rows of the index, such as `"eo:cloud_cover" < 10`.
        item: id of the item that is shown, or several.
        size: pixels along the longer side, or (height, width), at most.
        percentiles: the valid pixels of each band that become black and white, 0 to 100; (2, 98) by default. Pictures
            in colour, of 8 bits, are shown as they are by default.
        colormap: for one band or a formula: gray (the default), viridis, magma, RdYlGn, RdBu or another map of `cmap`,
            which has those of matplotlib and of many others; with "_r" at the end it is reversed. A formula is shown in
            RdYlGn if it is a difference, else in viridis.
        mosaic: the pixel that is shown where items overlap: first, last, min, max, mean, median or count.
        scales, offsets: scale and offset of all bands, for formulas, instead of those of the files; or mappings of
            bands to them, with "*" for all others.

    Returns:
        The picture; notebooks show it, and `save` writes it.

    Raises:
        InvalidArgumentError: an argument is wrong, or leaves too much for one picture.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to show.
        RasteretError: bytes could not be fetched or decoded.

    Example:
        >>> picture("s2.parquet", where='"eo:cloud_cover" < 10').save("s2.png")  # doctest: +SKIP
    """
    from rasteret_sql.output.picture_pixels import read_picture
    from rasteret_sql.output.picture_plan import plan_picture
    from rasteret_sql.plan.mosaics import MOSAICS
    from rasteret_sql.plan.scaling import GivenScaling
    from rasteret_sql.sql.readers import read_arguments

    within = _checked_size(size)
    limits_of = None if percentiles is None else checked_percentiles(percentiles)
    colors = None if colormap is None else colormap_colors(colormap)
    check_choice("mosaic", mosaic, MOSAICS)
    check_flag("all_touched", all_touched)
    items = checked_list("item", item, _ITEM)
    if where is not None and not isinstance(where, str):
        raise InvalidArgumentError(f"where: got {shown(where)}, expected a condition in SQL, as text")
    planned = plan_picture(
        index,
        read_arguments(
            bands, geometry, bbox, geometry_crs, datetime, None, None, scaling=GivenScaling.of(scales, offsets)
        ),
        connection=connection,
        where=where,
        items=None if items is None else [text_of("item", each, _ITEM) for each in items],
        size=within,
        all_touched=all_touched,
    )
    formula = planned.expression
    _check_bands(planned.bands if formula is None else (formula.text,), has_colormap=colors is not None)
    if formula is not None and mosaic == "count":
        raise InvalidArgumentError(f"mosaic: got 'count' with the expression {formula.text!r}, expected another one")
    may_be_classes = len(planned.bands) == 1 and formula is None and _are_classes(planned)
    reading = read_picture(
        planned.plan,
        planned.box,
        planned.rank,
        clip=planned.clip,
        resampling="nearest" if may_be_classes else "average",
        mosaic=mosaic,
        formula=formula,
    )
    used_map = colormap
    if formula is not None:
        used_map = colormap or formula_colormap(formula)
        colors = colormap_colors(used_map)
    notes = planned.notes if reading.valid.any() else (*planned.notes, "no pixel has a value")
    drawn = None
    if may_be_classes and colors is None and limits_of is None and mosaic in _KEEPING:
        drawn = _classes(planned.bands[0], reading, _meanings(planned, reading), _color_table(planned, reading))
    if drawn is None:
        is_around_zero = formula is not None and formula.is_difference and is_diverging(str(used_map))
        drawn = _drawn(planned, reading, colors, limits_of, is_around_zero=is_around_zero)
    return Picture(
        pixels=drawn.pixels,
        crs=planned.box.crs,
        transform=None if planned.box.crs is None else planned.box.transform,
        bands=planned.bands if formula is None else (formula.text,),
        limits=drawn.limits,
        classes=drawn.classes,
        class_names=drawn.class_names,
        colormap=None if len(reading.values) == 3 or drawn.classes else used_map or "gray",
        item_ids=tuple(dict.fromkeys(reading.item_ids)),
        levels=tuple(sorted(reading.levels)),
        requests=0 if planned.is_given else reading.requests,
        nbytes=0 if planned.is_given else reading.nbytes,
        notes=notes,
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    pixels: Image
    limits: tuple[tuple[float, float], ...] = ()
    classes: dict[int, str] = field(default_factory=dict)
    class_names: dict[int, str] = field(default_factory=dict)


def _top_asset(planned: PicturePlan, reading: Reading) -> PlannedAsset | None:
    """Give the file on top; None where its bytes are rows of a query."""
    if planned.is_given:
        return None
    return next((each for each in planned.plan.assets if each.item_id in reading.item_ids[:1]), None)


def _color_table(planned: PicturePlan, reading: Reading) -> Image | None:
    """Give the colour table of the file on top, where it has one."""
    from rasteret_sql.output.file_colors import color_table

    asset = _top_asset(planned, reading)
    if asset is None or asset.format.photometric != _PALETTE:
        return None
    table, requests, nbytes = color_table(asset.address, asset.identity)
    reading.requests += requests
    reading.nbytes += nbytes
    return table


def _meanings(planned: PicturePlan, reading: Reading) -> Meanings:
    """Give the classes of the band: as the index describes them, else as GDAL keeps them beside the file on top."""
    from rasteret_sql.output.class_meanings import auxiliary_meanings

    asset = _top_asset(planned, reading)
    if planned.meanings or asset is None or not asset.bands or is_url(asset.address):
        return planned.meanings
    return auxiliary_meanings(asset.address, asset.bands[0].band)


def _classes(band: str, reading: Reading, meanings: Meanings, table: Image | None) -> _Drawn | None:
    """Give each value a colour of its own; None where there are too many for that, and nothing tells their colours."""
    valid = reading.valid
    values, places = np.unique(reading.values[0][valid], return_inverse=True)
    if not len(values):
        return None
    is_described = all(int(value) in meanings for value in values)
    if table is not None and values[0] >= 0 and values[-1] < len(table):
        colors = table[values.astype(np.int64)]
    elif is_described or len(values) <= MAX_CLASSES:
        colors = class_colors(values, band)
    else:
        return None
    names = class_names(values, band)
    for number, value in enumerate(map(int, values)):
        meaning = meanings.get(value)
        if meaning is not None and meaning.name:
            names[value] = meaning.name
        if meaning is not None and meaning.color is not None:
            colors[number] = meaning.color
    pixels = np.zeros((*valid.shape, 4), np.uint8)
    pixels[valid, :3] = colors[places.reshape(-1)]
    pixels[valid, 3] = 255
    named = {int(value): f"#{color.tobytes().hex()}" for value, color in zip(values, colors, strict=True)}
    return _Drawn(pixels, classes=named, class_names=names)


def _drawn(
    planned: PicturePlan,
    reading: Reading,
    colors: Image | None,
    percentiles: tuple[float, float] | None,
    *,
    is_around_zero: bool,
) -> _Drawn:
    """Give colours to values; `is_around_zero` puts 0 into the middle of a map."""
    valid = reading.valid
    pixels = np.zeros((*valid.shape, 4), np.uint8)
    pixels[..., 3] = np.where(valid, 255, 0)
    if percentiles is None and _is_photograph(planned):
        limits = [(0.0, 255.0)] * len(reading.values)
    else:
        limits = [stretch_limits([values[valid]], percentiles or PERCENTILES) for values in reading.values]
    if is_around_zero:
        most = max(map(abs, limits[0]))
        limits = [(-most, most)]
    shares = [stretched(values, valid, each) for values, each in zip(reading.values, limits, strict=True)]
    if len(shares) == 1:
        pixels[valid, :3] = (colormap_colors("gray") if colors is None else colors)[shares[0][valid]]
    else:
        for channel, share in enumerate(shares):
            pixels[valid, channel] = share[valid]
    return _Drawn(pixels, tuple(limits))


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        height, width = map(operator.index, size if isinstance(size, (tuple, list)) else (size, size))
    except (TypeError, ValueError):
        height = width = 0
    if not (1 <= height <= _MAX_SIZE and 1 <= width <= _MAX_SIZE):
        raise InvalidArgumentError(
            f"size: got {shown(size)}, expected pixels of the longer side, or (height, width), 1 to {_MAX_SIZE:,}"
        )
    return height, width


def _check_bands(bands: Sequence[str], *, has_colormap: bool) -> None:
    if len(bands) not in {1, 3}:
        raise InvalidArgumentError(
            f"bands: got {len(bands)}, {', '.join(bands)}, expected three (red, green, blue) or one; choose them"
        )
    if has_colormap and len(bands) == 3:
        raise InvalidArgumentError(
            f"colormap: got one with the three bands {', '.join(bands)}, expected it with one band; choose one"
        )


def _are_classes(planned: PicturePlan) -> bool:
    """Whether the one band may be one of classes: 8-bit integers, or integers whose classes the index describes."""
    from rasteret_sql.output.picture_pixels import used_assets

    used = used_assets(planned.plan)
    if planned.meanings:
        return all(np.dtype(asset.dtype).kind in "iu" for asset in used)
    return all(asset.format.photometric == _PALETTE or asset.dtype in {"uint8", "int8"} for asset in used)


def _is_photograph(planned: PicturePlan) -> bool:
    """Whether the bands are a picture in colour already: three of 8 bits in one file."""
    from rasteret_sql.output.picture_pixels import used_assets

    used = used_assets(planned.plan)
    wanted = set(planned.bands)
    return len(wanted) == 3 and all(
        asset.dtype == "uint8" and {band.name for band in asset.bands} >= wanted for asset in used
    )
