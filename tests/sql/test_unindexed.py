"""Reads of assets without an index: STAC items, searches, TIFF files and tables with hrefs in its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    BuildError,
    EmptyReadError,
    InvalidArgumentError,
    InvalidIndexError,
)
from rasteret_sql.testing import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 64
TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)
#: Within the footprints of the files, which lie at 75.92, 12.66.
BBOX = (75.9212, 12.6585, 75.9262, 12.6635)
ITEMS = ("A", "B")
ASSETS = ("red", "nir", "scl")


def _item(server: RangeServer, item_id: str, day: int, *, west: float = 75.92) -> dict[str, Any]:
    ring = [[west, 12.65], [west + 0.01, 12.65], [west + 0.01, 12.67], [west, 12.67], [west, 12.65]]
    assets = {
        name: {
            "href": server.url(f"{item_id}_{name}.tif"),
            "type": "image/tiff; application=geotiff",
            "eo:bands": [{"name": f"B-{name}", "common_name": name}],
        }
        for name in ASSETS
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "collection": "c",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, 12.65, west + 0.01, 12.67],
        "properties": {"datetime": f"2024-01-{day:02}T10:00:00Z", "eo:cloud_cover": 10.0 * day},
        "assets": assets,
        "links": [],
    }


class Scene:
    """Items whose files are on a server, and their index."""

    def __init__(self, folder: Path, server: RangeServer) -> None:
        self.folder, self.server = folder, server
        for number, (item, asset) in enumerate((item, asset) for item in ITEMS for asset in ASSETS):
            pixels = np.random.default_rng(number).integers(1, 9000, (SIZE, SIZE), np.uint16)
            write_cog(folder / f"{item}_{asset}.tif", pixels, tile=32, nodata=0, transform=TRANSFORM)
        self.items = [_item(server, item, day) for day, item in enumerate(ITEMS, 1)]
        self.documents = folder / "items.json"
        self.documents.write_text(json.dumps({"type": "FeatureCollection", "features": self.items}))
        self.index = folder / "index.parquet"
        rs.build_index(self.items, self.index)

    def asked(self) -> set[str]:
        """Give the names of the files that were asked for, and forget them."""
        asked = {request.path.rpartition("/")[2] for request in self.server.requests}
        self.server.reset()
        return asked


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("unindexed")
    with RangeServer(folder) as server:
        yield Scene(folder, server)


@pytest.fixture
def scene(shared: Scene) -> Scene:
    shared.server.reset()
    return shared


class _Search:
    """What pystac-client's ItemSearch has."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._items = items

    def items_as_dicts(self) -> Iterator[dict[str, Any]]:
        yield from self._items


