"""A read of a partitioned index opens the parts that its area and period need, and never misses a row."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.database.part_bounds import NAME, Reach, write_part_bounds
from rasteret_sql.errors import EmptyReadError
from rasteret_sql.sql import named_index
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

#: Item, month of its time, first and last month of its period, and longitude.
ITEMS = (
    ("jan", 1, None, 10.0),
    ("feb-west", 2, None, 10.0),
    ("feb-east", 2, None, 40.0),
    ("may", 5, None, 40.0),
    ("jan-to-mar", None, (1, 3), 10.0),
    ("may-of-jan-to-may", 5, (1, 5), 10.0),
    ("east-edge", 3, None, 179.995),
)
PERIODS = (None, "2024-01", "2024-02", "2024-03/2024-04", "../2024-01", "2024-05/..", "2023")
AREAS = (
    None,
    (10.0, 44.9, 10.1, 45.1),
    (40.0, 44.9, 40.1, 45.1),
    (179.9, 44.0, -179.9, 46.0),
    (-80.0, 0.0, -70.0, 9.0),
)


def _month(number: int | None) -> dt.datetime | None:
    return None if number is None else dt.datetime(2024, number, 15, tzinfo=dt.UTC)


def _build(folder: Path, index: Path, items: tuple[Any, ...] = ITEMS, **options: Any) -> None:
    rows = []
    for item_id, month, period, longitude in items:
        path = folder / f"{item_id}.tif"
        transform = (0.001, 0.0, longitude, 0.0, -0.001, 45.0)
        pixels = np.full((32, 32), len(item_id), np.uint8)
        write_cog(path, pixels, tile=32, overviews=(), transform=transform, crs="EPSG:4326")
        start, end = period or (None, None)
        rows.append(
            {
                "href": str(path), "item_id": item_id, "asset": "red", "datetime": _month(month),
                "start_datetime": _month(start), "end_datetime": _month(end),
            }
        )  # fmt: skip
    rs.build_index(pa.Table.from_pylist(rows), index, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    _build(folder, folder / "index", partition_by=["year", "month"])
    return folder / "index"


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(built, tmp_path / "index")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each view of an index has."""
    counts: list[int] = []
    real = named_index.index_reader

    def counted(files: Any, **options: Any) -> str:
        counts.append(len(files))
        return real(files, **options)

    monkeypatch.setattr(named_index, "index_reader", counted)
    return counts


def read(index: Path, period: str | None = None, bbox: Any = None) -> list[str]:
    try:
        return sorted(rs.read_tiles(index, datetime=period, bbox=bbox).read_all().column("item_id").to_pylist())
    except EmptyReadError:
        return []


def test_rows_are_those_of_all_parts(index: Path, opened: list[int]) -> None:
    asked = list(itertools.product(PERIODS, AREAS))
    found = [read(index, *each) for each in asked]
    assert min(opened) == 1
    (index / NAME).unlink()
    opened.clear()
    assert [read(index, *each) for each in asked] == found
    assert set(opened) == {4}
    assert [items for items, each in zip(found, asked, strict=True) if each == ("2024-02", None)] == [
        ["feb-east", "feb-west", "jan-to-mar", "may-of-jan-to-may"]
    ]


def test_only_parts_with_rows_in_the_period_and_area_are_opened(index: Path, opened: list[int]) -> None:
    assert read(index, "2024-01") == ["jan", "jan-to-mar", "may-of-jan-to-may"]
    assert read(index, "2024-02", AREAS[2]) == ["feb-east"]
    assert read(index, None, AREAS[2]) == ["feb-east", "may"]
    assert read(index, "2024-04/..", AREAS[4]) == []
    # The item from January to May is in the part of May, and bounds over the antimeridian hold every longitude. What
    # an area outside of all parts leaves, one part tells; then the whole period is looked at for the message.
    assert opened[:3] == [2, 2, 3]
    assert opened[3] == 1


def test_sql_and_arrays_open_them_too(index: Path, opened: list[int]) -> None:
    array = rs.to_numpy(index, datetime="2024-03", bbox=AREAS[1])
    assert array.item_ids == ("jan-to-mar", "may-of-jan-to-may")
    with rs.connect() as con:
        query = "SELECT item_id FROM read_tiles($1, datetime := '2024-01') ORDER BY ALL"
        assert con.execute(query, [str(index)]).fetchall() == [("jan",), ("jan-to-mar",), ("may-of-jan-to-may",)]
    assert set(opened) <= {2, 3}


