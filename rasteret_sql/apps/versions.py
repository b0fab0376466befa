"""What a process consists of, for reports of faults: versions, and whether compiled kernels are in use."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_LIBRARIES: Final = (
    "duckdb",
    "numpy",
    "pyarrow",
    "imagecodecs",
    "obstore",
    "aiohttp",
    "pyproj",
    "shapely",
    "xarray",
    "dask",
    "geopandas",
    "torch",
    "torchgeo",
    "dbt-duckdb",
)


def versions() -> dict[str, str]:
    """Return the versions of rasteret_sql, of Python and of the libraries that are installed, for reports of faults.

    `rasteret-sql --versions` prints the same.

    Returns:
        Versions by name. "kernels" says what resamples pixels: "compiled" or, where there was no C compiler when the
        package was built, "NumPy" with the reason. Pixels are the same; NumPy takes several times as long.

    Example:
        >>> import rasteret_sql as rs
        >>> list(rs.versions())[:4]
        ['rasteret_sql', 'kernels', 'python', 'platform']
    """
    from rasteret_sql import __version__
    from rasteret_sql.read.compiled import in_use

    found = {
        "rasteret_sql": __version__,
        "kernels": in_use(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
