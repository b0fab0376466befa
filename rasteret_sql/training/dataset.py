"""The TorchGeo dataset of a query. Importing this imports torch and torchgeo, which takes seconds."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import shapely
import torch
import torchgeo
from geopandas import GeoDataFrame, GeoSeries
from torchgeo.datasets import GeoDataset

from rasteret_sql.arrays.display import rgb_places
from rasteret_sql.checks import shown
from rasteret_sql.errors import EmptySliceError, InvalidArgumentError, RasteretError
from rasteret_sql.geo.crs import normalized_crs, same_crs
from rasteret_sql.geo.geobox import GeoBox, checked_resolution
from rasteret_sql.geo.project import project_geometries
from rasteret_sql.read.parts import Part, PartReader
from rasteret_sql.tiff.decode import TileDecoder
from rasteret_sql.training.batches import Batched, not_found, one_sample
from rasteret_sql.training.dtypes import check_values
from rasteret_sql.training.items import OUTLINE_STEPS, item_footprints
from rasteret_sql.training.rows import Rows, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from rasteret_sql.training.batches import Sample
    from rasteret_sql.training.handoff import Handoff
    from rasteret_sql.training.items import Items

    #: Pixels and validity (T, C, H, W), and how many files failed.
    _Arrays = tuple[npt.NDArray[Any], npt.NDArray[np.bool_], int]

#: Since 0.9 samples hold tensors only: no CRS, and bounds as numbers.
TENSORS_ONLY: Final = tuple(int(part) for part in torchgeo.__version__.split(".")[:2]) >= (0, 9)
#: Pixels of a side of a sample.
MAX_SIDE: Final = 32_768


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How pixels become samples.

    Attributes:
        is_image: whether samples have an "image" rather than a "mask".
        dtype: of its tensor.
        method: how pixels are resampled.
        mosaic: how items that overlap become one.
        time_series: whether there is a slice per time, shape (T, C, H, W).
        groupby: which items of a series make one slice: None for each its own, "time", "day" or "solar_day".
        scale: whether stored values become physical ones.
        fill: what pixels without data hold; None for the nodata value of their band, or 0.
        on_error: "raise", or "count" for samples whose "read_errors" says how many files failed.
        label_column: column of the index that "label" comes from, or None.
        is_chipped: whether the rows of the index are chips, of which a slice may be one.
    """

    is_image: bool
    dtype: torch.dtype
    method: str
    mosaic: str
    time_series: bool
    groupby: str | None
    scale: bool
    fill: float | None
    on_error: str
    label_column: str | None
    is_chipped: bool = False


