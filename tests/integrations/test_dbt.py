"""The dbt project in `examples/dbt`, built against servers on this machine, and the plugin itself."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest
import tifffile

import rasteret_sql as rs
from rasteret_sql.database.hrefs import absolute
from rasteret_sql.testing import CollectionInfo, ItemInfo, RangeServer, write_collection
from tests.support import stac_api, warm

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    version("dbt-duckdb")
except PackageNotFoundError:
    pytest.skip("dbt-duckdb is not installed: pip install 'rasteret-sql[dbt]'", allow_module_level=True)

EXAMPLE = Path(__file__).parents[2] / "examples" / "dbt"
#: In a process of its own: dbt's warnings are not ours.
DBT = "import sys; from dbt.cli.main import dbtRunner; sys.exit(not dbtRunner().invoke(sys.argv[1:]).success)"
#: What each run of dbt imports.
LIBRARIES = ("rasteret_sql.integrations.dbt", "pyarrow.dataset", "dbt.cli.main", "dbt.adapters.duckdb")
MAX_CLOUD_COVER = 50


@dataclass(frozen=True)
class Scenes:
    """A collection on a server."""

    info: CollectionInfo
    server: RangeServer

    def items(self) -> list[dict[str, Any]]:
        """The STAC items, with absolute hrefs on the server."""
        documents = []
        for item in self.info.items:
            assert item.path is not None
            document = json.loads(item.path.read_text())
            url = self.server.url(item.path.relative_to(self.info.folder).as_posix())
            for asset in document["assets"].values():
                asset["href"] = absolute(asset["href"], url)
            documents.append({**document, "links": []})
        return documents


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    info = write_collection(tmp_path_factory.mktemp("scenes"), items=5, tile=256, without_cloud_cover=[0])
    with RangeServer(info.folder) as server:
        yield Scenes(info, server)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copied(tmp_path)


def copied(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("target", "logs", "*.duckdb", "*.parquet", "*.refused", "*.rows")
    return Path(shutil.copytree(EXAMPLE, folder / "project", ignore=ignored))


def dbt(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "STAC_", "PYTHONWARN"))}
    done = warm.run(
        "-c", DBT, "--no-use-colors", *arguments, "--profiles-dir", ".",
        cwd=project, env={**kept, "DO_NOT_TRACK": "1", **environment}, libraries=LIBRARIES,
    )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def rows(project: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(project / "fields.duckdb"), read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        # The views of external models name their files as dbt does: from the folder of the project.
        con.execute(f"SET file_search_path = '{project}'")
        return con.execute(query).fetchall()


def metadata(path: Path) -> dict[str, str]:
    with duckdb.connect() as con:
        pairs = con.execute(f"SELECT key, value FROM parquet_kv_metadata('{path}')").fetchall()
    return {key.decode(): value.decode() for key, value in pairs}


def pixels_in(path: Path, bounds: tuple[float, float, float, float]) -> np.ndarray:
    """The pixels whose centres lie in bounds, as tifffile reads them."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        image = page.asarray().astype(np.float64)
        _, _, _, west, north, _ = page.tags["ModelTiepointTag"].value
        size = page.tags["ModelPixelScaleTag"].value[0]
    x = west + size * (np.arange(image.shape[1]) + 0.5)
    y = north - size * (np.arange(image.shape[0]) + 0.5)
    xmin, ymin, xmax, ymax = bounds
    return image[np.ix_((y > ymin) & (y <= ymax), (x >= xmin) & (x < xmax))]


def expected_ndvi(items: tuple[ItemInfo, ...]) -> dict[tuple[str, str], np.ndarray]:
    found = {}
    with (EXAMPLE / "seeds" / "fields.csv").open() as file:
        fields = list(csv.DictReader(file))
    for item in items:
        for field in fields:
            if field["crs"] != f"EPSG:{item.epsg}":
                continue
            bounds = tuple(float(field[name]) for name in ("xmin", "ymin", "xmax", "ymax"))
            red, nir = (pixels_in(item.assets[name], bounds) for name in ("red", "nir"))
            valid = (red > 0) & (nir > 0)
            if valid.any():
                found[field["field_id"], item.item_id] = ((nir - red)[valid]) / ((nir + red)[valid])
    return found


