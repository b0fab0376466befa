"""Windows as rows, held against NumPy over rasterio's windows; what is fetched is counted."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from rasterio.warp import transform_geom
from rasterio.windows import Window

import rasteret_sql as rs
from rasteret_sql.errors import AssetChangedError, EmptyReadError, InvalidArgumentError
from rasteret_sql.plan.chips import ChipGrid
from rasteret_sql.sql.batches import schema_of
from rasteret_sql.sql.chips import ChipArguments, chip_batches, plan_chips
from rasteret_sql.sql.readers import planning_cursor, read_arguments
from rasteret_sql.sql.virtual import scans_only_planned
from rasteret_sql.testing import write_cog
from rasteret_sql.testing.server import RangeServer
from tests.support.scenes import BANDS, TILE, TRANSFORM, ServedScene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

UTM = "EPSG:32643"
HEIGHT, WIDTH = 80, 112


class Scene(ServedScene):
    """Files of two items with two bands each on a server, and their index; a corner has no data."""

    items, shape, above, without_data = "ab", (HEIGHT, WIDTH), 12, (slice(0, 40), slice(0, 70))


def _shares(paths: list[Path], windows: list[tuple[int, int, int, int]], level: int = 0) -> list[float]:
    """The share of pixels of each (row_off, col_off, height, width) that rasterio's masks take for valid in all files."""
    found = []
    for row_off, col_off, height, width in windows:
        valid = np.ones((height, width), bool)
        for path in paths:
            options = {} if level == 0 else {"overview_level": level - 1}
            with rasterio.open(path, **options) as source:
                window = Window(col_off, row_off, width, height)
                valid &= source.read_masks(1, window=window) > 0
                pixels = source.read(1, window=window)
            if pixels.dtype.kind == "f":
                valid &= ~np.isnan(pixels)
        found.append(float(valid.mean()))
    return found


def _windows(rows: list[dict[str, Any]]) -> list[tuple[int, int, int, int]]:
    return [(row["row_off"], row["col_off"], row["height"], row["width"]) for row in rows]


def _fetched(scene: Scene) -> int:
    return sum(request.end - request.start for request in scene.server.requests)


def test_windows_are_rows_and_nothing_is_fetched(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    scene.server.reset()
    found = rs.chips(scene.index, size=32, bands=["red"]).read_all()
    assert found.schema.names == [
        "item_id", "collection", "datetime", "level", "row_off", "col_off", "height", "width", "bounds", "crs",
        "footprint", "valid_share",
    ]  # fmt: skip
    rows = found.to_pylist()
    offsets = [(row, col) for row in (0, 32) for col in (0, 32, 64)]
    assert [(row["item_id"], row["row_off"], row["col_off"]) for row in rows] == [
        (item, *offset) for item in "ab" for offset in offsets
    ]
    assert {(row["height"], row["width"], row["level"], row["crs"], row["valid_share"]) for row in rows} == {
        (32, 32, 0, UTM, None)
    }
    for row in rows:
        with rasterio.open(scene.folder / f"{row['item_id']}_red.tif") as source:
            bounds = source.window_bounds(Window(row["col_off"], row["row_off"], row["width"], row["height"]))
        assert row["bounds"] == dict(zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True))
        outline = shapely.geometry.shape(transform_geom(UTM, "OGC:CRS84", shapely.box(*bounds).segmentize(5)))
        assert shapely.from_wkb(row["footprint"]).symmetric_difference(outline).area < 1e-6 * outline.area
    columns = [name for name in found.schema.names if name not in {"footprint", "valid_share"}]
    in_sql = con.sql(f"SELECT {', '.join(columns)} FROM chips('{scene.index}', size := 32, bands := ['red'])")
    assert in_sql.to_arrow_table().to_pylist() == found.select(columns).to_pylist()
    assert not scene.server.requests
    assert gpd.GeoDataFrame.from_arrow(found).crs == "OGC:CRS84"


