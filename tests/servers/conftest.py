"""A scene of one file on real servers, and their fixtures. Nothing of the environment says who may read it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.io import loop, stores
from rasteret_sql.testing import write_cog
from tests.servers import nginx as _nginx
from tests.servers import other_clouds, s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)


@dataclass(frozen=True)
class Scene:
    """A file of several tiles and overviews, and its pixels."""

    folder: Path
    pixels: np.ndarray

    @property
    def path(self) -> Path:
        return self.folder / "a.tif"

    @property
    def body(self) -> bytes:
        return self.path.read_bytes()

    def require(self, href: str, index: Path) -> None:
        """Build an index of an address, and read it: the pixels are those of the file."""
        rs.build_index([href], index)
        self.require_pixels(index)

    def require_pixels(self, index: Path | str) -> None:
        np.testing.assert_array_equal(rs.to_numpy(index).data.squeeze(), self.pixels)
        tiles = rs.read_tiles(index).read_all()
        assert sum(len(tile) for tile in tiles.column("pixels").to_pylist()) == self.pixels.nbytes


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    pixels = np.random.default_rng(17).integers(0, 9000, (500, 700), np.uint16)
    write_cog(folder / "a.tif", pixels, tile=128, overviews=(2,), transform=TRANSFORM)
    return Scene(folder, pixels)


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take keys out of the environment, and forget connections made with them."""
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "RASTERET_SQL_")):
            monkeypatch.delenv(name)
    # Nobody's files of profiles and no metadata service either.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    loop.run(stores.aclose_all())
    with rs.set_options(credentials=[], attempts=3, retry_s=20):
        yield
        loop.run(stores.aclose_all())


@pytest.fixture(scope="session")
def nginx(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_nginx.Nginx]:
    with _nginx.serving(scene.folder, tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
def weed(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3]:
    """SeaweedFS with the scene in the buckets `private` and `public`."""
    with s3.seaweedfs(tmp_path_factory.mktemp("weed")) as server, server.client() as client:
        for bucket in ("private", "public"):
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="deep/a b.tif", Body=scene.body)
        yield server


@pytest.fixture(scope="session")
def ceph(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[s3.S3, s3.S3]]:
    """Ceph with the scene in the bucket `pays`, whose readers pay, and `private`; the owner and a reader."""
    with s3.ceph(tmp_path_factory.mktemp("ceph")) as (owner, reader), owner.client() as client:
        for bucket in ("pays", "private"):
            client.create_bucket(Bucket=bucket)
            access = "authenticated-read" if bucket == "pays" else "private"
            client.put_object(Bucket=bucket, Key="deep/a b.tif", Body=scene.body, ACL=access)
        client.put_bucket_request_payment(Bucket="pays", RequestPaymentConfiguration={"Payer": "Requester"})
        yield owner, reader


@pytest.fixture(scope="session")
def azure(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[other_clouds.Azure]:
    """Azurite with the scene in the container `private`."""
    import datetime as dt

    with other_clouds.azurite(tmp_path_factory.mktemp("azure")) as server:
        sas = server.sas(until=dt.datetime.now(dt.UTC) + dt.timedelta(hours=3), rights="rwc")
        server.put("private?restype=container", b"", sas)
        server.put("private/deep/a.tif", scene.body, sas, **{"x-ms-blob-type": "BlockBlob"})
        yield server


@pytest.fixture(scope="session")
def gcs(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """fake-gcs-server with the scene in the bucket `scenes`; it asks for no keys."""
    buckets = tmp_path_factory.mktemp("buckets")
    (buckets / "scenes" / "deep").mkdir(parents=True)
    (buckets / "scenes" / "deep" / "a.tif").write_bytes(scene.body)
    with other_clouds.fake_gcs(tmp_path_factory.mktemp("gcs"), buckets) as endpoint:
        yield endpoint
