"""The header cache: the next read of items has the headers of the last one, also in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from rasteret_sql.errors import AssetChangedError
from rasteret_sql.index import header_cache
from rasteret_sql.index.headers import FIRST_READ_BYTES
from rasteret_sql.io import access
from rasteret_sql.io.access import AccessPolicy
from rasteret_sql.testing import write_cog
from rasteret_sql.testing.server import RangeServer
from rasteret_sql.tiff.buffer import RecordedBytes, SparseBytes
from rasteret_sql.tiff.header import parse_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 64
ITEMS = ("A", "B")


class Site:
    """Items with one file each on a server, and a header cache."""

    def __init__(self, folder: Path, cache: Path, server: RangeServer) -> None:
        self.folder, self.cache, self.server = folder, cache, server
        self.items = [self.item(item_id, seed) for seed, item_id in enumerate(ITEMS)]

    def item(self, item_id: str, seed: int, collection: str = "c") -> dict[str, Any]:
        self.write(item_id, seed)
        return {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": item_id,
            "collection": collection,
            "geometry": None,
            "properties": {"datetime": f"2024-01-0{1 + seed % 9}T00:00:00Z"},
            "assets": {"red": {"href": self.server.url(f"{item_id}.tif"), "type": "image/tiff"}},
            "links": [],
        }

    def write(self, item_id: str, seed: int, size: int = SIZE) -> np.ndarray:
        pixels = np.random.default_rng(seed).integers(1, 9000, (size, size), np.uint16)
        write_cog(self.folder / f"{item_id}.tif", pixels, tile=32)
        return pixels

    def headers_read(self) -> int:
        """Count the headers that were fetched, and forget the requests."""
        count = sum((request.start, request.end) == (0, FIRST_READ_BYTES) for request in self.server.requests)
        self.server.reset()
        return count


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "files"
    folder.mkdir()
    with RangeServer(folder) as server, rs.set_options(header_cache=tmp_path / "cache"):
        yield Site(folder, tmp_path / "cache", server)


def test_the_second_read_fetches_no_header(site: Site) -> None:
    first = rs.to_numpy(site.items)
    assert site.headers_read() == len(ITEMS)
    second = rs.to_numpy(site.items)
    assert site.headers_read() == 0
    assert np.array_equal(first.data, second.data)
    rs.explain(site.items)
    assert not site.server.requests


def test_another_process_has_the_headers_too(site: Site) -> None:
    rs.explain(site.items)
    site.server.reset()
    (site.folder / "items.json").write_text(json.dumps(site.items))
    code = f"import rasteret_sql as rs; print(rs.explain({str(site.folder / 'items.json')!r}).total['files'])"
    environment = os.environ | {"RASTERET_SQL_HEADER_CACHE": str(site.cache)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (found.stdout.strip(), found.returncode) == (str(len(ITEMS)), 0), found.stderr
    assert not site.server.requests


def test_a_rewritten_file_is_read_again_once_and_its_entry_is_dropped_for_good(site: Site) -> None:
    rs.to_numpy(site.items)
    pixels = site.write("A", 77, size=SIZE)
    site.server.reset()
    assert np.array_equal(rs.to_numpy(site.items[:1]).data[0, 0], pixels)
    assert site.headers_read() == 1
    assert np.array_equal(rs.to_numpy(site.items[:1]).data[0, 0], pixels)
    assert site.headers_read() == 0


def test_a_file_that_changes_all_the_time_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    rs.to_numpy(site.items)
    site.write("A", 77)
    # The header that is read again is of a file that is rewritten before its pixels are read.
    lookup = header_cache.CachedHeaders.lookup
    seeds = iter(range(100, 200))

    def rewriting(self: Any, hrefs: Any) -> Any:
        site.write("A", next(seeds))
        return lookup(self, hrefs)

    read = header_cache.CachedHeaders.keep

    def rewriting_after(self: Any, files: Any) -> None:
        read(self, files)
        site.write("A", next(seeds))

    monkeypatch.setattr(header_cache.CachedHeaders, "lookup", rewriting)
    monkeypatch.setattr(header_cache.CachedHeaders, "keep", rewriting_after)
    with pytest.raises(AssetChangedError):
        rs.to_numpy(site.items[:1])


def test_a_stream_begins_again_where_nothing_was_given_yet(site: Site) -> None:
    rs.explain(site.items)
    pixels = site.write("A", 77)
    rows = rs.read_tiles(site.items[:1]).read_all()
    assert rows.num_rows == 4
    assert np.frombuffer(rows["pixels"][0].as_py(), np.uint16)[0] == pixels[0, 0]
    site.write("B", 78)
    con = rs.connect()
    (site.folder / "items.json").write_text(json.dumps(site.items[1]))
    query = "SELECT count(pixels) FROM read_tiles($1)"
    assert con.execute(query, [str(site.folder / "items.json")]).fetchall() == [(4,)]
    con.close()


def _assets(con: duckdb.DuckDBPyConnection, site: Site) -> None:
    (site.folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": site.items}))
    con.execute("CREATE OR REPLACE TABLE assets AS FROM stac_items($1)", [str(site.folder / "items.json")])
    site.server.reset()


@pytest.mark.parametrize("query", ["read_headers('assets')", "items('assets')", "explain_read('assets')"])
def test_reads_of_headers_in_sql_use_the_cache_as_python_does(query: str, site: Site) -> None:
    site.items.append(site.item("D", 3, collection="other"))
    with rs.connect() as con:
        _assets(con, site)
        assert con.execute(f"FROM {query}").fetchall()
        assert site.headers_read() == 3
        assert con.execute(f"FROM {query}").fetchall()
        rs.explain(site.items)
        assert site.headers_read() == 0
        assert {found.collection for found in header_cache.cached_collections()} == {"c", "other"}
        with rs.set_options(header_cache="off"):
            con.execute("FROM read_headers('assets')").fetchall()
        assert site.headers_read() == 3


def test_a_table_of_old_headers_makes_the_cache_drop_them(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the next rows would have the same headers, whatever process reads them."""
    with rs.connect() as con:
        _assets(con, site)
        con.execute("CREATE TABLE headers AS FROM read_headers('assets')")
        # As in another process, which did not take headers from the cache.
        monkeypatch.setattr(header_cache, "_served", {})
        pixels = site.write("A", 77)
        with pytest.raises(duckdb.Error, match="AssetChangedError"):
            con.execute("FROM read_tiles('headers')").fetchall()
        site.server.reset()
        con.execute("CREATE OR REPLACE TABLE headers AS FROM read_headers('assets')")
        assert site.headers_read() == 1
        first = con.execute("SELECT pixels FROM read_tiles('headers') WHERE item_id = 'A' LIMIT 1").fetchall()[0][0]
        assert np.frombuffer(first, np.uint16)[0] == pixels[0, 0]


