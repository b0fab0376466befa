"""Which files of an index a read takes: bands, level and window of each. The same rule as `_rst_asset_plan` in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.antimeridian import repeated
from rasteret_sql.geo.crs import in_proj_thread, shortened
from rasteret_sql.geo.touched import pixels_touched, share_pixels, windows_touched
from rasteret_sql.geo.utm import REVOLUTION, is_lonlat
from rasteret_sql.plan.bands import FileBands, choose_bands
from rasteret_sql.plan.native_grid import without_place
from rasteret_sql.plan.period import FIRST_US, LAST_US
from rasteret_sql.plan.ragged import Ragged, bounds_of, cut_by_ends, spread
from rasteret_sql.plan.tiles import Cells, Layouts, Tilings, cells_in, plan_cells

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.area import Area
    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.bands import IndexBand
    from rasteret_sql.plan.files import Files
    from rasteret_sql.plan.tile_bytes import LevelBytes
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan

    Numbers = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

#: Boxes, four numbers each, of files and parts of an area that are computed at a time.
_BOXES_AT_ONCE: Final = 1 << 20
#: Share by which the same distance may differ between two projections without asking for a finer overview.
_DISTORTION: Final = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class IndexFiles:
    """Rows of an index, as far as a plan needs them.

    Attributes:
        files: the files, in the order of plans: by collection, time, item, asset and href.
        bands: the bands of each of the files' kinds.
        bounds: (xmin, ymin, xmax, ymax) of each file in degrees, endless where unknown; shape (files, 4).
    """

    files: Files
    bands: tuple[tuple[IndexBand, ...], ...]
    bounds: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What is read of which files; one element per file but in `parts`.

    Attributes:
        files: numbers of the files.
        levels: a level of each.
        bands: what is read of each.
        windows: (row_off, col_off, row_end, col_end) in pixels of the level, ends exclusive; shape (files, 4).
        parts: the parts of the area that touch each, as (xmin, ymin, xmax, ymax) in pixels; a list of rows per file.
        area: what was selected, or None for everything.
    """

    files: Numbers
    levels: Numbers
    bands: tuple[tuple[PlannedBand, ...], ...]
    windows: Numbers
    parts: Ragged
    area: Area | None

    def __len__(self) -> int:
        """Count the files."""
        return len(self.files)

    def slice(self, first: int, end: int) -> Selection:
        """Give some consecutive files of it; `end` is exclusive."""
        return self if (first, end) == (0, len(self)) else self.take(np.arange(first, end))

    def take(self, numbers: Numbers) -> Selection:
        """Give some files of it, by their numbers."""
        return Selection(
            self.files[numbers], self.levels[numbers], tuple(self.bands[number] for number in numbers.tolist()),
            self.windows[numbers], self.parts.take(numbers), self.area,
        )  # fmt: skip


def select(index: IndexFiles, arguments: ReadArguments, area: Area | None) -> Selection:
    """Choose files, bands, levels and windows.

    Args:
        index: the rows; those that area and period leave out may be among them.
        arguments: what is asked.
        area: their area, or None for everywhere.

    Raises:
        InvalidArgumentError: a band, level or resolution does not fit the files, or some lie nowhere.
    """
    numbers = candidates(index, arguments, area)
    bands = arguments.scaling.applied(_bands(index, numbers, arguments.bands))
    has_bands = np.array([len(each) > 0 for each in bands], bool)
    numbers, bands = numbers[has_bands], [each for each in bands if each]
    levels = _levels(index.files, numbers, arguments, area)
    files = index.files
    slots = files.slots(numbers, levels)
    size = np.stack([files.column("level_width")[slots], files.column("level_height")[slots]], axis=1)
    if area is None:
        windows = np.concatenate([np.zeros_like(size), size[:, ::-1]], axis=1)
        whole = np.concatenate([np.zeros_like(size), size], axis=1).astype(np.float64)
        return Selection(numbers, levels, tuple(bands), windows, Ragged(whole, np.arange(len(numbers) + 1)), None)
    _check_placed(files, numbers)
    parts = _touched_parts(files, numbers, size, arguments, area)
    kept = np.flatnonzero(parts.lengths)
    parts, size = parts.take(kept), size[kept]
    return Selection(
        numbers[kept], levels[kept], tuple(bands[number] for number in kept.tolist()), _windows(parts, size), parts,
        area,
    )  # fmt: skip


