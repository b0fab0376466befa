"""Partitioned indexes and folders of files: one index, whole or not at all, read as a file of it is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import duckdb
import pytest
from pyarrow import parquet

import rasteret_sql as rs
from rasteret_sql.database.schema import METADATA_PREFIX, SCHEMA_VERSION
from rasteret_sql.errors import BuildError, InvalidArgumentError, InvalidIndexError
from rasteret_sql.index import partitions
from rasteret_sql.index.info import info


@pytest.fixture
def items(cog, stac_item, write_json):
    """Items of two collections and two years, one of no collection, in one document."""

    def make(*, names="abcd"):
        collections = {"a": "2023", "b": "2024", "c": "2024", "d": None}
        features = []
        for number, name in enumerate(names):
            cog(f"{name}.tif")
            times = {"datetime": f"{2023 + number % 2}-0{number + 1}-02T03:04:05Z"}
            item = stac_item(name, {"red": f"./{name}.tif"}, **times, platform=f"P {number % 2}/x", gsd=10.5)
            features.append(item | {"collection": collections.get(name, "2024")})
        return write_json("items.json", {"type": "FeatureCollection", "features": features})

    return make


def tree(folder):
    """Give the parts of an index; the only other file is that of their bounds."""
    found = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())
    return [name for name in found if name != ".parts.json"]


def rows(index):
    return sorted(map(tuple, rs.explain(index).to_pylist()[-1].items())), sorted(
        (batch["item_id"], batch["pixels"]) for part in rs.read_tiles(index) for batch in part.to_pylist()
    )


def test_parts_are_indexes_in_folders_of_their_values(items, tmp_path):
    report = rs.build_index(items(), tmp_path / "i", partition_by=["collection", "year"])
    assert tree(tmp_path / "i") == [
        "collection=2023/year=2023/part-0.parquet",
        "collection=2024/year=2023/part-0.parquet",
        "collection=2024/year=2024/part-0.parquet",
        "collection=__HIVE_DEFAULT_PARTITION__/year=2024/part-0.parquet",
    ]
    assert (report.rows, report.items, report.path) == (4, 4, tmp_path / "i")
    files = [*tree(tmp_path / "i"), ".parts.json"]
    assert report.index_bytes == sum((tmp_path / "i" / name).stat().st_size for name in files)
    for name in tree(tmp_path / "i"):
        part = tmp_path / "i" / name
        facts = info(part)
        assert facts.rows == 1
        assert facts.provenance["partition_by"] == ["collection", "year"]
        geo = json.loads(parquet.read_metadata(part).metadata[b"geo"])
        assert geo["columns"]["geometry"]["bbox"] == list(facts.bbox)
        assert rows(part)[1]


@pytest.mark.parametrize("ending", ["", "/", "/**/*.parquet"])
def test_a_tree_reads_as_the_one_file_does(items, tmp_path, ending):
    source = items()
    rs.build_index(source, tmp_path / "one.parquet")
    rs.build_index(source, tmp_path / "many", partition_by=["collection", "year", "month"])
    one, many = f"{tmp_path}/one.parquet", f"{tmp_path}/many{ending}"
    assert rows(many) == rows(one)
    with rs.connect() as con:
        query = "FROM read_tiles('{}') SELECT * EXCLUDE (href) ORDER BY item_id"
        assert con.sql(query.format(many)).fetchall() == con.sql(query.format(one)).fetchall()


@pytest.mark.parametrize("ending", ["/", "/**/*.parquet"])
@pytest.mark.parametrize("function", ["tile_plan", "explain_read"])
def test_plain_sql_takes_a_folder_with_its_slash(items, tmp_path, function, ending):
    source = items()
    rs.build_index(source, tmp_path / "one.parquet")
    rs.build_index(source, tmp_path / "many", partition_by="collection")
    with rs.connect() as con:
        order = "item_id" if function == "tile_plan" else "collection, band"
        query = f"FROM {function}('{tmp_path}/{{}}') ORDER BY {order}"
        assert con.sql(query.format(f"many{ending}")).fetchall() == con.sql(query.format("one.parquet")).fetchall()
        assert con.execute(f"SELECT count(*) > 0 FROM {function}($1)", [f"{tmp_path}/many{ending}"]).fetchall() == [
            (True,)
        ]


def test_columns_are_as_in_the_file_although_folders_look_like_numbers(items, tmp_path):
    source = items(names="abc")
    rs.build_index(source, tmp_path / "one.parquet")
    rs.build_index(source, tmp_path / "many", partition_by=["collection", "platform"])
    assert tree(tmp_path / "many")[0] == "collection=2023/platform=P%200%2Fx/part-0.parquet"
    schemas = [parquet.read_schema(tmp_path / "many" / name) for name in tree(tmp_path / "many")]
    assert all(schema.equals(parquet.read_schema(tmp_path / "one.parquet")) for schema in schemas)
    one, many = info(tmp_path / "one.parquet"), info(tmp_path / "many")
    assert many.collections == one.collections == {"2023": 1, "2024": 2}
    assert (many.rows, many.items, many.bbox, many.tiles) == (one.rows, one.items, one.bbox, one.tiles)
    assert many.index_bytes == sum((tmp_path / "many" / name).stat().st_size for name in tree(tmp_path / "many"))


def test_parts_keep_the_order_and_all_rows_of_the_index(items, tmp_path, monkeypatch):
    monkeypatch.setattr(partitions, "ROW_GROUP_ROWS", 2)
    rs.build_index(items(names="abcdefghi"), tmp_path / "i", partition_by="year")
    rs.build_index(tmp_path / "items.json", tmp_path / "one.parquet")
    for name in tree(tmp_path / "i"):
        part = parquet.ParquetFile(tmp_path / "i" / name)
        year = int(name[5:9])
        ids = duckdb.sql(
            f"FROM '{tmp_path}/one.parquet' SELECT item_id WHERE year(datetime AT TIME ZONE 'UTC') = {year}"
        ).fetchall()
        assert [row["item_id"] for row in part.read(["item_id"]).to_pylist()] == [item for (item,) in ids]
        assert [part.metadata.row_group(at).num_rows for at in range(part.num_row_groups)][:2] == [2, 2]


def test_a_tree_is_replaced_as_a_whole(items, tmp_path):
    rs.build_index(items(), tmp_path / "i", partition_by=["collection", "year"])
    rs.build_index(items(names="ab"), tmp_path / "i", partition_by="year")
    assert tree(tmp_path / "i") == ["year=2023/part-0.parquet", "year=2024/part-0.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif", "c.tif", "d.tif", "i", "items.json"]


def test_a_tree_is_replaced_where_folders_cannot_change_places(items, tmp_path, monkeypatch):
    monkeypatch.setattr(partitions, "_exchange", lambda one, other: False)
    rs.build_index(items(), tmp_path / "i", partition_by=["collection", "year"])
    rs.build_index(items(names="ab"), tmp_path / "i", partition_by="year")
    assert tree(tmp_path / "i") == ["year=2023/part-0.parquet", "year=2024/part-0.parquet"]


def test_an_older_tree_stays_where_a_build_fails(items, tmp_path, monkeypatch):
    rs.build_index(items(), tmp_path / "i", partition_by="collection")
    before = tree(tmp_path / "i")
    monkeypatch.setattr(partitions, "MAX_PARTITIONS", 1)
    with pytest.raises(BuildError, match="more than 1 folders, the last one collection="):
        rs.build_index(tmp_path / "items.json", tmp_path / "i", partition_by="collection")
    assert tree(tmp_path / "i") == before
    assert not list(tmp_path.glob(".*"))


def test_a_folder_of_something_else_is_never_replaced(items, tmp_path):
    source = items()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidArgumentError, match=r"notes\.txt, which is not part of a partitioned index"):
        rs.build_index(source, tmp_path / "mine", partition_by="year")
    rs.build_index(source, tmp_path / "mine.parquet")
    with pytest.raises(InvalidArgumentError, match=r"got the file .*mine\.parquet, expected a folder"):
        rs.build_index(source, tmp_path / "mine.parquet", partition_by="year")
    (tmp_path / "mine" / "notes.txt").unlink()
    shutil.copy(tmp_path / "mine.parquet", tmp_path / "mine" / "a.parquet")
    with pytest.raises(InvalidArgumentError, match="would be lost"):
        rs.build_index(source, tmp_path / "mine", partition_by="year")
    assert tree(tmp_path / "mine") == ["a.parquet"]


@pytest.mark.parametrize(
    ("partition_by", "message"),
    [
        ([], "expected names of columns"),
        ([1], "expected names of columns"),
        (["year", "year"], "expected each name once"),
        (["levels"], "got levels, which is not a column of texts"),
        (["datetime"], "got datetime, which is not a column of texts"),
        (["cloud"], "got cloud, which no item has; expected year, month, day, or one of asset, byte_order,"),
        (["gsd"], "got gsd, which is DOUBLE; expected a column of texts or whole numbers"),
    ],
)
def test_what_cannot_name_folders_is_refused_before_a_file_is_read(items, tmp_path, partition_by, message):
    source = items(names="a")
    (tmp_path / "a.tif").unlink()
    with pytest.raises(InvalidArgumentError, match=message):
        rs.build_index(source, tmp_path / "i", partition_by=partition_by)
    assert not (tmp_path / "i").exists()


def test_a_value_too_long_for_a_folder_is_refused(items, tmp_path, monkeypatch):
    monkeypatch.setattr(partitions, "_MAX_NAME_BYTES", 10)
    with pytest.raises(BuildError, match="collection=2023… as the name of a folder has 15 bytes; expected 10"):
        rs.build_index(items(), tmp_path / "i", partition_by="collection")


def test_a_definition_is_split_too(items, tmp_path):
    source = items()
    definition = tmp_path / "all.sql"
    definition.write_text(
        "-- name: all\n-- kind: index\n-- grain: one row per asset\n-- All of them.\n"
        f"WITH assets AS (FROM stac_items('{source}')) FROM read_headers(assets)\n"
    )
    report = rs.build_index(definition, tmp_path / "i", partition_by=["collection"])
    assert (report.rows, len(tree(tmp_path / "i"))) == (4, 3)
    assert rs.refresh(tmp_path / "i", trust=True).kept == 4


def test_refresh_writes_the_tree_anew_and_reads_only_what_changed(items, cog, tmp_path):
    rs.build_index(items(names="abc"), tmp_path / "i", partition_by=["collection", "year"])
    cog("b.tif", bands=2)
    items(names="bcde")
    os.utime(tmp_path / "c.tif", ns=(10**18, 10**18))
    report = rs.refresh(tmp_path / "i")
    assert (report.new, report.gone) == (2, 1)
    assert report.build.path == tmp_path / "i"
    assert tree(tmp_path / "i")[0] == "collection=2024/year=2023/part-0.parquet"
    again = rs.refresh(tmp_path / "i")
    assert (again.new, again.changed, again.kept, again.gone, again.build.requests) == (0, 0, 4, 0, 0)


def test_validate_takes_a_tree(items, cog, tmp_path):
    rs.build_index(items(), tmp_path / "i", partition_by=["collection", "year"])
    assert rs.validate(tmp_path / "i").counts["unchanged"] == 4
    cog("a.tif", bands=3)
    (tmp_path / "b.tif").unlink()
    report = rs.validate(f"{tmp_path}/i/")
    assert (report.counts["changed"], report.counts["gone"], report.counts["unchanged"]) == (1, 1, 2)


def test_relative_hrefs_refer_to_the_file_that_holds_the_row(items, tmp_path, monkeypatch):
    rs.build_index(items(), tmp_path / "one.parquet")
    for name in "abcd":
        folder = tmp_path / "many" / f"item={name}"
        folder.mkdir(parents=True)
        (tmp_path / f"{name}.tif").rename(folder / "red.tif")
        duckdb.execute(
            f"COPY (SELECT * REPLACE ('red.tif' AS href) FROM '{tmp_path}/one.parquet' WHERE item_id = '{name}') "
            f"TO '{folder}/index.parquet'"
        )
    monkeypatch.chdir(tmp_path)
    for index in ("many", "many/", "many/*/*.parquet", Path("many"), f"{tmp_path}/many"):
        assert len(rows(index)[1]) == 4 * 4
    (tile, *_) = rs.read_tiles("many").read_next_batch().to_pylist()
    assert tile["href"].startswith(f"{tmp_path}/many/item=")
    assert rs.validate("many").counts["unknown"] + rs.validate("many").counts["unchanged"] == 4
    with rs.connect() as con:
        assert con.sql("FROM read_tiles('many') SELECT count(pixels)").fetchall() == [(16,)]


def test_files_of_different_builds_in_a_folder_are_one_index(cog, stac_item, write_json, tmp_path):
    (tmp_path / "f" / "deep").mkdir(parents=True)
    for name, folder, properties in (("a", "f", {"eo:cloud_cover": 5}), ("b", "f/deep", {"platform": "p"})):
        cog(f"{name}.tif")
        item = write_json(f"{name}.json", stac_item(name, {"red": f"./{name}.tif"}, **properties))
        rs.build_index(item, tmp_path / folder / f"{name}.parquet")
    facts = info(tmp_path / "f")
    assert (facts.rows, facts.items) == (2, 2)
    assert "definition" not in facts.provenance
    assert facts.provenance["version"]
    assert len(rows(tmp_path / "f")[1]) == 2 * 4
    with pytest.raises(InvalidIndexError, match="it has 2 files; expected a file, or the folder of a partitioned"):
        rs.refresh(tmp_path / "f")


def test_a_file_of_another_version_in_a_folder_is_named(items, tmp_path):
    rs.build_index(items(), tmp_path / "i", partition_by="collection")
    old = tmp_path / "i" / tree(tmp_path / "i")[1]
    table = parquet.read_table(old, partitioning=None)
    metadata = table.schema.metadata | {f"{METADATA_PREFIX}schema_version".encode(): b"1"}
    parquet.write_table(table.replace_schema_metadata(metadata), old)
    message = rf"collection=2024/part-0\.parquet has schema version 1, .*expected {SCHEMA_VERSION}\. Build it again"
    for use in (info, rs.explain, rs.read_tiles, rs.refresh):
        with pytest.raises(InvalidIndexError, match=message):
            use(tmp_path / "i")


def test_an_empty_folder_is_no_index(tmp_path):
    (tmp_path / "none" / ".hidden").mkdir(parents=True)
    (tmp_path / "none" / ".hidden" / "a.parquet").write_bytes(b"")
    for use in (info, rs.explain, rs.refresh, rs.validate):
        with pytest.raises((OSError, ValueError), match=r"this folder has no \*\.parquet"):
            use(tmp_path / "none")


def test_a_table_is_meant_before_a_folder_of_its_name(items, tmp_path, monkeypatch):
    rs.build_index(items(), tmp_path / "one.parquet")
    (tmp_path / "scenes").mkdir()
    monkeypatch.chdir(tmp_path)
    with rs.connect() as con:
        con.execute("CREATE TABLE scenes AS FROM 'one.parquet' WHERE item_id = 'a'")
        assert con.sql("FROM read_tiles('scenes') SELECT count(*)").fetchall() == [(4,)]


def test_trees_that_duckdb_wrote_have_the_columns_of_their_folders(items, tmp_path):
    rs.build_index(items(names="abc"), tmp_path / "one.parquet")
    duckdb.execute(
        f"COPY (FROM '{tmp_path}/one.parquet') TO '{tmp_path}/t' (FORMAT parquet, PARTITION_BY (collection))"
    )
    assert info(tmp_path / "t").collections == {"2023": 1, "2024": 2}
    assert rows(tmp_path / "t")[1] == rows(tmp_path / "one.parquet")[1]
