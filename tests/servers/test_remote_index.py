"""An index that lies on a server itself. DuckDB reads it, with its extension httpfs, and our stores read the pixels."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import rasteret_sql as rs
from tests.apps import served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.conftest import Scene
    from tests.servers.nginx import Nginx
    from tests.servers.s3 import S3

pytestmark = pytest.mark.servers

_READ = """
import sys, duckdb, rasteret_sql as rs
extension, index, *statements = sys.argv[1:]
with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as con:
    con.load_extension(extension)
    rs.install(con)
    for statement in statements:
        con.execute(statement).fetchall()
    query = f"SELECT sum(octet_length(pixels))::BIGINT FROM read_tiles('{index}', level := 0)"
    print(con.sql(query).fetchall()[0][0])
    print(int(rs.to_numpy(con.sql(f"FROM '{index}'")).data.sum(dtype="int64")))
"""


def read(index: str, *statements: str) -> list[int]:
    """Read an index in a process with the DuckDB for which its extensions are packages."""
    folder = served.environment()
    (extension,) = folder.rglob("httpfs.duckdb_extension")
    paths = os.pathsep.join([str(folder), str(served.ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(extension), index, *statements],
        env={**os.environ, "PYTHONPATH": paths},
        check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def test_an_index_over_http_is_read(nginx: Nginx, scene: Scene) -> None:
    index = scene.folder / "over_http.parquet"
    rs.build_index([f"{nginx.http}/a.tif"], index)
    found = read(f"{nginx.http}/over_http.parquet")
    assert found == [scene.pixels.nbytes, int(scene.pixels.sum(dtype="int64"))]


def test_an_index_in_a_private_bucket_is_read(weed: S3, scene: Scene, tmp_path: Path) -> None:
    """DuckDB's secret is for the index, and the option for the pixels."""
    rs.credentials("s3://private/", key_id=weed.key_id, secret=weed.secret, endpoint=weed.endpoint)
    rs.build_index(["s3://private/deep/a b.tif"], tmp_path / "i.parquet")
    with weed.client() as client:
        client.put_object(Bucket="private", Key="i.parquet", Body=(tmp_path / "i.parquet").read_bytes())
    found = read(
        "s3://private/i.parquet",
        f"CREATE SECRET (TYPE s3, KEY_ID '{weed.key_id}', SECRET '{weed.secret}', REGION 'us-east-1', "
        f"ENDPOINT '{weed.endpoint.removeprefix('http://')}', URL_STYLE 'path', USE_SSL false, SCOPE 's3://private/')",
        f"SELECT rst_credentials('s3://private/', settings := MAP {{'key_id': '{weed.key_id}', "
        f"'secret': '{weed.secret}', 'endpoint': '{weed.endpoint}'}})",
    )
    assert found == [scene.pixels.nbytes, int(scene.pixels.sum(dtype="int64"))]
