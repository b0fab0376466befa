"""The documents say what is so: every fence runs, links resolve, and what is generated is current."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from rasteret_sql.testing import write_collection
from tests.support import stac_api

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SHARED_DATA = ROOT.parent / "shared" / "data"
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]

RUN = frozenset({"python", "sql", "bash"})
SHOWN = frozenset({"text", "py", "pycon", "json"})
#: Commands of a checkout, which other tests and CI run.
EXEMPT = (
    "make ",
    "pip install ",
    "source ",
    "python -m benchmarks",
    "python docs/generate.py",
    "duckdb ",
    ".venv/bin/python ",
)
#: What the comment `<!-- needs: ... -->` over a fence may say, and whether it is there.
NEEDS = {
    "real files": SHARED_DATA.is_dir(),
    "matplotlib": importlib.util.find_spec("matplotlib") is not None,
    "rustac": stac_api.is_installed(),
    "the engine": any(entry.name == "rasteret_sql" for entry in entry_points(group="xarray.backends")),
    "distributed": importlib.util.find_spec("distributed") is not None,
    "zarr": importlib.util.find_spec("zarr") is not None,
    "pandas": importlib.util.find_spec("pandas") is not None,
    "geopandas": importlib.util.find_spec("geopandas") is not None,
    "polars": importlib.util.find_spec("polars") is not None,
    "ibis": importlib.util.find_spec("ibis") is not None,
    "torchgeo": importlib.util.find_spec("torchgeo") is not None,
    "rasteret": importlib.util.find_spec("rasteret") is not None,  # takes Python 3.12 or newer
}
REAL_ITEM = "PAIRED_earthsearch-v1_S2A_29RKH_20200219_0_L2A.json"
REAL_SCENES = "scenes/cogeotiff+rio-tiler-pds/tests/fixtures"

_FENCE = re.compile(
    r"^(?:<!-- needs: (?P<needs>.+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_DEMO_INDEX = re.compile(r"(?<![/\w])s2\.parquet")
_BUILDS_IT = re.compile(r"build .*-o s2\.parquet|build_index\(.*\"s2\.parquet\"")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A block of code in a page."""

    page: Path
    line: int
    language: str
    code: str
    needs: str | None


def name_of(page: Path) -> str:
    """The page as it is called in reports: `how-to/build.md`."""
    return page.relative_to(DOCS).as_posix() if page.is_relative_to(DOCS) else page.name


def fences(page: Path) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    return [
        Fence(
            page,
            text.count("\n", 0, match.start("code")),
            match["language"],
            match["code"],
            match["needs"],
        )
        for match in _FENCE.finditer(text)
    ]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `rasteret-sql demo` leaves it behind, but smaller, and with the index that pages call s2.parquet."""
    folder = tmp_path_factory.mktemp("written")
    collection = write_collection(folder / "demo" / "collection", items=4, tile=256)
    rs.build_index(collection.document, folder / "s2.parquet")
    (folder / "demo" / "s2.parquet").write_bytes((folder / "s2.parquet").read_bytes())
    rs.build_stats(folder / "s2.parquet", folder / "s2.stats.parquet", histogram=["scl"])
    return folder


@pytest.fixture(scope="module")
def earthsearch(written: Path) -> Iterator[None]:
    """Let the catalog's `earthsearch/sentinel-2-l2a` mean a STAC API on this machine, with the items of the demo."""
    if not stac_api.is_installed():
        yield
        return
    items = [stac_api.with_absolute_hrefs(path) for path in sorted((written / "demo").rglob("items/*.json"))]
    items = [{**item, "collection": "sentinel-2-l2a"} for item in items]
    # The real API names files on public servers; this one names those of the demo.
    allowed = rs.set_options(allow=[written])
    with allowed, stac_api.serving(items, written / "api.json") as url, stac_api.endpoint_of("earthsearch/", url):
        yield


