"""A formula over bands as the one band of an export."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.export_blocks import Block, BlockReader
from rasteret_sql.output.formula_values import item_values, put_together
from rasteret_sql.plan.cube import CubeBand, make_cube
from rasteret_sql.plan.expressions import looks_like_expression, parse_expression
from rasteret_sql.read.by_file import refuse_complex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    import numpy.typing as npt

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.arrays.failures import Failures
    from rasteret_sql.output.formula_values import Reading
    from rasteret_sql.plan.cube import Cube
    from rasteret_sql.plan.expressions import Expression

    class Plan(Protocol):
        """Plans an export of some bands; `is_by_item` as in `make_cube`."""

        def __call__(self, labels: Any, *, is_by_item: bool = False) -> PlannedCube:
            """Plan the export."""
            ...


_DTYPE = np.dtype(np.float32)
#: Bytes of a float64 and its mask.
_VALUE_BYTES = 9


def plan_with_formula(
    bands: Any, plan: Plan, *, kind: str, mosaic: str, refused: Mapping[str, Any]
) -> tuple[PlannedCube, Expression | None]:
    """Plan an export of bands, or of the bands of a formula; a band that is named like a formula is a band.

    Args:
        bands: as for `export`.
        plan: plans an export of some bands.
        kind: the suffix of the file, without the dot.
        mosaic: rule for overlapping items.
        refused: arguments of the caller by name that have no effect on a formula; None where they are not given.

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
    for name, value in refused.items():
        if value is not None:
            raise InvalidArgumentError(
                f"{name}: got {shown(value)} with the expression {formula.text!r}, expected none, since a formula is "
                "written as float32 with NaN where it has no value; leave it out"
            )
    planned = plan(list(formula.bands), is_by_item=True)
    refuse_complex(planned.cube.plan.assets)
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
    """Reads the bands of a formula block by block, and gives the mosaic of its values, each computed for one item.

    Args:
        cube: the bands of the formula.
        formula: what is computed.
        failures: decides about files that cannot be read.

    Raises:
        InvalidArgumentError: the items of a group share the bands of the formula, and none of them has all.
    """

    def __init__(self, cube: Cube, formula: Expression, failures: Failures) -> None:
        super().__init__(cube, failures)
        self._formula = formula
        self._mosaic = cube.bands[0].mosaic or "first"
        self._items = [_whole_items(cube, group, formula) for group in range(cube.group_count)]
        #: The group that was read last, and its items.
        self._open: tuple[int, list[tuple[Cube, BlockReader]]] = (-1, [])

    def dtype(self, place: int) -> np.dtype[Any]:  # noqa: ARG002 - there is one band
        """Give the dtype that the formula is written in."""
        return _DTYPE

    def read(self, group: int, places: Sequence[int], row_off: int, col_off: int, side: int) -> Block:  # noqa: ARG002
        """Read a block of all bands of each item, compute the formula, and put the items together."""
        box = self._cube.box
        shape = min(side, box.height - row_off), min(side, box.width - col_off)
        if self._open[0] != group:
            cubes = [_item_cube(self._cube, sources) for sources in self._items[group]]
            self._open = group, [(cube, BlockReader(cube, self._failures)) for cube in cubes]
        values, mask = put_together(
            self._mosaic,
            shape,
            (self._item(cube, reader, row_off, col_off, side) for cube, reader in self._open[1]),
        )
        with np.errstate(over="ignore"):
            written = values.astype(_DTYPE)
        # A value beyond float32 is infinite there.
        mask &= np.isfinite(written)
        written[~mask] = np.nan
        return Block(row_off, col_off, [written], [mask])

    def _item(self, cube: Cube, reader: BlockReader, row_off: int, col_off: int, side: int) -> Reading:
        block = reader.read(0, range(len(cube.bands)), row_off, col_off, side)
        return item_values(self._formula, cube, block.pixels, block.masks)

    def _pixel_bytes(self, places: Sequence[int]) -> int:  # noqa: ARG002 - all bands are read
        """Give the bytes of stored and physical values, and of results; a median holds those of all items."""
        results = max(map(len, self._items), default=1) if self._mosaic == "median" else 1
        stored = sum(band.source_dtype.itemsize for band in self._cube.bands)
        return stored + _VALUE_BYTES * (len(self._cube.bands) + results + 1)


def _whole_items(cube: Cube, group: int, formula: Expression) -> list[npt.NDArray[np.int64]]:
    """Give the sources of each item of a group that has all bands, in the order of the mosaic.

    Items whose bands do not overlap, such as one item for each band, make up one item.

    Raises:
        InvalidArgumentError: there are several items, and none has all bands.
    """
    sources, assets = cube.sources, cube.plan.assets
    members: dict[tuple[Any, ...], list[int]] = {}
    owners: dict[int, set[tuple[Any, ...]]] = {}
    start, end = np.searchsorted(sources.group, (group, group + 1)).tolist()
    for number in range(start, end):
        asset = assets[sources.asset_no[number]]
        members.setdefault(asset.item, []).append(number)
        owners.setdefault(int(sources.place[number]), set()).add(asset.item)
    if len(owners) == len(cube.bands) and all(len(items) == 1 for items in owners.values()):
        return [np.arange(start, end)]
    whole = [np.array(each) for each in members.values() if len(set(sources.place[each].tolist())) == len(cube.bands)]
    if not whole and len(members) > 1:
        raise InvalidArgumentError(
            f"bands: got the expression {formula.text!r} for a group of {len(members)} items, of which none has all of "
            f"{', '.join(formula.bands)}, expected an item with all; choose such items, or group them otherwise"
        )
    return whole


def _item_cube(cube: Cube, numbers: npt.NDArray[np.int64]) -> Cube:
    """Give the cube of some sources of one group, with the dtype and scale of their own files."""
    sources = cube.sources.take(numbers)
    rows = [np.arange(start, end) for start, end in zip(sources.start.tolist(), sources.end.tolist(), strict=True)]
    used, first = np.unique(sources.asset_no, return_index=True)
    return make_cube(
        cube.plan.take(np.concatenate(rows)).with_assets(used),
        cube.box,
        np.zeros(len(used), np.int64),
        first,
        mosaic="first" if len(numbers) > len(cube.bands) else None,
        resampling={band.name: band.method for band in cube.bands},
        clip=cube.clip,
    )
