"""What comes over the network names public addresses and its own server, and nothing else unless that is allowed."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AccessDeniedError, BuildError
from rasteret_sql.io import access, loop
from rasteret_sql.io.stores import store_for
from rasteret_sql.sql.origins import origins_of
from rasteret_sql.testing import Fault, RangeServer
from tests.index.scripted_api import ScriptedApi

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ways in which a document of a stranger may try to name what lies inside. A path is one of its own server.
INSIDE = [
    "file://{canary}",
    "FILE://localhost{canary}",
    "file:///proc/self/environ",
    "{other}/canary.tif",
    "http://localhost:{port}/canary.tif",
    "http://LOCALHOST.:{port}/canary.tif",
    "http://a.localhost:{port}/canary.tif",
    "http://127.1:{port}/canary.tif",
    "http://2130706433:{port}/canary.tif",
    "http://[::1]:{port}/canary.tif",
    "http://[::ffff:127.0.0.1]:{port}/canary.tif",
    "http://10.0.0.1/a.tif",
    "http://192.168.1.1/a.tif",
    "http://169.254.169.254/latest/meta-data/a.tif",
    "http://[fd00:ec2::254]/a.tif",
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A server of a stranger; another server and a file outside of it that nobody may ask for."""
    for name in ("site", "inside"):
        (tmp_path / name).mkdir()
    (tmp_path / "inside" / "canary.tif").write_bytes(b"II*\0 canary")
    with RangeServer(tmp_path / "site") as stranger, RangeServer(tmp_path / "inside") as inside:
        yield {
            "folder": tmp_path / "site", "server": stranger, "inside": inside, "canary": tmp_path / "inside/canary.tif",
            "other": inside.base_url, "port": inside.base_url.rpartition(":")[2],
        }  # fmt: skip


def _named(spelling: str, site: dict[str, Any]) -> str:
    return spelling.format(**{name: str(value) for name, value in site.items()})


def _item(stac_item: Any, site: dict[str, Any], spelling: str) -> dict[str, Any]:
    item: dict[str, Any] = stac_item("a", {"red": _named(spelling, site)})
    item["assets"]["red"]["type"] = "image/tiff"
    return item


@pytest.mark.parametrize("spelling", INSIDE)
def test_an_item_on_a_server_names_nothing_inside(spelling: str, site: dict[str, Any], stac_item: Any, tmp_path: Path):
    (site["folder"] / "item.json").write_text(json.dumps(_item(stac_item, site, spelling)))
    with pytest.raises(BuildError, match=r"a red: AccessDeniedError: .*RASTERET_SQL_ALLOW"):
        rs.build_index(site["server"].url("item.json"), tmp_path / "i.parquet")
    assert not site["inside"].requests


@pytest.mark.parametrize("spelling", [each.replace(".tif", ".json") for each in INSIDE])
def test_a_catalog_on_a_server_links_to_nothing_inside(spelling: str, site: dict[str, Any], tmp_path: Path):
    link = {"rel": "child", "href": _named(spelling, site)}
    catalog = {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "", "links": [link]}
    (site["folder"] / "catalog.json").write_text(json.dumps(catalog))
    with pytest.raises(BuildError, match="AccessDeniedError"):
        rs.build_index(site["server"].url("catalog.json"), tmp_path / "i.parquet")
    assert not site["inside"].requests


