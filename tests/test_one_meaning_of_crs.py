"""`crs` is the CRS of a grid, and `geometry_crs` that of an area, at every door; the other spelling is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing import write_collection

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("crs")
    return str(
        rs.build_index(write_collection(folder / "c", items=2, size=256, tile=128).document, folder / "i.parquet").path
    )


@pytest.mark.parametrize("name", ["read_tiles", "read_pixels", "explain", "sample_points", "zonal_stats", "chips"])
def test_python_functions_without_a_grid_refuse_crs(name: str, index: str) -> None:
    given: tuple[Any, ...] = ([(0.0, 0.0)],) if name in {"sample_points", "zonal_stats"} else ()
    others: dict[str, Any] = {"size": 8} if name == "chips" else {}
    with pytest.raises(InvalidArgumentError, match=r"crs: got 'EPSG:32643' as the CRS of an area, expected geometry_c"):
        getattr(rs, name)(index, *given, crs="EPSG:32643", **others)


@pytest.mark.parametrize("call", [
    "items('{}', bbox := [77.9, 12.9, 78.1, 13.1], crs := 'EPSG:32643')", "items('{}', crs := 'EPSG:32643')",
    "tile_plan('{}', crs := 'EPSG:32643')", "explain_read('{}', bbox := [77.9, 12.9, 78.1, 13.1], crs := 'EPSG:32643')",
    "explain_read('{}', crs := 'EPSG:32643')", "read_tiles('{}', crs := 'EPSG:32643')", "read_pixels('{}', crs := 'EPSG:32643')",
    "sample_points('{}', 'spots', crs := 'EPSG:32643')", "zonal_stats('{}', 'fields', crs := 'EPSG:32643')",
    "chips('{}', size := 8, crs := 'EPSG:32643')",
])  # fmt: skip
def test_sql_functions_refuse_crs(call: str, index: str) -> None:
    with rs.connect() as con:
        con.execute("CREATE TABLE spots AS SELECT 800000.0 AS x, 1400000.0 AS y")
        con.execute("CREATE TABLE fields AS SELECT 'POLYGON((0 0, 1 0, 1 1, 0 0))' AS geometry")
        with pytest.raises(
            duckdb.Error, match=r"crs: got 'EPSG:32643' as the CRS of an area, expected geometry_crs :="
        ):
            con.execute(f"FROM {call.format(index)}").fetchall()


@pytest.mark.parametrize("name", ["read_tiles", "read_pixels", "explain", "sample_points", "chips", "to_xarray"])
@pytest.mark.parametrize("bbox", [None, (77.9, 12.9, 78.1, 13.1)])
def test_an_unknown_crs_of_an_area_is_named_as_in_python(name: str, bbox: Any, index: str) -> None:
    given: tuple[Any, ...] = ([(0.0, 0.0)],) if name == "sample_points" else ()
    others: dict[str, Any] = {"size": 8} if name == "chips" else {}
    others |= {} if bbox is None or given else {"bbox": bbox}
    with pytest.raises(InvalidArgumentError, match=r"^geometry_crs: got 'EPSG:99999', expected an authority code"):
        getattr(rs, name)(index, *given, bands=["red"], geometry_crs="EPSG:99999", **others)


@pytest.mark.parametrize("name", ["items", "explain_read", "tile_plan", "read_tiles", "read_pixels"])
def test_an_unknown_crs_of_an_area_is_named_as_in_sql(name: str, index: str) -> None:
    with rs.connect() as con, pytest.raises(duckdb.Error, match=r"geometry_crs: got 'EPSG:99999', expected an auth"):
        con.execute(f"FROM {name}('{index}', bbox := [1, 2, 3, 4], geometry_crs := 'EPSG:99999')").fetchall()


def test_an_unknown_crs_of_an_area_is_named_as_an_option(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", index, "--bbox", "1,2,3,4", "--geometry-crs", "EPSG:99999"]) == 2
    assert "--geometry-crs: got 'EPSG:99999'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["explain"], ["preview", "--json"]])
def test_commands_without_a_grid_refuse_crs(command: list[str], index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, index, "--crs", "EPSG:32643"]) == 2
    assert "got 'EPSG:32643' as the CRS of an area, expected --geometry-crs EPSG:32643" in capsys.readouterr().err


def test_the_crs_of_an_area_is_geometry_crs_at_every_door(index: str, tmp_path: Path) -> None:
    cube = rs.to_xarray(f"FROM '{index}' WHERE crs = 'EPSG:32643'", bands=["red"])
    xs, ys = cube.x.to_numpy(), cube.y.to_numpy()
    box = [float(xs[3]), float(ys[-4]), float(xs[-4]), float(ys[3])]
    options: Any = {"bands": ["red"], "bbox": box, "geometry_crs": "EPSG:32643"}
    tiles = rs.read_tiles(index, **options).read_all().num_rows
    assert tiles > 0
    total = duckdb.arrow(rs.explain(index, **options).table).filter("band = 'total'").fetchall()
    assert total[0][4] == tiles
    with rs.connect() as con:
        area = f"bands := ['red'], bbox := {box}, geometry_crs := 'EPSG:32643'"
        for function in ("read_tiles", "tile_plan"):
            ((count,),) = con.execute(f"SELECT count(*) FROM {function}('{index}', {area})").fetchall()
            assert count == tiles, function
    assert rs.picture(index, **options).pixels.shape[2] == 4
    rs.export(index, tmp_path / "x.tif", groupby="collection", crs="EPSG:32643", resolution=20, **options)
