"""Which place of an array each file of a plan fills, where all files share one CRS and one pixel grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.stores import redact
from rasteret_sql.read.geobox import GeoBox
from rasteret_sql.read.tiles import fill_value
from rasteret_sql.read.windows import Target, WindowReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.plan import PlannedBand, TilePlan

#: Part of a pixel by which two grids may differ and still be one.
GRID_TOLERANCE = 1e-4

Transform = tuple[float, float, float, float, float, float]
ItemKey = tuple[str | None, str, int | None]


class GridFile(Protocol):
    """What is known of a file that a grid takes; the attributes are those of `PlannedAsset`."""

    @property
    def collection(self) -> str | None: ...  # noqa: D102
    @property
    def item_id(self) -> str: ...  # noqa: D102
    @property
    def asset(self) -> str: ...  # noqa: D102
    @property
    def datetime_us(self) -> int | None: ...  # noqa: D102
    @property
    def href(self) -> str: ...  # noqa: D102
    @property
    def level(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def crs(self) -> str | None: ...  # noqa: D102
    @property
    def transform(self) -> Transform | None: ...  # noqa: D102
    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def bands(self) -> tuple[PlannedBand, ...]: ...  # noqa: D102
    @property
    def row_off(self) -> int: ...  # noqa: D102
    @property
    def col_off(self) -> int: ...  # noqa: D102
    @property
    def row_end(self) -> int: ...  # noqa: D102
    @property
    def col_end(self) -> int: ...  # noqa: D102


class SharedGrid:
    """The array that the windows of some files make up together.

    Args:
        files: at least one.

    Attributes:
        items: collection, item id and time (microseconds) of each item, in the order of the files.
        bands: what is known of each band, in the order in which they were asked for.
        dtypes: dtype of each band.
        height, width: size of the array in pixels.
        transform: affine of the array, or None.
        crs: of all files, or None.
        level: the level of the first file.

    Raises:
        InvalidArgumentError: the files do not share one grid, or two of them claim one place.
    """

    def __init__(self, files: Sequence[GridFile]) -> None:
        self._assets = files
        check_grid(files)
        self.crs = self._assets[0].crs
        self.level = self._assets[0].level
        self.items: list[ItemKey] = list(dict.fromkeys(map(_key, self._assets)))
        self.bands = self._find_bands()
        self.dtypes = self._find_dtypes()
        self._offsets = [_offset(asset, files[0]) for asset in files]
        window = _window(files, self._offsets)
        self._row_off, self._col_off = window.row_off, window.col_off
        self.height, self.width = window.height, window.width
        self.transform = self._transform()
        self._places = self._find_places()

    def nodata(self, band: int) -> float | None:
        """Give the nodata value of a band, or None where it has none or its files have several."""
        values = {repr(each.nodata): each.nodata for each in self._all_of(band)}
        return next(iter(values.values())) if len(values) == 1 else None

    def scaling(self, band: int) -> tuple[float | None, float | None]:
        """Give scale and offset of a band.

        Raises:
            InvalidArgumentError: its files have several.
        """
        first: tuple[GridFile, PlannedBand] | None = None
        for asset in self._assets:
            for each in asset.bands:
                if each.name != self.bands[band].name:
                    continue
                if first is None:
                    first = asset, each
                elif (first[1].scale, first[1].offset) != (each.scale, each.offset):
                    raise InvalidArgumentError(
                        f'band "{each.name}": {named(first[0])} has scale {first[1].scale} and offset '
                        f"{first[1].offset}, {named(asset)} {each.scale} and {each.offset}, expected the same; "
                        "read them apart"
                    )
        assert first is not None
        return first[1].scale, first[1].offset

    def _all_of(self, band: int) -> list[PlannedBand]:
        name = self.bands[band].name
        return [each for asset in self._assets for each in asset.bands if each.name == name]

    def _nodata_of(self, asset_no: int, band_no: int) -> float | None:
        return next(band.nodata for band in self._assets[asset_no].bands if band.band == band_no)

    def _find_bands(self) -> list[PlannedBand]:
        found = sorted(
            (((band.position, asset.asset, band.band), band) for asset in self._assets for band in asset.bands),
            key=lambda pair: pair[0],
        )
        bands: dict[str, PlannedBand] = {}
        for _, band in found:
            bands.setdefault(band.name, band)
        return list(bands.values())

    def _find_dtypes(self) -> list[np.dtype[Any]]:
        """Give the dtype of each band.

        Raises:
            InvalidArgumentError: files of one band have two.
        """
        owners: dict[str, GridFile] = {}
        for asset in self._assets:
            for band in asset.bands:
                owner = owners.setdefault(band.name, asset)
                if owner.dtype != asset.dtype:
                    raise InvalidArgumentError(
                        f'band "{band.name}": {named(owner)} is {owner.dtype} and {named(asset)} is '
                        f"{asset.dtype}, expected one dtype; read them apart"
                    )
        return [np.dtype(owners[band.name].dtype) for band in self.bands]

    def _find_places(self) -> dict[tuple[int, int], tuple[int, int, int, int]]:
        """Give item, band, row_off and col_off for each asset number and band number.

        Raises:
            InvalidArgumentError: two files claim one place.
        """
        items = {key: number for number, key in enumerate(self.items)}
        bands = {band.name: number for number, band in enumerate(self.bands)}
        places: dict[tuple[int, int], tuple[int, int, int, int]] = {}
        owners: dict[tuple[int, int], tuple[GridFile, PlannedBand]] = {}
        for number, asset in enumerate(self._assets):
            for band in asset.bands:
                place = items[_key(asset)], bands[band.name]
                owner, other = owners.setdefault(place, (asset, band))
                if owner is not asset or other is not band:
                    raise InvalidArgumentError(
                        f'band "{band.name}" of item {asset.item_id}: got two, {_band_of(owner, other)} and '
                        f"{_band_of(asset, band)}, expected one; tell them apart in the query, "
                        "for example by their href"
                    )
                rows, cols = self._offsets[number]
                places[number, band.band] = (*place, self._row_off - rows, self._col_off - cols)
        return places

    def _transform(self) -> Transform | None:
        first = self._assets[0].transform
        if first is None:
            return None
        x_size, _, x_off, _, y_size, y_off = first
        return x_size, 0.0, x_off + x_size * self._col_off, 0.0, y_size, y_off + y_size * self._row_off


class GridLayout(SharedGrid):
    """The array that the windows of a plan's files make up together.

    Args:
        plan: the tiles; at least one.

    Raises:
        InvalidArgumentError: the files do not share one grid, or two of them claim one place.
    """

    def __init__(self, plan: TilePlan) -> None:
        super().__init__(plan.assets)
        self._plan = plan

    def read(
        self,
        pixels: Sequence[npt.NDArray[Any]],
        masks: Sequence[npt.NDArray[np.bool_]],
        options: ReadOptions | None = None,
    ) -> None:
        """Read the windows into arrays.

        Args:
            pixels: one array (item, y, x) per band, of the band's dtype. Where no file has pixels it gets nodata, or 0
                for a band without.
            masks: one array of booleans per band, of the same shape; True means valid.
            options: bounds of the read.

        Raises:
            RasteretError: bytes could not be fetched or decoded.
        """
        targets: list[Target] = []
        numbers: dict[tuple[int, int], int] = {}
        empty = {(item, band) for item in range(len(self.items)) for band in range(len(self.bands))}
        for key, (item, band, row_off, col_off) in self._places.items():
            numbers[key] = len(targets)
            nodata = self._nodata_of(*key)
            fill = fill_value(pixels[band].dtype, nodata)
            targets.append(Target(pixels[band][item], masks[band][item], row_off, col_off, fill))
            empty.discard((item, band))
        for item, band in empty:
            fill = fill_value(pixels[band].dtype, self.bands[band].nodata)
            targets.append(Target(pixels[band][item], masks[band][item], 0, 0, fill))
        keys = zip(self._plan.asset_no.tolist(), self._plan.band.tolist(), strict=True)
        target_of = np.fromiter((numbers[key] for key in keys), np.int64, len(self._plan))
        WindowReader(self._plan, targets, target_of).read(options)


def check_grid(files: Sequence[GridFile]) -> None:
    """Make sure that files share one CRS and pixel grid.

    Raises:
        InvalidArgumentError: they do not.
    """
    first = files[0]
    for asset in files[1:]:
        if asset.crs != first.crs:
            raise InvalidArgumentError(
                f"grid: {named(first)} is in {_crs(first)} and {named(asset)} in {_crs(asset)}, expected one CRS; "
                "read them apart, for example with WHERE crs = '…', or onto one grid with crs= and resolution="
            )
        if first.transform is None or asset.transform is None:
            if (asset.transform, asset.width, asset.height) != (
                first.transform,
                first.width,
                first.height,
            ):
                raise InvalidArgumentError(
                    f"grid: {named(first)} and {named(asset)} have no common grid, for one has no transform; "
                    "read them apart"
                )
            continue
        if not _same(asset.transform[0], first.transform[0], asset.width) or not _same(
            asset.transform[4], first.transform[4], asset.height
        ):
            coarsest = max(_width(first), _width(asset))
            raise InvalidArgumentError(
                f"grid: {named(first)} has pixels of {_size(first)} and {named(asset)} of {_size(asset)}, expected "
                f"one size; choose bands of one resolution, or give resolution={coarsest:g}"
            )
        rows, cols = _shift(asset, first)
        if abs(rows - round(rows)) > GRID_TOLERANCE or abs(cols - round(cols)) > GRID_TOLERANCE:
            raise InvalidArgumentError(
                f"grid: the pixels of {named(asset)} lie {cols % 1:.4f} columns and {rows % 1:.4f} rows beside "
                f"those of {named(first)}, expected one grid; read them apart, or give resolution={_width(first):g} "
                "for a grid that both are resampled to"
            )


def native_box(files: Sequence[GridFile]) -> GeoBox:
    """Give the grid that the windows of files make up together.

    Bands of several resolutions get the grid of the finest; only the files that have it must then share one.

    Raises:
        InvalidArgumentError: the files do not share one CRS, or those of the finest resolution no grid.
    """
    first = files[0]
    if first.transform is None:
        check_grid(files)
        width, height = max(file.col_end for file in files), max(file.row_end for file in files)
        row_off, col_off = min(file.row_off for file in files), min(file.col_off for file in files)
        return GeoBox(None, (1.0, 0.0, float(col_off), 0.0, 1.0, float(row_off)), height - row_off, width - col_off)
    sizes = [math.inf if file.transform is None else abs(file.transform[0]) for file in files]
    finest_size = min(sizes)
    finest = [file for file, size in zip(files, sizes, strict=True) if size <= finest_size * (1 + GRID_TOLERANCE)]
    check_grid([finest[0], *(file for file in files if file.crs != finest[0].crs or file.transform is None)])
    check_grid(finest)
    first = finest[0]
    assert first.transform is not None
    x_size, _, x_off, _, y_size, y_off = first.transform
    window = _window(finest, [_offset(file, first) for file in finest])
    box = GeoBox(
        first.crs,
        (x_size, 0.0, x_off + x_size * window.col_off, 0.0, y_size, y_off + y_size * window.row_off),
        window.height,
        window.width,
    )
    if len(finest) == len(files):
        return box
    return _grown(box, [_bounds(file) for file in files])


def _grown(box: GeoBox, bounds: Sequence[tuple[float, float, float, float]]) -> GeoBox:
    """Give a grid that holds some bounds too, as far as they leave it by more than a rounding error."""
    x_size, _, x_off, _, y_size, y_off = box.transform
    cols = [(x - x_off) / x_size for xmin, _, xmax, _ in bounds for x in (xmin, xmax)]
    rows = [(y - y_off) / y_size for _, ymin, _, ymax in bounds for y in (ymin, ymax)]
    col_off, row_off = math.floor(min(cols) + GRID_TOLERANCE), math.floor(min(rows) + GRID_TOLERANCE)
    col_end, row_end = math.ceil(max(cols) - GRID_TOLERANCE), math.ceil(max(rows) - GRID_TOLERANCE)
    return box.window(row_off, col_off, row_end - row_off, col_end - col_off)


def _bounds(file: GridFile) -> tuple[float, float, float, float]:
    assert file.transform is not None
    x_size, _, x_off, _, y_size, y_off = file.transform
    xs = sorted((x_off + x_size * file.col_off, x_off + x_size * file.col_end))
    ys = sorted((y_off + y_size * file.row_off, y_off + y_size * file.row_end))
    return xs[0], ys[0], xs[1], ys[1]


class _Window(NamedTuple):
    row_off: int
    col_off: int
    height: int
    width: int


def _window(files: Sequence[GridFile], offsets: Sequence[tuple[int, int]]) -> _Window:
    """Give the window of all files together, in pixels of the first one's grid."""
    placed = list(zip(files, offsets, strict=True))
    row_off = min(file.row_off + rows for file, (rows, _) in placed)
    col_off = min(file.col_off + cols for file, (_, cols) in placed)
    row_end = max(file.row_end + rows for file, (rows, _) in placed)
    col_end = max(file.col_end + cols for file, (_, cols) in placed)
    return _Window(row_off, col_off, row_end - row_off, col_end - col_off)


