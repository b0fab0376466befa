"""A collection of cloud GeoTIFFs is a Parquet table, and its pixels are a SQL table function.

Names are imported when they are first used, so that `import rasteret_sql` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasteret_sql.adapters.export import ExportReport, export
    from rasteret_sql.adapters.export_files import ExportedFile
    from rasteret_sql.adapters.footprints import plot_footprints
    from rasteret_sql.adapters.geopandas import to_geopandas
    from rasteret_sql.adapters.handoff import Handoff, from_handoff, handoff
    from rasteret_sql.adapters.numpy import ChipArray, RasterArray, read_chips, to_numpy
    from rasteret_sql.adapters.picture import Picture, picture
    from rasteret_sql.adapters.plot import plot_rgb
    from rasteret_sql.adapters.progress import progress
    from rasteret_sql.adapters.torchgeo import to_torchgeo
    from rasteret_sql.adapters.xarray import to_xarray
    from rasteret_sql.errors import RasteretError
    from rasteret_sql.index.build import build_index
    from rasteret_sql.index.datasets.catalog import datasets
    from rasteret_sql.index.datasets.model import Dataset
    from rasteret_sql.index.refresh import RefreshReport, refresh
    from rasteret_sql.index.report import BuildReport
    from rasteret_sql.index.sources.api import StacSearch, stac_search
    from rasteret_sql.index.validate import ValidationReport, validate
    from rasteret_sql.sql.connection import connect, install
    from rasteret_sql.sql.cost import ReadCost
    from rasteret_sql.sql.readers import explain, read_tiles

__version__ = "0.1.0"

__all__ = [
    "BuildReport",
    "ChipArray",
    "Dataset",
    "ExportReport",
    "ExportedFile",
    "Handoff",
    "Picture",
    "RasterArray",
    "RasteretError",
    "ReadCost",
    "RefreshReport",
    "StacSearch",
    "ValidationReport",
    "build_index",
    "connect",
    "datasets",
    "explain",
    "export",
    "from_handoff",
    "handoff",
    "install",
    "picture",
    "plot_footprints",
    "plot_rgb",
    "progress",
    "read_chips",
    "read_tiles",
    "refresh",
    "stac_search",
    "to_geopandas",
    "to_numpy",
    "to_torchgeo",
    "to_xarray",
    "validate",
]

_HOME = {
    "BuildReport": "rasteret_sql.index.report",
    "ChipArray": "rasteret_sql.adapters.numpy",
    "Dataset": "rasteret_sql.index.datasets.model",
    "ExportReport": "rasteret_sql.adapters.export",
    "ExportedFile": "rasteret_sql.adapters.export_files",
    "Handoff": "rasteret_sql.adapters.handoff",
    "Picture": "rasteret_sql.adapters.picture",
    "RasterArray": "rasteret_sql.adapters.numpy",
    "RasteretError": "rasteret_sql.errors",
    "ReadCost": "rasteret_sql.sql.cost",
    "RefreshReport": "rasteret_sql.index.refresh",
    "StacSearch": "rasteret_sql.index.sources.api",
    "ValidationReport": "rasteret_sql.index.validate",
    "build_index": "rasteret_sql.index.build",
    "connect": "rasteret_sql.sql.connection",
    "datasets": "rasteret_sql.index.datasets.catalog",
    "explain": "rasteret_sql.sql.readers",
    "export": "rasteret_sql.adapters.export",
    "from_handoff": "rasteret_sql.adapters.handoff",
    "handoff": "rasteret_sql.adapters.handoff",
    "install": "rasteret_sql.sql.connection",
    "picture": "rasteret_sql.adapters.picture",
    "plot_footprints": "rasteret_sql.adapters.footprints",
    "plot_rgb": "rasteret_sql.adapters.plot",
    "progress": "rasteret_sql.adapters.progress",
    "read_chips": "rasteret_sql.adapters.numpy",
    "read_tiles": "rasteret_sql.sql.readers",
    "refresh": "rasteret_sql.index.refresh",
    "stac_search": "rasteret_sql.index.sources.api",
    "to_geopandas": "rasteret_sql.adapters.geopandas",
    "to_numpy": "rasteret_sql.adapters.numpy",
    "to_torchgeo": "rasteret_sql.adapters.torchgeo",
    "to_xarray": "rasteret_sql.adapters.xarray",
    "validate": "rasteret_sql.index.validate",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'rasteret_sql' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
