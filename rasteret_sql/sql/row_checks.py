"""Checks of index rows against themselves, before a read trusts their numbers: they may come from any table."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import InvalidIndexError
from rasteret_sql.plan.ragged import bounds_of
from rasteret_sql.plan.tile_bytes import RUN_TILES
from rasteret_sql.tiff.model import TileFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.bands import IndexBand
    from rasteret_sql.plan.ragged import Ragged
    from rasteret_sql.plan.tile_bytes import LevelBytes, TileBytes
    from rasteret_sql.plan.tile_plan import PlannedBand

    Numbers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

#: Lists, beside those of plans, that the check of levels needs: sizes of masks, and numbers of byte counts.
CHECKED_LEVELS: Final = (
    ("level_tiles", "coalesce(len(rst_level.tile_byte_counts), -1)"),
    ("mask_width", "coalesce(rst_level.mask.width, 0)"),
    ("mask_height", "coalesce(rst_level.mask.height, 0)"),
    ("mask_tiles", "coalesce(len(rst_level.mask.tile_byte_counts), 0)"),
)
_TRANSFORM: Final = ("x_size", "x_skew", "x_off", "y_skew", "y_size", "y_off")
#: Tiles whose bytes are checked at a time; what is computed of each takes 200 bytes.
_TILES_AT_ONCE: Final = 1 << 18
#: Bits of one sample, at most: complex128.
_MAX_BITS: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class RowNames:
    """The names of rows, for messages.

    Attributes:
        items, assets: ids of items and keys of assets, one of each row.
        remedy: what a message recommends.
    """

    items: Sequence[str | None]
    assets: Sequence[str | None]
    remedy: str = "correct the row, or build the index again"

    def fault(self, row: int, column: str, got: object, expected: str) -> InvalidIndexError:
        """Give the error of a row whose column does not fit the others."""
        return InvalidIndexError(
            f'asset "{self.assets[row]}" of item {self.items[row]}: {column} is {got}, expected {expected}; '
            f"{self.remedy}"
        )

    def require(self, is_right: Flags, rows: Numbers, column: str, got: npt.NDArray[Any], expected: str) -> None:
        """Refuse the first value that is not right.

        Args:
            is_right: one flag for each value.
            rows: the row of each value.
            column: name of the column of the index.
            got: the values.
            expected: what they should be.

        Raises:
            InvalidIndexError: a value is not right.
        """
        if not is_right.all():
            first = int(np.argmin(is_right))
            raise self.fault(int(rows[first]), column, got[first], expected)


def check_transforms(names: RowNames, rows: Mapping[str, np.ma.MaskedArray[Any, Any]]) -> None:
    """Refuse transforms that are not six finite numbers of a grid without rotation; NULL is none.

    Args:
        names: of the rows.
        rows: the numbers of each transform, and their count as `transform_length`.

    Raises:
        InvalidIndexError: a transform is not such.
    """
    lengths = np.ma.filled(rows["transform_length"].astype(np.int64), -1)
    numbers = np.stack([np.ma.filled(rows[name].astype(np.float64), np.nan) for name in _TRANSFORM], axis=1)
    is_right = (lengths == len(_TRANSFORM)) & np.isfinite(numbers).all(axis=1)
    is_right &= (numbers[:, [0, 4]] != 0).all(axis=1) & (numbers[:, [1, 3]] == 0).all(axis=1)
    wrong = np.flatnonzero(~is_right & (lengths != -1))
    if len(wrong):
        first = int(wrong[0])
        shown = [None if np.isnan(number) else number for number in numbers[first].tolist()]
        expected = "six finite numbers (a, 0, c, 0, e, f) with a pixel size a and e other than 0, or NULL"
        raise names.fault(first, "transform", f"{shown} ({lengths[first]} numbers)", expected)


def check_kind(
    names: RowNames, row: int, formats: Sequence[Mapping[str, Any]] | None, bands: Sequence[IndexBand | PlannedBand]
) -> None:
    """Refuse formats and bands that no file has.

    Args:
        names: of the rows.
        row: one of those that have the formats and bands.
        formats: structs of the column `formats`.
        bands: of the column `bands`.

    Raises:
        InvalidIndexError: a format or a band is none.
    """
    optional = {"jpeg_tables", "ycbcr_subsampling", "codec_parameters"}
    for number, each in enumerate(formats or (), 1):
        if each is None:
            raise names.fault(row, f"formats[{number}]", "NULL", "the format of a level")
        for field in fields(TileFormat):
            if each[field.name] is None and field.name not in optional:
                raise names.fault(row, f"formats[{number}].{field.name}", "NULL", "a value")
        for name in ("tile_width", "tile_height", "samples_per_pixel", "bits_per_sample"):
            if each[name] < 1:
                raise names.fault(row, f"formats[{number}].{name}", each[name], "1 or more")
        if each["bits_per_sample"] > _MAX_BITS:
            raise names.fault(row, f"formats[{number}].bits_per_sample", each["bits_per_sample"], f"1 to {_MAX_BITS}")
        if each["byte_order"] not in {"little", "big"}:
            raise names.fault(row, f"formats[{number}].byte_order", repr(each["byte_order"]), "'little' or 'big'")
        if not _is_dtype(each["dtype"]):
            raise names.fault(row, f"formats[{number}].dtype", repr(each["dtype"]), "a numeric dtype such as 'uint16'")
    numbers = [band.band for band in bands]
    if not numbers or None in numbers or len(set(numbers)) < len(numbers):
        raise names.fault(row, "bands", f"of the numbers {numbers}", "one or more bands, each number once")


def _is_dtype(name: str) -> bool:
    try:
        return np.dtype(name).kind in "uifcb" and np.dtype(name).name == name
    except TypeError:
        return False


def check_levels(
    names: RowNames,
    levels: Mapping[str, Ragged],
    kind: Numbers,
    formats: Sequence[Sequence[TileFormat]],
    bands: Sequence[Sequence[IndexBand]],
) -> None:
    """Refuse levels whose sizes, formats and numbers of byte counts contradict each other.

    The number of byte counts bounds the size of an image, so no plan of a row that passes is larger than the row.

    Args:
        names: of the rows.
        levels: the lists of `LEVEL_NUMBERS` and `CHECKED_LEVELS`, one of each row.
        kind: which of `formats` and `bands` each row has.
        formats, bands: of each kind.

    Raises:
        InvalidIndexError: a level contradicts itself, or the bands are not those of its samples.
    """
    lengths = levels["level_width"].lengths
    rows = np.arange(len(lengths))
    names.require(lengths > 0, rows, "levels", lengths, "level 0 and its overviews")
    owner = np.repeat(rows, lengths)
    first = levels["level_width"].bounds[:-1]
    for name in ("width", "height"):
        values = levels[f"level_{name}"].values
        names.require(values >= 1, owner, f"levels.{name}", values, "1 or more pixels")
        names.require(values <= values[first][owner], owner, f"levels.{name}", values, f"the {name} of level 0 at most")
    counts = np.array([len(each) for each in formats], np.int64)
    sizes = np.array(
        [
            (each.tile_width, each.tile_height, each.samples_per_pixel if each.planar else 1, each.samples_per_pixel)
            for known in formats
            for each in known
        ],
        np.int64,
    ).reshape(-1, 4)
    first_format = bounds_of(counts)[kind][owner] - 1
    number = levels["level_format"].values
    is_known = (number >= 1) & (number <= counts[kind][owner])
    names.require(is_known, owner, "levels.format", number, "the number of one of formats, from 1")
    image = sizes[first_format + number]
    _check_counts(names, owner, levels, "level", image)
    number = levels["level_mask_format"].values
    has_mask = (levels["mask_width"].values != 0) | (levels["mask_tiles"].values != 0) | (number != 0)
    is_known = ~has_mask | ((number >= 1) & (number <= counts[kind][owner]))
    names.require(is_known, owner, "levels.mask.format", number, "the number of one of formats, from 1")
    if has_mask.any():
        mask = {name: column.values[has_mask] for name, column in levels.items() if name.startswith("mask_")}
        _check_counts(names, owner[has_mask], mask, "mask", sizes[first_format[has_mask] + number[has_mask]])
    largest = np.array([max(band.band for band in each) for each in bands], np.int64)[kind]
    smallest = np.array([min(band.band for band in each) for each in bands], np.int64)[kind]
    samples = image[first, 3]
    names.require(smallest >= 1, rows, "bands.band", smallest, "1 or more")
    names.require(largest <= samples, rows, "bands.band", largest, "a number within samples_per_pixel of formats")


def _check_counts(
    names: RowNames, owner: Numbers, levels: Mapping[str, Any], part: str, sizes: npt.NDArray[np.int64]
) -> None:
    """Refuse images with other numbers of byte counts than their sizes need."""
    width, height, tiles = (getattr(levels[f"{part}_{name}"], "values", levels[f"{part}_{name}"]) for name in _SIZES)
    # As floats: sizes of a row that is wrong may overflow.
    needed = np.ceil(width / sizes[:, 0]) * np.ceil(height / sizes[:, 1]) * sizes[:, 2]
    wrong = np.flatnonzero(tiles != needed)
    if len(wrong):
        first = int(wrong[0])
        column = "levels.tile_byte_counts" if part == "level" else "levels.mask.tile_byte_counts"
        raise names.fault(
            int(owner[first]),
            column,
            "NULL" if tiles[first] < 0 else f"a list of {tiles[first]} numbers",
            f"{needed[first]:.0f}: one for each tile of {sizes[first, 0]} x {sizes[first, 1]} pixels of an image of "
            f"{width[first]} x {height[first]}",
        )


_SIZES: Final = ("width", "height", "tiles")


def check_bytes(names: RowNames, rows: Numbers, file_size: Numbers, found: LevelBytes) -> None:
    """Refuse tiles that lie outside of their files.

    Args:
        names: of all rows.
        rows: the row of each level of `found`.
        file_size: bytes of the file of each row; -1 where unknown.
        found: where the tiles lie.

    Raises:
        InvalidIndexError: an offset or a byte count is NULL, negative or missing, or a tile ends behind its file.
    """
    for part, tiles in (("levels", found.image), ("levels.mask", found.mask)):
        counts = tiles.counts.lengths
        runs = -(-counts // RUN_TILES)
        lengths = tiles.run_offsets.lengths
        names.require(lengths == runs, rows, f"{part}.run_offsets", lengths, f"one for every {RUN_TILES} tiles")
        lengths = tiles.gaps.lengths
        is_right = (counts == 0) | (lengths == 1) | (lengths == counts)
        names.require(is_right, rows, f"{part}.tile_gaps", lengths, "one number, or one for each tile")
        values, owner = tiles.counts.values, np.repeat(rows, counts)
        names.require(values >= 0, owner, f"{part}.tile_byte_counts", values, "0 or more bytes")
        _check_ends(names, owner, file_size, f"{part}.run_offsets", tiles)


def _check_ends(names: RowNames, owner: Numbers, file_size: Numbers, column: str, tiles: TileBytes) -> None:
    bounds = tiles.counts.bounds
    levels = np.repeat(np.arange(len(tiles.counts)), tiles.counts.lengths)
    for first in range(0, len(levels), _TILES_AT_ONCE):
        level = levels[first : first + _TILES_AT_ONCE]
        offset, count = tiles.locate(level, np.arange(first, first + len(level)) - bounds[level])
        rows = owner[first : first + len(level)]
        is_there = count > 0
        names.require(~is_there | (offset >= 0), rows, column, offset, "offsets of 0 or more")
        size = file_size[rows]
        is_within = ~is_there | (size < 0) | (offset <= size - count)
        names.require(is_within, rows, column, offset, "tiles that end within file_size")