def plan_selection(
    index: IndexFiles, selection: Selection, level_bytes: LevelBytes, max_rows: int | None = None
) -> Iterator[TilePlan]:
    """Plan the tiles of a selection, each part when it is wanted: a plan takes far more memory than a selection.

    Args:
        index: the rows.
        selection: what was selected of them.
        level_bytes: where the tiles of the levels of the selection lie, in its order.
        max_rows: how many rows a part has at most, unless one tile has more; None for one part.

    Yields:
        The parts of the plan, in order. Each has the assets of its own rows. At least one, which may be empty.

    Raises:
        InvalidIndexError: the index does not have the bytes of a tile.
    """
    for first, end in pairwise(_cut_at_files(selection, index.files, max_rows)):
        part = selection.slice(first, end)
        assets = index.files.assets(part.files, part.levels, part.bands, part.windows)
        layouts = Layouts(assets, level_bytes, np.arange(first, end))
        yield from plan_cells(layouts, cells_of(layouts, part), max_rows)


def _cut_at_files(selection: Selection, files: Files, max_rows: int | None) -> list[int]:
    """Give the bounds of runs of files that have at most so many rows by their windows, or are one file."""
    if max_rows is None:
        return [0, len(selection)]
    tile = files.tile_sizes(selection.files, selection.levels)
    tiles = (-(-selection.windows[:, 2:] // tile) - selection.windows[:, :2] // tile).prod(axis=1)
    return cut_by_ends(np.cumsum(tiles * np.array([len(bands) for bands in selection.bands], np.int64)), max_rows)


def joined(first: Selection, second: Selection) -> Selection:
    """Give the files of two selections with one area and one rule of levels, each with the bands of both."""
    numbers, places = np.unique(np.concatenate([first.files, second.files]), return_index=True)
    bands: dict[int, dict[int, PlannedBand]] = {}
    for selection in (first, second):
        for number, each in zip(selection.files.tolist(), selection.bands, strict=True):
            known = bands.setdefault(number, {})
            known |= {band.band: known.get(band.band, band) for band in each}
    parts = Ragged(
        np.concatenate([first.parts.values, second.parts.values]),
        bounds_of(np.concatenate([first.parts.lengths, second.parts.lengths])),
    )
    return Selection(
        numbers,
        np.concatenate([first.levels, second.levels])[places],
        tuple(tuple(bands[number].values()) for number in numbers.tolist()),
        np.concatenate([first.windows, second.windows])[places],
        parts.take(places),
        first.area,
    )


def candidates(index: IndexFiles, arguments: ReadArguments, area: Area | None) -> Numbers:
    """Give the files whose bounds in degrees, and times, touch area and period."""
    files = index.files
    kept = np.ones(len(files), bool)
    period = arguments.period
    if period is not None:
        start, end = files.column("start_us"), files.column("end_us")
        # A file without a time is in no period, not even in one that is open on both sides.
        kept &= (start < period.end_us) & (end >= period.start_us) & (start > FIRST_US) & (end < LAST_US)
    if area is not None and is_lonlat(area.crs):
        inside = np.zeros(len(files), bool)
        # Longitudes may be counted from -180, from 0, or on beyond 180.
        for xmin, ymin, xmax, ymax in repeated(area.in_degrees(), REVOLUTION).tolist():
            low_x, low_y, high_x, high_y = index.bounds.T
            inside |= (xmin <= high_x) & (xmax >= low_x) & (ymin <= high_y) & (ymax >= low_y)
        kept &= inside
    return np.flatnonzero(kept)


def _bands(index: IndexFiles, numbers: Numbers, labels: Sequence[str] | None) -> list[tuple[PlannedBand, ...]]:
    """Give what is read of each file; nothing of those that have none of the bands."""
    files = index.files
    kinds = files.column("kind")[numbers].tolist()
    collections, assets = files.texts("collection"), files.texts("asset")
    known: dict[tuple[str | None, str | None, int], int] = {}
    group = [
        known.setdefault((collections[number], assets[number], kind), len(known))
        for number, kind in zip(numbers.tolist(), kinds, strict=True)
    ]
    # Kinds differ in their formats too; files with the same bands are asked about once.
    distinct: dict[FileBands, int] = {}
    which = [
        distinct.setdefault(FileBands(collection, str(asset), index.bands[kind]), len(distinct))
        for collection, asset, kind in known
    ]
    item_ids = files.texts("item_id")

    def items_of(wanted: Collection[int]) -> set[str | None]:
        return {item_ids[number] for number, each in zip(numbers.tolist(), group, strict=True) if which[each] in wanted}

    chosen = choose_bands(list(distinct), labels, items_of)
    return [chosen[which[each]] for each in group]


def _levels(files: Files, numbers: Numbers, arguments: ReadArguments, area: Area | None) -> Numbers:
    if arguments.level is not None:
        counts = files.column("level_count")[numbers]
        wrong = np.flatnonzero(counts <= arguments.level)
        if len(wrong):
            door = arguments.door
            name = door.level.rstrip(" :=")
            other = "" if door.resolution is None else f", or give {door.resolution}"
            raise InvalidArgumentError(
                f"{name}: got {arguments.level}, expected 0 to {counts[wrong[0]] - 1}, the levels "
                f"of {_named(files, int(numbers[wrong[0]]))}; choose one of them{other}"
            )
        return np.full(len(numbers), arguments.level, np.int64)
    name = "resolution" if arguments.gsd is None else "gsd"
    if getattr(arguments, name) is None:
        return np.zeros(len(numbers), np.int64)
    has_crs = np.array([code is not None for code in files.crs], bool)[files.column("crs")[numbers]]
    is_unknown = np.isnan(files.column("x_size")[numbers]) | ((name == "gsd") & ~has_crs)
    wrong = np.flatnonzero(is_unknown)
    if len(wrong):
        missing = "transform" if name == "resolution" else "CRS or no transform"
        raise InvalidArgumentError(
            f"{name}: {_named(files, int(numbers[wrong[0]]))} has no {missing}, so its pixel size is not known; give "
            f"{arguments.door.level} instead"
        )
    wanted = _pixel_sizes(files, numbers, arguments, area)
    if arguments.max_scale is not None and len(numbers):
        _check_scale(files, numbers, wanted, arguments)
    return files.coarsest(numbers, wanted)


def _check_scale(files: Files, numbers: Numbers, wanted: Floats, arguments: ReadArguments) -> None:
    """Refuse a grid whose pixels are in no proportion to those of any file: its units are other ones.

    Args:
        files: the files.
        numbers: those of the read.
        wanted: size of the grid's pixels in units of each of them.
        arguments: what is read.

    Raises:
        InvalidArgumentError: they are not.
    """
    assert arguments.max_scale is not None
    assert arguments.resolution is not None
    scale = wanted / np.abs(files.column("x_size")[numbers])
    nearest = int(np.abs(np.log(scale)).argmin())
    ratio = float(scale[nearest])
    if 1 / arguments.max_scale <= ratio <= arguments.max_scale:
        return
    number = int(numbers[nearest])
    size = abs(float(files.column("x_size")[number]))
    code = shortened(files.crs[int(files.column("crs")[number])])
    times = f"{ratio:,.0f} times coarser" if ratio > 1 else f"{1 / ratio:,.0f} times finer"
    raise InvalidArgumentError(
        f"resolution: got a grid with pixels of {arguments.resolution:g} in {shortened(arguments.resolution_crs)}, "
        f"{times} than those of {_named(files, number)}, {size:g} in {code}; expected "
        f"{arguments.max_scale:,.0f} times at most. Give the size in units of the grid's CRS, such as "
        f"{arguments.resolution / ratio:.3g} for pixels like those of the file, or allow_extreme_scale=True"
    )


def _pixel_sizes(files: Files, numbers: Numbers, arguments: ReadArguments, area: Area | None) -> Floats:
    """Give the resolution that is asked for in units of the CRS of each file; NaN without one."""
    if arguments.gsd is not None:
        return in_proj_thread(_sizes_on_the_ground)(files, numbers, arguments.gsd)
    if arguments.resolution is None:
        return np.full(len(numbers), np.nan)
    codes = files.column("crs")[numbers]
    found: Floats = np.full(len(numbers), arguments.resolution)
    for number in np.unique(codes).tolist():
        code, wanted = files.crs[number], arguments.resolution_crs
        if wanted is None or code is None or code.upper() == wanted.upper():
            continue
        assert area is not None
        mine = np.flatnonzero(codes == number)
        sizes = np.full(len(mine), np.nan)
        if arguments.grid is not None:
            sizes = in_proj_thread(_sizes_in_files)(files, numbers[mine], arguments.resolution, wanted, code)
        unknown = np.isnan(sizes)
        if unknown.any():
            sizes[unknown] = area.pixel_size(arguments.resolution, wanted, code)
        found[mine] = sizes
    return found


def _sizes_in_files(files: Files, numbers: Numbers, size: float, grid_crs: str, code: str) -> Floats:
    """Give the size of a grid's pixels in files of one CRS, at the middle of each.

    So the level of a file depends on the file and the grid, and not on the part of the grid that is read. Sizes are
    `_DISTORTION` larger than they are, so that pixels of one size in neighbouring UTM zones are of one size here too.
    NaN for files that are so wide that their middle tells nothing.
    """
    from rasteret_sql.geo.pixelsize import sizes_at
    from rasteret_sql.geo.project import widest_in

    (x, y), (wide, tall) = _middles(files, numbers)
    sizes = sizes_at(code, grid_crs, size, x, y) * (1 + _DISTORTION)
    sizes[np.maximum(np.abs(wide), np.abs(tall)) > widest_in(code)] = np.nan
    return sizes


def _sizes_on_the_ground(files: Files, numbers: Numbers, gsd: float) -> Floats:
    """Give the width of pixels in units of each file's CRS whose longer side is `gsd` metres at the middle of the file.

    Sizes are `_DISTORTION` larger than they are, so that the 20 m overview of a file in UTM has pixels of 20 m.
    """
    from rasteret_sql.geo.pixelsize import metres_at

    x_size, y_size = np.abs(files.column("x_size")[numbers]), np.abs(files.column("y_size")[numbers])
    (x, y), _ = _middles(files, numbers)
    codes = files.column("crs")[numbers]
    found: Floats = np.full(len(numbers), np.nan)
    for number in np.unique(codes).tolist():
        code = files.crs[number]
        assert code is not None
        mine = np.flatnonzero(codes == number)
        metres = metres_at(code, x[mine], y[mine], (x_size[mine], y_size[mine]))
        found[mine] = x_size[mine] * gsd / metres * (1 + _DISTORTION)
    return found


def _middles(files: Files, numbers: Numbers) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Give the middle (x, y) of each file in its CRS, and its (width, height) with the signs of its pixels."""
    largest = files.column("first_level")[numbers]
    wide = files.column("x_size")[numbers] * files.column("level_width")[largest]
    tall = files.column("y_size")[numbers] * files.column("level_height")[largest]
    return (files.column("x_off")[numbers] + wide / 2, files.column("y_off")[numbers] + tall / 2), (wide, tall)


def _check_placed(files: Files, numbers: Numbers) -> None:
    """Refuse files of which no area is known.

    Raises:
        InvalidArgumentError: there is one.
    """
    has_crs = np.array([code is not None for code in files.crs], bool)[files.column("crs")[numbers]]
    wrong = np.flatnonzero(~has_crs | np.isnan(files.column("x_size")[numbers]))
    if len(wrong):
        raise without_place("area", _named(files, int(numbers[wrong[0]])))


def _touched_parts(files: Files, numbers: Numbers, size: Numbers, arguments: ReadArguments, area: Area) -> Ragged:
    """Give the parts of an area that touch each file, in whole pixels of its level, with the margin; (parts, 4)."""
    codes = files.column("crs")[numbers]
    largest = files.column("first_level")[numbers]
    x_size = files.column("x_size")[numbers] * files.column("level_width")[largest] / size[:, 0]
    y_size = files.column("y_size")[numbers] * files.column("level_height")[largest] / size[:, 1]
    corner = np.stack([files.column("x_off")[numbers], files.column("y_off")[numbers]], axis=1)
    pixel = np.stack([x_size, y_size], axis=1)
    beside = np.zeros(len(numbers))
    if arguments.margin is not None:
        scale = _pixel_sizes(files, numbers, arguments, area) / np.abs(x_size)
        beside = np.ceil(arguments.margin * np.where(scale > 1, scale, 1.0))
    owners: list[Numbers] = []
    boxes: list[Floats] = []
    for number in np.unique(codes).tolist():
        code = files.crs[number]
        assert code is not None
        parts = area.parts_in(code)
        mine = np.flatnonzero(codes == number)
        step = max(1, _BOXES_AT_ONCE // max(len(parts), 1))
        for start in range(0, len(mine), step):
            some = mine[start : start + step]
            ends = parts.reshape(1, -1, 2, 2) - corner[some][:, np.newaxis, np.newaxis]
            ends = ends / pixel[some][:, np.newaxis, np.newaxis]
            bounds = np.concatenate([ends.min(axis=2), ends.max(axis=2)], axis=2)
            shape = np.broadcast_to(size[some][:, np.newaxis, ::-1], (*bounds.shape[:2], 2))
            windows = windows_touched(bounds.reshape(-1, 4), shape.reshape(-1, 2)).reshape(bounds.shape)
            owner, part = np.nonzero((windows[..., :2] < windows[..., 2:]).all(axis=2))
            by = beside[some][owner][:, np.newaxis]
            low, high = bounds[owner, part, :2] - by, bounds[owner, part, 2:] + by
            owners.append(some[owner])
            boxes.append(pixels_touched(np.concatenate([low, high], axis=1)))
    owner = np.concatenate(owners) if owners else np.empty(0, np.int64)
    box = np.concatenate(boxes) if boxes else np.empty((0, 4))
    order = np.argsort(owner, kind="stable")
    return Ragged(box[order], bounds_of(np.bincount(owner, minlength=len(numbers))))


def _windows(parts: Ragged, size: Numbers) -> Numbers:
    """Give the windows that hold all parts of each file, which has one at least."""
    if not len(parts):
        return np.empty((0, 4), np.int64)
    start = np.maximum(np.minimum.reduceat(parts.values[:, :2], parts.bounds[:-1]), 0)
    end = np.minimum(np.maximum.reduceat(parts.values[:, 2:], parts.bounds[:-1]), size)
    return np.concatenate([start[:, ::-1], end[:, ::-1]], axis=1).astype(np.int64)


def cells_of(layouts: Tilings, selection: Selection) -> Cells:
    """Give the tiles of each file that its window, and each part of the area by itself, touches."""
    row_first, col_first = selection.windows[:, 0] // layouts.tile_height, selection.windows[:, 1] // layouts.tile_width
    row_end, col_end = (
        -(-selection.windows[:, 2] // layouts.tile_height),
        -(-selection.windows[:, 3] // layouts.tile_width),
    )
    counts, area = selection.parts.lengths, selection.area
    if area is not None and area.geometry is not None:
        cells = _touched(layouts.assets, np.stack([row_first, row_end, col_first, col_end], axis=1), area)
    else:
        cells = cells_in(row_first, row_end, col_first, col_end)
    # An area over the antimeridian has parts far from each other in a raster of the whole Earth.
    return cells if (counts == 1).all() else _in_parts(cells, layouts, selection)


def _touched(assets: Sequence[PlannedAsset], ranges: Numbers, area: Area) -> Cells:
    """Give the tiles that a geometry touches; files on one grid are asked about once."""
    known: dict[Any, Numbers] = {}
    found = []
    for asset, tiles in zip(assets, ranges.tolist(), strict=True):
        layout = asset.format
        key = (asset.crs, asset.transform, asset.width, asset.height, layout.tile_width, layout.tile_height, *tiles)
        if key not in known:
            known[key] = area.tiles_touched(asset, *tiles)
        found.append(known[key])
    counts = np.array([len(each) for each in found], np.int64)
    cells = np.concatenate(found) if found else np.empty((0, 2), np.int64)
    return Cells(np.repeat(np.arange(len(found)), counts), cells[:, 0], cells[:, 1])


def _in_parts(cells: Cells, layouts: Tilings, selection: Selection) -> Cells:
    """Leave out tiles that none of several parts of the area touches by its bounds."""
    counts = selection.parts.lengths[cells.owner]
    cell = np.repeat(np.arange(len(cells.owner)), counts)
    parts = selection.parts.values[spread(selection.parts.bounds[cells.owner], counts)]
    file = cells.owner[cell]
    tall, wide = layouts.tile_height[file], layouts.tile_width[file]
    row, col = cells.row[cell], cells.col[cell]
    is_in = share_pixels((col * wide, row * tall, (col + 1) * wide, (row + 1) * tall), parts.T)
    hit = np.bincount(cell[is_in], minlength=len(cells.owner)) > 0
    return cells.take(hit | (selection.parts.lengths[cells.owner] == 1))


def _named(files: Files, number: int) -> str:
    return f"asset '{files.texts('asset')[number]}' of item '{files.texts('item_id')[number]}'"
