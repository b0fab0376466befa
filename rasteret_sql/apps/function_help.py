"""What the SQL functions and their arguments mean, with an example each: for `.help` and for the reference page."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Final

from rasteret_sql.docstrings import sections, sentence

if TYPE_CHECKING:
    from rasteret_sql.sql.catalog import SqlObject

#: A query for each function, on the index of the demo.
EXAMPLES: Final = {
    "read_tiles": """\
SELECT item_id, band_name, tile_row, tile_col, octet_length(pixels) AS bytes
FROM read_tiles(
    's2.parquet', bands := ['red', 'nir'],
    bbox := [77.98, 12.98, 78.00, 13.00]
)
WHERE datetime >= '2024-02-01';""",
    "read_pixels": """\
SELECT datetime, avg((nir - red) / nullif(nir + red, 0)) AS ndvi
FROM read_pixels(
    's2.parquet', bands := ['red', 'nir'], layout := 'wide', level := 1,
    bbox := [77.98, 12.98, 78.00, 13.00]
)
GROUP BY datetime
ORDER BY datetime;""",
    "sample_points": """\
CREATE OR REPLACE TABLE plots AS
SELECT * FROM (VALUES
    ('north', 821900.0, 1437000.0),
    ('south', 822300.0, 1436200.0)
) AS t(plot, x, y);

SELECT plot, item_id, band, value
FROM sample_points(
    's2.parquet', 'plots', bands := ['red', 'nir'],
    geometry_crs := 'EPSG:32643'
)
ORDER BY ALL;""",
    "zonal_stats": """\
CREATE OR REPLACE TABLE fields AS
SELECT * FROM (VALUES
    ('a', 'POLYGON ((77.98 12.98, 78 12.98, 78 13, 77.98 12.98))'),
    ('b', 'POLYGON ((77.98 13, 78 13, 78 13.02, 77.98 13))')
) AS t(field, wkt);

SELECT field, datetime, band, count, mean, p90
FROM zonal_stats(
    's2.parquet', 'fields', bands := ['red', 'nir'],
    stats := ['count', 'mean', 'p90'], geometry_crs := 'OGC:CRS84'
)
ORDER BY ALL;""",
    "chips": """\
SELECT item_id, row_off, col_off, valid_share
FROM chips(
    's2.parquet', size := 128, bands := ['red', 'nir'], where_valid := 0.9
)
WHERE datetime >= '2024-02-01';""",
    "read_stats": """\
SELECT item_id, band_name, tile_row, tile_col, valid_share, min, max, mean
FROM read_stats('s2.stats.parquet')
WHERE valid_share > 0.9 AND max > 4000;""",
    "shards": """\
SELECT name, files, tiles, bytes, octet_length(shard) AS shard_bytes
FROM shards('s2.parquet', 4, bands := ['red'])
ORDER BY number;""",
    "read_shard": """\
SET VARIABLE piece = (
    SELECT shard
    FROM shards('s2.parquet', 4, bands := ['red'])
    WHERE number = 1
);

SELECT item_id, count(*) AS tiles
FROM read_shard(getvariable('piece'))
GROUP BY item_id;""",
    "read_shard_chips": """\
CREATE TABLE windows AS
FROM chips('s2.parquet', size := 128, bands := ['red', 'nir']);

SET VARIABLE piece = (
    SELECT shard
    FROM shards('s2.parquet', 2, bands := ['red', 'nir'], chips := 'windows')
    WHERE number = 1
);

SELECT chip, item_id, row_off, col_off, bands, octet_length(pixels) AS bytes
FROM read_shard_chips(getvariable('piece'));""",
    "tile_plan": """\
SELECT href, tile_row, tile_col, tile_offset, tile_byte_count, request
FROM tile_plan('s2.parquet', bands := ['red'], level := 1);""",
    "explain_read": """\
SELECT band, items, tiles, requests, request_bytes
FROM explain_read(
    's2.parquet', bands := ['red', 'nir'], datetime := '2024-01/2024-06'
);""",
    "items": """\
SELECT item_id, datetime, "eo:cloud_cover", assets
FROM items(
    's2.parquet', bbox := [77.98, 12.98, 78.00, 13.00],
    datetime := '2024-01/2024-06'
)
WHERE "eo:cloud_cover" < 50;""",
    "stac_search": """\
SELECT item_id, asset, datetime, "eo:cloud_cover", href
FROM stac_search(
    'earthsearch/sentinel-2-l2a', bbox := [77.9, 12.9, 78.1, 13.1],
    datetime := '2024-01/2024-06'
)
WHERE asset IN ('red', 'nir') AND "eo:cloud_cover" < 20;""",
    "stac_items": """\