def test_a_self_link_does_not_lead_inside(site: dict[str, Any], stac_item: Any, tmp_path: Path):
    """Relative hrefs of items in a collection are led by their self links, which a stranger wrote too."""
    item = _item(stac_item, site, "canary.tif")
    item["links"] = [{"rel": "self", "href": f"{site['other']}/item.json"}]
    (site["folder"] / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    with pytest.raises(BuildError, match="AccessDeniedError"):
        rs.build_index(site["server"].url("items.json"), tmp_path / "i.parquet")
    assert not site["inside"].requests


@pytest.mark.parametrize("spelling", INSIDE)
def test_an_answer_of_an_api_names_nothing_inside(spelling: str, site: dict[str, Any], stac_item: Any, tmp_path: Path):
    with ScriptedApi([_item(stac_item, site, spelling)]) as api, pytest.raises(BuildError, match="AccessDeniedError"):
        rs.build_index(rs.stac_search(api.url, collections=["c"]), tmp_path / "i.parquet")
    assert not site["inside"].requests


def test_a_redirect_leads_nowhere_inside(site: dict[str, Any]):
    for target in (f"{site['other']}/canary.tif", f"http://localhost:{site['port']}/canary.tif", "http://10.0.0.1/"):
        site["server"].add_faults("a.tif", Fault("redirect", value=target))
        with pytest.raises(AccessDeniedError):
            loop.run(store_for(site["server"].url("a.tif")).fetch(site["server"].url("a.tif"), 0, 10))
    assert not site["inside"].requests


def test_what_is_allowed_is_read(site: dict[str, Any], stac_item: Any, tmp_path: Path):
    url = site["server"].url("a.tif")
    with rs.set_options(allow=[site["other"]]):
        site["server"].add_faults("a.tif", Fault("redirect", value=f"{site['other']}/canary.tif"))
        assert loop.run(store_for(url).fetch(url, 0, 11)).data == b"II*\0 canary"
    (site["folder"] / "item.json").write_text(json.dumps(_item(stac_item, site, "file://{canary}")))
    for allow in ([site["canary"].parent], "*", str(site["canary"].parent)):
        # It is read, and is no raster.
        with rs.set_options(allow=allow), pytest.raises(BuildError, match=r"TiffError"):
            rs.build_index(site["server"].url("item.json"), tmp_path / "i.parquet")


def test_a_public_name_that_leads_inside_is_not_connected_to(site: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """A name may be public when it is looked at, and private when it is connected to."""
    real = socket.getaddrinfo
    url = f"http://files.stranger.example:{site['port']}/canary.tif"

    def rebound(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real("127.0.0.1" if name == "files.stranger.example" else host, port, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    monkeypatch.setattr(access, "_strange", set())
    access.check_named(url, "http://stranger.example/item.json")
    with pytest.raises(AccessDeniedError, match="private, loopback or link-local"):
        loop.run(store_for(url).fetch(url, 0, 10))
    with pytest.raises(AccessDeniedError):
        access.check_named(url, "http://stranger.example/index.parquet", resolve=True)
    assert not site["inside"].requests


class TestIndexes:
    @pytest.fixture
    def rows(self, site: dict[str, Any], cog: Any, tmp_path: Path) -> pa.Table:
        cog("real.tif")
        rs.build_index([str(tmp_path / "real.tif")], tmp_path / "own.parquet")
        return pa.parquet.read_table(tmp_path / "own.parquet")

    @pytest.mark.parametrize("spelling", ["{canary}", "{other}/canary.tif", "/proc/self/environ"])
    def test_rows_from_a_server_name_nothing_inside(
        self, spelling: str, site: dict[str, Any], rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        href = pa.array([_named(spelling, site)])
        rows = rows.set_column(rows.schema.get_field_index("href"), "href", href)
        pa.parquet.write_table(rows, tmp_path / "stranger.parquet")
        # DuckDB's extension that reads over HTTP is not there everywhere: the rows come from the disk in its place.
        monkeypatch.setattr(
            "rasteret_sql.sql.planning.origins_of", lambda *_a, **_n: (site["server"].url("i.parquet"),)
        )
        with pytest.raises(AccessDeniedError, match=r'asset "data" of item real: .*RASTERET_SQL_ALLOW'):
            rs.to_numpy(tmp_path / "stranger.parquet")
        assert not site["inside"].requests

    def test_an_index_on_this_machine_names_files_anywhere_on_it(self, rows: pa.Table, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        pa.parquet.write_table(rows, tmp_path / "elsewhere" / "index.parquet")
        assert rs.to_numpy(tmp_path / "elsewhere" / "index.parquet").data.size

    def test_but_no_file_of_the_kernel(self, rows: pa.Table, tmp_path: Path) -> None:
        if not Path("/proc/self/environ").exists():
            pytest.skip("there is no /proc here")
        (tmp_path / "link.tif").symlink_to("/proc/self/environ")
        for href in ("/proc/self/environ", str(tmp_path / "link.tif")):
            named = rows.set_column(rows.schema.get_field_index("href"), "href", pa.array([href]))
            with pytest.raises(AccessDeniedError, match="a file of the kernel"):
                rs.to_numpy(named)

    def test_and_no_link_local_address(self, rows: pa.Table) -> None:
        href = pa.array(["http://169.254.169.254/latest/meta-data/iam"])
        with pytest.raises(AccessDeniedError, match="link-local"):
            rs.to_numpy(rows.set_column(rows.schema.get_field_index("href"), "href", href))

    def test_a_variable_allows_more_in_sql(
        self, site: dict[str, Any], rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "rasteret_sql.sql.planning.origins_of", lambda *_a, **_n: (site["server"].url("i.parquet"),)
        )
        query = f"SELECT sum(octet_length(pixels)) FROM read_tiles('{tmp_path / 'own.parquet'}')"
        with rs.connect() as con:
            with pytest.raises(Exception, match="RASTERET_SQL_ALLOW"):
                con.execute(query).fetchall()
            con.execute(f"SET VARIABLE rasteret_allow = '{tmp_path}'")
            assert con.execute(query).fetchall()[0][0] > 0


@pytest.mark.parametrize(
    ("index", "is_file", "found"),
    [
        ("https://a.example/i.parquet", True, ("https://a.example/i.parquet",)),
        ("/data/i.parquet", True, ()),
        ("SELECT * FROM 'https://a.example/i.parquet' WHERE true", False, ("https://a.example/i.parquet",)),
        ("SELECT * FROM read_parquet(['s3://b/i.parquet'])", False, ("s3://b/i.parquet",)),
        ("outer_view", False, ("https://b.example/i.parquet",)),
        ('SELECT * FROM "Outer_View"', False, ("https://b.example/i.parquet",)),
        ("own_table", False, ()),
    ],
)
def test_origins_are_found_in_queries_and_views(index: str, is_file: bool, found: tuple[str, ...]) -> None:
    class Views:
        def execute(self, _query: str) -> Views:
            return self

        def fetchall(self) -> list[tuple[str, str]]:
            return [
                ("inner_view", "CREATE VIEW inner_view AS SELECT * FROM 'https://b.example/i.parquet';"),
                ("outer_view", "CREATE VIEW outer_view AS SELECT * FROM inner_view;"),
                ("other", "CREATE VIEW other AS SELECT * FROM 'https://c.example/i.parquet';"),
            ]

    assert origins_of(Views(), index, is_file=is_file) == found  # type: ignore[arg-type]


def test_a_document_on_this_machine_names_what_it_likes(tmp_path: Path) -> None:
    for by in (None, str(tmp_path / "item.json"), f"file://{tmp_path}/item.json"):
        access.check_named("/data/a.tif", by)
        access.check_named("http://10.0.0.1/a.tif", by)


def test_an_object_store_names_objects_and_public_addresses() -> None:
    access.check_named("s3://other/a.tif", "s3://bucket/item.json")
    access.check_named("https://example.com/a.tif", "s3://bucket/item.json")
    with pytest.raises(AccessDeniedError):
        access.check_named("/data/a.tif", "s3://bucket/item.json")
