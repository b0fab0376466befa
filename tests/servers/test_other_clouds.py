"""Containers of Azurite and buckets of fake-gcs-server."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AccessDeniedError, AssetChangedError, AssetNotFoundError, RangeError
from rasteret_sql.io import loop
from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.io.stores import store_for
from tests.servers.other_clouds import ACCOUNT, ACCOUNT_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.conftest import Scene
    from tests.servers.other_clouds import Azure

pytestmark = pytest.mark.servers
BLOB = "az://private/deep/a.tif"


def fetch(href: str, start: int = 0, end: int = 100, identity: FileIdentity | None = None):
    return loop.run(store_for(href).fetch(href, start, end, identity=identity or FileIdentity()))


def until(**after: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(**after)


def tampered(sas: str) -> str:
    first, _, signature = sas.rpartition("sig=")
    return f"{first}sig={'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


class TestAContainer:
    def test_is_read_with_the_key_of_the_account(self, azure: Azure, scene: Scene, tmp_path: Path) -> None:
        rs.credentials("az://private/", account_name=ACCOUNT, account_key=ACCOUNT_KEY, endpoint=azure.endpoint)
        scene.require(BLOB, tmp_path / "i.parquet")

    def test_is_read_with_the_environment(
        self, azure: Azure, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY)
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", azure.endpoint)
        scene.require(BLOB, tmp_path / "i.parquet")

    @pytest.mark.parametrize("scheme", ["az", "abfs", "abfss"])
    def test_is_read_with_a_token(self, azure: Azure, scene: Scene, tmp_path: Path, scheme: str) -> None:
        sas = azure.sas(until=until(hours=1))
        prefix = f"{scheme}://private/"
        rs.credentials(prefix, account_name=ACCOUNT, sas_token=sas, endpoint=azure.endpoint)
        scene.require(f"{prefix}deep/a.tif", tmp_path / "i.parquet")
        assert b"sig=" not in (tmp_path / "i.parquet").read_bytes()

    @pytest.mark.parametrize("wrong", ["expired", "tampered"])
    @pytest.mark.parametrize("how", ["az", "http"])
    def test_refuses_a_token_that_is_wrong_and_nothing_shows_it(self, azure: Azure, wrong: str, how: str) -> None:
        sas = azure.sas(until=until(hours=-1)) if wrong == "expired" else tampered(azure.sas(until=until(hours=1)))
        url = f"{azure.endpoint}/private/deep/a.tif?{sas}"
        rs.credentials("az://private/", account_name=ACCOUNT, sas_token=sas, endpoint=azure.endpoint)
        with pytest.raises(AccessDeniedError, match="credentials") as caught:
            fetch(BLOB if how == "az" else url)
        assert "sig=" not in f"{caught.value!r} {caught.value.__cause__!r}"

    def test_is_read_over_http_with_a_token_of_the_option(self, azure: Azure, scene: Scene, tmp_path: Path) -> None:
        rs.set_options(credentials=[f"{azure.endpoint}/private/?{azure.sas(until=until(hours=1))}"])
        scene.require(f"{azure.endpoint}/private/deep/a.tif", tmp_path / "i.parquet")

    def test_says_what_is_wrong_with_a_blob(self, azure: Azure, scene: Scene) -> None:
        rs.credentials("az://private/", account_name=ACCOUNT, account_key=ACCOUNT_KEY, endpoint=azure.endpoint)
        with pytest.raises(AssetNotFoundError, match="no such object"):
            fetch("az://private/nothing.tif")
        with pytest.raises(AssetChangedError, match="another ETag"):
            fetch(BLOB, identity=FileIdentity('"0x1"'))
        size = len(scene.body)
        with pytest.raises(RangeError, match=r"ends before|has only"):
            fetch(BLOB, size + 1000, size + 2000)


class TestABucketOfGoogle:
    def test_is_read_at_an_endpoint_of_the_option(self, gcs: str, scene: Scene, tmp_path: Path) -> None:
        rs.credentials("gs://scenes/", anonymous=True, endpoint=gcs)
        scene.require("gs://scenes/deep/a.tif", tmp_path / "i.parquet")

    def test_says_what_is_wrong_with_an_object(self, gcs: str, scene: Scene) -> None:
        rs.credentials("gs://scenes/", anonymous=True, endpoint=gcs)
        with pytest.raises(AssetNotFoundError, match="no such object"):
            fetch("gs://scenes/nothing.tif")
        size = len(scene.body)
        assert fetch("gs://scenes/deep/a.tif", size - 5, size).data == scene.body[-5:]
        with pytest.raises((RangeError, AssetChangedError)):
            fetch("gs://scenes/deep/a.tif", size + 1000, size + 2000)
