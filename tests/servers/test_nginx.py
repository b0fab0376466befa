"""What a real web server does, besides giving ranges of a file."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AccessDeniedError, AssetChangedError, AssetNotFoundError, RangeError, TransportError
from rasteret_sql.io import loop
from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.io.stores import store_for

if TYPE_CHECKING:
    from pathlib import Path

    from rasteret_sql.io.store import RangeResponse
    from tests.servers.conftest import Scene
    from tests.servers.nginx import Nginx

pytestmark = pytest.mark.servers


def fetch(href: str, start: int = 0, end: int = 100, identity: FileIdentity | None = None):
    return loop.run(store_for(href).fetch(href, start, end, identity=identity or FileIdentity()))


@pytest.mark.parametrize("path", ["a.tif", "redirect/a.tif", "slow/a.tif", "gzip/a.tif"])
def test_pixels_come_whatever_the_way(nginx: Nginx, scene: Scene, tmp_path: Path, path: str) -> None:
    """A redirect is followed, a slow answer is awaited, and compression is not asked for."""
    scene.require(f"{nginx.http}/{path}", tmp_path / "i.parquet")


def test_a_password_is_taken_from_the_option(nginx: Nginx, scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(AccessDeniedError, match="the option credentials"):
        fetch(f"{nginx.http}/auth/a.tif")
    rs.set_options(credentials=[f"{nginx.http.replace('://', '://me:secret@')}/auth/"])
    scene.require(f"{nginx.http}/auth/a.tif", tmp_path / "i.parquet")
    assert b"secret" not in (tmp_path / "i.parquet").read_bytes()


def test_a_key_is_taken_from_the_option(nginx: Nginx, scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(AccessDeniedError, match="the option credentials"):
        fetch(f"{nginx.http}/key/a.tif")
    rs.credentials(f"{nginx.http}/key/", apikey="right")
    scene.require(f"{nginx.http}/key/a.tif", tmp_path / "i.parquet")


def test_too_many_requests_are_sent_again(nginx: Nginx, scene: Scene) -> None:
    """Two requests a second are allowed; nginx answers 429 to others, and all bytes come nevertheless."""
    url = f"{nginx.http}/limited/a.tif"

    async def many() -> list[RangeResponse]:
        return await asyncio.gather(*(store_for(url).fetch(url, n, n + 100) for n in range(8)))

    with rs.set_options(attempts=100, retry_s=300):
        answers = loop.run(many())
    assert [each.data for each in answers] == [scene.body[n : n + 100] for n in range(8)]
    statuses = nginx.requests("/limited/a.tif")
    assert set(statuses) == {206, 429}
    assert statuses.count(206) == 8


def test_a_server_that_fails_is_named_after_the_attempts(nginx: Nginx) -> None:
    with pytest.raises(TransportError, match=r"answered 503; expected 206.*Tried 3 times"):
        fetch(f"{nginx.http}/e503/a.tif")
    assert nginx.requests("/e503/a.tif") == [503] * 3


def test_a_server_that_ignores_ranges_is_refused(nginx: Nginx) -> None:
    with pytest.raises(RangeError, match="answered 200"):
        fetch(f"{nginx.http}/norange/a.tif")


def test_a_file_that_is_another_one_or_ends_early_is_an_error(nginx: Nginx, scene: Scene) -> None:
    url, size = f"{nginx.http}/a.tif", len(scene.body)
    assert fetch(url, identity=FileIdentity(fetch(url).etag)).data == scene.body[:100]
    with pytest.raises(AssetChangedError, match=r"another ETag|was rewritten"):
        fetch(url, identity=FileIdentity('"other"'))
    with pytest.raises(RangeError, match=r"has only|ends before"):
        fetch(url, size + 1000, size + 2000)
    with pytest.raises(AssetNotFoundError):
        fetch(f"{nginx.http}/nothing.tif")


def test_a_certificate_that_nobody_knows_is_named(nginx: Nginx) -> None:
    with pytest.raises(TransportError, match=r"no secure connection: self-signed certificate.*SSL_CERT_FILE"):
        fetch(f"{nginx.https}/a.tif")


def test_a_certificate_that_the_environment_names_is_trusted(nginx: Nginx, scene: Scene, tmp_path: Path) -> None:
    """In a process of its own: SSL_CERT_FILE is read when aiohttp is imported."""
    code = (
        "import sys, rasteret_sql as rs\n"
        "rs.build_index([sys.argv[1]], sys.argv[2])\n"
        "print(int(rs.to_numpy(sys.argv[2]).data.sum(dtype='int64')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{nginx.https}/a.tif", str(tmp_path / "i.parquet")],
        env={**os.environ, "SSL_CERT_FILE": str(nginx.certificate)},
        check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == int(scene.pixels.sum(dtype="int64"))


def test_a_bucket_in_another_region_is_named(nginx: Nginx) -> None:
    """S3 answers 301 without a location where a request came to the wrong region."""
    rs.credentials("s3://region/", anonymous=True, endpoint=nginx.http)
    with pytest.raises(TransportError, match=r"another region\. Set AWS_REGION"):
        fetch("s3://region/a.tif")