def test_rows_of_one_part_are_those_of_a_tree(index: Path, opened: list[int]) -> None:
    for path in index.rglob("*.parquet"):
        relative = path.with_suffix(".relative")
        duckdb.execute(
            f"COPY (SELECT * REPLACE ('{path.name}.tif' AS href) FROM '{path}') TO '{relative}' (FORMAT parquet)"
        )
        relative.replace(path)
    reach = Reach(-180.0, -90.0, 180.0, 90.0, 0, 1)
    parts = dict.fromkeys(index.rglob("*.parquet"), reach)
    april = 1_711_929_600_000_000
    may = index / "year=2024" / "month=5" / "part-0.parquet"
    write_part_bounds(index, parts | {may: reach._replace(start_us=april, end_us=april * 2)})
    pixels = may.with_name(f"{may.name}.tif")
    write_cog(
        pixels, np.ones((32, 32), np.uint8), tile=32, overviews=(), transform=(0.001, 0.0, 40.0, 0.0, -0.001, 45.0)
    )
    with rs.set_options(identity="none"):
        rows = rs.read_tiles(index, datetime="2024-05", bbox=AREAS[2]).read_all()
        array = rs.to_xarray(index, datetime="2024-05", bbox=AREAS[2])
    assert (rows.column("item_id").to_pylist(), rows.column("href").to_pylist()) == (["may"], [str(pixels)])
    assert (array.year.dtype, array.year.item(), array.month.item()) == (np.int64, 2024, 5)
    assert set(opened) == {1}


@pytest.mark.parametrize("name", ["month=may", "month=__HIVE_DEFAULT_PARTITION__"])
def test_folders_whose_values_decide_their_type_are_read_together(index: Path, opened: list[int], name: str) -> None:
    (index / "year=2024" / "month=5").rename(index / "year=2024" / name)
    bounds = (index / NAME).read_text().replace("month=5", name)
    (index / NAME).write_text(bounds)
    assert read(index, "2024-01") == ["jan", "jan-to-mar", "may-of-jan-to-may"]
    assert opened == [4]


def _replace(index: Path, folder: Path) -> None:
    """Put the part of another build in the place of February's."""
    _build(folder, folder / "other", (("new", 1, None, 10.0),), partition_by=["year", "month"])
    shutil.copy(next((folder / "other").rglob("*.parquet")), index / "year=2024/month=2/part-0.parquet")


def _add(index: Path, folder: Path) -> None:
    """Put the part of another build beside February's."""
    _build(folder, folder / "other", (("new", 1, None, 10.0),), partition_by=["year", "month"])
    shutil.copy(next((folder / "other").rglob("*.parquet")), index / "year=2024/month=2/part-1.parquet")


def _remove(index: Path, _: Path) -> None:
    (index / "year=2024/month=5/part-0.parquet").unlink()


def _garble(index: Path, _: Path) -> None:
    (index / NAME).write_text("{", encoding="utf-8")


def _change_version(index: Path, _: Path) -> None:
    found = json.loads((index / NAME).read_text())
    (index / NAME).write_text(json.dumps(found | {"version": 2}))


@pytest.mark.parametrize(
    ("change", "parts", "expected"),
    [
        (_replace, 4, ["jan", "jan-to-mar", "may-of-jan-to-may", "new"]),
        (_add, 5, ["jan", "jan-to-mar", "may-of-jan-to-may", "new"]),
        (_remove, 3, ["jan", "jan-to-mar"]),
        (_garble, 4, ["jan", "jan-to-mar", "may-of-jan-to-may"]),
        (_change_version, 4, ["jan", "jan-to-mar", "may-of-jan-to-may"]),
    ],
)
def test_bounds_of_other_parts_leave_nothing_out(
    index: Path, tmp_path: Path, opened: list[int], change: Any, parts: int, expected: list[str]
) -> None:
    change(index, tmp_path)
    assert read(index, "2024-01") == expected
    assert opened == [parts]


def test_a_read_of_nothing_says_what_the_whole_index_has(index: Path) -> None:
    with pytest.raises(EmptyReadError, match=r"from 2024-01-15 .* to 2024-05-15"):
        rs.to_numpy(index, datetime="2023")


def test_a_tree_that_replaces_another_has_bounds_of_its_own(index: Path, tmp_path: Path, opened: list[int]) -> None:
    _build(tmp_path, index, (("new", 1, None, 10.0), ("newer", 7, None, 10.0)), partition_by=["year", "month"])
    assert (read(index, "2024-01"), read(index, "2024-07"), read(index)) == (["new"], ["newer"], ["new", "newer"])
    assert opened == [1, 1, 2]
