"""The layout of a TIFF: SubIFDs, offsets, limits."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.tiff.writing.layout import FieldType, Ifd, LayoutOptions, Tag, assemble_tiff


def gray(size: int, value: int, **parts) -> Ifd:
    """An uncompressed 8-bit image of one value in 16-pixel tiles."""
    tiles = (-(-size // 16)) ** 2
    tags = [(256, size), (257, size), (258, 8), (259, 1), (262, 1), (277, 1), (322, 16), (323, 16)]
    return Ifd(
        tuple(Tag(code, FieldType.SHORT, (number,)) for code, number in tags),
        (bytes([value]) * 256,) * tiles,
        **parts,
    )


@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("ifds", ["first", "last"])
def test_sub_ifds_are_found_and_hold_their_pixels(byte_order, bigtiff, ifds):
    image = gray(64, 1, sub_ifds=(gray(32, 2), gray(16, 3)))
    options = LayoutOptions(byte_order=byte_order, bigtiff=bigtiff, ifds=ifds)
    written = b"".join(assemble_tiff([image, gray(16, 4)], options))
    with tifffile.TiffFile(io.BytesIO(written)) as tiff:
        assert tiff.is_bigtiff is bigtiff
        assert len(tiff.pages) == 2
        subs = tiff.pages[0].pages
        found = [tiff.pages[0], *subs, tiff.pages[1]]
        assert [np.unique(page.asarray()).tolist() for page in found] == [[1], [2], [3], [4]]


def test_every_offset_of_an_ifd_is_even():
    written = b"".join(assemble_tiff([gray(48, 1), gray(16, 2)], LayoutOptions(block_leaders=True)))
    with tifffile.TiffFile(io.BytesIO(written)) as tiff:
        assert all(page.offset % 2 == 0 for page in tiff.pages)


class Endless(bytes):
    """Bytes that say they are 3 GiB long."""

    __slots__ = ()

    def __len__(self) -> int:
        return 3 << 30


def test_a_classic_file_beyond_its_offsets_is_refused_with_the_remedy():
    huge = Ifd(gray(16, 1).tags, (Endless(b"x"), Endless(b"y")))
    with pytest.raises(InvalidArgumentError, match="bigtiff=True"):
        assemble_tiff([huge])


def test_contradicting_layouts_are_refused():
    with pytest.raises(InvalidArgumentError, match="IFDS_BEFORE_DATA"):
        assemble_tiff([gray(16, 1)], LayoutOptions(ifds="last", block_leaders=True))
    with pytest.raises(InvalidArgumentError, match="one image or more"):
        assemble_tiff([])
