"""access: what a process that serves others may read, spelled in all the ways that one file or host can be."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from rasteret_sql.errors import AccessDeniedError, AssetNotFoundError, FetchError, InvalidArgumentError
from rasteret_sql.io import access, loop
from rasteret_sql.io.access import AccessPolicy
from rasteret_sql.io.local import LocalStore
from rasteret_sql.io.stores import store_for
from rasteret_sql.testing.server import Fault, RangeServer


@pytest.fixture
def restricted():
    """Restricts this process until the test ends."""

    def restrict(**options):
        access.restrict(AccessPolicy(**options))

    yield restrict
    access.restrict(None)


@pytest.fixture
def lookups(monkeypatch):
    """Names and the addresses that a look-up finds for them; no other name is found."""
    known: dict[str, list[str]] = {}

    def look_up(host, port, *_arguments, **_named):
        host = host.decode() if isinstance(host, bytes) else host
        found = known.get(host, [])
        if not found:
            with contextlib.suppress(OSError):
                return original(host, port, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found
        ]

    original = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return known


@pytest.fixture
def folders(tmp_path):
    """An allowed folder and one beside it whose name begins alike, with files and links between them."""
    inside, outside = tmp_path / "in", tmp_path / "in-not"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.tif").write_bytes(b"0123456789")
    (inside / "out.tif").symlink_to(outside / "a.tif")
    (inside / "out").symlink_to(outside)
    (inside / "up").symlink_to("..")
    (outside / "back.tif").symlink_to(inside / "a.tif")
    return inside, outside


def read(path, store=None):
    return loop.run((store or LocalStore()).fetch(str(path), 0, 10)).data


class TestFolders:
    def test_nothing_is_restricted_without_a_policy(self, folders):
        inside, outside = folders
        assert read(outside / "a.tif") == read(inside / "out.tif") == b"0123456789"
        access.check_url("http://127.0.0.1/a.tif", resolve=True)
        access.check_address(access.policy(), "127.0.0.1", 80)
        access.check_resolved(access.policy(), "localhost", 80, ["127.0.0.1"])
        access.check_pattern("/etc/*")
        assert access.kept_paths(["/etc/passwd"]) == ["/etc/passwd"]

    @pytest.mark.parametrize(
        "spelling",
        ["{inside}/a.tif", "file://{inside}/a.tif", "file://{inside}/%61.tif", "{inside}/./x/../a.tif", "{inside}//a.tif",
         "{outside}/back.tif", "{inside}/up/in/a.tif", "{inside}/out/../in/a.tif"],
    )  # fmt: skip
    def test_files_in_them_are_read_however_they_are_spelled(self, folders, restricted, spelling):
        inside, outside = folders
        (inside / "x").mkdir()
        restricted(folders=(str(inside),))
        assert read(spelling.format(inside=inside, outside=outside)) == b"0123456789"

    @pytest.mark.parametrize(
        "spelling",
        ["{outside}/a.tif", "file://{outside}/a.tif", "file://{inside}/%2e%2e/in-not/a.tif", "{inside}/../in-not/a.tif",
         "{inside}/out.tif", "{inside}/out/a.tif", "{inside}/up/in-not/a.tif", "file://{inside}/out%2Fa.tif",
         "file://localhost{outside}/a.tif", "{inside}-not/a.tif", "~/a.tif", "../in-not/a.tif", "{relative}"],
    )  # fmt: skip
    def test_files_outside_are_refused_however_they_are_spelled(self, folders, restricted, monkeypatch, spelling):
        inside, outside = folders
        monkeypatch.setenv("HOME", str(outside))
        monkeypatch.chdir(inside)
        href = spelling.format(inside=inside, outside=outside, relative=os.path.relpath(outside / "a.tif"))
        assert read(href) == b"0123456789"
        restricted(folders=(str(inside),))
        with pytest.raises(AccessDeniedError, match="outside of the folders that this process lets its clients read"):
            read(href)

    def test_a_message_does_not_tell_whether_there_is_a_file_outside(self, folders, restricted):
        inside, outside = folders
        restricted(folders=(str(inside),))
        texts = []
        for name in ("a.tif", "b.tif"):
            with pytest.raises(AccessDeniedError) as error:
                read(outside / name)
            texts.append(str(error.value).replace(name, ""))
        assert texts[0] == texts[1]
        with pytest.raises(AssetNotFoundError):
            read(inside / "b.tif")

    def test_a_path_with_a_null_byte_is_refused(self, folders, restricted):
        restricted(folders=(str(folders[0]),))
        with pytest.raises(AccessDeniedError):
            access.real_path(f"{folders[0]}/a.tif\0x")

    def test_a_folder_that_is_a_link_is_the_one_it_leads_to(self, folders, restricted, tmp_path):
        (tmp_path / "link").symlink_to(folders[0])
        restricted(folders=(str(tmp_path / "link"),))
        assert read(folders[0] / "a.tif") == read(tmp_path / "link" / "a.tif") == b"0123456789"

    def test_the_root_lets_all_be_read(self, folders, restricted):
        restricted(folders=("/",))
        assert read(folders[1] / "a.tif") == b"0123456789"

    def test_the_path_that_is_opened_is_the_one_that_was_looked_at(self, folders, restricted):
        inside, outside = folders
        restricted(folders=(str(inside),))
        assert access.real_path(str(outside / "back.tif")) == str(inside / "a.tif")


class TestGlobs:
    @pytest.mark.parametrize("pattern", ["*", "a.*", "**/*.tif", "[a]*/x", "a.tif", "x/../*"])
    def test_those_that_look_into_them_are_fine(self, folders, restricted, pattern):
        restricted(folders=(str(folders[0]),))
        access.check_pattern(f"{folders[0]}/{pattern}")

    @pytest.mark.parametrize("pattern", ["{inside}/../*", "{inside}*/a.tif", "{inside}/up/*", "{inside}/out/*", "/**", "*",
                                         "{inside}/*/../../in-not/*", "{inside}/[a]/../*"])  # fmt: skip
    def test_those_that_look_elsewhere_are_refused(self, folders, restricted, monkeypatch, pattern):
        inside, outside = folders
        monkeypatch.chdir(outside)
        restricted(folders=(str(inside),))
        with pytest.raises(AccessDeniedError, match=r"outside of the folders|behind a wildcard"):
            access.check_pattern(pattern.format(inside=inside))

    def test_what_links_lead_to_outside_is_left_out(self, folders, restricted):
        inside, _ = folders
        restricted(folders=(str(inside),))
        found = [str(inside / name) for name in ("a.tif", "out.tif", "out/a.tif", "up/in/a.tif")]
        assert access.kept_paths(found) == [found[0], found[3]]


PRIVATE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.0.1.", "0", "0.0.0.0",
    "10.0.0.1", "172.16.5.5", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0xa9fea9fe", "169.254.43518", "224.0.0.1",
    "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:a00:1]", "[::127.0.0.1]",
    "[2002:7f00:1::]", "[64:ff9b::a00:1]", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]", "[fec0::1]", "[ff02::1]",
    "[2001:db8::1]", "256.256.256.256", "1.2.3.4.5", "0x", "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127\u30020\u30020\u30021",
    "localhost", "LOCALHOST", "localhost.",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "134744072", "0x08080808", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "[64:ff9b::808:808]", "cafe.de", "fade",
    "dead.beef", "0xcafe.de", "a.1", "1.example.org", "data.example.org", "b\u00fccher.example",
]  # fmt: skip


class TestAddresses:
    @pytest.mark.parametrize("host", PRIVATE)
    def test_private_ones_are_refused_in_every_form(self, restricted, lookups, host):
        restricted()
        for url in (f"http://{host}/a.tif", f"https://user:word@{host}:8443/a.tif"):
            with pytest.raises(AccessDeniedError, match="a private, loopback or link-local address"):
                access.check_url(url)
            with pytest.raises(AccessDeniedError):
                store_for(url)

    @pytest.mark.parametrize("host", PUBLIC)
    def test_public_ones_and_names_are_not(self, restricted, lookups, host):
        restricted()
        access.check_url(f"http://{host}/a.tif")

    @pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["::ffff:169.254.169.254"]])
    def test_a_name_that_leads_inside_is_refused(self, restricted, lookups, addresses):
        lookups["inside.example.org"] = addresses
        restricted()
        with pytest.raises(AccessDeniedError, match=r"https://inside.example.org/a.json: a private"):
            access.check_url("https://inside.example.org/a.json?token=secret", resolve=True)
        with pytest.raises(AccessDeniedError):
            access.check_resolved(access.policy(), "inside.example.org", 443, addresses)

    def test_only_listed_urls_are_allowed_where_public_ones_are_not(self, restricted, lookups):
        restricted(public=False, urls=("https://data.example.org/cogs/",))
        access.check_url("https://data.example.org/cogs/a.tif")
        for url in ("https://data.example.org/a.tif", "https://elsewhere.example.org/cogs/a.tif"):
            with pytest.raises(AccessDeniedError, match=r"none of the addresses .*https://data.example.org/cogs/"):
                access.check_url(url)
        with pytest.raises(AccessDeniedError):
            access.check_address(access.policy(), "8.8.8.8", 443)


class TestPrefixes:
    @pytest.mark.parametrize(
        "url",
        ["http://10.0.0.5/cogs/a.tif", "http://10.0.0.5/cogs", "HTTP://10.0.0.5:80/cogs/x/../a.tif", "http://10.0.0.5/c%6fgs/a.tif?x=1",
         "s3://bucket/data/a.tif", "http://intranet.:8000/a.tif", "http://INTRANET:8000/a.tif"],
    )  # fmt: skip
    def test_what_they_name_is_allowed(self, restricted, lookups, url):
        restricted(urls=("http://10.0.0.5/cogs/", "s3://bucket/data", "http://intranet:8000"))
        access.check_url(url)

    @pytest.mark.parametrize(
        "url",
        ["http://10.0.0.5/secret.tif", "http://10.0.0.5/cogs-not/a.tif", "http://10.0.0.5/cogs/../secret.tif",
         "http://10.0.0.5/cogs/%2e%2e/secret.tif", "http://10.0.0.5/cogs/%252e%252e/secret.tif", "http://10.0.0.5:81/cogs/a.tif",
         "https://10.0.0.5/cogs/a.tif", "http://10.0.0.6/cogs/a.tif", "http://10.0.0.5@10.0.0.6/cogs/a.tif", "s3://bucket/a.tif",
         "s3://bucket2/data/a.tif", "gs://bucket/data/a.tif", "ftp://10.0.0.5/cogs/a.tif", "http://intranet/secret.tif"],
    )  # fmt: skip
    def test_what_only_looks_alike_is_refused(self, restricted, lookups, url):
        lookups["intranet"] = ["10.0.0.7"]
        restricted(urls=("http://10.0.0.5/cogs/", "s3://bucket/data", "http://intranet/cogs"))
        with pytest.raises(AccessDeniedError):
            access.check_url(url)

    @pytest.mark.parametrize(
        "url", ["http://", "http:///a.tif", "http://a\\@127.0.0.1/", "http://[::1/", "http://a:b/", "nothing"]
    )
    def test_what_is_no_url_is_an_error_of_ours(self, restricted, url):
        restricted()
        with pytest.raises(InvalidArgumentError):
            access.check_url(url)
        with pytest.raises(InvalidArgumentError):
            AccessPolicy(urls=(url,))

    def test_a_proxy_of_the_environment_may_be_asked(self, restricted, lookups, monkeypatch):
        lookups["proxy.inside"] = ["10.0.0.9"]
        monkeypatch.setenv("http_proxy", "proxy.inside:3128")
        monkeypatch.setenv("https_proxy", "http://10.0.0.8:3128")
        restricted()
        access.check_address(access.policy(), "10.0.0.9", 3128)
        access.check_address(access.policy(), "10.0.0.8", 3128)
        access.check_resolved(access.policy(), "proxy.inside", 3128, ["10.0.0.9"])
        for address, port in (("10.0.0.9", 80), ("10.0.0.8", 80)):
            with pytest.raises(AccessDeniedError):
                access.check_address(access.policy(), address, port)


class TestConnections:
    @pytest.fixture
    def served(self, tmp_path):
        for name in ("open", "closed"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.tif").write_bytes(b"0123456789")
        with RangeServer(tmp_path) as server:
            yield server

    def test_a_listed_prefix_is_read(self, served, restricted, make_store):
        restricted(urls=(served.url("open/"),))
        assert read(served.url("open/a.tif"), make_store()) == b"0123456789"

    def test_an_address_is_refused_when_connecting(self, served, restricted, make_store):
        restricted()
        with pytest.raises(AccessDeniedError, match=r"127.0.0.1:\d+: a private"):
            read(served.url("open/a.tif"), make_store())
        assert served.requests == []

    def test_a_name_that_leads_inside_is_refused_when_connecting(self, served, restricted, lookups, make_store):
        lookups["rebound.example.org"] = ["127.0.0.1"]
        restricted()
        url = served.url("open/a.tif").replace("127.0.0.1", "rebound.example.org")
        store_for(url)
        with pytest.raises(AccessDeniedError, match=r"rebound.example.org:\d+: a private"):
            read(url, make_store())
        assert served.requests == []

    def test_another_name_of_a_listed_host_is_not_a_listed_one(self, served, restricted, lookups, make_store):
        lookups["alias.example.org"] = ["127.0.0.1"]
        restricted(urls=(served.url("open/"),))
        with pytest.raises(AccessDeniedError):
            read(served.url("closed/a.tif").replace("127.0.0.1", "alias.example.org"), make_store())
        assert served.requests == []

    @pytest.mark.parametrize(
        "where", ["{base}/closed/a.tif", "/closed/a.tif", "../closed/a.tif", "http://2130706433:{port}/closed/a.tif",
                  "http://localhost:{port}/closed/a.tif", "http://169.254.169.254/latest/meta-data/"]
    )  # fmt: skip
    def test_redirects_to_what_is_not_allowed_are_not_followed(self, served, restricted, make_store, where):
        port = served.base_url.rpartition(":")[2]
        served.add_faults("open/a.tif", Fault("redirect", value=where.format(base=served.base_url, port=port)))
        restricted(urls=(served.url("open/"),))
        with pytest.raises(AccessDeniedError):
            read(served.url("open/a.tif"), make_store())
        assert [request.path for request in served.requests] == ["open/a.tif"]

    def test_redirects_to_what_is_allowed_are(self, served, restricted, make_store):
        served.add_faults("open/b.tif", Fault("redirect", value=served.url("open/a.tif")))
        restricted(urls=(served.url("open/"),))
        assert read(served.url("open/b.tif"), make_store()) == b"0123456789"


class TestDocuments:
    """STAC documents and APIs are read by other libraries, with checks of their own."""

    @pytest.fixture
    def served(self, tmp_path):
        for name in ("open", "closed"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.json").write_text("{}")
        with RangeServer(tmp_path) as server:
            yield server

    def test_redirects_to_what_is_not_allowed_are_not_followed(self, served, restricted):
        from rasteret_sql.index.sources.documents import _get

        restricted(urls=(served.url("open/"),))
        assert _get(served.url("open/a.json")) == b"{}"
        served.add_faults("open/a.json", Fault("redirect", value=served.url("closed/a.json")))
        with pytest.raises(AccessDeniedError):
            _get(served.url("open/a.json"))
        assert {request.path for request in served.requests} == {"open/a.json"}

    def test_searches_do_not_follow_them_either(self, served, restricted):
        from rasteret_sql.index.stac.client import ApiClient

        restricted(urls=(served.url("open/"),))
        served.add_faults("open/a.json", Fault("redirect", value=served.url("closed/a.json")))
        with pytest.raises(FetchError):
            ApiClient(served.url("open/a.json"))
        assert {request.path for request in served.requests} == {"open/a.json"}

    @pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "inside.example.org"])
    def test_they_are_refused_before_anything_is_sent(self, served, restricted, lookups, host):
        from rasteret_sql.index.sources.documents import _get
        from rasteret_sql.index.stac.client import ApiClient

        lookups["inside.example.org"] = ["127.0.0.1"]
        restricted()
        url = served.url("open/a.json").replace("127.0.0.1", host)
        for ask in (_get, ApiClient):
            with pytest.raises(FetchError, match="a private, loopback or link-local address"):
                ask(url)
        assert served.requests == []


def test_the_policy_holds_paths_without_links(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert AccessPolicy(folders=(str(tmp_path / "link"),)).folders == (str(Path(tmp_path).resolve()),)
