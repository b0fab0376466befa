"""Statistics of tiles: results do not depend on them, and what they know is not read."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.apps.shell.explain import explain_query
from rasteret_sql.errors import AssetChangedError, BuildError, InvalidArgumentError
from rasteret_sql.index.staging import leftovers
from rasteret_sql.read.progress import ReadProgress, listening
from rasteret_sql.testing import write_cog
from tests.support.scenes import TRANSFORM, ServedScene

if TYPE_CHECKING:
    from collections.abc import Sequence

UTM = "EPSG:32643"
HEIGHT, WIDTH, TILE = 160, 200, 32
MERGEABLE = ("count", "sum", "sumsq", "mean", "stdev", "min", "max")
ALL = (*MERGEABLE, "median", "majority", "minority", "variety", "p10", "p90")


class Scene(ServedScene):
    """Three items with two bands each on a server, with a part that has no data, and their statistics."""

    items, shape, above = "abc", (HEIGHT, WIDTH), 12
    without_data = slice(0, 70), slice(0, 70)

    @property
    def stats(self) -> Path:
        return self.folder / "s.parquet"


@pytest.fixture
def measured(scene: Scene) -> Scene:
    rs.build_stats(scene.index, scene.stats, histogram=["red", "nir"], levels=[0, 1])
    scene.server.reset()
    return scene


def _box(left: float, top: float, right: float, bottom: float) -> Any:
    """A box in pixels of the scene."""
    west, north = TRANSFORM[2], TRANSFORM[5]
    return shapely.box(west + left * 10, north - bottom * 10, west + right * 10, north - top * 10)


def _rows(index: Any, zones: Sequence[Any], **options: Any) -> list[dict[str, Any]]:
    table = rs.zonal_stats(index, list(zones), geometry_crs=UTM, **options).read_all()
    return table.drop_columns(["geometry"]).to_pylist()


def _bytes(scene: Scene) -> int:
    total = sum(request.end - request.start for request in scene.server.requests)
    scene.server.reset()
    return total


@pytest.mark.parametrize("stats", [MERGEABLE, ALL])
@pytest.mark.parametrize("by", ["item", "all"])
@pytest.mark.parametrize("level", [0, 1])
def test_zones_have_the_same_statistics_from_fewer_tiles(measured: Scene, stats: Any, by: str, level: int) -> None:
    zones = [
        _box(-5, -5, 190.3, 150.2),
        shapely.Polygon([(600_000, 1_400_000), (602_000, 1_400_000), (600_000, 1_398_400)]),
    ]
    options: dict[str, Any] = {"stats": stats, "by": by, "level": level}
    expected = _rows(measured.index, zones, **options)
    measured.server.reset()
    assert _rows(measured.index, zones, statistics=measured.stats, **options) == expected
    fewer = _bytes(measured)
    _rows(measured.index, zones, **options)
    assert 0 < fewer < _bytes(measured)


def test_a_zone_around_all_files_reads_nothing(measured: Scene) -> None:
    zones = [_box(-1, -1, WIDTH + 1, HEIGHT + 1)]
    for weights in ("none", "coverage"):
        rows = _rows(measured.index, zones, statistics=measured.stats, weights=weights, stats=MERGEABLE)
        assert len(measured.server.requests) == 0
        for row in rows:
            pixels = measured.pixels[row["item_id"], row["band"]]
            values = pixels[pixels != 0].astype(float)
            assert [row[name] for name in MERGEABLE] == pytest.approx(
                [len(values), values.sum(), (values**2).sum(), values.mean(), values.std(), values.min(), values.max()],
                rel=1e-14,
            )


def test_exactly_the_tiles_that_a_boundary_crosses_are_read(measured: Scene) -> None:
    """Of 3 rows and 6 columns of tiles, 2 rows and 4 columns lie in the zone as a whole."""
    seen: list[ReadProgress] = []
    with listening(seen.append):
        _rows(
            measured.index, [_box(16, 64, 176, 150)],
            bands=["red"], datetime="2024-01-01", statistics=measured.stats,
        )  # fmt: skip
    assert seen[-1].tiles == 3 * 6 - 2 * 4


def test_zones_that_share_a_tile_are_each_right(measured: Scene) -> None:
    zones = [_box(0, 64, 128, 160), _box(70, 90, 80, 100), _box(96, 96, 128, 128), _box(3, 3, 20, 20)]
    expected = _rows(measured.index, zones, stats=ALL)
    assert _rows(measured.index, zones, stats=ALL, statistics=measured.stats) == expected


def test_coverage_is_the_same_to_the_last_digits(measured: Scene) -> None:
    zones = [_box(10.5, 20.25, 180.5, 140.75), shapely.Point(601_000, 1_399_200).buffer(700)]
    for stats in (MERGEABLE, ALL):
        expected = _rows(measured.index, zones, stats=stats, weights="coverage")
        found = _rows(measured.index, zones, stats=stats, weights="coverage", statistics=measured.stats)
        for row, other in zip(found, expected, strict=True):
            for name in stats:
                assert row[name] == pytest.approx(other[name], rel=1e-12), name


def test_the_same_in_sql_and_on_the_command_line(measured: Scene, tmp_path: Path, capsys: Any) -> None:
    from rasteret_sql.apps.main import main

    zone = _box(-1, -1, WIDTH + 1, HEIGHT + 1)
    with rs.connect() as con:
        con.execute("CREATE TABLE zones AS SELECT 'z' AS name, ? AS geometry", [zone.wkt])
        call = f"FROM zonal_stats('{measured.index}', 'zones', geometry_crs := '{UTM}'{{}})"
        found = con.execute(call.format(f", statistics := '{measured.stats}'")).fetchall()
        assert len(measured.server.requests) == 0
        assert sorted(found) == sorted(con.execute(call.format("")).fetchall())
    (tmp_path / "z.geojson").write_text(shapely.to_geojson(zone))
    words = ["zonal", str(measured.index), str(tmp_path / "z.geojson"), "--geometry-crs", UTM, "--json"]
    measured.server.reset()
    assert main([*words, "--statistics", str(measured.stats)]) == 0
    assert len(measured.server.requests) == 0
    assert '"count"' in capsys.readouterr().out


def test_explain_says_what_statistics_save(measured: Scene) -> None:
    with rs.connect() as con:
        con.execute("CREATE TABLE zones AS SELECT ? AS geometry", [_box(16, 64, 176, 150).wkt])
        call = f"FROM zonal_stats('{measured.index}', 'zones', geometry_crs := '{UTM}', bands := ['red']{{}})"
        text = explain_query(con, call.format(f", statistics := '{measured.stats}'"))
        assert "30 tiles of 3 items" in text
        assert "From statistics: 24 tiles, " in text
        assert "From statistics" not in explain_query(con, call.format(""))


def test_a_table_of_statistics_that_a_read_cannot_see_is_refused(measured: Scene) -> None:
    with rs.connect() as con:
        con.execute("CREATE TABLE zones AS SELECT ? AS geometry", [_box(16, 64, 176, 150).wkt])
        con.execute(f"CREATE TABLE stats AS FROM '{measured.stats}'")
        call = f"FROM zonal_stats('{measured.index}', 'zones', geometry_crs := '{UTM}', statistics := '{{}}')"
        assert con.execute(call.format("stats")).fetchall() == con.execute(call.format(measured.stats)).fetchall()
        con.execute("CREATE TEMP TABLE stats AS FROM main.stats LIMIT 1")
        with pytest.raises(duckdb.Error, match=r"statistics: got .*expected rows that a read can see"):
            con.execute(call.format("stats")).fetchall()


DTYPES = ("uint8", "int16", "uint16", "uint32", "int32", "int64", "float32", "float64")


@st.composite
def rasters(draw: st.DrawFn) -> dict[str, Any]:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(17, 70)), draw(st.integers(17, 70))
    if dtype.kind == "f":
        pixels = rng.normal(300, draw(st.sampled_from([0.1, 50])), shape).astype(dtype)
        pixels[rng.random(shape) < 0.05] = np.nan
        if draw(st.booleans()):
            pixels[rng.integers(shape[0]), rng.integers(shape[1])] = np.inf
    else:
        limits = np.iinfo(dtype)
        top = draw(st.sampled_from([5, 200, 60_000, 2**31, 2**40]))
        low = max(limits.min, -top // 2 if draw(st.booleans()) else 0)
        pixels = rng.integers(low, min(limits.max, top), shape, dtype)
    pixels[: draw(st.integers(0, shape[0])), : draw(st.integers(0, shape[1]))] = 3
    kind = draw(st.sampled_from(["none", "nodata", "mask"]))
    mask = rng.random(shape) < 0.8 if kind == "mask" else None
    return {
        "pixels": pixels, "mask": mask, "nodata": 3 if kind == "nodata" else None,
        "tile": 16, "overviews": (2,) if draw(st.booleans()) else (),
    }  # fmt: skip


def _shape(values: tuple[float, ...]) -> Any:
    points = np.array(values).reshape(-1, 2) * 10
    return shapely.Polygon(points * (1, -1) + (TRANSFORM[2], TRANSFORM[5]))


SHAPES = st.lists(st.floats(-20, 90).map(lambda number: round(number * 4) / 4), min_size=6, max_size=16).map(
    lambda numbers: _shape(tuple(numbers[: len(numbers) // 2 * 2]))
)


@settings(max_examples=40)
@given(
    rasters(),
    st.lists(SHAPES, min_size=1, max_size=4),
    st.sampled_from(["none", "coverage"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["item", "all"]),
)
def test_with_and_without_statistics_are_equal(
    raster: dict[str, Any], zones: list[Any], weights: str, all_touched: bool, scale: bool, by: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for item in "ab":
            write_cog(folder / f"{item}.tif", raster["pixels"], raster["mask"], nodata=raster["nodata"], tile=raster["tile"],
                      overviews=raster["overviews"], transform=TRANSFORM, crs=UTM)  # fmt: skip
        index, path = folder / "i.parquet", folder / "s.parquet"
        rs.build_index(str(folder / "*.tif"), index)
        with rs.connect() as con:
            con.execute(
                f'COPY (SELECT * REPLACE (list_transform(bands, lambda b: struct_update(b, scale := -0.5, "offset" := 7)) '
                f"AS bands) FROM '{index}') TO '{folder / 'scaled.parquet'}' (FORMAT parquet)"
            )
        is_integer = raster["pixels"].dtype.kind in "iu"
        classes = ["data"] if is_integer and len(np.unique(raster["pixels"])) <= 256 else None
        levels = range(1 + len(raster["overviews"]))
        rs.build_stats(index, path, histogram=classes, levels=levels)
        for level in levels:
            options: dict[str, Any] = {
                "level": level, "weights": weights, "all_touched": all_touched and weights == "none", "scale": scale,
                "by": by, "stats": ALL, "on_error": "null",
            }  # fmt: skip
            source = folder / "scaled.parquet"
            for stats in (MERGEABLE, ALL):
                options["stats"] = stats
                try:
                    expected = _rows(source, zones, **options)
                except rs.RasteretError as error:
                    with pytest.raises(type(error)):
                        _rows(source, zones, statistics=path, **options)
                    continue
                found = _rows(source, zones, statistics=path, **options)
                is_exact = is_integer and weights == "none" and not scale
                for row, other in zip(found, expected, strict=True):
                    if is_exact:
                        assert row == other
                        continue
                    for key, value in other.items():
                        is_number = isinstance(value, float) and np.isfinite(value)
                        assert row[key] == (pytest.approx(value, rel=1e-9, abs=1e-9) if is_number else value) or (
                            value != value and row[key] != row[key]  # noqa: PLR0124 - NaN
                        ), (key, value, row, other)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two files of two tiles in a row each, and their index."""
    for name in "ab":
        pixels = np.arange(16 * 32, dtype=np.uint16).reshape(16, 32) % 100
        write_cog(tmp_path / f"{name}.tif", pixels, tile=16, overviews=(), nodata=0, transform=TRANSFORM, crs=UTM)
    rs.build_index(str(tmp_path / "*.tif"), tmp_path / "i.parquet")
    return tmp_path


