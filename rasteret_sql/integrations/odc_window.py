"""What a grid of odc-loader takes of a file: a plan of its own tiles, which other processes may read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox as OdcGeoBox
from odc.geo.overlap import compute_reproject_roi
from odc.geo.roi import roi_is_empty, roi_shape
from odc.loader import resolve_dst_dtype, resolve_dst_nodata, resolve_src_nodata

from rasteret_sql.checks import check_choice
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.geo.like import geobox_of
from rasteret_sql.geo.resampling import METHODS
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.cube import Cube
from rasteret_sql.plan.dtypes import cast_nodata
from rasteret_sql.plan.files import Files
from rasteret_sql.plan.places import Places
from rasteret_sql.read.assembly import read_cube
from rasteret_sql.read.parts import BandFiles, Part, PartReader

if TYPE_CHECKING:
    import numpy.typing as npt
    from odc.loader.types import RasterLoadParams, RasterSource

    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand

    Region = tuple[slice, slice]

#: Largest share of a pixel by which files may lie beside the grid and still be copied to it: those of odc-loader's
#: driver for rasterio, with nearest neighbours and with other methods.
_SHIFT_NEAREST: Final = 0.9
_SHIFT: Final = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What a grid takes of a file.

    Attributes:
        name: of the file, for messages.
        region: rows and columns of the grid.
        cube: what is read, one band each; or None where the file has no pixels there.
        is_copied: whether pixels of the file lie on those of the grid. Masks of files then count for nothing, as in
            odc-loader's driver for rasterio.
        nodata: of the file, as it is or as it was given; or None.
        fill: value of pixels without data; or None where all of them have data.
        dtype: of the result.
        bands: how many, for a result with a dimension of bands; None without one.
        ydim: 0 where that dimension comes last.
    """

    name: str
    region: Region
    cube: Cube | None
    is_copied: bool
    nodata: float | None
    fill: float | None
    dtype: np.dtype[Any]
    bands: int | None
    ydim: int

    def read(self) -> npt.NDArray[Any]:
        """Read the pixels.

        Raises:
            RasteretError: bytes could not be fetched or decoded, or the dtype cannot hold a pixel.
        """
        shape = roi_shape(self.region)
        layers = [np.full(shape, 0 if self.fill is None else self.fill, self.dtype) for _ in range(self.bands or 1)]
        if self.cube is not None and not roi_is_empty(self.region):
            layers = self._layers(self.cube)
        if self.bands is None:
            return layers[0]
        return np.stack(layers, axis=0 if self.ydim else -1)

    def _layers(self, cube: Cube) -> list[npt.NDArray[Any]]:
        shape = (1, cube.box.height, cube.box.width)
        pixels = [np.empty(shape, self.dtype) for _ in cube.bands]
        masks = [np.empty(shape, bool) for _ in cube.bands]
        read_cube(cube, pixels, masks)
        for layer, mask in zip(pixels, masks, strict=True):
            if self.is_copied:
                self._replace_nodata(layer, mask, cube)
            else:
                np.copyto(layer, 0 if self.fill is None else self.fill, where=~mask)
        return [layer[0] for layer in pixels]

    def _replace_nodata(self, layer: npt.NDArray[Any], mask: npt.NDArray[np.bool_], cube: Cube) -> None:
        """Put the fill value where pixels are nodata, unless they have it."""
        if self.fill is None or self.fill == self.nodata or (self.fill != self.fill and self.nodata != self.nodata):
            return
        masked = any(asset.mask_format is not None or asset.alpha_band for asset in cube.plan.assets)
        invalid = layer == self.nodata if masked else ~mask
        if layer.dtype.kind == "f":
            invalid |= np.isnan(layer)
        np.copyto(layer, self.fill, where=invalid)


