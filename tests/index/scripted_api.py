"""A STAC API that says what a test wants it to say, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

FILTER = "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter"
STAC_FILTER = "https://api.stacspec.org/v1.0.0/item-search#filter"
CORE = "https://api.stacspec.org/v1.0.0/core"
SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
SORT = "https://api.stacspec.org/v1.0.0/item-search#sort"


@dataclass
class ScriptedApi:
    """Serves `items` in pages of the size asked for.

    `answers` holds (status, headers, body) that are given first, in order, to searches; None is a right answer.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], str] | None] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    collections: tuple[str, ...] = ("c",)
    has_post: bool = True
    empty_pages: int = 0
    repeats_next: bool = False
    overlap: int = 0

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any]) -> None:
                split = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(split.query).items()}
                status, headers, text = api.answer(self.command, split.path, {**query, **body})
                data = text.encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/stac"

    @property
    def searches(self) -> list[dict[str, Any]]:
        return [one for one in self.asked if one["path"].endswith("/search")]

    def answer(self, method: str, path: str, parameters: dict[str, Any]) -> tuple[int, dict[str, str], str]:
        self.asked.append({"method": method, "path": path, **parameters})
        if path.endswith("/search"):
            scripted = self.answers.pop(0) if self.answers else None
            return scripted or (200, {}, json.dumps(self._page(method, parameters)))
        if path.endswith("/collections"):
            return 200, {}, json.dumps({"collections": [{"id": name} for name in self.collections], "links": []})
        if "/collections/" in path:
            found = path.rpartition("/")[2] in self.collections
            return (200, {}, '{"id": "c"}') if found else (404, {}, '{"code": "NotFound"}')
        return 200, {}, json.dumps(self._landing_page())

    def _landing_page(self) -> dict[str, Any]:
        methods = ["GET", "POST"] if self.has_post else ["GET"]
        geojson = "application/geo+json"
        search = [{"rel": "search", "href": f"{self.url}/search", "type": geojson, "method": one} for one in methods]
        data = {"rel": "data", "href": f"{self.url}/collections", "type": "application/json"}
        return {
            "type": "Catalog",
            "id": "scripted",
            "stac_version": "1.0.0",
            "description": "for tests",
            "conformsTo": [CORE, SEARCH, SORT, STAC_FILTER, FILTER],
            "links": [*search, data],
        }

    def _page(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        size = int(parameters.get("limit", 10))
        start = int(parameters.get("skip", 0))
        links: list[dict[str, Any]] = []
        if self.empty_pages:
            self.empty_pages -= 1
            features: list[dict[str, Any]] = []
            skip = start
            links.append({"rel": "unlike", "href": str(self.empty_pages)})
        else:
            features = self.items[max(0, start - self.overlap) : start + size]
            skip = start + size
        if skip < len(self.items) or self.repeats_next:
            body = {
                **parameters,
                "skip": 0 if self.repeats_next else skip,
                "page": 0 if self.repeats_next else len(self.asked),
            }
            if method == "POST":
                links.append({"rel": "next", "href": f"{self.url}/search", "method": "POST", "body": body})
            else:
                kept = "&".join(f"{name}={value}" for name, value in body.items())
                links.append({"rel": "next", "href": f"{self.url}/search?{kept}"})
        return {"type": "FeatureCollection", "features": features, "links": links}
