"""The layout of a TIFF: where IFDs, tile arrays and encoded tiles lie, and how numbers are written.

tifffile writes each IFD just before its own pixels, so that the overviews of a large file lie megabytes behind its
first bytes. Cloud optimised files have all IFDs in front. This writer puts them there, or at the end. It can leave out
tiles, frame them as GDAL's COG driver does, and write BigTIFF and either byte order. Exports and test files use it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

import numpy as np

from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.tiff.model import ByteOrder

IfdPlacement = Literal["first", "last"]

_STRIP_OFFSETS, _STRIP_BYTE_COUNTS = 273, 279
_TILE_OFFSETS, _TILE_BYTE_COUNTS = 324, 325
_SUB_IFDS = 330
_CLASSIC_LIMIT = 0xFFFFFFFF  # bytes that 32-bit offsets reach
_ENDIAN = {"little": "<", "big": ">"}

_GHOST_AREA = (
    "LAYOUT=IFDS_BEFORE_DATA\n"
    "BLOCK_ORDER=ROW_MAJOR\n"
    "BLOCK_LEADER=SIZE_AS_UINT4\n"
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
    "KNOWN_INCOMPATIBLE_EDITION=NO\n "  # the space lets an editor turn NO into YES in place
)
_GHOST_AREA_MASK = "MASK_INTERLEAVED_WITH_IMAGERY=YES\n"


class FieldType(IntEnum):
    """Field types of TIFF 6.0 (section 2) and BigTIFF."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    DOUBLE = 12
    LONG8 = 16


