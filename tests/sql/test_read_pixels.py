"""Pixels as rows, held against rasterio and `geometry_mask`, for SQL and for Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine
from rasterio.warp import transform_geom

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, EmptyReadError, InvalidArgumentError, RasteretError
from rasteret_sql.testing import write_cog
from rasteret_sql.testing.server import RangeServer
from tests.support.scenes import TRANSFORM, ServedScene

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

UTM = "EPSG:32643"
HEIGHT, WIDTH = 80, 112
FIELD = shapely.Polygon(
    [(600_105.3, 1_399_203.1), (601_001.7, 1_399_403.9), (600_707.1, 1_399_951.3), (600_333.3, 1_399_704.7)]
)


class Scene(ServedScene):
    """Files of two items with two bands each on a server, and their index."""

    items, shape, above = "ab", (HEIGHT, WIDTH), 30

    def expected(self, item: str, band: str, inside: Any = True) -> set[tuple[float, float, float]]:
        """(x, y, value) of the valid pixels, from rasterio's transform."""
        pixels = self.pixels[item, band]
        with rasterio.open(self.folder / f"{item}_{band}.tif") as source:
            rows, cols = np.nonzero((pixels != 0) & inside)
            x, y = rasterio.transform.xy(source.transform, rows, cols)
        return set(zip(np.ravel(x), np.ravel(y), pixels[rows, cols].astype(float), strict=True))


def _inside(geometry: Any, *, all_touched: bool = False) -> np.ndarray:
    return geometry_mask([geometry], (HEIGHT, WIDTH), Affine(*TRANSFORM), invert=True, all_touched=all_touched)