FORMS: dict[str, Any] = {
    "a list of dictionaries": lambda scene: scene.items,
    "pystac items": lambda scene: [pystac.Item.from_dict(item) for item in scene.items],
    "an ItemCollection": lambda scene: pystac.ItemCollection(list(map(pystac.Item.from_dict, scene.items))),
    "a search": lambda scene: _Search(scene.items),
    "a FeatureCollection": lambda scene: {"type": "FeatureCollection", "features": scene.items},
    "a path": lambda scene: scene.documents,
    "a URL": lambda scene: scene.server.url("items.json"),
    "a glob": lambda scene: str(scene.folder / "item*.json"),
    "a relation": lambda scene: rs.connect().sql(f"FROM stac_items('{scene.documents}')"),
    "an Arrow table": lambda scene: rs.connect().sql(f"FROM stac_items('{scene.documents}')").to_arrow_table(),
    "hrefs in a table": lambda scene: pa.Table.from_pylist(
        [
            {"href": asset["href"], "item_id": item["id"], "asset": name, "datetime": item["properties"]["datetime"]}
            for item in scene.items
            for name, asset in item["assets"].items()
        ]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_assets_gives_the_pixels_of_their_index(form: str, scene: Scene) -> None:
    found = rs.to_numpy(FORMS[form](scene), bands=["red", "nir"], bbox=BBOX)
    expected = rs.to_numpy(scene.index, bands=["red", "nir"], bbox=BBOX)
    assert np.array_equal(found.data, expected.data)
    assert np.array_equal(found.mask, expected.mask)
    assert found.item_ids == expected.item_ids
    assert np.array_equal(found.times, expected.times)


def test_properties_of_items_become_coordinates_as_with_an_index(scene: Scene) -> None:
    found = rs.to_xarray(scene.items, bands=["red"])
    assert found.identical(rs.to_xarray(scene.index, bands=["red"]))


def test_paths_of_tiff_files_are_read_as_they_are(scene: Scene) -> None:
    hrefs = [str(scene.folder / f"{item}_red.tif") for item in ITEMS]
    expected = rs.to_numpy(scene.index, bands=["red"])
    for subject in (hrefs, str(scene.folder / "*_red.tif")):
        assert np.array_equal(rs.to_numpy(subject).data, expected.data)
    assert np.array_equal(rs.to_numpy(hrefs[0]).data, expected.data[:1])


def test_one_request_a_file_reads_headers_and_only_of_assets_that_are_wanted(scene: Scene) -> None:
    rs.explain(scene.items, bands=["red"], datetime="2024-01-02")
    assert [request.path.rpartition("/")[2] for request in scene.server.requests] == ["B_red.tif"]
    scene.server.reset()
    east = _item(scene.server, "east", 3, west=80.0)
    rs.to_numpy([*scene.items, east], bands=["nir"], bbox=BBOX)
    assert scene.asked() == {"A_nir.tif", "B_nir.tif"}


@pytest.mark.parametrize("label", ["B-scl", "scl:B-scl", "scl:1"])
def test_names_of_bands_that_the_source_describes_choose_the_assets(label: str, scene: Scene) -> None:
    found = rs.to_numpy(scene.items, bands=[label])
    assert scene.asked() == {"A_scl.tif", "B_scl.tif"}
    assert np.array_equal(found.data, rs.to_numpy(scene.index, bands=[label]).data)


def test_an_item_without_the_asset_of_a_label_is_not_passed_over(scene: Scene) -> None:
    older = json.loads(json.dumps(scene.items[1]))
    older["assets"] = {f"band-{name}": asset for name, asset in older["assets"].items()}
    with pytest.raises(InvalidArgumentError, match="names asset 'red' in some items and asset 'band-red' in others"):
        rs.to_numpy([scene.items[0], older], bands=["red"])


def test_formulas_read_the_headers_of_their_bands_beside_those_of_bands(scene: Scene) -> None:
    options = {"expressions": {"ndvi": "(nir - red) / (nir + red)"}, "bbox": BBOX}
    found = rs.read_pixels(scene.items, **options).read_all()
    assert scene.asked() == {"A_red.tif", "A_nir.tif", "B_red.tif", "B_nir.tif"}
    assert found.equals(rs.read_pixels(scene.index, **options).read_all())
    both = rs.read_pixels(scene.items, bands=["scl"], **options).read_all()
    assert both.equals(rs.read_pixels(scene.index, bands=["scl"], **options).read_all())


def test_pixels_outside_of_the_footprint_of_an_item_are_found_by_its_proj_fields(scene: Scene) -> None:
    item = json.loads(json.dumps(scene.items[0]))
    ring = [[75.92, 12.6], [75.921, 12.6], [75.921, 12.601], [75.92, 12.6]]
    item["geometry"] = {"type": "Polygon", "coordinates": [[[x - 1, y] for x, y in ring]]}
    fields = {"proj:epsg": 32643, "proj:shape": [SIZE, SIZE], "proj:transform": list(TRANSFORM)}
    item["assets"]["red"] |= fields
    found = rs.to_numpy([item], bands=["red"], bbox=BBOX)
    assert np.array_equal(found.data, rs.to_numpy(scene.index, bands=["red"], bbox=BBOX).data[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bbox": (0, 0, 1, 1)}, "touches none of the assets"),
        ({"datetime": "1999"}, "matches none of the assets"),
    ],
)
def test_a_read_of_nothing_says_why_and_reads_no_header(options: dict[str, Any], message: str, scene: Scene) -> None:
    with pytest.raises(EmptyReadError, match=message):
        rs.to_numpy(scene.items, bands=["red"], **options)
    assert not scene.server.requests


def test_a_file_whose_header_cannot_be_read_is_named_with_its_item(scene: Scene) -> None:
    item = json.loads(json.dumps(scene.items[0]))
    item["assets"]["red"]["href"] = scene.server.url("gone.tif")
    with pytest.raises(AssetNotFoundError, match=r'asset "red" of item A: .*gone\.tif.*leave it out'):
        rs.to_numpy([item], bands=["red"])


@pytest.mark.parametrize(
    ("subject", "error", "message"),
    [
        ({1: 2}, BuildError, "index: 1 part of it cannot be used"),
        ([], InvalidIndexError, "STAC items"),
        (["a.parquet"], InvalidIndexError, "STAC items"),
        ([7], InvalidIndexError, "got int in a list"),
        ("none*.json", BuildError, "no file matches"),
    ],
)
def test_what_is_no_source_of_assets_is_refused_by_name(subject: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rs.to_numpy(subject)


def test_footprints_of_items_are_drawn_without_a_header(scene: Scene) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    axes = rs.plot_footprints(scene.items)
    assert len(axes.collections) == 1
    assert not scene.server.requests


SUBJECTS_IN_SQL = {
    "a table": "assets",
    "a path": "{path}",
    "a URL": "{url}",
    "a query": "FROM stac_items('{path}')",
    "a query of a table": 'FROM assets WHERE "eo:cloud_cover" < 50',
}


@pytest.mark.parametrize("form", SUBJECTS_IN_SQL)
def test_table_functions_read_assets_without_headers(form: str, scene: Scene) -> None:
    con = rs.connect()
    con.execute("CREATE TABLE assets AS FROM stac_items($1)", [str(scene.documents)])
    subject = SUBJECTS_IN_SQL[form].format(path=scene.documents, url=scene.server.url("items.json"))
    for function in ("read_tiles", "read_pixels"):
        query = f"FROM {function}($1, bands := ['red']) ORDER BY ALL"
        found = con.execute(query, [subject]).fetchall()
        assert found == con.execute(query, [str(scene.index)]).fetchall()
        assert found
    con.close()


PLANNED_IN_SQL = {
    "a table": "assets",
    "a temporary table": "temporary_assets",
    "a view": "assets_of_files",
    "a path": "{path}",
    "a URL": "{url}",
    "a Parquet file": "{folder}/assets.parquet",
    "STAC GeoParquet": "{folder}/items.parquet",
    "rows of read_headers": "headers",
}


@pytest.mark.parametrize("form", PLANNED_IN_SQL)
def test_functions_that_plan_in_sql_read_the_headers_of_assets(form: str, scene: Scene) -> None:
    """Each gives the rows that it gives of an index of the same assets."""
    with rs.connect() as con:
        con.execute("CREATE TABLE assets AS FROM stac_items($1)", [str(scene.documents)])
        con.execute("CREATE TEMP TABLE temporary_assets AS FROM assets")
        con.execute(f"COPY assets TO '{scene.folder / 'assets.parquet'}'")
        con.execute(f"CREATE VIEW assets_of_files AS FROM '{scene.folder / 'assets.parquet'}' WHERE asset <> 'none'")
        con.execute("CREATE TABLE headers AS FROM read_headers('assets')")
        rows = [
            {
                "id": item["id"],
                "collection": item["collection"],
                "datetime": item["properties"]["datetime"],
                "assets": item["assets"],
            }
            for item in scene.items
        ]
        pq.write_table(pa.Table.from_pylist(rows), scene.folder / "items.parquet")
        subject = PLANNED_IN_SQL[form].format(
            path=scene.documents, url=scene.server.url("items.json"), folder=scene.folder
        )
        columns = {
            "items": "item_id, datetime, assets, crs, files, file_bytes",
            "tile_plan": "item_id, asset, band, tile_row, tile_col, tile_offset, tile_byte_count, href",
            "explain_read": "*",
        }
        for function, of_function in columns.items():
            query = (
                f"SELECT {of_function} FROM {function}($1, bbox := {list(BBOX)}, datetime := '2024-01-02') ORDER BY ALL"
            )
            found = con.execute(query, [subject]).fetchall()
            assert found == con.execute(query, [str(scene.index)]).fetchall()
            assert found


def test_plans_in_sql_take_the_assets_that_the_statement_names(scene: Scene) -> None:
    """Not those of a table that a CTE or a temporary table hides."""
    query = "SELECT list(item_id) FROM items('{}')"
    with rs.connect() as con:
        con.execute("CREATE TABLE assets AS FROM stac_items($1)", [str(scene.documents)])
        hidden = "WITH assets AS (FROM main.assets WHERE item_id = 'A') "
        assert con.execute(hidden + query.format("assets")).fetchall() == [(["A"],)]
        con.execute("CREATE TEMP TABLE hiding AS FROM assets WHERE item_id = 'B'")
        con.execute("CREATE TABLE main.hiding_not AS FROM assets")
        assert con.execute(query.format("hiding")).fetchall() == [(["B"],)]
        con.execute("BEGIN; DELETE FROM assets WHERE item_id = 'A'")
        assert con.execute(query.format("assets")).fetchall() == [(["B"],)]
        con.execute("ROLLBACK")
        assert con.execute(query.format("assets")).fetchall() == [(["A", "B"],)]


def test_a_plan_in_sql_names_the_file_whose_header_cannot_be_read(scene: Scene) -> None:
    with rs.connect() as con:
        con.execute(
            "CREATE TABLE assets AS SELECT * REPLACE (replace(href, 'A_red', 'gone') AS href) FROM stac_items($1)",
            [str(scene.documents)],
        )
        for function in ("items", "tile_plan", "explain_read"):
            with pytest.raises(duckdb.Error, match=r"item A, asset red: AssetNotFoundError: .*gone\.tif"):
                con.execute(f"FROM {function}('assets')").fetchall()
            with pytest.raises(duckdb.Error, match="no file matches this glob"):
                con.execute(f"FROM {function}('{scene.folder}/nothing_*.tif')").fetchall()


def test_a_plan_in_sql_of_rows_from_the_network_names_no_local_files(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rasteret_sql.sql.unindexed.origins_of", lambda *_a, **_n: (scene.server.url("assets.parquet"),)
    )
    with rs.connect() as con:
        con.execute("CREATE TABLE assets AS SELECT $1 AS href, 'A' AS item_id", [str(scene.folder / "A_red.tif")])
        with pytest.raises(duckdb.Error, match="AccessDeniedError"):
            con.execute("FROM items('assets')").fetchall()


def test_a_relative_path_is_a_document_and_a_table_of_its_name_is_quoted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene.folder)
    con = rs.connect()
    query = "SELECT count(*) FROM read_tiles('items.json', bands := ['red'])"
    assert con.execute(query).fetchall() == [(8,)]
    assert rs.read_tiles("items.json", bands=["red"]).read_all().num_rows == 8
    con.execute("CREATE TABLE \"items.json\" AS FROM stac_items('items.json') WHERE item_id = 'A'")
    assert con.execute(query.replace("'items.json'", "'\"items.json\"'")).fetchall() == [(4,)]
    con.close()


def test_a_table_of_assets_in_a_transaction_of_the_caller_is_refused_like_an_index(scene: Scene) -> None:
    con = rs.connect()
    con.execute("BEGIN")
    con.execute("CREATE TABLE assets AS FROM stac_items($1)", [str(scene.documents)])
    with pytest.raises(Exception, match="expected rows that a read can see"):
        con.execute("FROM read_tiles('assets', bands := ['red'])").fetchall()
    con.close()


def test_documents_from_the_network_name_no_local_files(scene: Scene) -> None:
    item = json.loads(json.dumps(scene.items[0]))
    item["assets"]["red"]["href"] = f"file://{scene.folder}/A_red.tif"
    (scene.folder / "strange.json").write_text(json.dumps(item))
    with pytest.raises(BuildError, match=r"AccessDeniedError: .*A_red\.tif"):
        rs.to_numpy(scene.server.url("strange.json"))


def test_tables_from_the_network_name_no_local_files(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not every DuckDB here reads over HTTP; the rest of the read is the same.
    monkeypatch.setattr("rasteret_sql.sql.planning.origins_of", lambda *_a, **_n: (scene.server.url("assets.parquet"),))
    rows = {"href": [str(scene.folder / "A_red.tif")], "item_id": ["A"], "asset": ["red"]}
    pq.write_table(pa.table(rows), scene.folder / "assets.parquet")
    monkeypatch.setattr("rasteret_sql.sql.unindexed._read", lambda _wanted: pytest.fail("a header was read"))
    with pytest.raises(AccessDeniedError, match=r'asset "red" of item A: .*A_red\.tif'):
        rs.to_numpy(scene.folder / "assets.parquet")


def test_no_assets_at_all_are_called_what_they_are() -> None:
    none = {"type": "FeatureCollection", "features": []}
    for read in (rs.to_numpy, lambda given: rs.read_pixels(given, valid_where="red > 1").read_all()):
        with pytest.raises(EmptyReadError, match=r"index \(given rows\): got no rows, expected those of an index"):
            read(none)
    assert "got no rows" in str(rs.explain(none).why_empty)
