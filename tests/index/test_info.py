"""Facts about an index, and what is none."""

from __future__ import annotations

import duckdb
import pytest

from rasteret_sql.errors import AssetNotFoundError, InvalidIndexError
from rasteret_sql.index.info import info
from rasteret_sql.sql.indexes import build_index


@pytest.fixture
def index(cog, write_json, stac_item, tmp_path):
    items = []
    for number in range(2):
        hrefs = {"red": str(cog(f"{number}/red.tif")), "visual": str(cog(f"{number}/tci.tif", bands=3))}
        items.append(stac_item(f"i{number}", hrefs, datetime=f"2024-01-0{number + 1}T00:00:00Z"))
    build_index(write_json("items.json", items), tmp_path / "i.parquet")
    return tmp_path / "i.parquet"


def test_info_says_what_is_in_an_index(index):
    facts = info(index)
    assert (facts.rows, facts.items, facts.collections) == (4, 2, {"c": 4})
    assert facts.assets == {"red": 2, "visual": 2}
    assert facts.bands == {"red": ("red",), "visual": ("1", "2", "3")}
    assert facts.datetime_range == ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")
    assert facts.crs == {"EPSG:32643": 4}
    # The footprint says 77 to 78 degrees; the pixels lie elsewhere, and the bbox holds both.
    assert facts.bbox == pytest.approx((75.9209, 12.0, 78.0, 13.0), abs=1e-3)
    assert facts.tiles == 4 * (4 + 1)
    assert 0 < facts.tile_bytes < 4 * 64 * 64 * 2 * 3
    assert facts.index_bytes == index.stat().st_size
    assert facts.provenance["definition"]["source"].endswith("items.json")
    assert facts.provenance["failures"] == []


def test_an_index_that_plain_sql_wrote_is_one(index, tmp_path):
    duckdb.sql(
        f"COPY (SELECT * EXCLUDE (bbox, collection) FROM '{index}' WHERE asset = 'red') TO '{tmp_path}/j.parquet'"
    )
    facts = info(tmp_path / "j.parquet")
    assert (facts.rows, facts.bbox, facts.provenance) == (2, None, {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AssetNotFoundError, match=r"none\.parquet: no such file; expected an index"):
        info(tmp_path / "none.parquet")


def test_a_table_that_is_no_index_is_refused_with_what_it_lacks(index, tmp_path):
    duckdb.sql(f"COPY (SELECT * EXCLUDE (levels) FROM '{index}') TO '{tmp_path}/j.parquet'")
    with pytest.raises(
        InvalidIndexError, match=r"j\.parquet is not an index: it has no column levels; its columns are .*build_index"
    ):
        info(tmp_path / "j.parquet")


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(InvalidIndexError, match=r"x\.parquet is not an index: DuckDB cannot read it as Parquet"):
        info(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("version", "remedy"), [(99, r"Update rasteret_sql, or build it again"), (1, "Build it again")]
)
def test_another_schema_version_is_refused_by_name(index, tmp_path, version, remedy):
    duckdb.sql(
        f"COPY (FROM '{index}') TO '{tmp_path}/j.parquet' "
        f"(FORMAT parquet, KV_METADATA {{'rasteret_sql.schema_version': '{version}', 'rasteret_sql.version': '9.0'}})"
    )
    expected = rf"j\.parquet has schema version {version}, written by rasteret_sql 9\.0; expected 2\. {remedy}"
    with pytest.raises(InvalidIndexError, match=expected):
        info(tmp_path / "j.parquet")
