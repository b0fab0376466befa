"""The driver "rasteret_sql" of odc-loader, so that `odc.stac.load` reads through this package.

    import odc.stac
    import rasteret_sql.integrations.odc  # registers the name

    cube = odc.stac.load(items, driver="rasteret_sql", bands=["red"], bbox=area)

odc-loader decides which pixels of a file go where, and how items are put together. The driver reads the pixels.
"""

from __future__ import annotations

import logging
import pickle
import threading
import uuid
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql import errors
from rasteret_sql.database.hrefs import absolute, unsigned
from rasteret_sql.errors import EmptyReadError, FetchError, InvalidArgumentError, RasteretError, TiffError
from rasteret_sql.geo.like import geobox_of
from rasteret_sql.index.header_files import files_of_headers
from rasteret_sql.index.headers import UnreadFile, read_headers
from rasteret_sql.index.parquet_file import package_version
from rasteret_sql.io import fork
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.files import Files
from rasteret_sql.plan.tile_plan import PlannedBand
from rasteret_sql.sql.readers import files_of, read_arguments

try:
    from odc.loader import register_driver
except ImportError as missing:
    raise ImportError("integrations.odc: odc-loader is required: pip install 'rasteret-sql[odc]'") from missing

from rasteret_sql.integrations.odc_window import Window, plan_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    from odc.geo.geobox import GeoBox as OdcGeoBox
    from odc.loader.types import RasterLoadParams, RasterSource

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.files import Kind

    Region = tuple[slice, slice]

_log = logging.getLogger("rasteret_sql")
#: Loads whose headers a process keeps.
_KNOWN_LOADS: Final = 8


class Driver:
    """Reads for odc-loader.

    Args:
        index: rows of an index, as all reads take them. Files that it has are read by it, without a request for their
            headers. None reads the header of each file, in one request.
    """

    md_parser = None
    aux_reader = None

    def __init__(self, index: Any = None) -> None:
        self._index = index

    def new_load(self, geobox: OdcGeoBox, *, chunks: Mapping[str, int] | None = None) -> Load:
        """Begin a load: fetch the rows of the index that lie in its grid.

        Raises:
            InvalidArgumentError: the grid is rotated or has no CRS.
            InvalidIndexError: the index is not one.
        """
        del chunks
        whole = geobox_of(geobox)
        return Load(uuid.uuid4().hex, whole, None if self._index is None else _of_index(self._index, whole))

    def finalise_load(self, load_state: Load) -> Load:
        """End a load."""
        _loads.get().pop(load_state.key, None)
        return load_state

    def capture_env(self) -> dict[str, Any]:
        """Name the driver, so that Dask takes no results of another one for its own."""
        return {"driver": f"rasteret_sql {package_version()}"}

    @contextmanager
    def restore_env(self, env: dict[str, Any], load_state: Load) -> Iterator[Load]:
        """Give the load: workers have settings and credentials of their own."""
        del env
        yield load_state

    def open(self, src: RasterSource, ctx: Load) -> Reader:
        """Open a band of a file; nothing is fetched before it is read.

        Raises:
            InvalidArgumentError: it is a part of a file of another format.
        """
        if src.subdataset is not None:
            raise InvalidArgumentError(
                f"{redact(src.uri)}: got the subdataset {src.subdataset!r}, expected a GeoTIFF without; load it with "
                "another driver"
            )
        if not ctx.has(src.uri):
            ctx.headers.want(src.uri)
        return Reader(src, ctx)

    @property
    def dask_reader(self) -> DaskReader | None:
        """With an index, tasks carry their own tiles. Without one, workers read headers."""
        return None if self._index is None else DaskReader()


class Load:
    """One call of `odc.stac.load`.

    Args:
        key: names it, in all processes.
        whole: its grid.
        files: the files of the index, which stay in this process; or None.
    """

    def __init__(self, key: str, whole: GeoBox, files: _Found | None = None) -> None:
        self.key, self.whole, self.files = key, whole, files

    def __reduce__(self) -> tuple[type[Load], tuple[Any, ...]]:
        return Load, (self.key, self.whole)

    @property
    def headers(self) -> _Headers:
        """The headers that this process has read for the load."""
        known = _loads.get()
        found = known.setdefault(self.key, _Headers())
        while len(known) > _KNOWN_LOADS:
            known.popitem(last=False)
        return found

    def has(self, uri: str) -> bool:
        """Whether the index has a file."""
        return self.files is not None and _key(uri) in self.files.numbers

    def plan(self, src: RasterSource, cfg: RasterLoadParams, geobox: OdcGeoBox, selection: Any) -> Window:
        """Plan what a grid takes of a file, by the index, or else by its header.

        Raises:
            InvalidArgumentError: something that is asked for is refused.
            RasteretError: the header of the file cannot be read.
        """
        if self.files is not None and self.has(src.uri):
            files, number = self.files.files, self.files.numbers[_key(src.uri)]
        else:
            files, number = self.headers.file(src.uri), 0
        return plan_window(files, number, src, cfg, geobox, self.whole, selection)


@dataclass(frozen=True, slots=True)
class _Found:
    """Files of an index, and the number of each by its address."""

    files: Files
    numbers: dict[str, int]


