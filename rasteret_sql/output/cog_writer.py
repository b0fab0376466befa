"""Writes cloud optimised GeoTIFFs block by block: tiles and overviews to a scratch file, then one file in COG order.

tifffile writes the header, the IFDs and all their tags, of images without tiles yet, so that all IFDs lie in front;
the tiles follow in the order of GDAL's COG driver, smallest overview first, and their places are put into the IFDs.
Memory is that of a few blocks, however large the image is.
"""

from __future__ import annotations

import io
import math
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

import numpy as np

from rasteret_sql.output.geotiff_crs import crs_tags
from rasteret_sql.output.halving import halved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox

Compression = Literal["deflate", "zstd", "none"]
COMPRESSIONS: Final[tuple[Compression, ...]] = get_args(Compression)

#: Side of a tile in pixels.
TILE: Final = 512
#: Effort of the codecs: libdeflate's and zstd's, where more costs much time for few bytes.
_LEVELS: Final = {"deflate": 6, "zstd": 9}
_TAGS: Final = {"deflate": 8, "zstd": 50000, "none": 1}
_CLASSIC_LIMIT: Final = 0xFFFFFFFF
_IMAGE, _MASK = 0, 1
_GHOST: Final = (
    "LAYOUT=IFDS_BEFORE_DATA\n"
    "BLOCK_ORDER=ROW_MAJOR\n"
    "BLOCK_LEADER=SIZE_AS_UINT4\n"
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
    "KNOWN_INCOMPATIBLE_EDITION=NO\n "  # the space lets an editor turn NO into YES in place
)
_GHOST_MASK: Final = "MASK_INTERLEAVED_WITH_IMAGERY=YES\n"
_REDUCED, _IS_MASK = 1, 4
_TILE_OFFSETS, _TILE_BYTE_COUNTS = 324, 325
_PIXEL_SCALE, _TIEPOINT, _TRANSFORMATION = 33550, 33922, 34264
_METADATA, _NODATA = 42112, 42113
_ASCII, _DOUBLE = 2, 12


@dataclass(frozen=True, slots=True)
class CogBand:
    """What a file says of a band.

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
    """What a file is; everything but its pixels.

    Attributes:
        box: the grid.
        has_transform: whether the grid is on the ground.
        dtype: of all bands.
        bands: in their order.
        nodata: what pixels without data hold, or None.
        compression: of the tiles.
        has_overviews: whether there are any, down to the first that fits into a tile.
        is_rgb: whether the first three bands are red, green and blue.
        metadata: items of the dataset, for GDAL.
    """

    box: GeoBox
    has_transform: bool
    dtype: np.dtype[Any]
    bands: tuple[CogBand, ...]
    nodata: float | None = None
    compression: Compression = "deflate"
    has_overviews: bool = True
    is_rgb: bool = False
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
            InvalidArgumentError: its CRS has no GeoKeys.
        """
        crs_tags(self.box.crs)

    @property
    def predictor(self) -> int:
        """TIFF's Predictor (TIFF 6.0, section 14, and Technical Note 3)."""
        return 1 if self.compression == "none" else {"u": 2, "i": 2, "f": 3}.get(self.dtype.kind, 1)


