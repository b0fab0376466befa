"""Rows of pixels, such as a query over `read_pixels` gives, as arrays on the grid that their coordinates lie on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.arrays.given_tiles import column_names, table_of
from rasteret_sql.arrays.memory import check_bytes, new_array
from rasteret_sql.checks import shown
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.geo.crs import normalized_crs, same_crs, shortened
from rasteret_sql.geo.geobox import GeoBox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    Floats = npt.NDArray[np.float64]

#: Columns that are no values.
_KEYS: Final = ("item_id", "collection", "datetime", "x", "y", "crs", "band")
#: Part of a pixel by which coordinates may miss the grid.
_MISS: Final = 1e-3
#: Digits that tell every float64.
_ALL_DIGITS: Final = 17


@dataclass(frozen=True, slots=True, eq=False)
class PixelTable:
    """Rows of pixels as arrays.

    Attributes:
        box: their grid, north up.
        xs, ys: coordinates of the centres, as rows have them.
        times: of the slices, NaT where rows have none; shape (time,).
        values: (time, y, x) by band, float64, NaN where no row has a value.
    """

    box: GeoBox
    xs: Floats
    ys: Floats
    times: npt.NDArray[np.datetime64]
    values: dict[str, Floats]


def holds_pixels(rows: Any) -> bool:
    """Whether a query result holds rows of pixels rather than those of an index; nothing is run to know.

    Texts and paths are those of an index.
    """
    names = {name.lower() for name in column_names(rows)}
    return {"x", "y"} <= names and names.isdisjoint({"levels", "tile_row", "href"})


def refuse_others(given: Mapping[str, Any]) -> None:
    """Refuse arguments that say how files are read.

    Args:
        given: arguments by name; None where they are not given.

    Raises:
        InvalidArgumentError: there is one.
    """
    for name, value in given.items():
        if value is not None:
            raise InvalidArgumentError(
                f"{name}: got {shown(value)} with rows of pixels, expected none: they have been read; write it in the "
                "query over read_pixels"
            )


def pixel_table(rows: Any, bands: Sequence[str] | None, crs: Any, resolution: float | None) -> PixelTable:
    """Put rows of pixels on a grid.

    Args:
        rows: a DuckDB relation, an Arrow table, batch or stream, or a data frame: `x` and `y`; `band` and `value`, or a
            column for each band; and, where there are several times or CRSs to tell, `datetime` and `crs`.
        bands: names of the bands that are wanted, in that order; None for all.
        crs: of the coordinates, where no column has it.
        resolution: size of pixels, where coordinates do not tell it.

    Raises:
        InvalidArgumentError: a column is missing, rows lie on no grid, or two rows are one pixel.
        EmptyReadError: there are no rows.
        InvalidIndexError: the query does not run.
    """
    names = {name.lower(): name for name in column_names(rows)}
    table = table_of(rows, list(names.values())).rename_columns(list(names))
    if not len(table):
        raise EmptyReadError("pixels: the query gives no rows, expected those of pixels; widen its conditions")
    own_crs = _crs_of(table, crs)
    x, y = (_numbers(table, name) for name in ("x", "y"))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidArgumentError("x, y: got NULL or NaN, expected the coordinates of pixels; leave such rows out")
    across, cols = _axis("x", x, resolution)
    down, rows_of = _axis("y", y, resolution)
    times, slices = _times(table)
    shape = len(times), len(down.centres), len(across.centres)
    series = _series(table, bands)
    check_bytes(shape, len(series), 8 * len(series))
    place = np.ravel_multi_index((slices, len(down.centres) - 1 - rows_of, cols), shape)
    transform = (across.size, 0.0, across.start, 0.0, -down.size, down.end)
    return PixelTable(
        GeoBox(own_crs, transform, shape[1], shape[2]),
        across.centres,
        down.centres[::-1],
        times,
        {name: _filled(name, shape, place[chosen], values) for name, (chosen, values) in series.items()},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """Centres of pixels, ascending, their size, and where the first begins and the last ends."""

    centres: Floats
    size: float
    start: float
    end: float


def _axis(name: str, values: Floats, resolution: float | None) -> tuple[_Axis, npt.NDArray[np.int64]]:
    """Find the pixels of an axis, and which of them each value is the centre of."""
    known = np.unique(values)
    if len(known) == 1 and resolution is None:
        raise InvalidArgumentError(
            f"{name}: got the one coordinate {known[0]}, expected two or more, which tell the size of pixels; give "
            "resolution"
        )
    size = float(resolution or np.diff(known).min())
    count = round((known[-1] - known[0]) / size)
    if resolution is None:
        size = float((known[-1] - known[0]) / count)
    numbers = (known - known[0]) / size
    missed = np.abs(numbers - np.round(numbers))
    if missed.max() > _MISS:
        raise InvalidArgumentError(
            f"{name}: got coordinates that are {size:g} apart, and {known[int(missed.argmax())]}, which is not on such "
            "a grid; expected the centres of one grid. Choose items and bands that share one, or give crs and "
            "resolution to to_xarray with rows of an index"
        )
    noise = float(4 * np.spacing(np.abs(known).max()))
    size = _shortest(size, lambda each: np.abs(known[0] + each * np.round(numbers) - known).max() <= noise)
    start, end = (
        _shortest(edge, lambda each, edge=edge: abs(each - edge) <= noise)
        for edge in (known[0] - size / 2, known[-1] + size / 2)
    )
    centres = start + size * (np.arange(count + 1) + 0.5)
    # As the rows have them, to the last bit.
    centres[np.round(numbers).astype(np.int64)] = known
    place = np.round((values - known[0]) / size).astype(np.int64)
    return _Axis(centres, size, start, end), place


def _shortest(value: float, is_right: Any) -> float:
    """Give the number of fewest digits that is right; the value itself where none is."""
    for digits in range(1, _ALL_DIGITS + 1):
        if is_right(short := float(f"{value:.{digits}g}")):
            return short
    return value


def _crs_of(table: pa.Table, given: Any) -> str | None:
    known = table["crs"].unique().to_pylist() if "crs" in table.column_names else []
    if len(known) > 1:
        raise InvalidArgumentError(
            f"crs: got rows in {', '.join(str(shortened(each)) for each in known)}, expected one CRS; choose one in "
            "the query, or give crs and resolution to to_xarray with rows of an index"
        )
    own = known[0] if known else None
    if given is None:
        return None if own is None else normalized_crs(own)
    if own is not None and not same_crs(normalized_crs(given), own):
        raise InvalidArgumentError(
            f"crs: got {shown(given)} and rows in {shortened(own)}, expected the same; leave crs out"
        )
    return normalized_crs(given)


def _numbers(table: pa.Table, name: str) -> Floats:
    import pyarrow as pa

    column = table[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise InvalidArgumentError(f"{name}: got a column of type {column.type}, expected numbers")
    found: Floats = column.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    return found


def _times(table: pa.Table) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.int64]]:
    """Give the times of the slices, ascending, and the slice of each row."""
    import pyarrow as pa

    if "datetime" not in table.column_names:
        return np.array(["NaT"], "M8[us]"), np.zeros(len(table), np.int64)
    column = table["datetime"]
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise InvalidArgumentError(f"datetime: got a column of type {column.type}, expected times")
    moments = column.cast(pa.timestamp("us", getattr(column.type, "tz", None))).cast(pa.int64())
    no_time = np.iinfo(np.int64).min
    times, slices = np.unique(moments.fill_null(no_time).to_numpy(), return_inverse=True)
    return times.astype("M8[us]"), slices.astype(np.int64)


def _series(table: pa.Table, bands: Sequence[str] | None) -> dict[str, tuple[Any, Floats]]:
    """Give the rows and values of each band."""
    import pyarrow as pa

    everything = slice(None)
    if "band" not in table.column_names:
        numeric = [
            name
            for name in table.column_names
            if name not in _KEYS and (pa.types.is_integer(kind := table[name].type) or pa.types.is_floating(kind))
        ]
        return {name: (everything, _numbers(table, name)) for name in _wanted(numeric, bands)}
    if "value" not in table.column_names:
        raise InvalidArgumentError("value: got rows with band and without value, expected both: median(value) AS value")
    values = _numbers(table, "value")
    names = table["band"].to_numpy(zero_copy_only=False)
    known = [name for name in table["band"].unique().to_pylist() if name is not None]
    found = {}
    for name in _wanted(sorted(known), bands):
        chosen = np.flatnonzero(names == name)
        found[name] = chosen, values[chosen]
    return found


def _wanted(known: Sequence[str], bands: Sequence[str] | None) -> Sequence[str]:
    for name in bands or ():
        if name not in known:
            raise InvalidArgumentError(f"bands: got {shown(name)}, expected one of the rows: {', '.join(known)}")
    if not known:
        raise InvalidArgumentError(
            "bands: got rows without numbers beside x and y, expected value or a column of a band"
        )
    return bands or known


def _filled(name: str, shape: tuple[int, int, int], place: npt.NDArray[np.int64], values: Floats) -> Floats:
    if len(np.unique(place)) < len(place):
        order = np.sort(place)
        t, row, col = np.unravel_index(order[np.flatnonzero(np.diff(order) == 0)[0]], shape)
        raise InvalidArgumentError(
            f"pixels: got several rows of band {name!r} for slice {t}, row {row}, column {col}, expected one for each "
            "time, x, y and band; group them: SELECT x, y, band, median(value) AS value ... GROUP BY ALL"
        )
    found: Floats = new_array(shape, np.float64, np.nan)
    found.reshape(-1)[place] = values
    return found
