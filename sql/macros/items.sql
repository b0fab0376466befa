-- name: items
-- kind: table macro
-- grain: one row per item: a collection and an item_id
-- reads: an index: a table, view or CTE, or a Parquet path, folder/, glob or URL
-- The items of an index in an area and a period, with their properties and the names of their assets and bands. The function fetches nothing.
CREATE OR REPLACE MACRO items(
    index,
    geometry := NULL,
    bbox := NULL,
    crs := 'OGC:CRS84',
    datetime := NULL
) AS TABLE
FROM _rst_items(index, geometry := geometry, bbox := bbox, crs := coalesce(crs::VARCHAR, 'OGC:CRS84'), datetime := datetime);