def test_a_build_takes_headers_from_the_cache(site: Site) -> None:
    rs.explain(site.items)
    site.server.reset()
    report = rs.build_index(site.items, site.folder / "index.parquet")
    assert (report.rows, len(site.server.requests)) == (len(ITEMS), 0)
    with rs.set_options(header_cache="off"):
        rs.build_index(site.items, site.folder / "other.parquet")
        columns = "SELECT * EXCLUDE indexed_at FROM '{}'"
        con = rs.connect()
        indexes = [
            con.execute(columns.format(site.folder / name)).fetchall() for name in ("index.parquet", "other.parquet")
        ]
        con.close()
    assert indexes[0] == indexes[1]


def test_a_build_takes_no_old_headers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    rs.explain(site.items)
    site.server.reset()
    monkeypatch.setattr(header_cache, "MAX_AGE_OF_BUILD_S", 0.0)
    now_s = time.time()
    monkeypatch.setattr(header_cache.time, "time", lambda: now_s + 10.0)
    rs.build_index(site.items, site.folder / "index.parquet")
    assert site.headers_read() == len(ITEMS)


@pytest.mark.parametrize("options", [{"header_cache": "off"}, {"identity": "size"}])
def test_nothing_is_kept_where_the_cache_is_off(options: dict[str, str], site: Site) -> None:
    with rs.set_options(**options):
        rs.explain(site.items)
        rs.explain(site.items)
    assert site.headers_read() == 2 * len(ITEMS)
    assert not site.cache.exists()


def test_a_process_that_serves_others_has_no_cache(site: Site) -> None:
    access.restrict(AccessPolicy(folders=(str(site.folder),)))
    try:
        assert header_cache.CachedHeaders.of_collection("c") is None
        assert header_cache.CachedHeaders.of_build() is None
    finally:
        access.restrict(None)
    assert header_cache.CachedHeaders.of_collection("c") is not None


def test_local_files_are_not_kept(site: Site) -> None:
    rs.explain([str(site.folder / "A.tif")])
    assert not site.cache.exists()


def test_keys_in_addresses_are_not_kept(site: Site) -> None:
    item = json.loads(json.dumps(site.items[0]))
    item["assets"]["red"]["href"] += "?token=SECRET"
    rs.explain([item])
    assert site.headers_read() == 1
    rs.explain(site.items[:1])
    assert not site.server.requests
    assert not [path for path in site.cache.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]


@pytest.mark.parametrize("damage", ["cut", "empty", "no Parquet"])
def test_damaged_files_of_the_cache_are_removed_and_read_anew(damage: str, site: Site) -> None:
    rs.explain(site.items)
    (file,) = site.cache.rglob("*.parquet")
    data = file.read_bytes()
    file.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "no Parquet": b"x" * 100}[damage])
    site.server.reset()
    rs.explain(site.items)
    assert site.headers_read() == len(ITEMS)
    rs.explain(site.items)
    assert not site.server.requests
    assert not file.exists()


