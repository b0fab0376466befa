-- name: explain_read
-- kind: table macro
-- grain: one row per collection and band, and one row for the total, with band 'total'
-- reads: an index: a table, view or CTE, or a Parquet path, folder/, glob or URL
-- The cost of a read with the same arguments: items, files, tiles, bytes and requests. Of an index, the function fetches nothing; of assets without headers, the headers.
CREATE OR REPLACE MACRO explain_read(
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
)
FROM _rst_cost('planned_assets', geometry := geometry, crs := _rst_area_crs(geometry_crs, crs));
