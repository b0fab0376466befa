"""Secrets in hrefs: no artifact that a user keeps, shows or sends has them. All artifacts are searched byte by byte."""

from __future__ import annotations

import json
import logging
import pickle
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from rasteret_sql.database.hrefs import unsigned
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.definition import kept_text
from rasteret_sql.io.asked import redact, redact_text
from rasteret_sql.testing import Fault, RangeServer, write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "c4n4ry5ecret"
#: Ways in which a URL carries a secret; "{}" is the URL without its scheme.
CARRIERS = [
    f"http://me:{CANARY}@{{}}",
    f"http://{CANARY}@{{}}",
    *(f"http://{{}}?{name}={CANARY}" for name in ("apikey", "api_key", "key", "jwt", "token", "access_token", "SIG")),
    *(f"http://{{}}?v=1&{name}={CANARY}" for name in ("X-Amz-Signature", "subscription-key", "password", "auth")),
    *(f"http://{{}}?v=1&{name}={CANARY}" for name in ("hdnts", "ApiToken", "sas")),
    f"http://{{}}?%73ig={CANARY}",
    f"http://{{}}?%2573%2569g={CANARY}",
    f"http://{{}}#token={CANARY}",
    f"http://{{}}?v=1#access_token={CANARY}&b=2",
]  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    (tmp_path / "files").mkdir()
    write_cog(tmp_path / "files" / "a.tif", np.full((64, 64), 5, np.uint8), tile=64, overviews=())
    with RangeServer(tmp_path / "files") as server:
        yield server


def _carried(server: RangeServer, carrier: str) -> str:
    return carrier.format(server.url("a.tif").removeprefix("http://"))


def _has_canary(data: Any) -> bool:
    raw = data if isinstance(data, bytes) else str(data).encode()
    return CANARY.encode() in raw or CANARY.encode() in urllib.parse.unquote_to_bytes(raw)


def _said(action: Any) -> str:
    """Give all that an error tells, its causes too."""
    with pytest.raises(Exception) as caught:
        action()
    said, error = "", caught.value
    while error is not None:
        said += f"{error} {error!r} {error.args}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return said


@pytest.mark.parametrize("source", ["table", "items", "definition"])
def test_no_artifact_of_an_index_has_a_secret(
    source: str, server: RangeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str], stac_item: Any,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    hrefs, index = [_carried(server, carrier) for carrier in CARRIERS], tmp_path / "i.parquet"
    ids = [f"item{number}" for number in range(len(hrefs))]
    if source == "table":
        report = rs.build_index(pa.table({"href": hrefs, "item_id": ids, "asset": ["red"] * len(ids)}), index)
    elif source == "items":
        items = [stac_item(name, {"red": href}) for name, href in zip(ids, hrefs, strict=True)]
        for item in items:
            item["assets"]["red"]["type"] = "image/tiff"
        (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        report = rs.build_index(tmp_path / "items.json", index)
    else:
        listed = ", ".join(f"('{name}', '{href}')" for name, href in zip(ids, hrefs, strict=True))
        (tmp_path / "d.sql").write_text(
            "-- name: d\n-- kind: index\n-- grain: one row per file\n"
            f"WITH f AS (SELECT * FROM (VALUES {listed}) AS v(item_id, href)) FROM read_headers(f)"
        )
        report = rs.build_index(tmp_path / "d.sql", index)
    assert report.rows == len(hrefs)
    lazy = rs.to_xarray(index, chunks={})
    artifacts: dict[str, Any] = {
        "index": index.read_bytes(),
        "report": f"{report!r} {report} {report._repr_html_()}",
        "rows": pa.parquet.read_table(index).to_pylist(),
        "explain": rs.explain(index),
        "tiles": rs.read_tiles(index).read_all().to_pylist(),
        "tasks": pickle.dumps(lazy),
        "lazy": repr(lazy) + lazy._repr_html_(),
        "validate": str(rs.validate(index)),
    }
    (tmp_path / "out").mkdir()
    rs.export(index, tmp_path / "out" / "{item}.tif")
    artifacts["export"] = b"".join(file.read_bytes() for file in (tmp_path / "out").iterdir())
    assert main(["info", str(index)]) == 0
    assert main(["sql", f"SELECT * EXCLUDE (geometry, levels) FROM '{index}'", "--format", "json"]) == 0
    artifacts["output"] = "".join(capsys.readouterr())
    server.add_faults("a.tif", *[Fault("status", status=404)] * 2 * len(hrefs))
    artifacts["error"] = _said(lambda: rs.to_numpy(index))
    artifacts["errors"] = rs.read_tiles(index, on_error="null").read_all().to_pylist()
    artifacts["log"] = caplog.text
    assert not [name for name, data in artifacts.items() if _has_canary(data)]


@pytest.mark.parametrize(
    "fault", [Fault("status", status=404), Fault("status", status=403), Fault("etag", value='"b"'), Fault("gzip")]
)
def test_no_message_on_a_row_with_a_secret_has_it(fault: Fault, server: RangeServer, tmp_path: Path) -> None:
    """A row of somebody's own table may have any href; it is read with it, and never shown with it."""
    rs.build_index([server.url("a.tif")], tmp_path / "i.parquet")
    table = pa.concat_tables([pa.parquet.read_table(tmp_path / "i.parquet")] * len(CARRIERS))
    hrefs = pa.array([_carried(server, carrier) for carrier in CARRIERS], pa.string())
    rows = table.set_column(table.schema.get_field_index("href"), "href", hrefs)
    server.add_faults("a.tif", *[fault] * 2 * len(CARRIERS))
    said = _said(lambda: rs.to_numpy(rows))
    errors = rs.read_tiles(rows, on_error="null").read_all().column("error").to_pylist()
    assert len([error for error in errors if error]) >= len(CARRIERS) - 1
    assert not _has_canary(said + str(errors))


@pytest.mark.parametrize("carrier", [CARRIERS[0], CARRIERS[2], CARRIERS[-1]])
def test_no_message_on_a_source_or_an_index_at_a_url_has_its_secret(carrier: str, server: RangeServer, tmp_path: Path):
    for name in ("none.json", "none.tif"):
        url = carrier.format(server.url(name).removeprefix("http://"))
        said = _said(lambda url=url: rs.build_index(url, tmp_path / "i.parquet"))
        said += _said(lambda url=url: rs.to_numpy(url))
        said += _said(lambda url=url: rs.to_numpy(f"SELECT * FROM '{url}'"))
        assert not _has_canary(said)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_one_rule_for_what_is_stored_and_one_for_what_is_shown(carrier: str) -> None:
    url = carrier.format("example.com/a/b.tif")
    for text in (unsigned(url), redact(url), kept_text(f"FROM '{url}'"), redact_text(f"see {url} there")):
        assert not _has_canary(text)
        assert "example.com/a/b.tif" in text
    assert ("v=1" in unsigned(url)) == ("v=1" in url)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        (f"https://p.com/tiles?v=1&url=https://e.com/a.tif?sig={CANARY}", "https://p.com/tiles?v=1&url=https%3A%2F%2Fe.com%2Fa.tif"),
        (f"https://p.com/tiles?url=https%3A%2F%2Fe.com%2Fa.tif%3Fv%3D2%26token%3D{CANARY}&v=1", "https://p.com/tiles?url=https%3A%2F%2Fe.com%2Fa.tif%3Fv%3D2&v=1"),
        (f"https://p.com/tiles?url=https%3A%2F%2Fme%3A{CANARY}%40e.com%2Fa.tif", "https://p.com/tiles?url=https%3A%2F%2Fe.com%2Fa.tif"),
        (f"https://p.com/https://me:{CANARY}@e.com/a.tif", "https://p.com/https://e.com/a.tif"),
    ],
)  # fmt: skip
def test_a_url_inside_of_another_one_has_no_secret_either(url: str, clean: str) -> None:
    assert unsigned(url) == clean
    for text in (redact(url), kept_text(f"FROM '{url}'"), redact_text(f"see {url} there")):
        assert not _has_canary(text)
        assert "https://p.com/" in text


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/get?file=a.tif&page=2",
        "https://example.com/tiles?url=https%3a%2f%2Fother.com/a.tif?v=1&b=2",
        "https://example.com/a/@b/c@d.tif",
        "https://example.com/https://other.com/c@d.tif",
        "https://example.com/a.tif?monkey=1&keyboard=2",
        "https://example.com/a.tif#page=1",
        "abfss://container@account.dfs.core.windows.net/a.tif",
        "/data/me:pw@host/a.tif?key=1",
    ],
)
def test_what_is_no_secret_stays(url: str) -> None:
    assert unsigned(url) == url