# A RATIONAL is given as numerator and denominator in turn, and counts as one value.
_FORMATS = {
    FieldType.SHORT: "H",
    FieldType.LONG: "I",
    FieldType.RATIONAL: "I",
    FieldType.DOUBLE: "d",
    FieldType.LONG8: "Q",
}


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of an IFD; `values` are bytes for BYTE, ASCII (with its NUL) and UNDEFINED, else numbers."""

    code: int
    type: FieldType
    values: bytes | tuple[float, ...]

    @property
    def count(self) -> int:
        """Number of values, as the IFD entry gives it."""
        return len(self.values) // 2 if self.type is FieldType.RATIONAL else len(self.values)

    def encode(self, endian: str) -> bytes:
        """Give the values as they lie in the file; `endian` is `"<"` or `">"`."""
        if isinstance(self.values, bytes):
            return self.values
        return struct.pack(f"{endian}{len(self.values)}{_FORMATS[self.type]}", *self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Ifd:
    """One image of a file: its tags and its encoded tiles or strips.

    The layout adds the offset and byte count arrays, and SubIFDs.

    Attributes:
        tags: in any order.
        segments: encoded tiles or strips in TIFF order; None is sparse (offset and byte count 0).
        tiled: False for strips.
        sub_ifds: images that this one points to by its SubIFDs tag.
        sizes: bytes of each segment, where `segments` reads them from disk one by one; None takes their lengths.
    """

    tags: tuple[Tag, ...]
    segments: Sequence[bytes | None]
    tiled: bool = True
    sub_ifds: tuple[Ifd, ...] = ()
    sizes: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """Where things lie in a file, and how numbers are written.

    Attributes:
        byte_order: of the whole file.
        bigtiff: 64-bit offsets; None where the file needs them.
        ifds: `"first"` puts all IFDs before all pixels, `"last"` behind them.
        block_leaders: write GDAL's COG ghost area, and frame each tile with its size and its last four bytes.
    """

    byte_order: ByteOrder = "little"
    bigtiff: bool | None = False
    ifds: IfdPlacement = "first"
    block_leaders: bool = False


class _Placed:
    """An IFD and what the layout found out about it."""

    def __init__(self, ifd: Ifd, next_ifd: _Placed | None, subs: list[_Placed]) -> None:
        self.ifd, self.next_ifd, self.subs = ifd, next_ifd, subs
        lengths = [len(segment) if segment else 0 for segment in ifd.segments] if ifd.sizes is None else ifd.sizes
        self.sizes = np.asarray(lengths, np.int64)
        self.segment_offsets = np.zeros_like(self.sizes)
        self.offset = self.arrays_offset = 0


def assemble_tiff(
    ifds: Sequence[Ifd],
    options: LayoutOptions = LayoutOptions(),
    *,
    masks: Sequence[Ifd] = (),
) -> Iterator[bytes]:
    """Lay out a TIFF file.

    IFDs are chained as GDAL's COG driver does: the image, its mask, the overviews, the masks of the
    overviews. Pixels are written from the last (smallest) IFD to the first. Where an image has a mask with as
    many tiles, each tile is followed by its mask tile.

    Args:
        ifds: the image, then its overviews.
        options: byte order, size of offsets, order of the parts.
        masks: masks of the first of `ifds`, in their order.

    Returns:
        The parts of the file in order, for `writelines` or `b"".join`.

    Raises:
        InvalidArgumentError: the file would not fit into a classic TIFF, or options contradict each other.
    """
    if not ifds or len(masks) > len(ifds):
        raise InvalidArgumentError(
            f"a TIFF of {len(ifds)} images and {len(masks)} masks; give one image or more, and no more masks"
        )
    if options.block_leaders and options.ifds != "first":
        raise InvalidArgumentError(
            'block_leaders with ifds="last": the ghost area promises IFDS_BEFORE_DATA; leave one of them out'
        )
    layout = _Layout(ifds, masks, options, bigtiff=bool(options.bigtiff))
    if layout.end > _CLASSIC_LIMIT and options.bigtiff is None:
        layout = _Layout(ifds, masks, options, bigtiff=True)
    elif layout.end > _CLASSIC_LIMIT and not options.bigtiff:
        raise InvalidArgumentError(
            f"a classic TIFF of {layout.end} bytes; its offsets end at {_CLASSIC_LIMIT}. Use bigtiff=True"
        )
    return layout.parts()


class _Layout:
    """Two passes: the offsets of all parts, then their bytes."""

    def __init__(self, ifds: Sequence[Ifd], masks: Sequence[Ifd], options: LayoutOptions, *, bigtiff: bool) -> None:
        self._options = options
        self._bigtiff = bigtiff
        self._endian = _ENDIAN[options.byte_order]
        self._offset_format, self._offset_size = ("Q", 8) if bigtiff else ("I", 4)
        self._offset_type = FieldType.LONG8 if bigtiff else FieldType.LONG
        chain = [ifds[0], *masks[:1], *ifds[1:], *masks[1:]]
        placed: list[_Placed] = []
        for ifd in reversed(chain):
            subs = [_Placed(sub, None, []) for sub in ifd.sub_ifds]
            placed.append(_Placed(ifd, placed[-1] if placed else None, subs))
        self._chain = placed[::-1]
        self._all = [one for head in self._chain for one in (head, *head.subs)]
        mask_positions = [1, *range(len(ifds) + 1, len(chain))] if masks else []
        image_positions = [at for at in range(len(chain)) if at not in mask_positions]
        self._pairs = [
            (self._chain[image], self._chain[mask_positions[n]] if n < len(masks) else None)
            for n, image in enumerate(image_positions)
        ]
        self._ghost = self._ghost_area()
        #: The first byte behind the file header and the ghost area.
        self._start = (16 if bigtiff else 8) + len(self._ghost)
        if options.ifds == "first":
            self._ifds = self._start, self._place_ifds(self._start)
            self.end = self._place_segments(self._ifds[1])
        else:
            data_end = self._place_segments(self._start)
            self.end = self._place_ifds(data_end)
            self._ifds = data_end, self.end

    def parts(self) -> Iterator[bytes]:
        """Give the parts of the file in order."""
        yield self._file_header()
        yield self._ghost
        if self._options.ifds == "first":
            yield self._directories()
        for placed, index in self._segment_order():
            segment = placed.ifd.segments[index] if placed.sizes[index] else None
            if segment and self._options.block_leaders:
                yield struct.pack("<I", len(segment))
                yield segment
                yield segment[-4:].ljust(4, b"\0")
            elif segment:
                yield segment
        if self._options.ifds == "last":
            yield self._directories()

    def _file_header(self) -> bytes:
        mark = b"II" if self._options.byte_order == "little" else b"MM"
        if self._bigtiff:
            return mark + struct.pack(f"{self._endian}HHHQ", 43, 8, 0, self._chain[0].offset)
        return mark + struct.pack(f"{self._endian}HI", 42, self._chain[0].offset)

    def _ghost_area(self) -> bytes:
        if not self._options.block_leaders:
            return b""
        text = _GHOST_AREA
        if any(mask for _, mask in self._pairs) and all(map(self._interleaved, self._pairs)):
            text += _GHOST_AREA_MASK
        return f"GDAL_STRUCTURAL_METADATA_SIZE={len(text):06d} bytes\n{text}".encode()

    @staticmethod
    def _interleaved(pair: tuple[_Placed, _Placed | None]) -> bool:
        """Say whether a mask tile follows each tile; GDAL finds it by the image tile: all must exist."""
        image, mask = pair
        return mask is not None and len(image.sizes) == len(mask.sizes) and all((image.sizes > 0) & (mask.sizes > 0))

    def _tags(self, placed: _Placed) -> list[Tag]:
        """Give all tags but the tile arrays, whose values lie elsewhere."""
        tags = list(placed.ifd.tags)
        if placed.subs:
            tags.append(Tag(_SUB_IFDS, self._offset_type, tuple(sub.offset for sub in placed.subs)))
        return tags

    def _place_ifds(self, offset: int) -> int:
        """Decide where IFDs and, behind them all, their tile arrays lie; give the first offset behind."""
        for placed in self._all:
            # GDAL's checks of COGs want the first IFD at the first even offset behind the ghost area.
            placed.offset = offset + offset % 2 if placed is self._all[0] else _aligned(offset)
            offset = _aligned(offset) + self._ifd_size(placed)
        for placed in self._all:
            placed.arrays_offset = offset = _aligned(offset)
            if len(placed.sizes) > 1:
                offset += 2 * self._offset_size * len(placed.sizes)
        return offset

    def _ifd_size(self, placed: _Placed) -> int:
        tags = self._tags(placed)
        entries = len(tags) + 2
        fixed = (8 + 20 * entries + 8) if self._bigtiff else (2 + 12 * entries + 4)
        sizes = (len(tag.encode(self._endian)) for tag in tags)
        return fixed + sum(_aligned(size) for size in sizes if size > self._offset_size)

    def _place_segments(self, offset: int) -> int:
        """Decide where tiles lie; give the first offset behind them."""
        leader, frame = (4, 8) if self._options.block_leaders else (0, 0)
        for placed, index in self._segment_order():
            size = int(placed.sizes[index])
            if size:
                placed.segment_offsets[index] = offset + leader
                offset += size + frame
        return offset

    def _segment_order(self) -> Iterator[tuple[_Placed, int]]:
        for image, mask in reversed(self._pairs):
            for sub in reversed(image.subs):
                yield from ((sub, index) for index in range(len(sub.sizes)))
            if mask is not None and self._interleaved((image, mask)):
                for index in range(len(image.sizes)):
                    yield image, index
                    yield mask, index
                continue
            for placed in (image, mask):
                if placed is not None:
                    yield from ((placed, index) for index in range(len(placed.sizes)))

    def _directories(self) -> bytes:
        """Give the bytes of all IFDs and tile arrays."""
        start, end = self._ifds
        area = bytearray(end - start)
        for placed in self._all:
            pieces = [(placed.offset, self._directory(placed))]
            if len(placed.sizes) > 1:
                arrays = b"".join(tag.encode(self._endian) for tag in self._array_tags(placed))
                pieces.append((placed.arrays_offset, arrays))
            for offset, piece in pieces:
                area[offset - start : offset - start + len(piece)] = piece
        return bytes(area)

    def _array_tags(self, placed: _Placed) -> tuple[Tag, Tag]:
        """Give the offset and byte count arrays; empty segments are sparse in both."""
        offsets, counts = (
            (_TILE_OFFSETS, _TILE_BYTE_COUNTS) if placed.ifd.tiled else (_STRIP_OFFSETS, _STRIP_BYTE_COUNTS)
        )
        return (
            Tag(offsets, self._offset_type, tuple(placed.segment_offsets.tolist())),
            Tag(counts, self._offset_type, tuple(placed.sizes.tolist())),
        )

    def _directory(self, placed: _Placed) -> bytes:
        """Give one IFD with the values that do not fit into its entries, save the tile arrays."""
        arrays = self._array_tags(placed)
        tags = sorted((*self._tags(placed), *arrays), key=lambda tag: tag.code)
        big = self._bigtiff
        overflow_start = placed.offset + (8 + 20 * len(tags) + 8 if big else 2 + 12 * len(tags) + 4)
        entries, overflow = bytearray(), bytearray()
        array_offset = placed.arrays_offset
        for tag in tags:
            value = tag.encode(self._endian)
            if len(value) > self._offset_size:
                if tag in arrays:
                    at, array_offset = array_offset, array_offset + len(value)
                else:
                    at = overflow_start + len(overflow)
                    overflow += value.ljust(_aligned(len(value)), b"\0")
                value = struct.pack(self._endian + self._offset_format, at)
            head = struct.pack(f"{self._endian}HH{self._offset_format}", tag.code, tag.type, tag.count)
            entries += head + value.ljust(self._offset_size, b"\0")
        count = struct.pack(self._endian + ("Q" if big else "H"), len(tags))
        next_offset = placed.next_ifd.offset if placed.next_ifd else 0
        following = struct.pack(self._endian + self._offset_format, next_offset)
        return b"".join((count, entries, following, overflow))


def _aligned(offset: int) -> int:
    """Round up to 8 bytes: TIFF wants words, BigTIFF its 8-byte values aligned."""
    return -(-offset // 8) * 8
