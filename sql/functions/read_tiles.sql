-- name: read_tiles
-- kind: table macro
-- grain: one row per tile and band, in the order in which the bytes lie in each file
-- reads: an index: a table or view, a Parquet path, folder, glob or URL, or the text of a query
-- The tiles that touch an area and period, with their pixels; conditions in WHERE prune before anything is fetched.
CREATE OR REPLACE MACRO read_tiles(
    index,
    bands := NULL,
    geometry := NULL,
    bbox := NULL,
    crs := 'OGC:CRS84',
    datetime := NULL,
    level := NULL,
    resolution := NULL,
    on_error := 'raise'
) AS TABLE
SELECT * EXCLUDE (_call)
FROM _rst_tile_source
WHERE _call = 'rst_' || hex(to_json({
    'index': index::VARCHAR,
    'bands': bands::VARCHAR[],
    'geometry': geometry::VARCHAR,
    'bbox': (bbox::DOUBLE[])::VARCHAR,
    'crs': crs::VARCHAR,
    'datetime': datetime::VARCHAR,
    'level': level::BIGINT,
    'resolution': (resolution::DOUBLE)::VARCHAR,
    'on_error': on_error::VARCHAR,
    'search_path': current_setting('search_path'),
    'time_zone': current_setting('TimeZone')
})::VARCHAR);
