"""Statistics of zones, held against rasterio's masks with NumPy, rasterstats and exactextract."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import duckdb
import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, EmptyReadError, InvalidArgumentError
from rasteret_sql.sql.virtual import scans_only_planned
from rasteret_sql.testing import write_cog
from tests.support.scenes import BANDS, TILE, TRANSFORM, ServedScene

if TYPE_CHECKING:
    from pathlib import Path

# rasterio and rasterstats multiply transforms in a way that affine is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

UTM = "EPSG:32643"
HEIGHT, WIDTH = 96, 128
ITEMS = "abc"
STATS = (
    "count", "sum", "sumsq", "mean", "stdev", "min", "max", "median", "majority", "minority", "variety", "p10", "p90",
)  # fmt: skip


class Scene(ServedScene):
    """Files of three items with two bands each on a server, the first two of one day, and their index."""

    items, shape, above = ITEMS, (HEIGHT, WIDTH), 40

    def time(self, number: int) -> dt.datetime:
        return dt.datetime(2024, 1, 1 + number // 2, 10 + number, tzinfo=dt.UTC)

    def values(self, item: str, band: str, zone: Any, *, all_touched: bool = False) -> np.ndarray:
        """The valid pixels inside a zone, as rasterio has them."""
        pixels = self.pixels[item, band]
        inside = geometry_mask([zone], pixels.shape, Affine(*TRANSFORM), invert=True, all_touched=all_touched)
        return pixels[inside & (pixels != 0)].astype(float)


def _fields(count: int = 30, seed: int = 0, *, size: float = 250, beside: float = 100) -> gpd.GeoDataFrame:
    """Polygons with holes and several parts, on and around the raster."""
    rng = np.random.default_rng(seed)
    low, high = (600_000 - beside, 1_399_040 - beside), (601_280 + beside, 1_400_000 + beside)
    shapes = []
    for middle in rng.uniform(low, high, (count, 2)):
        turns = np.sort(rng.uniform(0, 2 * np.pi, 9))
        reach = rng.uniform(size / 5, size, 9)[:, None]
        shape = shapely.Polygon(middle + reach * np.stack([np.cos(turns), np.sin(turns)], axis=1)).buffer(0)
        kind = rng.integers(3)
        if kind == 1:
            shape = shape.difference(shapely.Point(middle).buffer(size / 8))
        elif kind == 2:
            shape = shape.union(shapely.box(*(middle + size), *(middle + size * 1.4)))
        shapes.append(shape)
    return gpd.GeoDataFrame({"field": np.arange(count)}, geometry=shapes, crs=UTM)


def _expected(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(STATS) | {"count": 0, "sum": 0, "sumsq": 0, "variety": 0}
    distinct, counts = np.unique(values, return_counts=True)
    return {
        "count": len(values), "sum": values.sum(), "sumsq": (values**2).sum(), "mean": values.mean(),
        "stdev": values.std(), "min": values.min(), "max": values.max(), "median": np.median(values),
        "majority": distinct[counts.argmax()], "minority": distinct[counts.argmin()], "variety": len(distinct),
        "p10": np.percentile(values, 10), "p90": np.percentile(values, 90),
    }  # fmt: skip


def _assert_same(row: dict[str, Any], expected: dict[str, float | None]) -> None:
    for name, value in expected.items():
        assert row[name] == (value if value is None else pytest.approx(value, rel=1e-12, abs=1e-9)), name


@pytest.mark.parametrize("all_touched", [False, True])
def test_statistics_are_those_of_numpy_over_masks_of_rasterio(scene: Scene, all_touched: bool) -> None:
    fields = _fields(60)
    rows = rs.zonal_stats(scene.index, fields, stats=STATS, all_touched=all_touched).read_all().to_pylist()
    assert len({row["field"] for row in rows}) > 30
    assert len(rows) == 6 * len({row["field"] for row in rows})
    for row in rows:
        values = scene.values(row["item_id"], row["band"], fields.geometry[row["field"]], all_touched=all_touched)
        _assert_same(row, _expected(values))
        assert row["items"] == 1


def test_which_pixels_count_is_what_geometry_mask_says_for_random_polygons(tmp_path: Path) -> None:
    """Each pixel has a value of its own power, so that the sum tells which were taken: bit for bit."""
    size = 12
    pixels = (np.arange(size * size, dtype=np.float64) + 1).reshape(size, size)
    write_cog(tmp_path / "m.tif", pixels, tile=16, transform=(10.0, 0.0, 0.0, 0.0, -10.0, 120.0), crs=UTM)
    rs.build_index(str(tmp_path / "m.tif"), tmp_path / "i.parquet")
    rng = np.random.default_rng(7)
    shapes = [shapely.Polygon(rng.uniform(-30, 150, (3 + number % 5, 2))) for number in range(2000)]
    zones = gpd.GeoDataFrame({"zone": range(2000)}, geometry=shapes, crs=UTM)
    for all_touched in (False, True):
        rows = rs.zonal_stats(
            tmp_path / "i.parquet", zones, stats=["count", "sum", "sumsq"], all_touched=all_touched
        ).read_all()
        found = {row["zone"]: row for row in rows.to_pylist()}
        for number, shape in enumerate(shapes):
            inside = geometry_mask(
                [shape], pixels.shape, Affine(10, 0, 0, 0, -10, 120), invert=True, all_touched=all_touched
            )
            row = found.get(number, {"count": 0, "sum": 0, "sumsq": 0})
            values = pixels[inside]
            assert (row["count"], row["sum"], row["sumsq"]) == (len(values), values.sum(), (values**2).sum()), number


def test_rasterstats_agrees(scene: Scene) -> None:
    rasterstats = pytest.importorskip("rasterstats")
    fields = _fields(25, seed=2, beside=-150, size=100)
    names = ["count", "sum", "mean", "min", "max", "median", "majority", "minority", "percentile_10"]
    rows = rs.zonal_stats(
        scene.index, fields, bands=["red"], datetime="2024-01-02",
        stats=["count", "sum", "mean", "stdev", "min", "max", "median", "majority", "minority", "variety", "p10"],
    ).read_all()  # fmt: skip
    theirs = rasterstats.zonal_stats(
        fields.geometry.tolist(), str(scene.folder / "c_red.tif"), stats=[*names, "std", "unique"]
    )
    ours = {"percentile_10": "p10", "std": "stdev", "unique": "variety"}
    assert len(rows) == 25
    for row, other in zip(rows.to_pylist(), theirs, strict=True):
        for name, value in other.items():
            assert row[ours.get(name, name)] == pytest.approx(value, rel=1e-12), name


def test_exactextract_agrees_on_weights_of_coverage(tmp_path: Path) -> None:
    """Values all differ: exactextract takes equal ones for one when it interpolates quantiles."""
    exactextract = pytest.importorskip("exactextract")
    pixels = np.random.default_rng(0).permutation(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.float64)
    write_cog(tmp_path / "m.tif", pixels, tile=TILE, nodata=77, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "m.tif"), tmp_path / "i.parquet")
    fields = _fields(40, seed=3, beside=-150, size=100)
    raster = exactextract.raster.NumPyRasterSource(
        np.ma.masked_equal(pixels, 77),
        xmin=600_000, xmax=600_000 + 10 * WIDTH, ymin=1_400_000 - 10 * HEIGHT, ymax=1_400_000,
    )  # fmt: skip
    ours = ["count", "sum", "mean", "stdev", "min", "max", "median", "variety", "p10", "p90"]
    theirs = [*ours[:-2], "quantile(q=0.1)", "quantile(q=0.9)"]
    given = {"quantile_10": "p10", "quantile_90": "p90"}
    expected = exactextract.exact_extract(raster, [_feature(each) for each in fields.geometry], theirs)
    rows = rs.zonal_stats(tmp_path / "i.parquet", fields, weights="coverage", stats=ours).read_all()
    assert len(rows) == 40
    for row, other in zip(rows.to_pylist(), expected, strict=True):
        for name, value in other["properties"].items():
            assert row[given.get(name, name)] == pytest.approx(value, rel=1e-5), name


def test_equal_weights_give_the_quantiles_of_numpy(scene: Scene) -> None:
    """A polygon along the edges of pixels covers whole ones."""
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_100, 1_399_500, 600_400, 1_399_900)], crs=UTM)
    rows = [
        rs.zonal_stats(scene.index, zone, bands=["red"], datetime="2024-01-02", stats=STATS, weights=weights)
        .read_all().to_pylist()[0]
        for weights in ("none", "coverage")
    ]  # fmt: skip
    _assert_same(rows[1], {name: rows[0][name] for name in STATS})


def _feature(shape: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {}, "geometry": shape.__geo_interface__}


def test_sql_gives_what_python_gives_and_the_columns_of_the_zones(
    scene: Scene, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    fields = _fields(20)
    fields.to_parquet(tmp_path / "f.parquet")
    call = f"zonal_stats('{scene.index}', '{tmp_path}/f.parquet', stats := ['mean', 'p90', 'count'])"
    found = con.sql(f"SELECT * EXCLUDE (geometry) FROM {call}").to_arrow_table()
    names = ["field", "item_id", "collection", "datetime", "band", "items", "count", "mean", "p90"]
    assert found.schema.names == [*names, "scale", "offset", "error"]
    expected = rs.zonal_stats(scene.index, fields, stats=["mean", "p90", "count"]).read_all()
    assert expected.schema.names[7:10] == ["mean", "p90", "count"]
    order = [(name, "ascending") for name in ("item_id", "band", "field")]
    assert found.sort_by(order).to_pylist() == (expected.select(found.schema.names).sort_by(order).to_pylist())
    default = con.sql(f"FROM zonal_stats('{scene.index}', '{tmp_path}/f.parquet')").columns
    assert default[7:13] == ["count", "sum", "mean", "stdev", "min", "max"]


@pytest.mark.parametrize("by", ["day", "solar_day", "all"])
def test_files_of_a_day_or_all_are_computed_together(scene: Scene, by: str) -> None:
    """Bands are told apart by name, also where all of them are read."""
    fields = _fields(15, beside=-200, size=80)
    rows = rs.zonal_stats(scene.index, fields, stats=STATS, by=by).read_all().to_pylist()
    groups = {None: "abc"} if by == "all" else {1: "ab", 2: "c"}
    assert len(rows) == 15 * 2 * len(groups)
    for row in rows:
        day = None if row["datetime"] is None else row["datetime"].day
        assert row["item_id"] is None
        assert row["items"] == len(groups[day])
        values = [scene.values(item, row["band"], fields.geometry[row["field"]]) for item in groups[day]]
        _assert_same(row, _expected(np.concatenate(values)))


def test_sums_of_parts_are_those_of_the_whole(scene: Scene, con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    fields = _fields(10, beside=-200, size=80)
    fields.to_parquet(tmp_path / "f.parquet")
    stats = "stats := ['count', 'sum', 'sumsq', 'stdev', 'min', 'max']"
    call = f"zonal_stats('{scene.index}', '{tmp_path}/f.parquet', bands := ['red'], {stats}, by := '{{}}')"
    merged = con.sql(
        "SELECT field, sum(count), sum(sum), sqrt(sum(sumsq) / sum(count) - pow(sum(sum) / sum(count), 2)), "
        f"min(min), max(max) FROM {call.format('item')} GROUP BY field ORDER BY field"
    ).fetchall()
    whole = con.sql(f"SELECT field, count, sum, stdev, min, max FROM {call.format('all')} ORDER BY field").fetchall()
    for one, other in zip(merged, whole, strict=True):
        assert one == pytest.approx(other, rel=1e-9)


def test_zones_in_another_crs_count_as_when_they_are_projected_first(scene: Scene) -> None:
    fields = _fields(30)
    here = rs.zonal_stats(scene.index, fields, bands=["red"]).read_all()
    there = rs.zonal_stats(scene.index, fields.to_crs("EPSG:4326"), bands=["red"]).read_all()
    assert there["field"].to_pylist() == here["field"].to_pylist()
    assert there["count"].to_pylist() == here["count"].to_pylist()
    assert there["sum"].to_pylist() == here["sum"].to_pylist()


def test_each_tile_is_fetched_once_however_many_zones_it_lies_in(
    scene: Scene, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    _fields(200, size=400).to_parquet(tmp_path / "f.parquet")
    call = f"zonal_stats('{scene.index}', '{tmp_path}/f.parquet', stats := ['mean', 'median'])"
    con.execute(f"SELECT mean FROM {call} WHERE band = 'red'").fetchall()
    read = [(request.path, request.start) for request in scene.server.requests]
    assert len(read) == len(set(read)) == len(ITEMS), "the tiles of a file lie side by side: one request"
    assert {path for path, _ in read} == {f"{item}_red.tif" for item in ITEMS}, "a condition on the band prunes"
    scene.server.reset()
    ((count,),) = con.execute(f"SELECT count(*) FROM {call}").fetchall()
    assert count
    assert not scene.server.requests, "rows alone need no bytes"
    one = gpd.GeoDataFrame(geometry=[shapely.box(600_005, 1_399_905, 600_105, 1_399_995)], crs=UTM)
    one.to_parquet(tmp_path / "one.parquet")
    with scans_only_planned() as scans:
        con.execute(f"SELECT mean FROM zonal_stats('{scene.index}', '{tmp_path}/one.parquet')").fetchall()
    assert len(scans[0].plan) == len(ITEMS) * len(BANDS)


def test_zones_smaller_than_a_pixel_empty_null_and_far_ones_are_defined(scene: Scene) -> None:
    shapes = [
        shapely.box(600_001, 1_399_996, 600_003, 1_399_998),  # beside the centre of the first pixel
        shapely.box(600_004, 1_399_994, 600_006, 1_399_996),  # around it
        None, shapely.Polygon(), shapely.box(0, 0, 1, 1),
        shapely.Point(600_013, 1_399_993), shapely.LineString([(600_000, 1_399_995), (600_100, 1_399_995)]),
    ]  # fmt: skip
    zones = gpd.GeoDataFrame({"zone": range(len(shapes))}, geometry=shapes, crs=UTM)
    options: dict[str, Any] = {"bands": ["red"], "datetime": "2024-01-02", "stats": ["count", "max"]}
    first = scene.pixels["c", "red"][0]

    def found(**given: Any) -> dict[int, tuple[float, float | None]]:
        rows = rs.zonal_stats(scene.index, zones, **options, **given).read_all().to_pylist()
        return {row["zone"]: (row["count"], row["max"]) for row in rows}

    assert found() == {0: (0, None), 1: (1, first[0]), 5: (1, first[1]), 6: (10, first[:10].max())}
    assert found(all_touched=True)[0] == (1, first[0])
    covered = found(weights="coverage")
    assert covered[0] == (pytest.approx(0.04), first[0])
    assert covered[5] == covered[6] == (0, None)
    nothing = rs.zonal_stats(scene.index, zones.iloc[2:4], **options).read_all()
    assert len(nothing) == 0
    with pytest.raises(EmptyReadError, match=r"zones: .*touches none of the assets"):
        rs.zonal_stats(scene.index, zones.iloc[4:5], **options)


def test_a_zone_over_the_antimeridian_counts_on_both_sides(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 1000, (20, 40), np.uint16)
    for name, left in (("east", 176.0), ("west", -180.0)):
        write_cog(
            tmp_path / f"{name}.tif", pixels, tile=16, crs="EPSG:4326", transform=(0.1, 0.0, left, 0.0, -0.1, 10.0)
        )
    rs.build_index(str(tmp_path / "*.tif"), tmp_path / "i.parquet")
    both = shapely.MultiPolygon([shapely.box(179.5, 9.0, 180, 9.5), shapely.box(-180, 9.0, -179.7, 9.5)])
    zones = gpd.GeoDataFrame(geometry=[both, shapely.box(179.5, 9.0, 180.3, 9.5)], crs="OGC:CRS84")
    rows = rs.zonal_stats(tmp_path / "i.parquet", zones, stats=["count", "sum"]).read_all().to_pylist()
    expected = {"east": pixels[5:10, 35:], "west": pixels[5:10, :3]}
    assert len(rows) == 4
    for row in rows:
        assert (row["count"], row["sum"]) == (expected[row["item_id"]].size, expected[row["item_id"]].sum())


def test_nan_never_counts_and_masks_neither(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.float32).reshape(8, 8)
    pixels[0, :4] = np.nan
    write_cog(tmp_path / "m.tif", pixels, tile=16, nodata=9, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "m.tif"), tmp_path / "i.parquet")
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_920, 600_080, 1_400_000)], crs=UTM)
    (row,) = (
        rs.zonal_stats(tmp_path / "i.parquet", zone, stats=["count", "sum", "min", "variety"]).read_all().to_pylist()
    )
    assert (row["count"], row["sum"], row["min"], row["variety"]) == (59, np.nansum(pixels) - 9, 4, 59)


@pytest.mark.parametrize("weights", ["none", "coverage"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, np.inf], {"p0": 1, "p25": 1.5, "median": 2, "p75": np.inf, "p100": np.inf}),
        ([-np.inf, 2, np.inf], {"p0": -np.inf, "p25": -np.inf, "p50": 2, "p75": np.inf, "p100": np.inf}),
        ([-np.inf, 2, 3], {"p0": -np.inf, "p25": -np.inf, "median": 2, "p75": 2.5, "p100": 3}),
        ([-np.inf, np.inf], {"p0": -np.inf, "median": None, "p100": np.inf}),
        ([np.inf, np.inf, np.inf], {"p0": np.inf, "p25": np.inf, "median": np.inf, "p100": np.inf}),
    ],
)
def test_infinities_are_values_of_quantiles(
    tmp_path: Path, weights: str, values: list[float], expected: dict[str, float | None]
) -> None:
    write_cog(tmp_path / "m.tif", np.array([values], np.float32), tile=16, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "m.tif"), tmp_path / "i.parquet")
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_990, 600_000 + 10 * len(values), 1_400_000)], crs=UTM)
    with np.errstate(invalid="ignore"):
        (row,) = (
            rs.zonal_stats(tmp_path / "i.parquet", zone, stats=list(expected), weights=weights).read_all().to_pylist()
        )
    assert {name: row[name] for name in expected} == expected


def test_the_spread_of_large_values_keeps_its_digits(tmp_path: Path) -> None:
    """A sum of squares would lose them."""
    pixels = (1e8 + np.random.default_rng(0).uniform(0, 1, (64, 64))).astype(np.float64)
    write_cog(tmp_path / "m.tif", pixels, tile=16, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "m.tif"), tmp_path / "i.parquet")
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_360, 600_640, 1_400_000)], crs=UTM)
    (row,) = rs.zonal_stats(tmp_path / "i.parquet", zone, stats=["stdev"]).read_all().to_pylist()
    assert row["stdev"] == pytest.approx(pixels.std(), rel=1e-9)


@pytest.mark.parametrize("top", [2**31, 2**40, 2**52])
def test_sums_of_large_integers_are_exact(tmp_path: Path, top: int) -> None:
    """Their squares exceed 64 bits, and a sum of float64 would depend on its order."""
    pixels = np.random.default_rng(top).integers(-top, top, (64, 64))
    write_cog(tmp_path / "m.tif", pixels, tile=16, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "m.tif"), tmp_path / "i.parquet")
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_360, 600_640, 1_400_000)], crs=UTM)
    (row,) = rs.zonal_stats(tmp_path / "i.parquet", zone, stats=["sum", "sumsq", "stdev"]).read_all().to_pylist()
    values = pixels.ravel().tolist()
    total, squares = sum(values), sum(value * value for value in values)
    assert (row["sum"], row["sumsq"]) == (float(total), float(squares))
    assert row["stdev"] == ((len(values) * squares - total * total) / len(values) ** 2) ** 0.5


def test_scale_computes_with_physical_values(scene: Scene) -> None:
    index = pq.read_table(scene.index)
    number = index.schema.get_field_index("bands")
    kept = [[dict(band) | {"scale": 0.5, "offset": -1.0} for band in each] for each in index["bands"].to_pylist()]
    index = index.set_column(number, "bands", pa.array(kept, index.schema.field("bands").type))
    zone = _fields(1, beside=-300)
    options: dict[str, Any] = {"bands": ["red"], "datetime": "2024-01-02", "stats": ["mean", "median"]}
    (stored,) = rs.zonal_stats(index, zone, **options).read_all().to_pylist()
    (real,) = rs.zonal_stats(index, zone, scale=True, **options).read_all().to_pylist()
    assert (real["scale"], real["offset"]) == (0.5, -1.0)
    assert real["mean"] == pytest.approx(stored["mean"] * 0.5 - 1)
    assert real["median"] == stored["median"] * 0.5 - 1


@pytest.mark.parametrize("by", ["day", "all"])
def test_stored_values_of_two_scales_are_not_computed_together(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, by: str
) -> None:
    rows = []
    for name, hour in (("a", 10), ("b", 11)):
        write_cog(tmp_path / f"{name}.tif", np.full((8, 8), 10, np.uint16), tile=16, transform=TRANSFORM)
        when = dt.datetime(2024, 1, 1, hour, tzinfo=dt.UTC)
        rows.append({"href": str(tmp_path / f"{name}.tif"), "item_id": name, "datetime": when})
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    index = pq.read_table(tmp_path / "i.parquet").sort_by("item_id")
    scaled = [
        [band | {"scale": scale} for band in bands]
        for bands, scale in zip(index["bands"].to_pylist(), (0.1, 0.01), strict=True)
    ]
    number = index.schema.get_field_index("bands")
    index = index.set_column(number, "bands", pa.array(scaled, index.schema.field("bands").type))
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_980, 600_020, 1_400_000)], crs=UTM)
    message = r"scale 0\.1 .*0\.01 .*expected the same; compute with physical values, by the argument scale, or take by 'item'"
    with pytest.raises(InvalidArgumentError, match=message):
        rs.zonal_stats(index, zone, by=by)
    pq.write_table(index, tmp_path / "scaled.parquet")
    con.execute("CREATE TABLE fields AS SELECT ?::VARCHAR AS wkt", [zone.geometry.iloc[0].wkt])
    call = f"zonal_stats('{tmp_path}/scaled.parquet', 'fields', geometry_crs := '{UTM}', \"by\" := '{by}'"
    with pytest.raises(Exception, match=message):
        con.execute(f"SELECT sum FROM {call})").fetchall()
    ((total,),) = con.execute(f"SELECT sum FROM {call}, scale := true)").fetchall()
    assert total == pytest.approx(4 * 10 * 0.11)
    assert [row["sum"] for row in rs.zonal_stats(index, zone).read_all().to_pylist()] == [40, 40]


def test_what_could_not_be_read_is_a_row_with_the_reason(tmp_path: Path) -> None:
    for name in "ab":
        write_cog(tmp_path / f"{name}.tif", np.full((32, 32), 7, np.int16), tile=16, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "*.tif"), tmp_path / "i.parquet")
    (tmp_path / "a.tif").unlink()
    zone = gpd.GeoDataFrame(geometry=[shapely.box(600_000, 1_399_900, 600_100, 1_400_000)], crs=UTM)
    rows = rs.zonal_stats(tmp_path / "i.parquet", zone, on_error="null").read_all().to_pylist()
    assert [(row["item_id"], row["mean"], row["count"]) for row in rows] == [("a", None, None), ("b", 7.0, 100)]
    assert "a.tif" in rows[0]["error"]
    assert rows[1]["error"] is None
    with pytest.raises(AssetNotFoundError, match=r"a\.tif"):
        rs.zonal_stats(tmp_path / "i.parquet", zone).read_all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stats": ["mean", "mode"]}, "stats: got 'mode', expected some of count, sum"),
        ({"stats": ["p101"]}, "stats: got 'p101'"),
        ({"stats": []}, r"stats: got \[\], expected some of"),
        ({"weights": "area"}, "weights: got 'area', expected 'none' or 'coverage'"),
        ({"weights": "coverage", "all_touched": True}, "all_touched: got True with weights 'coverage'"),
        ({"by": "week"}, "by: got 'week', expected one of item, day, solar_day, all"),
        ({"geometry_column": "shape"}, "geometry_column: got 'shape', expected a column of zones: field, geometry"),
        (
            {"geometry_crs": "EPSG:4326"},
            "geometry_crs: got EPSG:4326, and column geometry of zones says that it is in EPSG:32643",
        ),
        ({"bands": ["blue"]}, "blue"),
    ],
)
def test_wrong_arguments_are_refused_before_any_request(
    scene: Scene, con: duckdb.DuckDBPyConnection, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    fields = _fields(3)
    with pytest.raises(InvalidArgumentError, match=message):
        rs.zonal_stats(scene.index, fields, **options)
    fields.to_parquet(tmp_path / "f.parquet")
    named = "".join(f", {name} := {value!r}" for name, value in options.items())
    with pytest.raises(Exception, match=message):
        con.execute(f"FROM zonal_stats('{scene.index}', '{tmp_path}/f.parquet'{named})").fetchall()
    assert not scene.server.requests


def test_zones_without_a_crs_swapped_ones_and_points_by_coordinates_are_refused(scene: Scene) -> None:
    fields = _fields(3)
    with pytest.raises(InvalidArgumentError, match="geometry_crs: zones do not say what CRS they are in"):
        rs.zonal_stats(scene.index, fields.set_crs(None, allow_override=True))
    swapped = gpd.GeoDataFrame(geometry=[shapely.box(12, 95, 13, 96)], crs="OGC:CRS84")
    with pytest.raises(InvalidArgumentError, match="zones: row 1 is at x 12, y 96 in OGC:CRS84, expected a latitude"):
        rs.zonal_stats(scene.index, swapped)
    with pytest.raises(InvalidArgumentError, match="zones: got the columns x, y, expected one of geometries; name it"):
        rs.zonal_stats(scene.index, pa.table({"x": [1.0], "y": [2.0]}), geometry_crs=UTM)


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 does not read GeoJSON as features")
def test_zones_and_points_of_geojson_and_csv_files_are_read_in_sql(
    scene: Scene, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    fields = _fields(5, beside=-200, size=80)
    (tmp_path / "f.geojson").write_text(fields.to_crs("OGC:CRS84").to_json())
    old = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32643"}}
    (tmp_path / "old.geojson").write_text(json.dumps({"crs": old, **json.loads(fields.to_json())}))
    fields.assign(wkt=fields.geometry.to_wkt()).drop(columns="geometry").to_csv(tmp_path / "f.csv", index=False)
    expected = rs.zonal_stats(scene.index, fields, bands=["red"], stats=["count"]).read_all()
    rows = sorted(zip(*(expected[name].to_pylist() for name in ("field", "item_id", "count")), strict=True))
    for name, crs in (("f.geojson", ""), ("old.geojson", ""), ("f.csv", f", geometry_crs := '{UTM}'")):
        call = f"zonal_stats('{scene.index}', '{tmp_path}/{name}', bands := ['red'], stats := ['count']{crs})"
        assert con.sql(f"SELECT field, item_id, count FROM {call} ORDER BY ALL").fetchall() == rows, name
    with pytest.raises(Exception, match=r"geometry_crs: got EPSG:4326, and column geometry .* EPSG:32643"):
        con.sql(f"FROM zonal_stats('{scene.index}', '{tmp_path}/old.geojson', geometry_crs := 'EPSG:4326')").fetchall()
    points = fields.to_crs("OGC:CRS84").set_geometry(fields.to_crs("OGC:CRS84").representative_point())
    (tmp_path / "p.geojson").write_text(points.to_json())
    ((count,),) = con.sql(f"SELECT count(*) FROM sample_points('{scene.index}', '{tmp_path}/p.geojson')").fetchall()
    assert count == 5 * len(ITEMS) * len(BANDS)


def test_real_files_give_what_rasterio_gives(shared_data: Path, tmp_path: Path) -> None:
    """Polygons over files of several CRSs, dtypes and layouts."""
    compared = 0
    for number, path in enumerate(sorted((shared_data / "scenes").rglob("*.tif"))):
        if path.stat().st_size > 4_000_000:
            continue
        try:
            with rasterio.open(path) as source:
                t, name = source.transform, source.compression
                if not source.crs or t.b or not t.a > 0 > t.e or (name and "JPEG" in name.name.upper()):
                    continue
                pixels = source.read(1, masked=True)
                crs, bounds = source.crs.to_wkt(), source.bounds
            rs.build_index(str(path), tmp_path / f"{number}.parquet")
        except (rasterio.errors.RasterioError, rs.RasteretError):
            continue
        rng = np.random.default_rng(number)
        corners = rng.uniform((bounds.left, bounds.bottom), (bounds.right, bounds.top), (8, 4, 2))
        shapes = [shapely.MultiPoint(each).convex_hull for each in corners]
        zones = gpd.GeoDataFrame({"zone": range(8)}, geometry=shapes, crs=crs)
        rows = rs.zonal_stats(tmp_path / f"{number}.parquet", zones, stats=["count", "sum", "min", "max"]).read_all()
        first = rows["band"][0].as_py()
        for row in rows.to_pylist():
            if row["band"] != first:
                continue
            inside = geometry_mask([shapes[row["zone"]]], pixels.shape, t, invert=True)
            values = pixels[inside].compressed().astype(float)
            values = values[~np.isnan(values)]
            assert row["count"] == len(values), path
            if len(values):
                assert (row["min"], row["max"]) == (values.min(), values.max()), path
                assert row["sum"] == pytest.approx(values.sum(), rel=1e-6), path
            compared += 1
    assert compared > 100
