"""The planner in SQL and the one in Python give the same tiles, requests and errors: row for row, for any index."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.database.sqlfiles import sql_file
from rasteret_sql.errors import RasteretError
from rasteret_sql.plan.arguments import SQL, ReadArguments
from rasteret_sql.plan.requests import plan_requests
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.sql.batches import tile_rows
from rasteret_sql.sql.connection import bare_cursor
from rasteret_sql.sql.planning import plan_tiles
from tests.support.plans import masks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_sql.plan.tile_plan import TilePlan

RUN = 64
#: Grids of files: CRS, transform, and a bbox in degrees. They lie over the same ground, but the last two.
GRIDS: list[tuple[str | None, list[float] | None, tuple[float, float, float, float] | None]] = [
    ("EPSG:32643", [10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0], (75.92, 12.61, 75.96, 12.67)),
    ("EPSG:32644", [10.0, 0.0, -52_000.0, 0.0, -10.0, 1_405_000.0], (75.9, 12.6, 76.0, 12.7)),
    ("EPSG:3857", [12.0, 0.0, 8_452_000.0, 0.0, -12.0, 1_420_000.0], None),
    ("EPSG:4326", [0.0001, 0.0, 75.92, 0.0, -0.0001, 12.66], (75.92, 12.62, 75.96, 12.66)),
    ("EPSG:2056", [10.0, 0.0, 2_600_000.0, 0.0, -10.0, 1_200_000.0], (7.43, 46.9, 7.5, 46.96)),
    ("EPSG:4326", [1.0, 0.0, 0.0, 0.0, -1.0, 90.0], (-180.0, -90.0, 180.0, 90.0)),
    (None, None, None),
]
AREAS: list[dict[str, Any]] = [
    {"bbox": [75.93, 12.63, 75.935, 12.64]},
    {"bbox": [75.0, 12.0, 77.0, 13.0]},
    {"bbox": [170.0, -20.0, -170.0, 10.0]},
    {"bbox": [601_000.0, 1_398_700.0, 601_640.0, 1_399_360.0], "crs": "EPSG:32643"},
    {"bbox": [8_453_000.0, 1_418_000.0, 8_454_000.0, 1_419_000.0], "crs": "EPSG:3857"},
    {"geometry": "POLYGON ((75.93 12.62, 75.95 12.625, 75.94 12.65, 75.93 12.62))"},
    {"geometry": "MULTIPOINT (75.93 12.63, 75.945 12.66, 7.45 46.94)"},
    {"geometry": "MULTIPOLYGON (((179 1, 180 1, 180 2, 179 2, 179 1)), ((-180 1, -179 1, -179 2, -180 2, -180 1)))"},
    {"geometry": "LINESTRING (600000 1398720, 603000 1398720)", "crs": "EPSG:32643"},
]
#: Of several wrong arguments either may be named, so these come alone.
WRONG_AREAS: list[dict[str, Any]] = [
    {"bbox": [75.93, 12.64, 75.94, 12.63]},
    {"bbox": [76.0, 12.63, 75.0, 12.64]},
    {"bbox": [1.0, 2.0, 3.0]},
    {"bbox": [600_000.0, 1.0, 600_001.0, 2.0]},
    {"geometry": "POINT EMPTY"},
    {"geometry": "no geometry"},
    {"bbox": [75.93, 12.63, 75.935, 12.64], "geometry": "POINT (75.93 12.63)"},
]


@st.composite
def levels(draw: Any, planes: int, factor: int) -> dict[str, Any]:
    """One level, with arbitrary counts and offsets of its tiles, and maybe a mask in tiles of another size."""
    width, height = 300 // factor, 200 // factor

    def tiles(wide: int, tall: int, of: int) -> dict[str, Any]:
        count = -(-width // wide) * -(-height // tall) * of
        counts = draw(st.lists(st.integers(0, 60_000) | st.just(0), min_size=count, max_size=count))
        runs = -(-count // RUN)
        gaps = draw(st.just([8]) | st.lists(st.integers(-9, 9), min_size=count, max_size=count))
        return {
            "tile_byte_counts": counts,
            "run_offsets": draw(st.lists(st.integers(1000, 2**40), min_size=runs, max_size=runs)),
            "tile_gaps": gaps,
        }

    mask = None
    if draw(st.booleans()):
        mask = {"width": width, "height": height, "format": 2, **tiles(96, 48, 1)}
    return {"width": width, "height": height, "format": 1, **tiles(64, 32, planes), "mask": mask}


@st.composite
def rows(draw: Any) -> dict[str, Any]:
    """One row of an index."""
    crs, transform, box = draw(st.sampled_from(GRIDS))
    bands = draw(
        st.sampled_from(
            [("red",), ("B04",), ("red", "green"), ("green", "red"), ("1", "2"), (None, None), ("1", "2", "red", "alpha"),
             ("x", "x"), (None, "blue")]
        )
    )  # fmt: skip
    planar = draw(st.booleans())
    form = {
        "byte_order": "little", "dtype": "uint8", "bits_per_sample": 8, "samples_per_pixel": len(bands),
        "planar": planar, "compression": 8, "predictor": 2, "photometric": 1, "fill_order": 1, "tile_width": 64,
        "tile_height": 32, "tiled": True, "jpeg_tables": None, "ycbcr_subsampling": [2, 2], "codec_parameters": [],
    }  # fmt: skip
    planes = len(bands) if planar else 1
    day = draw(st.sampled_from([1, 2, None]))
    time = None if day is None else dt.datetime(2024, 1, day, tzinfo=dt.UTC)
    instant = None if time is None else int(time.timestamp()) * 1_000_000
    endless = {"xmin": -math.inf, "ymin": -math.inf, "xmax": math.inf, "ymax": math.inf}
    reach = endless if box is None else dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    nodata = draw(st.sampled_from([None, 0.0, math.nan]))
    return {
        "collection": draw(st.sampled_from(["c", "d", None])), "item_id": draw(st.sampled_from(["A", "B", "Ä"])),
        "asset": draw(st.sampled_from(["red", "visual", "nir"])), "datetime": time,
        "href": f"https://example.com/{draw(st.integers(0, 2**20))}.tif", "mirror": None,
        "etag": draw(st.sampled_from([None, "1"])), "file_size": 2**41, "cog_layout": None, "crs": crs,
        "transform": transform, "dtype": "uint8",
        "bands": [
            {"name": name, "band": n + 1, "common_name": draw(st.sampled_from([None, "red", "swir"])),
             "description": None, "nodata": nodata, "scale": draw(st.sampled_from([None, 0.1])), "offset": None,
             "unit": None, "is_alpha": name == "alpha"}
            for n, name in enumerate(bands)
        ],
        "formats": [form, form | {"tile_width": 96, "tile_height": 48, "planar": False}],
        "levels": [draw(levels(planes, factor)) for factor in (1, 2, 4)[: draw(st.integers(1, 3))]],
        "reach": reach | {"start_us": instant, "end_us": instant},
    }  # fmt: skip


LABELS = ["red", "visual", "nir", "visual:2", "nir:red", "green", "swir", "x", "1", "alpha", "nowhere"]
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "bands": st.lists(st.sampled_from(LABELS), max_size=3),
        "datetime": st.sampled_from(["2024-01-01", "2024-01-02/..", "../2024", "2024-02/2024-01", "soon", "2023"]),
        "level": st.integers(-1, 3),
        "resolution": st.sampled_from([-1.0, 5.0, 20.0, 45.0, 0.0002]),
    },
)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = rs.connect()
    connection.execute(sql_file("schema/asset_index.sql").replace("CREATE TABLE asset_index", "CREATE TABLE t"))
    yield connection
    connection.close()


def _in_sql(con: duckdb.DuckDBPyConnection, arguments: dict[str, Any]) -> pa.Table:
    named = ", ".join(f"{name} := ${name}" for name in arguments)
    return con.sql(f"FROM tile_plan('t'{', ' if named else ''}{named})", params=arguments).to_arrow_table()


def _message(error: Exception) -> str:
    # DuckDB 1.5 appends the Python frames of a function that raised.
    said = str(error).strip().partition("\n\nLINE ")[0].partition("\n\nAt:\n")[0]
    text = re.sub(r"^(?:[A-Z]\w+(?: \w+)* Error: )+", "", said)
    return re.sub(r"^InvalidArgumentError: ", "", text.rpartition("executing the UDF: ")[2])


def _is_same_error(one: str, other: str, bands: list[str]) -> bool:
    """Whether two messages say the same. Of several files, labels or arguments that are wrong either may be named."""
    subjects = [text.partition(":")[0].partition(" ")[0] for text in (one, other)]
    if subjects[0] != subjects[1]:
        return set(subjects) <= {"area", "bbox", "geometry", "bands", "level", "resolution"}
    if subjects[0] == "bands" and len(bands) > 1:
        return True
    # Each planner has its own measure of how alike two names are.
    files = re.compile(r"asset '.*?' of item '.*?'|expected 0 to \d+|; did you mean .*")
    return files.sub("", one) == files.sub("", other)


def _masks(row: dict[str, Any]) -> list[tuple[int, ...]]:
    names = ("tile_row", "tile_col", "tile_offset", "tile_byte_count")
    return [tuple(tile[name] for name in names) for tile in row["mask_tiles"] or ()]


@settings(max_examples=60, phases=[Phase.explicit, Phase.generate])
@example([], ({}, {}))
@given(
    st.lists(rows(), min_size=1, max_size=4),
    st.tuples(st.just({}) | st.sampled_from(AREAS), CHOICES) | st.tuples(st.sampled_from(WRONG_AREAS), st.just({})),
)
def test_both_planners_agree(
    con: duckdb.DuckDBPyConnection, table: list[dict[str, Any]], asked_for: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    con.execute("DELETE FROM t")
    if table:
        given_rows = pa.Table.from_pylist(table)
        con.register("given_rows", given_rows)
        con.execute("INSERT INTO t BY NAME FROM given_rows")
        con.unregister("given_rows")
    arguments = asked_for[0] | asked_for[1]
    expected: pa.Table | None = None
    refused = None
    try:
        expected = _in_sql(con, arguments)
    except duckdb.Error as error:
        refused = error
    plan: TilePlan | None = None
    ours_refused: RasteretError | None = None
    cursor = bare_cursor(con)
    try:
        plan = plan_tiles(cursor, ReadArguments(index="t", **arguments, door=SQL))
    except RasteretError as error:
        ours_refused = error
    finally:
        cursor.close()
    assert (refused is None) == (ours_refused is None), refused or ours_refused
    if refused is not None:
        assert _is_same_error(_message(ours_refused), _message(refused), asked_for[1].get("bands") or [])
        return
    assert expected is not None
    assert plan is not None
    ours = tile_rows(plan)
    for name in ours.column_names:
        # DuckDB and we spell UTC in two ways. NaN equals nothing; its text does.
        theirs = expected[name].cast(ours[name].type) if name == "datetime" else expected[name]
        assert list(map(repr, ours[name].to_pylist())) == list(map(repr, theirs.to_pylist())), name
    found = expected.to_pylist()
    kinds = {None: MaskKind.NONE, "mask": MaskKind.MASK, "nodata": MaskKind.NODATA, "alpha": MaskKind.ALPHA}
    assert plan.tile_offset.tolist() == [row["tile_offset"] for row in found]
    assert plan.tile_byte_count.tolist() == [row["tile_byte_count"] for row in found]
    assert plan.mask_kind.tolist() == [kinds[row["mask_kind"]] for row in found]
    assert [masks_of(plan, row) for row in range(len(plan))] == [_masks(row) for row in found]
    number_of: dict[int, int] = {}
    for number, request in enumerate(plan_requests(plan, pixels=True, mask=True)):
        number_of |= {row: number for piece in request.pieces if piece.kind == "image" for row in piece.rows}
    asked = {number: row["request"] for number, row in enumerate(found) if row["tile_byte_count"]}
    assert number_of.keys() == asked.keys()
    pairs = {(number_of[row], asked[row]) for row in asked}
    assert len(pairs) == len(set(number_of.values())) == len(set(asked.values()))
