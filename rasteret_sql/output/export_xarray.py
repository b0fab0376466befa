"""A cube as Zarr or netCDF, by xarray: chunk by chunk where Dask is installed."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal

from rasteret_sql.arrays.xarray import dataset_of
from rasteret_sql.database.sqlfiles import quote_identifier
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.export_files import MAX_NAME_BYTES, described, made_aside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import xarray as xr

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.arrays.failures import Failures
    from rasteret_sql.output.export_files import ExportedFile

#: Rows and columns that are read at a time, and that are stored together.
_READ_SIDE, _STORED_SIDE = 2048, 1024
_COMPLEVEL = 4
_CONVENTIONS = "CF-1.10"
#: Names that the NetCDF User's Guide allows, in "Permitted characters in netCDF names".
_NETCDF_NAME: Final = re.compile(r"[a-zA-Z0-9_\x80-\U0010ffff]([^\x00-\x1f/\x7f]*[^\x00-\x20/\x7f])?")
#: Names of nodes in Zarr 3; in Zarr 2 names that begin with ".z" are those of metadata.
_ZARR_NAME: Final = re.compile(r"(?!__|\.z|\.+$)[^\x00/]+")
#: Kinds of NumPy dtypes that netCDF has: integers, floats from 32 bits on.
_NETCDF_DTYPES: Final = frozenset({"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"})


def write_cube(planned: PlannedCube, target: Path, failures: Failures) -> tuple[ExportedFile, list[str]]:
    """Write the dataset of `to_xarray`.

    Args:
        planned: the cube, with properties.
        target: the path, which ends in .zarr or .nc.
        failures: decides about files that cannot be read.

    Returns:
        The file, and one line for each file that could not be read.

    Raises:
        InvalidArgumentError: a library is missing, or the format cannot hold a name or a dtype.
        RasteretError: it could not be read or written.
    """
    is_zarr = target.suffix.lower() == ".zarr"
    _check_names(planned, is_zarr=is_zarr)
    if not is_zarr:
        _check_dtypes(planned)
    engine = None if is_zarr else _netcdf_engine(target)
    if is_zarr and find_spec("zarr") is None:
        raise InvalidArgumentError(f"path: {target.name}: zarr is required: pip install zarr")
    chunks = None if find_spec("dask") is None else {"time": 1, "y": _READ_SIDE, "x": _READ_SIDE}
    dataset = dataset_of(planned, failures, chunks=chunks)
    prepared = _prepared(dataset, is_zarr=is_zarr)
    with made_aside(target) as aside, _logged() as lines:
        if is_zarr:
            # All readers know version 2, GDAL's of some years ago too.
            prepared.to_zarr(aside, mode="w", consolidated=True, zarr_format=2)
        else:
            _write_netcdf(prepared, aside, engine)
    bands = planned.cube.bands
    file = described(
        planned,
        target,
        bands=tuple(band.name for band in bands),
        dtypes=tuple(str(dataset[band.name].dtype) for band in bands),
        groups=range(planned.cube.group_count),
    )
    return file, [*failures.described(), *sorted(lines)]


def _write_netcdf(prepared: xr.Dataset, path: Path, engine: Literal["netcdf4", "h5netcdf"] | None) -> None:
    try:
        prepared.to_netcdf(path, engine=engine, format="NETCDF4")
    except RuntimeError as error:
        if "HDF error" not in str(error):
            raise
        # HDF5 does not say what the system told it.
        raise OSError(f"{error}; the disk may be full") from error


def _check_names(planned: PlannedCube, *, is_zarr: bool) -> None:
    """Refuse names that a format cannot hold.

    Raises:
        InvalidArgumentError: a band or a property of the items has one.
    """
    bands = [band.name for band in planned.cube.bands]
    kind, allowed, rule = (
        ("Zarr", _ZARR_NAME, 'no "/", no NUL, and no name that is only dots or begins with "__" or ".z"')
        if is_zarr
        else ("netCDF", _NETCDF_NAME, 'a letter, digit or "_" first, no "/", no control character, and no space last')
    )
    limit = MAX_NAME_BYTES - len("_valid")
    for name in [*bands, *planned.properties]:
        if allowed.fullmatch(name) and len(name.encode()) <= limit:
            continue
        what = "bands"
        remedy = 'rename the asset in the query, select the band by its number ("asset:1"), or write .parquet'
        if name not in bands:
            column = quote_identifier(name)
            what, remedy = "properties", f"rename the column in the query: * RENAME ({column} AS other)"
        raise InvalidArgumentError(
            f"{what}: got the name {name!r} for {kind}, expected {rule}, in at most {limit} bytes; {remedy}"
        )


def _check_dtypes(planned: PlannedCube) -> None:
    """Refuse pixels that netCDF cannot hold.

    Raises:
        InvalidArgumentError: those of a band are complex, or half-precision floats.
    """
    for band in planned.cube.bands:
        if band.dtype.str[1:] not in _NETCDF_DTYPES:
            raise InvalidArgumentError(
                f'band "{band.name}": got {band.dtype}, expected integers, float32 or float64, since netCDF has no '
                "other numbers; write .zarr, or .tif for complex ones"
            )


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
    """Collect the failures that reads of chunks log; they have no other way to report them."""
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
