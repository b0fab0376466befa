"""An index on a server or in a bucket, where DuckDB has not its extension httpfs: our stores read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, InvalidIndexError, RasteretError
from rasteret_sql.io import loop
from rasteret_sql.io.stores import aclose_all
from rasteret_sql.sql import remote_index
from rasteret_sql.testing import Fault, RangeServer
from tests.load.scenes import Scenes, write_scenes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_httpfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some machines have it installed."""
    monkeypatch.setattr(remote_index, "_HAS_HTTPFS", "SELECT false")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    (tmp_path / "files" / "b").mkdir(parents=True)
    with RangeServer(tmp_path / "files") as server:
        yield server
    loop.run(aclose_all())


@pytest.fixture
def scenes(server: RangeServer, tmp_path: Path) -> Scenes:
    """Thirty rows, of which the server has the index too."""
    scenes = write_scenes(server, tmp_path, 30)
    (server.root / "b" / "i.parquet").write_bytes(scenes.index.read_bytes())
    return scenes


def total(index: object) -> int:
    return int(rs.to_numpy(index).data.sum(dtype=np.int64))


def test_python_and_sql_read_an_index_at_a_url(server: RangeServer, scenes: Scenes) -> None:
    url = server.url("b/i.parquet")
    assert total(url) == scenes.total
    assert len(server.ranges_of("b/i.parquet")) == 1
    assert total(f"SELECT * FROM '{url}' WHERE item_id LIKE '%7'") == scenes.total // scenes.count * 3
    assert rs.explain(url).total == rs.explain(scenes.index).total
    with rs.connect() as con:
        for index in (url, f"FROM '{url}' ORDER BY item_id LIMIT 30"):
            rows = con.execute("SELECT sum(list_sum(rst_to_list(pixels, dtype)))::BIGINT FROM read_tiles($1)", [index])
            assert rows.fetchall() == [(scenes.total,)]


def test_properties_and_geometries_are_those_of_the_file(server: RangeServer, scenes: Scenes) -> None:
    """DuckDB reads the column `geometry` of GeoParquet as GEOMETRY, and so it does here."""
    found = rs.to_xarray(server.url("b/i.parquet"))
    assert found.identical(rs.to_xarray(scenes.index))
    kind = duckdb.sql(f"SELECT DISTINCT typeof(geometry) FROM '{scenes.index}'").fetchall()[0][0]
    assert total(f"SELECT * FROM '{server.url('b/i.parquet')}' WHERE typeof(geometry) = $${kind}$$") == scenes.total


def test_an_index_in_a_bucket_is_read_with_the_credentials_of_pixels(
    server: RangeServer, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with (
        rs.credentials("s3://b/", key_id="OFINDEX", secret="secret", endpoint=server.base_url),
        rs.set_options(allow=["*"]),
    ):
        assert total("s3://b/i.parquet") == scenes.total
    (request,) = [request for request in server.requests if request.path == "b/i.parquet"]
    assert "Credential=OFINDEX/" in request.headers["authorization"]


def test_the_columns_and_row_groups_that_are_needed_are_fetched(
    server: RangeServer, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five row groups, the condition leaves one; a column of noise that nothing looks at is not fetched."""
    monkeypatch.setattr(remote_index, "MAX_GAP_BYTES", 0)
    rows = pq.read_table(scenes.index).sort_by("item_id")
    noise = np.random.default_rng(1).random((len(rows), 10_000))
    rows = rows.append_column("noise", [list(noise)])
    path = server.root / "b" / "noisy.parquet"
    pq.write_table(rows, path, row_group_size=6)
    wanted = sorted(rows["item_id"].to_pylist())[8]
    assert total(f"SELECT * EXCLUDE (noise) FROM '{server.url('b/noisy.parquet')}' WHERE item_id = '{wanted}'") == (
        scenes.total // scenes.count
    )
    size = path.stat().st_size
    # All but the beginning and the footer.
    fetched = [
        request
        for request in server.requests
        if request.path == "b/noisy.parquet" and request.start and request.end != size
    ]
    metadata = pq.ParquetFile(path).metadata
    groups = [metadata.row_group(n) for n in range(5)]
    spans = [
        range(min(map(remote_index._start_of, columns)), max(map(remote_index._start_of, columns)))
        for columns in ([group.column(n) for n in range(group.num_columns)] for group in groups)
    ]
    assert {n for request in fetched for n, span in enumerate(spans) if request.start in span} == {1}
    assert sum(request.nbytes_sent for request in fetched) < 20_000 < size / 10


def test_an_index_that_is_written_anew_while_it_is_read_is_an_error(
    server: RangeServer, scenes: Scenes, monkeypatch
) -> None:
    monkeypatch.setattr(remote_index, "_FOOTER_BYTES", 64)
    server.add_faults("b/i.parquet", None, Fault("etag", value='"another"'), Fault("etag", value='"another"'))
    server.add_faults("b/i.parquet", *[Fault("status", status=412)] * 9)
    with pytest.raises(RasteretError, match=r"i\.parquet.*another ETag"):
        total(server.url("b/i.parquet"))


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"no Parquet file, but longer than its tail", b"PAR1" + b"\xff" * 12 + b"PAR1"]
)
def test_what_is_no_index_is_an_error_that_names_it(server: RangeServer, content: bytes) -> None:
    (server.root / "b" / "no.parquet").write_bytes(content)
    with pytest.raises(RasteretError, match=r"b/no\.parquet"):
        total(server.url("b/no.parquet"))


def test_a_missing_index_is_an_error_that_names_it(server: RangeServer) -> None:
    with pytest.raises(AssetNotFoundError, match=r"none\.parquet"):
        total(server.url("none.parquet"))
    with rs.connect() as con, pytest.raises(duckdb.Error, match=r"AssetNotFoundError.*none\.parquet"):
        con.execute(f"FROM read_tiles('{server.url('none.parquet')}')").fetchall()


def test_parquet_that_is_no_index_says_which_columns_it_lacks(server: RangeServer) -> None:
    duckdb.sql(f"COPY (SELECT 1 AS a) TO '{server.root / 'b' / 'other.parquet'}'")
    with pytest.raises(InvalidIndexError, match="is not an index: it has no column collection"):
        total(server.url("b/other.parquet"))


@pytest.mark.parametrize("index", ["b/*.parquet", "b/"])
def test_a_folder_or_a_glob_at_a_url_says_that_it_needs_httpfs(index: str, server: RangeServer, tmp_path: Path) -> None:
    none = {"extension_directory": str(tmp_path / "none"), "autoinstall_known_extensions": "false"}
    with duckdb.connect(config=none) as con:
        rs.install(con)
        with pytest.raises(duckdb.Error, match="need DuckDB's extension httpfs, which is not installed"):
            con.execute(f"FROM read_tiles('{server.base_url}/{index}')").fetchall()


def test_with_httpfs_duckdb_reads_the_index_itself(server: RangeServer, scenes: Scenes, monkeypatch) -> None:
    """It has secrets of its own, and they stay in force."""
    monkeypatch.setattr(remote_index, "_HAS_HTTPFS", "SELECT true")
    monkeypatch.setattr(remote_index, "RemoteParquet", None)
    with duckdb.connect() as con:
        remote_index.show_remote(con, [server.url("b/i.parquet")])
    assert server.requests == []
