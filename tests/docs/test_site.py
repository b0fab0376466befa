"""The documents as a site: built without a warning, complete, and showing without anything from elsewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Pages of the site by their paths: those of docs/, and the notebooks of examples/.
PAGES = [
    *(page.relative_to(DOCS) for page in DOCS.rglob("*.md")),
    *(Path("notebooks", page.name).with_suffix(".md") for page in (ROOT / "examples").glob("*.ipynb")),
]
MISSING = [name for name in ("mkdocs", "material") if importlib.util.find_spec(name) is None]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed: pip install --group docs")


@dataclass
class Page(HTMLParser):
    """What a page of the site points at, loads and can be pointed at."""

    path: Path
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._inside: list[str] = []
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") in {"stylesheet", "icon", "preload"}:
            self.loaded.append(given["href"])
        if tag in {"code", "pre", "script", "style"}:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.texts.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def _pages_of(entries: Any) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    inside = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in inside for page in _pages_of(entry)]


def test_every_page_is_in_the_navigation_once() -> None:
    from mkdocs.config import load_config

    listed = _pages_of(load_config(str(ROOT / "mkdocs.yml")).nav)
    assert sorted(listed) == sorted(page.as_posix() for page in PAGES)


def test_every_page_is_built(site: Path) -> None:
    for page in PAGES:
        assert (site / page).with_suffix(".html").is_file(), page
    assert list(site.rglob("*.py")) == []


def test_every_link_within_the_site_resolves(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are those of a site at the root of a server
        for link in page.links:
            split = urlsplit(link)
            if split.scheme or split.netloc:
                continue
            target = (path.parent / unquote(split.path)).resolve() if split.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if split.fragment and target in pages:
                assert unquote(split.fragment) in pages[target].ids, f"{path.name}: {link}"


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert page.loaded
        elsewhere = [href for href in page.loaded if urlsplit(href).scheme not in {"", "data"} or href.startswith("//")]
        assert elsewhere == [], path.name
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert "url(http" not in styles
    assert "@import" not in styles


def test_what_is_written_for_tests_is_not_shown(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        text = "".join(page.texts)
        assert "```" not in text, path.name
        assert "needs:" not in text, path.name


def test_the_search_knows_every_page(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    for page in PAGES:
        assert f'"{page.with_suffix(".html").as_posix()}' in index


def test_notebooks_are_shown_with_their_outputs(site: Path) -> None:
    for path in (ROOT / "examples").glob("*.ipynb"):
        shown = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        outputs = [
            output["data"]
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            for output in cell.get("outputs", [])
        ]
        assert shown.count('class="notebook-output"') == len(outputs)
        for data in outputs:
            picture = "".join(data.get("image/jpeg", ""))
            assert picture in shown
            if not picture and "text/html" in data:
                assert "".join(data["text/html"]).replace(":root", ":host") in shown
