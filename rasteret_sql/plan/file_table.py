"""The files of a query as columns on disk, mapped into memory: any window of any level is planned without SQL.

What reads for days, in many processes, plans once: the processes share the pages of one file, so that each costs
little, and a pickled table is its path.
"""

from __future__ import annotations

import os
import shutil
import weakref
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import AssetNotFoundError
from rasteret_sql.plan.tile_plan import MaskTile, PlannedAsset, TilePlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from rasteret_sql.plan.places import Window
    from rasteret_sql.plan.tile_plan import PlannedBand
    from rasteret_sql.tiff.ghost import Frames
    from rasteret_sql.tiff.model import TileFormat

#: Names of the two tables in the folder: a row per file, and one per level of each.
FILES: Final = "files.arrow"
LEVELS: Final = "levels.arrow"
#: Tiles of a run, which share an offset: those of the others are sums of at most so many numbers. `_rst_run_tiles` says
#: the same in SQL.
RUN_TILES: Final = 64
#: Levels of files that a process keeps as values.
_KNOWN_ASSETS = 8192


@dataclass(frozen=True, slots=True)
class Kind:
    """What many files have the same of.

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


class FileTable:
    """The files of a query, with all of their levels.

    Copies are the same table. The folder goes with the object that made it; a pickled one needs the folder where it is
    opened, so it serves the processes of one machine while the first is there.

    Args:
        folder: holds `FILES` and `LEVELS`.
        kinds: what the `kind` column counts in.
        is_owner: whether the folder goes with this object.
    """

    def __init__(self, folder: Path, kinds: tuple[Kind, ...], *, is_owner: bool = False) -> None:
        self.kinds = kinds
        self._folder = folder
        self._files: _Columns | None = None
        self._levels: _Columns | None = None
        self._assets: dict[tuple[int, int], PlannedAsset] = {}
        if is_owner:
            weakref.finalize(self, _remove, folder, os.getpid())

    def __reduce__(self) -> tuple[Callable[..., FileTable], tuple[Any, ...]]:
        """Pickle the path."""
        return FileTable, (self._folder, self.kinds)

    def __deepcopy__(self, memo: dict[int, Any]) -> FileTable:
        """Give the same table."""
        return self

    def __len__(self) -> int:
        """Count the files."""
        return len(self._file_columns)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Give a column of the files as an array of a number per file."""
        return self._file_columns.numbers(name)

    def texts(self, name: str) -> list[str | None]:
        """Give a column of the files as texts."""
        return self._file_columns.texts(name)

    def kind(self, number: int) -> Kind:
        """Give what a file shares with others."""
        return self.kinds[int(self._file_columns.number("kind", number))]

    def level_widths(self, number: int) -> list[int]:
        """Give the widths of a file's levels, in pixels."""
        first, count = self._level_rows(number)
        return [int(self._level_columns.number("width", row)) for row in range(first, first + count)]

    def asset(self, number: int, level: int) -> PlannedAsset:
        """Give one level of a file, its window the whole level."""
        key = number, level
        asset = self._assets.get(key)
        if asset is None:
            if len(self._assets) >= _KNOWN_ASSETS:
                self._assets.clear()
            asset = self._assets[key] = self._made(number, level)
        return asset

    def tiles(self, number: int, level: int) -> LevelTiles:
        """Give where the tiles of one level of a file lie."""
        row = self._level_rows(number)[0] + level
        columns = self._level_columns
        return LevelTiles(self.asset(number, level), *columns.lists(row), *columns.lists(row, "mask_"))

    def _made(self, number: int, level: int) -> PlannedAsset:
        files, levels, kind = self._file_columns, self._level_columns, self.kind(number)
        first, _ = self._level_rows(number)
        row = first + level
        width, height = int(levels.number("width", row)), int(levels.number("height", row))
        mask_format = int(levels.number("mask_format", row))
        time = files.text("datetime_us", number)
        x_size, x_off, y_size, y_off = (
            float(files.number(name, number)) for name in ("x_size", "x_off", "y_size", "y_off")
        )
        transform = (
            x_size * int(levels.number("width", first)) / width, 0.0, x_off,
            0.0, y_size * int(levels.number("height", first)) / height, y_off,
        )  # fmt: skip
        return PlannedAsset(
            collection=files.text("collection", number),
            item_id=files.text("item_id", number),
            asset=files.text("asset", number),
            datetime_us=time,
            href=files.text("href", number),
            address=files.text("address", number),
            etag=files.text("etag", number),
            frames=kind.frames,
            level=level,
            width=width,
            height=height,
            crs=files.text("crs", number),
            transform=transform,
            format=kind.formats[int(levels.number("format", row)) - 1],
            mask_format=kind.formats[mask_format - 1] if mask_format else None,
            alpha_band=kind.alpha_band,
            bands=kind.bands,
            row_off=0,
            col_off=0,
            row_end=height,
            col_end=width,
        )

    def _level_rows(self, number: int) -> tuple[int, int]:
        return int(self._file_columns.number("first_level", number)), int(
            self._file_columns.number("level_count", number)
        )

    @property
    def _file_columns(self) -> _Columns:
        if self._files is None:
            self._files = _opened(self._folder / FILES)
        return self._files

    @property
    def _level_columns(self) -> _Columns:
        if self._levels is None:
            self._levels = _opened(self._folder / LEVELS)
        return self._levels