def plan_window(
    files: Files,
    number: int,
    src: RasterSource,
    cfg: RasterLoadParams,
    geobox: OdcGeoBox,
    whole: GeoBox,
    selection: Any,
) -> Window:
    """Plan what a grid takes of a file.

    Args:
        files: has the file, with all of its bands.
        number: of the file.
        src: the band that is read of it; 0 is all of them.
        cfg: dtype, fill value, nodata values and resampling.
        geobox: the grid.
        whole: the grid of which it is a chunk.
        selection: which bands, where `src` is all of them.

    Raises:
        InvalidArgumentError: something that is asked for is refused.
    """
    check_choice("resampling", cfg.resampling, METHODS)
    name = redact(src.uri)
    first = files.asset(number, 0)
    if first.crs is None or first.transform is None:
        raise InvalidArgumentError(
            f"{name}: has no CRS, or no transform along the axes, expected a georeferenced file; load it with another "
            "driver"
        )
    bands = _bands_of(src, first, selection)
    own, dtype = bands[0].nodata, np.dtype(resolve_dst_dtype(first.dtype, cfg))
    nodata = resolve_src_nodata(own, cfg)
    if cfg.fill_value is None and dtype.kind in "iu" and nodata is not None:
        _require_held(name, np.dtype(first.dtype), nodata, dtype)
    grid = OdcGeoBox((first.height, first.width), Affine(*first.transform), first.crs)
    found = compute_reproject_roi(grid, geobox, ttol=_SHIFT_NEAREST if cfg.resampling == "nearest" else _SHIFT)
    is_copied = bool(found.paste_ok and found.read_shrink == 1)
    part = None
    if is_copied and not roi_is_empty(found.roi_src):
        rows, cols = found.roi_src
        entire = GeoBox(first.crs, first.transform, first.height, first.width)
        box = entire.window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        part = Part(box, ((0,),))
    elif not (roi_is_empty(found.roi_src) or roi_is_empty(found.roi_dst)):
        if nodata != own and (first.mask_format is not None or first.alpha_band is not None):
            raise InvalidArgumentError(
                f"{name}: got a nodata value for a file with a mask or an alpha band that is resampled, expected none; "
                "leave it out"
            )
        part = _part(whole, geobox, found.roi_dst)
    cube = None
    if part is not None:
        table = files if cfg.use_overviews and not is_copied else _without_overviews(files)
        read = [replace(band, nodata=resolve_src_nodata(band.nodata, cfg)) for band in bands]
        cube = _cube(table, number, read, dtype, cfg.resampling, part)
    has_axis = src.band == 0 or (src.meta is not None and bool(src.meta.extra_dims))
    return Window(
        name=name,
        region=found.roi_dst,  # type: ignore[arg-type] # slices
        cube=cube,
        is_copied=is_copied,
        nodata=nodata,
        fill=resolve_dst_nodata(dtype, cfg, nodata),
        dtype=dtype,
        bands=len(bands) if has_axis else None,
        ydim=src.ydim,
    )


def _bands_of(src: RasterSource, asset: PlannedAsset, selection: Any) -> list[PlannedBand]:
    """Give the bands that are read of a file, with their numbers as names; band 0 is all of them, or some.

    Raises:
        InvalidArgumentError: the file has no such band.
    """
    count = asset.format.samples_per_pixel
    if not 0 <= src.band <= count:
        raise InvalidArgumentError(f"{redact(src.uri)}: got band {src.band}, expected one of its {count}")
    numbers = [src.band] if src.band else list(range(1, count + 1))
    if not src.band and selection is not None:
        if isinstance(selection, tuple):
            (selection,) = selection
        # A list has numbers of bands, all else counts from 0.
        numbers = selection if isinstance(selection, list) else np.atleast_1d(np.array(numbers)[selection]).tolist()
    known = {band.band: band for band in asset.bands}
    return [replace(known[number], name=str(number), position=at) for at, number in enumerate(numbers)]


def _require_held(name: str, source: np.dtype[Any], nodata: float, dtype: np.dtype[Any]) -> None:
    """Refuse a dtype that cannot hold the nodata value of a file.

    Raises:
        InvalidArgumentError: it cannot.
    """
    if cast_nodata(source, nodata, dtype) is None:
        raise InvalidArgumentError(
            f"{name}: got dtype {dtype} for a file with nodata value {nodata}, expected a dtype that holds it; give "
            "another dtype, or nodata"
        )


def _part(whole: GeoBox, geobox: OdcGeoBox, region: Any) -> Part:
    """Give a region of a chunk of the grid of a load, so that no pixel depends on how the grid is cut into chunks."""
    chunk = geobox_of(geobox)
    (rows, cols), (a, _, c, _, e, f) = region, whole.transform
    if chunk.crs != whole.crs or (chunk.transform[0], chunk.transform[4]) != (a, e):
        whole, c, f = chunk, chunk.transform[2], chunk.transform[5]
    row, col = round((chunk.transform[5] - f) / e), round((chunk.transform[2] - c) / a)
    box = whole.window(row + rows.start, col + cols.start, rows.stop - rows.start, cols.stop - cols.start)
    return Part(box, ((0,),), whole)


def _cube(files: Files, number: int, bands: list[PlannedBand], dtype: np.dtype[Any], method: str, part: Part) -> Cube:
    """Plan a grid of one file, one band of the cube for each of its bands, cast to a dtype."""
    kind = int(files.column("kind")[number])
    table = BandFiles(
        bands=tuple(band.name for band in bands),
        dtypes=(dtype,) * len(bands),
        file=np.full((1, len(bands)), number, np.int64),
        known={(kind, place): band for place, band in enumerate(bands)},
    )
    reader = PartReader(files, table, method=method, mosaic=None)
    whole = part.whole or part.box
    plan, (sources,) = reader.plan([part], [Places(whole)])
    return Cube(part.box, reader.bands, 1, plan, sources, whole)


def _without_overviews(files: Files) -> Files:
    """Give files that have full resolution alone."""
    columns = {name: files.columns[name] for name in files.columns}
    columns["level_count"] = np.ones(len(files), np.int64)
    return Files(columns, files.kinds, files.crs)
