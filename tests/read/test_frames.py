"""Tiles that GDAL's COG driver frames are checked against their frames, where the bytes fetched hold them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

import rasteret_sql as rs
from rasteret_sql.errors import CorruptTiffError
from rasteret_sql.testing import write_cog
from rasteret_sql.tiff.ghost import Frames, check_frame, frames_of

if TYPE_CHECKING:
    from pathlib import Path

LEADER, TRAILER = "BLOCK_LEADER=SIZE_AS_UINT4", "BLOCK_TRAILER=LAST_4_BYTES_REPEATED"
PIXELS = np.random.default_rng(7).integers(0, 4000, (128, 256), np.uint16)


@pytest.fixture
def framed(tmp_path: Path) -> Path:
    """An index of one file of eight framed tiles."""
    write_cog(tmp_path / "f.tif", PIXELS, tile=64, overviews=(), mask=PIXELS > 100)
    rs.build_index([str(tmp_path / "f.tif")], tmp_path / "i.parquet")
    return tmp_path / "i.parquet"


def edit(path: Path, offset: int, data: bytes) -> None:
    """Change bytes of a file and keep its modification time, as a store without ETags would not notice."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def place_of(index: Path, row: int, col: int) -> tuple[int, int]:
    with rs.connect() as con:
        (place,) = con.execute(
            f"SELECT tile_offset, tile_byte_count FROM tile_plan('{index}') WHERE tile_row = {row} AND tile_col = {col}"
        ).fetchall()
    return place


def test_the_index_says_what_the_ghost_area_promises(framed: Path) -> None:
    with rs.connect() as con:
        ((layout,),) = con.sql(f"SELECT cog_layout FROM '{framed}'").fetchall()
    assert {"LAYOUT=IFDS_BEFORE_DATA", LEADER, TRAILER, "KNOWN_INCOMPATIBLE_EDITION=NO"} <= set(layout)


def test_framed_tiles_read_as_they_are(framed: Path) -> None:
    array = rs.to_numpy(framed)
    np.testing.assert_array_equal(array.data[0, 0], PIXELS)
    np.testing.assert_array_equal(array.mask[0, 0], PIXELS > 100)


def test_a_leader_of_another_size_is_an_error_that_names_the_tile(framed: Path) -> None:
    offset, count = place_of(framed, 1, 2)
    edit(framed.with_name("f.tif"), offset - 4, (count + 1).to_bytes(4, "little"))
    message = (
        rf'tile \(row 1, col 2\), level 0, asset "data" of item f, .*f\.tif: got a block leader of {count + 1} bytes'
    )
    with pytest.raises(CorruptTiffError, match=message):
        rs.to_numpy(framed)
    rows = rs.read_tiles(framed, on_error="null").read_all().to_pylist()
    assert [(row["tile_row"], row["tile_col"]) for row in rows if row["pixels"] is None] == [(1, 2)]


def test_a_trailer_of_other_bytes_is_an_error(framed: Path) -> None:
    offset, count = place_of(framed, 0, 1)
    edit(framed.with_name("f.tif"), offset + count, b"\xff\xff\xff\xff")
    with pytest.raises(CorruptTiffError, match=r"row 0, col 1.*got a block trailer ffffffff, expected the tile's last"):
        rs.to_numpy(framed)


def test_a_tile_fetched_alone_is_read_without_its_frame(framed: Path) -> None:
    offset, _ = place_of(framed, 1, 2)
    edit(framed.with_name("f.tif"), offset - 4, bytes(4))
    with rs.connect() as con:
        ((pixels,),) = con.sql(
            f"SELECT pixels FROM read_tiles('{framed}') WHERE tile_row = 1 AND tile_col = 2"
        ).fetchall()
    np.testing.assert_array_equal(np.frombuffer(pixels, "<u2").reshape(64, 64), PIXELS[64:, 128:192])


def test_a_file_that_gdal_edited_in_place_has_no_frames(framed: Path) -> None:
    path = framed.with_name("f.tif")
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.write(PIXELS[::-1], 1)
    rs.build_index([str(path)], framed)
    with rs.connect() as con:
        ((layout,),) = con.sql(f"SELECT cog_layout FROM '{framed}'").fetchall()
    assert frames_of(layout) == Frames()
    np.testing.assert_array_equal(rs.to_numpy(framed).data[0, 0], PIXELS[::-1])


@pytest.mark.parametrize(
    ("layout", "frames"),
    [
        (None, Frames()),
        ([], Frames()),
        (["LAYOUT=IFDS_BEFORE_DATA"], Frames()),
        ([LEADER], Frames(leader=True)),
        ([TRAILER], Frames(trailer=True)),
        ([LEADER, TRAILER, "KNOWN_INCOMPATIBLE_EDITION=NO"], Frames(leader=True, trailer=True)),
        ([LEADER, TRAILER, "KNOWN_INCOMPATIBLE_EDITION=YES"], Frames()),
    ],
)
def test_frames_are_those_that_are_promised_and_kept(layout: list[str] | None, frames: Frames) -> None:
    assert frames_of(layout) == frames


def test_only_what_was_fetched_is_checked() -> None:
    tile = b"abcdefgh"
    framed = len(tile).to_bytes(4, "little") + tile + tile[-4:]
    both = Frames(leader=True, trailer=True)
    check_frame(both, memoryview(framed), 4, len(tile))
    check_frame(both, memoryview(tile), 0, len(tile))
    check_frame(both, memoryview(b"xyz" + tile + b"xyz"), 3, len(tile))
    with pytest.raises(CorruptTiffError, match="block leader of 7 bytes, expected 8"):
        check_frame(both, memoryview(b"\x07\0\0\0" + tile), 4, len(tile))
    with pytest.raises(CorruptTiffError, match="block trailer 78787878, expected the tile's last bytes 65666768"):
        check_frame(both, memoryview(tile + b"xxxx"), 0, len(tile))