@dataclass(frozen=True, slots=True, eq=False)
class LevelTiles:
    """Where the tiles of a level of a file lie, and those of its mask, as the index has them.

    Attributes:
        asset: the level.
        byte_counts, run_offsets, gaps: of its tiles, plane by plane, row by row.
        mask_byte_counts, mask_run_offsets, mask_gaps: of the tiles of its internal mask; empty without one.
    """

    asset: PlannedAsset
    byte_counts: npt.NDArray[Any]
    run_offsets: npt.NDArray[Any]
    gaps: npt.NDArray[Any]
    mask_byte_counts: npt.NDArray[Any]
    mask_run_offsets: npt.NDArray[Any]
    mask_gaps: npt.NDArray[Any]

    def place(self, tile: int) -> tuple[int, int]:
        """Give offset and byte count of a tile, counted from 0; 0 and 0 where it is sparse."""
        return _place(tile, self.byte_counts, self.run_offsets, self.gaps)

    def mask_tiles(self, row: int, col: int, height: int, width: int) -> tuple[MaskTile, ...]:
        """Give the tiles of the internal mask under a tile of the image, which has so many pixels."""
        asset = self.asset
        assert asset.mask_format is not None
        tall, wide = asset.mask_format.tile_height, asset.mask_format.tile_width
        top, left = row * asset.format.tile_height, col * asset.format.tile_width
        across = -(-asset.width // wide)
        return tuple(
            MaskTile(
                mask_row,
                mask_col,
                *_place(mask_row * across + mask_col, self.mask_byte_counts, self.mask_run_offsets, self.mask_gaps),
            )
            for mask_row in range(top // tall, (top + height - 1) // tall + 1)
            for mask_col in range(left // wide, (left + width - 1) // wide + 1)
        )


class PlanMaker:
    """Collects tiles of files into one plan; a level of a file that is asked for again is the same asset of it."""

    def __init__(self, table: FileTable) -> None:
        self._table = table
        self._numbers: dict[tuple[int, int], int] = {}
        self._tiles: list[LevelTiles] = []
        self._rows: list[tuple[Any, ...]] = []

    def add(self, number: int, level: int, band: PlannedBand, window: Window) -> tuple[int, int, int]:
        """Plan a window of one band.

        Args:
            number: the file in the table.
            level: of the file.
            band: of the file.
            window: inside the level.

        Returns:
            The number of the asset in the plan, and its first row of the plan and the one behind its last.
        """
        asset_no = self._numbers.get((number, level))
        if asset_no is None:
            asset_no = self._numbers[number, level] = len(self._tiles)
            self._tiles.append(self._table.tiles(number, level))
        found = _rows_of(asset_no, self._tiles[asset_no], band, window)
        first = len(self._rows)
        self._rows += sorted(found, key=lambda row: row[6])
        return asset_no, first, len(self._rows)

    def plan(self) -> TilePlan:
        """Give the plan."""
        columns = list(zip(*self._rows, strict=True)) or [()] * 12
        asset_no, band, tile_row, tile_col, width, height, offset, count, nodata, has_nodata, kind, masks = columns
        return TilePlan(
            assets=tuple(tiles.asset for tiles in self._tiles),
            asset_no=np.array(asset_no, np.int64),
            band=np.array(band, np.int32),
            tile_row=np.array(tile_row, np.int32),
            tile_col=np.array(tile_col, np.int32),
            width=np.array(width, np.int32),
            height=np.array(height, np.int32),
            tile_offset=np.array(offset, np.int64),
            tile_byte_count=np.array(count, np.int64),
            nodata=np.array(nodata, np.float64),
            has_nodata=np.array(has_nodata, np.bool_),
            mask_kind=list(kind),
            mask_tiles=list(masks),
        )


def mask_kind_of(asset: PlannedAsset, band: PlannedBand) -> str | None:
    """Say what tells which pixels of a band are valid, as the planner does."""
    if asset.mask_format is not None:
        return "mask"
    if band.nodata is not None:
        return "nodata"
    return "alpha" if asset.alpha_band is not None and asset.alpha_band != band.band else None


def _rows_of(asset_no: int, tiles: LevelTiles, band: PlannedBand, window: Window) -> list[tuple[Any, ...]]:
    asset = tiles.asset
    tall, wide = asset.format.tile_height, asset.format.tile_width
    across, down = -(-asset.width // wide), -(-asset.height // tall)
    plane = (band.band - 1) * across * down if asset.format.planar else 0
    alpha_plane = ((asset.alpha_band or 1) - 1) * across * down
    kind = mask_kind_of(asset, band)
    nodata = float("nan") if band.nodata is None else band.nodata
    rows: list[tuple[Any, ...]] = []
    for row in range(window.row_off // tall, -(-window.row_end // tall)):
        height = min(tall, asset.height - row * tall)
        for col in range(window.col_off // wide, -(-window.col_end // wide)):
            width = min(wide, asset.width - col * wide)
            masks = None
            if kind == "mask":
                masks = tiles.mask_tiles(row, col, height, width)
            elif kind == "alpha" and asset.format.planar:
                masks = (MaskTile(row, col, *tiles.place(alpha_plane + row * across + col)),)
            offset, count = tiles.place(plane + row * across + col)
            rows.append(
                (asset_no, band.band, row, col, width, height, offset, count, nodata, band.nodata is not None, kind,
                 masks)
            )  # fmt: skip
    return rows


def _place(
    tile: int, counts: npt.NDArray[Any], run_offsets: npt.NDArray[Any], gaps: npt.NDArray[Any]
) -> tuple[int, int]:
    """Do what `_rst_tile_offset` does in SQL, for a tile counted from 0."""
    count = int(counts[tile])
    if count == 0:
        return 0, 0
    run = tile // RUN_TILES
    first = run * RUN_TILES
    before = int(counts[first:tile].sum(dtype=np.int64))
    gap = (
        int(gaps[first:tile].sum(dtype=np.int64))
        if len(gaps) > 1
        else (int(gaps[0]) if len(gaps) else 0) * (tile - first)
    )
    return int(run_offsets[run]) + before + gap, count


class _Columns:
    """A file of Arrow IPC, whose rows are read one at a time from mapped memory."""

    def __init__(self, table: Any) -> None:
        self._batches = table.to_batches()
        starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)]).tolist()
        self._starts, self._length = starts[:-1], starts[-1]
        self._numbers: dict[str, npt.NDArray[Any]] = {}
        self._lists: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._table = table

    def __len__(self) -> int:
        return int(self._length)

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Give a column without NULLs as one array."""
        if name not in self._numbers:
            self._numbers[name] = self._table.column(name).to_numpy()
        return self._numbers[name]

    def number(self, name: str, row: int) -> Any:
        return self.numbers(name)[row]

    def texts(self, name: str) -> list[Any]:
        values: list[Any] = self._table.column(name).to_pylist()
        return values

    def text(self, name: str, row: int) -> Any:
        batch, place = self._located(row)
        return self._batches[batch].column(name)[place].as_py()

    def lists(self, row: int, prefix: str = "") -> Sequence[npt.NDArray[Any]]:
        """Give byte counts, run offsets and gaps of a level."""
        batch, place = self._located(row)
        found = []
        for name in ("byte_counts", "run_offsets", "gaps"):
            key = prefix + name, batch
            if key not in self._lists:
                column = self._batches[batch].column(prefix + name)
                self._lists[key] = column.offsets.to_numpy(), column.values.to_numpy()
            offsets, values = self._lists[key]
            found.append(values[offsets[place] : offsets[place + 1]])
        return found

    def _located(self, row: int) -> tuple[int, int]:
        batch = bisect_right(self._starts, row) - 1
        return batch, row - self._starts[batch]


def _opened(path: Path) -> _Columns:
    import pyarrow as pa

    try:
        return _Columns(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
    except FileNotFoundError as error:
        raise AssetNotFoundError(
            f"{path}: is gone, expected the table of files of a dataset, which goes with the process that made it; "
            "make the dataset again, or hand it over with rasteret_sql.handoff"
        ) from error


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
