"""Plans the files of a query with all of their levels, for reads that choose windows later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.io.columns import ColumnWriter
from rasteret_sql.plan.files import LEVEL_NUMBERS, NUMBERS, TEXTS, TILE_NUMBERS, Files, Kind
from rasteret_sql.plan.native_grid import without_place
from rasteret_sql.plan.ragged import bounds_of, spread
from rasteret_sql.sql import planning

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.select import Selection
    from rasteret_sql.sql.index_rows import AssetProperties, IndexRows

    Numbers = npt.NDArray[np.int64]

#: Tiles whose bytes are fetched and written at a time.
_TILES_AT_ONCE: Final = 1 << 22
_SMALL: Final = 1 << 32


def plan_files(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> tuple[Files, AssetProperties]:
    """Write the files that arguments leave to a folder of this process.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what was asked; its level and resolution are None.

    Returns:
        The files, ordered by collection, datetime, item and asset, and what the index says of each.

    Raises:
        InvalidArgumentError: an argument is wrong, or a file has no CRS or transform.
        InvalidIndexError: the index is not one.
        EmptyReadError: nothing is left.
    """
    with planning.index_rows(cursor, arguments, with_properties=True) as rows:
        selection = rows.select(arguments)
        if len(selection):
            _check_placed(rows.index.files, selection.files)
            return _written(rows, selection), rows.properties_of(selection)
    raise planning.nothing_found(cursor, arguments)


def _written(rows: IndexRows, selection: Selection) -> Files:
    files, chosen = rows.index.files, selection.files
    writer = ColumnWriter()
    try:
        for name in TEXTS:
            column = files.texts(name)
            writer.texts(name, (column[number] for number in chosen.tolist()))
        kinds, kind_of = _kinds(files, selection)
        codes, code_of = _numbered(files.column("crs")[chosen])
        counts = files.column("level_count")[chosen]
        columns = {name: files.column(name)[chosen] for name in NUMBERS}
        columns |= {"kind": kind_of, "crs": code_of, "first_level": bounds_of(counts)[:-1]}
        for name, values in columns.items():
            writer.numbers(name, values)
        levels = spread(files.column("first_level")[chosen], counts)
        for name in LEVEL_NUMBERS:
            writer.numbers(name, files.column(name)[levels])
        _write_tiles(writer, rows, np.repeat(chosen, counts), spread(np.zeros_like(counts), counts))
    except BaseException:
        writer.discard()
        raise
    return Files(writer.close(), kinds, [files.crs[code] for code in codes])


def _write_tiles(writer: ColumnWriter, rows: IndexRows, numbers: Numbers, levels: Numbers) -> None:
    """Write where the tiles of levels lie."""
    files = rows.index.files
    ends = np.cumsum(files.tile_counts(numbers, levels))
    lengths: dict[str, list[Numbers]] = {name: [] for name in TILE_NUMBERS}
    largest = rows.largest_tile()
    start = 0
    while start < len(numbers):
        begun = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, begun + _TILES_AT_ONCE, "right")))
        found = rows.level_bytes(numbers[start:end], levels[start:end])
        lists = (*_lists(found.image), *_lists(found.mask))
        for name, each in zip(TILE_NUMBERS, lists, strict=True):
            dtype = "uint32" if name == "counts" and 0 <= largest < _SMALL else "int64"
            writer.append(name, each.values, dtype)
            lengths[name].append(each.lengths)
        start = end
    for name, parts in lengths.items():
        writer.numbers(f"{name}_bounds", bounds_of(np.concatenate(parts)))


def _lists(tiles: Any) -> tuple[Any, Any, Any]:
    return tiles.counts, tiles.run_offsets, tiles.gaps


def _kinds(files: Files, selection: Selection) -> tuple[list[Kind], Numbers]:
    """Give the kinds of the files with the bands that are read of them."""
    numbers: dict[Any, int] = {}
    keys = zip(files.column("kind")[selection.files].tolist(), selection.bands, strict=True)
    kind_of = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    kinds = [
        Kind(files.kinds[number].frames, files.kinds[number].formats, bands, files.kinds[number].alpha_band)
        for number, bands in numbers
    ]
    return kinds, kind_of


def _numbered(values: Numbers) -> tuple[list[int], Numbers]:
    """Give the distinct values in the order in which they come, and the position of each value among them."""
    numbers: dict[int, int] = {}
    found = np.array([numbers.setdefault(value, len(numbers)) for value in values.tolist()], np.int64)
    return list(numbers), found


def _check_placed(files: Files, chosen: Numbers) -> None:
    has_crs = np.array([code is not None for code in files.crs], bool)[files.column("crs")[chosen]]
    nowhere = np.flatnonzero(~has_crs | np.isnan(files.column("x_size")[chosen]))
    if len(nowhere):
        first = int(chosen[nowhere[0]])
        name = f'asset "{files.texts("asset")[first]}" of item {files.texts("item_id")[first]}'
        raise without_place("grid", name)
