"""Pixel sizes in metres choose the overview, whatever the units of a file are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

SIZE = 64


def _indexed(folder: Path, crs: str, pixel: float, corner: tuple[float, float]) -> Path:
    """Write a file with overviews whose pixels are 2 and 4 times as large."""
    transform = (pixel, 0.0, corner[0], 0.0, -pixel, corner[1])
    write_cog(
        folder / "m.tif", np.ones((SIZE, SIZE), np.uint8), tile=16, overviews=(2, 4), crs=crs, transform=transform
    )
    rs.build_index(str(folder / "m.tif"), folder / "i.parquet")
    return folder / "i.parquet"


def _metres(crs: str, pixel: float, corner: tuple[float, float]) -> float:
    """The longer side of the pixel in the middle, by PROJ's geodesics."""
    x, y = corner[0] + SIZE / 2 * pixel, corner[1] - SIZE / 2 * pixel
    there = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    middle, right, down = (there.transform(*point) for point in ((x, y), (x + pixel, y), (x, y - pixel)))
    return max(Geod(ellps="WGS84").inv(*middle, *end)[2] for end in (right, down))


@pytest.mark.parametrize(
    ("crs", "pixel", "corner"),
    [
        ("EPSG:32643", 10.0, (600_000.0, 1_400_000.0)),
        ("EPSG:4326", 0.001, (10.0, 60.0)),
        ("EPSG:3857", 30.0, (1_000_000.0, 8_400_000.0)),
        ("EPSG:2263", 100.0, (980_000.0, 200_000.0)),
    ],
)
def test_the_overview_is_the_coarsest_whose_pixels_are_no_larger_on_the_ground(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, crs: str, pixel: float, corner: tuple[float, float]
) -> None:
    index = _indexed(tmp_path, crs, pixel, corner)
    ground = _metres(crs, pixel, corner)
    for times, width in ((0.5, SIZE), (1.9, SIZE), (2, SIZE // 2), (3.9, SIZE // 2), (4, SIZE // 4), (99, SIZE // 4)):
        found = rs.read_pixels(index, gsd=ground * times).read_all()
        assert len(found) == width**2, times
        ((count,),) = con.execute(
            f"SELECT count(value) FROM read_pixels('{index}', gsd := {ground * times})"
        ).fetchall()
        assert count == width**2


def test_points_and_zones_take_metres_too(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    index = _indexed(tmp_path, "EPSG:32643", 10.0, (600_000.0, 1_400_000.0))
    area = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_360, 600_640, 1_400_000)], crs="EPSG:32643")
    area.to_parquet(tmp_path / "a.parquet")
    assert rs.zonal_stats(index, area, gsd=20, stats=["count"]).read_all()["count"].to_pylist() == [(SIZE // 2) ** 2]
    ((count,),) = con.execute(
        f"SELECT count FROM zonal_stats('{index}', '{tmp_path}/a.parquet', gsd := 40, stats := ['count'])"
    ).fetchall()
    assert count == (SIZE // 4) ** 2
    point = area.set_geometry(area.centroid)
    (window,) = rs.sample_points(index, point, gsd=40, window_size=33).read_all()["window_values"].to_pylist()
    assert sum(value is not None for value in window) == (SIZE // 4) ** 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gsd": 10, "level": 0}, "level: got both level and gsd, expected one of them"),
        ({"gsd": 10, "resolution": 10}, "resolution: got both resolution and gsd, expected one of them"),
        ({"gsd": 10, "resolution": 10, "level": 0}, "level: got both level and resolution and gsd"),
        ({"gsd": 0}, "gsd: got 0.*, expected a pixel size above 0"),
        ({"gsd": "fine"}, "gsd: got 'fine', expected a number|gsd: got fine, expected a number"),
    ],
)
def test_one_size_of_pixels_is_taken_and_others_are_refused(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, options: dict[str, Any], message: str
) -> None:
    index = _indexed(tmp_path, "EPSG:32643", 10.0, (600_000.0, 1_400_000.0))
    with pytest.raises(InvalidArgumentError, match=message):
        rs.read_pixels(index, **options)
    named = "".join(f", {name} := {value!r}" for name, value in options.items())
    with pytest.raises(Exception, match=message):
        con.execute(f"FROM read_pixels('{index}'{named})").fetchall()
