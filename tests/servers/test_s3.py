"""Buckets of SeaweedFS and Ceph RGW, which check every signature."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import (
    AccessDeniedError,
    AssetChangedError,
    AssetNotFoundError,
    BuildError,
    RangeError,
)
from rasteret_sql.io import loop
from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.io.stores import store_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.conftest import Scene
    from tests.servers.s3 import S3

pytestmark = pytest.mark.servers
KEY = "deep/a b.tif"


@pytest.fixture(params=["weed", "ceph"])
def private(request: pytest.FixtureRequest) -> S3:
    """A server with the bucket `private`, and the keys of its owner."""
    found = request.getfixturevalue(request.param)
    return found[0] if request.param == "ceph" else found


def settings(server: S3, **more: object) -> dict[str, object]:
    return {"key_id": server.key_id, "secret": server.secret, "endpoint": server.endpoint, **more}


def fetch(href: str, start: int = 0, end: int = 100, identity: FileIdentity | None = None):
    return loop.run(store_for(href).fetch(href, start, end, identity=identity or FileIdentity()))


class TestAPrivateBucket:
    def test_is_read_with_keys_of_the_environment(
        self, private: S3, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", private.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", private.key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", private.secret)
        scene.require(f"s3://private/{KEY}", tmp_path / "i.parquet")

    @pytest.mark.parametrize("how", ["AWS_PROFILE", "option"])
    def test_is_read_with_a_profile(
        self, private: S3, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        (tmp_path / "credentials").write_text(
            f"[work]\naws_access_key_id = {private.key_id}\naws_secret_access_key = {private.secret}\n"
        )
        (tmp_path / "config").write_text(f"[profile work]\nendpoint_url = {private.endpoint}\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        if how == "option":
            rs.credentials("s3://private/", profile="work")
        else:
            monkeypatch.setenv("AWS_PROFILE", "work")
        scene.require(f"s3://private/{KEY}", tmp_path / "i.parquet")

    def test_is_read_with_keys_of_the_option(self, private: S3, scene: Scene, tmp_path: Path) -> None:
        rs.credentials("s3://private/deep/", **settings(private))
        scene.require(f"s3://private/{KEY}", tmp_path / "i.parquet")

    def test_is_read_with_keys_that_sql_sets(self, private: S3, scene: Scene, tmp_path: Path) -> None:
        with rs.connect() as con:
            con.execute(
                "SELECT rst_credentials('s3://private/', settings := $1)", [settings(private, region="us-east-1")]
            ).fetchall()
        scene.require(f"s3://private/{KEY}", tmp_path / "i.parquet")

    @pytest.mark.parametrize("wrong", ["anonymous", "other secret", "unknown key"])
    def test_is_refused_with_the_remedy_otherwise(self, private: S3, wrong: str) -> None:
        given = {
            "anonymous": {"anonymous": True, "endpoint": private.endpoint},
            "other secret": settings(private, secret="other"),
            "unknown key": settings(private, key_id="unknown"),
        }[wrong]
        rs.credentials("s3://private/", **given)
        with pytest.raises(AccessDeniedError, match="the option credentials"):
            fetch(f"s3://private/{KEY}")

    def test_says_when_a_file_is_another_one_now(self, private: S3, scene: Scene, tmp_path: Path) -> None:
        """412: the ETag of the index goes with each request."""
        rs.credentials("s3://private/", **settings(private))
        with private.client() as client:
            client.put_object(Bucket="private", Key="changing.tif", Body=scene.body)
            rs.build_index(["s3://private/changing.tif"], tmp_path / "i.parquet")
            client.put_object(Bucket="private", Key="changing.tif", Body=scene.body[:-1] + b"\x00")
            with pytest.raises(AssetChangedError, match="another ETag"):
                rs.to_numpy(tmp_path / "i.parquet")
            client.put_object(Bucket="private", Key="changing.tif", Body=scene.body)
        scene_etag = fetch("s3://private/changing.tif").etag
        assert fetch("s3://private/changing.tif", identity=FileIdentity(scene_etag)).etag == scene_etag

    def test_says_when_a_file_ends_before_a_range(self, private: S3, scene: Scene) -> None:
        """416."""
        rs.credentials("s3://private/", **settings(private))
        size = len(scene.body)
        assert fetch(f"s3://private/{KEY}", size - 5, size + 99).data == scene.body[-5:]
        with pytest.raises(RangeError, match=r"ends before|has only"):
            fetch(f"s3://private/{KEY}", size + 1000, size + 2000)

    def test_says_when_there_is_no_such_object_or_bucket(self, private: S3) -> None:
        for bucket in ("private", "nothing-of-this-name"):
            rs.credentials(f"s3://{bucket}/", **settings(private))
            with pytest.raises(AssetNotFoundError, match="Check bucket and key"):
                fetch(f"s3://{bucket}/nothing.tif")


@pytest.mark.parametrize("settings", [{"anonymous": True}, {}], ids=["anonymous", "nothing said"])
def test_a_public_bucket_is_read_without_keys(
    weed: S3, scene: Scene, tmp_path: Path, settings: dict[str, bool]
) -> None:
    rs.credentials("s3://public/", endpoint=weed.endpoint, **settings)
    scene.require(f"s3://public/{KEY}", tmp_path / "i.parquet")


def test_a_private_bucket_without_keys_says_where_they_were_looked_for(weed: S3) -> None:
    rs.credentials("s3://private/", endpoint=weed.endpoint)
    with pytest.raises(AccessDeniedError, match=r"no credentials were found\. Looked at: the option credentials, AWS_"):
        fetch(f"s3://private/{KEY}")


def test_a_bucket_whose_readers_pay_is_never_read_without_keys(ceph: tuple[S3, S3]) -> None:
    rs.credentials("s3://pays/", endpoint=ceph[0].endpoint, requester_pays=True)
    with pytest.raises(AccessDeniedError, match="readers pay, and no credentials were found"):
        fetch(f"s3://pays/{KEY}")


def test_keys_of_two_servers_serve_one_query(weed: S3, ceph: tuple[S3, S3], scene: Scene, tmp_path: Path) -> None:
    rs.credentials("s3://public/", anonymous=True, endpoint=weed.endpoint)
    rs.credentials("s3://private/", **settings(ceph[0]))
    rs.build_index([f"s3://public/{KEY}"], tmp_path / "public.parquet")
    rs.build_index([f"s3://private/{KEY}"], tmp_path / "private.parquet")
    with rs.connect() as con:
        con.execute(f"CREATE VIEW v AS FROM '{tmp_path}/p*.parquet'")
        query = "SELECT href, sum(octet_length(pixels))::BIGINT FROM read_tiles('v') GROUP BY href ORDER BY href"
        found = con.sql(query).fetchall()
    assert found == [(f"s3://{bucket}/{KEY}", scene.pixels.nbytes) for bucket in ("private", "public")]


class TestAPresignedUrl:
    @pytest.mark.parametrize("how", ["href", "option"])
    def test_is_read_while_it_is_valid(self, private: S3, scene: Scene, tmp_path: Path, how: str) -> None:
        url = private.presigned("private", KEY, at=dt.datetime.now(dt.UTC), seconds=3000)
        if how == "href":
            assert fetch(url).data == scene.body[:100]
            return
        rs.set_options(credentials=[url])
        scene.require(url.partition("?")[0], tmp_path / "i.parquet")
        assert b"X-Amz" not in (tmp_path / "i.parquet").read_bytes()

    @pytest.mark.parametrize("wrong", ["expired", "tampered", "of another object"])
    def test_is_refused_and_not_shown_otherwise(self, private: S3, wrong: str) -> None:
        now = dt.datetime.now(dt.UTC)
        if wrong == "expired":
            url = private.presigned("private", KEY, at=now - dt.timedelta(hours=2), seconds=60)
        elif wrong == "tampered":
            url = private.presigned("private", KEY, at=now, seconds=3000)
            url = url[:-4] + ("0000" if not url.endswith("0000") else "1111")
        else:
            url = private.presigned("private", KEY, at=now, seconds=3000).replace("deep/", "other/")
        with pytest.raises(AccessDeniedError, match="credentials or a signed URL") as caught:
            fetch(url)
        assert "X-Amz" not in f"{caught.value!r} {caught.value.__cause__!r}"


class TestRequesterPays:
    """Ceph refuses who does not say that he pays, and keeps the books of who does."""

    def test_a_reader_who_does_not_pay_is_refused_with_the_remedy(self, ceph: tuple[S3, S3]) -> None:
        rs.credentials("s3://pays/", **settings(ceph[1]))
        with pytest.raises(AccessDeniedError, match=r"AWS_REQUEST_PAYER=requester"):
            fetch(f"s3://pays/{KEY}")

    def test_a_reader_who_pays_by_the_option_reads(self, ceph: tuple[S3, S3], scene: Scene, tmp_path: Path) -> None:
        rs.credentials("s3://pays/", **settings(ceph[1], requester_pays=True))
        scene.require(f"s3://pays/{KEY}", tmp_path / "i.parquet")

    def test_a_reader_who_pays_by_the_environment_reads(
        self, ceph: tuple[S3, S3], scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
        rs.credentials("s3://pays/", **settings(ceph[1]))
        scene.require(f"s3://pays/{KEY}", tmp_path / "i.parquet")

    def test_what_stac_says_of_it_is_in_the_message(self, ceph: tuple[S3, S3], scene: Scene, tmp_path: Path) -> None:
        item = {
            "type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": None, "links": [],
            "properties": {"datetime": "2024-01-01T00:00:00Z", "storage:requester_pays": True},
            "assets": {"red": {"href": f"s3://pays/{KEY}", "type": "image/tiff; application=geotiff"}},
        }  # fmt: skip
        (tmp_path / "i.json").write_text(json.dumps(item))
        rs.credentials("s3://pays/", **settings(ceph[1]))
        with pytest.raises(BuildError, match=r"storage:requester_pays.*requester_pays=true"):
            rs.build_index(tmp_path / "i.json", tmp_path / "i.parquet")
        with rs.credentials("s3://pays/", **settings(ceph[1], requester_pays=True)):
            rs.build_index(tmp_path / "i.json", tmp_path / "i.parquet")
            scene.require_pixels(tmp_path / "i.parquet")
        with pytest.raises(AccessDeniedError, match="AWS_REQUEST_PAYER=requester"):
            rs.to_numpy(tmp_path / "i.parquet")
