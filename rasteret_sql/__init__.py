"""A collection of cloud GeoTIFFs is a Parquet table, and its pixels are a SQL table function.

Names are imported when they are first used, so that `import rasteret_sql` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rasteret_sql.importing import import_whole

if TYPE_CHECKING:
    from rasteret_sql.apps.versions import versions
    from rasteret_sql.arrays.dask_table import to_dask
    from rasteret_sql.arrays.geopandas import to_geopandas
    from rasteret_sql.arrays.numpy import ChipArray, RasterArray, read_chips, to_numpy
    from rasteret_sql.arrays.shards import Shard, shards
    from rasteret_sql.arrays.xarray import to_xarray
    from rasteret_sql.errors import RasteretError
    from rasteret_sql.index.datasets.catalog import Dataset, datasets
    from rasteret_sql.index.refresh import RefreshReport
    from rasteret_sql.index.report import BuildReport
    from rasteret_sql.index.sources.search import StacSearch, stac_search
    from rasteret_sql.index.validate import ValidationReport, validate
    from rasteret_sql.io.loop import interrupt
    from rasteret_sql.io.options import Options, credentials, get_options, set_options
    from rasteret_sql.output.export import ExportReport, export
    from rasteret_sql.output.export_files import ExportedFile
    from rasteret_sql.output.footprints import plot_footprints
    from rasteret_sql.output.kerchunk import to_kerchunk
    from rasteret_sql.output.picture import Picture, picture
    from rasteret_sql.output.plot import plot_rgb
    from rasteret_sql.read.progress import progress
    from rasteret_sql.sql.analysis import chips, read_pixels, sample_points, zonal_stats
    from rasteret_sql.sql.build_stats import StatsReport, build_stats
    from rasteret_sql.sql.connection import connect, install
    from rasteret_sql.sql.cost import ReadCost
    from rasteret_sql.sql.indexes import build_index, refresh
    from rasteret_sql.sql.readers import explain, read_tiles
    from rasteret_sql.training.blocks import block_sampler
    from rasteret_sql.training.handoff import Handoff, from_handoff, handoff
    from rasteret_sql.training.splits import split_blocks
    from rasteret_sql.training.torchgeo import to_torchgeo

__version__ = "0.1.0"

__all__ = [
    "BuildReport",
    "ChipArray",
    "Dataset",
    "ExportReport",
    "ExportedFile",
    "Handoff",
    "Options",
    "Picture",
    "RasterArray",
    "RasteretError",
    "ReadCost",
    "RefreshReport",
    "Shard",
    "StacSearch",
    "StatsReport",
    "ValidationReport",
    "block_sampler",
    "build_index",
    "build_stats",
    "chips",
    "connect",
    "credentials",
    "datasets",
    "explain",
    "export",
    "from_handoff",
    "get_options",
    "handoff",
    "install",
    "interrupt",
    "picture",
    "plot_footprints",
    "plot_rgb",
    "progress",
    "read_chips",
    "read_pixels",
    "read_tiles",
    "refresh",
    "sample_points",
    "set_options",
    "shards",
    "split_blocks",
    "stac_search",
    "to_dask",
    "to_geopandas",
    "to_kerchunk",
    "to_numpy",
    "to_torchgeo",
    "to_xarray",
    "validate",
    "versions",
    "zonal_stats",
]

_HOME = {
    "BuildReport": "rasteret_sql.index.report",
    "ChipArray": "rasteret_sql.arrays.numpy",
    "Dataset": "rasteret_sql.index.datasets.catalog",
    "ExportReport": "rasteret_sql.output.export",
    "ExportedFile": "rasteret_sql.output.export_files",
    "Handoff": "rasteret_sql.training.handoff",
    "Options": "rasteret_sql.io.options",
    "Picture": "rasteret_sql.output.picture",
    "RasterArray": "rasteret_sql.arrays.numpy",
    "RasteretError": "rasteret_sql.errors",
    "ReadCost": "rasteret_sql.sql.cost",
    "RefreshReport": "rasteret_sql.index.refresh",
    "Shard": "rasteret_sql.arrays.shards",
    "StacSearch": "rasteret_sql.index.sources.search",
    "StatsReport": "rasteret_sql.sql.build_stats",
    "ValidationReport": "rasteret_sql.index.validate",
    "block_sampler": "rasteret_sql.training.blocks",
    "build_index": "rasteret_sql.sql.indexes",
    "build_stats": "rasteret_sql.sql.build_stats",
    "chips": "rasteret_sql.sql.analysis",
    "connect": "rasteret_sql.sql.connection",
    "credentials": "rasteret_sql.io.options",
    "datasets": "rasteret_sql.index.datasets.catalog",
    "explain": "rasteret_sql.sql.readers",
    "export": "rasteret_sql.output.export",
    "from_handoff": "rasteret_sql.training.handoff",
    "get_options": "rasteret_sql.io.options",
    "handoff": "rasteret_sql.training.handoff",
    "install": "rasteret_sql.sql.connection",
    "interrupt": "rasteret_sql.io.loop",
    "picture": "rasteret_sql.output.picture",
    "plot_footprints": "rasteret_sql.output.footprints",
    "plot_rgb": "rasteret_sql.output.plot",
    "progress": "rasteret_sql.read.progress",
    "read_chips": "rasteret_sql.arrays.numpy",
    "read_pixels": "rasteret_sql.sql.analysis",
    "read_tiles": "rasteret_sql.sql.readers",
    "refresh": "rasteret_sql.sql.indexes",
    "sample_points": "rasteret_sql.sql.analysis",
    "set_options": "rasteret_sql.io.options",
    "shards": "rasteret_sql.arrays.shards",
    "split_blocks": "rasteret_sql.training.splits",
    "stac_search": "rasteret_sql.index.sources.search",
    "to_dask": "rasteret_sql.arrays.dask_table",
    "to_geopandas": "rasteret_sql.arrays.geopandas",
    "to_kerchunk": "rasteret_sql.output.kerchunk",
    "to_numpy": "rasteret_sql.arrays.numpy",
    "to_torchgeo": "rasteret_sql.training.torchgeo",
    "to_xarray": "rasteret_sql.arrays.xarray",
    "validate": "rasteret_sql.index.validate",
    "versions": "rasteret_sql.apps.versions",
    "zonal_stats": "rasteret_sql.sql.analysis",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "integrations":
        return import_whole("rasteret_sql.integrations")
    if name not in _HOME:
        raise AttributeError(f"module 'rasteret_sql' has no attribute {name!r}")
    value = getattr(import_whole(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