def wanted(items: tuple[ItemInfo, ...], without_cloud_cover: int = 0) -> tuple[ItemInfo, ...]:
    return tuple(
        item for number, item in enumerate(items) if number == without_cloud_cover or item.cloud_cover < MAX_CLOUD_COVER
    )


@dataclass(frozen=True)
class Built:
    """The example after two builds, and what each of them gave."""

    project: Path
    logs: tuple[str, ...]
    results: tuple[tuple[Any, ...], ...]


@pytest.fixture(scope="module")
def built(scenes: Scenes, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The example, built twice: against a STAC API where there is one, else against a static catalog."""
    folder = tmp_path_factory.mktemp("built")
    project = copied(folder)
    logs, results = [], []
    with contextlib.ExitStack() as stack:
        environment = {"STAC_CATALOG": scenes.server.url("catalog.json")}
        if stac_api.is_installed():
            serving = stac_api.serving(scenes.items(), folder / "items.json")
            # It names the files of another server on this machine.
            allow = scenes.server.url("")
            environment = {"STAC_API": stack.enter_context(serving), "RASTERET_SQL_ALLOW": allow}
        for _ in range(2):
            run = dbt(project, "build", **environment)
            assert run.returncode == 0, run.stdout
            logs.append(run.stdout)
            results.append(
                (
                    rows(project, "FROM field_ndvi"),
                    rows(project, "SELECT * EXCLUDE (indexed_at) FROM s2_index"),
                    rows(project, "SELECT table_name, column_name, data_type FROM duckdb_columns() ORDER BY ALL"),
                    metadata(project / "s2_index.parquet")["rasteret_sql.definition_sha256"],
                )
            )
    return Built(project, tuple(logs), tuple(results))


def test_the_example_builds_twice_with_identical_results(built: Built) -> None:
    assert all("WARN=0 ERROR=0 SKIP=0" in log for log in built.logs)
    assert "deprecat" not in "".join(built.logs).lower()
    first, second = built.results
    assert all(first)
    assert first == second


def test_ndvi_is_that_of_the_pixels_in_the_files(scenes: Scenes, built: Built) -> None:
    ndvi = built.results[0][0]
    expected = expected_ndvi(wanted(scenes.info.items))
    marts = {row[:2]: row for row in ndvi}
    assert len(marts) == len(ndvi)
    assert marts.keys() == expected.keys()
    assert {field for field, _ in marts} == {"A", "B"}
    for key, values in expected.items():
        *_, pixels, mean, least, greatest = marts[key]
        assert (pixels, least, greatest) == (values.size, values.min(), values.max())
        assert mean == pytest.approx(values.mean(), rel=1e-12)


def test_an_external_model_is_an_index_like_any_other(scenes: Scenes, built: Built, tmp_path: Path) -> None:
    path = built.project / "s2_index.parquet"
    items = [item.item_id for item in wanted(scenes.info.items)]
    report = rs.build_index(scenes.server.url("catalog.json"), tmp_path / "other.parquet", assets=["red", "nir"])
    assert report.rows == 2 * len(scenes.info.items)
    with rs.connect() as con:
        listed = con.execute("SELECT item_id, asset, geometry, bbox FROM read_parquet(?)", [str(path)]).fetchall()
        others = con.execute(
            "SELECT item_id, asset, geometry, bbox FROM read_parquet(?)", [str(report.path)]
        ).fetchall()
        assert listed == [row for row in others if row[0] in items]
        assert con.execute(f"SELECT count(*) FROM read_tiles('{path}', bands := ['red'])").fetchall() > [(0,)]
        (group_rows,) = {
            row[0] for row in con.execute(f"SELECT row_group_num_rows FROM parquet_metadata('{path}')").fetchall()
        }
        assert group_rows == len(listed)

    ours, theirs = metadata(path), metadata(report.path)
    assert ours.keys() == theirs.keys()
    assert json.loads(ours["geo"])["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert ours["rasteret_sql.schema_version"] == theirs["rasteret_sql.schema_version"]
    assert ours["rasteret_sql.failure_count"] == "0"
    definition = json.loads(ours["rasteret_sql.definition"])
    assert definition["source"] == "dbt model model.fields.s2_index"
    assert definition["reads"] == ["model.fields.stg_assets"]
    assert "FROM read_headers(assets" in definition["compiled_sql"]
    # Nothing of the package is in the database file.
    assert rows(built.project, "SELECT function_name FROM duckdb_functions() WHERE NOT internal") == []
    assert {path.name for path in built.project.iterdir() if path.name.startswith(".")} <= {".gitignore", ".user.yml"}


def test_a_file_that_fails_is_in_the_metadata_and_in_the_log(scenes: Scenes, project: Path, tmp_path: Path) -> None:
    items = scenes.items()
    item_id = items[0]["id"]
    items[0]["assets"]["nir"]["href"] += ".gone.tif"
    document = tmp_path / "items.json"
    document.write_text(json.dumps({"type": "FeatureCollection", "features": items}))

    run = dbt(project, "build", "--threads", "1", STAC_CATALOG=str(document))
    assert run.returncode == 0, run.stdout
    assert ".gone.tif" in run.stdout
    assert "Got 1 result, configured to warn if != 0" in run.stdout
    described = metadata(project / "s2_index.parquet")
    assert described["rasteret_sql.failure_count"] == "1"
    (failure,) = json.loads(described["rasteret_sql.failures"])
    assert (failure["item_id"], failure["asset"]) == (item_id, "nir")
    assert failure["error"] == "AssetNotFoundError"
    assert rows(project, "SELECT asset FROM s2_index WHERE item_id = $$" + item_id + "$$") == [("red",)]
    expected = expected_ndvi(tuple(item for item in wanted(scenes.info.items) if item.item_id != item_id))
    assert set(rows(project, "SELECT field_id, item_id FROM field_ndvi")) == expected.keys()


def test_an_index_outlives_runs_that_are_refused_or_end_early(scenes: Scenes, project: Path) -> None:
    catalog = {"STAC_CATALOG": scenes.server.url("catalog.json")}
    index, model = project / "s2_index.parquet", project / "models" / "index" / "s2_index.sql"
    beside, refused = project / "s2_index.parquet.rows", project / "s2_index.parquet.refused"
    select = ("run", "--select", "+s2_index")
    run = dbt(project, *select, **catalog)
    assert run.returncode == 0, run.stdout
    assert "writes over the index" not in run.stdout
    kept, viewed, text = index.read_bytes(), rows(project, "FROM s2_index"), model.read_text()

    # Without rows; dbt-duckdb writes one of NULLs, and makes a view that leaves out what has a NULL.
    run = dbt(project, *select, "--vars", "max_cloud_cover: -1", **catalog)
    assert run.returncode == 1
    assert "its SELECT gives no rows" in run.stdout
    assert "The index is as it was." in run.stdout
    assert (index.read_bytes(), rows(project, "FROM s2_index")) == (kept, viewed)

    # With rows that a check refuses.
    model.write_text(f"{text}\nUNION ALL\nFROM '{index}'")
    run = dbt(project, *select, **catalog)
    assert run.returncode == 1
    assert "check unique_key" in run.stdout
    assert (index.read_bytes(), rows(project, "FROM s2_index")) == (kept, viewed)
    assert refused.is_file()
    assert not beside.exists()

    # Ended once the rows were written: they stay, and no run takes those of another one.
    model.write_text(text.replace("plugin=", """post_hook="SELECT error('ended')", plugin="""))
    run = dbt(project, *select, **catalog)
    assert run.returncode == 1
    assert (index.read_bytes(), rows(project, "FROM s2_index")) == (kept, viewed)
    assert beside.is_file()
    model.write_text(text)
    run = dbt(project, *select, **catalog)
    assert run.returncode == 0, run.stdout
    assert len(rows(project, "FROM s2_index")) == len(viewed)
    assert index.read_bytes() != kept
    assert not beside.exists()


def test_many_threads_may_have_models_of_one_source(scenes: Scenes, project: Path) -> None:
    shutil.rmtree(project / "models" / "marts")
    (project / "models" / "schema.yml").unlink()
    (project / "seeds" / "fields.csv").unlink()
    (project / "tests" / "every_scene_has_both_bands.sql").unlink()
    for number in range(8):
        query = "SELECT item_id, asset FROM {{ source('stac', 'listed') }}"
        (project / "models" / f"m{number}.sql").write_text(query)
    for _ in range(2):
        run = dbt(project, "run", "--threads", "4", STAC_CATALOG=scenes.server.url("catalog.json"))
        assert run.returncode == 0, run.stdout
    assert len({tuple(rows(project, f"FROM m{number} ORDER BY ALL")) for number in range(8)}) == 1


# --- The plugin itself -----------------------------------------------------------------------------


@pytest.fixture
def index(scenes: Scenes, tmp_path: Path) -> Path:
    path = tmp_path / "index.parquet"
    rs.build_index(scenes.info.document, path, assets=["red"])
    return path


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def plugin(con: duckdb.DuckDBPyConnection) -> Any:
    made = in_dbt("Plugin")("rasteret_sql", {})
    made.configure_connection(con)
    return made


def in_dbt(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dbt_common.exceptions import DbtRuntimeError
        from dbt_common.invocation import get_invocation_id, reset_invocation_id

        from rasteret_sql.integrations.dbt import Plugin
    named = (DbtRuntimeError, get_invocation_id, reset_invocation_id)
    return {"Plugin": Plugin, **{one.__name__: one for one in named}}[name]


def source(**meta: Any) -> Any:
    in_dbt("Plugin")
    from dbt.adapters.duckdb.utils import SourceConfig

    return SourceConfig("assets", "assets", "stac", "memory", {"plugin": "rasteret_sql", **meta}, [])


def target(path: Path, relation: str = "main.scenes", columns: Any = (), file_format: str = "parquet") -> Any:
    """What dbt-duckdb gives `store` once an external model is written."""
    model = SimpleNamespace(
        unique_id="model.p.scenes",
        name="scenes",
        raw_code="FROM {{ ref('x') }}",
        compiled_code="FROM read_headers('https://me:pw@example.com/x.parquet?sig=abc')",
        depends_on=SimpleNamespace(nodes=["model.p.x"]),
    )
    return SimpleNamespace(
        relation=relation,
        column_list=[SimpleNamespace(name=name, dtype=kind) for name, kind in columns],
        config=SimpleNamespace(model=model),
        location=SimpleNamespace(path=str(path), format=file_format),
    )


def test_cursors_have_the_functions_and_the_checks(
    plugin: Any, con: duckdb.DuckDBPyConnection, index: Path, tmp_path: Path
) -> None:
    def count(cursor: duckdb.DuckDBPyConnection) -> int:
        plugin.configure_cursor(cursor)
        plugin.configure_cursor(cursor)
        found = cursor.execute(f"SELECT count(*) FROM read_tiles('{index}', bands := ['red'])").fetchall()[0][0]
        for check in sorted((Path(__file__).parents[2] / "sql" / "checks").glob("*.sql")):
            assert cursor.execute(f"FROM check_{check.stem}('{index}')").fetchall() == []
        return found

    with ThreadPoolExecutor(4) as pool:
        (tiles,) = set(pool.map(count, [con.cursor() for _ in range(8)]))
    assert tiles > 0


def test_a_source_is_what_the_function_gives(plugin: Any, con: duckdb.DuckDBPyConnection, scenes: Scenes) -> None:
    catalog = str(scenes.info.document)
    expected = con.execute(f"FROM stac_items('{catalog}') ORDER BY href").fetchall()
    for meta in (catalog, {"source": catalog, "on_error": "raise", "collection": None}):
        con.register("loaded", plugin.load(source(stac_items=meta)))
        assert con.execute("FROM loaded ORDER BY href").fetchall() == expected
    assert con.execute("SELECT DISTINCT typeof(geometry) FROM loaded").fetchall() == [("GEOMETRY('OGC:CRS84')",)]


def test_a_source_is_read_once_in_a_run(
    plugin: Any, con: duckdb.DuckDBPyConnection, scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rasteret_sql.sql.stac.LOCAL_KEPT_S", -1.0)
    config = source(stac_items=str(tmp_path / "items.json"))

    def made(items: list[dict[str, Any]]) -> int:
        (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        con.register("loaded", plugin.load(config))
        con.execute("CREATE SCHEMA IF NOT EXISTS stac")
        con.execute("CREATE OR REPLACE TABLE memory.stac.assets AS FROM loaded")
        con.unregister("loaded")
        return len(con.execute("SELECT DISTINCT item_id FROM stac.assets").fetchall())

    items = scenes.items()
    assert made(items) == len(items)
    assert made(items[:1]) == len(items)
    in_dbt("reset_invocation_id")()
    assert made(items[:1]) == 1
    config.meta["stac_items"] = {"source": str(tmp_path / "items.json"), "collection": "c"}
    assert made(items[:2]) == 2


def test_threads_take_turns_and_one_that_fails_holds_up_no_other(plugin: Any, scenes: Scenes) -> None:
    good, bad = source(stac_items=str(scenes.info.document)), source(stac_items="/nowhere/items.json")
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        with pytest.raises(in_dbt("DbtRuntimeError")):
            first.submit(plugin.load, bad).result()
        made = [first.submit(plugin.load, good).result()]
        waiting = second.submit(plugin.load, good)
        assert not waiting.done()
        made.clear()
        assert waiting.result().num_rows > 0


def test_a_search_takes_lists_and_objects_of_yaml(plugin: Any, scenes: Scenes, tmp_path: Path) -> None:
    if not stac_api.is_installed():
        pytest.skip("no STAC API: pip install rustac")
    allowed = rs.set_options(allow=[scenes.server.url("")])
    with allowed, stac_api.serving(scenes.items(), tmp_path / "items.json") as url:
        search = {
            "api": url,
            "collections": [scenes.info.collection_id],
            "datetime": "2024-01",
            "max_items": 3,
        }
        west, south, east, north = scenes.info.site
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        january = {item.item_id for item in scenes.info.items if item.when.month == 1}
        for area in ({"bbox": [77, 12, 79, 14]}, {"intersects": {"type": "Polygon", "coordinates": [ring]}}):
            found = plugin.load(source(stac_search={**search, **area, "sortby": None}))
            assert set(found["item_id"].to_pylist()) == january


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({}, "has neither, expected one of stac_search, stac_items"),
        ({"stac_search": "x", "stac_items": "y"}, "has stac_search and stac_items, expected one of"),
        ({"stac_items": ""}, "stac_items has '' as source, expected a text"),
        ({"stac_search": {"collections": ["x"]}}, "stac_search has None as api, expected a text"),
        ({"stac_search": {"api": "http://127.0.0.1", "dates": "2024"}}, "stac_search got dates, expected some of api"),
        ({"stac_search": {"api": "http://127.0.0.1", "bbox": [1, 2, 3]}}, "bbox: got .1.0, 2.0, 3.0., expected four"),
        ({"stac_items": "/nowhere/items.json"}, "AssetNotFoundError: .*there is no such file"),
    ],
)
def test_a_wrong_source_says_so(plugin: Any, meta: dict[str, Any], message: str) -> None:
    with pytest.raises(in_dbt("DbtRuntimeError"), match=f"(?s)source memory.stac.assets: .*{message}"):
        plugin.load(source(**meta))


def test_rows_in_any_order_become_an_index_in_its_place(
    plugin: Any, con: duckdb.DuckDBPyConnection, index: Path, tmp_path: Path
) -> None:
    path = tmp_path / "scenes.parquet"
    con.execute(f"COPY (SELECT * EXCLUDE (asset), asset, 1 AS mine FROM '{index}' ORDER BY item_id DESC) TO '{path}'")
    con.execute(f"CREATE VIEW scenes AS FROM '{path}'")
    plugin.store(target(path, columns=[row[:2] for row in con.execute("DESCRIBE scenes").fetchall()]))
    assert con.execute("SELECT * EXCLUDE (mine) FROM scenes").fetchall() == con.execute(f"FROM '{index}'").fetchall()
    definition = json.loads(metadata(path)["rasteret_sql.definition"])
    with pytest.raises(rs.RasteretError, match=r"dbt model model.p.scenes, which cannot be asked again"):
        rs.refresh(path)
    assert definition["compiled_sql"] == "FROM read_headers('https://example.com/x.parquet')"


def test_rows_that_a_check_refuses_take_no_place(
    plugin: Any, con: duckdb.DuckDBPyConnection, index: Path, tmp_path: Path
) -> None:
    path = tmp_path / "scenes.parquet"
    con.execute(f"COPY (FROM '{index}' UNION ALL FROM '{index}') TO '{path}'")
    with pytest.raises(
        in_dbt("DbtRuntimeError"), match=r"(?s)dbt model model.p.scenes: check unique_key: .*\.refused"
    ) as caught:
        plugin.store(target(path))
    assert "put write_to_file.sql of examples/dbt/macros into the macros of the project" in str(caught.value)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["index.parquet", "scenes.parquet.refused"]

    con.execute(f"COPY (SELECT item_id, asset, href FROM '{index}') TO '{path}'")
    with pytest.raises(in_dbt("DbtRuntimeError"), match=r"its SELECT gives no .*levels"):
        plugin.store(target(path))

    # An external model without rows is written by dbt-duckdb as one row of NULL.
    con.execute(f"COPY (SELECT NULL AS item_id, NULL AS asset, NULL AS href) TO '{path}'")
    with pytest.raises(in_dbt("DbtRuntimeError"), match="its SELECT gives no rows"):
        plugin.store(target(path))


def test_rows_that_were_written_beside_an_index_leave_it_there_until_they_are_one(
    plugin: Any, con: duckdb.DuckDBPyConnection, index: Path, tmp_path: Path
) -> None:
    before = index.read_bytes()
    beside = tmp_path / "index.parquet.rows"

    def write(query: str, invocation: str) -> None:
        con.execute(f"COPY ({query}) TO '{beside}' (FORMAT parquet, KV_METADATA {{dbt_invocation_id: '{invocation}'}})")

    con.execute("CREATE VIEW scenes AS SELECT 1 AS item_id")
    write(f"FROM '{index}' LIMIT 2", "another run")
    with pytest.raises(in_dbt("DbtRuntimeError"), match=r"got no rows of this run in .*rows, .* Run it again"):
        plugin.store(target(index))

    write(f"FROM '{index}' UNION ALL FROM '{index}'", in_dbt("get_invocation_id")())
    with pytest.raises(in_dbt("DbtRuntimeError"), match=r"(?s)check unique_key: .*\.refused\. The index is as it was"):
        plugin.store(target(index))
    assert index.read_bytes() == before
    assert con.execute("FROM scenes").fetchall() == con.execute(f"FROM '{index}'").fetchall()

    write(f"FROM '{index}' LIMIT 2", in_dbt("get_invocation_id")())
    plugin.store(target(index))
    assert len(con.execute("FROM scenes").fetchall()) == 2
    assert not beside.exists()


def test_a_place_that_is_no_local_parquet_file_is_refused(plugin: Any, index: Path, tmp_path: Path) -> None:
    for place in (target(index, file_format="csv"), target(tmp_path), target(Path("s3://bucket/x.parquet"))):
        with pytest.raises(in_dbt("DbtRuntimeError"), match="expected one Parquet file on this machine"):
            plugin.store(place)
    assert index.is_file()