def _offset(file: GridFile, first: GridFile) -> tuple[int, int]:
    """Rows and columns of the first file's grid at which a file begins."""
    if file.transform is None:
        return 0, 0
    rows, cols = _shift(file, first)
    return round(rows), round(cols)


def _key(asset: GridFile) -> ItemKey:
    return asset.collection, asset.item_id, asset.datetime_us


def _shift(asset: GridFile, first: GridFile) -> tuple[float, float]:
    assert asset.transform is not None
    assert first.transform is not None
    rows = (asset.transform[5] - first.transform[5]) / first.transform[4]
    cols = (asset.transform[2] - first.transform[2]) / first.transform[0]
    return rows, cols


def _same(size: float, other: float, pixels: int) -> bool:
    """Whether two pixel sizes differ by less than the tolerance over a whole file."""
    return abs(size - other) * pixels <= GRID_TOLERANCE * abs(other)


def named(asset: GridFile) -> str:
    """Name a file of a plan in a message."""
    return f'asset "{asset.asset}" of item {asset.item_id}'


def _crs(asset: GridFile) -> str:
    return "no CRS" if asset.crs is None else asset.crs[:60]


def _width(asset: GridFile) -> float:
    assert asset.transform is not None
    return abs(asset.transform[0])


def _size(asset: GridFile) -> str:
    assert asset.transform is not None
    return f"{abs(asset.transform[0]):g} x {abs(asset.transform[4]):g}"


def _band_of(asset: GridFile, band: PlannedBand) -> str:
    return f"band {band.band} of {redact(asset.href)}"