SELECT item_id, asset, datetime, "eo:cloud_cover", href
FROM stac_items('demo/collection/catalog.json')
WHERE asset = 'red';""",
    "datasets": """\
SELECT id, collection, authentication, bands
FROM datasets()
WHERE id LIKE 'earthsearch/%';""",
    "read_headers": """\
WITH assets AS (
    SELECT
        file AS href,
        parse_filename(file, true) AS asset,
        split_part(file, '/', -2) AS item_id
    FROM glob('demo/collection/*/B0?.tif')
)
SELECT item_id, asset, crs, width, height, len(levels) AS levels
FROM read_headers(assets);""",
    "rst_credentials": """\
SELECT rst_credentials(
    's3://usgs-landsat/',
    settings := {'region': 'us-west-2', 'requester_pays': true}
);
SELECT rst_credentials('s3://usgs-landsat/');""",
    "rst_to_list": """\
SELECT
    item_id, tile_row, tile_col, list_avg(rst_to_list(pixels, dtype)) AS mean
FROM read_tiles('s2.parquet', bands := ['red'], level := 1);""",
    "rst_stats": """\
SELECT
    item_id, tile_row, tile_col,
    unnest(rst_stats(pixels, dtype, nodata, mask := mask))
FROM read_tiles('s2.parquet', bands := ['red'], level := 1);""",
    "rst_histogram": """\
SELECT
    item_id, tile_row, tile_col,
    rst_histogram(pixels, dtype, nodata) AS classes
FROM read_tiles('s2.parquet', bands := ['scl'], level := 1);""",
    "rst_normalized_difference": """\
SELECT
    item_id, tile_row, tile_col,
    list_avg(rst_normalized_difference(
        n.pixels, n.dtype, r.pixels, r.dtype
    )) AS ndvi
FROM read_tiles('s2.parquet', bands := ['red'], level := 1) AS r
JOIN read_tiles('s2.parquet', bands := ['nir'], level := 1) AS n
    USING (item_id, tile_row, tile_col);""",
    "rst_value": """\
SELECT
    item_id,
    rst_value(pixels, dtype, width, transform, 822000, 1436500) AS red
