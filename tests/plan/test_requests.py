"""Plans to requests and pieces, held against a plain loop; plans that are cut and sent elsewhere keep their masks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.io.identity import UNKNOWN, FileIdentity
from rasteret_sql.plan.requests import pieces_per_row, plan_requests
from rasteret_sql.plan.tile_plan import MaskKind, MaskTile, TilePlan
from tests.support.plans import File, masks_of, plan_of_rows

FILES = (
    File("a", UNKNOWN), File("b", FileIdentity("1")), File("b", FileIdentity("1", 9)), File("a", UNKNOWN)
)  # fmt: skip
MASKS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 5000).map(lambda n: n * 997), st.integers(0, 300)),
    max_size=3,
)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 40).map(lambda n: n * 70_000),
        st.integers(0, 90_000), st.sampled_from([MaskKind.NONE, MaskKind.NODATA, MaskKind.MASK]), MASKS,
    ),
    max_size=30,
)  # fmt: skip


def _plan(rows: list[Any]) -> TilePlan:
    return plan_of_rows(FILES, rows)


def _expected(plan: TilePlan, *, pixels: bool, mask: bool) -> dict[Any, list[int]]:
    """Give the rows of each piece, by file, place and bytes, in the order in which rows need them."""
    found: dict[Any, list[int]] = {}
    for row in range(len(plan)):
        asset, place = int(plan.asset_no[row]), (int(plan.tile_row[row]), int(plan.tile_col[row]))
        kind, own = plan.mask_kind[row], masks_of(plan, row)
        if plan.tile_byte_count[row] and (pixels or (mask and kind != MaskKind.NONE and not own)):
            found.setdefault(("image", asset, int(plan.tile_offset[row]), place), []).append(row)
        for tile in own if mask else ():
            if tile.nbytes:
                found.setdefault(("mask", asset, tile.offset, (tile.tile_row, tile.tile_col)), []).append(row)
    return found


@given(ROWS, st.booleans(), st.booleans())
def test_pieces_are_those_of_a_plain_loop(rows: list[Any], pixels: bool, mask: bool) -> None:
    plan = _plan(rows)
    expected = _expected(plan, pixels=pixels, mask=mask)
    requests = plan_requests(plan, pixels=pixels, mask=mask)
    found = {}
    for request in requests:
        for piece in request.pieces:
            tile = piece.mask_tile
            row = piece.rows[0]
            place = (int(plan.tile_row[row]), int(plan.tile_col[row])) if tile is None else tile[:2]
            found[piece.kind, piece.asset_no, piece.offset, place] = list(piece.rows)
            file = FILES[piece.asset_no]
            assert (request.address, request.identity) == (file.address, file.identity)
            assert request.start <= piece.offset
            assert piece.offset + piece.nbytes <= request.end
        assert request.first_row == min(piece.rows[0] for piece in request.pieces)
        assert request.start == min(piece.offset for piece in request.pieces)
    assert found == expected
    assert [request.first_row for request in requests] == sorted(request.first_row for request in requests)
    counts = np.bincount([row for each in expected.values() for row in each], minlength=len(plan))
    # Mask tiles that a row names twice are one piece of it.
    assert (pieces_per_row(plan, pixels=pixels, mask=mask) >= counts[: len(plan)]).all()


@given(ROWS, st.data())
def test_a_part_of_a_plan_keeps_its_masks_when_it_is_sent(rows: list[Any], data: st.DataObject) -> None:
    plan = _plan(rows)
    taken = data.draw(st.lists(st.integers(0, max(len(plan) - 1, 0)), max_size=8 if len(plan) else 0))
    part = plan.take(np.array(taken, np.int64))
    sent = pickle.loads(pickle.dumps(part))
    assert [masks_of(sent, row) for row in range(len(sent))] == [masks_of(plan, row) for row in taken]
    assert sent.tile_offset.tolist() == plan.tile_offset[taken].tolist() if taken else not len(sent)
    assert len(sent.mask_tiles) == sum(len(masks_of(plan, row)) for row in taken)
    assert all(isinstance(tile, MaskTile) for row in range(len(sent)) for tile in masks_of(sent, row))
