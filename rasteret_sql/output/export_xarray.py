"""A cube as Zarr or netCDF, by xarray: chunk by chunk where Dask is installed."""

from __future__ import annotations

import contextlib
import logging
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from rasteret_sql.arrays.xarray import SPATIAL_REF, to_xarray
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.export_files import ExportedFile, iso_text, made_aside, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import xarray as xr

#: Rows and columns that are read at a time, and that are stored together.
_READ_SIDE, _STORED_SIDE = 2048, 1024
_COMPLEVEL = 4
_CONVENTIONS = "CF-1.10"


def write_cube(
    index: Any, target: Path, reading: Mapping[str, Any], *, mask_and_scale: bool, on_error: str
) -> tuple[ExportedFile, list[str]]:
    """Write what `to_xarray` gives.

    Args:
        index: rows of an index.
        target: the path, which ends in .zarr or .nc.
        reading: arguments of `to_xarray` that say what is read.
        mask_and_scale, on_error: the same.

    Returns:
        What was written, and what failed, one line for each file.

    Raises:
        InvalidArgumentError: an argument is wrong, or a library is missing.
        RasteretError: it could not be read or written.
    """
    is_zarr = target.suffix.lower() == ".zarr"
    engine = None if is_zarr else _netcdf_engine(target)
    if is_zarr and find_spec("zarr") is None:
        raise InvalidArgumentError(
            f"path: {target.name}: zarr is not installed, expected it to be; run pip install zarr"
        )
    chunks = None
    if find_spec("dask") is not None:
        chunks = {"time": 1, "y": _READ_SIDE, "x": _READ_SIDE}
    dataset = to_xarray(index, **reading, chunks=chunks, mask_and_scale=mask_and_scale, on_error=on_error)
    failed = dataset.attrs.pop("failed", [])
    if failed:
        dataset.attrs["failed"] = failed
    prepared = _prepared(dataset, is_zarr=is_zarr)
    with made_aside(target) as aside, _logged() as lines:
        if is_zarr:
            # Version 2 is what all readers know, GDAL's of some years ago too.
            prepared.to_zarr(aside, mode="w", consolidated=True, zarr_format=2)
        else:
            prepared.to_netcdf(aside, engine=engine, format="NETCDF4")
    return _described(dataset, target), [*failed, *sorted(lines)]


def _netcdf_engine(target: Path) -> Literal["netcdf4", "h5netcdf"]:
    if find_spec("netCDF4") is not None:
        return "netcdf4"
    if find_spec("h5netcdf") is not None:
        return "h5netcdf"
    raise InvalidArgumentError(
        f"path: {target.name}: neither netCDF4 nor h5netcdf is installed, expected one of them; run pip install netCDF4"
    )


def _prepared(dataset: xr.Dataset, *, is_zarr: bool) -> xr.Dataset:
    """Give the dataset as files are to hold it: conventions, chunks and compression."""
    dataset = dataset.copy()
    dataset.attrs["Conventions"] = _CONVENTIONS
    for name in [*dataset.data_vars, *dataset.coords]:
        variable = dataset[name]
        if variable.dtype.kind == "O":
            # Texts of one width: each library that reads these files knows them.
            dataset[name] = variable.astype(str)
    for variable in dataset.data_vars.values():
        sizes = [1, *(min(_STORED_SIDE, size) for size in variable.shape[1:])]
        if is_zarr:
            variable.encoding["chunks"] = tuple(sizes)
        else:
            variable.encoding |= {"chunksizes": tuple(sizes), "zlib": True, "complevel": _COMPLEVEL, "shuffle": True}
    return dataset


@contextlib.contextmanager
def _logged() -> Iterator[set[str]]:
    """Collect what reads of chunks log of files that fail; they have no other way to tell."""
    found: set[str] = set()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if isinstance(record.args, tuple) and record.args:
                found.add(str(record.args[0]))

    logger, handler = logging.getLogger("rasteret_sql"), Collector(logging.WARNING)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            yield found
    finally:
        logger.removeHandler(handler)


def _crs_text(wkt: str | None) -> str | None:
    """Give a CRS by its code, where it has one."""
    from pyproj import CRS

    return None if wkt is None else CRS.from_wkt(wkt).to_string()


def _described(dataset: xr.Dataset, target: Path) -> ExportedFile:
    bands = [name for name, variable in dataset.data_vars.items() if variable.dtype != bool]
    reference = dataset[SPATIAL_REF].attrs
    numbers = [float(part) for part in str(reference.get("GeoTransform", "")).split()]
    transform = None
    if numbers:
        c, a, b, f, d, e = numbers
        transform = (a, b, c, d, e, f)
    return ExportedFile(
        path=target,
        nbytes=size_of(target),
        bands=tuple(map(str, bands)),
        dtypes=tuple(str(dataset[name].dtype) for name in bands),
        shape=tuple(dataset.sizes[name] for name in ("time", "y", "x")),
        crs=_crs_text(reference.get("spatial_ref")),
        transform=transform,
        times=tuple(iso_text(time) for time in dataset.time.values),
        item_ids=tuple(map(str, dataset.item_id.values)),
    )