class RasteretDataset(Batched, GeoDataset):  # type: ignore[misc]
    """Samples of the items of a query; made by `rasteret_sql.to_torchgeo`.

    `index` has one row per item, or per chip where chips were given: its footprint in the CRS of the dataset and its
    interval of time. Indexing with [xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:tstep] reads what lies there onto the
    grid that the slice says, in the dataset's current CRS: each file from the overview that fits, without a request
    for its header. `crs` and `res` may be set.

    A sample has "image" (C, H, W), float32, or "mask" (H, W), int64; with `time_series` a first axis T; "mask_valid"
    (1, H, W), bool, True where all bands have data; "timestamps" (T,), float64, seconds since 1970 UTC of the first
    item of each slice, NaN where unknown; "bounds" and "transform". Since TorchGeo 0.9 all are tensors, bounds the
    slice as 9 numbers in float64; before that bounds are the slice itself, and "crs" is there too. A `label_column`
    adds "label", and `on_error="count"` "read_errors".

    A `DataLoader` reads batches at once, and so it does of what `&` and `|` make of such datasets.

    Attributes:
        bands: names of the bands, as they were asked for.
        transforms: what each sample is put through, or None.
        handoff: what `from_handoff` opened, or None.
    """

    handoff: Handoff | None = None

    def __init__(
        self,
        items: Items,
        index: GeoDataFrame,
        resolution: tuple[float, float],
        options: SampleOptions,
        transforms: Callable[[Sample], Sample] | None,
    ) -> None:
        self._items = items
        self._options = options
        self._res = resolution
        self._columns = list(index.columns)
        self._rows: Rows | None = None
        self._reader: PartReader | None = None
        self._index = index
        self._spelled: tuple[Any, str] | None = None
        self.transforms = transforms
        self.bands = self.all_bands = items.files.bands
        self.rgb_bands = _rgb_of(self.bands)
        self.is_image = options.is_image
        self.time_series = options.time_series
        self._prepare_workers()

    def _prepare_workers(self) -> None:
        """Do here, once, what each forked worker of a `DataLoader` would do before its first batch."""
        self._crs_text()
        for tile_format in {each for kind in self._items.table.kinds for each in kind.formats}:
            # It imports its codec. A read says what is wrong with a format, and may not need it.
            with suppress(RasteretError):
                TileDecoder(tile_format)

    def _crs_text(self) -> str:
        """Spell the CRS as the index of a collection does; kept, since PROJ needs some 30 ms in a forked process."""
        crs = self._index.crs
        if self._spelled is None or self._spelled[0] is not crs:
            self._spelled = crs, normalized_crs(crs)
        return self._spelled[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is found again: no handle, thread or lock is pickled."""
        return self.__dict__ | {"_rows": None, "_reader": None}

    @property
    def index(self) -> GeoDataFrame:
        """One row per item or chip: footprint, interval of time, `item` (a number, -1 for a chip of any), `item_id`."""
        return self._index

    @index.setter
    def index(self, index: GeoDataFrame) -> None:
        # Some splits of TorchGeo forget the names of columns and the CRS.
        if "item" not in index.columns and len(index.columns) == len(self._columns) + 1:
            index = index.drop(columns=[index.columns[self._columns.index("geometry")]])
            index.columns = [*(name for name in self._columns if name != "geometry"), "geometry"]
            index = index.set_geometry("geometry").infer_objects()
        if index.crs is None:
            index = index.set_crs(self._index.crs)
        self._index, self._rows = index, None

    @property
    def crs(self) -> Any:
        """CRS of `index` and of what is read, a `pyproj.CRS`; may be set."""
        return self._index.crs

    @crs.setter
    def crs(self, crs: Any) -> None:
        text = normalized_crs(crs)
        if text == self._crs_text():
            return
        index = self._index.copy()
        geometry = index.geometry.to_numpy()
        is_own = self._is_own(index, geometry)
        moved = np.empty(len(index), object)
        if is_own.any():
            moved[is_own] = item_footprints(self._items, text)[index["item"].to_numpy()[is_own]]
        if not is_own.all():
            own = self._crs_text()
            moved[~is_own] = project_geometries(geometry[~is_own], own, text, steps=OUTLINE_STEPS, name="index")
        if shapely.is_missing(moved).any():
            raise InvalidArgumentError(
                f"crs: row {int(shapely.is_missing(moved).argmax())} of the index has no position in {text[:60]}, "
                "expected a CRS that holds all rows; choose another one"
            )
        self._index = index.set_geometry(GeoSeries(moved, index=index.index, crs=text))
        self._rows = None

    @property
    def res(self) -> tuple[float, float]:
        """Size of pixels in units of `crs`, (x, y); may be set, to one number or two."""
        return self._res

    @res.setter
    def res(self, resolution: float | tuple[float, float]) -> None:
        self._res = checked_resolution(resolution)

    @property
    def resampling(self) -> str:
        """Method of resampling: "nearest", "bilinear", "cubic", "average" or "mode"."""
        return self._options.method

    @property
    def files(self) -> list[str]:
        """Addresses of all files, as published."""
        return sorted({str(href) for href in self._items.table.texts("href")})

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of "image" or "mask"."""
        return self._options.dtype

    def __getitem__(self, query: Any) -> Sample:
        """Read one sample.

        Args:
            query: [xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:tstep]; what is left out is that of `bounds`. Or the
                number of a row of `index`, for all of it.

        Returns:
            The sample; see the class.

        Raises:
            IndexError: nothing lies there.
            RasteretError: bytes could not be fetched or decoded.
        """
        sample = self._samples([query])[0]
        if sample is None:
            raise not_found(query, self)
        return sample

    def read(self, queries: Sequence[Any]) -> list[Sample | None]:
        """Read samples; None where nothing lies."""
        if type(self).__getitem__ is not RasteretDataset.__getitem__:
            # A subclass makes more of each sample.
            return [one_sample(self, query) for query in queries]
        return self._samples(queries)

    def _samples(self, queries: Sequence[Any]) -> list[Sample | None]:
        queries = [self.located(query) for query in queries]
        places = [self._disambiguate_slice(query) for query in queries]
        found = [self._found(*place) for place in places]
        parts = {number: part for number, part in enumerate(found) if part is not None}
        arrays = dict(zip(parts, self._arrays([part for part, _ in parts.values()]), strict=True))
        samples: list[Sample | None] = []
        for number, (query, place) in enumerate(zip(queries, places, strict=True)):
            if number not in parts:
                samples.append(None)
                continue
            sample = self._sample(query, place, parts[number], arrays[number])
            samples.append(sample if self.transforms is None else self.transforms(sample))
        return samples

    def plot(self, sample: Sample, show_titles: bool = True, suptitle: str | None = None) -> Figure:  # noqa: FBT001, FBT002
        """Draw a sample: its red, green and blue bands where it has them, otherwise its first; slices side by side.

        Args:
            sample: as this dataset gives it; a batch has to be taken apart before.
            show_titles: whether slices are named.
            suptitle: title of the figure.

        Returns:
            The figure.
        """
        from rasteret_sql.training.plot import plot_sample

        places = [self.bands.index(name) for name in self.rgb_bands] or [0]
        return plot_sample(sample, places, show_titles=show_titles, suptitle=suptitle)

    @property
    def items(self) -> Items:
        """The items that are read."""
        return self._items

    @property
    def is_chipped(self) -> bool:
        """Whether the rows of `index` are chips that were given."""
        return self._options.is_chipped

    def corners(self) -> npt.NDArray[np.float64]:
        """Give an (x, y) of each item from which its pixels are counted; (0, 0) for items in other CRSs."""
        crs = self._crs_text()
        is_same = np.array([same_crs(code, crs) for code in self._items.crs], bool)[self._items.crs_of]
        return np.where(is_same[:, None], self._items.bounds[:, :2], 0.0)

    def _is_own(self, index: GeoDataFrame, geometry: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Say which rows have the footprint of their item, rather than a part of it or a chip."""
        numbers = index["item"].to_numpy()
        own = numbers >= 0
        if own.any():
            expected = item_footprints(self._items, self._crs_text())
            own[own] = shapely.equals_identical(geometry[own], expected[numbers[own]])
        return np.asarray(own, np.bool_)

    def _disambiguate_slice(self, query: Any) -> tuple[slice, slice, slice]:
        """Give all of a slice; what is left out is that of the bounds, which are found once."""
        given = (query,) if isinstance(query, slice) else tuple(query)
        if len(given) > 3 or not all(isinstance(each, slice) for each in given):
            raise InvalidArgumentError(f"query: got {shown(query)}, expected up to three slices: x, y and time")
        steps = (*self.res, 1)
        found = []
        for number, (start, stop) in enumerate(self._lookup().extent):
            each = given[number] if number < len(given) else slice(None)
            found.append(
                slice(
                    start if each.start is None else each.start,
                    stop if each.stop is None else each.stop,
                    steps[number] if each.step is None else each.step,
                )
            )
        return found[0], found[1], found[2]

    def _lookup(self) -> Rows:
        if self._rows is None:
            self._rows = Rows(self._index, self._items, self._crs_text())
        return self._rows

    def _found(self, x: slice, y: slice, t: slice) -> tuple[Part, npt.NDArray[np.int64]] | None:
        """Give what a slice takes, and the rows of the index that it touches."""
        self._check_slice(x, y, t)
        lookup = self._lookup()
        rows = lookup.touched(x, y, t)
        if not rows.size:
            return None
        if self._options.is_chipped:
            rows = lookup.chosen(rows, x, y, t)
        items = lookup.items(rows, x, y, t)[:: int(t.step or 1)]
        if not items.size:
            return None
        width, height = round((x.stop - x.start) / x.step), round((y.stop - y.start) / y.step)
        transform = (float(x.step), 0.0, float(x.start), 0.0, -float(y.step), float(y.stop))
        return Part(GeoBox(lookup.crs, transform, height, width), self._slices(items)), rows

    def _check_slice(self, x: slice, y: slice, t: slice) -> None:
        for name, axis in (("x", x), ("y", y)):
            size = (axis.stop - axis.start) / axis.step if axis.step else math.nan
            if not 0.5 <= size <= MAX_SIDE:
                raise (EmptySliceError if axis.stop <= axis.start else InvalidArgumentError)(
                    f"{name}: got {axis.start}:{axis.stop}:{axis.step}, which is {size:g} pixels, expected 1 to "
                    f"{MAX_SIDE}; give start < stop, and a step in units of the CRS of the dataset"
                )
        if t.step is not None and (t.step != int(t.step) or t.step < 1):
            raise InvalidArgumentError(f"t: got a step of {t.step}, expected a whole number from 1: every nth time")

    def _slices(self, items: npt.NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
        """Share items out to slices, which are in order of time."""
        rank, groupby = self._items.rank, self._options.groupby
        if not self._options.time_series:
            return (tuple(items[np.argsort(rank[items], kind="stable")].tolist()),)
        if groupby is None:
            return tuple((item,) for item in items.tolist())
        if groupby == "solar_day":
            assert self._items.solar_day is not None
            keys = self._items.solar_day[items]
        else:
            keys = self._items.start_us[items] // (86_400_000_000 if groupby == "day" else 1)
        groups: dict[int, list[int]] = {}
        for key, item in zip(keys.tolist(), items.tolist(), strict=True):
            groups.setdefault(key, []).append(item)
        return tuple(tuple(sorted(group, key=lambda item: rank[item])) for group in groups.values())

    def _arrays(self, parts: Sequence[Part]) -> list[_Arrays]:
        """Read parts: pixels and validity, shape (T, C, H, W), and how many files failed."""
        if self._reader is None:
            options = self._options
            self._reader = PartReader(
                self._items.table,
                self._items.files,
                method=options.method,
                mosaic=options.mosaic,
                is_physical=options.scale,
            )
        if self._options.on_error == "raise":
            return [(*each, 0) for each in self._reader.read(parts)]
        try:
            return [(*each, 0) for each in self._reader.read(parts)]
        except RasteretError:
            # One by one, for then it is known whose files failed.
            return [self._counted(self._reader, part) for part in parts]

    @staticmethod
    def _counted(reader: PartReader, part: Part) -> _Arrays:
        failed: set[tuple[str, str]] = set()
        ((pixels, valid),) = reader.read([part], on_failure=lambda asset, _: failed.add((asset.item_id, asset.address)))
        return pixels, valid, len(failed)

    def _sample(
        self,
        query: Any,
        place: tuple[slice, slice, slice],
        found: tuple[Part, npt.NDArray[np.int64]],
        arrays: _Arrays,
    ) -> Sample:
        options = self._options
        (part, rows), (pixels, valid, failed) = found, arrays
        values = self._values(pixels, valid)
        all_valid = np.asarray(valid.all(axis=1, keepdims=True))
        if not options.time_series:
            values, all_valid = values[0], all_valid[0]
        firsts = [group[0] if len(group) == 1 else min(group, key=self._start_of) for group in part.slices]
        seconds = np.where(self._items.has_time[firsts], self._items.start_us[firsts] / 1e6, np.nan)
        sample: Sample = {} if TENSORS_ONLY else {"crs": self.crs, "bounds": query}
        if TENSORS_ONLY:
            sample["bounds"] = _bounds_tensor(*place)
        sample["transform"] = torch.tensor([*part.box.transform, 0.0, 0.0, 1.0], dtype=torch.float64)
        if options.is_image:
            sample["image"] = values
        else:
            sample["mask"] = values.squeeze(-3)
        sample["mask_valid"] = torch.from_numpy(all_valid)
        sample["timestamps"] = torch.from_numpy(np.asarray(seconds, np.float64))
        if options.label_column is not None:
            sample["label"] = self._label(rows, place)
        if options.on_error == "count":
            sample["read_errors"] = torch.tensor([failed])
        return sample

    def _values(self, pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Make the tensor (T, C, H, W)."""
        options = self._options
        fill = 0.0 if options.scale and options.fill is None else options.fill
        check_values(pixels, None if fill is None else valid, options.dtype)
        # In NumPy: threads of torch cost more than what is done here, in each worker.
        is_wide = options.dtype == torch.float64
        kind = (np.float64 if is_wide else np.float32) if options.dtype.is_floating_point else np.int64
        if fill is None:
            values = pixels.astype(kind)
        else:
            values = np.full(pixels.shape, fill, kind)
            np.copyto(values, pixels, casting="unsafe", where=valid)
        return torch.from_numpy(values).to(options.dtype)

    def _label(self, rows: npt.NDArray[np.int64], place: tuple[slice, slice, slice]) -> torch.Tensor:
        """Give the label of the row that the slice fits best.

        Raises:
            InvalidArgumentError: several rows fit it as well and have other labels.
        """
        best = self._lookup().fitting(rows, *place[:2])
        labels = self._index[self._options.label_column].iloc[best].tolist()
        if len(set(labels)) > 1:
            raise InvalidArgumentError(
                f"label_column: {len(best)} rows of the index fit {place} alike and have labels "
                f"{sorted(set(labels))[:5]}, expected one; give slices of one item or chip, with its time"
            )
        return torch.tensor(labels[0])

    def _start_of(self, item: int) -> int:
        return int(self._items.start_us[item])


def _bounds_tensor(x: slice, y: slice, t: slice) -> torch.Tensor:
    """Give a slice as TorchGeo does, with the precision that coordinates need."""
    values = [x.start, x.stop, x.step, y.start, y.stop, y.step]
    times = [pd.Timestamp(moment(time)).timestamp() for time in (t.start, t.stop)]
    return torch.tensor([*values, *times, t.step or 1], dtype=torch.float64)


def _rgb_of(bands: Sequence[str]) -> tuple[str, ...]:
    return tuple(bands[place] for place in rgb_places(bands) or ())
