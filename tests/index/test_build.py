"""Building an index end to end: what is in it, what is not, and what is left when it fails."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyproj
import pytest
from pyarrow import parquet

from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.sql.indexes import build_index
from rasteret_sql.testing.server import RangeServer


def rows(path):
    return parquet.read_table(path).to_pylist()


@pytest.fixture
def items(cog, write_json, stac_item):
    """Three items of two assets each, with properties of many kinds."""
    documents = []
    for number, properties in enumerate(
        [
            {
                "eo:cloud_cover": 1,
                "gsd": 10,
                "big": 2**64,
                "nested": {"a": 1},
                "mixed": 1,
                "created": "2024-01-01T00:00:00Z",
            },
            {
                "eo:cloud_cover": 2.5,
                "gsd": 20,
                "big": 1,
                "nested": {"a": 2.5, "b": "x"},
                "mixed": "one",
                "created": "2024-01-01",
            },
            {"gsd": None, "transform": [1, 2], "Gsd": "other", 'o\'clock "x"/~': True, "list": ["a"]},
        ]
    ):
        hrefs = {key: str(cog(f"item{number}/{key}.tif")) for key in ("red", "nir")}
        documents.append(stac_item(f"item{number}", hrefs, datetime=f"2024-01-0{3 - number}T00:00:00Z", **properties))
    return write_json("items.json", {"type": "FeatureCollection", "features": documents})


def test_the_report_counts_what_was_built(items, tmp_path):
    report = build_index(items, tmp_path / "i.parquet")
    assert (report.rows, report.items, report.assets) == (6, 3, {"nir": 3, "red": 3})
    assert (report.failures, report.left_out, report.requests) == ((), {}, 6)
    assert report.index_bytes == (tmp_path / "i.parquet").stat().st_size
    assert str(report).startswith(f"{tmp_path / 'i.parquet'}: 6 rows of 3 items, ")


def test_properties_are_columns_of_a_type_that_holds_their_values(items, tmp_path):
    build_index(items, tmp_path / "i.parquet")
    by_item = {row["item_id"]: row for row in rows(tmp_path / "i.parquet")}
    assert [by_item[f"item{n}"]["eo:cloud_cover"] for n in range(3)] == [1.0, 2.5, None]
    assert [by_item[f"item{n}"]["gsd"] for n in range(3)] == [10, 20, None]
    assert [by_item[f"item{n}"]["nested"] for n in range(3)] == [
        {"a": 1.0, "b": None},
        {"a": 2.5, "b": "x"},
        None,
    ]
    assert [by_item[f"item{n}"]["mixed"] for n in range(3)] == ["1", "one", None]
    assert by_item["item0"]["created"] == by_item["item1"]["created"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert by_item["item2"]["list"] == ["a"]
    assert by_item["item2"]['o\'clock "x"/~'] is True


def test_a_number_that_no_integer_holds_is_not_lost(items, tmp_path):
    build_index(items, tmp_path / "i.parquet")
    assert sorted(float(row["big"]) for row in rows(tmp_path / "i.parquet") if row["big"] is not None) == [
        1.0, 1.0, 2.0**64, 2.0**64,
    ]  # fmt: skip


def test_a_property_named_like_an_index_column_is_renamed(items, tmp_path):
    build_index(items, tmp_path / "i.parquet")
    (row, _) = [row for row in rows(tmp_path / "i.parquet") if row["item_id"] == "item2"]
    assert row["properties:transform"] == [1, 2]
    assert row["transform"] == [10.0, 0.0, 600000.0, 0.0, -10.0, 1400000.0]
    assert row["properties:Gsd"] == "other"


def test_rows_are_sorted_by_collection_place_time_item_and_asset(cog, write_json, stac_item, tmp_path):
    documents = []
    for collection in ("b", "a"):
        for west, day in ((100, 2), (-100, 3), (100, 1)):
            item = stac_item(f"{west}_{day}", {key: str(cog(f"{collection}{west}{day}{key}.tif")) for key in "yx"})
            box = [[west, 0], [west + 1, 0], [west + 1, 1], [west, 1], [west, 0]]
            item |= {"collection": collection, "geometry": {"type": "Polygon", "coordinates": [box]}}
            item["properties"]["datetime"] = f"2024-01-0{day}T00:00:00Z"
            documents.append(item)
    build_index(write_json("items.json", documents), tmp_path / "i.parquet")
    keys = [(row["collection"], row["item_id"], row["asset"]) for row in rows(tmp_path / "i.parquet")]
    assert keys == [(c, i, a) for c in "ab" for i in ("-100_3", "100_1", "100_2") for a in "xy"]


def test_times_are_utc_whatever_the_zone_of_the_session(items, tmp_path):
    build_index(items, tmp_path / "i.parquet")
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'Asia/Kolkata'")
        query = f"SELECT DISTINCT epoch_us(datetime) // 1000000 FROM '{tmp_path / 'i.parquet'}' ORDER BY 1"
        first = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
        assert con.execute(query).fetchall() == [(first + day * 86_400,) for day in range(3)]


def test_geopandas_and_duckdb_read_the_footprints(items, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    build_index(items, tmp_path / "i.parquet")
    frame = geopandas.read_parquet(tmp_path / "i.parquet", columns=["item_id", "geometry"])
    assert frame.crs == "OGC:CRS84"
    assert frame.total_bounds.tolist() == [77.0, 12.0, 78.0, 13.0]
    assert len(geopandas.read_parquet(tmp_path / "i.parquet", columns=["geometry"], bbox=(0, 0, 1, 1))) == 0
    with duckdb.connect() as con:
        query = f"SELECT DISTINCT typeof(geometry), ST_AsText(geometry) FROM '{tmp_path / 'i.parquet'}'"
        assert con.execute(query).fetchall() == [
            ("GEOMETRY('OGC:CRS84')", "POLYGON ((77 12, 78 12, 78 13, 77 13, 77 12))")
        ]


def test_the_metadata_says_where_the_index_came_from_and_what_failed(cog, tmp_path):
    cog("a.tif")
    (tmp_path / "b.tif").write_text("no tiff at all")
    build_index(f"{tmp_path}/*.tif", tmp_path / "i.parquet")
    metadata = {
        key.decode(): value.decode() for key, value in parquet.read_metadata(tmp_path / "i.parquet").metadata.items()
    }
    assert metadata["rasteret_sql.schema_version"] == "2"
    assert json.loads(metadata["rasteret_sql.definition"])["source"] == f"{tmp_path}/*.tif"
    assert len(metadata["rasteret_sql.definition_sha256"]) == 64
    assert metadata["rasteret_sql.failure_count"] == "1"
    assert json.loads(metadata["rasteret_sql.failures"])[0]["error"] == "NotTiffError"
    assert json.loads(metadata["geo"])["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


@pytest.mark.parametrize("name", ["index", "s2.idx", "s2.pq"])
def test_a_name_that_reads_do_not_know_as_an_index_is_refused_before_anything_is_read(name, tmp_path):
    with pytest.raises(InvalidArgumentError, match=rf"expected a path that ends in \.parquet.*{name}\.parquet"):
        build_index(tmp_path / "gone.json", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_two_builds_of_one_definition_have_one_hash(items, tmp_path):
    hashes = set()
    for name in ("i.parquet", "j.parquet"):
        build_index(items, tmp_path / name)
        hashes.add(parquet.read_metadata(tmp_path / name).metadata[b"rasteret_sql.definition_sha256"])
    build_index(items, tmp_path / "k.parquet", assets=["red"])
    hashes.add(parquet.read_metadata(tmp_path / "k.parquet").metadata[b"rasteret_sql.definition_sha256"])
    assert len(hashes) == 2


def test_every_bad_file_is_a_failure_that_says_what_is_wrong(cog, tmp_path):
    good = cog("good.tif")
    (tmp_path / "text.tif").write_text("this is no TIFF, whatever its name")
    (tmp_path / "empty.tif").touch()
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "cut.tif").write_bytes(good.read_bytes()[:200])
    (tmp_path / "short.tif").write_bytes(b"II*\0")
    names = ["good.tif", "text.tif", "empty.tif", "folder.tif", "cut.tif", "short.tif", "missing.tif"]
    report = build_index([tmp_path / name for name in names], tmp_path / "i.parquet")
    assert report.rows == 1
    errors = {failure.href.rpartition("/")[2]: failure for failure in report.failures}
    assert {name: failure.error for name, failure in errors.items()} == {
        "text.tif": "NotTiffError",
        "empty.tif": "RangeError",
        "folder.tif": "AssetNotFoundError",
        "cut.tif": "CorruptTiffError",
        "short.tif": errors["short.tif"].error,
        "missing.tif": "AssetNotFoundError",
    }
    for name, failure in errors.items():
        assert name in failure.message
    assert "give a glob such as" in errors["folder.tif"].message
    assert "6 failures:" in str(report)


def test_a_build_of_which_nothing_can_be_read_says_why_and_leaves_nothing(tmp_path):
    (tmp_path / "text.tif").write_text("this is no TIFF, whatever its name")
    with pytest.raises(BuildError, match=r"none of 1 files could be read; nothing was written\.\n.*NotTiffError"):
        build_index(tmp_path / "text.tif", tmp_path / "i.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["text.tif"]


def test_one_request_reads_a_header_that_lies_in_the_first_32_kib(cog, tmp_path):
    for number in range(20):
        cog(f"item{number}/red.tif")
    with RangeServer(tmp_path) as server:
        urls = [server.url(f"item{number}/red.tif") for number in range(20)]
        report = build_index(urls, tmp_path / "i.parquet", pattern="{item_id}/{asset}.tif")
        assert [(request.start, request.end) for request in server.requests] == [(0, 32_768)] * 20
    assert (report.rows, report.requests) == (20, 20)
    assert all(row["etag"] and row["file_size"] and row["last_modified"] for row in rows(tmp_path / "i.parquet"))


def test_bytes_come_from_the_mirror_and_the_published_href_is_kept(cog, write_json, stac_item, tmp_path):
    cog("files/red.tif")
    item = write_json("i.json", stac_item("i", {"red": "https://example.com/data/red.tif?sig=secret&v=1"}))
    with RangeServer(tmp_path) as server:
        build_index(item, tmp_path / "i.parquet", href_map={"https://example.com/data/": server.url("files") + "/"})
        (row,) = rows(tmp_path / "i.parquet")
        assert row["href"] == "https://example.com/data/red.tif?v=1"
        assert row["mirror"] == server.url("files/red.tif") + "?v=1"


def test_no_signature_is_in_the_index_or_the_report(cog, tmp_path):
    cog("red.tif")
    with RangeServer(tmp_path) as server:
        urls = [server.url(f"{name}.tif") + "?sig=SECRET" for name in ("red", "missing")]
        report = build_index(urls, tmp_path / "i.parquet")
    assert report.rows == 1
    assert "SECRET" not in str(report) + repr(report)
    assert b"SECRET" not in (tmp_path / "i.parquet").read_bytes()
    assert rows(tmp_path / "i.parquet")[0]["href"].endswith("/red.tif")


def test_files_of_one_name_stay_two(cog, tmp_path):
    cog("one/red.tif")
    cog("two/red.tif")
    assert build_index(f"{tmp_path}/*/red.tif", tmp_path / "i.parquet").items == 2


def test_files_that_share_a_key_are_refused_by_name_before_any_is_read(cog, tmp_path):
    cog("one/red.tif")
    cog("two/red.tif")
    with pytest.raises(BuildError, match=r"share one collection, item_id and asset") as caught:
        build_index(f"{tmp_path}/*/red.tif", tmp_path / "i.parquet", pattern="{item_id}.tif")
    assert f"{tmp_path}/one/red.tif, {tmp_path}/two/red.tif" in str(caught.value)
    assert not (tmp_path / "i.parquet").exists()


def test_a_file_that_is_named_twice_is_one_row(cog, tmp_path, write_json, stac_item):
    path = cog("a/red.tif")
    assert build_index([path, path], tmp_path / "i.parquet").left_out == {"files named twice": 1}
    item = stac_item("a", {"red": str(path)})
    report = build_index(write_json("x.json", [item, item]), tmp_path / "i.parquet")
    assert (report.rows, report.left_out) == (1, {"files named twice": 1})


def test_only_the_assets_asked_for_are_read(items, tmp_path):
    assert build_index(items, tmp_path / "i.parquet", assets=["red"]).assets == {"red": 3}
    with pytest.raises(BuildError, match="got assets green, which no item has as a TIFF; expected some of nir, red"):
        build_index(items, tmp_path / "i.parquet", assets=["red", "green"])


def test_proj_fields_that_contradict_the_header_are_counted(cog, write_json, stac_item, tmp_path):
    right = {
        "proj:shape": [64, 64],
        "proj:transform": [10, 0, 600000, 0, -10, 1400000, 0, 0, 1],
        "proj:epsg": 32643,
    }
    items = []
    for number, wrong in enumerate([{}, {"proj:shape": [64, 65]}, {"proj:transform": [10, 0, 0, 0, -10, 0]}]):
        item = stac_item(f"i{number}", {"red": str(cog(f"{number}.tif"))})
        item["assets"]["red"] |= right | wrong
        items.append(item)
    item = stac_item("i3", {"red": str(cog("3.tif"))}, **{"proj:code": "EPSG:32644"})
    assert build_index([*items, item], tmp_path / "i.parquet").proj_mismatches == 3


def test_files_of_another_size_than_stac_says_are_counted_and_believed(cog, write_json, stac_item, tmp_path):
    items = []
    for number, more in enumerate([0, 0, 7]):
        path = cog(f"{number}.tif")
        item = stac_item(f"i{number}", {"red": str(path)})
        item["assets"]["red"]["file:size"] = path.stat().st_size + more
        items.append(item)
    report = build_index(write_json("x.json", {"type": "FeatureCollection", "features": items}), tmp_path / "i.parquet")
    assert (report.rows, report.size_mismatches, report.proj_mismatches) == (3, 1, 0)
    assert "1 asset whose size is not the file:size of STAC" in str(report)
    sizes = parquet.read_table(tmp_path / "i.parquet", columns=["href", "file_size"]).to_pylist()
    assert all(row["file_size"] == Path(row["href"]).stat().st_size for row in sizes)


def test_the_header_is_believed_and_stac_fills_what_it_lacks(cog, write_json, stac_item, tmp_path):
    path = cog("red.tif", nodata=7, scales=[2.0])
    item = stac_item("i", {"red": str(path)})
    item["assets"]["red"]["raster:bands"] = [{"nodata": 0, "scale": 0.1, "offset": -0.5, "unit": "1"}]
    build_index(item, tmp_path / "i.parquet")
    (band,) = rows(tmp_path / "i.parquet")[0]["bands"]
    assert (band["nodata"], band["scale"], band["unit"]) == (7.0, 2.0, "1")


def test_a_file_without_stac_geometry_gets_the_footprint_of_its_grid(cog, tmp_path):
    cog("red.tif")
    build_index(tmp_path / "red.tif", tmp_path / "i.parquet")
    to_lonlat = pyproj.Transformer.from_crs("EPSG:32643", "OGC:CRS84", always_xy=True)
    expected = to_lonlat.transform_bounds(600_000, 1_399_360, 600_640, 1_400_000)
    assert list(rows(tmp_path / "i.parquet")[0]["bbox"].values()) == pytest.approx(expected, abs=1e-6)


def test_pattern_fields_are_columns(cog, tmp_path):
    cog("29RKH/20240131_red.tif")
    build_index(
        f"{tmp_path}/*/*.tif",
        tmp_path / "i.parquet",
        pattern="{tile}/{date:%Y%m%d}_{asset}.tif",
        collection="c",
    )
    (row,) = rows(tmp_path / "i.parquet")
    assert (row["tile"], row["asset"], row["collection"]) == ("29RKH", "red", "c")
    assert row["item_id"] == "20240131_red"
    assert row["datetime"] == datetime(2024, 1, 31, tzinfo=UTC)


def test_files_that_do_not_fit_the_pattern_are_failures(cog, tmp_path):
    cog("a/red.tif")
    cog("a/nir_10m.tif")
    report = build_index(f"{tmp_path}/a/*.tif", tmp_path / "i.parquet", pattern="{item_id}_10m.tif")
    assert report.rows == 1
    assert "does not end like the pattern '{item_id}_10m.tif'" in report.failures[0].message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"href_map": ["a", "b"]}, r"href_map: got \['a', 'b'\], expected a mapping"),
        ({"href_map": {"": "b"}}, "href_map: got"),
        ({"pattern": "x.tif"}, "pattern: got 'x.tif', expected fields in braces"),
        ({"pattern": ""}, "pattern: got ''"),
        ({"assets": "red"}, r"assets: got 'red', expected a list of asset keys"),
        ({"assets": []}, r"assets: got \[\]"),
        ({"collection": 7}, "collection: got 7, expected a text"),
    ],
)
def test_bad_arguments_fail_before_io(tmp_path, options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        build_index(tmp_path / "missing.tif", tmp_path / "i.parquet", **options)


def test_a_path_that_cannot_be_written_fails_before_io(tmp_path):
    with pytest.raises(InvalidArgumentError, match="does not exist; make it first"):
        build_index("a.tif", tmp_path / "none" / "i.parquet")
    with pytest.raises(InvalidArgumentError, match=r"got the directory .* expected a file"):
        build_index("a.tif", tmp_path)


def test_an_interrupted_build_leaves_the_old_index_and_what_the_next_one_takes_over(cog, tmp_path):
    cog("files/a.tif")
    cog("older/b.tif")
    path = tmp_path / "i.parquet"
    build_index(tmp_path / "older" / "b.tif", path)
    before = path.read_bytes()

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "files" / "a.tif", path, progress=interrupt)
    assert path.read_bytes() == before
    assert build_index(tmp_path / "files" / "a.tif", path).requests == 0
    assert sorted(found.name for found in tmp_path.iterdir()) == ["files", "i.parquet", "older"]


def test_progress_is_told_in_files(items, tmp_path):
    told = []
    build_index(items, tmp_path / "i.parquet", progress=lambda done, total: told.append((done, total)))
    assert told == [(6, 6)]


def test_a_progress_bar_can_be_had(items, tmp_path, capsys):
    build_index(items, tmp_path / "i.parquet", progress=True)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    # While files are still being found, their documents are counted.
    assert re.search(r"documents: \d+ documents", shown)


def test_a_running_event_loop_can_build(items, tmp_path):
    report = asyncio.run(asyncio.to_thread(build_index, items, tmp_path / "i.parquet", assets=["red"]))
    assert report.rows == 3
