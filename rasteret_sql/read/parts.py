"""Reads parts of the ground, each a grid of its own, from the files of a table: all that a batch takes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import same_crs
from rasteret_sql.geo.pixelsize import resolution_in
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.cube import Cube, CubeBand, Sources
from rasteret_sql.plan.dtypes import common_dtype
from rasteret_sql.plan.mosaics import mosaic_dtype
from rasteret_sql.plan.places import Places
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.plan.tiles import Layouts, Windows, plan_windows
from rasteret_sql.read.assembly import read_cubes
from rasteret_sql.tiff.nodata import fill_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.files import Files
    from rasteret_sql.plan.places import Window
    from rasteret_sql.plan.tile_plan import PlannedBand, TilePlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.windows import OnFailure


@dataclass(frozen=True, slots=True)
class Part:
    """What is read at once into one array (slice, band, y, x).

    Attributes:
        box: its grid.
        slices: the items of each slice, in the order in which a mosaic takes them.
    """

    box: GeoBox
    slices: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class BandFiles:
    """Which file has which band of an item.

    Attributes:
        bands: names, in the order in which they were asked for.
        dtypes: that the pixels of the bands are cast to when they are decoded.
        file: number of the file by item and band, shape (item, band).
        known: what the file says of that band, by the number of its kind and the place of the band.
    """

    bands: tuple[str, ...]
    dtypes: tuple[np.dtype[Any], ...]
    file: npt.NDArray[np.int64]
    known: dict[tuple[int, int], PlannedBand]

    @classmethod
    def of(cls, table: Files, item_of: npt.NDArray[np.int64], *, may_cast: bool = False) -> BandFiles:
        """Find them.

        Args:
            table: the files.
            item_of: the item of each file.
            may_cast: whether files of a band may have two dtypes; their pixels get one that holds both.

        Raises:
            InvalidArgumentError: an item lacks a band or has it twice, or the files of a band have two dtypes.
        """
        positions = sorted(
            {(band.position, number, band.band, band.name) for number, kind in enumerate(table.kinds)
             for band in kind.bands}
        )  # fmt: skip
        places = {name: place for place, name in enumerate(dict.fromkeys(name for *_, name in positions))}
        known = {(number, places[band.name]): band for number, kind in enumerate(table.kinds) for band in kind.bands}
        kinds = table.column("kind")
        file = np.full((int(item_of.max()) + 1, len(places)), -1, np.int64)
        for number, kind in enumerate(table.kinds):
            mine = np.flatnonzero(kinds == number)
            for band in kind.bands:
                taken = file[item_of[mine], places[band.name]]
                doubled = mine[(taken >= 0) | (_repeated(item_of[mine]))]
                if doubled.size:
                    _refuse_second(table, item_of, int(doubled[0]), file, places, band.name)
                file[item_of[mine], places[band.name]] = mine
        _require_all(table, item_of, file, tuple(places))
        return cls(tuple(places), _dtypes(table, file, tuple(places), may_cast=may_cast), file, known)


class PartReader:
    """Reads parts of the ground.

    Args:
        table: the files.
        bands: which of them have which band.
        method: how pixels are resampled.
        mosaic: how items of one slice that overlap become one.
    """

    def __init__(self, table: Files, bands: BandFiles, *, method: str, mosaic: str) -> None:
        self._table, self._files = table, bands
        self._bands = tuple(_cube_band(bands, place, method=method, mosaic=mosaic) for place in range(len(bands.bands)))

    @property
    def bands(self) -> tuple[CubeBand, ...]:
        """What is known of the bands."""
        return self._bands

    def read(
        self, parts: Sequence[Part], options: ReadOptions | None = None, on_failure: OnFailure | None = None
    ) -> list[tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        """Read some parts; what they share is fetched and decoded once.

        Args:
            parts: what is read.
            options: bounds of the read.
            on_failure: told of each file that failed; its pixels are then as if they were nodata.

        Returns:
            For each part its pixels and which of them are valid, shape (slice, band, y, x). The dtype is one that
            holds all bands; where there is no data pixels have the nodata value of the band, or 0.

        Raises:
            RasteretError: bytes could not be fetched or decoded, and there is no `on_failure`.
        """
        # Found once: the reader of cubes asks for the same.
        places = [Places(part.box) for part in parts]
        plan, sources = self.plan(parts, places)
        dtype = np.result_type(*(band.dtype for band in self._bands))
        results, cubes = [], []
        for part, found, where in zip(parts, sources, places, strict=True):
            shape = len(part.slices), len(self._bands), part.box.height, part.box.width
            pixels, mask = np.empty(shape, dtype), np.empty(shape, bool)
            own = [
                pixels[:, place] if band.dtype == dtype else np.empty((shape[0], *shape[2:]), band.dtype)
                for place, band in enumerate(self._bands)
            ]
            cube = Cube(part.box, self._bands, shape[0], plan, found, part.box)
            cubes.append((cube, own, [mask[:, place] for place in range(shape[1])], where))
            results.append((pixels, mask))
        read_cubes(cubes, options=options, on_failure=on_failure)
        for (_, own, *_), (pixels, _) in zip(cubes, results, strict=True):
            for place, band in enumerate(self._bands):
                if band.dtype != dtype:
                    pixels[:, place] = own[place]
        return results

    def plan(self, parts: Sequence[Part], places: Sequence[Places]) -> tuple[TilePlan, list[Sources]]:
        """Plan some parts together; gives which rows of the plan go where in each.

        Args:
            parts: what is read.
            places: where the grid of each lies in files.
        """
        taken: list[_Taken] = []
        for number, (part, where) in enumerate(zip(parts, places, strict=True)):
            taken += self._taken(number, part, where)
        numbers: dict[tuple[int, int], int] = {}
        asset_no = np.array([numbers.setdefault((each.file, each.level), len(numbers)) for each in taken], np.int64)
        files, levels = np.array(list(numbers), np.int64).reshape(-1, 2).T
        assets = [self._table.asset(*key) for key in numbers]
        windows = np.array(
            [(each.window.row_off, each.window.col_off, each.window.row_end, each.window.col_end) for each in taken],
            np.int64,
        ).reshape(-1, 4)
        layouts = Layouts(assets, self._table.level_bytes, self._table.slots(files, levels))
        planned = plan_windows(layouts, Windows.of(assets, asset_no, [each.known for each in taken], windows))
        part_of, band, group, place = (
            np.array([getattr(each, name) for each in taken], np.int64) for name in ("part", "band", "group", "place")
        )
        whole = Sources(asset_no, band, group, place, planned.bounds[:-1], planned.bounds[1:])
        return planned.tiles, [whole.take(np.flatnonzero(part_of == number)) for number in range(len(parts))]

    def _taken(self, number: int, part: Part, places: Places) -> Iterator[_Taken]:
        """Give what a part takes of each file: at the level whose pixels are no larger than those of its grid."""
        wanted = [
            (group, place, int(self._files.file[item, place]))
            for group, items in enumerate(part.slices)
            for place in range(len(self._bands))
            for item in items
        ]
        files = np.array([file for *_, file in wanted], np.int64)
        codes = self._table.column("crs")[files]
        steps = {code: _step(self._table.crs[code], part.box) for code in np.unique(codes).tolist()}
        levels = self._table.coarsest(files, np.array([steps[code] for code in codes.tolist()]))
        kinds = self._table.column("kind")[files]
        for (group, place, file), level, kind in zip(wanted, levels.tolist(), kinds.tolist(), strict=True):
            found = places.window(self._table.asset(file, level), part.box, self._bands[place].method)
            if found is not None:
                yield _Taken(number, group, place, file, level, self._files.known[kind, place], found[0])


class _Taken(NamedTuple):
    """A window of a band of a file that a part takes."""

    part: int
    group: int
    place: int
    file: int
    level: int
    known: PlannedBand
    window: Window

    @property
    def band(self) -> int:
        """The number of the band in the file."""
        return self.known.band


def _step(crs: str | None, box: GeoBox) -> float:
    return min(box.x_size, box.y_size) if same_crs(crs, box.crs) else resolution_in(crs, box)


def _cube_band(files: BandFiles, place: int, *, method: str, mosaic: str) -> CubeBand:
    known = [band for (_, number), band in sorted(files.known.items(), key=lambda each: each[0]) if number == place]
    nodatas = {repr(band.nodata): band.nodata for band in known}
    nodata = next(iter(nodatas.values())) if len(nodatas) == 1 else None
    dtype = mosaic_dtype(mosaic, files.dtypes[place])
    return CubeBand(
        name=files.bands[place],
        source_dtype=files.dtypes[place],
        dtype=dtype,
        nodata=nodata,
        fill=fill_value(dtype, nodata),
        is_filled=True,
        has_mask=True,
        mask_kinds=frozenset(MaskKind),
        scale=known[0].scale,
        offset=known[0].offset,
        unit=known[0].unit,
        method=method,
        mosaic=mosaic,
    )


def _repeated(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say which values are there a second time."""
    _, first = np.unique(values, return_index=True)
    repeated = np.ones(values.size, np.bool_)
    repeated[first] = False
    return repeated


