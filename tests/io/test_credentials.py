"""Credentials per prefix of an address: each request to a bucket is signed, or not, as the prefix says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AccessDeniedError, InvalidArgumentError
from rasteret_sql.io import access
from rasteret_sql.io.credentials import settings_for, text_of
from rasteret_sql.io.options import Options
from rasteret_sql.testing import RangeServer

from .conftest import CONTENT, sent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "c4n4ry5ecret"


@pytest.fixture
def s3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    """A server of objects in the buckets `mine` and `theirs`; it takes any signature, and tells what it got."""
    for bucket in ("mine", "theirs"):
        (folder / bucket / "deep").mkdir(parents=True)
        (folder / bucket / "a.tif").write_bytes(CONTENT)
        (folder / bucket / "deep" / "a.tif").write_bytes(CONTENT)
    for name in ("AWS_ENDPOINT_URL", "AWS_REQUEST_PAYER", "AWS_NO_SIGN_REQUEST", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OFENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-environment")
    with RangeServer(folder) as server, rs.set_options(credentials=[]):
        yield server


def test_keys_of_a_prefix_take_the_place_of_those_of_the_environment(s3: RangeServer) -> None:
    rs.credentials("s3://mine/", key_id="OFMINE", secret=CANARY, endpoint=s3.base_url, region="us-west-2")
    headers = sent(s3, "s3://mine/a.tif")
    assert "Credential=OFMINE/" in headers["authorization"]
    assert "/us-west-2/s3/" in headers["authorization"]
    # A session token of other keys would make the signature wrong.
    assert "x-amz-security-token" not in headers
    rs.credentials("s3://mine/", key_id="A", secret="B", session_token="C", endpoint=s3.base_url)
    headers = sent(s3, "s3://mine/a.tif")
    assert "/eu-central-1/s3/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "C"


def test_what_a_prefix_does_not_say_comes_from_the_environment(s3: RangeServer) -> None:
    rs.credentials("s3://mine/", endpoint=s3.base_url)
    headers = sent(s3, "s3://mine/a.tif")
    assert "Credential=OFENVIRONMENT/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "token-of-environment"
    assert "x-amz-request-payer" not in headers


def test_a_profile_of_a_prefix_comes_before_the_environment(
    s3: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        f"[profile work]\naws_access_key_id = OFWORK\naws_secret_access_key = {CANARY}\nregion = sa-east-1\n"
        f"endpoint_url = {s3.base_url}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    rs.credentials("s3://mine/", profile="work")
    headers = sent(s3, "s3://mine/a.tif")
    assert "Credential=OFWORK/" in headers["authorization"]
    assert "/sa-east-1/s3/" in headers["authorization"]
    assert "x-amz-security-token" not in headers
    rs.credentials("s3://mine/", profile="other")
    with pytest.raises(InvalidArgumentError, match="profile: got 'other', no such profile"):
        sent(s3, "s3://mine/a.tif")


def test_the_longest_prefix_counts_in_one_bucket(s3: RangeServer) -> None:
    rs.credentials("s3://mine/", key_id="SHORT", secret="x", endpoint=s3.base_url)
    rs.credentials("s3://mine/deep/", key_id="LONG", secret="x", endpoint=s3.base_url)
    assert "Credential=SHORT/" in sent(s3, "s3://mine/a.tif")["authorization"]
    assert "Credential=LONG/" in sent(s3, "s3a://mine/deep/a.tif")["authorization"]


def test_a_prefix_without_a_bucket_is_for_all_buckets_of_its_scheme(s3: RangeServer) -> None:
    rs.credentials("s3://", key_id="OFALL", secret=CANARY, endpoint=s3.base_url)
    rs.credentials("s3://mine/deep/", key_id="OFDEEP", secret=CANARY, endpoint=s3.base_url)
    for href, key_id in (
        ("s3://theirs/a.tif", "OFALL"),
        ("s3://mine/a.tif", "OFALL"),
        ("s3://mine/deep/a.tif", "OFDEEP"),
    ):
        assert f"Credential={key_id}/" in sent(s3, href)["authorization"]
    assert settings_for("gs://theirs/a.tif", rs.get_options().credentials) == ()
    rs.credentials("s3://")
    assert settings_for("s3://theirs/a.tif", rs.get_options().credentials) == ()


@pytest.mark.parametrize("first", ["s3://mine", "s3://mine/"])
def test_what_is_set_last_of_one_prefix_counts(s3: RangeServer, first: str) -> None:
    for prefix, key_id in ((first, "FIRST"), ("s3://mine/", "SECOND"), ("s3://mine", "THIRD")):
        rs.credentials(prefix, key_id=key_id, secret="x", endpoint=s3.base_url)
        assert f"Credential={key_id}/" in sent(s3, "s3://mine/a.tif")["authorization"]
    assert len(rs.get_options().credentials) == 1
    rs.credentials("s3://mine/")
    assert rs.get_options().credentials == ()


def test_requester_pays_and_anonymous_hold_for_their_bucket_alone(
    s3: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.base_url)
    with rs.credentials("s3://mine/", requester_pays=True), rs.credentials("s3://theirs/", anonymous=True):
        assert sent(s3, "s3://mine/a.tif")["x-amz-request-payer"] == "requester"
        assert "authorization" not in sent(s3, "s3://theirs/a.tif")
    headers = sent(s3, "s3://mine/a.tif")
    assert "x-amz-request-payer" not in headers
    assert "authorization" in headers


def test_a_prefix_overrides_the_environment_both_ways(s3: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.base_url)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    assert "authorization" not in sent(s3, "s3://mine/a.tif")
    with rs.credentials("s3://mine/", key_id="OFMINE", secret="x", requester_pays=False):
        headers = sent(s3, "s3://mine/a.tif")
    assert "Credential=OFMINE/" in headers["authorization"]
    assert "x-amz-request-payer" not in headers


def test_sql_sets_the_credentials_of_a_prefix(s3: RangeServer) -> None:
    with rs.connect() as con:
        query = "SELECT rst_credentials('s3://mine/', settings := {})"
        settings = f"MAP {{'key_id': 'OFSQL', 'secret': '{CANARY}', 'endpoint': '{s3.base_url}'}}"
        assert con.sql(query.format(settings)).fetchall() == [("s3://mine/",)]
        assert "Credential=OFSQL/" in sent(s3, "s3://mine/a.tif")["authorization"]
        con.sql(query.format("{'anonymous': true, 'endpoint': '" + s3.base_url + "'}")).fetchall()
        assert "authorization" not in sent(s3, "s3://mine/a.tif")
        con.sql("SELECT rst_credentials('s3://mine/')").fetchall()
        assert rs.get_options().credentials == ()
        for wrong in ("[1]", "MAP {'secrets': 'x'}", "'text'"):
            with pytest.raises(Exception, match="credentials"):
                con.sql(query.format(wrong)).fetchall()


def test_a_client_of_a_server_sets_no_credentials(s3: RangeServer) -> None:
    policy = access.AccessPolicy()
    with rs.connect() as con:
        access.restrict(policy)
        try:
            with pytest.raises(Exception, match="credentials of a server hold for all of its clients"):
                con.sql("SELECT rst_credentials('s3://mine/', settings := {'anonymous': true})").fetchall()
        finally:
            access.restrict(None)
    assert rs.get_options().credentials == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"key_id": CANARY},
        {"secret": CANARY},
        {"session_token": CANARY},
        {"profile": "work", "key_id": CANARY, "secret": CANARY},
        {"profile": "work", "anonymous": True},
        {"anonymous": True, "key_id": CANARY, "secret": CANARY},
        {"anonymous": CANARY},
        {"account_name": CANARY},
        {CANARY: "x"},
    ],
)
def test_settings_that_a_bucket_cannot_have_are_refused_and_not_shown(settings: dict[str, str]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"s3:// anonymous, endpoint, key_id") as caught:
        rs.credentials("s3://mine/", **settings)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("value", ["text", None, [CANARY]])
def test_a_mapping_of_anything_but_settings_is_refused_and_not_shown(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape("number 1 has settings of type")) as caught:
        rs.set_options(credentials={"s3://mine/": value})
    assert CANARY not in str(caught.value)


def test_a_token_of_azure_is_sent_over_https_alone() -> None:
    rs.set_options(credentials=[])
    with pytest.raises(InvalidArgumentError):
        rs.credentials("az://c/", sas_token="sig=x", endpoint="http://storage.example.com")
    for endpoint in ("https://storage.example.com", "http://127.0.0.1:1000/account"):
        with rs.credentials("az://c/", sas_token="sig=x", endpoint=endpoint):
            pass


@pytest.mark.parametrize("secret", ["a+b/c=", "a&b", "a%2Bb", "ä,b", " "])
def test_a_secret_comes_back_as_it_was(secret: str) -> None:
    text = text_of("s3://mine/", {"key_id": "k", "secret": secret})
    assert dict(settings_for("s3://mine/a.tif", (text,)))["secret"] == secret
    # As a text of the environment, where commas part credentials.
    assert Options(credentials=text).credentials == (text,)  # type: ignore[arg-type]


def test_keys_of_one_bucket_are_no_keys_of_another(s3: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for href in ("s3://mine2/a.tif", "s3://MINE/a.tif", "gs://mine/a.tif", "https://mine/a.tif", "s3://min/e/a.tif"):
        assert settings_for(href, ("s3://mine/?region=x",)) == ()
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.base_url)
    rs.credentials("s3://mine/", key_id="OFMINE", secret="x")
    assert "Credential=OFENVIRONMENT/" in sent(s3, "s3://theirs/a.tif")["authorization"]


def test_a_refusal_names_the_option(s3: RangeServer) -> None:
    from rasteret_sql.testing import Fault

    rs.credentials("s3://mine/", key_id="OFMINE", secret=CANARY, endpoint=s3.base_url)
    s3.add_faults("mine/a.tif", Fault("status", status=403))
    with pytest.raises(AccessDeniedError, match="the option credentials") as caught:
        sent(s3, "s3://mine/a.tif")
    assert CANARY not in f"{caught.value!r} {caught.value.__cause__!r}"
