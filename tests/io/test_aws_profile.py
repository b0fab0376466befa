"""Profiles of AWS's files, and the emulator of Google's storage: what other tools read of the environment is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.aws_profile import profile
from rasteret_sql.io.buckets import open_bucket
from rasteret_sql.testing import RangeServer

from .conftest import CONTENT, sent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "c4n4ry/5ecret%"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of profiles, and no other setting of AWS."""
    for name in (
        "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION",
        "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_NO_SIGN_REQUEST",
        "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REQUEST_PAYER",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = OFDEFAULT\naws_secret_access_key = {CANARY}\n"
        f"[work]\naws_access_key_id = OFWORK\naws_secret_access_key = {CANARY}\naws_session_token = token\n"
    )
    (folder / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile work]\nregion = us-west-2\n[profile sso]\nsso_session = s\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[RangeServer]:
    (folder / "bucket").mkdir()
    (folder / "bucket" / "a.tif").write_bytes(CONTENT)
    with RangeServer(folder) as server:
        yield server


def test_a_profile_signs(files: Path, server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.base_url)
    headers = sent(server, "s3://bucket/a.tif")
    assert "Credential=OFDEFAULT/" in headers["authorization"]
    assert "/eu-west-1/s3/" in headers["authorization"]
    monkeypatch.setenv("AWS_PROFILE", "work")
    headers = sent(server, "s3://bucket/a.tif")
    assert "Credential=OFWORK/" in headers["authorization"]
    assert "/us-west-2/s3/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "token"


def test_an_endpoint_of_a_profile_is_asked(files: Path, server: RangeServer) -> None:
    with (files / "config").open("a") as file:
        file.write(
            f"[profile local]\nendpoint_url = {server.base_url}\naws_access_key_id = A\naws_secret_access_key = B\n"
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "local")
        assert "Credential=A/" in sent(server, "s3://bucket/a.tif")["authorization"]


def test_variables_come_before_profiles(files: Path, server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.base_url)
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    assert "/sa-east-1/s3/" in sent(server, "s3://bucket/a.tif")["authorization"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OFVARIABLES")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert "Credential=OFVARIABLES/" in sent(server, "s3://bucket/a.tif")["authorization"]
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "1")
    assert "authorization" not in sent(server, "s3://bucket/a.tif")


@pytest.mark.parametrize(
    ("name", "says"), [("sso", "a profile with sso_session"), ("absent", "no such profile"), ("", None)]
)
def test_a_profile_without_keys_is_an_error_that_says_what_to_do(
    files: Path, name: str, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", name)
    if says is None:
        (files / "credentials").unlink()
        assert profile() == {}
        return
    with pytest.raises(InvalidArgumentError, match=rf"AWS_PROFILE: got '{name}', {says}.*export-credentials"):
        open_bucket("s3://bucket")


def test_a_broken_file_is_an_error_that_shows_none_of_it(files: Path) -> None:
    (files / "credentials").write_text(f"[default]\naws_access_key_id\n  {CANARY}\n= {CANARY}\n")
    with pytest.raises(InvalidArgumentError, match="credentials: got a file that cannot be read") as caught:
        profile()
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("with_scheme", [True, False])
def test_the_emulator_of_google_is_asked(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch, with_scheme: bool
) -> None:
    address = server.base_url.rstrip("/")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address if with_scheme else address.partition("://")[2])
    headers = sent(server, "gs://bucket/a.tif")
    assert "authorization" not in headers
