"""The files of a query with all of their levels, as columns: in memory for a read, mapped from disk for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.plan.ragged import Ragged, bounds_of, spread
from rasteret_sql.plan.tile_bytes import LevelBytes, TileBytes
from rasteret_sql.plan.tile_plan import PlannedAsset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import Transform
    from rasteret_sql.plan.tile_plan import PlannedBand
    from rasteret_sql.tiff.ghost import Frames
    from rasteret_sql.tiff.model import TileFormat

    Numbers = npt.NDArray[np.int64]

#: Columns of a file that are texts.
TEXTS: Final = ("collection", "item_id", "asset", "href", "address", "etag")
#: Columns of a file that are numbers. `crs` and `kind` count in lists; a transform that is not known is NaN. A size
#: or time of change that is not known, or is not compared, is negative or `NO_TIME`.
NUMBERS: Final = (
    "datetime_us", "crs", "kind", "x_size", "x_off", "y_size", "y_off", "start_us", "end_us", "first_level",
    "level_count", "file_size", "modified_us",
)  # fmt: skip
#: Columns of a level; formats count from 1 in those of the kind, and a mask format of 0 is none.
LEVEL_NUMBERS: Final = ("level_width", "level_height", "level_format", "level_mask_format")
#: Columns of tiles, each with the bounds of its levels: see `TileBytes`.
TILE_NUMBERS: Final = ("counts", "run_offsets", "gaps", "mask_counts", "mask_run_offsets", "mask_gaps")
#: A `datetime_us` that is not known. Of `start_us` and `end_us` those of an open period stand for it.
NO_TIME: Final = int(np.iinfo(np.int64).min)
#: An overview may have pixels larger than asked for by this factor: sizes are rounded.
_SIZE_TOLERANCE: Final = 1.000001
#: Levels of files that a process keeps as values.
_KNOWN_ASSETS: Final = 8192


@dataclass(frozen=True, slots=True)
class Kind:
    """Properties shared by many files.

    Attributes:
        frames: what lies around each tile.
        formats: of levels and masks; levels count in them from 1.
        bands: what is read of such a file.
        alpha_band: number of its alpha band, or None.
    """

    frames: Frames
    formats: tuple[TileFormat, ...]
    bands: tuple[PlannedBand, ...]
    alpha_band: int | None


class Files:
    """The files of a query, with all of their levels.

    Args:
        columns: `TEXTS`, `NUMBERS` and `LEVEL_NUMBERS`; and `TILE_NUMBERS` with `_bounds` for what plans any window.
        kinds: what the `kind` column counts in.
        crs: what the `crs` column counts in: authority codes, WKT2, or None.
    """

    def __init__(self, columns: Mapping[str, Any], kinds: Sequence[Kind], crs: Sequence[str | None]) -> None:
        self.columns, self.kinds, self.crs = columns, tuple(kinds), tuple(crs)
        self._assets: dict[tuple[int, int], PlannedAsset] = {}

    def __reduce__(self) -> tuple[Callable[..., Files], tuple[Any, ...]]:
        """Pickle the columns; those on disk are their path."""
        return Files, (self.columns, self.kinds, self.crs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Files:
        """Give the same files."""
        return self

    def __len__(self) -> int:
        """Count them."""
        return len(self.columns["kind"])

    def column(self, name: str) -> npt.NDArray[Any]:
        """Give a column of numbers."""
        found: npt.NDArray[Any] = self.columns[name]
        return found

    def texts(self, name: str) -> Sequence[str | None]:
        """Give a column of texts."""
        found: Sequence[str | None] = self.columns[name]
        return found

    def kind(self, number: int) -> Kind:
        """Give what a file shares with others."""
        return self.kinds[int(self.column("kind")[number])]

    @property
    def level_bytes(self) -> LevelBytes:
        """Where the tiles of all levels lie."""
        lists = [Ragged(self.column(name), self.column(f"{name}_bounds")) for name in TILE_NUMBERS]
        return LevelBytes(TileBytes(*lists[:3]), TileBytes(*lists[3:]))

    def slots(self, numbers: Numbers, levels: Numbers) -> Numbers:
        """Give the rows of levels in the columns of levels, and so in `level_bytes`."""
        found: Numbers = self.column("first_level")[numbers] + levels
        return found

    def tile_sizes(self, numbers: Numbers, levels: Numbers) -> Numbers:
        """Give (height, width) of the tiles of levels, in pixels; shape (n, 2)."""
        sizes = np.array(
            [(form.tile_height, form.tile_width) for kind in self.kinds for form in kind.formats], np.int64
        ).reshape(-1, 2)
        first = bounds_of(np.array([len(kind.formats) for kind in self.kinds], np.int64))
        forms = self.column("level_format")[self.slots(numbers, levels)]
        found: Numbers = sizes[first[self.column("kind")[numbers]] + forms - 1]
        return found

    def tile_counts(self, numbers: Numbers, levels: Numbers) -> Numbers:
        """Give how many tiles levels have, without planes."""
        slots, sizes = self.slots(numbers, levels), self.tile_sizes(numbers, levels)
        counts: Numbers = -(-self.column("level_width")[slots] // sizes[:, 1])
        return counts * -(-self.column("level_height")[slots] // sizes[:, 0])

    def coarsest(self, numbers: Numbers, sizes: npt.NDArray[np.float64]) -> Numbers:
        """Choose levels: the coarsest whose pixels are no larger than a size in x, or else the finest.

        Args:
            numbers: the files.
            sizes: the size for each, in units of its CRS.
        """
        first, counts = self.column("first_level")[numbers], self.column("level_count")[numbers]
        rows, owner = spread(first, counts), np.repeat(np.arange(len(numbers)), counts)
        widths = self.column("level_width")
        size = np.abs(self.column("x_size")[numbers])[owner] * widths[first][owner] / widths[rows]
        fits = np.where(size <= sizes[owner] * _SIZE_TOLERANCE, rows - first[owner], 0)
        levels = np.zeros(len(numbers), np.int64)
        np.maximum.at(levels, owner, fits)
        return levels

    def asset(self, number: int, level: int) -> PlannedAsset:
        """Give one level of a file, its window the whole level; what was given lately is the same object."""
        key = number, level
        asset = self._assets.get(key)
        if asset is None:
            if len(self._assets) >= _KNOWN_ASSETS:
                self._assets.clear()
            (asset,) = self.assets(np.array([number]), np.array([level]), [self.kind(number).bands])
            self._assets[key] = asset
        return asset

    def assets(
        self,
        numbers: Numbers,
        levels: Numbers,
        bands: Sequence[tuple[PlannedBand, ...]],
        windows: Numbers | None = None,
    ) -> tuple[PlannedAsset, ...]:
        """Give levels of files as values.

        Args:
            numbers: the files.
            levels: a level of each.
            bands: what is read of each.
            windows: (row_off, col_off, row_end, col_end) of each, shape (n, 4); None for whole levels.
        """
        first, rows = self.column("first_level")[numbers], self.slots(numbers, levels)
        widths, heights = self.column("level_width"), self.column("level_height")
        width, height = widths[rows], heights[rows]
        if windows is None:
            windows = np.stack([np.zeros_like(width), np.zeros_like(width), height, width], axis=1)
        x_size = self.column("x_size")[numbers] * widths[first] / width
        y_size = self.column("y_size")[numbers] * heights[first] / height
        grids = zip(
            self.column("crs")[numbers].tolist(), x_size.tolist(), self.column("x_off")[numbers].tolist(),
            y_size.tolist(), self.column("y_off")[numbers].tolist(), strict=True,
        )  # fmt: skip
        texts = zip(*([self.columns[name][number] for number in numbers.tolist()] for name in TEXTS), strict=True)
        known: dict[Any, Any] = {}
        found = []
        sizes, modified_us = (self.column(name)[numbers].tolist() for name in ("file_size", "modified_us"))
        versions = zip(sizes, modified_us, strict=True)
        for key, text, version, time, kind_no, level, (wide, tall), form, mask_form, each, window in zip(
            grids, texts, versions, self.column("datetime_us")[numbers].tolist(), self.column("kind")[numbers].tolist(),
            levels.tolist(), zip(width.tolist(), height.tolist(), strict=True),
            self.column("level_format")[rows].tolist(), self.column("level_mask_format")[rows].tolist(), bands,
            windows.tolist(), strict=True,
        ):  # fmt: skip
            kind = self.kinds[kind_no]
            # One object for all files on a grid: they are compared, and sent to other processes together. NaN, of a
            # transform that is not known, equals nothing.
            crs, transform = known.setdefault(key, (self.crs[key[0]], _transform(*key[1:])))
            collection, item_id, asset, href, address, etag = text
            # By position, in half the time: there may be a hundred thousand.
            found.append(
                PlannedAsset(
                    collection, item_id, asset, None if time == NO_TIME else time, href, address,
                    _identity(etag, *version), kind.frames, level, wide, tall, crs, transform, kind.formats[form - 1],
                    kind.formats[mask_form - 1] if mask_form else None, kind.alpha_band, each, *window,
                )
            )  # fmt: skip
        return tuple(found)


def _identity(etag: str | None, size: int, modified_us: int) -> FileIdentity:
    return FileIdentity(etag, None if size < 0 else size, None if modified_us == NO_TIME else modified_us / 1e6)


def _transform(x_size: float, x_off: float, y_size: float, y_off: float) -> Transform | None:
    return None if x_size != x_size else (x_size, 0.0, x_off, 0.0, y_size, y_off)  # noqa: PLR0124 - NaN