def _refuse_second(
    table: Files, item_of: npt.NDArray[np.int64], number: int, file: npt.NDArray[np.int64],
    places: dict[str, int], name: str,
) -> None:  # fmt: skip
    """Say which two files have a band of an item.

    Raises:
        InvalidArgumentError: always.
    """
    other = int(file[item_of[number], places[name]])
    if other < 0:
        other = int(np.flatnonzero(item_of == item_of[number])[0])
    one, two = table.asset(other, 0), table.asset(number, 0)
    raise InvalidArgumentError(
        f'band "{name}" of item {two.item_id}: got two, in {redact(one.href)} and {redact(two.href)}, expected one; '
        "tell them apart in the query, for example by their href or collection"
    )


def _require_all(
    table: Files, item_of: npt.NDArray[np.int64], file: npt.NDArray[np.int64], names: Sequence[str]
) -> None:
    """Refuse items that lack a band: their pixels would be nodata that nobody asked for.

    Raises:
        InvalidArgumentError: there is one.
    """
    lacking = np.flatnonzero((file < 0).any(axis=1))
    if not lacking.size:
        return
    first = int(lacking[0])
    item_id = table.asset(int(np.flatnonzero(item_of == first)[0]), 0).item_id
    missing = [name for place, name in enumerate(names) if file[first, place] < 0]
    raise InvalidArgumentError(
        f"bands: item {item_id} has no {', '.join(missing)}, and so has {lacking.size - 1} other of {len(file)} items; "
        f"expected all of {', '.join(names)}; ask for other bands, or leave these items out in the query"
    )


def _dtypes(
    table: Files, file: npt.NDArray[np.int64], names: Sequence[str], *, may_cast: bool
) -> tuple[np.dtype[Any], ...]:
    kinds = table.column("kind")
    found = []
    for place, name in enumerate(names):
        numbers = file[:, place]
        _, first = np.unique(kinds[numbers], return_index=True)
        assets = [table.asset(int(numbers[row]), 0) for row in first]
        other = next((asset for asset in assets if asset.dtype != assets[0].dtype), None)
        common = common_dtype(*(asset.dtype for asset in assets))
        if other is not None and not may_cast:
            raise InvalidArgumentError(
                f'band "{name}": item {assets[0].item_id} is {assets[0].dtype} and item {other.item_id} is '
                f"{other.dtype}, expected one dtype; give dtype, one that holds {common}, or read them apart"
            )
        found.append(common)
    return tuple(found)
