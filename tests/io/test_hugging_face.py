"""Files of the Hugging Face Hub: their addresses, tokens and redirects, on a server of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AccessDeniedError, InvalidArgumentError
from rasteret_sql.io import loop
from rasteret_sql.io.hugging_face import resolved
from rasteret_sql.io.stores import aclose_all, store_for
from rasteret_sql.testing import Fault, RangeServer, write_cog

from .conftest import CONTENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "hf_c4n4ry"


@pytest.fixture(autouse=True)
def _nobodys_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nobody"))
    yield
    loop.run(aclose_all())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    for revision in ("main", "v2"):
        folder = tmp_path / "hub" / "datasets" / "me" / "scenes" / "resolve" / revision
        folder.mkdir(parents=True)
        (folder / "a b.tif").write_bytes(CONTENT)
    with RangeServer(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.base_url)
        yield server


def fetched(href: str) -> bytes:
    return loop.run(store_for(href).fetch(href, 10, 5000)).data


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("hf://datasets/me/scenes/x/a.tif", "datasets/me/scenes/resolve/main/x/a.tif"),
        ("hf://datasets/me/scenes@v1.0/a b.tif", "datasets/me/scenes/resolve/v1.0/a%20b.tif"),
        ("hf://datasets/me/scenes@refs%2Fpr%2F1/a#1?.tif", "datasets/me/scenes/resolve/refs%2Fpr%2F1/a%231%3F.tif"),
        ("hf://spaces/me/scenes/a.tif", "spaces/me/scenes/resolve/main/a.tif"),
        ("hf://me/scenes/a.tif", "me/scenes/resolve/main/a.tif"),
        ("hf://models/me/scenes/a.tif", "me/scenes/resolve/main/a.tif"),
    ],
)
def test_addresses_are_those_of_the_hub(href: str, url: str) -> None:
    assert resolved(href, ()) == (f"https://huggingface.co/{url}", {})


@pytest.mark.parametrize(
    "href", ["hf://", "hf://datasets/me/scenes", "hf://datasets/me/../a.tif/", "hf://me/scenes@/a.tif"]
)
def test_an_address_without_a_file_is_refused(href: str) -> None:
    with pytest.raises(InvalidArgumentError, match="expected hf://datasets/OWNER/NAME/PATH"):
        resolved(href, ())


def test_files_are_read_at_their_revision_without_a_token(hub: RangeServer) -> None:
    assert fetched("hf://datasets/me/scenes/a b.tif") == CONTENT[10:5000]
    assert fetched("hf://datasets/me/scenes@v2/a b.tif") == CONTENT[10:5000]
    assert [request.path.split("/")[4] for request in hub.requests] == ["main", "v2"]
    assert all("authorization" not in request.headers for request in hub.requests)


def test_the_token_is_that_of_a_prefix_or_the_environment_or_the_file(
    hub: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent() -> str:
        hub.reset()
        fetched("hf://datasets/me/scenes/a b.tif")
        return hub.requests[0].headers["authorization"]

    (tmp_path / "token").write_text("hf_of_file\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    assert sent() == "Bearer hf_of_file"
    monkeypatch.setenv("HF_TOKEN", CANARY)
    assert sent() == f"Bearer {CANARY}"
    with rs.credentials("hf://datasets/me/", token="hf_of_prefix"):
        assert sent() == "Bearer hf_of_prefix"


def test_a_token_is_sent_to_no_other_server_and_to_none_in_the_clear(
    hub: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    assert resolved("hf://me/scenes/a.tif", ("hf://?endpoint=http://hub.example.com",))[1] == {}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.tif").write_bytes(CONTENT)
    with RangeServer(tmp_path / "other") as other, rs.set_options(allow=[f"{other.base_url}/"]):
        hub.add_faults("*", Fault("redirect", value=other.url("a.tif")))
        assert fetched("hf://datasets/me/scenes/a b.tif") == CONTENT[10:5000]
        assert "authorization" in hub.requests[0].headers
        assert "authorization" not in other.requests[0].headers


def test_an_error_names_the_file_and_never_the_token(hub: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    hub.add_faults("*", Fault("status", status=401))
    with pytest.raises(AccessDeniedError, match=r"hf://datasets/me/scenes/a b\.tif") as caught:
        fetched("hf://datasets/me/scenes/a b.tif")
    assert CANARY not in str(caught.value)


def test_an_index_of_files_of_the_hub_is_built_and_read(hub: RangeServer, tmp_path: Path) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    write_cog(
        hub.root / "datasets/me/scenes/resolve/main/c.tif", pixels,
        tile=32, overviews=(), crs="EPSG:32643", transform=(10, 0, 600_000, 0, -10, 1_400_000),
    )  # fmt: skip
    index = tmp_path / "i.parquet"
    rs.build_index(["hf://datasets/me/scenes/c.tif"], index)
    np.testing.assert_array_equal(rs.to_numpy(index).data.squeeze(), pixels)
    with rs.connect() as con:
        assert con.sql(f"SELECT DISTINCT href FROM read_tiles('{index}')").fetchall() == [
            ("hf://datasets/me/scenes/c.tif",)
        ]
