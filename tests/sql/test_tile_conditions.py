"""Conditions on the statistics of tiles: they are exact with and without statistics, and prune before any fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.expressions import parse_condition
from rasteret_sql.plan.possible import TileBounds, holds_everywhere, may_hold
from rasteret_sql.read.progress import ReadProgress, listening
from rasteret_sql.testing import write_cog
from tests.support.scenes import TILE, TRANSFORM, ServedScene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEIGHT, WIDTH = 100, 150


class Scene(ServedScene):
    """Two items with two bands each on a server, with a part that has no data."""

    items, shape, above = "ab", (HEIGHT, WIDTH), 9
    without_data = slice(0, 50), slice(0, 40)


@pytest.fixture
def stats(scene: Scene) -> Path:
    path = scene.folder / "s.parquet"
    rs.build_stats(scene.index, path, histogram=["red", "nir"])
    scene.server.reset()
    return path


def _share(tile: np.ndarray) -> float:
    return float((tile != 0).mean())


#: Conditions, and the same of a tile in NumPy; 0 is nodata.
CONDITIONS: dict[str, Callable[[np.ndarray], bool]] = {
    "valid_share > 0.5": lambda tile: _share(tile) > 0.5,
    "valid_count = 0": lambda tile: not tile.any(),
    "max >= 8 AND valid_share < 0.88": lambda tile: tile.max() >= 8 and _share(tile) < 0.88,
    "min > 0 AND NOT mean BETWEEN 4.4 AND 4.6": lambda tile: (
        tile.any() and not 4.4 <= tile[tile != 0].astype(float).mean() <= 4.6
    ),
    "stdev > 2.3": lambda tile: bool(tile.any()) and tile[tile != 0].astype(float).std() > 2.3,
    "sum / valid_count < 4.5": lambda tile: bool(tile.any()) and tile[tile != 0].astype(float).mean() < 4.5,
    '"share:3" + "share:4" > 0.25': lambda tile: bool(tile.any()) and np.isin(tile[tile != 0], (3, 4)).mean() > 0.25,
    '"share:77" > 0': lambda _: False,
}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("has_statistics", [True, False])
def test_tiles_are_those_that_numpy_chooses(scene: Scene, stats: Path, condition: str, has_statistics: bool) -> None:
    expected = {
        (item, band, row, col)
        for (item, band), pixels in scene.pixels.items()
        for row in range(-(-HEIGHT // TILE))
        for col in range(-(-WIDTH // TILE))
        if CONDITIONS[condition](pixels[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE])
    }
    seen: list[ReadProgress] = []
    with listening(seen.append):
        table = rs.read_tiles(
            scene.index, tiles_where=condition, statistics=stats if has_statistics else None
        ).read_all()
    found = [tuple(row.values()) for row in table.select(["item_id", "asset", "tile_row", "tile_col"]).to_pylist()]
    assert len(found) == len(set(found))
    assert set(found) == expected
    if has_statistics:
        assert (seen[-1].tiles if seen else 0) == len(expected)


def test_what_is_known_is_not_fetched_in_sql(scene: Scene, stats: Path) -> None:
    with rs.connect() as con:
        call = f"read_tiles('{scene.index}', bands := ['red'], statistics := '{stats}', tiles_where := 'valid_count > 5000')"
        assert con.execute(f"SELECT count(*) > 0 FROM {call}").fetchall() == [(False,)]
        call = call.replace("> 5000", "> 500")
        ((count,),) = con.execute(f"SELECT count(*) FROM {call}").fetchall()
        assert count > 0
        assert len(scene.server.requests) == 0
        # Conditions in WHERE go on pruning.
        ((fewer,),) = con.execute(f"SELECT count(*) FROM {call} WHERE item_id = 'a' AND tile_row = 2").fetchall()
        assert fewer == 5
        assert len(scene.server.requests) == 0


def test_a_tile_of_which_nothing_is_known_is_measured(tmp_path: Path) -> None:
    pixels = np.ones((32, 48), np.float32)
    pixels[3, 20], pixels[5, 40] = np.inf, np.nan
    write_cog(tmp_path / "a.tif", pixels, tile=16, overviews=(), transform=TRANSFORM, crs="EPSG:32643")
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
    rs.build_stats(tmp_path / "i.parquet", tmp_path / "s.parquet")

    def found(condition: str) -> list[tuple[int, int]]:
        table = rs.read_tiles(
            tmp_path / "i.parquet", tiles_where=condition, statistics=tmp_path / "s.parquet"
        ).read_all()
        return [(row["tile_row"], row["tile_col"]) for row in table.to_pylist()]

    assert found("valid_share < 1") == [(0, 2)]
    assert (0, 1) in found("valid_count = 256")
    # Infinity is no number that a condition compares.
    assert (0, 1) not in found("max > 0")
    assert len(found("max > 0")) == 5


def test_a_tile_that_cannot_be_read_is_the_error_of_the_read(tmp_path: Path) -> None:
    write_cog(tmp_path / "a.tif", np.ones((32, 32), np.uint8), tile=16, overviews=(), transform=TRANSFORM)
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
    (tmp_path / "a.tif").unlink()
    reader = rs.read_tiles(tmp_path / "i.parquet", tiles_where="max > 5")
    with pytest.raises(rs.RasteretError, match=r"a\.tif"):
        reader.read_all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tiles_where": "median > 1"}, "tiles_where: got 'median', expected some of valid_count"),
        ({"tiles_where": "max >"}, "tiles_where: got 'max >'"),
        ({"tiles_where": 3}, "tiles_where: got"),
        ({"statistics": True}, "statistics: got .* without tiles_where"),
    ],
)
def test_wrong_conditions_are_refused(scene: Scene, stats: Path, options: dict[str, Any], message: str) -> None:
    if options.get("statistics"):
        options = {"statistics": stats}
    with pytest.raises(InvalidArgumentError, match=message):
        rs.read_tiles(scene.index, **options)
    assert len(scene.server.requests) == 0


PIXELS: dict[str, dict[str, Any]] = {
    "no condition": {"bands": ["red"]},
    "columns": {"bands": ["red", "nir"], "layout": "wide"},
    "a bound": {"bands": ["red"], "valid_where": "red > 8.5"},
    "bounds of two bands": {"bands": ["red"], "valid_where": "red - nir > 7 OR nir = 8 AND NOT red < 8"},
    "classes": {"bands": ["red"], "valid_where": "nir IN (1, 77) AND red BETWEEN 2 AND 3"},
    "physical values": {"bands": ["nir"], "valid_where": "red > 3.2", "scale": True, "scales": -0.5, "offsets": 7.0},
    "a formula": {"expressions": {"sum": "red + nir"}, "valid_where": "red * nir > 60", "layout": "wide"},
}


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_are_the_same_with_statistics(scene: Scene, stats: Path, name: str) -> None:
    expected = rs.read_pixels(scene.index, **PIXELS[name]).read_all()
    assert rs.read_pixels(scene.index, statistics=stats, **PIXELS[name]).read_all().equals(expected)


@pytest.mark.parametrize(
    ("condition", "share"), [("red > 8", 0), ("nir IN (77, 78)", 0), ("red < 0 OR nir = 9.5", 0), ("red > 7", 1)]
)
def test_tiles_in_which_a_condition_is_true_nowhere_are_not_read(
    scene: Scene, stats: Path, condition: str, share: int
) -> None:
    zone = shapely.box(600_000, 1_399_000, 601_500, 1_400_000)
    for read in (
        lambda **options: rs.read_pixels(scene.index, bands=["red"], **options).read_all(),
        lambda **options: rs.zonal_stats(scene.index, [zone], geometry_crs="EPSG:32643", **options).read_all(),
    ):
        expected = read(valid_where=condition)
        scene.server.reset()
        assert read(valid_where=condition, statistics=stats).equals(expected)
        assert (len(scene.server.requests) > 0) == bool(share)


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 4), st.booleans()), min_size=2, max_size=2),
    st.recursive(
        st.builds(
            "{} {} {}".format,
            st.sampled_from(["a", "b", "a + b", "a - b", "-a", "a * b", "a / b", "2 - a"]),
            st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]),
            st.sampled_from(["-3", "0", "1", "2.5", "b", "b - 1"]),
        )
        | st.sampled_from(["a IN (1, 3)", "NOT b IN (0, a)", "a BETWEEN -1 AND 1"]),
        lambda parts: (
            st.builds("({} AND {})".format, parts, parts)
            | st.builds("({} OR {})".format, parts, parts)
            | st.builds("NOT ({})".format, parts)
        ),
        max_leaves=5,
    ),
)
def test_bounds_say_where_a_condition_may_be_true_and_where_it_is(
    bounds: list[tuple[int, int, bool]], text: str
) -> None:
    """Every pair of values within the bounds is tried, and NULL; `a + b < 1 AND ...` names both bands, or one."""
    ranges = {label: np.arange(low, low + size + 1.0) for label, (low, size, _) in zip("ab", bounds, strict=True)}
    has_invalid = {label: is_some for label, (_, _, is_some) in zip("ab", bounds, strict=True)}
    with_null = {label: np.append(values, [np.nan] * has_invalid[label]) for label, values in ranges.items()}
    a, b = (each.ravel() for each in np.meshgrid(with_null["a"], with_null["b"]))
    condition = parse_condition(text, "valid_where")
    holds = condition.holds({"a": a, "b": b}, {"a": ~np.isnan(a), "b": ~np.isnan(b)})
    ends = {
        label: TileBounds(
            values[:1],
            values[-1:],
            np.array([True]),
            np.array([has_invalid[label]]),
            lambda some, is_other, known=values: np.array([(np.isin(known, some) != is_other).any()]),
        )
        for label, values in ranges.items()
    }
    (possible,) = may_hold(condition, ends)
    assert possible or not holds.any()
    (certain,) = holds_everywhere(condition, ends)
    assert holds.all() or not certain


def test_a_condition_within_its_bounds_is_certain() -> None:
    """So the test above does not pass because nothing is ever certain."""
    some, none = np.array([True]), np.array([False])
    ends = {"a": TileBounds(np.array([1.0]), np.array([3.0]), some, none)}
    for text in ("a > 0", "a BETWEEN 1 AND 3", "NOT a = 4", "a + 1 < 5 AND a <> 0", "a < 0 OR a >= 1"):
        assert holds_everywhere(parse_condition(text, "valid_where"), ends).tolist() == [True]
    for text in ("a > 1", "a = 2", "a / a = 1"):
        assert holds_everywhere(parse_condition(text, "valid_where"), ends).tolist() == [False]
