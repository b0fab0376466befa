"""Bands that are computed of the bands of an item: where their pixels lie, and which tiles they need. Pure.

A formula has the grid of the finest of its bands. Each other band, and each band of the condition, is read at the pixel
in which the centre of the formula's pixel lies. A band that is read as it is keeps its grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import in_proj_thread, same_crs, shortened
from rasteret_sql.geo.touched import NOISE
from rasteret_sql.plan.cube import check_no_second, check_same_scaling
from rasteret_sql.plan.tile_plan import PlannedBand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.expressions import Expression
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.plan.tile_plan import Item, Lattice, PlannedAsset

    Numbers = npt.NDArray[np.int64]


class Source(NamedTuple):
    """A band of a file that a band of a result is made of; `asset_no` counts in the files."""

    asset_no: int
    band: PlannedBand


@dataclass(frozen=True, slots=True)
class Output:
    """A band of a result.

    Attributes:
        band: as results show it; its number is its place among the bands on its grid, from 1.
        own: the band that it is; None for a formula.
        expression: the formula, or None.
        inputs: what the formula and the condition need, by label.
    """

    band: PlannedBand
    own: Source | None
    expression: Expression | None
    inputs: Mapping[str, Source]

    @property
    def sources(self) -> list[Source]:
        """All bands that it needs."""
        return [*([] if self.own is None else [self.own]), *self.inputs.values()]

    @property
    def sources_of_values(self) -> list[Source]:
        """The bands that it needs where the condition is known to be true."""
        if self.own is not None:
            return [self.own]
        assert self.expression is not None
        return [self.inputs[label] for label in self.expression.bands]


@dataclass(frozen=True, slots=True, eq=False)
class DerivedBands:
    """The bands of a result.

    Attributes:
        files: the files that are read.
        formulas: what is computed.
        assets: the grids of results: a file that has the grid, with the bands on it. Item by item.
        hosts: number of that file, for each of them.
        outputs: what these bands are, for each of them.
    """

    files: Sequence[PlannedAsset]
    formulas: PixelFormulas
    assets: tuple[PlannedAsset, ...]
    hosts: Numbers
    outputs: tuple[tuple[Output, ...], ...]

    def check_scaling(self, group_of: Sequence[int], remedy: str) -> None:
        """Refuse formulas over stored values of different scales in one group.

        Args:
            group_of: a number for each of `assets`.
            remedy: what the message ends with.

        Raises:
            InvalidArgumentError: bands of one label have different scales or offsets.
        """
        first: dict[tuple[int, str], tuple[PlannedAsset, PlannedBand]] = {}
        for group, outputs in zip(group_of, self.outputs, strict=True):
            for output in outputs:
                for label, source in output.inputs.items():
                    part = self.files[source.asset_no], source.band
                    check_same_scaling(first.setdefault((group, label), part), part, remedy)


def derive(
    files: Sequence[PlannedAsset],
    given: Sequence[Sequence[PlannedBand]],
    needed: Sequence[Sequence[PlannedBand]],
    formulas: PixelFormulas,
    first_position: int = 1,
) -> DerivedBands:
    """Find the bands of each item.

    An item without a band of a formula has no such band, and an item without a band of the condition has none at all.

    Args:
        files: the files, those of an item side by side.
        given: bands of each file that are bands of the result.
        needed: bands of each file that formulas and the condition name; their positions are those of the labels.
        formulas: what is computed.
        first_position: of the formulas among the bands of the result.

    Raises:
        InvalidArgumentError: a label names several bands of an item, two files have one band of an item, a formula has
            the name of a band, or bands of an item have different CRSs.
    """
    _check_alone(files, given)
    _check_alone(files, needed)
    items: dict[Item, list[int]] = {}
    for asset_no, asset in enumerate(files):
        items.setdefault(asset.item, []).append(asset_no)
    assets, hosts, outputs = [], [], []
    for numbers in items.values():
        by_grid: dict[Lattice, list[tuple[int, Output]]] = {}
        for host, output in _outputs_of(files, numbers, given, needed, formulas, first_position):
            by_grid.setdefault(files[host].lattice, []).append((host, output))
        for found in by_grid.values():
            numbered = [
                replace(output, band=replace(output.band, band=number)) for number, (_, output) in enumerate(found, 1)
            ]
            host = found[0][0]
            assets.append(replace(files[host], bands=tuple(output.band for output in numbered)))
            hosts.append(host)
            outputs.append(tuple(numbered))
    return DerivedBands(files, formulas, tuple(assets), np.array(hosts, np.int64), tuple(outputs))


def _check_alone(files: Sequence[PlannedAsset], bands: Sequence[Sequence[PlannedBand]]) -> None:
    read = [replace(asset, bands=tuple(each)) for asset, each in zip(files, bands, strict=True) if each]
    check_no_second(read, attrgetter("item"), "href")


def _outputs_of(
    files: Sequence[PlannedAsset],
    numbers: Sequence[int],
    given: Sequence[Sequence[PlannedBand]],
    needed: Sequence[Sequence[PlannedBand]],
    formulas: PixelFormulas,
    first_position: int,
) -> list[tuple[int, Output]]:
    """Give the bands of an item, each with the file whose grid it has."""
    labels = formulas.labels
    known: dict[str, Source] = {}
    for number in numbers:
        for band in needed[number]:
            label = labels[band.position - 1]
            other = known.setdefault(label, Source(number, band))
            if other.band is not band:
                raise InvalidArgumentError(
                    f"{_part_with(label, formulas)}: got {label!r}, which names {other.band.name} and {band.name} of "
                    f"item {files[number].item_id}, expected one band; name it in full, in double quotes"
                )
    condition = {} if formulas.valid_where is None else _inputs(formulas.valid_where.bands, known)
    if condition is None:
        return []
    found = [
        (number, Output(band, Source(number, band), None, condition)) for number in numbers for band in given[number]
    ]
    names = {output.band.name for _, output in found}
    for position, (name, expression) in enumerate(formulas.expressions.items(), first_position):
        inputs = _inputs(expression.bands, known)
        if inputs is None:
            continue
        if name in names:
            raise InvalidArgumentError(
                f"expressions: got the name {name!r}, which a band of item {files[numbers[0]].item_id} has, expected "
                "another name"
            )
        host = min(inputs.values(), key=lambda source: files[source.asset_no].pixel_area).asset_no
        band = PlannedBand(1, name, position, None)
        found.append((host, Output(band, None, expression, {**inputs, **condition})))
    for host, output in found:
        for source in output.sources:
            check_one_crs(files[host], files[source.asset_no], " and ".join(what for what, _ in formulas.parts()))
    return found


def _inputs(labels: Sequence[str], known: Mapping[str, Source]) -> dict[str, Source] | None:
    """Give the bands of some labels; None where the item lacks one."""
    return {label: known[label] for label in labels} if all(label in known for label in labels) else None


def _part_with(label: str, formulas: PixelFormulas) -> str:
    return next(what for what, part in formulas.parts() if label in part.bands)


def check_one_crs(host: PlannedAsset, other: PlannedAsset, what: str) -> None:
    """Refuse files whose pixels are not found by their coordinates.

    Args:
        host, other: files of one item.
        what: the argument that needs both, for the message.

    Raises:
        InvalidArgumentError: they have different CRSs; or no grid, and different sizes.
    """
    if host.lattice[:4] == other.lattice[:4]:
        return
    is_placed = host.transform is not None and other.transform is not None and None not in {host.crs, other.crs}
    if not is_placed or not (host.crs == other.crs or in_proj_thread(same_crs)(host.crs, other.crs)):
        raise InvalidArgumentError(
            f'{what}: asset "{host.asset}" of item {host.item_id} has '
            f'{_grid_in_words(host)}, and asset "{other.asset}" {_grid_in_words(other)}; expected one CRS, in which '
            "pixels are found. Bring them onto one grid with rasteret_sql.to_xarray"
        )


def _grid_in_words(asset: PlannedAsset) -> str:
    if asset.crs is None or asset.transform is None:
        return f"no CRS or no transform, and {asset.height} x {asset.width} pixels"
    return str(shortened(asset.crs))


@dataclass(frozen=True, slots=True, eq=False)
class PixelsBelow:
    """The pixels of a file in which the centres of the pixels of another grid lie.

    Attributes:
        rows, cols: of the file's level, for each row and column of the grid; outside the level where there are none.
    """

    rows: Numbers
    cols: Numbers

    @classmethod
    def of(cls, host: PlannedAsset, other: PlannedAsset) -> PixelsBelow:
        """Find the pixels of `other` for the whole grid of `host`."""
        if host.lattice[:4] == other.lattice[:4]:
            return cls(np.arange(host.height), np.arange(host.width))
        assert host.transform is not None
        assert other.transform is not None
        (a, _, c, _, e, f), (own_a, _, own_c, _, own_e, own_f) = host.transform, other.transform
        return cls(
            _below(host.height, (f, e), (own_f, own_e)), _below(host.width, (c, a), (own_c, own_a))
        )  # fmt: skip

    def tiles(self, other: PlannedAsset, tile_row: int, tile_col: int, host: PlannedAsset) -> list[tuple[int, int]]:
        """Give (tile_row, tile_col) of the tiles of `other` that a tile of `host` needs."""
        form, own = host.format, other.format
        rows = self.rows[tile_row * form.tile_height : (tile_row + 1) * form.tile_height]
        cols = self.cols[tile_col * form.tile_width : (tile_col + 1) * form.tile_width]
        down = np.unique(rows[(rows >= 0) & (rows < other.height)] // own.tile_height)
        across = np.unique(cols[(cols >= 0) & (cols < other.width)] // own.tile_width)
        return [(row, col) for row in down.tolist() for col in across.tolist()]

    def is_inside(self, other: PlannedAsset, tile_row: int, tile_col: int, host: PlannedAsset) -> bool:
        """Whether each pixel of a tile of `host` lies in `other`."""
        form = host.format
        rows = self.rows[tile_row * form.tile_height : (tile_row + 1) * form.tile_height]
        cols = self.cols[tile_col * form.tile_width : (tile_col + 1) * form.tile_width]
        return bool(rows.min() >= 0 and rows.max() < other.height and cols.min() >= 0 and cols.max() < other.width)


def _below(count: int, axis: tuple[float, float], other: tuple[float, float]) -> Numbers:
    """Find the pixels of an axis (origin, size) in which the centres of pixels of another axis lie."""
    centres = axis[0] + axis[1] * (np.arange(count) + 0.5)
    # As points do: a centre on an edge lies in the pixel that begins there.
    found: Numbers = np.floor((centres - other[0]) / other[1] + NOISE).astype(np.int64)
    return found
