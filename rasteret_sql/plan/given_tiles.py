"""Rows of `read_tiles` as a plan: tiles that are there already are read as those of files are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import EmptyReadError, InvalidArgumentError, RasteretError
from rasteret_sql.io.identity import UNKNOWN
from rasteret_sql.io.memory import PART_BYTES, MemoryFile
from rasteret_sql.plan.expressions import formula_remedy
from rasteret_sql.plan.native_grid import GRID_TOLERANCE
from rasteret_sql.plan.ragged import bounds_of
from rasteret_sql.plan.tile_plan import MaskKind, MaskTiles, PlannedAsset, PlannedBand, TilePlan
from rasteret_sql.plan.tiles import WindowPlan, rows_of_windows
from rasteret_sql.tiff.ghost import Frames
from rasteret_sql.tiff.model import TileFormat
from rasteret_sql.tiff.nodata import valid_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from rasteret_sql.geo.geobox import Transform
    from rasteret_sql.plan.tiles import Windows

    Rows = npt.NDArray[np.int64]

#: Columns of `read_tiles` that rows of tiles must have.
NEEDED_COLUMNS = (
    "item_id", "asset", "band", "band_name", "level", "tile_row", "tile_col", "crs", "transform", "dtype", "width",
    "height", "nodata", "pixels", "mask",
)  # fmt: skip
#: Columns that are used where the rows have them; the last three are fields of `bands` in an index.
OPTIONAL_COLUMNS = ("collection", "datetime", "href", "error", "scale", "offset", "unit")
#: What is the same for all tiles of a band of a file.
_FILE_COLUMNS = (
    "collection", "item_id", "datetime", "asset", "href", "level", "band", "band_name", "crs", "dtype", "nodata",
    "scale", "offset", "unit",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Bytes:
    """The bytes of a tile, with columns and rows beyond the edge of its image as tiles of a file have them.

    Attributes:
        data: a buffer of (height, width) pixels, or None for a mask where all are valid.
        height, width, itemsize: of what is there, in pixels and bytes.
        tile_height, tile_width: of what is given.
        error: why there is nothing, or None.
    """

    data: Any
    height: int
    width: int
    itemsize: int
    tile_height: int
    tile_width: int
    error: str | None = None

    def __call__(self) -> bytes:
        if self.error is not None:
            raise RasteretError(self.error)
        if self.data is None:
            return b"\1" * (self.tile_height * self.tile_width)
        if (self.height, self.width) == (self.tile_height, self.tile_width):
            return bytes(self.data)
        padded = np.zeros((self.tile_height, self.tile_width * self.itemsize), np.uint8)
        padded[: self.height, : self.width * self.itemsize] = np.frombuffer(self.data, np.uint8).reshape(
            self.height, -1
        )
        return padded.tobytes()


def plan_given(tiles: pa.Table, bands: Sequence[str] | None = None) -> TilePlan:
    """Make a plan of rows of `read_tiles`.

    Each band of a file becomes a file of its own, which begins at the corner of the tiles that there are. Tiles without
    pixels, as `on_error := 'null'` gives them, fail when they are read. Those that come twice are taken once.

    Args:
        tiles: `NEEDED_COLUMNS`, and those of `OPTIONAL_COLUMNS` that there are.
        bands: names of the bands that are wanted, in that order; None for all, by asset and number.

    Raises:
        InvalidArgumentError: there is no such band, tiles do not fit together, or two that differ claim one place.
        EmptyReadError: there are no rows.
    """
    if tiles.num_rows == 0:
        raise EmptyReadError("tiles: got no rows, expected those of read_tiles; widen the query that gives them")
    positions = _positions(tiles, bands)
    columns = {
        name: _plain(tiles[name]).to_pylist() if name in tiles.column_names else [None] * tiles.num_rows
        for name in (*_FILE_COLUMNS, "error", "tile_row", "tile_col", "width", "height")
    }
    _check_levels(columns, positions)
    table = _Table(
        columns,
        {name: tiles[name].to_numpy().astype(np.int64) for name in ("tile_row", "tile_col", "width", "height")},
        _transforms(tiles),
        {name: [value.as_buffer() if value.is_valid else None for value in tiles[name]] for name in ("pixels", "mask")},
    )
    wanted = [rows for rows in _groups(tiles) if columns["band_name"][rows[0]] in positions]
    files = [_file(table, table.without_doubles(rows), positions, number) for number, rows in enumerate(wanted)]
    _check_corners(files)
    return _plan(files)


def plan_given_windows(plan: TilePlan, windows: Windows) -> WindowPlan:
    """Plan windows of given tiles, as `plan_windows` does for the tiles of files.

    Args:
        plan: the plan of all given tiles.
        windows: what is read of its assets.

    Raises:
        InvalidArgumentError: a tile of a window was not given.
    """
    cells = windows.cells
    rows = rows_of_windows(plan, windows)
    if len(rows) and rows.min() < 0:
        first = int(rows.argmin())
        asset = plan.assets[windows.asset_no[cells.owner[first]]]
        tile = asset.describe_tile(int(cells.row[first]), int(cells.col[first]))
        raise InvalidArgumentError(
            f"{tile}: window number {cells.owner[first]} touches it, and the rows of tiles do not have it; expected "
            "all tiles that are read; widen the query that gives them, or pass the index"
        )
    bounds = bounds_of(np.bincount(cells.owner, minlength=len(windows.bands)))
    return WindowPlan(plan.take(rows), bounds)


@dataclass(frozen=True, slots=True)
class _Table:
    """Columns of the rows: values, numbers of tiles and pixels, transforms (row, 6), and buffers or None."""

    values: dict[str, list[Any]]
    numbers: dict[str, Rows]
    transforms: npt.NDArray[np.float64]
    buffers: dict[str, list[Any]]

    def named(self, row: int) -> str:
        """Name a tile in a message."""
        tile_row, tile_col, level, asset, item_id = (
            self.values[name][row] for name in ("tile_row", "tile_col", "level", "asset", "item_id")
        )
        return f'tile (row {tile_row}, col {tile_col}), level {level}, asset "{asset}" of item {item_id}'

    def without_doubles(self, rows: Rows) -> Rows:
        """Give the rows of a file without those that say again what another one said.

        Raises:
            InvalidArgumentError: two rows of one tile differ.
        """
        kept: dict[tuple[int, int], int] = {}
        for row in rows.tolist():
            place = self.values["tile_row"][row], self.values["tile_col"][row]
            other = kept.get(place)
            if other is None or self.buffers["pixels"][other] is None:
                kept[place] = row
            elif self.buffers["pixels"][row] is not None and not self._is_same(row, other):
                raise InvalidArgumentError(
                    f"{self.named(row)}: got two that differ, expected one; tell them apart in the query, or choose "
                    "one with QUALIFY row_number() OVER (...) = 1"
                )
        return np.array(list(kept.values()), np.int64)

    def _is_same(self, row: int, other: int) -> bool:
        return all(
            self.buffers[name][row] == self.buffers[name][other]
            if self.buffers[name][row] is not None and self.buffers[name][other] is not None
            else self.buffers[name][row] is self.buffers[name][other]
            for name in ("pixels", "mask")
        )


@dataclass(frozen=True, slots=True)
class _File:
    """One band of one file, and its tiles."""

    asset: PlannedAsset
    tile_row: Rows
    tile_col: Rows
    width: Rows
    height: Rows
    mask_kind: MaskKind
    corner: tuple[int, int]


def _file(table: _Table, rows: Rows, positions: dict[str, int], number: int) -> _File:
    first = {name: table.values[name][rows[0]] for name in _FILE_COLUMNS}
    tile_row, tile_col, width, height = (
        table.numbers[name][rows] for name in ("tile_row", "tile_col", "width", "height")
    )
    corner = int(tile_row.min()), int(tile_col.min())
    tile_row, tile_col = tile_row - corner[0], tile_col - corner[1]
    size = _whole(tile_row, height), _whole(tile_col, width)
    transform = _transform(table, rows, tile_row * size[0], tile_col * size[1])
    dtype = np.dtype(first["dtype"])
    band = PlannedBand(
        first["band"],
        first["band_name"],
        positions[first["band_name"]],
        first["nodata"],
        first["scale"],
        first["offset"],
        first["unit"],
    )
    for row in rows.tolist():
        _check_bytes(table, row, dtype)
    mask_kind = _mask_kind(table, rows, dtype, band.nodata)
    ends = int((tile_row * size[0] + height).max()), int((tile_col * size[1] + width).max())
    asset = PlannedAsset(
        collection=first["collection"],
        item_id=first["item_id"],
        asset=first["asset"],
        datetime_us=first["datetime"],
        href=first["href"] or "",
        address=MemoryFile(f"tiles/{uuid.uuid4().hex}/{number}", _parts(table, rows, size, dtype, mask_kind)),
        identity=UNKNOWN,
        frames=Frames(),
        level=first["level"],
        width=ends[1],
        height=ends[0],
        crs=first["crs"],
        transform=transform,
        format=_format(dtype, size),
        mask_format=_format(np.dtype(np.uint8), size) if mask_kind == MaskKind.MASK else None,
        alpha_band=None,
        bands=(band,),
        row_off=0,
        col_off=0,
        row_end=ends[0],
        col_end=ends[1],
        first_row=corner[0] * size[0],
        first_col=corner[1] * size[1],
    )
    return _File(asset, tile_row, tile_col, width, height, mask_kind, corner)


def _plan(files: Sequence[_File]) -> TilePlan:
    """Put files together; parts of their addresses are the tiles in order, and then the masks."""
    counts = [len(file.tile_row) for file in files]
    nbytes = [
        file.asset.format.tile_height * file.asset.format.tile_width * np.dtype(file.asset.dtype).itemsize
        for file in files
    ]
    nodata = [file.asset.bands[0].nodata for file in files]
    mask_count = np.repeat(np.array([file.mask_kind == MaskKind.MASK for file in files], np.int32), counts)
    return TilePlan(
        assets=tuple(file.asset for file in files),
        asset_no=np.repeat(np.arange(len(files)), counts),
        band=np.repeat(np.array([file.asset.bands[0].band for file in files], np.int32), counts),
        tile_row=np.concatenate([file.tile_row for file in files]).astype(np.int32),
        tile_col=np.concatenate([file.tile_col for file in files]).astype(np.int32),
        width=np.concatenate([file.width for file in files]).astype(np.int32),
        height=np.concatenate([file.height for file in files]).astype(np.int32),
        tile_offset=np.concatenate([np.arange(count, dtype=np.int64) * PART_BYTES for count in counts]),
        tile_byte_count=np.repeat(np.array(nbytes, np.int64), counts),
        nodata=np.repeat(np.array([np.nan if value is None else value for value in nodata], np.float64), counts),
        has_nodata=np.repeat(np.array([value is not None for value in nodata]), counts),
        mask_kind=np.repeat(np.array([file.mask_kind for file in files], np.uint8), counts),
        mask_first=bounds_of(mask_count)[:-1],
        mask_count=mask_count,
        mask_tiles=MaskTiles(*(np.concatenate(column) for column in zip(*map(_mask_tiles, files), strict=True))),
    )


def _mask_tiles(file: _File) -> tuple[npt.NDArray[Any], ...]:
    """Give the columns of the mask tiles of a file: none, or one under each tile of the image."""
    tile_count = len(file.tile_row)
    count = tile_count if file.mask_kind == MaskKind.MASK else 0
    nbytes = file.asset.format.tile_height * file.asset.format.tile_width
    return (
        file.tile_row[:count].astype(np.int32),
        file.tile_col[:count].astype(np.int32),
        (tile_count + np.arange(count, dtype=np.int64)) * PART_BYTES,
        np.full(count, nbytes, np.int64),
    )


def _parts(table: _Table, rows: Rows, size: tuple[int, int], dtype: np.dtype[Any], mask_kind: MaskKind) -> list[_Bytes]:
    def part(row: int, name: str, itemsize: int, error: str | None = None) -> _Bytes:
        height, width = table.values["height"][row], table.values["width"][row]
        return _Bytes(table.buffers[name][row], height, width, itemsize, *size, error)

    parts = []
    for row in rows.tolist():
        is_there = table.buffers["pixels"][row] is not None
        error = None if is_there else table.values["error"][row] or f"{table.named(row)}: its pixels are NULL"
        parts.append(part(row, "pixels", dtype.itemsize, error))
    if mask_kind == MaskKind.MASK:
        parts += [part(row, "mask", 1) for row in rows.tolist()]
    return parts


def _mask_kind(table: _Table, rows: Rows, dtype: np.dtype[Any], nodata: float | None) -> MaskKind:
    """Say what tells the valid pixels of a file: nodata, where the masks say no more than it does."""
    masks = [(row, table.buffers["mask"][row]) for row in rows.tolist() if table.buffers["pixels"][row] is not None]
    if all(mask is None for _, mask in masks):
        return MaskKind.NONE
    for row, mask in masks:
        if nodata is None or mask is None:
            return MaskKind.MASK
        pixels = np.frombuffer(table.buffers["pixels"][row], dtype.newbyteorder("<"))
        if not np.array_equal(valid_pixels(pixels, nodata), np.frombuffer(mask, np.bool_)):
            return MaskKind.MASK
    return MaskKind.NODATA


def _check_bytes(table: _Table, row: int, dtype: np.dtype[Any]) -> None:
    pixels = table.values["height"][row] * table.values["width"][row]
    for name, itemsize in (("pixels", dtype.itemsize), ("mask", 1)):
        data = table.buffers[name][row]
        if data is not None and data.size != pixels * itemsize:
            raise InvalidArgumentError(
                f"{table.named(row)}: its {name} have {data.size} bytes, expected {pixels * itemsize} for its height, "
                "width and dtype; select these columns as read_tiles gives them"
            )


def _whole(number: Rows, size: Rows) -> int:
    """Give the height or width of whole tiles: only the last ones of a file may be smaller."""
    return int(size[number < number.max()].max(initial=0)) or int(size.max())


def _transform(table: _Table, rows: Rows, row_off: Rows, col_off: Rows) -> Transform | None:
    """Give the transform of the corner that tiles are counted from.

    Raises:
        InvalidArgumentError: the tiles are not where their transforms say.
    """
    transforms = table.transforms[rows]
    if np.isnan(transforms).any():
        return None
    # As the outermost tiles have it, so that coordinates are those of a read to the last bit.
    x_size, y_size = transforms[0, 0], transforms[0, 4]
    x_off, y_off = transforms[col_off.argmin(), 2], transforms[row_off.argmin(), 5]
    expected = np.zeros_like(transforms)
    expected[:, 0], expected[:, 4] = x_size, y_size
    expected[:, 2], expected[:, 5] = x_off + x_size * col_off, y_off + y_size * row_off
    aside = np.abs(transforms - expected).max(axis=1) > GRID_TOLERANCE * min(abs(x_size), abs(y_size))
    if aside.any():
        raise InvalidArgumentError(
            f"{table.named(int(rows[aside.argmax()]))}: its transform does not fit to those of the other tiles of its "
            "file, expected transform, width and height as read_tiles gives them; select these columns as they are"
        )
    return float(x_size), 0.0, float(x_off), 0.0, float(y_size), float(y_off)


def _check_corners(files: Sequence[_File]) -> None:
    """Refuse files without a transform that do not begin at the same tile: nothing else says where they lie."""
    without = [file for file in files if file.asset.transform is None]
    for file in without[1:]:
        if (file.corner, file.asset.format.tile_height, file.asset.format.tile_width) != (
            without[0].corner,
            without[0].asset.format.tile_height,
            without[0].asset.format.tile_width,
        ):
            raise InvalidArgumentError(
                f'asset "{file.asset.asset}" of item {file.asset.item_id}: it has no transform, and its tiles begin at '
                f"(row {file.corner[0]}, col {file.corner[1]}), expected {without[0].corner} as for other files; "
                "select the same tiles of all of them"
            )


def _format(dtype: np.dtype[Any], size: tuple[int, int]) -> TileFormat:
    """Describe tiles that are bare pixels of one band."""
    return TileFormat(
        byte_order="little",
        dtype=dtype.name,
        bits_per_sample=dtype.itemsize * 8,
        samples_per_pixel=1,
        planar=False,
        compression=1,
        predictor=1,
        photometric=1,
        fill_order=1,
        tile_width=size[1],
        tile_height=size[0],
        tiled=True,
    )


def _groups(tiles: pa.Table) -> list[Rows]:
    """Give the rows of each band of each file, in the order in which the first ones come."""
    codes = np.zeros(tiles.num_rows, np.int64)
    for name in _FILE_COLUMNS:
        if name in tiles.column_names:
            encoded = tiles[name].combine_chunks().dictionary_encode(null_encoding="encode")
            # Numbered anew after each column, so that the numbers stay small.
            codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy()
            codes = np.unique(codes, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return sorted(groups, key=lambda rows: int(rows[0]))


def _positions(tiles: pa.Table, bands: Sequence[str] | None) -> dict[str, int]:
    """Give the place of each band that is wanted.

    Raises:
        InvalidArgumentError: there is none of that name.
    """
    found = tiles.select(["asset", "band", "band_name"]).group_by(["asset", "band", "band_name"]).aggregate([])
    known = sorted((row["asset"], row["band"], row["band_name"]) for row in found.to_pylist())
    if bands is None:
        return {name: number for number, (_, _, name) in enumerate(known)}
    wanted: list[str] = []
    for label in bands:
        names = [name for _, _, name in known if name == label] or [name for asset, _, name in known if asset == label]
        if not names:
            listed = ", ".join(dict.fromkeys(repr(name) for _, _, name in known))
            raise InvalidArgumentError(
                f"bands: got {label!r}, expected some of those that the tiles are of: {listed}{formula_remedy(label)}"
            )
        wanted += names
    return {name: number for number, name in enumerate(dict.fromkeys(wanted))}


def _check_levels(columns: dict[str, list[Any]], positions: dict[str, int]) -> None:
    levels: dict[tuple[Any, ...], int] = {}
    names = ("collection", "item_id", "datetime", "band_name", "level")
    for *key, name, level in zip(*(columns[each] for each in names), strict=True):
        other = levels.setdefault((*key, name), level)
        if name in positions and other != level:
            raise InvalidArgumentError(
                f'band "{name}" of item {key[1]}: got tiles of the levels {other} and {level}, expected one level; '
                f"choose it, for example with WHERE level = {min(level, other)}"
            )


def _plain(column: Any) -> Any:
    """Give times as microseconds since 1970, and other columns as they are."""
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type):
        return column
    return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())


def _transforms(tiles: pa.Table) -> npt.NDArray[np.float64]:
    """Give the transforms, shape (row, 6); NaN where they are not known."""
    unknown = [None] * 6
    values = [unknown if each is None else each for each in tiles["transform"].to_pylist()]
    return np.array(values, np.float64).reshape(-1, 6)
