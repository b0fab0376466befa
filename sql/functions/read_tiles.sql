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
    geometry_crs := 'OGC:CRS84',
    crs := NULL,
    datetime := NULL,
    level := NULL,
    resolution := NULL,
    scales := NULL,
    offsets := NULL,
    statistics := NULL,
    tiles_where := NULL,
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
    'crs': coalesce(geometry_crs::VARCHAR, 'OGC:CRS84'),
    'datetime': datetime::VARCHAR,
    'level': level::VARCHAR,
    'resolution': resolution::VARCHAR,
    'scales': to_json(scales),
    'offsets': to_json(offsets),
    'given': {'bands': bands::VARCHAR, 'bbox': bbox::VARCHAR, 'crs': crs::VARCHAR},
    'on_error': on_error::VARCHAR,
    'settings': _rst_settings(),
    'own': {'statistics': statistics::VARCHAR, 'tiles_where': tiles_where::VARCHAR}
})::VARCHAR)
AND _rst_sees_the_same(index, statistics := statistics);
