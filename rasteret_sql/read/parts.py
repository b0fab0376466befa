"""Reads the parts of a batch from the files of a table. Each part is a grid with its own items."""

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
from rasteret_sql.plan.scaling import physical_band, scaling_of
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
    """One grid and its items, read into one array (slice, band, y, x).

    Attributes:
        box: the grid.
        slices: the items of each slice, in mosaic order.
        whole: the grid that contains `box`, or None for `box` itself. It decides the level and the width of kernels.
    """

    box: GeoBox
    slices: tuple[tuple[int, ...], ...]
    whole: GeoBox | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BandFiles:
    """The file of each band of each item.

    Attributes:
        bands: band names, in the requested order.
        dtypes: the dtype of each band. Pixels are cast to it when they are decoded.
        file: file numbers, shape (item, band).
        known: the properties of a band, by the number of its file kind and its index in `bands`.
    """

    bands: tuple[str, ...]
    dtypes: tuple[np.dtype[Any], ...]
    file: npt.NDArray[np.int64]
    known: dict[tuple[int, int], PlannedBand]

    @classmethod
    def of(cls, table: Files, item_of: npt.NDArray[np.int64], *, may_cast: bool = False) -> BandFiles:
        """Find the file of each band of each item.

        Args:
            table: the files.
            item_of: the item number of each file, shape (file,).
            may_cast: True if the files of a band may differ in dtype. Their pixels get a dtype that holds all of them.

        Raises:
            InvalidArgumentError: an item lacks a band or has it twice, or the files of a band differ in dtype and
                `may_cast` is False.
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
    """Reads parts from the files of a table.

    Args:
        table: the files.
        bands: the file of each band of each item.
        method: the resampling method.
        mosaic: the rule for overlapping items of a slice. None leaves invalid pixels of a file on the grid as they are.
        is_physical: whether pixels are physical values, each by the scale and offset of its file.
    """

    def __init__(
        self, table: Files, bands: BandFiles, *, method: str, mosaic: str | None, is_physical: bool = False
    ) -> None:
        self._table, self._files = table, bands
        self._bands = tuple(
            _cube_band(bands, place, method=method, mosaic=mosaic, is_physical=is_physical)
            for place in range(len(bands.bands))
        )

    @property
    def bands(self) -> tuple[CubeBand, ...]:
        """The bands of the results: names, dtypes, nodata values, scales and offsets."""
        return self._bands

    def read(
        self, parts: Sequence[Part], options: ReadOptions | None = None, on_failure: OnFailure | None = None
    ) -> list[tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        """Read parts. Tiles that parts share are fetched and decoded once.

        Args:
            parts: the parts.
            options: limits of requests and memory.
            on_failure: called with each failed file. The pixels of the file are then nodata.

        Returns:
            The pixels and the mask of each part, both of shape (slice, band, y, x). True in the mask means valid. All
            bands have one dtype, which holds the values of each. Pixels without data have the nodata value of
            their band, or 0 if it has none, or NaN if they are physical values.

        Raises:
            RasteretError: bytes could not be fetched or decoded, and there is no `on_failure`.
        """
        # `read_cubes` needs the same positions, so they are computed once.
        places = [Places(part.whole or part.box) for part in parts]
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
            cube = Cube(part.box, self._bands, shape[0], plan, found, part.whole or part.box)
            cubes.append((cube, own, [mask[:, place] for place in range(shape[1])], where))
            results.append((pixels, mask))
        read_cubes(cubes, options=options, on_failure=on_failure)
        for (_, own, *_), (pixels, _) in zip(cubes, results, strict=True):
            for place, band in enumerate(self._bands):
                if band.dtype != dtype:
                    pixels[:, place] = own[place]
        return results

    def plan(self, parts: Sequence[Part], places: Sequence[Places]) -> tuple[TilePlan, list[Sources]]:
        """Plan parts together.

        Args:
            parts: the parts.
            places: the position of each part's grid in files.

        Returns:
            One plan of all tiles, and the sources of each part: its bands of files, with their rows of the plan.
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
        """Yield the windows of a part, at the coarsest level whose pixels are not larger than those of its grid."""
        wanted = [
            (group, place, int(self._files.file[item, place]))
            for group, items in enumerate(part.slices)
            for place in range(len(self._bands))
            for item in items
        ]
        files = np.array([file for *_, file in wanted], np.int64)
        codes = self._table.column("crs")[files]
        whole = part.whole or part.box
        steps = {code: _step(self._table.crs[code], whole) for code in np.unique(codes).tolist()}
        levels = self._table.coarsest(files, np.array([steps[code] for code in codes.tolist()]))
        kinds = self._table.column("kind")[files]
        for (group, place, file), level, kind in zip(wanted, levels.tolist(), kinds.tolist(), strict=True):
            found = places.window(self._table.asset(file, level), part.box, self._bands[place].method)
            if found is not None:
                yield _Taken(number, group, place, file, level, self._files.known[kind, place], found[0])


class _Taken(NamedTuple):
    """One window of one band of a file, read for a part."""

    part: int
    group: int
    place: int
    file: int
    level: int
    known: PlannedBand
    window: Window

    @property
    def band(self) -> int:
        """The band's number in the file."""
        return self.known.band


def _step(crs: str | None, box: GeoBox) -> float:
    return min(box.x_size, box.y_size) if same_crs(crs, box.crs) else resolution_in(crs, box)


def _cube_band(files: BandFiles, place: int, *, method: str, mosaic: str | None, is_physical: bool) -> CubeBand:
    known = [band for (_, number), band in sorted(files.known.items(), key=lambda each: each[0]) if number == place]
    nodatas = {repr(band.nodata): band.nodata for band in known}
    nodata = next(iter(nodatas.values())) if len(nodatas) == 1 else None
    dtype = mosaic_dtype(mosaic, files.dtypes[place])
    band = CubeBand(
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
    return physical_band(band, [scaling_of(each) for each in known]) if is_physical else band


def _repeated(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return True for each value that occurs earlier in the array."""
    _, first = np.unique(values, return_index=True)
    repeated = np.ones(values.size, np.bool_)
    repeated[first] = False
    return repeated


def _refuse_second(
    table: Files, item_of: npt.NDArray[np.int64], number: int, file: npt.NDArray[np.int64],
    places: dict[str, int], name: str,
) -> None:  # fmt: skip
    """Refuse two files with the same band of an item.

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
    """Refuse items that lack a band, because their pixels would silently be nodata.

    Raises:
        InvalidArgumentError: an item lacks a band.
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
