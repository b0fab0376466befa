"""The parts that exports of all formats share: path, staging folder, and the description of each file."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rasteret_sql.checks import checked_path
from rasteret_sql.database.hrefs import is_url
from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.index.staging import staging_folder
from rasteret_sql.io.disk import unwritten
from rasteret_sql.io.local import local_path
from rasteret_sql.plan.native_grid import named
from rasteret_sql.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.plan.tile_plan import PlannedAsset

#: Format by suffix.
SUFFIXES = {".tif": "tif", ".tiff": "tif", ".zarr": "zarr", ".nc": "nc", ".parquet": "parquet"}
#: Longest name of a file on common file systems.
MAX_NAME_BYTES = 255
#: Files by which a folder is known as a Zarr store.
_ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata")


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file that was written.

    Attributes:
        path: its path; a folder for Zarr.
        nbytes: its size.
        bands: names of the bands, in their order.
        dtypes: of the bands.
        shape: (time, height, width) of the grid; (height, width) for a GeoTIFF, which has no time.
        crs: authority code or WKT2, or None.
        transform: affine (a, b, c, d, e, f), pixel corner to CRS, or None.
        times: of its slices, ISO 8601 in UTC; None where unknown.
        item_ids: of its slices; of several items joined by commas.
        rows: number of rows of a table of pixels; None for other formats.
    """

    path: Path
    nbytes: int
    bands: tuple[str, ...]
    dtypes: tuple[str, ...]
    shape: tuple[int, ...]
    crs: str | None
    transform: tuple[float, ...] | None
    times: tuple[str | None, ...]
    item_ids: tuple[str, ...]
    rows: int | None = None


def checked_target(path: str | os.PathLike[str]) -> Path:
    """Check the path of an export; only its name may have placeholders.

    Raises:
        InvalidArgumentError: the format is unknown, or nothing can be written there.
    """
    target = checked_path("path", path)
    if target.suffix.lower() not in SUFFIXES:
        raise InvalidArgumentError(
            f"path: got {target.name!r}, expected a name that ends in .tif (cloud optimised GeoTIFF), .zarr, .nc or "
            ".parquet (a table of pixels); rows of tiles are written by COPY (FROM read_tiles(...)) TO 'tiles.parquet'"
        )
    check_length(target)
    if "{" in str(target.parent):
        raise InvalidArgumentError(f"path: got {str(target)!r}, expected {{...}} in the file's name only")
    if not target.parent.is_dir():
        raise InvalidArgumentError(f"path: the folder {target.parent} does not exist; make it first")
    if not os.access(target.parent, os.W_OK):
        raise InvalidArgumentError(f"path: the folder {target.parent} cannot be written to; choose another folder")
    check_replaceable(target)
    return target


def check_length(path: Path) -> None:
    """Refuse a name that file systems cannot hold.

    Raises:
        InvalidArgumentError: it has more bytes.
    """
    nbytes = len(os.fsencode(path.name))
    if nbytes > MAX_NAME_BYTES:
        raise InvalidArgumentError(
            f"path: got the name {shortened(path.name, 60)!r} of {nbytes} bytes, expected {MAX_NAME_BYTES} at most; "
            "choose a shorter name, or use {date} or {time} in place of {item}"
        )


def check_replaceable(target: Path, sources: Sequence[PlannedAsset] = ()) -> None:
    """Refuse to take the place of a folder that no export has made, of an index, or of a file that is read.

    Args:
        target: the path of the export.
        sources: files that are read for it.

    Raises:
        InvalidArgumentError: there is such a folder or file.
    """
    if target.is_file():
        _check_file(target, sources)
    if not target.is_dir():
        return
    if target.suffix.lower() == ".zarr" and any((target / name).is_file() for name in _ZARR_FILES):
        return
    raise InvalidArgumentError(
        f"path: {target} is a folder and no Zarr store, expected a new path or an earlier export; remove it, or choose "
        "another path"
    )


def _check_file(target: Path, sources: Sequence[PlannedAsset]) -> None:
    for source in sources:
        # Tiles that were read before are in memory; their file is the published one.
        addresses = [each for each in (source.address, source.href) if type(each) is str and each and not is_url(each)]
        if any(Path(local_path(each)).exists() and target.samefile(local_path(each)) for each in addresses):
            raise InvalidArgumentError(
                f"path: {target} is {named(source)}, which is read for it; choose another path for the export"
            )
    if target.suffix.lower() == ".parquet" and _is_source(target):
        raise InvalidArgumentError(
            f"path: {target} is an index or holds rows of read_tiles, which an export would replace by a table of "
            "pixels; choose another path, or remove it first"
        )


def _is_source(path: Path) -> bool:
    """Whether a Parquet file has the columns of an index, or of `read_tiles`."""
    from pyarrow import ArrowInvalid, parquet

    try:
        names = set(parquet.read_schema(path).names)
    except ArrowInvalid:
        return False
    return names >= {"href", "asset", "levels"} or names >= {"asset", "tile_row", "pixels"}


@contextlib.contextmanager
def made_aside(target: Path) -> Iterator[Path]:
    """Give a path in a staging folder; the file is renamed to its target when the block has ended well.

    Raises:
        RasteretError: the file cannot be written.
    """
    try:
        with staging_folder(target) as folder:
            aside = folder / target.name
            yield aside
            if aside.is_dir() and target.exists():
                # A folder cannot replace another in one step; until the next line there is none.
                target.replace(folder / "replaced")
            aside.replace(target)
    except OSError as error:
        if isinstance(error, RasteretError):
            raise
        raise unwritten(target, str(error.strerror or error)) from error


def size_of(path: Path) -> int:
    """Give the size of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size


def described(
    planned: PlannedCube,
    target: Path,
    *,
    bands: tuple[str, ...],
    dtypes: tuple[str, ...],
    groups: range,
    rows: int | None = None,
) -> ExportedFile:
    """Describe a file with some slices of a cube."""
    box = planned.cube.box
    is_image = SUFFIXES[target.suffix.lower()] == "tif"
    return ExportedFile(
        path=target,
        nbytes=size_of(target),
        bands=bands,
        dtypes=dtypes,
        shape=(box.height, box.width) if is_image else (len(groups), box.height, box.width),
        crs=box.crs,
        transform=box.transform if planned.has_transform else None,
        times=tuple(time_text(planned, group) for group in groups),
        item_ids=tuple(planned.item_ids[group] for group in groups),
        rows=rows,
    )


def time_text(planned: PlannedCube, group: int) -> str | None:
    """Give the time of a slice as ISO 8601 in UTC, or None."""
    return iso_text(planned.times[group])


def iso_text(time: np.datetime64) -> str | None:
    """Give a time as ISO 8601 in UTC, with microseconds if there are any; None for NaT."""
    if np.isnat(time):
        return None
    text = str(time.astype("M8[us]"))
    return f"{text.removesuffix('.000000')}Z"
