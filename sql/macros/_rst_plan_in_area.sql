-- name: _rst_plan_in_area
-- kind: table macro
-- grain: one row per selected asset
-- reads: an index
-- The rows of _rst_asset_plan that tile_plan and explain_read need. An area that touches no asset is an error, as in read_tiles.
CREATE OR REPLACE MACRO _rst_plan_in_area(
    index,
    bands := NULL,
    geometry := NULL,
    bbox := NULL,
    crs := 'OGC:CRS84',
    datetime := NULL,
    level := NULL,
    resolution := NULL
) AS TABLE
WITH
rst_selected AS MATERIALIZED (
    SELECT * EXCLUDE (formats, levels, reach)
    FROM _rst_asset_plan(
        index, bands := bands, geometry := geometry, bbox := bbox, crs := crs, datetime := datetime, level := level, resolution := resolution
    )
)
FROM rst_selected
UNION ALL BY NAME
-- This part adds no row. It raises the error.
SELECT NULL::VARCHAR AS item_id
FROM _rst_outside(index, geometry := geometry, bbox := bbox, crs := crs, datetime := datetime)
WHERE (CASE WHEN NOT EXISTS (FROM rst_selected) THEN error(message) END)::VARCHAR IS NOT NULL;
