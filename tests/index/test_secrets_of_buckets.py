"""Keys of buckets and servers: nothing that a user keeps, shows or sends has them. All is searched byte by byte."""

from __future__ import annotations

import base64
import importlib.util
import logging
import os
import pickle
import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from rasteret_sql.io import stores
from rasteret_sql.testing import Fault, RangeServer, write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Its "+" and "/" are written otherwise in URLs.
CANARY = "c4n4ry+5ecret/of="
_HIDDEN_IN = ("plain", "URL", "URL twice", "base64", "repr")


def forms(canary: str) -> dict[str, list[bytes]]:
    quoted = urllib.parse.quote(canary, safe="")
    encoded = [base64.b64encode(b" " * n + canary.encode()).rstrip(b"=")[4:-4] for n in range(3)]
    return {
        "plain": [canary.encode()],
        "URL": [quoted.encode(), urllib.parse.quote(canary).encode()],
        "URL twice": [urllib.parse.quote(quoted, safe="").encode()],
        "base64": encoded,
        "repr": [repr(canary)[1:-1].encode()],
    }


def found_in(data: Any) -> list[str]:
    raw = data if isinstance(data, bytes) else str(data).encode()
    return [form for form, texts in forms(CANARY).items() if any(text in raw for text in texts)]


def said(action: Any) -> str:
    """Give all that an error tells, its causes and the frames' text too."""
    with pytest.raises(Exception) as caught:
        action()
    text, error = str(caught.getrepr(style="short")), caught.value
    while error is not None:
        text += f"{error} {error!r} {error.args}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text


@pytest.fixture(params=["s3", "s3 with a session", "http parameter", "http password", "http token"])
def served(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, RangeServer]]:
    """An address that is read with the canary, and the server that gives the file."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    pixels = np.full((64, 64), 5, np.uint8)
    write_cog(
        tmp_path / "files" / "b" / "a.tif",
        pixels,
        tile=64,
        overviews=(),
        transform=(1, 0, 0, 0, -1, 0),
        crs="EPSG:32643",
    )
    with RangeServer(tmp_path / "files") as server:
        host = server.base_url.removeprefix("http://")
        given: dict[str, Any] = {
            "s3": {"s3://b/": {"key_id": "k", "secret": CANARY, "endpoint": server.base_url}},
            "s3 with a session": {
                "s3://b/": {"key_id": "k", "secret": "s", "session_token": CANARY, "endpoint": server.base_url}
            },
            "http parameter": {f"http://{host}/b/": {"apikey": CANARY}},
            "http token": {f"http://{host}/b/": {"bearer_token": CANARY}},
            "http password": [f"http://me:{urllib.parse.quote(CANARY, safe='')}@{host}/"],
        }[request.param]
        with rs.set_options(credentials=given, attempts=1):
            yield "s3://b/a.tif" if "s3" in request.param else server.url("b/a.tif"), server


def _artifacts(
    href: str, server: RangeServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[tuple[str, Any]]:
    index = folder / "i.parquet"
    report = rs.build_index([href], index)
    yield "index", index.read_bytes()
    yield "report", f"{report!r} {report} {report._repr_html_()}"
    yield "options", f"{rs.get_options()!r} {rs.get_options()}"
    yield "explain", f"{rs.explain(index)!r} {rs.explain(index)}"
    yield "tiles", rs.read_tiles(index).read_all().to_pylist()
    lazy = rs.to_xarray(index, chunks={})
    yield "tasks", pickle.dumps(lazy)
    yield "lazy", repr(lazy) + lazy._repr_html_()
    yield "validation", str(rs.validate(index))
    yield "refresh", f"{rs.refresh(index)!r}"
    yield "shards", b"".join(shard.to_bytes() + pickle.dumps(shard) for shard in rs.shards(index, 1))
    with rs.set_options(header_cache=folder / "headers"):
        rs.to_numpy(href)
    assert list((folder / "headers").rglob("*.parquet"))
    with rs.connect() as con:
        yield "plan", con.sql(f"EXPLAIN ANALYZE SELECT pixels FROM read_tiles('{index}')").fetchall()
        yield "settings", con.sql("FROM duckdb_settings()").fetchall()
        yield "functions", con.sql("SELECT * FROM duckdb_functions() WHERE database_name = 'rasteret_sql'").fetchall()
    assert main(["info", str(index)]) == 0
    assert main(["explain", str(index)]) == 0
    yield "output", "".join(capsys.readouterr())
    if importlib.util.find_spec("torchgeo") is not None:
        rs.handoff(folder / "train.toml", index)
        dataset = rs.from_handoff(folder / "train.toml")
        yield "dataset", repr(dataset).encode() + pickle.dumps(dataset)
    for status in (401, 403, 404, 412, 500):
        server.add_faults("b/a.tif", *[Fault("status", status=status)] * 2)
        yield f"error {status}", said(lambda: rs.to_numpy(index))
        yield f"row of an error {status}", rs.read_tiles(index, on_error="null").read_all().to_pylist()
        server.reset()
    yield "stores", repr(stores._stores)


def test_nothing_that_a_user_keeps_or_sees_has_a_key(
    served: tuple[str, RangeServer],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    artifacts = dict(_artifacts(*served, tmp_path, capsys))
    artifacts["log"] = caplog.text
    artifacts |= {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert {name: where for name, data in artifacts.items() if (where := found_in(data))} == {}
    assert len(artifacts) > 20


@pytest.mark.parametrize("form", _HIDDEN_IN)
def test_the_search_finds_a_key_in_each_form(form: str) -> None:
    (first, *_) = forms(CANARY)[form]
    assert form in found_in(b"\x00" + first + b"\xff")


def test_a_worker_that_has_keys_of_its_environment_does_not_print_them(tmp_path: Path) -> None:
    """Wrong credentials end a process with a message, and a wrong key with the answer of the server."""
    write_cog(tmp_path / "b" / "a.tif", np.ones((64, 64), np.uint8), tile=64)
    with RangeServer(tmp_path, faults={"*": [Fault("status", status=403)] * 50}) as server:
        key = urllib.parse.quote(CANARY, safe="")
        for wrong in (f"s3://b/?secret={key}", f"s3://b/?key_id=k&secret={key}&endpoint={server.base_url}"):
            done = subprocess.run(
                [sys.executable, "-m", "rasteret_sql", "build", "s3://b/a.tif", "-o", str(tmp_path / "i.parquet")],
                env={**os.environ, "RASTERET_SQL_CREDENTIALS": wrong, "RASTERET_SQL_ATTEMPTS": "1"},
                check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=180,
            )  # fmt: skip
            assert done.returncode != 0
            assert b"credentials" in done.stderr
            assert found_in(done.stdout + done.stderr) == []
