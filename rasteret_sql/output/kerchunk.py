"""References to the tiles of a query: a virtual Zarr, which xarray, zarr and fsspec read without this package."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.arrays.cubes import CubeArguments, plan_cube
from rasteret_sql.arrays.failures import Failures
from rasteret_sql.arrays.xarray import WHEN_INDEXED, dataset_of
from rasteret_sql.checks import shown
from rasteret_sql.database.hrefs import is_url, unsigned
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.disk import writing
from rasteret_sql.plan.native_grid import named
from rasteret_sql.plan.places import Places
from rasteret_sql.shared_docs import shares_arguments
from rasteret_sql.sql.readers import read_arguments
from rasteret_sql.tiff.names import DEFLATE, LZW, NONE, OLD_DEFLATE, ZSTD, compression_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.plan.cube import CubeBand
    from rasteret_sql.plan.tile_plan import PlannedAsset

#: What decodes a tile, as numcodecs names it. Those of imagecodecs are known once `register_codecs` was called.
_COMPRESSORS: Final[dict[int, dict[str, Any] | None]] = {
    NONE: None,
    LZW: {"id": "imagecodecs_lzw"},
    DEFLATE: {"id": "zlib", "level": 6},
    OLD_DEFLATE: {"id": "zlib", "level": 6},
    ZSTD: {"id": "zstd", "level": 9},
}
_HORIZONTAL, _FLOATING = 2, 3
_DIMS: Final = ("time", "y", "x")


@shares_arguments
def to_kerchunk(
    index: Any,
    path: str | os.PathLike[str],
    *,
    bands: Sequence[str] | None = None,
    datetime: str | None = None,
    level: int | None = None,
) -> Path:
    """Write references to tiles, which xarray opens as a Zarr without this package.

    The file holds references as kerchunk and fsspec define them (version 1, of Zarr 2): coordinates, and the address,
    offset and length of each tile. Pixels are not fetched. Readers need xarray, zarr and fsspec. For LZW and for
    predictors they need imagecodecs, and call `imagecodecs.numcodecs.register_codecs()` first. Pixels are those of
    `to_xarray`. Only floats that nearly equal the nodata value stay as they are.

    Args:
        path: the file to write, ending in ".json".
        level: 0 is full resolution, n the nth overview.

    Returns:
        The path of the file.

    Raises:
        InvalidArgumentError: an argument is wrong, or Zarr cannot express the files. It expresses files on one grid,
            of one format and nodata value per band, with one sample per tile, without masks, whose inner edges are
            edges of tiles. Tiles are uncompressed, or compressed by deflate, Zstandard or LZW.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left.
    """
    target = Path(path)
    if target.suffix.lower() != ".json":
        raise InvalidArgumentError(f'path: got {shown(str(path))}, expected a file that ends in ".json"')
    for module in ("xarray", "zarr"):
        if find_spec(module) is None:
            raise InvalidArgumentError(f"to_kerchunk: {module} is required: pip install 'rasteret-sql[export]'")
    planned = plan_cube(
        index, read_arguments(bands, None, None, None, datetime, level, None), CubeArguments(), with_properties=True
    )
    dataset = dataset_of(planned, Failures.of("raise"), chunks=WHEN_INDEXED)
    references: dict[str, Any] = _coordinates(dataset)
    places = Places(planned.cube.whole)
    for place, band in enumerate(planned.cube.bands):
        references |= _band_references(planned, place, band, dataset[band.name].attrs, places)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with writing(target):
            aside.write_text(json.dumps({"version": 1, "refs": references}), encoding="utf-8")
            aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def _coordinates(dataset: xr.Dataset) -> dict[str, str]:
    """Give the group, and the coordinates as xarray writes them, inline."""
    import zarr.storage

    coordinates = dataset.coords.to_dataset()
    for name, each in coordinates.variables.items():
        if each.dtype.kind == "O":
            coordinates[name] = each.astype(str)
    store: dict[str, Any] = {}
    coordinates.to_zarr(zarr.storage.MemoryStore(store), zarr_format=2, consolidated=False)
    return {key: _inline(value.to_bytes()) for key, value in store.items()}


def _inline(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode("ascii")


@dataclass(frozen=True, slots=True)
class _Layout:
    """What Zarr says once for all tiles of a band."""

    dtype: str
    byte_order: str
    compression: int
    predictor: int
    tile_height: int
    tile_width: int
    nodata: str

    @classmethod
    def of(cls, asset: PlannedAsset, band: str) -> _Layout:
        form = asset.format
        nodata = next(each.nodata for each in asset.bands if each.name == band)
        return cls(
            form.dtype,
            form.byte_order,
            form.compression,
            form.predictor,
            form.tile_height,
            form.tile_width,
            repr(nodata),
        )

    @property
    def zarr_dtype(self) -> str:
        dtype = np.dtype(self.dtype).newbyteorder("<" if self.byte_order == "little" else ">")
        return dtype.str

    def in_words(self) -> str:
        """Say it in a message."""
        return (
            f"tiles of {self.tile_height} x {self.tile_width} {self.zarr_dtype} by "
            f"{compression_name(self.compression)}, predictor {self.predictor}, nodata {self.nodata}"
        )

    def filters(self) -> list[dict[str, Any]] | None:
        """Give what undoes the predictor."""
        names = {_HORIZONTAL: "imagecodecs_delta", _FLOATING: "imagecodecs_floatpred"}
        if self.predictor not in names:
            return None
        shape = [self.tile_height, self.tile_width]
        return [{"id": names[self.predictor], "shape": shape, "dtype": self.zarr_dtype, "axis": -1}]


def _band_references(
    planned: PlannedCube, place: int, band: CubeBand, attributes: dict[str, Any], places: Places
) -> dict[str, Any]:
    """Give the array of a band, and the references of its tiles.

    Raises:
        InvalidArgumentError: Zarr cannot express its files.
    """
    cube, references = planned.cube, {}
    sources, plan = cube.sources, cube.plan
    layout: _Layout | None = None
    for number in np.flatnonzero(sources.place == place).tolist():
        asset = plan.assets[sources.asset_no[number]]
        _require_plain(asset, band)
        layout = layout or _Layout.of(asset, band.name)
        own = _Layout.of(asset, band.name)
        if own != layout:
            raise InvalidArgumentError(
                f'band "{band.name}": {named(asset)} has {own.in_words()}, other files have {layout.in_words()}, '
                "expected one format; write references of each in a file of its own"
            )
        row, col = _first_tile(planned, asset, band, places)
        address = _address(asset)
        rows = np.arange(sources.start[number], sources.end[number])
        for tile_row, tile_col, offset, count in zip(
            plan.tile_row[rows].tolist(), plan.tile_col[rows].tolist(), plan.tile_offset[rows].tolist(),
            plan.tile_byte_count[rows].tolist(), strict=True,
        ):  # fmt: skip
            # A sparse tile has no bytes, and a chunk without a reference is the fill value.
            if count:
                key = f"{band.name}/{int(sources.group[number])}.{row + tile_row}.{col + tile_col}"
                references[key] = [address, offset, count]
    assert layout is not None
    fill = attributes.get("_FillValue")
    array = {
        "zarr_format": 2,
        "shape": [cube.group_count, cube.box.height, cube.box.width],
        "chunks": [1, layout.tile_height, layout.tile_width],
        "dtype": layout.zarr_dtype,
        "fill_value": None if fill is None else "NaN" if np.isnan(fill) else np.asarray(fill).item(),
        "order": "C",
        "compressor": _COMPRESSORS[layout.compression],
        "filters": layout.filters(),
    }
    described = {key: value for key, value in attributes.items() if key != "_FillValue"}
    return {
        f"{band.name}/.zarray": json.dumps(array),
        f"{band.name}/.zattrs": json.dumps({**described, "_ARRAY_DIMENSIONS": list(_DIMS)}),
        **references,
    }


def _require_plain(asset: PlannedAsset, band: CubeBand) -> None:
    """Refuse files whose tiles are more than the samples of one band, which a codec decodes.

    Raises:
        InvalidArgumentError: they are.
    """
    form, where = asset.format, f'band "{band.name}": {named(asset)}'
    remedy = "export such files to Zarr, or read them with to_xarray"
    bits = 8 * np.dtype(form.dtype).itemsize
    faults = {
        f"compression {compression_name(form.compression)}": form.compression not in _COMPRESSORS,
        "a mask": asset.mask_format is not None or asset.alpha_band is not None,
        f"{form.samples_per_pixel} samples in each tile": form.samples_per_pixel > 1 and not form.planar,
        f"{form.bits_per_sample} bits per sample": form.bits_per_sample != bits or form.fill_order != 1,
        "a predictor and big-endian samples": form.predictor != NONE and form.byte_order == "big",
        "strips of which the last is shorter": not form.tiled and asset.height % form.tile_height > 0,
    }
    for fault, is_there in faults.items():
        if is_there:
            raise InvalidArgumentError(
                f"{where}: got {fault}, which a virtual Zarr cannot express, expected tiles of one band, without mask, "
                f"uncompressed or by deflate, zstd or lzw; {remedy}"
            )


def _first_tile(planned: PlannedCube, asset: PlannedAsset, band: CubeBand, places: Places) -> tuple[int, int]:
    """Give the row and column of chunks at which a file begins.

    Raises:
        InvalidArgumentError: its tiles are no chunks of the grid.
    """
    box, form = planned.cube.box, asset.format
    found = places.window(asset, box, band.method)
    shift = None if found is None else found[1]
    if shift is None:
        raise InvalidArgumentError(
            f'band "{band.name}": {named(asset)} has another grid than the finest band, expected one grid; write '
            "references of each resolution in a file of its own"
        )
    starts = -shift[0], -shift[1]
    for axis, start, size, tile, whole in zip(
        ("top", "left"), starts, (asset.height, asset.width), (form.tile_height, form.tile_width),
        (box.height, box.width), strict=True,
    ):  # fmt: skip
        end = start + size
        if start % tile or (end % tile and end != whole):
            raise InvalidArgumentError(
                f'band "{band.name}": {named(asset)} lies {start} pixels from the {axis} of the grid of all files and '
                f"has {size}, expected edges of its tiles of {tile}, or of the grid; choose files with one outline in "
                "the query"
            )
    return starts[0] // form.tile_height, starts[1] // form.tile_width


def _address(asset: PlannedAsset) -> str:
    """Give the address of a file as fsspec takes it, without secrets."""
    address = unsigned(asset.address)
    return address if is_url(address) else Path(address).absolute().as_uri()
