"""The site in a browser: nothing sticks out, no SQL is cut, and buttons cover no code, wide and narrow, light and dark."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from tests.support import browser

ROOT = Path(__file__).parents[2]
WIDE, NARROW = 1280, 390

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.program() is None, reason="no Chromium"),
    pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="pip install --group docs"),
]

#: Elements that end right of the window, but for those inside of what scrolls by itself.
STICKING_OUT = """
[...document.querySelectorAll(".md-content *, .md-header *, .md-tabs, .md-footer *")].filter(element => {
    const box = element.getBoundingClientRect();
    const scrolls = element.closest("pre, code, .md-typeset__scrollwrap, .md-typeset__table, .md-search, .md-tabs__list");
    return box.width && box.right > innerWidth + 1 && !scrolls;
}).map(element => element.outerHTML.slice(0, 120))
"""
#: First letters of the lines of code that do not fit into their block.
CUT = """
[...document.querySelectorAll(".language-sql pre > code, .language-bash pre > code, .language-python pre > code")]
    .filter(code => code.scrollWidth > code.clientWidth + 1).map(code => code.textContent.slice(0, 160))
"""
#: Blocks of code whose text lies under a button.
COVERED = """
[...document.querySelectorAll(".highlight:has(.md-code__nav)")].filter(block => {
    const nav = block.querySelector(".md-code__nav").getBoundingClientRect();
    const code = block.querySelector("pre > code").getBoundingClientRect();
    return nav.width && nav.left < code.right - 1 && nav.bottom > code.top && nav.top < code.bottom;
}).map(block => block.textContent.slice(0, 80))
"""
UNLOADED = "[...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, check=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def tab():
    with browser.browsing() as opened:
        yield opened


PAGES = sorted(
    [
        *(path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")),
        *(Path("notebooks", path.name).with_suffix(".html") for path in (ROOT / "examples").glob("*.ipynb")),
    ]
)


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_fits_its_window(site, tab, page, width):
    tab.open(browser.url_of(site / page), width)
    assert tab.value_of("document.documentElement.scrollWidth") == width
    assert tab.value_of(STICKING_OUT) == []
    assert tab.value_of(COVERED) == []
    assert tab.value_of(UNLOADED) == []
    if width == WIDE:
        assert tab.value_of(CUT) == []
    # What is shown is no empty sheet.
    shown = imagecodecs.png_decode(tab.picture())
    assert shown.shape[1] == width
    assert len(np.unique(shown[::7, ::7].reshape(-1, shown.shape[2]), axis=0)) > 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_is_as_dark_as_the_reader_likes_it(site, tab, scheme):
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.open(browser.url_of(site / "index.html"), WIDE)
    # The theme remembers what it showed before.
    tab.value_of("localStorage.clear()")
    tab.open(browser.url_of(site / "index.html"), WIDE)
    brightness = imagecodecs.png_decode(tab.picture())[200:, :, :3].mean()
    assert (brightness < 110) == (scheme == "dark")
    tab.call("Emulation.setEmulatedMedia", features=[])


def test_the_first_page_has_what_a_visitor_looks_for(site, tab):
    tab.open(browser.url_of(site / "index.html"), WIDE)
    text = tab.value_of("document.querySelector('.md-content').innerText")
    for wanted in (
        "pip install rasteret-sql",
        "FROM read_pixels(",
        "EPSG:32643",
        "Tutorial",
        "How-to guides",
    ):
        assert wanted in text
    assert tab.value_of("document.querySelectorAll('.md-content img').length") == 1
    # The classes by which the other tests find code.
    for language in ("sql", "bash", "text"):
        assert tab.value_of(f"document.querySelectorAll('.language-{language} pre > code').length") == 1
    assert "rasteret-sql 0." in tab.value_of("document.querySelector('.md-footer').innerText")