ZONE = _box(-1, -1, 40, 40)


def test_a_file_that_changed_is_an_error_that_names_it(files: Path) -> None:
    rs.build_stats(files / "i.parquet", files / "s.parquet")
    write_cog(
        files / "b.tif", np.ones((16, 32), np.uint16), tile=16, overviews=(), nodata=0, transform=TRANSFORM, crs=UTM
    )
    rs.build_index(str(files / "*.tif"), files / "i.parquet")
    with pytest.raises(
        AssetChangedError, match=r"(?s)s\.parquet' is of another version of asset .*b\.tif.*build_stats"
    ):
        _rows(files / "i.parquet", [ZONE], statistics=files / "s.parquet")
    report = rs.build_stats(files / "i.parquet", files / "s.parquet")
    assert (report.files, report.kept) == (1, 1)
    rows = _rows(files / "i.parquet", [ZONE], statistics=files / "s.parquet", stats=["max"])
    assert [row["max"] for row in rows] == [99, 1]


def test_a_file_that_changed_while_it_is_measured_is_a_failure_that_is_reported(files: Path) -> None:
    (files / "b.tif").write_bytes((files / "b.tif").read_bytes() + b"\0")
    report = rs.build_stats(files / "i.parquet", files / "s.parquet")
    assert [failure.error for failure in report.failures] == ["AssetChangedError"]
    assert (report.rows, report.files) == (1, 1)
    assert "1 failure" in str(report)
    (files / "a.tif").unlink()
    with pytest.raises(BuildError, match="none of 2 files could be read"):
        rs.build_stats(files / "i.parquet", files / "t.parquet")


