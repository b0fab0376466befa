"""A plan's tiles as requests: which bytes are fetched together, and which tiles lie in them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, overload

import numpy as np

from rasteret_sql.plan.ragged import Ragged, bounds_of, spread
from rasteret_sql.plan.tile_plan import MaskKind

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.io.identity import FileIdentity
    from rasteret_sql.plan.tile_plan import MaskTile, MaskTiles, TilePlan

    Numbers = npt.NDArray[np.int64]

#: Bytes between two ranges that are fetched along with them. One request more costs more than these.
MAX_GAP_BYTES = 131_072

#: Bytes after which a run of ranges becomes another request, so that long reads are concurrent and bounded.
MAX_REQUEST_BYTES = 4_194_304

#: What stands for "no mask tile" where an image tile is meant.
_IMAGE: Final = -1


def coalesce(
    file: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    *,
    max_gap_bytes: int = MAX_GAP_BYTES,
    max_request_bytes: int = MAX_REQUEST_BYTES,
) -> npt.NDArray[np.int64]:
    """Number the request that fetches each byte range, by the same rule as `sql/macros/_rst_requests.sql`.

    Ranges of one file share a request while the gap to what came before is at most `max_gap_bytes`. Such
    a run is cut after each `max_request_bytes`, counted from its start; a range is never cut, so a request is
    shorter than `max_request_bytes` plus its longest range. No request spans two files, and ranges that
    overlap by their bytes share one wherever the cut allows.

    Args:
        file: number of the file of each range, shape (n,).
        start: first byte of each range, shape (n,).
        end: byte after the last of each range, exclusive, shape (n,).
        max_gap_bytes: the longest gap that is read over.
        max_request_bytes: length after which a run is cut.

    Returns:
        Request numbers, shape (n,), counted from 0 in the order of (file, start).
    """
    count = len(file)
    if count == 0:
        return np.empty(0, np.int64)
    order = np.lexsort((end, start, file))
    sorted_file, sorted_start, sorted_end = file[order], start[order], end[order]
    new_file = np.empty(count, bool)
    new_file[0] = True
    np.not_equal(sorted_file[1:], sorted_file[:-1], out=new_file[1:])

    reach = np.empty(count, np.int64)
    bounds = [*np.flatnonzero(new_file).tolist(), count]
    for first, last in pairwise(bounds):
        np.maximum.accumulate(sorted_end[first:last], out=reach[first:last])

    new_run = new_file.copy()
    new_run[1:] |= sorted_start[1:] - reach[:-1] > max_gap_bytes
    run_start = sorted_start[np.flatnonzero(new_run)][np.cumsum(new_run) - 1]
    cut = (sorted_start - run_start) // max_request_bytes
    new_request = new_run
    new_request[1:] |= cut[1:] != cut[:-1]

    numbers = np.empty(count, np.int64)
    numbers[order] = np.cumsum(new_request) - 1
    return numbers


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


@dataclass(frozen=True, slots=True)
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
    rows: tuple[int, ...]
    mask_tile: MaskTile | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _PieceTable:
    """All pieces of a plan as columns, in the order of the requests.

    Attributes:
        asset_no, offset, nbytes: as in `Piece`.
        mask: number of the mask tile in `mask_tiles`, `_IMAGE` for image tiles.
        rows: plan rows by piece.
        mask_tiles: of the plan.
    """

    asset_no: Numbers
    offset: Numbers
    nbytes: Numbers
    mask: Numbers
    rows: Ragged
    mask_tiles: MaskTiles

    def piece(self, number: int) -> Piece:
        """Make the value of one piece."""
        mask = int(self.mask[number])
        return Piece(
            "image" if mask == _IMAGE else "mask",
            int(self.asset_no[number]),
            int(self.offset[number]),
            int(self.nbytes[number]),
            tuple(self.rows[number].tolist()),
            None if mask == _IMAGE else self.mask_tiles[mask],
        )


class _Pieces(Sequence[Piece]):
    """Some consecutive pieces of a table. Values are made when they are wanted: a plan may have millions."""

    __slots__ = ("_end", "_first", "_table")

    def __init__(self, table: _PieceTable, first: int, end: int) -> None:
        self._table, self._first, self._end = table, first, end

    def __len__(self) -> int:
        return self._end - self._first

    @overload
    def __getitem__(self, number: int) -> Piece: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Piece]: ...

    def __getitem__(self, number: int | slice) -> Piece | Sequence[Piece]:
        found = range(self._first, self._end)[number]
        return self._table.piece(found) if isinstance(found, int) else [self._table.piece(each) for each in found]


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes `start` to `end` (exclusive) of a file, and the encoded tiles that lie in them.

    `first_row` is the first plan row that waits for it.
    """

    address: str
    identity: FileIdentity
    start: int
    end: int
    pieces: Sequence[Piece]
    first_row: int = 0

    @property
    def nbytes(self) -> int:
        """Length of the range."""
        return self.end - self.start


def needs_image(plan: TilePlan, *, pixels: bool, mask: bool) -> npt.NDArray[np.bool_]:
    """Say which rows need their image tile: for its pixels, or to find the valid ones among them."""
    if pixels:
        return np.ones(len(plan), bool)
    needed: npt.NDArray[np.bool_] = (plan.mask_kind != MaskKind.NONE) & (plan.mask_count == 0)
    return needed if mask else np.zeros(len(plan), bool)


