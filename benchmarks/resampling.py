"""Resampling speed per method: one thread, pixels that are in memory already.

Timed is one warp of a band with a mask onto a grid, positions of the pixels included:

* compiled: `PixelMap` and `resample_points` or `resample_areas`, as reads call them, with the compiled kernels.
* NumPy: the same with the option `compiled` off.
* rasterio: `rasterio.warp.reproject`, with a nodata value in place of the mask, in one thread.

The contenders take turns, and medians of their passes count. The clock is the CPU time of the thread, for GDAL of the
process.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import rasteret_sql as rs
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.geo.pixelmap import PixelMap
from rasteret_sql.geo.resampling import AREA_METHODS, METHODS
from rasteret_sql.read import compiled
from rasteret_sql.read.resample import resample_areas, resample_points

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

NAME = "resampling"
TITLE = "Mpx/s of one thread, onto {size}² pixels, uint16 with a mask"
PEERS = ("rasterio",)
_CRS, _OTHER_CRS = "EPSG:32643", "EPSG:32644"
_WEST, _NORTH, _PIXEL_M = 300_000.0, 4_000_000.0, 10.0
_MARGIN = 100
_NODATA = 0


@dataclass(frozen=True, slots=True)
class Case:
    """One method on one grid.

    Attributes:
        method: how pixels are made.
        crs: of the grid.
        step: pixels of the file per pixel of the grid, along each side.
    """

    method: str
    crs: str
    step: int

    @property
    def title(self) -> str:
        """What the grid is."""
        grid = "same CRS" if self.crs == _CRS else "next UTM zone"
        return f"{grid}, 1:{self.step}"


def run(peers: list[str], size: int, repeat: int) -> str:
    """Measure all cases; returns a table.

    Args:
        peers: "rasterio", where it is installed.
        size: pixels of the grid along each side.
        repeat: passes that count.
    """
    names = [*(["compiled"] if compiled.kernels else []), "NumPy", *peers]
    lines = [
        f"### {NAME}: {TITLE.format(size=size)}",
        "",
        f"| method | grid | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for method in METHODS:
        for crs, step in ((_CRS, 1), (_OTHER_CRS, 1), (_OTHER_CRS, 4)):
            # Pixels of boxes that hold one pixel are those of nearest.
            if step == 1 and method in {"mode", "min", "max"}:
                continue
            case = Case(method, crs, step)
            speeds = _measured(case, names, size, repeat)
            lines.append(f"| {method} | {case.title} | {' | '.join(f'{speeds[name]:.1f}' for name in names)} |")
    return "\n".join([*lines, ""])


def _measured(case: Case, names: list[str], size: int, repeat: int) -> dict[str, float]:
    """Give the speed of each contender."""
    pixels, mask = _source(case.step * size + 2 * _MARGIN)
    box = _grid(case, pixels.shape[0], size)
    passes: dict[str, Callable[[], Any]] = {
        "compiled": lambda: _ours(case, pixels, mask, box),
        "NumPy": lambda: _ours(case, pixels, mask, box),
        "rasterio": lambda: _gdal(case, pixels, box),
    }
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeat + 1):
        for name in names:
            clock = time.process_time if name == "rasterio" else time.thread_time
            with rs.set_options(compiled=name == "compiled"):
                begin_s = clock()
                passes[name]()
                # The first pass warms caches and PROJ.
                if number:
                    seconds[name].append(clock() - begin_s)
    return {name: size * size / 1e6 / statistics.median(each) for name, each in seconds.items()}


def _source(size: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Make pixels with a hole and some pixels without data."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 4000, (size, size)).astype(np.uint16)
    mask = rng.random(pixels.shape) > 0.001
    mask[size // 4 : size // 2, size // 4 : size // 2] = False
    pixels[~mask] = _NODATA
    return pixels, mask


def _grid(case: Case, source_size: int, size: int) -> GeoBox:
    """Make a grid over the middle of the source."""
    import pyproj

    middle = source_size / 2 * _PIXEL_M
    to_grid = pyproj.Transformer.from_crs(_CRS, case.crs, always_xy=True)
    x, y = to_grid.transform(_WEST + middle, _NORTH - middle)
    pixel_m = _PIXEL_M * case.step
    # Not on the pixels of the source.
    west, north = round(x - size * pixel_m / 2) + 3.0, round(y + size * pixel_m / 2) + 4.0
    return GeoBox(case.crs, (pixel_m, 0.0, west, 0.0, -pixel_m, north), size, size)


def _ours(case: Case, pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_], box: GeoBox) -> Any:
    transform = (_PIXEL_M, 0.0, _WEST, 0.0, -_PIXEL_M, _NORTH)
    positions = PixelMap(_CRS, transform, box, source_width=pixels.shape[1])
    if case.method in AREA_METHODS:
        return resample_areas(pixels, mask, *positions.corners(), case.method)
    return resample_points(pixels, mask, *positions.centres(), case.method, positions.kernel_scale(0, box.height))


def _gdal(case: Case, pixels: npt.NDArray[Any], box: GeoBox) -> Any:
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    out = np.zeros((box.height, box.width), pixels.dtype)
    reproject(
        pixels, out,
        src_transform=Affine(_PIXEL_M, 0, _WEST, 0, -_PIXEL_M, _NORTH), src_crs=_CRS, src_nodata=_NODATA,
        dst_transform=Affine(*box.transform), dst_crs=case.crs, dst_nodata=_NODATA,
        resampling=Resampling[case.method], num_threads=1,
    )  # fmt: skip
    return out