def test_another_nodata_value_in_the_index_lets_tiles_be_read(files: Path) -> None:
    rs.build_stats(files / "i.parquet", files / "s.parquet")
    with rs.connect() as con:
        con.execute(
            f"COPY (SELECT * REPLACE (list_transform(bands, lambda b: struct_update(b, nodata := 99)) AS bands) "
            f"FROM '{files}/i.parquet') TO '{files}/j.parquet' (FORMAT parquet)"
        )
    expected = _rows(files / "j.parquet", [ZONE])
    assert expected[0]["max"] == 98
    assert _rows(files / "j.parquet", [ZONE], statistics=files / "s.parquet") == expected


def test_statistics_are_not_used_where_versions_are_not_compared(files: Path) -> None:
    rs.build_stats(files / "i.parquet", files / "s.parquet")
    seen: list[ReadProgress] = []
    with rs.set_options(identity="none"), listening(seen.append):
        _rows(files / "i.parquet", [ZONE], statistics=files / "s.parquet")
    assert seen[-1].tiles == 4
    seen.clear()
    with rs.set_options(identity="size"), listening(seen.append):
        _rows(files / "i.parquet", [ZONE], statistics=files / "s.parquet")
    assert seen == []


def test_tiles_of_files_that_are_not_measured_are_read(files: Path) -> None:
    with rs.connect() as con:
        rs.build_stats(con.sql(f"FROM '{files}/i.parquet' WHERE href LIKE '%a.tif'"), files / "s.parquet")
    expected = _rows(files / "i.parquet", [ZONE])
    (files / "a.tif").unlink()
    assert _rows(files / "i.parquet", [ZONE], statistics=files / "s.parquet") == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"histogram": ["SCL"]}, "histogram: got band 'SCL', expected some of data"),
        ({"histogram": []}, "histogram: got"),
        ({"levels": []}, "levels: got"),
        ({"levels": [0.5]}, "levels: got"),
        ({"levels": [7]}, "levels: got 7, expected 0 to .*choose one of them$"),
        ({"bands": ["nir"]}, "nir"),
        ({"output": "no/such/folder.parquet"}, "output: the folder"),
        ({"output": "stats.pq"}, r"output: got stats\.pq, expected a name that ends in \.parquet"),
    ],
)
def test_wrong_arguments_are_refused(files: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(rs.RasteretError, match=message):
        rs.build_stats(**{"index": files / "i.parquet", "output": files / "s.parquet"} | options)
    assert not (files / "s.parquet").exists()


def test_an_index_is_not_replaced_by_statistics_nor_the_other_way_round(files: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no statistics"):
        rs.build_stats(files / "i.parquet", files / "i.parquet")
    rs.build_stats(files / "i.parquet", files / "s.parquet")
    with pytest.raises(InvalidArgumentError, match="no index"):
        rs.build_index(str(files / "*.tif"), files / "s.parquet")
    with pytest.raises(
        InvalidArgumentError, match=r"i\.parquet' is not a file of statistics: it has no column .*level.*build_stats"
    ):
        _rows(files / "i.parquet", [ZONE], statistics=files / "i.parquet")


READS_OF_STATISTICS = (
    "read_stats('{statistics}')",
    "read_tiles('{index}', tiles_where := 'max > 3', statistics := '{statistics}')",
    "read_pixels('{index}', bands := ['data'], valid_where := 'data > 3', statistics := '{statistics}')",
    "chips('{index}', size := 8, where_valid := 0.5, statistics := '{statistics}')",
)


@pytest.mark.parametrize("call", READS_OF_STATISTICS)
def test_an_index_is_not_read_as_statistics(files: Path, call: str) -> None:
    index = files / "i.parquet"
    with rs.connect() as con, pytest.raises(duckdb.Error, match=r"is not a file of statistics: .*build_stats"):
        con.execute(f"FROM {call.format(index=index, statistics=index)}").fetchall()


@pytest.mark.parametrize("call", READS_OF_STATISTICS)
def test_statistics_of_a_misspelt_name_are_no_such_file(files: Path, call: str) -> None:
    with rs.connect() as con, pytest.raises(duckdb.Error, match=r"statistics: 's\.parquett': no such file") as found:
        con.execute(f"FROM {call.format(index=files / 'i.parquet', statistics='s.parquett')}").fetchall()
    assert "CTE" not in str(found.value)


@pytest.mark.parametrize("call", READS_OF_STATISTICS[1:])
def test_the_remedy_for_a_cte_of_statistics_names_no_function_that_does_not_take_them(files: Path, call: str) -> None:
    rs.build_stats(files / "i.parquet", files / "s.parquet")
    query = (
        f"WITH mine AS (FROM '{files / 's.parquet'}') FROM {call.format(index=files / 'i.parquet', statistics='mine')}"
    )
    with rs.connect() as con, pytest.raises(duckdb.Error, match="statistics: got the CTE 'mine', expected") as found:
        con.execute(query).fetchall()
    assert "zonal_stats" not in str(found.value)
    assert "from Python" not in str(found.value)


def test_a_cte_is_read_by_read_stats(files: Path) -> None:
    rs.build_stats(files / "i.parquet", files / "s.parquet")
    with rs.connect() as con:
        wanted = con.execute(f"FROM read_stats('{files / 's.parquet'}')").fetchall()
        assert wanted
        query = f"WITH mine AS (FROM '{files / 's.parquet'}') FROM read_stats('mine')"
        assert con.execute(query).fetchall() == wanted


def test_a_table_that_is_not_there_is_not_said_to_be_one_of_duckdb(files: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^statistics: 'nix' cannot be read .*Table with name nix") as found:
        _rows(files / "i.parquet", [ZONE], statistics="nix")
    assert "Did you mean" not in str(found.value)


def test_a_histogram_is_refused_for_floats_and_for_many_values(tmp_path: Path) -> None:
    for dtype, message in (("float32", "is float32, expected integers"), ("uint16", "more than 256 values")):
        pixels = np.arange(400, dtype=dtype).reshape(20, 20)
        write_cog(tmp_path / "a.tif", pixels, tile=16, overviews=(), transform=TRANSFORM, crs=UTM)
        rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
        with pytest.raises(InvalidArgumentError, match=message):
            rs.build_stats(tmp_path / "i.parquet", tmp_path / "s.parquet", histogram=["data"])


def test_read_stats_gives_a_row_per_tile(files: Path) -> None:
    pixels = np.arange(16 * 32).reshape(16, 32) % 100
    rs.build_stats(files / "i.parquet", files / "s.parquet", histogram=["data"])
    with rs.connect() as con:
        rows = (
            con.sql(f"FROM read_stats('{files}/s.parquet') ORDER BY href, tile_row, tile_col")
            .to_arrow_table()
            .to_pylist()
        )
    assert [(row["tile_row"], row["tile_col"]) for row in rows] == [(0, 0), (0, 1)] * 2
    for row in rows:
        tile = pixels[:, row["tile_col"] * 16 :][:, :16]
        values = tile[tile != 0].astype(float)
        assert row["valid_share"] == len(values) / 256
        expected = [
            len(values),
            values.sum(),
            (values**2).sum(),
            values.mean(),
            values.std(),
            values.min(),
            values.max(),
        ]
        names = ("valid_count", "sum", "sumsq", "mean", "stdev", "min", "max")
        assert [row[name] for name in names] == pytest.approx(expected, rel=1e-14)
        distinct, counts = np.unique(values.astype(int), return_counts=True)
        assert dict(row["classes"]) == dict(zip(distinct.tolist(), counts.tolist(), strict=True))


#: Measures an index, and kills itself once so many files are done.
KILLED = """
import os, signal, sys
import rasteret_sql as rs

def progress(done, total):
    if done >= 2:
        os.kill(os.getpid(), signal.SIGKILL)

rs.build_stats(sys.argv[1], sys.argv[2], progress=progress)
"""


def test_a_killed_build_is_continued(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(scene.index), str(path)], check=False, capture_output=True, timeout=300
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not path.exists()
    assert len(leftovers(path)) == 1
    report = rs.build_stats(scene.index, path)
    assert (report.kept, report.files, report.rows) == (2, 4, 6)
    assert leftovers(path) == []
    rs.build_stats(scene.index, tmp_path / "t.parquet")
    assert pq.read_table(path).equals(pq.read_table(tmp_path / "t.parquet"))


def test_statistics_of_a_tile_take_few_bytes(tmp_path: Path) -> None:
    """Pixels like those of a reflectance band: a smooth field with noise."""
    rng = np.random.default_rng(0)
    field = np.kron(rng.normal(1500, 600, (16, 16)), np.ones((64, 64)))
    pixels = np.clip(field + rng.normal(0, 100, field.shape), 1, 10_000).astype(np.uint16)
    write_cog(tmp_path / "a.tif", pixels, tile=16, overviews=(), nodata=0, transform=TRANSFORM, crs=UTM)
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
    report = rs.build_stats(tmp_path / "i.parquet", tmp_path / "s.parquet")
    assert report.tiles == 4096
    assert report.stats_bytes / report.tiles < 20
