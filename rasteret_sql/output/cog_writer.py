"""Writes cloud optimised GeoTIFFs block by block: encoded tiles and overviews to a scratch file, then one file.

`tiff/writing` lays the file out in the order of GDAL's COG driver: all IFDs in front, then the tiles, smallest overview
first. Memory is that of a few blocks, however large the image is.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args, overload

import numpy as np

from rasteret_sql.arrays.memory import new_array
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.machine import cores
from rasteret_sql.output.halving import halved
from rasteret_sql.tiff.writing.crs import geo_keys
from rasteret_sql.tiff.writing.layout import Ifd, LayoutOptions, Tag, assemble_tiff
from rasteret_sql.tiff.writing.tags import Photometric, grid_tags, image_tags, key_tags, metadata_tags
from rasteret_sql.tiff.writing.tiles import SegmentFormat, encode_segment

if TYPE_CHECKING:
    import io
    from pathlib import Path

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox

Compression = Literal["deflate", "zstd", "none"]
COMPRESSIONS: Final[tuple[Compression, ...]] = get_args(Compression)

#: Side of a tile in pixels.
TILE: Final = 512
#: Effort of the codecs, libdeflate and zstd; more takes much longer and saves few bytes.
_LEVELS: Final = {"deflate": 6, "zstd": 9}
_IMAGE, _MASK = 0, 1
#: What XML 1.0 has no characters for.
_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MASK_FORM: Final = SegmentFormat(level=_LEVELS["deflate"], bits_per_sample=1, photometric="mask")


@dataclass(frozen=True, slots=True)
class CogBand:
    """The description of one band of a file.

    Attributes:
        name: its description.
        is_continuous: whether overviews hold means; otherwise they hold values that are in the file.
        scale, offset, unit: physical values are stored ones times `scale` plus `offset`, in `unit`.
    """

    name: str
    is_continuous: bool = True
    scale: float | None = None
    offset: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class CogForm:
    """Everything of a file but its pixels.

    Attributes:
        box: the grid.
        has_transform: whether the grid is on the ground.
        dtype: of all bands.
        bands: in their order.
        nodata: the value of pixels without data, or None.
        compression: of the tiles.
        has_overviews: whether there are any, down to the first that fits into a tile.
        photometric: how the bands become colours: "minisblack", "rgb" or "palette".
        has_alpha: whether the last band is an alpha channel, which takes the place of an internal mask.
        colormap: the colours of a palette, uint8 (2 ** bits, 3), or None.
        metadata: items of the dataset, for GDAL.
    """

    box: GeoBox
    has_transform: bool
    dtype: np.dtype[Any]
    bands: tuple[CogBand, ...]
    nodata: float | None = None
    compression: Compression = "deflate"
    has_overviews: bool = True
    photometric: Photometric = "minisblack"
    has_alpha: bool = False
    colormap: npt.NDArray[np.uint8] | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def levels(self) -> list[tuple[int, int]]:
        """(height, width) of the image and of its overviews."""
        sizes = [(self.box.height, self.box.width)]
        while self.has_overviews and max(sizes[-1]) > TILE:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        return sizes

    def check(self) -> None:
        """Refuse what a GeoTIFF cannot say, before anything is read.

        Raises:
            InvalidArgumentError: its CRS has no GeoKeys, or a text cannot stand in its metadata.
        """
        texts: list[tuple[str, str]] = [*self.metadata.items(), *(("band", band.name) for band in self.bands)]
        texts += [(f'unit of band "{band.name}"', band.unit) for band in self.bands if band.unit]
        for what, text in texts:
            # GDAL drops spaces in front of a text.
            if _NOT_IN_XML.search(text) or text[:1].isspace():
                raise InvalidArgumentError(
                    f"{what}: got {text!r}, expected no control characters and no space first, which the metadata of a "
                    "GeoTIFF cannot hold; replace the text in the query"
                )
        if self.box.crs is not None:
            geo_keys(self.box.crs)

    @property
    def segments(self) -> SegmentFormat:
        """How the pixels of a tile become bytes."""
        predictor = {"u": 2, "i": 2, "f": 3}.get(self.dtype.kind, 1)
        return SegmentFormat(
            compression=self.compression,
            level=_LEVELS.get(self.compression),
            predictor=1 if self.compression == "none" else predictor,
            bits_per_sample=self.dtype.itemsize * 8,
            photometric=self.photometric,
        )


class _Spool:
    """Encoded tiles in a scratch file, in the order in which they come, and where each lies."""

    def __init__(self, path: Path, levels: Sequence[tuple[int, int]]) -> None:
        self._file = path.open("w+b")
        self._lock = threading.Lock()
        self._end = 0
        counts = [math.prod(-(-side // TILE) for side in size) for size in levels]
        #: By level and kind: (offset in the scratch file, bytes) of each tile.
        self.places = [[new_array((count, 2), np.int64, fill=0) for _ in (_IMAGE, _MASK)] for count in counts]

    def add(self, level: int, kind: int, number: int, data: bytes) -> None:
        """Keep a tile."""
        with self._lock:
            self._file.write(data)
            self.places[level][kind][number] = self._end, len(data)
            self._end += len(data)

    def read(self, offset: int, nbytes: int) -> bytes:
        """Give a tile back."""
        self._file.seek(offset)
        return self._file.read(nbytes)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _SpooledTiles(Sequence[bytes]):
    """The tiles of one image, each read from the scratch file when it is written."""

    def __init__(self, spool: _Spool, places: npt.NDArray[np.int64]) -> None:
        self._spool, self._places = spool, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> list[bytes]: ...
    def __getitem__(self, number: int | slice) -> bytes | list[bytes]:
        """Read a tile, or some."""
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        return self._spool.read(*self._places[number].tolist())


class CogWriter:
    """Takes the blocks of an image in any order, and writes it when all are there.

    Args:
        form: everything of the file but its pixels.
        folder: for scratch files; they take as many bytes as the file, and some more.
        block: side of the blocks: `TILE` times a power of two.
    """

    def __init__(self, form: CogForm, folder: Path, block: int) -> None:
        self._form = form
        self._folder = folder
        self._block = block
        self._levels = form.levels
        self._spool = _Spool(folder / "tiles", self._levels)
        self._is_masked = False
        self._rest: list[npt.NDArray[Any]] = []
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="rasteret-encode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._spool.close()
        self._rest.clear()

    def add(self, row_off: int, col_off: int, pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> None:
        """Take a block.

        Args:
            row_off, col_off: its corner, in multiples of the block's side.
            pixels: array (height, width, band).
            mask: booleans (height, width), True means valid.
        """
        self._is_masked = self._is_masked or not (self._form.has_alpha or mask.all())
        self._add(0, row_off, col_off, pixels, mask)

    def write(self, file: io.BufferedIOBase | Any) -> int:
        """Write the file, and give its size in bytes."""
        self._add_rest()
        levels = range(len(self._levels))
        parts = assemble_tiff(
            [self._ifd(level, _IMAGE) for level in levels],
            LayoutOptions(bigtiff=None, block_leaders=True),
            masks=[self._ifd(level, _MASK) for level in levels] if self._is_masked else (),
        )
        return sum(map(file.write, parts))

    def _ifd(self, level: int, kind: int) -> Ifd:
        """Give the IFD of a level, or that of its mask."""
        form, places = self._form, self._spool.places[level][kind]
        if kind == _MASK:
            tags = image_tags(_MASK_FORM, shape=self._levels[level], segment=(TILE, TILE), level=level)
        else:
            tags = image_tags(
                form.segments,
                shape=self._levels[level],
                segment=(TILE, TILE),
                samples=len(form.bands),
                kind=form.dtype.kind,
                level=level,
                has_alpha=form.has_alpha,
                colormap=form.colormap,
                nodata=form.nodata,
            )
            tags += [] if level else _geotiff_tags(form)
        return Ifd(tuple(tags), _SpooledTiles(self._spool, places), sizes=places[:, 1])

    def _add(
        self, level: int, row_off: int, col_off: int, pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_]
    ) -> None:
        """Write the tiles of a block, and of its overviews down to one tile; the rest waits on disk."""
        side = self._block
        while True:
            self._write_tiles(level, row_off, col_off, pixels, mask)
            level += 1
            if level == len(self._levels):
                return
            pixels, mask = halved(pixels, mask, self._form.nodata, [band.is_continuous for band in self._form.bands])
            side, row_off, col_off = side // 2, row_off // 2, col_off // 2
            if side < TILE:
                break
        if not self._rest:
            self._rest = [
                np.memmap(self._folder / f"level-{level}-{kind}", dtype, "w+", shape=(*self._levels[level], *samples))
                for kind, dtype, samples in ((_IMAGE, pixels.dtype, pixels.shape[2:]), (_MASK, np.dtype(bool), ()))
            ]
        place = slice(row_off, row_off + mask.shape[0]), slice(col_off, col_off + mask.shape[1])
        for array, part in zip(self._rest, (pixels, mask), strict=True):
            array[place] = part

    def _add_rest(self) -> None:
        """Write the levels at which a block is smaller than a tile."""
        # A block has tiles of so many levels; the pixels that wait are those of the next level.
        step = level = int(math.log2(self._block // TILE)) + 1
        while self._rest:
            (pixels, mask), self._rest = self._rest, []
            height, width = mask.shape
            for row_off in range(0, height, self._block):
                for col_off in range(0, width, self._block):
                    part = slice(row_off, row_off + self._block), slice(col_off, col_off + self._block)
                    self._add(level, row_off, col_off, np.array(pixels[part]), np.array(mask[part]))
            level += step

    def _write_tiles(
        self, level: int, row_off: int, col_off: int, pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_]
    ) -> None:
        across = -(-self._levels[level][1] // TILE)
        form = self._form.segments
        parts = [
            ((row_off + row) // TILE * across + (col_off + col) // TILE, slice(row, row + TILE), slice(col, col + TILE))
            for row in range(0, mask.shape[0], TILE)
            for col in range(0, mask.shape[1], TILE)
        ]

        def work(part: tuple[int, slice, slice]) -> None:
            number, rows, cols = part
            self._spool.add(level, _IMAGE, number, encode_segment(_whole(pixels[rows, cols]), form))
            valid = mask[rows, cols, np.newaxis].view(np.uint8)
            self._spool.add(level, _MASK, number, encode_segment(_whole(valid), _MASK_FORM))

        # Exceptions of threads come out here.
        list(self._pool.map(work, parts))


def _whole(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give the pixels (height, width, band) of a whole tile, 0 beyond the image."""
    if part.shape[:2] == (TILE, TILE):
        return np.ascontiguousarray(part)
    tile = np.zeros((TILE, TILE, part.shape[2]), part.dtype)
    tile[: part.shape[0], : part.shape[1]] = part
    return tile


def _geotiff_tags(form: CogForm) -> list[Tag]:
    """Give GeoTIFF's and GDAL's tags of the full resolution."""
    described: dict[str, Sequence[str | float | None]] = {
        "description": [band.name for band in form.bands],
        "scale": [band.scale for band in form.bands],
        "offset": [band.offset for band in form.bands],
        "unittype": [band.unit or None for band in form.bands],
    }
    return [
        *(grid_tags(form.box.transform) if form.has_transform else ()),
        *(() if form.box.crs is None else key_tags(geo_keys(form.box.crs))),
        *metadata_tags(form.metadata, described),
    ]