@pytest.mark.parametrize("edges", ["drop", "keep"])
@pytest.mark.parametrize(("size", "stride"), [(32, 32), ((20, 50), (9, 33)), (25, (70, 30)), (500, 7)])
@pytest.mark.parametrize("level", [0, 1])
def test_shares_equal_those_of_rasterio(
    scene: Scene, con: duckdb.DuckDBPyConnection, size: Any, stride: Any, level: int, edges: str
) -> None:
    rows = (
        rs.chips(scene.index, size=size, stride=stride, edges=edges, level=level, where_valid=0).read_all().to_pylist()
    )
    assert bool(rows) == (size != 500 or edges == "keep")
    for item in "ab":
        mine = [row for row in rows if row["item_id"] == item]
        paths = [scene.folder / f"{item}_{band}.tif" for band in BANDS]
        assert [row["valid_share"] for row in mine] == _shares(paths, _windows(mine), level)
    pair = [list(each) if isinstance(each, tuple) else each for each in (size, stride)]
    in_sql = con.sql(
        f"FROM chips('{scene.index}', size := {pair[0]}, stride := {pair[1]}, edges := '{edges}', level := {level})"
    )
    assert [row["valid_share"] for row in in_sql.to_arrow_table().to_pylist()] == [row["valid_share"] for row in rows]