def pieces_per_row(plan: TilePlan, *, pixels: bool, mask: bool) -> Numbers:
    """Count the pieces that each row of a plan waits for."""
    image = needs_image(plan, pixels=pixels, mask=mask) & (plan.tile_byte_count > 0)
    if not mask or not len(plan.mask_tiles):
        return image.astype(np.int64)
    is_there = plan.mask_tiles.nbytes[spread(plan.mask_first, plan.mask_count)] > 0
    ends = bounds_of(is_there)[bounds_of(plan.mask_count)]
    pieces: Numbers = image.astype(np.int64) + np.diff(ends)
    return pieces


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """How far the rows that one request serves may lie from each other: all of them wait in memory for the first.

    Attributes:
        starts: bytes of the decoded rows before each row of a plan.
        max_bytes: between the first and the last row of a request. Rows of one tile may lie further apart.
    """

    starts: Numbers
    max_bytes: int

    def cut(self, request: Numbers, row: Numbers) -> Numbers:
        """Number requests anew, so that none of them reaches too far.

        Args:
            request: the request of each piece.
            row: the first row of each piece.
        """
        at = self.starts[row]
        low = np.full(int(request.max()) + 1, np.iinfo(np.int64).max)
        high = np.zeros_like(low)
        np.minimum.at(low, request, at)
        np.maximum.at(high, request, at)
        is_far = high - low > self.max_bytes
        if not is_far.any():
            return request
        window = np.where(is_far[request], at // self.max_bytes, 0)
        order = np.lexsort((window, request))
        is_new = (np.diff(request[order], prepend=-1) != 0) | (np.diff(window[order], prepend=-1) != 0)
        numbers = np.empty_like(request)
        numbers[order] = np.cumsum(is_new) - 1
        return numbers


def plan_requests(plan: TilePlan, *, pixels: bool, mask: bool, reach: Reach | None = None) -> list[Request]:
    """Make the requests that fetch the tiles of a plan.

    Args:
        plan: the tiles.
        pixels: whether pixels are wanted.
        mask: whether masks are wanted.
        reach: bounds the rows of a request; None where the memory of all rows is there anyway.

    Returns:
        The requests, in the order of the first row that needs each. Sparse tiles need none.
    """
    table = _pieces(plan, pixels=pixels, mask=mask)
    if not len(table.offset):
        return []
    # A file that was indexed twice, before and after it changed, is two: each is asked for by its own identity.
    files: dict[tuple[str, FileIdentity], int] = {}
    keys = np.array([files.setdefault((asset.address, asset.identity), len(files)) for asset in plan.assets], np.int64)
    start, end = table.offset, table.offset + table.nbytes
    request = coalesce(keys[table.asset_no], start, end)
    if reach is not None:
        request = reach.cut(request, table.rows.values[table.rows.bounds[:-1]])
    order = np.argsort(request, kind="stable")
    firsts = np.flatnonzero(np.diff(request[order], prepend=-1))
    first_rows = np.minimum.reduceat(table.rows.values[table.rows.bounds[:-1]][order], firsts)
    table = _PieceTable(
        table.asset_no[order], start[order], table.nbytes[order], table.mask[order], table.rows.take(order),
        table.mask_tiles,
    )  # fmt: skip
    starts, ends = np.minimum.reduceat(start[order], firsts), np.maximum.reduceat(end[order], firsts)
    bounds = np.append(firsts, len(order))
    # Requests that wait for one row come as their pieces do.
    by_row = np.lexsort((order[firsts], first_rows))
    requests = []
    for number in by_row.tolist():
        first, last = int(bounds[number]), int(bounds[number + 1])
        asset = plan.assets[table.asset_no[first]]
        requests.append(
            Request(
                asset.address, asset.identity, int(starts[number]), int(ends[number]), _Pieces(table, first, last),
                int(first_rows[number]),
            )
        )  # fmt: skip
    return requests


def _pieces(plan: TilePlan, *, pixels: bool, mask: bool) -> _PieceTable:
    """Find the pieces of a plan, in the order in which rows first need them; of a row its image comes first."""
    image = np.flatnonzero(needs_image(plan, pixels=pixels, mask=mask) & (plan.tile_byte_count > 0))
    row, number = image, np.full(len(image), _IMAGE, np.int64)
    tile_row, tile_col = plan.tile_row[image], plan.tile_col[image]
    offset, nbytes = plan.tile_offset[image], plan.tile_byte_count[image]
    if mask and plan.mask_count.any():
        masks = plan.mask_tiles
        numbers = spread(plan.mask_first, plan.mask_count)
        is_there = masks.nbytes[numbers] > 0
        numbers, owners = numbers[is_there], np.repeat(np.arange(len(plan)), plan.mask_count)[is_there]
        row, number = np.concatenate([row, owners]), np.concatenate([number, numbers])
        tile_row = np.concatenate([tile_row, masks.tile_row[numbers]])
        tile_col = np.concatenate([tile_col, masks.tile_col[numbers]])
        offset = np.concatenate([offset, masks.offset[numbers]])
        nbytes = np.concatenate([nbytes, masks.nbytes[numbers]])
        order = np.argsort(row, kind="stable")
        row, number, offset, nbytes = row[order], number[order], offset[order], nbytes[order]
        tile_row, tile_col = tile_row[order], tile_col[order]
    # Tiles of one file may share their bytes; each is still decoded for its own place.
    kind = plan.asset_no[row] * 2 + (number != _IMAGE)
    place = (tile_row.astype(np.int64) << 32) | tile_col
    order = np.lexsort((place, offset, kind))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(kind[order]) != 0) | (np.diff(offset[order]) != 0) | (np.diff(place[order]) != 0)
    # Sorting keeps the order of what is equal, so the first of each group is its first row.
    groups = Ragged(order, np.append(np.flatnonzero(new), len(order)))
    by_need = np.argsort(order[new], kind="stable")
    groups = groups.take(by_need)
    first = order[new][by_need]
    rows = Ragged(row[groups.values], groups.bounds)
    return _PieceTable(plan.asset_no[row[first]], offset[first], nbytes[first], number[first], rows, plan.mask_tiles)