FROM read_tiles('s2.parquet', bands := ['red'])
WHERE crs = 'EPSG:32643'
    AND bounds.xmin <= 822000 AND bounds.xmax > 822000
    AND bounds.ymin < 1436500 AND bounds.ymax >= 1436500;""",
}
_ALTERNATE = "Name of the alternate location of assets to read, such as 's3', or several names, best first."
_OF_TILE = {
    "pixels": "A value of `pixels` of `read_tiles`.",
    "dtype": "Type of the numbers, from the column `dtype`.",
    "nodata": "Value that does not count, from the column `nodata`.",
    "mask": "Pixels that count, from the column `mask`, in place of `nodata`. It is exact, where `nodata` is rounded.",
}
#: Meanings of arguments that neither the Python function of the same name nor `read_tiles` explains.
_MEANINGS: dict[str, dict[str, str]] = {
    "stac_search": {
        "intersects": "GeoJSON, WKT or a GEOMETRY, in longitude and latitude. Pass either this or `bbox`.",
        "datetime": "STAC's forms, both ends inclusive: '2024-01', '2024-01-01/2024-02-15', '../2024'.",
        "filter": "CQL2, as text, or as JSON or a struct.",
        "alternate": _ALTERNATE,
    },
    "stac_items": {
        "source": "Path, glob or URL of STAC Items, ItemCollections, NDJSON or stac-geoparquet, or of Catalogs and "
        "Collections, whose links are followed.",
        "collection": "Collection of items without one.",
        "on_error": "'raise', or 'skip' unreadable documents.",
        "alternate": _ALTERNATE,
    },
    "zonal_stats": {
        "zones": "Table, view, or path of Parquet, CSV or (DuckDB 2) GeoJSON. CTEs and temporary tables are refused, "
        "as for the index.",
        "geometry_crs": "CRS of the zones, x before y, where their column of type GEOMETRY does not say it.",
    },
    "chips": {
        "size": "Height and width of the windows in pixels: one number, or [height, width].",
        "stride": "Pixels from one window to the next: one number, or [height, width]. By default, windows lie side by "
        "side.",
        "where_valid": "Least share of pixels, 0 to 1, that are valid in all bands. Windows with less are left out.",
    },
    "read_stats": {
        "statistics": "Path of a file of `build_stats` or `rasteret-sql stats`, or a table or view of its rows.",
    },
    "shards": {
        "chips": "Windows of items, whose tiles alone are read: a table, view or Parquet path with the columns of "
        "`chips`, or item_id, row_off and col_off. Area, period and conditions on tiles are refused then: the table "
        "chooses.",
        "chip_size": "Height and width of all chips in pixels: one number, or [height, width]. By default, height and "
        "width of the table.",
    },
    "read_shard": {
        "shard": "BLOB of the column `shard` of `shards`, or path or URL of a file of `rasteret-sql shard`.",
    },
    "read_shard_chips": {
        "shard": "BLOB of the column `shard` of `shards(chips := ...)`, or path or URL of a file that `rasteret-sql "
        "shard` made of chips.",
    },
    "sample_points": {
        "points": "Table, view, or path of Parquet, CSV or (DuckDB 2) GeoJSON. CTEs and temporary tables are refused, "
        "as for the index.",
        "geometry_crs": "CRS of the points, x before y, where their column of type GEOMETRY does not say it.",
    },
    "read_headers": {
        "source": "Table, view, CTE or Parquet path with a column href. Relative hrefs start at the working directory.",
        "on_error": "'raise' (also NULL), 'skip', or 'null' for rows without levels, with the reason in notes.",
        "scales": "Scale of all bands in the index, instead of the scales of the files, or a struct or map of assets "
        "(or bands, 'visual:red') to scales, with '*' for all others.",
        "offsets": "Offset of all bands, in the same forms. Physical values are stored ones times scale, plus offset.",
        "nodata": "Nodata value of all bands, in the same forms. Files with a mask or an alpha band refuse it.",
        "period_time": "'start', 'middle' or 'end': the datetime of items with only a period. NULL leaves it NULL.",
    },
    "rst_credentials": {
        "prefix": "Beginning of addresses: s3://bucket/folder/, gs://bucket/, az://container/, hf://datasets/owner/, "
        "https://host/folder/; s3:// is for all buckets.",
        "settings": "MAP or STRUCT of names and values: those of `rasteret_sql.credentials`.",
    },
    "rst_to_list": {
        "pixels": "A value of `pixels` of `read_tiles`, or of `mask` with dtype 'bool'.",
        "dtype": "Type of the numbers, from the column `dtype` of `read_tiles`. Complex numbers are refused.",
    },
    "rst_stats": _OF_TILE,
    "rst_histogram": _OF_TILE,
    "rst_normalized_difference": {
        "first_pixels": "A value of `pixels` of `read_tiles`, such as one of the band nir.",
        "first_dtype": "Type of its numbers, from the column `dtype`.",
        "second_pixels": "The same for the other band, such as red.",
        "second_dtype": "Type of its numbers.",
    },
    "rst_value": {
        "pixels": "A value of `pixels` of `read_tiles`.",
        "dtype": "Type of the numbers, from the column `dtype`.",
        "width": "Pixels in a row of the tile, from the column `width`.",
        "transform": "Transform of the tile, from the column `transform`.",
        "x": "x of the point, in the CRS of the file.",
        "y": "y of the point, in the CRS of the file.",
    },
    "datasets": {"folder": "Folder of your own entries; by default the folder in RASTERET_SQL_DATASETS."},
}


def argument_meanings(macro: SqlObject) -> dict[str, str]:
    """Give the meaning of each argument of a function, as a sentence.

    Most are those of the Python function of the same name, or of `read_tiles`. Without docstrings, as under
    `python -OO`, only those that are written here are known.
    """
    import rasteret_sql as rs

    read_tiles = sections(inspect.getdoc(rs.read_tiles)).items.get("Args", {})
    meanings = {name: _in_sql(name, text) for name, text in read_tiles.items()}
    meanings["index"] = sentence(macro.reads.removeprefix("an index: "))
    meanings["crs"] = "Refused: `geometry_crs` is the CRS of an area."
    if macro.name in rs.__all__ and macro.name != "read_tiles":
        meanings |= sections(inspect.getdoc(getattr(rs, macro.name))).items.get("Args", {})
    return meanings | {name: sentence(text) for name, text in _MEANINGS.get(macro.name, {}).items()}


def _in_sql(name: str, text: str) -> str:
    """Say in SQL's words what the Python argument of the same name means."""
    if name == "geometry":
        return "GeoJSON, WKT, or WKB as a BLOB or hexadecimal digits, in `geometry_crs`."
    text = text.replace('"', "'").replace("None for all", "NULL for all")
    return re.sub(r"[,;] or None\.$", ".", text)