@pytest.fixture
def workplace(written: Path, tmp_path: Path, earthsearch: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a page is read in: the collection and its index, and the real files where they are there."""
    folder = tmp_path / "main"
    folder.mkdir()
    (folder / "demo").symlink_to(written / "demo")
    for name in ("s2.parquet", "s2.stats.parquet"):
        (folder / name).write_bytes((written / name).read_bytes())
    if SHARED_DATA.is_dir():
        (tmp_path / "shared").symlink_to(SHARED_DATA.parent)
        (folder / "item.json").symlink_to(SHARED_DATA / "stac" / REAL_ITEM)
        (folder / "mirror").symlink_to(SHARED_DATA / REAL_SCENES)
    monkeypatch.chdir(folder)
    return folder


class Reader:
    """Runs the fences of a page one after the other, as a reader would who pastes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.con = rs.connect()

    def run(self, fence: Fence) -> None:
        getattr(self, f"_run_{fence.language}")(fence)

    def _run_python(self, fence: Fence) -> None:
        # Empty lines before the code give tracebacks the line numbers of the page.
        code = "\n" * fence.line + fence.code
        exec(compile(code, name_of(fence.page), "exec"), self.names)

    def _run_sql(self, fence: Fence) -> None:
        for statement in self.con.extract_statements(fence.code):
            self.con.execute(statement).fetchall()

    def _run_bash(self, fence: Fence) -> None:
        for line in fence.code.replace("\\\n", " ").splitlines():
            if not line.strip() or line.startswith(("#", *EXEMPT)):
                continue
            program, *arguments = shlex.split(line, comments=True)
            if program == "export":
                for name, _, value in (argument.partition("=") for argument in arguments):
                    self.monkeypatch.setenv(name, value)
                continue
            assert program == "rasteret-sql", f"neither run nor exempt: {line}"
            assert main(arguments) == 0, line


@pytest.fixture
def reader(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    page_reader = Reader(monkeypatch)
    yield page_reader
    page_reader.con.close()
    for value in page_reader.names.values():
        if isinstance(value, duckdb.DuckDBPyConnection):
            value.close()


# Of odc-stac, which warps chunks of arrays that are no files.
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
# rasterio, odc-stac, rasteret and torchgeo call what others are about to drop.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:get_all_items:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword")
# ibis
@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Use (torchgeo|geopandas):DeprecationWarning")
def test_every_fence_runs(page: Path, reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    skipped: list[str] = []
    for fence in fences(page):
        assert fence.language in RUN | SHOWN, f"{name_of(page)}:{fence.line}: a fence without a known language"
        if fence.language in SHOWN:
            continue
        if fence.needs is not None and not NEEDS[fence.needs]:
            skipped.append(f"line {fence.line} needs {fence.needs}")
            continue
        try:
            reader.run(fence)
        except Exception as error:
            error.add_note(f"{name_of(page)}:{fence.line}\n{capsys.readouterr().err}")
            raise
    if skipped:
        pytest.skip(f"{name_of(page)}: all else ran, but {'; '.join(skipped)}")


def test_the_readme_needs_only_what_make_demo_installs(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert makefile.count('--editable ".[dask,plot,shell]"\n') == 1
    for name in ("netCDF4", "zarr", "geopandas", "torch", "torchgeo", "rasterio", "ipywidgets", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    readme = ROOT / "README.md"
    ran = [fence for fence in fences(readme) if fence.language in RUN]
    assert [fence.needs for fence in ran] == [None] * len(ran)
    for fence in ran:
        reader.run(fence)


def test_the_main_path_works_on_real_files(workplace: Path) -> None:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder of real files at {SHARED_DATA}")
    scenes = f"../shared/data/{REAL_SCENES}/"
    report = rs.build_index(
        f"../shared/data/stac/{REAL_ITEM}",
        "s2.parquet",
        href_map={"https://sentinel-cogs.s3.us-west-2.amazonaws.com/": scenes + "sentinel-cogs/"},
    )
    assert report.rows
    assert rs.build_index(scenes + "**/S2A_29RKH*/*.tif", "files.parquet", pattern="{item_id}/{asset}.tif").rows
    area: dict[str, Any] = {"bands": ["red", "nir"], "bbox": (-11.5, 24.6, -11.4, 24.7)}
    with rs.connect() as con:
        assert len(con.sql("FROM 's2.parquet' WHERE asset = 'red'").fetchall()) == 1
        tiles = con.sql(
            "SELECT item_id, band, tile_row, tile_col, octet_length(pixels) FROM read_tiles('s2.parquet', "
            "bands := ['red', 'nir'], bbox := [-11.5, 24.6, -11.4, 24.7]) WHERE datetime >= '2020-02-01'"
        ).fetchall()
        assert tiles
        assert con.sql("FROM tile_plan('s2.parquet', bands := ['red'])").fetchall()
        assert con.sql("FROM explain_read('s2.parquet', bands := ['red'])").fetchall()
        assert rs.read_tiles(con.sql("FROM 's2.parquet' WHERE asset = 'red'")).read_next_batch().num_rows
    array = rs.to_numpy("s2.parquet", **area)
    assert array.shape[:2] == (1, 2)
    assert rs.to_xarray("s2.parquet", **area).red.dims == ("time", "y", "x")


def test_generated_pages_are_current() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_every_public_name_is_in_the_reference() -> None:
    reference = (DOCS / "python.md").read_text(encoding="utf-8")
    for name in rs.__all__:
        assert inspect.getdoc(getattr(rs, name)), name
        assert f"### {name}\n" in reference or name == "RasteretError", name
    assert "RasteretError\n├──" in reference


def test_every_public_sql_function_is_in_the_reference() -> None:
    reference = (DOCS / "sql.md").read_text(encoding="utf-8")
    with rs.connect() as con:
        rows = con.sql(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE database_name = 'rasteret_sql' "
            "AND NOT internal AND NOT starts_with(function_name, '_')"
        ).fetchall()
    assert rows
    sections = {section.partition("\n")[0]: section for section in reference.split("\n## ")[1:]}
    for (name,) in rows:
        assert name in sections
        assert "```sql\n" in sections[name], f"{name}: no example in docs/generators/sql_functions.py"


def test_every_column_of_a_reference_table_is_explained() -> None:
    reference = (DOCS / "sql.md").read_text(encoding="utf-8")
    unexplained = [line for line in reference.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert unexplained == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_resolve(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for match in _LINK.finditer(text):
        target, _, anchor = match["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{name_of(page)}: {match['target']}"
        if anchor:
            headings = _HEADING.findall(_FENCE.sub("", found.read_text(encoding="utf-8")))
            assert anchor in {_anchor(heading) for heading in headings}, f"{name_of(page)}: {match['target']}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_the_readme_leads_to_the_pages_beside_it() -> None:
    linked = {match["target"] for match in _LINK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert {page.name for page in ROOT.glob("*.md")} - {"README.md"} <= linked


def test_every_recipe_builds_the_index_that_it_reads() -> None:
    """The folder of these tests has the index already, so only the text of a page shows that a step is missing."""
    unbuilt = []
    for page in (DOCS / "how-to").glob("*.md"):
        # The index of clouds.md is that of a bucket of the reader's.
        uses = [fence for fence in fences(page) if fence.language in RUN and _DEMO_INDEX.search(fence.code)]
        if uses and page.name != "clouds.md" and not _BUILDS_IT.search(uses[0].code):
            unbuilt.append(f"{name_of(page)}:{uses[0].line}")
    assert not unbuilt


def test_every_page_is_on_the_map() -> None:
    linked = set()
    for page in (DOCS / "index.md", DOCS / "how-to" / "index.md"):
        for match in _LINK.finditer(page.read_text(encoding="utf-8")):
            linked.add((page.parent / match["target"].partition("#")[0]).resolve())
    assert {page.resolve() for page in DOCS.rglob("*.md")} - {DOCS / "index.md"} <= linked


def test_outputs_in_pages_are_those_of_their_queries() -> None:
    pytest.importorskip("matplotlib")
    command = [sys.executable, str(DOCS / "outputs.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_every_test_that_a_page_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (DOCS / "correctness.md").read_text())
    assert len(named) > 20
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / "tests" / file).read_text()]
    assert not missing
