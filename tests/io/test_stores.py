from __future__ import annotations

import pytest

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.asked import Asked, safe_cause
from rasteret_sql.io.http import HttpStore
from rasteret_sql.io.local import LocalStore
from rasteret_sql.io.objects import ObjectStore
from rasteret_sql.io.stores import redact, store_for, warm_up


@pytest.mark.parametrize(
    ("href", "kind"),
    [
        ("http://host/a.tif", HttpStore),
        ("HTTPS://host/a.tif?sig=1", HttpStore),
        ("s3://bucket/a.tif", ObjectStore),
        ("gs://bucket/a.tif", ObjectStore),
        ("az://container/a.tif", ObjectStore),
        ("abfss://container@account.dfs.core.windows.net/a.tif", ObjectStore),
        ("file:///folder/a.tif", LocalStore),
        ("/folder/a.tif", LocalStore),
        ("a.tif", LocalStore),
        ("~/a.tif", LocalStore),
        ("a:b.tif", LocalStore),
        ("data/http://a.tif", LocalStore),
    ],
)
def test_an_address_is_read_by_the_one_store_of_its_kind(href, kind):
    store = store_for(href)
    assert isinstance(store, kind)
    assert store_for(href) is store


def test_a_path_object_is_a_local_path(tmp_path):
    assert isinstance(store_for(tmp_path / "a.tif"), LocalStore)


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(InvalidArgumentError) as caught:
        store_for("ftp://user:word@host/a.tif?secret")
    message = str(caught.value)
    assert message.startswith("ftp://host/a.tif: ")
    assert all(f"{scheme}://" in message for scheme in ("http", "https", "s3", "gs", "az", "file"))
    assert "secret" not in message


def test_a_virtual_path_of_gdal_says_what_to_give_instead():
    with pytest.raises(InvalidArgumentError, match="Give the URL itself"):
        store_for("/vsicurl/https://host/a.tif")


def test_warming_up_an_unknown_scheme_is_refused_too():
    with pytest.raises(InvalidArgumentError):
        warm_up("ftp://host/a.tif")


@pytest.mark.parametrize(
    ("href", "shown"),
    [
        ("https://host/a.tif?X-Amz-Signature=s#f", "https://host/a.tif"),
        ("https://user:word@host:81/a.tif", "https://host:81/a.tif"),
        ("https://host?sig=s", "https://host"),
        ("https://host/a@b.tif", "https://host/a@b.tif"),
        ("s3://bucket/a.tif?versionId=3", "s3://bucket/a.tif"),
        (
            "abfss://container@account.dfs.core.windows.net/a.tif?sig=s",
            "abfss://container@account.dfs.core.windows.net/a.tif",
        ),
        ("/folder/what?.tif", "/folder/what?.tif"),
        ("file:///folder/a#1.tif", "file:///folder/a#1.tif"),
    ],
)
def test_redact_keeps_what_names_the_file_and_nothing_else(href, shown):
    assert redact(href) == shown


def test_a_cause_that_may_hold_a_query_string_is_left_out():
    plain = ValueError("port 70000")
    assert safe_cause(plain) is plain
    assert safe_cause(ValueError("https://host/a?sig=secret")) is None


def test_a_range_is_named_with_its_last_byte():
    assert str(Asked("https://host/a.tif?sig=s", 0, 16384)) == "bytes 0-16383 of https://host/a.tif"
