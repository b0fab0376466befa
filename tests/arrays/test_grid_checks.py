"""Swapped corners, units of another CRS, and results that nothing can hold are refused before anything is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_UTM = "EPSG:32643"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("grids")
    pixels = np.arange(64 * 64, dtype="uint16").reshape(64, 64)
    write_cog(folder / "a.tif", pixels, crs=_UTM, transform=(10.0, 0.0, 6e5, 0.0, -10.0, 14e5), tile=16)
    return str(rs.build_index(folder / "a.tif", folder / "i.parquet").path)


def _reads(tmp_path: Path) -> dict[str, Callable[..., Any]]:
    return {
        "numpy": rs.to_numpy,
        "xarray": rs.to_xarray,
        "lazy": lambda index, **options: rs.to_xarray(index, chunks={}, **options),
        "export": lambda index, **options: rs.export(index, tmp_path / "x.tif", **options),
    }


@pytest.mark.parametrize("door", ["numpy", "xarray", "lazy", "export"])
@pytest.mark.parametrize("onto", [{}, {"crs": _UTM, "resolution": 10}, {"crs": "EPSG:4326", "resolution": 1e-4}])
@pytest.mark.parametrize(("bbox", "named"), [
    ((76.0, 12.6, 75.9, 12.7), "xmin 76.0 is above its xmax 75.9"), ((75.9, 12.7, 76.0, 12.6), "ymin 12.7 is above"),
])  # fmt: skip
def test_swapped_corners_are_refused(
    door: str, onto: dict[str, Any], bbox: tuple[float, ...], named: str, index: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{named}.*swap them"):
        _reads(tmp_path)[door](index, bbox=bbox, **onto)


@pytest.mark.parametrize("door", ["numpy", "xarray", "lazy", "export"])
@pytest.mark.parametrize(("onto", "times"), [
    ({"crs": "EPSG:4326", "resolution": 10}, r"\d+,\d+ times coarser"),
    ({"crs": _UTM, "resolution": 0.0001}, "100,000 times finer"),
    ({"crs": "EPSG:3857", "resolution": (20_000, 20_000)}, r"1,\d+ times coarser"),
    ({"like": {"crs": _UTM, "transform": (0.001, 0, 6e5, 0, -0.001, 14e5), "height": 9, "width": 9}}, "10,000 times f"),
])  # fmt: skip
def test_a_grid_in_other_units_is_refused(
    door: str, onto: dict[str, Any], times: str, index: str, tmp_path: Path
) -> None:
    with pytest.raises(
        InvalidArgumentError, match=rf"resolution: got a grid .*{times}.*10 in EPSG:32643; expected 1,000"
    ):
        _reads(tmp_path)[door](index, **onto)


def test_a_grid_in_other_units_is_read_where_the_caller_insists(index: str, tmp_path: Path) -> None:
    onto: dict[str, Any] = {"crs": "EPSG:4326", "resolution": 10, "allow_extreme_scale": True, "resampling": "max"}
    got = rs.to_numpy(index, **onto)
    assert got.shape == (1, 1, 1, 1)
    assert got.mask.all()
    assert got.level == 2
    assert main([
        "export", index, "-o", str(tmp_path / "x.tif"), "--crs", "EPSG:4326", "--resolution", "10",
        "--allow-extreme-scale",
    ]) == 0  # fmt: skip
    within = rs.to_numpy(index, crs=_UTM, resolution=9_000, resampling="average")
    assert within.mask.any()


def test_results_larger_than_the_option_or_the_memory_are_refused(index: str, tmp_path: Path) -> None:
    with rs.set_options(max_result_bytes=64 * 64 * 2):
        for door in ("lazy", "export"):
            _reads(tmp_path)[door](index)
        # These have a mask beside the pixels.
        for door in ("numpy", "xarray"):
            with pytest.raises(InvalidArgumentError, match=r"1 x 1 x 64 x 64 pixels .*max_result_bytes"):
                _reads(tmp_path)[door](index)
    with rs.set_options(max_result_bytes=100):
        for read in _reads(tmp_path).values():
            with pytest.raises(InvalidArgumentError, match="result: got 1 x 1 x 64 x 64 pixels"):
                read(index)
    huge = {"crs": _UTM, "transform": (1.0, 0, 6e5, 0, -1.0, 14e5), "height": 2**30, "width": 2**30}
    for door in ("numpy", "xarray"):
        with pytest.raises(InvalidArgumentError, match="this machine has memory for"):
            _reads(tmp_path)[door](index, like=huge)


@pytest.mark.parametrize("value", ["many", 0, -1, 1.5j])
def test_a_wrong_limit_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="max_result_bytes: got"):
        rs.set_options(max_result_bytes=value)
    with rs.set_options(max_result_bytes="1000"):
        assert rs.get_options().max_result_bytes == 1000
