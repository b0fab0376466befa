"""Arguments that several public functions share, each described once.

A function that is decorated with `shares_arguments` describes its own arguments. An argument that its docstring leaves
out is described by the text below, in the order of the signature.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

#: Columns of a line of a docstring, without the indentation that Python 3.13 takes away.
_WIDTH: Final = 116
_INDENT: Final = " " * 4
_ARGS: Final = "\nArgs:\n"
_NAMED: Final = re.compile(r"^ {4}(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*): ", re.MULTILINE)

SHARED: Final = {
    "index": "rows of an index: a DuckDB relation, an Arrow table or reader, a data frame, a Parquet path, folder, "
    "glob or URL, or the text of a query. Or assets without an index: STAC items, documents or a search, TIFF files, "
    "or a table with `href`; their headers are read.",
    "bands": 'assets ("red"), or bands inside them ("visual:red"); None for all.',
    "geometry": "area as GeoJSON (mapping or text), WKT, WKB or an object with `__geo_interface__`, in `geometry_crs`; "
    "or None. The result covers its bounds. Pixels whose centre is outside are masked: invalid, with nodata, NaN or 0 "
    "as their value. Give `bbox` for a rectangle.",
    "bbox": "area as (xmin, ymin, xmax, ymax) in `geometry_crs`, or None. In longitude and latitude, xmin above xmax "
    "crosses the antimeridian.",
    "geometry_crs": "CRS of `geometry` and `bbox`, x before y; longitude and latitude by default.",
    "datetime": '"2024-01", "2024-01-01/2024-02-15" and other forms of STAC, ends included; or None.',
    "level": "0 is full resolution, n the nth overview.",
    "crs": "CRS of the grid.",
    "resolution": "pixel size of the grid in units of its CRS, one number or (x, y). Pixel edges are multiples of it, "
    "or lie on the files' pixel edges where the files share one grid of that CRS and pixel size.",
    "shape": "(height, width) of the grid, instead of `resolution`; or with `transform`.",
    "transform": "affine (a, b, c, d, e, f) from pixel corner (col, row) to `crs`, or an `Affine`; with `shape`.",
    "like": "an object that has the grid: an xarray object, an odc-geo GeoBox, a rasterio profile.",
    "allow_extreme_scale": "allow a grid whose pixels are over 1,000 times coarser or finer than those of all files. "
    "Otherwise such a grid is refused, because its units are probably wrong.",
    "resampling": '"nearest", "bilinear", "cubic", "average", "mode", "min" or "max", as in GDAL\'s warper, or a '
    'mapping of bands to these, with "*" for all others. Invalid pixels never take part. The overview is the '
    "coarsest whose pixels are not larger than those of the grid.",
    "groupby": 'common value of the items of a slice: "id", "time", "day" (UTC), "solar_day" (mean solar time at the '
    "item's bbox), or a column of the index. None makes one slice per item.",
    "mosaic": 'rule for overlapping items of a slice: the "first" or "last" valid pixel in the order of the query '
    '(ORDER BY; for a table or file: by collection, time and id), or the "min", "max", "mean", "median" or "count" of '
    "the valid pixels.",
    "nodata": "value of pixels without data, instead of the files' nodata value, or a mapping of bands to values, with "
    '"*" for all others. Masks and fill follow it. Files with a mask or an alpha band refuse it.',
    "dtype": 'dtype of the pixels, such as "uint16", or a mapping of bands to dtypes, with "*" for all others; None '
    "for the files' dtype. Pixels are cast when they are decoded, before they are resampled. If the dtype cannot hold "
    "a pixel, an error is raised. Integers stay exact, and floats may be rounded. Nodata values are cast too. If the "
    "dtype cannot hold the nodata value of a band, the band has none, and its mask marks the pixels without data.",
    "gsd": "largest pixel size in metres on the ground, instead of a level: the longer side of pixels at the middle of "
    "each file.",
    "expressions": "formulas over bands by name, such as `{'ndvi': '(nir - red) / (nir + red)'}`, of band names, "
    "numbers, `+ - * / **` and parentheses. Each becomes a band of its name, computed in float64 for each pixel of an "
    "item. It is invalid where one of its bands is, or where the result is not finite. With formulas and without "
    "`bands`, the formulas alone are read. If its bands have several resolutions, a formula has the finest of their "
    "grids, and the other bands are read at the nearest pixel.",
    "valid_where": "condition over bands of the item, such as `'SCL IN (4, 5, 6) AND red < 9000'`. Pixels where it is "
    "not true are invalid. Its bands need not be in `bands`, and are read at the nearest pixel. An item without them "
    "has no rows.",
    "mask_and_scale": "give physical values: floats, with NaN for invalid pixels. Each stored value is multiplied by "
    "the scale of its file and band, and the offset is added, before items are combined. So the files of a band may "
    "differ in scale, offset and dtype.",
    "scales": 'scale of all bands, instead of the files\' scales, or a mapping of bands to scales, with "*" for all '
    "others. A physical value is the stored value times the scale, plus the offset.",
    "offsets": "offset of all bands, instead of the files' offsets, or a mapping of bands to offsets. Offsets have the "
    "unit of physical values.",
    "all_touched": "take every pixel of which a polygon covers some part, not only those whose centre is inside. "
    "Points and lines always take the pixels that they touch.",
}


def shares_arguments(function: F) -> F:
    """Describe the arguments that a function's docstring leaves out.

    Raises:
        KeyError: no text describes one of them.
    """
    doc = function.__doc__
    if doc is None:  # python -OO
        return function
    before, _, rest = inspect.cleandoc(doc).partition(_ARGS)
    own, blank, after = rest.partition("\n\n")
    described = _described(own)
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    entries = [described.get(name) or _entry(name) for name in names] + list(described.values())
    function.__doc__ = f"{before}{_ARGS}" + "\n".join(dict.fromkeys(entries)) + f"{blank}{after}"
    return function


def _described(section: str) -> dict[str, str]:
    """Give the entry of each argument of an Args section; arguments described together have one entry."""
    starts = [match.start() for match in _NAMED.finditer(section)]
    entries = [section[start:end].rstrip() for start, end in zip(starts, [*starts[1:], len(section)], strict=True)]
    return {name.strip().lstrip("*"): entry for entry in entries for name in entry.partition(":")[0].split(",")}


def _entry(name: str) -> str:
    return textwrap.fill(f"{name}: {SHARED[name]}", _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT + " " * 4)