class _Headers:
    """Headers of files. All that are wanted when one is needed are read together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[str, None] = {}
        self._known: dict[str, Files | UnreadFile] = {}

    def want(self, uri: str) -> None:
        """Name a file that will be needed."""
        with self._lock:
            if uri not in self._known:
                self._wanted[uri] = None

    def file(self, uri: str) -> Files:
        """Give a file.

        Raises:
            RasteretError: its header cannot be read.
        """
        with self._lock:
            if uri not in self._known:
                uris = list(self._wanted | {uri: None})
                self._wanted.clear()
                (outcomes,) = read_headers([[absolute(each) for each in uris]])
                for each, outcome in zip(uris, outcomes, strict=True):
                    self._known[each] = (
                        outcome if isinstance(outcome, UnreadFile) else files_of_headers([(each, outcome)])
                    )
            found = self._known[uri]
        if isinstance(found, UnreadFile):
            raise getattr(errors, found.error, RasteretError)(found.message)
        return found


_loads: Final = fork.PerProcess(OrderedDict[str, _Headers])


class Reader:
    """One band of a file, or all of them."""

    def __init__(self, src: RasterSource, load: Load) -> None:
        self._src, self._load = src, load

    def read(
        self,
        cfg: RasterLoadParams,
        dst_geobox: OdcGeoBox,
        *,
        dst: npt.NDArray[Any] | None = None,
        selection: Any = None,
    ) -> tuple[Region, npt.NDArray[Any]]:
        """Read what a grid takes of the file.

        Args:
            cfg: dtype, fill value, nodata values and resampling.
            dst_geobox: the grid.
            dst: array of the whole grid, whose part is filled; or None.
            selection: which bands, where `src` is all of them.

        Returns:
            Rows and columns of the grid, and its pixels there, in the order of dimensions of `src`.

        Raises:
            InvalidArgumentError: something that is asked for is refused; the message names it.
            RasteretError: the file cannot be read, and `cfg.fail_on_error`.
        """
        try:
            if dst is not None:
                cfg = cfg.patch(dtype=str(dst.dtype))
            window = self._load.plan(self._src, cfg, dst_geobox, selection)
            pixels = window.read()
        except (FetchError, TiffError) as error:
            if cfg.fail_on_error:
                raise
            _log.warning("%s, band %d: left out: %s", redact(self._src.uri), self._src.band, error)
            empty = slice(0, 0), slice(0, 0)
            return empty, np.empty((0, 0), cfg.dtype) if dst is None else dst[0:0, 0:0]
        if dst is None:
            return window.region, pixels
        part: npt.NDArray[Any] = dst[(..., *window.region) if self._src.ydim == 1 or dst.ndim == 2 else window.region]
        part[...] = pixels
        return window.region, part


class DaskReader:
    """Makes a task of each read, which carries the tiles of its file."""

    def __init__(self, reader: tuple[Any, ...] = ()) -> None:
        self._reader = reader

    def open(self, src: RasterSource, cfg: RasterLoadParams, ctx: Load, *, layer_name: str, idx: int) -> DaskReader:
        """Open a band of a file."""
        del idx
        return DaskReader((src, cfg, ctx, layer_name))

    def read(self, dst_geobox: OdcGeoBox, *, selection: Any = None, idx: tuple[int, ...]) -> Any:
        """Give the task that reads what a grid takes of the file.

        Raises:
            InvalidArgumentError: something that is asked for is refused; the message names it.
        """
        from dask.delayed import delayed

        src, cfg, load, layer = self._reader
        if load.has(src.uri):
            # As bytes: Dask would look for collections in it.
            task: Any = pickle.dumps(load.plan(src, cfg, dst_geobox, selection), pickle.HIGHEST_PROTOCOL)
        else:
            task = pickle.dumps((load, src, dst_geobox, selection), pickle.HIGHEST_PROTOCOL)
        return delayed(_read_task, name=layer)(task, pickle.dumps(cfg), dask_key_name=(layer, *idx))


def _read_task(task: bytes, cfg: bytes) -> tuple[Region, npt.NDArray[Any]]:
    opened, params = pickle.loads(task), pickle.loads(cfg)  # noqa: S301 - made by DaskReader
    if not isinstance(opened, Window):
        load, src, geobox, selection = opened
        return Reader(src, load).read(params, geobox, selection=selection)
    try:
        return opened.region, opened.read()
    except (FetchError, TiffError) as error:
        if params.fail_on_error:
            raise
        _log.warning("%s: left out: %s", opened.name, error)
        return (slice(0, 0), slice(0, 0)), np.empty((0, 0), opened.dtype)


def _of_index(index: Any, whole: GeoBox) -> _Found | None:
    """Give the files of an index in a grid, with all bands of each; None where there are none.

    Raises:
        InvalidArgumentError: the grid has no CRS.
        InvalidIndexError: the index is not one.
    """
    if whole.crs is None:
        raise InvalidArgumentError("geobox: got one without CRS, expected one; give crs to odc.stac.load")
    arguments = replace(read_arguments(None, None, None, None, None, None, None), grid=whole)
    try:
        files, _ = files_of(index, arguments)
    except EmptyReadError:
        return None
    files = Files(files.columns, [replace(kind, bands=_all_bands(kind)) for kind in files.kinds], files.crs)
    numbers: dict[str, int] = {}
    for name in ("href", "address"):
        for number, address in enumerate(files.texts(name)):
            numbers.setdefault(_key(address or ""), number)
    return _Found(files, numbers)


def _all_bands(kind: Kind) -> tuple[PlannedBand, ...]:
    """Give all bands of a kind of files; a read of an index leaves out alpha."""
    known = {band.band: band for band in kind.bands}
    count = kind.formats[0].samples_per_pixel
    return tuple(known.get(band) or PlannedBand(band, str(band), band - 1, None) for band in range(1, count + 1))


def _key(uri: str) -> str:
    """Name a file by its address without signature."""
    return unsigned(absolute(uri))


register_driver("rasteret_sql", Driver)