class _Spool:
    """Encoded tiles in a scratch file, in the order in which they come, and where each lies."""

    def __init__(self, path: Path, levels: Sequence[tuple[int, int]]) -> None:
        self._file = path.open("w+b")
        self._lock = threading.Lock()
        self._end = 0
        counts = [math.prod(-(-side // TILE) for side in size) for size in levels]
        #: By level and kind: (offset in the scratch file, bytes) of each tile.
        self.places = [[np.zeros((count, 2), np.int64) for _ in (_IMAGE, _MASK)] for count in counts]

    def add(self, level: int, kind: int, number: int, data: bytes) -> None:
        """Keep a tile."""
        with self._lock:
            self._file.write(data)
            self.places[level][kind][number] = self._end, len(data)
            self._end += len(data)

    def tile(self, level: int, kind: int, number: int) -> bytes:
        """Give a tile back."""
        offset, nbytes = self.places[level][kind][number].tolist()
        self._file.seek(offset)
        return self._file.read(nbytes)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CogWriter:
    """Takes the blocks of an image in any order, and writes it when all are there.

    Args:
        form: what the file is.
        folder: for scratch files; as many bytes as the file will have, and then some.
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
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rasteret-encode")

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
        self._is_masked = self._is_masked or not mask.all()
        self._add(0, row_off, col_off, pixels, mask)

    def write(self, file: io.BufferedIOBase | Any) -> int:
        """Write the file, and give its size in bytes."""
        self._add_rest()
        kinds = (_IMAGE, _MASK) if self._is_masked else (_IMAGE,)
        total = sum(int((places[kind][:, 1] + 8).sum()) for places in self._spool.places for kind in kinds)
        head = _Head(self._form, self._levels, self._is_masked, is_big=False)
        if len(head.buffer) + total > _CLASSIC_LIMIT:
            head = _Head(self._form, self._levels, self._is_masked, is_big=True)
        order = list(self._in_order(kinds))
        head.place(order, [[places[kind][:, 1] for kind in kinds] for places in self._spool.places])
        file.write(head.buffer)
        for level, kind, number in order:
            data = self._spool.tile(level, kind, number)
            file.writelines((struct.pack("<I", len(data)), data, data[-4:].ljust(4, b"\0")))
        return len(head.buffer) + total

    def _in_order(self, kinds: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Go through all tiles as GDAL's COG driver lays them out: the smallest first, each followed by its mask."""
        for level in reversed(range(len(self._levels))):
            for number in range(len(self._spool.places[level][_IMAGE])):
                for kind in kinds:
                    yield level, kind, number

    def _add(
        self, level: int, row_off: int, col_off: int, pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_]
    ) -> None:
        """Write the tiles of a block, and of its overviews down to one tile; what is left of it waits on disk."""
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
        """Write the levels that are smaller than a tile of each block."""
        # A block has tiles of so many levels; what waits is of the next.
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
        parts = [
            ((row_off + row) // TILE * across + (col_off + col) // TILE, slice(row, row + TILE), slice(col, col + TILE))
            for row in range(0, mask.shape[0], TILE)
            for col in range(0, mask.shape[1], TILE)
        ]

        def work(part: tuple[int, slice, slice]) -> None:
            number, rows, cols = part
            self._spool.add(level, _IMAGE, number, encoded(pixels[rows, cols], self._form))
            self._spool.add(level, _MASK, number, _encoded_mask(mask[rows, cols], self._form))

        # Exceptions of threads come out here.
        list(self._pool.map(work, parts))


class _Head:
    """The bytes of a file in front of its tiles: what tifffile writes, with GDAL's ghost area behind the header."""

    def __init__(self, form: CogForm, levels: Sequence[tuple[int, int]], is_masked: bool, *, is_big: bool) -> None:  # noqa: FBT001
        import tifffile

        ghost = _GHOST + (_GHOST_MASK if is_masked else "")
        stream = io.BytesIO()
        #: (level, kind) of each IFD.
        self._ifds = [(0, _IMAGE), *[(0, _MASK)] * is_masked]
        self._ifds += [(level, _IMAGE) for level in range(1, len(levels))]
        self._ifds += [(level, _MASK) for level in range(1, len(levels))] if is_masked else []
        with tifffile.TiffWriter(stream, bigtiff=is_big, byteorder="<") as writer:
            stream.write(f"GDAL_STRUCTURAL_METADATA_SIZE={len(ghost):06d} bytes\n{ghost}".encode())
            if stream.tell() % 2:
                stream.write(b"\0")
            for level, kind in self._ifds:
                _write_ifd(writer, form, level, levels[level], is_mask=kind == _MASK)
        self.buffer = bytearray(stream.getvalue())
        #: Where the offsets and the sizes of the tiles of each IFD are, and as which numbers.
        self._arrays = list(_tile_arrays(self.buffer, is_big=is_big))

    def place(self, order: Sequence[tuple[int, int, int]], sizes: Sequence[Sequence[npt.NDArray[np.int64]]]) -> None:
        """Say where the tiles will lie: one after the other, each with its size before it and four bytes behind it."""
        offsets = [[np.zeros(len(kind), np.int64) for kind in level] for level in sizes]
        end = len(self.buffer)
        for level, kind, number in order:
            offsets[level][kind][number] = end + 4
            end += int(sizes[level][kind][number]) + 8
        for (level, kind), arrays in zip(self._ifds, self._arrays, strict=True):
            for (at, code), values in zip(arrays, (offsets[level][kind], sizes[level][kind]), strict=True):
                struct.pack_into(f"<{len(values)}{code}", self.buffer, at, *values.tolist())


def _tile_arrays(buffer: bytearray, *, is_big: bool) -> Iterator[list[tuple[int, str]]]:
    """Find the TileOffsets and TileByteCounts of all IFDs: where their values begin, and their code in `struct`."""
    offset_code, count_code, entry_bytes = ("Q", "Q", 20) if is_big else ("I", "H", 12)
    offset_bytes = struct.calcsize(offset_code)
    (ifd,) = struct.unpack_from(f"<{offset_code}", buffer, 8 if is_big else 4)
    while ifd:
        (entries,) = struct.unpack_from(f"<{count_code}", buffer, ifd)
        first = ifd + struct.calcsize(count_code)
        found = {}
        for at in range(first, first + entries * entry_bytes, entry_bytes):
            code, kind, count = struct.unpack_from(f"<HH{offset_code}", buffer, at)
            if code in {_TILE_OFFSETS, _TILE_BYTE_COUNTS}:
                number_code, place = {3: "H", 4: "I", 16: "Q"}[kind], at + 4 + offset_bytes
                if count * struct.calcsize(number_code) > offset_bytes:
                    (place,) = struct.unpack_from(f"<{offset_code}", buffer, place)
                found[code] = place, number_code
        yield [found[_TILE_OFFSETS], found[_TILE_BYTE_COUNTS]]
        (ifd,) = struct.unpack_from(f"<{offset_code}", buffer, first + entries * entry_bytes)


def _write_ifd(writer: Any, form: CogForm, level: int, size: tuple[int, int], *, is_mask: bool) -> None:
    """Have tifffile write the IFD of an image that has no tiles yet."""
    count = math.prod(-(-side // TILE) for side in size)
    samples = len(form.bands)
    extra: dict[str, Any] = {"photometric": "minisblack"}
    if is_mask:
        extra = {"photometric": 4, "bitspersample": 1}
    elif form.is_rgb:
        extra = {"photometric": "rgb"}
    colours = 3 if form.is_rgb else 1
    if not is_mask and samples > 1:
        extra |= {"planarconfig": "contig", "extrasamples": [0] * (samples - colours)}
    writer.write(
        iter([b""] * count),
        shape=size if is_mask or samples == 1 else (*size, samples),
        dtype=bool if is_mask else form.dtype,
        tile=(TILE, TILE),
        compression=_TAGS[form.compression],
        predictor=1 if is_mask else form.predictor,
        subfiletype=(_REDUCED if level else 0) | (_IS_MASK if is_mask else 0),
        metadata=None,
        software=False,
        extratags=[(*tag, True) for tag in ([] if is_mask else _image_tags(form, level))],
        **extra,
    )


def encoded(pixels: npt.NDArray[Any], form: CogForm) -> bytes:
    """Encode the pixels (height, width, band) of a tile; what is beyond the image is 0."""
    import imagecodecs

    tile = np.ascontiguousarray(pixels)
    if tile.shape[:2] != (TILE, TILE):
        tile = np.zeros((TILE, TILE, pixels.shape[2]), pixels.dtype)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
    if form.predictor == 2:
        tile = imagecodecs.delta_encode(tile.view(f"u{tile.dtype.itemsize}"), axis=-2)
    elif form.predictor == 3:
        tile = imagecodecs.floatpred_encode(tile, axis=-2)
    return _compressed(np.ascontiguousarray(tile), form)


def _encoded_mask(mask: npt.NDArray[np.bool_], form: CogForm) -> bytes:
    tile = np.zeros((TILE, TILE), bool)
    tile[: mask.shape[0], : mask.shape[1]] = mask
    return _compressed(np.packbits(tile, axis=1), form)


def _compressed(data: npt.NDArray[Any], form: CogForm) -> bytes:
    import imagecodecs

    match form.compression:
        case "deflate":
            return bytes(imagecodecs.deflate_encode(data.tobytes(), level=_LEVELS["deflate"]))
        case "zstd":
            return bytes(imagecodecs.zstd_encode(data.tobytes(), level=_LEVELS["zstd"]))
        case "none":
            return data.tobytes()


def _image_tags(form: CogForm, level: int) -> list[tuple[int, int, int, Any]]:
    """Give GDAL's and GeoTIFF's tags of an image: code, type, count, value."""
    tags = [] if form.nodata is None else [_text_tag(_NODATA, number_text(form.nodata))]
    if level:
        return tags
    if form.has_transform:
        a, _, c, _, e, f = form.box.transform
        if a > 0 > e:
            tags.append((_PIXEL_SCALE, _DOUBLE, 3, (a, -e, 0.0)))
            tags.append((_TIEPOINT, _DOUBLE, 6, (0.0, 0.0, 0.0, c, f, 0.0)))
        else:
            matrix = (a, 0.0, 0.0, c, 0.0, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
            tags.append((_TRANSFORMATION, _DOUBLE, 16, matrix))
    return [*tags, *crs_tags(form.box.crs), _text_tag(_METADATA, _metadata(form))]


def _metadata(form: CogForm) -> str:
    """Give GDAL's XML: items of the dataset, and of each band its name, scale, offset and unit."""
    from xml.sax.saxutils import escape, quoteattr

    # GDAL escapes values twice and undoes both, "for backward compatibility" (its geotiff.cpp says).
    items = [f"  <Item name={quoteattr(name)}>{escape(escape(value))}</Item>" for name, value in form.metadata.items()]
    for sample, band in enumerate(form.bands):
        facts = {
            "description": escape(escape(band.name)),
            "scale": None if band.scale is None else number_text(band.scale),
            "offset": None if band.offset is None else number_text(band.offset),
            "unittype": None if not band.unit else escape(escape(band.unit)),
        }
        items += [
            f'  <Item name="{role.upper()}" sample="{sample}" role="{role}">{text}</Item>'
            for role, text in facts.items()
            if text is not None
        ]
    return "\n".join(["<GDALMetadata>", *items, "</GDALMetadata>"])


def _text_tag(code: int, text: str) -> tuple[int, int, int, Any]:
    data = text.encode() + b"\0"
    return code, _ASCII, len(data), data


def number_text(value: float) -> str:
    """Write a number as GDAL does: integers plain, floats so that they round-trip, `nan`, `inf`."""
    return str(int(value)) if math.isfinite(value) and float(value).is_integer() else repr(float(value))
