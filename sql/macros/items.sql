-- name: items
-- kind: table macro
-- grain: one row per item: a collection and an item_id
-- reads: an index: a table, view or CTE, or a Parquet path, folder/, glob or URL
-- The items of an index in an area and a period, with their properties and the names of their assets and bands. Of an index, the function fetches nothing; of assets without headers, the headers.
CREATE OR REPLACE MACRO items(
    index,
    geometry := NULL,
    bbox := NULL,
    geometry_crs := 'OGC:CRS84',
    crs := NULL,
    datetime := NULL
) AS TABLE
FROM _rst_items(index, geometry := geometry, bbox := bbox, crs := _rst_area_crs(geometry_crs, crs), datetime := datetime);
