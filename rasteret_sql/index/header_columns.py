"""Values of a TIFF header as columns of an index: levels, footprint, bounds and bands, compared with STAC. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.database.schema import index_schema
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import same_crs
from rasteret_sql.geo.footprint import footprint
from rasteret_sql.tiff.gdal_metadata import parse_nodata
from rasteret_sql.tiff.model import TileFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from rasteret_sql.index.found import BandList
    from rasteret_sql.tiff.model import Band, Header, Level

    Affine = tuple[float, float, float, float, float, float]
    Numbered = tuple[Level | None, int]
    Numbers = npt.NDArray[np.int64]

#: Tiles of a run: part of the format of an index. The readers have the same number: `_rst_run_tiles()` and `plan`.
RUN_TILES: Final = 64
#: Offsets and byte counts below this, and so gaps, fit 64 bits.
MAX_OFFSET: Final = 1 << 62
_FORMAT_FIELDS = tuple(field.name for field in fields(TileFormat))
#: Two transforms are the same where they differ by less than this part of a pixel over the whole image.
SAME_GRID_PIXELS = 0.01
_TEXTS = ("name", "common_name", "description", "unit")
_NUMBERS = ("nodata", "scale", "offset")


def levels_to_arrow(rows: Sequence[Sequence[Level]]) -> tuple[pa.ListArray, pa.ListArray]:
    """Give the levels of many files as the columns `formats` and `levels` of the index.

    Args:
        rows: `Header.levels` of each file.

    Returns:
        One list of structs per file, of the types that the schema gives `formats` and `levels`.
    """
    formats = [formats_of(levels) for levels in rows]
    numbers = [{form: number for number, form in enumerate(forms, 1)} for forms in formats]
    flat: list[Numbered] = [
        (level, known[level.format]) for levels, known in zip(rows, numbers, strict=True) for level in levels
    ]
    masks: list[Numbered] = [
        (level.mask, known[level.mask.format] if level.mask is not None else 0)
        for levels, known in zip(rows, numbers, strict=True)
        for level in levels
    ]
    return _lists(formats, _format_structs(formats), "formats"), _lists(rows, _structs(flat, masks), "levels")


def formats_of(levels: Sequence[Level]) -> list[TileFormat]:
    """Give the formats of the levels and masks of one file, each once."""
    parts = [part for level in levels for part in (level, level.mask) if part is not None]
    return list(dict.fromkeys(part.format for part in parts))


def _lists(rows: Sequence[Sequence[Any]], values: pa.Array, column: str) -> pa.ListArray:
    import pyarrow as pa

    ends = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), values, type=index_schema().field(column).type)


def _format_structs(formats: Sequence[Sequence[TileFormat]]) -> pa.Array:
    import pyarrow as pa

    kind = index_schema().field("formats").type.value_type
    return pa.array([{name: getattr(form, name) for name in _FORMAT_FIELDS} for row in formats for form in row], kind)


def _structs(
    levels: Sequence[Numbered], masks: Sequence[Numbered] = (), kind: pa.StructType | None = None
) -> pa.StructArray:
    """Give one struct per level; null for no level."""
    import pyarrow as pa

    kind = kind or index_schema().field("levels").type.value_type
    there = [(level, number) for level, number in levels if level is not None]
    runs = runs_of([level for level, _ in there])
    arrays = []
    for field in kind:
        if field.name == "format":
            values = pa.array([number for _, number in there], field.type)
        elif field.name == "mask":
            values = _structs(masks, kind=field.type)
        elif pa.types.is_list(field.type):
            lists = getattr(runs, field.name)
            ends = np.concatenate([[0], np.cumsum(lists.lengths)]).astype(np.int32)
            values = pa.ListArray.from_arrays(pa.array(ends), pa.array(lists.values), type=field.type)
        else:
            values = pa.array([getattr(level, field.name) for level, _ in there], field.type)
        arrays.append(values)
    structs = pa.StructArray.from_arrays(arrays, fields=list(kind))
    if len(there) == len(levels):
        return structs
    position = np.cumsum([level is not None for level, _ in levels]) - 1
    indices = pa.array(
        [int(at) if level is not None else None for at, (level, _) in zip(position, levels, strict=True)],
        pa.int64(),
    )
    return structs.take(indices)


@dataclass(frozen=True, slots=True)
class Lists:
    """One list of numbers per level: all numbers, and the length of each list."""

    values: Numbers
    lengths: Numbers


@dataclass(frozen=True, slots=True)
class Runs:
    """The tiles of some levels as the index has them.

    In nearly every file tiles lie back to back, or a constant number of bytes apart, so that offsets follow from the
    byte counts. Tiles in any other order have a gap each. `sql/macros/_rst_tile_offset.sql` gives the offsets back.

    Attributes:
        tile_byte_counts: per tile; 0 for a sparse tile.
        run_offsets: per run of `RUN_TILES` tiles, the offset of its first tile that is not sparse; 0 if all are.
        tile_gaps: bytes from the end of a tile to the next tile of its run that is not sparse: one number for a whole
            level, or one per tile. The gap of a sparse tile and of the last tile of a run is 0.
    """

    tile_byte_counts: Lists
    run_offsets: Lists
    tile_gaps: Lists


def runs_of(levels: Sequence[Level]) -> Runs:
    """Give the offsets and byte counts of many levels as runs.

    Args:
        levels: each with as many offsets as byte counts, below `MAX_OFFSET`.
    """
    lengths = np.array([level.tile_byte_counts.size for level in levels], np.int64)
    offsets = _joined([level.tile_offsets for level in levels])
    counts = _joined([level.tile_byte_counts for level in levels])
    is_there = (offsets > 0) & (counts > 0)
    counts = np.where(is_there, counts, 0)

    level = np.repeat(np.arange(lengths.size), lengths)
    position = np.arange(offsets.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    runs = -(-lengths // RUN_TILES)
    run = np.repeat(np.cumsum(runs) - runs, lengths) + position // RUN_TILES

    there = np.flatnonzero(is_there)
    is_first = np.append(True, run[there][1:] != run[there][:-1])[: there.size]
    run_offsets = np.zeros(int(runs.sum()), np.int64)
    run_offsets[run[there[is_first]]] = offsets[there[is_first]]

    before, after = there[:-1][~is_first[1:]], there[1:][~is_first[1:]]
    gaps = np.zeros(offsets.size, np.int64)
    gaps[before] = offsets[after] - offsets[before] - counts[before]
    usual = np.zeros(lengths.size, np.int64)
    usual[level[before]] = gaps[before]
    is_one = np.ones(lengths.size, np.bool_)
    is_one[level[before][gaps[before] != usual[level[before]]]] = False
    # One number stands for every tile, and a sparse one has no gap.
    is_one[level[~is_there]] &= usual[level[~is_there]] == 0
    kept = ~is_one[level] | (position == 0)
    values = np.where(is_one[level], usual[level], gaps)[kept]
    return Runs(
        Lists(counts, lengths),
        Lists(run_offsets, runs),
        Lists(values, np.where(is_one, np.minimum(lengths, 1), lengths)),
    )


def _joined(parts: Sequence[Any]) -> Numbers:
    if not parts:
        return np.empty(0, np.int64)
    return np.concatenate([np.asarray(part, np.int64) for part in parts])


def header_footprint(header: Header) -> bytes | None:
    """The outline of a raster as WKB in OGC:CRS84, or None where it has no grid that lon/lat can express.

    Edges are densified. An outline over the antimeridian is split there; one around a pole reaches it.
    """
    if header.crs is None or header.transform is None:
        return None
    import shapely

    level = header.levels[0]
    outline = footprint(header.crs, header.transform, level.width, level.height)
    return None if outline is None else bytes(shapely.to_wkb(outline))


def bounds_of(geometry: bytes | None) -> dict[str, float] | None:
    """Bounds of a WKB geometry as the `bbox` column holds them; None where lon/lat cannot be meant.

    Longitudes lie within -180 to 180: what is beyond is moved by 360 degrees, and what is on both sides is as wide as
    the Earth. Reads prune row groups by them, by plain comparisons.
    """
    if geometry is None:
        return None
    import shapely

    bounds = shapely.bounds(shapely.from_wkb(geometry)).tolist()
    xmin, ymin, xmax, ymax = bounds
    if not all(map(math.isfinite, bounds)) or not (-360 <= xmin <= xmax <= 360 and -90.001 <= ymin <= ymax <= 90.001):
        return None
    if xmax > 180 or xmin < -180:
        offset = -360 if xmin >= 180 else 360 if xmax <= -180 else 0
        xmin, xmax = xmin + offset, xmax + offset
        if xmax > 180 or xmin < -180:
            xmin, xmax = -180.0, 180.0
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}


def joint_bounds(one: dict[str, float] | None, other: dict[str, float] | None) -> dict[str, float] | None:
    """Bounds that hold both, or the one that there is."""
    if one is None or other is None:
        return one or other
    return {
        "xmin": min(one["xmin"], other["xmin"]),
        "ymin": min(one["ymin"], other["ymin"]),
        "xmax": max(one["xmax"], other["xmax"]),
        "ymax": max(one["ymax"], other["ymax"]),
    }


def contradicts(header: Header, proj: Mapping[str, Any]) -> bool:
    """Whether what STAC says of the CRS, shape or transform of an asset is not what its header says."""
    level = header.levels[0]
    shape = proj.get("shape")
    if shape is not None and list(shape) != [level.height, level.width]:
        return True
    transform = proj.get("transform")
    if transform is not None and header.transform is not None:
        return not _is_same_grid(header.transform, transform, level.width, level.height)
    code = proj.get("code")
    return code is not None and header.crs is not None and not _is_same_crs(header.crs, code)


def _is_same_crs(ours: str, theirs: str) -> bool:
    try:
        return same_crs(ours, theirs)
    except InvalidArgumentError:
        return False


def _is_same_grid(ours: Sequence[float], theirs: Sequence[Any], width: int, height: int) -> bool:
    if len(theirs) < 6 or not all(isinstance(value, (int, float)) for value in theirs[:6]):
        return False
    tolerance = SAME_GRID_PIXELS * max(abs(ours[0]), abs(ours[1]), abs(ours[3]), abs(ours[4]))
    spans = (width, height, 1, width, height, 1)
    return all(abs(our - their) * span <= tolerance for our, their, span in zip(ours, theirs[:6], spans, strict=True))


def possible_nodata(band_lists: Sequence[BandList], dtype: str) -> tuple[list[BandList], list[str]]:
    """Leave out nodata values of a source that no pixel can have, as for nodata values of headers.

    Args:
        band_lists: bands as the source describes them.
        dtype: of the pixels.

    Returns:
        The lists without such values, and a note on each value that was left out.
    """
    notes: dict[str, None] = {}

    def checked(band: Mapping[str, Any]) -> Mapping[str, Any]:
        value = band.get("nodata")
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return band
        _, note = parse_nodata(str(value), dtype, "nodata of the source")
        if note is None:
            return band
        notes[note] = None
        return {name: one for name, one in band.items() if name != "nodata"}

    return [tuple(map(checked, described)) for described in band_lists], list(notes)


def merge_bands(bands: Sequence[Band], band_lists: Sequence[BandList], asset: str) -> list[dict[str, Any]]:
    """Describe the bands of a file.

    nodata, scale, offset and unit come from the TIFF header, or from the source if the header has none. The name comes
    from the source, else from the description in the TIFF, else it is the asset key of a single band, else the number
    of the band.

    Args:
        bands: as the header describes them.
        band_lists: as the source describes them. A list counts only if it fits: one entry per band, with or without
            the alpha bands.
        asset: key of the asset.

    Returns:
        One entry per band, with the fields of `bands` in the index.
    """
    fitting = [described for described in (_fitted(bands, one) for one in band_lists) if described]
    return [_merged(band, [described[at] for described in fitting], asset, len(bands)) for at, band in enumerate(bands)]


def _fitted(bands: Sequence[Band], described: BandList) -> list[Mapping[str, Any]]:
    nothing: Mapping[str, Any] = {}
    if len(described) == 1 and described[0].get("every"):
        return [nothing if band.is_alpha else described[0] for band in bands]
    if len(described) == len(bands):
        return list(described)
    if len(described) == sum(not band.is_alpha for band in bands):
        entries = iter(described)
        return [nothing if band.is_alpha else next(entries) for band in bands]
    return []


def _merged(band: Band, described: Sequence[Mapping[str, Any]], asset: str, band_count: int) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for entry in described:
        for name in _TEXTS:
            if isinstance(entry.get(name), str) and entry[name]:
                given.setdefault(name, entry[name])
        for name in _NUMBERS:
            number = _number(entry.get(name))
            if number is not None:
                given.setdefault(name, number if name == "nodata" else float(number))
    nodata = _first(band.nodata, given.get("nodata"))
    own_name = band.description or (asset if band_count == 1 else str(band.band))
    return {
        "name": given.get("name") or own_name,
        "band": band.band,
        "common_name": given.get("common_name"),
        "description": band.description or given.get("description"),
        "nodata": None if nodata is None else float(nodata),
        "scale": _first(band.scale, given.get("scale")),
        "offset": _first(band.offset, given.get("offset")),
        "unit": band.unit or given.get("unit"),
        "is_alpha": band.is_alpha,
        "nodata_integer": _beyond_double(nodata),
    }


def _first(header: float | None, source: float | None) -> float | None:
    return source if header is None else header


def _beyond_double(nodata: object) -> int | None:
    """The integer that a double does not hold, or None."""
    return nodata if isinstance(nodata, int) and int(float(nodata)) != nodata else None


def _number(value: object) -> float | None:
    """Read a number; STAC writes some as text: "nan", "inf", "-inf". Integers stay exact."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return value if isinstance(value, int) else number