@pytest.mark.parametrize("data", [b"", b"x" * 100, "other columns"])
def test_the_command_lists_the_cache_beside_a_damaged_file(
    data: bytes | str, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    rs.explain(site.items)
    (file,) = site.cache.rglob("*.parquet")
    damaged = file.with_name("zz.parquet")
    if isinstance(data, bytes):
        damaged.write_bytes(data)
    else:
        parquet.write_table(pa.table({"x": [1]}), damaged)
    assert main(["cache", "ls", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["collections"]
    assert (found["collection"], found["files"], found["nbytes"]) == ("c", len(ITEMS), file.stat().st_size)
    assert not damaged.exists()


@pytest.mark.parametrize("change", [{"starts": [0, 5]}, {"starts": [None]}, {"parts": [None]}])
def test_a_row_of_the_cache_that_contradicts_itself_is_read_anew(change: dict[str, Any], site: Site) -> None:
    rs.explain(site.items)
    (file,) = site.cache.rglob("*.parquet")
    table = parquet.read_table(file)
    parquet.write_table(pa.Table.from_pylist([row | change for row in table.to_pylist()], table.schema), file)
    site.server.reset()
    rs.explain(site.items)
    assert site.headers_read() == len(ITEMS)


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(site: Site) -> None:
    site.cache.write_text("this is no folder")
    assert rs.explain(site.items).total["files"] == len(ITEMS)


def test_threads_that_write_join_and_read_at_once_lose_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_cache, "_MAX_SMALL_FILES", 2)
    items = [site.item(f"T{number}", number) for number in range(12)]
    failures: list[BaseException] = []

    def read(part: list[dict[str, Any]]) -> None:
        try:
            for item in part:
                rs.explain([item])
        except BaseException as error:  # noqa: BLE001 - a thread's error is the test's
            failures.append(error)

    threads = [threading.Thread(target=read, args=(items[start::3],)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    site.server.reset()
    assert rs.explain(items).total["files"] == len(items)
    assert site.headers_read() == 0
    assert not list(site.cache.rglob("*.partial"))


def test_the_headers_that_were_not_used_for_longest_go_first(site: Site) -> None:
    items = [site.item(f"L{number}", number, collection=f"c{number}") for number in range(3)]
    for item in items:
        rs.explain([item])
    files = {path.parent.name: path for path in site.cache.rglob("*.parquet")}
    for age, item in zip((300, 100, 200), items, strict=True):
        when = time.time() - age
        os.utime(files[f"c-{item['collection']}"], (when, when))
    size = max(path.stat().st_size for path in files.values())
    extra = site.item("M", 7, collection="m")
    with rs.set_options(header_cache_bytes=int(2.9 * size)):
        rs.explain([extra])
    left = {path.parent.name for path in site.cache.rglob("*.parquet")}
    assert left == {"c-c1", "c-m"}


def test_the_command_lists_and_clears_collections(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    other = site.item("O", 5, collection="s2/l2a")
    rs.explain([*site.items, other])
    assert main(["cache", "ls", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == str(site.cache)
    assert [(each["collection"], each["files"]) for each in found["collections"]] == [("c", 2), ("s2/l2a", 1)]
    assert main(["cache", "clear", "--collection", "s2/l2a"]) == 0
    assert "removed" in capsys.readouterr().out
    assert main(["cache", "ls"]) == 0
    text = capsys.readouterr().out
    assert "2 files" in text
    assert "s2/l2a" not in text
    assert main(["cache", "clear"]) == 0
    site.server.reset()
    rs.explain(site.items)
    assert site.headers_read() == len(ITEMS)


def test_the_bytes_that_a_parser_read_give_the_same_header_again(tmp_path: Path) -> None:
    shapes = {
        "plain": {"tile": 32},
        "overviews": {"tile": 16, "overviews": (2, 4)},
        "nodata": {"tile": 32, "nodata": 0},
    }
    pixels = np.random.default_rng(0).integers(1, 9000, (4 * SIZE, 4 * SIZE), np.uint16)
    for name, options in shapes.items():
        data = write_cog(tmp_path / f"{name}.tif", pixels, **options).read_bytes()
        recorded = RecordedBytes((0, data), file_size=len(data))
        header = parse_header(recorded, href=name)
        parts = recorded.read_parts()
        again = parse_header(SparseBytes(*parts, file_size=len(data)), href=name)
        assert repr(again) == repr(header)
        # Apart from lists of tiles, no more than the tags; none of the pixels.
        assert sum(len(part) for _, part in parts) < len(data) / 8
