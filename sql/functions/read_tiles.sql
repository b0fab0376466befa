-- name: read_tiles
-- kind: table macro
-- grain: one row per tile and band, in byte order of each file
-- reads: an index: a table or view, a Parquet path, folder, glob or URL, or the text of a query
-- The tiles that touch an area and period, with their pixels. Conditions in WHERE prune before tiles are fetched.
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
SELECT * EXCLUDE (_call) REPLACE (
    -- DuckDB 1.5 leaves comparisons with DOUBLE columns to Arrow, where NaN is neither above nor below a number. It keeps
    -- comparisons with an expression, and compares as in a table.
    CASE WHEN isnan(nodata) THEN 'nan'::DOUBLE ELSE nodata END AS nodata,
    CASE WHEN isnan(scale) THEN 'nan'::DOUBLE ELSE scale END AS scale,
    CASE WHEN isnan("offset") THEN 'nan'::DOUBLE ELSE "offset" END AS "offset"
)
FROM _rst_tile_source
WHERE _call = encode('rst_' || to_json({
    'index': index::VARCHAR,
    -- A failing cast leaves no constant, and therefore no arguments. Python checks the arguments and raises the error.
    'bands': TRY_CAST(bands AS VARCHAR[]),
    'geometry': geometry::VARCHAR,
    'bbox': TRY_CAST(bbox AS DOUBLE[])::VARCHAR,
    'crs': coalesce(crs::VARCHAR, 'OGC:CRS84'),
    'datetime': datetime::VARCHAR,
    'level': level::VARCHAR,
    'resolution': resolution::VARCHAR,
    'given': {'bands': bands::VARCHAR, 'bbox': bbox::VARCHAR},
    'on_error': on_error::VARCHAR,
    -- SET VARIABLE rasteret_identity = 'size': what is compared of the index and the files.
    'identity': getvariable('rasteret_identity')::VARCHAR,
    -- Settings of the session change the results of views and of queries in text.
    'settings': {
        'search_path': current_setting('search_path')::VARCHAR,
        'file_search_path': current_setting('file_search_path')::VARCHAR,
        'Calendar': current_setting('Calendar')::VARCHAR,
        'TimeZone': current_setting('TimeZone')::VARCHAR,
        'binary_as_string': current_setting('binary_as_string')::VARCHAR,
        'default_collation': current_setting('default_collation')::VARCHAR,
        'default_null_order': current_setting('default_null_order')::VARCHAR,
        'default_order': current_setting('default_order')::VARCHAR,
        'disable_timestamptz_casts': current_setting('disable_timestamptz_casts')::VARCHAR,
        'enable_geoparquet_conversion': current_setting('enable_geoparquet_conversion')::VARCHAR,
        'ieee_floating_point_ops': current_setting('ieee_floating_point_ops')::VARCHAR,
        'integer_division': current_setting('integer_division')::VARCHAR,
        'order_by_non_integer_literal': current_setting('order_by_non_integer_literal')::VARCHAR,
        'preserve_insertion_order': current_setting('preserve_insertion_order')::VARCHAR,
        'scalar_subquery_error_on_multiple_rows': current_setting('scalar_subquery_error_on_multiple_rows')::VARCHAR
    }
})::VARCHAR)
AND _rst_sees_the_same(index);
