"""What sources find in real STAC files, column by column, compared with what pystac says of the same files."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import json
import warnings
from urllib.parse import urlsplit

import pystac
import pytest
import rustac
import shapely
from pystac.extensions.eo import EOExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension

from rasteret_sql.index.asset_table import asset_table
from rasteret_sql.index.found import SourceOptions
from rasteret_sql.index.header_columns import merge_bands
from rasteret_sql.index.properties import column_names
from rasteret_sql.index.sources import resolve_source
from rasteret_sql.tiff.model import Band

#: The files of ../shared/data/stac, by how many rows they give: pystac reads each item of them, rustac those of Parquet.
ROWS = {
    "PAIRED_earthsearch-v1_S2A_29RKH_20200219_0_L2A.json": 16,
    "PAIRED_usgs_LC08_L2SP_001062_SR_stac.json": 10,
    "PAIRED_usgs_LC08_L2SP_001062_ST_stac.json": 11,
    "earthsearch-v1_cop-dem-glo-30_10.json": 10,
    "earthsearch-v1_landsat-c2-l2_1_requesterpays.json": 19,
    "earthsearch-v1_sentinel-2-c1-l2a_10.json": 190,
    "earthsearch-v1_sentinel-2-l2a_7.json": 112,
    "pc_landsat-c2-l2_100.parquet": 1900,
    "pc_naip_1000.ndjson": 1000,
    "pc_naip_100of436.json": 100,
    "pc_sentinel-2-l2a_1000.parquet": 16262,
    "rio-tiler_stac_bands_v1.1.json": 4,
    "stacgeoparquet_cop-dem-glo-30-pc.json": 4,
    "stacgeoparquet_io-lulc-annual-v02-pc.json": 4,
    "umbra_projjson_item.json": 1,
    "v1.1.0_maxar_multi-polygons_projcode_2.json": 6,
}
#: Columns of a table of assets that a property could be called like.
OWN_COLUMNS = {"media_type", "asset_title", "asset_roles", "band_lists", "proj"}
TIFF_TYPES = {"image/tiff", "image/vnd.stac.geotiff", "image/geotiff", "image/x.geotiff", "image/tif"}
#: What an asset may say for all of its bands.
FIELDS_OF_ASSETS = {
    "common_name": ("eo:common_name",),
    "nodata": ("nodata", "raster:nodata"),
    "scale": ("raster:scale",),
    "offset": ("raster:offset",),
    "unit": ("unit", "raster:unit"),
}
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
TIMES = ("datetime", "start_datetime", "end_datetime")


def ours(path):
    """Rows of `stac_items(path)`, by collection, item and asset."""
    sources, _ = resolve_source(path, SourceOptions())
    return asset_table(sources)


def documents(path):
    """The items of a file as JSON objects, and whether the file is one item."""
    if path.suffix == ".parquet":
        return asyncio.run(_read_by_rustac(path))["features"], False
    text = path.read_text()
    if path.suffix == ".ndjson":
        return [json.loads(line) for line in text.splitlines() if line.strip()], False
    document = json.loads(text)
    if isinstance(document, list):
        return document, False
    return document.get("features", [document]), "features" not in document


async def _read_by_rustac(path):
    return await rustac.read(str(path))


def read_by_pystac(document, path, *, is_alone, migrate):
    """The item as `pystac.Item.from_file` gives it, or as `pystac.ItemCollection.from_file` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        href = str(path) if is_alone else None
        item = pystac.Item.from_dict(document, href=href, migrate=migrate, preserve_dict=False)
        if item.get_self_href() is None:
            item.set_self_href(str(path))
        return item


def is_tiff(asset):
    name = (asset.media_type or "").partition(";")[0].strip().lower()
    if name in {"", "application/octet-stream"}:
        return urlsplit(asset.href).path.lower().endswith((".tif", ".tiff"))
    return name in TIFF_TYPES


def bands_by_pystac(asset):
    """The bands of an asset as pystac's extensions have them, one mapping each."""
    lists = [
        [
            # pystac leaves the positions in the list of the item that 0.7 has.
            asset.owner.properties["eo:bands"][band.properties] if isinstance(band.properties, int) else band.properties
            for band in extension.ext(asset, add_if_missing=True).bands or []
            if not isinstance(band.properties, str)
        ]
        for extension in (EOExtension, RasterExtension)
    ]
    lists = [asset.extra_fields.get("bands") or [], *lists]
    count = max(map(len, lists), default=0)
    return [
        {
            name: next(
                (
                    said[key]
                    for said, keys in [
                        *((one[at], (name, f"eo:{name}", f"raster:{name}")) for one in lists if len(one) == count),
                        (asset.extra_fields, FIELDS_OF_ASSETS.get(name, ())),
                    ]
                    for key in keys
                    if said.get(key) is not None
                ),
                None,
            )
            for name in ("name", "common_name", "nodata", "scale", "offset", "unit")
        }
        for at in range(count)
    ]


