"""Formulas as bands and conditions on pixels, held against NumPy over what rasterio reads, and against rasterstats."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, EmptyReadError, InvalidArgumentError
from rasteret_sql.testing import write_cog
from tests.support.scenes import TRANSFORM

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from rasteret_sql.testing.server import RangeServer

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

UTM = "EPSG:32643"
HEIGHT, WIDTH = 96, 128
COARSE = (20.0, 0.0, 600_000.0, 0.0, -20.0, 1_400_000.0)
NDVI = "(nir - red) / (nir + red)"
CLASSES = "scl IN (4, 5, 6)"
FIELD = shapely.Polygon(
    [(600_105.3, 1_399_203.1), (601_001.7, 1_399_403.9), (600_707.1, 1_399_951.3), (600_333.3, 1_399_704.7)]
)


class Scene:
    """Files of two items on a server: red, nir and blue, classes of half their resolution, and their index."""

    def __init__(self, folder: Path, server: RangeServer) -> None:
        self.folder, self.server, self.index = folder, server, folder / "i.parquet"
        rng = np.random.default_rng(0)
        rows = []
        for number, item in enumerate("ab"):
            for band in ("red", "nir", "blue", "scl"):
                name = f"{item}_{band}.tif"
                if band == "scl":
                    pixels = rng.integers(0, 9, (HEIGHT // 2, WIDTH // 2), np.uint8)
                    write_cog(folder / name, pixels, tile=32, transform=COARSE)
                else:
                    pixels = rng.integers(0, 9, (HEIGHT, WIDTH), np.uint16)
                    write_cog(folder / name, pixels, tile=32, overviews=(2,), nodata=0, transform=TRANSFORM)
                when = dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC)
                rows.append({"href": server.url(name), "item_id": item, "asset": band, "datetime": when})
        rs.build_index(pa.Table.from_pylist(rows), self.index)

    def band(self, item: str, name: str) -> np.ma.MaskedArray[Any, Any]:
        """A band as float64 on the fine grid, masked where it has no data."""
        with rasterio.open(self.folder / f"{item}_{name}.tif") as file:
            found = file.read(1, masked=True).astype(np.float64)
        return found.repeat(2, 0).repeat(2, 1) if name == "scl" else found

    def ndvi(self, item: str, *, classes: bool) -> np.ma.MaskedArray[Any, Any]:
        """The index of vegetation, masked where it has no value or, with `classes`, in other classes."""
        red, nir = self.band(item, "red"), self.band(item, "nir")
        found = (nir - red) / (nir + red)
        others = ~np.isin(self.band(item, "scl").filled(-1), (4, 5, 6))
        return np.ma.masked_where(np.ma.getmaskarray(found) | (others & classes), found.filled(0))


def _inside(geometry: Any) -> np.ndarray:
    return geometry_mask([geometry], (HEIGHT, WIDTH), Affine(*TRANSFORM), invert=True)


def _placed(rows: list[dict[str, Any]], name: str = "value") -> np.ma.MaskedArray[Any, Any]:
    """Rows of pixels as an array."""
    found = np.ma.masked_all((HEIGHT, WIDTH))
    for row in rows:
        found[int((1_400_000 - row["y"]) // 10), int((row["x"] - 600_000) // 10)] = row[name]
    return found


def _rows(con: duckdb.DuckDBPyConnection, call: str, value: str) -> list[dict[str, Any]]:
    """The rows of a call with a prepared parameter."""
    rows = con.execute(f"FROM {call}", [value]).fetchall()
    names = [column[0] for column in con.description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _same(found: np.ma.MaskedArray[Any, Any], expected: np.ma.MaskedArray[Any, Any]) -> None:
    assert np.array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
    assert np.array_equal(found.filled(0), expected.filled(0))


@pytest.mark.parametrize("classes", [False, True])
def test_a_formula_is_a_band_of_what_numpy_computes(
    scene: Scene, con: duckdb.DuckDBPyConnection, classes: bool
) -> None:
    where = {"valid_where": CLASSES} if classes else {}
    table = rs.read_pixels(scene.index, expressions={"ndvi": NDVI}, **where).read_all()
    rows = table.to_pylist()
    assert {row["band"] for row in rows} == {"ndvi"}
    for item in "ab":
        _same(_placed([row for row in rows if row["item_id"] == item]), scene.ndvi(item, classes=classes))
    condition = f", valid_where := '{CLASSES}'" if classes else ""
    for formulas in ("{'ndvi': $1}", "MAP {'ndvi': $1}"):
        call = f"read_pixels('{scene.index}', expressions := {formulas}{condition})"
        assert _rows(con, call, NDVI) == rows


def test_bands_and_formulas_are_columns_side_by_side(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    call = (
        f"read_pixels('{scene.index}', bands := ['red'], expressions := {{'ndvi': '{NDVI}', 'twice': 'red * 2'}}, "
        f"valid_where := '{CLASSES}', layout := 'wide', geometry := $1, geometry_crs := '{UTM}')"
    )
    rows = _rows(con, call, FIELD.wkt)
    assert list(rows[0])[6:] == ["red", "ndvi", "twice"]
    outside = ~_inside(FIELD)
    for item in "ab":
        mine = [row for row in rows if row["item_id"] == item]
        ndvi, red = scene.ndvi(item, classes=True), scene.band(item, "red")
        others = ~np.isin(scene.band(item, "scl").filled(-1), (4, 5, 6)) | outside
        found = _placed([row for row in mine if row["ndvi"] is not None], "ndvi")
        _same(found, np.ma.masked_where(ndvi.mask | outside, ndvi.data))
        _same(_placed(mine, "red"), np.ma.masked_where(np.ma.getmaskarray(red) | others, red.data))
        assert all(row["twice"] == 2 * row["red"] for row in mine)
    python = rs.read_pixels(
        scene.index, bands=["red"], expressions={"ndvi": NDVI, "twice": "red * 2"}, valid_where=CLASSES, layout="wide",
        geometry=FIELD, geometry_crs=UTM,
    )  # fmt: skip
    assert python.read_all().to_pylist() == rows


def test_bands_that_nothing_names_are_never_read_and_each_tile_once(
    scene: Scene, con: duckdb.DuckDBPyConnection
) -> None:
    formulas = f"{{'ndvi': '{NDVI}', 'sum': 'nir + red'}}"
    call = f"read_pixels('{scene.index}', bands := ['red'], expressions := {formulas}, valid_where := '{CLASSES}')"
    con.execute(f"SELECT avg(value) FROM {call} GROUP BY band").fetchall()
    read = [(request.path, request.start) for request in scene.server.requests]
    assert len(read) == len(set(read))
    assert {path for path, _ in read} == {f"{item}_{band}.tif" for item in "ab" for band in ("red", "nir", "scl")}
    scene.server.reset()
    con.execute(f"SELECT avg(value) FROM {call} WHERE band = 'red' AND item_id = 'b'").fetchall()
    assert {request.path for request in scene.server.requests} == {"b_red.tif", "b_scl.tif"}, "a condition on the band"
    scene.server.reset()
    one = shapely.box(600_005, 1_399_905, 600_105, 1_399_995)
    gpd.GeoDataFrame(geometry=[one], crs=UTM).to_parquet(scene.folder / "one.parquet")
    zonal = f"zonal_stats('{scene.index}', '{scene.folder}/one.parquet', expressions := {formulas})"
    con.execute(f"SELECT mean FROM {zonal} WHERE band = 'sum'").fetchall()
    read = [(request.path, request.start) for request in scene.server.requests]
    assert len(read) == len(set(read)) == 4, "a tile of two bands of two items"


def test_zones_have_the_statistics_of_numpy_and_rasterstats_over_the_computed_array(scene: Scene) -> None:
    rasterstats = pytest.importorskip("rasterstats")
    rng = np.random.default_rng(5)
    shapes = [shapely.Point(*rng.uniform((600_050, 1_399_100), (601_230, 1_399_950))).buffer(90) for _ in range(25)]
    zones = gpd.GeoDataFrame({"zone": range(25)}, geometry=shapes, crs=UTM)
    rows = rs.zonal_stats(
        scene.index, zones, expressions={"ndvi": NDVI}, valid_where=CLASSES, datetime="2024-01-02",
        stats=["count", "mean", "stdev", "min", "max", "median"],
    ).read_all().to_pylist()  # fmt: skip
    expected = scene.ndvi("b", classes=True)
    theirs = rasterstats.zonal_stats(
        shapes, expected.filled(-9), affine=Affine(*TRANSFORM), nodata=-9,
        stats=["count", "mean", "std", "min", "max", "median"],
    )  # fmt: skip
    assert [row["zone"] for row in rows] == list(range(25))
    assert {row["band"] for row in rows} == {"ndvi"}
    for row, other in zip(rows, theirs, strict=True):
        values = expected[_inside(shapes[row["zone"]])].compressed()
        assert row["count"] == len(values)
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        for name, value in other.items():
            assert row["stdev" if name == "std" else name] == pytest.approx(value, rel=1e-12), name


def test_points_have_values_of_formulas_and_none_where_the_condition_is_not_true(
    scene: Scene, con: duckdb.DuckDBPyConnection
) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(600_000, 601_280, 300), rng.uniform(1_399_040, 1_400_000, 300)
    points = gpd.GeoDataFrame({"n": range(300)}, geometry=gpd.points_from_xy(x, y), crs=UTM)
    rows = rs.sample_points(
        scene.index, points, bands=["red"], expressions={"ndvi": NDVI}, valid_where=CLASSES
    ).read_all().to_pylist()  # fmt: skip
    assert len(rows) == 300 * 2 * 2
    for row in rows:
        place = int((1_400_000 - y[row["n"]]) // 10), int((x[row["n"]] - 600_000) // 10)
        ndvi = scene.ndvi(row["item_id"], classes=True)
        red = np.ma.masked_where(
            ~np.isin(scene.band(row["item_id"], "scl").filled(-1), (4, 5, 6)), scene.band(row["item_id"], "red")
        )
        expected = (ndvi if row["band"] == "ndvi" else red)[place]
        assert row["value"] == (None if expected is np.ma.masked else expected)
    points.to_parquet(scene.folder / "points.parquet")
    sql = con.execute(
        f"SELECT n, item_id, band, value FROM sample_points('{scene.index}', '{scene.folder}/points.parquet', bands := ['red'], "
        f"expressions := {{'ndvi': '{NDVI}'}}, valid_where := '{CLASSES}') ORDER BY ALL"
    ).fetchall()
    expected_rows = [(row["n"], row["item_id"], row["band"], row["value"]) for row in rows]
    assert sql == sorted(expected_rows, key=lambda row: row[:3])


def test_a_band_keeps_its_grid_and_finer_bands_of_the_condition_are_read_at_its_pixel_centres(scene: Scene) -> None:
    """A centre on an edge lies in the pixel to its right and below, as points do."""
    rows = (
        rs.read_pixels(scene.index, bands=["scl"], valid_where="red > 4", datetime="2024-01-01").read_all().to_pylist()
    )
    with rasterio.open(scene.folder / "a_scl.tif") as file:
        classes = file.read(1)
    taken = scene.band("a", "red").filled(0)[1::2, 1::2] > 4
    expected = {
        (600_010 + 20 * col, 1_399_990 - 20 * row, classes[row, col])
        for row, col in zip(*np.nonzero(taken), strict=True)
    }
    assert {(row["x"], row["y"], row["value"]) for row in rows} == expected
    assert len(rows) == len(expected) > 100


def test_grids_that_do_not_nest_are_read_where_nearest_resampling_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fine, coarse = rng.integers(1, 99, (70, 90), np.uint8), rng.integers(1, 99, (20, 21), np.uint8)
    write_cog(tmp_path / "fine.tif", fine, tile=16, transform=TRANSFORM)
    write_cog(tmp_path / "coarse.tif", coarse, tile=16, transform=(37.0, 0.0, 600_013.0, 0.0, -41.0, 1_399_991.0))
    rows = [{"href": str(tmp_path / f"{name}.tif"), "item_id": "i", "asset": name} for name in ("fine", "coarse")]
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    bounds = (600_000.0, 1_399_300.0, 600_900.0, 1_400_000.0)
    cube = rs.to_xarray(
        tmp_path / "i.parquet", bands=["fine", "coarse"], bbox=bounds, geometry_crs=UTM, crs=UTM, resolution=10,
        resampling="nearest",
    )  # fmt: skip
    expected = (cube["fine"].astype(int) - cube["coarse"].astype(int)).squeeze().to_numpy()
    pixels = rs.read_pixels(tmp_path / "i.parquet", expressions={"difference": "fine - coarse"}).read_all().to_pylist()
    found = np.full((70, 90), np.nan)
    for row in pixels:
        found[int((1_400_000 - row["y"]) // 10), int((row["x"] - 600_000) // 10)] = row["value"]
    is_covered = np.zeros((70, 90), bool)
    # Centres at 5, 15, … lie in the coarse file from column 13 m to 790 m and row 9 m to 829 m on.
    is_covered[1:, 1:79] = True
    assert np.array_equal(np.isfinite(found), is_covered)
    assert np.array_equal(found[is_covered], expected[is_covered])


def test_items_without_a_band_that_is_needed_have_no_rows(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    rows = []
    for item, bands in (("whole", ("red", "nir", "scl")), ("plain", ("red", "nir")), ("poor", ("red",))):
        for band in bands:
            write_cog(tmp_path / f"{item}_{band}.tif", np.full((8, 8), 5, np.uint8), tile=16, transform=TRANSFORM)
            rows.append({"href": str(tmp_path / f"{item}_{band}.tif"), "item_id": item, "asset": band})
    index = tmp_path / "i.parquet"
    rs.build_index(pa.Table.from_pylist(rows), index)

    def items(**options: Any) -> set[tuple[str, str]]:
        table = rs.read_pixels(index, **options).read_all()
        return set(zip(table["item_id"].to_pylist(), table["band"].to_pylist(), strict=True))

    assert items(bands=["red"], expressions={"sum": "red + nir"}) == {
        ("whole", "red"), ("plain", "red"), ("poor", "red"), ("whole", "sum"), ("plain", "sum"),
    }  # fmt: skip
    assert items(bands=["red"], valid_where="scl = 5") == {("whole", "red")}
    assert items(valid_where="scl = 5") == {("whole", "red"), ("whole", "nir"), ("whole", "scl")}
    poor = con.sql(f"FROM '{index}' WHERE asset <> 'scl' AND NOT (item_id <> 'poor' AND asset = 'red')")
    with pytest.raises(
        EmptyReadError, match=r"expressions\['sum'\]: none of the items .* has all bands .*'red', 'nir'"
    ):
        rs.read_pixels(poor, expressions={"sum": "red + nir"})


def test_formulas_are_of_stored_values_unless_physical_ones_are_asked_for(tmp_path: Path) -> None:
    rows = []
    for item, offset in (("a", 0.0), ("b", -1.0)):
        for band, value in (("red", 20), ("nir", 60)):
            path = tmp_path / f"{item}_{band}.tif"
            profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 4, "width": 4}
            with rasterio.open(path, "w", crs=UTM, transform=Affine(*TRANSFORM), **profile) as file:
                file.write(np.full((1, 4, 4), value, np.uint8))
                file.scales, file.offsets = (0.1,), (offset,)
            rows.append({"href": str(path), "item_id": item, "asset": band})
    index = tmp_path / "i.parquet"
    rs.build_index(pa.Table.from_pylist(rows), index)
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_960, 600_040, 1_400_000)], crs=UTM)
    options: dict[str, Any] = {"expressions": {"sum": "red + nir"}, "stats": ["mean", "count"]}
    assert rs.zonal_stats(index, zone, **options).read_all()["mean"].to_pylist() == [80, 80]
    physical = rs.zonal_stats(index, zone, scale=True, **options).read_all()["mean"].to_pylist()
    assert physical == [pytest.approx(8), pytest.approx(6)]
    high = rs.zonal_stats(index, zone, bands=["red"], valid_where="red > 1.5", scale=True, stats=["count"]).read_all()
    assert high["count"].to_pylist() == [16, 0]
    with pytest.raises(InvalidArgumentError, match=r'band "red": .*scale 0.1 and offset'):
        rs.zonal_stats(index, zone, by="all", **options)
    (mean,) = rs.zonal_stats(index, zone, by="all", scale=True, **options).read_all()["mean"].to_pylist()
    assert mean == pytest.approx(7)


def test_scales_of_the_caller_are_those_of_formulas_and_conditions(tmp_path: Path) -> None:
    for band, value in (("red", 20), ("nir", 60)):
        write_cog(tmp_path / f"{band}.tif", np.full((4, 4), value, np.uint8), tile=16, transform=TRANSFORM)
    rows = [{"href": str(tmp_path / f"{band}.tif"), "item_id": "i", "asset": band} for band in ("red", "nir")]
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    table = rs.read_pixels(
        tmp_path / "i.parquet", bands=["nir"], expressions={"sum": "red + nir"}, valid_where="red > 1.5", scale=True,
        scales={"red": 0.1}, layout="wide",
    ).read_all()  # fmt: skip
    assert set(table["sum"].to_pylist()) == {62.0}
    assert set(table["nir"].to_pylist()) == {60.0}
    with pytest.raises(InvalidArgumentError, match="scales: got band 'blue', expected one of nir, red"):
        rs.read_pixels(tmp_path / "i.parquet", expressions={"sum": "red + nir"}, scale=True, scales={"blue": 0.1})


def test_what_could_not_be_read_is_a_row_with_the_reason(tmp_path: Path) -> None:
    for band in ("red", "nir"):
        write_cog(tmp_path / f"{band}.tif", np.full((8, 8), 5, np.uint8), tile=16, transform=TRANSFORM)
    rows = [{"href": str(tmp_path / f"{band}.tif"), "item_id": "i", "asset": band} for band in ("red", "nir")]
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    (tmp_path / "nir.tif").unlink()
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_960, 600_040, 1_400_000)], crs=UTM)
    options: dict[str, Any] = {"bands": ["red"], "expressions": {"sum": "red + nir"}}
    with pytest.raises(AssetNotFoundError, match=r"nir\.tif"):
        rs.zonal_stats(tmp_path / "i.parquet", zone, **options).read_all()
    table = rs.zonal_stats(tmp_path / "i.parquet", zone, on_error="null", **options).read_all().to_pylist()
    found = {row["band"]: (row["mean"], row["error"]) for row in table}
    assert found["red"] == (5, None)
    assert found["sum"][0] is None
    assert "nir.tif" in found["sum"][1]


def test_division_by_zero_has_no_row(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    write_cog(tmp_path / "m.tif", pixels, tile=16, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "m.tif"), tmp_path / "i.parquet")
    table = rs.read_pixels(tmp_path / "i.parquet", expressions={"one": "data / data"}).read_all()
    assert table["value"].to_pylist() == [1.0] * 63


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expressions": {"x": "red +"}}, r"expressions\['x'\]: got 'red \+', which ends too early"),
        ({"expressions": {"x": "rad + 1"}}, r"expressions\['x'\]: bands: got 'rad'.*did you mean"),
        ({"expressions": {"red": "nir + 1"}, "bands": ["red"]}, "expressions: got the name 'red'"),
        ({"valid_where": "scl"}, "valid_where: got 'scl' at character 1 of 'scl', expected a condition"),
        ({"valid_where": "slc = 4"}, "valid_where: bands: got 'slc'"),
    ],
)
def test_wrong_formulas_are_refused_by_name_and_position_before_any_request(
    scene: Scene, con: duckdb.DuckDBPyConnection, options: dict[str, Any], message: str
) -> None:
    zone = gpd.GeoDataFrame(geometry=[FIELD], crs=UTM)
    zone.to_parquet(scene.folder / "zone.parquet")
    point = gpd.GeoDataFrame(geometry=[FIELD.centroid], crs=UTM)
    point.to_parquet(scene.folder / "point.parquet")
    named = "".join(f", {name} := {value!r}" for name, value in options.items())
    for read, vectors in ((rs.read_pixels, ()), (rs.zonal_stats, (zone,)), (rs.sample_points, (point,))):
        with pytest.raises(InvalidArgumentError, match=message):
            read(scene.index, *vectors, **options)
        given = "".join(f", '{scene.folder}/{'zone' if read is rs.zonal_stats else 'point'}.parquet'" for _ in vectors)
        with pytest.raises(Exception, match=message):
            con.execute(f"FROM {read.__name__}('{scene.index}'{given}{named})").fetchall()
    assert not scene.server.requests


@pytest.mark.parametrize("value", [{}, "red + nir", ["red + nir"], {1: "red"}, {"": "red"}, {"x": 3}])
def test_expressions_that_are_no_formulas_by_name_are_refused(scene: Scene, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^expressions"):
        rs.read_pixels(scene.index, expressions=value)
