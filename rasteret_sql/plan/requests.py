"""A plan's tiles as requests: which bytes are fetched together, and which tiles lie in them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rasteret_sql.plan.ranges import coalesce

if TYPE_CHECKING:
    from rasteret_sql.plan.tile_plan import MaskTile, TilePlan


class Encoded(NamedTuple):
    """One encoded tile inside the bytes of a response, so that what frames it can be checked.

    Attributes:
        response: the bytes that were fetched.
        first: where the tile begins in them.
        nbytes: length of the tile.
    """

    response: memoryview
    first: int
    nbytes: int

    @property
    def data(self) -> memoryview:
        """The bytes of the tile."""
        return self.response[self.first : self.first + self.nbytes]


@dataclass(slots=True)
class Piece:
    """One encoded tile, fetched and decoded once, and the plan rows that it is for.

    Attributes:
        kind: "image", or "mask" for a tile of an internal mask or of the plane of an alpha band.
        asset_no: the file, in the plan's assets.
        offset, nbytes: its bytes in the file.
        rows: the plan rows that need it.
        mask_tile: where it lies in the mask, for kind "mask".
    """

    kind: Literal["image", "mask"]
    asset_no: int
    offset: int
    nbytes: int
    rows: list[int] = field(default_factory=list)
    mask_tile: MaskTile | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes `start` to `end` (exclusive) of a file, and the encoded tiles that lie in them."""

    address: str
    etag: str | None
    start: int
    end: int
    pieces: tuple[Piece, ...]

    @property
    def nbytes(self) -> int:
        """Length of the range."""
        return self.end - self.start

    @property
    def first_row(self) -> int:
        """The first plan row that waits for it."""
        return min(piece.rows[0] for piece in self.pieces)


def needs_image(plan: TilePlan, row: int, *, pixels: bool, mask: bool) -> bool:
    """Whether a row needs its image tile: for its pixels, or to find the valid ones among them."""
    return pixels or (mask and plan.mask_kind[row] is not None and plan.mask_tiles[row] is None)


def plan_requests(plan: TilePlan, *, pixels: bool, mask: bool) -> list[Request]:
    """Make the requests that fetch the tiles of a plan.

    Args:
        plan: the tiles.
        pixels: whether pixels are wanted.
        mask: whether masks are wanted.

    Returns:
        The requests, in the order of the first row that needs each. Sparse tiles need none.
    """
    # Tiles of one file may share their bytes; each is still decoded for its own place.
    pieces: dict[tuple[str, int, int, int, int], Piece] = {}
    asset_no = plan.asset_no.tolist()
    offsets = plan.tile_offset.tolist()
    counts = plan.tile_byte_count.tolist()
    tile_rows, tile_cols = plan.tile_row.tolist(), plan.tile_col.tolist()
    for row in range(len(plan)):
        asset = asset_no[row]
        if counts[row] and needs_image(plan, row, pixels=pixels, mask=mask):
            image = pieces.setdefault(
                ("image", asset, offsets[row], tile_rows[row], tile_cols[row]),
                Piece("image", asset, offsets[row], counts[row]),
            )
            image.rows.append(row)
        if not mask:
            continue
        for tile in plan.mask_tiles[row] or ():
            if tile.nbytes:
                piece = pieces.setdefault(
                    ("mask", asset, tile.offset, tile.tile_row, tile.tile_col),
                    Piece("mask", asset, tile.offset, tile.nbytes, mask_tile=tile),
                )
                piece.rows.append(row)
    return _gather(plan, list(pieces.values()))


def _gather(plan: TilePlan, pieces: list[Piece]) -> list[Request]:
    # A file that was indexed twice, before and after it changed, is two: each is asked for with its own ETag.
    files: dict[tuple[str, str | None], int] = {}
    keys = [(asset.address, asset.etag) for asset in plan.assets]
    file = np.array([files.setdefault(keys[piece.asset_no], len(files)) for piece in pieces], np.int64)
    start = np.array([piece.offset for piece in pieces], np.int64)
    end = start + np.array([piece.nbytes for piece in pieces], np.int64)
    members: dict[int, list[int]] = {}
    for number, request in enumerate(coalesce(file, start, end).tolist()):
        members.setdefault(request, []).append(number)
    requests = []
    for numbers in members.values():
        asset = plan.assets[pieces[numbers[0]].asset_no]
        requests.append(
            Request(
                asset.address,
                asset.etag,
                int(start[numbers].min()),
                int(end[numbers].max()),
                tuple(pieces[number] for number in numbers),
            )
        )
    return sorted(requests, key=lambda request: request.first_row)
