"""Query results as a TorchGeo dataset."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import check_choice, check_flag, is_one_of, shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.shared_docs import shares_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rasteret_sql.training.dataset import RasteretDataset
    from rasteret_sql.training.items import Items

_GROUPINGS = (None, "time", "day", "solar_day")


@shares_arguments
def to_torchgeo(  # noqa: PLR0913 - one by keyword for each thing that a dataset may differ in
    index: Any,
    *,
    bands: Sequence[str] | None = None,
    is_image: bool = True,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: str = "OGC:CRS84",
    datetime: str | None = None,
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    resampling: str | None = None,
    mosaic: str = "first",
    time_series: bool = False,
    groupby: str | None = None,
    chips: Any = None,
    chip_size: int | tuple[int, int] | None = None,
    label_column: str | None = None,
    scale: bool = False,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    fill: float | None = None,
    nodata: float | Mapping[str, float] | None = None,
    dtype: Any = None,
    on_error: str = "raise",
    transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> RasteretDataset:
    """Make a TorchGeo dataset of the items of an index; TorchGeo 0.8 to 0.10.

    Samplers, splits, `&`, `|` and data modules of TorchGeo take it as they take a `RasterDataset`. Planning happens
    here, once: the workers of a `DataLoader` share the plan, fetch tiles and read no header. A batch is one read.

    Args:
        bands: assets ("red"), or bands inside them ("visual:red"), in the order of the channels; None for all.
        is_image: whether samples have an "image", float32, or a "mask", int64.
        geometry: area that items must touch, in any form of `to_xarray`, in `geometry_crs`; or None.
        geometry_crs: CRS of `geometry`, `bbox` and `chips`; longitude and latitude by default.
        crs: CRS of the dataset; by default the CRS of most items. Items in other CRSs are resampled.
        resolution: pixel size in units of `crs`, one number or (x, y); by default that of the finest band.
        resampling: "nearest", "bilinear", "cubic", "average" or "mode", for files that are not on the grid of a sample;
            by default "bilinear" for images and "nearest" for masks.
        mosaic: how items that overlap in one slice become one: "first" in the order of the query, "last", "min",
            "max", "mean" or "median".
        time_series: whether samples have a first axis of times, with a slice per item or per `groupby`.
        groupby: items of one slice share this: "time", "day" or "solar_day".
        chips: a table of windows, each of which is a row of the dataset's index instead of an item's footprint: rows
            with `geometry`, with `xmin`, `ymin`, `xmax` and `ymax`, with points `x` and `y`, or with `item_id`,
            `row_off` and `col_off` (pixels of the item's first band); or the result of `rasteret_sql.chips`. A chip
            with `item_id` reads that item. A chip without it reads all items that lie there, within `datetime`, or
            `start_datetime` to `end_datetime`, where there are such columns.
        chip_size: pixels of a chip around its middle, one number or (height, width); points and pixels need it.
        label_column: a column of the index, or of `chips`, that becomes "label".
        scale: turn stored values into physical ones, by the scale and offset of each file; pixels without data are 0.
        fill: value of pixels without data; by default the nodata value of their band, or 0.
        dtype: a `torch.dtype` for "image" or "mask". Where one is given, the files of a band may have two dtypes, as
            those of Landsat do. A pixel that the tensor cannot hold is an error.
        on_error: "raise"; or "count" makes the pixels of files that fail nodata, and counts these files in
            "read_errors" of the sample.
        transforms: a function that each sample passes through.

    Returns:
        A `torchgeo.datasets.GeoDataset`; its class describes the samples. Its rows are in order of time.

    Raises:
        InvalidArgumentError: an argument is wrong, an item lacks a band, or torchgeo is not installed.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.

    Example:
        >>> train = to_torchgeo("s2.parquet", bands=["red", "nir"])  # doctest: +SKIP
    """
    require_torchgeo("to_torchgeo")
    import torch

    from rasteret_sql.geo.crs import normalized_crs
    from rasteret_sql.geo.geobox import checked_resolution
    from rasteret_sql.geo.resampling import METHODS
    from rasteret_sql.plan.mosaics import MOSAICS
    from rasteret_sql.plan.nodata import checked_nodata, files_with_nodata
    from rasteret_sql.plan.scaling import GivenScaling
    from rasteret_sql.sql.readers import files_of, read_arguments
    from rasteret_sql.training.dataset import RasteretDataset, SampleOptions
    from rasteret_sql.training.dtypes import check_band, check_fill
    from rasteret_sql.training.items import items_of
    from rasteret_sql.training.rows import item_frame

    for name, flag in (("is_image", is_image), ("time_series", time_series), ("scale", scale)):
        check_flag(name, flag)
    method = ("bilinear" if is_image else "nearest") if resampling is None else resampling
    _check("resampling", method, tuple(METHODS))
    check_choice("mosaic", mosaic, tuple(name for name in MOSAICS if name != "count"))
    _check("groupby", groupby, _GROUPINGS)
    _check("on_error", on_error, ("raise", "count"))
    if groupby is not None and not time_series:
        raise InvalidArgumentError(f"groupby: got {shown(groupby)} without time_series=True, expected both")
    if chip_size is not None and chips is None:
        raise InvalidArgumentError(f"chip_size: got {shown(chip_size)} without chips, expected both")
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise InvalidArgumentError(f"dtype: got {shown(dtype)}, expected a torch.dtype such as torch.float32")
    scaling = GivenScaling.of(scales, offsets, is_used=scale)
    arguments = read_arguments(bands, geometry, bbox, geometry_crs, datetime, None, None, scaling=scaling)
    given_nodata = checked_nodata(nodata)
    tensor_dtype = dtype or (torch.float32 if is_image else torch.int64)
    check_fill(fill, tensor_dtype)
    files, properties = files_of(index, arguments)
    items = items_of(files_with_nodata(files, given_nodata), properties, may_cast=dtype is not None)
    for name, source in zip(items.files.bands, items.files.dtypes, strict=True):
        check_band(name, source, tensor_dtype)
    _check_solar_days(items, groupby)
    _check_scales(items, scale=scale)
    code = items.usual_crs() if crs is None else normalized_crs(crs)
    sizes = items.finest(code) if resolution is None else checked_resolution(resolution)
    if chips is None:
        if label_column is not None:
            _check_label(items, label_column)
        frame = item_frame(items, code, [] if label_column is None else [label_column])
    else:
        from rasteret_sql.training.chips import chip_frame

        frame = chip_frame(items, chips, code, sizes, geometry_crs, size=chip_size, label_column=label_column)
    options = SampleOptions(
        is_image=is_image,
        dtype=tensor_dtype,
        method=method,
        mosaic=mosaic,
        time_series=time_series,
        groupby=groupby,
        scale=scale,
        fill=fill,
        on_error=on_error,
        label_column=label_column,
        is_chipped=chips is not None,
    )
    return RasteretDataset(replace(items, columns={}), frame, sizes, options, transforms)


def require_torchgeo(function: str) -> None:
    """Refuse to go on without TorchGeo.

    Args:
        function: who needs it.

    Raises:
        InvalidArgumentError: it is not installed.
    """
    try:
        import torchgeo  # noqa: F401
    except ImportError as error:
        raise InvalidArgumentError(
            f"{function}: torchgeo is not installed; expected it: pip install 'rasteret-sql[torchgeo]'"
        ) from error


def _check(name: str, value: Any, expected: tuple[Any, ...]) -> None:
    if not (value is None or isinstance(value, str)) or value not in expected:
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected one of {', '.join(map(repr, expected))}")


def _check_solar_days(items: Items, groupby: str | None) -> None:
    if groupby == "solar_day" and items.solar_day is None:
        raise InvalidArgumentError(
            'groupby: items have no bbox in the index, expected one for "solar_day"; group by "day"'
        )


def _check_scales(items: Items, *, scale: bool) -> None:
    """Refuse to mix stored values that mean different things, as those of Sentinel-2 before and after 2022 do.

    Raises:
        InvalidArgumentError: files of one band have different scales or offsets.
    """
    from rasteret_sql.plan.scaling import scaling_of

    if scale:
        return
    for place, name in enumerate(items.files.bands):
        known = {scaling_of(band): kind for (kind, number), band in items.files.known.items() if number == place}
        if len(known) > 1:
            kinds = items.table.column("kind")
            files = items.files.file[:, place]
            ids = [items.ids[int((kinds[files] == kind).argmax())] for kind in known.values()]
            raise InvalidArgumentError(
                f'band "{name}": items {ids[0]} and {ids[1]} have scales and offsets '
                f"{' and '.join(str(each) for each in list(known)[:2])}, expected the same, for their stored values "
                "mean different things; give scale=True, or leave some out in the query"
            )


def _check_label(items: Items, name: str) -> None:
    import numpy as np

    if not is_one_of(name, items.columns):
        raise InvalidArgumentError(
            f"label_column: got {shown(name)}, expected a column that says one thing of each item: "
            f"{', '.join(sorted(items.columns)) or 'there is none'}"
        )
    column = items.columns[name]
    if column.dtype.kind not in "biuf":
        raise InvalidArgumentError(
            f"label_column: {name!r} holds {column.dtype}, expected numbers; make numbers of classes in the query"
        )
    missing = np.flatnonzero(np.ma.getmaskarray(column) | np.isnan(np.ma.getdata(column)))
    if missing.size:
        raise InvalidArgumentError(
            f"label_column: {name!r} of item {items.ids[int(missing[0])]}, and of {missing.size - 1} others, is NULL "
            "or NaN, expected a number; leave these items out in the query"
        )