def utc(time):
    return time if time is None or time.tzinfo is not None else time.replace(tzinfo=dt.UTC)


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    return value


def is_same_property(our_value, their_value):
    """Whether a cell of a column holds a property: a column is typed for all its items."""
    if isinstance(our_value, dt.datetime) and isinstance(their_value, str):
        return our_value == utc(pystac.utils.str_to_datetime(their_value))
    if isinstance(our_value, str) and not isinstance(their_value, (str, type(None))):
        our_value = json.loads(our_value)
    return without_nulls(our_value) == without_nulls(their_value)


def wkb(geometry):
    if geometry is None:
        return None
    try:
        shape = shapely.geometry.shape(geometry)
    except (TypeError, ValueError):
        return None
    return shapely.to_wkb(shape, output_dimension=2)


def differences(path):
    """Where our rows of a file are not what pystac says, as lines for people."""
    table = ours(path)
    rows = {(row["collection"], row["item_id"], row["asset"], row["href"]): row for row in table.to_pylist()}
    wrong = [] if len(rows) == table.num_rows else ["a row is there twice"]
    of_file, is_alone = documents(path)
    for document in of_file:
        # The other one takes the document apart.
        migrated = read_by_pystac(document, path, is_alone=is_alone, migrate=True)
        plain = read_by_pystac(document, path, is_alone=is_alone, migrate=False)
        tiffs = {key: asset for key, asset in plain.assets.items() if is_tiff(asset)}
        for number, (key, asset) in enumerate(tiffs.items()):
            at = (plain.collection_id, plain.id, key, asset.get_absolute_href())
            row = rows.pop(at, None)
            if row is None:
                wrong.append(f"{at}: no such row")
                continue
            wrong += [f"{at}: {problem}" for problem in asset_differences(row, migrated.assets[key], key)]
            if number == 0:
                wrong += [f"{at}: {problem}" for problem in item_differences(row, plain)]
    return wrong + [f"{at}: pystac has no such asset" for at in rows]


def item_differences(row, item):
    times = (item.datetime, item.common_metadata.start_datetime, item.common_metadata.end_datetime)
    for name, time in zip(TIMES, times, strict=True):
        if row[name] != utc(time):
            yield f"{name}: {row[name]}, {time}"
    if row["geometry"] != wkb(item.geometry):
        yield "geometry"
    names = column_names(name for name, value in item.properties.items() if name not in TIMES and value is not None)
    for name in names:
        value = item.properties[name]
        column = f"properties:{name}" if name in OWN_COLUMNS else names[name]
        if column not in row or not is_same_property(row[column], value):
            yield f"{name}: {row.get(column)!r}, {value!r}"


def asset_differences(row, asset, key):
    media_type, title, roles = row["media_type"], row["asset_title"], row["asset_roles"] or []
    if (media_type, title, roles) != (asset.media_type, asset.title or None, asset.roles or []):
        yield f"type, title, roles: {media_type}, {title}, {roles}"
    crs = ProjectionExtension.ext(asset, add_if_missing=True).crs_string
    code = json.loads(row["proj"] or "{}").get("code")
    if code != crs and (not crs or not crs.startswith("{") or json.loads(code) != json.loads(crs)):
        yield f"CRS: {code}, {crs}"
    size = FileExtension.ext(asset, add_if_missing=True).size
    if json.loads(row["proj"] or "{}").get("file_size") != size:
        yield f"size: {row['proj']}, {size}"
    theirs = bands_by_pystac(asset)
    lists = tuple(map(tuple, json.loads(row["band_lists"] or "[]")))
    merged = merge_bands([Band(band=number + 1) for number in range(len(theirs) or 1)], lists, key)
    for number, band in enumerate(theirs):
        unnamed = {"name": key if len(theirs) == 1 else str(number + 1)}
        for name, value in band.items():
            expected = unnamed.get(name) if value is None else value
            if name in {"nodata", "scale", "offset"} and expected is not None:
                # "nan", too.
                expected = float(expected)
            if repr(merged[number][name]) != repr(expected):
                yield f"band {number + 1} {name}: {merged[number][name]!r}, {expected!r}"


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_a_file_are_what_pystac_says_of_it(shared_data, name):
    path = shared_data / "stac" / name
    assert differences(path) == []
    assert ours(path).num_rows == ROWS[name]


def test_every_file_of_the_manifest_is_compared(shared_data):
    with (shared_data / "STAC_MANIFEST.tsv").open() as file:
        assert {row["file"] for row in csv.DictReader(file, delimiter="\t")} == set(ROWS)


