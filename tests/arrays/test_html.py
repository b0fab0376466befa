"""What objects say of themselves: one line in terminals, HTML in notebooks."""

from __future__ import annotations

import base64
import dataclasses
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import imagecodecs
import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.arrays.html import PICTURES, SIDE
from rasteret_sql.index.report import Failure
from rasteret_sql.index.validate import FileState, ValidationReport
from rasteret_sql.markup import SHOWN_ROWS, Html, facts, link, table
from rasteret_sql.testing import write_collection

NASTY = '<script>alert("1")</script>&amp;\'\udcff\u202e</td></table>'
SVG_AND_OTHER_LOADERS = ("<script", "<link", "<iframe", "<object", "<svg", "url(", "onload", "onerror", "javascript:")
VOID = frozenset({"img", "br"})


class Page(HTMLParser):
    """Reads HTML: every element must be closed by its own end."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def images(self) -> list[np.ndarray]:
        sources = [attrs["src"] or "" for tag, attrs in self.seen if tag == "img"]
        return [imagecodecs.png_decode(base64.b64decode(source.partition(",")[2])) for source in sources]


def page_of(value: Any) -> Page:
    """The HTML of an object, which must be safe and stand alone."""
    html = value._repr_html_()
    html.encode()
    for loader in SVG_AND_OTHER_LOADERS:
        assert loader not in html.lower()
    page = Page(html)
    for tag, attrs in page.seen:
        assert not any(name.startswith("on") for name in attrs)
        assert (attrs.get("src") or "data:image/png;").startswith("data:image/png;")
        assert (attrs.get("href") or "https://").startswith(("https://", "http://"))
        # Colours are those of the page, light or dark.
        assert not re.search(
            r"(^|;)\s*color:(?!inherit)|#[0-9a-f]{3,6}|background:(?!none)", attrs.get("style") or ""
        ), tag
    return page


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("html")
    rs.build_index(write_collection(folder / "collection", items=2, size=256, tile=128).document, folder / "s2.parquet")
    return folder


@pytest.fixture(scope="module")
def index(workplace: Path) -> str:
    return str(workplace / "s2.parquet")


def test_a_build_report_shows_counts_and_hides_failures_behind_a_click(workplace: Path) -> None:
    report = rs.build_index(workplace / "collection" / "catalog.json", workplace / "again.parquet")
    page = page_of(report)
    assert "10 rows of 2 items" in page.text
    assert "blue (2)" in page.text
    assert "failure" not in page.text
    assert repr(report) == f"<BuildReport {workplace / 'again.parquet'}: 10 rows of 2 items>"
    failures = tuple(Failure(f"https://x/{n}.tif", f"item {n}", "red", "TransportError", "reset") for n in range(50))
    failed = dataclasses.replace(report, failures=failures, noted=1)
    assert repr(failed).endswith("10 rows of 2 items, 50 failures>")
    page = page_of(failed)
    assert "details" in [tag for tag, _ in page.seen]
    assert "50 failures" in page.text
    assert f"and {50 - SHOWN_ROWS} more rows" in page.text
    assert "1 file of which something was left out" in page.text


def test_names_from_outside_are_shown_and_never_run(workplace: Path) -> None:
    report = rs.build_index(workplace / "collection" / "catalog.json", workplace / "nasty.parquet")
    failure = Failure(f"s3://b/{NASTY}", NASTY, NASTY, "TransportError", NASTY)
    nasty = dataclasses.replace(
        report, path=Path(NASTY.replace("/", "")), assets={NASTY: 1}, left_out={NASTY: 2}, failures=(failure,)
    )
    state = FileState("gone", f"https://x/{NASTY}", NASTY, NASTY, NASTY)
    counts = {"unchanged": 0, "changed": 0, "gone": 1, "no access": 0, "unknown": 0}
    data = np.ones((1, 1, 2, 2), np.uint8)
    objects = [
        nasty,
        rs.RefreshReport(nasty, 1, 2, 3, 1, (NASTY,)),
        ValidationReport(Path("i.parquet"), 1, 1, counts, (state,)),
        dataclasses.replace(rs.datasets()[0], id=NASTY, title=NASTY, licence_url='https://x/"><script>', notes=NASTY),
        dataclasses.replace(rs.datasets()[0], licence_url="javascript:alert(1)".upper(), assets=()),
        dataclasses.replace(rs.stac_search("https://x/v1"), collections=(NASTY,), filter={"op": NASTY}),
        rs.RasterArray(
            data, data > 0, (NASTY,), (NASTY,), np.array(["NaT"], "M8[us]"), (NASTY,), None, NASTY, (None,), None
        ),
        rs.ChipArray(data, data > 0, (NASTY,), (float("nan"),)),
    ]
    for value in objects:
        html = value._repr_html_()
        assert "<script" not in html
        Page(html)
        html.encode()
        assert repr(value)
    shown = page_of(objects[0]).text
    assert '<script>alert("1")</script>&amp;' in shown


def test_only_http_links_are_links() -> None:
    assert link("s3://bucket/key") == "s3://bucket/key"
    assert link("JavaScript:alert(1)", "terms") == "terms"
    assert 'href="https://x/?a=1&amp;b=2"' in link("https://x/?a=1&b=2")


def test_numbers_stand_to_the_right_and_have_separators_and_all_else_stands_to_the_left() -> None:
    page = Page(table(("name", "number", "mixed"), [("a", 1234567, 1), ("b", None, "x"), ("c", np.float32(0.25), 2)]))
    cells = [attrs["style"] or "" for tag, attrs in page.seen if tag in {"td", "th"}]
    aligned = [re.search(r"text-align:(\w+)", style)[1] for style in cells]  # type: ignore[index]
    assert aligned == ["left", "right", "left"] * 4
    assert "1,234,567" in page.text
    assert "0.25" in page.text
    assert "77.1234567" in Page(facts({"x": (77.1234567, 1e-5)})).text


def test_a_total_is_shown_however_many_rows_there_are() -> None:
    page = Page(table(("name", "n"), [*((f"row {n}", n) for n in range(100)), ("total", 4950)], total=True))
    assert "row 19" in page.text
    assert "row 20" not in page.text
    assert "and 80 more rows" in page.text
    assert "4,950" in page.text


def test_facts_leave_out_what_is_not_known_but_not_zeros() -> None:
    page = Page(facts({"none": None, "empty": "", "nothing": (), "zero": 0, "no": False, "mark": Html("<b>x</b>")}))
    assert page.texts == ["zero", "0", "no", "no", "mark", "x"]


def test_a_validation_report_names_the_kinds_that_occur_and_the_files(workplace: Path) -> None:
    shutil.copytree(workplace / "collection", workplace / "drifting")
    rs.build_index(workplace / "drifting" / "catalog.json", workplace / "drifting.parquet")
    gone, changed, *_ = sorted((workplace / "drifting").rglob("*.tif"))
    gone.unlink()
    changed.write_bytes(b"other")
    report = rs.validate(workplace / "drifting.parquet")
    assert repr(report).endswith("10 files: 8 unchanged, 1 changed, 1 gone>")
    page = page_of(report)
    assert gone.name in page.text
    assert "no access" not in page.text


def test_a_refresh_report_shows_what_became_of_files_and_the_build(workplace: Path) -> None:
    report = rs.refresh(workplace / "s2.parquet")
    assert repr(report) == f"<RefreshReport {workplace / 's2.parquet'}: 0 new, 0 changed, 10 kept, 0 gone>"
    page = page_of(report)
    assert "kept" in page.text
    assert "BuildReport" in page.text


def test_the_cost_of_a_read_is_a_table_with_a_total_for_people_and_for_programs(index: str) -> None:
    cost = rs.explain(index, bands=["red", "nir"])
    assert cost.total["files"] == 4
    assert cost.total["tiles"] == cost.to_pylist()[-1]["tiles"]
    first, header, *rows = repr(cost).splitlines()
    assert first.startswith("<ReadCost 16 tiles of 2 items: 4 range requests, ")
    assert header.split() == [
        "collection",
        "band",
        "items",
        "files",
        "tiles",
        "requests",
        "request",
        "bytes",
        "pixel",
        "bytes",
    ]
    assert [row.split()[1] for row in rows] == ["nir", "red", "total"]
    assert "total" in page_of(cost).text
    assert pa.table(cost).equals(cost.table)
    assert duckdb.sql("SELECT count(*) FROM cost").fetchall() == [(3,)]
    with pytest.raises(AttributeError, match="no_such_thing"):
        cost.no_such_thing  # noqa: B018


def test_the_cost_of_nothing_is_none(index: str) -> None:
    assert "0 tiles of 0 items" in repr(rs.explain(f"FROM '{index}' WHERE asset = 'none'"))


def test_the_catalog_is_a_tuple_that_lists_its_datasets() -> None:
    catalog = rs.datasets()
    assert isinstance(catalog, tuple)
    assert [line.split()[0] for line in repr(catalog).splitlines()[1:]] == [entry.id for entry in catalog]
    page = page_of(catalog)
    for entry in catalog:
        assert entry.title in page.texts
        assert repr(entry) == f"<Dataset {entry.id}: {entry.title}>"
        described = page_of(entry)
        assert entry.needs in described.text
        bands = [band for asset in entry.assets for band in asset.bands]
        assert set(bands[:SHOWN_ROWS]) <= set(described.texts)


def test_a_search_shows_its_conditions_and_asks_nothing() -> None:
    search = rs.stac_search("earthsearch/sentinel-2-l2a", bbox=[1, 2, 3, 4], filter={"op": "=", "args": [1, 2]})
    page = page_of(search)
    assert "1, 2, 3, 4" in page.text
    assert '{"op": "=", "args": [1, 2]}' in page.text
    assert "Not run yet" in page.text


def test_arrays_show_pictures_of_what_is_in_memory_and_read_nothing(workplace: Path) -> None:
    shutil.copytree(workplace / "collection", workplace / "passing")
    rs.build_index(workplace / "passing" / "catalog.json", workplace / "passing.parquet")
    rows = f"FROM '{workplace / 'passing.parquet'}' WHERE crs = 'EPSG:32643'"
    array = rs.to_numpy(rows, bands=["nir", "red", "green", "blue"])
    chips = rs.read_chips(rows, [(array.item_ids[0], 8 * n, 0) for n in range(-2, 9)], size=32, bands=["nir"])
    shutil.rmtree(workplace / "passing")
    (workplace / "passing.parquet").unlink()
    page = page_of(array)
    (picture,) = page.images()
    assert picture.shape[2] == 4
    assert SIDE // 2 <= max(picture.shape[:2]) <= SIDE
    assert picture[..., 3].all()
    assert picture[..., :3].std() > 20
    assert "red, green, blue of 1 item" in page.text
    assert "EPSG:32643" in page.text
    page = page_of(chips)
    assert len(page.images()) == PICTURES
    # Two values per pixel: a grey and whether it is valid. The first chip begins 16 rows above the image.
    assert page.images()[0].shape == (32, 32, 2)
    assert page.images()[0][:16, :, 1].max() == 0
    assert page.images()[0][16:, :, 1].min() == 255
    assert f"nir of the first {PICTURES} of 11 chips" in page.text
    assert repr(chips) == "<ChipArray (chip: 11, band: 1, y: 32, x: 32) uint16 bands=['nir']>"
    assert np.asarray(chips).shape == chips.shape


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("fill", ["nothing valid", "one value", "not finite", "as far apart as can be"])
def test_arrays_of_every_dtype_show_themselves_also_where_there_is_nothing_to_see(dtype: str, fill: str) -> None:
    data = np.ones((2, 1, 3, 500), dtype)
    if fill == "not finite" and data.dtype.kind in "fc":
        data[0] = np.nan
        data[1] = np.inf
    if fill == "as far apart as can be" and data.dtype.kind in "iuf":
        limits = np.finfo(dtype) if data.dtype.kind == "f" else np.iinfo(dtype)
        data[0, 0, :, :250], data[0, 0, :, 250:] = limits.min, limits.max
    mask = np.full(data.shape, fill != "nothing valid")
    array = rs.RasterArray(
        data, mask, ("a", "b"), (None, "c"), np.array(["2024-01-01T00:00:00.5", "NaT"], "M8[us]"), ("x",),
        (10.0, 0.0, 500_000.0, 0.0, -10.0, 1_400_000.0), "LOCAL_CS[" + "x" * 5000 + "]", (float("nan"),), None,
    )  # fmt: skip
    page = page_of(array)
    assert "10 x 10 in units of the CRS" in page.text
    assert len(page.images()) == (0 if data.dtype.kind == "c" else 2)
    assert len(repr(array)) < 200


def test_the_html_of_many_items_stays_small() -> None:
    data = np.zeros((5000, 3, 4, 4), np.uint16)
    times = np.arange(5000).astype("M8[D]").astype("M8[us]")
    ids = tuple(f"item {n}" for n in range(5000))
    array = rs.RasterArray(data, data == 0, ids, ids, times, ("red", "green", "blue"), None, None, (0, 0, 0), 0)
    assert len(array._repr_html_()) < 40_000


def test_a_collection_that_was_written_says_what_there_is(tmp_path: Path) -> None:
    written = write_collection(tmp_path, items=1, size=256)
    assert repr(written) == f"<CollectionInfo {tmp_path / 'catalog.json'}: 1 item, 5 GeoTIFFs>"