class TestCredentials:
    """Keys are added to requests, by the option of that name."""

    def test_a_request_has_the_key_of_its_longest_prefix(self, server: RangeServer, tmp_path: Path) -> None:
        host = server.base_url.removeprefix("http://")
        keys = [f"http://me:{CANARY}@{host}/", f"http://{host}/other/?apikey=wrong"]
        with rs.set_options(credentials=keys):
            assert CANARY not in repr(rs.get_options())
            rs.build_index([server.url("a.tif")], tmp_path / "i.parquet")
            rs.to_numpy(tmp_path / "i.parquet")
        assert all(request.headers["authorization"].startswith("Basic ") for request in server.requests)
        assert not _has_canary((tmp_path / "i.parquet").read_bytes())
        server.reset()
        rs.to_numpy(tmp_path / "i.parquet")
        assert all("authorization" not in request.headers for request in server.requests)

    @pytest.mark.parametrize(
        "key",
        [
            f"http://example.com/?apikey={CANARY}",
            f"https://?apikey={CANARY}",
            CANARY,
            "https://example.com/",
            "s3://b/?a=1",
        ],
    )
    def test_what_is_no_credential_is_refused_and_not_shown(self, key: str) -> None:
        with pytest.raises(InvalidArgumentError, match="credentials: number 1 is no URL such as") as caught:
            rs.set_options(credentials=[key])
        assert not _has_canary(str(caught.value))

    def test_parameters_are_added(self) -> None:
        from rasteret_sql.io.credentials import with_credentials

        keys = ("https://e.com/?apikey=1", "https://e.com/deep/?apikey=2&b=3", "https://me:pw@other.com:8443/")
        for url, signed in [
            ("https://e.com/a.tif", "https://e.com/a.tif?apikey=1"),
            ("https://e.com/deep/a.tif?v=1", "https://e.com/deep/a.tif?v=1&apikey=2&b=3"),
            ("https://e.com:443/deeper.tif", "https://e.com:443/deeper.tif?apikey=1"),
            ("https://other.com:8443/a.tif", "https://me:pw@other.com:8443/a.tif"),
            ("https://other.com/a.tif", "https://other.com/a.tif"),
            ("https://e.com.evil.org/a.tif", "https://e.com.evil.org/a.tif"),
            ("http://e.com/a.tif", "http://e.com/a.tif"),
        ]:
            assert with_credentials(url, keys) == signed
