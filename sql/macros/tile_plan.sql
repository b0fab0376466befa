-- name: tile_plan
-- kind: table macro
-- grain: one row per tile and band of a read with the same arguments
-- reads: an index: a table, view or CTE, or a Parquet path, folder/, glob or URL
-- The tiles that touch an area and period, with their byte ranges and requests. Of an index, the function fetches nothing; of assets without headers, the headers.
CREATE OR REPLACE MACRO tile_plan(
    index,
    bands := NULL,
    geometry := NULL,
    bbox := NULL,
    geometry_crs := 'OGC:CRS84',
    crs := NULL,
    datetime := NULL,
    level := NULL,
    resolution := NULL
) AS TABLE
WITH
planned_assets AS MATERIALIZED (
    FROM _rst_plan_in_area(
        index, bands := bands, geometry := geometry, bbox := bbox, crs := _rst_area_crs(geometry_crs, crs), datetime := datetime,
        level := level, resolution := resolution
    )
),
planned_tiles AS MATERIALIZED (
    FROM _rst_asset_tiles('planned_assets', geometry := geometry, crs := _rst_area_crs(geometry_crs, crs))
),
planned_rows AS MATERIALIZED (
    SELECT *, row_number() OVER () AS position
    FROM _rst_tile_rows('planned_assets', 'planned_tiles')
),
planned_requests AS (
    FROM _rst_requests('planned_rows')
)
SELECT
    t.* EXCLUDE (address, asset_no, position),
    r.request
FROM planned_rows AS t
LEFT JOIN planned_requests AS r
    ON r.address = t.address
    AND r.range_start = t.tile_offset
    AND r.range_end = t.tile_offset + t.tile_byte_count
ORDER BY t.position ASC NULLS LAST;