def test_windows_with_too_few_valid_pixels_are_left_out(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    everything = rs.chips(scene.index, size=16, where_valid=0).read_all().to_pylist()
    shares = sorted({row["valid_share"] for row in everything})
    # A share itself is enough.
    for least in (shares[3], 0.5, 1):
        expected = [row for row in everything if row["valid_share"] >= least]
        assert rs.chips(scene.index, size=16, where_valid=least).read_all().to_pylist() == expected
        found = con.execute(
            "SELECT item_id, row_off, col_off FROM chips($1, size := 16, where_valid := $2)", [str(scene.index), least]
        ).fetchall()
        assert found == [(row["item_id"], row["row_off"], row["col_off"]) for row in expected]


def test_each_tile_is_read_once_and_only_under_windows_of_the_area(scene: Scene) -> None:
    paths = sorted(scene.folder.glob("*.tif"))
    scene.server.reset()
    rs.chips(scene.index, size=48, stride=8, edges="keep", where_valid=0).read_all()
    spans: dict[str, list[tuple[int, int]]] = {}
    for request in scene.server.requests:
        spans.setdefault(request.path, []).append((request.start, request.end))
    assert len(spans) == len(paths)
    for parts in spans.values():
        ordered = sorted(parts)
        assert all(end <= start for (_, end), (start, _) in pairwise(ordered))
    whole = _fetched(scene)
    scene.server.reset()
    corner = [600_000.0, 1_399_990.0, 600_010.0, 1_400_000.0]
    (row, other) = rs.chips(scene.index, size=TILE, bbox=corner, geometry_crs=UTM, where_valid=0).read_all().to_pylist()
    assert (row["row_off"], row["col_off"], other["item_id"]) == (0, 0, "b")
    assert 0 < _fetched(scene) < whole / 4


@pytest.mark.parametrize("in_degrees", [False, True])
@pytest.mark.parametrize("form", ["geometry", "bbox"])
def test_an_area_lists_the_windows_that_it_touches(scene: Scene, form: str, in_degrees: bool) -> None:
    area = shapely.Polygon([(600_105, 1_399_303), (600_905, 1_399_403), (600_407, 1_399_871)])
    crs = UTM
    if form == "bbox":
        area = shapely.box(*area.bounds)
    given = area
    if in_degrees:
        crs = "OGC:CRS84"
        given = shapely.geometry.shape(transform_geom(UTM, crs, area.segmentize(5)))
    options = {"geometry": given} if form == "geometry" else {"bbox": given.bounds}
    rows = rs.chips(scene.index, size=10, stride=7, bands=["nir"], geometry_crs=crs, **options).read_all().to_pylist()
    if form == "bbox" and in_degrees:
        area = shapely.geometry.shape(transform_geom(crs, UTM, shapely.box(*given.bounds).segmentize(0.0001)))
        area = shapely.box(*area.bounds)
    every = rs.chips(scene.index, size=10, stride=7, bands=["nir"]).read_all().to_pylist()
    touched = [row for row in every if area.intersects(shapely.box(*row["bounds"].values()).buffer(-0.01))]
    assert rows == touched
    assert 0 < len(rows) < len(every)


def test_conditions_decide_what_is_read(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    call = f"chips('{scene.index}', size := 32)"
    scene.server.reset()
    ((share,),) = con.sql(
        f"SELECT valid_share FROM {call} WHERE item_id = 'b' AND row_off = 32 AND col_off = 64"
    ).fetchall()
    paths = [scene.folder / f"b_{band}.tif" for band in BANDS]
    assert [share] == _shares(paths, [(32, 64, 32, 32)])
    assert len(scene.server.requests) == 2
    assert {request.path for request in scene.server.requests} == {"b_red.tif", "b_nir.tif"}
    scene.server.reset()
    assert con.sql(f"SELECT count(*), min(footprint IS NULL) FROM {call} WHERE datetime > '2024-01-01'").fetchall() == [
        (6, False)
    ]
    assert not scene.server.requests
    ((full,),) = con.sql(f"SELECT count(*) FROM {call} WHERE valid_share = 0").fetchall()
    assert full == 4


@pytest.mark.parametrize("size", [TILE, 24, 48])
def test_statistics_of_tiles_save_reading_and_change_nothing(
    tmp_path: Path, scene: Scene, con: duckdb.DuckDBPyConnection, size: int
) -> None:
    stats = tmp_path / "i.stats.parquet"
    rs.build_stats(scene.index, stats)
    for bands, least in ((["red"], 0), (["red", "nir"], 0.6), (["nir"], 0.99)):
        options = {"size": size, "edges": "keep", "bands": bands, "where_valid": least}
        scene.server.reset()
        expected = rs.chips(scene.index, **options).read_all()
        without = _fetched(scene)
        scene.server.reset()
        assert rs.chips(scene.index, statistics=stats, **options).read_all().equals(expected)
        assert _fetched(scene) < without
        if size == TILE and bands != ["red", "nir"]:
            # Windows that are whole tiles need no pixels at all.
            assert not scene.server.requests
        scene.server.reset()
        in_sql = con.sql(
            f"SELECT item_id, row_off, col_off FROM chips('{scene.index}', size := {size}, edges := 'keep', "
            f"bands := {bands}, where_valid := {least}, statistics := '{stats}')"
        )
        assert in_sql.to_arrow_table().to_pylist() == expected.select(["item_id", "row_off", "col_off"]).to_pylist()
        assert _fetched(scene) < without


CLEAR = "scl NOT IN (8, 9, 10)"
COARSE_TILE = 16


class Clouds:
    """Two items on a server, each with a red band, and classes of half its resolution that end before it."""

    def __init__(self, folder: Path, server: RangeServer) -> None:
        self.folder, self.server, self.index = folder, server, folder / "clouds.parquet"
        a, *_, e, f = TRANSFORM
        rng = np.random.default_rng(9)
        rows = []
        for item in "ab":
            red = rng.integers(0, 6, (96, 128), np.uint16)
            classes = rng.integers(4, 9, (48, 54), np.uint8)
            # Clouds alone in the tiles of the first rows; classes have no data at 0.
            classes[:32] = rng.integers(8, 11, (32, 54))
            classes[40:44, :20] = 0
            write_cog(folder / f"{item}_red.tif", red, tile=TILE, nodata=0, transform=TRANSFORM)
            twice = (2 * a, *TRANSFORM[1:4], 2 * e, f)
            write_cog(folder / f"{item}_scl.tif", classes, tile=COARSE_TILE, nodata=0, transform=twice)
            rows += [
                {"href": server.url(f"{item}_{band}.tif"), "item_id": item, "asset": band} for band in ("red", "scl")
            ]
        rs.build_index(pa.Table.from_pylist(rows), self.index)
        server.reset()

    def clear(self, item: str) -> np.ndarray[Any, Any]:
        """Where rasterio's red pixels are valid, and its class below each is valid and no cloud."""
        with (
            rasterio.open(self.folder / f"{item}_red.tif") as red,
            rasterio.open(self.folder / f"{item}_scl.tif") as scl,
        ):
            valid = red.read_masks(1) > 0
            below = np.zeros(valid.shape, bool)
            classes = (scl.read_masks(1) > 0) & ~np.isin(scl.read(1), (8, 9, 10))
            below[:, : 2 * classes.shape[1]] = classes.repeat(2, axis=0).repeat(2, axis=1)
        return valid & below

    def paths(self) -> set[str]:
        """The files of which something was fetched."""
        return {request.path for request in self.server.requests}


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[Clouds]:
    with RangeServer(tmp_path) as server:
        yield Clouds(tmp_path, server)


@pytest.mark.parametrize("edges", ["drop", "keep"])
@pytest.mark.parametrize(("size", "stride"), [(32, 32), ((20, 50), (9, 33)), (48, 40)])
def test_a_condition_on_pixels_counts_those_where_it_holds_as_numpy_does(
    clouds: Clouds, con: duckdb.DuckDBPyConnection, size: Any, stride: Any, edges: str
) -> None:
    options: dict[str, Any] = {"size": size, "stride": stride, "edges": edges, "bands": ["red"], "valid_where": CLEAR}
    rows = rs.chips(clouds.index, **options).read_all().to_pylist()
    assert len({row["valid_share"] for row in rows}) > 3
    for item in "ab":
        clear, mine = clouds.clear(item), [row for row in rows if row["item_id"] == item]
        assert [row["valid_share"] for row in mine] == [
            clear[row : row + height, col : col + width].mean() for row, col, height, width in _windows(mine)
        ]
    every = rs.chips(clouds.index, **{**options, "valid_where": None}).read_all()
    assert _windows(every.to_pylist()) == _windows(rows), "the condition moves no window"
    pair = [list(each) if isinstance(each, tuple) else each for each in (size, stride)]
    call = (
        f"chips('{clouds.index}', size := {pair[0]}, stride := {pair[1]}, edges := '{edges}', bands := ['red'], "
        f"valid_where := '{CLEAR}', where_valid := "
    )
    names = ["item_id", "row_off", "col_off", "valid_share"]
    for least in (0, 0.2, 0.5):
        enough = [{name: row[name] for name in names} for row in rows if row["valid_share"] >= least]
        found = rs.chips(clouds.index, where_valid=least, **options).read_all()
        assert found.select(names).to_pylist() == enough
        assert con.sql(f"SELECT {', '.join(names)} FROM {call}{least})").to_arrow_table().to_pylist() == enough


@pytest.mark.parametrize(
    ("condition", "histogram"), [("scl < 8", None), ("scl < 8", ["scl"]), (CLEAR, ["scl"]), ("scl IN (4, 5)", ["scl"])]
)
def test_tiles_in_which_a_condition_holds_nowhere_are_not_read_for_windows(
    clouds: Clouds, con: duckdb.DuckDBPyConnection, tmp_path: Path, condition: str, histogram: list[str] | None
) -> None:
    stats = tmp_path / "clouds.stats.parquet"
    rs.build_stats(clouds.index, stats, histogram=histogram)
    options: dict[str, Any] = {"size": 20, "stride": 9, "bands": ["red"], "valid_where": condition}
    clouds.server.reset()
    expected = rs.chips(clouds.index, **options).read_all()
    fetched = sum(request.end - request.start for request in clouds.server.requests)
    clouds.server.reset()
    assert rs.chips(clouds.index, statistics=stats, **options).read_all().equals(expected)
    assert clouds.paths() == {f"{item}_{band}.tif" for item in "ab" for band in ("red", "scl")}
    assert sum(request.end - request.start for request in clouds.server.requests) < 0.6 * fetched
    # Two thirds of the tiles have clouds alone.
    clouds.server.reset()
    ((windows, share),) = con.sql(
        f"SELECT count(*), max(valid_share) FROM chips('{clouds.index}', size := 32, bands := ['red'], "
        f"valid_where := '{condition}', statistics := '{stats}') WHERE row_off < 64"
    ).fetchall()
    assert (windows, share) == (2 * 2 * 4, 0)
    assert not clouds.server.requests


def test_a_condition_reads_nothing_until_a_share_is_wanted_and_each_tile_once(
    clouds: Clouds, con: duckdb.DuckDBPyConnection
) -> None:
    call = f"chips('{clouds.index}', size := 24, stride := 8, bands := ['red'], valid_where := '{CLEAR}')"
    ((windows,),) = con.sql(f"SELECT count(*) FROM {call}").fetchall()
    assert windows == 2 * 10 * 14
    assert not clouds.server.requests
    ((share,),) = con.sql(
        f"SELECT valid_share FROM {call} WHERE item_id = 'b' AND row_off = 64 AND col_off = 32"
    ).fetchall()
    assert share == clouds.clear("b")[64:88, 32:56].mean()
    assert clouds.paths() == {"b_red.tif", "b_scl.tif"}
    clouds.server.reset()
    con.sql(f"SELECT avg(valid_share) FROM {call}").fetchall()
    spans = sorted((request.path, request.start, request.end) for request in clouds.server.requests)
    assert all(end <= start for (path, _, end), (other, start, _) in pairwise(spans) if path == other)
    with scans_only_planned() as scans:
        con.sql(f"SELECT valid_share FROM {call} WHERE item_id = 'b'").fetchall()
    (scan,) = scans
    assert {asset.href.rsplit("/")[-1] for asset in scan.plan.assets} == {"b_red.tif", "b_scl.tif"}
    # 3 x 4 tiles of red, and 3 x 4 of the classes.
    assert len(scan.plan) == 24


def test_items_without_the_bands_of_a_condition_have_no_windows(clouds: Clouds, con: duckdb.DuckDBPyConnection) -> None:
    some = f"FROM '{clouds.index}' WHERE item_id = 'a' OR asset = 'red'"
    rows = rs.chips(some, size=32, bands=["red"], valid_where=CLEAR).read_all()
    assert set(rows["item_id"].to_pylist()) == {"a"}
    assert rs.chips(clouds.index, size=32, valid_where=CLEAR, datetime="1999").read_all().num_rows == 0
    for condition, message in (
        ("scl >", "valid_where: .*expected"),
        ("blue > 2", "valid_where: .*blue"),
        ("", "valid_where: "),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            rs.chips(clouds.index, size=32, bands=["red"], valid_where=condition)
        with pytest.raises(Exception, match=message):
            con.sql(f"FROM chips('{clouds.index}', size := 32, valid_where := '{condition}')").fetchall()


def _indexed(folder: Path, files: dict[tuple[str, str], Path]) -> Path:
    rows = [{"href": str(path), "item_id": item, "asset": asset} for (item, asset), path in files.items()]
    rs.build_index(pa.Table.from_pylist(rows), folder / "i.parquet")
    return folder / "i.parquet"


def test_statistics_of_another_version_are_refused(tmp_path: Path) -> None:
    path, stats = tmp_path / "m.tif", tmp_path / "i.stats.parquet"
    write_cog(path, np.ones((40, 40), np.float32), tile=16, transform=TRANSFORM)
    rs.build_stats(_indexed(tmp_path, {("m", "m"): path}), stats)
    write_cog(path, np.ones((70, 70), np.float32), tile=16, transform=TRANSFORM)
    index = _indexed(tmp_path, {("m", "m"): path})
    with pytest.raises(AssetChangedError, match="statistics"):
        rs.chips(index, size=16, where_valid=0, statistics=stats)


def test_the_finest_grid_of_an_item_rules_and_other_bands_are_taken_at_the_nearest_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    fine, coarse = (rng.integers(0, 3, shape).astype(np.uint8) for shape in ((60, 90), (30, 40)))
    a, *_, e, f = TRANSFORM
    write_cog(tmp_path / "fine.tif", fine, tile=16, nodata=0, transform=TRANSFORM)
    twice = (2 * a, *TRANSFORM[1:4], 2 * e, f)
    write_cog(tmp_path / "coarse.tif", coarse, tile=16, nodata=0, transform=twice)
    index = _indexed(tmp_path, {("m", "coarse"): tmp_path / "coarse.tif", ("m", "fine"): tmp_path / "fine.tif"})
    # The coarse file ends ten columns before the fine one.
    under = np.zeros(fine.shape, bool)
    under[:, :80] = np.repeat(np.repeat(coarse != 0, 2, axis=0), 2, axis=1)
    valid = (fine != 0) & under
    rows = rs.chips(index, size=(25, 30), stride=(7, 11), edges="keep", where_valid=0).read_all().to_pylist()
    assert {row["bounds"]["xmax"] - row["bounds"]["xmin"] for row in rows} >= {300.0}
    assert [row["valid_share"] for row in rows] == [
        valid[row : row + height, col : col + width].mean() for row, col, height, width in _windows(rows)
    ]
    (whole,) = rs.chips(index, size=30, bands=["coarse"]).read_all().to_pylist()
    assert whole["bounds"]["xmax"] - whole["bounds"]["xmin"] == 600.0


@pytest.mark.parametrize("kind", ["mask", "NaN", "alpha", "none"])
def test_every_kind_of_mask_counts(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(5)
    pixels = rng.integers(1, 9, (50, 70))
    holes = rng.random((50, 70)) < 0.3
    options: dict[str, Any] = {"tile": 16, "transform": TRANSFORM}
    path = tmp_path / "m.tif"
    if kind == "mask":
        write_cog(path, pixels.astype(np.uint8), ~holes, **options)
    elif kind == "NaN":
        write_cog(path, np.where(holes, np.nan, pixels).astype(np.float32), **options)
    elif kind == "alpha":
        profile = {"driver": "GTiff", "height": 50, "width": 70, "count": 2, "dtype": "uint8", "tiled": True}
        profile |= {"blockxsize": 16, "blockysize": 16, "crs": UTM, "transform": rasterio.Affine(*TRANSFORM)}
        with rasterio.open(path, "w", **profile) as target:
            target.colorinterp = [rasterio.enums.ColorInterp.gray, rasterio.enums.ColorInterp.alpha]
            target.write(np.stack([pixels, np.where(holes, 0, 255)]).astype(np.uint8))
    else:
        write_cog(path, pixels.astype(np.uint8), **options)
    index = _indexed(tmp_path, {("m", "m"): path})
    rows = rs.chips(index, size=20, stride=13, bands=["m:1"], edges="keep", where_valid=0).read_all().to_pylist()
    assert [row["valid_share"] for row in rows] == _shares([path], _windows(rows))
    assert (max(row["valid_share"] for row in rows) < 1) == (kind != "none")


def test_files_without_a_position_have_windows_without_bounds(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "height": 20, "width": 30, "count": 1, "dtype": "uint8"}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(tmp_path / "m.tif", "w", **profile) as target,
    ):
        target.write(np.ones((1, 20, 30), np.uint8))
    index = _indexed(tmp_path, {("m", "m"): tmp_path / "m.tif"})
    rows = rs.chips(index, size=10, where_valid=1).read_all().to_pylist()
    assert len(rows) == 6
    assert {(row["bounds"], row["footprint"], row["crs"], row["valid_share"]) for row in rows} == {
        (None, None, None, 1.0)
    }


def test_a_million_windows_stream_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    write_cog(path, np.ones((1024, 1024), np.uint8), tile=256, transform=TRANSFORM)
    index = _indexed(tmp_path, {("m", "m"): path})
    arguments = replace(read_arguments(None, None, None, None, None, None, None), index=str(index))
    with planning_cursor() as cursor:
        planned = plan_chips(cursor, arguments, ChipArguments(ChipGrid.of(1, None, "drop")), wants_share=False)
        schema = pa.schema([schema_of(cursor, "chips").field(name) for name in ("item_id", "row_off", "bounds")])
    rows = 0
    tracemalloc.start()
    try:
        for batch in chip_batches(planned, schema):
            rows += len(batch)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 1024**2
    # Four offsets of all windows would be 32 MiB.
    assert peak < 8 << 20


def test_explained_queries_say_which_tiles_windows_take(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    call = f"chips('{scene.index}', size := 32, bands := ['red'], where_valid := 0)"
    for columns, condition, tiles in (
        ("item_id", "true", 0),
        ("valid_share", "true", 12),
        ("valid_share", "item_id = 'a' AND col_off = 64", 2),
    ):
        where = call if columns == "valid_share" else call.replace(", where_valid := 0", "")
        with scans_only_planned() as scans:
            con.sql(f"SELECT {columns} FROM {where} WHERE {condition}").fetchall()
        assert [len(scan.plan) for scan in scans] == [tiles]
    assert not scene.server.requests


def test_pixels_of_windows_are_read(scene: Scene) -> None:
    windows = rs.chips(scene.index, size=24, bands=["red"], where_valid=0.5).read_all()
    chips = rs.read_chips(scene.index, windows, bands=["red"])
    assert chips.data.shape == (len(windows), 1, 24, 24)
    for row, pixels, mask in zip(windows.to_pylist(), chips.data, chips.mask, strict=True):
        with rasterio.open(scene.folder / f"{row['item_id']}_red.tif") as source:
            expected = source.read(1, window=Window(row["col_off"], row["row_off"], 24, 24))
        np.testing.assert_array_equal(pixels[0], expected)
        assert mask.mean() == row["valid_share"]


@pytest.mark.parametrize("name", ["chips", "read_chips"])
def test_an_area_beside_all_files_and_wrong_arguments_are_refused(
    scene: Scene, con: duckdb.DuckDBPyConnection, name: str
) -> None:
    if name == "read_chips":
        table = rs.chips(scene.index, size=24, level=1).read_all()
        with pytest.raises(InvalidArgumentError, match=r"level: got 0, expected 1"):
            rs.read_chips(scene.index, table, level=0)
        ragged = rs.chips(scene.index, size=24, edges="keep").read_all()
        with pytest.raises(InvalidArgumentError, match="size"):
            rs.read_chips(scene.index, ragged)
        with pytest.raises(InvalidArgumentError, match="size"):
            rs.read_chips(scene.index, [("a", 0, 0)])
        with pytest.raises(InvalidArgumentError, match="chips: got columns"):
            rs.read_chips(scene.index, table.drop_columns(["row_off"]), size=24)
        return
    with pytest.raises(EmptyReadError, match="bbox"):
        rs.chips(scene.index, size=8, bbox=[0, 0, 1, 1])
    assert rs.chips(scene.index, size=8, datetime="1999").read_all().num_rows == 0
    for text, message in (
        ("", "size: got NULL"),
        (", size := 'x'", "size: got 'x'"),
        (", size := 8, stride := 1.5", "stride: got 1.5"),
        (", size := 8, edges := 'pad'", "edges: got 'pad'"),
        (", size := 8, where_valid := 2", "where_valid: got 2"),
        (", size := 8, where_valid := 'much'", "where_valid: got much"),
        (", size := 8, crs := 'EPSG:32643'", "geometry_crs := 'EPSG:32643'"),
        (", size := 8, where_valid := 0, statistics := 'nowhere.parquet'", "nowhere.parquet"),
    ):
        with pytest.raises(Exception, match=message):
            con.sql(f"FROM chips('{scene.index}'{text})").fetchall()
