"""Query results as one NumPy array (item, band, y, x): native pixels, or on a grid that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rasteret_sql.arrays.cubes import CubeArguments, plan_cube, plans_of
from rasteret_sql.arrays.grids import GridArguments
from rasteret_sql.arrays.memory import check_size, new_array
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.fresh import with_fresh_headers
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.read.assembly import read_cube
from rasteret_sql.read.chips import ChipLayout
from rasteret_sql.shared_docs import shares_arguments
from rasteret_sql.sql.wanted_chips import WantedChips, check_one_grid
from rasteret_sql.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

Transform = tuple[float, float, float, float, float, float]

#: Characters of a CRS in WKT that a line shows.
_SHOWN_CRS = 40


class _Pixels:
    """What arrays of pixels share: NumPy functions take them, and notebooks show them."""

    __slots__ = ()

    #: Name of the first axis.
    _first: ClassVar[str]
    data: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    bands: tuple[str, ...]
    nodata: tuple[float | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.data.shape

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> npt.NDArray[Any]:
        """Give `data`."""
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        """Describe it in one line."""
        axes = (self._first, "band", "y", "x")
        sizes = ", ".join(f"{name}: {size}" for name, size in zip(axes, self.shape, strict=True))
        return f"<{type(self).__name__} ({sizes}) {self.data.dtype}{self._grid()} bands={list(self.bands)}>"

    def _grid(self) -> str:
        """Name the grid, after a space, where there is one."""
        return ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RasterArray(_Pixels):
    """Pixels of some items and bands on one grid.

    Attributes:
        data: shape (item, band, y, x), the dtype of the files, or floats if `mask_and_scale`; y runs down the rows of
            the files.
        mask: booleans of the same shape, True means valid: inside the file, and not nodata.
        item_ids: STAC item ids, shape (item,); the ids of a group of items are joined by commas.
        collections: their STAC collections, None where unknown.
        times: `datetime64[us]` in UTC, NaT where unknown, shape (item,).
        bands: names of the bands, as they were requested.
        transform: affine (a, b, c, d, e, f) from pixel corner (col, row) to CRS.
        crs: authority code such as "EPSG:32643", or WKT2; None where the files have none.
        nodata: value of pixels without data, by band; None where no value is free for that.
        level: the level that was read, 0 is full resolution; None where files had several.
    """

    _first: ClassVar[str] = "item"

    data: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    item_ids: tuple[str, ...]
    collections: tuple[str | None, ...]
    times: npt.NDArray[np.datetime64]
    bands: tuple[str, ...]
    transform: Transform | None
    crs: str | None
    nodata: tuple[float | None, ...]
    level: int | None

    def _grid(self) -> str:
        return f" {self.crs and shortened(' '.join(self.crs.split()), _SHOWN_CRS)}"

    def _repr_html_(self) -> str:
        from rasteret_sql.arrays.html import raster_html

        return raster_html(self)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ChipArray(_Pixels):
    """Pixels of fixed-size windows.

    Attributes:
        data: shape (chip, band, y, x), the dtype of the files.
        mask: booleans of the same shape, True means valid: inside the file, and not nodata.
        bands: names of the bands, as they were requested.
        nodata: the nodata value of each band, None where it has none.
    """

    _first: ClassVar[str] = "chip"

    data: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    bands: tuple[str, ...]
    nodata: tuple[float | None, ...]

    def _repr_html_(self) -> str:
        from rasteret_sql.arrays.html import chip_html

        return chip_html(self)


@with_fresh_headers
@shares_arguments
def to_numpy(  # noqa: PLR0913 - keywords only
    index: Any,
    *,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: str = "OGC:CRS84",
    all_touched: bool = False,
    datetime: str | None = None,
    level: int | None = None,
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    shape: tuple[int, int] | None = None,
    transform: Any = None,
    like: Any = None,
    allow_extreme_scale: bool = False,
    resampling: str | Mapping[str, str] = "nearest",
    groupby: str | None = None,
    mosaic: str = "first",
    nodata: float | Mapping[str, float] | None = None,
    dtype: Any = None,
    mask_and_scale: bool = False,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
) -> RasterArray:
    """Read an area of some items and bands into one array.

    Where no grid is requested, all files must share one CRS, and pixels are those of the files, bit for bit. The window
    is then the pixels that the area's bounds in that CRS touch, cut off at the files' edges. Otherwise pixels are
    resampled to the grid.

    Args:
        level: on the files' own grid: 0 is full resolution, n the nth overview.

    Returns:
        Array (item, band, y, x), ordered by time, with mask, ids, times, transform and CRS. Pixels without data hold
        nodata, NaN in floats without, or 0, and are False in the mask.

    Raises:
        InvalidArgumentError: an argument is wrong, or the files share no grid and none is requested.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
        RasteretError: bytes could not be fetched or decoded.
    """
    from rasteret_sql.sql.readers import read_arguments

    scaling = GivenScaling.of(scales, offsets)
    planned = plan_cube(
        index,
        read_arguments(bands, geometry, bbox, geometry_crs, datetime, level, None, scaling=scaling),
        CubeArguments(
            GridArguments(crs, resolution, shape, transform, like, allow_extreme_scale),
            resampling,
            groupby,
            mosaic,
            nodata,
            dtype,
            all_touched,
            is_physical=mask_and_scale,
        ),
    )
    cube = planned.cube
    check_size(cube, in_memory=True)
    dtypes = {band.dtype: band.name for band in cube.bands}
    if len(dtypes) > 1:
        described = " and ".join(f"{name} is {dtype}" for dtype, name in dtypes.items())
        raise InvalidArgumentError(
            f"bands: {described}, expected one dtype; give dtype, choose such bands, or use to_xarray"
        )
    sizes = cube.group_count, len(cube.bands), cube.box.height, cube.box.width
    data, mask = new_array(sizes, next(iter(dtypes))), new_array(sizes, bool)
    read_cube(cube, list(np.moveaxis(data, 1, 0)), list(np.moveaxis(mask, 1, 0)))
    return RasterArray(
        data=data,
        mask=mask,
        item_ids=planned.item_ids,
        collections=planned.collections,
        times=planned.times,
        bands=tuple(band.name for band in cube.bands),
        transform=cube.box.transform if planned.has_transform else None,
        crs=cube.box.crs,
        nodata=tuple(band.nodata for band in cube.bands),
        level=planned.level,
    )


@with_fresh_headers
@shares_arguments
def read_chips(
    index: Any,
    chips: Any,
    *,
    size: int | tuple[int, int] | None = None,
    bands: Sequence[str] | None = None,
    level: int | None = None,
) -> ChipArray:
    """Read fixed-size windows of many items in one go, as training needs them.

    All tiles of all chips are fetched concurrently, and each is fetched and decoded once, however many chips
    share it. Items may have any CRS and size.

    Args:
        chips: (item_id, row_off, col_off) of each chip, in pixels of the level; a chip may extend beyond its image. Or
            a table with these columns, such as the result of `chips`: an Arrow table or reader, a DuckDB relation, a
            data frame. Its bands must lie on one grid.
        size: height and width of all chips in pixels; one number for both. By default, `height` and `width` of the
            table.
        level: 0 is full resolution, n the nth overview. By default, `level` of the table.

    Returns:
        Array (chip, band, y, x) in the order of `chips`, with a mask. Pixels outside the image hold nodata, or 0 where
        the band has none, and are False in the mask.

    Raises:
        InvalidArgumentError: an argument is wrong, or an item or one of its bands is not in the index.
        InvalidIndexError: `index` holds no rows of an index.
        RasteretError: bytes could not be fetched or decoded.
    """
    from rasteret_sql.sql.readers import read_arguments

    wanted = WantedChips.of(chips, size, level)
    arguments = read_arguments(bands, None, None, "OGC:CRS84", None, wanted.level, None)
    with plans_of(index, arguments) as plans:
        files = plans.files(arguments)
        if wanted.is_table:
            check_one_grid(files.assets)
        layout = ChipLayout(files.assets, wanted.item_ids, wanted.offsets, wanted.size)
        planned = files.plan_windows(layout.windows)
    data, mask = new_array(layout.shape, layout.dtype), new_array(layout.shape, bool)
    layout.read(planned, data, mask)
    return ChipArray(data, mask, tuple(band.name for band in layout.bands), tuple(band.nodata for band in layout.bands))