def test_all_valid_pixels_are_rows(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    found = con.sql(f"FROM read_pixels('{scene.index}', bands := ['red', 'nir'])").to_arrow_table()
    assert found.schema.names == ["item_id", "collection", "datetime", "x", "y", "crs", "band", "value"]
    assert set(found["crs"].to_pylist()) == {UTM}
    assert {when.day for when in found["datetime"].to_pylist()} == {1, 2}
    rows = found.to_pylist()
    for (item, band), pixels in scene.pixels.items():
        mine = [row for row in rows if (row["item_id"], row["band"]) == (item, band)]
        assert len(mine) == (pixels != 0).sum()
        assert {(row["x"], row["y"], row["value"]) for row in mine} == scene.expected(item, band)
    assert rs.read_pixels(scene.index, bands=["red", "nir"]).read_all().to_pylist() == rows


@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize("lonlat", [False, True])
def test_a_geometry_takes_the_pixels_of_geometry_mask(
    scene: Scene, con: duckdb.DuckDBPyConnection, lonlat: bool, all_touched: bool
) -> None:
    geometry = shapely.geometry.shape(transform_geom(UTM, "EPSG:4326", FIELD)) if lonlat else FIELD
    crs = "OGC:CRS84" if lonlat else UTM
    inside = _inside(FIELD, all_touched=all_touched)
    rows = con.execute(
        f"SELECT x, y, value FROM read_pixels('{scene.index}', bands := ['red'], geometry := $1, geometry_crs := '{crs}', "
        f"all_touched := {all_touched}, datetime := '2024-01-02')",
        [geometry.wkt],
    ).fetchall()
    assert set(rows) == scene.expected("b", "red", inside)
    python = rs.read_pixels(
        scene.index, bands=["red"], geometry=geometry, geometry_crs=crs, all_touched=all_touched, datetime="2024-01-02"
    )
    assert [tuple(row.values()) for row in python.read_all().select(["x", "y", "value"]).to_pylist()] == rows


def test_a_bbox_takes_the_pixels_whose_centres_are_inside(scene: Scene) -> None:
    bbox = [600_104.0, 1_399_506.0, 600_311.0, 1_399_777.0]
    rows = (
        rs.read_pixels(scene.index, bands=["nir"], bbox=bbox, geometry_crs=UTM, datetime="2024-01-01")
        .read_all()
        .to_pylist()
    )
    assert {(row["x"], row["y"], row["value"]) for row in rows} == scene.expected(
        "a", "nir", _inside(shapely.box(*bbox))
    )
    with pytest.raises(EmptyReadError, match="bbox"):
        rs.read_pixels(scene.index, bbox=[0, 0, 1, 1])


def test_wide_has_a_column_for_each_band(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    call = f"read_pixels('{scene.index}', bands := ['nir', 'red'], layout := 'wide', geometry := $1, geometry_crs := '{UTM}')"
    table = con.execute(f"FROM {call}", [FIELD.wkt]).fetchall()
    assert [column[0] for column in con.description] == [
        "item_id", "collection", "datetime", "x", "y", "crs", "nir", "red",
    ]  # fmt: skip
    inside = _inside(FIELD)
    for item in "ab":
        found = {(row[3], row[4]): row[6:] for row in table if row[0] == item}
        red, nir = ({(x, y): value for x, y, value in scene.expected(item, band, inside)} for band in ("red", "nir"))
        assert found == {place: (nir.get(place), red.get(place)) for place in red.keys() | nir.keys()}
        assert None in {value for row in found.values() for value in row}
    python = rs.read_pixels(
        scene.index, bands=["nir", "red"], layout="wide", geometry=FIELD, geometry_crs=UTM
    ).read_all()
    assert python.schema.names[6:] == ["nir", "red"]
    assert [tuple(row.values())[3:] for row in python.to_pylist()] == [row[3:] for row in table]


def test_an_index_of_bands_is_one_expression(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    found = con.execute(
        "SELECT item_id, avg((nir - red) / nullif(nir + red, 0)) FROM "
        f"read_pixels('{scene.index}', bands := ['red', 'nir'], layout := 'wide') GROUP BY item_id ORDER BY item_id"
    ).fetchall()
    for item, mean in found:
        red, nir = (np.ma.masked_equal(scene.pixels[item, band], 0).astype(float) for band in ("red", "nir"))
        assert mean == pytest.approx(((nir - red) / (nir + red)).mean())


def test_names_of_bands_may_hold_any_character(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    pixels = np.arange(1, 65, dtype=np.uint8).reshape(8, 8)
    write_cog(tmp_path / "m.tif", np.stack([pixels, pixels + 1]), tile=16, transform=TRANSFORM)
    table = pa.table({"href": [str(tmp_path / "m.tif")], "asset": ['a "quoted" one'], "item_id": ["i"]})
    rs.build_index(table, tmp_path / "i.parquet")
    names = ['a "quoted" one:1', 'a "quoted" one:2']
    listed = ", ".join(f"'{name}'" for name in names)
    query = (
        f"FROM read_pixels('{tmp_path}/i.parquet', bands := [{listed}], layout := 'wide') ORDER BY y DESC, x LIMIT 2"
    )
    found = con.execute(query)
    assert [column[0] for column in found.description][6:] == names
    assert [row[6:] for row in found.fetchall()] == [(1, 2), (2, 3)]


def test_conditions_prune_and_only_what_is_needed_is_fetched(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"SELECT avg(value) FROM read_pixels('{scene.index}') WHERE band = 'red' AND item_id = 'a'").fetchall()
    assert {request.path for request in scene.server.requests} == {"a_red.tif"}
    scene.server.reset()
    ((count,),) = con.execute(f"SELECT count(*) FROM read_pixels('{scene.index}') WHERE value > 15").fetchall()
    assert count == sum((pixels > 15).sum() for pixels in scene.pixels.values())
    read = [(request.path, request.start) for request in scene.server.requests]
    assert len(read) == len(set(read)) == 4


def test_a_limit_ends_the_read(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    with RangeServer(tmp_path) as server:
        pixels = np.random.default_rng(0).integers(1, 60_000, (1024, 1024), np.uint16)
        write_cog(tmp_path / "m.tif", pixels, tile=256, transform=TRANSFORM)
        rows = [{"href": f"{server.url('m.tif')}?{n}", "item_id": f"i{n:03}", "asset": "m"} for n in range(200)]
        rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
        for layout in ("long", "wide"):
            server.reset()
            call = f"read_pixels('{tmp_path}/i.parquet', bands := ['m'], layout := '{layout}')"
            assert len(con.execute(f"FROM {call} LIMIT 3").fetchall()) == 3
            assert 0 < len(server.requests) < 200


def _indexed(folder: Path, name: str, **profile: Any) -> Path:
    """Write a file with rasterio, which also writes grids that no read takes."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 2, "width": 2} | profile
    with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
        file.write(np.arange(1, 5, dtype=np.uint8).reshape(1, 2, 2))
    index = folder / f"{name}.parquet"
    rs.build_index(str(folder / f"{name}.tif"), index)
    return index


@pytest.mark.parametrize(
    "transform", [Affine(9.0, 3.0, 600_000.0, 3.0, -9.0, 1_400_000.0), Affine(10.0, 2.0, 600_000.0, 0.0, -10.0, 0.0)]
)
def test_numbers_of_pixels_are_never_coordinates_in_a_crs(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, transform: Affine
) -> None:
    index = _indexed(tmp_path, "rotated", crs=UTM, transform=transform)
    message = 'asset "data" of item rotated has no CRS or no transform.*rotated or sheared'
    with pytest.raises(InvalidArgumentError, match=message):
        rs.read_pixels(index)
    with pytest.raises(Exception, match=message):
        con.execute(f"FROM read_pixels('{index}')").fetchall()
    with pytest.raises(InvalidArgumentError, match=message):
        rs.export(index, tmp_path / "pixels.parquet")
    assert not (tmp_path / "pixels.parquet").exists()
    for read in (rs.sample_points, rs.zonal_stats):
        point = shapely.Point(600_005, 1_399_995)
        geometry = point.buffer(5) if read is rs.zonal_stats else point
        with pytest.raises(InvalidArgumentError, match=r"item 'rotated' has no CRS or no transform.*rotated or shear"):
            read(index, geometry, geometry_crs=UTM)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pixels_without_a_grid_are_counted_and_have_no_crs(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    index = _indexed(tmp_path, "plain")
    rows = con.execute(f"SELECT x, y, crs, value FROM read_pixels('{index}') ORDER BY value").fetchall()
    assert rows == [(0.5, 0.5, None, 1.0), (1.5, 0.5, None, 2.0), (0.5, 1.5, None, 3.0), (1.5, 1.5, None, 4.0)]


def test_bands_on_other_grids_cannot_be_wide(tmp_path: Path) -> None:
    for name, size, pixel in (("fine", 64, 10.0), ("coarse", 32, 20.0)):
        transform = (pixel, 0.0, 600_000.0, 0.0, -pixel, 1_400_000.0)
        write_cog(tmp_path / f"{name}.tif", np.ones((size, size), np.uint8), tile=16, transform=transform)
    rows = [{"href": str(tmp_path / f"{name}.tif"), "item_id": "i", "asset": name} for name in ("fine", "coarse")]
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    with pytest.raises(InvalidArgumentError, match=r'layout: asset "\w+" of item i has .* expected one grid'):
        rs.read_pixels(tmp_path / "i.parquet", bands=["fine", "coarse"], layout="wide").read_all()
    assert len(rs.read_pixels(tmp_path / "i.parquet", bands=["fine", "coarse"]).read_all()) == 64 * 64 + 32 * 32


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_tiles_that_cannot_be_read_may_be_left_out(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = []
    for item in "ab":
        for band in ("red", "nir"):
            path = tmp_path / f"{item}_{band}.tif"
            write_cog(path, np.full((8, 8), 5, np.uint8), tile=16, transform=TRANSFORM)
            rows.append({"href": str(path), "item_id": item, "asset": band})
    index = tmp_path / "i.parquet"
    rs.build_index(pa.Table.from_pylist(rows), index)
    (tmp_path / "b_nir.tif").unlink()
    options: dict[str, Any] = {"bands": ["red", "nir"], "layout": layout}
    with pytest.raises(AssetNotFoundError, match=r"b_nir\.tif"):
        rs.read_pixels(index, **options).read_all()
    found = rs.read_pixels(index, on_error="skip", **options).read_all()
    assert len(found) == (3 if layout == "long" else 2) * 64
    if layout == "wide":
        assert set(zip(*(found[name].to_pylist() for name in ("item_id", "red", "nir")), strict=True)) == {
            ("a", 5.0, 5.0), ("b", 5.0, None),
        }  # fmt: skip
    assert any("b_nir.tif" in record.message for record in caplog.records), "what is left out is logged"
    sql = con.sql(f"FROM read_pixels('{index}', bands := ['red', 'nir'], layout := '{layout}', on_error := 'skip')")
    assert sql.to_arrow_table().to_pylist() == found.to_pylist()


@pytest.mark.parametrize("options", [{}, {"layout": "wide"}, {"valid_where": "red > 0"}])
def test_tiles_that_were_left_out_are_logged_once_for_each_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    rows = []
    for band in ("red", "nir"):
        path = tmp_path / f"a_{band}.tif"
        write_cog(path, np.full((48, 32), 5, np.uint8), tile=16, transform=TRANSFORM)
        rows.append({"href": str(path), "item_id": "a", "asset": band})
    index = tmp_path / "i.parquet"
    rs.build_index(pa.Table.from_pylist(rows), index)
    (tmp_path / "a_nir.tif").unlink()
    found = rs.read_pixels(index, bands=["red", "nir"], on_error="skip", **options).read_all()
    assert len(found) == 48 * 32
    (record,) = caplog.records
    assert "a_nir.tif are left out" in record.message
    assert "the pixels of 6 tiles of" in record.message


@pytest.mark.parametrize(
    "options",
    [
        {"bands": ["long"]},
        {"bands": ["long"], "layout": "wide"},
        # The formula has the tiles of the other file.
        {"expressions": {"sum": "fine + long"}},
        {"bands": ["long"], "valid_where": "fine > 0"},
    ],
)
def test_integers_that_a_double_would_round_name_file_and_tile(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = np.ones((64, 64), np.uint64)
    pixels[40, 20] = 2**53 + 1
    write_cog(tmp_path / "fine.tif", np.ones((64, 64), np.uint8), tile=64, transform=TRANSFORM)
    write_cog(tmp_path / "long.tif", pixels, tile=16, transform=TRANSFORM)
    rows = [{"href": str(tmp_path / f"{name}.tif"), "item_id": "a", "asset": name} for name in ("fine", "long")]
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    says = r'tile \(row 2, col 1\), level 0, asset "long" of item a, .*long\.tif: got the integer 9007199254740993'
    with pytest.raises(RasteretError, match=says):
        rs.read_pixels(tmp_path / "i.parquet", **options).read_all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "tall"}, "layout: got 'tall', expected 'long' or 'wide'"),
        ({"layout": "wide"}, "bands: got none with layout 'wide', expected the names of its columns"),
        ({"layout": "wide", "bands": ["red", "blue"]}, "blue"),
        ({"layout": "wide", "bands": ["red", "red"]}, "expected each name once"),
        ({"layout": "wide", "bands": ["x"]}, "layout: got 'wide' and the name 'x', which another column has"),
        ({"layout": "wide", "bands": ["red"], "expressions": {"RED": "nir"}}, "the name 'RED', which another column"),
        ({"layout": "wide", "expressions": {"item_id": "nir"}}, "the name 'item_id', which another column has"),
        ({"level": 9}, "level: got 9"),
        ({"on_error": "null"}, "on_error: got 'null', expected 'raise' or 'skip'"),
        ({"bbox": [1, 2, 3]}, "bbox"),
    ],
)
def test_wrong_arguments_are_refused_before_any_request(
    scene: Scene, con: duckdb.DuckDBPyConnection, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        rs.read_pixels(scene.index, **options)
    named = "".join(f", {name} := {value!r}" for name, value in options.items())
    with pytest.raises(Exception, match=message):
        con.execute(f"FROM read_pixels('{scene.index}'{named})").fetchall()
    assert not scene.server.requests
