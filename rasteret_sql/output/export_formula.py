"""A formula over bands as the one band of an export."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.export_blocks import Block, BlockReader
from rasteret_sql.plan.cube import CubeBand
from rasteret_sql.plan.expressions import looks_like_expression, parse_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.arrays.failures import Failures
    from rasteret_sql.plan.cube import Cube
    from rasteret_sql.plan.expressions import Expression

_DTYPE = np.dtype(np.float32)


def plan_with_formula(
    bands: Any, plan: Callable[[Any], PlannedCube], *, kind: str, mosaic: str
) -> tuple[PlannedCube, Expression | None]:
    """Plan an export of bands, or of the bands of a formula; a band that is named like a formula is a band.

    Args:
        bands: as for `export`.
        plan: plans an export of some bands.
        kind: the suffix of the file, without the dot.
        mosaic: rule for overlapping items.

    Raises:
        InvalidArgumentError: the formula cannot be parsed or written, or a plan fails.
    """
    labels = [bands] if isinstance(bands, str) else bands
    if not isinstance(labels, (list, tuple)) or not any(looks_like_expression(label) for label in labels):
        return plan(bands), None
    try:
        return plan(labels), None
    except InvalidArgumentError:
        if len(labels) > 1:
            raise
    formula = parse_expression(labels[0])
    if kind not in {"tif", "parquet"}:
        raise InvalidArgumentError(
            f"bands: got the expression {formula.text!r} for .{kind}, expected it for .tif or .parquet; compute it "
            "from the dataset of to_xarray"
        )
    if mosaic == "count":
        raise InvalidArgumentError(f"mosaic: got 'count' with the expression {formula.text!r}, expected another one")
    planned = plan(list(formula.bands))
    _check_bands(formula, [band.name for band in planned.cube.bands])
    return planned, formula


def _check_bands(formula: Expression, names: Sequence[str]) -> None:
    if list(formula.bands) != list(names):
        unclear = next((band for band in formula.bands if band not in names), formula.bands[0])
        raise InvalidArgumentError(
            f"bands: got {unclear!r} in {formula.text!r}, which is not one band, expected some of {', '.join(names)}"
        )


def with_formula(planned: PlannedCube, formula: Expression) -> PlannedCube:
    """Give a cube whose one band is a formula, float32, NaN where a band has no value: it describes what is written."""
    first = planned.cube.bands[0]
    band = CubeBand(
        name=formula.text,
        source_dtype=_DTYPE,
        dtype=_DTYPE,
        nodata=np.nan,
        fill=np.nan,
        is_filled=True,
        has_mask=False,
        mask_kinds=frozenset(),
        scale=None,
        offset=None,
        unit=None,
        method=first.method,
        mosaic=first.mosaic,
    )
    return replace(planned, cube=replace(planned.cube, bands=(band,)))


class FormulaReader(BlockReader):
    """Reads the bands of a formula block by block, and gives its values, computed from physical values.

    Args:
        cube: the bands of the formula, in its order.
        formula: what is computed.
        failures: decides about files that cannot be read.
    """

    def __init__(self, cube: Cube, formula: Expression, failures: Failures) -> None:
        super().__init__(cube, failures, mask_and_scale=True)
        self._formula = formula
        self._all = range(len(cube.bands))

    def dtype(self, place: int) -> np.dtype[Any]:  # noqa: ARG002 - there is one band
        """Give the dtype that the formula is written in."""
        return _DTYPE

    def side(self, places: Sequence[int], tile: int) -> int:  # noqa: ARG002 - all bands are read
        """Choose the side of blocks."""
        return super().side(self._all, tile)

    def read(self, group: int, places: Sequence[int], row_off: int, col_off: int, side: int) -> Block:  # noqa: ARG002
        """Read a block of all bands, and compute the formula."""
        block = super().read(group, self._all, row_off, col_off, side)
        bands = self._formula.bands
        values, mask = self._formula.compute_masked(
            dict(zip(bands, block.pixels, strict=True)), dict(zip(bands, block.masks, strict=True))
        )
        return Block(row_off, col_off, [np.where(mask, values, np.nan).astype(_DTYPE)], [mask])
