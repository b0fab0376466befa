"""The engine "rasteret_sql" of `xarray.open_dataset`: `to_xarray`, with variables that read a window when it is used.

    import xarray as xr

    cube = xr.open_dataset("s2.parquet", engine="rasteret_sql", bands=["red"], crs="EPSG:32643", resolution=10)

xarray finds the class by the entry point of this package. `import rasteret_sql` does not import it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xarray.backends import BackendEntrypoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr


class RasteretBackend(BackendEntrypoint):
    """Opens rows of an index as a dataset. The arguments are those of `to_xarray`.

    `chunks` is xarray's own: without it, variables are read when they are used, and then cached. `chunks={}` gives Dask
    arrays with a chunk per slice and band.
    """

    description = "Opens cloud GeoTIFFs by their index: Parquet files of rasteret_sql, or queries over them"
    # xarray looks here for the decoders that `decode_cf=False` turns off.
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "mask_and_scale")

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None, **arguments: Any
    ) -> xr.Dataset:
        """Plan a read into a dataset; its pixels are fetched when they are used.

        Args:
            filename_or_obj: rows of an index, as `to_xarray` takes them: a path, a query, a relation, an Arrow table.
            drop_variables: names of variables that are left out.
            **arguments: those of `to_xarray`, with their defaults; `mask_and_scale` is False by default.

        Raises:
            InvalidArgumentError: an argument is wrong, or the files share no grid and none is requested.
            InvalidIndexError: `filename_or_obj` holds no rows of an index.
            EmptyReadError: nothing is left to read.
            TypeError: `to_xarray` has no such argument.
        """
        # xarray loads all engines before it opens any file: they must cost little.
        from rasteret_sql.arrays.xarray import WHEN_INDEXED, to_xarray
        from rasteret_sql.io.asked import redact_text
        from rasteret_sql.sql.named_index import is_query

        dataset = to_xarray(filename_or_obj, chunks=WHEN_INDEXED, **arguments)
        # Dask does not know the size of objects, by which `chunks="auto"` decides.
        texts = {name: each.astype(str) for name, each in dataset.coords.items() if each.dtype.kind == "O"}
        dataset = dataset.assign_coords(texts)
        if isinstance(filename_or_obj, str) and is_query(filename_or_obj):
            # xarray would make a path of it.
            dataset.encoding["source"] = redact_text(filename_or_obj)
        names = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return dataset.drop_vars(names, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this is an index in one local file. All else, such as a query or a folder, needs the engine's name.

        A Parquet file that others wrote has no metadata of an index, and is left to other engines.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        path = os.fspath(filename_or_obj)
        if not isinstance(path, str) or not path.lower().endswith((".parquet", ".parq")) or not Path(path).is_file():
            return False
        import pyarrow as pa
        import pyarrow.parquet as pq

        from rasteret_sql.database.schema import METADATA_PREFIX

        try:
            metadata = pq.read_metadata(path).metadata or {}
        except (OSError, pa.ArrowException):
            return False
        return f"{METADATA_PREFIX}schema_version".encode() in metadata