@pytest.mark.parametrize("kind", list(pystac.CatalogType))
def test_a_catalog_gives_the_assets_of_all_items_below_it(tmp_path, kind):
    catalog = pystac.Catalog("all", "two collections")
    for name in ("a", "b"):
        spatial = pystac.SpatialExtent([[-180, -90, 180, 90]])
        temporal = pystac.TemporalExtent([[dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None]])
        collection = pystac.Collection(name, name, pystac.Extent(spatial, temporal))
        catalog.add_child(collection)
        for number in range(2):
            item = pystac.Item(f"{name}{number}", SQUARE, [0, 0, 1, 1], dt.datetime(2024, 1, 1, tzinfo=dt.UTC), {})
            item.add_asset("here", pystac.Asset("./B04.tif", media_type=pystac.MediaType.COG))
            item.add_asset("there", pystac.Asset("https://example.com/B08.tif"))
            collection.add_item(item)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        catalog.normalize_and_save(str(tmp_path), kind)
    theirs = [
        (item.collection_id, item.id, key, asset.get_absolute_href())
        for item in pystac.Catalog.from_file(str(tmp_path / "catalog.json")).get_items(recursive=True)
        for key, asset in item.assets.items()
    ]
    rows = ours(tmp_path / "catalog.json").to_pylist()
    assert len(theirs) == 8
    assert sorted((row["collection"], row["item_id"], row["asset"], row["href"]) for row in rows) == sorted(theirs)


def one_item(**changes):
    asset = {"href": "./a.tif", "type": "image/tiff"} | changes.pop("asset", {})
    properties = {"datetime": "2024-01-02T03:04:05.678901Z"} | changes.pop("properties", {})
    document = {"type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": SQUARE, "bbox": [0, 0, 1, 1]}
    return document | {"properties": properties, "assets": {"a": asset}, "links": []} | changes


OPEN_RING = {"type": "Polygon", "coordinates": [SQUARE["coordinates"][0][:-1]]}
ITEMS = {
    "rings that end before their first point": one_item(geometry=OPEN_RING),
    "geometry with heights": one_item(geometry={"type": "Point", "coordinates": [1.5, 2.5, 30.0]}),
    "no geometry": one_item(geometry=None),
    "a period": one_item(
        properties={
            "datetime": None,
            "start_datetime": "2024-01-01",
            "end_datetime": "2024-01-31T23:59:59.999999+02:00",
        }
    ),
    "a property called collection": one_item(stac_version="0.9.0", properties={"collection": "L1T"}),
    "bands of the item": one_item(
        properties={"raster:bands": [{"nodata": -9999, "scale": 0.5}], "eo:bands": [{"name": "B1"}]}
    ),
    "bands of the asset before those of the item": one_item(
        properties={"eo:bands": [{"name": "B1"}]}, asset={"eo:bands": [{"name": "B2", "common_name": "red"}]}
    ),
    "bands of 1.1": one_item(
        stac_version="1.1.0",
        asset={"bands": [{"name": "B2", "eo:common_name": "red", "raster:scale": 2}, {"name": "B3"}], "nodata": "nan"},
    ),
    "CRS of the asset": one_item(properties={"proj:epsg": 32643}, asset={"proj:code": "IAU_2015:30100"}),
    "no EPSG code but PROJJSON": one_item(properties={"proj:epsg": None, "proj:projjson": {"type": "GeographicCRS"}}),
    "no EPSG code but WKT": one_item(properties={"proj:epsg": None}, asset={"proj:wkt2": 'LOCAL_CS["a"]'}),
    "an encoded query in the href": one_item(asset={"href": "https://example.com/a%20b.tif?version=2"}),
}


@pytest.mark.parametrize("document", ITEMS.values(), ids=ITEMS)
def test_an_item_is_what_pystac_says_of_it(tmp_path, document):
    path = tmp_path / "item.json"
    path.write_text(json.dumps(document))
    assert differences(path) == []
    assert ours(path).num_rows == 1


def test_properties_that_differ_in_kind_inside_are_kept_as_json(tmp_path):
    shapes = [SQUARE, {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"]]}]
    items = [
        one_item(id=str(number), properties={"proj:geometry": shape, "s": {"a": number}, "l": [number, str(number)]})
        for number, shape in enumerate(shapes)
    ]
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    assert differences(path) == []
    rows = ours(path).to_pylist()
    assert [json.loads(row["proj:geometry"]) for row in rows] == shapes
    assert [row["s"] for row in rows] == [{"a": 0}, {"a": 1}]
    assert [json.loads(row["l"]) for row in rows] == [[0, "0"], [1, "1"]]
